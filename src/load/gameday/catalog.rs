//! Every fault of a game day: who makes it, which chapter of the runbook it exercises, and the plan
//! that ships for it.

use super::plan::Plan;
use crate::slo::policy;

/// Who makes a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// The server, under a lease.
    Server,
    /// The tool, as a client.
    Client,
    /// The tool, to the process of a server that it starts itself.
    Own,
    /// Nobody here: what it would break does not exist.
    Nobody,
}

/// One fault.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its name.
    pub fault: &'static str,
    /// Who makes it.
    pub maker: Maker,
    /// The runbook's anchor.
    pub runbook: &'static str,
    /// What it does, for `--list`.
    pub about: &'static str,
}

const fn server(fault: &'static str, runbook: &'static str, about: &'static str) -> Kind {
    Kind { fault, maker: Maker::Server, runbook, about }
}

const fn client(fault: &'static str, runbook: &'static str, about: &'static str) -> Kind {
    Kind { fault, maker: Maker::Client, runbook, about }
}

const fn own(fault: &'static str, runbook: &'static str, about: &'static str) -> Kind {
    Kind { fault, maker: Maker::Own, runbook, about }
}

const fn nobody(fault: &'static str, about: &'static str) -> Kind {
    Kind { fault, maker: Maker::Nobody, runbook: "first-five-minutes", about }
}

/// All of OPERATIONS.md §6.
pub const KINDS: &[Kind] = &[
    server("noop", "first-five-minutes", "nothing: must change nothing"),
    server("actor.kill", "actor-restarts", "an actor's task is ended"),
    server("actor.panic", "actor-restarts", "an actor panics, once or up to ten times"),
    server("actor.hang", "actor-stuck", "an actor's step never ends"),
    server("actor.slow", "actor-stuck", "50 ms more for every message"),
    server("mailbox.flood", "actor-stuck", "100,000 messages at once"),
    server("disk.slow", "journal-failing", "200 ms more for every flush"),
    server("disk.full", "journal-failing", "every write fails as on a full disk"),
    server("clock.jump", "first-five-minutes", "the wall clock is an hour off"),
    server("clock.freeze", "first-five-minutes", "the wall clock stands still"),
    server("provider.latency", "provider-slow", "a provider answers 2 s later"),
    server("provider.brownout", "circuit-open", "30 % are 503, all are 2 s later"),
    server("provider.429", "circuit-open", "a provider limits us"),
    server("provider.timeout", "provider-slow", "a provider takes and never answers"),
    server("provider.midstream_cut", "model-errors", "a stream is cut in the middle"),
    server("provider.slow_drip", "provider-slow", "a letter each two seconds"),
    server("provider.malformed_sse", "model-errors", "a stream of broken JSON"),
    server("provider.reset_peer", "circuit-open", "connections are reset"),
    server("provider.fail_first_n", "circuit-open", "the first three calls fail"),
    server("sentry.down", "alert-monitor", "nobody takes our alerts"),
    server("queue.poison", "dead-letters", "one event panics whoever works on it"),
    client("client.disconnect_storm", "bulkhead-saturated", "callers hang up at once"),
    client("client.slowloris", "first-five-minutes", "callers send a byte a second"),
    client("fd.exhaust", "first-five-minutes", "512 idle connections"),
    client("cpu.hog", "first-five-minutes", "every processor is busy"),
    client("webhook.replay_surge", "replay-surge", "one delivery a hundred times a second"),
    own("disk.corrupt", "state-put-aside", "a byte of the store is damaged while it is down"),
    own("process.sigkill", "first-five-minutes", "the process is killed and started again"),
    own("process.sigstop", "first-five-minutes", "the process stands still for six seconds"),
    nobody("store.away", "there is no shared store in this build to be away"),
];

/// What ships, as one list.
const BUILT_IN: &str = include_str!("plans.json");

/// The fault of that name.
pub fn of(fault: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.fault == fault)
}

/// The plan that ships under that name, or the first for a fault of that name; `None` for what
/// nobody makes here.
pub fn plan_for(name: &str) -> Option<Plan> {
    let plans: Vec<serde_json::Value> = serde_json::from_str(BUILT_IN).unwrap_or_default();
    let of = |key: &str| plans.iter().find(|plan| plan[key] == name);
    policy::read(name, &of("id").or_else(|| of("fault"))?.to_string()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_that_somebody_makes_has_a_plan_that_is_sound() {
        for kind in KINDS {
            let made = kind.maker != Maker::Nobody;
            assert_eq!(plan_for(kind.fault).is_some(), made, "{}", kind.fault);
        }
        let plans: Vec<Plan> = serde_json::from_str(BUILT_IN).unwrap();
        assert!(plans.iter().all(|plan| of(&plan.fault).is_some()));
        for plan in &plans {
            assert_eq!(plan_for(&plan.id).as_ref(), Some(plan), "{} has one name", plan.id);
        }
    }

    #[test]
    fn every_fault_leads_to_a_chapter_that_the_runbook_has() {
        let runbook = include_str!("../../console/RUNBOOK.md");
        let titles = runbook.lines().filter_map(|line| line.strip_prefix("## "));
        let anchors: Vec<_> = titles.map(|title| title.to_lowercase().replace(' ', "-")).collect();
        for kind in KINDS {
            assert!(anchors.iter().any(|anchor| anchor == kind.runbook), "{}", kind.fault);
        }
    }

    #[test]
    fn a_plan_without_a_hypothesis_or_a_stop_condition_is_refused_with_its_line() {
        let mut plan = serde_json::to_value(plan_for("noop").unwrap()).unwrap();
        plan["hypothesis"] = serde_json::json!([]);
        plan["stopConditions"] = serde_json::json!([]);
        let text = serde_json::to_string_pretty(&plan).unwrap();
        let findings = policy::read::<Plan>("p.json", &text).unwrap_err();
        let said: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 2, "{said:?}");
        for (line, key) in [("hypothesis", 0), ("stopConditions", 1)] {
            let at = text.lines().position(|each| each.contains(line)).unwrap() + 1;
            assert!(said[key].starts_with(&format!("p.json:{at}:")), "{said:?}");
        }
        let gone = text.replace("\"hypothesis\": [],", "");
        let findings = policy::read::<Plan>("p.json", &gone).unwrap_err();
        assert!(findings[0].to_string().contains("hypothesis"), "{findings:?}");
    }
}
