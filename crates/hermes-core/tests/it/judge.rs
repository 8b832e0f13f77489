//! What must hold of any bytes whatever that reach a parser: it ends, and what it takes is right.
//!
//! One function for each door. They are plain, so that the fuzzers in `fuzz/` and the random bytes of
//! [`random`](crate::random) go through the same ones. This file is compiled by both, so it uses
//! nothing of the tests around it.

use std::sync::Arc;

use hermes_core::address::{Address, Host, url_of};
use hermes_core::catalog::Catalog;
use hermes_core::change::{Cause, Change, ChangeKind, ClusterId, Committed, Revision};
use hermes_core::command::{Claim, Command, Condition, Request};
use hermes_core::feed::Feed;
use hermes_core::limits::{
    BodyRules, CHECKS_MAX, JSON_DEPTH_MAX, Limits, METADATA_MEMBERS_MAX, PORTS_MAX, TAGS_MAX,
};
use hermes_core::name::{EndpointId, Name, ServiceKey};
use hermes_core::plan::plan;
use hermes_core::select::{Variety, select};
use hermes_core::time::{Now, Timestamp};
use hermes_core::wire::depth_of;
use hermes_core::wire::problem::{Problem, code};
use hermes_core::wire::request::{
    check_json, read_criteria, read_drain, read_heartbeat, read_heartbeats, read_patch,
    read_registration,
};
use serde_json::{Value, json};

