//! `GET /livez` and `GET /readyz`.

use serde_json::json;

use crate::support::client::{Caller, answer, run};
use crate::support::server::Setup;
use crate::support::webhook::{delivery_of, eventually, receiver, refused, whole};

#[test]
fn a_process_that_has_just_started_lives_and_is_ready() {
    let server = Setup::bare().start();
    let caller = Caller::of(&server);
    let json = [("content-type", "application/json")];
    run(async {
        let livez = answer(caller.get("/livez")).await;
        assert_eq!(livez, whole(200, &json, r#"{"status":"ok"}"#));
        let readyz = answer(caller.get("/readyz")).await;
        assert_eq!(readyz, whole(200, &json, r#"{"status":"ok","reasons":[]}"#));
        let sentence =
            "This address does not take that method; use one that the Allow header names.";
        let not_allowed = refused(405, "method_not_allowed", sentence, &[("allow", "GET")]);
        for path in ["/livez", "/readyz"] {
            assert_eq!(answer(caller.post(path)).await, not_allowed);
        }
    });
}

#[test]
fn without_its_claims_it_is_ready_and_degraded_without_a_limiter_it_is_not_ready() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        for _ in 0..6 {
            caller.arms("idempotency:panic_timer@0").await;
        }
        let degraded = json!({"status": "degraded", "reasons": ["idempotency is down"]});
        let readyz = eventually("the claims are given up", async || {
            let readyz = answer(caller.get("/readyz")).await;
            (readyz.status == 200 && readyz.json() == degraded).then_some(readyz)
        })
        .await;
        assert_eq!(readyz.header("content-type"), Some("application/json"));
        for _ in 0..6 {
            caller.arms("rate_limiter-0:panic_timer@0").await;
        }
        let unready = json!({"status": "unready",
            "reasons": ["rate_limiter-0 is down", "idempotency is down"]});
        eventually("a shard is given up", async || {
            let readyz = answer(caller.get("/readyz")).await;
            (readyz.status == 503 && readyz.json() == unready).then_some(())
        })
        .await;
        let livez = answer(caller.get("/livez")).await;
        assert_eq!((livez.status, livez.body.as_str()), (200, r#"{"status":"ok"}"#));
    });
}

#[test]
fn a_process_whose_supervisor_stands_still_is_not_alive_and_ends_with_70() {
    let mut server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        caller.arms("root:hang@0:120000ms").await;
        let sentence = "Something went wrong on our side; try again.";
        let not_alive = refused(500, "internal_error", sentence, &[]);
        eventually("it says so itself", async || {
            (answer(caller.get("/livez")).await == not_alive).then_some(())
        })
        .await;
    });
    let (code, log) = server.wait();
    assert_eq!(code, Some(70), "{log}");
    assert!(log.contains("the supervisor stands still"), "{log}");
}

#[test]
fn a_supervisor_that_panics_ends_the_process_with_101() {
    let mut server = receiver().start();
    run(Caller::of(&server).arms("root:panic_decide@0"));
    let (code, log) = server.wait();
    assert_eq!(code, Some(101), "{log}");
}

#[test]
fn an_actor_that_cannot_finish_makes_the_end_a_failure_that_names_it() {
    let server = receiver().start();
    let caller = Caller::of(&server);
    run(async {
        caller.arms("stream_log:panic_timer@0").await;
        caller.arms("idempotency:deaf@0:60000ms").await;
        let delivered = caller.delivers(delivery_of(["m1".into()]));
        assert_eq!(answer(delivered).await.status, 200);
    });
    let (code, log) = server.end_by("TERM");
    assert_eq!(code, Some(70), "{log}");
    assert!(log.contains("not finished in time: idempotency"), "{log}");
}
