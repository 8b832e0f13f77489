//! Every limit, reached: which test does it, and what is left of it afterwards.
//!
//! [`ROWS`] is compared with the reference of settings, so a limit that nobody reaches is a failure.
//! The stories here are those that concern all limits at once: neighbours go on, and what was taken
//! comes back, as `/metrics` counts it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::client::{Call, Client, DEADLINE, GLANCE};
use crate::events::Events;
use crate::server::TestServer;

/// Each limit, with the file and the test in it that reaches it.
const ROWS: &[(&str, &str, &str)] = &[
    ("body_size", HERE, BODIES),
    (
        "body_within",
        LIMITS,
        "a_body_that_does_not_come_is_not_waited_for_for_ever",
    ),
    (
        "checks",
        LIMITS,
        "what_a_body_may_hold_is_settable_and_reached",
    ),
    (
        "connections",
        LIMITS,
        "beyond_the_limit_of_connections_the_next_waits_until_one_ends",
    ),
    (
        "cursors",
        READING,
        "a_cursor_whose_list_is_no_longer_kept_has_expired",
    ),
    (
        "endpoints",
        WRITING,
        "a_full_registry_refuses_what_is_new_and_keeps_what_it_has",
    ),
    ("endpoints_size", HERE, ENCODED),
    (
        "feed_changes",
        WATCH,
        "a_short_queue_that_overflows_is_caught_up_from_the_feed_without_a_gap",
    ),
    (
        "feed_size",
        "hermes-discovery/tests/it/watch.rs",
        "feed_bytes_max",
    ),
    ("gone", HERE, BODIES),
    (
        "head_size",
        LIMITS,
        "a_head_that_is_too_large_is_refused_and_the_server_lives",
    ),
    (
        "head_within",
        LIMITS,
        "a_head_that_trickles_in_is_cut_off_in_time",
    ),
    (
        "heartbeats",
        LIMITS,
        "what_a_body_may_hold_is_settable_and_reached",
    ),
    ("heartbeats_size", HERE, BODIES),
    (
        "idle",
        LIMITS,
        "an_idle_connection_is_closed_after_its_time_and_a_used_one_is_not",
    ),
    (
        "inbox",
        LIMITS,
        "who_finds_the_inbox_full_is_told_when_to_return_and_nothing_is_half_done",
    ),
    (
        "json_depth",
        LIMITS,
        "what_a_body_may_hold_is_settable_and_reached",
    ),
    ("lists_size", HERE, ENCODED),
    (
        "loopback",
        "hermes-server/tests/it/keys.rs",
        "limits_loopback",
    ),
    (
        "metadata_members",
        LIMITS,
        "what_a_body_may_hold_is_settable_and_reached",
    ),
    (
        "metadata_size",
        LIMITS,
        "what_a_body_may_hold_is_settable_and_reached",
    ),
    (
        "ports",
        LIMITS,
        "what_a_body_may_hold_is_settable_and_reached",
    ),
    (
        "probe_connections",
        "hermes-discovery/tests/probe/connection.rs",
        "kept_connections_max",
    ),
    (
        "probes",
        "hermes-discovery/tests/probe/crowd.rs",
        "slow_endpoints_delay_nobody_below_the_bound",
    ),
    (
        "requests",
        "hermes-server/tests/it/keys.rs",
        "requests_per_second",
    ),
    (
        "services",
        WRITING,
        "a_full_registry_refuses_what_is_new_and_keeps_what_it_has",
    ),
    (
        "tag_length",
        LIMITS,
        "what_a_body_may_hold_is_settable_and_reached",
    ),
    (
        "tags",
        LIMITS,
        "what_a_body_may_hold_is_settable_and_reached",
    ),
    (
        "watch_services",
        WATCH,
        "a_watcher_may_name_as_many_services_as_the_limit_says",
    ),
    ("watcher_changes", HERE, CROWD),
    (
        "watcher_size",
        "hermes-discovery/tests/it/watch.rs",
        "watcher_bytes_max",
    ),
    (
        "watchers",
        WATCH,
        "beyond_the_limit_of_watchers_one_is_refused_until_another_leaves",
    ),
];
const HERE: &str = "hermes-server/tests/it/bounds.rs";
const LIMITS: &str = "hermes-server/tests/it/limits.rs";
const READING: &str = "hermes-server/tests/it/reading.rs";
const WATCH: &str = "hermes-server/tests/it/watch.rs";
const WRITING: &str = "hermes-server/tests/it/writing.rs";
const BODIES: &str = "one_byte_and_one_name_beyond_is_refused_and_everything_comes_back";
const ENCODED: &str = "what_is_kept_encoded_stays_below_its_limit_and_answers_go_on";
const CROWD: &str = "watchers_that_do_not_read_and_a_burst_of_connections_hold_up_nobody";

