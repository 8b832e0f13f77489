//! Single commands: what makes a new incarnation, what a condition lets through, what a log is told.

use hermes_core::change::{ChangeKind, Expected, Revision};
use hermes_core::command::{Command, Condition, OverridePatch};
use hermes_core::health::Health;
use hermes_core::limits::{Limits, METADATA_MEMBERS_MAX};
use hermes_core::rejection::Rejection;
use serde_json::{Value, json};

use crate::driver::Machine;
use crate::make::{id, members, register, report, service};

const URL: &str = "http://10.0.0.1:80";

fn machine_with(body: &Value) -> Machine {
    let mut machine = Machine::new(Limits::default());
    machine.change(&register(&service("web"), &id("a"), body));
    machine.wait(1_000);
    machine
}

/// Kind and cause of the change that `body` leads to after `before`.
fn registered_again(before: &Value, body: &Value) -> (ChangeKind, String) {
    let machine = machine_with(before);
    let command = register(&service("web"), &id("a"), body);
    let plan = machine.plan(&command).expect("it is accepted");
    let change = &plan.changes[0].change;
    (change.kind, change.cause.code.to_string())
}

fn metadata_patch(metadata: &Value) -> Command {
    Command::Override {
        service: service("web"),
        id: id("a"),
        patch: OverridePatch {
            metadata: Some(Some(members(metadata).into())),
            ..OverridePatch::default()
        },
    }
}

#[test]
fn another_place_makes_a_new_incarnation_and_anything_else_an_update() {
    let before = json!({"url": URL, "ports": {"admin": 81}});
    let moved = (ChangeKind::Registered, "moved".to_owned());
    let updated = (ChangeKind::Updated, "reregistered".to_owned());
    for (body, expected) in [
        (
            json!({"url": "http://10.0.0.2:80", "ports": {"admin": 81}}),
            &moved,
        ),
        (
            json!({"url": "http://10.0.0.1:82", "ports": {"admin": 81}}),
            &moved,
        ),
        (
            json!({"url": "https://10.0.0.1:80", "ports": {"admin": 81}}),
            &moved,
        ),
        (json!({"url": URL, "ports": {"admin": 83}}), &moved),
        (json!({"url": URL}), &moved),
        (
            json!({"url": "http://10.0.0.1:80/base", "ports": {"admin": 81}}),
            &updated,
        ),
        (
            json!({"url": URL, "ports": {"admin": 81}, "ttl": null}),
            &updated,
        ),
        (
            json!({"url": URL, "ports": {"admin": 81}, "tags": ["x"]}),
            &updated,
        ),
        (
            json!({"url": URL, "ports": {"admin": 81}, "checks": []}),
            &updated,
        ),
    ] {
        assert_eq!(registered_again(&before, &body), *expected, "{body}");
    }
}

#[test]
fn a_process_that_says_it_is_new_starts_anew() {
    let mut machine = machine_with(&json!({"url": URL}));
    let first = machine
        .catalog
        .endpoint(&service("web"), &id("a"))
        .unwrap()
        .clone();
    machine.change(&report(&first, 0, Health::Healthy, "200"));
    let Command::Register {
        service,
        id,
        registration,
        ..
    } = register(&service("web"), &id("a"), &json!({"url": URL}))
    else {
        unreachable!("it is a registration");
    };
    let command = Command::Register {
        service,
        id,
        registration,
        new: true,
    };
    let second = machine.change(&command);
    assert_eq!(second.incarnation, second.revision);
    assert!(!second.is_ready() && second.flags() == ["starting"]);
    assert_eq!(
        second.pulse.lease.deadline(),
        Some(
            machine
                .now()
                .moment
                .after(std::time::Duration::from_secs(30))
        )
    );
}

#[test]
fn a_changed_check_keeps_what_its_namesake_found() {
    let mut machine = machine_with(&json!({"url": URL, "checks": [{"type": "tcp"}]}));
    let first = machine
        .catalog
        .endpoint(&service("web"), &id("a"))
        .unwrap()
        .clone();
    machine.change(&report(&first, 0, Health::Healthy, "connected"));
    let body = json!({"url": URL, "checks": [{"type": "http", "name": "tcp"}]});
    let endpoint = machine.change(&register(&service("web"), &id("a"), &body));
    assert!(endpoint.is_ready());
    // A result of the old definition no longer counts.
    let late = report(&first, 0, Health::Unhealthy, "refused");
    assert_eq!(machine.plan(&late).unwrap().changes, []);
}

#[test]
fn a_condition_lets_through_what_it_says() {
    let mut machine = machine_with(&json!({"url": URL}));
    let revision = machine.catalog.revision();
    let (web, db) = (service("web"), service("db"));
    let body = json!({"url": "http://10.0.0.9:80"});
    let (there, absent) = (
        register(&web, &id("a"), &body),
        register(&web, &id("b"), &body),
    );
    let unknown = register(&db, &id("a"), &body);
    machine.wait(1);
    for (command, condition, holds) in [
        (&there, Condition::Always, true),
        (&there, Condition::Absent, false),
        (&there, Condition::Present, true),
        (&there, Condition::ServiceAt(revision), true),
        (
            &there,
            Condition::ServiceAt(Revision(revision.0 + 1)),
            false,
        ),
        (&absent, Condition::Absent, true),
        (&absent, Condition::Present, false),
        (&absent, Condition::ServiceAt(revision), true),
        (&unknown, Condition::Absent, true),
        (&unknown, Condition::Present, false),
        (&unknown, Condition::ServiceAt(Revision(0)), false),
    ] {
        let plan = machine.plan_under(command, condition);
        assert_eq!(plan.is_ok(), holds, "{condition:?}");
        assert!(holds || matches!(plan, Err(Rejection::ConditionFailed { .. })));
    }
}

