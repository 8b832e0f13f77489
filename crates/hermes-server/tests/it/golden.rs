//! Answers and events held to golden files, one for everything the contract names.
//!
//! The files lie in `golden/`. What differs from run to run (times, addresses, random digits) is
//! replaced by fixed values. When an answer is meant to change, `cargo test -p hermes-server --test it
//! -- --ignored write_golden_answers` writes them anew; the difference is a change of the contract and
//! is reviewed as one. The types within an endpoint and the problems have theirs in hermes-core.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Call, Client};
use crate::document;
use crate::events::Events;
use crate::server::TestServer;

const WEB: &str = "/api/v1/services/web";
const ONE: &str = "/api/v1/services/web/endpoints/one";

/// Every answer of the contract, with the type that the document gives it.
const ANSWERS: &[(&str, &str)] = &[
    ("registration", "RegistrationAnswer"),
    ("registration_static", "RegistrationAnswer"),
    ("service_list", "ServiceList"),
    ("service_list_page", "ServiceList"),
    ("service", "ServiceDiscoveryResponse"),
    ("service_emptied", "ServiceDiscoveryResponse"),
    ("selection", "ServiceDiscoveryResponse"),
    ("url", "UrlAnswer"),
    ("endpoint", "EndpointDetail"),
    ("endpoint_overridden", "ServiceEndpoint"),
    ("endpoint_draining", "ServiceEndpoint"),
    ("heartbeats", "HeartbeatsAnswer"),
    ("plain_services", "PlainServices"),
    ("plain_services_urls", "PlainServices"),
    ("plain_registration", "PlainRegistration"),
    ("targets", "TargetGroups"),
    ("health", "Health"),
    ("not_ready", "Health"),
];

/// Every event of a watch; a change has a file for each of its types.
const EVENTS: &[(&str, &str)] = &[
    ("event_hello", "Hello"),
    ("event_snapshot", "Snapshot"),
    ("event_synced", "Synced"),
    ("event_change_registered", "Change"),
    ("event_change_updated", "Change"),
    ("event_change_health", "Change"),
    ("event_change_drain", "Change"),
    ("event_change_deregistered", "Change"),
    ("event_change_expired", "Change"),
    ("event_change_forgotten", "Change"),
    ("event_progress", "Progress"),
    ("event_reset", "Reset"),
    ("event_goodbye", "Goodbye"),
];

/// Every code of the contract that a problem may have; each has a file `problem_CODE` in hermes-core.
const CODES: &[&str] = &[
    "key_missing",
    "key_invalid",
    "not_allowed",
    "not_owner",
    "rate_limited",
    "invalid_body",
    "invalid_field",
    "unknown_field",
    "invalid_name",
    "service_unknown",
    "endpoint_unknown",
    "route_unknown",
    "method_not_allowed",
    "incarnation_stale",
    "limit_reached",
    "endpoint_gone",
    "cursor_expired",
    "precondition_failed",
    "too_large",
    "unsupported_media_type",
    "nothing_ready",
    "overloaded",
    "log_unavailable",
    "stopping",
];
/// Types of the document that hold no answer of their own, only parts of one, or are what is asked.
const PARTS: &[(&str, &[&str])] = &[
    ("ServiceSummary", &["service_list"]),
    ("ServiceEndpoint", &["endpoint"]),
    ("RefusedHeartbeat", &["heartbeats"]),
    ("TargetGroup", &["targets"]),
];

type Texts = Vec<(String, Value)>;

