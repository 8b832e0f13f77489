//! Policies of services: what an operator says holds for all who register under a name.

use hermes_server::{Config, LogKind};
use serde_json::{Value, json};

use crate::client::Call;
use crate::events::Events;
use crate::server::TestServer;
use crate::shape::each;

const WEB: &str = "/api/v1/services/web";
const POLICY: &str = "/api/v1/services/web/policy";
const A: &str = "/api/v1/services/web/endpoints/a";

fn tcp(name: &str) -> Value {
    json!([{"type": "tcp", "name": name, "interval": 3600}])
}

fn check_names(detail: &Value) -> Vec<&str> {
    each(&detail["checks"], "name")
}

#[tokio::test]
async fn a_policy_gives_its_checks_to_those_who_bring_none() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    // Before anybody registered: the name is known from then on.
    client.get(POLICY).await.problem(404, "service_unknown");
    client
        .put(POLICY, &json!({"checks": tcp("first")}))
        .await
        .must_be(200);
    let view = client.get(WEB).await.must_be(200).json();
    assert_eq!(
        (&view["total"], &view["emptied"]),
        (&json!(0), &json!("deregistered"))
    );

    let url = json!({"url": "http://127.0.0.1:9", "ttl": null});
    client.put(A, &url).await.must_be(201);
    let own = json!({"url": "http://127.0.0.1:9", "ttl": null, "checks": []});
    client
        .put("/api/v1/services/web/endpoints/b", &own)
        .await
        .must_be(201);
    assert_eq!(check_names(&client.get(A).await.json()), ["first"]);

    // Another policy is felt at once, by them only; the endpoint is the same incarnation.
    let before = client.get(A).await.json();
    client
        .put(POLICY, &json!({"checks": tcp("second")}))
        .await
        .must_be(200);
    let after = client.get(A).await.json();
    assert_eq!(check_names(&after), ["second"]);
    assert_eq!(before["incarnation"], after["incarnation"]);
    let b = client.get("/api/v1/services/web/endpoints/b").await.json();
    assert_eq!(check_names(&b), [""; 0]);

    // To register the same again changes nothing.
    let again = client.put(A, &url).await.must_be(200).json();
    assert_eq!(again["changed"], false);
    client.put(POLICY, &json!({})).await.must_be(200);
    assert_eq!(check_names(&client.get(A).await.json()), ["http"]);
}

#[tokio::test]
async fn a_policy_says_how_long_answers_last_and_who_is_selected() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for (id, weight) in [("a", 0), ("b", 1000)] {
        let body = json!({"host": id, "port": 80, "checks": [], "weight": weight});
        client
            .put(&format!("{WEB}/endpoints/{id}"), &body)
            .await
            .must_be(201);
    }
    let policy = json!({"cache_ttl": 7, "selection": "weighted"});
    let set = client.put(POLICY, &policy).await.must_be(200).json();
    assert_eq!(
        set,
        json!({"checks": null, "cache_ttl": 7, "selection": "weighted"})
    );
    assert_eq!(client.get(POLICY).await.must_be(200).json(), set);
    // What was read may be sent back, and changes nothing.
    let revision = client.revision().await;
    client.put(POLICY, &set).await.must_be(200);
    assert_eq!(client.revision().await, revision);
    for _ in 0..20 {
        let answer = client
            .get("/api/v1/services/web/url")
            .await
            .must_be(200)
            .json();
        assert_eq!(answer["selected_url"], "http://b:80");
        assert_eq!(answer["cache_ttl"], 7);
    }
    let chosen = client
        .post("/api/v1/services/web/select", &json!({}))
        .await
        .must_be(200)
        .json();
    assert_eq!(each(&chosen["endpoints"], "id"), ["b"]);
    assert_eq!(chosen["cache_ttl"], 7);
}

#[tokio::test]
async fn what_is_wrong_about_a_policy_is_said() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for (policy, field) in [
        (json!({"cache_ttl": -1}), "/cache_ttl"),
        (json!({"cache_ttl": 86_401}), "/cache_ttl"),
        (json!({"selection": "fastest"}), "/selection"),
        (json!({"selection": "rendezvous"}), "/selection"),
        (json!({"checks": [{"type": "icmp"}]}), "/checks/0/type"),
        (json!({"checks": {}}), "/checks"),
    ] {
        let problem = client
            .put(POLICY, &policy)
            .await
            .problem(400, "invalid_field");
        assert_eq!(problem["field"], field, "{policy}");
    }
    let problem = client
        .put(POLICY, &json!({"check": []}))
        .await
        .problem(400, "unknown_field");
    assert_eq!(problem["nearest"][0], "checks");
    client
        .send(Call::new("DELETE", POLICY))
        .await
        .problem(405, "method_not_allowed");
    client.get(WEB).await.problem(404, "service_unknown");
}

#[tokio::test]
async fn watchers_hear_of_a_policy_and_it_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let on_disk = |config: &mut Config| {
        config.log.kind = LogKind::File;
        config.log.directory = directory.path().to_owned();
    };
    let server = TestServer::with(on_disk).await;
    let mut client = server.client().await;
    let mut events = Events::open(server.address, "").await;
    events.sync().await;
    let policy = json!({"checks": tcp("mine"), "cache_ttl": 60});
    client.put(POLICY, &policy).await.must_be(200);
    let change = events.change().await;
    assert_eq!(
        (&change["type"], &change["endpoint"]),
        (&json!("policy"), &json!(null))
    );
    assert_eq!(
        (&change["id"], &change["service_name"]),
        (&json!(null), &json!("web"))
    );
    drop(events);
    drop(client);
    server.stopped().await;

    let server = TestServer::with(on_disk).await;
    let mut client = server.client().await;
    let kept = client.get(POLICY).await.must_be(200).json();
    assert_eq!(
        (&kept["cache_ttl"], &kept["checks"][0]["name"]),
        (&json!(60), &json!("mine"))
    );
}
