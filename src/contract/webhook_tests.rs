//! The three schemes against constants of third parties, and every way to get one wrong.

use super::super::signature::SignatureFault::{self, Malformed, Mismatch, Missing, Stale};
use super::*;

/// The example of the Standard Webhooks libraries.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const AT: u64 = 1_614_265_330;
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

fn fields<'a>(id: &'a str, timestamp: &'a str, signature: &'a str) -> StandardFields<'a> {
    StandardFields { id: Some(id), timestamp: Some(timestamp), signature: Some(signature) }
}

fn standard(signature: &str, now: u64) -> Result<(), SignatureFault> {
    let at = AT.to_string();
    verify_standard(&[SECRET], fields(ID, &at, signature), BODY, now).map(|_| ())
}

#[test]
fn the_example_of_standard_webhooks_verifies_and_is_what_we_sign() {
    assert_eq!(standard(SIGNATURE, AT), Ok(()));
    let key = standard_secret(SECRET.as_bytes()).unwrap();
    assert_eq!(sign_standard(&key, ID, AT, BODY), SIGNATURE);
    let bare = SECRET.trim_start_matches("whsec_");
    let at = AT.to_string();
    assert_eq!(verify_standard(&[bare], fields(ID, &at, SIGNATURE), BODY, AT), Ok(ID));
}

#[test]
fn one_signature_of_many_is_enough_and_none_is_not() {
    let other = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let table = [
        (format!("{other} {SIGNATURE}"), Ok(())),
        (format!("{SIGNATURE} {other}"), Ok(())),
        (format!("v2,xyz v1a,abc {SIGNATURE}"), Ok(())),
        (other.to_owned(), Err(Mismatch)),
        (format!("{other} {other}"), Err(Mismatch)),
        (SIGNATURE.replace("v1,", "v2,"), Err(Malformed)),
        (SIGNATURE.replace("v1,", "v1a,"), Err(Malformed)),
        (SIGNATURE.replace("v1,", ""), Err(Malformed)),
        (SIGNATURE[..SIGNATURE.len() - 9].to_owned(), Err(Malformed)),
        ("v1,".to_owned(), Err(Mismatch)),
        ("v1".to_owned(), Err(Malformed)),
        (String::new(), Err(Malformed)),
    ];
    for (signature, expected) in table {
        assert_eq!(standard(&signature, AT), expected, "{signature:?}");
    }
}

#[test]
fn a_delivery_is_good_for_five_minutes_to_either_side() {
    for (now, expected) in [
        (AT + 300, Ok(())),
        (AT + 301, Err(Stale)),
        (AT - 300, Ok(())),
        (AT - 301, Err(Stale)),
        (0, Err(Stale)),
    ] {
        assert_eq!(standard(SIGNATURE, now), expected, "{now}");
    }
}

#[test]
fn each_field_must_be_there_and_of_its_form() {
    let at = AT.to_string();
    let all = fields(ID, &at, SIGNATURE);
    let long = "x".repeat(257);
    let table = [
        (StandardFields { id: None, ..all }, Err(Missing)),
        (StandardFields { timestamp: None, ..all }, Err(Missing)),
        (StandardFields { signature: None, ..all }, Err(Missing)),
        (fields("", &at, SIGNATURE), Err(Malformed)),
        (fields("msg.1", &at, SIGNATURE), Err(Malformed)),
        (fields("msg 1", &at, SIGNATURE), Err(Malformed)),
        (fields(&long, &at, SIGNATURE), Err(Malformed)),
        (fields("msg_other", &at, SIGNATURE), Err(Mismatch)),
        (fields(ID, "", SIGNATURE), Err(Malformed)),
        (fields(ID, "+1614265330", SIGNATURE), Err(Malformed)),
        (fields(ID, "1614265330.0", SIGNATURE), Err(Malformed)),
        (fields(ID, "1614265331", SIGNATURE), Err(Mismatch)),
        (all, Ok(ID)),
    ];
    for (fields, expected) in table {
        assert_eq!(verify_standard(&[SECRET], fields, BODY, AT), expected, "{fields:?}");
    }
    let flipped = br#"{"test": 2432232315}"#;
    assert_eq!(verify_standard(&[SECRET], all, flipped, AT), Err(Mismatch));
}

