//! The walls between the rooms, kept from one table ([`ROOMS`]): no file names a room, a crate of
//! ours or a package that its row does not have. A test may use any package, but knows no more
//! rooms than what it tests.

use crate::rooms::{ANY, ROOMS, Room};
use crate::source::{FILES, Source, below, end_of_item, exists, is_of_a_name, none_of, read};

/// Our crates, as code names them.
const OUR_CRATES: [&str; 3] = ["sendcat", "sendcat_state", "sendcat_actors"];

#[test]
fn every_source_file_stands_in_a_room() {
    let homeless = served().filter(|file| room_of(&file.path).is_none());
    none_of(homeless.map(|file| file.at(1, "no room; give its folder a row in ROOMS")).collect());
}

#[test]
fn no_room_knows_a_room_it_may_not_know() {
    let mut findings = Vec::new();
    for (file, room) in served().filter_map(|file| Some((file, room_of(&file.path)?))) {
        let known = paths_after(file, "crate").into_iter();
        let strangers = known.filter(|(_, name)| !permits(room.rooms, name));
        findings.extend(strangers.map(|(line, name)| {
            file.at(line, &format!("{} may not know crate::{name}", room.folder))
        }));
        for crate_name in OUR_CRATES {
            let rows = room.ours.iter().filter(|(name, _)| *name == crate_name);
            let open: Vec<_> = rows.flat_map(|(_, modules)| modules.iter().copied()).collect();
            let known = paths_after(file, crate_name).into_iter();
            let strangers = known.filter(|(_, name)| !permits(&open, name));
            findings.extend(strangers.map(|(line, name)| {
                file.at(line, &format!("{} may not know {crate_name}::{name}", room.folder))
            }));
        }
    }
    none_of(findings);
}

/// Otherwise the table would not see it.
#[test]
fn a_path_that_leaves_its_room_begins_with_crate() {
    let mut findings = Vec::new();
    for file in served() {
        let depth = file
            .path
            .trim_end_matches("/mod.rs")
            .split("src/")
            .nth(1)
            .map_or(0, |inner| inner.split('/').count());
        for (line, rest) in file.words("super") {
            let supers = 1 + rest.split("::").skip(1).take_while(|&part| part == "super").count();
            if supers >= depth.max(2) && !file.is_test(line) {
                findings.push(file.at(line, "super:: leaves the room; write crate::"));
            }
        }
    }
    none_of(findings);
}

#[test]
fn no_room_uses_a_package_it_may_not_use() {
    let packages = packages_of("Cargo.toml", "[workspace.dependencies]");
    assert!(packages.len() > 20, "the root manifest was not understood: {packages:?}");
    let mut findings = Vec::new();
    for (file, room) in served().filter_map(|file| Some((file, room_of(&file.path)?))) {
        for package in packages.iter().filter(|package| !permits(room.packages, package)) {
            if OUR_CRATES.contains(&package.as_str()) || is_module_here(file, package) {
                continue;
            }
            let named = file.words(package).filter(|(line, _)| !file.is_test(*line));
            findings.extend(named.filter(|(_, rest)| is_path(file, rest)).map(|(line, _)| {
                file.at(line, &format!("{} may not use package {package}", room.folder))
            }));
        }
    }
    none_of(findings);
}

/// A wall that cargo keeps as well cannot be forgotten.
#[test]
fn the_manifests_of_state_and_actors_have_only_what_their_rooms_may_use() {
    let mut findings = Vec::new();
    for (manifest, crate_folder) in
        [("state/Cargo.toml", "state/src/"), ("actors/Cargo.toml", "actors/src/")]
    {
        let rooms: Vec<_> =
            ROOMS.iter().filter(|room| room.folder.starts_with(crate_folder)).collect();
        for package in packages_of(manifest, "[dependencies]") {
            let ours = |room: &&Room| room.ours.iter().any(|(name, _)| *name == package);
            if !rooms.iter().any(|room| ours(room) || permits(room.packages, &package)) {
                findings.push(format!("{manifest}: no room of it may use {package}"));
            }
        }
    }
    none_of(findings);
}

