//! What is read: bodies that are right, and bodies that are wrong in one place, with the code and the
//! pointer that say which.

use std::time::Duration;

use hermes_core::change::Revision;
use hermes_core::check::{Check, CheckKind, HttpCheck, HttpMethod, StatusMatch, TlsOptions};
use hermes_core::limits::{BodyRules, METADATA_BYTES_MAX};
use hermes_core::wire::problem::Problem;
use hermes_core::wire::request::{
    HeartbeatOf, check_json, read_criteria, read_drain, read_heartbeat, read_heartbeats,
    read_patch, read_registration, registration_of_url,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::make::registration;

/// What is wrong: the code, the pointer (empty for the body itself), the nearest names.
type Fault<'a> = (&'a str, &'a str, &'a [&'a str]);

const BODY: Fault<'_> = ("invalid_body", "", &[]);

/// `invalid_field` at a pointer.
const fn field(pointer: &str) -> Fault<'_> {
    ("invalid_field", pointer, &[])
}

/// `unknown_field` at a pointer, with what was meant.
const fn unknown<'a>(pointer: &'a str, nearest: &'a [&'a str]) -> Fault<'a> {
    ("unknown_field", pointer, nearest)
}

/// Many heartbeats, under the rules that hold unless they are set.
fn many_heartbeats(body: &[u8]) -> Result<Vec<HeartbeatOf>, Problem> {
    read_heartbeats(body, BodyRules::default())
}

fn refuses<T>(read: impl Fn(&[u8]) -> Result<T, Problem>, body: &[u8], fault: Fault<'_>) {
    let shown = String::from_utf8_lossy(&body[..body.len().min(200)]);
    let Err(problem) = read(body) else {
        unreachable!("accepted: {shown}");
    };
    let found: Vec<&str> = problem.nearest.iter().map(String::as_str).collect();
    let found = (
        problem.code.as_str(),
        problem.field.as_deref().unwrap_or_default(),
        &found[..],
    );
    assert_eq!(found, fault, "{shown}: {}", problem.detail);
    assert_eq!(problem.status, 400);
    assert_eq!(problem.kind, format!("urn:hermes:problem:{}", problem.code));
    let sentence = problem.detail.ends_with(['.', '?']);
    assert!(sentence, "{}", problem.detail);
}

/// The body of a registration, with these members beside its URL.
fn beside_url(members: &Value) -> Vec<u8> {
    let mut body = json!({"url": "http://web:80"});
    for (name, value) in members
        .as_object()
        .expect("members are written as an object")
    {
        body[name] = value.clone();
    }
    body.to_string().into_bytes()
}

/// An object of so many members.
fn many(count: usize, value: &Value) -> Value {
    let members = (0..count).map(|n| (format!("m{n}"), value.clone()));
    Value::Object(members.collect::<Map<_, _>>())
}

