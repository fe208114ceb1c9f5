//! What is counted is what was answered, to the unit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sendcat::load::generator::{Arm, Generator};
use sendcat::load::known_server::{KnownServer, Reply};
use sendcat::load::plan::{Model, Plan, Samples, StagePlan};
use sendcat::load::traffic::AnswerForm;
use sendcat::slo::report::ErrorKind;
use tokio_util::sync::CancellationToken;

use super::hyper_call::Get;
use super::{arm, run};

/// Of each 105 requests: 70, 20, 5, 3 and 2 of a status, and 5 resets.
fn scripted(number: u64) -> Reply {
    match number % 105 {
        0..70 => Reply::Status(200),
        70..90 => Reply::Status(429),
        90..95 => Reply::Status(403),
        95..98 => Reply::Status(503),
        98..100 => Reply::Status(500),
        _ => Reply::Reset,
    }
}

fn server(script: impl Fn(u64) -> Reply + Send + Sync + 'static) -> KnownServer {
    let script = move |_now, number| (Duration::ZERO, script(number));
    KnownServer::start(Arc::new(script), Duration::from_secs(5)).unwrap()
}

#[tokio::test]
async fn tallies_are_equal_to_the_unit_and_every_arrival_is_in_one_of_them() {
    for model in [Model::Open, Model::Closed { concurrency: 4, lasting: None }] {
        let server = server(scripted);
        let stages = vec![StagePlan::of(1_050, 700.0), StagePlan::of(1_050, 1_000.0)];
        let plan = Plan { workers: 2, model, ..Plan::open(stages, 3) };
        let run = run(plan, &server.url()).await;
        let scenario = run.arms[0].scenario("scripted", run.model);
        let expected = BTreeMap::from([(200, 1400), (429, 400), (403, 100), (503, 60), (500, 40)]);
        assert_eq!(scenario.statuses(), expected, "{model:?}");
        // On a connection that was idle for a second, nobody can tell a reset from a race.
        let errors = scenario.errors();
        let resets = [ErrorKind::Reset, ErrorKind::PoolRace];
        assert!(errors.keys().all(|kind| resets.contains(kind)), "{errors:?}");
        assert_eq!(errors.values().sum::<u64>(), 100, "{model:?}");
        assert!(scenario.conserves(), "{:?}", scenario.stages);
        assert_eq!(server.requests(), 2_100, "no request is repeated");
        let classes: Vec<_> = scenario.by_status_class.keys().map(String::as_str).collect();
        assert_eq!(classes, ["2xx", "403", "429", "503", "5xx"]);
        let sums = |of: fn(&sendcat::slo::report::Second) -> u64| {
            scenario.series.iter().map(of).sum::<u64>()
        };
        assert_eq!((sums(|it| it.started), sums(|it| it.done)), (2_100, 2_000));
        assert_eq!(sums(|it| it.bad), 200, "5xx and resets");
        assert_eq!(scenario.series.last().unwrap().inflight, 0);
    }
}

#[tokio::test]
async fn a_stream_without_its_end_is_cut_and_a_short_body_is_no_answer() {
    const HEAD: &str = "HTTP/1.1 200 x\r\ncontent-type: text/event-stream\r\n\r\n";
    const WHOLE: &str = "HTTP/1.1 200 x\r\n\r\ndata: {}\n\ndata: [DONE]\n\n";
    const SHORT: &str = "HTTP/1.1 200 x\r\ncontent-length: 9\r\n\r\nok";
    let server =
        server(|number| Reply::Bytes([WHOLE, HEAD, SHORT, "", WHOLE][number as usize % 5]));
    let plan = Plan::open(vec![StagePlan::of(50, 100.0)], 3);
    // One after the other, so that each number has its answer.
    let plan = Plan { max_inflight: 1, ..plan };
    let traffic = Arc::new(Get(AnswerForm::Events));
    let arm = Arm { traffic, ..arm(&server.url()) };
    let run = Generator::new(plan, vec![arm]).run().await.unwrap();
    let scenario = run.arms[0].scenario("streams", run.model);
    let errors = BTreeMap::from([(ErrorKind::StreamCut, 20), (ErrorKind::Reset, 10)]);
    assert_eq!((scenario.statuses(), scenario.errors()), (BTreeMap::from([(200, 20)]), errors));
    assert_eq!(scenario.latency_ms.first_byte.unwrap().histogram().unwrap().count(), 30);
}

