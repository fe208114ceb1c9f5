//! Connecting a mailbox and ending that: every way in which a browser comes back from Google.

use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::client::{answer, run};
use crate::support::mailbox::{ADDRESS, CLIENT_SECRET, Office, landed, user_token};
use crate::support::webhook::{OPS_TOKEN, eventually};

/// Requests to a provider's stand-in, as method and path.
async fn asked(office: &Office, provider: &str) -> Vec<String> {
    let seen = office.stand_ins.seen(provider).await;
    let line =
        |it: &Value| format!("{} {}", it["method"].as_str().unwrap(), it["path"].as_str().unwrap());
    seen.iter().map(line).collect()
}

/// What a query says of a name, decoded.
fn said(url: &str, name: &str) -> Option<String> {
    let url = reqwest::Url::parse(url).expect("an address");
    let mut pairs = url.query_pairs().filter(|(key, _)| key == name);
    pairs.next().map(|(_, value)| value.into_owned())
}

#[test]
fn a_user_connects_a_mailbox_and_takes_leave_of_it() {
    let mut office = Office::open();
    run(async {
        let none = json!({"status": "none"});
        assert_eq!(office.connection("ada").await, none);
        let url = office.asks_to_connect("ada").await;
        let expected = [
            ("client_id", "client"),
            ("response_type", "code"),
            ("scope", "https://www.googleapis.com/auth/gmail.readonly"),
            ("access_type", "offline"),
            ("prompt", "consent"),
            ("code_challenge_method", "S256"),
        ];
        for (name, value) in expected {
            assert_eq!(said(&url, name).as_deref(), Some(value), "{name}");
        }
        let redirect = format!("{}/api/gmail/auth/callback", office.server.url());
        assert_eq!(said(&url, "redirect_uri"), Some(redirect));
        let back = office.consents(&url).await;
        // Google checks the proof against the challenge: the stand-in does, too.
        assert_eq!(office.comes_back(&back).await, "connected");
        let watched = async || {
            let seen = office.connection("ada").await;
            (seen["watchedUntil"] == "2100-01-08T00:00:00.000Z").then_some(seen)
        };
        let seen = eventually("the mailbox is watched", watched).await;
        assert_eq!(
            (&seen["status"], &seen["emailAddress"]),
            (&json!("connected"), &json!(ADDRESS))
        );
        assert_eq!(office.connection("bob").await, none);
        let watches = office.stand_ins.seen("gmail_api").await;
        let watch = watches.iter().find(|it| it["method"] == "POST").expect("it was asked for");
        assert_eq!(watch["path"], "/gmail/v1/users/me/watch");
        assert_eq!(watch["body"]["topicName"], "projects/sandbox/topics/gmail");

        let ends = || office.caller.request("DELETE", "/api/gmail/connection");
        let ended = answer(ends().bearer_auth(user_token("ada"))).await;
        assert_eq!((ended.status, ended.body.as_str()), (204, ""));
        assert_eq!(office.connection("ada").await, none);
        let again = answer(ends().bearer_auth(user_token("ada"))).await;
        assert_eq!((again.status, again.code()), (404, Some("not_found")));
        let left = async || {
            let revoked = asked(&office, "gmail_oauth").await.last()? == "POST /revoke";
            let stopped =
                asked(&office, "gmail_api").await.last()? == "POST /gmail/v1/users/me/stop";
            (revoked && stopped).then_some(())
        };
        eventually("Google was taken leave of", left).await;
    });
    let (code, log) = office.server.end("TERM");
    assert_eq!(code, Some(0));
    for secret in ["ya29.", "1//0", "4/sandbox", CLIENT_SECRET, "planted"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[test]
fn a_state_is_good_once_and_only_whole() {
    let office = Office::open();
    run(async {
        let url = office.asks_to_connect("ada").await;
        let state = said(&url, "state").expect("there is one");
        let back = office.consents(&url).await;
        let (said_in_it, signature) = state.split_once('.').expect("two parts");
        let forged = [
            String::new(),
            "x".to_owned(),
            said_in_it.to_owned(),
            format!("{said_in_it}.{}", signature.replace(|it: char| it.is_ascii_digit(), "x")),
            format!("A{said_in_it}.{signature}"),
        ];
        for forged in forged {
            let path = format!("{}state={forged}", &back[..back.find("state=").unwrap()]);
            assert_eq!(office.comes_back(&path).await, "error", "{forged}");
        }
        assert_eq!(office.stand_ins.count("gmail_oauth", "requests"), 0);
        assert_eq!(office.comes_back(&back).await, "connected");
        assert_eq!(office.comes_back(&back).await, "error");
        let seen = office.stand_ins.seen("gmail_oauth").await;
        let exchange = |it: &&Value| it["body"]["grant_type"] == "authorization_code";
        assert_eq!(seen.iter().filter(exchange).count(), 1);
        // What is connected stays so.
        assert_eq!(office.connection("ada").await["status"], "connected");
    });
}

#[test]
fn a_state_of_before_a_kill_is_good_and_one_that_was_used_is_not() {
    let mut office = Office::open();
    let (used, unused) = run(async {
        let used = office.consents(&office.asks_to_connect("ada").await).await;
        assert_eq!(office.comes_back(&used).await, "connected");
        (used, office.consents(&office.asks_to_connect("bob").await).await)
    });
    office.kill_and_restart();
    run(async {
        assert_eq!(office.comes_back(&used).await, "error");
        assert_eq!(office.comes_back(&unused).await, "connected");
        assert_eq!(office.connection("ada").await["status"], "connected");
        assert_eq!(office.connection("bob").await["status"], "connected");
    });
}

#[test]
fn many_browsers_with_one_state_connect_once() {
    let office = Office::open();
    run(async {
        let back = office.consents(&office.asks_to_connect("ada").await).await;
        let all = (0..16).map(|_| office.comes_back(&back));
        let landed = futures_util::future::join_all(all).await;
        let connected = landed.iter().filter(|word| *word == "connected").count();
        assert_eq!((connected, landed.len()), (1, 16), "{landed:?}");
    });
}

#[test]
fn whatever_a_browser_brings_it_is_sent_on() {
    let office = Office::open();
    run(async {
        let back = office.consents(&office.asks_to_connect("ada").await).await;
        let bad = [
            String::new(),
            "?".to_owned(),
            "?code=4%2Fx".to_owned(),
            "?error=access_denied".to_owned(),
            format!("?error={}", "x".repeat(257)),
            format!("?code={}&state=s", "x".repeat(2049)),
            format!("?code=c&state={}", "x".repeat(2049)),
            format!("{}&code=another", &back[back.find('?').unwrap()..]),
            "?code=%FF&state=%FF".to_owned(),
        ];
        for query in bad {
            let path = format!("/api/gmail/auth/callback{query}");
            assert_eq!(office.comes_back(&path).await, "error", "{query:.60}");
        }
        assert_eq!(office.stand_ins.count("gmail_oauth", "requests"), 0);
        // Who says no has answered the question.
        let state = back.split("state=").nth(1).expect("it is the last").to_owned();
        let denied = format!("/api/gmail/auth/callback?error=access_denied&state={state}");
        assert_eq!(office.comes_back(&denied).await, "error");
        assert_eq!(office.comes_back(&back).await, "error");
        assert_eq!(office.connection("ada").await, json!({"status": "none"}));
    });
}

#[test]
fn what_google_refuses_is_an_error_and_not_asked_again() {
    let office = Office::open();
    run(async {
        for fault in ["400", "401", "empty", "malformed"] {
            let back = office.consents(&office.asks_to_connect("ada").await).await;
            let before = office.stand_ins.count("gmail_oauth", "requests");
            office.stand_ins.arms("gmail_oauth", fault, 1).await;
            assert_eq!(office.comes_back(&back).await, "error", "{fault}");
            // A code whose exchange may have been done is not exchanged again.
            let calls = office.stand_ins.count("gmail_oauth", "requests") - before;
            assert_eq!(calls, 1, "{fault}");
        }
        // Nothing was done by who says so: it is asked again, and the profile whatever it said.
        let back = office.consents(&office.asks_to_connect("ada").await).await;
        office.stand_ins.arms("gmail_oauth", "503", 1).await;
        assert_eq!(office.comes_back(&back).await, "connected");
    });
}

#[test]
fn while_google_is_down_users_are_told_that_it_is_busy() {
    let office = Office::with(|setup| setup.with("CIRCUIT_GMAIL_OAUTH_COOLDOWN_MS", 600_000));
    run(async {
        office.stand_ins.arms("gmail_oauth", "500", 1000).await;
        let mut words = Vec::new();
        for _ in 0..6 {
            let back = office.consents(&office.asks_to_connect("ada").await).await;
            words.push(office.comes_back(&back).await);
        }
        assert_eq!(words, ["error", "error", "error", "error", "busy", "busy"]);
        assert_eq!(office.stand_ins.count("gmail_oauth", "requests"), 4);
        let snapshot = office.caller.sees("/ops/snapshot").await;
        let circuits = snapshot["circuits"].as_array().expect("a list");
        let ours = circuits.iter().find(|it| it["provider"] == "gmail_oauth").expect("it is there");
        assert_eq!(ours["state"], "open");
    });
}

#[test]
fn a_full_bulkhead_is_busy() {
    let office = Office::with(|setup| setup.with("BULKHEAD_GMAIL_OAUTH_MAX_CONCURRENT", 1));
    run(async {
        let first = office.consents(&office.asks_to_connect("ada").await).await;
        let second = office.consents(&office.asks_to_connect("bob").await).await;
        office.stand_ins.arms("gmail_oauth", "stall_headers", 1).await;
        let hangs = office.comes_back(&first);
        let then = async {
            let begun =
                async || (office.stand_ins.count("gmail_oauth", "inFlight") == 1).then_some(());
            eventually("the first is being exchanged", begun).await;
            office.comes_back(&second).await
        };
        // The first is let go of when the second has its answer.
        tokio::select! {
            word = hangs => panic!("it was answered {word}"),
            word = then => assert_eq!(word, "busy"),
        }
    });
}

#[test]
fn a_limit_is_the_one_thing_that_a_browser_is_told_here() {
    let office = Office::with(|setup| setup.with("RATE_LIMIT_GMAIL_OAUTH_MAX", 1));
    run(async {
        assert_eq!(office.comes_back("/api/gmail/auth/callback").await, "error");
        let limited: Answer = answer(office.browses("/api/gmail/auth/callback")).await;
        assert_eq!((limited.status, limited.code()), (429, Some("rate_limited")));
        assert!(limited.headers.contains_key("retry-after"));
    });
}

#[test]
fn a_panic_and_a_full_disk_send_the_browser_on_as_well() {
    let office = Office::open();
    run(async {
        let back = office.consents(&office.asks_to_connect("ada").await).await;
        office.caller.arms("http:panic_decide@0").await;
        assert_eq!(office.comes_back(&back).await, "error");
        office.caller.arms("journal:disk_full@0").await;
        let closed = async || {
            let asked = office.caller.post("/api/gmail/connect").bearer_auth(user_token("ada"));
            (answer(asked).await.code() == Some("storage_unavailable")).then_some(())
        };
        eventually("nothing can be stored", closed).await;
        assert_eq!(office.comes_back(&back).await, "error");
        let cleared = answer(office.caller.request("DELETE", "/ops/faults").bearer_auth(OPS_TOKEN));
        assert_eq!(cleared.await.status, 204);
        // The state was not used up by what was never stored.
        let connected = async || (office.comes_back(&back).await == "connected").then_some(());
        eventually("the disk is back", connected).await;
    });
}

#[test]
fn while_it_drains_the_browser_is_told_that_it_is_busy() {
    let office = Office::with(|setup| setup.with("SENDCAT_LAME_DUCK_MS", 120_000));
    run(async {
        office.server.signal("TERM");
        let busy = async || {
            let landed = landed(&answer(office.browses("/api/gmail/auth/callback")).await);
            (landed == "busy").then_some(())
        };
        eventually("it drains", busy).await;
    });
}

#[test]
fn a_session_has_no_mailbox() {
    let office = Office::open();
    run(async {
        let minted = answer(office.caller.post("/api/sessions/anonymous")).await.json();
        let session = minted["token"].as_str().expect("a token");
        let sentence = "This is for users who have signed in; sign in and try again.";
        for (method, path) in [
            ("GET", "/api/gmail/connection"),
            ("DELETE", "/api/gmail/connection"),
            ("POST", "/api/gmail/connect"),
        ] {
            let refused = answer(office.caller.request(method, path).bearer_auth(session)).await;
            assert_eq!((refused.status, refused.code()), (403, Some("forbidden")), "{path}");
            assert_eq!(refused.body, sentence);
        }
    });
}

#[test]
fn without_keys_of_ours_nobody_is_sent_to_google() {
    let office = Office::with(|setup| setup.with("GOOGLE_CLIENT_SECRET", ""));
    run(async {
        let asked = office.caller.post("/api/gmail/connect").bearer_auth(user_token("ada"));
        let refused = answer(asked).await;
        assert_eq!((refused.status, refused.code()), (503, Some("misconfigured")));
        assert_eq!(office.comes_back("/api/gmail/auth/callback?code=a&state=b").await, "error");
    });
}
