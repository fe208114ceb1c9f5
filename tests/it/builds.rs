//! What other builds than the one that tests are given do: with what README and benches run no
//! fault can be armed, and one that aborts at a panic cannot be made.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::client::{Caller, answer, run};
use crate::support::server::Setup;
use crate::support::webhook::{OPS_TOKEN, accepted, delivery_of, receiver, refused};

/// The repository's top.
const TOP: &str = env!("CARGO_MANIFEST_DIR");

/// The release binary, built here if it is not there or older than its sources: minutes from
/// nothing, a second if `./tests/run` has built it. The binary that cargo hands to tests has every
/// feature that some test wants.
fn release() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(TOP);
    cargo.args(["build", "--release", "--locked", "--bin", "sendcat"]);
    cargo.arg("--message-format=json-render-diagnostics");
    // What cargo tells a test of its package would make some builds begin anew.
    for (name, _) in std::env::vars_os() {
        let of_package = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter();
        if of_package.into_iter().any(|start| name.to_string_lossy().starts_with(start)) {
            cargo.env_remove(name);
        }
    }
    let Output { status, stdout, stderr } = cargo.output().expect("cargo is there");
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    let messages = String::from_utf8(stdout).expect("cargo writes text");
    let messages = messages.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut binaries =
        messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    binaries.next().expect("cargo names what it has built")
}

#[test]
fn in_the_release_binary_no_fault_can_be_armed() {
    let binary = release();
    let server = receiver().of_build(binary.clone()).start();
    let caller = Caller::of(&server);
    let nothing = refused(404, "not_found", "There is nothing here; check the address.", &[]);
    run(async {
        let arm = r#"{"fault":"idempotency:panic_apply@0"}"#;
        let armed = caller.post_json("/ops/faults", arm).bearer_auth(OPS_TOKEN);
        assert_eq!(answer(armed).await, nothing);
        assert_eq!(answer(caller.operates("GET", "/ops/faults")).await, nothing);
        assert_eq!(answer(caller.operates("DELETE", "/ops/faults")).await, nothing);
        assert_eq!(answer(caller.operates("DELETE", "/ops/faults/x")).await, nothing);
        // It is the same service in all else.
        assert_eq!(answer(caller.delivers(delivery_of(["m1".into()]))).await, accepted());
        assert_eq!(caller.worked_off(1).await[0]["status"], "done");
    });
    let (code, log) = server.end_by("TERM");
    assert_eq!(code, Some(0));
    // What takes secrets out of lines was built with other packages around it than here.
    assert!(log.contains("\"message\":\"answered\"") && !log.contains(OPS_TOKEN), "{log}");
    let scheduled = Setup::bare().of_build(binary).with("SENDCAT_FAULTS", "idempotency:hang@0:1");
    let why = "SENDCAT_FAULTS: this build injects no faults; build it with --features faults\n";
    assert_eq!(scheduled.refused(), (Some(2), why.to_owned()));
}

/// Has the compiler look at one file; whether it took it, and what it said.
fn compiled(file: &Path, panic: &str) -> (bool, String) {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let out = tempfile::TempDir::new().unwrap();
    let mut rustc = Command::new(compiler);
    rustc.args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "--error-format=short"]);
    rustc.arg(format!("-Cpanic={panic}")).arg("--out-dir").arg(out.path()).arg(file);
    let Output { status, stderr, .. } = rustc.output().expect("the compiler is there");
    (status.success(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn a_build_that_aborts_at_a_panic_is_refused_by_name() {
    let library = Path::new(TOP).join("src/lib.rs");
    let why = r#"error: sendcat contains panics by unwinding: build it with panic = "unwind""#;
    // No crate is at hand, so the file fails either way; only one says why.
    let (taken, said) = compiled(&library, "abort");
    assert!(!taken && said.contains(why), "{said}");
    let (_, said) = compiled(&library, "unwind");
    assert!(!said.contains(why), "{said}");
    // The guard alone: it is all that keeps such a build from being made.
    let text = std::fs::read_to_string(&library).unwrap();
    let (_, guard) = text.split_once("#[cfg(not(panic").expect("the guard is there");
    let alone = tempfile::TempDir::new().unwrap();
    let alone = (alone.path().join("guard.rs"), alone);
    std::fs::write(&alone.0, format!("#[cfg(not(panic{guard}")).unwrap();
    let refusal =
        format!("{}:2:1: {why}\nerror: aborting due to 1 previous error\n", alone.0.display());
    assert_eq!(compiled(&alone.0, "abort"), (false, refusal));
    assert_eq!(compiled(&alone.0, "unwind"), (true, String::new()));
}