/// A door: its name, what looks at what comes in, and examples of what may.
pub(crate) type Door = (&'static str, fn(&[u8]), &'static [&'static str]);

/// Every door.
pub(crate) const DOORS: &[Door] = &[
    (
        "names",
        names,
        &["web", "Memory_Store", "0::1:80", "web-1.eu:80", "a"],
    ),
    (
        "urls",
        urls,
        &[
            "http://10.0.0.1:8080",
            "https://[::1]:443/a",
            "HTTP://Web_1.example/x/",
            "[fe80::1]",
            "0x7f.1",
        ],
    ),
    (
        "registrations",
        registrations,
        &[
            r#"{"url": "http://10.0.0.1:8080"}"#,
            r#"{"host": "::1", "port": 80, "scheme": "tcp", "ttl": "90s", "tags": ["a"], "metadata": {"x": [1, null, {"y": 2.5}]}}"#,
            r#"{"url": "https://a/b", "ports": {"m": 1, "n": {"port": 2, "scheme": "grpc"}}, "zone": "z", "weight": 0, "environment": "docker", "initial_health": "healthy",
              "checks": [{"type": "http", "path": "/x", "method": "HEAD", "expect_status": [200, "3xx"], "port": "m", "interval": 10, "timeout": "500ms", "grace": 0.001}, {"type": "tcp", "dry_run": true, "tls": {"verify": false}}, {"type": "heartbeat", "rise": 2}]}"#,
        ],
    ),
    (
        "heartbeats",
        heartbeats,
        &[
            "",
            r#"{"incarnation": 7, "health_status": "degraded", "note": "n", "load": 0.5}"#,
            r#"{"heartbeats": {"web": ["a", ["b", 7]], "Api_1": []}}"#,
            r#"{"reason": "r", "sticky": true}"#,
            r#"{"metadata": {"a": null}, "tags": null, "weight": 5, "zone": "z"}"#,
        ],
    ),
    (
        "selection",
        selection,
        &[
            "",
            r#"{"policy": "rendezvous", "key": "k", "limit": 100}"#,
            r#"{"policy": "least_loaded", "metadata": {"n": 1}, "tags": ["t1"], "zone": "z", "zone_strict": true, "environment": "local", "exclude": ["e1"], "port": "main", "fallback": "any"}"#,
        ],
    ),
    (
        "resume",
        resume,
        &[
            "0123456789abcdef 7",
            "\u{1}\u{2}\u{3}\u{4}\u{5}",
            "18446744073709551615",
        ],
    ),
];

/// A refusal must be one that the contract knows.
fn refused(problem: &Problem) {
    assert!(code::ALL.contains(&problem.code.as_str()), "{problem:?}");
    assert_eq!(problem.status, 400, "{problem:?}");
    assert!(
        problem.detail.len() < 4_096,
        "it repeats too much: {}",
        problem.detail.len()
    );
}

pub(crate) fn names(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(name) = Name::parse(&text) {
        let folded = name.as_str();
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        assert!(
            (1..=63).contains(&folded.len()) && folded.bytes().all(fits),
            "{folded}"
        );
        assert!(
            !folded.starts_with('-') && !folded.ends_with('-'),
            "{folded}"
        );
        assert_eq!(Name::parse(folded).as_ref(), Ok(&name));
        assert_eq!(name.given(), text);
    }
    if let Ok(id) = EndpointId::parse(&text) {
        assert_eq!(id.as_str(), text);
        assert!((1..=128).contains(&text.len()) && text.is_ascii(), "{text}");
    }
}

pub(crate) fn urls(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(address) = Address::parse_url(&text) {
        assert_eq!(*address.url, *text);
        assert!(address.port >= 1 && address.scheme.is_http(), "{text}");
        let plain = url_of(&address.scheme, &address.host, address.port);
        let again = Address::parse_url(&plain).expect("what it is made of can be read");
        assert!(again.same_place(&address), "{text} and {plain}");
        // Nothing that JSON or a header would have to escape.
        assert!(
            text.bytes()
                .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\'),
            "{text}"
        );
    }
    if let Ok(host) = Host::parse(&text) {
        assert_eq!(Host::parse(host.as_str()), Ok(host.clone()), "{text}");
        assert!(host.as_str().len() <= 253, "{text}");
    }
}

pub(crate) fn registrations(bytes: &[u8]) {
    let registration = match read_registration(bytes) {
        Ok(registration) => registration,
        Err(problem) => return refused(&problem),
    };
    assert!(depth_of(bytes) <= JSON_DEPTH_MAX);
    assert!(registration.ports.contains_key("main") && registration.ports.len() <= PORTS_MAX);
    assert!(registration.tags.len() <= TAGS_MAX && registration.checks.len() <= CHECKS_MAX);
    assert!(registration.metadata.len() <= METADATA_MEMBERS_MAX);
    for check in &registration.checks {
        assert!(
            !check.timeout.is_zero() && check.timeout <= check.interval,
            "{check:?}"
        );
    }
    // What was read of a check may be sent back, and is the same.
    let checks: Vec<Value> = registration
        .checks
        .iter()
        .map(|check| json!(check_json(check)))
        .collect();
    let ports: serde_json::Map<String, Value> = registration
        .ports
        .iter()
        .map(|(name, port)| {
            (
                name.to_string(),
                json!({"port": port.port, "scheme": port.scheme.as_str()}),
            )
        })
        .collect();
    let body = json!({"host": registration.address.host.as_str(), "port": registration.address.port,
        "scheme": registration.address.scheme.as_str(), "ports": ports, "checks": checks});
    let again = read_registration(body.to_string().as_bytes()).expect("it can be sent back");
    assert_eq!(again.checks, registration.checks);
    assert_eq!(again.ports, registration.ports);
    // And it can be registered and shown.
    let mut catalog = Catalog::new(Limits::default(), 1);
    register(&mut catalog, "e", registration);
    let service = web();
    let endpoint = catalog.endpoint(&service, &id("e")).expect("it is there");
    let mut shown = Vec::new();
    endpoint.write_json(&mut shown);
    let shown: Value = serde_json::from_slice(&shown).expect("an endpoint is shown as JSON");
    assert_eq!(shown["id"], "e");
}

pub(crate) fn heartbeats(bytes: &[u8]) {
    if let Err(problem) = read_heartbeat(bytes) {
        refused(&problem);
    }
    match read_heartbeats(bytes, BodyRules::default()) {
        Ok(all) => assert!(all.len() <= 10_000),
        Err(problem) => refused(&problem),
    }
    if let Err(problem) = read_drain(bytes) {
        refused(&problem);
    }
    if let Err(problem) = read_patch(bytes) {
        refused(&problem);
    }
}

pub(crate) fn selection(bytes: &[u8]) {
    let criteria = match read_criteria(bytes) {
        Ok(criteria) => criteria,
        Err(problem) => return refused(&problem),
    };
    let mut catalog = Catalog::new(Limits::default(), 1);
    for n in 0..4 {
        let body = json!({"host": "h", "port": n + 1, "checks": [], "tags": [format!("t{n}")], "weight": n * 50,
            "zone": if n < 2 { json!("z") } else { json!(null) }, "metadata": {"n": n}});
        let registration = read_registration(body.to_string().as_bytes());
        register(
            &mut catalog,
            &format!("e{n}"),
            registration.expect("it is right"),
        );
    }
    let view = catalog.service_at(&web()).expect("it is known");
    let chosen = select(
        view,
        &criteria,
        Variety {
            turn: bytes.len(),
            seed: 7,
        },
        Now::default(),
    )
    .chosen;
    assert!(chosen.len() <= criteria.limit);
    assert!(
        chosen.iter().all(|endpoint| criteria.matches(endpoint)),
        "{criteria:?}"
    );
    let mut ids: Vec<&str> = chosen.iter().map(|endpoint| endpoint.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), chosen.len(), "nobody is chosen twice");
}

