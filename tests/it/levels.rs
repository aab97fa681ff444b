//! How the sources are kept apart, read from the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::support::sources::{files, read, repository};

/// The rooms of the broker and their levels: a room imports only from rooms below its own.
const LEVELS: [&[&str]; 11] = [
    &["config", "telemetry", "codec"],
    &["transport", "session", "registry", "auth"],
    &["router", "event"],
    &["worker"],
    &["lifecycle"],
    &["connection", "host"],
    &["plugin"],
    &["service"],
    &["admin"],
    &["broker"],
    &["cli", "builtin"],
];

/// The only files and directories that may hold `unsafe`: those of the C ABI, and a benchmark's allocator.
const ABI: [&str; 3] =
    ["plugin-api/src/ffi", "broker/src/plugin/library/mod.rs", "benches/plugin_call/counting.rs"];

/// The only crate of ours that a plugin needs.
const PLUGIN_API: &str = "jackfield-plugin-api";

fn level(room: &str) -> Option<usize> {
    LEVELS.iter().position(|rooms| rooms.contains(&room))
}

/// The code of a Rust file, without its line comments.
fn code(text: &str) -> String {
    let without_comment = |line: &str| match line.split_once("//") {
        // A URL in a string is no comment.
        Some((before, _)) if !before.ends_with(':') => before.to_string(),
        _ => line.to_string(),
    };
    text.lines().map(|line| without_comment(line) + "\n").collect()
}

/// The first names behind every `path::`, those within braces included.
fn names_behind(code: &str, path: &str) -> Vec<String> {
    let occurrences = code.match_indices(path).filter(|(at, _)| {
        let before = code[..*at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':' && c != '$')
    });
    occurrences.flat_map(|(at, _)| first_names(&code[at + path.len()..])).collect()
}

/// `a::b` gives `a`; `{a::{b, c}, d}` gives `a` and `d`.
fn first_names(rest: &str) -> Vec<String> {
    let Some(list) = rest.strip_prefix('{') else { return vec![name(rest)] };
    let (mut depth, mut names, mut start) = (0, Vec::new(), 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            ',' if depth == 0 => {
                names.push(name(&list[start..at]));
                start = at + 1;
            }
            '}' if depth == 0 => {
                names.push(name(&list[start..at]));
                break;
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn name(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn paths_are_read_as_they_are_meant() {
    let code = code(
        "use crate::{a::{x, y}, b, c as d,};\n// crate::no\nlet e = crate::e::f(); $crate::no; mycrate::no",
    );
    assert_eq!(names_behind(&code, "crate::"), ["a", "b", "c", "e"]);
}

/// The rooms that a file of the broker names, by way of `crate::` or of as many `super::` as lead there.
fn imports(file: &Path, source: &Path) -> Vec<String> {
    let code = code(&read(file));
    let mut depth = file.strip_prefix(source).unwrap().components().count();
    if file.file_name().is_some_and(|name| name == "mod.rs") {
        depth -= 1;
    }
    let to_the_root = "super::".repeat(depth);
    let mut rooms = names_behind(&code, "crate::");
    rooms.extend(names_behind(&code, &to_the_root).into_iter().filter(|name| name != "super"));
    rooms
}

fn room(file: &Path, source: &Path) -> String {
    let first = file.strip_prefix(source).unwrap().components().next().unwrap();
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_string()
}

#[test]
fn a_room_imports_only_from_rooms_below() {
    let source = repository("broker/src");
    let mut found = BTreeSet::new();
    for file in files(&source, ".rs") {
        let room = room(&file, &source);
        if ["lib", "main"].contains(&room.as_str()) {
            continue;
        }
        let own = level(&room).unwrap_or_else(|| panic!("{room} has no level"));
        for import in imports(&file, &source).into_iter().filter(|import| *import != room) {
            if let Some(level) = level(&import) {
                assert!(level < own, "{} imports {import}, which is not below {room}", file.display());
            }
        }
        found.insert(room);
    }
    let missing: Vec<_> = LEVELS.concat().into_iter().filter(|room| !found.contains(*room)).collect();
    assert!(missing.is_empty(), "the table has rooms that are not there: {missing:?}");
}

/// Every Rust file of ours, the generated ones apart.
fn sources() -> Vec<std::path::PathBuf> {
    let rooms =
        ["broker", "plugin-api", "plugins", "client", "examples", "benches", "tests", "fuzz/fuzz_targets"];
    rooms.iter().flat_map(|room| files(&repository(room), ".rs")).collect()
}

#[test]
fn unsafe_stands_in_the_abi_files_alone() {
    let word = ["un", "safe"].concat();
    let sources = sources();
    assert!(sources.len() > 50, "only {} sources were found", sources.len());
    for file in sources.iter().filter(|file| !ABI.iter().any(|abi| file.starts_with(repository(abi)))) {
        let code = code(&read(file));
        let words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        assert_eq!(words.filter(|found| *found == word).count(), 0, "{}", file.display());
    }
}

/// A manifest's dependencies, of whatever kind.
fn dependencies(manifest: &str) -> Vec<String> {
    let (mut inside, mut found) = (false, Vec::new());
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            inside = section.ends_with("dependencies");
            if let Some((_, name)) = section.split_once("dependencies.") {
                found.push(name.to_string());
            }
        } else if inside {
            let name = line.split(['=', '.', ' ']).next().unwrap();
            found.push(name.trim_matches('"').to_string());
        }
    }
    found.retain(|name| !name.is_empty() && !name.starts_with('#'));
    found
}

#[test]
fn dependencies_are_read_as_they_are_written() {
    let manifest = "[package]\nname = \"x\"\n\n[dependencies]\na.workspace = true\n# no\nb = \"1\"\n\n\
                    [dev-dependencies.c]\npath = \"c\"\n[target.'cfg(unix)'.dependencies]\n\"d\" = { path = \"d\" }\n[lints]\nworkspace = true\n";
    assert_eq!(dependencies(manifest), ["a", "b", "c", "d"]);
}

#[test]
fn plugins_use_no_crate_of_ours_but_the_plugin_api() {
    let mut plugins = BTreeMap::new();
    for file in files(&repository("plugins"), "Cargo.toml") {
        let own: Vec<String> =
            dependencies(&read(&file)).into_iter().filter(|name| name.starts_with("jackfield")).collect();
        plugins.insert(file.display().to_string(), own);
    }
    assert!(plugins.len() >= 3, "{plugins:?}");
    for (file, own) in plugins {
        assert!(own.iter().all(|name| name == PLUGIN_API), "{file} depends on {own:?}");
    }
}
