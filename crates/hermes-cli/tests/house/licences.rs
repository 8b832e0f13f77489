//! Every package we build on may be given away under a licence that `deny.toml` allows.
//!
//! cargo-deny checks the same, and more, for every platform; this check needs nothing installed.

use std::collections::BTreeSet;

use crate::repo::{expect_none, list, metadata, read_required};

#[test]
fn every_foreign_package_has_a_licence_we_allow() {
    let allowed = allowed();
    let metadata = metadata();
    let foreign = list(&metadata, "packages")
        .iter()
        .filter(|package| !package["source"].is_null());
    let faults: Vec<String> = foreign
        .filter_map(|package| {
            let expression = package["license"].as_str().unwrap_or_default();
            let name = package["name"].as_str().unwrap_or_default();
            let refused = !is_allowed(expression, &allowed);
            refused.then(|| format!("{name}: `{expression}`"))
        })
        .collect();
    expect_none(
        &faults,
        "Do without the package, or allow its licence in deny.toml with the reason, once it is sure \
         that it can go with MIT OR Apache-2.0.",
    );
}

/// The list `allow` of the table `[licenses]` in `deny.toml`.
fn allowed() -> BTreeSet<String> {
    let text = read_required("deny.toml");
    let table = text
        .split_once("\n[licenses]")
        .map_or("", |(_, table)| table);
    let list = table
        .split_once("allow = [")
        .and_then(|(_, list)| list.split_once(']'));
    let lines = list.map_or("", |(list, _)| list).lines();
    let uncommented = lines.map(|line| line.split('#').next().unwrap_or_default());
    let allowed: BTreeSet<String> = uncommented
        .filter_map(|line| line.split('"').nth(1))
        .map(str::to_owned)
        .collect();
    assert!(
        !allowed.is_empty(),
        "deny.toml: found no licences in `allow` of [licenses], one a line"
    );
    allowed
}

/// Can the expression be met with these licences? An expression that is not understood cannot.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader {
        words: &words,
        allowed,
    };
    let verdict = reader.any_of();
    reader.words.is_empty() && verdict
}

/// Reads `a AND (b OR c WITH d)`; AND binds more closely than OR, as SPDX has it.
struct Reader<'a> {
    words: &'a [&'a str],
    allowed: &'a BTreeSet<String>,
}

impl Reader<'_> {
    fn take(&mut self, word: &str) -> bool {
        let comes = self.words.first() == Some(&word);
        if comes {
            self.words = &self.words[1..];
        }
        comes
    }

    fn any_of(&mut self) -> bool {
        let mut verdict = self.all_of();
        while self.take("OR") {
            verdict |= self.all_of();
        }
        verdict
    }

    fn all_of(&mut self) -> bool {
        let mut verdict = self.one();
        while self.take("AND") {
            verdict &= self.one();
        }
        verdict
    }

    fn one(&mut self) -> bool {
        if self.take("(") {
            let verdict = self.any_of();
            return self.take(")") && verdict;
        }
        let Some((first, rest)) = self.words.split_first() else {
            return false;
        };
        self.words = rest;
        let mut licence = (*first).to_owned();
        if self.take("WITH") {
            let exception = self.words.first().copied().unwrap_or_default();
            self.words = self.words.get(1..).unwrap_or_default();
            licence = format!("{licence} WITH {exception}");
        }
        self.allowed.contains(&licence)
    }
}

#[test]
fn licence_expressions_are_read_as_spdx_has_it() {
    let allowed = BTreeSet::from(["MIT".to_owned(), "Zlib".to_owned()]);
    for met in [
        "MIT",
        "MIT/GPL-3.0",
        "GPL-3.0 OR MIT AND Zlib",
        "(GPL-3.0 OR MIT) AND Zlib",
    ] {
        assert!(is_allowed(met, &allowed), "{met}");
    }
    for unmet in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "MIT WITH some-exception",
        "MIT Zlib",
        "(MIT",
    ] {
        assert!(!is_allowed(unmet, &allowed), "{unmet}");
    }
}
