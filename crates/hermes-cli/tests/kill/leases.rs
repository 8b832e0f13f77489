//! Leases across a kill, by the clock on the wall.

use std::time::Duration;

use hermes_discovery::client::{ClientError, Method};
use tokio::time::{Instant, sleep, sleep_until};

use crate::server::{DEADLINE, Server, endpoint};

const MOMENT: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_begins_anew_after_a_kill_and_then_ends() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), "").await;
    server.register("web", "a", r#", "ttl": 2"#).await.unwrap();
    // Most of its TTL, by the clock on the wall.
    sleep(Duration::from_millis(1_500)).await;
    server.kill().await;
    let killed = Instant::now();
    let server = Server::start(directory.path(), "").await;
    // Its TTL since the registration has passed by then, and that since the start has not.
    sleep_until(killed + Duration::from_millis(1_700)).await;
    let found = server.detail("web", "a").await;
    // On a machine that stood still the new one has run out as well.
    if killed.elapsed() < Duration::from_secs(2) {
        found.unwrap();
    }
    expires(&server, "web", "a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accepted_heartbeat_keeps_an_endpoint_for_its_ttl() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), "").await;
    server.register("web", "a", r#", "ttl": 1"#).await.unwrap();
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        let sent = Instant::now();
        let beat = beat(&server, "").await;
        let found = server.detail("web", "a").await;
        // On a machine that stood still nothing was promised.
        if sent.elapsed() > Duration::from_millis(900) {
            return;
        }
        beat.unwrap();
        found.unwrap();
        sleep(MOMENT).await;
    }
    expires(&server, "web", "a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeat_of_an_older_incarnation_is_refused_before_and_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), "").await;
    server.register("web", "a", "").await.unwrap();
    let older = server.detail("web", "a").await.unwrap()["incarnation"].clone();
    let moved = r#"{"host": "10.0.0.2", "port": 80, "checks": []}"#;
    let route = endpoint("web", "a");
    server.ask(Method::PUT, &route, moved).await.unwrap();
    let of_older = format!(r#"{{"incarnation": {older}}}"#);
    let refused = beat(&server, &of_older).await.unwrap_err();
    assert_eq!(refused.code(), Some("incarnation_stale"));
    server.kill().await;
    let server = Server::start(directory.path(), "").await;
    let refused = beat(&server, &of_older).await.unwrap_err();
    assert_eq!(refused.code(), Some("incarnation_stale"));
    let newer = server.detail("web", "a").await.unwrap()["incarnation"].clone();
    let of_newer = format!(r#"{{"incarnation": {newer}}}"#);
    beat(&server, &of_newer).await.unwrap();
}

async fn beat(server: &Server, body: &str) -> Result<(), ClientError> {
    let route = endpoint("web", "a").segment("heartbeat");
    server.ask(Method::PUT, &route, body).await.map(drop)
}

/// Waits until an endpoint has expired.
pub(crate) async fn expires(server: &Server, service: &str, id: &str) {
    let until = Instant::now() + DEADLINE;
    loop {
        match server.detail(service, id).await {
            Err(error) if error.code() == Some("endpoint_gone") => return,
            other => assert!(Instant::now() < until, "it does not expire: {other:?}"),
        }
        sleep(MOMENT).await;
    }
}
