//! The first five minutes of the README, with the server killed at their end: it comes back as if
//! nothing had been.

use std::time::Duration;

use hermes_discovery::client::{Method, Path as Route};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::server::{DEADLINE, Server, endpoint, number, service_route};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_under_the_walk_through_comes_back_as_if_nothing_had_been() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), "").await;
    let ((one, _one), (two, two_runs)) = (web_server().await, web_server().await);
    for (id, port) in [("web-1", one), ("web-2", two)] {
        let url = format!("http://127.0.0.1:{port}");
        let check = json!({"type": "http", "interval": 1});
        let body = json!({"url": url, "ttl": null, "checks": [check]}).to_string();
        let route = endpoint("web", id);
        server.ask(Method::PUT, &route, &body).await.unwrap();
    }
    for id in ["web-1", "web-2"] {
        until_health(&server, id, "healthy").await;
    }
    two_runs.abort();
    until_health(&server, "web-2", "unhealthy").await;
    let worker = json!({"url": format!("http://127.0.0.1:{one}"), "ttl": 10, "checks": []});
    let route = endpoint("worker", "worker-1");
    let answer = server.ask(Method::PUT, &route, &worker.to_string()).await;
    let last = number(&answer.unwrap(), "hermes-revision").unwrap();
    let before = picture(&server).await;

    server.kill().await;
    let server = Server::start(directory.path(), "").await;
    assert_eq!(picture(&server).await, before);
    let url = service_route("web").segment("url");
    for _ in 0..4 {
        let answer = server.client.get(&url).await.unwrap();
        let chosen: Value = answer.read(serde_json::from_slice).unwrap();
        assert_eq!(chosen["selected_url"], format!("http://127.0.0.1:{one}"));
    }
    let beat = route.segment("heartbeat");
    server.ask(Method::PUT, &beat, "").await.unwrap();
    // A watcher that had heard everything hears nothing again, and then what is new.
    let watch = Route::new("/api/v1/watch").query("since", &last.to_string());
    let mut events = server.client.events(&watch, &[]).await.unwrap();
    server.register("new", "a", "").await.unwrap();
    let heard = loop {
        let event = timeout(DEADLINE, events.next()).await.unwrap();
        let event = event.unwrap().unwrap();
        if !["hello", "progress"].contains(&event.event.as_str()) {
            break event;
        }
    };
    assert_eq!(heard.event, "change");
    let change: Value = serde_json::from_str(&heard.data).unwrap();
    assert_eq!(
        (&change["service_name"], &change["id"]),
        (&json!("new"), &json!("a"))
    );
}

/// Everything that the walk-through made, without what moves without a change.
async fn picture(server: &Server) -> Vec<Value> {
    let mut all = Vec::new();
    for (service, id) in [("web", "web-1"), ("web", "web-2"), ("worker", "worker-1")] {
        let mut detail = server.detail(service, id).await.unwrap();
        for moving in ["last_heartbeat", "lease"] {
            detail.as_object_mut().unwrap().remove(moving);
        }
        for check in detail["checks"].as_array_mut().unwrap() {
            for moving in ["last_probe", "next_action"] {
                check.as_object_mut().unwrap().remove(moving);
            }
        }
        all.push(detail);
    }
    all
}

async fn until_health(server: &Server, id: &str, health: &str) {
    let until = Instant::now() + DEADLINE;
    loop {
        let detail = server.detail("web", id).await.unwrap();
        if detail["health_status"] == health {
            return;
        }
        assert!(
            Instant::now() < until,
            "{id} does not become {health}: {detail}"
        );
        sleep(Duration::from_millis(20)).await;
    }
}

/// A program that is well as long as its task runs, and its port.
async fn web_server() -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _peer)) = listener.accept().await {
            let mut request = [0; 1_024];
            let has_asked = stream.read(&mut request).await;
            if has_asked.is_ok_and(|bytes| bytes > 0) {
                let well = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
                // A probe that goes away is not missed.
                stream.write_all(well).await.ok();
            }
        }
    });
    (port, serving)
}
