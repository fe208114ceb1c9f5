//! Google's OAuth: where a user is asked, codes and refresh tokens exchanged for access, and the
//! end of a grant.
//!
//! # Always
//! - No token stands in a `Debug` form or an error.
//! - A grant that is over is told from every other failure: [`is_over`].

use std::time::Duration;

use sendcat_state::key::ProviderId;
use serde_json::Value;

use super::call::{Call, RefusedAnswer, Upstream};
use super::classify;
use super::error::UpstreamError;
use super::text;
use crate::config::{Google, Secret};

const PROVIDER: ProviderId = ProviderId::GmailOauth;

/// What we ask a user for: to read mail, and nothing else.
pub const SCOPE: &str = "https://www.googleapis.com/auth/gmail.readonly";

/// The longest that an access token is taken to hold, whatever is said of it.
const LONGEST: Duration = Duration::from_secs(3600);

/// The longest token that is kept, in bytes; Google promises at most 2048.
const MAX_TOKEN_BYTES: usize = 4096;

/// What an exchange gave.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Opens the mailbox.
    pub access: Secret,
    /// How long it does.
    pub lifetime: Duration,
    /// Gets the next one; in place of the one we had, if we had one.
    pub refresh: Option<Secret>,
    /// Whether the user lets us read mail; `None` if the answer does not say.
    pub may_read: Option<bool>,
}

/// Who we are at Google.
#[derive(Clone, Copy)]
pub struct Client<'a> {
    id: &'a str,
    secret: &'a Secret,
    settings: &'a Google,
}

impl<'a> Client<'a> {
    /// As it is configured; `None` if it is not.
    pub fn of(settings: &'a Google) -> Option<Self> {
        let (id, secret) = (settings.client_id.as_deref()?, settings.client_secret.as_ref()?);
        Some(Self { id, secret, settings })
    }

    /// Where the user's browser goes to be asked. The answer comes to `redirect`.
    pub fn authorize_url(&self, redirect: &str, state: &str, challenge: &str) -> String {
        let pairs = [
            ("client_id", self.id),
            ("redirect_uri", redirect),
            ("response_type", "code"),
            ("scope", SCOPE),
            ("state", state),
            ("access_type", "offline"),
            ("prompt", "consent"),
            ("code_challenge", challenge),
            ("code_challenge_method", "S256"),
        ];
        let url = &self.settings.auth_url;
        let joint = if url.contains('?') { '&' } else { '?' };
        format!("{url}{joint}{}", text::pairs(&pairs))
    }

    /// Exchanges the code that a browser brought.
    ///
    /// # Errors
    /// [`UpstreamError`], recorded with the provider's circuit. A code is good once.
    pub async fn exchange(
        &self,
        upstream: &Upstream,
        (code, verifier, redirect): (&str, &Secret, &str),
        within: (&str, Duration),
    ) -> Result<Grant, UpstreamError> {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect),
            ("code_verifier", verifier.expose()),
            ("client_id", self.id),
            ("client_secret", self.secret.expose()),
        ];
        self.granted(upstream, &fields, within).await
    }

    /// Exchanges a refresh token for access.
    ///
    /// # Errors
    /// [`UpstreamError`], recorded with the provider's circuit; see [`is_over`].
    pub async fn refresh(
        &self,
        upstream: &Upstream,
        refresh: &Secret,
        within: (&str, Duration),
    ) -> Result<Grant, UpstreamError> {
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh.expose()),
            ("client_id", self.id),
            ("client_secret", self.secret.expose()),
        ];
        self.granted(upstream, &fields, within).await
    }

    async fn granted(
        &self,
        upstream: &Upstream,
        fields: &[(&str, &str)],
        (holder, deadline): (&str, Duration),
    ) -> Result<Grant, UpstreamError> {
        let call = Call::post_form(PROVIDER, self.settings.token_url.clone(), fields);
        upstream.read(call, holder, deadline, (read_refusal, read_grant)).await
    }

    /// Ends a grant. One that is over already is ended.
    ///
    /// # Errors
    /// [`UpstreamError`], recorded with the provider's circuit.
    pub async fn revoke(
        &self,
        upstream: &Upstream,
        refresh: &Secret,
        (holder, deadline): (&str, Duration),
    ) -> Result<(), UpstreamError> {
        let beside = |url: &str| match url.rsplit_once('/') {
            Some((path, _)) => format!("{path}/revoke"),
            None => url.to_owned(),
        };
        let url = beside(&self.settings.token_url);
        let call = Call::post_form(PROVIDER, url, &[("token", refresh.expose())]);
        upstream.whole(call, holder, deadline, read_refusal).await.map(|_| ())
    }

    /// The mailbox that an access token opens: its address, and where its history stands.
    ///
    /// # Errors
    /// [`UpstreamError`], recorded with the circuit of the exchange, whose second half it is.
    pub async fn profile(
        &self,
        upstream: &Upstream,
        access: &Secret,
        (holder, deadline): (&str, Duration),
    ) -> Result<Profile, UpstreamError> {
        let url = format!("{}/gmail/v1/users/me/profile", self.settings.gmail_base_url);
        let call = Call::get(PROVIDER, url)
            .with_secret("authorization", &format!("Bearer {}", access.expose()));
        upstream
            .read(call, holder, deadline, (read_refusal, |body| read_profile(PROVIDER, body)))
            .await
    }
}