/// Metadata of exactly so many bytes, encoded.
fn metadata_of(bytes: usize) -> Value {
    json!({"x": "y".repeat(bytes - r#"{"x":""}"#.len())})
}

/// Nested so deeply, the body itself counted.
fn nested(depth: usize) -> Value {
    let inner = (2..depth).fold(json!({}), |inner, _| json!({"n": inner}));
    json!({"metadata": inner})
}

#[test]
fn a_body_is_one_json_object() {
    for body in [
        &b""[..],
        b"null",
        b"1",
        b"\"x\"",
        b"[]",
        b"[{}]",
        b"{",
        b"{\"url\": }",
        b"{} {}",
        b"{}x",
        b"{'url': 1}",
        b"\xff\xfe",
        b"{\"url\": \"\xff\"}",
        b"{\"url\": \"\\ud800\"}",
        b"{\"weight\": 1e999}",
    ] {
        refuses(read_registration, body, BODY);
        refuses(read_patch, body, BODY);
        refuses(many_heartbeats, body, BODY);
    }
    assert!(read_registration(&beside_url(&nested(16))).is_ok());
    refuses(read_registration, &beside_url(&nested(17)), BODY);
}

#[test]
fn an_address_comes_in_two_forms_that_agree() {
    for body in [
        json!({"url": "http://web:80"}),
        json!({"url": "http://web"}),
        json!({"host": "web", "port": 80}),
        json!({"host": "WEB", "port": 80, "scheme": "HTTP"}),
        json!({"url": "http://web", "host": "web", "port": 80, "scheme": "http"}),
        json!({"url": "http://WEB:80/base", "port": 80}),
        json!({"url": "http://web:80", "host": null, "port": null, "scheme": null}),
    ] {
        let address = registration(&body).address;
        let place = (address.scheme.as_str(), address.host.as_str(), address.port);
        assert_eq!(place, ("http", "web", 80), "{body}");
    }
    assert_eq!(
        &*registration(&json!({"host": "::1", "port": 8080}))
            .address
            .url,
        "http://[::1]:8080"
    );
    for (body, pointer) in [
        (json!({}), "/url"),
        (json!({"port": 80}), "/url"),
        (json!({"host": "web"}), "/port"),
        (json!({"host": "web", "port": 0}), "/port"),
        (json!({"host": "web", "port": 65_536}), "/port"),
        (json!({"host": "web", "port": "80"}), "/port"),
        (json!({"host": "web", "port": 80.5}), "/port"),
        (json!({"host": "web", "port": -80}), "/port"),
        (json!({"host": "we b", "port": 80}), "/host"),
        (json!({"host": "", "port": 80}), "/host"),
        (json!({"host": 7, "port": 80}), "/host"),
        (
            json!({"host": "web", "port": 80, "scheme": "1x"}),
            "/scheme",
        ),
        (json!({"url": 7}), "/url"),
        (json!({"url": "web:80"}), "/url"),
        (json!({"url": "ftp://web"}), "/url"),
        (json!({"url": "http://user:pw@web"}), "/url"),
        (json!({"url": "http://web?a=b"}), "/url"),
        (json!({"url": "http://web:80", "host": "db"}), "/url"),
        (json!({"url": "http://web:80", "port": 81}), "/url"),
        (json!({"url": "http://web:80", "scheme": "https"}), "/url"),
    ] {
        refuses(
            read_registration,
            body.to_string().as_bytes(),
            field(pointer),
        );
    }
}

#[test]
fn every_member_of_a_registration_has_its_bounds() {
    let long = "x".repeat(129);
    for (members, pointer) in [
        (json!({"metadata": []}), "/metadata"),
        (json!({"metadata": many(65, &json!(1))}), "/metadata"),
        (
            json!({"metadata": metadata_of(METADATA_BYTES_MAX + 1)}),
            "/metadata",
        ),
        (json!({"tags": "x"}), "/tags"),
        (json!({"tags": vec!["x"; 33]}), "/tags"),
        (json!({"tags": ["x", long]}), "/tags/1"),
        (json!({"tags": ["x", ""]}), "/tags/1"),
        (json!({"tags": [1]}), "/tags/0"),
        (json!({"zone": long}), "/zone"),
        (json!({"zone": ""}), "/zone"),
        (json!({"zone": ["eu"]}), "/zone"),
        (json!({"weight": -1}), "/weight"),
        (json!({"weight": 65_536}), "/weight"),
        (json!({"weight": 1.5}), "/weight"),
        (json!({"weight": "1"}), "/weight"),
        (json!({"environment": "podman"}), "/environment"),
        (json!({"environment": 1}), "/environment"),
        (json!({"initial_health": "degraded"}), "/initial_health"),
    ] {
        refuses(read_registration, &beside_url(&members), field(pointer));
    }
}

#[test]
fn a_lease_outside_its_bounds_is_refused() {
    for (members, pointer) in [
        (json!({"ttl": 0}), "/ttl"),
        (json!({"ttl": 0.999}), "/ttl"),
        (json!({"ttl": "999ms"}), "/ttl"),
        (json!({"ttl": 86_401}), "/ttl"),
        (json!({"ttl": "25h"}), "/ttl"),
        (json!({"ttl": "10 s"}), "/ttl"),
        (json!({"ttl": "1.5s"}), "/ttl"),
        (json!({"ttl": "1d"}), "/ttl"),
        (json!({"ttl": -1}), "/ttl"),
        (json!({"ttl": true}), "/ttl"),
    ] {
        refuses(read_registration, &beside_url(&members), field(pointer));
    }
}

#[test]
fn every_port_has_its_bounds() {
    for (members, pointer) in [
        (json!({"ports": [80]}), "/ports"),
        (json!({"ports": many(16, &json!(81))}), "/ports"),
        (json!({"ports": {"main": 81}}), "/ports/main"),
        (
            json!({"ports": {"main": {"port": 80, "scheme": "tcp"}}}),
            "/ports/main",
        ),
        (json!({"ports": {"ADMIN": 81, "admin": 82}}), "/ports/admin"),
        (json!({"ports": {"a b": 81}}), "/ports/a b"),
        (json!({"ports": {"a/b": 0}}), "/ports/a~1b"),
        (json!({"ports": {"admin": "81"}}), "/ports/admin"),
        (json!({"ports": {"admin": {}}}), "/ports/admin"),
        (
            json!({"ports": {"admin": {"port": 0}}}),
            "/ports/admin/port",
        ),
        (
            json!({"ports": {"admin": {"port": 81, "scheme": "9"}}}),
            "/ports/admin/scheme",
        ),
    ] {
        refuses(read_registration, &beside_url(&members), field(pointer));
    }
}

#[test]
fn a_slip_of_the_fingers_is_told_what_was_meant() {
    for (members, nearest) in [
        (
            json!({"environment": "dokcer"}),
            ("invalid_field", "/environment", &["docker"][..]),
        ),
        (
            json!({"initial_health": "helthy"}),
            ("invalid_field", "/initial_health", &["healthy"]),
        ),
        (json!({"hots": "web"}), unknown("/hots", &["host"])),
        (json!({"meta": {}}), unknown("/meta", &["metadata"])),
        (json!({"wieght": null}), unknown("/wieght", &["weight"])),
        (
            json!({"health_check": "/health"}),
            unknown("/health_check", &[]),
        ),
        (json!({"a/b~c": 1}), unknown("/a~1b~0c", &[])),
        (
            json!({"ports": {"admin": {"port": 81, "schema": "tcp"}}}),
            unknown("/ports/admin/schema", &["scheme"]),
        ),
    ] {
        refuses(read_registration, &beside_url(&members), nearest);
    }
}

#[test]
fn what_just_fits_is_read() {
    for members in [
        json!({"metadata": many(64, &json!(1))}),
        json!({"metadata": metadata_of(METADATA_BYTES_MAX)}),
        json!({"metadata": {"any": [null, 1, "x", {"y": true}]}}),
        json!({"tags": vec!["x".repeat(128); 32]}),
        json!({"zone": "x".repeat(128), "weight": 0}),
        json!({"weight": 65_535}),
        json!({"ports": many(15, &json!(81))}),
        json!({"ports": {"main": 80, "Admin_Port": {"port": 81, "scheme": "GRPC"}}}),
        json!({"ports": {"ADMIN": 81, "admin": 81}}),
        json!({"metadata": null, "tags": null, "zone": null, "weight": null, "ports": null, "checks": null}),
    ] {
        let read = read_registration(&beside_url(&members));
        assert!(read.is_ok(), "{members}: {read:?}");
    }
    let folded = registration(&json!({"url": "http://web", "ports": {"Admin_Port": 81}}));
    assert_eq!(
        folded.ports.keys().collect::<Vec<_>>(),
        ["admin-port", "main"]
    );
}

#[test]
fn a_lease_is_said_in_two_forms_or_not_at_all() {
    let seconds = Duration::from_secs_f64;
    for (members, ttl) in [
        (json!({}), Some(seconds(30.0))),
        (json!({"ttl": null}), None),
        (json!({"ttl": 1}), Some(seconds(1.0))),
        (json!({"ttl": 1.5}), Some(seconds(1.5))),
        (json!({"ttl": "1000ms"}), Some(seconds(1.0))),
        (json!({"ttl": "90s"}), Some(seconds(90.0))),
        (json!({"ttl": "2m"}), Some(seconds(120.0))),
        (json!({"ttl": "24h"}), Some(seconds(86_400.0))),
        (json!({"ttl": 86_400}), Some(seconds(86_400.0))),
    ] {
        assert_eq!(
            read_registration(&beside_url(&members)).unwrap().ttl,
            ttl,
            "{members}"
        );
    }
    let of_url = registration_of_url("http://web:80").unwrap();
    assert_eq!((of_url.ttl, of_url.checks.len()), (None, 1));
    assert_eq!(
        registration_of_url("web").unwrap_err().field.as_deref(),
        Some("endpoint")
    );
}

#[test]
fn what_is_not_said_about_checks_follows_from_the_scheme() {
    let checks = |body: Value| registration(&body).checks;
    let http = Check::new(CheckKind::Http(HttpCheck::default()));
    assert_eq!(checks(json!({"url": "https://web"})), [http]);
    assert_eq!(
        checks(json!({"host": "web", "port": 1, "scheme": "tcp"})),
        [Check::new(CheckKind::Tcp)]
    );
    assert_eq!(checks(json!({"url": "http://web", "checks": []})), []);
    let short = checks(json!({"url": "http://web", "checks": [{"type": "tcp", "interval": 2}]}));
    assert_eq!(
        short[0].timeout,
        Duration::from_secs(2),
        "never above the interval"
    );
}

/// An HTTP check with one member more.
fn http(member: &str, value: &Value) -> Value {
    json!({"type": "http", member: value})
}

/// The body of a registration whose only check is `check`.
fn with_check(check: &Value) -> Vec<u8> {
    beside_url(&json!({"checks": [check]}))
}

#[test]
fn a_check_says_what_it_is_and_where() {
    for (check, fault) in [
        (json!("tcp"), field("/checks/0")),
        (json!({}), field("/checks/0/type")),
        (json!({"type": null}), field("/checks/0/type")),
        (json!({"type": "grpc"}), field("/checks/0/type")),
        (
            json!({"type": "htpp"}),
            ("invalid_field", "/checks/0/type", &["http"]),
        ),
        (http("name", &json!("")), field("/checks/0/name")),
        (
            http("name", &json!("x".repeat(64))),
            field("/checks/0/name"),
        ),
        (http("port", &json!("admin")), field("/checks/0/port")),
        (http("port", &json!("a b")), field("/checks/0/port")),
        (http("port", &json!(80)), field("/checks/0/port")),
    ] {
        refuses(read_registration, &with_check(&check), fault);
    }
}

#[test]
fn what_an_http_check_asks_has_its_bounds() {
    for (check, fault) in [
        (http("path", &json!("health")), field("/checks/0/path")),
        (http("path", &json!("/a b")), field("/checks/0/path")),
        (http("path", &json!("/a#b")), field("/checks/0/path")),
        (http("path", &json!("/caf\u{e9}")), field("/checks/0/path")),
        (
            http("path", &json!("/".repeat(257))),
            field("/checks/0/path"),
        ),
        (http("method", &json!("POST")), field("/checks/0/method")),
        (
            http("expect_status", &json!(200)),
            field("/checks/0/expect_status"),
        ),
        (
            http("expect_status", &json!([])),
            field("/checks/0/expect_status"),
        ),
        (
            http("expect_status", &json!([200, 99])),
            field("/checks/0/expect_status/1"),
        ),
        (
            http("expect_status", &json!([600])),
            field("/checks/0/expect_status/0"),
        ),
        (
            http("expect_status", &json!(["6xx"])),
            field("/checks/0/expect_status/0"),
        ),
        (
            http("expect_status", &json!(["+2xx"])),
            field("/checks/0/expect_status/0"),
        ),
        (
            http("expect_status", &json!(["200"])),
            field("/checks/0/expect_status/0"),
        ),
        (
            http("expect_status", &json!(vec![200; 33])),
            field("/checks/0/expect_status"),
        ),
        (
            http("expect_body", &json!("x".repeat(257))),
            field("/checks/0/expect_body"),
        ),
    ] {
        refuses(read_registration, &with_check(&check), fault);
    }
}

#[test]
fn when_a_check_runs_has_its_bounds() {
    for (check, fault) in [
        (http("interval", &json!(0.9)), field("/checks/0/interval")),
        (http("interval", &json!("25h")), field("/checks/0/interval")),
        (
            http("interval", &json!("soon")),
            field("/checks/0/interval"),
        ),
        (http("timeout", &json!(0)), field("/checks/0/timeout")),
        (http("timeout", &json!(31)), field("/checks/0/timeout")),
        (http("attempts", &json!(0)), field("/checks/0/attempts")),
        (http("attempts", &json!(101)), field("/checks/0/attempts")),
        (http("rise", &json!(0)), field("/checks/0/rise")),
        (http("fall", &json!("1")), field("/checks/0/fall")),
        (http("grace", &json!(-1)), field("/checks/0/grace")),
        (http("dry_run", &json!(1)), field("/checks/0/dry_run")),
        (
            http("tls", &json!({"verify": "no"})),
            field("/checks/0/tls/verify"),
        ),
        (
            http("tls", &json!({"server_name": "a b"})),
            field("/checks/0/tls/server_name"),
        ),
        (
            http("tls", &json!({"ca": "none"})),
            field("/checks/0/tls/ca"),
        ),
        (
            http("tls", &json!({"veryfi": true})),
            unknown("/checks/0/tls/veryfi", &["verify"]),
        ),
        (
            json!({"type": "heartbeat", "tls": {}}),
            field("/checks/0/tls"),
        ),
        (
            http("intervall", &json!(1)),
            unknown("/checks/0/intervall", &["interval"]),
        ),
        (
            json!({"type": "tcp", "path": "/health"}),
            unknown("/checks/0/path", &[]),
        ),
    ] {
        refuses(read_registration, &with_check(&check), fault);
    }
}

#[test]
fn checks_have_names_of_their_own_and_ports_that_exist() {
    for (checks, pointer) in [
        (json!({"type": "tcp"}), "/checks"),
        (json!(vec![json!({"type": "tcp"}); 9]), "/checks"),
        (json!([{"type": "tcp"}, {"type": "tcp"}]), "/checks/1"),
        (
            json!([{"type": "tcp"}, {"type": "http", "name": "tcp"}]),
            "/checks/1",
        ),
        (
            json!([{"type": "tcp"}, {"type": "http", "port": "admin"}]),
            "/checks/1/port",
        ),
    ] {
        refuses(
            read_registration,
            &beside_url(&json!({"checks": checks})),
            field(pointer),
        );
    }
    let eight: Vec<Value> = (0..8)
        .map(|n| json!({"type": "tcp", "name": n.to_string()}))
        .collect();
    assert!(read_registration(&beside_url(&json!({"checks": eight}))).is_ok());
}

#[test]
fn a_patch_names_what_can_be_overridden() {
    for (body, fault) in [
        (json!({"url": "http://web"}), unknown("/url", &[])),
        (json!({"weigth": 1}), unknown("/weigth", &["weight"])),
        (json!({"weight": 65_536}), field("/weight")),
        (json!({"zone": ""}), field("/zone")),
        (json!({"tags": {"x": 1}}), field("/tags")),
        (json!({"tags": [""]}), field("/tags/0")),
        (json!({"metadata": "x"}), field("/metadata")),
        (
            json!({"metadata": many(65, &json!(null))}),
            field("/metadata"),
        ),
    ] {
        refuses(read_patch, body.to_string().as_bytes(), fault);
    }
    let read = |body: Value| read_patch(body.to_string().as_bytes()).unwrap();
    assert_eq!(read(json!({})).weight, None, "absent leaves it");
    assert_eq!(
        read(json!({"weight": null})).weight,
        Some(None),
        "null takes it away"
    );
    assert_eq!(read(json!({"weight": 0})).weight, Some(Some(0)));
    let metadata = json!({"x": null, "y": {"z": null}});
    assert_eq!(
        read(json!({"metadata": metadata}))
            .metadata
            .flatten()
            .map(|metadata| metadata.to_object().into()),
        Some(metadata)
    );
}

#[test]
fn heartbeats_come_alone_or_in_thousands() {
    assert!(read_heartbeat(b"").is_ok() && read_heartbeat(b"{}").is_ok());
    let body = br#"{"incarnation": 7, "health_status": "degraded", "note": "slow", "load": 0.5}"#;
    let heartbeat = read_heartbeat(body).unwrap();
    assert_eq!(
        (heartbeat.incarnation, heartbeat.load),
        (Some(Revision(7)), Some(0.5))
    );
    for (body, fault) in [
        (json!({"incarnation": 0}), field("/incarnation")),
        (json!({"incarnation": "7"}), field("/incarnation")),
        (json!({"health_status": "up"}), field("/health_status")),
        (
            json!({"health_status": "degarded"}),
            ("invalid_field", "/health_status", &["degraded"]),
        ),
        (json!({"note": "x".repeat(257)}), field("/note")),
        (json!({"load": -0.1}), field("/load")),
        (json!({"load": "high"}), field("/load")),
        (json!({"laod": 1}), unknown("/laod", &["load"])),
    ] {
        refuses(read_heartbeat, body.to_string().as_bytes(), fault);
    }
    for (body, fault) in [
        (json!({}), field("/heartbeats")),
        (json!({"heartbeats": []}), field("/heartbeats")),
        (
            json!({"heartbeats": {"web": "a"}}),
            field("/heartbeats/web"),
        ),
        (
            json!({"heartbeats": {"we/b": "a"}}),
            field("/heartbeats/we~1b"),
        ),
        (
            json!({"heartbeats": {"web": [1]}}),
            field("/heartbeats/web"),
        ),
        (
            json!({"heartbeats": {"web": [["a"]]}}),
            field("/heartbeats/web"),
        ),
        (
            json!({"heartbeats": {"web": [["a", 0]]}}),
            field("/heartbeats/web"),
        ),
        (
            json!({"heartbeats": {"web": [["a", 1, 2]]}}),
            field("/heartbeats/web"),
        ),
        (
            json!({"heartbeat": {}}),
            unknown("/heartbeat", &["heartbeats"]),
        ),
        (
            json!({"heartbeats": {"web": vec!["a"; 10_000], "x": ["b"]}}),
            field("/heartbeats"),
        ),
    ] {
        refuses(many_heartbeats, body.to_string().as_bytes(), fault);
    }
    let body = json!({"heartbeats": {"a": vec!["x"; 10_000 - 1], "b": [["y", 9]]}});
    let read = many_heartbeats(body.to_string().as_bytes()).unwrap();
    let last = read.last().unwrap();
    assert_eq!(read.len(), 10_000);
    assert_eq!(
        (last.service.as_str(), last.id.as_str(), last.incarnation),
        ("b", "y", Some(Revision(9)))
    );
}

#[test]
fn a_drain_may_say_why() {
    assert!(!read_drain(b"").unwrap().sticky && !read_drain(b"{}").unwrap().sticky);
    let drain = read_drain(br#"{"reason": "moving", "sticky": true}"#).unwrap();
    assert_eq!((drain.reason.as_str(), drain.sticky), ("moving", true));
    for (body, fault) in [
        (json!({"reason": "x".repeat(257)}), field("/reason")),
        (json!({"reason": 1}), field("/reason")),
        (json!({"sticky": "yes"}), field("/sticky")),
        (json!({"stikcy": true}), unknown("/stikcy", &["sticky"])),
    ] {
        refuses(read_drain, body.to_string().as_bytes(), fault);
    }
}

#[test]
fn criteria_are_all_optional_and_each_has_its_bounds() {
    assert_eq!(read_criteria(b"").unwrap(), read_criteria(b"{}").unwrap());
    for body in [
        json!({"policy": "rendezvous", "key": ""}),
        json!({"zone": "eu", "zone_strict": true, "limit": 100, "explain": true}),
        json!({"exclude": vec!["a"; 100], "port": "Admin_Port", "fallback": "none"}),
    ] {
        assert!(read_criteria(body.to_string().as_bytes()).is_ok(), "{body}");
    }
    for (body, fault) in [
        (json!({"policy": "rendezvous"}), field("/key")),
        (
            json!({"policy": "round-robin"}),
            ("invalid_field", "/policy", &["round_robin"]),
        ),
        (json!({"policy": 1}), field("/policy")),
        (json!({"key": 5}), field("/key")),
        (json!({"limit": 0}), field("/limit")),
        (json!({"limit": 101}), field("/limit")),
        (json!({"zone_strict": true}), field("/zone")),
        (
            json!({"zone": "eu", "zone_strict": "true"}),
            field("/zone_strict"),
        ),
        (json!({"metadata": []}), field("/metadata")),
        (json!({"tags": [1]}), field("/tags/0")),
        (json!({"exclude": [1]}), field("/exclude/0")),
        (json!({"exclude": vec!["a"; 101]}), field("/exclude")),
        (json!({"port": "a b"}), field("/port")),
        (json!({"environment": "k8s"}), field("/environment")),
        (json!({"fallback": "all"}), field("/fallback")),
        (json!({"explain": 1}), field("/explain")),
        (json!({"tag": "x"}), unknown("/tag", &["tags"])),
    ] {
        refuses(read_criteria, body.to_string().as_bytes(), fault);
    }
}

/// A pointer of the caller's making is shown back, so it is short.
#[test]
fn a_long_name_is_not_sent_back_whole() {
    let body = beside_url(&json!({"x".repeat(10_000): 1}));
    let problem = read_registration(&body).unwrap_err();
    assert!(problem.field.unwrap().len() < 100 && problem.detail.len() < 500);
}

/// Milliseconds of a day, the longest that any of them may be.
const DAY: u64 = 24 * 60 * 60 * 1_000;

/// A duration as the API knows it: to the millisecond, and often to the second.
fn duration(min_millis: u64, max_millis: u64) -> impl Strategy<Value = Duration> {
    prop_oneof![
        min_millis..=max_millis,
        (min_millis..=max_millis).prop_map(move |n| n.next_multiple_of(1_000).min(max_millis)),
    ]
    .prop_map(Duration::from_millis)
}

fn kind() -> impl Strategy<Value = CheckKind> {
    let status = prop_oneof![
        (100..=599_u16).prop_map(StatusMatch::Exact),
        (1..=5_u16).prop_map(StatusMatch::Class),
    ];
    let method = prop_oneof![Just(HttpMethod::Get), Just(HttpMethod::Head)];
    let body = prop::option::of("[ -~\u{e9}]{0,60}");
    let http = (
        "/[a-z/?=%]{0,20}",
        method,
        prop::collection::vec(status, 1..5),
        body,
    )
        .prop_map(|(path, method, expect_status, expect_body)| {
            CheckKind::Http(HttpCheck {
                path,
                method,
                expect_status,
                expect_body,
            })
        });
    prop_oneof![http, Just(CheckKind::Tcp), Just(CheckKind::Heartbeat)]
}

fn tls() -> impl Strategy<Value = Option<Box<TlsOptions>>> {
    let ca = "-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/]{0,100}\n-----END CERTIFICATE-----\n";
    let options = (
        prop::option::of("[a-z]{1,63}"),
        prop::option::of(ca),
        any::<bool>(),
    );
    prop::option::of(options.prop_map(|(server_name, ca, verify)| {
        Box::new(TlsOptions {
            server_name,
            ca,
            verify,
        })
    }))
}

fn check() -> impl Strategy<Value = Check> {
    let port = prop::sample::select(vec!["main", "admin"]);
    let times = (1_000..=DAY).prop_flat_map(|interval| {
        let interval_itself = Just(Duration::from_millis(interval));
        (interval_itself, duration(1, interval), duration(0, DAY))
    });
    let counts = (1..=100_u32, 1..=100_u32, 1..=100_u32, any::<bool>());
    (kind(), "[a-z]{1,63}", port, times, counts, tls()).prop_map(
        |(kind, name, port, (interval, timeout, grace), (attempts, rise, fall, dry_run), tls)| {
            Check {
                name,
                tls: tls.filter(|_| kind != CheckKind::Heartbeat),
                kind,
                port: port.into(),
                interval,
                timeout,
                attempts,
                rise,
                fall,
                grace,
                dry_run,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_check_that_was_read_may_be_sent_back(check in check()) {
        let body = beside_url(&json!({"ports": {"admin": 81}, "checks": [check_json(&check)]}));
        let read = read_registration(&body).unwrap();
        prop_assert_eq!(&read.checks, &[check]);
    }

    #[test]
    fn no_body_makes_a_reader_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        read_registration(&body).ok();
        read_patch(&body).ok();
        read_heartbeat(&body).ok();
        many_heartbeats(&body).ok();
        read_drain(&body).ok();
        read_criteria(&body).ok();
    }
}
