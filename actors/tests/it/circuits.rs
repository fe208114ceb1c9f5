//! Circuits as callers meet them: what a permit records, and what an operator lays over one.

use std::time::Duration;

use sendcat_actors::circuit_breaker::CircuitOpen;
use sendcat_actors::tree::Tree;
use sendcat_state::circuit_breaker::{CallOutcome, CircuitMode, CircuitRules};
use sendcat_state::key::ProviderId;

use crate::support::{CIRCUIT, Disk, in_virtual_time, settle, tree_on};

const PROVIDER: ProviderId = ProviderId::OpenrouterChat;

/// What operators see, in one word.
fn shown(tree: &Tree) -> &'static str {
    tree.circuits.circuit(PROVIDER).view().as_ref().map_or("unpublished", |view| view.shown())
}

/// Twenty calls that work, the first content of each after so long.
async fn twenty_calls(tree: &Tree, first_content: Duration) {
    for _ in 0..20 {
        let mut permit = tree.circuits.pass(PROVIDER).await.expect("closed until the last of them");
        tokio::time::sleep(first_content).await;
        permit.heard();
        // How long the rest takes says nothing.
        tokio::time::sleep(Duration::from_millis(200)).await;
        permit.heard();
        permit.record(CallOutcome::Success);
        settle().await;
    }
}

#[test]
fn calls_whose_first_content_is_slow_open_a_circuit_that_counts_them() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        let slow = Some(Duration::from_millis(100));
        tree.circuits.circuit(PROVIDER).set_rules(CircuitRules { slow, ..CIRCUIT });
        twenty_calls(&tree, Duration::from_millis(99)).await;
        assert_eq!(shown(&tree), "closed");
        // Past the reach of the calls so far.
        tokio::time::sleep(Duration::from_secs(10)).await;
        twenty_calls(&tree, Duration::from_millis(101)).await;
        assert_eq!(shown(&tree), "open");
    });
}

#[test]
fn a_forced_open_circuit_refuses_the_check_and_the_gate_until_it_is_released() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        tree.circuits.set_mode(PROVIDER, CircuitMode::ForcedOpen).await.expect("it answers");
        let open = CircuitOpen { provider: PROVIDER, retry_after: CIRCUIT.cooldown };
        assert_eq!(tree.circuits.check(PROVIDER, tree.clock.now()), Err(open));
        assert_eq!(tree.circuits.pass(PROVIDER).await.err(), Some(open));
        assert_eq!(shown(&tree), "forced_open");
        tree.circuits.set_mode(PROVIDER, CircuitMode::Normal).await.expect("it answers");
        assert_eq!(tree.circuits.check(PROVIDER, tree.clock.now()), Ok(()));
        assert!(tree.circuits.pass(PROVIDER).await.is_ok());
    });
}

#[test]
fn a_shadow_refuses_nobody_while_it_shows_that_it_would() {
    in_virtual_time(|| async {
        let tree = tree_on(&Disk::default()).await;
        tree.circuits.set_mode(PROVIDER, CircuitMode::Shadow).await.expect("it answers");
        for _ in 0..CIRCUIT.threshold {
            let permit = tree.circuits.pass(PROVIDER).await.expect("nobody is refused");
            permit.record(CallOutcome::Failure { retry_after: None });
        }
        settle().await;
        let view = tree.circuits.circuit(PROVIDER).view().expect("published");
        assert_eq!((view.shown(), view.state.as_str()), ("shadow", "open"));
        assert_eq!(tree.circuits.check(PROVIDER, tree.clock.now()), Ok(()));
        assert!(tree.circuits.pass(PROVIDER).await.is_ok());
    });
}
