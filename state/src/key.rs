//! Names and keys, each with one way to make it.
//!
//! A caller's key is hashed once, where it enters, by a fixed keyed 128-bit hash; every map and
//! every shard works on the hash. The hash's key is a constant, so a snapshot written yesterday
//! names the same windows today, whatever the number of workers.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;
use std::sync::Arc;

use crate::timestamp::Timestamp;

/// How many shards the rate limiter has, always: a key's shard outlives a change of workers.
pub const SHARDS: usize = 16;

/// Declares an enum of wire names: one list, so that no name is written twice.
macro_rules! names {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $wire:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$doc])* #[serde(rename = $wire)] $variant,)+ }

        impl $name {
            /// Every one, in the order of this list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in logs, JSON, metrics and headers.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $wire,)+ }
            }

            /// The one of that name, if there is one.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|each| each.as_str() == name)
            }

            /// Its place in [`Self::ALL`].
            pub const fn index(self) -> usize {
                self as usize
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use names;

names! {
    /// A provider that we call: each has a circuit breaker and a bulkhead of its own.
    ProviderId {
        /// Chat completions.
        OpenrouterChat = "openrouter_chat",
        /// Web and shopping search.
        SerperSearch = "serper_search",
        /// Google's token and profile endpoints.
        GmailOauth = "gmail_oauth",
        /// Shopping search, slow by nature.
        SerpapiShopping = "serpapi_shopping",
        /// Product search and taxonomy.
        EbayBrowse = "ebay_browse",
        /// Messages, history and watches of a mailbox.
        GmailApi = "gmail_api",
        /// Messages and media of WhatsApp.
        WhatsappGraph = "whatsapp_graph",
        /// Outgoing mail.
        ResendEmail = "resend_email",
        /// Keys that sign other people's tokens.
        Jwks = "jwks",
        /// Where alerts go.
        SentryIngest = "sentry_ingest",
    }
}

/// One of something for each provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerProvider<T>(Arc<[T]>);

impl<T> PerProvider<T> {
    /// What `each` makes for each provider, called in the order of [`ProviderId::ALL`].
    pub fn new(each: impl FnMut(ProviderId) -> T) -> Self {
        Self(ProviderId::ALL.iter().copied().map(each).collect())
    }

    /// The one of that provider.
    pub fn of(&self, provider: ProviderId) -> &T {
        &self.0[provider.index()]
    }

    /// All of them, in the order of [`ProviderId::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (ProviderId, &T)> {
        ProviderId::ALL.iter().copied().zip(self.0.iter())
    }
}

names! {
    /// A rate limit: each has a maximum and a window among the knobs.
    Bucket {
        /// Chat answers, per session or user.
        ChatStream = "chat_stream",
        /// Anonymous sessions of one address together.
        AnonIp = "anon_ip",
        /// The OAuth callback, per address.
        GmailOauthCallback = "gmail_oauth_callback",
        /// Gmail pushes, per address.
        GmailPushWebhook = "gmail_push_webhook",
        /// WhatsApp deliveries, per address.
        WhatsappWebhook = "whatsapp_webhook",
        /// Linking codes, per user.
        WaLinkCode = "wa_link_code",
        /// Deliveries of configured sources, per address.
        GenericWebhook = "generic_webhook",
        /// Deliveries of one verified sender.
        WebhookSender = "webhook_sender",
    }
}

names! {
    /// A tool offered to the model: each has a queue partition, a cache namespace, a runner.
    ToolKind {
        /// Searches the web.
        SearchWeb = "search_web",
        /// Searches products of several shops.
        SearchProducts = "search_products",
        /// Searches shops of the whole world.
        SearchGlobal = "search_global",
    }
}

names! {
    /// Where accepted events come from: each has a queue partition and a handler.
    InboxSource {
        /// Messages and statuses from WhatsApp.
        Whatsapp = "whatsapp",
        /// Pushes about a mailbox.
        Gmail = "gmail",
        /// Any configured signing sender.
        Generic = "generic",
    }
}

/// Who is counted in which bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClientKey {
    /// Which limit.
    pub bucket: Bucket,
    /// The caller, hashed.
    pub hash: u128,
}

impl ClientKey {
    /// An anonymous session.
    pub fn session(bucket: Bucket, session_id: &str) -> Self {
        Self { bucket, hash: hash_of(&[bucket.as_str(), "session", session_id]) }
    }

    /// A signed-in user, by the token's subject.
    pub fn user(bucket: Bucket, subject: &str) -> Self {
        Self { bucket, hash: hash_of(&[bucket.as_str(), "user", subject]) }
    }

    /// An address. IPv6 counts by its /64, for one subscriber holds as many addresses as it likes.
    pub fn ip(bucket: Bucket, address: IpAddr) -> Self {
        Self { bucket, hash: hash_of(&[bucket.as_str(), "ip", &network_of(address)]) }
    }

    /// A sender whose signature was checked.
    pub fn sender(bucket: Bucket, source: &str, sender: &str) -> Self {
        Self { bucket, hash: hash_of(&[bucket.as_str(), "sender", source, sender]) }
    }

    /// The shard that counts this key.
    pub fn shard(self) -> usize {
        usize::try_from(self.hash % SHARDS as u128).expect("a remainder of 16 fits")
    }
}

/// The network that an address is counted by: IPv4 whole (also when mapped into IPv6), IPv6 by /64.
pub fn network_of(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

/// One delivery or request that must take effect once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IdempotencyKey {
    scope: String,
    key: String,
}

