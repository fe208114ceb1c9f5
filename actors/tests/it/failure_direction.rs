//! Which way each concern fails: the table as data, and every handle that goes that way itself.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::future::join_all;
use sendcat_actors::failure::{AskError, Concern, Direction, failed, unavailable};
use sendcat_actors::faults::{Fault, FaultKind};
use sendcat_actors::tree::Tree;
use sendcat_actors::{bulkhead, circuit_breaker, idempotency};
use sendcat_state::bulkhead::Acquisition;
use sendcat_state::circuit_breaker::{CallOutcome, CircuitState};
use sendcat_state::idempotency::{ClaimRow, Claimant};
use sendcat_state::key::{IdempotencyKey, ProviderId};
use sendcat_state::timestamp::Timestamp;

use crate::containment::{TEN_PER_MINUTE, caller, callers};
use crate::support::{Disk, in_virtual_time, millis, once, pass, settle, tree_without_workers};

const PROVIDER: ProviderId = ProviderId::OpenrouterChat;

/// The errors that every actor can be made to give; `NotDurable` is a journalled one's alone, and
/// `Poisoned` that of those whose commands have a fingerprint ([`poisoned`]).
pub(crate) const GIVEN: [AskError; 5] = [
    AskError::Restarting { retry_after: Duration::ZERO },
    AskError::Overloaded,
    AskError::Down,
    AskError::Timeout,
    AskError::Crashed,
];

pub(crate) type Provoke<'a> = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + 'a>> + 'a>;

/// Brings an actor into the state in which it gives that error, and has `ask` meet it. `provoke`
/// asks the actor for any change, another each time, so that none of them is refused for the last.
pub(crate) async fn meeting<T>(
    error: AskError,
    (tree, actor): (&Tree, &str),
    provoke: Provoke<'_>,
    ask: impl Future<Output = T>,
) -> T {
    let strikes = |kind, times| assert!(tree.arm(actor, Fault { kind, after: 0, times }));
    match error {
        AskError::Crashed => {
            strikes(FaultKind::PanicDecide, 1);
            ask.await
        }
        AskError::Down => {
            strikes(FaultKind::PanicTimer, 100);
            pass(Duration::from_secs(3)).await;
            ask.await
        }
        AskError::Restarting { .. } => {
            // The first restart is immediate, the second takes its time.
            strikes(FaultKind::PanicApply, 2);
            tokio::join!(provoke(), provoke());
            ask.await
        }
        AskError::Timeout => {
            for _ in 0..8 {
                strikes(FaultKind::PanicApply, 1);
                provoke().await;
                pass(Duration::from_secs(10)).await;
            }
            // Struck before the ask has its turn, it is away for longer than a caller waits.
            strikes(FaultKind::PanicApply, 1);
            tokio::join!(provoke(), ask).1
        }
        AskError::Overloaded => {
            let flood = join_all((0..4096).map(|_| provoke()));
            tokio::join!(flood, ask).1
        }
        AskError::Poisoned | AskError::NotDurable => panic!("no actor of these gives {error}"),
    }
}

/// Asks the same until it is refused for the panics that it made: what the ask after those gives.
async fn poisoned<T>((tree, actor): (&Tree, &str), ask: impl AsyncFn() -> T) -> T {
    for _ in 0..3 {
        assert!(tree.arm(actor, once(FaultKind::PanicDecide)));
        drop(ask().await);
        settle().await;
    }
    ask().await
}

pub(crate) fn times(concern: Concern, error: AskError) -> u64 {
    let count = unavailable().into_iter();
    let mut count = count.filter(|it| it.concern == concern && it.error.as_str() == error.as_str());
    count.next().map_or(0, |it| it.times)
}

fn of_circuits(tree: &Tree) -> Provoke<'_> {
    Box::new(move || {
        Box::pin(async move {
            let circuit = tree.circuits.circuit(ProviderId::ResendEmail);
            let _ = circuit.ask(circuit_breaker::Command::Reset).await;
        })
    })
}

fn of_bulkheads(tree: &Tree) -> Provoke<'_> {
    Box::new(move || {
        Box::pin(async move {
            let acquire = bulkhead::Command::Acquire(
                "provokes".into(),
                sendcat_state::bulkhead::Priority::Interactive,
            );
            let bulkhead = tree.bulkheads.bulkhead(PROVIDER);
            let answer = bulkhead.ask(acquire).await;
            if let Ok(bulkhead::Answer::Acquired(Acquisition::Held(lease))) = answer {
                bulkhead.ask(bulkhead::Command::GiveBack(lease.id)).await.unwrap();
            }
        })
    })
}

fn of_claims(tree: &Tree) -> Provoke<'_> {
    let number = Cell::new(0_u64);
    Box::new(move || {
        number.set(number.get() + 1);
        let key = IdempotencyKey::whatsapp_message(&format!("provokes {}", number.get()));
        Box::pin(async move {
            let claim = idempotency::Command::Claim(Claimant(u64::MAX), vec![key]);
            let _ = tree.claims.actor().ask(claim).await;
        })
    })
}

