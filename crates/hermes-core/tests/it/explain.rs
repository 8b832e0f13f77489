//! Why an endpoint is not handed out: every reason, and the sentence that people read.

use hermes_core::command::{Command, DrainWish};
use hermes_core::endpoint::Endpoint;
use hermes_core::explain::{NotReady, why_not_ready};
use hermes_core::health::Health;
use hermes_core::limits::Limits;
use serde_json::{Value, json};

use crate::driver::Machine;
use crate::make::{at, id, register, report, service};

/// A machine with one endpoint, registered at moment 0.
fn machine_with(extra: &Value) -> (Machine, std::sync::Arc<Endpoint>) {
    let mut body = json!({"url": "http://10.0.0.1:80", "checks": [{"type": "tcp"}]});
    for (name, value) in extra.as_object().expect("it is an object") {
        body[name] = value.clone();
    }
    let mut machine = Machine::new(Limits::default());
    let endpoint = machine.change(&register(&service("web"), &id("a"), &body));
    machine.wait(1_000);
    (machine, endpoint)
}

fn drain(reason: &str) -> Command {
    Command::Drain {
        service: service("web"),
        id: id("a"),
        wish: Some(DrainWish {
            reason: reason.into(),
            sticky: false,
        }),
    }
}

fn text(endpoint: &Endpoint) -> Option<String> {
    why_not_ready(endpoint).map(|reason| reason.to_string())
}

#[test]
fn nothing_speaks_against_a_ready_endpoint() {
    for extra in [
        json!({"checks": []}),
        json!({"initial_health": "healthy"}),
        json!({"checks": [{"type": "tcp", "dry_run": true}]}),
    ] {
        let (_, endpoint) = machine_with(&extra);
        assert_eq!(why_not_ready(&endpoint), None, "{extra}");
        assert!(endpoint.is_ready());
    }
    let (mut machine, endpoint) = machine_with(&json!({}));
    for health in [Health::Healthy, Health::Degraded] {
        let endpoint = machine.change(&report(&endpoint, 0, health, "connected"));
        assert_eq!(why_not_ready(&endpoint), None);
        assert_eq!(endpoint.health_reason(), "tcp: connected");
    }
}

#[test]
fn an_unprobed_endpoint_is_starting() {
    let (_, endpoint) = machine_with(&json!({}));
    let evidence = "no probe has succeeded yet".to_owned();
    assert_eq!(
        why_not_ready(&endpoint),
        Some(NotReady::Starting { evidence })
    );
    assert_eq!(
        text(&endpoint).unwrap(),
        "starting: no probe has succeeded yet"
    );
    assert_eq!(endpoint.flags(), ["starting"]);
}

#[test]
fn a_failing_check_is_named_with_what_it_saw_and_since_when() {
    let (mut machine, endpoint) = machine_with(&json!({}));
    let endpoint = machine.change(&report(&endpoint, 0, Health::Unhealthy, "refused"));
    let expected = NotReady::Unhealthy {
        check: "tcp".into(),
        evidence: "refused".into(),
        since: at(1_000).time,
        flapping: false,
    };
    assert_eq!(why_not_ready(&endpoint), Some(expected));
    let sentence = "check `tcp` fails since 2026-11-21T18:05:04.000Z: refused";
    assert_eq!(text(&endpoint).unwrap(), sentence);
    assert_eq!(endpoint.health_reason(), sentence);
}

#[test]
fn of_several_checks_the_worst_is_named() {
    let checks = json!({"checks": [{"type": "tcp"}, {"type": "http"}, {"type": "heartbeat"}]});
    let (mut machine, endpoint) = machine_with(&checks);
    machine.change(&report(&endpoint, 0, Health::Healthy, "connected"));
    let endpoint = machine.change(&report(&endpoint, 2, Health::Unhealthy, "silent"));
    let sentence = "check `heartbeat` fails since 2026-11-21T18:05:04.000Z: silent";
    assert_eq!(text(&endpoint).unwrap(), sentence);
}

#[test]
fn a_new_check_of_a_running_endpoint_is_unknown_and_not_starting() {
    let (mut machine, endpoint) = machine_with(&json!({}));
    machine.change(&report(&endpoint, 0, Health::Healthy, "connected"));
    let checks = json!([{"type": "tcp"}, {"type": "http"}]);
    let again = json!({"url": "http://10.0.0.1:80", "checks": checks});
    let endpoint = machine.change(&register(&service("web"), &id("a"), &again));
    let check = "http".to_owned();
    assert_eq!(why_not_ready(&endpoint), Some(NotReady::Unknown { check }));
    assert_eq!(text(&endpoint).unwrap(), "check `http` has no result yet");
    assert!(endpoint.flags().is_empty());
}

#[test]
fn draining_comes_before_everything_else() {
    let (mut machine, endpoint) = machine_with(&json!({}));
    machine.change(&report(&endpoint, 0, Health::Unhealthy, "refused"));
    let endpoint = machine.change(&drain("moving to b"));
    let expected = NotReady::Draining {
        reason: "moving to b".into(),
        since: at(1_000).time,
    };
    assert_eq!(why_not_ready(&endpoint), Some(expected));
    assert_eq!(
        text(&endpoint).unwrap(),
        "draining since 2026-11-21T18:05:04.000Z: moving to b"
    );
    assert_eq!(endpoint.flags(), ["starting", "draining"]);
    assert_eq!(endpoint.health_reason(), "tcp: refused");
}

#[test]
fn a_drain_without_a_reason_says_only_since_when() {
    let (mut machine, _) = machine_with(&json!({}));
    let endpoint = machine.change(&drain(""));
    assert_eq!(
        text(&endpoint).unwrap(),
        "draining since 2026-11-21T18:05:04.000Z"
    );
    machine.wait(5_000);
    let endpoint = machine.change(&drain("now with one"));
    assert_eq!(
        text(&endpoint).unwrap(),
        "draining since 2026-11-21T18:05:04.000Z: now with one",
        "another reason is the same drain"
    );
}