/// Lives through everything once. Gives back each text with its name, made the same for every run.
async fn story() -> Texts {
    let mut server = TestServer::with(|config| {
        config.engine.progress_interval = Duration::from_millis(300);
    })
    .await;
    let mut client = server.client().await;
    let mut texts = Texts::new();
    let mut events = Events::open(server.address, "").await;
    note_event(&mut texts, &mut events, "hello").await;
    note_event(&mut texts, &mut events, "synced").await;
    loop {
        let event = events.next().await;
        if event.name == "progress" {
            texts.push(("event_progress".into(), fixed(event.json())));
            break;
        }
    }
    write_all(&mut client, &mut texts).await;
    read_all(&mut client, &mut texts).await;
    let mut ahead = Events::open(server.address, "since=999999").await;
    ahead.next().await;
    note_event(&mut texts, &mut ahead, "reset").await;
    note_event(&mut texts, &mut ahead, "snapshot").await;
    drop(ahead);
    leave_all(&mut client, &mut texts).await;
    loop {
        let change = events.expect("change").await.json();
        let name = format!(
            "event_change_{}",
            change["type"].as_str().unwrap_or_default()
        );
        let is_last = name == "event_change_forgotten";
        if texts.iter().all(|(other, _)| *other != name) {
            texts.push((name, fixed(change)));
        }
        if is_last {
            break;
        }
    }
    let mut half = server.client().await;
    half.write(b"GET /readyz HTTP/1.1\r\nhost: test\r\n").await;
    server.client().await.get("/livez").await.must_be(200);
    server.begin_stop();
    note_event(&mut texts, &mut events, "goodbye").await;
    half.write(b"\r\n").await;
    let not_ready = half
        .answer("GET")
        .await
        .expect("it is answered")
        .must_be(503);
    texts.push(("not_ready".into(), fixed(not_ready.json())));
    server.stopped().await;
    texts
}

async fn note_event(texts: &mut Texts, events: &mut Events, name: &str) {
    let event = events.expect(name).await;
    texts.push((format!("event_{name}"), fixed(event.json())));
}

async fn note(client: &mut Client, texts: &mut Texts, name: &str, call: Call) {
    let answer = client.send(call).await;
    assert!(answer.status < 300, "{name}: {answer:?}");
    texts.push((name.into(), fixed(answer.json())));
}

async fn write_all(client: &mut Client, texts: &mut Texts) {
    let one = json!({
        "url": "https://one.test:8443/base", "ports": {"metrics": {"port": 9100, "scheme": "http"}},
        "metadata": {"version": "1.2"}, "tags": ["blue"], "zone": "eu-1", "weight": 50,
        "environment": "docker", "ttl": 3600, "checks": [
            {"type": "heartbeat", "interval": 3600, "timeout": 3600},
            {"type": "http", "dry_run": true, "interval": 3600, "grace": 3600, "path": "/"},
        ],
    });
    let first = Call::new("PUT", "/api/v1/services/Web/endpoints/one").json(&one);
    note(client, texts, "registration", first).await;
    let two = json!({"host": "two.test", "port": 80, "ttl": null, "checks": []});
    let second = Call::new("PUT", &format!("{WEB}/endpoints/two")).json(&two);
    note(client, texts, "registration_static", second).await;
    let beat = json!({"health_status": "healthy", "note": "well", "load": 0.5});
    client
        .put(&format!("{ONE}/heartbeat"), &beat)
        .await
        .must_be(204);
    let patch = Call::new("PATCH", ONE)
        .json(&json!({"weight": 5, "metadata": {"more": true}, "tags": ["green"], "zone": "eu-2"}));
    note(client, texts, "endpoint_overridden", patch).await;
    let drain = Call::new("PUT", &format!("{ONE}/drain"));
    let drain = drain.json(&json!({"reason": "moving", "sticky": true}));
    note(client, texts, "endpoint_draining", drain).await;
    let beats = json!({"heartbeats": {"web": ["one", ["two", 1]], "none": ["x"]}});
    let beats = Call::new("POST", "/api/v1/heartbeats").json(&beats);
    note(client, texts, "heartbeats", beats).await;
    let plain = Call::new("POST", "/services/plain?endpoint=http://plain.test");
    note(client, texts, "plain_registration", plain).await;
}

async fn read_all(client: &mut Client, texts: &mut Texts) {
    for (name, target) in [
        ("service_list", "/api/v1/services"),
        ("service_list_page", "/api/v1/services?limit=1"),
        ("service", "/api/v1/services/web?include_unhealthy=true"),
        ("url", "/api/v1/services/web/url"),
        ("endpoint", ONE),
        ("plain_services", "/services"),
        ("plain_services_urls", "/services?plain=true"),
        ("targets", "/api/v1/sd/prometheus?service=web&port=metrics"),
        ("health", "/health"),
    ] {
        note(client, texts, name, Call::get(target)).await;
    }
    let select = Call::new("POST", &format!("{WEB}/select")).json(&json!({"limit": 2}));
    note(client, texts, "selection", select).await;
}

