//! `hermes serve`: how it begins, what it refuses, how it ends.

#[cfg(unix)]
use std::io::Write;
#[cfg(unix)]
use std::net::TcpStream;

use crate::command::run;
#[cfg(unix)]
use crate::responder::read_head;
use crate::server::Server;

#[test]
fn the_first_line_says_where_it_listens_and_the_talk_what_to_type_next() {
    let mut server = Server::start();
    assert!(
        server.url.starts_with("http://127.0.0.1:"),
        "{}",
        server.url
    );
    let next = server
        .running
        .err
        .until(|line| line.contains("register web"));
    assert_eq!(
        next.trim(),
        format!(
            "hermes --addr {} register web http://127.0.0.1:8080",
            server.url
        )
    );
    let status = server.run("status").exits(0);
    assert!(status.out.contains(&server.url), "{status:?}");
}

#[test]
fn it_listens_on_loopback_unless_it_has_keys_and_tls_and_says_why() {
    for open in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8001"] {
        let ran = run(&format!("serve --listen {open}")).exits(2).prints(&[]);
        ran.says("hermes key create")
            .says("--listen: listen is")
            .says("127.0.0.1:");
    }
}

#[test]
fn a_port_that_is_taken_is_a_failure_that_says_what_to_do() {
    let server = Server::start();
    let address = server.url.strip_prefix("http://").unwrap();
    let ran = run(&format!("serve --log memory --listen {address}"))
        .exits(1)
        .prints(&[]);
    ran.says(address).says("--listen");
}

#[test]
fn what_it_cannot_do_is_said_and_not_ignored() {
    run("serve --addr http://127.0.0.1:1")
        .exits(2)
        .says("--listen");
    run("serve --listen 8001").exits(2);
    run("serve --log etcd").exits(2).says("memory");
    run("serve --log memory --listen 127.0.0.1:0 --log-level loud")
        .exits(2)
        .says("debug");
}

#[cfg(unix)]
#[test]
fn a_signal_lets_it_finish_and_tells_watchers_goodbye() {
    for signal in ["INT", "TERM"] {
        let mut server = Server::start();
        let mut watch = server.start_command("watch -o json --once");
        watch.out.until(|line| line.contains("\"synced\""));
        server.running.signal(signal);
        let status = server.running.wait();
        assert_eq!(status.code(), Some(0), "{signal}");
        watch
            .out
            .until(|line| line.contains("\"goodbye\"") && line.contains("shutdown"));
        assert_eq!(watch.wait().code(), Some(6), "{signal}");
    }
}

#[test]
fn what_was_registered_is_there_after_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let serve = || Server::start_with(&format!("--data-dir {}", directory.path().display()));
    let server = serve();
    server.register("web", "a");
    // Dropping it kills it without a word.
    drop(server);
    let server = serve();
    server.run("resolve web").exits(0);
    let taken = format!(
        "serve --listen 127.0.0.1:0 --data-dir {}",
        directory.path().display()
    );
    run(&taken)
        .exits(1)
        .says("is used by another Hermes server");
}

#[test]
fn a_directory_of_a_newer_release_or_of_something_else_is_refused_and_not_touched() {
    let newer = ("hermes.json", r#"{"format":3,"cluster":"x"}"#);
    let cases = [
        (newer, "was written by a newer release of Hermes"),
        (("thesis.tex", "x"), "is not a Hermes data directory"),
    ];
    for ((name, content), why) in cases {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(name), content).unwrap();
        let modified = || std::fs::metadata(directory.path()).unwrap().modified();
        let before = modified().unwrap();
        let path = directory.path().display();
        run(&format!("serve --listen 127.0.0.1:0 --data-dir {path}"))
            .exits(1)
            .says(why);
        // Nothing came or went, and what was there is as it was.
        assert_eq!(modified().unwrap(), before, "{why}");
        let found = std::fs::read(directory.path().join(name)).unwrap();
        assert_eq!(found, content.as_bytes(), "{why}");
    }
}

#[cfg(unix)]
#[test]
fn a_second_signal_does_not_wait_for_what_is_in_flight() {
    let mut server = Server::start();
    // A request whose body never comes; `100 Continue` says that it is being waited for.
    let mut request = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    let head = "POST /api/v1/services/web/endpoints HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n\
                content-type: application/json\r\ncontent-length: 2\r\n\r\n";
    request.write_all(head.as_bytes()).unwrap();
    assert!(read_head(&mut request).starts_with("http/1.1 100"));
    server.running.signal("TERM");
    server
        .running
        .err
        .until(|line| line.starts_with("stopping"));
    server.running.signal("TERM");
    assert_eq!(server.running.wait().code(), Some(130));
}
