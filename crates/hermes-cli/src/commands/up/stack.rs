//! The file that says what belongs together: `stack.yaml`.
//!
//! ```yaml
//! services:
//!   rhetor:
//!     command: [python3, rhetor.py]
//!     port: auto
//!   coder:
//!     command: ./coder --verbose
//!     port: 8010
//!     needs: [rhetor]
//!     resolve: {rhetor: RHETOR_URL}
//!     restart: on-failure
//! ```
//!
//! Everything that is wrong is told at once, each with its line: whoever mends a file wants to see
//! all of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hermes_core::address::{Host, Scheme};
use hermes_core::name::{EndpointId, Name};
use hermes_core::nearest::nearest;
use hermes_discovery::settings::yaml::{self, Node, Value};
use serde_json::Map;

use super::order::cycles;
use crate::args::duration;
use crate::commands::check::{self, Wish};
use crate::commands::run::program::{Port, Program, Times, parse_port};
use crate::commands::run::restart::Restart;
use crate::commands::run::{check_variable, wait};

/// Most endpoints of a stack: each is a process with a watch of its own.
const ENDPOINTS_MAX: usize = 500;

/// What belongs together.
#[derive(Debug)]
pub(super) struct Stack {
    pub(super) entries: Vec<Entry>,
}

/// One service of it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) program: Program,
    /// How many processes of it there are.
    pub(super) endpoints: usize,
}

/// Everything that is wrong, in the order of the file.
#[derive(Debug, Default)]
struct Faults {
    all: Vec<(u64, String)>,
}

impl Faults {
    fn add(&mut self, line: u64, what: String) {
        self.all.push((line, what));
    }
}

/// Reads a stack from a file in `folder`, where its commands run unless said.
///
/// # Errors
/// Everything that is wrong, a line each, beginning with the line of the file.
pub(super) fn read(text: &str, folder: &Path) -> Result<Stack, Vec<String>> {
    let mut faults = Faults::default();
    let stack = match yaml::parse(text) {
        Ok(root) => read_root(root, folder, &mut faults),
        Err(error) => {
            faults.add(error.line, error.what);
            Stack {
                entries: Vec::new(),
            }
        }
    };
    if faults.all.is_empty() {
        return Ok(stack);
    }
    faults.all.sort();
    let shown = |(line, what): (u64, String)| match line {
        0 => what,
        line => format!("line {line}: {what}"),
    };
    Err(faults.all.into_iter().map(shown).collect())
}

fn read_root(root: Node, folder: &Path, faults: &mut Faults) -> Stack {
    let mut reader = Reader::of("the file", root, faults);
    let external = reader.names("external");
    let services = reader.take("services");
    reader.finish();
    let mut entries = Vec::new();
    let mut lines = BTreeMap::new();
    let Some(services) = services else {
        faults.add(0, "it has no `services`; see `hermes up --help`".into());
        return Stack { entries };
    };
    let Value::Map(services) = services.value else {
        faults.add(
            services.line,
            "services: a mapping of names is expected".into(),
        );
        return Stack { entries };
    };
    for (key, node) in services {
        let name = match Name::parse(&key.text) {
            Ok(name) => name,
            Err(error) => {
                faults.add(key.line, format!("services.{}: {error}", key.text));
                continue;
            }
        };
        let line = node.line;
        if lines.insert(name.clone(), key.line).is_some() {
            faults.add(key.line, format!("services.{name}: it stands here twice"));
        }
        let place = format!("services.{name}");
        let mut reader = Reader::of(&place, node, faults);
        let entry = read_entry(name, folder, &mut reader);
        reader.finish();
        if let Some(entry) = entry {
            if let Err(problem) = entry.program.check() {
                faults.add(line, format!("{place}: {}", problem.detail));
            }
            entries.push(entry);
        }
    }
    check_needs(&entries, &external, &lines, faults);
    let total: usize = entries.iter().map(|entry| entry.endpoints).sum();
    if total > ENDPOINTS_MAX {
        faults.add(
            0,
            format!("it has {total} endpoints, at most {ENDPOINTS_MAX} are run"),
        );
    }
    Stack { entries }
}

