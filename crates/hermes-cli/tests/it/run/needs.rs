//! Others first: what is needed, and the URLs that are told.

use super::{run, run_program, until_registered, web};
use crate::command::{Running, end};
use crate::program::ask;
use crate::server::Server;

#[test]
fn a_program_is_started_when_what_it_needs_is_ready() {
    let server = Server::start();
    let options = "--name web --port auto --needs db,cache --check none";
    let mut running = Running::start(run_program(&server.url, options));
    running
        .err
        .until(|line| line == "hermes: waiting for cache, db to be ready");
    server.register("cache", "a");
    running
        .err
        .until(|line| line == "hermes: waiting for db to be ready");
    // Registered is not ready.
    server.run("register db http://127.0.0.1:9 --id d").exits(0);
    server.register("db", "d");
    let started = running.err.next().unwrap();
    assert!(started.starts_with("hermes: started "), "{started}");
    until_registered(&mut running);
}

#[test]
fn what_does_not_become_ready_in_time_is_named() {
    let server = Server::start();
    let options = "--name web --port auto --needs db --needs-timeout 300ms";
    let ran = end(&mut run(&server.url, options, &["echo", "started"]));
    ran.exits(125)
        .prints(&[])
        .says("db was not ready within 0.3 s");
    let ran = end(&mut run(
        "http://127.0.0.1:1",
        options,
        &["echo", "started"],
    ));
    let ran = ran.exits(125).prints(&[]);
    ran.says("waiting for db: no Hermes server")
        .says("db was not ready within 0.3 s (no Hermes");
}

#[test]
fn a_signal_ends_the_waiting() {
    let server = Server::start();
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let options = "--name web --port auto --needs db";
        let mut running = Running::start(run(&server.url, options, &["echo", "started"]));
        running.err.until(|line| line.contains("waiting for db"));
        running.signal(signal);
        assert_eq!(running.wait().code(), Some(code));
        assert_eq!(running.out.next(), None);
    }
}

#[test]
fn the_urls_of_others_are_told_and_told_anew_after_a_restart() {
    let server = Server::start();
    let options = "--name web --port auto --check none --restart on-failure \
                   --resolve rhetor=RHETOR_URL,db=DB_URL --needs cache";
    let mut running = Running::start(run_program(&server.url, options));
    running
        .err
        .until(|line| line == "hermes: waiting for cache, db, rhetor to be ready");
    for service in ["cache", "db"] {
        server.register(service, "a");
    }
    let rhetor = "register rhetor --id r --check none";
    server.run(&format!("{rhetor} http://127.0.0.1:9")).exits(0);
    let (_, url) = until_registered(&mut running);
    assert_eq!(ask(&url, "/env/rhetor_url").unwrap(), "http://127.0.0.1:9");
    assert_eq!(ask(&url, "/env/db_url").unwrap(), "http://127.0.0.1:9");

    server
        .run(&format!("{rhetor} http://127.0.0.1:10"))
        .exits(0);
    ask(&url, "/exit/1").unwrap_err();
    let (_, url) = until_registered(&mut running);
    assert_eq!(ask(&url, "/env/rhetor_url").unwrap(), "http://127.0.0.1:10");

    // One that is gone is told as it was.
    server.run("deregister rhetor r").exits(0);
    ask(&url, "/exit/1").unwrap_err();
    let (_, url) = until_registered(&mut running);
    assert_eq!(ask(&url, "/env/rhetor_url").unwrap(), "http://127.0.0.1:10");
}

#[test]
fn what_is_needed_may_go_once_the_program_runs() {
    let server = Server::start();
    server.register("db", "a");
    let mut running = web(&server, "--needs db");
    server.run("deregister db --all").exits(0);
    running.signal("INT");
    assert_eq!(running.wait().code(), Some(130));
}
