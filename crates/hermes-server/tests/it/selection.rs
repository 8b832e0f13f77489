//! Selection: who is handed out, how evenly, and what is said when nobody can be.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::{Call, Client};
use crate::server::TestServer;
use crate::shape::{self, each, texts};

const WEB: &str = "/api/v1/services/web";
const SELECT: &str = "/api/v1/services/web/select";

/// How often each id or URL was selected.
type Counts = BTreeMap<String, u32>;

async fn with_endpoints(ids: &[&str]) -> (TestServer, Client) {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for id in ids {
        client.register("web", id).await;
    }
    (server, client)
}

fn heartbeat_check() -> Value {
    json!([{"type": "heartbeat", "interval": 3600, "timeout": 3600}])
}

async fn heartbeat(client: &mut Client, id: &str, body: &Value) {
    let target = format!("{WEB}/endpoints/{id}/heartbeat");
    client.put(&target, body).await.must_be(204);
}

/// The ids that one selection chose, best first.
async fn chosen(client: &mut Client, criteria: &Value) -> Vec<String> {
    let answer = client.post(SELECT, criteria).await.must_be(200).json();
    shape::check_discovery(&answer);
    let ids = each(&answer["endpoints"], "id");
    assert_eq!(answer["selected_id"], ids[0]);
    ids.into_iter().map(Into::into).collect()
}

async fn count(client: &mut Client, criteria: &Value, times: u32) -> Counts {
    let mut counts = Counts::new();
    for _ in 0..times {
        let first = chosen(client, criteria).await.remove(0);
        *counts.entry(first).or_default() += 1;
    }
    counts
}

async fn read(client: &mut Client, target: &str, times: u32) -> Counts {
    let mut counts = Counts::new();
    for _ in 0..times {
        let answer = client.get(target).await.must_be(200).json();
        let url = answer["selected_url"].as_str().unwrap_or_default();
        *counts.entry(url.to_owned()).or_default() += 1;
    }
    counts
}

fn a_hundred_each() -> Counts {
    ["a", "b", "c"]
        .map(|id| (format!("http://{id}.test:80"), 100))
        .into()
}

