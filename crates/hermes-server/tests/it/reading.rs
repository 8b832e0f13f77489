//! The reading routes: what they show, in which shape, in which order, and at which revision.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::client::{Call, Client, DEADLINE, GLANCE};
use crate::server::TestServer;
use crate::shape::{self, each, texts};

const SERVICES: &str = "/api/v1/services";
const WEB: &str = "/api/v1/services/web";

/// A check that finds nothing out for an hour: its endpoint is `starting` for that long.
fn slow_check() -> Value {
    json!([{"type": "heartbeat", "interval": 3600, "timeout": 3600}])
}

async fn started() -> (TestServer, Client) {
    let server = TestServer::start().await;
    let client = server.client().await;
    (server, client)
}

fn ids(answer: &Value) -> Vec<&str> {
    each(&answer["endpoints"], "id")
}

#[tokio::test]
async fn an_endpoint_is_shown_as_it_was_registered() {
    let (_server, mut client) = started().await;
    let body = json!({
        "url": "HTTPS://Api.Example:8443/base/",
        "ports": {"Metrics_Port": 9100, "grpc": {"port": 50051, "scheme": "grpc"}},
        "metadata": {"version": "1.2", "nested": {"list": [1, null, {"deep": true}]}},
        "tags": ["blue", "eu"],
        "zone": "eu-1",
        "weight": 7,
        "environment": "docker",
        "ttl": "2m",
        "checks": [],
        "initial_health": "healthy",
    });
    let target = format!("{WEB}/endpoints/A.1:x_y-z");
    let registered = client.put(&target, &body).await.must_be(201).json();
    let answer = client.get(WEB).await.must_be(200).json();
    shape::check_discovery(&answer);
    let endpoint = &answer["endpoints"][0];
    let expected = json!({
        "name": "web",
        "namespace": "default",
        "id": "A.1:x_y-z",
        "incarnation": registered["endpoint"]["revision"],
        "host": "api.example",
        "port": 8443,
        "url": "HTTPS://Api.Example:8443/base/",
        "ports": {
            "main": {"port": 8443, "scheme": "https", "url": "HTTPS://Api.Example:8443/base/"},
            "metrics-port": {"port": 9100, "scheme": "https", "url": "https://api.example:9100"},
            "grpc": {"port": 50051, "scheme": "grpc", "url": "grpc://api.example:50051"},
        },
        "environment": "docker",
        "health_status": "healthy",
        "health_reason": "not checked",
        "ready": true,
        "flags": [],
        "last_heartbeat": endpoint["last_heartbeat"],
        "registered_at": endpoint["registered_at"],
        "since": endpoint["registered_at"],
        "ttl": 120,
        "metadata": {"version": "1.2", "nested": {"list": [1, null, {"deep": true}]}},
        "tags": ["blue", "eu"],
        "zone": "eu-1",
        "weight": 7,
        "revision": registered["endpoint"]["incarnation"],
    });
    assert_eq!(*endpoint, expected);
    // It is heard from when it is committed, which is not before it registers.
    let time = |name: &str| endpoint[name].as_str().unwrap_or_default().to_owned();
    assert!(
        time("registered_at") <= time("last_heartbeat"),
        "{endpoint}"
    );
    assert_eq!(registered["endpoint"], expected);
    assert_eq!(answer["selected_url"], endpoint["url"]);
    assert_eq!(answer["selected_id"], "A.1:x_y-z");
}

#[tokio::test]
async fn what_is_not_said_has_the_defaults_of_the_contract() {
    let (_server, mut client) = started().await;
    let target = format!("{WEB}/endpoints/a");
    let body = json!({"host": "a", "port": 9, "checks": slow_check(), "zone": null, "tags": null});
    let endpoint = &client.put(&target, &body).await.must_be(201).json()["endpoint"];
    shape::check_endpoint(endpoint);
    let part = |names: &[&str]| -> Vec<Value> {
        names.iter().map(|name| endpoint[*name].clone()).collect()
    };
    assert_eq!(
        part(&[
            "url",
            "environment",
            "ttl",
            "metadata",
            "tags",
            "zone",
            "weight"
        ]),
        [
            json!("http://a:9"),
            json!("local"),
            json!(30),
            json!({}),
            json!([]),
            json!(null),
            json!(100)
        ]
    );
    assert_eq!(
        part(&["health_status", "ready", "flags"]),
        [json!("unknown"), json!(false), json!(["starting"])]
    );
}

