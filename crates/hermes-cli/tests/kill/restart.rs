//! What a start makes of a directory whose files are settled: the last change, a snapshot alone, the
//! edge of the horizon.

use std::fs;
use std::path::Path;
use std::time::Duration;

use hermes_discovery::client::{Event, Method, Path as Route};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::server::{DEADLINE, Server, endpoint, number, service_route};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_change_before_a_kill_is_there_and_its_revision_is_not_given_out_again() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), "").await;
    server
        .register("web", "a", r#", "ttl": null"#)
        .await
        .unwrap();
    server.kill().await;
    let server = Server::start(directory.path(), "").await;
    server.detail("web", "a").await.unwrap();
    let removed = server
        .ask(Method::DELETE, &endpoint("web", "a"), "")
        .await
        .unwrap();
    let removed_at = number(&removed, "hermes-revision").unwrap();
    server.kill().await;
    let server = Server::start(directory.path(), "").await;
    let gone = server.detail("web", "a").await.unwrap_err();
    assert_eq!(gone.code(), Some("endpoint_gone"));
    server
        .register("web", "b", r#", "ttl": null"#)
        .await
        .unwrap();
    let next = server.detail("web", "b").await.unwrap();
    assert!(
        next["revision"].as_u64() > Some(removed_at),
        "{next} after {removed_at}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_alone_carries_the_revisions_the_tags_and_who_is_gone() {
    const SETTINGS: &str = "--snapshot-changes 1 --horizon-changes 1";
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), SETTINGS).await;
    server
        .register("web", "kept", r#", "ttl": null"#)
        .await
        .unwrap();
    let until = Instant::now() + DEADLINE;
    let revision = loop {
        assert!(Instant::now() < until, "{:?}", names(directory.path()));
        server
            .register("web", "gone", r#", "ttl": null"#)
            .await
            .unwrap();
        // While one snapshot is being written no other is begun.
        sleep(Duration::from_millis(20)).await;
        let removed = server
            .ask(Method::DELETE, &endpoint("web", "gone"), "")
            .await
            .unwrap();
        let revision = number(&removed, "hermes-revision").unwrap();
        if is_snapshot_alone(directory.path(), revision).await {
            break revision;
        }
    };
    let route = service_route("web").query("include_unhealthy", "true");
    let before = server.client.get(&route).await.unwrap();
    server.kill().await;
    let server = Server::start(directory.path(), SETTINGS).await;
    let tag = [("if-none-match", before.header("etag").unwrap())];
    let after = server
        .client
        .request(Method::GET, &route, &tag, Vec::new().into());
    let after = after.await.unwrap();
    assert_eq!(
        (after.status, number(&after, "hermes-revision")),
        (304, Some(revision))
    );
    server.detail("web", "kept").await.unwrap();
    let gone = server.detail("web", "gone").await.unwrap_err();
    assert_eq!(gone.code(), Some("endpoint_gone"));
    let said = server.kill().await.join("\n");
    assert!(!said.contains("ERROR"), "nothing is wrong with it:\n{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_within_the_horizon_resumes_and_whoever_is_not_is_told() {
    const SETTINGS: &str = "--snapshot-changes 10 --horizon-changes 100";
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), SETTINGS).await;
    server
        .register("web", "a", r#", "ttl": null"#)
        .await
        .unwrap();
    write(&server, 2..=60).await;
    server.kill().await;
    let server = Server::start(directory.path(), SETTINGS).await;
    let heard = heard_after(&server, 5, 55).await;
    let expected: Vec<String> = (6..=60)
        .map(|revision| format!("change {revision}"))
        .collect();
    assert_eq!(heard, expected);
    write(&server, 61..=260).await;
    server.kill().await;
    let server = Server::start(directory.path(), SETTINGS).await;
    let heard = heard_after(&server, 5, 3).await;
    assert_eq!(heard, ["reset ", "snapshot ", "synced 260"]);
}

/// Writes one change for each revision.
async fn write(server: &Server, revisions: std::ops::RangeInclusive<u64>) {
    for revision in revisions {
        let body = json!({"reason": format!("{revision}")}).to_string();
        let route = endpoint("web", "a").segment("drain");
        let answer = server.ask(Method::PUT, &route, &body).await.unwrap();
        assert_eq!(number(&answer, "hermes-revision"), Some(revision));
    }
}

/// The first events after `hello` that a watcher hears who resumes, by their names and ids; fewer
/// when there are no more.
async fn heard_after(server: &Server, revision: u64, count: usize) -> Vec<String> {
    let route = Route::new("/api/v1/watch").query("since", &revision.to_string());
    let mut events = server.client.events(&route, &[]).await.unwrap();
    let mut heard = Vec::new();
    while heard.len() < count {
        let event = timeout(DEADLINE, events.next()).await.unwrap();
        let Event { id, event, .. } = event.unwrap().unwrap();
        if event == "progress" {
            break;
        }
        if event != "hello" {
            heard.push(format!("{event} {}", id.unwrap_or_default()));
        }
    }
    heard
}

/// Whether the state was written down at `revision` and the first changes are no longer there.
async fn is_snapshot_alone(directory: &Path, revision: u64) -> bool {
    let wanted = format!("state-{revision:020}.snapshot");
    for _ in 0..50 {
        let names = names(directory);
        if names.contains(&wanted) && !names.contains(&format!("changes-{:020}.log", 0)) {
            return true;
        }
        sleep(Duration::from_millis(5)).await;
    }
    false
}

fn names(directory: &Path) -> Vec<String> {
    let files = fs::read_dir(directory).unwrap();
    let name = |file: std::io::Result<fs::DirEntry>| file.ok()?.file_name().into_string().ok();
    files.filter_map(name).collect()
}