#[tokio::test]
async fn each_of_three_is_read_exactly_a_hundred_times_in_three_hundred() {
    let (_server, mut client) = with_endpoints(&["a", "b", "c"]).await;
    for target in [
        "/api/v1/services/web/url",
        WEB,
        "/api/v1/services/web/endpoints",
    ] {
        assert_eq!(
            read(&mut client, target, 300).await,
            a_hundred_each(),
            "{target}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turns_are_taken_over_all_connections_and_routes_together() {
    let (server, _client) = with_endpoints(&["a", "b", "c"]).await;
    let mut readers = JoinSet::new();
    for n in 0..6 {
        let mut client = server.client().await;
        let target = if n % 2 == 0 {
            WEB
        } else {
            "/api/v1/services/web/url"
        };
        readers.spawn(async move { read(&mut client, target, 50).await });
    }
    let mut counts = Counts::new();
    while let Some(counted) = readers.join_next().await {
        for (url, times) in counted.unwrap() {
            *counts.entry(url).or_default() += times;
        }
    }
    assert_eq!(counts, a_hundred_each());
}

#[tokio::test]
async fn turns_go_on_when_endpoints_change_and_skip_what_is_not_ready() {
    let (_server, mut client) = with_endpoints(&["a", "b", "c", "d"]).await;
    client
        .send(Call::new("PUT", &format!("{WEB}/endpoints/d/drain")))
        .await
        .must_be(200);
    client
        .register_with("web", "e", &json!({"checks": heartbeat_check()}))
        .await;
    client
        .register_with("web", "f", &json!({"weight": 0}))
        .await;
    let mut counts = Counts::new();
    for _ in 0..100 {
        for (url, times) in read(&mut client, &format!("{WEB}/url"), 3).await {
            *counts.entry(url).or_default() += times;
        }
        client
            .patch(
                &format!("{WEB}/endpoints/a"),
                &json!({"metadata": {"n": counts.len()}}),
            )
            .await
            .must_be(200);
    }
    assert_eq!(counts, a_hundred_each());
}

#[tokio::test]
async fn an_endpoint_of_weight_0_serves_only_when_nothing_else_is_ready() {
    let (_server, mut client) = with_endpoints(&["a"]).await;
    client
        .register_with("web", "spare", &json!({"weight": 0}))
        .await;
    let of = |id: &str, times: u32| Counts::from([(format!("http://{id}.test:80"), times)]);
    let url = format!("{WEB}/url");
    assert_eq!(read(&mut client, &url, 20).await, of("a", 20));
    for policy in ["round_robin", "random", "weighted", "least_loaded"] {
        let criteria = json!({"policy": policy, "limit": 2});
        assert_eq!(
            chosen(&mut client, &criteria).await,
            ["a", "spare"],
            "{policy}"
        );
    }
    client
        .delete(&format!("{WEB}/endpoints/a"))
        .await
        .must_be(204);
    assert_eq!(read(&mut client, &url, 20).await, of("spare", 20));
}

#[tokio::test]
async fn round_robin_is_what_happens_when_nothing_is_asked_for() {
    let (_server, mut client) = with_endpoints(&["a", "b", "c"]).await;
    let even = Counts::from(["a", "b", "c"].map(|id| (id.to_owned(), 20)));
    assert_eq!(count(&mut client, &json!({}), 60).await, even);
    assert_eq!(
        count(&mut client, &json!({"policy": "round_robin"}), 60).await,
        even
    );
    let answer = client
        .send(Call::new("POST", SELECT))
        .await
        .must_be(200)
        .json();
    shape::check_discovery(&answer);
    assert_eq!((&answer["ready"], &answer["total"]), (&json!(3), &json!(3)));
    assert_eq!(each(&answer["endpoints"], "id").len(), 1);
    // All of them in one answer are all of them once.
    let mut all = chosen(&mut client, &json!({"limit": 100})).await;
    all.sort_unstable();
    assert_eq!(all, ["a", "b", "c"]);
}

#[tokio::test]
async fn random_reaches_everyone_and_weighted_by_weight() {
    let (_server, mut client) = with_endpoints(&[]).await;
    client
        .register_with("web", "light", &json!({"weight": 1}))
        .await;
    client
        .register_with("web", "heavy", &json!({"weight": 9}))
        .await;
    // Of 400 fair throws fewer than 120 would be eight standard deviations off.
    let counts = count(&mut client, &json!({"policy": "random"}), 400).await;
    assert!(counts.values().all(|times| *times >= 120), "{counts:?}");
    // 360 are expected, with a standard deviation of 6.
    let counts = count(&mut client, &json!({"policy": "weighted"}), 400).await;
    assert!((312..=396).contains(&counts["heavy"]), "{counts:?}");
}

#[tokio::test]
async fn least_loaded_goes_by_what_is_reported_over_weight() {
    let (_server, mut client) = with_endpoints(&["a", "b", "c"]).await;
    client
        .register_with("web", "big", &json!({"weight": 1000}))
        .await;
    let policy = json!({"policy": "least_loaded", "limit": 4});
    for (loads, expected) in [
        ([5.0, 1.0, 9.0, 20.0], ["b", "big", "a", "c"]),
        ([0.5, 1.0, 0.0, 20.0], ["c", "a", "b", "big"]),
    ] {
        for (id, load) in ["a", "b", "c", "big"].into_iter().zip(loads) {
            heartbeat(&mut client, id, &json!({"load": load})).await;
        }
        assert_eq!(chosen(&mut client, &policy).await, expected);
    }
}

#[tokio::test]
async fn least_loaded_without_reports_goes_by_recent_selections() {
    let (_server, mut client) = with_endpoints(&["a", "b"]).await;
    let only_a = json!({"exclude": ["b"]});
    for _ in 0..5 {
        chosen(&mut client, &only_a).await;
    }
    // Selections of the last ten seconds count; these few take milliseconds.
    let counts = count(&mut client, &json!({"policy": "least_loaded"}), 5).await;
    assert_eq!(counts, Counts::from([("b".to_owned(), 5)]));
}

#[tokio::test]
async fn rendezvous_keeps_a_key_where_it_is() {
    let (server, mut client) = with_endpoints(&["a", "b", "c"]).await;
    let criteria = |key: u32| json!({"policy": "rendezvous", "key": format!("user-{key}")});
    let mut homes = BTreeMap::new();
    for key in 0..60 {
        homes.insert(key, chosen(&mut client, &criteria(key)).await.remove(0));
    }
    for id in ["a", "b", "c"] {
        assert!(
            homes.values().any(|home| home == id),
            "nobody lives at {id}"
        );
    }
    let mut other = server.client().await;
    client
        .delete(&format!("{WEB}/endpoints/b"))
        .await
        .must_be(204);
    for (key, home) in &homes {
        let now = chosen(&mut other, &criteria(*key)).await.remove(0);
        assert!(
            now == *home || home == "b",
            "user-{key} moved from {home} to {now}"
        );
    }
    client.register("web", "b").await;
    for (key, home) in &homes {
        assert_eq!(chosen(&mut other, &criteria(*key)).await[0], *home);
    }
}

#[tokio::test]
async fn criteria_say_who_may_be_chosen() {
    let (_server, mut client) = with_endpoints(&[]).await;
    let a = json!({
        "metadata": {"version": 1, "build": {"id": 7}, "none": null}, "tags": ["blue", "eu"],
        "zone": "z1", "environment": "docker", "ports": {"grpc": {"port": 99, "scheme": "grpc"}},
    });
    let b = json!({"metadata": {"version": "1"}, "tags": ["blue"], "zone": "z2", "environment": "kubernetes"});
    client.register_with("web", "a", &a).await;
    client.register_with("web", "b", &b).await;
    client.register("web", "c").await;
    for (criteria, expected) in [
        (json!({}), &["a", "b", "c"][..]),
        (json!({"metadata": {}}), &["a", "b", "c"]),
        (json!({"metadata": {"version": 1}}), &["a"]),
        (json!({"metadata": {"version": "1"}}), &["b"]),
        (
            json!({"metadata": {"version": 1, "build": {"id": 7}}}),
            &["a"],
        ),
        (json!({"metadata": {"none": null}}), &["a"]),
        (json!({"metadata": {"build": {}}}), &[]),
        (json!({"metadata": {"absent": 1}}), &[]),
        (json!({"tags": ["blue"]}), &["a", "b"]),
        (json!({"tags": ["eu", "blue"]}), &["a"]),
        (json!({"tags": ["red"]}), &[]),
        (json!({"zone": "z1", "zone_strict": true}), &["a"]),
        (json!({"zone": "z9", "zone_strict": true}), &[]),
        (json!({"zone": "z9"}), &["a", "b", "c"]),
        (json!({"environment": "docker"}), &["a"]),
        (json!({"environment": "local"}), &["c"]),
        (json!({"exclude": ["a", "http://b.test:80"]}), &["c"]),
        (json!({"exclude": ["a", "b", "c"]}), &[]),
        (json!({"port": "grpc"}), &["a"]),
        (json!({"port": "GRPC"}), &["a"]),
        (json!({"port": "main"}), &["a", "b", "c"]),
        (json!({"port": "none"}), &[]),
        (
            json!({"tags": ["blue"], "environment": "kubernetes", "explain": true}),
            &["b"],
        ),
    ] {
        let mut wide = criteria.clone();
        wide["limit"] = json!(100);
        if expected.is_empty() {
            let problem = client
                .post(SELECT, &wide)
                .await
                .problem(503, "nothing_ready");
            let reasons = each(&problem["endpoints"], "health_reason");
            assert!(
                reasons
                    .iter()
                    .all(|reason| reason.starts_with("ready, but ")),
                "{reasons:?}"
            );
            continue;
        }
        let mut found = chosen(&mut client, &wide).await;
        found.sort_unstable();
        assert_eq!(found, expected, "{criteria}");
        assert_eq!(chosen(&mut client, &criteria).await.len(), 1);
    }
}

#[tokio::test]
async fn a_zone_is_preferred_and_a_named_port_is_in_the_url() {
    let (_server, mut client) = with_endpoints(&["b", "c"]).await;
    let near = json!({"zone": "z1", "ports": {"grpc": {"port": 99, "scheme": "grpc"}}});
    client.register_with("web", "a", &near).await;
    for _ in 0..5 {
        let chosen = chosen(&mut client, &json!({"zone": "z1", "limit": 3})).await;
        assert_eq!((chosen[0].as_str(), chosen.len()), ("a", 3));
    }
    let answer = client
        .post(SELECT, &json!({"port": "grpc"}))
        .await
        .must_be(200)
        .json();
    assert_eq!(answer["selected_url"], "grpc://a.test:99");
    assert_eq!(answer["endpoints"][0]["url"], "http://a.test:80");
}

#[tokio::test]
async fn when_nothing_is_ready_each_endpoint_is_listed_with_its_reason() {
    let (_server, mut client) = with_endpoints(&["draining"]).await;
    let checked = json!({"checks": heartbeat_check()});
    client.register_with("web", "starting", &checked).await;
    client.register_with("web", "unhealthy", &checked).await;
    let drain = Call::new("PUT", &format!("{WEB}/endpoints/draining/drain"));
    client
        .send(drain.json(&json!({"reason": "kernel update"})))
        .await
        .must_be(200);
    heartbeat(&mut client, "unhealthy", &json!({})).await;
    client.get(&format!("{WEB}/url")).await.must_be(200);
    let sick = json!({"health_status": "unhealthy", "note": "disk is full"});
    heartbeat(&mut client, "unhealthy", &sick).await;
    let calls = [
        Call::get(&format!("{WEB}/url")),
        Call::get(&format!("{WEB}/url")).header("accept", "text/plain"),
        Call::new("POST", SELECT),
    ];
    for call in calls {
        let answer = client.send(call).await;
        assert_eq!(answer.header("retry-after"), None);
        let problem = answer.problem(503, "nothing_ready");
        assert_eq!(problem["service_name"], "web");
        let endpoints = &problem["endpoints"];
        assert_eq!(each(endpoints, "id"), ["draining", "starting", "unhealthy"]);
        assert_eq!(
            each(endpoints, "health_status"),
            ["healthy", "unknown", "unhealthy"]
        );
        let flags: Vec<_> = (0..3).map(|at| texts(&endpoints[at]["flags"])).collect();
        assert_eq!(flags, [vec!["draining"], vec!["starting"], vec![]]);
        let reasons = each(endpoints, "health_reason");
        for (reason, part) in reasons
            .into_iter()
            .zip(["kernel update", "starting", "disk is full"])
        {
            assert!(reason.contains(part), "{reason:?} does not say {part:?}");
        }
    }
}

#[tokio::test]
async fn a_list_of_reasons_has_at_most_twenty() {
    let (_server, mut client) = with_endpoints(&[]).await;
    for n in 0..25 {
        client
            .register_with(
                "web",
                &format!("e{n:02}"),
                &json!({"checks": heartbeat_check()}),
            )
            .await;
    }
    let problem = client
        .get(&format!("{WEB}/url"))
        .await
        .problem(503, "nothing_ready");
    assert_eq!(each(&problem["endpoints"], "id").len(), 20);
}

#[tokio::test]
async fn a_service_without_endpoints_has_nothing_ready_and_says_since_when() {
    let (_server, mut client) = with_endpoints(&["a"]).await;
    client
        .delete(&format!("{WEB}/endpoints/a"))
        .await
        .must_be(204);
    let problem = client
        .get(&format!("{WEB}/url"))
        .await
        .problem(503, "nothing_ready");
    assert_eq!(problem.get("endpoints"), None);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("deregistered"), "{detail}");
    client
        .post(SELECT, &json!({"fallback": "any"}))
        .await
        .problem(503, "nothing_ready");
}

#[tokio::test]
async fn an_unknown_service_comes_with_the_nearest_names() {
    let (_server, mut client) = with_endpoints(&[]).await;
    for name in ["rhetor", "router", "memory", "memory-store"] {
        client.register(name, "a").await;
    }
    for (name, nearest) in [
        ("rehtor", &["rhetor"][..]),
        ("Rhoter", &["rhetor", "router"]),
        ("memory_store_2", &["memory-store", "memory"]),
        ("cognition", &[]),
    ] {
        let calls = [
            Call::get(&format!("/api/v1/services/{name}")),
            Call::get(&format!("/api/v1/services/{name}/url")),
            Call::get(&format!("/api/v1/services/{name}/endpoints")),
            Call::get(&format!("/api/v1/services/{name}/endpoints/a")),
            Call::new("POST", &format!("/api/v1/services/{name}/select")),
            Call::new("DELETE", &format!("/api/v1/services/{name}")),
        ];
        for call in calls {
            let problem = client.send(call).await.problem(404, "service_unknown");
            assert_eq!(texts(&problem["nearest"]), nearest, "{name}");
        }
    }
    // Names of other namespaces are nobody's business.
    let elsewhere = client.get("/api/v1/services/rehtor?namespace=other").await;
    assert_eq!(
        elsewhere.problem(404, "service_unknown").get("nearest"),
        None
    );
}

#[tokio::test]
async fn an_unknown_endpoint_comes_with_the_nearest_ids() {
    let (_server, mut client) = with_endpoints(&["worker-1", "worker-2", "x"]).await;
    let problem = client.get(&format!("{WEB}/endpoints/wroker-1")).await;
    let problem = problem.problem(404, "endpoint_unknown");
    assert_eq!(texts(&problem["nearest"]), ["worker-1", "worker-2"]);
    assert_eq!(problem["service_name"], "web");
}

#[tokio::test]
async fn fallback_any_hands_out_what_is_not_ready_and_says_so_but_never_what_drains() {
    let (_server, mut client) = with_endpoints(&["drained"]).await;
    client
        .send(Call::new("PUT", &format!("{WEB}/endpoints/drained/drain")))
        .await
        .must_be(200);
    let any = json!({"fallback": "any", "limit": 100});
    client
        .post(SELECT, &any)
        .await
        .problem(503, "nothing_ready");
    client
        .register_with("web", "starting", &json!({"checks": heartbeat_check()}))
        .await;
    client
        .post(SELECT, &json!({"fallback": "none"}))
        .await
        .problem(503, "nothing_ready");
    client
        .post(SELECT, &json!({}))
        .await
        .problem(503, "nothing_ready");
    let answer = client.post(SELECT, &any).await.must_be(200);
    assert_eq!(answer.header("hermes-flags"), Some("panic"));
    let answer = answer.json();
    shape::check_discovery(&answer);
    assert_eq!(each(&answer["endpoints"], "id"), ["starting"]);
    assert_eq!(
        (&answer["ready"], &answer["selected_id"]),
        (&json!(0), &json!("starting"))
    );
    // As soon as one is ready there is no panic, and no fallback.
    client.register("web", "ready").await;
    let answer = client.post(SELECT, &any).await.must_be(200);
    assert_eq!(answer.header("hermes-flags"), None);
    assert_eq!(each(&answer.json()["endpoints"], "id"), ["ready"]);
}
