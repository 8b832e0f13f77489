//! Reading the members of a mapping one by one, and telling everything that is wrong with them.
//!
//! A member that was not asked for is not known, so whoever reads says what there can be by reading it.

use hermes_core::name::Name;
use hermes_core::nearest::nearest;
use hermes_discovery::settings::yaml::{self, Node, Value};
use serde_json::Map;

use crate::commands::run::check_variable;

/// Everything that is wrong, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) all: Vec<(u64, String)>,
}

impl Faults {
    pub(super) fn add(&mut self, line: u64, what: String) {
        self.all.push((line, what));
    }
}

/// Takes members out of a mapping; what is left at the end is not known.
pub(super) struct Reader<'a> {
    place: String,
    line: u64,
    members: Vec<(yaml::Key, Node)>,
    known: Vec<&'static str>,
    faults: &'a mut Faults,
}

impl<'a> Reader<'a> {
    pub(super) fn of(place: &str, node: Node, faults: &'a mut Faults) -> Self {
        let members = match node.value {
            Value::Map(members) => members,
            Value::Null => Vec::new(),
            _ => {
                faults.add(node.line, format!("{place}: a mapping is expected"));
                Vec::new()
            }
        };
        Self {
            place: place.into(),
            line: node.line,
            members,
            known: Vec::new(),
            faults,
        }
    }

    pub(super) fn fault(&mut self, what: &str) {
        self.faults.add(self.line, format!("{}.{what}", self.place));
    }

    pub(super) fn fault_at(&mut self, line: u64, key: &str, what: &str) {
        self.faults
            .add(line, format!("{}.{key}: {what}", self.place));
    }

    /// A member, unless it is not there or empty.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        let at = self
            .members
            .iter()
            .position(|(found, _)| found.text == key)?;
        let (_, node) = self.members.remove(at);
        Some(node).filter(|node| node.value != Value::Null)
    }

    /// One value, read from its text.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let node = self.take(key)?;
        let (line, text) = (node.line, self.text(key, &node)?);
        parse(&text)
            .map_err(|what| self.fault_at(line, key, &what))
            .ok()
    }

    /// A list of values, or one alone.
    pub(super) fn each<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let Some(node) = self.take(key) else {
            return Vec::new();
        };
        let items = match node.value {
            Value::List(items) => items,
            _ => vec![node],
        };
        let mut read = Vec::new();
        for item in items {
            let Some(text) = self.text(key, &item) else {
                continue;
            };
            match parse(&text) {
                Ok(value) => read.push(value),
                Err(what) => self.fault_at(item.line, key, &what),
            }
        }
        read
    }

    pub(super) fn names(&mut self, key: &'static str) -> Vec<Name> {
        self.each(key, text_of(Name::parse))
    }

    /// A mapping of texts.
    fn pairs(&mut self, key: &'static str) -> Vec<(yaml::Key, Node)> {
        let Some(node) = self.take(key) else {
            return Vec::new();
        };
        match node.value {
            Value::Map(members) => members,
            _ => {
                self.fault_at(node.line, key, "a mapping is expected");
                Vec::new()
            }
        }
    }

    pub(super) fn environment(&mut self) -> Vec<(String, String)> {
        let mut set = Vec::new();
        for (key, node) in self.pairs("env") {
            if let Err(what) = check_variable(&key.text) {
                self.fault_at(key.line, "env", &what);
            }
            let text = match &node.value {
                Value::Null => Some(String::new()),
                _ => self.text("env", &node),
            };
            set.extend(text.map(|text| (key.text, text)));
        }
        set
    }

    pub(super) fn resolve(&mut self) -> Vec<(Name, String)> {
        let mut told = Vec::new();
        for (key, node) in self.pairs("resolve") {
            let Some(variable) = self.text("resolve", &node) else {
                continue;
            };
            let name = Name::parse(&key.text).map_err(|error| error.to_string());
            match name.and_then(|name| check_variable(&variable).map(|()| name)) {
                Ok(name) => told.push((name, variable)),
                Err(what) => self.fault_at(key.line, "resolve", &what),
            }
        }
        told
    }

    pub(super) fn metadata(&mut self) -> Map<String, serde_json::Value> {
        let pairs = self.pairs("metadata").into_iter();
        pairs
            .map(|(key, node)| (key.text, json(node.value)))
            .collect()
    }

    /// A list is executed as it is; a text is for the shell.
    pub(super) fn command(&mut self) -> Option<Vec<std::ffi::OsString>> {
        let Some(node) = self.take("command") else {
            self.fault("command: it is missing");
            return None;
        };
        let words = match node.value {
            Value::List(items) => {
                let words: Option<Vec<String>> = items
                    .iter()
                    .map(|item| self.text("command", item))
                    .collect();
                words?
            }
            Value::Text(line) => vec!["sh".into(), "-c".into(), line],
            _ => Vec::new(),
        };
        if words.is_empty() {
            self.fault_at(
                node.line,
                "command",
                "a list of words, or a line for the shell",
            );
            return None;
        }
        Some(words.into_iter().map(Into::into).collect())
    }

    /// A single value as it was written. A fraction is not: 1.10 would become 1.1.
    fn text(&mut self, key: &str, node: &Node) -> Option<String> {
        match &node.value {
            Value::Text(text) if text.contains('\0') => {}
            Value::Text(text) => return Some(text.clone()),
            Value::Bool(_) => return Some(node.value.shown()),
            Value::Number(number) if number.fract() == 0.0 => return Some(node.value.shown()),
            Value::Number(_) => {
                self.fault_at(
                    node.line,
                    key,
                    "a fraction stands in quotes, to keep its digits",
                );
                return None;
            }
            Value::Null | Value::List(_) | Value::Map(_) => {}
        }
        self.fault_at(node.line, key, "a text is expected");
        None
    }

    pub(super) fn finish(self) {
        for (key, _) in &self.members {
            let near = nearest(&key.text, self.known.iter().copied());
            let hint = match near[..] {
                [] => format!("known are {}", self.known.join(", ")),
                [..] => format!("did you mean {}?", near.join(" or ")),
            };
            let what = format!("{}.{}: it is not known; {hint}", self.place, key.text);
            self.faults.add(key.line, what);
        }
    }
}

fn json(value: Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => value.into(),
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and small")]
        Value::Number(number) if number.fract() == 0.0 && number.abs() < 9e15 => {
            (number as i64).into()
        }
        Value::Number(number) => number.into(),
        Value::Text(text) => text.into(),
        Value::List(items) => items.into_iter().map(|item| json(item.value)).collect(),
        Value::Map(members) => members
            .into_iter()
            .map(|(key, node)| (key.text, json(node.value)))
            .collect(),
    }
}

/// A parser whose error is a text.
pub(super) fn text_of<T, E: ToString>(
    parse: impl Fn(&str) -> Result<T, E>,
) -> impl Fn(&str) -> Result<T, String> {
    move |text| parse(text).map_err(|error| error.to_string())
}
