//! A server and Google's stand-in in processes of their own: users connect mailboxes, mail comes,
//! pushes tell of it.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};
use sendcat::config::Secret;
use sendcat::inbox::gmail::vault::Vault;
use sendcat_state::machine::{RecordWrite, Table};
use serde_json::{Value, json};

use super::answer::Answer;
use super::browser::Browser;
use super::client::{Caller, answer};
use super::server::{Server, Setup};
use super::stand_in::StandIns;
use super::webhook::{eventually, push_of, receiver};

/// Our password at Google, from which the keys of what is kept are derived.
pub(crate) const CLIENT_SECRET: &str = "planted-client-secret-51d0";
/// What signs users' tokens.
pub(crate) const JWT_SECRET: &str = "user-secret";
/// Where the front end is.
pub(crate) const APP: &str = "https://app.example";
/// The mailbox of the stand-in.
pub(crate) const ADDRESS: &str = "sandbox.user@example.com";

/// See the module.
pub(crate) struct Office {
    pub(crate) server: Server,
    pub(crate) stand_ins: StandIns,
    pub(crate) caller: Caller,
    /// The browser of whoever is in the office; it keeps cookies.
    pub(crate) browser: Browser,
    client: Client,
}

/// A server for such a test, with these stand-ins.
pub(crate) fn office_setup(stand_ins: &StandIns) -> Setup {
    receiver()
        .with_all(stand_ins.knobs())
        .with("GOOGLE_CLIENT_ID", "client")
        .with("GOOGLE_CLIENT_SECRET", CLIENT_SECRET)
        .with("RESEND_API_KEY", "planted-resend-key")
        .with("AUTH_JWT_SECRET", JWT_SECRET)
        .with("SESSION_SECRET", "planted-session-secret")
        .with("APP_BASE_URL", APP)
        .with("RATE_LIMIT_GMAIL_OAUTH_MAX", 100_000)
}

impl Office {
    /// With nothing connected.
    pub(crate) fn open() -> Self {
        Self::with(|setup| setup)
    }

    /// The same, with another setup.
    pub(crate) fn with(change: impl FnOnce(Setup) -> Setup) -> Self {
        let stand_ins = StandIns::in_the_year_2100();
        let server = change(office_setup(&stand_ins)).start();
        let caller = Caller::of(&server);
        let client = Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
        Self { server, stand_ins, caller, browser: Browser::new(), client }
    }

    /// Kills the process as `kill -9` does, and starts it again on the same state.
    pub(crate) fn kill_and_restart(&mut self) {
        self.server.kill_and_restart();
        self.caller = Caller::of(&self.server);
    }

    /// A request of the browser, which is not followed anywhere.
    pub(crate) fn browses(&self, path: &str) -> RequestBuilder {
        self.browser.with_cookies(self.client.get(format!("{}{path}", self.server.url())))
    }

