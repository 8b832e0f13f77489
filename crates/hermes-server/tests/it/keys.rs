//! Keys: who is let in, what they see and change, and what becomes of them while a server runs.

use std::time::Duration;

use hermes_server::auth::{Prefix, Role, Scope, Secret};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::client::{Call, Client, DEADLINE};
use crate::events::Events;
use crate::ring::Keys;
use crate::server::TestServer;
use crate::shape::each;

const SERVICES: &str = "/api/v1/services";

fn endpoint(service: &str, id: &str) -> String {
    format!("{SERVICES}/{service}/endpoints/{id}")
}

fn put(service: &str, id: &str, key: &str) -> Call {
    let body = json!({"url": "http://127.0.0.1:9", "checks": []});
    Call::new("PUT", &endpoint(service, id))
        .json(&body)
        .key(key)
}

/// Asks again until the answer has this status: a change of the keys is noticed within a second.
async fn until(client: &mut Client, call: &Call, status: u16) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = client.send(call.clone()).await;
        if answer.status == status {
            return;
        }
        assert!(Instant::now() < deadline, "{answer:?} is not {status}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn who_shows_no_key_or_a_wrong_one_is_told_which() {
    let keys = Keys::none();
    let good = keys.create("ops", Role::Admin, "");
    let server = keys.server().await;
    let mut client = server.client().await;
    let missing = client.get(SERVICES).await;
    assert_eq!(missing.text("www-authenticate"), "Bearer realm=\"hermes\"");
    missing.problem(401, "key_missing");
    // Nor does anybody without a key learn which paths there are.
    client.tell(&Call::get("/nothing"), 401).await;
    let mut almost = good.clone();
    let last = if almost.pop() == Some('0') { '1' } else { '0' };
    almost.push(last);
    for wrong in ["dev-key", "", "hk_", &almost, &good.to_uppercase()] {
        let answer = client.send(Call::get(SERVICES).key(wrong)).await;
        let problem = answer.problem(403, "key_invalid");
        assert!(wrong.is_empty() || !problem.to_string().contains(wrong));
    }
    for call in [
        Call::get(SERVICES).key(&good),
        Call::get(SERVICES).header("Authorization", &format!("Bearer {good}")),
        Call::get(SERVICES).header("authorization", &format!("bEaReR  {good} ")),
        Call::get(SERVICES)
            .key(&good)
            .header("authorization", "Basic b3BzOng="),
        Call::get(SERVICES)
            .key(&good)
            .header("authorization", &format!("Bearer {good}")),
    ] {
        let answer = client.send(call).await.must_be(200);
        assert_eq!(answer.text("vary"), "authorization, x-api-key");
    }
    let several = Call::get(SERVICES).key(&good).key("hk_other");
    client.send(several).await.problem(403, "key_invalid");
    client
        .send(Call::get("/nothing").key(&good))
        .await
        .problem(404, "route_unknown");
    for open in ["/health", "/livez", "/readyz"] {
        client.get(open).await.must_be(200);
    }
}

