//! The writing routes: what a registration is, what is laid over it, how it ends.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::client::{Call, Client};
use crate::events::Events;
use crate::server::TestServer;
use crate::shape::{self, each, texts};

const WEB: &str = "/api/v1/services/web";
const A: &str = "/api/v1/services/web/endpoints/a";
/// The shortest lease.
const TTL: Duration = Duration::from_secs(1);
/// How much later than its end a lease may be found to have run out: the promise of the design.
const EXPIRY_SLACK: Duration = Duration::from_secs(1);
/// Leases are counted in whole milliseconds of a clock that is rounded down.
const CLOCK_GRAIN: Duration = Duration::from_millis(1);

async fn started() -> (TestServer, Client) {
    let server = TestServer::start().await;
    let client = server.client().await;
    (server, client)
}

fn heartbeat_check() -> Value {
    json!([{"type": "heartbeat", "interval": 3600, "timeout": 3600}])
}

/// `base` with some members replaced.
fn with(base: &Value, members: &Value) -> Value {
    let mut all = base.clone();
    for (name, value) in members.as_object().into_iter().flatten() {
        all[name] = value.clone();
    }
    all
}

async fn endpoint(client: &mut Client, target: &str) -> Value {
    let detail = client.get(target).await.must_be(200).json();
    shape::check_detail(&detail);
    detail
}

/// Sends `call` and asserts that it is refused and that nothing at all has changed.
async fn refused(client: &mut Client, call: Call, status: u16, code: &str) -> Value {
    let before = client.revision().await;
    let problem = client.send(call).await.problem(status, code);
    assert_eq!(client.revision().await, before);
    problem
}

#[tokio::test]
async fn a_registration_is_made_once_and_then_only_renewed() {
    let (_server, mut client) = started().await;
    let body = json!({"host": "a", "port": 80, "checks": [], "ttl": 45});
    let first = client.put(A, &body).await.must_be(201);
    let revision = first.revision();
    let first = first.json();
    shape::check(&first, shape::REGISTERED);
    shape::check_endpoint(&first["endpoint"]);
    assert_eq!(
        (&first["changed"], &first["heartbeat_interval"]),
        (&json!(true), &json!(15))
    );
    assert_eq!(first["endpoint"]["incarnation"], revision);
    for _ in 0..3 {
        let again = client.put(A, &body).await.must_be(200);
        assert_eq!(again.revision(), revision);
        let again = again.json();
        shape::check(&again, shape::REGISTERED);
        assert_eq!(again["changed"], false);
        let heard = json!({"last_heartbeat": again["endpoint"]["last_heartbeat"]});
        assert_eq!(again["endpoint"], with(&first["endpoint"], &heard));
    }
    let changed = client
        .put(A, &with(&body, &json!({"weight": 1})))
        .await
        .must_be(200)
        .json();
    assert_eq!(changed["changed"], true);
    assert_eq!(changed["endpoint"]["incarnation"], revision);
    assert!(changed["endpoint"]["revision"].as_u64() > Some(revision));
}