#[tokio::test]
async fn the_detail_of_an_endpoint_adds_checks_overrides_lease_and_owner() {
    let (_server, mut client) = started().await;
    let target = format!("{WEB}/endpoints/a");
    let check = json!({"type": "http", "dry_run": true, "interval": 86400});
    let body = json!({"host": "a.invalid", "port": 9, "ttl": 60, "checks": [check]});
    client.put(&target, &body).await.must_be(201);
    let detail = client.get(&target).await.must_be(200).json();
    shape::check_detail(&detail);
    let check = &detail["checks"][0];
    shape::check(check, shape::HTTP_CHECK);
    for (name, value) in [
        ("type", json!("http")),
        ("name", json!("http")),
        ("port", json!("main")),
        ("path", json!("/health")),
        ("method", json!("GET")),
        ("expect_status", json!(["2xx"])),
        ("expect_body", json!(null)),
        ("interval", json!(86400)),
        ("timeout", json!(5)),
        ("attempts", json!(3)),
        ("rise", json!(1)),
        ("fall", json!(1)),
        ("grace", json!(0)),
        ("dry_run", json!(true)),
    ] {
        assert_eq!(check[name], value, "{name}");
    }
    // A dry run is shown, and does not count.
    assert_eq!(detail["ready"], true);
    assert_eq!(
        (&detail["overrides"], &detail["owner"]),
        (&json!({}), &json!(null))
    );
    let remaining = detail["lease"]["remaining"].as_f64().unwrap();
    assert!(remaining > 30.0 && remaining <= 60.0, "{remaining}");

    client.register("web", "static").await;
    let detail = client
        .get(&format!("{WEB}/endpoints/static"))
        .await
        .must_be(200)
        .json();
    shape::check_detail(&detail);
    assert_eq!(
        (&detail["lease"], &detail["ttl"], &detail["checks"]),
        (&json!(null), &json!(null), &json!([]))
    );
}

#[tokio::test]
async fn what_was_read_of_a_check_may_be_sent_back() {
    let (_server, mut client) = started().await;
    let target = format!("{WEB}/endpoints/a");
    let check = json!({
        "type": "http", "name": "deep", "path": "/deep?x=1", "method": "HEAD", "timeout": "1500ms",
        "expect_status": [200, "3xx"], "expect_body": "fine", "interval": "24h", "grace": 2.5,
        "attempts": 1, "rise": 2, "fall": 3, "dry_run": true,
    });
    let mut body = json!({"host": "a.invalid", "port": 9, "ttl": 60, "checks": [check, {"type": "heartbeat", "interval": "1h"}]});
    client.put(&target, &body).await.must_be(201);
    let detail = client.get(&target).await.json();
    let of_status = [
        "health_status",
        "since",
        "last_probe",
        "evidence",
        "next_action",
    ];
    let mut checks = detail["checks"].clone();
    for check in checks.as_array_mut().unwrap() {
        check
            .as_object_mut()
            .unwrap()
            .retain(|name, _| !of_status.contains(&name.as_str()));
    }
    assert_eq!(checks[0]["timeout"], 1.5);
    body["checks"] = checks;
    body["ttl"] = detail["ttl"].clone();
    assert_eq!(
        client.put(&target, &body).await.must_be(200).json()["changed"],
        false
    );
}

