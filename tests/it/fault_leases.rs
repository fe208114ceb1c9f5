//! Leased faults: each bites and says how often, ends by itself, and leaves nothing behind.

use serde_json::{Value, json};

use crate::support::client::{Caller, answer, run};
use crate::support::server::Server;
use crate::support::stand_in::StandIns;
use crate::support::webhook::{
    OPS_TOKEN, accepted, delivery_of, eventually, receiver, refused, replayed, sandboxed_receiver,
};

/// Leases a fault for so many seconds; the row that answers.
async fn leases(caller: &Caller, fault: &str, target: &str, ttl_s: u64) -> Value {
    let mut body = json!({"fault": fault, "ttlS": ttl_s});
    if !target.is_empty() {
        body["target"] = target.into();
    }
    let request = caller.post_json("/ops/faults", body.to_string()).bearer_auth(OPS_TOKEN);
    let granted = answer(request).await;
    assert_eq!(granted.status, 200, "{fault}: {granted:?}");
    granted.json()
}

/// The rows of one list of `GET /ops/faults`; none where it has no such list.
async fn rows(caller: &Caller, list: &str) -> Vec<Value> {
    let seen = caller.sees("/ops/faults").await;
    seen[list].as_array().cloned().unwrap_or_default()
}

/// How often the only lease in force has bitten.
async fn witness(caller: &Caller) -> u64 {
    let in_force = rows(caller, "leases").await;
    assert_eq!(in_force.len(), 1, "{in_force:?}");
    in_force[0]["witness"].as_u64().unwrap()
}

async fn ends(caller: &Caller, lease: &Value) {
    let path = format!("/ops/faults/{}", lease["lease"].as_str().unwrap());
    assert_eq!(answer(caller.operates("DELETE", &path)).await.status, 204);
    assert_eq!(rows(caller, "leases").await, Vec::<Value>::new());
    assert_eq!(rows(caller, "faults").await, Vec::<Value>::new());
}

fn delivered(caller: &Caller, id: &str) -> reqwest::RequestBuilder {
    caller.delivers(delivery_of([id.to_owned()]))
}

#[test]
fn a_lease_is_listed_ended_once_and_written_down() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        let lease = leases(&caller, "noop", "", 300).await;
        assert_eq!(lease["leftMs"], 300_000);
        let mut known = lease.clone();
        for member in ["lease", "armedAt", "endsAt", "leftMs"] {
            assert!(known.as_object_mut().unwrap().remove(member).is_some(), "{member}");
        }
        let expected =
            json!({"fault": "noop", "target": "", "params": {}, "ttlS": 300, "witness": 0});
        assert_eq!(known, expected);
        ends(&caller, &lease).await;
        let over = rows(&caller, "ended").await;
        assert_eq!((over.len(), &over[0]["endedBy"]), (1, &json!("deleted")));
        let path = format!("/ops/faults/{}", lease["lease"].as_str().unwrap());
        let nothing = refused(404, "not_found", "There is nothing here; check the address.", &[]);
        assert_eq!(answer(caller.operates("DELETE", &path)).await, nothing);
        leases(&caller, "noop", "", 300).await;
        assert_eq!(answer(caller.operates("DELETE", "/ops/faults")).await.status, 204);
        assert_eq!(rows(&caller, "ended").await[1]["endedBy"], "cleared");
    });
    let (_, log) = server.end_by("TERM");
    for act in ["a fault was leased", "an operator ended a lease", "a leased fault is over"] {
        assert!(log.contains(act), "{act}: {log}");
    }
}

#[test]
fn a_lease_runs_out_by_itself_also_where_ending_it_does_nothing() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        let stuck = leases(&caller, "guard.off", "revert", 2).await;
        let full = leases(&caller, "disk.full", "", 2).await;
        assert_eq!(answer(delivered(&caller, "m1")).await.status, 503);
        for lease in [stuck, full] {
            let path = format!("/ops/faults/{}", lease["lease"].as_str().unwrap());
            assert_eq!(answer(caller.operates("DELETE", &path)).await.status, 204);
        }
        assert_eq!(answer(caller.operates("DELETE", "/ops/faults")).await.status, 204);
        assert_eq!(rows(&caller, "leases").await.len(), 2, "both are still in force");
        eventually("both run out", async || rows(&caller, "leases").await.is_empty().then_some(()))
            .await;
        let over = rows(&caller, "ended").await;
        let by_ttl = over.iter().all(|row| row["endedBy"] == "ttl");
        assert!(by_ttl && over[1]["witness"].as_u64() > Some(0), "{over:?}");
        eventually("the disk takes events", async || {
            (answer(delivered(&caller, "m1")).await == accepted()).then_some(())
        })
        .await;
    });
}

