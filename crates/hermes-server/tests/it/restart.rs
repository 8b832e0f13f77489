//! A server that stops and comes back on the same directory: what a caller holds is still good.

use std::net::SocketAddr;
use std::path::Path;

use hermes_server::log::{OpenError, Options};
use hermes_server::{Config, LogConfig, Server, StartError};
use serde_json::json;
use tokio::time::timeout;

use crate::client::{Call, Client, DEADLINE, GLANCE};
use crate::server::TestServer;

const SERVICES: &str = "/api/v1/services";

/// A server on a directory; waits until whoever held it has let go of it.
async fn on(directory: &Path, options: &Options) -> (TestServer, Client) {
    let server = timeout(DEADLINE, bound_on(directory, options)).await;
    let server = TestServer::of(server.expect("the directory is let go of"));
    let client = server.client().await;
    (server, client)
}

async fn bound_on(directory: &Path, options: &Options) -> Server {
    loop {
        let config = Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            log: LogConfig::on_disk(directory, options.clone()),
            ..Config::default()
        };
        match Server::bind(config).await {
            Err(StartError::Open(OpenError::Held(_))) => tokio::task::yield_now().await,
            bound => return bound.expect("a directory of ours can be used"),
        }
    }
}

#[tokio::test]
async fn a_revision_is_waited_for_across_a_restart_on_every_route() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let options = Options::default();
    let (server, mut client) = on(directory.path(), &options).await;
    client.register("web", "a").await;
    let web = client.get(&format!("{SERVICES}/web")).await;
    let (etag, seen) = (web.etag(), web.json()["revision"].clone());
    server.stopped().await;

    let (server, mut client) = on(directory.path(), &options).await;
    let same = Call::get(&format!("{SERVICES}/web")).header("if-none-match", &etag);
    client.send(same).await.must_be(304);
    let mut pollers = Vec::new();
    for route in ["", "/web", "/web/endpoints", "/web/url", "/web/endpoints/a"] {
        let mut poller = server.client().await;
        let poll = format!("{SERVICES}{route}?revision={seen}&wait=20");
        poller.write(&Call::get(&poll).to_bytes()).await;
        let early = timeout(GLANCE, poller.answer("GET")).await;
        assert!(early.is_err(), "{route}: {early:?}");
        pollers.push(poller);
    }
    let mut unknown = server.client().await;
    let poll = format!("{SERVICES}/late/url?revision={seen}&wait=20");
    unknown.write(&Call::get(&poll).to_bytes()).await;
    let endpoint = client.register("web", "b").await;
    for mut poller in pollers {
        let answer = poller.answer("GET").await.expect("it is answered");
        let answer = answer.must_be(200);
        assert!(answer.revision() >= endpoint["revision"].as_u64().unwrap_or(u64::MAX));
    }
    client.register("late", "a").await;
    unknown
        .answer("GET")
        .await
        .expect("it is answered")
        .must_be(200);
}

#[tokio::test]
async fn the_first_spelling_of_a_name_is_kept_until_the_name_is_forgotten() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    // The second change brings a snapshot, so that both ways through the log are gone.
    let options = Options {
        snapshot_changes: 2,
        ..Options::default()
    };
    let (mut server, mut client) = on(directory.path(), &options).await;
    client.register("Memory_Store", "a").await;
    client.register("MEMORY_STORE", "b").await;
    for restarts in 0..3 {
        let list = client.get(SERVICES).await.json();
        let web = client.get(&format!("{SERVICES}/memory-STORE")).await.json();
        for (name, service) in [("name", &list["services"][0]), ("service_name", &web)] {
            assert_eq!(service[name], "memory-store", "{restarts}");
            assert_eq!(service["given_name"], "Memory_Store", "{restarts}");
        }
        server.stopped().await;
        (server, client) = on(directory.path(), &options).await;
    }
    client
        .delete(&format!("{SERVICES}/memory-store"))
        .await
        .must_be(204);
    client.register("memory-STORE", "a").await;
    let list = client.get(SERVICES).await.json();
    assert_eq!(list["services"][0]["given_name"], "memory-STORE");
    let chosen = client
        .post(&format!("{SERVICES}/memory-store/select"), &json!({}))
        .await;
    assert_eq!(chosen.json()["given_name"], "memory-STORE");
}
