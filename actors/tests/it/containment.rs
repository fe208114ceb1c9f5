//! A panic in one actor costs that actor a restart at most, and its neighbours nothing.
//!
//! Every kind of actor meets every kind of panic beside a twin tree that meets none: whoever asked
//! is told so, the neighbours answer without one error, and what is saved in the end is the same.

use std::sync::Arc;
use std::time::Duration;

use sendcat_actors::clock::ManualClock;
use sendcat_actors::failure::AskError;
use sendcat_actors::faults::{Fault, FaultKind};
use sendcat_actors::handle::Handle;
use sendcat_actors::machine::{Class, Machine};
use sendcat_actors::supervisor::Ended;
use sendcat_actors::tree::Tree;
use sendcat_actors::{
    alert_monitor, bulkhead, circuit_breaker, idempotency, job_queue, observe, rate_limiter,
    stream_log, tool_cache,
};
use sendcat_state::events::{EventOutcome, EventSource, Refused};
use sendcat_state::idempotency::Claimant;
use sendcat_state::key::{Bucket, ClientKey, IdempotencyKey, ProviderId, TimedId, ToolKind};
use sendcat_state::rate_window::{Admission, Limit};
use sendcat_state::timestamp::Timestamp;
use sendcat_state::tool_cache::{CacheKey, Lookup, NewResult, ToolCache};

use crate::support::{
    Disk, Echo, TOOL, in_virtual_time, job, millis, once, pass, restarts, seen, settle, stopwatch,
    supervise, tree_of, tree_on, unsupervised,
};

pub(crate) const TEN_PER_MINUTE: Limit = Limit { calls: 10, per: Duration::from_secs(60) };
const NOW: Timestamp = Timestamp::from_millis(1_000_000);

pub(crate) fn caller(name: &str) -> ClientKey {
    ClientKey::session(Bucket::ChatStream, name)
}

/// Callers of one shard, all different: what one of them is refused for hits no other.
pub(crate) fn callers(shard: usize) -> impl Iterator<Item = ClientKey> {
    (0_u64..).map(|number| caller(&number.to_string())).filter(move |key| key.shard() == shard)
}

pub(crate) fn left(admission: Result<Admission, AskError>) -> u64 {
    match admission {
        Ok(Admission::Admitted { left, .. }) => left,
        other => panic!("not admitted: {other:?}"),
    }
}

fn admit(_: u64) -> rate_limiter::Command {
    rate_limiter::Command::Admit { key: caller("a"), limit: TEN_PER_MINUTE }
}

fn claim(number: u64) -> idempotency::Command {
    let key = IdempotencyKey::whatsapp_message(&number.to_string());
    idempotency::Command::Claim(Claimant(number), vec![key])
}

/// A refusal of that caller.
pub(crate) fn refused(number: u64) -> Refused {
    Refused {
        source: EventSource::Http,
        key: ClientKey::session(Bucket::WhatsappWebhook, &number.to_string()),
        outcome: EventOutcome::Blocked,
        retry_after: Duration::from_secs(1),
        path: "/api/whatsapp/webhook".into(),
        method: "POST".into(),
    }
}

fn open(number: u64) -> stream_log::Command {
    stream_log::Command::Open("thread".into(), TimedId::new(NOW, number))
}

/// What somebody may ask a tool.
pub(crate) fn question(number: u64) -> CacheKey {
    CacheKey::of(ToolKind::SearchWeb, "v1", &[&number.to_string()])
}

/// A result of a question, asked for before anything was cleared.
pub(crate) fn result(number: u64) -> NewResult {
    let key = question(number);
    let Lookup::Miss(fill) = ToolCache::default().get(NOW, &key).answer else {
        unreachable!("a new cache knows nothing")
    };
    NewResult { key, fill, value: format!("result {number}"), ttl: Duration::from_secs(300) }
}

