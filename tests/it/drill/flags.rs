//! Flags of the drill that change who asks, and when.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sendcat::load::known_server::{KnownServer, Reply};
use sendcat::load::plan::{Arrival, Gaps, Plan, StagePlan};
use serde_json::{Value, json};

use super::{answering, drill};
use crate::support::server::Setup;

const WEBHOOK: [&str; 3] = ["--quick=true", "--scenarios", "whatsapp_webhook"];

fn statuses(url: &str, flags: &[&str]) -> Value {
    let drill = drill(url, &[&WEBHOOK[..], flags].concat(), &[]);
    drill.scenario("whatsapp_webhook")["stages"][0]["statuses"].clone()
}

#[test]
fn each_address_of_a_drill_has_a_limit_of_its_own() {
    let two = ["--rate", "300", "--client-ips", "2"];
    let server = Setup::sandbox().start();
    assert_eq!(statuses(server.url(), &two), json!({"403": 240, "429": 60}));
}

#[test]
fn where_requests_come_from_one_address_a_trusted_caller_names_its_clients() {
    let two = ["--rate", "300", "--client-ips", "2"];
    let server = || Setup::sandbox().with("SENDCAT_BIND", "[::1]:0");
    let trusting = server().with("TRUSTED_PROXIES", "::1").start();
    assert_eq!(statuses(trusting.url(), &two), json!({"403": 240, "429": 60}));
    let wary = server().start();
    assert_eq!(statuses(wary.url(), &two), json!({"403": 120, "429": 180}));
}

/// Answers at once, and notes when requests came, in microseconds.
fn noting() -> (KnownServer, Arc<Mutex<Vec<u64>>>) {
    let came = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&came);
    let script = move |now_us: u64, _: u64| {
        noted.lock().unwrap().push(now_us);
        (Duration::ZERO, Reply::Status(403))
    };
    (KnownServer::start(Arc::new(script), Duration::from_secs(5)).unwrap(), came)
}

/// How far what came is from a schedule, on average; when the run began is not known.
fn off(came: &[u64], gaps: Gaps) -> f64 {
    let stages = vec![StagePlan::of(came.len() as u64, 40.0)];
    let plan = Plan { gaps, ..Plan::open(stages, 7) };
    let late = |(came, due): (&u64, Arrival)| *came as f64 - due.due_us as f64;
    let late: Vec<_> = came.iter().zip(plan.arrivals()).map(late).collect();
    let mean = late.iter().sum::<f64>() / late.len() as f64;
    late.iter().map(|late| (late - mean).abs()).sum::<f64>() / late.len() as f64
}

#[test]
fn poisson_arrivals_come_as_the_seed_has_drawn_them() {
    let (server, came) = noting();
    let flags = ["--arrival", "poisson", "--rate", "40", "--duration", "1500ms"];
    assert_eq!(statuses(&server.url(), &flags), json!({"403": 60}));
    let came = came.lock().unwrap();
    // Before them the drill asked whether anybody is there.
    let came = &came[came.len() - 60..];
    let (drawn, even) = (off(came, Gaps::Poisson), off(came, Gaps::Constant));
    assert!(drawn < even, "{drawn} µs from what was drawn, {even} µs from even gaps");
}

#[test]
fn callers_of_the_closed_model_go_on_until_their_time_is_over() {
    let slow = |_: u64, _: u64| (Duration::from_millis(20), Reply::Status(403));
    let server = KnownServer::start(Arc::new(slow), Duration::from_secs(5)).unwrap();
    let flags = ["--model", "closed", "--concurrency", "4", "--duration", "1s"];
    let drill = drill(&server.url(), &[&WEBHOOK[..], &flags].concat(), &[]);
    assert_eq!(drill.code, 0, "{}", drill.log);
    let scenario = drill.scenario("whatsapp_webhook");
    let (stage, model) = (&scenario["stages"][0], &scenario["model"]);
    let answers = stage["statuses"]["403"].as_u64().unwrap();
    // One after the other each gets 50 at most; alone, a caller would.
    assert!((60..=204).contains(&answers), "{stage}");
    assert_eq!((&stage["planned"], model), (&json!(answers), &json!("closed")), "{scenario}");
    // Without a time they make the profile's requests.
    let flags = ["--model", "closed", "--concurrency", "40"];
    assert_eq!(statuses(&server.url(), &flags), json!({"403": 300}));
}

#[test]
fn a_delay_of_the_abort_is_waited_for() {
    let server = answering(500);
    let flags = ["--rate", "100", "--abort-on-fail", "2s"];
    let drill = drill(&server.url(), &[&WEBHOOK[..], &flags].concat(), &[]);
    assert_eq!(drill.code, 1, "{}", drill.log);
    assert!(drill.report["reasons"].to_string().contains("ended early"), "{}", drill.report);
    let planned = drill.scenario("whatsapp_webhook")["stages"][0]["planned"].as_u64().unwrap();
    assert!((150..300).contains(&planned), "{planned}");
}