#[test]
fn either_secret_is_good_during_a_rotation_and_one_that_cannot_be_read_is_never() {
    let at = AT.to_string();
    let all = fields(ID, &at, SIGNATURE);
    let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert_eq!(verify_standard(&[other, SECRET], all, BODY, AT), Ok(ID));
    assert_eq!(verify_standard(&[SECRET, other], all, BODY, AT), Ok(ID));
    for secrets in [&[][..], &[""], &["whsec_"], &["not base64!"], &[other]] {
        assert_eq!(verify_standard(secrets, all, BODY, AT), Err(Mismatch), "{secrets:?}");
    }
    let by_nothing = sign_standard(b"", ID, AT, BODY);
    assert_eq!(verify_standard(&["whsec_"], fields(ID, &at, &by_nothing), BODY, AT), Err(Mismatch));
}

/// Made with another program: `printf '1492774577.{"id":"evt_1"}' | openssl dgst -sha256 -hmac …`.
const STRIPE_BODY: &[u8] = br#"{"id":"evt_1"}"#;
const STRIPE_SECRET: &str = "whsec_stripe_test_secret";
const STRIPE_AT: u64 = 1_492_774_577;
const STRIPE_DIGEST: &str = "56facc3c80856a8e9af1e425a0ac2b575b11325a06cf6bd2eaf565917e60f4fb";

#[test]
fn stripes_header_passes_in_its_form_and_time_only() {
    let good = format!("t={STRIPE_AT},v1={STRIPE_DIGEST}");
    assert_eq!(sign_stripe(STRIPE_SECRET.as_bytes(), STRIPE_AT, STRIPE_BODY), good);
    let zeros = "0".repeat(64);
    let table = [
        (good.clone(), STRIPE_AT, Ok(())),
        (good.clone(), STRIPE_AT + 300, Ok(())),
        (good.clone(), STRIPE_AT + 301, Err(Stale)),
        (good.clone(), STRIPE_AT - 3600, Ok(())),
        (format!("t={STRIPE_AT},v1={zeros},v1={STRIPE_DIGEST}"), STRIPE_AT, Ok(())),
        (format!("v1={STRIPE_DIGEST}, t={STRIPE_AT}"), STRIPE_AT, Ok(())),
        (format!("t={STRIPE_AT},v1={zeros}"), STRIPE_AT, Err(Mismatch)),
        (format!("t={STRIPE_AT},v0={STRIPE_DIGEST}"), STRIPE_AT, Err(Malformed)),
        (format!("t={STRIPE_AT}"), STRIPE_AT, Err(Malformed)),
        (format!("v1={STRIPE_DIGEST}"), STRIPE_AT, Err(Malformed)),
        (format!("t=now,v1={STRIPE_DIGEST}"), STRIPE_AT, Err(Malformed)),
        (format!("t=1,t={STRIPE_AT},v1={STRIPE_DIGEST}"), STRIPE_AT, Err(Malformed)),
        (format!("t={},v1={STRIPE_DIGEST}", STRIPE_AT + 1), STRIPE_AT, Err(Mismatch)),
        (String::new(), STRIPE_AT, Err(Malformed)),
    ];
    for (header, now, expected) in table {
        let verdict = verify_stripe(&[STRIPE_SECRET], Some(&header), STRIPE_BODY, now);
        assert_eq!(verdict, expected, "{header}");
    }
    assert_eq!(verify_stripe(&[STRIPE_SECRET], None, STRIPE_BODY, STRIPE_AT), Err(Missing));
    let other = verify_stripe(&["old", STRIPE_SECRET], Some(&good), STRIPE_BODY, STRIPE_AT);
    assert_eq!(other, Ok(()));
    assert_eq!(verify_stripe(&[""], Some(&good), STRIPE_BODY, STRIPE_AT), Err(Mismatch));
    assert_eq!(verify_stripe(&[STRIPE_SECRET], Some(&good), b"{}", STRIPE_AT), Err(Mismatch));
}

#[test]
fn the_same_identifier_with_another_body_is_another_event() {
    assert_eq!(known_by(Some("a"), b"{}"), known_by(Some("a"), b"{}"));
    assert_ne!(known_by(Some("a"), b"{}"), known_by(Some("a"), b"{ }"));
    assert_ne!(known_by(Some("a"), b"{}"), known_by(Some("b"), b"{}"));
    assert_eq!(known_by(None, b"{}").len(), 64);
}