#[tokio::test]
async fn only_ready_endpoints_are_shown_unless_all_are_asked_for() {
    let (_server, mut client) = started().await;
    for id in ["b", "a", "c"] {
        client.register("web", id).await;
    }
    client
        .register_with("web", "starting", &json!({"checks": slow_check()}))
        .await;
    client
        .send(Call::new("PUT", &format!("{WEB}/endpoints/b/drain")))
        .await
        .must_be(200);
    for target in [WEB.to_owned(), format!("{WEB}/endpoints")] {
        for (query, expected) in [
            ("", &["a", "c"][..]),
            ("?include_unhealthy=false", &["a", "c"]),
            ("?include_unhealthy=true", &["a", "b", "c", "starting"]),
            ("?include_unhealthy", &["a", "b", "c", "starting"]),
        ] {
            let answer = client
                .get(&format!("{target}{query}"))
                .await
                .must_be(200)
                .json();
            shape::check_discovery(&answer);
            assert_eq!(ids(&answer), expected, "{target}{query}");
            assert_eq!((&answer["ready"], &answer["total"]), (&json!(2), &json!(4)));
            assert!(["a", "c"].contains(&answer["selected_id"].as_str().unwrap()));
        }
    }
    let all = client
        .get(&format!("{WEB}?include_unhealthy=true"))
        .await
        .json();
    let flags: Vec<_> = (0..4)
        .map(|at| texts(&all["endpoints"][at]["flags"]))
        .collect();
    assert_eq!(flags, [vec![], vec!["draining"], vec![], vec!["starting"]]);
}

#[tokio::test]
async fn a_known_service_answers_even_when_nothing_is_ready_or_left() {
    let (_server, mut client) = started().await;
    client
        .register_with("web", "a", &json!({"checks": slow_check()}))
        .await;
    let answer = client.get(WEB).await.must_be(200).json();
    shape::check_discovery(&answer);
    assert_eq!(
        (&answer["ready"], &answer["total"], &answer["emptied"]),
        (&json!(0), &json!(1), &json!(null))
    );
    assert_eq!(
        (&answer["selected_url"], &answer["selected_id"]),
        (&json!(null), &json!(null))
    );
    client
        .delete(&format!("{WEB}/endpoints/a"))
        .await
        .must_be(204);
    let answer = client.get(WEB).await.must_be(200).json();
    shape::check_discovery(&answer);
    assert_eq!(
        (&answer["total"], &answer["emptied"]),
        (&json!(0), &json!("deregistered"))
    );
    let list = client.get(SERVICES).await.json();
    assert_eq!(list["services"][0]["emptied"], "deregistered");
    client.register("web", "a").await;
    assert_eq!(client.get(WEB).await.json()["emptied"], json!(null));
}

#[tokio::test]
async fn a_long_list_is_as_fresh_as_a_short_one() {
    let (_server, mut client) = started().await;
    let names: Vec<String> = (0..40).map(|n| format!("e{n:02}")).collect();
    for name in names.iter().rev() {
        client.register("web", name).await;
    }
    let mut left = names.clone();
    for name in &names {
        let answer = client.get(WEB).await.must_be(200).json();
        shape::check_discovery(&answer);
        assert_eq!(ids(&answer), left);
        let drained = format!("{WEB}/endpoints/{name}/drain");
        client.send(Call::new("PUT", &drained)).await.must_be(200);
        left.remove(0);
    }
    let all = client
        .get(&format!("{WEB}?include_unhealthy=true"))
        .await
        .json();
    assert_eq!(ids(&all), names);
    assert_eq!(client.get(WEB).await.json()["endpoints"], json!([]));
}

#[tokio::test]
async fn an_id_is_ordered_by_its_bytes() {
    let (_server, mut client) = started().await;
    for id in ["b", "a10", "a2", "B", "a:1", "a.1", "0"] {
        let body = json!({"host": "h", "port": 1, "checks": []});
        client
            .put(&format!("{WEB}/endpoints/{id}"), &body)
            .await
            .must_be(201);
    }
    let answer = client.get(WEB).await.json();
    assert_eq!(ids(&answer), ["0", "B", "a.1", "a10", "a2", "a:1", "b"]);
}