/// Every concern once, on actors that no test strikes; how many gave no answer.
pub(crate) async fn neighbours(tree: &Tree, struck: &str) -> usize {
    let provider = ProviderId::ResendEmail;
    let shards = tree.limiter.shards();
    let mut errors = 0;
    for _ in 0..20 {
        let key = caller("neighbour");
        let limit = Limit { calls: 1000, per: Duration::from_secs(60) };
        let untouched = (key.shard() + 1) % shards.len();
        errors += usize::from(
            struck != shards[untouched].vitals().name()
                && shards[untouched]
                    .ask(rate_limiter::Command::Admit { key, limit })
                    .await
                    .is_err(),
        );
        errors += usize::from(
            tree.circuits.circuit(provider).ask(circuit_breaker::Command::Gate).await.is_err(),
        );
        let acquired = tree.bulkheads.bulkhead(provider).ask(bulkhead::Command::Acquire(
            "n".into(),
            sendcat_state::bulkhead::Priority::Interactive,
        ));
        errors += usize::from(acquired.await.is_err());
        let elsewhere = struck != "idempotency";
        errors += usize::from(elsewhere && tree.claims.actor().ask(claim(99)).await.is_err());
        let newest = stream_log::Command::Newest("elsewhere".into());
        let elsewhere = struck != "stream_log";
        errors += usize::from(elsewhere && tree.answers.actor().ask(newest).await.is_err());
        let nobodys = job_queue::Command::Claim("neighbour".into());
        let elsewhere = struck != "job_queue";
        errors += usize::from(elsewhere && tree.jobs.actor().ask(nobodys).await.is_err());
        let asked = tool_cache::Command::Get(question(99));
        let elsewhere = struck != "tool_cache";
        errors += usize::from(elsewhere && tree.cache.actor().ask(asked).await.is_err());
        let elsewhere = struck != "alert_monitor";
        let pending = alert_monitor::Command::Pending;
        errors += usize::from(elsewhere && tree.monitor.actor().ask(pending).await.is_err());
        tokio::task::yield_now().await;
    }
    errors
}

pub(crate) async fn quiet_tree(disk: &Disk) -> Tree {
    tree_of(disk, Arc::new(Echo), |options| {
        options.clock = ManualClock::at(NOW);
        options.workers = 0;
    })
    .await
}

/// What a fault costs the actor that it strikes.
struct Costs {
    incarnation: u64,
    /// Under which cause its restart is counted.
    counted: Option<&'static str>,
    /// Whether what was asked when it struck happens all the same.
    comes_true: bool,
}

fn costs(kind: FaultKind) -> Costs {
    let (incarnation, counted, comes_true) = match kind {
        FaultKind::PanicDecide => (1, Some("decide"), false),
        FaultKind::PanicApply | FaultKind::PanicRestore => (2, Some("apply"), true),
        FaultKind::DropReply => (1, None, true),
        FaultKind::PanicTimer => (2, Some("death"), false),
        FaultKind::Hang(_)
        | FaultKind::Deaf(_)
        | FaultKind::DiskFull
        | FaultKind::DiskSlow(_)
        | FaultKind::Kill
        | FaultKind::Bypass
        | FaultKind::PoisonJob
        | FaultKind::WallOff(_)
        | FaultKind::WallAt(_)
        | FaultKind::StopArbiter => {
            unreachable!("trials.rs, placement.rs and the wire tests prove these")
        }
    };
    Costs { incarnation, counted, comes_true }
}

