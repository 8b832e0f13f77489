//! What the events of a watch say, in one line each for a person.
//!
//! It remembers the health of every endpoint, so that a line can say what it was before: a change
//! tells what is true after it, and only both make a story.

use std::collections::BTreeMap;

use hermes_core::wire::answer::{ChangeAnswer, ServiceEndpoint, SnapshotAnswer};
use hermes_discovery::client::Event;
use serde_json::Value;

use crate::commands::reason;
use crate::failure::Failure;
use crate::output::{Output, Tone};

/// The column of names grows with them, but not beyond this.
const WHO_WIDTH_MAX: usize = 40;

/// The story so far.
#[derive(Debug)]
pub(super) struct Story {
    /// Names in this namespace are shown without it.
    home: String,
    /// The health of each endpoint, as it was told last.
    known: BTreeMap<String, String>,
    /// Between the first snapshot and `synced`: the state, told when it is whole.
    state: Vec<Line>,
    who_width: usize,
}

/// One line: when, who, what happened, how it is now, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    time: String,
    who: String,
    what: String,
    health: String,
    rest: String,
}

impl Story {
    pub(super) fn new(home: &str) -> Self {
        Self {
            home: home.into(),
            known: BTreeMap::new(),
            state: Vec::new(),
            who_width: 0,
        }
    }

    /// Tells what an event says. One of later days, or one that says nothing to people, is left
    /// out.
    pub(super) fn tell(
        &mut self,
        event: &Event,
        data: Value,
        output: &Output,
    ) -> Result<(), Failure> {
        match event.event.as_str() {
            // A state that was cut off is told from its beginning.
            "hello" => self.state.clear(),
            "snapshot" => {
                if let Ok(snapshot) = serde_json::from_value::<SnapshotAnswer>(data) {
                    self.take_snapshot(&snapshot);
                }
            }
            "synced" => {
                for line in std::mem::take(&mut self.state) {
                    self.print(&line, output)?;
                }
                let revision = &data["revision"];
                output.say(&format!(
                    "this is the state at revision {revision}; changes follow"
                ));
            }
            "change" => {
                if let Ok(change) = serde_json::from_value::<ChangeAnswer>(data) {
                    let line = self.take_change(&change);
                    self.print(&line, output)?;
                }
            }
            "reset" => {
                self.known.clear();
                self.state.clear();
                let reason = data["reason"].as_str().unwrap_or("unsaid");
                output.say(&format!(
                    "the server begins anew ({reason}); the state follows"
                ));
            }
            _ => {}
        }
        Ok(())
    }

    fn take_snapshot(&mut self, snapshot: &SnapshotAnswer) {
        let (namespace, service) = (&snapshot.namespace, &snapshot.service_name);
        if snapshot.endpoints.is_empty() {
            let line = Line {
                time: String::new(),
                who: self.who(namespace, service, None),
                what: "present".into(),
                health: "empty".into(),
                rest: snapshot
                    .emptied
                    .as_ref()
                    .map_or_else(String::new, |how| format!(": {how}")),
            };
            self.state.push(line);
        }
        for endpoint in &snapshot.endpoints {
            let who = self.who(namespace, service, Some(&endpoint.id));
            self.known
                .insert(who.clone(), endpoint.health_status.clone());
            self.state.push(Line {
                time: clock(&endpoint.since),
                who,
                what: "present".into(),
                health: endpoint.health_status.clone(),
                rest: format!(
                    ", {}: {}; {}",
                    ready(endpoint),
                    endpoint.url,
                    reason(endpoint)
                ),
            });
        }
    }

    fn take_change(&mut self, change: &ChangeAnswer) -> Line {
        let who = self.who(
            &change.namespace,
            &change.service_name,
            change.id.as_deref(),
        );
        let (health, rest) = match &change.endpoint {
            None => {
                self.known.remove(&who);
                ("gone".to_owned(), format!(": {}", cause(change)))
            }
            Some(endpoint) => {
                let health = endpoint.health_status.clone();
                let before = self.known.insert(who.clone(), health.clone());
                let was = before.filter(|before| *before != health);
                let was = was.map_or_else(String::new, |was| format!(" (was {was})"));
                let why = why(change, endpoint);
                (health, format!("{was}, {}: {why}", ready(endpoint)))
            }
        };
        Line {
            time: clock(&change.time),
            who,
            what: change.kind.clone(),
            health,
            rest,
        }
    }

    /// `service/id`, with the namespace before it when that is another.
    fn who(&mut self, namespace: &str, service: &str, id: Option<&str>) -> String {
        let namespace = Some(namespace).filter(|namespace| *namespace != self.home);
        let parts = [namespace, Some(service), id];
        let parts: Vec<&str> = parts.into_iter().flatten().collect();
        let who = parts.join("/");
        self.who_width = self.who_width.max(who.len()).min(WHO_WIDTH_MAX);
        who
    }