#[tokio::test]
async fn names_are_folded_and_shown_folded() {
    let (_server, mut client) = started().await;
    client.register("Memory_Store", "a").await;
    for name in [
        "memory-store",
        "MEMORY_STORE",
        "Memory-Store",
        "memory%5Fstore",
        "%4Demory-store",
    ] {
        let answer = client
            .get(&format!("{SERVICES}/{name}"))
            .await
            .must_be(200)
            .json();
        assert_eq!(answer["service_name"], "memory-store", "{name}");
        assert_eq!(answer["endpoints"][0]["name"], "memory-store");
        let url = client
            .get(&format!("{SERVICES}/{name}/url"))
            .await
            .must_be(200)
            .json();
        assert_eq!(url["service_name"], "memory-store");
        client
            .get(&format!("{SERVICES}/{name}/endpoints/a?wait=0"))
            .await
            .must_be(200);
    }
    // An id is not folded.
    let other = format!("{SERVICES}/memory-store/endpoints/A");
    client.get(&other).await.problem(404, "endpoint_unknown");
    let listed = client.get(SERVICES).await.json();
    assert_eq!(each(&listed["services"], "name"), ["memory-store"]);
}

#[tokio::test]
async fn a_path_is_percent_decoded_once_and_only_once() {
    let (_server, mut client) = started().await;
    let host = json!({"host": "a"});
    client.register_with("web", "a:1", &host).await;
    for id in ["a:1", "a%3A1", "%61%3a%31"] {
        let answer = client
            .get(&format!("{SERVICES}/w%65b/endpoints/{id}"))
            .await;
        assert_eq!(answer.must_be(200).json()["id"], "a:1");
    }
    for target in ["w%2565b", "web%2Furl", "web%00", "we%62%", "%ff"] {
        let problem = client.get(&format!("{SERVICES}/{target}")).await;
        assert_eq!(
            problem.problem(400, "invalid_name")["field"],
            "name",
            "{target}"
        );
    }
    let id = format!("{WEB}/endpoints/a%253A1");
    assert_eq!(
        client.get(&id).await.problem(400, "invalid_name")["field"],
        "id"
    );
}

#[tokio::test]
async fn namespaces_do_not_see_each_other() {
    let (_server, mut client) = started().await;
    let body = |host: &str| json!({"host": host, "port": 80, "checks": [], "ttl": null});
    let target = format!("{WEB}/endpoints/a");
    client.put(&target, &body("one")).await.must_be(201);
    client
        .put(&format!("{target}?namespace=Blue_Team"), &body("two"))
        .await
        .must_be(201);
    client
        .put(
            &format!("{SERVICES}/db/endpoints/a?namespace=blue-team"),
            &body("db"),
        )
        .await
        .must_be(201);
    for (query, namespace, host) in [
        ("", "default", "one"),
        ("?namespace=default", "default", "one"),
        ("?namespace=blue-team", "blue-team", "two"),
        ("?namespace=BLUE_TEAM", "blue-team", "two"),
    ] {
        let answer = client
            .get(&format!("{WEB}{query}"))
            .await
            .must_be(200)
            .json();
        assert_eq!(
            (&answer["namespace"], &answer["total"]),
            (&json!(namespace), &json!(1))
        );
        assert_eq!(answer["endpoints"][0]["host"], host);
        assert_eq!(answer["endpoints"][0]["namespace"], namespace);
        let url = client.get(&format!("{WEB}/url{query}")).await.json();
        assert_eq!(url["selected_url"], format!("http://{host}:80"));
    }
    client
        .get(&format!("{SERVICES}/db"))
        .await
        .problem(404, "service_unknown");
    client
        .get(&format!("{WEB}?namespace=green"))
        .await
        .problem(404, "service_unknown");
    client
        .delete(&format!("{WEB}?namespace=blue-team"))
        .await
        .must_be(204);
    client.get(WEB).await.must_be(200);
}

