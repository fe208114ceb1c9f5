//! Floods: exactly as many calls as the limit pass, whoever sends them and whatever they claim.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use futures_util::future::join_all;
use reqwest::RequestBuilder;

use crate::support::answer::Answer;
use crate::support::client::{Caller, answer, run};
use crate::support::server::{Server, Setup};
use crate::support::webhook::{SECRET, WHATSAPP, accepted, delivery_of, forbidden};

/// A server with the limits it has by default.
fn server() -> Setup {
    Setup::bare().with("WHATSAPP_APP_SECRET", SECRET).with("GMAIL_PUSH_TOKEN", "token")
}

fn neighbour(server: &Server, last: u8) -> Caller {
    Caller::from_address(server, IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)))
}

/// Sends them all at once; how many came back with which status.
async fn flood(requests: impl IntoIterator<Item = RequestBuilder>) -> BTreeMap<u16, usize> {
    let answers = join_all(requests.into_iter().map(answer)).await;
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.status).or_default() += 1;
        match answer.status {
            429 => assert_refused(&answer),
            403 => assert_eq!(answer, forbidden()),
            _ => {}
        }
    }
    counts
}

fn assert_refused(answer: &Answer) {
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{answer:?}");
    assert_eq!(answer.code(), Some("rate_limited"));
}

fn unsigned(caller: &Caller, path: &str) -> RequestBuilder {
    caller.post_json(path, "{}")
}

#[test]
fn of_four_hundred_unsigned_calls_the_first_hundred_and_twenty_are_looked_at() {
    let server = server().start();
    let caller = Caller::of(&server);
    run(async {
        for path in [WHATSAPP, "/api/gmail/push"] {
            let counts = flood((0..400).map(|_| unsigned(&caller, path))).await;
            assert_eq!(counts, BTreeMap::from([(403, 120), (429, 280)]), "{path}");
        }
    });
}

#[test]
fn a_flood_is_its_senders_alone() {
    let server = server().start();
    let flooding = neighbour(&server, 2);
    let calm: Vec<_> = (3..13).map(|last| neighbour(&server, last)).collect();
    run(async {
        let first = flood((0..200).map(|_| unsigned(&flooding, WHATSAPP))).await;
        assert_eq!(first, BTreeMap::from([(403, 120), (429, 80)]));
        let flood = flood((0..200).map(|_| unsigned(&flooding, WHATSAPP)));
        let deliveries = calm.iter().enumerate().flat_map(|(number, caller)| {
            let id = move |nth| format!("m-{number}-{nth}");
            (0..10).map(move |nth| answer(caller.delivers(delivery_of([id(nth)]))))
        });
        let (flooded, delivered) = tokio::join!(flood, join_all(deliveries));
        assert_eq!(flooded, BTreeMap::from([(429, 200)]));
        assert!(delivered.iter().all(|answer| *answer == accepted()), "{delivered:?}");
    });
}

#[test]
fn who_is_not_a_proxy_of_ours_keeps_one_bucket_whatever_it_claims() {
    let server = server().start();
    let caller = Caller::of(&server);
    let claims = |number: u8| {
        let address = format!("203.0.113.{number}");
        unsigned(&caller, WHATSAPP)
            .header("x-forwarded-for", &address)
            .header("cf-connecting-ip", &address)
            .header("x-real-ip", &address)
            .header("forwarded", format!("for={address}"))
    };
    run(async {
        let counts = flood((0..200).map(claims)).await;
        assert_eq!(counts, BTreeMap::from([(403, 120), (429, 80)]));
    });
}

#[test]
fn behind_a_proxy_of_ours_each_client_has_its_own_bucket() {
    let server =
        server().with("TRUSTED_PROXIES", "127.0.0.1/32").with("RATE_LIMIT_WHATSAPP_MAX", 2).start();
    let (proxy, stranger) = (Caller::of(&server), neighbour(&server, 2));
    let through =
        |caller: &Caller, hops: &str| unsigned(caller, WHATSAPP).header("x-forwarded-for", hops);
    let thrice = |caller: &Caller, hops: &[&str]| {
        hops.iter().map(|hops| through(caller, hops)).collect::<Vec<_>>()
    };
    run(async {
        for client in ["203.0.113.1", "203.0.113.2", "2001:db8:1::1"] {
            let counts = flood(thrice(&proxy, &[client; 3])).await;
            assert_eq!(counts, BTreeMap::from([(403, 2), (429, 1)]), "{client}");
        }
        // Only the hop that our proxy added counts; what stands before it anybody can write.
        let spoofed = ["1.1.1.1, 203.0.113.3", "1.1.1.2, 203.0.113.3", "x, 203.0.113.3"];
        let counts = flood(thrice(&proxy, &spoofed)).await;
        assert_eq!(counts, BTreeMap::from([(403, 2), (429, 1)]));
        // One customer of a provider has a whole /64.
        let same = ["2001:db8:2::1", "2001:db8:2::2", "2001:db8:2:0:ffff::1"];
        let counts = flood(thrice(&proxy, &same)).await;
        assert_eq!(counts, BTreeMap::from([(403, 2), (429, 1)]));
        let counts = flood(thrice(&stranger, &["198.51.100.1", "198.51.100.2", "x"])).await;
        assert_eq!(counts, BTreeMap::from([(403, 2), (429, 1)]));
    });
}
