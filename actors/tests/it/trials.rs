//! What every kind of actor must come through beside panics: deafness, and the loss of its state.

use std::sync::Arc;
use std::time::Duration;

use sendcat_actors::failure::AskError;
use sendcat_actors::faults::{Fault, FaultKind};
use sendcat_actors::handle::Handle;
use sendcat_actors::machine::{Class, Machine};
use sendcat_actors::tree::Tree;

use crate::containment::{Trial, every_actor, neighbours, quiet_tree};
use crate::support::{
    Disk, Echo, in_virtual_time, millis, once, pass, restarts, seen, settle, stopwatch, tree_of,
};

/// Hears nothing for longer than is borne.
struct IsDeaf;

impl Trial for IsDeaf {
    async fn of<M: Machine>(
        &self,
        handle: impl Fn(&Tree) -> Handle<M>,
        command: impl Fn(u64) -> M::Command,
    ) {
        let tree = tree_of(&Disk::default(), Arc::new(Echo), |options| options.workers = 0).await;
        let actor = handle(&tree);
        let name = actor.vitals().name().to_owned();
        assert!(tree.arm(&name, once(FaultKind::Deaf(Duration::from_secs(60)))));
        assert!(actor.ask(command(1)).await.is_ok(), "{name} is deaf after this turn");
        let began = stopwatch();
        let unheard = async {
            let answered = async || {
                tokio::time::timeout(millis(5), actor.ask(command(2)))
                    .await
                    .is_ok_and(|it| it.is_ok())
            };
            while !answered().await {
                pass(millis(1)).await;
            }
            began.elapsed()
        };
        let (took, errors) = tokio::join!(unheard, neighbours(&tree, &name));
        assert_eq!(errors, 0, "{name}");
        // The watchdog looks every 50 ms.
        assert!(took <= M::HANG_AFTER + millis(100), "{name}: {took:?}");
        assert!(actor.ask(command(3)).await.is_ok(), "{name}");
        settle().await;
        let view = seen(&tree, &name);
        assert_eq!((view.incarnation, view.mailbox_depth), (2, 0), "{name}");
        assert_eq!(restarts(&tree, &name), [("hang", 1)], "{name}");
    }
}

/// Cannot be built again from anything that was saved.
struct IsLost;

impl Trial for IsLost {
    async fn of<M: Machine>(
        &self,
        handle: impl Fn(&Tree) -> Handle<M>,
        command: impl Fn(u64) -> M::Command,
    ) {
        let tree = quiet_tree(&Disk::default()).await;
        let actor = handle(&tree);
        let name = actor.vitals().name().to_owned();
        assert!(tree.arm(&name, once(FaultKind::PanicApply)));
        let tries = if M::CLASS == Class::Snapshotted { 3 } else { 2 };
        let fault = Fault { kind: FaultKind::PanicRestore, after: 0, times: tries };
        assert!(tree.arm(&name, fault));
        let (struck, errors) = tokio::join!(actor.ask(command(1)), neighbours(&tree, &name));
        assert_eq!(struck.err(), Some(AskError::Crashed), "{name}");
        assert_eq!(errors, 0, "{name}");
        pass(millis(10)).await;
        assert!(actor.ask(command(2)).await.is_ok(), "{name} serves all the same");
        let aside = (name.clone(), "restoring it panicked; it was begun anew".to_owned());
        assert_eq!(tree.put_aside(), [aside], "readiness names it");
        let panic = seen(&tree, &name).last_panic.map(|panic| (panic.step, panic.message));
        assert_eq!(panic, Some(("restore", "injected: restore panic".to_owned())), "{name}");
    }
}

#[test]
fn a_deaf_actor_is_replaced_within_its_limit_with_its_state() {
    in_virtual_time(|| every_actor(IsDeaf));
}

#[test]
fn an_actor_that_nothing_saved_can_restore_begins_anew_and_is_named() {
    in_virtual_time(|| every_actor(IsLost));
}
