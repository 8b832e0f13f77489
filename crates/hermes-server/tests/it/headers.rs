//! The head of every answer: what it says about where the answer comes from, and how it may be kept.

use serde_json::json;

use crate::client::{Call, Client};
use crate::events::Events;
use crate::server::TestServer;

const WEB: &str = "/api/v1/services/web";
const A: &str = "/api/v1/services/web/endpoints/a";

/// A server at which `web` has the endpoint `a`.
async fn with_web() -> (TestServer, Client) {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.register("web", "a").await;
    (server, client)
}

async fn etag_of(client: &mut Client, target: &str) -> String {
    client.get(target).await.must_be(200).etag()
}

#[tokio::test]
async fn every_answer_says_where_it_comes_from_whatever_its_status() {
    let (_server, mut client) = with_web().await;
    let cluster = client.get(WEB).await.text("hermes-cluster");
    let put = |target: &str| Call::new("PUT", target);
    let body = json!({"host": "b", "port": 1, "checks": []});
    client.register("other", "a").await;
    let (etag, other) = (
        etag_of(&mut client, WEB).await,
        etag_of(&mut client, "/api/v1/services/other").await,
    );
    let calls = [
        (200, Call::get("/api/v1/services")),
        (200, Call::get(WEB)),
        (200, Call::get("/api/v1/services/web/url")),
        (200, Call::get("/services")),
        (200, Call::get("/health")),
        (200, Call::get("/livez")),
        (200, Call::get("/readyz")),
        (200, Call::new("HEAD", WEB)),
        (201, put("/api/v1/services/web/endpoints/b").json(&body)),
        (204, put(&format!("{A}/heartbeat"))),
        (
            304,
            Call::get("/api/v1/services/other/endpoints/a").header("if-none-match", &other),
        ),
        (400, Call::get("/api/v1/services/no%20name")),
        (404, Call::get("/api/v1/services/unknown")),
        (404, Call::get("/services/")),
        (404, Call::new("HEAD", "/api/v1/services/unknown")),
        (405, Call::new("DELETE", "/services")),
        (
            409,
            put(&format!("{A}/heartbeat")).json(&json!({"incarnation": 99})),
        ),
        (410, put("/api/v1/services/web/endpoints/b/heartbeat")),
        (412, put(A).json(&body).header("if-match", &etag)),
        (413, put(A).plain_body(vec![b' '; 64 * 1024 + 1])),
        (415, put(A).body("text/plain", "x")),
        (503, Call::get("/api/v1/services/web/url")),
    ];
    for (status, call) in calls {
        match status {
            410 => drop(
                client
                    .delete("/api/v1/services/web/endpoints/b")
                    .await
                    .must_be(204),
            ),
            503 => drop(client.delete(A).await.must_be(204)),
            _ => {}
        }
        // What the head holds is checked by the client, on every answer of every test.
        let answer = client.send(call).await.must_be(status);
        assert_eq!(answer.text("hermes-cluster"), cluster);
        assert_eq!(answer.header("hermes-age"), Some("0.000"));
        assert_eq!(answer.header("hermes-source"), Some("live"));
        assert_eq!(answer.header("hermes-flags"), None);
        if status == 413 {
            // What is left of that body is not read, so the connection ends with the answer.
            client = Client::open(client.stream.peer_addr().unwrap()).await;
        }
    }
}

#[tokio::test]
async fn two_servers_are_two_clusters() {
    let (one, other) = (TestServer::start().await, TestServer::start().await);
    let one = one
        .client()
        .await
        .get("/services")
        .await
        .text("hermes-cluster");
    let other = other
        .client()
        .await
        .get("/services")
        .await
        .text("hermes-cluster");
    assert_ne!(one, other);
}

