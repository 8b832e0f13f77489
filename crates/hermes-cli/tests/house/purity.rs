//! hermes-core decides and never acts: it asks no clock, draws no lot, and knows no machine.

use crate::repo::{expect_none, sources};
use crate::rust;

/// Paths that the source of hermes-core never names, alone or at the beginning of a longer one.
const OUTSIDE_WORLD: &[&str] = &[
    "SystemTime",
    "fastrand",
    "getrandom",
    "rand",
    "std::env",
    "std::fs",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "tokio",
];

#[test]
fn the_core_names_no_clock_no_chance_and_no_machine() {
    let mut faults = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| source.path.starts_with("crates/hermes-core/src/"))
    {
        for (line, path) in rust::paths(source.shipped()) {
            if OUTSIDE_WORLD
                .iter()
                .any(|outside| begins_with(&path, outside))
            {
                faults.push(format!("{}:{line}: names `{path}`", source.path));
            }
        }
    }
    expect_none(
        &faults,
        "Make it an argument, and let hermes-discovery or its caller supply it.",
    );
}

fn begins_with(path: &str, outside: &str) -> bool {
    path.strip_prefix(outside)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}
