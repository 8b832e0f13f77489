//! Every route, with every role, by every way around its path: nobody gets more than is theirs.

use hermes_server::auth::Role;
use serde_json::json;

use crate::client::{Call, Client};
use crate::ring::Keys;

/// What is hidden: it stands in the endpoint that nobody but an admin may see here.
const MARK: &str = "the-mark-of-db";

/// Each route with a method that it has, on a service that none of the roles may touch.
const ROUTES: [(&str, &str); 20] = [
    ("GET", "/api/v1/services/db/policy"),
    ("PUT", "/api/v1/services/db/policy"),
    ("GET", "/api/v1/sd/prometheus"),
    ("GET", "/api/v1/services"),
    ("GET", "/api/v1/services/db"),
    ("DELETE", "/api/v1/services/db"),
    ("GET", "/api/v1/services/db/url"),
    ("POST", "/api/v1/services/db/select"),
    ("GET", "/api/v1/services/db/endpoints"),
    ("POST", "/api/v1/services/db/endpoints"),
    ("GET", "/api/v1/services/db/endpoints/a"),
    ("PUT", "/api/v1/services/db/endpoints/a"),
    ("PATCH", "/api/v1/services/db/endpoints/a"),
    ("DELETE", "/api/v1/services/db/endpoints/a"),
    ("PUT", "/api/v1/services/db/endpoints/a/heartbeat"),
    ("PUT", "/api/v1/services/db/endpoints/a/drain"),
    ("DELETE", "/api/v1/services/db/endpoints/a/drain"),
    ("POST", "/api/v1/heartbeats"),
    ("GET", "/services"),
    ("POST", "/services/db"),
];

/// What may stand for a part of a path.
const PARTS: &[(&str, &str)] = &[
    ("/db", "//db"),
    ("/db", "/./db"),
    ("/db", "/%2e/db"),
    ("/db", "/x/../db"),
    ("/db", "/web-a/../db"),
    ("/db", "/web-a/%2e%2e/db"),
    ("/db", "/web-a%2f..%2fdb"),
    ("/db", "/web-a%2F%2E%2E%2Fdb"),
    ("/db", "/web-a/..;/db"),
    ("/db", "/..;/db"),
    ("/db", "/web-a;/../db"),
    ("/db", "/web-a\\..\\db"),
    ("/db", "\\db"),
    ("/db", "/%5cdb"),
    ("/db", "/DB"),
    ("/db", "/Db"),
    ("/db", "/d%62"),
    ("/db", "/%64%62"),
    ("/db", "/%44%42"),
    ("/db", "/d%2562"),
    ("/db", "/db%00"),
    ("/db", "/db%20"),
    ("/db", "/%20db"),
    ("/db", "/db%0a"),
    ("/db", "/db%0d%0aX-API-Key:%20x"),
    ("/db", "/db;x=1"),
    ("/db", "/db.json"),
    ("/db", "/db%3f"),
    ("/db", "/db%23"),
    ("/db", "/web-a%00db"),
    ("/db", "/%ef%bd%84b"),
    ("/db", "/%c0%af/db"),
    ("/api", "//api"),
    ("/api", "/%61pi"),
    ("/api", "/API"),
    ("/api/v1", "/api/V1"),
    ("/api/v1", "/api//v1"),
    ("/api/v1", "/api%2fv1"),
    ("/v1/", "/v1/./"),
    ("/v1/", "/v1//"),
    ("/services", "/SERVICES"),
    ("/services", "/service%73"),
    ("/endpoints", "/Endpoints"),
    ("/endpoints", "//endpoints"),
];

