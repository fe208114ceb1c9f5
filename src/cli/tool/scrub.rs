//! No secret leaves in a report, wherever it came from: the environment, an address with a
//! password, a server that says back what it was sent.
//!
//! Every text of a report that something outside had a hand in passes here before anything is
//! rendered, so no rendering has a rule of its own to forget.

use serde_json::Value;

use super::common::Common;
use crate::config::{Secret, Source, knobs};
use crate::slo::report::Report;
use crate::telemetry::redact;

/// Learns what must never be told: every secret knob of the environment, the user's token, and what
/// an address carries beside the way to the server.
pub(super) fn know(common: &Common) {
    let source = Source::from_process().unwrap_or_default();
    let secret = knobs::all().iter().filter(|knob| knob.kind.is_secret());
    let values = secret.filter_map(|knob| source.text(&knob.name));
    let parts = values.flat_map(|value| {
        let parts: Vec<_> = value.split(',').map(|part| part.trim().to_owned()).collect();
        parts.into_iter().chain([value]).collect::<Vec<_>>()
    });
    let token = common.user_token().map(str::to_owned);
    let known: Vec<_> =
        parts.chain(token).chain(of_address(&common.base_url)).map(Secret::new).collect();
    redact::know(&known);
}

/// Password and query of an address. Short words are no secrets, and would take half of every line.
fn of_address(address: &str) -> Vec<String> {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = before.split('/').next().unwrap_or_default();
    let password = authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':'));
    let values = query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
    let values = values.chain(password.map(|(_, password)| password));
    values.filter(|value| value.len() >= 6).map(str::to_owned).collect()
}

/// Takes secrets out of every text of a report; histograms and hashes stay as they are.
pub(super) fn scrub(report: &mut Report) {
    let Report { target, checks, scenarios, artifacts, next, labels, reasons, .. } = report;
    let texts = [&mut target.base_url].into_iter().chain(&mut target.version);
    texts.chain(artifacts).chain(next).chain(reasons).chain(labels.values_mut()).for_each(text);
    for row in checks {
        [&mut row.id, &mut row.scenario, &mut row.why].into_iter().for_each(text);
    }
    scenarios.iter_mut().map(|scenario| &mut scenario.id).for_each(text);
    report.inputs.iter_mut().map(|input| &mut input.path).for_each(text);
    report.details.iter_mut().chain(&mut report.server_delta).for_each(value);
}

fn text(text: &mut String) {
    let clean = redact::text(text);
    if clean != *text {
        *text = clean.into_owned();
    }
}

fn value(of: &mut Value) {
    match of {
        Value::String(words) => text(words),
        Value::Array(values) => values.iter_mut().for_each(value),
        Value::Object(members) => {
            // A member's name may come from outside as well.
            let foreign = |name: &&String| redact::text(name) != **name;
            let names: Vec<_> = members.keys().filter(foreign).cloned().collect();
            for name in names {
                if let Some(kept) = members.remove(&name) {
                    members.insert(redact::owned(&name), kept);
                }
            }
            members.values_mut().for_each(value);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
