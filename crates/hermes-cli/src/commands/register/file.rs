//! A file of registrations, read strictly, with everything that is wrong about it at once.
//!
//! ```yaml
//! services:
//!   memory-store: http://127.0.0.1:9001          # one endpoint, by its URL
//!   web:                                         # several; one alone needs no list
//!     - id: web-1
//!       url: http://127.0.0.1:8081
//!       ttl: 30s
//! health_check: {interval: 30, timeout: 5}       # of endpoints that name no checks
//! ```
//!
//! An endpoint has the members of the API's Registration, and `id`. Without `ttl` it is static: who
//! writes a file sends no heartbeats. The file of the second seed is of this form.
//!
//! What a registration may hold is decided by the reader that the server has, too. That one stops at
//! the first fault; so what is at fault is taken away and the rest is read again, until it is sound.

use std::collections::BTreeSet;
use std::time::Duration;

use hermes_core::address::Address;
use hermes_core::limits::BodyRules;
use hermes_core::name::{EndpointId, Name};
use hermes_core::nearest::nearest;
use hermes_core::wire::problem::{Problem, code};
use hermes_core::wire::request::read_registration_under;
use hermes_discovery::settings::yaml::{self, Key, Node, Value};
use serde_json::{Map, json};

/// One endpoint of the file.
#[derive(Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) service: Name,
    pub(super) id: Option<EndpointId>,
    pub(super) body: serde_json::Value,
}

/// So many faults of one endpoint are looked for.
const FAULTS_MAX: usize = 32;

/// What may stand at the top of a file.
const MEMBERS: [&str; 2] = ["services", "health_check"];

/// Stands in for an address that is wrong, while the rest is looked at.
const STAND_IN: &str = "http://address.invalid:1";

/// Reads a file.
///
/// # Errors
/// Everything that is wrong, each with its line and column.
pub(super) fn read(text: &str) -> Result<Vec<Entry>, Vec<String>> {
    let root = yaml::parse(text).map_err(|error| {
        let place = place(error.line, error.column);
        vec![format!(
            "{place}it is not YAML as it is read here: {}",
            error.what
        )]
    })?;
    let mut reader = Reader::default();
    reader.read_root(&root);
    if reader.faults.is_empty() {
        Ok(reader.entries)
    } else {
        reader
            .faults
            .sort_by_key(|(line, column, _)| (*line, *column));
        let tell = |(line, column, what)| format!("{}{what}", place(line, column));
        Err(reader.faults.into_iter().map(tell).collect())
    }
}

/// `3:5: `, or nothing where it is about the whole.
fn place(line: u64, column: u64) -> String {
    if line == 0 {
        return String::new();
    }
    format!("{line}:{column}: ")
}

#[derive(Default)]
struct Reader {
    entries: Vec<Entry>,
    faults: Vec<(u64, u64, String)>,
    /// Who was named already: the service, and the id or the URL.
    seen: BTreeSet<(String, String)>,
    /// What a check has that is not named: `interval` and `timeout`.
    check: Map<String, serde_json::Value>,
}

impl Reader {
    fn fault(&mut self, node: &Node, what: String) {
        self.faults.push((node.line, node.column, what));
    }

    fn read_root(&mut self, root: &Node) {
        let wanted = "a mapping with `services` is expected, as `hermes register --help` shows";
        let Value::Map(members) = &root.value else {
            return self.fault(root, wanted.into());
        };
        for (key, _) in members {
            if !MEMBERS.contains(&key.text.as_str()) {
                let what = unknown(&key.text, &MEMBERS);
                self.faults.push((key.line, key.column, what));
            }
        }
        let find = |name: &str| members.iter().find(|(key, _)| key.text == name);
        if let Some((_, check)) = find("health_check") {
            self.read_health_check(check);
        }
        match find("services") {
            Some((_, services)) => self.read_services(services),
            None => self.fault(root, wanted.into()),
        }
    }

