//! The arrows between the modules of a crate.

use crate::repo::{Source, expect_none, sources};
use crate::rust;

/// In `krate`, the `modules` may not use what is in `never`. Modules are named from the root of the
/// crate; `*` is every one of them but those in `but`, and the root itself is called `lib`.
struct ModuleArrow {
    krate: &'static str,
    modules: &'static [&'static str],
    but: &'static [&'static str],
    never: &'static [&'static str],
    why: &'static str,
}

const MODULE_ARROWS: &[ModuleArrow] = &[
    ModuleArrow {
        krate: "hermes-server",
        modules: &["*"],
        but: &["api", "app", "lib", "serve"],
        never: &["api"],
        why: "HTTP is one of several ways in: `app` wires it, `serve` feeds it, nothing is built on it",
    },
    ModuleArrow {
        krate: "hermes-discovery",
        modules: &["engine", "log", "probe", "clock", "client"],
        but: &[],
        never: &[
            "answer",
            "layer",
            "local",
            "service_discovery",
            "settings",
            "wait",
        ],
        why: "what is embedded stands on the engine and its probes, as a server does",
    },
    ModuleArrow {
        krate: "hermes-discovery",
        modules: &["layer"],
        but: &[],
        never: &["local", "probe", "log", "clock"],
        why: "a layer wraps any discovery, and knows none of them",
    },
];

#[test]
fn modules_use_each_other_only_in_the_direction_that_is_drawn() {
    let faults: Vec<String> = sources().iter().flat_map(wrong_uses).collect();
    expect_none(
        &faults,
        "Turn the arrow round, or change MODULE_ARROWS together with ARCHITECTURE.md.",
    );
}

fn wrong_uses(source: &Source) -> Vec<String> {
    let Some((krate, module)) = place(&source.path) else {
        return Vec::new();
    };
    let arrows: Vec<&ModuleArrow> = MODULE_ARROWS
        .iter()
        .filter(|arrow| arrow.krate == krate && arrow.speaks_of(&module))
        .collect();
    if arrows.is_empty() {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (line, path) in rust::paths(source.shipped()) {
        let Some(used) = from_root(&module, &path) else {
            continue;
        };
        for arrow in arrows.iter().filter(|arrow| arrow.forbids(&used)) {
            faults.push(format!(
                "{}:{line}: uses `{used}`; {}",
                source.path, arrow.why
            ));
        }
    }
    faults
}

impl ModuleArrow {
    fn speaks_of(&self, module: &str) -> bool {
        let named = |names: &[&str]| names.iter().any(|name| is_within(module, name));
        !named(self.but) && (self.modules.contains(&"*") || named(self.modules))
    }

    fn forbids(&self, used: &str) -> bool {
        self.never.iter().any(|never| is_within(used, never))
    }
}

fn is_within(module: &str, outer: &str) -> bool {
    module
        .strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The crate and the module that a file is: `crates/x/src/a/b.rs` is `a::b` of `x`.
fn place(path: &str) -> Option<(&str, String)> {
    let (krate, file) = path.strip_prefix("crates/")?.split_once("/src/")?;
    let module = file.strip_suffix(".rs")?.replace('/', "::");
    let module = module.strip_suffix("::mod").unwrap_or(&module);
    Some((
        krate,
        if module == "main" {
            "lib".to_owned()
        } else {
            module.to_owned()
        },
    ))
}

/// A path as seen from the root of the crate; nothing when it leads elsewhere.
fn from_root(module: &str, path: &str) -> Option<String> {
    if let Some(path) = path.strip_prefix("crate::") {
        return Some(path.to_owned());
    }
    let mut base: Vec<&str> = module.split("::").filter(|part| *part != "lib").collect();
    let mut rest = path.strip_prefix("self::").unwrap_or(path);
    let is_relative = rest != path || rest.starts_with("super::");
    while let Some(above) = rest.strip_prefix("super::") {
        base.pop();
        rest = above;
    }
    base.push(rest);
    is_relative.then(|| base.join("::"))
}

#[test]
fn relative_paths_are_followed_to_the_root() {
    assert_eq!(
        from_root("dns::zone", "super::super::api::Router").as_deref(),
        Some("api::Router")
    );
    assert_eq!(from_root("dns", "super::api").as_deref(), Some("api"));
    assert_eq!(from_root("lib", "self::api").as_deref(), Some("api"));
    assert_eq!(from_root("dns", "crate::api::x").as_deref(), Some("api::x"));
    assert_eq!(from_root("dns", "std::fmt"), None);
}

#[test]
fn an_arrow_speaks_of_whole_modules_and_what_is_in_them() {
    let arrow = &MODULE_ARROWS[0];
    assert!(
        arrow.speaks_of("dns::zone") && !arrow.speaks_of("api::watch") && arrow.speaks_of("apiary")
    );
    assert!(arrow.forbids("api::Router") && !arrow.forbids("apiary"));
}