    /// Where a user's browser is to go to connect a mailbox; it keeps the cookie that it is given.
    pub(crate) async fn asks_to_connect(&self, user: &str) -> String {
        let request = self.caller.post("/api/gmail/connect").bearer_auth(user_token(user));
        let answer = answer(self.browser.with_cookies(request)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        self.browser.keeps(&answer);
        answer.json()["authorizeUrl"].as_str().expect("an address").to_owned()
    }

    /// What comes of it: the path and query with which Google sends the browser back.
    pub(crate) async fn consents(&self, authorize_url: &str) -> String {
        let page = self.client.get(authorize_url).send().await.expect("the stand-in answers");
        let back = page.headers()["location"].to_str().expect("an address").to_owned();
        let path = back.find("/api/gmail").expect("it comes back to us");
        back[path..].to_owned()
    }

    /// Comes back so; whether that is told as `connected`, `error` or `busy`.
    pub(crate) async fn comes_back(&self, path: &str) -> String {
        let answer = answer(self.browses(path)).await;
        landed(&answer)
    }

    /// Connects a user's mailbox.
    pub(crate) async fn connects(&self, user: &str) {
        let url = self.asks_to_connect(user).await;
        let back = self.consents(&url).await;
        assert_eq!(self.comes_back(&back).await, "connected");
    }

    /// What the user sees of the connection.
    pub(crate) async fn connection(&self, user: &str) -> Value {
        let request = self.caller.get("/api/gmail/connection").bearer_auth(user_token(user));
        let answer = answer(request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// A mail comes; the state of the mailbox after it.
    pub(crate) async fn receives(&self, subject: &str) -> u64 {
        let mail = json!({"subject": subject, "text": format!("{subject}.")});
        let answer = self.stand_ins.order("mail", &mail).await;
        answer["historyId"].as_str().and_then(|id| id.parse().ok()).expect("a history id")
    }

    /// Pushes that state of the mailbox, as Pub/Sub does: until it is acknowledged.
    pub(crate) async fn is_told(&self, history: u64) -> Answer {
        let answer = answer(self.caller.pushes(push_of(ADDRESS, history))).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    }

    /// The subjects of the mails that a user has evidence of, oldest first.
    pub(crate) async fn subjects(&self, user: &str) -> Vec<String> {
        let request = self.caller.get("/api/evidence?limit=100").bearer_auth(user_token(user));
        let answer = answer(request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let page = answer.json();
        let items = page["items"].as_array().expect("a page has items").iter().rev();
        items.map(|it| it["data"]["subject"].as_str().expect("a subject").to_owned()).collect()
    }

    /// Waits until a user has evidence of exactly these mails.
    pub(crate) async fn has(&self, user: &str, subjects: &[&str]) {
        let look = async || (self.subjects(user).await == subjects).then_some(());
        eventually(&format!("{user} has evidence of {subjects:?}"), look).await;
    }

    /// Waits until no event is pending, and says how many there are of each status.
    pub(crate) async fn at_rest(&self, events: usize) -> Vec<Value> {
        self.caller.worked_off(events).await
    }
}

/// A token of a user.
pub(crate) fn user_token(user: &str) -> String {
    let claims = json!({"iss": "https://id.example", "sub": user, "exp": 4_102_444_800_u64});
    let key = EncodingKey::from_secret(JWT_SECRET.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap()
}

/// How an answer says that connecting ended; it must be a redirect and nothing else.
pub(crate) fn landed(answer: &Answer) -> String {
    let to = answer.headers.get("location").cloned().unwrap_or_default();
    let word = to.strip_prefix(&format!("{APP}/settings?tab=connections&gmail="));
    let word = word.unwrap_or_else(|| panic!("no way back to the front end: {answer:?}"));
    let same = super::webhook::whole(
        302,
        &[("location", &to), ("cache-control", "no-store"), ("referrer-policy", "no-referrer")],
        "",
    );
    assert_eq!(*answer, same);
    word.to_owned()
}

/// The rows of a mailbox that was connected before the process started: with that refresh token,
/// read up to that point of its history.
pub(crate) fn connected(user: &str, refresh: &str, history_id: u64) -> Vec<RecordWrite> {
    let owner = format!("user:{user}");
    let sealed = Vault::new(&Secret::new(CLIENT_SECRET)).seal(&owner, &Secret::new(refresh));
    let mailbox = json!({
        "address": ADDRESS, "sealed": sealed.unwrap(), "connectedAt": 1,
        "historyId": history_id, "syncedAt": 4_102_444_800_000_u64,
        "watchedUntil": 4_202_444_800_000_u64,
    });
    let length = u16::try_from(ADDRESS.len()).unwrap().to_be_bytes();
    let place = [&length[..], ADDRESS.as_bytes(), owner.as_bytes()].concat();
    vec![
        RecordWrite::put(Table::Mailboxes, owner.as_bytes(), &mailbox),
        RecordWrite::put(Table::MailboxOwners, place, &()),
    ]
}