fn of_shards(tree: &Tree) -> Provoke<'_> {
    let others = RefCell::new(callers(caller("a").shard()));
    Box::new(move || {
        let other = others.borrow_mut().next().unwrap();
        Box::pin(async move {
            let limit = sendcat_state::rate_window::Limit { calls: 10_000, ..TEN_PER_MINUTE };
            let _ = tree.limiter.admit(other, limit).await;
        })
    })
}

#[test]
fn every_row_of_the_table_goes_one_way_for_every_error_and_counts_it() {
    for concern in Concern::ALL {
        for error in AskError::KINDS {
            let before = times(concern, error);
            assert_eq!(failed(concern, error), concern.direction());
            assert!(times(concern, error) > before, "{} {}", concern.as_str(), error.as_str());
        }
    }
}

#[test]
fn the_readme_tells_the_table_as_the_code_has_it() {
    let readme = include_str!("../../README.md");
    let rows = readme.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|');
        let concern = cells.next()?.trim().trim_end_matches('`').to_owned();
        let direction = cells.next()?.trim().trim_matches('`').to_owned();
        Concern::ALL.iter().any(|it| it.as_str() == concern).then_some((concern, direction))
    });
    let wanted = Concern::ALL
        .map(|concern| (concern.as_str().to_owned(), concern.direction().as_str().to_owned()));
    assert_eq!(rows.collect::<Vec<_>>(), wanted);
}

#[test]
fn a_limiter_that_does_not_answer_says_which_error_and_its_concern_is_closed() {
    for error in GIVEN {
        in_virtual_time(|| async {
            let tree = tree_without_workers(&Disk::default()).await;
            let shard = format!("rate_limiter-{}", caller("a").shard());
            let ask = tree.limiter.admit(caller("a"), TEN_PER_MINUTE);
            let met = meeting(error, (&tree, &shard), of_shards(&tree), ask).await;
            assert_eq!(met.unwrap_err().as_str(), error.as_str());
            assert_eq!(Concern::RateLimit.direction(), Direction::Closed);
        });
    }
}

#[test]
fn a_limiter_that_refuses_a_poisonous_call_says_so_and_its_concern_is_closed() {
    in_virtual_time(|| async {
        let tree = tree_without_workers(&Disk::default()).await;
        let shard = format!("rate_limiter-{}", caller("a").shard());
        let ask = async || tree.limiter.admit(caller("a"), TEN_PER_MINUTE).await;
        assert_eq!(poisoned((&tree, &shard), ask).await, Err(AskError::Poisoned));
        assert_eq!(Concern::RateLimit.direction(), Direction::Closed);
    });
}

/// What a gate says while its circuit's actor gives `error`, having opened the circuit or not.
async fn gate_meeting(error: AskError, opened: bool) -> Result<(), Duration> {
    let provider = ProviderId::ResendEmail;
    let tree = tree_without_workers(&Disk::default()).await;
    if opened {
        for _ in 0..2 {
            let permit = tree.circuits.pass(provider).await.unwrap();
            let retry_after = Some(Duration::from_secs(3600));
            permit.record(CallOutcome::Failure { retry_after });
        }
        settle().await;
    }
    let before = times(Concern::BreakerGate, error);
    let name = format!("circuit_breaker-{provider}");
    let still_open =
        |tree: &Tree| tree.circuits.circuit(provider).view().unwrap().state == CircuitState::Open;
    // What provokes must not close the circuit: a record of a failure through it is neutral.
    let provoke: Provoke<'_> = if opened { of_records(&tree) } else { of_circuits(&tree) };
    let met = meeting(error, (&tree, &name), provoke, tree.circuits.pass(provider)).await;
    assert_eq!(still_open(&tree), opened);
    assert!(times(Concern::BreakerGate, error) > before, "{}", error.as_str());
    met.map(drop).map_err(|open| open.retry_after)
}

/// Asks whose answer needs no change: enough for errors that need no crash while applying.
fn of_records(tree: &Tree) -> Provoke<'_> {
    Box::new(move || {
        Box::pin(async move {
            let circuit = tree.circuits.circuit(ProviderId::ResendEmail);
            let _ = circuit.ask(circuit_breaker::Command::Gate).await;
        })
    })
}

#[test]
fn a_gate_without_an_answer_goes_by_what_was_published_closed() {
    for error in GIVEN {
        let passed = in_virtual_time(|| gate_meeting(error, false));
        assert_eq!(passed, Ok(()), "{}", error.as_str());
    }
}

#[test]
fn a_gate_without_an_answer_goes_by_what_was_published_open() {
    // The other two need a change, and an open circuit makes none.
    for error in [AskError::Crashed, AskError::Down, AskError::Overloaded] {
        let refused = in_virtual_time(|| gate_meeting(error, true)).unwrap_err();
        assert!(refused > Duration::from_secs(3590), "{} {refused:?}", error.as_str());
    }
}

