//! Seeded runs of the whole tree in virtual time, with faults; beside it a naive model.
//!
//! A run is several processes on one disk, each drained, killed or without power in the end, and
//! everything in it follows from its seed. `SEED=7 cargo sim` runs one, `SEEDS=10000 cargo sim` so
//! many, `REPLAY=path cargo sim` the schedule that a failed run has left in a file.

mod callers;
mod checks;
mod draws;
mod faults;
mod model;
mod report;
mod run;
mod schedule;
mod work;
mod world;

use std::time::Duration;

use model::Stats;
use report::{asked, fail, of_environment, shrink, stopwatch};
use run::run;
use schedule::{Act, End, Life, Schedule, Step};

/// Seeds that CI runs at least, and how long they may take it.
const FEWEST_IN_CI: u64 = 300;
const LONGEST_IN_CI: Duration = Duration::from_secs(300);

#[test]
fn nothing_acknowledged_is_lost_nothing_is_done_twice_and_all_comes_to_rest() {
    if let Some(path) = of_environment("REPLAY") {
        let schedule = report::read(&path);
        return run(&schedule).failure.map_or((), |failure| fail(&schedule, &failure));
    }
    let began = stopwatch();
    let in_ci = of_environment("CI").is_some();
    let budget = Duration::from_secs(if in_ci { 60 } else { 10 });
    // Some seeds are the same every time; most are new.
    let base = getrandom::u64().expect("the system has lots to draw") >> 16;
    let one = asked("SEED");
    let count = asked("SEEDS").or(one.map(|_| 1));
    let seeds = (0..).map(|number| match one {
        Some(seed) => seed + number,
        None if number % 4 == 0 => number / 4,
        None => base + number,
    });
    println!("seeds from 0 and from {base}");
    let mut total = Stats::default();
    let mut ran = 0;
    for seed in seeds {
        let enough = match count {
            Some(count) => ran >= count,
            None => began.elapsed() >= budget && (!in_ci || ran >= FEWEST_IN_CI),
        };
        if enough {
            break;
        }
        let schedule = Schedule::drawn(seed);
        let outcome = run(&schedule);
        if let Some(failure) = outcome.failure {
            fail(&schedule, &failure);
        }
        total.add(&outcome.stats);
        ran += 1;
    }
    report::print(ran, began.elapsed(), &total);
    assert!(count.is_some() || began.elapsed() < LONGEST_IN_CI, "{ran} seeds took too long");
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..10 {
        let (first, again) = (run(&Schedule::drawn(seed)), run(&Schedule::drawn(seed)));
        let difference = first.trace.iter().zip(&again.trace).find(|(one, other)| one != other);
        assert_eq!(first.digest, again.digest, "seed {seed}: {difference:?}");
    }
    let (one, other) = (run(&Schedule::drawn(1)), run(&Schedule::drawn(2)));
    assert_ne!(one.digest, other.digest);
}

#[test]
fn seed_148931883571297_in_which_two_floods_come_at_once_is_borne() {
    let flood = Step { act: Act::Flood { asks: 4200 }, then_ms: 0 };
    let mut schedule = Schedule::drawn(148_931_883_571_297);
    schedule.lives = vec![Life { steps: vec![flood.clone(), flood], end: End::Killed, down_ms: 1 }];
    let failure = run(&schedule).failure;
    assert!(failure.is_none(), "{failure:?}");
}

#[test]
fn a_schedule_read_back_from_its_file_is_the_same() {
    let drawn = Schedule::drawn(7);
    let path = report::save(&drawn, "read-back");
    assert_eq!(report::read(&path.to_string_lossy()), drawn);
}

#[test]
fn a_schedule_that_fails_is_cut_down_to_the_steps_that_make_it_fail() {
    let flood = Step { act: Act::Flood { asks: 1 }, then_ms: 0 };
    let mut schedule = Schedule::drawn(3);
    schedule.lives[0].steps.insert(5, flood.clone());
    let floods =
        |schedule: &Schedule| schedule.lives.iter().any(|life| life.steps.contains(&flood));
    let life = Life { steps: vec![flood.clone()], end: End::Killed, down_ms: 1 };
    let shrunk = shrink(&schedule, floods);
    assert!(floods(&shrunk));
    assert_eq!((shrunk.lives.len(), shrunk.steps()), (1, life.steps.len()));
}