async fn leave_all(client: &mut Client, texts: &mut Texts) {
    for id in ["one", "two"] {
        client
            .delete(&format!("{WEB}/endpoints/{id}"))
            .await
            .must_be(204);
    }
    let short = json!({"host": "three.test", "port": 80, "ttl": 1, "checks": []});
    let three = client.put(&format!("{WEB}/endpoints/three"), &short).await;
    let revision = three.must_be(201).revision();
    let emptied = Call::get(&format!("{WEB}?revision={revision}&wait=20"));
    note(client, texts, "service_emptied", emptied).await;
    client.delete(WEB).await.must_be(204);
}

/// What differs from run to run is replaced.
fn fixed(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let member = |(name, value): (String, Value)| {
                let value = match (name.as_str(), &value) {
                    ("cluster" | "stream" | "version", Value::String(text)) if text != "1.2" => {
                        json!("0".repeat(text.len().min(32)))
                    }
                    ("actor", Value::String(text)) if text.starts_with("127.") => {
                        json!("127.0.0.1:1")
                    }
                    ("retry" | "remaining", _) => json!(1),
                    ("detail", Value::String(text)) if text.starts_with("not heard") => {
                        json!("not heard from")
                    }
                    _ => fixed(value),
                };
                (name, value)
            };
            Value::Object(members.into_iter().map(member).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(fixed).collect()),
        Value::String(text)
            if text.len() == 24 && text.starts_with("20") && text.ends_with('Z') =>
        {
            json!("2026-11-21T18:05:03.123Z")
        }
        other => other,
    }
}

fn path_of(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/golden/{name}.json"))
}

fn in_lines(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("a value is JSON") + "\n"
}

fn read(name: &str) -> Value {
    let text = fs::read_to_string(path_of(name)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

#[tokio::test]
#[ignore = "writes the golden files; run it when an answer is meant to change"]
async fn write_golden_answers() {
    for (name, value) in story().await {
        fs::write(path_of(&name), in_lines(&value)).expect("the folder can be written");
    }
}

#[tokio::test]
async fn what_is_answered_is_what_the_golden_files_say() {
    for (name, value) in story().await {
        assert_eq!(value, read(&name), "{name}");
    }
}

#[test]
fn everything_that_the_contract_names_has_a_golden_file() {
    let expected: BTreeSet<String> = ANSWERS
        .iter()
        .chain(EVENTS)
        .map(|(name, _)| format!("{name}.json"))
        .collect();
    let folder = path_of("x")
        .parent()
        .expect("a file lies in a folder")
        .to_owned();
    let files = fs::read_dir(folder).expect("the folder is there").flatten();
    let found: BTreeSet<String> = files
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(found, expected);
    for code in CODES {
        let path = format!("../hermes-core/tests/it/golden/problem_{code}.json");
        let is_there = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join(path)
            .exists();
        assert!(is_there, "{code}");
    }
}

#[test]
fn the_golden_files_are_what_the_document_says_of_them_member_by_member() {
    for (name, kind) in ANSWERS.iter().chain(EVENTS) {
        document::check_named(kind, &read(name));
    }
    // And the other way round: a member that is documented is seen somewhere.
    let all = ANSWERS.iter().chain(EVENTS);
    for (_, kind) in all.clone() {
        let files = all.clone().filter(|(_, other)| other == kind);
        let mut seen = BTreeSet::new();
        for (name, _) in files {
            seen.extend(
                read(name)
                    .as_object()
                    .into_iter()
                    .flat_map(|members| members.keys().cloned()),
            );
        }
        let missing: Vec<_> = document::members_of(kind)
            .difference(&seen)
            .cloned()
            .collect();
        assert!(missing.is_empty(), "{kind}: nothing shows {missing:?}");
    }
    for (kind, names) in PARTS {
        for name in *names {
            let text = read(name).to_string();
            for member in document::members_of(kind) {
                assert!(
                    text.contains(&format!("\"{member}\":")),
                    "{kind}: {name} has no {member}"
                );
            }
        }
    }
}
