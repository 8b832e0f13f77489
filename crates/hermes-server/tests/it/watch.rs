//! The watch: what is heard, in which order, from where on, and what happens to those who do not
//! listen.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hermes_server::{LogConfig, log};
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::client::{Call, Client, DEADLINE};
use crate::events::{Event, Events};
use crate::server::TestServer;
use crate::shape::{self, each};

const WEB: &str = "/api/v1/services/web";
const A: &str = "/api/v1/services/web/endpoints/a";
/// Bytes of metadata, a little below the most that an endpoint may have.
const LARGE: usize = 16_000;

async fn started() -> (TestServer, Client) {
    let server = TestServer::start().await;
    let client = server.client().await;
    (server, client)
}

/// A server whose watchers hear from it every 200 ms.
async fn talkative() -> TestServer {
    TestServer::with(|config| config.engine.progress_interval = Duration::from_millis(200)).await
}

fn whole(value: &Value) -> u64 {
    value.as_u64().expect("it is a whole number")
}

/// Registers `web/a` with metadata that are as large as they may be, and different for every `n`.
fn large_write(n: usize) -> Call {
    let metadata = json!({"n": n, "padding": "x".repeat(LARGE)});
    let body = json!({"host": "a", "port": 1, "checks": [], "ttl": null, "metadata": metadata});
    Call::new("PUT", A).json(&body)
}

/// The part of a change that says what happened.
fn gist(change: &Value) -> [&str; 3] {
    ["type", "service_name", "id"].map(|name| change[name].as_str().unwrap_or("-"))
}

fn text(value: &Value) -> String {
    value.as_str().expect("it is a text").to_owned()
}

/// Registers `id` with `n` in its metadata, which is a change for every `n`.
async fn write(client: &mut Client, service: &str, id: &str, n: usize) -> u64 {
    let endpoint = client
        .register_with(service, id, &json!({"metadata": {"n": n}}))
        .await;
    whole(&endpoint["revision"])
}

#[tokio::test]
async fn a_watch_says_hello_shows_everything_and_says_at_which_revision() {
    let (server, mut client) = started().await;
    client.register("web", "b").await;
    client
        .register_with(
            "web",
            "a",
            &json!({"checks": [{"type": "heartbeat", "interval": 3600, "timeout": 3600}]}),
        )
        .await;
    client.register("db", "a").await;
    client.register("gone", "a").await;
    client
        .delete("/api/v1/services/gone/endpoints/a")
        .await
        .must_be(204);
    let mut events = Events::open(server.address, "").await;
    let head = events.head.clone();
    let (hello, snapshots, revision) = events.sync().await;
    assert_eq!(hello["cluster"], head.text("hermes-cluster"));
    assert_eq!(hello["progress_interval"], 5);
    assert_eq!(
        (whole(&hello["revision"]), revision),
        (head.revision(), head.revision())
    );
    let stream = hello["stream"].as_str().unwrap();
    assert!(
        stream.len() == 32 && stream.bytes().all(|b| b.is_ascii_hexdigit()),
        "{stream}"
    );
    let found: Vec<_> = snapshots
        .iter()
        .map(|s| {
            (
                s["service_name"].as_str().unwrap(),
                each(&s["endpoints"], "id"),
            )
        })
        .collect();
    assert_eq!(
        found,
        [("db", vec!["a"]), ("gone", vec![]), ("web", vec!["a", "b"])]
    );
    assert_eq!(
        (&snapshots[1]["emptied"], &snapshots[2]["emptied"]),
        (&json!("deregistered"), &json!(null))
    );
    let all = client
        .get(&format!("{WEB}?include_unhealthy=true"))
        .await
        .json();
    assert_eq!(snapshots[2]["endpoints"], all["endpoints"]);
    assert_eq!(snapshots[2]["revision"], all["revision"]);
    for snapshot in &snapshots {
        snapshot["endpoints"]
            .as_array()
            .unwrap()
            .iter()
            .for_each(shape::check_endpoint);
    }
    let other = Events::open(server.address, "").await.hello().await;
    assert_ne!(other["stream"], hello["stream"]);
}