#[tokio::test]
async fn a_visible_request_id_comes_back_and_any_other_is_replaced() {
    let (_server, mut client) = with_web().await;
    let long = "x".repeat(64);
    for id in ["a", "7f3e-!~", &long] {
        for target in [WEB, "/api/v1/services/unknown", "/nowhere"] {
            let answer = client
                .send(Call::get(target).header("x-request-id", id))
                .await;
            assert_eq!(answer.header("x-request-id"), Some(id));
        }
    }
    let too_long = "x".repeat(65);
    for id in [too_long.as_str(), "", "two words", "caf\u{e9}", "tab\tbed"] {
        let answer = client.send(Call::get(WEB).header("x-request-id", id)).await;
        let made = answer.text("x-request-id");
        assert!(
            made != id && made.bytes().all(|b| b.is_ascii_graphic()),
            "{made}"
        );
    }
    let first = client.get(WEB).await.text("x-request-id");
    assert_ne!(first, client.get(WEB).await.text("x-request-id"));
}

#[tokio::test]
async fn a_problem_names_the_request_that_it_belongs_to() {
    let (_server, mut client) = with_web().await;
    let call = Call::get("/api/v1/services/unknown").header("x-request-id", "find-me");
    let problem = client.send(call).await.problem(404, "service_unknown");
    assert_eq!(problem["request_id"], "find-me");
}

#[tokio::test]
async fn an_entity_tag_is_cluster_and_service_revision() {
    let (_server, mut client) = with_web().await;
    let endpoint = client.register("web", "b").await;
    client.register("other", "a").await;
    let answer = client.get(WEB).await.must_be(200);
    let cluster = answer.text("hermes-cluster");
    let expected = format!("W/\"{cluster}-{}\"", endpoint["revision"]);
    assert_eq!(answer.etag(), expected);
    assert_eq!(answer.json()["revision"], endpoint["revision"]);
    assert_eq!(
        etag_of(&mut client, &format!("{WEB}/endpoints")).await,
        expected
    );
    assert_eq!(etag_of(&mut client, A).await, expected);
    // The list has that of the last change in its namespace.
    let list = client.get("/api/v1/services").await.must_be(200);
    assert_eq!(list.etag(), format!("W/\"{cluster}-{}\"", list.revision()));
}

#[tokio::test]
async fn what_the_caller_has_already_is_not_sent_again() {
    let (_server, mut client) = with_web().await;
    let endpoints = format!("{WEB}/endpoints?include_unhealthy=true");
    let url = format!("{WEB}/url");
    let all = "/api/v1/services?namespace=*";
    for target in [
        "/api/v1/services",
        all,
        WEB,
        A,
        endpoints.as_str(),
        url.as_str(),
        "/services",
        "/services?plain=true",
    ] {
        let etag = etag_of(&mut client, target).await;
        let several = format!("\"x\", {etag} , W/\"y\"");
        for tags in [etag.as_str(), several.as_str()] {
            let answer = client
                .send(Call::get(target).header("if-none-match", tags))
                .await;
            let answer = answer.must_be(304);
            assert_eq!(answer.etag(), etag);
            assert_eq!(answer.header("content-type"), None);
        }
        let head = Call::new("HEAD", target).header("if-none-match", &etag);
        client.send(head).await.must_be(304);
        for tags in ["\"x\"", "W/\"0000000000000000-1\"", "W/\"", "x"] {
            let call = Call::get(target).header("if-none-match", tags);
            client.send(call).await.must_be(200);
        }
    }
}

#[tokio::test]
async fn an_entity_tag_moves_with_every_change() {
    let (_server, mut client) = with_web().await;
    let mut seen = vec![etag_of(&mut client, WEB).await];
    let drain = format!("{A}/drain");
    let changes = [
        Call::new("PATCH", A).json(&json!({"weight": 5})),
        Call::new("PUT", &drain),
        Call::new("DELETE", &drain),
        Call::new("PUT", A).json(&json!({"host": "other", "port": 1, "checks": [], "ttl": null})),
        Call::new("POST", &format!("{WEB}/endpoints")).json(&json!({"host": "b", "port": 1})),
        Call::new("DELETE", A),
    ];
    for change in changes {
        let status = client.send(change.clone()).await.status;
        assert!(status < 300, "{status} {change:?}");
        let before = seen.last().cloned().unwrap_or_default();
        let answer = client
            .send(Call::get(WEB).header("if-none-match", &before))
            .await;
        let etag = answer.must_be(200).etag();
        assert!(!seen.contains(&etag), "{etag} again after {change:?}");
        seen.push(etag);
    }
}

