//! The shapes of the contract: which members an object has, all of them, and of which type.

use serde_json::Value;

/// The type of a member.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Text,
    TextOrNull,
    Whole,
    Seconds,
    SecondsOrNull,
    Truth,
    Object,
    ObjectOrNull,
    List,
    Texts,
    Time,
    TimeOrNull,
    Null,
}

use Kind::{
    List, Null, Object, ObjectOrNull, Seconds, SecondsOrNull, Text, TextOrNull, Texts, Time,
    TimeOrNull, Truth, Whole,
};

/// The members of one kind of object.
pub(crate) type Shape = &'static [(&'static str, Kind)];

pub(crate) const ENDPOINT: Shape = &[
    ("name", Text),
    ("namespace", Text),
    ("id", Text),
    ("incarnation", Whole),
    ("host", Text),
    ("port", Whole),
    ("url", Text),
    ("ports", Object),
    ("environment", Text),
    ("health_status", Text),
    ("health_reason", Text),
    ("ready", Truth),
    ("flags", Texts),
    ("last_heartbeat", Time),
    ("registered_at", Time),
    ("since", Time),
    ("ttl", SecondsOrNull),
    ("metadata", Object),
    ("tags", Texts),
    ("zone", TextOrNull),
    ("weight", Whole),
    ("revision", Whole),
];
/// What one `GET` of an endpoint has beside `ENDPOINT`.
pub(crate) const DETAIL: Shape = &[
    ("checks", List),
    ("overrides", Object),
    ("lease", ObjectOrNull),
    ("owner", Null),
];
pub(crate) const PORT: Shape = &[("port", Whole), ("scheme", Text), ("url", Text)];
pub(crate) const LEASE: Shape = &[("remaining", Seconds)];
pub(crate) const DISCOVERY: Shape = &[
    ("service_name", Text),
    ("given_name", Text),
    ("namespace", Text),
    ("selected_url", TextOrNull),
    ("selected_id", TextOrNull),
    ("cache_ttl", Whole),
    ("endpoints", List),
    ("ready", Whole),
    ("total", Whole),
    ("emptied", TextOrNull),
    ("revision", Whole),
];
pub(crate) const URL: Shape = &[
    ("service_name", Text),
    ("selected_url", Text),
    ("cache_ttl", Whole),
];
pub(crate) const SERVICES: Shape = &[
    ("services", List),
    ("next", TextOrNull),
    ("revision", Whole),
];
pub(crate) const SUMMARY: Shape = &[
    ("name", Text),
    ("given_name", Text),
    ("namespace", Text),
    ("ready", Whole),
    ("total", Whole),
    ("revision", Whole),
    ("emptied", TextOrNull),
];
pub(crate) const REGISTERED: Shape = &[
    ("endpoint", Object),
    ("heartbeat_interval", SecondsOrNull),
    ("changed", Truth),
];
pub(crate) const HEARTBEATS: Shape = &[("accepted", Whole), ("refused", List)];
pub(crate) const REFUSED: Shape = &[
    ("service_name", Text),
    ("id", Text),
    ("code", Text),
    ("detail", Text),
];
pub(crate) const HEALTH: Shape = &[("status", Text), ("time", Time), ("version", Text)];
pub(crate) const HELLO: Shape = &[
    ("cluster", Text),
    ("revision", Whole),
    ("stream", Text),
    ("progress_interval", Seconds),
];
pub(crate) const SNAPSHOT: Shape = &[
    ("service_name", Text),
    ("given_name", Text),
    ("namespace", Text),
    ("revision", Whole),
    ("emptied", TextOrNull),
    ("endpoints", List),
];
pub(crate) const SYNCED: Shape = &[("revision", Whole)];
pub(crate) const PROGRESS: Shape = &[("revision", Whole), ("time", Time)];
pub(crate) const RESET: Shape = &[("reason", Text), ("revision", Whole)];
pub(crate) const GOODBYE: Shape = &[("reason", Text), ("retry", Whole)];
/// A change of an endpoint that is still there.
pub(crate) const CHANGE: Shape = &[
    ("revision", Whole),
    ("time", Time),
    ("type", Text),
    ("service_name", Text),
    ("namespace", Text),
    ("id", TextOrNull),
    ("incarnation", Whole),
    ("endpoint", ObjectOrNull),
    ("service_revision", Whole),
    ("actor", Text),
    ("cause", Object),
];
pub(crate) const CAUSE: Shape = &[("code", Text), ("detail", Text)];
pub(crate) const HTTP_CHECK: Shape = &[
    ("type", Text),
    ("name", Text),
    ("port", Text),
    ("path", Text),
    ("method", Text),
    ("expect_status", List),
    ("expect_body", TextOrNull),
    ("interval", Seconds),
    ("timeout", Seconds),
    ("attempts", Whole),
    ("rise", Whole),
    ("fall", Whole),
    ("grace", Seconds),
    ("tls", ObjectOrNull),
    ("dry_run", Truth),
    ("health_status", Text),
    ("since", Time),
    ("last_probe", TimeOrNull),
    ("evidence", Text),
    ("next_action", TextOrNull),
];

