//! The schemas that ship: real files keep them, broken ones do not.

use std::process::Command;

use jsonschema::Validator;
use sendcat::slo::policy::{CanaryPolicy, GatePolicy, Owners, Policy, SloBaseline};
use serde_json::{Value, json};

use super::fixed;

fn schema(name: &str) -> Validator {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sendcat"));
    let output = command.args(["gate", "--schema", name]).env_clear().output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let schema: Value = serde_json::from_slice(&output.stdout).expect("the schema alone");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
    jsonschema::draft202012::meta::validate(&schema).expect("it is a schema");
    jsonschema::draft202012::new(&schema).expect("it can be used")
}

#[track_caller]
fn assert_valid(schema: &Validator, value: &Value, what: &str) {
    let faults: Vec<_> =
        schema.iter_errors(value).map(|it| format!("{}: {it}", it.instance_path())).collect();
    assert!(faults.is_empty(), "{what}: {faults:#?}");
}

/// Without its schema, with another's, and with a key that nobody knows, there and at a path.
#[track_caller]
fn assert_strict(schema: &Validator, value: &Value, within: &str) {
    let broken = |change: &dyn Fn(&mut Value)| {
        let mut value = value.clone();
        change(&mut value);
        value
    };
    let unknown = |at: &str| {
        let change = |value: &mut Value| {
            value.pointer_mut(at).expect("it is there")["unheardOf"] = json!(1);
        };
        broken(&change)
    };
    let mut cases = vec![("unknown", unknown("")), ("unknown within", unknown(within))];
    if value.get("schema").is_some() {
        let without = |value: &mut Value| drop(value.as_object_mut().unwrap().remove("schema"));
        cases.push(("no schema", broken(&without)));
        let other = |value: &mut Value| value["schema"] = json!("sendcat.else/1");
        cases.push(("another schema", broken(&other)));
    }
    for (what, value) in cases {
        assert!(!schema.is_valid(&value), "{what} is taken");
    }
}

#[test]
fn reports_of_every_kind_keep_the_schema_of_reports_and_broken_ones_do_not() {
    let schema = schema("report");
    for (kind, report) in fixed::all() {
        let value = serde_json::to_value(&report).unwrap();
        assert_valid(&schema, &value, kind);
        assert_strict(&schema, &value, "/checks/0");
        assert_strict(&schema, &value, "/target");
    }
    let drill = serde_json::to_value(fixed::drill()).unwrap();
    for within in ["/scenarios/0", "/scenarios/0/stages/0", "/scenarios/0/latencyMs/corrected"] {
        assert_strict(&schema, &drill, within);
    }
    let mut odd = drill.clone();
    odd["verdict"] = json!("MAYBE");
    assert!(!schema.is_valid(&odd));
    let mut odd = drill;
    odd["checks"][0]["verdict"] = json!("PASS");
    assert!(!schema.is_valid(&odd));
}

#[test]
fn policies_as_they_ship_keep_their_schemas_and_broken_ones_do_not() {
    fn holds<P: Policy>(name: &str, within: &str) {
        let (schema, value) = (schema(name), serde_json::from_str(P::BUILT_IN).unwrap());
        assert_valid(&schema, &value, name);
        assert_strict(&schema, &value, within);
    }
    holds::<SloBaseline>("slo-baseline", "/scenarios/chat_stream_http/slis/latency");
    holds::<GatePolicy>("release-gate-policy", "/burnRate");
    holds::<CanaryPolicy>("canary-policy", "/slowTail");
    holds::<Owners>("ownership-matrix", "/rules/0");
}

#[test]
fn plans_as_they_ship_keep_the_schema_of_game_days() {
    let schema = schema("game-day");
    let plans: Value =
        serde_json::from_str(include_str!("../../../src/load/gameday/plans.json")).unwrap();
    let plans = plans.as_array().expect("a list of plans");
    assert!(plans.len() > 10, "{}", plans.len());
    for plan in plans {
        assert_valid(&schema, plan, plan["id"].as_str().unwrap());
    }
    assert_strict(&schema, &plans[0], "/hypothesis/0");
    let mut silent = plans[0].clone();
    silent.as_object_mut().unwrap().remove("hypothesis");
    assert!(!schema.is_valid(&silent));
}
