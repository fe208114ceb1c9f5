//! `sendcat gate` against a real server: every step, one report, one exit code.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::webhook::{OPS_TOKEN, SECRET, VERIFY_TOKEN, sandboxed_receiver};

fn ran(out: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sendcat"));
    command.arg("gate").args(arguments).env_clear().arg("--out").arg(out);
    command.env("OPS_TOKEN", OPS_TOKEN).env("WHATSAPP_APP_SECRET", SECRET);
    command.env("WHATSAPP_VERIFY_TOKEN", VERIFY_TOKEN);
    let output = command.output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The long window needs three reports (OPERATIONS.md §5.3), so a first gate is inconclusive for
/// that alone.
#[test]
fn a_first_gate_of_a_sound_server_lacks_only_the_reports_of_the_long_window() {
    let (server, out) = (sandboxed_receiver().start(), TempDir::new().unwrap());
    let arguments = ["--base-url", server.url(), "--format", "json", "--quiet"];
    let (code, printed, said) = ran(out.path(), &arguments);
    let report: Value = serde_json::from_str(&printed).expect("the report alone is printed");
    assert_eq!(report["kind"], "release-gate", "{said}");
    let rows = report["checks"].as_array().unwrap();
    let bad = |row: &&Value| !["pass", "pass_unproven"].contains(&row["verdict"].as_str().unwrap());
    for row in rows.iter().filter(bad) {
        let id = row["id"].as_str().unwrap();
        assert!(id.starts_with("burn.") && id.ends_with(".long"), "{row}");
        assert_eq!(row["verdict"], "no_data", "{row}");
    }
    assert_eq!(code, Some(3), "{report}");
    for step in ["probe.chat.auth", "whatsapp_webhook.http5xx", "snapshot.maxOpenCircuits"] {
        let row = rows.iter().find(|row| row["id"] == step).unwrap_or_else(|| panic!("{step}"));
        assert_eq!(row["verdict"], "pass", "{row}");
    }
    for row in rows {
        assert!(!row["owner"]["team"].as_str().unwrap().is_empty(), "{row}");
    }
    let names = std::fs::read_dir(out.path()).unwrap().map(|file| file.unwrap().file_name());
    let names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    assert!(names.iter().all(|name| name.starts_with("release-gate-")), "{names:?}");
    for secret in [OPS_TOKEN, SECRET, VERIFY_TOKEN] {
        assert!(!printed.contains(secret) && !said.contains(secret), "{secret} was told");
    }
}

#[test]
fn broken_files_exit_2_with_their_line_and_nobody_exits_5_with_every_row_without_data() {
    let dir = TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    assert_eq!(ran(dir.path(), &["--lint"]).0, Some(0));
    let wide = include_str!("../../src/slo/policy/release-gate-policy.json")
        .replace("\"shortWindowMaxBurnRate\": 1.0", "\"shortWindowMaxBurnRate\": 10");
    let wide = file("gate.json", &wide);
    let (code, _, said) = ran(dir.path(), &["--lint", "--policy", &wide]);
    assert_eq!(code, Some(2));
    assert!(said.contains("gate.json:6:5: burnRate.shortWindowMaxBurnRate: 10 can"), "{said}");
    let lax = include_str!("../../src/slo/policy/canary-policy.json")
        .replace("\"alphaFamily\": 0.005", "\"alphaFamily\": 0.5");
    file("canary-policy.json", &lax);
    let (code, _, said) =
        ran(dir.path(), &["--lint", "--config-dir", dir.path().to_str().unwrap()]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("canary-policy.json:3:3: alphaFamily: "), "{said}");
    let orphaned = include_str!("../../src/slo/policy/ownership-matrix.json")
        .replace("\"route:/api/chat\"", "\"route:/api/nothing\"");
    let orphaned = file("owners.json", &orphaned);
    let (code, _, said) = ran(dir.path(), &["--owners", &orphaned]);
    assert_eq!(code, Some(2));
    assert!(said.contains("nobody owns \"route:/api/chat\""), "{said}");
    let (code, _, said) = ran(dir.path(), &["--slo", "/nowhere.json"]);
    assert_eq!(code, Some(2), "{said}");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let (code, printed, _) = ran(dir.path(), &["--base-url", &nobody, "--format", "json"]);
    let report: Value = serde_json::from_str(&printed).expect("the report alone is printed");
    assert_eq!(code, Some(5), "{report}");
    let rows = report["checks"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["verdict"] == "no_data"), "{report}");
}
