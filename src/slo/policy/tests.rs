//! What ships is sound and says what the specification says; what is wrong is named by its line.

use serde_json::{Value, json};

use super::*;

#[track_caller]
fn findings<P: Policy + fmt::Debug>(text: &str) -> Vec<String> {
    let found = read::<P>("file.json", text).expect_err("something is wrong with it");
    assert!(!found.is_empty());
    found.iter().map(ToString::to_string).collect()
}

/// The built-in text with one value put in place of another.
fn with<P: Policy>(from: &str, to: &str) -> String {
    assert!(P::BUILT_IN.contains(from), "{from} is not there");
    P::BUILT_IN.replacen(from, to, 1)
}

#[test]
fn every_built_in_policy_is_sound_and_reads_back_as_written() {
    fn same<P: Policy + serde::Serialize>() {
        let policy = P::built_in();
        let text: Value = serde_json::from_str(P::BUILT_IN).unwrap();
        let again: Value = serde_json::to_value(&policy).unwrap();
        assert_eq!(numbers_as_floats(again), numbers_as_floats(text), "{}", P::FILE);
        assert!(P::BUILT_IN.starts_with("{\n  \"schema\""), "{}", P::FILE);
    }
    same::<SloBaseline>();
    same::<GatePolicy>();
    same::<CanaryPolicy>();
    same::<Owners>();
}

fn numbers_as_floats(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(of) => of.into_iter().map(numbers_as_floats).collect(),
        Value::Object(of) => of.into_iter().map(|(k, v)| (k, numbers_as_floats(v))).collect(),
        rest @ (Value::Null | Value::Bool(_) | Value::String(_)) => rest,
    }
}

#[test]
fn the_objectives_are_those_of_the_log() {
    let slo = SloBaseline::built_in();
    let numbers = |name: &str| {
        let slis = &slo.scenarios[name].slis;
        let latency = slis.latency.unwrap();
        let rate = |slo: Option<slo::RateSlo>| slo.unwrap().max_rate;
        let http5xx = slis.http5xx.clone().unwrap();
        assert!(http5xx.exclude.is_empty());
        let max = latency.max_ms;
        (max, latency.max_rate(), http5xx.max_rate, rate(slis.network), rate(slis.unknown_status))
    };
    assert_eq!(numbers("gmail_push_webhook"), (1500, 0.05, 0.01, 0.02, 0.05));
    assert_eq!(numbers("whatsapp_webhook"), (1500, 0.05, 0.01, 0.02, 0.05));
    assert_eq!(numbers("chat_stream_http"), (12000, 0.05, 0.05, 0.05, 0.10));
    assert_eq!(slo.window_hours(), Some(720.0));
}

#[test]
fn a_misspelt_key_is_named_with_its_line_and_the_right_one() {
    let text = with::<SloBaseline>("\"maxRate\": 0.02", "\"maxRat\": 0.02");
    let path = "scenarios.gmail_push_webhook.slis.network";
    assert_eq!(
        findings::<SloBaseline>(&text),
        [format!(
            "file.json:11:29: {path}.maxRat: unknown field `maxRat`, expected `maxRate`; \
             write `maxRate`"
        )]
    );
    let text = with::<GatePolicy>("\"windowMinutes\": 15", "\"windowMinutes\": 15, \"colour\": 1");
    let found = findings::<GatePolicy>(&text);
    assert!(found[0].starts_with("file.json:20:"), "{found:?}");
    assert!(found[0].ends_with("; remove it"), "{found:?}");
}

#[test]
fn a_missing_key_a_wrong_kind_and_broken_json_say_what_to_do() {
    let text = with::<CanaryPolicy>("\"maxRatio\": 1.10, ", "");
    let found = findings::<CanaryPolicy>(&text);
    assert!(found[0].contains(":7:"), "{found:?}");
    assert!(found[0].ends_with("p50: missing field `maxRatio`; add `maxRatio`"), "{found:?}");
    let text = with::<CanaryPolicy>("\"minBlocks\": 120", "\"minBlocks\": \"120\"");
    let found = findings::<CanaryPolicy>(&text);
    assert!(found[0].contains("minBlocks: invalid type"), "{found:?}");
    assert!(found[0].ends_with("; write a value of that kind"), "{found:?}");
    let found = findings::<CanaryPolicy>("{\n  \"schema\" 1}");
    assert!(found[0].starts_with("file.json:2:12: "), "{found:?}");
    assert!(found[0].ends_with("; correct the JSON there"), "{found:?}");
    let found = findings::<CanaryPolicy>(&format!("{}{{", CanaryPolicy::BUILT_IN));
    assert!(found[0].contains("more text after the policy; remove it"), "{found:?}");
}

