//! A life as it should be: registered, kept, drained, deregistered.

use std::io::Write;
use std::process::Stdio;

use super::{resolve, run, run_program, until_registered, web};
use crate::command::{Running, end};
use crate::program::ask;
use crate::server::Server;

#[test]
fn a_program_is_registered_when_it_accepts_connections_and_drained_before_it_ends() {
    let server = Server::start();
    let mut watch = server.start_command("watch web -o json");
    watch.out.until_json(|event| event["event"] == "synced");
    let options = "--name web --port auto --drain-time 300ms --tag eu --metadata version=2 \
                   --check http:/health --check-interval 1s";
    let mut running = Running::start(run_program(&server.url, options));
    running.out.until(|line| line.contains("listening on "));
    let (id, url) = until_registered(&mut running);
    watch.out.until_json(|event| {
        let endpoint = &event["data"]["endpoint"];
        endpoint["ready"] == true && endpoint["id"] == *id
    });
    assert_eq!(resolve(&server, "web"), url);
    let port = url.rsplit(':').next().unwrap();
    assert!(
        id.starts_with("web-") && id.ends_with(&format!("-{port}")),
        "{id}"
    );
    assert_eq!(ask(&url, "/env/port").unwrap(), port);
    assert_eq!(ask(&url, "/env/hermes_addr").unwrap(), server.url);
    let shown = server.run("endpoints web -o json").exits(0).json();
    let endpoint = &shown[0]["endpoints"][0];
    assert_eq!(endpoint["ttl"], 10);
    assert_eq!(endpoint["tags"][0], "eu");
    assert_eq!(endpoint["metadata"]["version"], "2");

    running.signal("TERM");
    let kinds = ["drain", "deregistered"];
    for kind in kinds {
        watch.out.until_json(|event| event["data"]["type"] == kind);
    }
    assert_eq!(running.wait().code(), Some(143));
    server.run("resolve web").exits(7);
}

#[test]
fn heartbeats_outlast_the_lease() {
    let server = Server::start();
    let _running = web(&server, "--ttl 1s");
    let mut watch = server.start_command("watch -o json");
    watch.out.until_json(|event| event["event"] == "synced");
    // Nobody sends heartbeats for this one. Until it is gone the other has had twice its lease.
    let silent = "register silent http://127.0.0.1:9 --check none --ttl 2s";
    server.run(silent).exits(0);
    watch.out.until_json(|event| {
        let change = &event["data"];
        let is_gone = change["type"] == "expired";
        assert!(!is_gone || change["service_name"] == "silent", "{change}");
        is_gone
    });
    server.run("resolve web").exits(0);
}

#[test]
fn a_fixed_port_is_told_and_a_taken_one_refused() {
    let server = Server::start();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    let options = format!("--name web --port {port} --check none");
    let taken = end(&mut run_program(&server.url, &options)).exits(125);
    taken.says("somebody else accepts connections").says("auto");
    drop(free);
    let mut running = Running::start(run_program(&server.url, &options));
    let (_, url) = until_registered(&mut running);
    assert_eq!(ask(&url, "/env/port").unwrap(), port.to_string());
}

#[test]
fn two_of_the_same_program_are_two_endpoints() {
    let server = Server::start();
    let _first = web(&server, "");
    let _second = web(&server, "");
    let shown = server.run("endpoints web -o json").exits(0).json();
    assert_eq!(shown[0]["ready"], 2, "{shown:?}");
}

#[test]
fn a_newer_process_of_the_same_id_wins_and_keeps_its_registration() {
    let server = Server::start();
    let mut first = web(&server, "--id one --ttl 1s --drain-time 0s");
    let second = web(&server, "--id one");
    first
        .err
        .until(|line| line.contains("a newer process is registered as one"));
    let url = resolve(&server, "web");
    first.signal("TERM");
    assert_eq!(first.wait().code(), Some(143));
    assert_eq!(resolve(&server, "web"), url);
    drop(second);
}

#[test]
fn a_newer_process_is_not_drained_in_the_place_of_an_older_one() {
    let server = Server::start();
    let mut first = web(&server, "--id one --drain-time 1h");
    let second = web(&server, "--id one");
    let url = resolve(&server, "web");
    // Long before its next heartbeat, by which it would hear of the other.
    first.signal("TERM");
    first
        .err
        .until(|line| line.contains("a newer process is registered as one"));
    assert_eq!(first.wait().code(), Some(143));
    assert_eq!(resolve(&server, "web"), url);
    drop(second);
}

#[test]
fn what_is_said_and_heard_passes_through_untouched() {
    let server = Server::start();
    let options = "--name cat --port auto";
    let mut child = run(&server.url, options, &["sh", "-c", "cat; echo beside >&2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let text = b"no line end, \0 and \xff";
    child.stdin.take().unwrap().write_all(text).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, text);
    let said = String::from_utf8(output.stderr).unwrap();
    let own: Vec<&str> = said
        .lines()
        .filter(|line| !line.starts_with("hermes: "))
        .collect();
    assert_eq!(own, ["beside"]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn what_a_server_would_refuse_is_refused_before_the_command_is_started() {
    for (options, part) in [
        ("--ttl 100h", "24 h"),
        ("--check tcp --check none", "either none or"),
        ("--namespace *", "one namespace"),
        ("--addr nowhere", "no port"),
    ] {
        let options = format!("--name web --port auto {options}");
        let ran = end(&mut run(
            "http://127.0.0.1:1",
            &options,
            &["echo", "started"],
        ));
        ran.exits(125).prints(&[]).says(part);
    }
}

#[test]
fn a_server_that_refuses_for_good_ends_the_command() {
    use crate::scripted::{Scripted, answer};
    let body = r#"{"code": "not_allowed", "status": 403, "detail": "Not you."}"#;
    let refusal = answer("403 Forbidden", "application/problem+json", body);
    let server = Scripted::start(vec![refusal]);
    let mut running = Running::start(run_program(
        &server.url,
        "--name web --port auto --check none",
    ));
    running.err.until(|line| line == "hermes: error: Not you.");
    assert_eq!(running.wait().code(), Some(125));
}
