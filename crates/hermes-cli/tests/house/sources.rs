//! Habits of every source file: what it begins with, how long it is, how it is called, what it
//! never says.

use crate::repo::{Source, expect_none, read_required, sources};
use crate::rust;

const MOST_LINES: usize = 600;

/// Names that say nothing about what is in a module.
const EMPTY_NAMES: &[&str] = &[
    "common", "helper", "helpers", "manager", "misc", "types", "util", "utils",
];

/// Words that mark work as unfinished. In the issue tracker they would be found again.
const UNFINISHED: &[&str] = &["TODO", "FIXME", "XXX"];

/// Macros that belong to a draft.
const DRAFT: &[&str] = &["dbg!", "todo!", "unimplemented!"];

/// Lines that hold the length of a function, and the file each stands in.
const LENGTH_OF_A_FUNCTION: &[(&str, &str)] = &[
    ("clippy.toml", "too-many-lines-threshold = 70"),
    ("Cargo.toml", "too_many_lines = \"warn\""),
];

#[test]
fn every_source_file_begins_by_saying_what_it_holds() {
    let silent = |source: &&Source| !source.text.starts_with("//!");
    let faults: Vec<String> = sources()
        .iter()
        .filter(silent)
        .map(|source| format!("{}:1: no `//!`", source.path))
        .collect();
    expect_none(
        &faults,
        "Begin the file with `//!`: what it holds, then why it is so.",
    );
}

#[test]
fn no_source_file_is_above_600_lines() {
    let mut faults = Vec::new();
    for source in sources() {
        let lines = source.shipped().lines().count();
        if lines > MOST_LINES {
            faults.push(format!(
                "{}:{MOST_LINES}: goes on until line {lines}",
                source.path
            ));
        }
    }
    expect_none(
        &faults,
        "Find the second idea in it and give it a file of its own. Tests do not count.",
    );
}

#[test]
fn no_function_may_be_above_70_lines() {
    let missing =
        |(file, line): &&(&str, &str)| !read_required(file).lines().any(|l| l.trim() == *line);
    let faults: Vec<String> = LENGTH_OF_A_FUNCTION
        .iter()
        .filter(missing)
        .map(|(file, line)| format!("{file}: does not say `{line}`"))
        .collect();
    expect_none(
        &faults,
        "Clippy counts the lines of functions; these two lines make it do so.",
    );
}

#[test]
fn no_module_has_a_name_that_says_nothing() {
    let mut faults = Vec::new();
    for source in sources() {
        let parts = source
            .path
            .split('/')
            .map(|part| part.trim_end_matches(".rs"));
        if let Some(name) = parts.into_iter().find(|part| EMPTY_NAMES.contains(part)) {
            faults.push(format!("{}: `{name}` says nothing", source.path));
        }
        faults.extend(lines(&source.path, &rust::code(&source.text), |line| {
            let name = line.split_once("mod ")?.1.split([' ', '{', ';']).next()?;
            EMPTY_NAMES
                .contains(&name)
                .then(|| format!("`mod {name}` says nothing"))
        }));
    }
    expect_none(
        &faults,
        "Name the module after the idea in it, with a noun of STYLE.md.",
    );
}

#[test]
fn no_source_file_is_unfinished() {
    let mut faults = Vec::new();
    for source in sources() {
        faults.extend(lines(&source.path, source.shipped(), |line| {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            words
                .find(|word| UNFINISHED.contains(word))
                .map(|word| format!("says {word}"))
        }));
        faults.extend(lines(&source.path, &rust::code(source.shipped()), |line| {
            DRAFT
                .iter()
                .find(|draft| line.contains(**draft))
                .map(|draft| format!("says {draft}"))
        }));
    }
    expect_none(
        &faults,
        "Finish it, or open an issue and say in words what holds until then.",
    );
}

#[test]
fn no_file_switches_a_lint_off() {
    let mut faults = Vec::new();
    for source in sources() {
        faults.extend(lines(&source.path, &rust::code(&source.text), |line| {
            line.trim_start()
                .starts_with("#![allow")
                .then(|| "`#![allow`".to_owned())
        }));
    }
    expect_none(
        &faults,
        "Say `#[expect(lint, reason = \"...\")]` where it is needed, and only there.",
    );
}

#[test]
fn code_and_its_texts_are_ascii() {
    let mut faults = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| source.path.contains("/src/"))
    {
        faults.extend(lines(
            &source.path,
            &rust::code_and_texts(source.shipped()),
            |line| {
                line.chars()
                    .find(|c| !c.is_ascii())
                    .map(|c| format!("`{c}` ({})", c.escape_unicode()))
            },
        ));
    }
    expect_none(
        &faults,
        "Write the escape, so that every terminal and every search sees the same.",
    );
}

/// Looks at every line, and puts file and line before what was found.
fn lines(path: &str, text: &str, find: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let numbered = (1..).zip(text.lines());
    numbered
        .filter_map(|(number, line): (usize, _)| Some(format!("{path}:{number}: {}", find(line)?)))
        .collect()
}
