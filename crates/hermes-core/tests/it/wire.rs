//! What is sent, held to golden files: every member, its place, its spelling.
//!
//! The files lie in `golden/`, one JSON text each, broken into lines for people. When an answer is
//! meant to change, `cargo test -p hermes-core --test it -- --ignored write_golden_files` writes them
//! anew; what the difference shows is then a change of the contract, and is reviewed as one.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hermes_core::change::{ChangeKind, Committed};
use hermes_core::check::Check;
use hermes_core::command::{Command, DrainWish};
use hermes_core::endpoint::Endpoint;
use hermes_core::explain::ProbeTimes;
use hermes_core::health::Health;
use hermes_core::limits::Limits;
use hermes_core::time::Timestamp;
use hermes_core::wire::answer::{ChangeAnswer, EndpointDetail, ServiceEndpoint};
use hermes_core::wire::problem::{Problem, ProblemEndpoint, ProblemLimit, code};
use hermes_core::wire::request::{check_json, policy_json, read_patch, read_policy};
use hermes_core::wire::{change_json, endpoint_detail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::driver::Machine;
use crate::make::{id, register, registration, report, service};

/// A registration that says everything there is to say.
fn everything() -> Value {
    json!({
        "url": "https://Web-1.Example:8443/base",
        "ports": {"admin": 9000, "grpc": {"port": 9001, "scheme": "grpc"}},
        "environment": "docker",
        "ttl": "1500ms",
        "metadata": {"version": "1.2", "deep": {"list": [1, 2.5, null, true]}, "text": "caf\u{e9} \"x\"\n"},
        "tags": ["blue", "canary"],
        "zone": "eu-1",
        "weight": 50,
        "checks": checks(),
    })
}

fn checks() -> Value {
    json!([
        {"type": "http", "name": "web", "path": "/ready?deep=1", "method": "HEAD", "port": "admin",
         "expect_status": [204, "3xx"], "expect_body": "ok", "interval": 10, "timeout": "2500ms",
         "attempts": 2, "rise": 2, "fall": 3, "grace": "1m", "tls": {"server_name": "web.internal"}},
        {"type": "tcp", "dry_run": true},
        {"type": "heartbeat"},
    ])
}

/// The life of an endpoint that meets every kind of change, with a new life in between.
fn life() -> (Machine, Vec<Arc<Committed>>) {
    let mut machine = Machine::new(Limits::default());
    let (web, a) = (service("lab/web"), id("web-1"));
    let mut all = machine
        .ask(&register(&web, &a, &everything()))
        .expect("accepted");
    let endpoint = Arc::clone(all[0].endpoint.as_ref().expect("it is there"));
    machine.wait(250);
    let patch = br#"{"metadata": {"version": null, "deep": {"more": 1}}, "tags": ["green"], "weight": 5, "zone": "eu-2"}"#;
    let found = [
        (0, Health::Healthy, "204 in 12 ms"),
        (2, Health::Degraded, "queue is long"),
    ];
    let found = found.map(|(check, health, evidence)| report(&endpoint, check, health, evidence));
    let wish = DrainWish {
        reason: "moving to web-2".into(),
        sticky: true,
    };
    let steps = [
        Command::Override {
            service: web.clone(),
            id: a.clone(),
            patch: read_patch(patch).expect("right"),
        },
        found[0].clone(),
        found[1].clone(),
        Command::Drain {
            service: web.clone(),
            id: a.clone(),
            wish: Some(wish),
        },
    ];
    for step in &steps {
        all.extend(machine.ask(step).expect("accepted"));
    }
    let shown = machine.endpoint_of(&steps[0]).expect("it is there");
    shown.pulse.beat(machine.now()).expect("its lease is open");
    (machine, all)
}

fn minimal() -> (Machine, Arc<Endpoint>) {
    let mut machine = Machine::new(Limits::default());
    let body = json!({"host": "::1", "port": 80, "scheme": "tcp", "ttl": null, "checks": []});
    let endpoint = machine.change(&register(&service("web"), &id("0::1:80"), &body));
    (machine, endpoint)
}

/// Every golden text with its name.
fn golden() -> Vec<(String, Vec<u8>)> {
    let (mut machine, mut changes) = life();
    let (web, a) = (service("lab/web"), id("web-1"));
    let full = Arc::clone(machine.catalog.endpoint(&web, &a).expect("it is there"));
    let (small_machine, small) = minimal();
    let due = machine.now().moment.after(Duration::from_secs(12));
    let never = |_: &str| ProbeTimes::default();
    let probed = |_: &str| ProbeTimes {
        last: Some(Timestamp(1_790_000_000_000)),
        next: Some(due),
    };
    let mut texts = vec![
        ("endpoint_full".to_owned(), json_of(&full)),
        ("endpoint_minimal".to_owned(), json_of(&small)),
        (
            "endpoint_detail_full".to_owned(),
            bytes(&endpoint_detail(&full, probed, machine.now().moment)),
        ),
        (
            "endpoint_detail_minimal".to_owned(),
            bytes(&endpoint_detail(&small, never, small_machine.now().moment)),
        ),
    ];
    machine.wait(1_500);
    machine.close_leases();
    changes.extend(machine.finish_expiries(true));
    changes.extend(
        machine
            .ask(&register(&web, &a, &everything()))
            .expect("accepted"),
    );
    let policy = read_policy(br#"{"cache_ttl": 60}"#).expect("it is one");
    let set_policy = Command::SetPolicy {
        service: web.clone(),
        policy: Arc::new(policy),
    };
    changes.extend(machine.ask(&set_policy).expect("accepted"));
    changes.extend(
        machine
            .ask(&Command::Forget { service: web })
            .expect("accepted"),
    );
    for kind in ChangeKind::ALL {
        let change = changes
            .iter()
            .find(|committed| committed.change.kind == kind);
        texts.push((
            format!("change_{}", kind.word()),
            change_json(change.expect("it happened")),
        ));
    }
    for check in registration(&everything()).checks {
        texts.push((
            format!("check_{}", check.kind.word()),
            bytes(&check_json(&check)),
        ));
    }
    texts.extend(policies());
    texts.push(("problem_full".to_owned(), bytes(&full_problem())));
    texts.extend(code::ALL.iter().map(|code| {
        let problem = Problem::new(code, "What happened. What it means. What to do.");
        (
            format!("problem_{code}"),
            bytes(&Problem {
                request_id: "r-1".into(),
                ..problem
            }),
        )
    }));
    texts
}

fn policies() -> Vec<(String, Vec<u8>)> {
    let full = br#"{"checks": [{"type": "tcp"}], "cache_ttl": 60, "selection": "weighted"}"#;
    let text = |(name, body): (&str, &[u8])| {
        let policy = read_policy(body).expect("it is one");
        (format!("policy_{name}"), bytes(&policy_json(&policy)))
    };
    [("full", &full[..]), ("empty", b"{}")].map(text).into()
}

fn full_problem() -> Problem {
    let endpoint = ProblemEndpoint {
        id: "a".into(),
        health_status: "unhealthy".into(),
        flags: vec!["draining".into()],
        health_reason: "check `tcp` fails".into(),
    };
    Problem {
        request_id: "r-1".into(),
        nearest: vec!["weight".into()],
        service_name: Some("web".into()),
        endpoints: vec![endpoint],
        limit: Some(ProblemLimit {
            what: "/tags".into(),
            max: 32,
        }),
        reason: Some("expired".into()),
        removed_at: Some(Timestamp(0).to_string()),
        incarnation: Some(7),
        ..Problem::new(code::UNKNOWN_FIELD, "There is no member `wieght` here.").at("/wieght")
    }
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("wire types serialize")
}

fn json_of(endpoint: &Endpoint) -> Vec<u8> {
    let mut json = Vec::new();
    endpoint.write_json(&mut json);
    json
}

fn path_of(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/golden/{name}.json"))
}

/// The same JSON text in lines; members stay where they are.
fn in_lines(json: &[u8]) -> String {
    let (mut text, mut depth, mut in_string, mut escaped) = (String::new(), 0_usize, false, false);
    let mut before = ' ';
    for c in std::str::from_utf8(json).expect("JSON is UTF-8").chars() {
        let line = |depth: usize| format!("\n{}", "  ".repeat(depth));
        let closes = !in_string && matches!(c, '}' | ']');
        if closes {
            depth -= 1;
        }
        if closes && !matches!(before, '{' | '[')
            || !closes && !in_string && matches!(before, '{' | '[')
        {
            text.push_str(&line(depth));
        }
        text.push(c);
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            '{' | '[' if !in_string => depth += 1,
            ',' if !in_string => text.push_str(&line(depth)),
            ':' if !in_string => text.push(' '),
            _ => {}
        }
        before = if in_string { '"' } else { c };
    }
    text + "\n"
}

/// Reads the golden text as `T`, and checks that nothing is lost when it is written again.
fn reads_back<T: Serialize + for<'a> Deserialize<'a>>(name: &str) {
    let text = fs::read_to_string(path_of(name)).expect("the golden file is there");
    let value: T = serde_json::from_str(&text).expect("a client can read it");
    assert_eq!(in_lines(&bytes(&value)), text, "{name}");
}

#[test]
#[ignore = "writes the golden files; run it when an answer is meant to change"]
fn write_golden_files() {
    for (name, json) in golden() {
        fs::write(path_of(&name), in_lines(&json)).unwrap();
    }
}

#[test]
fn what_is_sent_is_what_the_golden_files_say() {
    let texts = golden();
    for (name, json) in &texts {
        let text = fs::read_to_string(path_of(name)).unwrap_or_default();
        let (sent, said): (Value, Value) = (
            serde_json::from_slice(json).unwrap(),
            serde_json::from_str(&text).unwrap_or_default(),
        );
        assert_eq!(sent, said, "{name}");
        assert_eq!(
            in_lines(json),
            text,
            "{name}: the order or the spelling differs"
        );
    }
    let files = fs::read_dir(path_of("x").parent().unwrap())
        .unwrap()
        .count();
    assert_eq!(files, texts.len(), "a golden file that nothing is held to");
}

#[test]
fn clients_read_every_golden_file_and_lose_nothing() {
    for (name, _) in golden() {
        match name.split('_').next() {
            Some("endpoint") if name.contains("detail") => reads_back::<EndpointDetail>(&name),
            Some("endpoint") => reads_back::<ServiceEndpoint>(&name),
            Some("change") => reads_back::<ChangeAnswer>(&name),
            Some("problem") => reads_back::<Problem>(&name),
            _ => reads_back::<Value>(&name),
        }
    }
}

#[test]
fn the_codes_have_the_status_of_the_contract() {
    let contract: &[(u16, &[&str])] = &[
        (
            400,
            &[
                "invalid_body",
                "invalid_field",
                "unknown_field",
                "invalid_name",
            ],
        ),
        (401, &["key_missing"]),
        (403, &["key_invalid", "not_allowed", "not_owner"]),
        (
            404,
            &["service_unknown", "endpoint_unknown", "route_unknown"],
        ),
        (405, &["method_not_allowed"]),
        (409, &["incarnation_stale", "limit_reached"]),
        (410, &["endpoint_gone", "cursor_expired"]),
        (412, &["precondition_failed"]),
        (413, &["too_large"]),
        (415, &["unsupported_media_type"]),
        (429, &["rate_limited"]),
        (
            503,
            &["nothing_ready", "overloaded", "log_unavailable", "stopping"],
        ),
    ];
    let codes = contract
        .iter()
        .flat_map(|(status, codes)| codes.iter().map(move |code| (*status, *code)));
    let codes: Vec<(u16, &str)> = codes.collect();
    assert_eq!(
        codes.iter().map(|(_, code)| *code).collect::<Vec<_>>(),
        code::ALL
    );
    for (status, code) in codes {
        assert_eq!(Problem::new(code, "").status, status, "{code}");
    }
}

#[test]
fn a_heartbeat_is_written_in_its_place_whatever_the_endpoint_says() {
    let mut machine = Machine::new(Limits::default());
    let bait = "\"last_heartbeat\":\"2000-01-01T00:00:00.000Z\"";
    let body = json!({
        "url": "http://last_heartbeat:80",
        "ports": {"last_heartbeat": 81},
        "metadata": {"last_heartbeat": bait, bait: bait, "endpoint": null},
        "tags": [bait],
        "zone": "\"endpoint\":null",
    });
    let committed = machine
        .ask(&register(&service("web"), &id("a"), &body))
        .unwrap();
    let endpoint = committed[0].endpoint.as_ref().unwrap();
    let before: ServiceEndpoint = serde_json::from_slice(&json_of(endpoint)).unwrap();
    machine.wait(5_000);
    endpoint.pulse.beat(machine.now()).unwrap();
    let after: ServiceEndpoint = serde_json::from_slice(&json_of(endpoint)).unwrap();
    assert_eq!(after.last_heartbeat, machine.now().time.to_string());
    assert_eq!(
        ServiceEndpoint {
            last_heartbeat: before.last_heartbeat.clone(),
            ..after.clone()
        },
        before
    );
    let change: ChangeAnswer = serde_json::from_slice(&change_json(&committed[0])).unwrap();
    assert_eq!(change.endpoint, Some(after));
}

#[test]
fn without_room_to_keep_it_an_endpoint_reads_the_same() {
    let body = everything();
    let texts = [0, 1_000_000].map(|encoded_bytes| {
        let mut machine = Machine::new(Limits {
            encoded_bytes,
            ..Limits::default()
        });
        let endpoint = machine.change(&register(&service("web"), &id("a"), &body));
        let first = json_of(&endpoint);
        machine.wait(100);
        endpoint.pulse.beat(machine.now()).unwrap();
        (first, json_of(&endpoint))
    });
    assert_eq!(texts[0], texts[1]);
    assert_ne!(texts[0].0, texts[0].1);
}

#[test]
fn a_reason_is_cut_between_characters() {
    let mut machine = Machine::new(Limits::default());
    let body = json!({"url": "http://10.0.0.1:80", "checks": [{"type": "tcp"}]});
    let endpoint = machine.change(&register(&service("web"), &id("a"), &body));
    let evidence = "\u{e9}".repeat(128);
    let endpoint = machine.change(&report(&endpoint, 0, Health::Healthy, &evidence));
    let sent: ServiceEndpoint = serde_json::from_slice(&json_of(&endpoint)).unwrap();
    assert_eq!(sent.health_reason, format!("tcp: {}", "\u{e9}".repeat(125)));
}

#[test]
fn a_check_says_what_happens_next() {
    let (mut machine, _) = minimal();
    let body = json!({"url": "http://10.0.0.1:80", "ttl": 30, "checks": [{"type": "tcp"}, {"type": "heartbeat"}]});
    let endpoint = machine.change(&register(&service("web"), &id("a"), &body));
    machine.change(&report(&endpoint, 0, Health::Healthy, "connected"));
    let endpoint = machine.change(&report(&endpoint, 1, Health::Unhealthy, "silent"));
    machine.wait(10_000);
    let next = |endpoint: &Endpoint, machine: &Machine| {
        let now = machine.now().moment;
        let due = ProbeTimes {
            last: None,
            next: Some(now.after(Duration::from_millis(6_500))),
        };
        let checks = endpoint_detail(endpoint, |_| due, now).checks;
        checks
            .into_iter()
            .map(|check| check.next_action)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        next(&endpoint, &machine),
        [
            Some("probed in 7 s".into()),
            Some("removed in 20 s unless it is heard from".into())
        ]
    );
    let endpoint = machine.change(&report(&endpoint, 0, Health::Unhealthy, "refused"));
    assert_eq!(
        next(&endpoint, &machine)[0].as_deref(),
        Some("probed in 7 s")
    );
}

/// Keeps the checks of the golden files honest: none of them is the default of its kind.
#[test]
fn the_golden_checks_say_something() {
    for check in registration(&everything()).checks.iter().take(2) {
        assert_ne!(*check, Check::new(check.kind.clone()));
    }
}
