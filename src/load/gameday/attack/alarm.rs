//! Makes a server raise an alert: a recipient that nobody writes to is not missed. The server's
//! fault bites, not this.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::iter;
use reqwest::{Client, Url};

use super::Means;
use crate::load::gameday::server::Target;
use crate::load::gameday::traffic::WEBHOOK;

/// How many are refused. The monitor counts a caller's same refusal once in five seconds, so one
/// caller never comes to the 25 of `ALERT_THRESHOLD` within a plan.
const CALLERS: u8 = 32;

/// What counts an address before it asks who calls, cheapest limit first. Each raises an alert of
/// its own, for one that was raised is quiet for `ALERT_COOLDOWN_MS`.
const DOORS: [Door; 2] = [
    Door { path: "/api/gmail/auth/callback", posts: false, most: 64 },
    Door { path: WEBHOOK, posts: true, most: 256 },
];

/// Callers at once.
const AT_ONCE: usize = 8;

/// A call that waits longer has no answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A limit that addresses run into.
#[derive(Clone, Copy)]
struct Door {
    path: &'static str,
    posts: bool,
    /// Calls of one address at most, whatever its limit is.
    most: usize,
}

/// Runs one limit after another into refusals until the server has sent an alert, or tried to.
///
/// On loopback the callers come from addresses of `127.0.0.0/8`. Elsewhere there is only our own,
/// and an alert comes of it only where `ALERT_THRESHOLD` is small; else the plan has no effect.
pub(super) async fn alarm(means: Means) {
    let clients = callers(&means.target);
    for door in DOORS.into_iter().cycle() {
        if !means.goes_on() {
            return;
        }
        let refused = |client: &Client| refused(&means, client.clone(), door);
        let all: Vec<_> = clients.iter().map(refused).collect();
        iter(all).buffer_unordered(AT_ONCE).for_each(async |()| {}).await;
        // What is due is sent by a monitor's round; this one does not wait for the next.
        if let Some(client) = clients.first() {
            let token = means.target.ops.as_ref().map_or("", |token| token.expose());
            let round = client.post(url(&means.target, "/ops/alerts/run")).bearer_auth(token);
            drop(round.send().await);
        }
        means.pause(1_000).await;
    }
}

/// Calls until the limit refuses.
async fn refused(means: &Means, client: Client, door: Door) {
    let url = url(&means.target, door.path);
    for _ in 0..door.most {
        let request = if door.posts { client.post(url.clone()) } else { client.get(url.clone()) };
        let answer = request.send().await;
        let over = answer.is_ok_and(|answer| answer.status().as_u16() == 429);
        if over || !means.goes_on() {
            return;
        }
    }
}

fn callers(target: &Target) -> Vec<Client> {
    let host = target.base.host_str().unwrap_or_default();
    let local =
        host == "localhost" || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    // 127.0.0.1 is the address of the traffic whose steadiness is judged.
    let addresses: Vec<Option<IpAddr>> = if local {
        (0..CALLERS).map(|nth| Some(Ipv4Addr::new(127, 0, 1, nth + 1).into())).collect()
    } else {
        vec![None]
    };
    let client = |address| {
        let client = Client::builder().no_proxy().timeout(PATIENCE).local_address(address);
        client.redirect(reqwest::redirect::Policy::none()).build().ok()
    };
    addresses.into_iter().filter_map(client).collect()
}

fn url(target: &Target, path: &str) -> Url {
    target.base.join(path).expect("a path of ours is one")
}