#[test]
fn every_change_is_planned_on_what_was_seen() {
    let mut machine = machine_with(&json!({"url": URL}));
    let (web, a) = (service("web"), id("a"));
    let seen = Expected::At(machine.catalog.endpoint(&web, &a).unwrap().revision);
    let expected = |machine: &Machine, command: &Command| {
        let changes = machine.plan(command).unwrap().changes;
        changes
            .iter()
            .map(|planned| planned.expected)
            .collect::<Vec<_>>()
    };
    let body = json!({"url": "http://10.0.0.9:80"});
    assert_eq!(expected(&machine, &register(&web, &a, &body)), [seen]);
    assert_eq!(
        expected(&machine, &register(&web, &id("b"), &body)),
        [Expected::Absent]
    );
    assert_eq!(
        expected(&machine, &metadata_patch(&json!({"x": 1}))),
        [seen]
    );
    let forget = Command::Forget {
        service: web.clone(),
    };
    assert_eq!(expected(&machine, &forget), [seen, Expected::Anything]);
    machine.ask(&forget).unwrap();
    assert_eq!(
        machine.plan(&forget),
        Err(Rejection::ServiceUnknown { service: web })
    );
}

#[test]
fn an_open_lease_does_not_expire() {
    let mut machine = machine_with(&json!({"url": URL, "ttl": 5}));
    let endpoint = machine
        .catalog
        .endpoint(&service("web"), &id("a"))
        .unwrap()
        .clone();
    let expire = Command::Expire {
        service: service("web"),
        id: id("a"),
        incarnation: endpoint.incarnation,
    };
    assert_eq!(machine.plan(&expire).unwrap().changes, []);
    machine.wait(10_000);
    machine.close_leases();
    let plan = machine.plan(&expire).unwrap();
    let cause = &plan.changes[0].change.cause;
    assert_eq!(cause.code, "lease_expired");
    assert_eq!(
        cause.detail,
        "not heard from since 2026-11-21T18:05:03.000Z; its lease is 5 s"
    );
    // It registers after all, before the expiry is planned.
    endpoint.pulse.begin(None, machine.now());
    assert_eq!(machine.plan(&expire).unwrap().changes, []);
}

#[test]
fn a_member_that_was_hidden_is_replaced_whole() {
    let metadata = json!({"canary": {"percent": 5, "zone": "a"}});
    let mut machine = machine_with(&json!({"url": URL, "metadata": metadata}));
    let hidden = machine.change(&metadata_patch(&json!({"canary": null})));
    assert_eq!(hidden.metadata().to_object(), members(&json!({})));
    let shown = machine.change(&metadata_patch(&json!({"canary": {"percent": 50}})));
    assert_eq!(
        shown.metadata().to_object(),
        members(&json!({"canary": {"percent": 50}}))
    );
}

#[test]
fn overrides_have_limits_however_many_patches_they_come_in() {
    let mut machine = machine_with(&json!({"url": URL}));
    let limit_reached = |machine: &mut Machine, patch: &dyn Fn(usize) -> Value| {
        (0..1_000).find_map(|n| match machine.ask(&metadata_patch(&patch(n))) {
            Err(Rejection::LimitReached { max, .. }) => Some((n, max)),
            other => {
                assert_eq!(other.unwrap().len(), 1);
                None
            }
        })
    };
    let members = limit_reached(&mut machine, &|n| json!({format!("m{n}"): n}));
    assert_eq!(members, Some((METADATA_MEMBERS_MAX, METADATA_MEMBERS_MAX)));
    let mut machine = machine_with(&json!({"url": URL}));
    let bytes = limit_reached(
        &mut machine,
        &|n| json!({format!("m{n}"): "x".repeat(1_000)}),
    );
    assert_eq!(bytes, Some((16, 16 * 1_024)));
}

#[test]
fn an_empty_service_stays_known_to_the_millisecond() {
    let mut machine = machine_with(&json!({"url": URL}));
    let lapse = Command::Lapse {
        service: service("web"),
    };
    let deregister = Command::Deregister {
        service: service("web"),
        id: id("a"),
        incarnation: None,
    };
    assert_eq!(machine.plan(&lapse).unwrap().changes, []);
    machine.ask(&deregister).unwrap();
    machine.wait(24 * 60 * 60 * 1_000 - 1);
    assert_eq!(machine.plan(&lapse).unwrap().changes, []);
    machine.wait(1);
    assert_eq!(machine.ask(&lapse).unwrap().len(), 1);
    assert!(machine.catalog.service_at(&service("web")).is_none());
    assert_eq!(machine.plan(&lapse).unwrap().changes, []);
}
