//! What Prometheus is told to scrape.

use serde_json::{Value, json};

use crate::client::{Call, Client};
use crate::server::TestServer;

const TARGETS: &str = "/api/v1/sd/prometheus";

async fn with_endpoints() -> (TestServer, Client) {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let members = json!({
        "host": "::1", "port": 8080, "scheme": "https", "tags": ["blue", "b"], "zone": "eu-1",
        "environment": "docker", "ports": {"metrics": {"port": 9100, "scheme": "http"}, "db": {"port": 5432, "scheme": "tcp"}},
        "metadata": {"app.version": "1.2", "app-version": "1.3", "n": 7, "on": true, "deep": {"x": 1}, "none": null},
    });
    client.register_with("Web_Shop", "a", &members).await;
    let starting = json!({"checks": [{"type": "heartbeat", "interval": 3600, "timeout": 3600}]});
    client.register_with("api", "b", &starting).await;
    let elsewhere = "/api/v1/services/web-shop/endpoints/c?namespace=lab";
    let body = json!({"host": "c", "port": 1, "checks": [], "ttl": null});
    client.put(elsewhere, &body).await.must_be(201);
    (server, client)
}

async fn targets(client: &mut Client, query: &str) -> Vec<Value> {
    let answer = client.get(&format!("{TARGETS}{query}")).await.must_be(200);
    answer.json().as_array().expect("it is a list").clone()
}

#[tokio::test]
async fn an_endpoint_is_a_target_with_everything_there_is_to_choose_by() {
    let (_server, mut client) = with_endpoints().await;
    let all = targets(&mut client, "").await;
    assert_eq!(all.len(), 2);
    let [api, web] = &all[..] else { return };
    assert_eq!(api["targets"], json!(["b.test:80"]));
    assert_eq!(api["labels"]["__meta_hermes_health"], "unknown");
    assert_eq!(api["labels"]["__meta_hermes_ready"], "false");
    assert_eq!(api["labels"]["__meta_hermes_tags"], "");
    let expected = json!({
        "__scheme__": "https",
        "__meta_hermes_service": "web-shop",
        "__meta_hermes_namespace": "default",
        "__meta_hermes_id": "a",
        "__meta_hermes_health": "healthy",
        "__meta_hermes_ready": "true",
        "__meta_hermes_zone": "eu-1",
        "__meta_hermes_environment": "docker",
        "__meta_hermes_tags": ",blue,b,",
        "__meta_hermes_port_name": "main",
        // Both keys come to the same label; the first in order has it.
        "__meta_hermes_metadata_app_version": "1.3",
        "__meta_hermes_metadata_n": "7",
        "__meta_hermes_metadata_on": "true",
    });
    assert_eq!(web["targets"], json!(["[::1]:8080"]));
    assert_eq!(web["labels"], expected);
}

#[tokio::test]
async fn targets_are_chosen_by_service_tag_namespace_and_port() {
    let (_server, mut client) = with_endpoints().await;
    for (query, ids) in [
        ("", &["b", "a"][..]),
        ("?service=WEB_SHOP", &["a"]),
        ("?service=api&service=web-shop", &["b", "a"]),
        ("?service=unknown", &[]),
        ("?tag=blue", &["a"]),
        ("?tag=blue&tag=b", &["a"]),
        ("?tag=blue&tag=red", &[]),
        ("?namespace=lab", &["c"]),
        ("?namespace=nowhere", &[]),
        ("?port=metrics", &["a"]),
        ("?port=METRICS&service=api", &[]),
    ] {
        let found = targets(&mut client, query).await;
        let found: Vec<&Value> = found
            .iter()
            .map(|one| &one["labels"]["__meta_hermes_id"])
            .collect();
        assert_eq!(found, ids, "{query}");
    }
    let metrics = targets(&mut client, "?port=metrics").await;
    assert_eq!(metrics[0]["targets"], json!(["[::1]:9100"]));
    assert_eq!(metrics[0]["labels"]["__scheme__"], "http");
    assert_eq!(metrics[0]["labels"]["__meta_hermes_port_name"], "metrics");
    let other = targets(&mut client, "?port=db").await;
    assert_eq!(other[0]["labels"].get("__scheme__"), None);
    let etag = client.get(TARGETS).await.etag();
    let same = Call::get(TARGETS).header("if-none-match", &etag);
    client.send(same.clone()).await.must_be(304);
    client.register("api", "new").await;
    client.send(same).await.must_be(200);
    for (query, code) in [
        ("?namespace=*", "invalid_field"),
        ("?service=a.b", "invalid_name"),
        ("?port=a.b", "invalid_name"),
        ("?port=a&port=b", "invalid_field"),
        ("?services=a", "unknown_field"),
    ] {
        client
            .get(&format!("{TARGETS}{query}"))
            .await
            .problem(400, code);
    }
}

#[tokio::test]
async fn the_page_of_the_api_needs_nothing_from_elsewhere() {
    let (_server, mut client) = with_endpoints().await;
    let page = client.get("/docs").await.must_be(200);
    let policy = page.text("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    let page = String::from_utf8(page.body).expect("it is UTF-8");
    for (name, media_type) in [("js", "text/javascript"), ("css", "text/css")] {
        let path = format!("/docs/page.{name}");
        assert!(page.contains(&path), "{path}");
        let file = client.get(&path).await.must_be(200);
        assert!(
            file.text("content-type").starts_with(media_type),
            "{file:?}"
        );
        let text = String::from_utf8_lossy(&file.body).into_owned();
        assert!(
            !text.contains("://") && !text.contains("innerHTML"),
            "{path}"
        );
    }
    assert!(
        !page.contains("://") && !page.contains("<script>"),
        "{page}"
    );
    // It is full of words that mean something else in an answer, so it is not looked at as one.
    let document = client.tell(&Call::get("/openapi.json"), 200).await.json();
    assert_eq!(document["openapi"], "3.1.0");
    client.get("/docs/").await.problem(404, "route_unknown");
    client
        .get("/openapi.json?x")
        .await
        .problem(400, "unknown_field");
}