/// A mailbox as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its address, in lower case.
    pub address: String,
    /// Where its history stands.
    pub history_id: u64,
}

/// Whether a failed refresh says that the user has ended the grant, or Google has: it will never
/// work again.
pub fn is_over(error: &UpstreamError) -> bool {
    matches!(error, UpstreamError::Rejected { provider: PROVIDER, status: 400 })
}

/// What the body of an exchange's 200 says.
///
/// # Errors
/// [`UpstreamError::Malformed`]: there is no token in it.
pub fn read_grant(body: &[u8]) -> Result<Grant, UpstreamError> {
    let malformed = |what| UpstreamError::Malformed { provider: PROVIDER, what };
    let body: Value =
        serde_json::from_slice(body).map_err(|_| malformed("the body is not JSON"))?;
    let token = |name: &str| {
        let token = body[name].as_str().filter(|token| !token.is_empty());
        token.filter(|token| token.len() <= MAX_TOKEN_BYTES).map(Secret::new)
    };
    Ok(Grant {
        access: token("access_token").ok_or_else(|| malformed("the token is missing"))?,
        lifetime: body["expires_in"].as_u64().map_or(LONGEST, Duration::from_secs).min(LONGEST),
        refresh: token("refresh_token"),
        may_read: body["scope"].as_str().map(|scope| scope.split(' ').any(|it| it == SCOPE)),
    })
}

/// What the body of a profile's 200 says.
///
/// # Errors
/// [`UpstreamError::Malformed`]: it is none.
pub fn read_profile(provider: ProviderId, body: &[u8]) -> Result<Profile, UpstreamError> {
    let malformed = || UpstreamError::Malformed { provider, what: "the body is no profile" };
    let body: Value = serde_json::from_slice(body).map_err(|_| malformed())?;
    let address = body["emailAddress"].as_str().filter(|it| !it.is_empty() && it.len() <= 320);
    let address = address.ok_or_else(malformed)?.to_lowercase();
    let history_id = super::gmail::number(&body["historyId"]).ok_or_else(malformed)?;
    Ok(Profile { address, history_id })
}