#[test]
fn a_wish_that_makes_no_sense_is_refused_by_name() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    let shape = "The request is not valid:";
    let table = [
        (json!({"fault": "noop", "ttlS": 301}), "ttlS: expected a whole number of 1 to 300."),
        (json!({"fault": "noop", "ttlS": "9"}), "ttlS: expected a whole number of 1 to 300."),
        (json!({"fault": "noop", "params": 1}), "params: expected an object."),
        (json!({"fault": "actor.kill", "target": 1}), "target: expected a text."),
        (
            json!({"fault": "actor.kill", "target": "nobody"}),
            "target: expected the name of an actor.",
        ),
        (
            json!({"fault": "provider.429"}),
            "fault: expected another fault: this server has no stand-ins (serve --sandbox).",
        ),
    ];
    run(async {
        for (body, sentence) in table {
            let request = caller.post_json("/ops/faults", body.to_string()).bearer_auth(OPS_TOKEN);
            let sentence = format!("{shape} {sentence}");
            assert_eq!(answer(request).await, refused(400, "invalid_request", &sentence, &[]));
        }
        assert_eq!(rows(&caller, "leases").await, Vec::<Value>::new());
    });
}

#[test]
fn faults_of_an_actor_bite_it_and_leave_it_as_it_was() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        let faults = ["actor.kill", "actor.panic", "actor.hang", "actor.slow", "mailbox.flood"];
        for (nth, fault) in faults.into_iter().enumerate() {
            let lease = leases(&caller, fault, "idempotency", 60).await;
            eventually(fault, async || {
                let delivery = delivered(&caller, &format!("m{nth}"));
                assert_eq!(answer(delivery).await.status, 200, "{fault}: claims fail open");
                (witness(&caller).await > 0).then_some(())
            })
            .await;
            ends(&caller, &lease).await;
            eventually("it runs again", async || {
                let actor = caller.actor("idempotency").await;
                (actor["status"] == "running").then_some(())
            })
            .await;
        }
        let by_cause = caller.actor("idempotency").await["restarts"]["byCause"].clone();
        assert_eq!(by_cause["death"], 2, "{by_cause}");
        assert_eq!(answer(delivered(&caller, "m0")).await, replayed());
    });
}

#[test]
fn faults_of_the_disk_the_clock_and_the_queue_bite() {
    let server = sandboxed_receiver().start();
    let caller = Caller::of(&server);
    let minted = async || {
        let session = answer(caller.post("/api/sessions/anonymous")).await.json();
        let expires = session["expiresAt"].as_str().unwrap().to_owned();
        let expires = humantime::parse_rfc3339(&expires).unwrap();
        expires.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
    };
    run(async {
        let slow = leases(&caller, "disk.slow", "", 60).await;
        assert_eq!(answer(delivered(&caller, "m1")).await, accepted());
        assert!(witness(&caller).await > 0);
        ends(&caller, &slow).await;

        let before = minted().await;
        let jump = leases(&caller, "clock.jump", "", 60).await;
        let jumped = minted().await;
        assert!((before + 3_590..before + 3_700).contains(&jumped), "{before} {jumped}");
        ends(&caller, &jump).await;
        let freeze = leases(&caller, "clock.freeze", "", 60).await;
        let frozen = [minted().await, minted().await];
        assert!(frozen[0] == frozen[1] && frozen[0] < before + 100, "{before} {frozen:?}");
        ends(&caller, &freeze).await;

        let poison = leases(&caller, "queue.poison", "", 60).await;
        assert_eq!(answer(delivered(&caller, "m2")).await, accepted());
        eventually("the job is struck", async || (witness(&caller).await > 0).then_some(())).await;
        assert_eq!(answer(delivered(&caller, "m3")).await, accepted());
        ends(&caller, &poison).await;
        let rows = caller.worked_off(3).await;
        assert!(rows.iter().all(|row| row["status"] == "done"), "{rows:?}");
    });
}

