//! Charts as inline SVG: lines over bands and marks, and stacked bars. Each has its title, its
//! description and a table of the same numbers.

use std::fmt::Write as _;

use maud::{Markup, html};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 232.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 26.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 46.0;

/// One line; the dashes tell it apart where colours do not.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// A chart of lines.
#[derive(Default)]
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) about: String,
    pub(super) y_unit: &'static str,
    pub(super) lines: Vec<Line>,
    /// From, to, what is there.
    pub(super) bands: Vec<(f64, f64, String)>,
    /// Where, what is there.
    pub(super) marks: Vec<(f64, String)>,
    pub(super) ticks: Vec<(f64, String)>,
    pub(super) threshold: Option<f64>,
}

/// Where a value is on the picture.
struct Scale {
    x: (f64, f64),
    top: f64,
}

impl Scale {
    fn x(&self, value: f64) -> f64 {
        let (low, high) = self.x;
        let share = if high > low { (value - low) / (high - low) } else { 0.0 };
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - (value / self.top).clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }
}

impl Chart {
    fn scale(&self) -> Scale {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let xs = points().map(|(x, _)| *x).chain(self.bands.iter().flat_map(|it| [it.0, it.1]));
        let xs = xs.chain(self.marks.iter().map(|(x, _)| *x));
        let finite = xs.filter(|x| x.is_finite());
        let (low, high) =
            finite.fold((f64::MAX, f64::MIN), |(low, high), x| (low.min(x), high.max(x)));
        let x = if low <= high { (low, high) } else { (0.0, 1.0) };
        let ys = points().map(|(_, y)| *y).chain(self.threshold).filter(|y| y.is_finite());
        let top = ys.fold(0.0, f64::max) * 1.08;
        Scale { x, top: if top > 0.0 { top } else { 1.0 } }
    }

    /// The picture alone.
    pub(super) fn svg(&self) -> Markup {
        let scale = self.scale();
        let (base, end) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        html! {
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" {
                title { (self.title) }
                desc { (self.about) }
                @for (n, (from, to, word)) in self.bands.iter().enumerate() {
                    @let (from, to) = (scale.x(*from), scale.x(*to));
                    rect class={ "band b" (n % 2) } x=(r(from)) y=(TOP) width=(r(to - from))
                        height=(base - TOP) {}
                    text class="word" x=(r(from + 3.0)) y=(TOP + 11.0) { (word) }
                }
                @for step in 0..=4u8 {
                    @let value = scale.top / 4.0 * f64::from(step);
                    @let y = scale.y(value);
                    line class="grid" x1=(LEFT) x2=(end) y1=(r(y)) y2=(r(y)) {}
                    text class="word end" x=(LEFT - 5.0) y=(r(y + 4.0)) { (on_axis(value)) }
                }
                @for (x, word) in self.ticks.iter().filter(|(x, _)| *x <= scale.x.1) {
                    text class="word mid" x=(r(scale.x(*x))) y=(base + 18.0) { (word) }
                }
                @if let Some(limit) = self.threshold {
                    @let y = r(scale.y(limit));
                    line class="limit" x1=(LEFT) x2=(end) y1=(y) y2=(y) {}
                }
                @for (n, line) in self.lines.iter().enumerate() {
                    path class={ "line c" (n % 4) } d=(path(&scale, &line.points)) {}
                }
                @for (n, (x, word)) in self.marks.iter().enumerate() {
                    @let x = r(scale.x(*x));
                    line class="mark" x1=(x) x2=(x) y1=(TOP) y2=(base) {}
                    // On both sides in turn: two marks may be close to each other.
                    @let is_left = n % 2 == 0 || x.parse().is_ok_and(|x: f64| x > WIDTH * 0.75);
                    @let class = if is_left { "word end" } else { "word" };
                    text class=(class) x=(x) y=(base + 40.0) { (word) }
                }
            }
        }
    }

    /// The picture, the names of its lines, and the table of the same numbers.
    pub(super) fn figure(&self, head: &[&str], rows: &[Vec<String>]) -> Markup {
        html! {
            figure {
                figcaption {
                    b { (self.title) } @if !self.y_unit.is_empty() { ", " (self.y_unit) }
                    " " span { (self.about) }
                }
                (self.svg())
                ul class="key" {
                    @for (n, line) in self.lines.iter().enumerate() {
                        li {
                            svg class="sample" viewBox="0 0 28 8" aria-hidden="true" {
                                path class={ "line c" (n % 4) } d="M0 4H28" {}
                            }
                            (line.name)
                        }
                    }
                }
                details { summary { "Table" } (table(head, rows)) }
            }
        }
    }
}

/// A table that scrolls by itself where it is too wide.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> Markup {
    html! {
        div class="wide" tabindex="0" {
            table {
                thead { tr { @for word in head { th scope="col" { (word) } } } }
                tbody { @for row in rows { tr { @for cell in row { td { (cell) } } } } }
            }
        }
    }
}

/// Colours of parts; further parts have the same ones, hatched.
const FILLS: usize = 6;

