//! Everything about one endpoint: what it registered, what was laid over it, how it is and why.

use hermes_core::name::{EndpointId, Name};
use hermes_core::time::Timestamp;
use hermes_core::wire::answer::{CheckStatus, EndpointDetail};
use hermes_discovery::clock::Clock;
use serde_json::Value;

use crate::age::age;
use crate::commands::{Context, in_words, service};
use crate::exit::Exit;
use crate::failure::Failure;

pub(super) async fn run(
    name: &Name,
    id: &EndpointId,
    context: &Context<'_>,
) -> Result<Exit, Failure> {
    let path = service(name).segment("endpoints").segment(id.as_str());
    let answer = context.client.get(&context.within(path)).await?;
    let detail = answer.read(serde_json::from_slice::<EndpointDetail>)?;
    if context.output.json(&answer.body)? {
        return Ok(Exit::Done);
    }
    let now = Clock::system().now().time;
    for (name, value) in facts(&detail, now) {
        context.output.line(&format!("{name:<12} {value}"))?;
    }
    Ok(Exit::Done)
}

fn facts(detail: &EndpointDetail, now: Timestamp) -> Vec<(&'static str, String)> {
    let endpoint = &detail.endpoint;
    let ago = |then: &str| format!("{then} ({} ago)", age(then, now));
    let mut facts = vec![
        ("endpoint", format!("{} in {}", endpoint.id, endpoint.name)),
        ("namespace", endpoint.namespace.clone()),
        ("url", endpoint.url.clone()),
        (
            "health",
            format!("{}: {}", endpoint.health_status, endpoint.health_reason),
        ),
        ("ready", readiness(detail)),
        ("since", ago(&endpoint.since)),
    ];
    for check in &detail.checks {
        facts.push(("check", said_of(check)));
    }
    facts.push(("lease", lease(detail)));
    facts.push(("heartbeat", ago(&endpoint.last_heartbeat)));
    facts.push(("registered", ago(&endpoint.registered_at)));
    facts.push(("incarnation", endpoint.incarnation.to_string()));
    facts.push(("revision", endpoint.revision.to_string()));
    facts.push(("environment", endpoint.environment.clone()));
    let ports = endpoint.ports.iter();
    let ports: Vec<String> = ports
        .map(|(name, port)| format!("{name} {}", port.url))
        .collect();
    facts.push(("ports", ports.join(", ")));
    facts.push(("weight", endpoint.weight.to_string()));
    let said = [
        ("zone", endpoint.zone.clone().unwrap_or_default()),
        ("tags", endpoint.tags.join(", ")),
        ("metadata", object(&Value::from(endpoint.metadata.clone()))),
        ("overrides", object(&Value::from(detail.overrides.clone()))),
        ("owner", detail.owner.clone().unwrap_or_default()),
    ];
    facts.extend(said.into_iter().filter(|(_, value)| !value.is_empty()));
    facts
}

/// An object, unless there is nothing in it.
fn object(value: &Value) -> String {
    let text = value.to_string();
    if text == "{}" { String::new() } else { text }
}

fn readiness(detail: &EndpointDetail) -> String {
    let endpoint = &detail.endpoint;
    if endpoint.ready {
        return "yes".into();
    }
    let drain = detail.overrides.get("drain");
    let why = drain.and_then(|drain| drain["reason"].as_str());
    match why.filter(|reason| !reason.is_empty()) {
        Some(reason) => format!("no: draining ({reason})"),
        None if endpoint.flags.is_empty() => format!("no: {}", endpoint.health_status),
        None => format!("no: {}", endpoint.flags.join(", ")),
    }
}

fn lease(detail: &EndpointDetail) -> String {
    match (detail.endpoint.ttl, &detail.lease) {
        (Some(ttl), Some(lease)) => {
            format!("{} s, {} s left", in_words(ttl), in_words(lease.remaining))
        }
        (Some(ttl), None) => format!("{} s", in_words(ttl)),
        (None, _) => "static".into(),
    }
}

/// A check in a line: what it does, what it finds, what happens next.
fn said_of(status: &CheckStatus) -> String {
    let text = |name: &str| status.check.get(name).and_then(Value::as_str);
    let name = text("name").or_else(|| text("type")).unwrap_or("?");
    let interval = status.check.get("interval").and_then(Value::as_f64);
    let interval = interval.map_or_else(String::new, |interval| format!(" every {interval} s"));
    let path = text("path").map_or_else(String::new, |path| format!(" {path}"));
    let next = status.next_action.as_deref();
    let next = next.map_or_else(String::new, |next| format!("; {next}"));
    let (health, evidence) = (&status.health_status, &status.evidence);
    format!("{name}{path}{interval}: {health}: {evidence}{next}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_endpoint_is_told_with_all_that_is_known_and_nothing_that_is_not() {
        let detail = json!({"name": "web", "namespace": "default", "id": "web-1",
            "incarnation": 7, "host": "h", "port": 1, "url": "http://h:1",
            "ports": {"main": {"port": 1, "scheme": "http", "url": "http://h:1"}},
            "environment": "local", "health_status": "healthy", "health_reason": "http: fine",
            "ready": false, "flags": ["draining"],
            "last_heartbeat": "2026-11-21T18:05:03.000Z",
            "registered_at": "2026-11-21T18:05:03.000Z", "since": "2026-11-21T18:05:03.000Z",
            "ttl": 30, "metadata": {}, "tags": ["a", "b"], "zone": null, "weight": 100,
            "revision": 9,
            "checks": [{"type": "http", "name": "http", "path": "/health", "interval": 30,
                "health_status": "healthy", "since": "", "last_probe": null,
                "evidence": "fine", "next_action": "asked again at 18:05"}],
            "overrides": {"drain": {"reason": "update", "sticky": false, "since": ""}},
            "lease": {"remaining": 12.34}, "owner": null});
        let detail: EndpointDetail = serde_json::from_value(detail).unwrap();
        let then = Timestamp::from_text("2026-11-21T18:05:03.000Z").unwrap();
        let facts = facts(&detail, Timestamp(then.0 + 61_000));
        let of = |name: &str| {
            let found = facts.iter().find(|(found, _)| *found == name);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(of("ready"), Some("no: draining (update)"));
        assert_eq!(of("since"), Some("2026-11-21T18:05:03.000Z (1m ago)"));
        assert_eq!(of("lease"), Some("30 s, 12.3 s left"));
        assert_eq!(
            of("check"),
            Some("http /health every 30 s: healthy: fine; asked again at 18:05")
        );
        assert_eq!(of("tags"), Some("a, b"));
        assert_eq!(of("zone"), None);
        assert_eq!(of("metadata"), None);
        let mut detail = detail;
        detail.overrides.clear();
        assert_eq!(readiness(&detail), "no: draining");
        detail.endpoint.flags.clear();
        assert_eq!(readiness(&detail), "no: healthy");
    }
}