#[tokio::test]
async fn all_namespaces_at_once_are_listed_and_nothing_else() {
    let (_server, mut client) = started().await;
    let body = json!({"host": "h", "port": 80, "checks": [], "ttl": null});
    for (service, namespace) in [("web", "default"), ("db", "blue"), ("web", "blue")] {
        let target = format!("{SERVICES}/{service}/endpoints/a?namespace={namespace}");
        client.put(&target, &body).await.must_be(201);
    }
    let pairs = |list: &Value| -> Vec<(String, String)> {
        let services = list["services"].as_array().unwrap();
        services
            .iter()
            .for_each(|summary| shape::check(summary, shape::SUMMARY));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        services
            .iter()
            .map(|s| (text(&s["namespace"]), text(&s["name"])))
            .collect()
    };
    let of = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect()
    };
    let list = client
        .get(&format!("{SERVICES}?namespace=*"))
        .await
        .must_be(200)
        .json();
    assert_eq!(
        pairs(&list),
        of(&[("blue", "db"), ("blue", "web"), ("default", "web")])
    );
    let list = client.get(SERVICES).await.json();
    assert_eq!(pairs(&list), of(&[("default", "web")]));
    let list = client
        .get(&format!("{SERVICES}?namespace=nobody"))
        .await
        .must_be(200)
        .json();
    assert_eq!(pairs(&list), of(&[]));
    for target in [
        WEB.to_owned(),
        format!("{WEB}/url"),
        format!("{WEB}/endpoints/a"),
    ] {
        let refused = client.get(&format!("{target}?namespace=*")).await;
        assert_eq!(refused.problem(400, "invalid_field")["field"], "namespace");
    }
    // Page after page, across namespaces.
    let mut found = Vec::new();
    let mut next = String::new();
    loop {
        let target = format!("{SERVICES}?namespace=*&limit=1{next}");
        let page = client.get(&target).await.must_be(200).json();
        found.extend(pairs(&page));
        match page["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(
        found,
        of(&[("blue", "db"), ("blue", "web"), ("default", "web")])
    );
}

#[tokio::test]
async fn the_list_counts_filters_and_is_in_order() {
    let (_server, mut client) = started().await;
    for name in ["web-b", "api", "web-a", "web", "zoo"] {
        client.register(name, "a").await;
    }
    client
        .register_with(
            "web-a",
            "b",
            &json!({"tags": ["blue"], "checks": slow_check()}),
        )
        .await;
    client
        .register_with("zoo", "b", &json!({"tags": ["blue", "b&w"]}))
        .await;
    let list = client.get(SERVICES).await.must_be(200);
    let revision = list.revision();
    let list = list.json();
    shape::check(&list, shape::SERVICES);
    assert_eq!(
        (&list["revision"], &list["next"]),
        (&json!(revision), &json!(null))
    );
    let expected = json!({
        "name": "web-a", "given_name": "web-a", "namespace": "default", "ready": 1, "total": 2,
        "revision": revision - 1, "emptied": null,
    });
    assert_eq!(list["services"][2], expected);
    for (query, expected) in [
        ("", &["api", "web", "web-a", "web-b", "zoo"][..]),
        ("?prefix=web", &["web", "web-a", "web-b"]),
        ("?prefix=web-", &["web-a", "web-b"]),
        ("?prefix=Web_", &["web-a", "web-b"]),
        ("?prefix=x", &[]),
        ("?prefix=", &["api", "web", "web-a", "web-b", "zoo"]),
        ("?tag=blue", &["web-a", "zoo"]),
        ("?tag=blue&prefix=z", &["zoo"]),
        ("?tag=b%26w", &["zoo"]),
        ("?tag=red", &[]),
        ("?limit=2", &["api", "web"]),
        ("?limit=5", &["api", "web", "web-a", "web-b", "zoo"]),
    ] {
        let list = client
            .get(&format!("{SERVICES}{query}"))
            .await
            .must_be(200)
            .json();
        shape::check(&list, shape::SERVICES);
        assert_eq!(each(&list["services"], "name"), expected, "{query}");
        let more = query == "?limit=2";
        assert_eq!(list["next"].is_string(), more, "{query}");
    }
}

