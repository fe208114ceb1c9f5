//! WhatsApp's Graph API: sending a message, and media in two steps.
//!
//! Paths are taken with and without a version (`v21.0`) in front.

use bytes::Bytes;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::ask::Ask;
use super::reply::Reply;

/// The first bytes of every picture of this stand-in; the media's id follows.
const PICTURE: &[u8] = b"\xff\xd8\xff\xe0sandbox picture ";
/// Behind this segment stand the addresses of step two.
const ATTACHMENTS: &str = "attachments";

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
        ("GET", [ATTACHMENTS, media]) => Reply::whole(200, "image/jpeg", picture(media)),
        ("GET", [media]) if media.starts_with("missing") => refuse(404),
        ("GET", [media]) if !media.is_empty() => {
            let bytes = picture(media);
            let body = json!({
                "messaging_product": "whatsapp",
                "url": format!("{}/{ATTACHMENTS}/{media}", ask.base),
                "mime_type": "image/jpeg",
                "sha256": hex::encode(Sha256::digest(&bytes)),
                "file_size": bytes.len().to_string(),
                "id": media,
            });
            Reply::json(200, &body)
        }
        _ => refuse(404),
    }
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