#[test]
fn every_room_of_the_table_is_on_the_map_in_the_readme() {
    let readme = read("README.md");
    let folders = ROOMS.iter().filter(|room| exists(room.folder) && room.folder.ends_with('/'));
    let missing = folders.filter(|room| !readme.contains(&format!("`{}`", room.folder)));
    let say = |room: &Room| format!("README.md: the map has no row `{}`", room.folder);
    none_of(missing.map(say).collect());
    assert!(!below("src/contract").is_empty(), "the rooms have moved: bring ROOMS up to date");
}

fn served() -> impl Iterator<Item = &'static Source> {
    FILES.iter().filter(|file| {
        ["state/src/", "actors/src/", "src/"].iter().any(|top| file.path.starts_with(top))
    })
}

fn room_of(path: &str) -> Option<&'static Room> {
    let holding = ROOMS.iter().filter(|room| path.starts_with(room.folder));
    holding.max_by_key(|room| room.folder.len())
}

fn permits(list: &[&str], name: &str) -> bool {
    list == ANY || list.contains(&name)
}

/// The first words of every path below a crate: `a` of `crate::a::b`, `a` and `b` of
/// `crate::{a::x, b}`.
fn paths_after<'a>(file: &'a Source, crate_name: &'a str) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    for (line, rest) in file.words(crate_name) {
        let Some(path) = rest.strip_prefix("::") else { continue };
        if !path.starts_with('{') {
            found.push((line, first_word(path)));
            continue;
        }
        let inner = end_of_item(path, 0).map_or("", |end| &path[1..end]);
        let mut depth = 0_usize;
        for part in inner.split_inclusive(['{', '}', ',']) {
            let word = first_word(part.trim_start());
            if depth == 0 && !word.is_empty() {
                found.push((line, word));
            }
            match part.chars().last() {
                Some('{') => depth += 1,
                Some('}') => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
    }
    found
}

fn first_word(path: &str) -> &str {
    path.split(|letter| !is_of_a_name(letter)).next().unwrap_or_default()
}

/// Whether what follows a package's name makes it a path, and nothing before it makes it the end
/// of another.
fn is_path(file: &Source, rest: &str) -> bool {
    let here = rest.as_ptr() as usize - file.code.as_ptr() as usize;
    let name = file.code[..here].rfind(|letter: char| !is_of_a_name(letter));
    let before = name.map_or("", |last| file.code[..=last].trim_end());
    if before.ends_with("::") && !is_root(before) {
        return false;
    }
    let imported = before.ends_with("use") && (rest.starts_with(';') || rest.starts_with(" as "));
    rest.starts_with("::") || imported
}

/// `::name`, with no path before the colons.
fn is_root(before: &str) -> bool {
    let path = before.trim_end_matches("::");
    !path.ends_with(|letter: char| is_of_a_name(letter) || letter == '>')
}

/// Whether a word is a module of ours in this file: declared in it, or imported from its crate.
fn is_module_here(file: &Source, name: &str) -> bool {
    let declared = file.words("mod").any(|(_, rest)| first_word(rest.trim_start()) == name);
    let inside = |import: &str| {
        let path = import.trim_start();
        let ours = ["crate", "super", "self"].contains(&first_word(path));
        ours && path.split(|letter: char| !is_of_a_name(letter)).any(|part| part == name)
    };
    let imported =
        file.words("use").any(|(_, rest)| inside(rest.split(';').next().unwrap_or_default()));
    declared || imported
}

/// The packages of one section of a manifest, as code names them.
pub(crate) fn packages_of(manifest: &str, section: &str) -> Vec<String> {
    let text = read(manifest);
    let lines = text.lines().skip_while(|line| *line != section).skip(1);
    let inside = lines.take_while(|line| !line.starts_with('['));
    let entries = inside.filter(|line| !line.starts_with('#'));
    let name = |line: &str| Some(line.split_once('=')?.0.trim().split('.').next()?.to_owned());
    entries.filter_map(name).map(|name| name.replace('-', "_")).collect()
}

#[test]
fn a_path_is_found_however_it_is_written() {
    let text = "use crate::a::b;\nuse crate::{c::{d, e}, f};\nuse x::sled::y;\nuse ::sled::z;";
    let file = Source::of("src/x.rs", text);
    assert_eq!(paths_after(&file, "crate"), [(1, "a"), (2, "c"), (2, "f")]);
    let hits = file.words("sled").filter(|(_, rest)| is_path(&file, rest));
    assert_eq!(hits.map(|(line, _)| line).collect::<Vec<_>>(), [4]);
}