#[tokio::test]
async fn the_pages_of_one_list_show_one_revision_while_registrations_go_on() {
    let (server, mut client) = started().await;
    for n in 0..60 {
        client.register(&format!("s{n:02}"), "a").await;
    }
    let whole = client.get(&format!("{SERVICES}?limit=60")).await.json();
    assert_eq!(whole["next"], json!(null));
    let mut writer = server.client().await;
    let mut found: Vec<Value> = Vec::new();
    let mut next = String::new();
    loop {
        let target = format!("{SERVICES}?limit=7{next}");
        let page = client.get(&target).await.must_be(200).json();
        shape::check(&page, shape::SERVICES);
        assert_eq!(page["revision"], whole["revision"]);
        let services = page["services"].as_array().unwrap();
        found.extend(services.iter().cloned());
        let Some(cursor) = page["next"].as_str() else {
            break;
        };
        assert_eq!(services.len(), 7);
        next = format!("&cursor={cursor}");
        // Before the next page something is new, changed and gone, on both sides of the cursor.
        let last = found.len();
        for at in [0, last - 1, last, 59] {
            writer.register(&format!("s{at:02}-new{last}"), "a").await;
            writer
                .register(&format!("s{at:02}"), &format!("e{last}"))
                .await;
        }
        writer
            .delete(&format!("{SERVICES}/s{:02}", last + 1))
            .await
            .must_be(204);
    }
    assert_eq!(json!(found), whole["services"]);
    assert_ne!(
        client.get(SERVICES).await.json()["revision"],
        whole["revision"]
    );
}

#[tokio::test]
async fn a_cursor_whose_list_is_no_longer_kept_has_expired() {
    let server = TestServer::with(|config| config.http.cursors = 1).await;
    let mut client = server.client().await;
    for name in ["a", "b", "c"] {
        client.register(name, "x").await;
    }
    let first = client.get(&format!("{SERVICES}?limit=1")).await.json();
    let cursor = first["next"].as_str().unwrap();
    let page = format!("{SERVICES}?limit=1&cursor={cursor}");
    assert_eq!(
        each(
            &client.get(&page).await.must_be(200).json()["services"],
            "name"
        ),
        ["b"]
    );
    client.register("d", "x").await;
    client
        .get(&format!("{SERVICES}?limit=1"))
        .await
        .must_be(200);
    let problem = client.get(&page).await.problem(410, "cursor_expired");
    assert_eq!(problem["field"], "cursor");
    let made_up = client.get(&format!("{SERVICES}?cursor=77.default.a")).await;
    made_up.problem(410, "cursor_expired");
}