#[test]
fn every_limit_of_the_settings_is_reached_by_a_test() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let reference = crates.join("../docs/reference/configuration.md");
    let reference = fs::read_to_string(reference).expect("it is in the repository");
    let limits = reference.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("| `limits.")?.split_once('`')?;
        Some(name)
    });
    let rows = ROWS.iter().map(|(limit, ..)| *limit);
    assert_eq!(rows.collect::<BTreeSet<_>>(), limits.collect());
    for (limit, file, mark) in ROWS {
        let text = fs::read_to_string(crates.join(file)).expect("the file is there");
        let is_reached =
            text.contains(&format!("fn {mark}(")) || text.contains(&format!("{mark}:"));
        let is_set = text.contains(&format!(".{mark} ="));
        assert!(is_reached || is_set, "{limit}: {mark} is not in {file}");
    }
}

/// What `/metrics` says of a sample.
async fn count(client: &mut Client, sample: &str) -> u64 {
    let text =
        String::from_utf8(client.get("/metrics").await.must_be(200).body).expect("it is text");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.expect("the sample is served")
        .parse()
        .expect("it is a count")
}

/// Waits until nothing is left of whoever was there beside this client.
async fn is_alone_again(client: &mut Client) {
    let give_up = Instant::now() + DEADLINE;
    for (sample, own) in [
        ("hermes_http_connections", 1),
        ("hermes_http_requests_in_flight", 1),
        // The probes.
        ("hermes_watchers", 1),
        ("hermes_lane_waiting{lane=\"requests\"}", 0),
    ] {
        while count(client, sample).await != own {
            assert!(Instant::now() < give_up, "{sample} does not come back");
            sleep(GLANCE / 10).await;
        }
    }
}

fn registration(padding: usize) -> Value {
    json!({"host": "h", "port": 80, "checks": [], "ttl": null, "metadata": {"x": "x".repeat(padding)}})
}

#[tokio::test]
async fn one_byte_and_one_name_beyond_is_refused_and_everything_comes_back() {
    const BODY: usize = 2_000;
    let server = TestServer::with(|config| {
        (config.http.body_bytes, config.http.heartbeats_bytes) = (BODY, BODY / 2);
        config.engine.limits.gone_per_service = 1;
    })
    .await;
    let mut client = server.client().await;
    // Filled up with blanks to the last byte.
    let filled = |body: &Value, bytes: usize| format!("{:<bytes$}", body.to_string());
    let call = |method: &str, target: &str, body: String| {
        Call::new(method, target).body("application/json", body)
    };
    let endpoint = "/api/v1/services/web/endpoints/a";
    let beats = json!({"heartbeats": {"web": ["a"]}});
    for (method, target, body, max, fine) in [
        ("PUT", endpoint, registration(1), BODY, 201),
        ("POST", "/api/v1/heartbeats", beats, BODY / 2, 200),
    ] {
        for (bytes, status) in [(max, fine), (max + 1, 413)] {
            let mut stranger = server.client().await;
            let answer = stranger
                .send(call(method, target, filled(&body, bytes)))
                .await;
            let answer = answer.must_be(status);
            if status == 413 {
                assert_eq!(answer.problem(413, "too_large")["limit"]["max"], max);
            }
            client.get("/api/v1/services/web/url").await.must_be(200);
        }
    }
    // Of two that went, the first is no longer remembered.
    client.register("web", "b").await;
    for id in ["a", "b"] {
        client
            .delete(&format!("/api/v1/services/web/endpoints/{id}"))
            .await
            .must_be(204);
    }
    for (id, status, code) in [("a", 404, "endpoint_unknown"), ("b", 410, "endpoint_gone")] {
        let target = format!("/api/v1/services/web/endpoints/{id}/heartbeat");
        client.put(&target, &json!({})).await.problem(status, code);
    }
    is_alone_again(&mut client).await;
}