#[tokio::test]
async fn an_entity_tag_is_not_moved_by_heartbeats_selections_or_other_services() {
    let (_server, mut client) = with_web().await;
    client.register("web", "b").await;
    let service = etag_of(&mut client, WEB).await;
    let list = etag_of(&mut client, "/api/v1/services").await;
    let body = json!({"load": 0.5, "note": "well", "health_status": "degraded"});
    client
        .put(&format!("{A}/heartbeat"), &body)
        .await
        .must_be(204);
    let beats = json!({"heartbeats": {"web": ["a", "b"]}});
    client.post("/api/v1/heartbeats", &beats).await.must_be(200);
    client.get(&format!("{WEB}/url")).await.must_be(200);
    client
        .post(&format!("{WEB}/select"), &json!({}))
        .await
        .must_be(200);
    client.register("web", "a").await;
    let elsewhere = "/api/v1/services/web/endpoints/a?namespace=elsewhere";
    client
        .put(elsewhere, &json!({"host": "a", "port": 1, "checks": []}))
        .await
        .must_be(201);
    assert_eq!(etag_of(&mut client, WEB).await, service);
    assert_eq!(etag_of(&mut client, "/api/v1/services").await, list);
    client.register("other", "a").await;
    assert_eq!(etag_of(&mut client, WEB).await, service);
    assert_ne!(etag_of(&mut client, "/api/v1/services").await, list);
}

#[tokio::test]
async fn the_revision_of_an_answer_contains_every_change_acknowledged_before() {
    let (server, mut writer) = with_web().await;
    let mut reader = server.client().await;
    for n in 0..50_u64 {
        let endpoint = writer.register("web", &format!("e{n}")).await;
        let revision = endpoint["revision"].as_u64().unwrap();
        for target in [WEB, "/api/v1/services", "/health", "/nowhere"] {
            assert!(reader.get(target).await.revision() >= revision);
        }
        let answer = reader.get(WEB).await.json();
        assert_eq!(
            (&answer["total"], &answer["revision"]),
            (&json!(n + 2), &json!(revision))
        );
    }
}

#[tokio::test]
async fn answers_may_be_kept_but_not_used_unasked_and_a_watch_not_even_kept() {
    let (server, mut client) = with_web().await;
    assert_eq!(
        client.get(WEB).await.header("cache-control"),
        Some("no-cache")
    );
    let refused = client.get("/api/v1/services/unknown").await;
    assert_eq!(refused.header("cache-control"), Some("no-cache"));
    let events = Events::open(server.address, "service=web").await;
    let head = &events.head;
    assert_eq!(head.header("cache-control"), Some("no-store"));
    for name in [
        "hermes-cluster",
        "hermes-revision",
        "hermes-age",
        "hermes-source",
    ] {
        head.text(name);
    }
    head.text("x-request-id");
}

#[tokio::test]
async fn head_answers_as_get_does_without_the_body() {
    let (_server, mut client) = with_web().await;
    for target in [
        "/api/v1/services",
        WEB,
        A,
        "/health",
        "/services",
        "/api/v1/services/web/url",
    ] {
        let get = client.get(target).await.must_be(200);
        let head = client.send(Call::new("HEAD", target)).await.must_be(200);
        for name in ["content-type", "content-length", "etag", "hermes-revision"] {
            assert_eq!(head.header(name), get.header(name), "{name} of {target}");
        }
    }
}
