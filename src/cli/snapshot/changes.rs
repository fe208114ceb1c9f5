//! What has changed between two snapshots, a line each.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Format;

/// A path, what stood there before, and what stands there now.
type Change = (String, Value, Value);

/// Members that change with every look and mean nothing.
const IDLE: [&str; 1] = ["generatedAt"];

/// The changes, as text or as a JSON list.
pub(super) fn told(before: &Value, now: &Value, format: Format) -> String {
    let changes = between(before, now);
    let object = |(path, before, now): &Change| json!({"path": path, "before": before, "now": now});
    match format {
        Format::Json => {
            let rows: Vec<_> = changes.iter().map(object).collect();
            format!("{:#}\n", Value::from(rows))
        }
        Format::Human if changes.is_empty() => "nothing has changed\n".to_owned(),
        Format::Human => {
            let line = |(path, before, now): &Change| {
                format!("{path}: {} -> {}\n", shown(before), shown(now))
            };
            changes.iter().map(line).collect()
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn between(before: &Value, now: &Value) -> Vec<Change> {
    let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
    flatten(before, "", &mut old);
    flatten(now, "", &mut new);
    let paths: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).cloned().collect();
    let changed = paths.into_iter().filter_map(|path| {
        let value = |of: &BTreeMap<String, Value>| of.get(&path).cloned().unwrap_or(Value::Null);
        let (before, now) = (value(&old), value(&new));
        (before != now).then_some((path, before, now))
    });
    changed.collect()
}

/// Every value by its path; rows of a list go by their name where they have one, so that a new row
/// does not shift all others.
fn flatten(value: &Value, path: &str, out: &mut BTreeMap<String, Value>) {
    let below =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(members) => {
            for (name, value) in members.iter().filter(|(name, _)| !IDLE.contains(&name.as_str())) {
                flatten(value, &below(name), out);
            }
        }
        Value::Array(rows) => {
            for (place, row) in rows.iter().enumerate() {
                let name = ["name", "provider"].iter().find_map(|key| row[key].as_str());
                flatten(row, &below(&name.map_or_else(|| place.to_string(), str::to_owned)), out);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.insert(path.to_owned(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_known_by_its_name_wherever_it_stands() {
        let before = json!({"generatedAt": "a", "circuits": [
            {"provider": "jwks", "failures": 0}, {"provider": "serper_search", "failures": 1}]});
        let now = json!({"generatedAt": "b", "circuits": [
            {"provider": "serper_search", "failures": 2}, {"provider": "jwks", "failures": 0}],
            "inbox": {"oldestAgeMs": null}});
        assert_eq!(told(&before, &now, Format::Human), "circuits.serper_search.failures: 1 -> 2\n");
        assert_eq!(told(&now, &now, Format::Human), "nothing has changed\n");
        let json: Value = serde_json::from_str(&told(&before, &now, Format::Json)).unwrap();
        let row = json!({"path": "circuits.serper_search.failures", "before": 1, "now": 2});
        assert_eq!(json, json!([row]));
    }
}
