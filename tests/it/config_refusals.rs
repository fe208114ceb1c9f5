//! What keeps a process from serving: exit 2, and one line for each fault.

use crate::support::server::Setup;

/// Starts it and compares what it says.
#[track_caller]
fn refused(setup: Setup, lines: &[&str]) {
    let (code, said) = setup.refused();
    let said: Vec<_> = said.lines().collect();
    assert_eq!((code, said.as_slice()), (Some(2), lines));
}

#[test]
fn every_fault_of_the_environment_has_its_line() {
    let setup = Setup::bare()
        .with("RATE_LIMIT_CHAT_STREAM_MAXX", "3")
        .with("CIRCUIT_OPENROUTER_THRESHOLD", "0")
        .with("SENDCAT_BIND", "nowhere")
        .with("RATE_LIMIT_HEADERS", "loud")
        .with("OPS_TOKN", "a secret")
        .with("NOBODYS_VARIABLE", "is no concern of ours");
    refused(
        setup,
        &[
            "OPS_TOKN=***: there is no such knob, did you mean OPS_TOKEN?",
            "RATE_LIMIT_CHAT_STREAM_MAXX=\"3\": there is no such knob, did you mean \
             RATE_LIMIT_CHAT_STREAM_MAX?",
            "SENDCAT_BIND=\"nowhere\": expected an address and port such as 127.0.0.1:8787",
            "RATE_LIMIT_HEADERS=\"loud\": expected one of draft11, legacy, off",
            "CIRCUIT_OPENROUTER_THRESHOLD=\"0\": expected a whole number from 1 to 1000000000",
        ],
    );
}

#[test]
fn a_file_that_cannot_be_read_or_makes_no_sense_is_told() {
    let (code, said) = Setup::bare().with("SENDCAT_CONFIG", "/nowhere/file.toml").refused();
    assert_eq!(code, Some(2));
    assert_eq!(said.lines().count(), 1, "{said}");
    let begin = "SENDCAT_CONFIG=\"/nowhere/file.toml\": the file cannot be read: ";
    assert!(said.starts_with(begin), "{said}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    std::fs::write(path, "alert_threshold = 3\nchat_max_steps = [").unwrap();
    let (code, said) = Setup::bare().with("SENDCAT_CONFIG", path).refused();
    assert_eq!(code, Some(2));
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("SENDCAT_CONFIG: line 2 of the file: "), "{said}");
    std::fs::write(path, "alert_treshold = 3\nchat_max_steps = 101\n").unwrap();
    refused(
        Setup::bare().with("SENDCAT_CONFIG", path),
        &[
            "alert_treshold=\"3\": there is no such knob, did you mean alert_threshold?",
            "CHAT_MAX_STEPS=\"101\": expected a whole number from 1 to 100",
        ],
    );
}

#[test]
fn a_sandbox_is_refused_on_an_address_that_others_reach() {
    refused(
        Setup::sandbox().with("SENDCAT_BIND", "0.0.0.0:0"),
        &["--sandbox serves loopback only: set SENDCAT_BIND to 127.0.0.1:PORT, not 0.0.0.0:0"],
    );
}
