//! Faults as they are written, and when they strike.

use super::*;

#[test]
fn a_scheduled_fault_reads_as_written() {
    let fault = Fault { kind: FaultKind::PanicApply, after: 50, times: 1 };
    let wanted = ScheduledFault { actor: "rate_limiter-0".into(), fault };
    assert_eq!("rate_limiter-0:panic_apply@50".parse(), Ok(wanted));
    let fault = Fault { kind: FaultKind::Hang(Duration::from_secs(3)), after: 2, times: 1 };
    let wanted = ScheduledFault { actor: "idempotency".into(), fault };
    assert_eq!("idempotency:hang@2:3000ms".parse(), Ok(wanted));
    let fault = Fault::lasting(FaultKind::DiskSlow(Duration::from_millis(2)));
    let wanted = ScheduledFault { actor: "journal".into(), fault };
    assert_eq!("journal:disk_slow@0:2ms".parse(), Ok(wanted));
    assert!("idempotency:dance".parse::<ScheduledFault>().is_err());
}

#[test]
fn a_fault_strikes_at_its_step_and_no_more_often_than_told() {
    let board = FaultBoard::default();
    board.arm(Fault { kind: FaultKind::PanicApply, after: 1, times: 1 });
    let kind = |step| board.due(step).map(|due| due.kind);
    assert_eq!(kind(Step::Decide), None);
    assert_eq!(kind(Step::Apply), None);
    assert_eq!(kind(Step::Apply), Some(FaultKind::PanicApply));
    assert_eq!(kind(Step::Apply), None);
}

#[test]
fn a_fault_under_a_witness_is_counted_and_over_when_that_has_ended() {
    let board = FaultBoard::default();
    let witness = Arc::new(Witness::default());
    board.arm_under(&witness, Fault::lasting(FaultKind::Bypass));
    assert!(board.bypassed() && board.bypassed());
    assert_eq!((witness.struck(), board.armed().len()), (2, 1));
    witness.end();
    assert!(!board.bypassed() && board.armed().is_empty());
    assert_eq!(witness.struck(), 2);
    // Who hangs under a lease that has ended hangs no more.
    board.arm_under(&witness, Fault::lasting(FaultKind::Hang(Duration::MAX)));
    board.strike(Step::Decide);
    block_for(Duration::MAX, Some(&witness));
}

#[test]
fn the_first_job_to_begin_is_poisoned_and_no_other() {
    let board = FaultBoard::default();
    let witness = Arc::new(Witness::default());
    board.arm_under(&witness, Fault::lasting(FaultKind::PoisonJob));
    let attempt = |job| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            board.strike_job(job);
        }))
    };
    assert!(attempt(7).is_err() && attempt(8).is_ok() && attempt(7).is_err());
    assert_eq!(witness.struck(), 2);
}

#[test]
fn the_wall_is_off_or_stands_still_only_while_a_fault_says_so() {
    let board = FaultBoard::default();
    assert_eq!(board.wall(5_000), 5_000);
    let witness = Arc::new(Witness::default());
    board.arm_under(&witness, Fault::lasting(FaultKind::WallOff(-3_000)));
    assert_eq!(board.wall(5_000), 2_000);
    witness.end();
    board.arm(Fault { times: 1, ..Fault::lasting(FaultKind::WallAt(9)) });
    assert_eq!((board.wall(5_000), board.wall(5_000)), (9, 5_000));
}
