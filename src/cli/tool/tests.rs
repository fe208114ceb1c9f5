//! What no tool may get wrong: whom it asks, what its file is called, that the file is whole.

use std::time::{Duration, UNIX_EPOCH};

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Typed {
    #[command(flatten)]
    common: Common,
}

fn typed(words: &[&str]) -> Common {
    Typed::try_parse_from([&["tool"], words].concat()).unwrap().common
}

#[test]
fn a_tool_that_does_harm_asks_only_this_machine_unless_it_is_allowed_to() {
    let harmful = [Kind::LoadDrill, Kind::CanaryCheck, Kind::GameDay];
    for kind in harmful {
        for near in ["http://127.0.0.1:8787", "http://localhost:1", "http://[::1]:8787/"] {
            assert_eq!(may_be_asked(kind, near, false), Ok(()), "{near}");
        }
        for far in ["https://sendcat.app", "http://127.0.0.1.sendcat.app", "http://10.0.0.1"] {
            assert!(may_be_asked(kind, far, false).is_err(), "{far}");
            assert_eq!(may_be_asked(kind, far, true), Ok(()), "{far}");
        }
    }
    assert_eq!(may_be_asked(Kind::SyntheticProbes, "https://sendcat.app", false), Ok(()));
    for none in ["sendcat.app", "file:///etc/passwd", ""] {
        assert!(may_be_asked(Kind::SyntheticProbes, none, true).is_err(), "{none}");
    }
}

#[test]
fn a_file_is_called_as_in_the_log() {
    let time = UNIX_EPOCH + Duration::from_millis(1_771_329_476_470);
    assert_eq!(files::stamp(time), "2026-02-17T11-57-56-470Z");
}

#[test]
fn a_report_is_whole_or_not_there_and_nothing_is_left_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/report.json");
    files::replace(&path, b"one").unwrap();
    files::replace(&path, b"two").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"two");
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    let error = files::replace(&path.join("not a folder"), b"x").unwrap_err();
    assert!(error.to_string().contains("report.json"), "{error}");
}

#[test]
fn a_run_ends_with_its_report_in_a_file_and_the_policies_it_was_judged_by() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let words = ["--out", out, "--quiet", "--seed", "7", "--label", "deploy=a", "--dry-run"];
    let secret = ["--base-url", "http://user:planted@127.0.0.1:9/x"];
    let common = typed(&[&words[..], &secret[..]].concat());
    let mut tool = Tool::begin(Kind::LoadDrill, common).unwrap();
    tool.set_profile("quick");
    let _: crate::slo::policy::SloBaseline = tool.policy("slo-baseline.json").unwrap();
    let name = tool.file_name();
    let ended = format!("{:?}", tool.end(Found::default()));
    assert_eq!(ended, format!("{:?}", ExitCode::from(3)), "nothing was shown");
    let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert!(!text.contains("planted"), "{text}");
    let report: Report = serde_json::from_str(&text).unwrap();
    assert_eq!(report.target.base_url, "http://127.0.0.1:9");
    assert_eq!((report.seed, report.exit_code), (7, 3));
    assert_eq!(report.profile.as_deref(), Some("quick"));
    assert_eq!(report.labels["deploy"], "a");
    assert_eq!(report.input_hash("slo-baseline.json").unwrap().len(), 64);
}

#[test]
fn a_policy_of_the_operators_is_read_from_its_directory_and_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let tool = || Tool::begin(Kind::ReleaseGate, typed(&["--config-dir", dir, "--dry-run"]));
    assert!(tool().unwrap().policy::<crate::slo::policy::Owners>("ownership-matrix.json").is_ok());
    let file = folder.path().join("ownership-matrix.json");
    std::fs::write(&file, r#"{"schema": "sendcat.owners/1", "rule": []}"#).unwrap();
    let refused = tool().unwrap().policy::<crate::slo::policy::Owners>("ownership-matrix.json");
    assert!(refused.is_err());
    let why = inputs::policy::<crate::slo::policy::Owners>(Some(&file)).unwrap_err();
    assert!(why.contains("ownership-matrix.json:1:") && why.contains("`rules`"), "{why}");
}

#[test]
fn an_explanation_names_who_owns_the_route_of_a_scenario() {
    let baseline = crate::slo::policy::SloBaseline::built_in();
    let of = |id| explained::subject(id, &baseline);
    assert_eq!(of("whatsapp_webhook.latency@429"), "route:/api/whatsapp/webhook");
    assert_eq!(of("burn.whatsapp_webhook.http5xx"), "route:/api/whatsapp/webhook");
    assert_eq!(of("probe.chat_cors"), "check:probe.chat_cors");
}

#[test]
fn colours_are_off_where_they_are_refused_and_on_where_they_are_forced() {
    let file = tempfile::tempfile().unwrap();
    assert!(!typed(&[]).colours(&file));
    assert!(typed(&["--force-color"]).colours(&file));
    assert!(!typed(&["--force-color", "--no-color"]).colours(&file));
}

/// Of every kind that could get near a report; those of known forms, and those that only the
/// command line has named.
const PLANTED: [&str; 7] = [
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.cGxhbnRlZC1zaWc",
    "0f1e2d3c4b5a69780f1e2d3c4b5a69780f1e2d3c4b5a69780f1e2d3c4b5a6978",
    "planted-password",
    "planted-query-value",
    "4/0Aplanted-oauth-code",
    "planted.users.token",
    "ya29.planted-access-token",
];

/// A line that says all of them, as a server or a library may.
fn telling() -> String {
    let [token, signature, password, query, code, user, google] = PLANTED;
    format!(
        "Bearer {token} x-hub-signature-256: sha256={signature} \
         https://me:{password}@host/cb?state=v1.{password}&code={code} page={query} \
         token {user} and {google}"
    )
}

#[test]
fn planted_secrets_are_in_no_form_of_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let url = "http://me:planted-password@127.0.0.1:9/x?page=planted-query-value";
    let label = format!("note={}", telling());
    let words = ["--out", out, "--base-url", url, "--dry-run", "--label", &label, "--html"];
    let common = typed(&[&words[..], &["--known-token", PLANTED[5]]].concat());
    let tool = Tool::begin(Kind::SyntheticProbes, common).unwrap();
    let mut row = crate::slo::gates::gate("s", "x", crate::slo::stats::Share::new(1, 2), 0.1, "y");
    (row.id, row.why) = (telling(), telling());
    let detail = serde_json::json!({"probes": [{"transcript": [telling()], telling(): 1}]});
    let found = Found {
        checks: vec![row],
        scenarios: vec![Scenario { id: telling(), ..Scenario::default() }],
        reasons: vec![telling()],
        server_delta: Some(detail.clone()),
        artifacts: vec![telling()],
        next: vec![format!("curl {url}"), telling()],
        details: Some(detail),
        ..Found::default()
    };
    let report = tool.report(found);
    let forms = [
        ("json", serde_json::to_string(&report).unwrap()),
        ("html", html::page(&report)),
        ("junit", junit::text(&report)),
        ("md", markdown::text(&report)),
        ("prom", prometheus::text(&report)),
        ("human", human::text(&report, &report.artifacts, Colour::Off)),
    ];
    for (form, text) in &forms {
        assert!(text.contains("***"), "{form} tells that something was taken out: {text}");
        for secret in PLANTED {
            assert!(!text.contains(secret), "{form} tells {secret}: {text}");
        }
    }
}