/// What may stand around a path.
const AROUND: &[&str] = &[
    "{}/",
    "{}//",
    "{};",
    "{}/.",
    "{}/..",
    "{}?",
    "{}??",
    "{}%3f",
    "{}#x",
    "{}?namespace=default",
    "{}?namespace=DEFAULT",
    "{}?namespace=web-a&namespace=default",
    "{}?namespace=*",
    "{}?namespace=",
    "{}?%6eamespace=default",
    "{}?_method=GET",
    "{}?x=/health",
    "{}?/livez",
    "/health/..{}",
    "/health{}",
    "/health/%2e%2e{}",
    "/health;{}",
    "/livez//{}",
    "/readyz?{}",
    "/docs/..{}",
    "/openapi.json/..{}",
    "http://test{}",
    "http://127.0.0.1{}",
    "https://test{}",
    "http://user@test{}",
    "//test{}",
    "*{}",
    "./{}",
];

/// Other spellings of a path.
fn spellings(path: &str) -> Vec<String> {
    let parts = PARTS.iter().map(|(from, to)| path.replace(from, to));
    let around = AROUND.iter().map(|around| around.replace("{}", path));
    let mut all: Vec<String> = parts.chain(around).collect();
    all.sort();
    all.dedup();
    all
}

/// Headers by which others have been talked into something.
const HEADERS: &[&[(&str, &str)]] = &[
    &[("x-http-method-override", "GET")],
    &[("x-http-method", "DELETE")],
    &[("x-method-override", "PUT")],
    &[("x-original-url", "/health")],
    &[("x-rewrite-url", "/health")],
    &[("x-forwarded-for", "127.0.0.1"), ("x-real-ip", "::1")],
    &[("forwarded", "for=127.0.0.1;host=localhost")],
    &[("x-forwarded-user", "ops"), ("x-remote-user", "ops")],
    &[("x-api-key-name", "ops"), ("x-role", "admin")],
    &[("connection", "x-api-key")],
    &[("authorization", "Basic b3BzOm9wcw==")],
    &[("authorization", "Bearer")],
    &[("authorization", "Bearer null")],
    &[("cookie", "x-api-key=ops")],
    &[
        ("origin", "http://localhost"),
        ("sec-fetch-site", "same-origin"),
    ],
    &[("upgrade", "h2c")],
];

/// Methods that no route has, or that another one has.
const METHODS: [&str; 7] = [
    "HEAD", "OPTIONS", "TRACE", "PROPFIND", "get", "GET%20", "DELETEX",
];

/// Who tries, and what their keys are.
fn tried(keys: &Keys) -> Vec<(&'static str, Option<String>)> {
    let revoked = keys.create("revoked", Role::Admin, "");
    keys.revoke("revoked");
    vec![
        ("nobody", None),
        ("a guess", Some("dev-key".into())),
        ("a revoked admin", Some(revoked)),
        (
            "a reader",
            Some(keys.create("reader", Role::Read, "default:web-")),
        ),
        (
            "a reader elsewhere",
            Some(keys.create("far", Role::Read, "lab:")),
        ),
        (
            "a writer",
            Some(keys.create("writer", Role::Register, "lab:web-")),
        ),
    ]
}

/// The request by one way around.
fn call(method: &str, target: &str, key: Option<&str>, headers: &[(&str, &str)]) -> Call {
    let mut call = Call::new(method, target);
    if let Some(key) = key {
        call = call.key(key);
    }
    for (name, value) in headers {
        call = call.header(name, value);
    }
    match method {
        "PUT" if target.contains("heartbeat") || target.contains("drain") => call,
        "PUT" if target.contains("policy") => call.json(&json!({"cache_ttl": 1})),
        "PUT" => call.json(&json!({"url": "http://127.0.0.1:6", "checks": []})),
        "POST" if target.contains("heartbeats") => {
            call.json(&json!({"heartbeats": {"db": ["a"], "DB": ["a"], "d_b": ["a"]}}))
        }
        "POST" if target.contains("select") => call.json(&json!({})),
        "POST" if target.contains("/endpoints") => {
            call.json(&json!({"url": "http://127.0.0.1:6", "checks": []}))
        }
        "PATCH" => call.json(&json!({"weight": 1})),
        _ => call,
    }
}

