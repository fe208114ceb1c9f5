//! Every rendering of one report of each kind, whole, against the file beside this test.
//! `INSTA_UPDATE=always` writes the files anew; what has changed is then read in the diff.

use sendcat::report::html::page;
use sendcat::report::human::{self, Colour};
use sendcat::report::{junit, markdown, prometheus};
use sendcat::slo::report::Report;

use super::fixed;

fn rendered(report: &Report) -> [(&'static str, String); 5] {
    [
        ("human", human::text(report, &report.artifacts, Colour::Off)),
        ("md", markdown::text(report)),
        ("junit", junit::text(report)),
        ("prom", prometheus::text(report)),
        ("html", page(report)),
    ]
}

#[test]
fn every_rendering_of_every_kind_is_as_it_was_agreed() {
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        for (kind, report) in fixed::all() {
            for (form, text) in rendered(&report) {
                insta::assert_snapshot!(format!("{kind}.{form}"), text);
            }
        }
    });
}

#[test]
fn the_same_report_always_renders_the_same() {
    for (kind, report) in fixed::all() {
        assert_eq!(rendered(&report), rendered(&report), "{kind}");
    }
}

/// The pages once looked for members that no tool writes.
#[test]
fn pages_show_what_canaries_and_game_days_really_write() {
    let text = page(&fixed::canary());
    assert!(!text.contains("Nothing was compared"));
    for word in ["<td>slowTail</td>", "pp</td>", "Both arms of whatsapp_webhook", "Rollback"] {
        assert!(text.contains(word), "{word}");
    }
    let text = page(&fixed::game_day());
    assert!(!text.contains("No fault was injected"));
    for word in [
        "provider.reset_peer: HELD",
        "class=\"band b0\"",
        ">detected</text>",
        ">recovered</text>",
        "<td>injected</td>",
        "RUNBOOK.md#circuit-open",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn a_pause_between_stages_is_room_between_their_bands() {
    let text = page(&fixed::drill());
    let chart = text.split("<title>whatsapp_webhook over time").nth(1).unwrap();
    let chart = chart.split("</svg>").next().unwrap();
    let edges: Vec<f64> = chart
        .split("class=\"band")
        .skip(1)
        .flat_map(|band| {
            let of = |name: &str| {
                let value = band.split(&format!("{name}=\"")).nth(1).unwrap();
                value.split('"').next().unwrap().parse::<f64>().unwrap()
            };
            [of(" x"), of(" x") + of(" width")]
        })
        .collect();
    // 6 s, 2 s of nothing, 6 s: the gap is a third of a band.
    let [from, to, next, end] = edges[..] else { panic!("two bands: {edges:?}") };
    let (gap, first, second) = (next - to, to - from, end - next);
    assert!((gap / first - 1.0 / 3.0).abs() < 0.02, "{edges:?}");
    assert!((first - second).abs() < 1.0, "{edges:?}");
}

#[test]
fn ten_ways_to_end_have_ten_marks_that_can_be_told_apart() {
    let text = page(&fixed::drill());
    let chart = text.split("<b>Answers of chat_stream_http").nth(1).unwrap();
    let key = chart.split("class=\"key\"").nth(1).unwrap().split("</ul>").next().unwrap();
    let marks: Vec<_> = key
        .split("<li>")
        .skip(1)
        .map(|item| {
            let fill = item.split("part f").nth(1).unwrap().chars().next().unwrap();
            (fill, item.contains("hatched"))
        })
        .collect();
    let distinct: std::collections::BTreeSet<_> = marks.iter().collect();
    assert_eq!((marks.len(), distinct.len()), (9, 9), "{marks:?}");
}
