//! Gates flip exactly between as many bad as the budget allows and one more, through the command.

use std::sync::Arc;
use std::time::Duration;

use sendcat::load::known_server::{KnownServer, Reply};
use serde_json::json;

use super::drill;

/// Answers so many in a row this way, late enough that the drill's own questions are over.
fn failing(reply: Reply, bad: u64) -> KnownServer {
    let script = move |_: u64, number: u64| {
        let bad = (100..100 + bad).contains(&number);
        (Duration::ZERO, if bad { reply.clone() } else { Reply::Status(200) })
    };
    KnownServer::start(Arc::new(script), Duration::from_secs(5)).unwrap()
}

#[test]
fn as_many_bad_as_the_budget_allows_pass_and_one_more_fails() {
    // Of 300 requests: 1 % of 5xx, 2 % without an answer, 5 % of an unknown status.
    let gates = [
        ("http5xx", Reply::Status(500), 3),
        ("network", Reply::Reset, 6),
        ("unknownStatus", Reply::Status(418), 15),
    ];
    for (sli, reply, budget) in gates {
        for (bad, verdict, code) in [(budget, "pass_unproven", 0), (budget + 1, "fail", 1)] {
            let server = failing(reply.clone(), bad);
            let flags = ["--quick=true", "--scenarios", "whatsapp_webhook", "--rate", "600"];
            let once = || drill(&failing(reply.clone(), bad).url(), &flags, &[]);
            let drill = match drill(&server.url(), &flags, &[]) {
                busy if busy.code == 4 => once(),
                drill => drill,
            };
            let row = drill.row(&format!("whatsapp_webhook.{sli}"));
            let seen = (drill.code, &row["verdict"], &row["bad"], &row["total"]);
            assert_eq!(seen, (code, &json!(verdict), &json!(bad), &json!(300)), "{}", drill.log);
        }
    }
}
