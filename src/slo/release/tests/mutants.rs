//! One input broken at a time: the exit code, and who is named.

use super::*;

/// What is broken, the exit code, and the rows that say so with their owners.
type Broken = (&'static str, fn(&mut Case), u8, &'static [(&'static str, &'static str)]);

const MUTANTS: &[Broken] = &[
    (
        "a probe fails",
        |case| case.evidence.probes = vec![probe("chat.auth", CheckVerdict::Fail)],
        1,
        &[("probe.chat.auth", "chat")],
    ),
    (
        "a required probe was skipped",
        |case| {
            case.policy.probes.required = Required::These(vec!["chat.auth".into()]);
            case.evidence.probes = vec![probe("chat.auth", CheckVerdict::Skipped)];
        },
        3,
        &[("probe.chat.auth", "chat")],
    ),
    (
        "answers of 500",
        |case| {
            let mut run = sound();
            run[1] = scenario("whatsapp_webhook", &[(403, 291), (500, 9)], &[]);
            *case = Case::with(&run);
        },
        1,
        &[
            ("whatsapp_webhook.http5xx", "integrations"),
            ("burn.whatsapp_webhook.http5xx.short", "integrations"),
            ("burn.whatsapp_webhook.http5xx.long", "integrations"),
        ],
    ),
    (
        "the drill measured nothing of a scenario",
        |case| {
            let drill = case.evidence.drill.as_mut().unwrap();
            drill.retain(|row| row.scenario != "gmail_push_webhook");
        },
        3,
        &[("gmail_push_webhook.scenario", "integrations")],
    ),
    (
        "no drill was run",
        |case| {
            case.evidence.drill = Err("probes failed, so no load was sent".into());
            case.runs(&[report(2, &sound()), report(30, &sound()), report(40, &sound())]);
        },
        3,
        &[
            ("chat_stream_http.scenario", "chat"),
            ("gmail_push_webhook.scenario", "integrations"),
            ("whatsapp_webhook.scenario", "integrations"),
        ],
    ),
    (
        "every drill passes, and together they spend the budget",
        |case| {
            let mut run = sound();
            run[2] = scenario("chat_stream_http", &[(200, 299), (500, 8)], &[]);
            let all: Vec<_> = (0..12).map(|at| report(2 * at, &run)).collect();
            *case = Case::with(&run);
            case.runs(&all);
        },
        1,
        &[("burn.chat_stream_http.http5xx.long", "chat")],
    ),
    (
        "a circuit is open",
        |case| case.evidence.snapshot.as_mut().unwrap().open_circuits = vec!["jwks".into()],
        1,
        &[("snapshot.maxOpenCircuits", "platform")],
    ),
    (
        "a bulkhead is full",
        |case| case.evidence.snapshot.as_mut().unwrap().bulkheads[0].in_flight = 22,
        1,
        &[("snapshot.maxBulkheadUtilisation", "platform")],
    ),
    (
        "a tool call waits too long",
        |case| case.evidence.snapshot.as_mut().unwrap().oldest_queued_age_ms = 30_001,
        1,
        &[("snapshot.maxOldestQueuedAgeMs", "chat")],
    ),
    (
        "a tool call was given up",
        |case| {
            let seen = case.evidence.snapshot.as_mut().unwrap();
            seen.dead_jobs.insert("search_web".into(), 1);
        },
        1,
        &[("snapshot.maxDeadJobs", "chat")],
    ),
    (
        "an actor restarts again and again",
        |case| {
            let seen = case.evidence.snapshot.as_mut().unwrap();
            seen.actor_restarts.insert("job_queue".into(), 4);
        },
        1,
        &[("snapshot.maxActorRestartsInWindow", "platform")],
    ),
    (
        "an alert that nobody took",
        |case| {
            let seen = case.evidence.snapshot.as_mut().unwrap();
            seen.unacked_critical_alerts.push("bulkhead:openrouter_chat".into());
        },
        1,
        &[("snapshot.maxUnackedCriticalAlerts", "platform")],
    ),
];

#[test]
fn with_one_input_broken_it_is_not_and_the_right_owner_is_named() {
    for (what, break_it, code, rows) in MUTANTS {
        let mut case = Case::sound();
        break_it(&mut case);
        let (exit_code, named) = case.judged(&[]);
        let named: Vec<_> = named.iter().map(|(id, team)| (id.as_str(), team.as_str())).collect();
        assert_eq!((exit_code, &named[..]), (*code, *rows), "{what}");
    }
}
