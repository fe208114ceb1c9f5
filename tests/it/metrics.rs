//! `/metrics` as a Prometheus server reads it, and what is made for one.

use std::collections::BTreeMap;
use std::process::Command;

use prometheus_parse::{Scrape, Value};
use sendcat::telemetry::metrics::catalog::METRICS;

use crate::support::client::{Caller, answer, run};
use crate::support::raw::Raw;
use crate::support::server::{Server, Setup};
use crate::support::webhook::{eventually, receiver};

/// What is shown, by name and labels; of a histogram how much was counted.
type Series = BTreeMap<String, f64>;

async fn scraped(caller: &Caller) -> Series {
    let answer = answer(caller.get("/metrics")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(answer.header("content-type"), Some(text));
    let lines: Vec<_> = answer.body.lines().map(|line| Ok(line.to_owned())).collect();
    let scrape = Scrape::parse(lines.into_iter()).expect("Prometheus can read it");
    let series = scrape.samples.into_iter().map(|sample| {
        let labels: BTreeMap<_, _> = sample.labels.iter().collect();
        let value = match sample.value {
            Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => value,
            Value::Histogram(buckets) => buckets.last().map_or(0.0, |bucket| bucket.count),
            Value::Summary(_) => panic!("there are no summaries"),
        };
        (format!("{}{labels:?}", sample.metric), value)
    });
    series.collect()
}

fn sandbox() -> (Server, Caller, String) {
    let server = Setup::sandbox().with("OPENROUTER_MODEL", "the/model").start();
    let token = server.banner("chat token").to_owned();
    let caller = Caller::of(&server);
    (server, caller, token)
}

/// Asks in a thread of its own, and reads the whole answer.
async fn chat(caller: &Caller, token: &str, text: &str) {
    let answer = answer(caller.chat(token, "t", text)).await;
    assert!(answer.body.ends_with("data: [DONE]\n\n"), "{answer:?}");
}

/// They come when each machine is saved for the first time.
const SNAPSHOTS: &str = "sendcat_snapshot_age_seconds{";

fn value(series: &Series, start: &str) -> f64 {
    let found: Vec<_> = series.iter().filter(|(name, _)| name.starts_with(start)).collect();
    assert_eq!(found.len(), 1, "{start}: {found:?}\n{:#?}", series.keys());
    *found[0].1
}

#[test]
fn what_a_chat_with_a_tool_does_is_counted_by_every_name_of_the_catalog() {
    let (_server, caller, token) = sandbox();
    run(async {
        chat(&caller, &token, "search rust actors").await;
        // What actors show of themselves is published some times a second.
        let series = eventually("the queue shows its job", async || {
            let series = scraped(&caller).await;
            let done = r#"sendcat_queue_jobs{"status": "done", "tool": "search_web"}"#;
            let saved = series.keys().any(|name| name.starts_with(SNAPSHOTS));
            (saved && series.get(done) == Some(&1.0)).then_some(series)
        })
        .await;
        let chats = r#"gen_ai_client_operation_duration_seconds{"gen_ai_operation_name": "chat""#;
        // One call of the model asks for the tool, the next answers.
        assert_eq!(value(&series, chats), 2.0);
        let first = "gen_ai_client_operation_time_to_first_chunk_seconds{";
        assert_eq!(value(&series, first), 2.0);
        assert!(series.keys().any(|name| name.starts_with(chats) && name.contains("the/model")));
        assert_eq!(value(&series, "gen_ai_execute_tool_duration_seconds{"), 1.0);
        let posted = r#"{"http_request_method": "POST", "http_response_status_code": "200", "#;
        let posted = format!("http_server_request_duration_seconds{posted}");
        assert_eq!(value(&series, &format!(r#"{posted}"http_route": "/api/chat"}}"#)), 1.0);
        let admitted = r#"{"bucket": "chat_stream", "outcome": "admitted"}"#;
        assert_eq!(value(&series, &format!("sendcat_limiter_calls_total{admitted}")), 1.0);
        assert_eq!(series[r#"sendcat_tool_cache_lookups_total{"outcome": "miss"}"#], 1.0);
        for metric in METRICS {
            let name = metric.exposed();
            let start = [format!("{name}{{"), format!("{name}_count{{")];
            let shown = series.keys().any(|key| start.iter().any(|it| key.starts_with(it)));
            // Shown from their first time on: nothing was sent or went unanswered here.
            let later = ["sendcat_otlp_exports_total", "sendcat_actor_unanswered_total"];
            let duplicates = "sendcat_idempotency_duplicates_total";
            assert!(shown || later.contains(&&*name) || name == duplicates, "{name}");
        }
    });
}

#[test]
fn metrics_are_shown_while_every_actor_hangs() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        let one_of_each_thread = ["job_queue", "idempotency", "bulkhead-jwks", "rate_limiter-0"];
        for actor in one_of_each_thread {
            caller.arms(&format!("{actor}:hang@0:600000ms")).await;
        }
        let series = scraped(&caller).await;
        assert!(series.contains_key(r#"sendcat_actor_up{"actor": "job_queue"}"#));
        assert!(series.len() > 300, "{}", series.len());
    });
}

#[test]
fn ten_thousand_made_up_paths_and_methods_add_no_series() {
    let server = Setup::bare().start();
    let caller = Caller::of(&server);
    let ask = |number: usize| {
        let method = ["GET", "POST", "BREW", "PROPFIND"][number % 4];
        format!("{method} /made/{number}?x={number} HTTP/1.1\r\nhost: x\r\n\r\n")
    };
    let flood = |numbers: std::ops::Range<usize>| {
        let (count, asked) = (numbers.len(), numbers.map(ask).collect::<String>());
        let mut raw = Raw::send(server.url(), &asked);
        raw.until_times("HTTP/1.1 404", count);
    };
    let count = || {
        let series = run(scraped(&caller));
        series.keys().filter(|name| !name.starts_with(SNAPSHOTS)).count()
    };
    flood(0..4);
    // The first look is itself the first of its route.
    count();
    let before = count();
    for start in (4..10_004).step_by(100) {
        flood(start..start + 100);
    }
    assert_eq!(count(), before);
}

/// What the command prints.
fn printed(argument: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sendcat"));
    let output = command.args(["dashboard", argument]).output().expect("it was built");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("it prints text")
}

#[test]
fn promtool_takes_the_rules_that_are_printed() {
    let directory = tempfile::TempDir::new().expect("there is room");
    let file = directory.path().join("rules.yml");
    std::fs::write(&file, printed("--prometheus-rules")).expect("there is room");
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/promtool");
    let tool = if std::path::Path::new(own).exists() { own } else { "promtool" };
    let checked = Command::new(tool).arg("check").arg("rules").arg(&file).output();
    let checked = checked.expect("promtool is there: ./tests/run --prepare installs it");
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn the_dashboard_that_is_printed_is_json_with_panels() {
    let dashboard: serde_json::Value = serde_json::from_str(&printed("--grafana")).expect("JSON");
    assert!(dashboard["panels"].as_array().is_some_and(|panels| panels.len() > METRICS.len()));
}
