//! The repository's own rules, each a test whose name is the rule. A finding names the file, the
//! line and what to do. The rooms stand in `tidy/rooms.rs`, their walls in `tidy/walls.rs`, lengths
//! in `tidy/lengths.rs`; who alone may do what is in [`ALONE`].
//!
//! A rule that cannot be broken by a slip belongs to the compiler or to clippy, not here.

#[path = "tidy/lengths.rs"]
mod lengths;
#[path = "tidy/rooms.rs"]
mod rooms;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/walls.rs"]
mod walls;

use std::collections::BTreeSet;

use sendcat_state::invariant::Invariant;
use source::{FILES, Source, below, exists, none_of, read, top};

/// What only a few files may do.
struct Alone {
    /// Words of the code, one of which does it; one that ends in `(` is a call.
    words: &'static [&'static str],
    /// Where the rule holds, by the beginning of a path; tests are not meant.
    within: &'static [&'static str],
    /// Which files may, by the beginning of a path.
    may: &'static [&'static str],
    otherwise: &'static str,
}

const EVERYWHERE: &[&str] = &["state/src/", "actors/src/", "src/"];

const ALONE: &[Alone] = &[
    Alone {
        words: &["reqwest"],
        within: &["src/"],
        may: &["src/upstream/call", "src/upstream/error.rs", "src/telemetry/", "src/load/"],
        otherwise: "only upstream/call.rs sends, so no call escapes the breaker",
    },
    Alone {
        words: &["actix"],
        within: &["actors/src/"],
        may: &["actors/src/shell.rs", "actors/src/handle.rs"],
        otherwise: "the shell is the one actor; a concern has commands and a handle",
    },
    Alone {
        words: &["Addr", "Recipient", "WeakAddr"],
        within: EVERYWHERE,
        may: &["actors/src/handle.rs", "actors/src/shell.rs"],
        otherwise: "a bare address passes the depth gate; hold a handle",
    },
    Alone {
        words: &["Arbiter", "ArbiterHandle", "actix_rt"],
        within: EVERYWHERE,
        may: &[
            "actors/src/handle.rs",
            "actors/src/alone.rs",
            "actors/src/supervisor.rs",
            "actors/src/supervisor/",
            "actors/src/tool_worker.rs",
            "actors/src/tree.rs",
            "actors/src/tree/",
            "src/http/",
            "src/cli/",
        ],
        otherwise: "where actors run is the tree's and the supervisor's to say",
    },
    Alone {
        words: &["SystemTime::now", "Instant::now", "Utc::now", "elapsed("],
        within: EVERYWHERE,
        may: &["actors/src/clock.rs", "src/load/clock.rs"],
        otherwise: "only a clock reads the time; take a Clock, or the time itself",
    },
    Alone {
        words: &["SystemTime", "Instant", "RandomState", "std::thread", "std::env", "std::fs"],
        within: &["state/src/"],
        may: &["state/src/store/"],
        otherwise: "a machine decides the same every time; no clock, no lots, no surroundings",
    },
    Alone {
        words: &[
            "HashMap::new",
            "HashSet::new",
            "HashMap::with_capacity",
            "HashSet::with_capacity",
        ],
        within: &["state/src/"],
        // It only asks whether it has seen a key.
        may: &["state/src/rate_shard.rs"],
        otherwise: "std's hasher draws lots; take a BTreeMap, a BTreeSet or a fixed hasher",
    },
    Alone {
        words: &["store"],
        within: &["state/src/"],
        may: &["state/src/store/", "state/src/lib.rs"],
        otherwise: "a machine does not know where it is kept",
    },
    Alone {
        words: &["sendcat_state::store"],
        within: &["src/"],
        may: &["src/cli/", "src/config/"],
        otherwise: "the journal owns the store; only what starts it may choose one",
    },
    Alone {
        words: &["env::var", "env::vars", "env::var_os", "env::vars_os"],
        within: EVERYWHERE,
        may: &["src/config/source.rs"],
        otherwise: "make it a knob in config/knobs.rs and pass it down by value",
    },
    Alone {
        words: &["thread::sleep"],
        within: EVERYWHERE,
        // The store waits on the journal's thread, which is its own.
        may: &["actors/src/faults.rs", "state/src/store/sled.rs"],
        otherwise: "it stops every actor of the thread",
    },
    Alone {
        words: &[
            "HttpResponse::BadRequest",
            "HttpResponse::Unauthorized",
            "HttpResponse::Forbidden",
            "HttpResponse::NotFound",
            "HttpResponse::MethodNotAllowed",
            "HttpResponse::RequestTimeout",
            "HttpResponse::Conflict",
            "HttpResponse::PayloadTooLarge",
            "HttpResponse::UnsupportedMediaType",
            "HttpResponse::UnprocessableEntity",
            "HttpResponse::TooManyRequests",
            "HttpResponse::InternalServerError",
            "HttpResponse::BadGateway",
            "HttpResponse::ServiceUnavailable",
            "HttpResponse::GatewayTimeout",
            "HttpResponse::build",
            "HttpResponse::new",
            "HttpResponse::from_error",
            "HttpResponseBuilder",
        ],
        within: &["src/http/"],
        // Of readiness a 503 is the answer, not a refusal.
        may: &["src/http/respond.rs", "src/http/health.rs"],
        otherwise: "an answer that refuses is made in respond.rs, with its code and headers",
    },
];