/// Asserts that `value` has exactly the members of `shape`, each of its type.
pub(crate) fn check(value: &Value, shape: Shape) {
    check_all(value, &[shape]);
}

/// The same of several shapes laid together.
pub(crate) fn check_all(value: &Value, shapes: &[Shape]) {
    let members = value.as_object().expect("it is an object");
    let expected = || shapes.iter().flat_map(|shape| shape.iter());
    for (name, kind) in expected() {
        let member = members.get(*name);
        assert!(member.is_some(), "`{name}` is missing in {value}");
        let fits = member.is_some_and(|member| kind.fits(member));
        assert!(fits, "`{name}` is no {kind:?} in {value}");
    }
    let strange = |name: &&String| expected().all(|(known, _)| *known != name.as_str());
    let strange: Vec<_> = members.keys().filter(strange).collect();
    assert!(
        strange.is_empty(),
        "{strange:?} is not in the contract: {value}"
    );
}

/// Asserts that `value` is a `ServiceEndpoint`, what is within it included.
pub(crate) fn check_endpoint(value: &Value) {
    check(value, ENDPOINT);
    check_words(value);
}

/// Asserts that `value` is a `ServiceEndpoint` with its additions.
pub(crate) fn check_detail(value: &Value) {
    check_all(value, &[ENDPOINT, DETAIL]);
    check_words(value);
    if !value["lease"].is_null() {
        check(&value["lease"], LEASE);
    }
}

/// Asserts that `value` is a `ServiceDiscoveryResponse`, with its endpoints in order.
pub(crate) fn check_discovery(value: &Value) {
    check(value, DISCOVERY);
    assert_eq!(value["cache_ttl"], 300);
    let endpoints = value["endpoints"].as_array();
    endpoints.into_iter().flatten().for_each(check_endpoint);
}

/// Asserts that whatever is named like a timestamp is one.
pub(crate) fn check_times(value: &Value) {
    const TIMES: [&str; 6] = [
        "last_heartbeat",
        "registered_at",
        "since",
        "time",
        "removed_at",
        "last_probe",
    ];
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let is_time = TIMES.contains(&name.as_str()) && !member.is_null();
                assert!(!is_time || Time.fits(member), "{name}: {member}");
                // What stands in metadata is the caller's own.
                if name != "metadata" {
                    check_times(member);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(check_times),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The texts of a list.
pub(crate) fn texts(list: &Value) -> Vec<&str> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).collect()
}

/// One member of every item of a list.
pub(crate) fn each<'a>(list: &'a Value, member: &str) -> Vec<&'a str> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(|item| item[member].as_str()).collect()
}

fn check_words(value: &Value) {
    let one_of = |name: &str, words: &[&str]| {
        let word = value[name].as_str().unwrap_or_default();
        assert!(words.contains(&word), "`{name}` is {word:?} in {value}");
    };
    one_of("environment", &["local", "docker", "kubernetes"]);
    one_of(
        "health_status",
        &["unknown", "healthy", "degraded", "unhealthy"],
    );
    let known = ["starting", "draining", "suspect", "flapping", "panic"];
    let flags = texts(&value["flags"]);
    assert!(flags.iter().all(|flag| known.contains(flag)), "{flags:?}");
    let ports = value["ports"].as_object().expect("ports are an object");
    ports.values().for_each(|port| check(port, PORT));
    assert_eq!(value["ports"]["main"]["port"], value["port"], "{value}");
    assert_eq!(value["ports"]["main"]["url"], value["url"], "{value}");
    let whole = |name: &str| value[name].as_u64().unwrap_or_default();
    assert!(
        whole("incarnation") >= 1 && whole("revision") >= whole("incarnation"),
        "{value}"
    );
    let reason = value["health_reason"].as_str().unwrap_or_default();
    assert!((1..=256).contains(&reason.len()), "{value}");
}

impl Kind {
    fn fits(self, value: &Value) -> bool {
        match self {
            Text => value.is_string(),
            TextOrNull => value.is_string() || value.is_null(),
            Whole => value.is_u64(),
            Seconds => value.as_f64().is_some_and(|seconds| seconds >= 0.0),
            SecondsOrNull => value.is_null() || Seconds.fits(value),
            Truth => value.is_boolean(),
            Object => value.is_object(),
            ObjectOrNull => value.is_object() || value.is_null(),
            List => value.is_array(),
            Texts => value
                .as_array()
                .is_some_and(|all| all.iter().all(Value::is_string)),
            Time => value.as_str().is_some_and(is_time),
            TimeOrNull => value.is_null() || Time.fits(value),
            Null => value.is_null(),
        }
    }
}

/// Whether it looks like `2026-11-21T18:05:03.123Z`, byte for byte.
fn is_time(text: &str) -> bool {
    const FORM: &[u8] = b"dddd-dd-ddTdd:dd:dd.dddZ";
    let fits = |(byte, form): (u8, &u8)| match form {
        b'd' => byte.is_ascii_digit(),
        other => byte == *other,
    };
    text.len() == FORM.len() && text.bytes().zip(FORM).all(fits)
}
