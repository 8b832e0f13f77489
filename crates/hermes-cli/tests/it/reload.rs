//! SIGHUP, the services of the configuration, and what is told about them.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::command::hermes;
use crate::server::Server;

const SERVICES: &str = "config/service_discovery.yaml";

/// A server whose settings stand in `directory`.
fn serve_in(directory: &Path) -> Server {
    let mut command = hermes("serve --listen 127.0.0.1:0 --register-self false");
    command
        .current_dir(directory)
        .env("HERMES_LOG_FORMAT", "text");
    Server::of(command)
}

fn write(directory: &Path, file: &str, text: &str) {
    let path = directory.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Has the settings read again, and waits until that is done.
fn reload(server: &mut Server) {
    server.running.signal("HUP");
    let is_done = |line: &str| {
        line.contains("settings were read again") || line.contains("stay as they were")
    };
    server.running.err.until(is_done);
}

#[test]
fn what_can_change_does_and_what_cannot_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = |text: &str| write(directory.path(), "hermes.yaml", text);
    file("log_level: info\n");
    let mut server = serve_in(directory.path());
    file("log_level: debug\nstop_within: 3s\nlimits: {body_size: 1KiB, watchers: 7}\n");
    server.running.signal("HUP");
    let err = &mut server.running.err;
    err.until(|line| line.contains("log_level changes from info to debug"));
    err.until(|line| line.contains("stop_within changes from 10s to 3s"));
    err.until(|line| line.contains("limits.body_size changes from 64KiB to 1KiB"));
    err.until(|line| line.contains("limits.watchers changes from 20000 to 7 with the next start"));
    err.until(|line| line.contains("changed=3") && line.contains("waiting=1"));
    let large = format!(
        "register web http://127.0.0.1:9 --meta a={}",
        "x".repeat(2_000)
    );
    server.run(&large).exits(1).says("1024");
    // It is true: requests are told now, with what tells them apart.
    server.run("status").exits(0);
    let line = server.running.err.until(|line| line.contains("answered"));
    assert!(
        line.contains("path=") && line.contains("request_id="),
        "{line}"
    );
}

#[test]
fn a_fault_leaves_everything_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = serve_in(directory.path());
    let text = "log_level: debug\nlisten: nowhere\nstop_within: soon\n";
    write(directory.path(), "hermes.yaml", text);
    server.running.signal("HUP");
    let err = &mut server.running.err;
    err.until(|line| line.contains("hermes.yaml:2:9: listen is `nowhere`"));
    err.until(|line| line.contains("hermes.yaml:3:14: stop_within is `soon`"));
    err.until(|line| line.contains("stay as they were"));
    server.run("status").exits(0);
    write(directory.path(), "hermes.yaml", "stop_within: 4s\n");
    server.running.signal("HUP");
    // Had the level changed, the request above would have been told before this.
    let line = server.running.err.next().unwrap();
    assert!(line.contains("the settings were read"), "{line}");
}

#[test]
fn services_of_the_file_are_registered_replaced_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let file = |text: &str| write(directory.path(), SERVICES, text);
    file(
        "services:\n  memory: http://127.0.0.1:9\n  cognition: http://127.0.0.1:10\n\
         health_check:\n  interval: 60\n  timeout: 2.5\n",
    );
    let mut server = serve_in(directory.path());
    let detail = |server: &Server, service: &str| -> Value {
        let ran = server.run(&format!("endpoints {service} -o json")).exits(0);
        ran.json().remove(0)["endpoints"][0].clone()
    };
    let memory = detail(&server, "memory");
    assert_eq!(
        (&memory["id"], &memory["ttl"]),
        (&"default".into(), &Value::Null)
    );
    let mut watch = server.start_command("watch -o json --once");
    watch.out.until(|line| line.contains("\"synced\""));

    file("services:\n  memory: http://127.0.0.1:11\n");
    reload(&mut server);
    let is_of_config = |line: &str| line.contains("\"actor\":\"config\"");
    let line = watch
        .out
        .until(|line| line.contains("\"change\"") || is_of_config(line));
    assert!(
        is_of_config(&line) && line.contains("http://127.0.0.1:11"),
        "{line}"
    );
    let line = watch.out.until(is_of_config);
    assert!(
        line.contains("\"deregistered\"") && line.contains("cognition"),
        "{line}"
    );

    // After a restart it is known whose it is, and that the file lists it no more.
    drop(server);
    file("services: {}\n");
    let server = serve_in(directory.path());
    server.run("resolve memory").exits(7);
    assert!(
        server
            .run("endpoints memory")
            .exits(0)
            .err
            .contains("deregistered")
    );
}

