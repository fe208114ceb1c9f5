//! `/ops/config` and its reload: every knob with the value in force, changed without a restart.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::expected::refusal;
use crate::support::scene::{Scene, get, until};

/// A server whose configuration stands in a file.
struct Filed {
    scene: Scene,
    file: PathBuf,
    _directory: tempfile::TempDir,
}

impl Filed {
    fn with(text: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let file = directory.path().join("sendcat.toml");
        std::fs::write(&file, text).expect("it can be written");
        let path = file.to_str().expect("its name is text").to_owned();
        Self { scene: Scene::with(&[("SENDCAT_CONFIG", &path)]), file, _directory: directory }
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.file, text).expect("it can be written");
    }

    fn reload(&self) -> Answer {
        self.scene.operates("POST", "/ops/config/reload")
    }

    /// What a reload that is taken answers.
    #[track_caller]
    fn reloaded(&self, text: &str) -> Value {
        self.write(text);
        let answer = self.reload();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// The knob as operators see it.
    fn knob(&self, name: &str) -> Value {
        let seen = self.scene.sees("/ops/config");
        let rows = seen["knobs"].as_array().expect("there are knobs");
        rows.iter().find(|row| row["name"] == name).expect("it is one").clone()
    }
}

#[test]
fn the_answer_is_what_the_command_prints_and_shows_no_secret() {
    let scene = Scene::with(&[("RATE_LIMIT_WHATSAPP_MAX", "7")]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_sendcat"));
    let printed = command.args(["config", "--format", "json"]).env_clear().output();
    let printed: Value = serde_json::from_slice(&printed.expect("it runs").stdout).unwrap();
    let seen = scene.sees("/ops/config");
    let names = |rows: &Value| {
        let rows = rows.as_array().expect("a list").iter();
        rows.map(|row| row["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&seen["knobs"]), names(&printed));
    let row = |name: &str| {
        let rows = seen["knobs"].as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).unwrap().clone()
    };
    let limit = row("RATE_LIMIT_WHATSAPP_MAX");
    let expected = json!({
        "name": "RATE_LIMIT_WHATSAPP_MAX", "value": 7, "default": 120, "unit": limit["unit"],
        "source": "env", "expected": limit["expected"], "reloadable": true,
        "about": limit["about"],
    });
    assert_eq!(limit, expected);
    assert_eq!(
        (&row("OPS_TOKEN")["value"], &row("SERPER_API_KEY")["value"]),
        (&json!("***"), &json!("***"))
    );
    assert!(!seen.to_string().contains("session-secret"), "{seen}");
}

#[test]
fn a_reload_changes_a_limit_and_says_what_it_changed() {
    let filed = Filed::with("rate_limit_whatsapp_max = 1");
    let delivers = || get(filed.scene.caller.post_json("/api/whatsapp/webhook", "{}")).status;
    assert_eq!((delivers(), delivers()), (403, 429));
    let changed = filed.reloaded("rate_limit_whatsapp_max = 3\nchat_max_steps = 2");
    let told = json!({"changed": ["RATE_LIMIT_WHATSAPP_MAX"], "atNextStart": ["CHAT_MAX_STEPS"]});
    assert_eq!(changed, told);
    assert_eq!((delivers(), delivers(), delivers()), (403, 403, 429));
    let knob = filed.knob("RATE_LIMIT_WHATSAPP_MAX");
    assert_eq!((&knob["value"], &knob["source"]), (&json!(3), &json!("file")));
    assert_eq!(filed.knob("CHAT_MAX_STEPS")["value"], 8);
    let again = filed.reloaded("rate_limit_whatsapp_max = 3");
    assert_eq!(again, json!({"changed": [], "atNextStart": []}));
}

#[test]
fn a_bad_file_is_refused_whole_and_the_values_in_force_stay() {
    let filed = Filed::with("rate_limit_whatsapp_max = 5");
    filed
        .write("rate_limit_whatsapp_max = 9\nrate_limit_anon_ip_max = 0\nbulkhed_jwks_wait_ms = 1");
    let refused = filed.reload();
    assert_eq!((refused.status, refused.code()), (400, Some("invalid_request")));
    for part in ["RATE_LIMIT_ANON_IP_MAX", "\"0\"", "1 to 1000000000", "bulkhead_jwks_wait_ms"] {
        assert!(refused.body.contains(part), "{part} in {}", refused.body);
    }
    assert_eq!(filed.knob("RATE_LIMIT_WHATSAPP_MAX")["value"], 5);
    filed.write("rate_limit_whatsapp_max = ");
    assert_eq!(filed.reload().status, 400);
    std::fs::remove_file(&filed.file).expect("it is there");
    assert_eq!(filed.reload().status, 400);
    assert_eq!(filed.knob("RATE_LIMIT_WHATSAPP_MAX")["value"], 5);
}

#[test]
fn more_tool_calls_at_once_than_there_are_workers_wait_for_a_restart() {
    let filed = Filed::with("tool_job_runmax_web = 2\ntool_job_runmax_prod = 1");
    filed.write("tool_job_runmax_web = 4\ntool_job_runmax_prod = 1");
    let sentence = "The values in force stay: TOOL_JOB_RUNMAX_WEB + TOOL_JOB_RUNMAX_PROD + \
                    TOOL_JOB_RUNMAX_GLOB: expected at most 7 together until the next start.";
    assert_eq!(filed.reload(), refusal(400, "invalid_request", sentence, &[]));
    let moved = filed.reloaded("tool_job_runmax_web = 1\ntool_job_runmax_prod = 2");
    assert_eq!(moved["changed"], json!(["TOOL_JOB_RUNMAX_PROD", "TOOL_JOB_RUNMAX_WEB"]));
}

#[test]
fn circuits_bulkheads_caches_and_queues_take_their_new_rules_at_once() {
    let filed = Filed::with("");
    filed.reloaded(
        "circuit_openrouter_threshold = 1\nbulkhead_openrouter_max_concurrent = 3\n\
         tool_cache_web_search_namespace_version = \"v2\"\ntool_job_qmax_web = 5\n\
         tool_job_max_per_run = 1\nrate_limit_headers = \"off\"\nops_max_rows_per_section = 2",
    );
    let scene = &filed.scene;
    let answered = scene.ask("a", "search cats");
    assert_eq!((answered.status, answered.header("ratelimit")), (200, None));
    assert!(scene.sees("/ops/cache")["namespaces"]["search_web_json_v2"]["inForce"] == true);
    let snapshot = scene.snapshot();
    assert_eq!(snapshot["bulkheads"]["openrouter_chat"]["max"], 3);
    assert_eq!(snapshot["toolJobs"]["pressureByTool"]["search_web"]["queuedMax"], 5);
    assert_eq!(snapshot["config"]["ops"]["maxRowsPerSection"], 2);
    scene.stand_ins.fail("openrouter_chat", "500", 1);
    let refused = scene.ask("b", "hello");
    assert_eq!((refused.status, refused.code()), (503, Some("upstream_unavailable")));
}

#[test]
fn a_hangup_reloads_too() {
    let filed = Filed::with("rate_limit_whatsapp_max = 1");
    filed.write("rate_limit_whatsapp_max = 2");
    filed.scene.server.signal("HUP");
    until("it is reloaded", || filed.knob("RATE_LIMIT_WHATSAPP_MAX")["value"] == 2);
    filed.write("rate_limit_whatsapp_max = 0");
    filed.scene.server.signal("HUP");
    filed.write("rate_limit_whatsapp_max = 3");
    filed.scene.server.signal("HUP");
    until("a bad file before it does not end that", || {
        filed.knob("RATE_LIMIT_WHATSAPP_MAX")["value"] == 3
    });
}
