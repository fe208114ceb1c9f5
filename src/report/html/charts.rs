//! The charts of one report: what was slow, when, how it ended, and how late it was sent.

use maud::{Markup, html};

use crate::report::details::{GameDay, Look};
use crate::report::number;
use crate::report::svg::{Chart, Line, stack};
use crate::slo::report::{Latencies, Scenario};

/// Quantiles of a spectrum, as many as the samples of a class may have.
const QUANTILES: [f64; 12] =
    [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999, 0.9995, 0.9999];

/// Everything of one scenario.
pub(super) fn scenario(scenario: &Scenario) -> Markup {
    html! {
        section {
            h2 { code { (scenario.id) } " " small { (scenario.model) " model" } }
            (spectrum(
                &format!("Latency of {}", scenario.id),
                "Latency by percentile; corrected is from when a request was due.",
                &[("corrected", &scenario.latency_ms.corrected),
                    ("service", &scenario.latency_ms.service)],
            ))
            (series(scenario))
            (statuses(scenario))
            (lag(scenario))
        }
    }
}

/// The spectra of both arms of each scenario of a canary.
pub(super) fn overlaid(scenarios: &[Scenario]) -> Markup {
    let arm = |scenario: &str, arm: &str| {
        let id = format!("{scenario}@{arm}");
        scenarios.iter().find(|each| each.id == id).map(|each| &each.latency_ms.corrected)
    };
    let names = scenarios.iter().filter_map(|each| each.id.strip_suffix("@control"));
    html! {
        @for name in names {
            @let both = arm(name, "control").zip(arm(name, "candidate"));
            @if let Some((control, candidate)) = both {
                section {
                    h2 { code { (name) } " both arms" }
                    (spectrum(
                        &format!("Both arms of {name}"),
                        "Corrected latency by percentile, control and candidate.",
                        &[("control", control), ("candidate", candidate)],
                    ))
                }
            }
        }
    }
}

/// Latency on an axis of log 1/(1−q), on which each nine is as wide as the one before.
fn spectrum(title: &str, about: &str, both: &[(&str, &Latencies)]) -> Markup {
    let at = |q: f64| (1.0 / (1.0 - q)).log10();
    let mut chart = Chart {
        title: title.to_owned(),
        about: about.to_owned(),
        y_unit: "ms",
        ticks: [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999]
            .map(|q| (at(q), format!("{} %", number_of(q))))
            .to_vec(),
        ..Chart::default()
    };
    let mut rows: Vec<Vec<String>> =
        QUANTILES.iter().map(|q| vec![format!("{} %", number_of(*q))]).collect();
    for (name, latencies) in both {
        let Ok(histogram) = latencies.histogram() else { continue };
        // Beyond one sample in the tail a percentile is only the slowest again.
        let most = 1.0 - 1.0 / (histogram.count().max(1) as f64);
        let shown = QUANTILES.iter().filter(|q| histogram.count() > 0 && **q <= most);
        let points = shown.map(|q| (at(*q), histogram.quantile_ms(*q))).collect();
        chart.lines.push(Line { name: (*name).to_owned(), points });
        for (row, q) in rows.iter_mut().zip(QUANTILES) {
            let known = histogram.count() > 0 && q <= most;
            row.push(if known { number(histogram.quantile_ms(q)) } else { "–".to_owned() });
        }
    }
    let head: Vec<_> = ["percentile"].into_iter().chain(both.iter().map(|it| it.0)).collect();
    chart.figure(&head, &rows)
}