fn read_entry(name: Name, folder: &Path, reader: &mut Reader<'_>) -> Option<Entry> {
    let times = Times {
        ttl: reader.parsed("ttl", duration).unwrap_or(Times::DEFAULT.ttl),
        needs_timeout: reader
            .parsed("needs_timeout", duration)
            .unwrap_or(Times::DEFAULT.needs_timeout),
        drain_time: reader
            .parsed("drain_time", wait)
            .unwrap_or(Times::DEFAULT.drain_time),
        stop_timeout: reader
            .parsed("stop_timeout", duration)
            .unwrap_or(Times::DEFAULT.stop_timeout),
    };
    let endpoints = reader.parsed("endpoints", count).unwrap_or(1);
    let port = reader.parsed("port", parse_port).unwrap_or(Port::Auto);
    let id = reader.parsed("id", text_of(EndpointId::parse));
    if endpoints > 1 && port != Port::Auto {
        reader.fault("endpoints: several of them cannot share a port; say `port: auto`");
    }
    if endpoints > 1 && id.is_some() {
        reader.fault("endpoints: several of them cannot share an id; leave `id` out");
    }
    let scheme = reader
        .parsed("scheme", text_of(Scheme::parse))
        .unwrap_or_else(Scheme::http);
    let wishes: Vec<Wish> = reader.each("check", check::parse);
    let interval: Option<Duration> = reader.parsed("check_interval", duration);
    let checks = check::wished(&wishes, interval, Some(scheme.as_str()));
    let checks = checks.unwrap_or_else(|failure| {
        reader.fault(&format!("check: {failure}"));
        serde_json::Value::Null
    });
    let inner = reader.parsed("directory", |text| Ok::<_, String>(PathBuf::from(text)));
    let directory = inner.map_or_else(|| folder.to_owned(), |inner| folder.join(inner));
    let command = reader.command();
    let program = Program {
        id,
        host: reader
            .parsed("host", text_of(Host::parse))
            .unwrap_or_else(|| Host::parse("127.0.0.1").expect("it is an address")),
        port,
        times,
        checks,
        tags: reader.each("tags", |text| Ok::<_, String>(text.to_owned())),
        metadata: reader.metadata(),
        needs: reader.names("needs"),
        resolve: reader.resolve(),
        restart: reader.parsed("restart", restart).unwrap_or_default(),
        command: command?,
        environment: reader.environment(),
        // A file that is named without its folder is here.
        directory: Some(directory).filter(|folder| !folder.as_os_str().is_empty()),
        scheme,
        name,
    };
    Some(Entry { program, endpoints })
}

/// Whether everything that is needed is there, and can be there first.
fn check_needs(
    entries: &[Entry],
    external: &[Name],
    lines: &BTreeMap<Name, u64>,
    faults: &mut Faults,
) {
    let mut needs = BTreeMap::new();
    for entry in entries {
        let name = &entry.program.name;
        let line = lines.get(name).copied().unwrap_or_default();
        let (inside, others): (Vec<Name>, Vec<Name>) = entry
            .program
            .all_needs()
            .into_iter()
            .partition(|need| lines.contains_key(need));
        for need in others.iter().filter(|need| !external.contains(need)) {
            let near = nearest(need.as_str(), lines.keys().map(Name::as_str));
            let near = match near[..] {
                [] => String::new(),
                [..] => format!("did you mean {}? ", near.join(" or ")),
            };
            let what = format!(
                "services.{name} needs `{need}`, which is not in this file; {near}what runs \
                 elsewhere is listed under `external`"
            );
            faults.add(line, what);
        }
        needs.insert(name.clone(), inside);
    }
    for cycle in cycles(&needs) {
        let line = lines.get(&cycle[0]).copied().unwrap_or_default();
        let names: Vec<&str> = cycle
            .iter()
            .chain(cycle.first())
            .map(Name::as_str)
            .collect();
        let circle = names.join(" needs ");
        faults.add(line, format!("{circle}: none of them can be started first"));
    }
}

fn count(text: &str) -> Result<usize, String> {
    let count = text
        .parse()
        .ok()
        .filter(|count| (1..=ENDPOINTS_MAX).contains(count));
    count.ok_or_else(|| format!("a number from 1 to {ENDPOINTS_MAX} is expected"))
}

fn restart(text: &str) -> Result<Restart, String> {
    <Restart as clap::ValueEnum>::from_str(text, false)
        .map_err(|_error| "never, on-failure or always is expected".into())
}

/// A parser whose error is a text.
fn text_of<T, E: ToString>(
    parse: impl Fn(&str) -> Result<T, E>,
) -> impl Fn(&str) -> Result<T, String> {
    move |text| parse(text).map_err(|error| error.to_string())
}

/// Takes members out of a mapping; what is left at the end is not known.
struct Reader<'a> {
    place: String,
    line: u64,
    members: Vec<(yaml::Key, Node)>,
    known: Vec<&'static str>,
    faults: &'a mut Faults,
}