#[tokio::test]
async fn nobody_there_no_name_and_no_tls_are_told_apart() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = server(|_| Reply::Status(200));
    for (url, kind) in [
        (format!("http://{closed}"), ErrorKind::Connect),
        ("http://no-such-host.invalid".to_owned(), ErrorKind::Dns),
        (server.url().replace("http", "https"), ErrorKind::Tls),
    ] {
        let run = run(Plan::open(vec![StagePlan::of(5, 50.0)], 3), &url).await;
        let errors = run.arms[0].scenario("none", run.model).errors();
        assert_eq!(errors, BTreeMap::from([(kind, 5)]), "{url}");
    }
}

#[tokio::test]
async fn a_silent_server_is_a_timeout_and_a_silent_body_a_stall() {
    let server = KnownServer::start(
        Arc::new(|_, _| (Duration::from_secs(60), Reply::Status(200))),
        Duration::from_secs(60),
    );
    let (server, timeout) = (server.unwrap(), Duration::from_millis(300));
    let plan = Plan { timeout, ..Plan::open(vec![StagePlan::of(5, 50.0)], 3) };
    let run = run(plan, &server.url()).await;
    let errors = run.arms[0].scenario("silent", run.model).errors();
    assert_eq!(errors, BTreeMap::from([(ErrorKind::Timeout, 5)]));
}

#[tokio::test]
async fn two_arms_get_the_same_arrivals_and_every_sample_is_returned() {
    let (one, two) = (server(|_| Reply::Status(200)), server(|_| Reply::Status(503)));
    let samples = Samples::Kept;
    let plan = Plan { samples, workers: 2, ..Plan::open(vec![StagePlan::of(400, 400.0)], 3) };
    let generator = Generator::new(plan.clone(), vec![arm(&one.url()), arm(&two.url())]);
    let live = generator.live();
    let run = generator.run().await.unwrap();
    let arrivals: Vec<_> = plan.arrivals().iter().map(|it| (it.index, it.due_us)).collect();
    for (place, status) in [(0, 200), (1, 503)] {
        let samples = run.arms[usize::from(place)].samples();
        let seen: Vec<_> = samples.iter().map(|it| (it.index, it.due_us)).collect();
        assert_eq!(seen, arrivals);
        assert!(samples.iter().all(|it| it.arm == place && it.status() == Some(status)));
        let counts = live.counts(place.into());
        assert_eq!((counts.started, counts.done, counts.inflight), (400, 400, 0));
        assert_eq!(counts.http5xx(), if status == 503 { 400 } else { 0 });
    }
}

#[tokio::test]
async fn a_cancelled_run_ends_at_once_and_counts_what_it_sent() {
    let cancel = CancellationToken::new();
    let cancels = cancel.clone();
    let server = server(move |number| {
        if number == 20 {
            cancels.cancel();
        }
        Reply::Status(200)
    });
    let plan = Plan::open(vec![StagePlan::of(100_000, 200.0)], 3);
    let generator = Generator::new(plan, vec![arm(&server.url())]).cancelled_by(cancel);
    let running = tokio::spawn(generator.run());
    let run = running.await.unwrap().unwrap();
    let scenario = run.arms[0].scenario("cancelled", run.model);
    assert!(!run.whole && scenario.conserves());
    let stage = &scenario.stages[0];
    assert_eq!(scenario.statuses(), BTreeMap::from([(200, stage.started)]), "{stage:?}");
    // What was due and could not go out on a busy machine is counted as dropped, not as sent.
    assert!(stage.started >= 20 && stage.planned < 50_000, "{stage:?}");
}
