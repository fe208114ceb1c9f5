//! Gmail: profile, history, messages and watch of one mailbox.
//!
//! The mailbox starts with two mails; `POST /_control/mail` delivers another. Paths are taken
//! with and without `gmail/v1` in front, for base addresses are written both ways.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE;
use serde::Deserialize;
use serde_json::{Value, json};

use super::ask::Ask;
use super::control::locked;
use super::google::TOKEN_PREFIX;
use super::reply::Reply;

/// Whose mailbox it is.
pub(super) const ADDRESS: &str = "sandbox.user@example.com";
/// History before this is gone: a sync from there must start anew.
const OLDEST_HISTORY: u64 = 900;
const FIRST_HISTORY: u64 = 1000;
/// A watch lasts seven days.
const WATCH_S: u64 = 7 * 24 * 3600;

/// A mail as it is delivered by `POST /_control/mail`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Mail {
    #[serde(default = "default_from")]
    from: String,
    subject: String,
    #[serde(default)]
    text: String,
}

fn default_from() -> String {
    "Shop <orders@example.com>".into()
}

/// The mails with the history id under which each arrived.
pub(super) struct Mailbox {
    mails: Vec<(u64, Mail)>,
}

impl Default for Mailbox {
    fn default() -> Self {
        let mut mailbox = Self { mails: Vec::new() };
        for subject in ["Welcome to the sandbox", "Your order has shipped"] {
            let text = format!("{subject}. This mail was never sent.");
            mailbox.deliver(Mail { from: default_from(), subject: subject.into(), text });
        }
        mailbox
    }
}

impl Mailbox {
    /// Puts a mail in, and says its history id.
    pub(super) fn deliver(&mut self, mail: Mail) -> u64 {
        let history_id = self.history_id() + 1;
        self.mails.push((history_id, mail));
        history_id
    }

    fn history_id(&self) -> u64 {
        self.mails.last().map_or(FIRST_HISTORY, |(history_id, _)| *history_id)
    }
}

pub(super) fn answer(ask: &Ask<'_>) -> Reply {
    if !ask.bearer().is_some_and(|token| token.starts_with(TOKEN_PREFIX)) {
        return refuse(401);
    }
    let mailbox = locked(&ask.memory.mailbox);
    let path = ask.segments();
    let path = path.strip_prefix(&["gmail", "v1"]).unwrap_or(&path);
    let Some(path) = path.strip_prefix(&["users", "me"]).or(path.strip_prefix(&["users", ADDRESS]))
    else {
        return refuse(404);
    };
    match (ask.method, path) {
        ("GET", ["profile"]) => Reply::json(
            200,
            &json!({
                "emailAddress": ADDRESS,
                "messagesTotal": mailbox.mails.len(),
                "threadsTotal": mailbox.mails.len(),
                "historyId": mailbox.history_id().to_string(),
            }),
        ),
        ("GET", ["history"]) => history(ask, &mailbox),
        ("GET", ["messages"]) => {
            let list: Vec<Value> = mailbox.mails.iter().rev().map(|mail| name(mail.0)).collect();
            Reply::json(200, &json!({"messages": list, "resultSizeEstimate": list.len()}))
        }
        ("GET", ["messages", id]) => message(ask, &mailbox, id),
        ("POST", ["watch"]) if ask.json().is_some_and(|body| body["topicName"].is_string()) => {
            let expiration = (ask.now_s + WATCH_S) * 1000;
            let history_id = mailbox.history_id().to_string();
            let body = json!({"historyId": history_id, "expiration": expiration.to_string()});
            Reply::json(200, &body)
        }
        ("POST", ["watch"]) => refuse(400),
        ("POST", ["stop"]) => Reply::whole(204, "application/json", bytes::Bytes::new()),
        _ => refuse(404),
    }
}

/// An error in the shape of Google's APIs.
pub(super) fn refuse(status: u16) -> Reply {
    let (message, reason, name) = match status {
        400 => ("Precondition check failed.", "failedPrecondition", "FAILED_PRECONDITION"),
        401 => ("Request had invalid authentication credentials.", "authError", "UNAUTHENTICATED"),
        403 => ("Insufficient Permission", "insufficientPermissions", "PERMISSION_DENIED"),
        404 => ("Requested entity was not found.", "notFound", "NOT_FOUND"),
        429 => ("Too many concurrent requests for user", "rateLimitExceeded", "RESOURCE_EXHAUSTED"),
        503 => ("The service is currently unavailable.", "backendError", "UNAVAILABLE"),
        _ => ("Internal error encountered.", "backendError", "INTERNAL"),
    };
    let details = json!([{"message": message, "domain": "global", "reason": reason}]);
    let error = json!({"code": status, "message": message, "errors": details, "status": name});
    Reply::json(status, &json!({"error": error}))
}

fn mail_id(history_id: u64) -> String {
    format!("18c0ffee{history_id:08x}")
}

fn name(history_id: u64) -> Value {
    json!({"id": mail_id(history_id), "threadId": mail_id(history_id)})
}

fn labelled(history_id: u64) -> Value {
    let mut mail = name(history_id);
    mail["labelIds"] = json!(["UNREAD", "INBOX"]);
    mail
}

fn history(ask: &Ask<'_>, mailbox: &Mailbox) -> Reply {
    let Some(start) = ask.param("startHistoryId").and_then(|text| text.parse::<u64>().ok()) else {
        return refuse(400);
    };
    if start < OLDEST_HISTORY {
        return refuse(404);
    }
    let number = |name: &str| ask.param(name).and_then(|text| text.parse::<usize>().ok());
    let (skipped, most) = (number("pageToken").unwrap_or(0), number("maxResults").unwrap_or(100));
    let most = most.clamp(1, 500);
    let newer: Vec<u64> =
        mailbox.mails.iter().map(|mail| mail.0).filter(|id| *id > start).collect();
    let page: Vec<Value> = newer
        .iter()
        .skip(skipped)
        .take(most)
        .map(|id| {
            let added = json!([{"message": labelled(*id)}]);
            json!({"id": id.to_string(), "messages": [name(*id)], "messagesAdded": added})
        })
        .collect();
    let mut body = json!({"historyId": mailbox.history_id().to_string()});
    if skipped + page.len() < newer.len() {
        body["nextPageToken"] = json!((skipped + page.len()).to_string());
    }
    if !page.is_empty() {
        body["history"] = json!(page);
    }
    Reply::json(200, &body)
}

fn message(ask: &Ask<'_>, mailbox: &Mailbox, id: &str) -> Reply {
    let Some((history_id, mail)) = mailbox.mails.iter().find(|mail| mail_id(mail.0) == id) else {
        return refuse(404);
    };
    let header = |name: &str, value: &str| json!({"name": name, "value": value});
    let mut body = labelled(*history_id);
    body["snippet"] = json!(mail.text.chars().take(100).collect::<String>());
    body["historyId"] = json!(history_id.to_string());
    body["internalDate"] = json!((ask.now_s * 1000).to_string());
    body["sizeEstimate"] = json!(mail.text.len() + 400);
    if ask.param("format") == Some("minimal") {
        return Reply::json(200, &body);
    }
    body["payload"] = json!({
        "partId": "",
        "mimeType": "text/plain",
        "filename": "",
        "headers": [
            header("From", &mail.from),
            header("To", ADDRESS),
            header("Subject", &mail.subject),
        ],
    });
    if ask.param("format") != Some("metadata") {
        let data = BASE64_URL_SAFE.encode(&mail.text);
        body["payload"]["body"] = json!({"size": mail.text.len(), "data": data});
    }
    Reply::json(200, &body)
}