/// What rules wait for: it is written, but not yet here. Once it is, its row goes.
const AWAITED: &[(&str, &str)] = &[];

/// Tests and benches that may sleep, and why moving time by hand is not enough there.
const MAY_SLEEP: &[(&str, &str)] = &[
    ("actors/tests/it/circuits.rs", "virtual time: a call that takes its time"),
    ("actors/tests/it/limits.rs", "virtual time: a window that ends"),
    ("actors/tests/it/lines.rs", "virtual time: a wait in line"),
    ("actors/tests/it/support.rs", "virtual time: a sleep is how it is moved"),
    ("actors/tests/it/workers.rs", "virtual time: a job that takes its time"),
    ("tests/sim/callers.rs", "virtual time: a caller that takes its time"),
    ("tests/it/support/webhook.rs", "between two looks at a process that is at work"),
];

#[test]
fn what_only_a_few_files_may_do_is_done_nowhere_else() {
    let mut findings = Vec::new();
    for rule in ALONE {
        let bound = |path: &str| {
            let starts = |list: &[&str]| list.iter().any(|start| path.starts_with(start));
            starts(rule.within) && !starts(rule.may)
        };
        for file in FILES.iter().filter(|file| bound(&file.path)) {
            for word in rule.words {
                let lines = uses(file, word).filter(|&line| !file.is_test(line));
                let say = format!("{word}: {}", rule.otherwise);
                findings.extend(lines.map(|line| file.at(line, &say)));
            }
        }
    }
    none_of(findings);
}

/// A row for a file that is gone, or not yet there, would guard nothing.
#[test]
fn what_is_here_is_no_longer_awaited_and_what_may_do_more_is_there() {
    let here = AWAITED.iter().filter(|(path, _)| exists(path));
    let mut findings: Vec<_> = here
        .map(|(path, what)| format!("{path} is here ({what}): take its row out of AWAITED"))
        .collect();
    let excepted = MAY_SLEEP.iter().map(|(path, _)| *path);
    let gone = excepted.filter(|path| !exists(path));
    findings.extend(gone.map(|path| format!("{path} is gone: take its row out of MAY_SLEEP")));
    none_of(findings);
}

#[test]
fn every_file_opens_by_saying_what_it_is() {
    let silent = FILES.iter().filter(|file| !file.text.starts_with("//! "));
    none_of(silent.map(|file| file.at(1, "begin with //! what it is")).collect());
}

#[test]
fn every_invariant_is_proved_by_a_test_of_its_name() {
    if awaited("state/tests/it/main.rs") {
        return;
    }
    let proved = |id: &str| {
        let start = id.replace('-', "").to_lowercase() + "_";
        FILES.iter().any(|file| file.names(&start).any(|line| file.is_test(line)))
    };
    let unproved = Invariant::ALL.iter().filter(|each| !proved(each.id()));
    let say = |each: &Invariant| {
        let name = each.id().replace('-', "").to_lowercase();
        format!("state/src/invariant.rs: {} has no test; write fn {name}_…", each.id())
    };
    none_of(unproved.map(say).collect());
}

#[test]
fn every_invariant_has_a_row_in_the_catalogue() {
    if awaited("state/README.md") {
        return;
    }
    let catalogue = read("state/README.md");
    let rows: BTreeSet<_> = catalogue
        .lines()
        .filter_map(|line| line.strip_prefix('|')?.split('|').next())
        .map(|cell| cell.trim_matches([' ', '`', '*']))
        .collect();
    let missing = Invariant::ALL.iter().filter(|each| !rows.contains(each.id()));
    let say = |each: &Invariant| {
        format!("state/README.md: no row | {} | {} |", each.id(), each.sentence())
    };
    none_of(missing.map(say).collect());
}

#[test]
fn the_readme_shows_the_knobs_as_they_are() {
    let readme = read("README.md");
    let start = readme.split_once("<!-- knobs -->\n").expect("README.md has <!-- knobs -->").1;
    let shown = start.split_once("<!-- /knobs -->").expect("README.md has <!-- /knobs -->").0;
    let made = sendcat::config::markdown();
    let rows = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (in_readme, in_code) = (rows(shown), rows(&made));
    let lacking = in_code.difference(&in_readme).map(|row| format!("README.md lacks {row}"));
    let wrong = in_readme.difference(&in_code).map(|row| format!("README.md has {row}"));
    none_of(lacking.chain(wrong).collect());
    assert_eq!(shown, made, "the rows of README.md are in another order");
}

