//! `sendcat snapshot`: what operators see of a running server, from a terminal.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::scene::Scene;

/// The command against that server, with a token that it knows.
fn command(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sendcat"));
    command.arg("snapshot").args(["--base-url", url]).args(arguments).env_clear();
    command.env("OPS_TOKEN", "ops");
    command
}

/// Its exit code, and what it printed and said.
fn ran(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn printed(scene: &Scene, arguments: &[&str]) -> String {
    let (code, out, said) = ran(&mut command(scene.server.url(), arguments));
    assert_eq!((code, said.as_str()), (Some(0), ""), "{out}");
    out
}

/// The line of a table that begins so, its columns by one blank.
fn line_of(text: &str, name: &str) -> String {
    let line = text.lines().find(|line| line.trim_start().starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no line of {name} in\n{text}"));
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn tables_show_every_section_and_mark_what_is_not_as_it_should_be() {
    let scene = Scene::with(&[]);
    assert_eq!(scene.ask("a", "search cats").status, 200);
    assert_eq!(scene.operates("POST", "/ops/circuits/jwks/force-open").status, 200);
    let text = printed(&scene, &[]);
    let titles = ["RATE LIMIT", "ALERTS", "CIRCUITS", "BULKHEADS", "REPLAY PROTECTION"];
    for title in titles.into_iter().chain(["TOOL CACHE", "TOOL CALLS", "INBOX", "ACTORS"]) {
        assert!(text.contains(title), "{title} in\n{text}");
    }
    assert_eq!(line_of(&text, "openrouter_chat"), "openrouter_chat closed 0");
    assert_eq!(line_of(&text, "jwks"), "jwks ! forced_open 0");
    assert_eq!(line_of(&text, "search_web "), "search_web 0/200 0/6 0");
    assert_eq!(line_of(&text, "search_web_json_v1"), "search_web_json_v1 1");
    assert_eq!(line_of(&text, "job_queue"), "job_queue running 0 0");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let only = printed(&scene, &["--section", "circuits,replay"]);
    assert!(only.contains("CIRCUITS") && only.contains("REPLAY") && !only.contains("ACTORS"));
}

#[test]
fn json_is_the_servers_answer_and_a_saved_one_tells_what_has_changed() {
    let scene = Scene::with(&[]);
    let file = tempfile::NamedTempFile::new().expect("a file can be made");
    let json = printed(&scene, &["--format", "json", "--window-minutes", "60", "--limit", "5"]);
    std::fs::write(file.path(), &json).expect("it can be written");
    let printed_json: Value = serde_json::from_str(&json).expect("it prints JSON");
    let answered = scene.sees("/ops/snapshot?windowMinutes=60&limit=5");
    for member in ["windowMinutes", "config", "circuits", "bulkheads", "replayProtection"] {
        assert_eq!(printed_json[member], answered[member], "{member}");
    }
    let members = |json: &Value| json.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(members(&printed_json), members(&answered));
    let one: Value = serde_json::from_str(&printed(&scene, &["--format=json", "--section=jobs"]))
        .expect("it prints JSON");
    assert_eq!(members(&one), ["generatedAt", "inbox", "toolJobs"]);
    assert_eq!(scene.operates("POST", "/ops/circuits/jwks/force-open").status, 200);
    let path = file.path().to_str().expect("its name is text");
    let changes = printed(&scene, &["--window-minutes", "60", "--diff", path]);
    assert!(changes.contains("circuits.jwks.state: closed -> forced_open\n"), "{changes}");
    assert!(!changes.contains("generatedAt") && !changes.contains("config."), "{changes}");
}

#[test]
fn watching_looks_again_and_again_also_over_a_restart() {
    let mut scene = Scene::with(&[]);
    let mut command = command(scene.server.url(), &["--format=json", "--watch", "50ms"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut next = || lines.next().expect("it goes on").expect("it prints text");
    let first: Value = serde_json::from_str(&next()).expect("a look is a line");
    let second: Value = serde_json::from_str(&next()).expect("a look is a line");
    assert_ne!(first["generatedAt"], second["generatedAt"]);
    scene.server.kill();
    while !next().contains("cannot be reached") {}
    child.kill().expect("it still runs");
    child.wait().expect("it ends");
}

#[test]
fn what_cannot_be_had_is_said_with_its_exit_code() {
    let scene = Scene::with(&[]);
    let url = scene.server.url();
    let (code, out, said) = ran(command(url, &[]).env("OPS_TOKEN", "wrong"));
    assert_eq!((code, out.as_str()), (Some(2), ""));
    let told = "the server refused the token: set OPS_TOKEN (or OPS_READ_TOKEN) to one that it \
                knows\n";
    assert_eq!(said, told);
    let (code, _, said) = ran(&mut command(url, &["--window-minutes", "0"]));
    let sentence = "The parameter windowMinutes must be a number from 1 to 1440.\n";
    assert_eq!((code, said.as_str()), (Some(2), sentence));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let nobody = format!("http://{}", closed.local_addr().expect("it has an address"));
    drop(closed);
    let (code, _, said) = ran(&mut command(&nobody, &[]));
    let unreachable = format!("{nobody} cannot be reached: nobody listens there\n");
    assert_eq!((code, said), (Some(5), unreachable));
    assert_eq!(ran(&mut command("nowhere", &[])).0, Some(2));
    assert_eq!(ran(&mut command(url, &["--diff", "/nowhere.json"])).0, Some(2));
    assert_eq!(ran(&mut command(url, &["--section", "nothing"])).0, Some(2));
}
