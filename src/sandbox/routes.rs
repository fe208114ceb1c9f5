//! The sandbox over HTTP: its control, and one handler for every stand-in.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use super::ask::{Ask, decoded, pairs};
use super::authorize::redirect;
use super::control::{Control, How, locked};
use super::fault::Fault;
use super::gmail::Mail;
use super::play::play;
use super::provider::{STAND_INS, at_prefix, index_of};
use super::reset::Line;
use super::tokens::SigningKey;

/// A fault is armed for a month at most.
const TTL_MAX_MS: u64 = 30 * 24 * 3600 * 1000;

/// Every route of the sandbox.
pub(super) fn configure(routes: &mut web::ServiceConfig) {
    routes
        .route("/_control", web::get().to(view))
        .route("/_control", web::post().to(arm))
        .route("/_control/requests", web::get().to(requests))
        .route("/_control/revoke", web::post().to(revoke))
        .route("/_control/mail", web::post().to(deliver))
        .route("/_control/token", web::post().to(sign))
        .route("/_control/rotate", web::post().to(rotate))
        .route("/accounts/o/oauth2/v2/auth", web::get().to(authorize))
        .default_service(web::to(stand_in));
}

/// The body of `POST /_control`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Order {
    provider: String,
    fault: String,
    times: Option<u64>,
    ttl_ms: Option<u64>,
}

async fn view(control: web::Data<Control>) -> HttpResponse {
    HttpResponse::Ok().json(control.view())
}

async fn arm(body: web::Bytes, control: web::Data<Control>) -> HttpResponse {
    let order: Order = match serde_json::from_slice(&body) {
        Ok(order) => order,
        Err(cause) => {
            return bad_request(&format!(
                "expected {{provider, fault, times?, ttlMs?}} as JSON: {cause}"
            ));
        }
    };
    let Some(provider) = index_of(&order.provider) else {
        return unknown_provider(&order.provider);
    };
    if order.fault == "none" {
        control.clear(provider, None);
        return view(control).await;
    }
    let Some(fault) = Fault::from_name(&order.fault) else {
        let known = Fault::names();
        return bad_request(&format!("unknown fault {:?}; known: none, {known}", order.fault));
    };
    if order.times == Some(0) {
        return bad_request("times: expected 1 or more, or nothing for every request");
    }
    let serial = control.arm(provider, fault, order.times, How::default());
    if let Some(ttl_ms) = order.ttl_ms {
        let (control, ttl) = (control.clone(), Duration::from_millis(ttl_ms.min(TTL_MAX_MS)));
        actix_web::rt::spawn(async move {
            tokio::time::sleep(ttl).await;
            control.clear(provider, Some(serial));
        });
    }
    view(control).await
}

async fn requests(request: HttpRequest, control: web::Data<Control>) -> HttpResponse {
    let query = pairs(request.query_string());
    let name = query.get("provider").map_or("", String::as_str);
    match index_of(name) {
        Some(provider) => HttpResponse::Ok().json(json!({"requests": control.seen(provider)})),
        None => unknown_provider(name),
    }
}

/// Ends every grant that Google's stand-in has given so far, as a user or Google may.
async fn revoke(control: web::Data<Control>) -> HttpResponse {
    let below = control.next_serial();
    locked(&control.memory.revoked).below = below;
    HttpResponse::NoContent().finish()
}

async fn deliver(body: web::Bytes, control: web::Data<Control>) -> HttpResponse {
    match serde_json::from_slice::<Mail>(&body) {
        Ok(mail) => {
            let history_id = locked(&control.memory.mailbox).deliver(mail);
            HttpResponse::Ok().json(json!({"historyId": history_id.to_string()}))
        }
        Err(cause) => bad_request(&format!("expected {{subject, from?, text?}} as JSON: {cause}")),
    }
}

/// Signs a user's token.
async fn sign(body: web::Bytes, control: web::Data<Control>) -> HttpResponse {
    let claims = serde_json::from_slice(&body).unwrap_or_default();
    let token = locked(&control.memory.signing).token(claims, control.now_s());
    match token {
        Some(token) => HttpResponse::Ok().json(json!({ "token": token })),
        None => bad_request("no token can be made of these claims"),
    }
}

/// Puts a new key in the place of the one that signs users' tokens.
async fn rotate(control: web::Data<Control>) -> HttpResponse {
    match SigningKey::make() {
        Ok(key) => {
            *locked(&control.memory.signing) = key;
            HttpResponse::NoContent().finish()
        }
        Err(cause) => bad_request(&cause.to_string()),
    }
}

/// The consent page is the browser's affair: it counts as no call of a provider.
async fn authorize(request: HttpRequest, control: web::Data<Control>) -> HttpResponse {
    match redirect(&pairs(request.query_string()), control.next_serial()) {
        Ok(address) => HttpResponse::Found().insert_header((LOCATION, address)).finish(),
        Err(sentence) => bad_request(&sentence),
    }
}

async fn stand_in(
    request: HttpRequest,
    body: web::Bytes,
    control: web::Data<Control>,
) -> HttpResponse {
    let mut segments = request.uri().path().trim_start_matches('/').split('/');
    let prefix = segments.next().unwrap_or("");
    let Some((provider, stand_in)) = at_prefix(prefix) else {
        let known: Vec<_> = STAND_INS.iter().map(|each| each.prefix).collect();
        return HttpResponse::NotFound()
            .body(format!("no stand-in at /{prefix}; there are {}", known.join(", ")));
    };
    let (call, fault, late_by) = control.enter(provider);
    if !late_by.is_zero() {
        tokio::time::sleep(late_by).await;
    }
    if let Some(line) = request.conn_data::<Line>().filter(|_| fault == Some(Fault::Reset)) {
        line.reset();
    }
    let ask = Ask {
        method: request.method().as_str(),
        path: segments.map(decoded).collect(),
        query: pairs(request.query_string()),
        headers: headers(&request),
        body: &body,
        base: format!("http://{}/{prefix}", request.connection_info().host()),
        serial: control.next_serial(),
        now_s: control.now_s(),
        dripping: fault == Some(Fault::Drip),
        refused: matches!(fault, Some(Fault::Status(_) | Fault::Html)),
        memory: &control.memory,
    };
    control.remember(provider, &ask);
    let reply = (stand_in.answer)(&ask);
    play(call, reply, fault, stand_in.refuse).await
}

fn headers(request: &HttpRequest) -> BTreeMap<String, String> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let pair = |(name, value): (&actix_web::http::header::HeaderName, &_)| {
        let value: &actix_web::http::header::HeaderValue = value;
        (name.as_str().to_owned(), text(value.as_bytes()))
    };
    request.headers().iter().map(pair).collect()
}

fn unknown_provider(name: &str) -> HttpResponse {
    let known: Vec<_> = STAND_INS.iter().map(|each| each.name).collect();
    bad_request(&format!("unknown provider {name:?}; known: {}", known.join(", ")))
}

fn bad_request(sentence: &str) -> HttpResponse {
    HttpResponse::BadRequest().content_type("text/plain; charset=utf-8").body(sentence.to_owned())
}