/// Asks the model once; whether the answer is whole.
async fn chats(server: &Server, caller: &Caller, thread: &str) -> bool {
    let asked = answer(caller.chat(server.banner("chat token"), thread, "hello")).await;
    let whole = asked.status == 200 && !asked.body.contains("\"error\"");
    assert!(whole || asked.status == 200 || asked.status >= 500, "{asked:?}");
    whole
}

#[test]
fn faults_of_a_provider_bite_and_are_taken_back() {
    let server = sandboxed_receiver()
        .with("CIRCUIT_OPENROUTER_THRESHOLD", 100)
        .with("CHAT_HEADERS_TIMEOUT_MS", 1_000)
        .with("CHAT_FIRST_CONTENT_TIMEOUT_MS", 1_000)
        .with("CHAT_IDLE_TIMEOUT_MS", 1_000)
        .start();
    let caller = Caller::of(&server);
    run(async {
        let late = json!({"fault": "provider.latency", "params": {"ms": 100}});
        let late = caller.post_json("/ops/faults", late.to_string()).bearer_auth(OPS_TOKEN);
        let late = answer(late).await.json();
        assert!(chats(&server, &caller, "late").await, "late is not wrong");
        assert!(witness(&caller).await > 0);
        ends(&caller, &late).await;
        let faults = ["429", "timeout", "midstream_cut", "malformed_sse", "reset_peer"];
        for fault in faults {
            let lease = leases(&caller, &format!("provider.{fault}"), "", 60).await;
            assert!(!chats(&server, &caller, fault).await, "{fault}");
            assert!(witness(&caller).await > 0, "{fault}");
            ends(&caller, &lease).await;
            assert!(chats(&server, &caller, &format!("{fault}-after")).await, "{fault}");
        }
        let stand_ins = StandIns::within(&server);
        let counts = ["requests", "inFlight", "completed", "clientGone"];
        let [requests, in_flight, completed, gone] =
            counts.map(|what| stand_ins.count("openrouter_chat", what));
        assert_eq!(requests, in_flight + completed + gone);
    });
}

#[test]
fn guards_can_be_switched_off_and_are_on_again() {
    let server = sandboxed_receiver().with("CIRCUIT_OPENROUTER_THRESHOLD", 2).start();
    let caller = Caller::of(&server);
    let circuit = async || {
        let circuits = caller.sees("/ops/circuits").await["circuits"].clone();
        let of = |row: &&Value| row["provider"] == "openrouter_chat";
        circuits.as_array().unwrap().iter().find(of).unwrap()["state"].clone()
    };
    run(async {
        assert_eq!(answer(delivered(&caller, "m1")).await, accepted());
        let replay = leases(&caller, "guard.off", "replay", 60).await;
        assert_eq!(answer(delivered(&caller, "m1")).await, accepted());
        assert!(witness(&caller).await > 0);
        ends(&caller, &replay).await;
        assert_eq!(answer(delivered(&caller, "m1")).await, replayed());

        let breaker = leases(&caller, "guard.off", "breaker", 60).await;
        StandIns::within(&server).arms("openrouter_chat", "500", 100).await;
        for nth in 0..3 {
            assert!(!chats(&server, &caller, &format!("t{nth}")).await);
        }
        assert_eq!(circuit().await, "closed");
        ends(&caller, &breaker).await;
        for nth in 0..3 {
            assert!(!chats(&server, &caller, &format!("u{nth}")).await);
        }
        assert_eq!(circuit().await, "open");

        let watchdog = leases(&caller, "guard.off", "watchdog", 60).await;
        let hang = leases(&caller, "actor.hang", "idempotency", 4).await;
        let hung = hang["lease"].clone();
        eventually("the hang is over by its lease alone", async || {
            let ended = rows(&caller, "ended").await;
            ended.iter().any(|row| row["lease"] == hung).then_some(())
        })
        .await;
        let by_cause = caller.actor("idempotency").await["restarts"]["byCause"].clone();
        assert_eq!(by_cause, json!({}), "nobody looked");
        ends(&caller, &watchdog).await;
    });
}