/// Asks three commands; the second meets the fault, the third stands in line behind it.
async fn meets<M: Machine>(
    kind: FaultKind,
    handle: impl Fn(&Tree) -> Handle<M>,
    command: impl Fn(u64) -> M::Command,
) {
    let (disk, twins) = (Disk::default(), Disk::default());
    let (tree, twin) = (quiet_tree(&disk).await, quiet_tree(&twins).await);
    let (actor, unhurt) = (handle(&tree), handle(&twin));
    let name = actor.vitals().name().to_owned();
    assert!(actor.ask(command(1)).await.is_ok());
    assert!(unhurt.ask(command(1)).await.is_ok());
    if kind == FaultKind::PanicRestore {
        // Nothing restores without a restart.
        assert!(tree.arm(&name, once(FaultKind::PanicApply)));
    }
    assert!(tree.arm(&name, once(kind)));
    if kind == FaultKind::PanicTimer {
        let (errors, ()) = tokio::join!(neighbours(&tree, &name), pass(millis(300)));
        assert_eq!(errors, 0, "{name}");
        assert!(actor.ask(command(3)).await.is_ok(), "{name} is back");
    } else {
        let (struck, queued, errors) =
            tokio::join!(actor.ask(command(2)), actor.ask(command(3)), neighbours(&tree, &name));
        assert_eq!(struck.err(), Some(AskError::Crashed), "{name}");
        assert!(queued.is_ok(), "{name}: what was in line is answered");
        assert_eq!(errors, 0, "{name}");
    }
    let Costs { incarnation, counted, comes_true } = costs(kind);
    if comes_true {
        // What was decided comes true, and is undone where nobody was given what it gives.
        let answer = unhurt.ask(command(2)).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(unhurt.ask(command(3)).await.is_ok());
        if let Some(undo) = M::undo(answer) {
            let _ = unhurt.ask(undo).await;
        }
    } else {
        assert!(unhurt.ask(command(3)).await.is_ok());
    }
    let _ = neighbours(&twin, &name).await;
    settle().await;
    let view = seen(&tree, &name);
    assert_eq!((view.incarnation, view.mailbox_depth), (incarnation, 0), "{name}");
    let counted: Vec<_> = counted.into_iter().map(|cause| (cause, 1)).collect();
    assert_eq!(restarts(&tree, &name), counted, "{name}");
    tree.drain(Duration::from_secs(5)).await.unwrap();
    twin.drain(Duration::from_secs(5)).await.unwrap();
    if M::CLASS != Class::Passing {
        assert_eq!(disk.form(&name), twins.form(&name), "{name} stands as one that was not struck");
    }
}

/// What is done to every kind of actor.
pub(crate) trait Trial {
    async fn of<M: Machine>(
        &self,
        handle: impl Fn(&Tree) -> Handle<M>,
        command: impl Fn(u64) -> M::Command,
    );
}

pub(crate) async fn every_actor(trial: impl Trial) {
    let provider = ProviderId::OpenrouterChat;
    trial.of(|tree| tree.limiter.shards()[caller("a").shard()].clone(), admit).await;
    let reset = |_| circuit_breaker::Command::Reset;
    trial.of(|tree| tree.circuits.circuit(provider).clone(), reset).await;
    let acquire = |number: u64| {
        bulkhead::Command::Acquire(
            format!("holder-{number}"),
            sendcat_state::bulkhead::Priority::Interactive,
        )
    };
    trial.of(|tree| tree.bulkheads.bulkhead(provider).clone(), acquire).await;
    trial.of(|tree| tree.claims.actor().clone(), claim).await;
    let enqueue = |number| job_queue::Command::Enqueue(vec![job(TOOL, number)], Vec::new());
    trial.of(|tree| tree.jobs.actor().clone(), enqueue).await;
    let put = |number| tool_cache::Command::Put(result(number));
    trial.of(|tree| tree.cache.actor().clone(), put).await;
    trial.of(|tree| tree.answers.actor().clone(), open).await;
    let record = |number| alert_monitor::Command::Record(refused(number));
    trial.of(|tree| tree.monitor.actor().clone(), record).await;
}

struct Meets(FaultKind);

impl Trial for Meets {
    async fn of<M: Machine>(
        &self,
        handle: impl Fn(&Tree) -> Handle<M>,
        command: impl Fn(u64) -> M::Command,
    ) {
        meets(self.0, handle, command).await;
    }
}

async fn every_actor_meets(kind: FaultKind) {
    every_actor(Meets(kind)).await;
}

#[test]
fn a_panic_while_deciding_restarts_no_actor_and_changes_nothing() {
    in_virtual_time(|| every_actor_meets(FaultKind::PanicDecide));
}

#[test]
fn a_panic_while_applying_restarts_one_actor_whose_state_is_what_was_decided() {
    in_virtual_time(|| every_actor_meets(FaultKind::PanicApply));
}

#[test]
fn an_actor_whose_task_died_is_started_again_with_its_state() {
    in_virtual_time(|| every_actor_meets(FaultKind::PanicTimer));
}

#[test]
fn a_restart_whose_restore_panics_once_is_tried_again_and_nothing_is_lost() {
    in_virtual_time(|| every_actor_meets(FaultKind::PanicRestore));
}

