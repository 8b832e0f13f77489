//! The reference page, written from the table.

use std::fmt::Write as _;

use super::setting::{Group, Setting, Takes};
use super::table::SETTINGS;

const FRONT: &str = "\
# Configuration

Every setting of `hermes serve`. This page is written from the table in
[settings/table.rs](../../crates/hermes-server/src/settings/table.rs): `HERMES_WRITE_REFERENCE=1 cargo test -p
hermes-server --lib reference` writes it again, and the same test fails while it is out of date. How to use it is told in
[the guide](../guides/configuration.md).

- A **flag** wins over a **variable**, that over the **file**, and that over the default. An empty variable counts as
  none.
- The file is YAML: `hermes serve --config FILE`, or `HERMES_CONFIG=FILE`, else `hermes.yaml` in the working directory if
  there is one. A dot in a key stands for a section: `limits.idle` is `idle` below `limits:`.
- The variable of a key is `HERMES_` and the key in capitals, with `_` for the dot: `HERMES_LIMITS_IDLE`. The flag is the
  key with `-` for `_`: `--data-dir`. Limits have no flags.
- Durations are seconds (`1.5`) or a whole number with `ms`, `s`, `m` or `h`; sizes are bytes (`65536`) or a whole number
  with `KiB`, `MiB` or `GiB`.
- *Reload* says whether SIGHUP is enough for another value to count; the others need a restart.
- `hermes config check --show` prints every value, and where it comes from.
";

/// The page `docs/reference/configuration.md`.
#[must_use]
pub fn reference() -> String {
    let mut page = FRONT.to_owned();
    for group in Group::ALL {
        let settings = || SETTINGS.iter().filter(|setting| setting.group == group);
        if settings().next().is_none() {
            continue;
        }
        page.push_str(&format!("\n## {}\n\n", group.title()));
        page.push_str("| key | variable | flag | default | reload |\n|---|---|---|---|---|\n");
        for setting in settings() {
            page.push_str(&row(setting));
        }
        page.push('\n');
        for setting in settings() {
            page.push_str(&item(setting));
        }
    }
    page
}

fn row(setting: &Setting) -> String {
    let flag = setting.flag().map(|flag| format!("`--{flag}`"));
    let variable = match setting.elder {
        None => format!("`{}`", setting.variable()),
        Some(elder) => format!("`{}`, `{elder}`", setting.variable()),
    };
    format!(
        "| `{}` | {variable} | {} | `{}` | {} |\n",
        setting.key,
        flag.as_deref().unwrap_or("none"),
        setting.default(),
        match setting.takes {
            Takes::AtOnce => "yes",
            Takes::Restart => "no",
        }
    )
}

fn item(setting: &Setting) -> String {
    let mut text = format!("- **`{}`**: {}", setting.key, setting.what);
    let expected = setting.expects();
    // The examples of durations and sizes stand at the top of the page.
    let expected = expected.split(", such as 1.5").next().unwrap_or_default();
    let expected = expected.split(", such as 65536").next().unwrap_or_default();
    write!(text, ". Expected is {expected}.").ok();
    if !setting.more.is_empty() {
        text.push(' ');
        text.push_str(setting.more);
    }
    wrapped(&text)
}

/// An item of a list, broken into lines of at most 120 bytes.
fn wrapped(text: &str) -> String {
    const WIDTH: usize = 120;
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let is_first = lines.len() == 1;
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() + if is_first { 0 } else { 2 } <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n  ") + "\n"
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_reference_page_is_that_of_the_table() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/configuration.md");
        if option_env_is_set("HERMES_WRITE_REFERENCE") {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, reference()).unwrap();
        }
        let page = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            page == reference(),
            "docs/reference/configuration.md is out of date; write it with\n  \
             HERMES_WRITE_REFERENCE=1 cargo test -p hermes-server --lib reference"
        );
    }

    fn option_env_is_set(name: &str) -> bool {
        std::env::var_os(name).is_some_and(|value| !value.is_empty())
    }
}