    fn read_health_check(&mut self, node: &Node) {
        let Value::Map(members) = &node.value else {
            let what = "health_check: a mapping of interval and timeout is expected";
            return self.fault(node, what.into());
        };
        for (key, value) in members {
            if !["interval", "timeout"].contains(&key.text.as_str()) {
                let what = format!(
                    "health_check: {}",
                    unknown(&key.text, &["interval", "timeout"])
                );
                self.faults.push((key.line, key.column, what));
                continue;
            }
            let check = json!({"type": "http", key.text.as_str(): to_json(value)});
            let body = json!({"url": STAND_IN, "checks": [check]});
            match judge(&body) {
                Ok(()) => {
                    self.check.insert(key.text.clone(), to_json(value));
                }
                Err(problem) => {
                    let detail = problem.detail.replace("/checks/0/", "health_check/");
                    self.fault(value, detail);
                }
            }
        }
    }

    fn read_services(&mut self, node: &Node) {
        let Value::Map(services) = &node.value else {
            let what = "services: a mapping from names to endpoints is expected";
            return self.fault(node, what.into());
        };
        if services.is_empty() {
            self.fault(node, "services: none is named".into());
        }
        for (key, endpoints) in services {
            let service = match Name::parse(&key.text) {
                Ok(service) => service,
                Err(error) => {
                    let what = format!("`{}` is no name of a service: {error}", key.text);
                    self.faults.push((key.line, key.column, what));
                    continue;
                }
            };
            match &endpoints.value {
                Value::List(list) if list.is_empty() => {
                    self.fault(endpoints, format!("{service}: it has no endpoint"));
                }
                Value::List(list) => {
                    for endpoint in list {
                        self.read_endpoint(&service, endpoint);
                    }
                }
                _ => self.read_endpoint(&service, endpoints),
            }
        }
    }

    fn read_endpoint(&mut self, service: &Name, node: &Node) {
        let mut node = node.clone();
        if let Value::Text(url) = &node.value {
            let url = serde_json::Value::from(url.as_str());
            let body = self.complete(Map::from_iter([("url".to_owned(), url)]));
            return match judge(&body) {
                Ok(()) => self.enter(service, None, body, &node),
                Err(problem) => self.fault(&node, format!("{service}: {}", problem.detail)),
            };
        }
        let Value::Map(members) = &mut node.value else {
            let what = format!("{service}: a URL or a mapping is expected");
            return self.fault(&node, what);
        };
        let at = members.iter().position(|(key, _)| key.text == "id");
        let id = at.map(|at| members.remove(at).1);
        let id = id.and_then(|id| self.read_id(service, &id));
        let before = self.faults.len();
        let body = self.read_members(service, &mut node);
        if self.faults.len() == before {
            self.enter(service, id, body, &node);
        }
    }

    fn read_id(&mut self, service: &Name, node: &Node) -> Option<EndpointId> {
        let Value::Text(text) = &node.value else {
            let what = format!("{service}: `/id` is wrong: a text is expected (quote it).");
            self.fault(node, what);
            return None;
        };
        let id = EndpointId::parse(text);
        id.map_err(|error| self.fault(node, format!("{service}: `/id` is wrong: {error}.")))
            .ok()
    }

    /// Reads until what is left is sound, and says what was not.
    fn read_members(&mut self, service: &Name, node: &mut Node) -> serde_json::Value {
        let mut is_placed = true;
        let mut told: Vec<String> = Vec::new();
        for _ in 0..FAULTS_MAX {
            let Some(mut members) = to_json(node).as_object().cloned() else {
                break;
            };
            if !is_placed {
                members.insert("url".into(), json!(STAND_IN));
            }
            let body = self.complete(members);
            let Err(problem) = judge(&body) else {
                return body;
            };
            let pointer = problem.field.clone().unwrap_or_default();
            // What was taken away is missed now; then what misses it goes, too.
            if told.contains(&pointer) {
                let above = pointer.rsplit_once('/').map_or("", |(above, _)| above);
                if !take_away(node, above) {
                    break;
                }
                continue;
            }
            let is_unknown = problem.code == code::UNKNOWN_FIELD;
            let (line, column) = place_of(node, &pointer, is_unknown);
            let what = format!("{service}: {}", problem.detail);
            self.faults.push((line, column, what));
            let first = pointer.split('/').nth(1).unwrap_or_default();
            if ["", "url", "host", "port", "scheme"].contains(&first) {
                is_placed = false;
                for member in ["url", "host", "port", "scheme"] {
                    take_away(node, &format!("/{member}"));
                }
            } else if !take_away(node, &pointer) && !take_away(node, &format!("/{first}")) {
                break;
            }
            told.push(pointer);
        }
        serde_json::Value::Null
    }