#[tokio::test]
async fn the_greeting_says_when_to_come_back() {
    let (server, _client) = started().await;
    let mut seen = Vec::new();
    for _ in 0..10 {
        let hello = Events::open(server.address, "").await.next().await;
        let retry = hello.retry.unwrap();
        assert!((1_000..=5_000).contains(&retry), "{retry}");
        seen.push(retry);
    }
    assert!(
        seen.iter().any(|retry| *retry != seen[0]),
        "not jittered: {seen:?}"
    );
}

#[tokio::test]
async fn every_kind_of_change_is_heard_with_who_and_why() {
    let (server, mut client) = started().await;
    let mut events = Events::open(server.address, "service=Web").await;
    assert_eq!(events.sync().await.1, Vec::<Value>::new());
    let check = json!([{"type": "heartbeat", "interval": 3600, "timeout": 3600}]);
    let me = client.stream.local_addr().unwrap().to_string();
    let register = |members: Value| {
        let mut body = json!({"host": "a", "port": 1, "ttl": null, "checks": check});
        for (name, value) in members.as_object().unwrap() {
            body[name] = value.clone();
        }
        Call::new("PUT", A).json(&body)
    };
    let cases = [
        (register(json!({})), "registered", me.as_str()),
        (
            Call::new("PUT", &format!("{A}/heartbeat")),
            "health",
            "probe",
        ),
        (register(json!({"weight": 3})), "updated", &me),
        (
            Call::new("PATCH", A).json(&json!({"zone": "z"})),
            "updated",
            &me,
        ),
        (
            Call::new("PUT", &format!("{A}/drain")).json(&json!({"reason": "why not"})),
            "drain",
            &me,
        ),
        (Call::new("DELETE", &format!("{A}/drain")), "drain", &me),
        (register(json!({"port": 2})), "registered", &me),
        (Call::new("DELETE", A), "deregistered", &me),
        (register(json!({"ttl": 1})), "registered", &me),
        (Call::get("/health"), "expired", "lease"),
    ];
    for (call, kind, actor) in cases {
        let answer = client.send(call).await;
        assert!(answer.status < 300, "{answer:?}");
        let event = events.expect("change").await;
        let change = event.json();
        shape::check(&change, shape::CHANGE);
        shape::check(&change["cause"], shape::CAUSE);
        assert_eq!(gist(&change), [kind, "web", "a"]);
        assert_eq!(
            (&change["namespace"], &change["actor"]),
            (&json!("default"), &json!(actor))
        );
        assert_eq!(event.id, change["revision"].as_u64());
        assert_eq!(change["service_revision"], change["revision"]);
        if matches!(kind, "deregistered" | "expired") {
            assert_eq!(change["endpoint"], json!(null));
            continue;
        }
        let endpoint = &change["endpoint"];
        shape::check_endpoint(endpoint);
        assert_eq!(endpoint["revision"], change["revision"]);
        assert_eq!(endpoint["incarnation"], change["incarnation"]);
        if kind == "drain" && endpoint["ready"] == false {
            assert_eq!(change["cause"]["detail"], "why not");
        }
    }
}

#[tokio::test]
async fn a_forgotten_service_is_deregistered_piece_by_piece_and_then_forgotten() {
    let (server, mut client) = started().await;
    client.register("web", "a").await;
    client.register("web", "b").await;
    let mut events = Events::open(server.address, "service=web").await;
    events.sync().await;
    client.delete(WEB).await.must_be(204);
    for gone in [["deregistered", "web", "a"], ["deregistered", "web", "b"]] {
        assert_eq!(gist(&events.change().await), gone);
    }
    let last = events.change().await;
    assert_eq!(gist(&last), ["forgotten", "web", "-"]);
    assert_eq!(
        (&last["id"], &last["endpoint"]),
        (&json!(null), &json!(null))
    );
    // It has no incarnation either, being no endpoint.
    assert_eq!(last["incarnation"], json!(null));
}

