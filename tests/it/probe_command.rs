//! `sendcat probe`: one command, its table or its report, and the exit code that says the same.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::mutant::{Mutant, is, says};
use crate::support::webhook::{OPS_TOKEN, SECRET, VERIFY_TOKEN, sandboxed_receiver};

fn command(out: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sendcat"));
    command.arg("probe").args(arguments).env_clear().arg("--out").arg(out);
    command.env("OPS_TOKEN", OPS_TOKEN).env("WHATSAPP_APP_SECRET", SECRET);
    command.env("WHATSAPP_VERIFY_TOKEN", VERIFY_TOKEN);
    command
}

fn ran(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_sound_server_is_a_pass_and_its_report_is_written_without_a_secret() {
    let (server, out) = (sandboxed_receiver().start(), TempDir::new().unwrap());
    let url = ["--base-url", server.url()];
    let arguments = [&url[..], &["--repeat", "2", "--every", "10ms", "--format", "json"]].concat();
    let (code, printed, said) = ran(&mut command(out.path(), &arguments));
    assert_eq!(code, Some(0), "{printed}{said}");
    let report: Value = serde_json::from_str(&printed).expect("the report alone is printed");
    assert_eq!((&report["kind"], &report["verdict"]), (&"synthetic-probes".into(), &"PASS".into()));
    let rows = report["checks"].as_array().unwrap();
    assert_eq!(rows.len(), 11);
    for row in rows {
        assert_eq!((&row["verdict"], &row["total"]), (&"pass".into(), &2.into()), "{row}");
    }
    let files: Vec<_> = std::fs::read_dir(out.path()).unwrap().map(Result::unwrap).collect();
    let name = files[0].file_name().into_string().unwrap();
    assert!(name.starts_with("synthetic-probes-") && name.ends_with("Z.json"), "{name}");
    let kept = std::fs::read_to_string(files[0].path()).unwrap();
    for secret in [OPS_TOKEN, SECRET, VERIFY_TOKEN, "eyJ", "sha256=", "pong"] {
        assert!(!kept.contains(secret) && !said.contains(secret), "{secret} was told");
    }
}

#[test]
fn a_fault_exits_1_with_the_first_assertion_and_its_transcript_and_nobody_exits_5() {
    let (server, out) = (sandboxed_receiver().start(), TempDir::new().unwrap());
    let mutant = Mutant::of(server.url(), |heard, answer| {
        if heard.line == "POST /api/chat" && is(answer, 401) {
            says(answer, "200 OK");
        }
        std::time::Duration::ZERO
    });
    let only = ["--base-url", mutant.url(), "--only", "chat.auth,health.live", "--retries", "1"];
    let (code, printed, said) = ran(&mut command(out.path(), &only));
    assert_eq!(code, Some(1), "{printed}{said}");
    assert!(printed.contains("probe.chat.auth") && printed.contains("FAIL"), "{printed}");
    let first = "probe.chat.auth: expected status 401, got 200 (asked 2 times)\n    \
                 > POST /api/chat\n    > content-type: application/json\n";
    assert!(said.contains(first), "{said}");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let (code, printed, _) = ran(&mut command(out.path(), &["--base-url", &nobody]));
    assert_eq!(code, Some(5), "{printed}");
    assert!(printed.contains("cannot be reached"), "{printed}");
}

#[test]
fn what_would_be_asked_is_told_without_asking_and_what_is_no_probe_is_refused() {
    let out = TempDir::new().unwrap();
    let mut plain = command(out.path(), &["--dry-run"]);
    let (code, printed, _) = ran(plain.env_remove("WHATSAPP_APP_SECRET"));
    assert_eq!(code, Some(0));
    assert_eq!(printed.lines().count(), 11, "{printed}");
    let replay = printed.lines().find(|line| line.starts_with("replay.header")).unwrap();
    assert!(replay.contains("skipped: WHATSAPP_APP_SECRET is not set here"), "{replay}");
    let (code, printed, _) = ran(&mut command(out.path(), &["--explain", "chat.stream"]));
    assert_eq!(code, Some(0));
    let limits = "degraded from 2000 ms, failed from 12000 ms";
    assert!(printed.contains(limits) && printed.contains("RUNBOOK.md#chat"), "{printed}");
    for wrong in [["--only", "nothing"], ["--base-url", "nowhere"], ["--repeat", "0"]] {
        assert_eq!(ran(&mut command(out.path(), &wrong)).0, Some(2), "{wrong:?}");
    }
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0, "nothing was asked");
}