#[tokio::test]
async fn no_way_around_a_path_gives_more_than_the_key_does() {
    let keys = Keys::none();
    let admin = keys.create("ops", Role::Admin, "");
    let who = tried(&keys);
    let server = keys.server().await;
    let mut client = server.client().await;
    let at = "/api/v1/services/db/endpoints/a";
    let body = json!({
        "url": "http://127.0.0.1:9", "checks": [], "ttl": null, "metadata": {"mark": MARK}
    });
    let register = Call::new("PUT", at).json(&body).key(&admin);
    client.send(register).await.must_be(201);
    let before = client
        .send(Call::get(at).key(&admin))
        .await
        .must_be(200)
        .body;
    let mut count = 0;
    for (name, key) in &who {
        let key = key.as_deref();
        for (method, path) in ROUTES {
            let seeded = if path == "/services/db" && method == "POST" {
                "/services/db?endpoint=http://127.0.0.1:6"
            } else {
                path
            };
            let ways = spellings(path);
            assert!(
                ways.len() + HEADERS.len() >= 60 || !path.contains("/db"),
                "{path}"
            );
            for way in ways.iter().map(String::as_str).chain([seeded]) {
                try_one(&server, &mut client, name, &call(method, way, key, &[])).await;
                count += 1;
            }
            for headers in HEADERS {
                try_one(
                    &server,
                    &mut client,
                    name,
                    &call(method, seeded, key, headers),
                )
                .await;
                count += 1;
            }
            for other in METHODS {
                let mut fresh = server.client().await;
                try_one(&server, &mut fresh, name, &call(other, seeded, key, &[])).await;
                count += 1;
            }
        }
    }
    assert!(count > 6 * ROUTES.len() * 60, "{count}");
    let mut client = server.client().await;
    let after = client
        .send(Call::get(at).key(&admin))
        .await
        .must_be(200)
        .body;
    assert_eq!(
        String::from_utf8(before).unwrap(),
        String::from_utf8(after).unwrap()
    );
    let all = client
        .send(Call::get("/api/v1/services?namespace=*").key(&admin))
        .await;
    assert_eq!(
        all.json()["services"].as_array().unwrap().len(),
        1,
        "nothing came into being"
    );
}

/// One request. What is answered shows nothing of what is hidden, and a success is only what the
/// caller may have: a list without it, or a route that is open to all.
async fn try_one(server: &crate::server::TestServer, client: &mut Client, name: &str, call: &Call) {
    client.write(&call.to_bytes()).await;
    let method = String::from_utf8_lossy(&call.to_bytes()).into_owned();
    let line = method.lines().next().unwrap_or_default().to_owned();
    let verb = line.split(' ').next().unwrap_or_default().to_owned();
    let answer = client.answer(&verb).await;
    let is_ours = |header: Option<&str>| header.is_some();
    let Some(answer) = answer else {
        *client = server.client().await;
        return;
    };
    let text = String::from_utf8_lossy(&answer.body);
    assert!(!text.contains(MARK), "{name}: {line}: {text}");
    if answer.status < 300 {
        let target = line.split(' ').nth(1).unwrap_or_default();
        let is_open = ["/health", "/livez", "/readyz", "/docs", "/openapi.json"]
            .iter()
            .any(|open| target.trim_start_matches("http://test").starts_with(open));
        let is_list = text.contains("\"services\":[]")
            || text.contains("\"services\":{}")
            || text.contains("\"accepted\":0")
            || text == "[]"
            || verb == "HEAD";
        assert!(
            is_open || is_list,
            "{name}: {line}: {} {text}",
            answer.status
        );
    }
    // hyper closes after what is no HTTP to it.
    if !is_ours(answer.header("hermes-cluster")) || answer.header("connection") == Some("close") {
        *client = server.client().await;
    }
}