/// A refusal of the token endpoint. Only `invalid_grant` is the user's; whatever else it has
/// against a request is ours to mend.
pub fn read_refusal(refused: &RefusedAnswer) -> UpstreamError {
    let status = refused.status;
    let of_the_moment = matches!(status, 408 | 425 | 429);
    if (400..500).contains(&status) && !of_the_moment {
        let body: Value = serde_json::from_slice(&refused.body).unwrap_or_default();
        return match body["error"].as_str() {
            Some("invalid_grant") => UpstreamError::Rejected { provider: PROVIDER, status: 400 },
            Some(_) | None => UpstreamError::OurKey { provider: PROVIDER, status },
        };
    }
    let wait = refused.retry_after.as_deref().and_then(classify::retry_after);
    let good =
        UpstreamError::Malformed { provider: PROVIDER, what: "a refusal with a good status" };
    classify::status(PROVIDER, status, wait).err().unwrap_or(good)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const EXCHANGE: &str = include_str!("../../tests/it/samples/google_token_exchange.json");
    const REFRESH: &str = include_str!("../../tests/it/samples/google_token_refresh.json");

    fn sample(text: &str, part: &str) -> Value {
        serde_json::from_str::<Value>(text).unwrap()[part].clone()
    }

    fn grant(body: &Value) -> Grant {
        read_grant(body.to_string().as_bytes()).unwrap()
    }

    fn refused(status: u16, body: &Value) -> UpstreamError {
        let body = body.to_string().into_bytes();
        read_refusal(&RefusedAnswer { status, retry_after: Some("7".into()), body })
    }

    #[test]
    fn every_sample_of_a_grant_is_read() {
        let first = grant(&sample(EXCHANGE, "response_ok"));
        assert_eq!(first.access.expose(), "ya29.a0Af...");
        assert_eq!(first.refresh.as_ref().map(Secret::expose), Some("1//04i..."));
        assert_eq!((first.lifetime, first.may_read), (Duration::from_secs(3599), Some(true)));
        assert!(grant(&sample(EXCHANGE, "response_ok_time_limited")).refresh.is_some());
        let next = grant(&sample(REFRESH, "response_ok"));
        assert_eq!((next.access.expose(), next.refresh.is_none()), ("ya29.a0Bf...", true));
        let more = include_bytes!("../../tests/it/samples/upstream/google-token.json");
        assert_eq!(read_grant(more).unwrap().refresh.unwrap().expose(), "1//0fake");
        let more = include_bytes!("../../tests/it/samples/upstream/google-token-refresh.json");
        assert!(read_grant(more).unwrap().refresh.is_none());
        assert_eq!(grant(&json!({"access_token": "a", "scope": "openid"})).may_read, Some(false));
        assert_eq!(grant(&json!({"access_token": "a"})).may_read, None);
        let endless = json!({"access_token": "a", "expires_in": 9_000_000});
        assert_eq!(grant(&endless).lifetime, LONGEST);
    }

    #[test]
    fn what_holds_no_token_is_malformed() {
        let long = json!({"access_token": "x".repeat(MAX_TOKEN_BYTES + 1)});
        for body in [json!({}), json!({"access_token": ""}), json!([]), long] {
            let read = read_grant(body.to_string().as_bytes());
            assert!(matches!(read, Err(UpstreamError::Malformed { .. })), "{read:?}");
        }
        assert!(read_grant(b"<html>").is_err());
    }

    #[test]
    fn a_grant_that_is_over_is_told_from_every_other_refusal() {
        let over = [
            sample(EXCHANGE, "response_invalid_grant")["body"].clone(),
            sample(REFRESH, "response_revoked")["body"].clone(),
            serde_json::from_str(include_str!(
                "../../tests/it/samples/upstream/google-token-error-400.json"
            ))
            .unwrap(),
        ];
        for body in over {
            let error = refused(400, &body);
            assert!(is_over(&error), "{error}");
            assert_eq!(classify::outcome(&error), classify::Outcome::Neutral);
        }
        let ours = [
            (400, sample(EXCHANGE, "response_redirect_mismatch")["body"].clone()),
            (401, sample(EXCHANGE, "response_invalid_client")["body"].clone()),
            (400, json!("not an object")),
            (403, json!({"error": "access_denied"})),
        ];
        for (status, body) in ours {
            let error = refused(status, &body);
            assert!(!is_over(&error) && error.code_name() == "misconfigured", "{error}");
        }
        for (status, code) in [(429, "upstream_rate_limited"), (503, "upstream_error")] {
            let error = refused(status, &json!({"error": "invalid_grant"}));
            assert!(!is_over(&error));
            assert_eq!(
                (error.code_name(), error.retry_after()),
                (code, Some(Duration::from_secs(7)))
            );
        }
    }

    #[test]
    fn a_grant_shows_none_of_its_tokens() {
        let shown = format!("{:?}", grant(&sample(EXCHANGE, "response_ok")));
        assert!(!shown.contains("ya29") && !shown.contains("1//04i"), "{shown}");
    }

    #[test]
    fn a_profile_is_read_whatever_its_history_id_is_written_as() {
        let samples = [
            include_str!("../../tests/it/samples/gmail_profile.json"),
            include_str!("../../tests/it/samples/upstream/gmail-profile.json"),
        ];
        for (sample, history_id) in samples.into_iter().zip([9_876_543_210, 987_654_321]) {
            let read = read_profile(PROVIDER, sample.as_bytes()).unwrap();
            assert_eq!(read, Profile { address: "user@example.com".into(), history_id });
        }
        let upper = br#"{"emailAddress":"User@Example.COM","historyId":7}"#;
        let read = read_profile(PROVIDER, upper).unwrap();
        assert_eq!(read, Profile { address: "user@example.com".into(), history_id: 7 });
        for body in ["{}", r#"{"emailAddress":"","historyId":"1"}"#, r#"{"emailAddress":"a@b"}"#] {
            assert!(read_profile(PROVIDER, body.as_bytes()).is_err(), "{body}");
        }
    }
}
