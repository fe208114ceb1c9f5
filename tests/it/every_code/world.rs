//! A server that has everything, and a request to each route with which nothing is wrong.

use reqwest::RequestBuilder;
use sendcat::http::routes::{Guard, Route};
use serde_json::json;

use super::STOP;
use super::operators::{REDELIVER, redelivery_of};
use crate::support::client::Caller;
use crate::support::mailbox::{JWT_SECRET, user_token};
use crate::support::scene::{get, session};
use crate::support::server::{Server, Setup};
use crate::support::webhook::{OPS_TOKEN, PUSH_TOKEN, SECRET, delivery_of};

/// A server with every secret set, and somebody with a session.
pub(super) struct World {
    pub(super) server: Server,
    pub(super) caller: Caller,
    pub(super) token: String,
}

impl World {
    pub(super) fn of(setup: Setup) -> Self {
        let keys = ["OPENROUTER_API_KEY", "GOOGLE_CLIENT_ID", "GOOGLE_CLIENT_SECRET"];
        let setup = keys.into_iter().fold(setup, |setup, key| setup.with(key, "k"));
        let setup = setup.with("SESSION_SECRET", "secret").with("AUTH_JWT_SECRET", JWT_SECRET);
        let setup = setup.with("WEBHOOK_SOURCES", "x=github").with("WEBHOOK_SECRET_X", SECRET);
        let server = setup.start();
        let caller = Caller::of(&server);
        let token = session(&caller);
        Self { server, caller, token }
    }

    /// A request of that method, with the token that the route asks for and the type of its body.
    pub(super) fn asks(&self, route: &Route, method: &str) -> RequestBuilder {
        let request = self.caller.request(method, &path_of(route));
        let has = |guard| route.guards.contains(&guard);
        let user = user_token("ada");
        let token = if has(Guard::User) { &user } else { &self.token };
        let request = if has(Guard::Bearer) { request.bearer_auth(token) } else { request };
        let request = if has(Guard::Operator) { request.bearer_auth(OPS_TOKEN) } else { request };
        let wants_json = route.guards.iter().any(|guard| guard.wants_json());
        if wants_json { request.header("content-type", "application/json") } else { request }
    }

    /// A request with a body, which is signed where the route asks for it.
    pub(super) fn sends(&self, route: &Route, body: &str) -> RequestBuilder {
        let signed = sendcat::contract::signature::sign_meta(SECRET.as_bytes(), body.as_bytes());
        let request = self.asks(route, route.method).header("x-hub-signature-256", signed);
        request.query(&[("token", PUSH_TOKEN)]).body(body.to_owned())
    }

    /// A request with which nothing is wrong.
    pub(super) fn good(&self, route: &Route) -> RequestBuilder {
        self.sends(route, &good_body(route))
    }

    pub(super) fn arms(&self, fault: &str) {
        let body = json!({ "fault": fault }).to_string();
        let armed = get(self.caller.post_json("/ops/faults", body).bearer_auth(OPS_TOKEN));
        assert_eq!(armed.status, 204, "{armed:?}");
    }
}

/// The route's path with `x` for every parameter, and for an event's name one that none has.
pub(super) fn path_of(route: &Route) -> String {
    if route.path == REDELIVER {
        return redelivery_of(&"0".repeat(32));
    }
    let parts = route.path.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

pub(super) fn good_body(route: &Route) -> String {
    match (route.method, route.path) {
        ("POST", "/api/chat") => json!({"id": "x", "message": "hello"}).to_string(),
        ("POST", "/api/whatsapp/webhook") => delivery_of(["wamid.1".to_owned()]),
        ("POST", "/api/gmail/push") => {
            include_str!("../samples/gmail_push_wrapped.json").to_owned()
        }
        ("POST", STOP) => "{}".to_owned(),
        ("POST" | "PUT" | "PATCH", _) => json!({"data": {}, "title": "x"}).to_string(),
        (_, _) => String::new(),
    }
}