/// A row of shares side by side, each with its name and count.
pub(super) fn stack(title: &str, about: &str, bars: &[(String, Vec<(String, u64)>)]) -> Markup {
    let height = 34.0 * bars.len() as f64 + 6.0;
    let mut known: Vec<&String> =
        bars.iter().flat_map(|(_, parts)| parts).map(|part| &part.0).collect();
    known.sort();
    known.dedup();
    let place = |name: &String| known.iter().position(|known| *known == name).unwrap_or(0);
    let svg = html! {
        svg viewBox={ "0 0 " (WIDTH) " " (height) } role="img" {
            title { (title) }
            desc { (about) }
            (hatch())
            @for (row, (name, parts)) in bars.iter().enumerate() {
                @let y = 34.0 * row as f64 + 4.0;
                @let all = parts.iter().map(|part| part.1).sum::<u64>().max(1) as f64;
                @let room = WIDTH - 160.0;
                text class="word" x="2" y=(y + 18.0) { (name) }
                @for (n, (word, count)) in parts.iter().enumerate() {
                    @let before: u64 = parts[..n].iter().map(|part| part.1).sum();
                    @let x = 156.0 + before as f64 / all * room;
                    // However few there were, they are seen.
                    @let width = (*count as f64 / all * room).max(2.0).min(WIDTH - x);
                    (part(place(word), (x, y), (width, 26.0)))
                    @if width > 96.0 && place(word) < FILLS {
                        text class="word on" x=(r(x + 5.0)) y=(y + 18.0) { (word) " ×" (count) }
                    }
                }
            }
        }
    };
    let rows: Vec<_> = bars
        .iter()
        .flat_map(|(name, parts)| {
            parts.iter().map(|(word, count)| vec![name.clone(), word.clone(), count.to_string()])
        })
        .collect();
    html! {
        figure {
            figcaption { b { (title) } " " span { (about) } }
            (svg)
            ul class="key" {
                @for (n, name) in known.iter().enumerate() {
                    li {
                        svg class="swatch" viewBox="0 0 14 14" aria-hidden="true" {
                            (part(n, (0.0, 0.0), (14.0, 14.0)))
                        }
                        (name)
                    }
                }
            }
            details {
                summary { "Table" }
                (table(&["stage", "status or error", "requests"], &rows))
            }
        }
    }
}

fn part(place: usize, (x, y): (f64, f64), (width, height): (f64, f64)) -> Markup {
    html! {
        rect class={ "part f" (place % FILLS) } x=(r(x)) y=(y) width=(r(width)) height=(height) {}
        @if place >= FILLS {
            rect class="hatched" x=(r(x)) y=(y) width=(r(width)) height=(height) {}
        }
    }
}

fn hatch() -> Markup {
    html! {
        defs {
            pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse"
                patternTransform="rotate(45)" {
                rect class="stripe" width="3" height="6" {}
            }
        }
    }
}

/// A small line without axes; marks are deploys.
pub(super) fn spark(title: &str, values: &[f64], marks: &[usize], limit: f64) -> Markup {
    let top = values.iter().copied().fold(limit, f64::max).max(1e-9) * 1.1;
    let x = |n: usize| 4.0 + 112.0 * n as f64 / (values.len().max(2) - 1) as f64;
    let y = |value: f64| 28.0 - 24.0 * (value / top).clamp(0.0, 1.0);
    let mut line = String::new();
    for (n, value) in values.iter().enumerate() {
        let word = if n == 0 { 'M' } else { 'L' };
        let _ = write!(line, "{word}{} {}", r(x(n)), r(y(*value)));
    }
    html! {
        svg class="spark" viewBox="0 0 120 32" role="img" {
            title { (title) }
            desc { "Oldest left; the dashed line is the limit, an upright one a deploy." }
            line class="limit" x1="0" x2="120" y1=(r(y(limit))) y2=(r(y(limit))) {}
            @for mark in marks {
                @let x = r(x(*mark));
                line class="mark" x1=(x) x2=(x) y1="2" y2="30" {}
            }
            path class="line c0" d=(line) {}
            @if let Some(last) = values.last() {
                circle class="dot" cx=(r(x(values.len() - 1))) cy=(r(y(*last))) r="2.5" {}
            }
        }
    }
}

fn path(scale: &Scale, points: &[(f64, f64)]) -> String {
    let mut out = String::new();
    for (x, y) in points.iter().filter(|(x, y)| x.is_finite() && y.is_finite()) {
        let word = if out.is_empty() { 'M' } else { 'L' };
        let _ = write!(out, "{word}{} {}", r(scale.x(*x)), r(scale.y(*y)));
    }
    out
}

/// A coordinate with a tenth of a unit: no eye sees more.
fn r(value: f64) -> String {
    format!("{value:.1}")
}

/// What an axis says: as short as tells something.
fn on_axis(value: f64) -> String {
    match value {
        value if value >= 10.0 || value == 0.0 => format!("{value:.0}"),
        value if value >= 1.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}