#[tokio::test]
async fn a_role_opens_its_routes_and_a_scope_its_names() {
    let keys = Keys::none();
    let reader = keys.create("reader", Role::Read, ":web-");
    let writer = keys.create("writer", Role::Register, "default:web-");
    let admin = keys.create("ops", Role::Admin, "");
    let server = keys.server().await;
    let mut client = server.client().await;
    for (service, status) in [("web-a", 201), ("Web_B", 201), ("db", 403), ("webx", 403)] {
        let answer = client.send(put(service, "a", &writer)).await;
        assert_eq!(answer.status, status, "{service}: {answer:?}");
    }
    client
        .send(put("web-a", "b", &reader))
        .await
        .problem(403, "not_allowed");
    client.send(put("db", "a", &admin)).await.must_be(201);
    let elsewhere = Call::new(
        "DELETE",
        &format!("{}?namespace=lab", endpoint("web-a", "a")),
    );
    client
        .send(elsewhere.key(&writer))
        .await
        .problem(403, "not_allowed");
    // A register key reads its namespaces whole, a read key its prefixes.
    for (key, status) in [(&writer, 200), (&admin, 200), (&reader, 403)] {
        let answer = client
            .send(Call::get(&format!("{SERVICES}/db")).key(key))
            .await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let near = client
        .send(Call::get(&format!("{SERVICES}/web-c")).key(&reader))
        .await;
    let near = near.problem(404, "service_unknown");
    assert!(near["nearest"].is_null() && !near.to_string().contains("web-a"));
}

#[tokio::test]
async fn lists_show_only_what_may_be_read() {
    let keys = Keys::none();
    let reader = keys.create("reader", Role::Read, "default:web-");
    let admin = keys.create("ops", Role::Admin, "");
    let server = keys.server().await;
    let mut client = server.client().await;
    for service in ["db", "web-a", "web-b", "zoo"] {
        client.send(put(service, "a", &admin)).await.must_be(201);
    }
    let lab = Call::new("PUT", &format!("{}?namespace=lab", endpoint("web-l", "a")));
    let lab = lab.json(&json!({"url": "http://127.0.0.1:9", "checks": []}));
    client.send(lab.key(&admin)).await.must_be(201);
    let names = |answer: Value| -> Vec<String> {
        each(&answer["services"], "name")
            .into_iter()
            .map(Into::into)
            .collect()
    };
    for (target, expected) in [
        ("", vec!["web-a", "web-b"]),
        ("?namespace=*", vec!["web-a", "web-b"]),
        ("?prefix=z", vec![]),
        ("?limit=1", vec!["web-a"]),
    ] {
        let call = Call::get(&format!("{SERVICES}{target}")).key(&reader);
        let answer = client.send(call).await.must_be(200).json();
        assert_eq!(names(answer), expected, "{target}");
    }
    let lab = Call::get(&format!("{SERVICES}?namespace=lab")).key(&reader);
    client.send(lab).await.problem(403, "not_allowed");
    let plain = client
        .send(Call::get("/services?plain=true").key(&reader))
        .await;
    let plain = plain.must_be(200).json();
    let plain: Vec<&String> = plain["services"].as_object().unwrap().keys().collect();
    assert_eq!(plain, ["web-a", "web-b"]);
    let targets = client
        .send(Call::get("/api/v1/sd/prometheus").key(&reader))
        .await;
    let targets = targets.must_be(200).json().to_string();
    assert!(targets.contains("web-a") && !targets.contains("zoo") && !targets.contains("web-l"));
}

#[tokio::test]
async fn a_watch_judges_every_event_and_ends_when_its_key_is_revoked() {
    let keys = Keys::none();
    let reader = keys.create("reader", Role::Read, "default:web-");
    let admin = keys.create("ops", Role::Admin, "");
    let server = keys.server().await;
    let mut client = server.client().await;
    for service in ["db", "web-a"] {
        client.send(put(service, "a", &admin)).await.must_be(201);
    }
    let all = Call::get("/api/v1/watch?namespace=*").key(&reader);
    let mut events = Events::send(server.address, all).await;
    let (_, snapshots, _) = events.sync().await;
    let seen: Vec<&str> = snapshots
        .iter()
        .map(|s| s["service_name"].as_str().unwrap())
        .collect();
    assert_eq!(seen, ["web-a"]);
    for service in ["db", "zoo", "web-b"] {
        client.send(put(service, "b", &admin)).await.must_be(201);
    }
    let change = events.change().await;
    assert_eq!(
        change["service_name"], "web-b",
        "the others are nobody's business"
    );
    assert_eq!(change["actor"], "ops");
    let named = Call::get("/api/v1/watch?service=web-a&service=db").key(&reader);
    client.send(named).await.problem(403, "not_allowed");
    keys.revoke("reader");
    let goodbye = events.expect("goodbye").await.json();
    assert_eq!(goodbye["reason"], "denied");
    assert!(events.next_or_end().await.is_none());
}

#[tokio::test]
async fn the_first_key_closes_a_server_that_is_running() {
    let keys = Keys::none();
    let server = keys.server().await;
    let mut client = server.client().await;
    client.get(SERVICES).await.must_be(200);
    let mut events = Events::open(server.address, "").await;
    events.sync().await;
    keys.create("ops", Role::Admin, "");
    assert_eq!(events.expect("goodbye").await.json()["reason"], "denied");
    client.get(SERVICES).await.problem(401, "key_missing");
    // It never opens again: not by revoking the last key, and not by losing the file.
    keys.revoke("ops");
    std::fs::remove_file(&keys.path).unwrap();
    // For longer than the server needs for two looks at the file.
    let deadline = Instant::now() + Duration::from_millis(2_500);
    while Instant::now() < deadline {
        client.get(SERVICES).await.problem(401, "key_missing");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_rotated_key_has_two_texts_for_a_while_and_keeps_what_it_owns() {
    let keys = Keys::none();
    let old = keys.create("web", Role::Register, "");
    let server = keys.server().await;
    let mut client = server.client().await;
    client.send(put("web", "a", &old)).await.must_be(201);
    let new = keys.rotate("web", Duration::from_secs(3_600));
    until(&mut client, &put("web", "a", &new), 200).await;
    client.send(put("web", "a", &old)).await.must_be(200);
    let newest = keys.rotate("web", Duration::ZERO);
    until(&mut client, &put("web", "a", &old), 403).await;
    client
        .send(put("web", "a", &new))
        .await
        .problem(403, "key_invalid");
    let gone = Call::new("DELETE", &endpoint("web", "a")).key(&newest);
    client.send(gone).await.must_be(204);
}

#[tokio::test]
async fn an_endpoint_is_touched_by_its_owner_and_by_admins_only() {
    let keys = Keys::none();
    let mine = keys.create_of("mine", "team", Role::Register, "");
    let ours = keys.create_of("ours", "team", Role::Register, "");
    let other = keys.create("other", Role::Register, "");
    let admin = keys.create("ops", Role::Admin, "");
    let server = keys.server().await;
    let mut client = server.client().await;
    client.send(put("web", "a", &mine)).await.must_be(201);
    let at = endpoint("web", "a");
    let detail = client
        .send(Call::get(&at).key(&other))
        .await
        .must_be(200)
        .json();
    assert_eq!(detail["owner"], "team");
    let deeds = |key: &str| {
        [
            put("web", "a", key),
            Call::new("PUT", &format!("{at}/heartbeat")).key(key),
            Call::new("PATCH", &at).json(&json!({"weight": 7})).key(key),
            Call::new("PUT", &format!("{at}/drain")).key(key),
            Call::new("DELETE", &format!("{at}/drain")).key(key),
        ]
    };
    for call in deeds(&other) {
        client.send(call).await.problem(403, "not_owner");
    }
    for call in [
        Call::new("DELETE", &at),
        Call::new("DELETE", "/api/v1/services/web"),
    ] {
        client
            .send(call.key(&other))
            .await
            .problem(403, "not_owner");
    }
    let beats = json!({"heartbeats": {"web": ["a", "b"]}});
    let beats = Call::new("POST", "/api/v1/heartbeats")
        .json(&beats)
        .key(&other);
    let answer = client.send(beats).await.must_be(200).json();
    let codes: Vec<&str> = each(&answer["refused"], "code");
    assert_eq!(codes, ["not_owner", "endpoint_unknown"]);
    for key in [&ours, &admin] {
        for call in deeds(key) {
            let answer = client.send(call).await;
            assert!(answer.status < 300, "{answer:?}");
        }
    }
    let seed = Call::new("POST", "/services/seeded?endpoint=http://127.0.0.1:9").key(&mine);
    client.send(seed).await.must_be(200);
    let seed = Call::new("POST", "/services/seeded?endpoint=http://127.0.0.1:8").key(&other);
    client.send(seed).await.problem(403, "not_owner");
}

#[tokio::test]
async fn a_batch_of_heartbeats_is_judged_one_by_one() {
    let keys = Keys::none();
    let writer = keys.create("writer", Role::Register, ":web-");
    let admin = keys.create("ops", Role::Admin, "");
    let server = keys.server().await;
    let mut client = server.client().await;
    client.send(put("web-a", "a", &writer)).await.must_be(201);
    client.send(put("db", "a", &admin)).await.must_be(201);
    let beats = json!({"heartbeats": {"web-a": ["a"], "db": ["a"], "Web_A": ["a"]}});
    let beats = Call::new("POST", "/api/v1/heartbeats")
        .json(&beats)
        .key(&writer);
    let answer = client.send(beats).await.must_be(200).json();
    assert_eq!(answer["accepted"], 2);
    assert_eq!(each(&answer["refused"], "code"), ["not_allowed"]);
}

#[tokio::test]
async fn the_key_that_services_share_registers_as_in_the_seed() {
    let keys = Keys::none();
    let server = keys
        .server_with(|config| config.auth.shared_key = Some(Secret::new("a shared secret".into())))
        .await;
    let mut client = server.client().await;
    let register = Call::new("POST", "/services/web?endpoint=http://127.0.0.1:9");
    client
        .send(register.clone())
        .await
        .problem(401, "key_missing");
    client
        .send(register.clone().key("dev-key"))
        .await
        .problem(403, "key_invalid");
    client
        .send(register.key("a shared secret"))
        .await
        .must_be(200);
    let list = Call::get("/services").key("a shared secret");
    client.send(list).await.must_be(200);
    let detail = Call::get(&endpoint("web", "default")).key("a shared secret");
    let detail = client.send(detail).await.must_be(200).json();
    assert_eq!(detail["owner"], "service-discovery-api-key");
}

#[tokio::test]
async fn reading_may_need_no_key_where_writing_does() {
    let keys = Keys::none();
    let admin = keys.create("ops", Role::Admin, "");
    let server = keys
        .server_with(|config| config.auth.anonymous_read = true)
        .await;
    let mut client = server.client().await;
    client.send(put("web", "a", &admin)).await.must_be(201);
    client.get(&format!("{SERVICES}/web")).await.must_be(200);
    client
        .delete(&endpoint("web", "a"))
        .await
        .problem(403, "not_allowed");
    let wrong = Call::get(SERVICES).key("hk_wrong");
    client.send(wrong).await.problem(403, "key_invalid");
}

#[tokio::test]
async fn an_expired_key_is_told_when_and_its_watch_ends() {
    let keys = Keys::none();
    keys.create("ops", Role::Admin, "");
    let short = keys.make(
        "short",
        "short",
        Scope {
            prefixes: vec![Prefix::parse("web").unwrap()],
            ..Scope::default()
        },
        (Role::Read, Some(Duration::from_millis(1_500))),
    );
    let server = keys.server().await;
    let mut client = server.client().await;
    let mut events = Events::send(server.address, Call::get("/api/v1/watch").key(&short)).await;
    events.sync().await;
    assert_eq!(events.expect("goodbye").await.json()["reason"], "denied");
    let answer = client.send(Call::get(SERVICES).key(&short)).await;
    let problem = answer.problem(403, "key_invalid");
    assert!(problem["detail"].as_str().unwrap().contains("expired at"));
}

#[tokio::test]
async fn a_long_poll_ends_with_its_key() {
    let keys = Keys::none();
    keys.create("ops", Role::Admin, "");
    let reader = keys.create("reader", Role::Read, "");
    let server = keys.server().await;
    let mut client = server.client().await;
    let poll = Call::get(&format!("{SERVICES}?revision=0&wait=300")).key(&reader);
    client.write(&poll.to_bytes()).await;
    keys.revoke("reader");
    let answer = client.answer("GET").await.expect("it is answered");
    answer.problem(403, "key_invalid");
}

#[tokio::test]
async fn more_requests_than_a_key_or_an_address_may_make_are_refused() {
    let keys = Keys::none();
    let (one, two) = (
        keys.create("one", Role::Read, ""),
        keys.create("two", Role::Read, ""),
    );
    let server = keys
        .server_with(|config| {
            config.auth.requests_per_second = 5;
            config.auth.limits_loopback = true;
        })
        .await;
    let mut client = server.client().await;
    let mut refused = 0;
    for _ in 0..40 {
        let answer = client.send(Call::get(SERVICES).key(&one)).await;
        if answer.status == 429 {
            refused += 1;
            assert!(answer.text("retry-after").parse::<u32>().unwrap() >= 1);
            answer.problem(429, "rate_limited");
        }
    }
    assert!(refused > 0);
    client
        .send(Call::get(SERVICES).key(&two))
        .await
        .must_be(200);
    // Guesses are counted by the address, and so is whoever has no key.
    let mut statuses = Vec::new();
    for _ in 0..40 {
        statuses.push(client.send(Call::get(SERVICES).key("guess")).await.status);
    }
    assert!(
        statuses.contains(&403) && statuses.contains(&429),
        "{statuses:?}"
    );
    // From loopback nobody is counted unless it is said.
    let free = TestServer::with(|config| config.auth.requests_per_second = 5).await;
    let mut client = free.client().await;
    for _ in 0..40 {
        client.get(SERVICES).await.must_be(200);
    }
}

#[tokio::test]
async fn only_https_may_be_registered_where_it_is_required() {
    let server = TestServer::with(|config| {
        config.admission.https_only = true;
        config.admission.http_hosts =
            vec![hermes_discovery::admission::HttpHost::parse("*.mesh").unwrap()];
    })
    .await;
    let mut client = server.client().await;
    let body = |url: &str| json!({"url": url, "checks": []});
    let at = endpoint("web", "a");
    let refused = client.put(&at, &body("http://10.0.0.1:80")).await;
    let problem = refused.problem(400, "invalid_field");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("https is required")
    );
    let mixed = json!({"url": "https://a.example", "ports": {"admin": 81}, "checks": []});
    let mixed = client.put(&at, &mixed).await;
    assert!([200, 201, 400].contains(&mixed.status));
    for fine in ["https://10.0.0.1:443", "http://db.mesh:80"] {
        let answer = client.put(&at, &body(fine)).await;
        assert!(answer.status < 300, "{answer:?}");
    }
    let seed = Call::new("POST", "/services/web?endpoint=http://127.0.0.1:9");
    client.send(seed).await.problem(400, "invalid_field");
}