/// A cluster and a revision to go on from, and a feed that has dropped some of its past: there is no
/// gap, no duplicate, and what is missing is said.
pub(crate) fn resume(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(cluster) = ClusterId::parse(&text) {
        assert_eq!(cluster.to_string(), text.to_ascii_lowercase());
    }
    let (bounds, steps) = bytes.split_at(bytes.len().min(2));
    let most = usize::from(bounds.first().copied().unwrap_or(4) % 8);
    let from = u64::from(bounds.get(1).copied().unwrap_or(0));
    let mut feed = Feed::new(Revision(1), most, usize::MAX);
    let (mut all, mut revision) = (Vec::new(), 1);
    for step in steps.iter().take(64) {
        revision += 1 + u64::from(step % 5);
        feed.push(forgotten(revision));
        all.push(revision);
    }
    let kept: Vec<u64> = all.iter().copied().rev().take(most).rev().collect();
    let dropped = all.len() - kept.len();
    let complete_after = if dropped == 0 { 1 } else { all[dropped - 1] };
    match feed.after(Revision(from), 1_000) {
        Err(_) => assert!(from < complete_after, "{from} of {all:?}"),
        Ok(found) => {
            let found: Vec<u64> = found.iter().map(|change| change.revision.0).collect();
            let expected: Vec<u64> = all
                .iter()
                .copied()
                .filter(|revision| *revision > from)
                .collect();
            assert_eq!(found, expected);
        }
    }
}

fn web() -> ServiceKey {
    ServiceKey::new(
        Name::default_namespace(),
        Name::parse("web").expect("it is a name"),
    )
}

fn id(text: &str) -> EndpointId {
    EndpointId::parse(text).expect("it is an id")
}

fn register(catalog: &mut Catalog, name: &str, registration: hermes_core::endpoint::Registration) {
    let command = Command::Register {
        service: web(),
        id: id(name),
        registration: Arc::new(registration),
        new: false,
    };
    let request = Request {
        command,
        actor: "fuzz".into(),
        condition: Condition::Always,
        claim: Claim::Free,
    };
    let planned = plan(catalog, &request, Now::default()).expect("there is room");
    let revision = Revision(catalog.revision().0 + 1);
    catalog.apply(revision, &planned.changes[0].change, Now::default());
}

fn forgotten(revision: u64) -> Arc<Committed> {
    let change = Change {
        kind: ChangeKind::Forgotten,
        service: web(),
        id: None,
        incarnation: None,
        state: None,
        policy: None,
        time: Timestamp(0),
        actor: "fuzz".into(),
        cause: Cause::new("fuzz", ""),
    };
    Arc::new(Committed::new(Revision(revision), Arc::new(change), None))
}
