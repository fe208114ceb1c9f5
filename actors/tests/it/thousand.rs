//! A thousand panics at every step of every concern, no more often than subtrees bear: the root
//! goes on, and so does every actor. A real process meets its thousand in the service's own tests,
//! where time does not pass by hand.

use std::sync::Arc;
use std::time::Duration;

use sendcat_actors::failure::AskError;
use sendcat_actors::faults::FaultKind;
use sendcat_actors::observe::Status;
use sendcat_actors::tree::Tree;
use sendcat_actors::{bulkhead, circuit_breaker, idempotency, job_queue, rate_limiter, stream_log};
use sendcat_state::bulkhead::Priority;
use sendcat_state::idempotency::Claimant;
use sendcat_state::key::{IdempotencyKey, ProviderId, TimedId};
use sendcat_state::timestamp::Timestamp;

use crate::containment::{TEN_PER_MINUTE, caller};
use crate::support::{
    Disk, Echo, TOOL, in_virtual_time, job, millis, once, pass, settle, supervise, unsupervised,
};

/// One actor of each subtree is struck in a round.
#[derive(Clone, Copy, Debug)]
enum Subtree {
    Limits,
    Guards,
    Replay,
    Tools,
    Answers,
}

const SUBTREES: [Subtree; 5] =
    [Subtree::Limits, Subtree::Guards, Subtree::Replay, Subtree::Tools, Subtree::Answers];

/// So many panics while deciding, and one that restarts the actor.
const DECIDED: u64 = 3;
const ROUNDS: u64 = 1000 / (SUBTREES.len() as u64 * (DECIDED + 1));

/// The queue bears five in a minute, all others five in half of that.
const BETWEEN_ROUNDS: Duration = Duration::from_millis(12_500);

/// The actor whose turn it is, and what comes of asking it something that changes it.
impl Subtree {
    fn actor(self, number: u64) -> String {
        let provider = ProviderId::ALL[usize::try_from(number).unwrap() % ProviderId::ALL.len()];
        match self {
            Self::Limits => format!("rate_limiter-{}", caller(&number.to_string()).shard()),
            Self::Guards if number.is_multiple_of(2) => format!("bulkhead-{provider}"),
            Self::Guards => format!("circuit_breaker-{provider}"),
            Self::Replay => "idempotency".to_owned(),
            Self::Tools => "job_queue".to_owned(),
            Self::Answers => "stream_log".to_owned(),
        }
    }

    async fn asked(self, tree: &Tree, number: u64) -> Option<AskError> {
        let provider = ProviderId::ALL[usize::try_from(number).unwrap() % ProviderId::ALL.len()];
        match self {
            Self::Limits => {
                let key = caller(&number.to_string());
                let command = rate_limiter::Command::Admit { key, limit: TEN_PER_MINUTE };
                tree.limiter.shards()[key.shard()].ask(command).await.err()
            }
            Self::Guards if number.is_multiple_of(2) => {
                let holder = format!("holder-{number}");
                let command = bulkhead::Command::Acquire(holder, Priority::Interactive);
                tree.bulkheads.bulkhead(provider).ask(command).await.err()
            }
            Self::Guards => {
                let command = circuit_breaker::Command::Reset;
                tree.circuits.circuit(provider).ask(command).await.err()
            }
            Self::Replay => {
                let key = IdempotencyKey::whatsapp_message(&number.to_string());
                let command = idempotency::Command::Claim(Claimant(number), vec![key]);
                tree.claims.actor().ask(command).await.err()
            }
            Self::Tools => {
                let command = job_queue::Command::Enqueue(vec![job(TOOL, number)], Vec::new());
                tree.jobs.actor().ask(command).await.err()
            }
            Self::Answers => {
                let id = TimedId::new(Timestamp::ZERO, number);
                let command = stream_log::Command::Open(format!("thread-{number}"), id);
                tree.answers.actor().ask(command).await.err()
            }
        }
    }
}

/// What all actors have counted.
fn restarts(tree: &Tree) -> u64 {
    let counts = tree.actors().into_iter().flat_map(|view| view.restarts);
    counts.map(|(_, times)| times).sum()
}

#[test]
fn a_thousand_panics_at_every_step_are_survived_and_counted() {
    in_virtual_time(|| async {
        let without_workers = |options: &mut sendcat_actors::tree::TreeOptions| options.workers = 0;
        let (tree, root) = unsupervised(&Disk::default(), Arc::new(Echo), without_workers).await;
        let root = supervise(root);
        settle().await;
        let mut number = 0;
        for round in 0..ROUNDS {
            for subtree in SUBTREES {
                for _ in 0..DECIDED {
                    number += 1;
                    assert!(tree.arm(&subtree.actor(number), once(FaultKind::PanicDecide)));
                    let answer = subtree.asked(&tree, number).await;
                    assert_eq!(answer, Some(AskError::Crashed), "{subtree:?} {number}");
                }
                number += 1;
                if round % 2 == 0 {
                    assert!(tree.arm(&subtree.actor(number), once(FaultKind::PanicApply)));
                    let answer = subtree.asked(&tree, number).await;
                    assert_eq!(answer, Some(AskError::Crashed), "{subtree:?} {number}");
                } else {
                    assert!(tree.arm(&subtree.actor(number), once(FaultKind::PanicTimer)));
                    pass(millis(300)).await;
                }
                assert_eq!(restarts(&tree), number, "{subtree:?}");
            }
            pass(BETWEEN_ROUNDS).await;
        }
        assert_eq!(number, 1000);
        for view in tree.actors() {
            assert_eq!((view.status, view.mailbox_depth), (Status::Running, 0), "{}", view.name);
        }
        for subtree in SUBTREES {
            number += 1;
            assert_eq!(subtree.asked(&tree, number).await, None, "{subtree:?}");
        }
        assert!(!root.is_finished(), "too much was never given up");
    });
}