fn number_of(q: f64) -> String {
    let percent = format!("{:.2}", q * 100.0);
    percent.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Second by second, over bands of the stages as they were planned.
fn series(scenario: &Scenario) -> Markup {
    let of = |name: &str, value: fn(&crate::slo::report::Second) -> f64| Line {
        name: name.to_owned(),
        points: scenario.series.iter().map(|second| (second.t as f64, value(second))).collect(),
    };
    let mut from = 0.0;
    let mut bands = Vec::new();
    for stage in scenario.stages.iter().filter(|stage| stage.rate > 0.0) {
        let to = from + stage.planned as f64 / stage.rate;
        bands.push((from, to, format!("{} rps", number(stage.rate))));
        from = to + stage.pause_after_ms as f64 / 1000.0;
    }
    let last = scenario.series.last().map_or(0, |second| second.t);
    let ticks = (0..=4).map(|n| last * n / 4).map(|t| (t as f64, format!("{t} s"))).collect();
    let chart = Chart {
        title: format!("{} over time", scenario.id),
        about: "Corrected latency of each second, over the stages as planned.".to_owned(),
        y_unit: "ms",
        lines: vec![of("p50", |it| it.p50), of("p95", |it| it.p95), of("p99", |it| it.p99)],
        bands,
        ticks,
        ..Chart::default()
    };
    let rows: Vec<_> = scenario
        .series
        .iter()
        .map(|it| {
            let ms = [it.p50, it.p95, it.p99].map(number);
            let counts = [it.t, it.started, it.done, it.bad, it.inflight].map(|n| n.to_string());
            counts.into_iter().chain(ms).collect()
        })
        .collect();
    let head = ["second", "started", "done", "bad", "in flight", "p50", "p95", "p99"];
    chart.figure(&head, &rows)
}

fn statuses(scenario: &Scenario) -> Markup {
    let bars: Vec<_> = scenario
        .stages
        .iter()
        .enumerate()
        .map(|(n, stage)| {
            let mut parts: Vec<_> =
                stage.statuses.iter().map(|(code, count)| (code.to_string(), *count)).collect();
            let errors: u64 = stage.errors.values().sum();
            parts.extend([("errors".to_owned(), errors), ("dropped".to_owned(), stage.dropped)]);
            parts.retain(|part| part.1 > 0);
            (format!("stage {} @{}", n + 1, number(stage.rate)), parts)
        })
        .collect();
    stack(&format!("Answers of {}", scenario.id), "By status, for each stage.", &bars)
}

/// How late the generator sent: a strip, for it explains the rest.
fn lag(scenario: &Scenario) -> Markup {
    let lag = scenario.lag_ms;
    let parts = [("p50", lag.p50), ("p99", lag.p99), ("max", lag.max)];
    let rows: Vec<_> =
        parts.iter().map(|(name, ms)| vec![(*name).to_owned(), format!("{ms:.2}")]).collect();
    let chart = Chart {
        title: format!("Lag of {}", scenario.id),
        about: "How late requests were sent; taken from no latency.".to_owned(),
        y_unit: "ms",
        lines: vec![Line {
            name: "lag".to_owned(),
            points: vec![(0.0, lag.p50), (1.0, lag.p99), (2.0, lag.max)],
        }],
        ticks: parts.iter().enumerate().map(|(n, part)| (n as f64, part.0.to_owned())).collect(),
        ..Chart::default()
    };
    chart.figure(&["percentile", "ms"], &rows)
}

/// The faults of a game day: the band of each, and when it was seen and healed.
pub(super) fn timeline(days: &[GameDay]) -> Markup {
    html! {
        section {
            h2 { "Faults" }
            @if days.is_empty() { p class="tile nodata" { "? No fault was injected." } }
            @for day in days {
                (requests(day))
                @let gone = match day.revert_verified {
                    Some(true) => "seen to be gone",
                    Some(false) => "not seen to be gone",
                    None => "never in force",
                };
                p class="soft" {
                    "bit " (day.witness) " times, " (day.requests_hurt) " requests hurt, " (gone)
                    ", runbook " (day.runbook.as_deref().unwrap_or("–"))
                }
            }
        }
    }
}

/// Requests of each second of one game day, over the band of its fault.
fn requests(day: &GameDay) -> Markup {
    let of = |name: &str, value: fn(&Look) -> u64| Line {
        name: name.to_owned(),
        points: day.timeline.iter().map(|look| (look.t_ms / 1000.0, value(look) as f64)).collect(),
    };
    let in_force = day.in_force_s();
    let marks = [("detected", day.detected_s()), ("recovered", day.recovered_s())];
    let last = day.timeline.last().map_or(0.0, |look| look.t_ms / 1000.0);
    let chart = Chart {
        title: format!("{}: {}", day.plan.fault, day.score),
        about: "Requests by second; the band is the fault in force.".to_owned(),
        y_unit: "requests/s",
        lines: vec![of("ended", Look::total), of("hurt", Look::hurt)],
        bands: in_force.map(|(from, to)| (from, to, day.plan.fault.clone())).into_iter().collect(),
        marks: marks.iter().filter_map(|(word, at)| Some(((*at)?, (*word).to_owned()))).collect(),
        ticks: (0..=4)
            .map(|n| last * f64::from(n) / 4.0)
            .map(|t| (t, format!("{t:.0} s")))
            .collect(),
        ..Chart::default()
    };
    let seconds = |at: Option<f64>| at.map_or("never".to_owned(), |at| format!("{at:.1}"));
    let moments = [
        ("injected", in_force.map(|it| it.0)),
        ("detected", day.detected_s()),
        ("reverted", in_force.map(|it| it.1)),
        ("recovered", day.recovered_s()),
    ];
    let moments = moments.map(|(word, at)| vec![seconds(at), word.to_owned(), String::new()]);
    let looks = day.timeline.iter().map(|look| {
        let counts = format!("{} ended, {} hurt", look.total(), look.hurt());
        vec![seconds(Some(look.t_ms / 1000.0)), look.phase.clone(), counts]
    });
    let rows: Vec<_> = moments.into_iter().chain(looks).collect();
    chart.figure(&["second", "what", "requests"], &rows)
}