#[tokio::test]
async fn only_what_was_asked_for_is_heard() {
    let (server, mut client) = started().await;
    let put = |service: &str, namespace: &str| {
        let target = format!("/api/v1/services/{service}/endpoints/a?namespace={namespace}");
        Call::new("PUT", &target).json(&json!({"host": "h", "port": 1, "checks": [], "ttl": null}))
    };
    let all = [
        ("web", "default"),
        ("db", "default"),
        ("web", "blue"),
        ("api", "blue"),
        ("last", "default"),
        ("last", "blue"),
    ];
    let cases: [(&str, &[usize]); 7] = [
        ("", &[0, 1, 4]),
        ("service=web&service=last", &[0, 4]),
        ("service=WEB&service=web&service=last", &[0, 4]),
        ("namespace=blue", &[2, 3, 5]),
        ("namespace=Blue&service=web&service=last", &[2, 5]),
        ("namespace=*", &[0, 1, 2, 3, 4, 5]),
        ("namespace=*&service=web&service=last", &[0, 2, 4, 5]),
    ];
    let mut watches = Vec::new();
    for (query, expected) in cases {
        let mut events = Events::open(server.address, query).await;
        assert_eq!(events.sync().await.1, Vec::<Value>::new());
        watches.push((query, events, expected));
    }
    for (service, namespace) in all {
        client.send(put(service, namespace)).await.must_be(201);
    }
    let pair = |of: &Value| -> (String, String) {
        let text = |name: &str| of[name].as_str().unwrap().to_owned();
        (text("service_name"), text("namespace"))
    };
    for (query, events, expected) in &mut watches {
        let mut late = Events::open(server.address, query).await;
        let mut snapshots: Vec<_> = late.sync().await.1.iter().map(pair).collect();
        let mut expected: Vec<_> = expected
            .iter()
            .map(|at| (all[*at].0.to_owned(), all[*at].1.to_owned()))
            .collect();
        for expected in &expected {
            assert_eq!(pair(&events.change().await), *expected, "{query}");
        }
        expected.sort();
        snapshots.sort();
        assert_eq!(snapshots, expected, "{query}");
    }
}

