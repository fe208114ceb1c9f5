//! The codes of what others have to answer for: a provider's keys, a model.

use super::world::path_of;
use super::{Wanted, assert_reached, each};
use crate::chat_failures::full_listener;
use crate::support::client::Caller;
use crate::support::scene::Scene;
use crate::support::server::Setup;

pub(super) fn without_keys(wanted: &[Wanted]) {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let server = Setup::bare().with("AUTH_JWKS_URL", nobody).start();
    let caller = Caller::of(&server);
    // A head that names a key, and claims: {"alg":"ES256","kid":"k"}.{"sub":"u"}.
    let token = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.eyJzdWIiOiJ1In0.AAAA";
    each(wanted, |route| caller.request(route.method, &path_of(route)).bearer_auth(token));
}

pub(super) fn with_a_failing_model(wanted: &[Wanted]) {
    for it in wanted {
        let (_held, full) = full_listener();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody = format!("http://{}", closed.local_addr().unwrap());
        drop(closed);
        let (knob, value, fault) = match it.1.name() {
            "upstream_unavailable" => ("OPENROUTER_BASE_URL", nobody.as_str(), None),
            "upstream_connect_timeout" => ("OPENROUTER_BASE_URL", full.as_str(), None),
            "upstream_rate_limited" => ("CHAT_MAX_STEPS", "8", Some(("429", 3))),
            "upstream_error" => ("CHAT_MAX_STEPS", "8", Some(("500", 3))),
            "upstream_rejected" => ("CHAT_MAX_STEPS", "8", Some(("400", 1))),
            "upstream_headers_timeout" => {
                ("CHAT_HEADERS_TIMEOUT_MS", "300", Some(("stall_headers", 1)))
            }
            "upstream_first_content_timeout" => {
                ("CHAT_FIRST_CONTENT_TIMEOUT_MS", "300", Some(("stall_content", 1)))
            }
            "upstream_total_timeout" => {
                ("CHAT_TOTAL_TIMEOUT_MS", "600", Some(("stall_content", 1)))
            }
            other => panic!("no model of ours fails with {other}"),
        };
        let knobs = [(knob, value), ("CHAT_CONNECT_TIMEOUT_MS", "200")];
        let scene =
            Scene::with(&[&knobs[..], &[("CIRCUIT_OPENROUTER_THRESHOLD", "1000")]].concat());
        if let Some((fault, times)) = fault {
            scene.stand_ins.fail("openrouter_chat", fault, times);
        }
        assert_reached(it, &scene.ask("x", "hello"));
    }
}