    fn print(&self, line: &Line, output: &Output) -> Result<(), Failure> {
        let who = format!("  {:width$}  ", line.who, width = self.who_width);
        output.tinted(&[
            (Tone::Quiet, &format!("{:9}", line.time)),
            (Tone::Plain, &who),
            (Tone::Plain, &format!("{:<12}  ", line.what)),
            (Tone::of_health(&line.health), &line.health),
            (Tone::Plain, &line.rest),
        ])
    }
}

fn ready(endpoint: &ServiceEndpoint) -> &'static str {
    if endpoint.ready { "ready" } else { "not ready" }
}

/// Why an endpoint is gone: what happened, or else who did it.
fn cause(change: &ChangeAnswer) -> String {
    if change.cause.detail.is_empty() {
        format!("by {}", change.actor)
    } else {
        change.cause.detail.clone()
    }
}

/// What goes with a change of an endpoint that stays: where it is if it is new there, and why it is
/// as it is.
fn why(change: &ChangeAnswer, endpoint: &ServiceEndpoint) -> String {
    if change.kind == "drain" && !change.cause.detail.is_empty() {
        return format!("{} ({})", reason(endpoint), change.cause.detail);
    }
    if change.kind != "registered" {
        return reason(endpoint);
    }
    let parts = [&endpoint.url, &change.cause.detail, &reason(endpoint)];
    let parts: Vec<&str> = parts.into_iter().map(String::as_str).collect();
    let said: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    said.join("; ")
}

/// The time of day of a timestamp, in UTC: `18:05:03Z`.
fn clock(timestamp: &str) -> String {
    timestamp
        .get(11..19)
        .map_or_else(String::new, |time| format!("{time}Z"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn endpoint(health: &str, ready: bool) -> Value {
        json!({"name": "web", "namespace": "default", "id": "web-1", "incarnation": 1,
            "host": "h", "port": 1, "url": "http://h:1", "ports": {}, "environment": "local",
            "health_status": health, "health_reason": "because", "ready": ready, "flags": [],
            "last_heartbeat": "", "registered_at": "", "since": "2026-11-21T18:05:03.123Z",
            "ttl": null, "metadata": {}, "tags": [], "zone": null, "weight": 100, "revision": 1})
    }

    fn change(kind: &str, endpoint: &Value, detail: &str) -> ChangeAnswer {
        let change = json!({"revision": 2, "time": "2026-11-21T18:06:00.000Z", "type": kind,
            "service_name": "web", "namespace": "default", "id": "web-1", "incarnation": 1,
            "endpoint": endpoint, "service_revision": 2, "actor": "127.0.0.1",
            "cause": {"code": "x", "detail": detail}});
        serde_json::from_value(change).unwrap()
    }

    fn words(line: &Line) -> String {
        format!(
            "{} {} {} {}{}",
            line.time, line.who, line.what, line.health, line.rest
        )
    }

    #[test]
    fn a_life_is_told_in_lines_that_say_what_was_before() {
        let mut story = Story::new("default");
        let mut tell =
            |kind, endpoint, detail| words(&story.take_change(&change(kind, &endpoint, detail)));
        let lines = [
            tell("registered", endpoint("unknown", false), ""),
            tell("health", endpoint("healthy", true), "http: 200 OK"),
            tell("updated", endpoint("healthy", true), ""),
            tell("health", endpoint("unhealthy", false), ""),
            tell("expired", Value::Null, "silent for 30 s"),
            tell(
                "registered",
                endpoint("healthy", true),
                "it was at http://g:1",
            ),
            tell("deregistered", Value::Null, ""),
        ];
        let expected = [
            "registered unknown, not ready: http://h:1; because",
            "health healthy (was unknown), ready: because",
            "updated healthy, ready: because",
            "health unhealthy (was healthy), not ready: because",
            "expired gone: silent for 30 s",
            "registered healthy, ready: http://h:1; it was at http://g:1; because",
            "deregistered gone: by 127.0.0.1",
        ];
        for (line, expected) in lines.iter().zip(expected) {
            assert_eq!(*line, format!("18:06:00Z web/web-1 {expected}"));
        }
    }

    #[test]
    fn the_state_is_told_service_by_service_and_elsewhere_by_its_namespace() {
        let mut story = Story::new("default");
        let snapshot = json!({"service_name": "web", "namespace": "default", "revision": 1,
            "emptied": null, "endpoints": [endpoint("healthy", true)]});
        story.take_snapshot(&serde_json::from_value(snapshot).unwrap());
        let empty = json!({"service_name": "db", "namespace": "lab", "revision": 1,
            "emptied": "expired", "endpoints": []});
        story.take_snapshot(&serde_json::from_value(empty).unwrap());
        let lines: Vec<String> = story.state.iter().map(words).collect();
        assert_eq!(
            lines,
            [
                "18:05:03Z web/web-1 present healthy, ready: http://h:1; because",
                " lab/db present empty: expired",
            ]
        );
    }
}