impl<'a> Reader<'a> {
    fn of(place: &str, node: Node, faults: &'a mut Faults) -> Self {
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

    fn fault(&mut self, what: &str) {
        self.faults.add(self.line, format!("{}.{what}", self.place));
    }

    fn fault_at(&mut self, line: u64, key: &str, what: &str) {
        self.faults
            .add(line, format!("{}.{key}: {what}", self.place));
    }

    /// A member, unless it is not there or empty.
    fn take(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        let at = self
            .members
            .iter()
            .position(|(found, _)| found.text == key)?;
        let (_, node) = self.members.remove(at);
        Some(node).filter(|node| node.value != Value::Null)
    }

    /// One value, read from its text.
    fn parsed<T>(
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
    fn each<T>(&mut self, key: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
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

    fn names(&mut self, key: &'static str) -> Vec<Name> {
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

    fn environment(&mut self) -> Vec<(String, String)> {
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

    fn resolve(&mut self) -> Vec<(Name, String)> {
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

    fn metadata(&mut self) -> Map<String, serde_json::Value> {
        let pairs = self.pairs("metadata").into_iter();
        pairs
            .map(|(key, node)| (key.text, json(node.value)))
            .collect()
    }

    /// A list is executed as it is; a text is for the shell.
    fn command(&mut self) -> Option<Vec<std::ffi::OsString>> {
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

    fn finish(self) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        read(text, Path::new("")).unwrap_err()
    }

    #[test]
    fn a_stack_says_what_is_run_and_how_it_joins() {
        let text = "\
external: [postgres]
services:
  Rhetor:
    command: [python3, rhetor.py]
  coder:
    command: ./coder \"$PORT\"
    port: 8010
    needs: [postgres]
    resolve: {rhetor: RHETOR_URL}
    restart: on-failure
    check: [tcp, http:/ready]
    check_interval: 2s
    env: {A: 1, B: yes, C: ~}
    metadata: {version: 2, on: true}
    directory: src
    ttl: 5
    drain_time: 0s
  worker: {command: [w], endpoints: 3}
";
        let stack = read(text, Path::new("/stack")).unwrap();
        let [rhetor, coder, worker] = &stack.entries[..] else {
            panic!("{stack:?}");
        };
        assert_eq!(rhetor.program.name.as_str(), "rhetor");
        assert_eq!(rhetor.program.port, Port::Auto);
        assert_eq!(rhetor.program.command, ["python3", "rhetor.py"]);
        assert_eq!(rhetor.program.times, Times::DEFAULT);
        let coder = &coder.program;
        assert_eq!(coder.command, ["sh", "-c", "./coder \"$PORT\""]);
        let needs: Vec<String> = coder.all_needs().iter().map(ToString::to_string).collect();
        assert_eq!(needs, ["postgres", "rhetor"]);
        assert_eq!(coder.restart, Restart::OnFailure);
        assert_eq!(coder.checks[1]["path"], "/ready");
        assert_eq!(coder.checks[0]["interval"], 2.0);
        assert_eq!(coder.environment[0], ("A".into(), "1".into()));
        assert_eq!(coder.environment[2], ("C".into(), String::new()));
        assert_eq!(coder.metadata["version"], 2);
        assert_eq!(coder.directory.as_deref(), Some(Path::new("/stack/src")));
        assert_eq!(coder.times.drain_time, Duration::ZERO);
        assert_eq!(worker.endpoints, 3);
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_with_its_line() {
        let text = "\
services:
  web:
    comand: [a]
    port: 99999
    needs: [dbb]
  db:
    command: [b]
    endpoints: 2
    port: 80
    restart: often
  a: {command: [a], needs: [b]}
  b: {command: [b], needs: [c]}
  c: {command: [c], needs: [a]}
  d: {command: [d], needs: [d], env: {V: 1.10}}
  w.b: {command: [x]}
extra: 1
";
        let all = faults(text);
        let expected = [
            "line 3: services.web.comand: it is not known; did you mean command?",
            "line 3: services.web.command: it is missing",
            "line 4: services.web.port: `auto` or a number",
            "line 7: services.db.endpoints: several of them cannot share a port",
            "line 10: services.db.restart: never, on-failure or always",
            "line 11: a needs b needs c needs a: none of them can be started first",
            "line 14: d needs d: none of them can be started first",
            "line 14: services.d.env: a fraction",
            "line 15: services.w.b: ",
            "line 16: the file.extra: it is not known",
        ];
        for (fault, expected) in all.iter().zip(expected) {
            assert!(fault.starts_with(expected), "{expected}: {all:#?}");
        }
        assert_eq!(all.len(), expected.len(), "{all:#?}");
    }

    #[test]
    fn a_stack_has_so_many_endpoints_and_no_more() {
        let of = |counts: [usize; 2]| {
            let [a, b] = counts;
            format!(
                "services: {{a: {{command: x, endpoints: {a}}}, b: {{command: x, endpoints: {b}}}}}"
            )
        };
        assert!(read(&of([ENDPOINTS_MAX - 1, 1]), Path::new("")).is_ok());
        assert!(faults(&of([ENDPOINTS_MAX, 1]))[0].contains("it has 501 endpoints, at most 500"));
        assert!(faults(&of([ENDPOINTS_MAX + 1, 1]))[0].contains("a number from 1 to 500"));
    }

    #[test]
    fn what_is_needed_and_not_there_comes_with_what_was_meant() {
        let text = "\
services:
  web: {command: [a], needs: [dbb], resolve: {nobody: URL}}
  db: {command: [b], ttl: 100h}
";
        let all = faults(text);
        assert!(
            all[0].contains("`dbb`, which is not in this file; did you mean db?"),
            "{all:?}"
        );
        assert!(all[1].contains("needs `nobody`"), "{all:?}");
        assert!(
            all[2].contains("services.db: ") && all[2].contains("24 h"),
            "{all:?}"
        );
        assert!(faults("services: 1")[0].contains("a mapping"));
        assert_eq!(faults("").len(), 1);
        assert!(faults("[a]")[1].contains("the file: a mapping"));
        assert!(faults("services: {a: [b}")[0].starts_with("line 1: "));
    }
}