#[test]
fn what_somebody_else_has_registered_stays_theirs() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = serve_in(directory.path());
    server.register("memory", "default");
    server.register("memory", "other");
    write(
        directory.path(),
        SERVICES,
        "services:\n  memory: http://127.0.0.1:11\n",
    );
    server.running.signal("HUP");
    server
        .running
        .err
        .until(|line| line.contains("somebody else has registered it"));
    write(directory.path(), SERVICES, "services: {}\n");
    reload(&mut server);
    let ran = server.run("endpoints memory -o json").exits(0);
    assert_eq!(ran.json()[0]["total"], 2, "{ran:?}");
    assert!(!ran.out.contains("127.0.0.1:11"), "{ran:?}");
}

#[test]
fn the_settings_of_the_second_seed_are_the_lowest_layer_and_shown() {
    let directory = tempfile::tempdir().unwrap();
    let text = "services:\n  Memory_Store: http://127.0.0.1:9\nhealth_check: {interval: 3}\n";
    write(directory.path(), SERVICES, text);
    let check = |variables: &[(&str, &str)]| {
        let mut command = hermes("config check --show");
        command
            .current_dir(directory.path())
            .envs(variables.iter().copied());
        crate::command::end(&mut command)
    };
    let ran = check(&[]).exits(0);
    let line = |ran: &crate::command::Ran, key: &str| -> Vec<String> {
        let line = ran.out.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().map(str::to_owned).collect()
    };
    let place = "config/service_discovery.yaml:3:26";
    assert_eq!(line(&ran, "health_check.interval")[1..], ["3s", place]);
    assert_eq!(line(&ran, "health_check.timeout")[1..], ["3s", "default"]);
    assert_eq!(line(&ran, "services.memory-store")[1], "http://127.0.0.1:9");
    write(
        directory.path(),
        "hermes.yaml",
        "health_check: {interval: 4}\n",
    );
    assert_eq!(line(&check(&[]), "health_check.interval")[1], "4s");
    let elder = ("SERVICE_DISCOVERY_HEALTH_CHECK_INTERVAL", "5");
    let shown = line(&check(&[elder]), "health_check.interval");
    assert_eq!(
        shown[1..],
        ["5s", "$SERVICE_DISCOVERY_HEALTH_CHECK_INTERVAL"]
    );
    let ours = ("HERMES_HEALTH_CHECK_INTERVAL", "6");
    assert_eq!(
        line(&check(&[elder, ours]), "health_check.interval")[1],
        "6s"
    );
    // The words of others in ENVIRONMENT are not ours; nor is a service variable a service here.
    check(&[("ENVIRONMENT", "staging"), ("SERVICE_WEB", "http://h:1")]).exits(0);
    let wrong = check(&[("SERVICE_DISCOVERY_HEALTH_CHECK_INTERVAL", "ten")]).exits(2);
    assert_eq!(wrong.err.matches("ten").count(), 1, "{wrong:?}");
    check(&[("SERVICE_DISCOVERY_CONFIG", "nowhere.yaml")])
        .exits(2)
        .says("nowhere.yaml");
}

#[test]
fn away_from_a_terminal_every_line_is_one_json_object() {
    let mut command = hermes("serve --listen 127.0.0.1:0 --log memory --log-level debug");
    command.env("HERMES_REGISTER_SELF", "true");
    let mut server = Server::of(command);
    server.run("resolve nobody").exits(3);
    server.running.signal("TERM");
    let mut seen = Vec::new();
    while let Some(line) = server.running.err.next() {
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        for member in ["timestamp", "level", "target", "message"] {
            assert!(event[member].is_string(), "{member}: {line}");
        }
        seen.push(event);
    }
    let request = seen.iter().find(|event| event["status"] == 404).unwrap();
    assert!(request["request_id"].is_string(), "{request}");
    assert_eq!(request["span"]["method"], "GET");
    let said = |part: &str| {
        let is_said = |event: &Value| event["message"].as_str().unwrap().contains(part);
        assert!(seen.iter().any(is_said), "{part} is not said");
    };
    said("listening");
    said("stopping");
}