#[test]
fn an_answer_that_is_lost_on_its_way_is_undone() {
    in_virtual_time(|| every_actor_meets(FaultKind::DropReply));
}

#[test]
fn the_last_panic_of_an_actor_is_shown_with_its_step_and_its_redacted_message() {
    observe::note_panics(|message| message.replace("injected", "***"), |_, _| {});
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let shard = format!("rate_limiter-{}", caller("a").shard());
        let mut shown = Vec::new();
        for kind in [FaultKind::PanicDecide, FaultKind::PanicApply, FaultKind::PanicTimer] {
            tree.arm(&shard, once(kind));
            let _ = tree.limiter.admit(caller("a"), TEN_PER_MINUTE).await;
            pass(millis(300)).await;
            let panic = seen(&tree, &shard).last_panic.unwrap();
            assert!(panic.location.unwrap().contains("faults.rs:"));
            shown.push((panic.step, panic.message));
        }
        let wanted = [
            ("decide", "***: decide panic"),
            ("apply", "***: apply panic"),
            ("task", "***: timer panic"),
        ];
        assert_eq!(shown, wanted.map(|(step, message)| (step, message.to_owned())));
    });
}

#[test]
fn sv2_a_crash_loop_gives_up_rests_alone_and_is_reported() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let key = caller("a");
        let shard = format!("rate_limiter-{}", key.shard());
        let always = Fault { kind: FaultKind::PanicApply, after: 0, times: 100 };
        tree.arm(&shard, always);
        let mut crashes = 0;
        let mut callers = callers(key.shard());
        let down = loop {
            // Somebody else each time: one alone would be refused before the shard gives up.
            let key = callers.next().unwrap();
            match tree.limiter.admit(key, TEN_PER_MINUTE).await {
                Err(AskError::Crashed) => crashes += 1,
                Err(AskError::Restarting { .. }) => pass(millis(5)).await,
                answer => break answer,
            }
        };
        assert_eq!((down, crashes), (Err(AskError::Down), 6), "five are borne in thirty seconds");
        assert_eq!(seen(&tree, &shard).incarnation, 6);
        assert_eq!(neighbours(&tree, &shard).await, 0);
    });
}

#[test]
fn restarts_in_a_row_wait_longer_each_time_and_a_quiet_minute_starts_anew() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let key = caller("a");
        let shard = format!("rate_limiter-{}", key.shard());
        let mut waits = Vec::new();
        for (round, key) in callers(key.shard()).take(4).enumerate() {
            if round == 3 {
                pass(Duration::from_secs(61)).await;
            }
            tree.arm(&shard, once(FaultKind::PanicApply));
            let struck = tree.limiter.admit(key, TEN_PER_MINUTE).await;
            assert_eq!(struck, Err(AskError::Crashed));
            let began = stopwatch();
            while tree.limiter.admit(key, TEN_PER_MINUTE).await.is_err() {
                pass(millis(1)).await;
            }
            waits.push(u64::try_from(began.elapsed().as_millis()).unwrap());
        }
        let within = |wait: u64, least, most| (least..=most).contains(&wait);
        assert!(
            waits[0] <= 1 && within(waits[1], 39, 62) && within(waits[2], 79, 122),
            "{waits:?}"
        );
        assert!(waits[3] <= 1, "{waits:?}");
    });
}

#[test]
fn a_root_that_lost_too_much_ends_the_process() {
    in_virtual_time(|| async {
        let (tree, root) = unsupervised(&Disk::default(), Arc::new(Echo), |_| {}).await;
        let ended = supervise(root);
        settle().await;
        for shard in 0..4 {
            let always = Fault { kind: FaultKind::PanicTimer, after: 0, times: 100 };
            tree.arm(&format!("rate_limiter-{shard}"), always);
            pass(Duration::from_secs(10)).await;
        }
        let ended = tokio::time::timeout(Duration::from_secs(1), ended).await;
        let gave_up = Ended::GaveUp { actor: "rate_limiter-3".into() };
        assert_eq!(ended.unwrap().unwrap(), gave_up);
    });
}
