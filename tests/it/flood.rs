//! A flood of a real process costs it a bounded memory, and nobody is taken for hung in it.

use std::net::{IpAddr, Ipv4Addr};

use futures_util::future::join_all;
use serde_json::json;

use crate::support::client::{Caller, answer, run};
use crate::support::server::Server;
use crate::support::webhook::{WHATSAPP, accepted, delivery_of, eventually, forbidden, receiver};

/// Calls with a signature that is wrong: from so many addresses, so often each.
const ADDRESSES: u32 = 10_000;
const ROUNDS: u32 = 2;

/// Connections that they come over.
const CONNECTIONS: u32 = 50;

/// What addresses that were never seen may cost, in KiB: a window each, twice (in the shard, and
/// beside it for a restart), and what an allocator keeps.
const NEW_KIB: u64 = 24 * 1024;

/// What a round of known ones may cost.
const KNOWN_KIB: u64 = 8 * 1024;

/// The memory that the process has in RAM, in KiB.
fn resident(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid()));
    let status = status.expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number of kB")
}

/// One call from each of so many addresses, over a few connections that stay open.
async fn flood(caller: &Caller, first: u32, addresses: u32) {
    let each = addresses / CONNECTIONS;
    join_all((0..CONNECTIONS).map(|connection| async move {
        for nth in 0..each {
            let address = IpAddr::V4(Ipv4Addr::from_bits(first + connection * each + nth));
            let call = caller
                .post_json(WHATSAPP, delivery_of(["m".into()]))
                .header("x-forwarded-for", address.to_string())
                .header("x-hub-signature-256", format!("sha256={}", "0".repeat(64)));
            assert_eq!(answer(call).await, forbidden());
        }
    }))
    .await;
}

#[test]
fn a_flood_of_wrong_signatures_costs_bounded_memory_and_nobody_is_taken_for_hung() {
    let server = receiver().with("TRUSTED_PROXIES", "127.0.0.1/32").start();
    run(async {
        let caller = Caller::of(&server);
        // What every process needs once: connections, buffers, code that is read in.
        flood(&caller, 0x0a00_0000, ADDRESSES / 5).await;
        let mut before = resident(&server);
        for round in 0..ROUNDS {
            flood(&caller, 0x0b00_0000, ADDRESSES).await;
            let after = resident(&server);
            eprintln!("{ADDRESSES} calls: {before} KiB before, {after} KiB after");
            let most = if round == 0 { NEW_KIB } else { KNOWN_KIB };
            assert!(after < before + most, "{before} KiB before, {after} KiB after");
            before = after;
        }
        assert_eq!(answer(caller.delivers(delivery_of(["m1".into()]))).await, accepted());
        let seen = caller.sees("/ops/actors").await;
        for actor in seen["actors"].as_array().expect("actors is a list") {
            assert_eq!(actor["status"], "running", "{actor}");
            assert_eq!(actor["incarnation"], 1, "{actor}");
            assert_eq!(actor["restarts"], json!({"byCause": {}}), "{actor}");
        }
        eventually("every mailbox is empty", async || {
            let seen = caller.sees("/ops/actors").await;
            let actors = seen["actors"].as_array().expect("actors is a list");
            actors.iter().all(|actor| actor["mailboxDepth"] == 0).then_some(())
        })
        .await;
    });
    let (code, log) = server.end_by("TERM");
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("\"level\":\"ERROR\""), "{log}");
}
