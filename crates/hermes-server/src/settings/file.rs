//! The file: a YAML tree, flattened into keys and texts, each with its place.
//!
//! Only structure is read here. What the values mean is judged later, all of them, so that one fault
//! does not hide the next.

use hermes_discovery::settings::yaml::{self, Node, Value, YamlError};

/// What one key of the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The key, with a dot behind the section.
    pub(super) key: String,
    /// The value; `None` where it is no single value.
    pub(super) text: Option<String>,
    /// The line, from one.
    pub(super) line: u64,
    /// The column, from one.
    pub(super) column: u64,
}

/// Reads a file. `sections` are the keys whose members are keys themselves.
pub(super) fn read(text: &str, sections: &[&str]) -> Result<Vec<Entry>, YamlError> {
    let root = yaml::parse(text)?;
    let members = match root.value {
        Value::Null => return Ok(Vec::new()),
        Value::Map(members) => members,
        _ => {
            return Err(YamlError {
                what: "it is not made of lines `key: value`".into(),
                line: root.line,
                column: root.column,
            });
        }
    };
    let mut entries = Vec::new();
    for (key, node) in members {
        match node.value {
            Value::Map(members) if sections.contains(&key.text.as_str()) => {
                for (inner, node) in members {
                    entries.extend(entry(format!("{}.{}", key.text, inner.text), &node));
                }
            }
            _ => entries.extend(entry(key.text, &node)),
        }
    }
    Ok(entries)
}

/// What a key says; nothing when all of it is commented out.
fn entry(key: String, node: &Node) -> Option<Entry> {
    let text = match &node.value {
        Value::Null => return None,
        Value::List(_) | Value::Map(_) => None,
        Value::Bool(_) | Value::Number(_) | Value::Text(_) => Some(node.value.shown()),
    };
    Some(Entry {
        key,
        text,
        line: node.line,
        column: node.column,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_flattened_with_the_place_of_each_value() {
        let text =
            "# comment\nlisten: 127.0.0.1:1\nlimits:\n  body_size: 64KiB\n  idle: 5.0\nempty:\n";
        let entries = read(text, &["limits"]).unwrap();
        let shown: Vec<_> = entries
            .iter()
            .map(|e| (e.key.as_str(), e.text.as_deref(), e.line, e.column))
            .collect();
        assert_eq!(
            shown,
            [
                ("listen", Some("127.0.0.1:1"), 2, 9),
                ("limits.body_size", Some("64KiB"), 4, 14),
                ("limits.idle", Some("5"), 5, 9),
            ]
        );
        for nothing in ["", "# only a comment\n", "---\n"] {
            assert_eq!(read(nothing, &[]).unwrap(), [], "{nothing:?}");
        }
    }

    #[test]
    fn what_is_no_single_value_is_kept_as_such() {
        let entries = read("a: [1, 2]\nb: {c: 1}\n", &[]).unwrap();
        let shown: Vec<_> = entries
            .iter()
            .map(|e| (e.key.as_str(), e.text.as_deref(), e.line))
            .collect();
        assert_eq!(shown, [("a", None, 1), ("b", None, 2)]);
        let error = read("just words\n", &[]).unwrap_err();
        assert!(error.what.contains("key: value"), "{error:?}");
    }
}
