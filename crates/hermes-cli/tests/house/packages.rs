//! What each crate brings along: packages that must never be among them, and how many there may be.
//!
//! Counted is what is linked into a program that uses the crate: its normal dependencies and
//! theirs, with the features the crate asks for, on the platform that runs this test. Our own
//! crates do not count, nor does what only runs while compiling or testing (build scripts,
//! procedural macros with all they need, dev-dependencies).

use std::collections::BTreeSet;

use crate::repo::{cargo, expect_none};

/// How many foreign packages a crate may link: what it needs now and a little air.
const BUDGETS: &[(&str, usize)] = &[
    ("hermes-core", 11),
    ("hermes-discovery", 56),
    ("hermes-server", 61),
    ("hermes-cli", 90),
];

/// Packages that a crate must not link, however far down.
const NEVER: &[(&str, &[&str])] = &[
    (
        "hermes-core",
        &[
            "arc-swap",
            "async-trait",
            "chrono",
            "fastrand",
            "futures",
            "futures-core",
            "getrandom",
            "http",
            "hyper",
            "libc",
            "mio",
            "rand",
            "time",
            "tokio",
            "tracing",
        ],
    ),
    (
        "hermes-discovery",
        &["axum", "clap", "fjall", "redb", "tracing-subscriber"],
    ),
    ("hermes-server", &["clap"]),
];

#[test]
fn no_crate_links_more_packages_than_its_budget() {
    let mut faults = Vec::new();
    for &(krate, budget) in BUDGETS {
        let linked = linked(krate);
        println!("{krate}: {} of {budget}", linked.len());
        if linked.len() > budget {
            let names: Vec<&str> = linked.iter().map(String::as_str).collect();
            faults.push(format!(
                "{krate}: {} of {budget}: {}",
                linked.len(),
                names.join(", ")
            ));
        }
    }
    expect_none(
        &faults,
        "A dependency is a decision: do without, or write down in docs/decisions what it gives us, \
         and raise the budget in the same commit.",
    );
}

#[test]
fn no_crate_links_what_belongs_to_another_layer() {
    let mut faults = Vec::new();
    for &(krate, never) in NEVER {
        let linked = linked(krate);
        let names = linked
            .iter()
            .filter_map(|package| package.split(' ').next());
        let wrong = names.filter(|name| never.contains(name));
        faults.extend(wrong.map(|name| {
            format!("{krate} links {name}; who asks: cargo tree -p {krate} -i {name}")
        }));
    }
    expect_none(
        &faults,
        "Move the code that needs it to the crate it belongs to (see ARCHITECTURE.md).",
    );
}

/// The foreign packages that a crate links, each as `name version`.
fn linked(krate: &str) -> BTreeSet<String> {
    let edges = ["--edges", "normal,no-proc-macro"];
    let form = ["--prefix", "none", "--format", "{p}", "--locked"];
    let tree = cargo(&[&["tree", "-p", krate], &edges[..], &form[..]].concat());
    tree.lines()
        .map(|line| line.trim_end_matches(" (*)"))
        .filter(|package| !package.is_empty() && !package.starts_with("hermes-"))
        .map(str::to_owned)
        .collect()
}
