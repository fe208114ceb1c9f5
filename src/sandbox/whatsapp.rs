//! WhatsApp's Graph API: sending a message, and media in two steps.
//!
//! Paths are taken with and without a version (`v21.0`) in front. What a media's id begins with
//! says what is wrong with it: `missing` is not there, `gone` is announced and not there,
//! `altered` has other bytes than announced, `elsewhere` is announced at an address of somebody
//! else, `moved` redirects there, `large` is announced as larger than it may be.

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::ask::Ask;
use super::reply::Reply;

/// The first bytes of every picture of this stand-in; the media's id follows.
const PICTURE: &[u8] = b"\xff\xd8\xff\xe0sandbox picture ";
/// Behind this segment stand the addresses of step two.
const ATTACHMENTS: &str = "attachments";
/// Where nobody's key belongs.
const ELSEWHERE: &str = "http://127.0.0.1:9/latest/meta-data";

pub(super) fn answer(ask: &Ask<'_>) -> Reply {
    if ask.bearer().is_none() {
        return refuse(401);
    }
    let path = ask.segments();
    let path = match path.split_first() {
        Some((version, rest)) if is_version(version) => rest,
        Some(_) | None => &path,
    };
    match (ask.method, path) {
        ("POST", [number, "messages"]) if !number.is_empty() => send(ask),
        ("GET", [ATTACHMENTS, media]) if media.starts_with("gone") => refuse(404),
        ("GET", [ATTACHMENTS, media]) if media.starts_with("moved") => {
            Reply::whole(302, "text/plain", Bytes::new()).header("location", ELSEWHERE)
        }
        ("GET", [ATTACHMENTS, media]) => Reply::whole(200, "image/jpeg", picture(media)),
        ("GET", [media]) if media.starts_with("missing") => refuse(404),
        ("GET", [media]) if !media.is_empty() => Reply::json(200, &announced(ask, media)),
        _ => refuse(404),
    }
}

/// What step one says of a media.
fn announced(ask: &Ask<'_>, media: &str) -> Value {
    let bytes = picture(media);
    let url = match media.starts_with("elsewhere") {
        true => ELSEWHERE.to_owned(),
        false => format!("{}/{ATTACHMENTS}/{media}", ask.base),
    };
    let digest = match media.starts_with("altered") {
        true => Sha256::digest(b"something else"),
        false => Sha256::digest(&bytes),
    };
    let size = if media.starts_with("large") { 100 << 20 } else { bytes.len() };
    json!({
        "messaging_product": "whatsapp",
        "url": url,
        "mime_type": "image/jpeg",
        "sha256": hex::encode(digest),
        "file_size": size.to_string(),
        "id": media,
    })
}

/// An error in the shape of the Graph API; callers switch on its `code`.
pub(super) fn refuse(status: u16) -> Reply {
    let (message, code) = match status {
        401 => ("Error validating access token: Session has expired", 190),
        403 => ("(#10) Application does not have permission for this action", 10),
        404 => ("Unsupported get request. Object does not exist", 100),
        429 => ("(#130429) Rate limit hit", 130_429),
        500.. => ("(#131000) Something went wrong", 131_000),
        _ => ("(#100) Invalid parameter", 100),
    };
    error(status, message, code)
}

fn error(status: u16, message: &str, code: u32) -> Reply {
    let error = json!({
        "message": message,
        "type": "OAuthException",
        "code": code,
        "error_data": {"messaging_product": "whatsapp", "details": message},
        "fbtrace_id": "Asandbox",
    });
    Reply::json(status, &json!({"error": error}))
}

fn is_version(segment: &str) -> bool {
    segment.strip_prefix('v').is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    })
}

fn picture(media: &str) -> Bytes {
    [PICTURE, media.as_bytes()].concat().into()
}

fn send(ask: &Ask<'_>) -> Reply {
    let Some(body) = ask.json().filter(|body| body["messaging_product"] == "whatsapp") else {
        return error(400, "(#100) The parameter messaging_product is required.", 100);
    };
    let to = body["to"].as_str().or(body["recipient"].as_str()).unwrap_or("");
    if to.is_empty() {
        return error(400, "(#100) The parameter to is required.", 100);
    }
    let text = body["text"]["body"].as_str().unwrap_or("");
    if body["type"] == "text" && (text.is_empty() || text.chars().count() > 4096) {
        return error(400, "(#100) Param text['body'] must be 1 to 4096 characters long.", 100);
    }
    let digits: String = to.chars().filter(char::is_ascii_digit).collect();
    let answer = json!({
        "messaging_product": "whatsapp",
        "contacts": [{"input": to, "wa_id": digits}],
        "messages": [{"id": format!("wamid.SANDBOX{:012}", ask.serial)}],
    });
    Reply::json(200, &answer)
}
