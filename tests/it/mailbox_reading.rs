//! Pushes about connected mailboxes: what is new becomes evidence of its owner, each mail once.

use serde_json::{Value, json};

use crate::support::client::{answer, run};
use crate::support::mailbox::{ADDRESS, Office, connected};
use crate::support::webhook::{eventually, push_of, replayed};

/// How many requests of that kind a stand-in has had.
async fn count(office: &Office, provider: &str, path: &str) -> usize {
    let seen = office.stand_ins.seen(provider).await;
    seen.iter().filter(|it| it["path"].as_str().is_some_and(|it| it.contains(path))).count()
}

#[test]
fn what_is_pushed_is_read_once_however_often_it_is_pushed() {
    let office = Office::open();
    run(async {
        office.connects("ada").await;
        let state = office.receives("Your order").await;
        let pushes = (0..64).map(|_| office.is_told(state));
        let answers = futures_util::future::join_all(pushes).await;
        let fresh = answers.iter().filter(|it| **it != replayed()).count();
        assert_eq!(fresh, 1, "one push is the first");
        office.has("ada", &["Your order"]).await;
        let rows = office.at_rest(1).await;
        assert_eq!((&rows[0]["status"], &rows[0]["attempts"]), (&json!("done"), &json!(1)));
        assert_eq!(count(&office, "gmail_api", "/messages/").await, 1);
        // A push that is new about what is known has nothing to add.
        office.is_told(state + 7).await;
        office.at_rest(2).await;
        office.has("ada", &["Your order"]).await;
        assert_eq!(count(&office, "gmail_api", "/messages/").await, 1);
    });
}

#[test]
fn a_mail_is_evidence_with_all_that_is_promised() {
    let office = Office::open();
    run(async {
        office.connects("ada").await;
        let state = office.receives("Your order").await;
        office.is_told(state).await;
        office.has("ada", &["Your order"]).await;
        let token = crate::support::mailbox::user_token("ada");
        let page = answer(office.caller.get("/api/evidence").bearer_auth(token)).await.json();
        let id = format!("18c0ffee{state:08x}");
        assert_eq!(page["items"][0]["id"], format!("gmail-{id}"));
        let expected = json!({
            "source": "gmail", "messageId": id, "threadId": id, "snippet": "Your order.",
            "receivedAt": "2100-01-01T00:00:00.000Z", "labels": ["UNREAD", "INBOX"],
            "from": "Shop <orders@example.com>", "to": ADDRESS, "subject": "Your order",
            "text": "Your order.",
        });
        assert_eq!(page["items"][0]["data"], expected);
    });
}

#[test]
fn a_mailbox_of_two_users_is_read_for_both() {
    let office = Office::open();
    run(async {
        office.connects("ada").await;
        office.connects("bob").await;
        let state = office.receives("Your order").await;
        office.is_told(state).await;
        office.has("ada", &["Your order"]).await;
        office.has("bob", &["Your order"]).await;
        assert!(office.subjects("eve").await.is_empty());
        office.at_rest(1).await;
    });
}

#[test]
fn an_acknowledged_push_outlives_a_kill_in_its_middle() {
    let mut office = Office::with(|setup| setup.with("CIRCUIT_GMAIL_API_THRESHOLD", 1000));
    run(async {
        office.connects("ada").await;
        let watched = async || office.connection("ada").await["watchedUntil"].as_str().map(drop);
        eventually("the mailbox is watched", watched).await;
        let first = office.receives("First").await;
        let second = office.receives("Second").await;
        office.stand_ins.arms("gmail_api", "stall_headers", 1).await;
        let pushes = (0..64).map(|it| office.is_told(if it % 2 == 0 { first } else { second }));
        futures_util::future::join_all(pushes).await;
        let begun = async || (office.stand_ins.count("gmail_api", "inFlight") > 0).then_some(());
        eventually("the mailbox is being read", begun).await;
    });
    office.kill_and_restart();
    run(async {
        let again = answer(office.caller.pushes(push_of(ADDRESS, 1004))).await;
        assert_eq!(again, replayed());
        office.has("ada", &["First", "Second"]).await;
        let rows = office.at_rest(2).await;
        assert!(rows.iter().all(|row| row["status"] == "done"), "{rows:?}");
        office.has("ada", &["First", "Second"]).await;
    });
}

