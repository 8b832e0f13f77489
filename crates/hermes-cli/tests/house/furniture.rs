//! The commands and the documents that everybody relies on are there, and say the same.

use std::collections::BTreeMap;

use crate::repo::{expect_none, files, read, read_required, root};

const COMMANDS: &[&str] = &["scripts/test", "scripts/test-long", ".ci/run"];

#[test]
fn ci_runs_the_command_that_everybody_runs() {
    let text = read_required(".ci/run");
    let code = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.starts_with("set "));
    let calls: Vec<&str> = code.filter(|line| !line.trim().is_empty()).collect();
    assert!(
        matches!(calls[..], [call] if call.ends_with("/scripts/test\"")),
        ".ci/run: has to call scripts/test and nothing else; it calls {calls:?}"
    );
}

#[test]
fn the_readme_names_the_test_command() {
    let Some(text) = read("README.md") else {
        return;
    };
    let mut fenced = text.split("```").skip(1).step_by(2);
    assert!(
        fenced.any(|block| block
            .lines()
            .any(|line| line.trim().ends_with("scripts/test"))),
        "README.md: no block of commands has a line `scripts/test`; a visitor looks for it there"
    );
}

#[cfg(unix)]
#[test]
fn every_command_can_be_executed() {
    use std::os::unix::fs::PermissionsExt;
    let can_run = |path: &&&str| {
        let found = root().join(path).metadata();
        !found.is_ok_and(|file| file.permissions().mode() & 0o111 == 0o111)
    };
    let faults: Vec<String> = COMMANDS
        .iter()
        .filter(can_run)
        .map(|path| format!("{path}: cannot be executed"))
        .collect();
    expect_none(&faults, "git add --chmod=+x, and chmod +x for yourself.");
}

#[test]
fn every_decision_has_a_number_of_its_own() {
    let mut by_number: BTreeMap<String, String> = BTreeMap::new();
    let mut faults = Vec::new();
    for path in files("docs/decisions", "md") {
        let file = path.rsplit('/').next().unwrap_or_default();
        let (number, title) = file.split_once('-').unwrap_or_default();
        if number.len() != 4 || !number.bytes().all(|b| b.is_ascii_digit()) || title == ".md" {
            faults.push(format!("{path}: is not called NNNN-title.md"));
        } else if let Some(other) = by_number.insert(number.to_owned(), path.clone()) {
            faults.push(format!("{path}: has the number of {other}"));
        }
    }
    expect_none(
        &faults,
        "Take the next free number; a decision keeps its number for good.",
    );
}
