//! Member names are those of the specification; windows merge without loss.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::slo::gates::gate;
use crate::slo::stats::Share;

fn histogram(us: &[u64]) -> Histogram {
    let mut histogram = Histogram::default();
    us.iter().for_each(|us| histogram.record_us(*us));
    histogram
}

fn report() -> Report {
    Report {
        schema: SCHEMA.into(),
        kind: Kind::LoadDrill,
        id: "one".into(),
        started_at: "2026-02-17T11:57:56.470Z".into(),
        ended_at: "2026-02-17T11:58:56.470Z".into(),
        tool: Version::default(),
        host: Host::default(),
        target: Target::default(),
        inputs: vec![Input { path: "policy/slo-baseline.json".into(), sha256: "ab".into() }],
        seed: 7,
        verdict: RunVerdict::Pass,
        exit_code: 0,
        checks: vec![gate("s", "http5xx", Share::new(0, 300), 0.01, "answers 5xx")],
        scenarios: vec![Scenario { stages: vec![Stage::default()], ..Scenario::default() }],
        server_delta: None,
        artifacts: Vec::new(),
        next: Vec::new(),
        profile: None,
        labels: BTreeMap::new(),
        reasons: Vec::new(),
        details: None,
    }
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn members_are_named_as_the_specification_names_them() {
    let value = serde_json::to_value(report()).unwrap();
    let mut expected = vec![
        "schema",
        "kind",
        "id",
        "startedAt",
        "endedAt",
        "tool",
        "host",
        "target",
        "inputs",
        "seed",
        "verdict",
        "exitCode",
        "checks",
        "scenarios",
        "artifacts",
        "next",
    ];
    expected.sort_unstable();
    let mut got = keys(&value);
    got.sort_unstable();
    assert_eq!(got, expected);
    assert_eq!(value["kind"], "load-drill");
    assert_eq!(value["verdict"], "PASS");
    let check = &value["checks"][0];
    for key in ["id", "scenario", "sli", "bad", "total", "observed", "ci95", "op", "threshold"] {
        assert!(check.get(key).is_some(), "{key}");
    }
    for key in ["verdict", "burn", "owner", "why"] {
        assert!(check.get(key).is_some(), "{key}");
    }
    let scenario = &value["scenarios"][0];
    for key in ["id", "model", "stages", "lagMs", "latencyMs", "byStatusClass", "series"] {
        assert!(scenario.get(key).is_some(), "{key}");
    }
    let stage = &scenario["stages"][0];
    for key in ["rate", "planned", "started", "dropped", "lateOver100ms", "throughput"] {
        assert!(stage.get(key).is_some(), "{key}");
    }
    for key in ["p50", "p90", "p95", "p99", "p99.9", "max", "hdr"] {
        assert!(scenario["latencyMs"]["corrected"].get(key).is_some(), "{key}");
    }
}

#[test]
fn a_report_reads_back_as_it_was() {
    let text = serde_json::to_string(&report()).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report());
    assert_eq!(report().ended().unwrap() - report().started().unwrap(), Duration::from_secs(60));
    assert_eq!(report().input_hash("slo-baseline.json"), Some("ab"));
    assert_eq!(report().input_hash("baseline.json"), None);
}

#[test]
fn error_kinds_and_statuses_are_keys() {
    let mut stage = Stage::default();
    stage.statuses.insert(429, 700);
    stage.errors.insert(ErrorKind::PoolRace, 1);
    stage.errors.insert(ErrorKind::StreamCut, 2);
    let value = serde_json::to_value(&stage).unwrap();
    assert_eq!(value["statuses"], json!({"429": 700}));
    assert_eq!(value["errors"], json!({"pool_race": 1, "streamCut": 2}));
    assert_eq!(serde_json::from_value::<Stage>(value).unwrap(), stage);
}

#[test]
fn an_average_of_percentiles_is_not_what_merging_gives() {
    let quick = Latencies::of(&histogram(&[1_000; 99]));
    let slow = Latencies::of(&histogram(&[900_000; 1]));
    let merged = Latencies::merged([&quick, &slow]).unwrap();
    assert!((merged.p50 - 1.0).abs() < 0.01 && (merged.p99 - 1.0).abs() < 0.01, "{merged:?}");
    assert!((merged.max - 900.0).abs() < 1.0, "{merged:?}");
}

#[test]
fn what_is_no_histogram_is_refused_by_name() {
    assert!(matches!(Histogram::decode("~"), Err(HistogramError::Encoding(_))));
    assert!(matches!(Histogram::decode("AAAA"), Err(HistogramError::Format(_))));
    let other = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 1000, 2).unwrap();
    let mut bytes = Vec::new();
    use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
    V2DeflateSerializer::new().serialize(&other, &mut bytes).unwrap();
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    assert!(matches!(Histogram::decode(&text), Err(HistogramError::Shape)));
}

#[test]
fn a_limit_is_told_apart_within_a_thousandth() {
    let around = histogram(&[1_499_000, 1_500_000, 1_502_000, 200_000_000]);
    assert_eq!(around.slower_than_ms(1500), 2);
    assert_eq!(around.slower_than_ms(120_000), 0);
    assert_eq!(histogram(&[]).slower_than_ms(1500), 0);
}

proptest! {
    #[test]
    fn merged_windows_are_the_histogram_of_all_their_samples(
        windows in prop::collection::vec(prop::collection::vec(1_u64..130_000_000, 0..40), 0..5),
    ) {
        let saved: Vec<_> = windows.iter().map(|us| Latencies::of(&histogram(us))).collect();
        let merged = Latencies::merged(&saved).unwrap();
        let all: Vec<u64> = windows.concat();
        prop_assert_eq!(&merged, &Latencies::of(&histogram(&all)));
        prop_assert_eq!(merged.histogram().unwrap().count(), all.len() as u64);
    }
}
