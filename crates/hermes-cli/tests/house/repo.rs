//! The repository as the other files see it: its files, and what cargo knows about it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A Rust file below `crates/` or `bench/`.
pub(crate) struct Source {
    /// From the root of the repository, with forward slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// Is the whole file a test?
    pub(crate) fn is_test(&self) -> bool {
        let stem = self
            .path
            .rsplit('/')
            .next()
            .and_then(|file| file.strip_suffix(".rs"));
        self.path.contains("/tests/") || stem == Some("tests")
    }

    /// What is not test: everything before a `#[cfg(test)] mod name {` at the end of the file.
    pub(crate) fn shipped(&self) -> &str {
        if self.is_test() {
            return "";
        }
        let inline_tests = self
            .text
            .match_indices("\n#[cfg(test)]\n")
            .find(|(at, mark)| {
                let next = self.text[at + mark.len()..]
                    .lines()
                    .find(|line| !line.starts_with("#["));
                next.is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
            });
        inline_tests.map_or(&self.text, |(at, _)| &self.text[..=at])
    }
}

pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("hermes-cli lives in crates/ of the repository")
        .to_owned()
}

/// The text of a file, or nothing when it does not exist yet.
pub(crate) fn read(path: &str) -> Option<String> {
    fs::read_to_string(root().join(path)).ok()
}

/// The text of a file that has to be there.
pub(crate) fn read_required(path: &str) -> String {
    read(path).unwrap_or_else(|| format!("({path} is missing)"))
}

/// Every Rust file below `crates/` and `bench/`, in the order of their names.
pub(crate) fn sources() -> Vec<Source> {
    let mut found: Vec<Source> = ["crates", "bench"]
        .iter()
        .flat_map(|top| files(top, "rs"))
        .map(|path| Source {
            text: read_required(&path),
            path,
        })
        .collect();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(
        found.len() > 4,
        "found only {} Rust files: is this the right directory?",
        found.len()
    );
    found
}

/// The files below `top` with this extension, as paths from the root. What is built or hidden does
/// not count.
pub(crate) fn files(top: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(root().join(top)) else {
        return found;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{top}/{name}");
        if entry.path().is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(files(&path, extension));
        } else if entry
            .path()
            .extension()
            .is_some_and(|found| found == extension)
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// What cargo knows of the packages that this machine builds.
///
/// Only for its own platform, because only those packages are sure to be downloaded: so it also
/// works without a network.
pub(crate) fn metadata() -> Value {
    let version = cargo(&["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.expect("`cargo -vV` names the host");
    let text = cargo(&[
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--filter-platform",
        host,
    ]);
    serde_json::from_str(&text).expect("`cargo metadata` prints JSON")
}

/// What a cargo command prints.
pub(crate) fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("the cargo that built this test is still there");
    assert!(
        output.status.success(),
        "cargo {} failed; if a package is not downloaded, run `cargo fetch --locked` once:\n{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

/// An array of the metadata; empty when the member is missing.
pub(crate) fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value[member].as_array().map_or(&[], Vec::as_slice)
}

/// Fails with all faults at once, and what to do about them.
#[track_caller]
pub(crate) fn expect_none(faults: &[String], remedy: &str) {
    assert!(
        faults.is_empty(),
        "\n  {}\n\n{remedy}\n",
        faults.join("\n  ")
    );
}
