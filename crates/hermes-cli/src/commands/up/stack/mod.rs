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

mod reader;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hermes_core::address::{Host, Scheme};
use hermes_core::name::{EndpointId, Name};
use hermes_core::nearest::nearest;
use hermes_discovery::settings::yaml::{self, Node, Value};

use super::order::cycles;
use crate::args::duration;
use crate::commands::check::{self, Wish};
use crate::commands::run::program::{Port, Program, Times, parse_port};
use crate::commands::run::restart::Restart;
use crate::commands::run::wait;
use reader::{Faults, Reader, text_of};

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