#[test]
fn more_mail_than_a_page_holds_is_read_page_by_page() {
    let office = Office::open();
    run(async {
        office.connects("ada").await;
        let mut state = 0;
        for number in 0..230 {
            state = office.receives(&format!("Mail {number}")).await;
        }
        office.is_told(state).await;
        let rows = office.at_rest(1).await;
        assert_eq!(rows[0]["status"], "done");
        let histories = count(&office, "gmail_api", "/history").await;
        // The stand-ins remember the last 200 requests: those of the last two pages at least.
        assert!(histories >= 1);
        let token = crate::support::mailbox::user_token("ada");
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/evidence?limit=100{cursor}");
            let page = answer(office.caller.get(&path).bearer_auth(&token)).await.json();
            for item in page["items"].as_array().expect("items") {
                seen.push(item["data"]["subject"].as_str().expect("a subject").to_owned());
            }
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 230);
    });
}

#[test]
fn a_history_that_is_gone_is_read_anew() {
    let office = Office::with(|setup| setup.with_records(connected("ada", "1//0seeded9", 5)));
    run(async {
        office.is_told(1002).await;
        office.has("ada", &["Welcome to the sandbox", "Your order has shipped"]).await;
        office.at_rest(1).await;
        let lists = count(&office, "gmail_api", "/messages").await;
        // From here on it is read by its history again.
        let state = office.receives("New").await;
        office.is_told(state).await;
        office.at_rest(2).await;
        let subjects = office.subjects("ada").await;
        assert_eq!((subjects.len(), subjects.last().map(String::as_str)), (3, Some("New")));
        assert_eq!(count(&office, "gmail_api", "/messages").await, lists + 1);
    });
}

#[test]
fn a_refresh_token_that_changes_is_kept_before_it_is_needed() {
    let rows = connected("ada", "1//0rotating7", 1002);
    let mut office = Office::with(|setup| setup.with_records(rows));
    let told = |office: &Office, subject: &str, events: usize| {
        run(async {
            let state = office.receives(subject).await;
            office.is_told(state).await;
            office.at_rest(events).await;
        });
    };
    told(&office, "First", 1);
    // The token in memory is gone with the process, and the refresh token of before is spent.
    office.kill_and_restart();
    told(&office, "Second", 2);
    office.kill_and_restart();
    told(&office, "Third", 3);
    run(async {
        office.has("ada", &["First", "Second", "Third"]).await;
        assert_eq!(office.connection("ada").await["status"], "connected");
        assert_eq!(office.stand_ins.count("gmail_oauth", "requests"), 3);
    });
}

#[test]
fn a_token_is_renewed_once_however_many_need_it() {
    let rows = ["ada", "bob"].map(|user| connected(user, "1//0seeded9", 1002)).concat();
    let office = Office::with(|setup| setup.with_records(rows));
    run(async {
        let mut states = Vec::new();
        for number in 0..8 {
            states.push(office.receives(&format!("Mail {number}")).await);
        }
        futures_util::future::join_all(states.iter().map(|state| office.is_told(*state))).await;
        office.at_rest(8).await;
        assert_eq!(office.subjects("ada").await.len(), 8);
        assert_eq!(office.subjects("bob").await.len(), 8);
        // One for each of the two connections.
        assert_eq!(office.stand_ins.count("gmail_oauth", "requests"), 2);
    });
}

#[test]
fn a_token_that_gmail_refuses_is_renewed_and_the_mail_read() {
    let office = Office::with(|setup| setup.with_records(connected("ada", "1//0seeded9", 1002)));
    run(async {
        office.stand_ins.arms("gmail_api", "401", 1).await;
        let state = office.receives("Your order").await;
        office.is_told(state).await;
        office.has("ada", &["Your order"]).await;
        let rows = office.at_rest(1).await;
        assert_eq!(rows[0]["attempts"], 1);
        assert_eq!(office.stand_ins.count("gmail_oauth", "requests"), 2);
    });
}

#[test]
fn a_gmail_that_fails_for_a_while_costs_attempts_and_no_mail() {
    let office = Office::with(|setup| setup.with_records(connected("ada", "1//0seeded9", 1002)));
    run(async {
        office.stand_ins.arms("gmail_api", "429", 1).await;
        let state = office.receives("Your order").await;
        office.is_told(state).await;
        office.has("ada", &["Your order"]).await;
        let rows = office.at_rest(1).await;
        assert_eq!((&rows[0]["status"], &rows[0]["attempts"]), (&json!("done"), &json!(2)));
    });
}