    /// With what a file leaves out: the lease, and the checks if it says how often.
    fn complete(&self, mut members: Map<String, serde_json::Value>) -> serde_json::Value {
        members.entry("ttl").or_insert(serde_json::Value::Null);
        if !self.check.is_empty() && !members.contains_key("checks") {
            let mut check = self.check.clone();
            check.insert("type".into(), json!(default_type(&members)));
            members.insert("checks".into(), json!([check]));
        }
        members.into()
    }

    fn enter(
        &mut self,
        service: &Name,
        id: Option<EndpointId>,
        body: serde_json::Value,
        node: &Node,
    ) {
        let url = body["url"].as_str().unwrap_or_default();
        let who = id.as_ref().map_or(url, |id| id.as_str()).to_owned();
        if !who.is_empty() && !self.seen.insert((service.to_string(), who.clone())) {
            return self.fault(node, format!("{service}: {who} stands here twice"));
        }
        self.entries.push(Entry {
            service: service.clone(),
            id,
            body,
        });
    }
}

/// Reads a registration as generously as any server can be set to: how many and how long there may
/// be is the server's to say, what makes sense at all is known here.
pub(crate) fn judge(body: &serde_json::Value) -> Result<(), Problem> {
    let rules = BodyRules {
        json_depth: 100,
        metadata_members: 10_000,
        metadata_bytes: 1024 * 1024,
        tags: 1_000,
        tag_length: 4_096,
        ports: 1_000,
        checks: 100,
        // A timeout is held to the interval that is said, not to one that a server may have.
        check_interval: Duration::from_secs(24 * 60 * 60),
        ..BodyRules::default()
    };
    read_registration_under(body.to_string().as_bytes(), rules).map(drop)
}

fn unknown(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()).first() {
        Some(near) => format!("`{name}` is not known here; did you mean `{near}`?"),
        None => format!("`{name}` is not known here; known are {}", known.join(", ")),
    }
}

/// The check that the server would choose for such an endpoint.
fn default_type(members: &Map<String, serde_json::Value>) -> &'static str {
    let url = members.get("url").and_then(serde_json::Value::as_str);
    let scheme = match url.map(Address::parse_url) {
        Some(Ok(address)) => address.scheme.as_str().to_owned(),
        Some(Err(_)) => "http".into(),
        None => members
            .get("scheme")
            .and_then(serde_json::Value::as_str)
            .unwrap_or("http")
            .to_ascii_lowercase(),
    };
    match scheme.as_str() {
        "http" | "https" => "http",
        _ => "tcp",
    }
}

/// What JSON makes of a node. A number without a fraction is an integer.
fn to_json(node: &Node) -> serde_json::Value {
    /// Up to here every integer has an exact number (2^53).
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => json!(value),
        Value::Number(number) if number.fract() == 0.0 && number.abs() <= EXACT_MAX => {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "it is an integer of 53 bits"
            )]
            let integer = *number as i64;
            json!(integer)
        }
        Value::Number(number) => json!(number),
        Value::Text(text) => json!(text),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(members) => members
            .iter()
            .map(|(key, value)| (key.text.clone(), to_json(value)))
            .collect(),
    }
}

