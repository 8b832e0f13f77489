//! Many who write the same endpoint at the same time: each is told the truth.

use hermes_discovery::client::{Client, Method};
use serde_json::json;
use tokio::task::JoinSet;

use crate::server::{Server, endpoint};

/// More than go into the metadata of one endpoint would be refused for another reason.
const CROWD: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_many_override_at_the_same_time_holds_together_and_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), "").await;
    server
        .register("web", "a", r#", "ttl": null"#)
        .await
        .unwrap();
    let mut crowd = JoinSet::new();
    for n in 0..CROWD {
        let client = Client::new(server.client.address()).unwrap();
        crowd.spawn(async move {
            let body = json!({"metadata": {format!("m{n}"): n}}).to_string();
            let merge = [("content-type", "application/merge-patch+json")];
            let route = endpoint("web", "a");
            client
                .request(Method::PATCH, &route, &merge, body.into())
                .await
        });
    }
    for answer in crowd.join_all().await {
        answer.unwrap();
    }
    server.kill().await;
    let server = Server::start(directory.path(), "").await;
    let detail = server.detail("web", "a").await.unwrap();
    for n in 0..CROWD {
        assert_eq!(detail["metadata"][format!("m{n}")], n, "{detail}");
    }
}
