//! Metrics and spans sent to a collector, where one is named.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::support::client::{Caller, answer, run};
use crate::support::listener::{Heard, Listener};
use crate::support::server::{Server, Setup};
use crate::support::stand_in::StandIns;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn posted<'a>(heard: &'a [Heard], path: &str) -> Vec<&'a [u8]> {
    let start = format!("POST {path} ");
    let ours = heard.iter().filter(|request| request.head.starts_with(&start));
    ours.map(|request| request.body.as_slice()).collect()
}

fn spans(heard: &[Heard]) -> Vec<Span> {
    let bodies = posted(heard, "/v1/traces").into_iter();
    let read = |body| ExportTraceServiceRequest::decode(body).expect("OTLP in protobuf");
    let resources = bodies.flat_map(|body| read(body).resource_spans);
    resources.flat_map(|each| each.scope_spans).flat_map(|each| each.spans).collect()
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn start(collector: &str) -> (Server, Caller, String) {
    let setup = Setup::sandbox().with("OTEL_EXPORTER_OTLP_ENDPOINT", collector);
    let server = setup.with("OPENROUTER_MODEL", "the/model").start();
    let token = server.banner("chat token").to_owned();
    let caller = Caller::of(&server);
    (server, caller, token)
}

#[test]
fn a_chat_is_one_tree_of_spans_whose_names_a_provider_was_told_too() {
    let collector = Listener::answering(|_| (200, Vec::new()));
    let (server, caller, token) = start(collector.url());
    let model = run(async {
        let ask = caller.chat(&token, "t", "search rust actors");
        let answered = answer(ask.header("traceparent", format!("00-{TRACE}-{CALLER}-01"))).await;
        assert_eq!(answered.status, 200);
        StandIns::within(&server).seen("openrouter_chat").await
    });
    let (code, log) = server.end_by("TERM");
    assert_eq!(code, Some(0), "{log}");
    let heard = collector.heard();
    let all: Vec<_> = spans(&heard);
    let ours: Vec<_> =
        all.iter().filter(|span| hex::encode(&span.trace_id) == TRACE).cloned().collect();
    let [server] = named(&ours, "POST /api/chat")[..] else { panic!("{ours:#?}") };
    assert_eq!(hex::encode(&server.parent_span_id), CALLER);
    let chats = named(&ours, "chat the/model");
    assert_eq!((chats.len(), named(&ours, "execute_tool search_web").len()), (2, 1));
    for below in ours.iter().filter(|span| span.span_id != server.span_id) {
        assert_eq!(below.parent_span_id, server.span_id, "{}", below.name);
        assert!(below.end_time_unix_nano >= below.start_time_unix_nano);
    }
    let told: Vec<_> =
        model.iter().filter_map(|asked| asked["headers"]["traceparent"].as_str()).collect();
    for chat in chats {
        let (trace, span) = (TRACE, hex::encode(&chat.span_id));
        assert!(told.contains(&&*format!("00-{trace}-{span}-01")), "{span} in {told:?}");
    }
}

#[test]
fn metrics_reach_the_collector_before_the_process_ends() {
    let collector = Listener::answering(|_| (200, Vec::new()));
    let (server, caller, token) = start(collector.url());
    run(async { answer(caller.chat(&token, "t", "hello")).await });
    let (code, log) = server.end_by("TERM");
    assert_eq!(code, Some(0), "{log}");
    let heard = collector.heard();
    let bodies = posted(&heard, "/v1/metrics").into_iter();
    let read = |body| ExportMetricsServiceRequest::decode(body).expect("OTLP in protobuf");
    let metrics = bodies.flat_map(|body| read(body).resource_metrics);
    let names: Vec<_> = metrics
        .flat_map(|each| each.scope_metrics)
        .flat_map(|each| each.metrics)
        .map(|metric| metric.name)
        .collect();
    for name in ["http.server.request.duration", "gen_ai.client.token.usage", "sendcat.actor.up"] {
        assert!(names.iter().any(|sent| sent == name), "{name} in {names:?}");
    }
}

#[test]
fn a_caller_that_records_nothing_has_no_spans_and_one_that_says_nothing_has() {
    let collector = Listener::answering(|_| (200, Vec::new()));
    let (server, caller, _) = start(collector.url());
    run(async {
        let quiet = format!("00-{TRACE}-{CALLER}-00");
        answer(caller.get("/livez").header("traceparent", quiet)).await;
        answer(caller.get("/readyz")).await;
    });
    server.end_by("TERM");
    let all = spans(&collector.heard());
    assert_eq!((named(&all, "GET /livez").len(), named(&all, "GET /readyz").len()), (0, 1));
}

#[test]
fn a_collector_that_fails_costs_one_line_of_the_log_and_no_answer() {
    let collector = Listener::answering(|_| (503, b"{\"error\":\"full\"}".to_vec()));
    let (server, caller, token) = start(collector.url());
    run(async {
        for _ in 0..20 {
            assert_eq!(answer(caller.chat(&token, "t", "hello")).await.status, 200);
        }
    });
    let (code, log) = server.end_by("TERM");
    assert_eq!(code, Some(0), "{log}");
    assert!(!collector.heard().is_empty());
    let said = log.matches("cannot be sent to the OTLP endpoint").count();
    assert_eq!(said, 1, "{log}");
    assert!(!log.contains("opentelemetry"), "the exporters' own words: {log}");
}

#[test]
fn a_collector_that_is_silent_does_not_keep_the_process() {
    let collector = Listener::answering(|_| {
        loop {
            std::thread::park();
        }
    });
    let (server, caller, token) = start(collector.url());
    run(async { assert_eq!(answer(caller.chat(&token, "t", "hello")).await.status, 200) });
    let (code, log) = server.end_by("TERM");
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("may not have been sent"), "{log}");
}