#[tokio::test]
async fn what_is_kept_encoded_stays_below_its_limit_and_answers_go_on() {
    const MAX: u64 = 20_000;
    let server = TestServer::with(|config| {
        config.engine.limits.encoded_bytes = 20_000;
        config.http.encoded_bytes = 20_000;
    })
    .await;
    let mut client = server.client().await;
    for n in 0..40 {
        let target = format!("/api/v1/services/web/endpoints/e{n}");
        client.put(&target, &registration(1_000)).await.must_be(201);
    }
    for _ in 0..3 {
        let answer = client.get("/api/v1/services/web").await.must_be(200).json();
        assert_eq!(answer["endpoints"].as_array().map(Vec::len), Some(40));
    }
    let forms = ["endpoints", "lists"].map(|form| format!("hermes_view_bytes{{form=\"{form}\"}}"));
    for form in &forms {
        assert!(count(&mut client, form).await <= MAX, "{form}");
    }
    assert!(count(&mut client, &forms[0]).await > 0);
    // What was kept for those who are gone comes back; the feed still holds their last changes.
    client.delete("/api/v1/services/web").await.must_be(204);
    let give_up = Instant::now() + DEADLINE;
    while count(&mut client, &forms[1]).await > 0 {
        assert!(Instant::now() < give_up, "the lists do not come back");
    }
}

#[tokio::test]
async fn watchers_that_do_not_read_and_a_burst_of_connections_hold_up_nobody() {
    nobody_is_held_up(100, 300).await;
}

#[tokio::test]
#[ignore = "the same with as many as are promised: half a minute, and 15,000 open files"]
async fn two_thousand_that_do_not_read_and_a_burst_of_five_thousand_hold_up_nobody() {
    nobody_is_held_up(2_000, 5_000).await;
}

/// So many watchers do not read, then so many connections come at once.
async fn nobody_is_held_up(crowd: usize, connections: usize) {
    const CHANGES: usize = 120;
    let server = TestServer::with(|config| config.engine.watcher_changes_max = 8).await;
    let mut client = server.client().await;
    let mut idle = Vec::new();
    for _ in 0..crowd {
        let mut watcher = server.client().await;
        watcher.write(&Call::get("/api/v1/watch").to_bytes()).await;
        idle.push(watcher);
    }
    let mut reader = Events::open(server.address, "").await;
    reader.sync().await;
    let give_up = Instant::now() + DEADLINE;
    while count(&mut client, "hermes_watchers").await < crowd as u64 + 2 {
        assert!(Instant::now() < give_up, "not all of them watch");
    }
    // More than the sockets of those who do not read will take: their queues overflow.
    for n in 0..CHANGES {
        let call = Call::new("PUT", "/api/v1/services/web/endpoints/a");
        let mut body = registration(12_000);
        body["weight"] = json!(n);
        client.send(call.json(&body)).await;
        let change = reader.change().await;
        assert_eq!(
            change["endpoint"]["weight"], n,
            "who reads hears each change at once"
        );
    }
    let overflows = "hermes_watcher_overflows_total";
    while count(&mut client, overflows).await == 0 && Instant::now() < give_up {
        let call = Call::new("PUT", "/api/v1/services/web/endpoints/a?new=true");
        client
            .send(call.json(&registration(12_000)))
            .await
            .must_be(201);
        reader.change().await;
    }
    assert!(
        count(&mut client, overflows).await > 0,
        "nobody fell behind"
    );
    drop((idle, reader));
    let mut burst = JoinSet::new();
    for _ in 0..connections {
        let address = server.address;
        burst.spawn(async move {
            let mut one = Client::open(address).await;
            one.get("/api/v1/services/web/url").await.status
        });
    }
    let began = Instant::now();
    client.get("/api/v1/services/web/url").await.must_be(200);
    assert!(began.elapsed() < DEADLINE);
    let statuses = timeout(3 * DEADLINE, burst.join_all())
        .await
        .expect("all are served");
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    is_alone_again(&mut client).await;
}
