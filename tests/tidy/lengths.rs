//! Lengths, as a ratchet: what is too long stands in a table with the length it may have. The
//! table may only shrink, in rows and in numbers.

use crate::source::{FILES, Source, end_of_item, line_at, none_of};

const FILE_LINES: usize = 400;
const FUNCTION_LINES: usize = 60;
const COLUMNS: usize = 100;

/// Files that are longer than they should be, and how long they may be.
const LONG_FILES: &[(&str, usize)] =
    &[("actors/src/shell.rs", 545), ("tests/it/webhook_refusals.rs", 402)];

/// Functions that are longer than they should be: file, name, and how long they may be.
const LONG_FUNCTIONS: &[(&str, &str, usize)] = &[("actors/src/tree/build.rs", "all", 65)];

/// Files with lines that are wider than they should be, and how many.
const WIDE_LINES: &[(&str, usize)] = &[("state/src/invariant.rs", 1)];

#[test]
fn no_file_is_too_long_and_no_row_of_the_table_is_idle() {
    let mut findings = Vec::new();
    for file in FILES.iter() {
        let lines = file.text.lines().count();
        let row = LONG_FILES.iter().find(|(path, _)| *path == file.path);
        let allowed = row.map_or(FILE_LINES, |(_, lines)| *lines);
        if lines > allowed {
            let say = format!("{lines} lines, {allowed} are allowed; split it by what it does");
            findings.push(file.at(lines, &say));
        }
    }
    for (path, _) in LONG_FILES {
        let file = FILES.iter().find(|file| file.path == *path);
        if file.is_none_or(|file| file.text.lines().count() <= FILE_LINES) {
            findings.push(format!("{path}: no longer too long; take its row out of LONG_FILES"));
        }
    }
    none_of(findings);
}

#[test]
fn no_function_is_too_long_and_no_row_of_the_table_is_idle() {
    let mut findings = Vec::new();
    let mut needed = Vec::new();
    for file in FILES.iter() {
        for (line, name, lines) in functions(file).filter(|(_, _, lines)| *lines > FUNCTION_LINES) {
            let same = |row: &&(&str, &str, usize)| row.0 == file.path && row.1 == name;
            let row = LONG_FUNCTIONS.iter().find(same);
            let allowed = row.map_or(FUNCTION_LINES, |(_, _, lines)| *lines);
            needed.extend(row);
            if lines > allowed {
                let say = format!("fn {name} has {lines} lines, {allowed} are allowed; split it");
                findings.push(file.at(line, &say));
            }
        }
    }
    let idle = LONG_FUNCTIONS.iter().filter(|row| !needed.contains(row));
    findings.extend(idle.map(|(path, name, _)| {
        format!("{path}: fn {name} is no longer too long; take its row out of LONG_FUNCTIONS")
    }));
    none_of(findings);
}

#[test]
fn no_line_is_wider_than_a_hundred_columns_and_no_row_of_the_table_is_idle() {
    let mut findings = Vec::new();
    for file in FILES.iter() {
        let numbered = (1..).zip(file.text.lines());
        // A link or a sample cannot be broken; prose and code can.
        let wide: Vec<_> = numbered
            .filter(|(_, text)| text.chars().count() > COLUMNS && text.trim().contains(' '))
            .collect();
        let row = WIDE_LINES.iter().find(|(path, _)| *path == file.path);
        let allowed = row.map_or(0, |(_, lines)| *lines);
        if wide.len() > allowed {
            let say = |(line, _): &(usize, &str)| file.at(*line, "break it at 100 columns");
            findings.extend(wide.iter().map(say));
        } else if wide.len() < allowed {
            let say = format!("{} wide lines are left; say so in WIDE_LINES", wide.len());
            findings.push(file.at(1, &say));
        }
    }
    none_of(findings);
}

/// Every function with a body: its line, its name, its lines.
fn functions(file: &Source) -> impl Iterator<Item = (usize, &str, usize)> {
    file.words("fn").filter_map(|(line, rest)| {
        let start = rest.as_ptr() as usize - file.code.as_ptr() as usize;
        let signature = rest.strip_prefix(' ')?;
        let name = signature.split(['(', '<']).next()?;
        let end = end_of_item(&file.code, start)?;
        let body = file.code[..=end].ends_with('}');
        body.then(|| (line, name, line_at(&file.code, end) - line + 1))
    })
}

#[test]
fn a_function_is_measured_from_its_name_to_its_last_brace() {
    let text = "trait A { fn b(&self); }\n\nfn c(d: fn(u8)) -> [u8; 2] {\n    \"}\";\n    { }\n}\n";
    let file = Source::of("src/x.rs", text);
    assert_eq!(functions(&file).collect::<Vec<_>>(), [(3, "c", 4)]);
}
