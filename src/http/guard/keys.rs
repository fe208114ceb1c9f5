//! The keys that sign users' tokens, wherever they come from: a port, for this room calls nobody.

use futures_util::future::BoxFuture;
use jsonwebtoken::DecodingKey;

/// Finds keys by their identifiers.
pub trait KeySource: Send + Sync {
    /// The key of that identifier; of a token that names none, the only key there is.
    fn key(&self, kid: Option<String>) -> BoxFuture<'static, Result<DecodingKey, NoKey>>;
}

/// Why there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoKey {
    /// There is none of that identifier: the token is not good.
    Unknown,
    /// Nobody can tell: the keys cannot be had now.
    Unavailable,
}