impl IdempotencyKey {
    /// A push about a mailbox: scope `gmail_push_history`, key `address:historyId` (log 1.6).
    pub fn gmail(address: &str, history_id: &str) -> Self {
        Self { scope: "gmail_push_history".into(), key: format!("{address}:{history_id}") }
    }

    /// A push that cannot be read: known by its digest alone.
    pub fn gmail_poison(digest: &str) -> Self {
        Self { scope: "gmail_push_poison".into(), key: digest.into() }
    }

    /// A WhatsApp message: scope `whatsapp_message`, key the message's id (log 1.6).
    pub fn whatsapp_message(id: &str) -> Self {
        Self { scope: "whatsapp_message".into(), key: id.into() }
    }

    /// A WhatsApp status. One message has several, so the status is part of the key.
    pub fn whatsapp_status(id: &str, status: &str) -> Self {
        Self { scope: "whatsapp_status".into(), key: format!("{id}:{status}") }
    }

    /// A change notice of another WhatsApp field, or an odd element: known by its digest alone.
    pub fn whatsapp_change(digest: &str) -> Self {
        Self { scope: "whatsapp_change".into(), key: digest.into() }
    }

    /// A delivery of a configured source.
    pub fn webhook(source: &str, id: &str) -> Self {
        Self { scope: format!("webhook:{source}"), key: id.into() }
    }

    /// A chat request that named an `Idempotency-Key`; the caller is part of it, so that keys do
    /// not leak from one caller to another.
    pub fn chat(caller: &str, key: &str) -> Self {
        // The length keeps callers apart: a user's name may hold any character.
        Self { scope: "chat".into(), key: format!("{}:{caller}:{key}", caller.len()) }
    }

    /// The scope that operators see.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// The key within its scope.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The hash that the claims' map works on.
    pub fn hash(&self) -> u128 {
        hash_of(&["idempotency", &self.scope, &self.key])
    }

    /// The key of its row among the finished claims.
    pub fn row(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(self.scope.len() + self.key.len() + 1);
        row.extend_from_slice(self.scope.as_bytes());
        row.push(0);
        row.extend_from_slice(self.key.as_bytes());
        row
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.scope, self.key)
    }
}

/// A lease that someone holds. A machine gives each number once, and its numbers are saved with it,
/// so a lease of an earlier incarnation is never mistaken for a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseId(pub u64);

impl fmt::Display for LeaseId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "lease-{}", self.0)
    }
}

/// An identifier that sorts by time: milliseconds, then randomness handed in. Events, jobs and
/// answers carry one; it is written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimedId(u128);

impl TimedId {
    /// The number itself.
    pub const fn as_u128(self) -> u128 {
        self.0
    }

    /// The identifier for something that happens at `now`; `random` tells it from its neighbours.
    pub fn new(now: Timestamp, random: u64) -> Self {
        Self((u128::from(now.as_millis()) << 64) | u128::from(random))
    }

    /// The bytes that sort as the identifier does.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The identifier of those bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(u128::from_be_bytes(bytes.try_into().ok()?)))
    }

    /// When it was made.
    pub fn made_at(self) -> Timestamp {
        Timestamp::from_millis(u64::try_from(self.0 >> 64).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for TimedId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", self.0)
    }
}

impl fmt::Debug for TimedId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl std::str::FromStr for TimedId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let plain = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !plain {
            return Err(());
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| ())
    }
}

impl Serialize for TimedId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimedId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(|()| serde::de::Error::custom("expected 32 hexadecimal digits"))
    }
}

/// Hashes the parts of a key. Each part is preceded by its length, so that no two lists of parts
/// are hashed from the same bytes.
pub fn hash_of(parts: &[&str]) -> u128 {
    // Any constants do; these must never change, for snapshots name windows by the result.
    let mut hasher = SipHasher13::new_with_keys(0x7365_6e64_6361_7401, 0x7374_6174_6500_0001);
    for part in parts {
        hasher.write_u64(part.len() as u64);
        hasher.write(part.as_bytes());
    }
    hasher.finish128().as_u128()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_same_for_ever() {
        let key = ClientKey::session(Bucket::ChatStream, "abc");
        assert_eq!(format!("{:032x}", key.hash), HASH_OF_SESSION_ABC);
    }

    /// Written down when the hash was chosen: snapshots on disks name windows by it.
    const HASH_OF_SESSION_ABC: &str = "30a4d02e41cfa1b0bd6d12876c89491f";

    #[test]
    fn parts_of_a_key_do_not_run_together() {
        assert_ne!(hash_of(&["ab", "c"]), hash_of(&["a", "bc"]));
    }

    #[test]
    fn addresses_of_one_subscriber_share_a_key() {
        let key = |text: &str| ClientKey::ip(Bucket::AnonIp, text.parse().unwrap());
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
    }

    #[test]
    fn a_timed_id_sorts_by_time_and_reads_back() {
        let early = TimedId::new(Timestamp::from_millis(5), u64::MAX);
        let late = TimedId::new(Timestamp::from_millis(6), 0);
        assert!(early < late && early.to_bytes() < late.to_bytes());
        assert_eq!(late.to_string().parse(), Ok(late));
        assert_eq!(late.made_at(), Timestamp::from_millis(6));
        assert_eq!("+0000000000000000000000000000000".parse::<TimedId>(), Err(()));
    }
}
