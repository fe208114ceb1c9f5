//! What is printed of a run, and what a failed one leaves behind.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::model::Stats;
use crate::run::{Failure, run};
use crate::schedule::Schedule;

/// Runs that cutting a failed schedule down may cost.
const MOST_TRIES: usize = 200;

#[expect(clippy::disallowed_methods, reason = "which runs are wanted is said by hand")]
pub(crate) fn of_environment(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|text| !text.is_empty())
}

/// A number from the environment.
pub(crate) fn asked(variable: &str) -> Option<u64> {
    let text = of_environment(variable)?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

#[expect(clippy::disallowed_methods, reason = "how long runs may take is real time")]
pub(crate) fn stopwatch() -> Instant {
    Instant::now()
}

#[expect(clippy::print_stdout, reason = "a random run says what it has seen")]
pub(crate) fn print(seeds: u64, took: Duration, stats: &Stats) {
    let Stats { steps, lives, acknowledged, dead_letters, given_up, struck, answers, .. } = stats;
    let virtually = Duration::from_secs(stats.virtual_ms / 1000);
    println!("{seeds} seeds in {took:.1?}, {virtually:?} of virtual time");
    println!("{lives} processes, {steps} steps");
    println!("{acknowledged} events acknowledged, 0 lost, 0 twice; {dead_letters} dead letters");
    println!("{given_up} actors given up, as their subtrees say");
    println!("faults struck: {struck:?}");
    println!("answers: {answers:?}");
}

/// Fails the test: says what did not hold, and leaves the schedule to be run again.
pub(crate) fn fail(schedule: &Schedule, failure: &Failure) {
    let seed = schedule.seed;
    let whole = save(schedule, &seed.to_string());
    let kind = kind_of(&failure.check);
    let same = |it: &Schedule| run(it).failure.is_some_and(|it| kind_of(&it.check) == kind);
    let shrunk = shrink(schedule, same);
    let small = save(&shrunk, &format!("{seed}-small"));
    let Failure { life, step, check } = failure;
    panic!(
        "seed {seed}, process {life}, step {step}: {check}\n\
         REPLAY={} cargo sim ({} steps)\nREPLAY={} cargo sim ({} steps)",
        whole.display(),
        schedule.steps(),
        small.display(),
        shrunk.steps(),
    );
}

/// A check without its figures: what makes two failures the same.
fn kind_of(check: &str) -> String {
    check.chars().filter(|letter| !letter.is_ascii_digit()).take(24).collect()
}

/// Leaves out whole processes, then runs of steps, then single ones, while it still fails.
pub(crate) fn shrink(schedule: &Schedule, fails: impl Fn(&Schedule) -> bool) -> Schedule {
    let mut best = schedule.clone();
    let mut tries = 0;
    let mut keep = |best: &mut Schedule, without: Schedule| {
        tries += 1;
        let kept = tries <= MOST_TRIES && fails(&without);
        if kept {
            *best = without;
        }
        kept
    };
    for life in (0..schedule.lives.len()).rev() {
        let mut without = best.clone();
        without.lives.remove(life);
        if !without.lives.is_empty() {
            keep(&mut best, without);
        }
    }
    let mut size = best.steps().div_ceil(2);
    while size > 0 {
        for life in 0..best.lives.len() {
            let mut from = 0;
            while from < best.lives[life].steps.len() {
                let mut without = best.clone();
                let upto = (from + size).min(without.lives[life].steps.len());
                without.lives[life].steps.drain(from..upto);
                if !keep(&mut best, without) {
                    from += size;
                }
            }
        }
        size /= 2;
    }
    best
}

/// Where it was saved.
pub(crate) fn save(schedule: &Schedule, name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sim");
    std::fs::create_dir_all(&folder).expect("the folder for tests' files can be written");
    let path = folder.join(format!("{name}.json"));
    let text = serde_json::to_vec_pretty(schedule).expect("a schedule always encodes");
    std::fs::write(&path, text).expect("the folder for tests' files can be written");
    path
}

pub(crate) fn read(path: &str) -> Schedule {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}