#[test]
fn every_link_in_a_readme_leads_to_a_file() {
    let mut findings = Vec::new();
    let readmes = ["README.md", "state/README.md", "actors/README.md", "benches/README.md"];
    for readme in readmes.into_iter().filter(|readme| !awaited(readme)) {
        let folder = readme.trim_end_matches("README.md");
        for (line, text) in (1..).zip(read(readme).lines()) {
            let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            let files = links.filter(|link| !link.starts_with('#') && !link.contains("://"));
            let paths = files.map(|link| format!("{folder}{}", link.split('#').next().unwrap()));
            let gone = paths.filter(|path| !exists(path) && !awaited(path));
            findings.extend(gone.map(|path| format!("{readme}:{line}: there is no {path}")));
        }
    }
    none_of(findings);
}

#[test]
fn no_test_sleeps() {
    let mut findings = Vec::new();
    let excepted = |path: &str| MAY_SLEEP.iter().any(|(file, _)| *file == path);
    for file in FILES.iter().filter(|file| !excepted(&file.path)) {
        for word in ["sleep(", "sleep_until(", "sleep_ms("] {
            let lines = uses(file, word).filter(|&line| file.is_test(line));
            findings.extend(lines.map(|line| {
                file.at(line, "a test that sleeps is slow or wrong; wait for the thing itself")
            }));
        }
    }
    none_of(findings);
}

#[test]
fn nothing_is_left_for_later_in_a_comment() {
    let marks = ["TO\u{44}O", "FIX\u{4d}E", "X\u{58}X"];
    let ends = [".rs", ".toml", ".md", ".js", ".mjs", ".css", ".html"];
    let folders = ["state", "actors", "src", "tests", "benches"];
    let inside = folders.iter().flat_map(|folder| below(folder));
    let outside = ["Cargo.toml", "README.md", ".ci/run", "tests/run"].map(str::to_owned);
    let mut findings = Vec::new();
    for path in inside.filter(|path| ends.iter().any(|end| path.ends_with(end))).chain(outside) {
        for (line, text) in (1..).zip(read(&path).lines()) {
            if marks.iter().any(|mark| text.contains(mark)) {
                findings.push(format!("{path}:{line}: do it, or write an issue"));
            }
        }
    }
    none_of(findings);
}

#[test]
fn no_code_is_kept_in_comments() {
    let mut findings = Vec::new();
    for file in FILES.iter() {
        for (line, text) in (1..).zip(file.text.lines()) {
            let Some(comment) = text.trim_start().strip_prefix("// ") else { continue };
            let code = comment.ends_with([';', '{', '}']) || comment.starts_with("#[");
            if code {
                findings.push(file.at(line, "this comment is code; delete it, git keeps it"));
            }
        }
    }
    none_of(findings);
}

/// nextest runs none of them; an example that must compile is a file in `examples/`.
#[test]
fn no_example_hides_in_a_doc_comment() {
    let mut findings = Vec::new();
    for file in FILES.iter() {
        let mut open = false;
        for (line, text) in (1..).zip(file.text.lines()) {
            let Some((comment, fence)) = text.split_once("```") else { continue };
            if !matches!(comment.trim(), "//!" | "///") {
                continue;
            }
            open = !open;
            if open && fence != "text" {
                findings.push(file.at(line, "make it ```text, or a file in examples/"));
            }
        }
    }
    none_of(findings);
}

#[test]
fn the_top_shows_seven_names_and_the_lock() {
    let ours: BTreeSet<_> =
        ["Cargo.lock", "Cargo.toml", "README.md", "actors", "benches", "src", "state", "tests"]
            .map(str::to_owned)
            .into();
    let made: BTreeSet<_> =
        read(".gitignore").lines().map(|it| it.trim_start_matches('/').to_owned()).collect();
    let entries = std::fs::read_dir(top()).expect("the top can be listed");
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let visible = names.filter(|name| !name.starts_with('.') && !made.contains(name));
    assert_eq!(visible.collect::<BTreeSet<_>>(), ours, "what tools need is a dotfile");
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let manifest = read("Cargo.toml");
    let mut findings = Vec::new();
    let mut inside = false;
    let mut before = "";
    for (line, text) in (1..).zip(manifest.lines()) {
        let entry = inside && text.contains(" = ") && !text.starts_with(['#', ' ', ']']);
        if entry && !before.starts_with('#') && !text.contains("path = ") {
            findings.push(format!("Cargo.toml:{line}: a line above it: why this package"));
        }
        if text.starts_with('[') {
            inside = text == "[workspace.dependencies]";
        }
        before = text;
    }
    none_of(findings);
}

/// The lines on which a word of the rules stands in the code.
fn uses(file: &Source, word: &'static str) -> impl Iterator<Item = usize> {
    let (name, call) = word.strip_suffix('(').map_or((word, false), |name| (name, true));
    file.words(name).filter(move |(_, rest)| !call || rest.starts_with('(')).map(|(line, _)| line)
}

/// Whether a rule has nothing to look at yet, as its row says.
fn awaited(path: &str) -> bool {
    !exists(path) && AWAITED.iter().any(|(awaited, _)| *awaited == path)
}
