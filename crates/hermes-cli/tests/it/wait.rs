//! `hermes wait`: it ends with the change that it waits for, or says what is missing and why.

use crate::command::{Running, hermes, run};
use crate::responder::Responder;
use crate::scripted::{Scripted, answer, events};
use crate::server::Server;

#[test]
fn what_is_ready_is_not_waited_for() {
    let server = Server::start();
    server.register("web", "a");
    server.register("db", "d");
    server
        .run("wait web db web")
        .exits(0)
        .prints(&["db is ready: 1 of 1", "web is ready: 1 of 1"])
        .says("waiting for db, web, at most 30 s");
    let answers = server.run("wait web db -o json").exits(0).json();
    let names: Vec<_> = answers.iter().map(|a| a["service_name"].clone()).collect();
    assert_eq!(names, ["db", "web"]);
}

#[test]
fn it_ends_with_the_last_service_that_becomes_ready() {
    let server = Server::start();
    let responder = Responder::start("web");
    let mut wait = server.start_command("wait web db --at-least 1");
    wait.err
        .until(|line| line.starts_with("waiting for db, web"));
    server.register("db", "d");
    wait.out.until(|line| line == "db is ready: 1 of 1");
    let url = responder.url();
    server
        .run(&format!("register web {url} --id a --check http:/health"))
        .exits(0);
    wait.out.until(|line| line == "web is ready: 1 of 1");
    assert_eq!(wait.wait().code(), Some(0));
}

#[test]
fn so_many_endpoints_may_be_wanted() {
    let server = Server::start();
    server.register("web", "a");
    let mut wait = server.start_command("wait web --at-least 2");
    wait.err.until(|line| line.starts_with("waiting for web"));
    server.register("web", "b");
    wait.out.until(|line| line == "web is ready: 2 of 2");
    assert_eq!(wait.wait().code(), Some(0));
}

#[test]
fn at_the_end_it_says_what_is_missing_and_what_is_not_ready_and_why() {
    let server = Server::start();
    server.register("memory-store", "m");
    server.register("left", "l");
    server.run("deregister left l").exits(0);
    server
        .run("register sick http://127.0.0.1:9 --id s --check tcp")
        .exits(0);
    let mut watch = server.start_command("watch sick");
    watch.out.until(|line| line.contains("connection refused"));
    let ran = server.run("wait memory-stroe memory-store left sick --timeout 700ms");
    ran.exits(4)
        .prints(&["memory-store is ready: 1 of 1"])
        .says("3 of 4 services are not ready after 0.7 s")
        .says("memory-stroe: nobody has registered it; did you mean memory-store?")
        .says("left: is known, but its last endpoint was deregistered")
        .says("sick: 0 of 1 ready, 1 wanted")
        .says("  s  unhealthy: ")
        .says("hint: ");
}

#[test]
fn it_may_begin_before_the_server() {
    let cluster = "{\"cluster\": \"00000000000000ab\", \"revision\": 7}";
    let endpoint = "{\"name\": \"web\", \"namespace\": \"default\", \"id\": \"a\", \
        \"incarnation\": 1, \"host\": \"h\", \"port\": 1, \"url\": \"http://h:1\", \"ports\": {}, \
        \"environment\": \"local\", \"health_status\": \"healthy\", \"health_reason\": \"\", \
        \"ready\": true, \"flags\": [], \"last_heartbeat\": \"\", \"registered_at\": \"\", \
        \"since\": \"\", \"ttl\": null, \"metadata\": {}, \"tags\": [], \"zone\": null, \
        \"weight\": 100, \"revision\": 1}";
    let snapshot = format!(
        "{{\"service_name\": \"web\", \"namespace\": \"default\", \"revision\": 7, \
         \"emptied\": null, \"endpoints\": [{endpoint}]}}"
    );
    let server = Scripted::start(vec![
        // A proxy speaks for a server that is not there yet; then the server begins, and dies.
        answer("502 Bad Gateway", "text/html", "<html>"),
        events(&[("hello", None, cluster)]),
        events(&[
            ("hello", None, cluster),
            ("snapshot", None, &snapshot),
            ("synced", Some(7), "{\"revision\": 7}"),
        ]),
    ]);
    let mut command = hermes("wait web");
    command.env("HERMES_ADDR", &server.url);
    let mut wait = Running::start(command);
    wait.err.until(|line| line.ends_with("trying again"));
    wait.out.until(|line| line == "web is ready: 1 of 1");
    assert_eq!(wait.wait().code(), Some(0));
}

#[test]
fn a_server_that_never_comes_is_unreachable_and_not_late() {
    run("wait web db --addr http://127.0.0.1:1 --timeout 300ms")
        .exits(6)
        .prints(&[])
        .says("connection refused")
        .says("it was waited for db, web for 0.3 s");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_it() {
    let server = Server::start();
    let mut wait = server.start_command("wait web");
    wait.err.until(|line| line.starts_with("waiting for web"));
    wait.signal("INT");
    assert_eq!(wait.wait().code(), Some(130));
}

#[test]
fn one_namespace_is_waited_in() {
    let server = Server::start();
    server
        .run("wait web --namespace *")
        .exits(2)
        .says("--namespace NAME");
    server
        .run("register web http://127.0.0.1:9 --namespace lab --check none")
        .exits(0);
    server.run("wait web --namespace lab").exits(0);
    server.run("wait web --timeout 200ms").exits(4);
}
