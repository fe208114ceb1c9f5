//! `traceparent`: a caller's trace goes on to the provider, a malformed one does not, and the log
//! of a request names both the request and its trace.

use serde_json::Value;

use crate::support::raw_model::RawModel;
use crate::support::scene::Scene;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Asks with these fields; what the provider was sent as `traceparent` and `tracestate`, and the
/// request's identifier.
fn asked(
    scene: &Scene,
    model: &RawModel,
    fields: &[(&str, &str)],
) -> (String, Option<String>, String) {
    let mut ask = scene.caller.chat(&scene.token, "t", "hello");
    for (name, value) in fields {
        ask = ask.header(*name, *value);
    }
    let response = crate::support::client::run(async { ask.send().await.unwrap() });
    assert_eq!(response.status(), 200);
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let heard = model.heard().pop().expect("it was asked");
    let parent = heard.field("traceparent").expect("every call has a trace").to_owned();
    (parent, heard.field("tracestate").map(str::to_owned), id)
}

fn parts(parent: &str) -> (&str, &str, &str) {
    let fields: Vec<_> = parent.split('-').collect();
    let [version, trace, span, flags] = fields[..] else { panic!("{parent}") };
    assert_eq!((version, trace.len(), span.len()), ("00", 32, 16), "{parent}");
    let zero = |text: &str| text.bytes().all(|byte| byte == b'0');
    assert!(!zero(trace) && !zero(span), "{parent}");
    (trace, span, flags)
}

#[test]
fn a_trace_goes_on_and_is_in_the_log_and_a_malformed_one_is_replaced() {
    let model = RawModel::start();
    let scene = Scene::with(&[("OPENROUTER_BASE_URL", model.url())]);
    let state = ("tracestate", "vendor=1");
    let (parent, carried, id) = asked(&scene, &model, &[("traceparent", PARENT), state]);
    let (trace, span, flags) = parts(&parent);
    assert_eq!((trace, flags, carried.as_deref()), (TRACE, "01", Some("vendor=1")));
    assert_ne!(span, "00f067aa0ba902b7", "a step of our own");
    let (fresh, none, fresh_id) = asked(&scene, &model, &[]);
    let (odd, dropped, _) = asked(&scene, &model, &[("traceparent", &PARENT[1..]), state]);
    assert_eq!((none, dropped), (None, None));
    let traces = [trace, parts(&fresh).0, parts(&odd).0];
    assert!(traces[0] != traces[1] && traces[1] != traces[2] && traces[0] != traces[2]);
    let fresh_trace = parts(&fresh).0.to_owned();
    let Scene { server, .. } = scene;
    let (code, log) = server.end_by("TERM");
    assert_eq!(code, Some(0));
    let lines: Vec<Value> = log.lines().filter_map(|it| serde_json::from_str(it).ok()).collect();
    for (id, trace) in [(id, TRACE.to_owned()), (fresh_id, fresh_trace)] {
        let answered = lines.iter().filter(|line| line["fields"]["message"] == "answered");
        let ours: Vec<_> = answered.filter(|line| line["span"]["id"] == id.as_str()).collect();
        let [line] = ours.as_slice() else { panic!("not one line of {id}: {ours:?}") };
        assert_eq!(line["span"]["trace"], trace.as_str());
        assert_eq!(
            (&line["fields"]["status"], &line["span"]["path"]),
            (&200.into(), &"/api/chat".into())
        );
    }
}

#[test]
fn a_tools_provider_is_called_within_the_trace_of_the_chat() {
    let provider = RawModel::start();
    let scene = Scene::with(&[("SERPER_BASE_URL", provider.url())]);
    let ask = scene.caller.chat(&scene.token, "t", "search cats").header("traceparent", PARENT);
    assert_eq!(crate::support::scene::get(ask).status, 200);
    let heard = provider.heard();
    assert!(!heard.is_empty(), "the tool asked nobody");
    let mut steps = std::collections::BTreeSet::new();
    for call in &heard {
        let parent = call.field("traceparent").expect("every call has a trace");
        let (trace, span, flags) = parts(parent);
        assert_eq!((trace, flags), (TRACE, "01"));
        assert!(span != "00f067aa0ba902b7" && steps.insert(span.to_owned()), "{parent}");
    }
}
