//! No failure is invented, and what the server's slowness does to the schedule is the server's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use actix_web::{App, HttpServer, web};
use sendcat::load::known_server::{KnownServer, Reply};
use sendcat::load::plan::{Plan, StagePlan};
use sendcat::slo::gates::{Tally, rows};
use sendcat::slo::policy::{Owners, Policy as _, SloBaseline};
use sendcat::slo::verdict::CheckVerdict;

use tokio::sync::Barrier;

use super::run;

/// Connections that are idle at once; each carries a request of every round.
const CONNECTIONS: usize = 2_500;

/// An echo on actix-web with its own keep-alive of 5 s; it ends with the test's process. It answers
/// when so many ask at once, so that every round has so many connections.
fn echo() -> String {
    let (to, listening) = mpsc::channel();
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let all = web::Data::new(Barrier::new(CONNECTIONS));
            let answer = async |body: web::Bytes, all: web::Data<Barrier>| {
                all.wait().await;
                body
            };
            let app = move || App::new().app_data(all.clone()).default_service(web::to(answer));
            let server = HttpServer::new(app).workers(1).bind("127.0.0.1:0").unwrap();
            to.send(server.addrs()[0]).unwrap();
            server.run().await.unwrap();
        });
    });
    format!("http://{}", listening.recv().unwrap())
}

#[tokio::test]
async fn idle_gaps_around_the_servers_keep_alive_invent_no_failure() {
    // All are answered with the last of a round, which takes 2 s: gaps are of 4 to 6 s.
    let pause_after = Duration::from_secs(4);
    let stage = StagePlan { pause_after, ..StagePlan::of(CONNECTIONS as u64, 1_250.0) };
    let max_inflight = CONNECTIONS as u32;
    let plan = Plan { max_inflight, ..Plan::open(vec![stage; 4], 1) };
    let run = run(plan, &echo()).await;
    let scenario = run.arms[0].scenario("echo", run.model);
    assert_eq!(scenario.errors(), BTreeMap::new());
    assert_eq!(scenario.statuses(), BTreeMap::from([(200, 10_000)]), "no 408");
    assert!(scenario.conserves());
}

#[tokio::test]
async fn a_server_too_slow_for_the_slots_it_is_given_fails_and_the_run_is_not_invalid() {
    let slow = |_: u64, _: u64| (Duration::from_millis(20), Reply::Status(403));
    let server = KnownServer::start(Arc::new(slow), Duration::from_secs(5)).unwrap();
    let plan = Plan { max_inflight: 1, ..Plan::open(vec![StagePlan::of(800, 200.0)], 1) };
    let run = run(plan, &server.url()).await;
    let scenario = run.arms[0].scenario("whatsapp_webhook", run.model);
    let (dropped, answers) = (scenario.dropped(), scenario.statuses()[&403]);
    assert!(scenario.conserves() && dropped > 0 && dropped + answers == 800, "{dropped}");
    let schedule = run.arms[0].schedule(Some(1_500));
    assert!(schedule.lag_cap_max_ms >= 9_900.0, "{schedule:?}");
    assert_eq!(schedule.invalid(), None, "{schedule:?}");
    let baseline = SloBaseline::built_in();
    let slo = &baseline.scenarios["whatsapp_webhook"];
    let tally = Tally::of(&scenario, slo).unwrap();
    let rows = rows("whatsapp_webhook", slo, &tally, &Owners::built_in());
    let latency = rows.iter().find(|row| row.sli == "latency").unwrap();
    assert_eq!((latency.verdict, latency.total), (CheckVerdict::Fail, 800));
    assert!(latency.bad > dropped, "late ones are bad as well: {}", latency.why);
}

/// Processor time of the generator's threads alone, in whatever build the tests are; an optimised
/// one is cheaper.
#[tokio::test]
async fn a_thousand_requests_a_second_cost_less_than_a_third_of_a_processor() {
    let server = KnownServer::start(
        Arc::new(|_, _| (Duration::ZERO, Reply::Status(200))),
        Duration::from_secs(5),
    );
    let plan = Plan::open(vec![StagePlan::of(4_000, 1_000.0)], 1);
    let run = run(plan, &server.unwrap().url()).await;
    let share = run.cpu.expect("Linux tells").as_secs_f64() / 4.0;
    println!("{:.1} % of one processor at 1000 rps", share * 100.0);
    assert!(share < 0.3, "{share}");
}