#[test]
fn every_value_out_of_range_is_named_at_once_in_the_order_of_the_file() {
    let text = with::<SloBaseline>("\"30d\"", "\"a month\"")
        .replacen("\"maxRate\": 0.01", "\"maxRate\": 1.5", 1)
        .replacen("\"maxMs\": 12000", "\"maxMs\": 0", 1)
        .replacen("sendcat.slo/1", "sendcat.slo/9", 1);
    let (gmail, chat) = ("scenarios.gmail_push_webhook.slis", "scenarios.chat_stream_http.slis");
    assert_eq!(
        findings::<SloBaseline>(&text),
        [
            "file.json:2:3: schema: unknown schema \"sendcat.slo/9\"; write \"sendcat.slo/1\""
                .into(),
            "file.json:3:3: window: \"a month\" is no window; write whole days, such as \"30d\""
                .into(),
            format!(
                "file.json:10:22: {gmail}.http5xx.maxRate: 1.5 is out of range; \
                 write a number from 0.0001 to 0.9999"
            ),
            format!(
                "file.json:29:40: {chat}.latency.maxMs: 0 is out of range; \
                 write a number from 1 to 120000"
            ),
        ]
    );
}

#[test]
fn a_key_that_stands_twice_is_named_where_it_stands_again() {
    let text =
        with::<GatePolicy>("\"maxDeadJobs\": 0,", "\"maxDeadJobs\": 0,\n\"maxDeadJobs\": 9,");
    let found = findings::<GatePolicy>(&text);
    assert!(found[0].contains("duplicate field `maxDeadJobs`"), "{found:?}");
    // A map takes the last of two in silence, so that scenario would lose its objectives.
    let text = with::<SloBaseline>("\"whatsapp_webhook\"", "\"gmail_push_webhook\"");
    let found = findings::<SloBaseline>(&text);
    let again = "file.json:15:5: scenarios.gmail_push_webhook: this key stands twice; \
                 keep one of the two";
    assert_eq!(found[0], again);
}

#[test]
fn what_contradicts_itself_is_refused() {
    let text =
        with::<GatePolicy>("\"minReportsForLongWindow\": 3", "\"minReportsForLongWindow\": 13");
    assert!(
        findings::<GatePolicy>(&text)[0].contains("13 reports are needed but 12 are looked at")
    );
    let text = with::<GatePolicy>("\"quick\"", "\"fast\"");
    assert!(
        findings::<GatePolicy>(&text)[0].ends_with("write one of quick, standard, burst, soak")
    );
    let text = with::<GatePolicy>("\"all\"", "[]");
    assert!(findings::<GatePolicy>(&text)[0].contains("no probe is required"));
    let text = with::<CanaryPolicy>("\"samplesPerArm\": 6000", "\"samplesPerArm\": 5999");
    assert!(findings::<CanaryPolicy>(&text)[0].contains("write at least 6000"));
    let text = with::<CanaryPolicy>("[\"FAIL\"]", "[]");
    assert!(findings::<CanaryPolicy>(&text)[0].ends_with("add \"FAIL\""));
}

#[test]
fn the_last_rule_that_matches_owns_and_what_none_matches_is_named() {
    let owners = Owners::built_in();
    let team = |subject: &str| owners.of(subject).0.team;
    let subjects = ["route:/api/chat", "route:/api/gmail/push", "circuit:ebay", "route:/healthz"];
    assert_eq!(subjects.map(team), ["chat", "integrations", "platform", "platform"]);
    let (owner, page) = owners.of("circuit:ebay");
    assert_eq!(
        (owner.contact.as_str(), page),
        ("#oncall-platform", Some("RUNBOOK.md#circuit-open"))
    );
    assert_eq!(owners.of("route:/api/chat").0.escalate_after_min, Some(15));
    let unowned = owners.unowned(["route:/api/chat", "route:/healthz"]);
    assert_eq!(unowned.len(), 1);
    assert_eq!(unowned[0].what, "nobody owns \"route:/healthz\"");
}

#[test]
fn a_rule_that_can_never_win_and_a_page_that_is_not_there_are_named() {
    let text = with::<Owners>("\"circuit:*\"", "\"route:/api/gmail/push\"").replacen(
        "\"route:/api/gmail/*\"",
        "\"route:/api/gmail/push\"",
        1,
    );
    let found = findings::<Owners>(&text);
    assert!(found[0].contains("a later rule, \"route:/api/gmail/push\", always wins"), "{found:?}");
    let text = with::<Owners>("\"circuit:*\"", "\"*\"");
    assert!(findings::<Owners>(&text)[0].contains("always wins"));
    let runbook = "# Runbook\n## Chat\n## Gmail\n## WhatsApp\n### Circuit open\n## Replay surge\n\
                   ## Bulkhead saturation\n## Rate-limit spike\n";
    let mut owners = Owners::built_in();
    let kept = ["route:/api/chat", "circuit:*", "jobs:*"];
    owners.rules.retain(|rule| kept.contains(&rule.r#match.as_str()));
    let missing = owners.without_page("RUNBOOK.md", runbook);
    assert_eq!(missing.len(), 1);
    assert_eq!(
        (missing[0].path.as_str(), missing[0].what.as_str()),
        ("rules[2].runbook", "RUNBOOK.md has no section #tool-queue",)
    );
}

#[test]
fn chat_is_given_the_wider_limits_of_its_provider() {
    let policy = CanaryPolicy::built_in();
    let chat = policy.for_chat();
    assert_eq!((chat.p95.max_delta_ms, chat.slow_tail.above_median_ms), (500.0, 1000.0));
    assert_eq!(chat.http5xx, policy.http5xx);
}