#[tokio::test]
async fn three_heartbeats_fit_into_a_lease_and_a_static_endpoint_needs_none() {
    let (_server, mut client) = started().await;
    let body = json!({"host": "a", "port": 80, "checks": []});
    for (ttl, shown, interval) in [
        (json!(1), json!(1), 1.0 / 3.0),
        (json!(1.5), json!(1.5), 0.5),
        (json!("1500ms"), json!(1.5), 0.5),
        (json!("10m"), json!(600), 200.0),
        (json!("24h"), json!(86_400), 28_800.0),
    ] {
        let answer = client
            .put(A, &with(&body, &json!({"ttl": ttl})))
            .await
            .json();
        assert_eq!(answer["endpoint"]["ttl"], shown);
        let found = answer["heartbeat_interval"].as_f64().unwrap();
        assert!((found - interval).abs() < 1e-9, "{found} for {ttl}");
    }
    assert_eq!(client.put(A, &body).await.json()["heartbeat_interval"], 10);
    let answer = client
        .put(A, &with(&body, &json!({"ttl": null})))
        .await
        .must_be(200)
        .json();
    assert_eq!(
        (&answer["heartbeat_interval"], &answer["endpoint"]["ttl"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(endpoint(&mut client, A).await["lease"], json!(null));
}

#[tokio::test]
async fn the_same_in_another_spelling_is_the_same() {
    let (_server, mut client) = started().await;
    let url = json!({"url": "http://web.test:8080", "checks": [], "ports": {"admin-port": 9}});
    client.put(A, &url).await.must_be(201);
    for body in [
        json!({"host": "web.test", "port": 8080, "checks": [], "ports": {"Admin_Port": 9}}),
        json!({"host": "WEB.test", "port": 8080, "scheme": "HTTP", "checks": [], "ports": {"admin_port": {"port": 9}}}),
        json!({"url": "http://web.test:8080", "host": "web.test", "port": 8080, "checks": [],
            "ports": {"admin-port": {"port": 9, "scheme": "http"}, "main": 8080}}),
        json!({"url": "http://web.test:8080", "checks": [], "ports": {"admin-port": 9}, "ttl": "30s",
            "weight": 100, "zone": null, "tags": [], "metadata": {}, "environment": "local", "initial_health": "unknown"}),
    ] {
        assert_eq!(
            client.put(A, &body).await.must_be(200).json()["changed"],
            false,
            "{body}"
        );
    }
}

#[tokio::test]
async fn whoever_moves_or_says_it_is_new_begins_another_life() {
    let (_server, mut client) = started().await;
    let base = json!({"host": "a", "port": 80, "scheme": "http", "checks": heartbeat_check(), "ports": {"x": 1}});
    client.put(A, &base).await.must_be(201);
    client
        .put(&format!("{A}/heartbeat"), &json!({}))
        .await
        .must_be(204);
    for (query, members) in [
        ("", json!({"host": "b"})),
        ("", json!({"port": 81})),
        ("", json!({"scheme": "https"})),
        ("", json!({"ports": {"x": 2}})),
        ("", json!({"ports": {"x": 1, "y": 2}})),
        ("", json!({"ports": {"x": {"port": 1, "scheme": "grpc"}}})),
        ("?new=true", json!({})),
        ("?new", json!({})),
    ] {
        let before = endpoint(&mut client, A).await;
        let answer = client
            .put(&format!("{A}{query}"), &with(&base, &members))
            .await;
        let answer = answer.must_be(201).json();
        let after = &answer["endpoint"];
        assert_eq!(answer["changed"], true);
        assert!(after["incarnation"].as_u64() > before["incarnation"].as_u64());
        assert_eq!(after["incarnation"], after["revision"]);
        // Health begins anew.
        assert_eq!(
            (&after["health_status"], &after["ready"]),
            (&json!("unknown"), &json!(false))
        );
        assert_eq!(texts(&after["flags"]), ["starting"]);
        let stale = json!({"incarnation": before["incarnation"]});
        let beat = Call::new("PUT", &format!("{A}/heartbeat")).json(&stale);
        let problem = refused(&mut client, beat, 409, "incarnation_stale").await;
        assert_eq!(
            (&problem["incarnation"], &problem["service_name"]),
            (&after["incarnation"], &json!("web"))
        );
        client.put(A, &base).await;
        client
            .put(&format!("{A}/heartbeat"), &json!({}))
            .await
            .must_be(204);
    }
}

#[tokio::test]
async fn whoever_changes_anything_else_stays_who_it_is() {
    let (_server, mut client) = started().await;
    let base = json!({"url": "http://a:80", "checks": heartbeat_check()});
    let first = client.put(A, &base).await.must_be(201).json();
    client
        .put(&format!("{A}/heartbeat"), &json!({}))
        .await
        .must_be(204);
    let mut renamed = heartbeat_check();
    renamed[0]["fall"] = json!(5);
    for members in [
        json!({"metadata": {"x": 1}}),
        json!({"tags": ["x"]}),
        json!({"zone": "z"}),
        json!({"weight": 0}),
        json!({"environment": "kubernetes"}),
        json!({"ttl": 60}),
        json!({"ttl": null}),
        json!({"checks": renamed}),
        json!({"url": "http://a:80/base"}),
        json!({"initial_health": "healthy"}),
        json!({}),
    ] {
        let answer = client
            .put(&format!("{A}?new=false"), &with(&base, &members))
            .await;
        let answer = answer.must_be(200).json();
        assert_eq!(answer["changed"], true, "{members}");
        let after = &answer["endpoint"];
        assert_eq!(after["incarnation"], first["endpoint"]["incarnation"]);
        assert_eq!(after["registered_at"], first["endpoint"]["registered_at"]);
        assert_eq!(
            (&after["health_status"], &after["ready"]),
            (&json!("healthy"), &json!(true))
        );
    }
}

#[tokio::test]
async fn a_registration_without_an_id_is_known_by_its_address() {
    let (_server, mut client) = started().await;
    let target = format!("{WEB}/endpoints");
    for (body, id) in [
        (json!({"host": "10.0.0.1", "port": 80}), "10.0.0.1:80"),
        (json!({"url": "https://Web.Test"}), "web.test:443"),
        (
            json!({"url": "http://[2001:DB8::1]:8080/x"}),
            "2001:db8::1:8080",
        ),
        (json!({"host": "fe80::1", "port": 1}), "fe80::1:1"),
        (json!({"host": "[fe80::2]", "port": 1}), "fe80::2:1"),
        // An id does not begin with a colon, so this one is written in full.
        (json!({"host": "::1", "port": 80}), "0::1:80"),
    ] {
        let body = with(&body, &json!({"checks": []}));
        let first = client.post(&target, &body).await.must_be(201).json();
        shape::check(&first, shape::REGISTERED);
        assert_eq!(first["endpoint"]["id"], id);
        // A retried POST is the same endpoint.
        let again = client.post(&target, &body).await.must_be(200).json();
        assert_eq!(
            (&again["changed"], &again["endpoint"]["id"]),
            (&json!(false), &json!(id))
        );
        let put = client
            .put(&format!("{target}/{id}"), &body)
            .await
            .must_be(200)
            .json();
        assert_eq!(put["changed"], false);
    }
    let new = client
        .post(
            &format!("{target}?new=true"),
            &json!({"host": "fe80::1", "port": 1, "checks": []}),
        )
        .await;
    new.must_be(201);
    assert_eq!(client.get(WEB).await.json()["total"], 6);
    // A host may be longer than an id.
    let label = "a".repeat(60);
    let long = json!({"host": format!("{label}.{label}.{label}"), "port": 1, "checks": []});
    let problem = client
        .post(&target, &long)
        .await
        .problem(400, "invalid_field");
    assert_eq!(problem["field"], "/host");
    client
        .put(&format!("{target}/long"), &long)
        .await
        .must_be(201);
}

#[tokio::test]
async fn overrides_win_on_reading_and_survive_every_registration() {
    let (_server, mut client) = started().await;
    let base = json!({
        "host": "a", "port": 80, "checks": [], "metadata": {"keep": 1, "drop": 2, "deep": {"a": 1, "b": 2}},
        "tags": ["own"], "zone": "z1", "weight": 50,
    });
    client.put(A, &base).await.must_be(201);
    let patch = json!({
        "metadata": {"drop": null, "deep": {"b": null, "c": 3}, "more": [1]},
        "tags": ["laid", "over"], "zone": "z2", "weight": 5,
    });
    let patched = client.patch(A, &patch).await.must_be(200).json();
    shape::check_endpoint(&patched);
    let shown = json!({
        "metadata": {"keep": 1, "deep": {"a": 1, "c": 3}, "more": [1]},
        "tags": ["laid", "over"], "zone": "z2", "weight": 5,
    });
    let check = |endpoint: &Value| assert_eq!(*endpoint, with(endpoint, &shown));
    check(&patched);
    assert_eq!(
        patched["incarnation"].as_u64().map(|at| at + 1),
        patched["revision"].as_u64()
    );
    // The same patch again is no change.
    let again = client.patch(A, &patch).await.must_be(200).json();
    assert_eq!(again["revision"], patched["revision"]);
    let empty = client.patch(A, &json!({})).await.must_be(200).json();
    assert_eq!(empty["revision"], patched["revision"]);
    // "The same registration" compares what was registered, not what is shown.
    assert_eq!(
        client.put(A, &base).await.must_be(200).json()["changed"],
        false
    );
    check(
        &client
            .put(A, &with(&base, &json!({"environment": "docker"})))
            .await
            .must_be(200)
            .json()["endpoint"],
    );
    check(
        &client
            .put(&format!("{A}?new=true"), &base)
            .await
            .must_be(201)
            .json()["endpoint"],
    );
    check(
        &client
            .put(A, &with(&base, &json!({"port": 81})))
            .await
            .must_be(201)
            .json()["endpoint"],
    );
    let detail = endpoint(&mut client, A).await;
    check(&detail);
    assert_eq!(detail["overrides"], patch);
    // They go with the endpoint.
    client.delete(A).await.must_be(204);
    let anew = client.put(A, &base).await.must_be(201).json();
    for name in ["metadata", "tags", "zone", "weight"] {
        assert_eq!(anew["endpoint"][name], base[name]);
    }
    assert_eq!(endpoint(&mut client, A).await["overrides"], json!({}));
}

#[tokio::test]
async fn null_in_a_patch_takes_the_override_away() {
    let (_server, mut client) = started().await;
    let own = json!({"metadata": {"own": 1}, "tags": ["own"], "zone": "own", "weight": 7});
    client.register_with("web", "a", &own).await;
    let laid = json!({"metadata": {"own": 2, "x": 1}, "tags": [], "zone": "other", "weight": 0});
    client.patch(A, &laid).await.must_be(200);
    for (patch, overrides) in [
        (
            json!({"weight": null}),
            json!({"metadata": {"own": 2, "x": 1}, "tags": [], "zone": "other"}),
        ),
        (
            json!({"tags": null, "zone": null}),
            json!({"metadata": {"own": 2, "x": 1}}),
        ),
        (
            json!({"metadata": {"y": 3}}),
            json!({"metadata": {"own": 2, "x": 1, "y": 3}}),
        ),
        (json!({"metadata": null}), json!({})),
    ] {
        client.patch(A, &patch).await.must_be(200);
        assert_eq!(
            endpoint(&mut client, A).await["overrides"],
            overrides,
            "after {patch}"
        );
    }
    let detail = endpoint(&mut client, A).await;
    assert_eq!(detail, with(&detail, &own));
}

#[tokio::test]
async fn a_drain_says_why_and_ends_with_the_incarnation_unless_it_is_sticky() {
    let (_server, mut client) = started().await;
    let drain = format!("{A}/drain");
    let base = json!({"host": "a", "port": 80, "checks": []});
    client.put(A, &base).await.must_be(201);
    let drained = client
        .put(&drain, &json!({"reason": "kernel update"}))
        .await
        .must_be(200)
        .json();
    shape::check_endpoint(&drained);
    assert_eq!(
        (&drained["ready"], texts(&drained["flags"])),
        (&json!(false), vec!["draining"])
    );
    assert_eq!(drained["health_status"], "healthy");
    let detail = endpoint(&mut client, A).await;
    let expected = json!({"reason": "kernel update", "sticky": false, "since": detail["overrides"]["drain"]["since"]});
    assert_eq!(detail["overrides"]["drain"], expected);
    // The same again is no change; another registration of the same life goes on draining.
    let again = client
        .put(&drain, &json!({"reason": "kernel update", "sticky": false}))
        .await
        .json();
    assert_eq!(again["revision"], drained["revision"]);
    client
        .put(A, &with(&base, &json!({"weight": 1})))
        .await
        .must_be(200);
    assert_eq!(endpoint(&mut client, A).await["ready"], false);
    let new = client
        .put(&format!("{A}?new=true"), &base)
        .await
        .must_be(201)
        .json();
    assert_eq!(new["endpoint"]["ready"], true);

    let sticky = client
        .put(&drain, &json!({"sticky": true}))
        .await
        .must_be(200)
        .json();
    assert_eq!(sticky["ready"], false);
    let new = client
        .put(&format!("{A}?new=true"), &base)
        .await
        .must_be(201)
        .json();
    assert_eq!(
        (&new["endpoint"]["ready"], texts(&new["endpoint"]["flags"])),
        (&json!(false), vec!["draining"])
    );
    let undrained = client.delete(&drain).await.must_be(200).json();
    shape::check_endpoint(&undrained);
    assert_eq!(
        (&undrained["ready"], &undrained["flags"]),
        (&json!(true), &json!([]))
    );
    let again = client.delete(&drain).await.must_be(200).json();
    assert_eq!(again["revision"], undrained["revision"]);
    // A body is not needed, and a removed endpoint cannot be drained.
    client.send(Call::new("PUT", &drain)).await.must_be(200);
    client.delete(A).await.must_be(204);
    refused(&mut client, Call::new("PUT", &drain), 410, "endpoint_gone").await;
    refused(
        &mut client,
        Call::new("DELETE", &format!("{WEB}/endpoints/b/drain")),
        404,
        "endpoint_unknown",
    )
    .await;
}

#[tokio::test]
async fn what_is_gone_already_is_deregistered_as_asked_and_what_never_was_is_not() {
    let (_server, mut client) = started().await;
    client.register("web", "a").await;
    client.register("web", "b").await;
    client.delete(A).await.must_be(204);
    let revision = client.revision().await;
    client.delete(A).await.must_be(204);
    client
        .delete(&format!("{A}?incarnation=77"))
        .await
        .must_be(204);
    assert_eq!(client.revision().await, revision);
    refused(
        &mut client,
        Call::new("DELETE", &format!("{WEB}/endpoints/c")),
        404,
        "endpoint_unknown",
    )
    .await;
    let unknown = "/api/v1/services/unknown/endpoints/a";
    refused(
        &mut client,
        Call::new("DELETE", unknown),
        404,
        "service_unknown",
    )
    .await;
    let problem = client.get(A).await.problem(410, "endpoint_gone");
    assert_eq!(problem["reason"], "deregistered");
    // Whoever registers again is back, with nothing held against it.
    client.register("web", "a").await;
    assert_eq!(client.get(WEB).await.json()["total"], 2);
}

#[tokio::test]
async fn an_older_incarnation_cannot_deregister_a_newer_one() {
    let (_server, mut client) = started().await;
    let old = client.register("web", "a").await["incarnation"].clone();
    let body = json!({"host": "a.test", "port": 80, "checks": [], "ttl": null});
    let new = client
        .put(&format!("{A}?new=true"), &body)
        .await
        .must_be(201)
        .json();
    let new = &new["endpoint"]["incarnation"];
    let late = Call::new("DELETE", &format!("{A}?incarnation={old}"));
    let problem = refused(&mut client, late, 409, "incarnation_stale").await;
    assert_eq!(problem["incarnation"], *new);
    client
        .delete(&format!("{A}?incarnation={new}"))
        .await
        .must_be(204);
    assert_eq!(client.get(WEB).await.json()["total"], 0);
}

#[tokio::test]
async fn a_deleted_service_is_unknown_with_everything_that_was_remembered_of_it() {
    let (_server, mut client) = started().await;
    for id in ["a", "b", "c"] {
        client.register("web", id).await;
    }
    client
        .delete(&format!("{WEB}/endpoints/c"))
        .await
        .must_be(204);
    let last = client.revision().await;
    let deleted = client.delete(WEB).await.must_be(204);
    // Two endpoints, and the name.
    assert_eq!(deleted.revision(), last + 3);
    client.get(WEB).await.problem(404, "service_unknown");
    client.get(A).await.problem(404, "service_unknown");
    refused(
        &mut client,
        Call::new("DELETE", WEB),
        404,
        "service_unknown",
    )
    .await;
    refused(
        &mut client,
        Call::new("PUT", &format!("{A}/heartbeat")),
        404,
        "service_unknown",
    )
    .await;
    assert_eq!(
        client.get("/api/v1/services").await.json()["services"],
        json!([])
    );
    let back = client.register("web", "a").await;
    assert!(back["revision"].as_u64() > Some(last + 3));
}

#[tokio::test]
async fn the_second_seed_registers_one_endpoint_and_replaces_it() {
    let (_server, mut client) = started().await;
    let target = "/api/v1/services/memory/endpoints/default";
    let answer = client
        .send(Call::new(
            "POST",
            "/services/Memory?endpoint=http://127.0.0.1:1/x",
        ))
        .await;
    assert_eq!(answer.must_be(200).json(), json!({"status": "registered"}));
    let first = endpoint(&mut client, target).await;
    let part = |of: &Value| (of["url"].clone(), of["ttl"].clone(), of["lease"].clone());
    assert_eq!(
        part(&first),
        (json!("http://127.0.0.1:1/x"), json!(null), json!(null))
    );
    assert_eq!(
        (
            each(&first["checks"], "type"),
            each(&first["checks"], "path")
        ),
        (vec!["http"], vec!["/health"])
    );
    let answer = client
        .send(Call::new(
            "POST",
            "/services/memory?endpoint=http%3A%2F%2F127.0.0.1%3A2",
        ))
        .await;
    answer.must_be(200);
    let second = endpoint(&mut client, target).await;
    assert_eq!(
        part(&second),
        (json!("http://127.0.0.1:2"), json!(null), json!(null))
    );
    assert!(second["incarnation"].as_u64() > first["incarnation"].as_u64());
    assert_eq!(
        client.get("/api/v1/services/memory").await.json()["total"],
        1
    );
}

#[tokio::test]
async fn a_heartbeat_is_heard_or_refused_with_what_to_do() {
    let (_server, mut client) = started().await;
    let beat = format!("{A}/heartbeat");
    let unknown = Call::new("PUT", &beat);
    refused(&mut client, unknown.clone(), 404, "service_unknown").await;
    client.register("web", "b").await;
    refused(&mut client, unknown.clone(), 404, "endpoint_unknown").await;
    let first = client
        .put(A, &json!({"host": "a", "port": 1, "checks": [], "ttl": 60}))
        .await
        .json();
    let incarnation = &first["endpoint"]["incarnation"];
    let revision = client.revision().await;
    for call in [
        unknown.clone(),
        unknown.clone().plain_body("{}"),
        unknown.clone().json(&json!({"incarnation": incarnation})),
        unknown
            .clone()
            .json(&json!({"note": "n", "load": 0, "health_status": "healthy"})),
        unknown
            .clone()
            .json(&json!({"note": null, "load": null, "health_status": null, "incarnation": null})),
    ] {
        assert_eq!(client.send(call).await.must_be(204).revision(), revision);
    }
    let detail = endpoint(&mut client, A).await;
    let time = |name: &str| detail[name].as_str().unwrap().to_owned();
    assert!(time("last_heartbeat") >= time("registered_at"));
    client.delete(A).await.must_be(204);
    let problem = refused(&mut client, unknown, 410, "endpoint_gone").await;
    assert_eq!(
        (&problem["reason"], &problem["service_name"]),
        (&json!("deregistered"), &json!("web"))
    );
    assert!(problem["removed_at"].is_string());
}

#[tokio::test]
async fn a_heartbeat_says_how_its_endpoint_is() {
    let (_server, mut client) = started().await;
    client
        .register_with("web", "a", &json!({"checks": heartbeat_check()}))
        .await;
    let beat = format!("{A}/heartbeat");
    for (body, health, ready) in [
        (json!({}), "healthy", true),
        (
            json!({"health_status": "degraded", "note": "slow disk"}),
            "degraded",
            true,
        ),
        (
            json!({"health_status": "unhealthy", "note": "no disk"}),
            "unhealthy",
            false,
        ),
        (json!({"health_status": "unknown"}), "unknown", false),
        (json!({"health_status": "healthy"}), "healthy", true),
    ] {
        client.put(&beat, &body).await.must_be(204);
        let detail = endpoint(&mut client, A).await;
        assert_eq!(
            (&detail["health_status"], &detail["ready"]),
            (&json!(health), &json!(ready)),
            "{body}"
        );
        assert_eq!(detail["flags"], json!([]));
        assert_eq!(detail["checks"][0]["health_status"], health);
        if let Some(note) = body["note"].as_str() {
            assert!(
                detail["health_reason"].as_str().unwrap().contains(note),
                "{detail}"
            );
        }
    }
    let revision = client.revision().await;
    client.put(&beat, &json!({})).await.must_be(204);
    assert_eq!(client.revision().await, revision);
}

#[tokio::test]
async fn many_heartbeats_are_judged_one_by_one() {
    let (_server, mut client) = started().await;
    let old = client.register("web", "a").await["incarnation"].clone();
    let new = client
        .put(
            &format!("{A}?new"),
            &json!({"host": "a", "port": 1, "checks": [], "ttl": null}),
        )
        .await;
    let new = new.must_be(201).json()["endpoint"]["incarnation"].clone();
    client.register("web", "gone").await;
    client
        .delete(&format!("{WEB}/endpoints/gone"))
        .await
        .must_be(204);
    client.register("db", "a").await;
    let beats = json!({"heartbeats": {
        "Web": ["a", ["a", new], ["a", old], "gone", "never", "no/id"],
        "db": ["a"],
        "unknown": ["a"],
        "no name": ["a"],
        "none": [],
    }});
    let answer = client
        .post("/api/v1/heartbeats", &beats)
        .await
        .must_be(200)
        .json();
    shape::check(&answer, shape::HEARTBEATS);
    assert_eq!(answer["accepted"], 3);
    let refused = answer["refused"].as_array().unwrap();
    let mut found: Vec<[&str; 3]> = Vec::new();
    for one in refused {
        shape::check(one, shape::REFUSED);
        found.push(["service_name", "id", "code"].map(|name| one[name].as_str().unwrap()));
    }
    found.sort_unstable();
    let expected = [
        ["Web", "a", "incarnation_stale"],
        ["Web", "gone", "endpoint_gone"],
        ["Web", "never", "endpoint_unknown"],
        ["Web", "no/id", "invalid_name"],
        ["no name", "a", "invalid_name"],
        ["unknown", "a", "service_unknown"],
    ];
    assert_eq!(found, expected);
    let nothing = client
        .post("/api/v1/heartbeats", &json!({"heartbeats": {}}))
        .await
        .must_be(200)
        .json();
    assert_eq!(nothing, json!({"accepted": 0, "refused": []}));
    let elsewhere = client
        .post(
            "/api/v1/heartbeats?namespace=other",
            &json!({"heartbeats": {"db": ["a"]}}),
        )
        .await;
    assert_eq!(elsewhere.must_be(200).json()["accepted"], 0);
}

#[tokio::test]
async fn ten_thousand_heartbeats_fit_into_one_request_and_no_more() {
    let (_server, mut client) = started().await;
    let ids: Vec<String> = (0..200).map(|n| format!("endpoint-{n:03}")).collect();
    for id in &ids {
        client.register("web", id).await;
    }
    let known: Vec<&String> = ids.iter().cycle().take(6_000).collect();
    let never: Vec<String> = (0..4_000).map(|n| format!("never-{n:04}")).collect();
    let body = json!({"heartbeats": {"web": known, "other": never}});
    let answer = client
        .post("/api/v1/heartbeats", &body)
        .await
        .must_be(200)
        .json();
    assert_eq!(answer["accepted"], 6_000);
    let refused = answer["refused"].as_array().unwrap();
    assert_eq!(refused.len(), 4_000);
    let more = json!({"heartbeats": {"web": known, "other": never, "one": ["more"]}});
    let problem = client
        .post("/api/v1/heartbeats", &more)
        .await
        .problem(400, "invalid_field");
    assert_eq!(
        problem["limit"],
        json!({"what": "/heartbeats", "max": 10_000})
    );
}

#[tokio::test]
async fn heartbeats_of_endpoints_that_a_full_service_does_not_know_are_refused_quickly() {
    // After a server lost what it had, this is what every client sends at first. To look for the
    // nearest ids of each takes ten times as long as the client waits for any answer.
    let (_server, mut client) = started().await;
    for n in 0..300 {
        client
            .register("web", &format!("endpoint-number-{n:05}"))
            .await;
    }
    let never: Vec<String> = (300..10_300)
        .map(|n| format!("endpoint-number-{n:05}"))
        .collect();
    let body = json!({"heartbeats": {"web": never}});
    let answer = client
        .post("/api/v1/heartbeats", &body)
        .await
        .must_be(200)
        .json();
    assert_eq!(answer["refused"].as_array().unwrap().len(), 10_000);
}

#[tokio::test]
async fn a_write_may_be_bound_to_what_was_read() {
    let (_server, mut client) = started().await;
    let body = json!({"host": "a", "port": 1, "checks": [], "ttl": null});
    let put = || Call::new("PUT", A).json(&body);
    let patch = || Call::new("PATCH", A).json(&json!({"weight": 3}));
    let delete = || Call::new("DELETE", A);
    let drain = || Call::new("PUT", &format!("{A}/drain"));
    // Nothing is there: whoever asks for something is refused, whoever asks for nothing is not.
    for call in [put(), patch(), delete(), drain()] {
        refused(
            &mut client,
            call.header("if-match", "*"),
            412,
            "precondition_failed",
        )
        .await;
    }
    client
        .send(put().header("if-none-match", "*"))
        .await
        .must_be(201);
    for call in [put(), patch(), delete(), drain()] {
        let problem = refused(
            &mut client,
            call.header("if-none-match", "*"),
            412,
            "precondition_failed",
        )
        .await;
        assert_eq!(problem["service_name"], "web");
    }
    let old = client.get(WEB).await.etag();
    client
        .send(put().header("if-match", "*"))
        .await
        .must_be(200);
    client
        .send(patch().header("if-match", &old))
        .await
        .must_be(200);
    let current = client.get(A).await.etag();
    assert_ne!(old, current);
    for call in [put(), patch(), delete(), drain(), Call::new("DELETE", WEB)] {
        for tag in [old.as_str(), "W/\"0123456789abcdef-1\"", "\"x\"", "x"] {
            refused(
                &mut client,
                call.clone().header("if-match", tag),
                412,
                "precondition_failed",
            )
            .await;
        }
    }
    for call in [put(), delete()] {
        // It is there, and both must hold.
        for tag in [current.as_str(), "*"] {
            let both = call.clone().header("if-match", tag);
            let both = both.header("if-none-match", "*");
            refused(&mut client, both, 412, "precondition_failed").await;
        }
        let tag = call.header("if-none-match", &current);
        let problem = refused(&mut client, tag, 400, "invalid_field").await;
        assert_eq!(problem["field"], "If-None-Match");
    }
    client
        .send(delete().header("if-match", &current))
        .await
        .must_be(204);
}

#[tokio::test]
async fn a_new_endpoint_may_be_bound_to_a_service_that_nobody_else_touched() {
    let (_server, mut client) = started().await;
    let body = json!({"host": "a", "port": 1, "checks": [], "ttl": null});
    let put = || Call::new("PUT", A).json(&body);
    client.send(put()).await.must_be(201);
    let current = client.get(WEB).await.etag();
    client.delete(A).await.must_be(204);
    for (tag, status) in [(current, 412), (client.get(WEB).await.etag(), 201)] {
        let both = put().header("if-match", &tag).header("if-none-match", "*");
        client.send(both).await.must_be(status);
    }
    let forget = || Call::new("DELETE", WEB).header("if-match", "*");
    client.send(forget()).await.must_be(204);
    refused(&mut client, forget(), 412, "precondition_failed").await;
}

#[tokio::test]
async fn a_full_registry_refuses_what_is_new_and_keeps_what_it_has() {
    let server = TestServer::with(|config| {
        config.engine.limits.endpoints_per_service = 2;
        config.engine.limits.services = 2;
    })
    .await;
    let mut client = server.client().await;
    for (service, id) in [("web", "a"), ("web", "b"), ("db", "a")] {
        client.register(service, id).await;
    }
    let body = json!({"host": "h", "port": 1, "checks": [], "ttl": null});
    let third = Call::new("PUT", &format!("{WEB}/endpoints/c")).json(&body);
    let problem = refused(&mut client, third.clone(), 409, "limit_reached").await;
    assert_eq!(
        problem["limit"],
        json!({"what": "endpoints of one service", "max": 2})
    );
    let service = Call::new("POST", "/api/v1/services/new/endpoints").json(&body);
    let problem = refused(&mut client, service, 409, "limit_reached").await;
    assert_eq!(problem["limit"], json!({"what": "services", "max": 2}));
    client.put(A, &body).await.must_be(201);
    client.delete(A).await.must_be(204);
    client.send(third).await.must_be(201);
}

#[tokio::test]
async fn a_lease_runs_out_one_ttl_after_the_last_heartbeat_and_never_before() {
    let (server, mut client) = started().await;
    let body = json!({"host": "a", "port": 80, "checks": [], "ttl": 1});
    let mut events = Events::open(server.address, "service=web").await;
    events.sync().await;
    client.put(A, &body).await.must_be(201);
    assert_eq!(events.change().await["type"], "registered");
    // Kept by heartbeats for longer than two leases. Only one that came in time must be heard.
    let began = Instant::now();
    let mut heard = began;
    let beat = Call::new("PUT", &format!("{A}/heartbeat"));
    while began.elapsed() < TTL * 2 {
        sleep(TTL / 5).await;
        let before = Instant::now();
        let answer = client.send(beat.clone()).await;
        assert!(answer.status == 204 || heard.elapsed() >= TTL, "{answer:?}");
        heard = before;
    }
    let answered = Instant::now();
    let expired = events.change().await;
    let seen = Instant::now();
    assert_eq!(expired["type"], "expired");
    assert!(
        seen - heard >= TTL - CLOCK_GRAIN,
        "removed {:?} after a heartbeat",
        seen - heard
    );
    assert!(
        seen - answered <= TTL + EXPIRY_SLACK,
        "removed {:?} after a heartbeat",
        seen - answered
    );
    assert_eq!(
        (&expired["actor"], &expired["endpoint"]),
        (&json!("lease"), &json!(null))
    );

    let answer = client.get(WEB).await.must_be(200).json();
    assert_eq!(
        (&answer["total"], &answer["emptied"]),
        (&json!(0), &json!("expired"))
    );
    assert_eq!(
        client.get("/api/v1/services").await.json()["services"][0]["emptied"],
        "expired"
    );
    client
        .get(&format!("{WEB}/url"))
        .await
        .problem(503, "nothing_ready");
    let problem = client.send(beat).await.problem(410, "endpoint_gone");
    assert_eq!(
        (&problem["reason"], &problem["removed_at"]),
        (&json!("expired"), &expired["time"])
    );
    let back = client.put(A, &body).await.must_be(201).json();
    assert!(back["endpoint"]["incarnation"].as_u64() > expired["revision"].as_u64());
}

#[tokio::test]
async fn silent_endpoints_expire_each_at_its_own_time_and_static_ones_never() {
    let (server, mut client) = started().await;
    client.register("web", "static").await;
    client
        .register_with("web", "patient", &json!({"ttl": 3600}))
        .await;
    let mut events = Events::open(server.address, "service=web").await;
    events.sync().await;
    let mut heard = Vec::new();
    for n in 0..10 {
        let before = Instant::now();
        client
            .register_with("web", &format!("e{n}"), &json!({"ttl": 1}))
            .await;
        heard.push((format!("e{n}"), before, Instant::now()));
        assert_eq!(events.change().await["type"], "registered");
    }
    // Half of them are heard from once more, later.
    sleep(TTL / 2).await;
    for (id, before, after) in heard.iter_mut().skip(5) {
        *before = Instant::now();
        client
            .send(Call::new("PUT", &format!("{WEB}/endpoints/{id}/heartbeat")))
            .await
            .must_be(204);
        *after = Instant::now();
    }
    while !heard.is_empty() {
        let expired = events.change().await;
        let seen = Instant::now();
        assert_eq!(expired["type"], "expired");
        let at = heard
            .iter()
            .position(|(id, ..)| expired["id"] == id.as_str());
        let (id, before, after) = heard.remove(at.expect("each expires once"));
        assert!(
            seen - before >= TTL - CLOCK_GRAIN,
            "{id} after {:?}",
            seen - before
        );
        assert!(
            seen - after <= TTL + EXPIRY_SLACK,
            "{id} after {:?}",
            seen - after
        );
    }
    let answer = client.get(WEB).await.json();
    assert_eq!(each(&answer["endpoints"], "id"), ["patient", "static"]);
    assert_eq!(answer["emptied"], json!(null));
}

#[tokio::test]
async fn the_same_registration_renews_the_lease_as_a_heartbeat_does() {
    let (_server, mut client) = started().await;
    let body = json!({"host": "a", "port": 80, "checks": [], "ttl": 2});
    client.put(A, &body).await.must_be(201);
    // A part of its lease, so that it has less left.
    sleep(TTL / 4).await;
    let before = endpoint(&mut client, A).await;
    client.put(A, &body).await.must_be(200);
    let after = endpoint(&mut client, A).await;
    let remaining = |of: &Value| of["lease"]["remaining"].as_f64().unwrap();
    assert!(remaining(&after) > remaining(&before), "{before} {after}");
    assert!(after["last_heartbeat"].as_str() > before["last_heartbeat"].as_str());
    assert_eq!(after["revision"], before["revision"]);
}
