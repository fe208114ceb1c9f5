//! Rules and panels name only what is measured, and tools can read them.

use std::collections::{BTreeSet, HashSet};

use promql_parser::parser;
use promql_parser::parser::Expr;

use super::*;

/// Every metric that an expression names.
fn named(expr: &Expr, names: &mut BTreeSet<String>) {
    match expr {
        Expr::Aggregate(inner) => {
            named(&inner.expr, names);
        }
        Expr::Unary(inner) => named(&inner.expr, names),
        Expr::Binary(both) => {
            named(&both.lhs, names);
            named(&both.rhs, names);
        }
        Expr::Paren(inner) => named(&inner.expr, names),
        Expr::Subquery(inner) => named(&inner.expr, names),
        Expr::VectorSelector(vector) => names.extend(vector.name.clone()),
        Expr::MatrixSelector(matrix) => names.extend(matrix.vs.name.clone()),
        Expr::Call(call) => call.args.args.iter().for_each(|argument| named(argument, names)),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => {}
        other => panic!("{other:?} is not looked through"),
    }
}

/// Every name that /metrics shows.
fn shown() -> HashSet<String> {
    let names = METRICS.iter().flat_map(|metric| {
        let name = metric.exposed();
        match metric.kind {
            Kind::Counter | Kind::Gauge => vec![name],
            Kind::Histogram(_) => {
                ["_bucket", "_count", "_sum"].map(|end| format!("{name}{end}")).to_vec()
            }
        }
    });
    names.collect()
}

fn assert_names_only_what_is_shown(of: &str, expr: &str) {
    let parsed = parser::parse(&expr.replace("$__rate_interval", "5m"));
    let parsed = parsed.unwrap_or_else(|error| panic!("{of}: {error}: {expr}"));
    let mut names = BTreeSet::new();
    named(&parsed, &mut names);
    assert!(!names.is_empty(), "{of}: {expr}");
    let shown = shown();
    let unknown: Vec<_> = names.iter().filter(|name| !shown.contains(*name)).collect();
    assert!(unknown.is_empty(), "{of}: {unknown:?}");
}

#[test]
fn every_alert_and_every_panel_names_only_metrics_that_are_shown() {
    for alert in ALERTS {
        assert_names_only_what_is_shown(alert.name, alert.expr);
    }
    for metric in METRICS {
        assert_names_only_what_is_shown(metric.name, &expression(metric));
    }
}

#[test]
fn the_rules_are_yaml_with_a_row_of_the_runbook_each() {
    let yaml: Value = serde_norway::from_str(&prometheus_rules()).unwrap();
    let rules = yaml["groups"][0]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), ALERTS.len());
    let mut titles = HashSet::new();
    for (rule, alert) in rules.iter().zip(ALERTS) {
        assert!(titles.insert(rule["alert"].to_string()), "{}", alert.name);
        assert_eq!(rule["expr"], alert.expr);
        assert_eq!(rule["annotations"]["runbook_url"], format!("/ops/runbook#{}", alert.playbook));
        assert!(["page", "ticket"].contains(&alert.severity));
    }
}

#[test]
fn a_title_is_the_name_in_the_words_of_prometheus() {
    let title = ALERTS.iter().find(|alert| alert.name == "circuit-open").unwrap().title();
    assert_eq!(title, "SendcatCircuitOpen");
}

#[test]
fn the_dashboard_has_a_panel_for_each_metric_and_no_two_at_one_place() {
    let dashboard = grafana_dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    assert_eq!(panels.len(), METRICS.len() + 1);
    let places: HashSet<_> = panels.iter().map(|panel| panel["gridPos"].to_string()).collect();
    assert_eq!(places.len(), panels.len());
}
