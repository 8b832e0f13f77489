//! A YAML file as a tree of nodes that know where they stand.
//!
//! What a file means is decided by those who read the tree; here is only what YAML is. A file has at
//! most [`FILE_BYTES_MAX`] bytes, one document, [`DEPTH_MAX`] levels, and no key twice in one mapping.

use std::fmt;

use serde_core::Deserialize;
use serde_core::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Error as SaphyrError, Options, Spanned, UserMessageFormatter};

use super::FILE_BYTES_MAX;
use crate::admission::shown;

/// Levels of mappings and sequences within each other. Each takes some of the stack, most of all in a
/// program that was built without optimisation.
pub const DEPTH_MAX: usize = 32;

/// A value of a file, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// The line, from 1.
    pub line: u64,
    /// The column, from 1.
    pub column: u64,
}

/// What YAML knows.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing: `null`, `~`, or an empty place.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file. Its keys are texts.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub text: String,
    /// The line, from 1.
    pub line: u64,
    /// The column, from 1.
    pub column: u64,
}

/// Why a text is no YAML that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct YamlError {
    /// What is wrong.
    pub what: String,
    /// The line, from 1; 0 when it is about the whole.
    pub line: u64,
    /// The column, from 1; 0 when it is about the whole.
    pub column: u64,
}

/// Reads one document. An empty one is [`Value::Null`].
///
/// # Errors
/// When it is not YAML, too long, nested too deeply, or holds a key twice.
pub fn parse(text: &str) -> Result<Node, YamlError> {
    if text.len() > FILE_BYTES_MAX {
        return Err(YamlError {
            what: format!(
                "it has {} bytes, at most {FILE_BYTES_MAX} are read",
                text.len()
            ),
            line: 0,
            column: 0,
        });
    }
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| {
        let location = error.location();
        YamlError {
            what: words(error.without_snippet()),
            line: location.map_or(0, |location| location.line()),
            column: location.map_or(0, |location| location.column()),
        }
    })
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: DEPTH_MAX },
    }
}

/// What is wrong, for whoever wrote the file; the place is said beside it.
fn words(error: &SaphyrError) -> String {
    match error {
        SaphyrError::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key `{}` stands there twice", shown(key))
        }
        SaphyrError::MultipleDocuments { .. } => {
            "one document is read, and here begins another".to_owned()
        }
        SaphyrError::NullIntoString { .. } => "a key is a text, and not null".to_owned(),
        SaphyrError::NonFiniteFloat { value, .. } => format!("`{value}` is no number that counts"),
        SaphyrError::Budget {
            breach: BudgetBreach::Depth { .. },
            ..
        } => format!("it has more than {DEPTH_MAX} levels"),
        error => {
            let text = error.render_with_formatter(&UserMessageFormatter);
            text.lines().next().unwrap_or_default().to_owned()
        }
    }
}

impl Value {
    /// The value as a person would write it on one line.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(value) => value.to_string(),
            Self::Text(text) => text.clone(),
            Self::List(items) => format!("a list of {}", items.len()),
            Self::Map(members) => format!("a mapping of {}", members.len()),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self {
            value: spanned.value,
            line: spanned.referenced.line(),
            column: spanned.referenced.column(),
        })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "numbers here are small ones")]
    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "numbers here are small ones")]
    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut members = Vec::new();
        while let Some((key, value)) = entries.next_entry::<Spanned<String>, Node>()? {
            let key = Key {
                text: key.value,
                line: key.referenced.line(),
                column: key.referenced.column(),
            };
            members.push((key, value));
        }
        Ok(Value::Map(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<'a>(node: &'a Node, key: &str) -> &'a Node {
        let Value::Map(members) = &node.value else {
            panic!("no mapping: {node:?}");
        };
        let member = members.iter().find(|(found, _)| found.text == key);
        &member.unwrap().1
    }

    #[test]
    fn every_value_knows_where_it_stands() {
        let node =
            parse("# a comment\nservices:\n  memory: http://m:9000\nlist: [1, true, ~]\n").unwrap();
        let memory = at(at(&node, "services"), "memory");
        assert_eq!(memory.value, Value::Text("http://m:9000".into()));
        assert_eq!((memory.line, memory.column), (3, 11));
        let Value::List(items) = &at(&node, "list").value else {
            panic!("no list");
        };
        let values: Vec<&Value> = items.iter().map(|item| &item.value).collect();
        assert_eq!(
            values,
            [&Value::Number(1.0), &Value::Bool(true), &Value::Null]
        );
        assert_eq!(at(&node, "list").value.shown(), "a list of 3");
    }

    #[test]
    fn what_is_not_yaml_is_refused_with_its_place() {
        let twice = parse("a: 1\nb: 2\na: 3\n").unwrap_err();
        assert_eq!(twice.line, 3, "{twice:?}");
        let unclosed = parse("a: [1,\nb: 2\n").unwrap_err();
        assert!(
            unclosed.line > 0 && !unclosed.what.contains('\n'),
            "{unclosed:?}"
        );
        let long = "#".repeat(FILE_BYTES_MAX + 1);
        assert!(parse(&long).unwrap_err().what.contains("at most 1048576"));
        assert_eq!(parse("").unwrap().value, Value::Null);
        assert_eq!(parse("# nothing\n").unwrap().value, Value::Null);
    }

    #[test]
    fn what_is_wrong_is_said_to_whoever_wrote_the_file() {
        for (text, what) in [
            ("a: 1\nb: {c: 2, c: 3}\n", "the key `c` stands there twice"),
            (
                "a: 1\n---\nb: 2\n",
                "one document is read, and here begins another",
            ),
            ("~: 1\n", "a key is a text, and not null"),
            ("a: .inf\n", "`.inf` is no number that counts"),
        ] {
            assert_eq!(parse(text).unwrap_err().what, what, "{text}");
        }
        for text in [
            "a: [1,\nb: 2\n",
            "a: 'b\n",
            "a: *b\n",
            "a:\n  b\n c: 1\n",
            "? [a]\n: b\n",
        ] {
            let error = parse(text).unwrap_err();
            for programmer in ["Option<", "Policy", "from_str", "serde"] {
                assert!(!error.what.contains(programmer), "{text}: {error:?}");
            }
        }
    }

    #[test]
    fn a_file_that_wants_to_fill_the_stack_is_refused() {
        let blocks = |levels: usize| -> String {
            let line = |level| format!("{}a:\n", " ".repeat(level));
            (0..levels).map(line).collect()
        };
        let maps = |levels: usize| "{a: ".repeat(levels) + &"}".repeat(levels);
        let lists = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        for levels in [DEPTH_MAX - 1, DEPTH_MAX] {
            for text in [blocks(levels), maps(levels), lists(levels)] {
                assert!(parse(&text).is_ok(), "{levels}: {:?}", parse(&text));
            }
        }
        for levels in [DEPTH_MAX + 1, 100, 700] {
            for text in [
                blocks(levels),
                maps(levels),
                lists(levels),
                "- ".repeat(levels),
            ] {
                assert!(parse(&text).is_err(), "{levels}");
            }
        }
        let error = parse(&blocks(100)).unwrap_err();
        assert_eq!(error.what, "it has more than 32 levels");
    }

    #[test]
    fn a_file_that_wants_to_fill_the_memory_is_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let before = format!("*a{}, ", level - 1).repeat(9);
            text.push_str(&format!("a{level}: &a{level} [{before}]\n"));
        }
        assert!(parse(&text).is_err());
    }
}
