//! The arrows between our crates point down, and only where they are drawn.

use serde_json::Value;

use crate::repo::{expect_none, list, metadata};

/// Each of our crates, and those of ours that it may be built on.
const ARROWS: &[(&str, &[&str])] = &[
    ("hermes-core", &[]),
    ("hermes-discovery", &["hermes-core"]),
    ("hermes-server", &["hermes-core", "hermes-discovery"]),
    (
        "hermes-cli",
        &["hermes-core", "hermes-discovery", "hermes-server"],
    ),
    ("hermes-python", &["hermes-core", "hermes-discovery"]),
    (
        "hermes-bench",
        &["hermes-core", "hermes-discovery", "hermes-server"],
    ),
];

/// Features that a crate never asks of a package itself.
const FEATURES_NEVER_ASKED: &[(&str, &str, &str)] = &[
    ("hermes-discovery", "hyper", "server"),
    ("hermes-discovery", "hyper-util", "server"),
    ("hermes-discovery", "hyper-util", "server-auto"),
    ("hermes-discovery", "hyper-util", "server-graceful"),
];

#[test]
fn our_crates_depend_on_each_other_only_where_an_arrow_is_drawn() {
    let faults: Vec<String> = our_packages().iter().flat_map(wrong_arrows).collect();
    expect_none(
        &faults,
        "An arrow is a decision: move the code to where it may use what it needs, or write down in \
         docs/decisions why the arrow is right, and draw it in ARROWS.",
    );
}

#[test]
fn no_crate_asks_for_a_feature_that_belongs_to_another_layer() {
    let faults: Vec<String> = our_packages().iter().flat_map(wrong_features).collect();
    expect_none(
        &faults,
        "What an application embeds holds a client. The server is hermes-server.",
    );
}

fn our_packages() -> Vec<Value> {
    let metadata = metadata();
    list(&metadata, "packages")
        .iter()
        .filter(|package| package["source"].is_null())
        .cloned()
        .collect()
}

fn normal_dependencies(package: &Value) -> impl Iterator<Item = &Value> {
    list(package, "dependencies")
        .iter()
        .filter(|dependency| dependency["kind"].is_null())
}

fn wrong_arrows(package: &Value) -> Vec<String> {
    let from = package["name"].as_str().unwrap_or_default();
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == from) else {
        return vec![format!(
            "{from}: a new crate; say in ARROWS what it may be built on"
        )];
    };
    normal_dependencies(package)
        .filter_map(|dependency| dependency["name"].as_str())
        .filter(|to| to.starts_with("hermes-") && !allowed.contains(to))
        .map(|to| format!("{from} -> {to}: no such arrow is drawn"))
        .collect()
}

fn wrong_features(package: &Value) -> Vec<String> {
    let from = package["name"].as_str().unwrap_or_default();
    normal_dependencies(package)
        .flat_map(|dependency| {
            let to = dependency["name"].as_str().unwrap_or_default();
            let asked = list(dependency, "features")
                .iter()
                .filter_map(Value::as_str);
            asked.map(move |feature| (from, to, feature))
        })
        .filter(|asked| FEATURES_NEVER_ASKED.contains(asked))
        .map(|(from, to, feature)| format!("{from} asks {to} for the feature `{feature}`"))
        .collect()
}