#[test]
fn a_grant_that_is_over_is_told_to_its_owner_once() {
    let mut office = Office::open();
    run(async {
        office.connects("ada").await;
        let watched = async || office.connection("ada").await["watchedUntil"].as_str().map(drop);
        eventually("the mailbox is watched", watched).await;
        office.stand_ins.order("revoke", &json!({})).await;
    });
    // The token in memory would be good for an hour.
    office.kill_and_restart();
    run(async {
        let states = [office.receives("Lost").await, office.receives("Lost too").await];
        futures_util::future::join_all(states.map(|state| office.is_told(state))).await;
        let ended = async || (office.connection("ada").await["status"] == "ended").then_some(());
        eventually("the end is known", ended).await;
        let told =
            async || (office.stand_ins.count("resend_email", "completed") == 1).then_some(());
        eventually("the owner is told", told).await;
        let rows = office.at_rest(2).await;
        assert!(rows.iter().all(|row| row["status"] == "done"), "{rows:?}");
        let mails = office.stand_ins.seen("resend_email").await;
        assert_eq!(mails[0]["body"]["to"], ADDRESS);
        assert_eq!(mails[0]["body"]["subject"], "Your Gmail connection has ended");
        let text = mails[0]["body"]["text"].as_str().expect("a text");
        assert!(text.contains("https://app.example/settings?tab=connections"), "{text}");
        let key = mails[0]["headers"]["idempotency-key"].as_str().expect("a key");
        assert!(key.starts_with("gmail-ended-") && key.len() <= 256, "{key}");
    });
    office.kill_and_restart();
    run(async {
        office.is_told(4_000_000).await;
        office.at_rest(3).await;
        assert_eq!(office.stand_ins.count("resend_email", "requests"), 1);
        // Connected again, it is read on from where it was read to.
        office.connects("ada").await;
        office.has("ada", &["Lost", "Lost too"]).await;
        assert_eq!(office.stand_ins.count("resend_email", "requests"), 1);
    });
}

#[test]
fn a_mail_that_a_kill_cuts_off_is_sent_under_the_same_key() {
    let rows = connected("ada", "1//0seeded0", 1002);
    let mut office = Office::with(|setup| setup.with_records(rows));
    run(async {
        office.stand_ins.order("revoke", &json!({})).await;
        office.stand_ins.arms("resend_email", "stall_headers", 1).await;
        office.is_told(2000).await;
        let begun =
            async || (office.stand_ins.count("resend_email", "inFlight") == 1).then_some(());
        eventually("the mail is on its way", begun).await;
    });
    office.kill_and_restart();
    run(async {
        let told =
            async || (office.stand_ins.count("resend_email", "completed") == 1).then_some(());
        eventually("the owner is told", told).await;
        let mails = office.stand_ins.seen("resend_email").await;
        let keys: Vec<&Value> = mails.iter().map(|it| &it["headers"]["idempotency-key"]).collect();
        assert_eq!((keys.len(), keys[0]), (2, keys[1]));
        assert_eq!(mails[0]["body"], mails[1]["body"]);
    });
}

#[test]
fn a_watch_that_ends_soon_is_renewed_once_by_whoever_comes_first() {
    let mut rows = connected("ada", "1//0seeded9", 1002);
    let mailbox = rows[0].value.as_mut().expect("a row");
    let mut row: Value = serde_json::from_slice(mailbox).unwrap();
    row["watchedUntil"] = json!(1);
    *mailbox = row.to_string().into_bytes();
    let mut office = Office::with(|setup| setup.with_records(rows));
    let renewed = |office: &Office| {
        run(async {
            let until = "2100-01-08T00:00:00.000Z";
            let seen =
                async || (office.connection("ada").await["watchedUntil"] == until).then_some(());
            eventually("the watch is renewed", seen).await;
            count(office, "gmail_api", "/watch").await
        })
    };
    assert_eq!(renewed(&office), 1);
    office.kill_and_restart();
    run(async {
        let state = office.receives("Your order").await;
        office.is_told(state).await;
        office.has("ada", &["Your order"]).await;
    });
    assert_eq!(renewed(&office), 1);
}
