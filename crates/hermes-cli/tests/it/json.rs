//! `-o json`: the API's own objects, unchanged, one a line.

use serde_json::Value;

use crate::server::Server;

fn objects(server: &Server, arguments: &str) -> Vec<Value> {
    server.run(&format!("{arguments} -o json")).json()
}

#[test]
fn every_command_that_answers_answers_in_json_too() {
    let server = Server::start();
    let registered = objects(
        &server,
        "register web http://127.0.0.1:9 --id a --check none",
    );
    assert_eq!(registered[0]["endpoint"]["id"], "a");
    assert_eq!(registered[0]["heartbeat_interval"], Value::Null);
    assert_eq!(registered[0]["changed"], true);
    let again = objects(
        &server,
        "register web http://127.0.0.1:9 --id a --check none",
    );
    assert_eq!(again[0]["changed"], false);

    let services = objects(&server, "services");
    assert_eq!(services[0]["services"][0]["name"], "web");
    let endpoints = objects(&server, "endpoints web");
    assert_eq!(endpoints[0]["endpoints"][0]["ready"], true);
    let resolved = objects(&server, "resolve web");
    assert_eq!(resolved[0]["selected_url"], "http://127.0.0.1:9");
    let selected = objects(&server, "select web --limit 3");
    assert_eq!(selected[0]["selected_id"], "a");
    let status = objects(&server, "status");
    assert_eq!(status[0]["health"]["status"], "ok");
    assert_eq!(status[0]["services"][0]["services"][0]["total"], 1);
    for answers in [services, endpoints, resolved, selected, status] {
        assert_eq!(answers.len(), 1, "one object, one line");
    }
}

#[test]
fn an_empty_registry_is_an_empty_list_and_not_silence() {
    let server = Server::start();
    assert_eq!(
        objects(&server, "services")[0]["services"],
        Value::Array(Vec::new())
    );
    server
        .run("services")
        .exits(0)
        .prints(&[])
        .says("no services");
}

#[test]
fn what_goes_wrong_leaves_stdout_empty() {
    let server = Server::start();
    server.run("resolve web -o json").exits(3).prints(&[]);
}