/// The steps of a JSON pointer.
fn steps(pointer: &str) -> Vec<String> {
    let steps = pointer.split('/').skip(1);
    steps
        .map(|step| step.replace("~1", "/").replace("~0", "~"))
        .collect()
}

/// Where a pointer leads, or the nearest place above it; to the name of a member or to its value.
fn place_of(node: &Node, pointer: &str, is_name: bool) -> (u64, u64) {
    let mut place = (node.line, node.column);
    let mut here = node;
    for step in steps(pointer) {
        let next = match &here.value {
            Value::Map(members) => members
                .iter()
                .find(|(key, _)| key.text == step)
                .map(|(key, value)| ((key.line, key.column), value)),
            Value::List(items) => {
                let item = step.parse::<usize>().ok().and_then(|at| items.get(at));
                item.map(|item| ((item.line, item.column), item))
            }
            _ => None,
        };
        let Some((name, next)) = next else {
            return place;
        };
        place = if is_name {
            name
        } else {
            (next.line, next.column)
        };
        here = next;
    }
    place
}

/// What may stand in a list of checks, or of tags.
fn stand_in(node: &Node, at: usize) -> Value {
    let text = |text: String| Value::Text(text);
    if !matches!(node.value, Value::Map(_)) {
        return text(format!("stand-in-{at}"));
    }
    let member = |name: &str, value: String| {
        let (line, column) = (node.line, node.column);
        let key = Key {
            text: name.into(),
            line,
            column,
        };
        let value = Node {
            value: text(value),
            line,
            column,
        };
        (key, value)
    };
    Value::Map(vec![
        member("type", "tcp".into()),
        member("name", format!("stand-in-{at}")),
    ])
}