#[tokio::test]
async fn a_url_comes_as_json_or_as_one_line_of_text() {
    let (_server, mut client) = started().await;
    client.register("web", "a").await;
    let target = format!("{WEB}/url");
    for accept in [
        None,
        Some("*/*"),
        Some("application/json"),
        Some("application/json, text/plain"),
    ] {
        let call = Call::get(&target);
        let call = accept.map_or(call.clone(), |accept| call.header("accept", accept));
        let answer = client.send(call).await.must_be(200).json();
        shape::check(&answer, shape::URL);
        let expected =
            json!({"service_name": "web", "selected_url": "http://a.test:80", "cache_ttl": 300});
        assert_eq!(answer, expected);
    }
    let call = Call::get(&target).header("accept", "text/plain");
    let answer = client.send(call.clone()).await.must_be(200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(answer.body, b"http://a.test:80\n");
    client
        .delete(&format!("{WEB}/endpoints/a"))
        .await
        .must_be(204);
    client.send(call).await.problem(503, "nothing_ready");
    client
        .get(&format!("{SERVICES}/unknown/url"))
        .await
        .problem(404, "service_unknown");
}

#[tokio::test]
async fn the_second_seed_lists_services_in_two_shapes() {
    let (_server, mut client) = started().await;
    client.register("web", "a").await;
    client
        .register_with("web", "0", &json!({"checks": slow_check()}))
        .await;
    client
        .register_with("sick", "a", &json!({"checks": slow_check()}))
        .await;
    client.register("gone", "a").await;
    client
        .delete(&format!("{SERVICES}/gone/endpoints/a"))
        .await
        .must_be(204);
    let elsewhere = format!("{SERVICES}/hidden/endpoints/a?namespace=other");
    client
        .put(&elsewhere, &json!({"host": "h", "port": 1}))
        .await
        .must_be(201);
    let expected = json!({"services": {
        "web": {"endpoint": "http://a.test:80", "healthy": true},
        "sick": {"endpoint": "http://a.test:80", "healthy": false},
    }});
    assert_eq!(client.get("/services").await.must_be(200).json(), expected);
    assert_eq!(
        client
            .get("/services?plain=false")
            .await
            .must_be(200)
            .json(),
        expected
    );
    let expected = json!({"services": {"web": "http://a.test:80", "sick": "http://a.test:80"}});
    assert_eq!(
        client.get("/services?plain=true").await.must_be(200).json(),
        expected
    );
}

#[tokio::test]
async fn the_server_says_that_it_is_alive_and_ready() {
    let (_server, mut client) = started().await;
    for target in ["/health", "/livez", "/readyz"] {
        let answer = client.get(target).await.must_be(200).json();
        shape::check(&answer, shape::HEALTH);
        assert_eq!(
            (&answer["status"], &answer["version"]),
            (&json!("ok"), &json!(env!("CARGO_PKG_VERSION")))
        );
    }
}

#[tokio::test]
async fn a_stopping_server_is_alive_but_not_ready_and_finishes_what_it_has() {
    let (mut server, mut client) = started().await;
    let mut half = server.client().await;
    half.write(b"GET /readyz HTTP/1.1\r\nhost: test\r\n").await;
    // Connections are accepted in order: one answer later the half request has been taken in.
    server.client().await.get("/livez").await.must_be(200);
    let poll = Call::get("/api/v1/services/web?wait=300");
    client.write(&poll.to_bytes()).await;
    let mut other = server.client().await;
    other.get("/livez").await.must_be(200);
    server.begin_stop();
    // The long poll is let go, and its connection ends with the answer: by then it is stopping.
    assert_eq!(client.answer("GET").await.unwrap().status, 404);
    assert!(client.answer("GET").await.is_none());
    assert!(other.answer("GET").await.is_none());
    half.write(b"\r\n").await;
    let answer = half.answer("GET").await.unwrap().must_be(503);
    let answer = answer.json();
    assert_eq!(
        (&answer["status"], &answer["reasons"]),
        (&json!("stopping"), &json!(["stopping"]))
    );
    server.stopped().await;
}

/// Whether a long poll goes on for as long as one looks.
async fn still_waits(client: &mut Client) -> bool {
    timeout(GLANCE, client.answer("GET")).await.is_err()
}

#[tokio::test]
async fn a_long_poll_waits_for_the_next_change_of_its_service() {
    let (server, mut client) = started().await;
    client.register("web", "a").await;
    for target in [
        WEB.to_owned(),
        format!("{WEB}/endpoints"),
        format!("{WEB}/url"),
        format!("{WEB}/endpoints/a"),
    ] {
        let revision = client.get(WEB).await.json()["revision"].as_u64().unwrap();
        let mut poller = server.client().await;
        let poll = Call::get(&format!("{target}?revision={revision}&wait=20"));
        poller.write(&poll.to_bytes()).await;
        client.register("other", &format!("e{revision}")).await;
        client
            .send(Call::new("PUT", &format!("{WEB}/endpoints/a/heartbeat")))
            .await
            .must_be(204);
        assert!(still_waits(&mut poller).await, "{target}");
        let endpoint = client.register("web", &format!("e{revision}")).await;
        let answer = poller.answer("GET").await.unwrap().must_be(200);
        assert!(answer.revision() >= endpoint["revision"].as_u64().unwrap());
    }
}

#[tokio::test]
async fn a_long_poll_answers_at_once_when_there_is_news_or_the_revision_is_not_of_here() {
    let (_server, mut client) = started().await;
    client.register("web", "a").await;
    let before = Instant::now();
    let revision = client.revision().await;
    for query in [
        "revision=0&wait=300".to_owned(),
        "wait=300".to_owned(),
        format!("revision={}&wait=5m", revision - 1),
        format!("revision={}&wait=300s", revision + 1),
        format!("revision={}&wait=300000ms", u64::MAX),
        format!("revision={revision}&wait=0"),
        format!("revision={revision}"),
    ] {
        for target in [SERVICES, WEB] {
            client.get(&format!("{target}?{query}")).await.must_be(200);
        }
    }
    assert!(before.elapsed() < DEADLINE);
}

#[tokio::test]
async fn a_long_poll_ends_after_its_time_with_what_there_is() {
    let (_server, mut client) = started().await;
    client.register("web", "a").await;
    let revision = client.revision().await;
    let query = format!("revision={revision}&wait=300ms");
    let wait = Duration::from_millis(300);
    let targets = [
        (format!("{SERVICES}?{query}"), 200),
        (format!("{WEB}?{query}"), 200),
        (format!("{SERVICES}/unknown?{query}"), 404),
    ];
    for (target, status) in targets {
        let before = Instant::now();
        let answer = client.get(&target).await.must_be(status);
        // A timer of tokio is as exact as a millisecond.
        assert!(
            before.elapsed() >= wait - Duration::from_millis(2),
            "{:?}",
            before.elapsed()
        );
        assert_eq!(answer.revision(), revision);
    }
    let etag = client.get(WEB).await.etag();
    let call = Call::get(&format!("{WEB}?{query}")).header("if-none-match", &etag);
    client.send(call).await.must_be(304);
}

#[tokio::test]
async fn a_long_poll_waits_for_a_service_that_is_not_known_yet() {
    let (server, mut client) = started().await;
    let mut poller = server.client().await;
    poller
        .write(&Call::get(&format!("{SERVICES}/Late_Comer/url?wait=20")).to_bytes())
        .await;
    assert!(still_waits(&mut poller).await);
    client.register("late-comer", "a").await;
    let answer = poller.answer("GET").await.unwrap().must_be(200).json();
    assert_eq!(answer["selected_url"], "http://a.test:80");
}

#[tokio::test]
async fn a_long_poll_hears_that_its_service_was_forgotten() {
    let (server, mut client) = started().await;
    client.register("web", "a").await;
    let revision = client.revision().await;
    let mut poller = server.client().await;
    let poll = Call::get(&format!("{WEB}?revision={revision}&wait=300"));
    poller.write(&poll.to_bytes()).await;
    assert!(still_waits(&mut poller).await);
    client.delete(WEB).await.must_be(204);
    poller
        .answer("GET")
        .await
        .unwrap()
        .problem(404, "service_unknown");
}

#[tokio::test]
async fn a_long_poll_of_the_list_waits_for_its_namespace() {
    let (server, mut client) = started().await;
    client.register("web", "a").await;
    let revision = client.revision().await;
    let mut poller = server.client().await;
    let poll = Call::get(&format!("{SERVICES}?revision={revision}&wait=20"));
    poller.write(&poll.to_bytes()).await;
    let elsewhere = format!("{WEB}/endpoints/a?namespace=elsewhere");
    client
        .put(&elsewhere, &json!({"host": "h", "port": 1, "checks": []}))
        .await
        .must_be(201);
    assert!(still_waits(&mut poller).await);
    client.delete(WEB).await.must_be(204);
    let list = poller.answer("GET").await.unwrap().must_be(200).json();
    assert_eq!(list["services"], json!([]));
}

#[tokio::test]
async fn a_long_poll_that_is_given_up_takes_no_place_among_the_watchers() {
    // One for the probes, which are a watcher too.
    let server = TestServer::with(|config| config.engine.watchers_max = 2).await;
    let mut client = server.client().await;
    let poll = Call::get(&format!("{WEB}?wait=300"));
    let mut poller = server.client().await;
    poller.write(&poll.to_bytes()).await;
    assert!(still_waits(&mut poller).await);
    let refused = client
        .send(poll.clone())
        .await
        .problem(409, "limit_reached");
    assert_eq!(refused["limit"], json!({"what": "watchers", "max": 2}));
    drop(poller);
    let give_up = Instant::now() + DEADLINE;
    let short = format!("{WEB}?wait=1ms");
    while client.get(&short).await.status == 409 {
        assert!(Instant::now() < give_up, "the place is never given back");
        tokio::task::yield_now().await;
    }
}
