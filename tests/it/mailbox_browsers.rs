//! Which browser may finish a question to connect a mailbox: the one in which it was asked.

use serde_json::json;

use crate::support::answer::Answer;
use crate::support::client::{answer, run};
use crate::support::mailbox::{APP, Office, user_token};
use crate::support::webhook::whole;

/// Asks to connect, as a browser that sends these cookies.
async fn asks(office: &Office, user: &str, cookie: Option<&str>) -> Answer {
    let request = office.caller.post("/api/gmail/connect").bearer_auth(user_token(user));
    let request = cookie.into_iter().fold(request, |it, cookie| it.header("cookie", cookie));
    let answer = answer(request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// The cookie that an answer sets: its name and value, and its attributes.
fn cookie_of(answer: &Answer) -> (String, String) {
    let cookie = answer.header("set-cookie").expect("it sets a cookie");
    let (pair, attributes) = cookie.split_once("; ").expect("it has attributes");
    (pair.to_owned(), attributes.to_owned())
}

fn address_of(answer: &Answer) -> String {
    answer.json()["authorizeUrl"].as_str().expect("an address").to_owned()
}

#[test]
fn a_link_that_somebody_else_asked_for_connects_nothing() {
    let office = Office::open();
    run(async {
        // Mallory asks, and talks Ada into following the link in her own browser.
        let link = address_of(&asks(&office, "mallory", None).await);
        let back = office.consents(&link).await;
        assert_eq!(office.comes_back(&back).await, "error");
        // It makes no difference that she is connecting a mailbox herself just now.
        let own = office.asks_to_connect("ada").await;
        assert_eq!(office.comes_back(&back).await, "error");
        assert_eq!(office.stand_ins.count("gmail_oauth", "requests"), 0);
        assert_eq!(office.connection("mallory").await, json!({"status": "none"}));
        assert_eq!(office.connection("ada").await, json!({"status": "none"}));
        let own = office.consents(&own).await;
        assert_eq!(office.comes_back(&own).await, "connected");
        assert_eq!(office.connection("ada").await["status"], "connected");
        assert_eq!(office.connection("mallory").await, json!({"status": "none"}));
    });
}

#[test]
fn a_cookie_is_believed_whole_and_alone() {
    let office = Office::open();
    run(async {
        let asked = asks(&office, "ada", None).await;
        let (cookie, _) = cookie_of(&asked);
        let (name, value) = cookie.split_once('=').unwrap();
        let other = cookie_of(&asks(&office, "bob", None).await).0;
        assert_ne!(other, cookie);
        let back = office.consents(&address_of(&asked)).await;
        let wrong = [
            String::new(),
            format!("{name}="),
            format!("{name}={}", &value[1..]),
            format!("{name}={}", value.to_lowercase()),
            format!("x{cookie}"),
            other.clone(),
            // Whoever could plant a second one must not choose between them.
            format!("{cookie}; {other}"),
            format!("{other}; {cookie}"),
        ];
        for wrong in wrong {
            let came = answer(office.browses(&back).header("cookie", &wrong)).await;
            assert!(came.headers["location"].ends_with("gmail=error"), "{wrong}: {came:?}");
        }
        let among = format!("theme=dark; {cookie};  lang=de");
        let came = answer(office.browses(&back).header("cookie", among)).await;
        let to = format!("{APP}/settings?tab=connections&gmail=connected");
        let sent_on =
            [("location", &*to), ("cache-control", "no-store"), ("referrer-policy", "no-referrer")];
        assert_eq!(came, whole(302, &sent_on, ""));
    });
}

#[test]
fn one_browser_may_ask_in_two_windows() {
    let office = Office::open();
    run(async {
        let first = office.asks_to_connect("ada").await;
        let second = office.asks_to_connect("ada").await;
        for link in [first, second] {
            let back = office.consents(&link).await;
            assert_eq!(office.comes_back(&back).await, "connected");
        }
    });
}

#[test]
fn what_a_browser_sends_is_kept_if_it_can_be_ours_and_replaced_if_not() {
    let office = Office::open();
    run(async {
        let (cookie, _) = cookie_of(&asks(&office, "ada", None).await);
        assert_eq!(cookie_of(&asks(&office, "ada", Some(&cookie)).await).0, cookie);
        let name = cookie.split_once('=').unwrap().0;
        for junk in ["x".to_owned(), "x".repeat(4000), format!("{}é", "x".repeat(30))] {
            let (fresh, _) =
                cookie_of(&asks(&office, "ada", Some(&format!("{name}={junk}"))).await);
            assert_ne!(fresh, format!("{name}={junk}"));
            assert_eq!(fresh.len(), name.len() + 1 + 32, "{fresh}");
        }
    });
}

#[test]
fn the_cookie_is_for_this_host_alone_and_no_script_reads_it() {
    let table = [
        ("", "sendcat-connect", "Path=/; Max-Age=600; HttpOnly; SameSite=Lax"),
        (
            "https://api.example/api/gmail/auth/callback",
            "__Host-sendcat-connect",
            "Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure",
        ),
    ];
    for (redirect, name, attributes) in table {
        let office = Office::with(|setup| setup.with("GMAIL_REDIRECT_URL", redirect));
        run(async {
            let (cookie, written) = cookie_of(&asks(&office, "ada", None).await);
            assert_eq!(written, attributes);
            let (named, value) = cookie.split_once('=').unwrap();
            assert_eq!((named, value.len()), (name, 32));
        });
    }
}

#[test]
fn a_listed_page_may_ask_with_its_cookies_and_no_other_page_may() {
    let office = Office::with(|setup| setup.with("ALLOWED_ORIGINS", APP));
    run(async {
        let asks = |origin: &str| {
            let request = office.caller.post("/api/gmail/connect").header("origin", origin);
            answer(request.bearer_auth(user_token("ada")))
        };
        let preflight = |path: &str, origin: &str| {
            let request = office.caller.request("OPTIONS", path).header("origin", origin);
            answer(request.header("access-control-request-method", "POST"))
        };
        const CREDENTIALS: &str = "access-control-allow-credentials";
        let listed = asks(APP).await;
        assert_eq!((listed.status, listed.header(CREDENTIALS)), (200, Some("true")));
        assert_eq!(listed.header("access-control-allow-origin"), Some(APP));
        let before = preflight("/api/gmail/connect", APP).await;
        assert_eq!((before.status, before.header(CREDENTIALS)), (204, Some("true")));
        let foreign = asks("https://evil.example").await;
        assert_eq!((foreign.status, foreign.code()), (403, Some("forbidden")));
        assert_eq!((foreign.header(CREDENTIALS), foreign.header("set-cookie")), (None, None));
        let before = preflight("/api/gmail/connect", "https://evil.example").await;
        assert_eq!(before.header(CREDENTIALS), None);
        // Where nothing is kept in cookies, none are asked for.
        assert_eq!(preflight("/api/chat", APP).await.header(CREDENTIALS), None);
    });
}