#[test]
fn a_bulkhead_without_an_answer_is_open_under_a_local_cap() {
    for error in GIVEN {
        in_virtual_time(|| async {
            let tree = tree_without_workers(&Disk::default()).await;
            let before = times(Concern::BulkheadAcquire, error);
            let name = format!("bulkhead-{PROVIDER}");
            let slots = join_all((0..5).map(|_| tree.bulkheads.acquire(PROVIDER, "goes on")));
            let slots = meeting(error, (&tree, &name), of_bulkheads(&tree), slots).await;
            let counted = times(Concern::BulkheadAcquire, error) - before;
            // One command alone is struck by a panic; all others meet the state of the actor.
            let met = if error == AskError::Crashed { 1 } else { 5 };
            assert_eq!(counted, met, "{}", error.as_str());
            let held = slots.iter().filter(|slot| slot.is_ok()).count();
            let wanted = if error == AskError::Crashed { 4 } else { 3 };
            assert_eq!(held, wanted, "{}: one without a lease, or as many as fit", error.as_str());
            drop(slots);
            settle().await;
            let again = join_all((0..3).map(|_| tree.bulkheads.acquire(PROVIDER, "again"))).await;
            assert!(again.iter().all(Result::is_ok), "{}: all of it came back", error.as_str());
        });
    }
}

#[test]
fn a_claim_without_an_answer_goes_on_and_asks_the_disk_all_the_same() {
    let key = |text: &str| IdempotencyKey::whatsapp_message(text);
    for error in GIVEN {
        in_virtual_time(|| async {
            let tree = tree_without_workers(&Disk::default()).await;
            let late = Timestamp::from_millis(u64::MAX);
            let row = ClaimRow::write(&key("done"), Timestamp::ZERO, late);
            let written = tree.journal.transact(|_| Ok::<_, ()>(((), vec![row])));
            assert_eq!(written.await, Ok(Ok(())));
            let before = times(Concern::ReplayClaim, error);
            let ask = tree.claims.claim(vec![key("new"), key("done")]);
            let claimed =
                meeting(error, (&tree, "idempotency"), of_claims(&tree), ask).await.unwrap();
            assert_eq!(claimed.first.keys(), [key("new")], "{}", error.as_str());
            assert_eq!(claimed.duplicates, [key("done")], "{}", error.as_str());
            let asked_again = matches!(error, AskError::Restarting { .. });
            let counted = times(Concern::ReplayClaim, error) - before;
            // An actor that is back within a tenth of a second is asked again instead.
            assert_eq!(counted, u64::from(!asked_again), "{}", error.as_str());
        });
    }
}

#[test]
fn a_claim_refused_as_poisonous_goes_on_and_asks_the_disk_all_the_same() {
    let key = |text: &str| IdempotencyKey::whatsapp_message(text);
    in_virtual_time(|| async {
        let tree = tree_without_workers(&Disk::default()).await;
        let late = Timestamp::from_millis(u64::MAX);
        let row = ClaimRow::write(&key("done"), Timestamp::ZERO, late);
        let written = tree.journal.transact(|_| Ok::<_, ()>(((), vec![row])));
        assert_eq!(written.await, Ok(Ok(())));
        let counted = |error| times(Concern::ReplayClaim, error);
        let before = (counted(AskError::Crashed), counted(AskError::Poisoned));
        let ask = async || tree.claims.claim(vec![key("new"), key("done")]).await;
        let claimed = poisoned((&tree, "idempotency"), ask).await.unwrap();
        assert_eq!(claimed.first.keys(), [key("new")]);
        assert_eq!(claimed.duplicates, [key("done")]);
        let after = (counted(AskError::Crashed), counted(AskError::Poisoned));
        assert_eq!(after, (before.0 + 3, before.1 + 1));
    });
}

#[test]
fn a_record_for_an_actor_that_is_gone_is_dropped_and_holds_nobody_up() {
    in_virtual_time(|| async {
        let tree = tree_without_workers(&Disk::default()).await;
        let permit = tree.circuits.pass(PROVIDER).await.unwrap();
        let name = format!("circuit_breaker-{PROVIDER}");
        tree.arm(&name, Fault { kind: FaultKind::PanicTimer, after: 0, times: 100 });
        pass(Duration::from_secs(3)).await;
        permit.record(CallOutcome::Success);
        settle().await;
        assert_eq!(crate::support::seen(&tree, &name).mailbox_depth, 0);
    });
}

#[test]
fn an_event_is_refused_whatever_the_queue_gives_instead_of_an_answer() {
    in_virtual_time(|| async {
        let tree = tree_without_workers(&Disk::default()).await;
        tree.arm("job_queue", once(FaultKind::PanicDecide));
        let refused = crate::recovery::accept(&tree, 1).await;
        assert_eq!(refused, Err(AskError::Crashed));
        tree.arm("job_queue", Fault { kind: FaultKind::PanicTimer, after: 0, times: 100 });
        pass(Duration::from_secs(5)).await;
        assert_eq!(crate::recovery::accept(&tree, 1).await, Err(AskError::Down));
        pass(millis(10)).await;
        assert_eq!(Concern::InboxAccept.direction(), Direction::Closed);
    });
}