/// Takes away what a pointer leads to; says whether it was there.
fn take_away(node: &mut Node, pointer: &str) -> bool {
    let steps = steps(pointer);
    let Some((last, above)) = steps.split_last() else {
        return false;
    };
    let mut here = node;
    for step in above {
        let next = match &mut here.value {
            Value::Map(members) => members
                .iter_mut()
                .find(|(key, _)| key.text == *step)
                .map(|(_, value)| value),
            Value::List(items) => step.parse::<usize>().ok().and_then(|at| items.get_mut(at)),
            _ => None,
        };
        let Some(next) = next else {
            return false;
        };
        here = next;
    }
    match &mut here.value {
        Value::Map(members) => {
            let before = members.len();
            members.retain(|(key, _)| key.text != *last);
            members.len() < before
        }
        Value::List(items) => match last.parse::<usize>() {
            // Something sound in its place: those behind it keep their numbers.
            Ok(at) if at < items.len() => {
                let stand_in = stand_in(&items[at], at);
                let is_new = items[at].value != stand_in;
                items[at].value = stand_in;
                is_new
            }
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(text: &str) -> Vec<(String, Option<String>, serde_json::Value)> {
        let entries = read(text).unwrap_or_else(|faults| panic!("{faults:#?}"));
        let gist = |entry: Entry| {
            let id = entry.id.map(|id| id.as_str().to_owned());
            (entry.service.to_string(), id, entry.body)
        };
        entries.into_iter().map(gist).collect()
    }

    #[test]
    fn an_endpoint_is_a_url_or_a_mapping_and_a_service_one_or_a_list_of_them() {
        let text = "services:\n  Memory_Store: http://m:1\n  web:\n    - http://w:1\n    - id: w2\n      \
            host: w\n      port: 2\n      ttl: 30s\n      metadata: {retries: 3, ratio: 0.5}\n  \
            db: {url: 'http://d:1', checks: []}\n";
        let expected = [
            (
                "memory-store",
                None,
                json!({"url": "http://m:1", "ttl": null}),
            ),
            ("web", None, json!({"url": "http://w:1", "ttl": null})),
            (
                "web",
                Some("w2"),
                json!({"host": "w", "port": 2, "ttl": "30s",
                    "metadata": {"retries": 3, "ratio": 0.5}}),
            ),
            (
                "db",
                None,
                json!({"url": "http://d:1", "ttl": null, "checks": []}),
            ),
        ];
        let expected: Vec<(String, Option<String>, serde_json::Value)> = expected
            .into_iter()
            .map(|(service, id, body)| (service.into(), id.map(Into::into), body))
            .collect();
        assert_eq!(bodies(text), expected);
    }

    #[test]
    fn the_file_of_the_seed_is_read_with_its_intervals() {
        let text = "services:\n  memory: http://m:9000\n  raw: {host: r, port: 1, scheme: redis}\n\
            health_check:\n  interval: 30\n  timeout: 5.0\n";
        let read = bodies(text);
        let check = |kind: &str| json!([{"type": kind, "interval": 30, "timeout": 5}]);
        assert_eq!(read[0].2["checks"], check("http"));
        assert_eq!(read[1].2["checks"], check("tcp"));
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_with_its_place() {
        let text = "services:\n  \
              bad.name: http://a:1\n  \
              web:\n    \
                - url: ftp://a:1\n      \
                  tags: [1]\n      \
                  wieght: 3\n    \
                - {id: w, url: 'http://a:1', ttl: 100h, checks: [{type: ping}, {type: tcp, interval: 0}]}\n    \
                - {id: w, url: 'http://a:1'}\n    \
                - {id: w, url: 'http://b:1'}\n    \
                - {id: -x, host: a}\n  \
              empty: []\n  \
              odd: 7\n\
            health_chek: {}\n";
        let faults = read(text).unwrap_err();
        let expected = [
            ("2:3: ", "`bad.name` is no name of a service"),
            ("4:12: ", "web: `/url`"),
            ("5:14: ", "web: `/tags/0`"),
            ("6:7: ", "wieght"),
            ("7:39: ", "web: `/ttl`"),
            ("7:61: ", "web: `/checks/0/type`"),
            ("7:90: ", "web: `/checks/1/interval`"),
            ("9:7: ", "web: w stands here twice"),
            ("10:7: ", "web: `/port`"),
            ("10:12: ", "web: `/id` is wrong"),
            ("11:10: ", "empty: it has no endpoint"),
            ("12:8: ", "odd: a URL or a mapping is expected"),
            ("13:1: ", "did you mean `health_check`?"),
        ];
        assert_eq!(faults.len(), expected.len(), "{faults:#?}");
        for (fault, (place, part)) in faults.iter().zip(expected) {
            assert!(
                fault.starts_with(place) && fault.contains(part),
                "{place}{part}: {faults:#?}"
            );
        }
    }

    #[test]
    fn how_much_there_may_be_is_for_the_server_to_say() {
        let tags: Vec<String> = (0..100).map(|n| format!("t{n}")).collect();
        let tags = tags.join(", ");
        let text = format!("services: {{web: {{url: 'http://a:1', tags: [{tags}]}}}}");
        assert_eq!(
            bodies(&text)[0].2["tags"].as_array().map(Vec::len),
            Some(100)
        );
        let text = "services: {a: 'http://a:1'}\nhealth_check: {timeout: 45}";
        assert_eq!(bodies(text)[0].2["checks"][0]["timeout"], 45);
    }

    #[test]
    fn what_is_no_such_file_is_refused_as_a_whole() {
        let cases = [
            ("", "a mapping with `services` is expected"),
            ("[1]", "a mapping with `services` is expected"),
            ("services: [web]", "from names to endpoints"),
            ("services: {}", "none is named"),
            ("services: {a: http://a:1", "not YAML"),
            ("services: {a: http://a:1, a: http://b:1}", "not YAML"),
            (
                "health_check: {interval: -1}\nservices: {a: 'http://a:1'}",
                "health_check/interval",
            ),
            (
                "health_check: {often: 1}\nservices: {a: 'http://a:1'}",
                "often",
            ),
        ];
        for (text, part) in cases {
            let faults = read(text).unwrap_err();
            assert!(
                faults.iter().any(|fault| fault.contains(part)),
                "{text}: {faults:#?}"
            );
        }
    }
}
