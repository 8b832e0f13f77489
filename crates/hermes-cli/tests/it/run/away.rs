//! Hermes is away: at the start, and in between.

use std::net::TcpListener;

use super::{resolve, run_program, until_registered};
use crate::command::Running;
use crate::program::ask;
use crate::server::Server;

#[test]
fn the_command_runs_on_and_is_registered_whenever_hermes_is_there() {
    // Where the server will be, more than once.
    let reserved = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let serve = || Server::start_at(&address.to_string(), "--log memory");
    let options = "--name web --port auto --check none --ttl 1s --drain-time 0s";
    let mut running = Running::start(run_program(&format!("http://{address}"), options));
    running
        .err
        .until(|line| line.contains("no Hermes server can be reached"));

    let server = serve();
    let (id, url) = until_registered(&mut running);
    assert_eq!(resolve(&server, "web"), url);

    // It goes, without a word.
    drop(server);
    running
        .err
        .until(|line| line.contains("the command runs on"));
    assert!(ask(&url, "/").is_ok());

    // What comes back has lost everything.
    let server = serve();
    running.err.until(|line| line.contains("registering again"));
    assert_eq!(until_registered(&mut running), (id, url.clone()));
    assert_eq!(resolve(&server, "web"), url);

    // And when it ends alone, it ends all the same.
    drop(server);
    running
        .err
        .until(|line| line.contains("the command runs on"));
    running.signal("TERM");
    running.err.until(|line| line.contains("not drained"));
    running
        .err
        .until(|line| line.contains("its lease runs out within 1 s"));
    assert_eq!(running.wait().code(), Some(143));
}

#[test]
fn a_server_that_comes_back_as_it_was_is_simply_told_again() {
    let directory = tempfile::tempdir().unwrap();
    let reserved = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let data = format!("--data-dir {}", directory.path().display());
    let server = Server::start_at(&address.to_string(), &data);
    let mut running = super::web(&server, "--ttl 1s");
    drop(server);
    running
        .err
        .until(|line| line.contains("the command runs on"));
    let server = Server::start_at(&address.to_string(), &data);
    running
        .err
        .until(|line| line == "hermes: Hermes answers again");
    server.run("resolve web").exits(0);
}

#[test]
fn a_server_that_never_answers_holds_nothing_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let options = "--name web --port auto --drain-time 1h";
    let mut running = Running::start(run_program(&url, options));
    running.out.until(|line| line.contains("listening on "));
    // It is being registered now; whoever accepts is not told anything.
    let (_asked, _) = silent.accept().unwrap();
    running.signal("TERM");
    assert_eq!(running.wait().code(), Some(143));
}

#[test]
fn a_lease_that_ran_out_is_begun_again() {
    let server = Server::start();
    let mut running = super::web(&server, "--ttl 1s");
    let mut watch = server.start_command("watch web -o json");
    watch.out.until_json(|event| event["event"] == "synced");
    running.signal("STOP");
    watch
        .out
        .until_json(|event| event["data"]["type"] == "expired");
    running.signal("CONT");
    running.err.until(|line| line.contains("registering again"));
    watch
        .out
        .until_json(|event| event["data"]["type"] == "registered");
}
