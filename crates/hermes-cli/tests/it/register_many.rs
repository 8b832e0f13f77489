//! `hermes register -f`: many endpoints at once, or everything that is wrong about them.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::command::{end, hermes};
use crate::scripted::{Scripted, answer};
use crate::server::Server;

const FILE: &str = "\
services:
  memory-store: http://127.0.0.1:9001
  web:
    - {id: web-1, url: 'http://127.0.0.1:9002', checks: [], tags: [eu]}
    - {id: web-2, host: 127.0.0.1, port: 9003, checks: [], ttl: 1h}
";

#[test]
fn what_a_file_names_is_registered_and_again_nothing_changes() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("services.yaml");
    fs::write(&path, FILE).unwrap();
    let register = format!("register -f {}", path.display());
    let ran = server.run(&register).exits(0);
    let first: Vec<Vec<&str>> = ran
        .out
        .lines()
        .map(|line| line.split_whitespace().take(5).collect())
        .collect();
    assert_eq!(
        first,
        [
            ["SERVICE", "ID", "URL", "WHAT", "READY"],
            [
                "memory-store",
                "127.0.0.1:9001",
                "http://127.0.0.1:9001",
                "registered",
                "no"
            ],
            ["web", "web-1", "http://127.0.0.1:9002", "registered", "yes"],
            ["web", "web-2", "http://127.0.0.1:9003", "registered", "yes"],
        ]
    );
    let again = server.run(&format!("{register} -o json")).exits(0).json();
    assert_eq!(again.len(), 3, "the API's objects, one a line");
    assert!(
        again.iter().all(|answer| answer["changed"] == false),
        "{again:?}"
    );
    // Static unless the file says otherwise.
    let ttls: Vec<_> = again.iter().map(|a| a["endpoint"]["ttl"].clone()).collect();
    assert_eq!(
        ttls,
        [
            serde_json::json!(null),
            serde_json::json!(null),
            serde_json::json!(3600)
        ]
    );
}

#[test]
fn a_file_may_come_through_a_pipe() {
    let server = Server::start();
    let mut command = hermes("register -f - -o json --namespace lab");
    command.env("HERMES_ADDR", &server.url);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(FILE.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
    server.run("resolve web --namespace lab").exits(0);
}

#[test]
fn a_file_with_faults_registers_nothing_and_tells_all_of_them() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("services.yaml");
    fs::write(
        &path,
        FILE.replace("9003", "99999")
            .replace("tags: [eu]", "tag: [eu]"),
    )
    .unwrap();
    let shown = path.display();
    server
        .run(&format!("register -f {shown}"))
        .exits(2)
        .prints(&[])
        .says(&format!(
            "2 things in {shown} are wrong; nothing was registered"
        ))
        .says(&format!(
            "{shown}:4:61: web: There is no member `tag` here. Did you mean `tags`?"
        ))
        .says(&format!("{shown}:5:42: web: `/port`"));
    assert_eq!(server.run("services").out, "");
    server
        .run(&format!("register -f {shown}.none"))
        .exits(1)
        .says("cannot be read");
    server.run(&format!("register web -f {shown}")).exits(2);
    server
        .run(&format!("register -f {shown} --ttl 5s"))
        .exits(2);
}

#[test]
fn what_the_server_refuses_does_not_hold_up_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("services.yaml");
    fs::write(&path, FILE).unwrap();
    let refusal = "{\"code\": \"limit_reached\", \"status\": 409, \"detail\": \"It is full.\"}";
    let good = "{\"endpoint\": {\"name\": \"web\", \"namespace\": \"default\", \"id\": \"w\", \
        \"incarnation\": 1, \"host\": \"h\", \"port\": 1, \"url\": \"http://h:1\", \"ports\": {}, \
        \"environment\": \"local\", \"health_status\": \"healthy\", \"health_reason\": \"\", \
        \"ready\": true, \"flags\": [], \"last_heartbeat\": \"\", \"registered_at\": \"\", \
        \"since\": \"\", \"ttl\": null, \"metadata\": {}, \"tags\": [], \"zone\": null, \
        \"weight\": 100, \"revision\": 1}, \"heartbeat_interval\": null, \"changed\": true}";
    let api = "application/json\r\nhermes-cluster: 00000000000000ab";
    let problem = "application/problem+json";
    let server = Scripted::start(vec![
        answer("409 Conflict", problem, refusal),
        answer("201 Created", api, good),
    ]);
    let mut command = hermes(&format!("register -f {}", path.display()));
    // The third finds nobody there any more.
    let ran = end(command.env("HERMES_ADDR", &server.url));
    ran.exits(6)
        .shows("web      w   http://h:1  registered")
        .says("1 of 3 were registered");

    let server = Scripted::start(vec![
        answer("409 Conflict", problem, refusal),
        answer("201 Created", api, good),
        answer("201 Created", api, good),
    ]);
    let mut command = hermes(&format!("register -f {}", path.display()));
    let ran = end(command.env("HERMES_ADDR", &server.url));
    ran.exits(1)
        .says("the server refused 1 of 3")
        .says("memory-store: It is full.");
}
