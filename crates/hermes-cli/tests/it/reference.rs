//! The manual: the page of all commands is what the commands say, and there is one page for `man`
//! for each.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::command::{end, hermes, run};

/// The page, and how it is written anew.
const PAGE: &str = "docs/reference/commands.md";
const ANEW: &str = "HERMES_WRITE=1 cargo test -p hermes-cli --test it reference";

/// What one sees of `hermes COMMAND --help`, whatever the width of the terminal.
fn help(words: &str) -> String {
    let mut command = hermes(&format!("{words} --help"));
    let ran = end(command.env("COLUMNS", "100"));
    ran.exits(0).out
}

/// The commands that a help lists.
fn listed(help: &str) -> Vec<String> {
    let list = help.split("Commands:\n").nth(1).unwrap_or_default();
    let lines = list.lines().take_while(|line| line.starts_with("  "));
    // What goes on below its command is indented further.
    let named = lines.filter(|line| !line.starts_with("   "));
    let names = named.filter_map(|line| line.split_whitespace().next());
    let names = names.filter(|name| *name != "help");
    names.map(str::to_owned).collect()
}

/// Every command with those below it, each in words: `log check`.
fn all() -> Vec<String> {
    let mut all = Vec::new();
    for name in listed(&help("")) {
        let below = listed(&help(&name));
        all.push(name.clone());
        all.extend(below.into_iter().map(|below| format!("{name} {below}")));
    }
    all
}

#[test]
fn the_page_of_all_commands_says_what_they_say() {
    let mut page = format!(
        "# Commands\n\nWhat `hermes --help` and `hermes COMMAND --help` say. This page is written by\n\
         `{ANEW}`.\n\n```text\n{}```\n",
        help("")
    );
    for words in all() {
        page.push_str(&format!(
            "\n## hermes {words}\n\n```text\n{}```\n",
            help(&words)
        ));
    }
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = package.join("../..").join(PAGE);
    if std::env::var_os("HERMES_WRITE").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let differs = page
        .lines()
        .zip(written.lines())
        .find(|(new, old)| new != old);
    assert!(
        page == written,
        "{PAGE} does not say what the commands say: {differs:?}\nwrite it anew: {ANEW}"
    );
}

#[test]
fn every_command_has_a_page_of_the_manual() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("man1");
    run(&format!("man {}", path.display()))
        .exits(0)
        .prints(&[])
        .says("the manual is in");
    let pages = fs::read_dir(&path).unwrap();
    let pages: BTreeSet<String> = pages
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(pages.contains("hermes.1"), "{pages:?}");
    for words in all() {
        let page = format!("hermes-{}.1", words.replace(' ', "-"));
        assert!(pages.contains(&page), "{page}: {pages:?}");
    }
    let wait = fs::read_to_string(path.join("hermes-wait.1")).unwrap();
    assert!(wait.starts_with(".ie") || wait.contains(".TH"), "{wait}");
    assert!(wait.contains("Examples:"), "{wait}");

    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    run(&format!("man {}", file.join("below").display()))
        .exits(1)
        .says("cannot be written");
}
