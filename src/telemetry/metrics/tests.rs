//! What /metrics shows, and that no caller makes it grow.

use std::collections::BTreeSet;

use opentelemetry_otlp::MetricExporter;
use proptest::prelude::*;

use super::catalog::METRICS;
use super::*;

fn metrics() -> Metrics {
    Metrics::new(None::<PeriodicReader<MetricExporter>>).unwrap()
}

fn answered<'a>(route: Option<&'static str>, method: &'a str) -> Answered<'a> {
    Answered { route, method, status: 404, code: Some("not_found") }
}

/// Every metric once, with words for its labels.
fn all_recorded(metrics: &Metrics, meters: &Meters) {
    meters.http_answered(answered(Some("/livez"), "GET"), Duration::from_millis(7));
    meters.chat_ended("a", Duration::from_secs(2), None);
    meters.first_chunk("a", Duration::from_millis(300));
    meters.tokens("a", "input", 12);
    meters.tool_ended("search_web", Duration::from_secs(1), Some("tool_failed"));
    meters.exports.add(1.0, &[KeyValue::new("outcome", "sent")]);
    for metric in METRICS {
        let recorded = ["http.", "gen_ai.", "sendcat.otlp."];
        if recorded.iter().any(|room| metric.name.starts_with(room)) {
            continue;
        }
        metrics.watch(metric, |seen| match seen.metric.labels.len() {
            0 => seen.put(1.0, []),
            1 => seen.put(2.0, ["x"]),
            _ => seen.put(3.0, ["x", "y"]),
        });
    }
}

fn parsed(metrics: &Metrics) -> prometheus_parse::Scrape {
    let lines = metrics.text().unwrap().lines().map(|line| Ok(line.to_owned())).collect::<Vec<_>>();
    prometheus_parse::Scrape::parse(lines.into_iter()).unwrap()
}

#[test]
fn every_metric_of_the_catalog_is_shown_by_its_exposed_name_with_its_help() {
    let metrics = metrics();
    all_recorded(&metrics, &metrics.meters(vec!["a".into()]));
    let text = metrics.text().unwrap();
    for metric in METRICS {
        let help = format!("# HELP {} {}", metric.exposed(), metric.help);
        assert!(text.lines().any(|line| line == help), "{help}\n{text}");
    }
    let scrape = parsed(&metrics);
    let shown: BTreeSet<_> = scrape.samples.iter().map(|sample| sample.metric.as_str()).collect();
    let known: BTreeSet<_> = METRICS.iter().map(|metric| metric.exposed()).collect();
    let row = |name: &str| {
        let of = |end| name.strip_suffix(end).is_some_and(|name| known.contains(name));
        known.contains(name) || of("_sum") || of("_count")
    };
    let unknown: Vec<_> = shown.iter().filter(|name| !row(name)).collect();
    assert_eq!(unknown, [&"target_info"]);
}

#[test]
fn what_was_recorded_is_read_back_with_its_labels() {
    let metrics = metrics();
    let meters = metrics.meters(vec!["a".into()]);
    meters.http_answered(answered(Some("/livez"), "GET"), Duration::from_millis(7));
    metrics.watch(&catalog::MAILBOX_DEPTH, |seen| seen.put(4.0, ["journal"]));
    let text = metrics.text().unwrap();
    for line in [
        "http_server_request_duration_seconds_bucket{error_type=\"not_found\",\
         http_request_method=\"GET\",http_response_status_code=\"404\",http_route=\"/livez\",\
         le=\"0.01\"} 1",
        "sendcat_actor_mailbox_depth{actor=\"journal\"} 4",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    }
}

#[test]
fn a_hundred_thousand_made_up_paths_methods_and_models_add_no_series() {
    let metrics = metrics();
    let meters = metrics.meters(vec!["known".into()]);
    let record = |path: &str, method: &str, model: &str| {
        let route = row_of(path);
        meters.http_answered(answered(route, method), Duration::ZERO);
        meters.chat_ended(model, Duration::ZERO, None);
        meters.first_chunk(model, Duration::ZERO);
        meters.tokens(model, "input", 1);
    };
    record("/made/up", "MADEUP", "made up");
    record("/livez", "GET", "known");
    let before = parsed(&metrics).samples.len();
    let mut number = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..100_000 {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        record(&format!("/{number:x}"), &format!("M{number}"), &format!("model-{number}"));
    }
    assert_eq!(parsed(&metrics).samples.len(), before);
}

/// The only row that this test knows, as the table of routes would find it.
fn row_of(path: &str) -> Option<&'static str> {
    (path == "/livez").then_some("/livez")
}

proptest! {
    #[test]
    fn a_method_is_one_of_nine_or_other(method in "\\PC*") {
        let told = method_of(&method);
        prop_assert!(told == method || told == "_OTHER");
    }
}