#[tokio::test]
async fn progress_is_said_in_time_and_never_before_its_changes() {
    let server = talkative().await;
    let mut client = server.client().await;
    let mut events = Events::open(server.address, "service=web").await;
    let (hello, _, mut heard) = events.sync().await;
    assert_eq!(hello["progress_interval"], 0.2);
    let mut last = Instant::now();
    for n in 0..10_u64 {
        // Changes of others move the progress on, too.
        let other = whole(&client.register("other", &format!("e{n}")).await["revision"]);
        let mut own = (n % 2 == 0).then_some(());
        if own.is_some() {
            client.register("web", &format!("e{n}")).await;
        }
        loop {
            let event = events.next().await;
            let data = event.json();
            if event.name == "change" {
                let revision = whole(&data["revision"]);
                assert!(revision > heard, "{revision} after progress {heard}");
                heard = revision;
                own = None;
                continue;
            }
            assert_eq!(event.name, "progress");
            shape::check(&data, shape::PROGRESS);
            assert_eq!(event.id, data["revision"].as_u64());
            let revision = whole(&data["revision"]);
            assert!(revision >= heard, "{revision} after {heard}");
            heard = revision;
            // Far above the interval, because the machine may be busy; far below the default.
            assert!(
                last.elapsed() < Duration::from_secs(3),
                "{:?}",
                last.elapsed()
            );
            last = Instant::now();
            if revision >= other && own.is_none() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn progress_that_falls_among_many_changes_runs_ahead_of_none() {
    const WRITES: u64 = 400;
    let tick = Duration::from_millis(1);
    let server = TestServer::with(|config| config.engine.progress_interval = tick).await;
    let mut events = Events::open(server.address, "service=web").await;
    let (_, _, start) = events.sync().await;
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        let mut client = server.client().await;
        writers.spawn(async move {
            for n in 0..WRITES / 4 {
                write(
                    &mut client,
                    "web",
                    &format!("w{writer}"),
                    usize::from(n % 2 == 0),
                )
                .await;
            }
        });
    }
    let (mut heard, mut said, mut changes) = (start, 0, 0);
    while changes < WRITES {
        let event = events.next().await;
        let id = event.id.expect("both have an id");
        if event.name == "change" {
            assert!(id > heard, "change {id} after {heard}");
            changes += 1;
        } else {
            assert!(id >= heard, "progress {id} after {heard}");
            said += 1;
        }
        heard = id;
    }
    assert!(said > 10, "only {said} times");
    writers.join_all().await;
}

/// Eight writers at once, over four services and sixteen endpoints. Each gives back the revisions it
/// made, with the service.
async fn eight_writers(server: &TestServer, writes: usize) -> JoinSet<Vec<(u64, String)>> {
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let mut client = server.client().await;
        writers.spawn(async move {
            let mut written = Vec::new();
            for n in 0..writes {
                let (service, id) = (format!("s{}", n % 4), format!("w{}", writer % 4));
                let revision = write(&mut client, &service, &id, n * 8 + writer).await;
                written.push((revision, service));
            }
            written
        });
    }
    writers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_many_writers_every_change_is_heard_once_and_in_order() {
    const WRITES: usize = 40;
    const EACH: &str = "service=s0&service=s1&service=s2&service=s3";
    let (server, _client) = started().await;
    // Each with the revision after which it hears changes.
    let mut watches = Vec::new();
    for query in ["", "namespace=*", EACH, "service=s1"] {
        let mut events = Events::open(server.address, query).await;
        watches.push((events.sync().await.2, query, events));
    }
    let mut writers = eight_writers(&server, WRITES).await;
    let mut written: BTreeMap<u64, String> = BTreeMap::new();
    // Watches that begin in the middle of it all, with snapshots or without, have no gap between what
    // they begin with and what they hear. As many as there is time for.
    while !writers.is_empty() && watches.len() < 60 {
        let mut events = Events::open(server.address, "").await;
        let from = events.sync().await.2;
        watches.push((from, "snapshots", events));
        let mut events = Events::open(server.address, &format!("since={}", from / 2)).await;
        events.hello().await;
        watches.push((from / 2, "since", events));
        while let Some(done) = writers.try_join_next() {
            written.extend(done.unwrap());
        }
    }
    written.extend(writers.join_all().await.into_iter().flatten());
    assert_eq!(written.len(), 8 * WRITES);
    // And nothing twice: what comes after the last change is the next one.
    let last = write(&mut server.client().await, "s1", "last", 0).await;
    written.insert(last, "s1".to_owned());
    for (from, query, events) in &mut watches {
        for (revision, service) in written.range(*from + 1..) {
            if *query != "service=s1" || service == "s1" {
                let id = events.expect("change").await.id;
                assert_eq!(id, Some(*revision), "{query}, after {from}");
            }
        }
    }
}

/// A run of changes with the frames in which they were first heard.
async fn run_of_changes(server: &TestServer, count: usize) -> (u64, Vec<Event>) {
    let mut client = server.client().await;
    let mut events = Events::open(server.address, "").await;
    let (_, _, start) = events.sync().await;
    for n in 0..count {
        match n % 5 {
            4 => drop(
                client
                    .delete(&format!("/api/v1/services/s{}/endpoints/a", n % 7))
                    .await,
            ),
            _ => drop(write(&mut client, &format!("s{}", n % 7), "a", n).await),
        }
    }
    let last = client.revision().await;
    let mut run = Vec::new();
    while run.last().is_none_or(|event: &Event| event.id < Some(last)) {
        run.push(events.expect("change").await);
    }
    (start, run)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_exactly_after_any_revision_of_five_hundred() {
    const CHANGES: usize = 500;
    // Nothing but changes is said, so that events can be compared byte for byte.
    let server = TestServer::with(|config| config.engine.progress_interval = DEADLINE * 60).await;
    let mut client = server.client().await;
    // Some of the writes take away what is not there, which is no change.
    let (start, run) = run_of_changes(&server, CHANGES * 5 / 4).await;
    assert!(run.len() >= CHANGES, "{}", run.len());
    let run = Arc::new(run);
    let mut from: Vec<u64> = vec![start];
    from.extend(run.iter().filter_map(|event| event.id));
    let cluster = client.get(WEB).await.text("hermes-cluster");
    let mut watches = Vec::new();
    for (at, revision) in from.iter().enumerate() {
        // Three ways to say the same.
        let call = match at % 3 {
            0 => Call::get(&format!("/api/v1/watch?since={revision}")),
            1 => Call::get("/api/v1/watch").header("last-event-id", &revision.to_string()),
            _ => Call::get(&format!("/api/v1/watch?since={revision}&cluster={cluster}")),
        };
        watches.push(Events::send(server.address, call).await);
    }
    // Once more while they are catching up, so that the end of each is seen as well.
    let last = write(&mut client, "s0", "last", 0).await;
    let mut readers = JoinSet::new();
    for (at, mut events) in watches.into_iter().enumerate() {
        let run = Arc::clone(&run);
        readers.spawn(async move {
            assert_eq!(events.next().await.name, "hello");
            for expected in &run[at..] {
                events.expect_frame(&expected.frame).await;
            }
            assert_eq!(events.expect("change").await.id, Some(last));
        });
    }
    readers.join_all().await;
}

#[tokio::test]
async fn whoever_is_at_the_newest_revision_hears_no_snapshot() {
    let (server, mut client) = started().await;
    client.register("web", "a").await;
    let revision = client.revision().await;
    let mut events = Events::open(server.address, &format!("since={revision}")).await;
    assert_eq!(whole(&events.hello().await["revision"]), revision);
    client.register("web", "b").await;
    assert_eq!(gist(&events.change().await), ["registered", "web", "b"]);
}

#[tokio::test]
async fn the_last_event_id_of_a_browser_wins_over_the_url_it_was_given() {
    let (server, mut client) = started().await;
    let first = whole(&client.register("web", "a").await["revision"]);
    let second = whole(&client.register("web", "b").await["revision"]);
    let last = whole(&client.register("web", "c").await["revision"]);
    let call = Call::get(&format!("/api/v1/watch?since={first}"))
        .header("last-event-id", &second.to_string());
    let mut events = Events::send(server.address, call).await;
    events.hello().await;
    assert_eq!(whole(&events.change().await["revision"]), last);
    for id in ["", "x", "-1", "1.5", "18446744073709551616"] {
        let call = Call::get("/api/v1/watch").header("last-event-id", id);
        let problem = client.send(call).await.problem(400, "invalid_field");
        assert_eq!(problem["field"], "Last-Event-ID", "{id:?}");
    }
}

/// Reads a reset with its snapshots. Gives back the reason, and the services.
async fn reset(events: &mut Events) -> (String, Vec<String>) {
    let event = events.expect("reset").await;
    assert_eq!(event.id, None);
    let data = event.json();
    shape::check(&data, shape::RESET);
    let (snapshots, revision) = events.snapshots().await;
    assert_eq!(data["revision"], revision);
    let services = snapshots
        .iter()
        .map(|snapshot| text(&snapshot["service_name"]));
    (text(&data["reason"]), services.collect())
}

#[tokio::test]
async fn a_resume_point_of_elsewhere_or_of_the_future_is_reset_on_the_same_stream() {
    let (server, mut client) = started().await;
    client.register("web", "a").await;
    for n in 0..3 {
        let revision = client.revision().await;
        let (query, reason) = match n {
            0 => (
                format!("since={revision}&cluster=0123456789abcdef"),
                "cluster",
            ),
            1 => (format!("since={}", revision + 1), "ahead"),
            _ => (format!("since={}", u64::MAX), "ahead"),
        };
        let mut events = Events::open(server.address, &query).await;
        events.hello().await;
        let told = reset(&mut events).await;
        assert_eq!(told, (reason.to_owned(), vec!["web".to_owned()]), "{query}");
        let next = write(&mut client, "web", "b", n).await;
        assert_eq!(events.expect("change").await.id, Some(next), "{query}");
    }
}

#[tokio::test]
async fn a_resume_point_that_the_feed_has_dropped_is_compacted() {
    let server = TestServer::with(|config| config.engine.feed_changes_max = 10).await;
    let mut client = server.client().await;
    let mut revisions = Vec::new();
    for n in 0..30 {
        revisions.push(write(&mut client, "web", "a", n).await);
    }
    for (at, revision) in revisions.iter().enumerate() {
        let mut events = Events::open(server.address, &format!("since={revision}")).await;
        events.hello().await;
        if at + 1 + 10 < revisions.len() {
            assert_eq!(
                reset(&mut events).await,
                ("compacted".to_owned(), vec!["web".to_owned()])
            );
            continue;
        }
        for expected in &revisions[at + 1..] {
            assert_eq!(whole(&events.change().await["revision"]), *expected);
        }
    }
}

/// A server on a log in `directory`, whose feed holds ten changes, and which writes its state down
/// after `snapshot_changes`.
async fn durable(directory: &Path, snapshot_changes: u64, horizon_changes: u64) -> TestServer {
    TestServer::with(|config| {
        config.engine.feed_changes_max = 10;
        config.log = LogConfig::on_disk(
            directory.to_owned(),
            log::Options {
                snapshot_changes,
                horizon_changes,
                ..log::Options::default()
            },
        );
    })
    .await
}

#[tokio::test]
async fn what_the_feed_has_dropped_is_heard_from_the_log_also_after_a_restart() {
    const CHANGES: usize = 700;
    let directory = tempfile::tempdir().expect("a directory can be made");
    let server = durable(directory.path(), 300, 1_000_000).await;
    let mut client = server.client().await;
    let mut revisions = Vec::new();
    for n in 0..CHANGES {
        let service = if n % 5 == 0 { "web" } else { "api" };
        revisions.push(write(&mut client, service, "a", n).await);
    }
    let assert_all_heard = async |server: &TestServer, revisions: &[u64]| {
        for at in [0, 1, 300, 689, 690, 699] {
            let since = revisions[at];
            let mut events = Events::open(server.address, &format!("since={since}")).await;
            events.hello().await;
            for (n, expected) in revisions.iter().enumerate().skip(at + 1) {
                let change = events.change().await;
                assert_eq!(whole(&change["revision"]), *expected, "after {since}");
                assert_eq!(change["endpoint"]["metadata"]["n"], n);
            }
        }
        // Only what is of interest, and to its end.
        let mut events = Events::open(server.address, "since=1&service=web").await;
        events.hello().await;
        for expected in revisions.iter().take(CHANGES).step_by(5).skip(1) {
            assert_eq!(whole(&events.change().await["revision"]), *expected);
        }
    };
    assert_all_heard(&server, &revisions).await;
    drop(client);
    server.stopped().await;
    let server = durable(directory.path(), 300, 1_000_000).await;
    assert_all_heard(&server, &revisions).await;
    let mut client = server.client().await;
    for n in CHANGES..CHANGES + 50 {
        revisions.push(write(&mut client, "api", "a", n).await);
    }
    assert_all_heard(&server, &revisions).await;
}

#[tokio::test]
async fn whoever_is_beyond_the_horizon_of_the_log_is_told_and_whoever_is_not_hears_no_gap() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let server = durable(directory.path(), 20, 60).await;
    let mut client = server.client().await;
    let first = write(&mut client, "web", "a", 0).await;
    let mut last = first;
    // What is let go of is let go of beside the writing.
    let is_there = |revision: u64| directory.path().join(format!("changes-{revision:020}.log"));
    let until = Instant::now() + DEADLINE;
    let mut n = 0;
    while is_there(0).exists() || n < 300 {
        n += 1;
        assert!(Instant::now() < until, "everything is kept for ever");
        last = write(&mut client, "web", "a", n).await;
    }
    let mut events = Events::open(server.address, &format!("since={first}")).await;
    events.hello().await;
    let told = reset(&mut events).await;
    assert_eq!(told, ("compacted".to_owned(), vec!["web".to_owned()]));
    // Within the horizon, and beyond the feed.
    let since = last - 50;
    let mut events = Events::open(server.address, &format!("since={since}")).await;
    events.hello().await;
    for expected in since + 1..=last {
        assert_eq!(whole(&events.change().await["revision"]), expected);
    }
}

/// What the system keeps of its own for a reader that does not read: at most the largest buffer for
/// sending, which Linux has grow up to 4 MiB unless it is told otherwise.
fn system_buffer() -> usize {
    const USUAL: usize = 4 * 1024 * 1024;
    let setting = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_wmem").unwrap_or_default();
    let largest = setting.split_whitespace().last();
    largest
        .and_then(|bytes| bytes.parse().ok())
        .unwrap_or(USUAL)
}

/// A watch over a socket that takes in little before it is read.
async fn narrow_watch(server: &TestServer, query: &str) -> Events {
    let socket = TcpSocket::new_v4().expect("a socket can be had");
    socket
        .set_recv_buffer_size(64 * 1024)
        .expect("a socket can be made small");
    let stream = socket
        .connect(server.address)
        .await
        .expect("the server listens");
    Events::over(
        Client::over(stream),
        Call::get(&format!("/api/v1/watch?{query}")),
    )
    .await
}

#[tokio::test]
async fn who_does_not_read_is_told_so_when_it_reads_again_and_holds_up_nobody() {
    const QUEUE: usize = 16;
    const FEED: usize = 64;
    let server = TestServer::with(|config| {
        config.engine.watcher_changes_max = QUEUE;
        config.engine.watcher_bytes_max = 256 * 1024;
        config.engine.feed_changes_max = FEED;
    })
    .await;
    let mut client = server.client().await;
    let mut slow = narrow_watch(&server, "service=web").await;
    slow.sync().await;
    let mut brisk = Events::open(server.address, "service=web").await;
    brisk.sync().await;
    let (mut first, mut written) = (None, 0);
    let enough = 2 * system_buffer();
    while written * LARGE < enough {
        let status = if written == 0 { 201 } else { 200 };
        let revision = client.tell(&large_write(written), status).await.revision();
        first.get_or_insert(revision);
        written += 1;
        // Those who read hear of each at once.
        assert_eq!(brisk.expect("change").await.id, Some(revision));
    }
    // What was on its way is heard in order, then there is a gap, and it is told.
    let mut heard = 0;
    let told = loop {
        let event = slow.news().await;
        if event.name != "change" {
            break event;
        }
        assert_eq!(event.id, first.map(|first| first + heard));
        heard += 1;
    };
    assert_eq!(
        (told.name.as_str(), &told.json()["reason"]),
        ("reset", &json!("slow"))
    );
    // Nothing was kept for it beyond the system's buffers and its own queue.
    let kept = usize::try_from(heard).unwrap() * LARGE;
    assert!(
        kept < enough * 3 / 4,
        "{kept} bytes were kept for who does not read"
    );
    let (snapshots, revision) = slow.snapshots().await;
    assert_eq!(snapshots[0]["endpoints"][0]["metadata"]["n"], written - 1);
    assert_eq!(revision, client.revision().await);
    let next = write(&mut client, "web", "b", 0).await;
    assert_eq!(slow.expect("change").await.id, Some(next));
}

#[tokio::test]
async fn a_short_queue_that_overflows_is_caught_up_from_the_feed_without_a_gap() {
    // More than fits into the system's buffers and the queue.
    let count = system_buffer() * 5 / 4 / LARGE;
    let server = TestServer::with(|config| {
        config.engine.watcher_changes_max = 4;
        config.engine.progress_interval = Duration::from_millis(200);
    })
    .await;
    let mut client = server.client().await;
    let mut slow = narrow_watch(&server, "").await;
    let (_, _, start) = slow.sync().await;
    for n in 0..count {
        client
            .tell(&large_write(n), if n == 0 { 201 } else { 200 })
            .await;
    }
    for n in 1..=count {
        let id = slow.expect("change").await.id;
        assert_eq!(id.map(|id| id - start), u64::try_from(n).ok());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_watchers_of_one_service_hear_every_change() {
    const WATCHERS: usize = 1_000;
    const CHANGES: usize = 20;
    // Each takes a descriptor at both ends.
    let descriptors = rlimit::increase_nofile_limit(2 * WATCHERS as u64 + 500).unwrap();
    assert!(
        descriptors >= 2 * WATCHERS as u64 + 200,
        "only {descriptors} files may be open"
    );
    let (server, mut client) = started().await;
    client.register("web", "a").await;
    let mut readers = JoinSet::new();
    let (ready, mut all_ready) = tokio::sync::mpsc::channel(WATCHERS);
    for _ in 0..WATCHERS {
        let mut events = Events::open(server.address, "service=web").await;
        let ready = ready.clone();
        readers.spawn(async move {
            events.sync().await;
            ready.send(()).await.unwrap();
            drop(ready);
            let mut heard = Vec::with_capacity(CHANGES);
            while heard.len() < CHANGES {
                heard.push(events.expect("change").await.id.unwrap());
            }
            heard
        });
    }
    drop(ready);
    for at in 0..WATCHERS {
        let one = timeout(DEADLINE, all_ready.recv()).await;
        assert!(
            one.is_ok_and(|one| one.is_some()),
            "only {at} watchers were served"
        );
    }
    let mut written = Vec::new();
    for n in 0..CHANGES {
        client.register("other", &format!("e{n}")).await;
        written.push(write(&mut client, "web", "a", n).await);
    }
    for heard in readers.join_all().await {
        assert_eq!(heard, written);
    }
}

#[tokio::test]
async fn a_stopping_server_says_goodbye_to_everyone() {
    let (mut server, mut client) = started().await;
    client.register("web", "a").await;
    let mut watches = Vec::new();
    for query in ["", "service=web", "namespace=*", "service=unknown"] {
        let mut events = Events::open(server.address, query).await;
        events.sync().await;
        watches.push(events);
    }
    let since = client.revision().await;
    watches.push(Events::open(server.address, &format!("since={since}")).await);
    server.begin_stop();
    watches[4].hello().await;
    for events in &mut watches {
        let event = events.expect("goodbye").await;
        assert_eq!(event.id, None);
        let data = event.json();
        shape::check(&data, shape::GOODBYE);
        assert_eq!(data["reason"], "shutdown");
        assert!((1..=5).contains(&whole(&data["retry"])), "{data}");
        assert_eq!(events.next_or_end().await, None);
    }
    server.stopped().await;
}

#[tokio::test]
async fn beyond_the_limit_of_watchers_one_is_refused_until_another_leaves() {
    // One for the probes, which are a watcher too.
    let server = TestServer::with(|config| config.engine.watchers_max = 3).await;
    let mut client = server.client().await;
    let mut one = Events::open(server.address, "").await;
    one.sync().await;
    let other = Events::open(server.address, "service=web").await;
    let call = Call::get("/api/v1/watch");
    let problem = client
        .send(call.clone())
        .await
        .problem(409, "limit_reached");
    assert_eq!(problem["limit"], json!({"what": "watchers", "max": 3}));
    drop(other);
    let give_up = Instant::now() + DEADLINE;
    loop {
        client.write(&call.to_bytes()).await;
        let head = client.head().await.expect("the server answers");
        if head.status == 200 {
            break;
        }
        assert!(
            Instant::now() < give_up,
            "the place is never given back: {head:?}"
        );
        client = server.client().await;
    }
    server.client().await.register("web", "a").await;
    assert_eq!(gist(&one.change().await), ["registered", "web", "a"]);
}

#[tokio::test]
async fn a_watcher_may_name_as_many_services_as_the_limit_says() {
    let server = TestServer::with(|config| config.http.watch_services = 3).await;
    let mut client = server.client().await;
    let problem = client
        .get("/api/v1/watch?service=a&service=b&service=c&service=d")
        .await;
    let problem = problem.problem(400, "invalid_field");
    assert_eq!(problem["limit"], json!({"what": "service", "max": 3}));
    let mut events = Events::open(server.address, "service=a&service=b&service=c").await;
    events.sync().await;
}

#[tokio::test]
async fn a_watch_of_head_is_a_head_and_no_watch() {
    let (server, mut client) = started().await;
    client
        .write(&Call::new("HEAD", "/api/v1/watch").to_bytes())
        .await;
    let head = client.answer("HEAD").await.unwrap().must_be(200);
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    client.get("/livez").await.must_be(200);
    drop(server);
}
