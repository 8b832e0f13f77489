//! How a server ends: what is in flight is answered, nobody is left waiting, and it ends in time.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::command::hermes;
use crate::responder::read_head;
use crate::server::Server;

/// A request whose body never comes, unless it is sent.
struct Unfinished(TcpStream);

impl Unfinished {
    fn begin(server: &Server) -> Self {
        let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
        let head = "POST /api/v1/services/web/endpoints HTTP/1.1\r\nhost: x\r\n\
                    expect: 100-continue\r\ncontent-type: application/json\r\n\
                    content-length: 29\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        // It says that the body is being waited for.
        assert!(read_head(&mut stream).starts_with("http/1.1 100"));
        Self(stream)
    }

    /// Sends the body, and reads the head of the answer.
    fn end(mut self) -> String {
        self.0
            .write_all(b"{\"url\":\"http://127.0.0.1:99\"}")
            .unwrap();
        read_head(&mut self.0)
    }
}

fn whole_answer(server: &Server, path: &str) -> String {
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn while_something_is_in_flight_it_says_that_it_is_stopping_and_then_ends() {
    let mut server = Server::start_with("--log memory --stop-within 1m");
    let unfinished = Unfinished::begin(&server);
    server.running.signal("TERM");
    server
        .running
        .err
        .until(|line| line.starts_with("stopping"));
    // The signal and the state are told one after the other.
    let ready = loop {
        let answer = whole_answer(&server, "/readyz");
        if !answer.contains(" 200 OK") {
            break answer;
        }
    };
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    assert!(ready.contains("\"reasons\":[\"stopping\"]"), "{ready}");
    assert!(whole_answer(&server, "/livez").starts_with("HTTP/1.1 200"));
    let answer = unfinished.end();
    assert!(answer.starts_with("http/1.1 201"), "{answer}");
    assert_eq!(server.running.wait().code(), Some(0));
}

#[test]
fn a_request_that_never_ends_is_cut_off_when_the_time_is_over() {
    let mut server = Server::start_with("--log memory --stop-within 200ms");
    let unfinished = Unfinished::begin(&server);
    server.running.signal("TERM");
    server
        .running
        .err
        .until(|line| line.contains("not finished in time and are cut off"));
    assert_eq!(server.running.wait().code(), Some(0));
    drop(unfinished);
}

#[test]
fn a_long_poll_is_answered_and_a_watcher_told_when_to_come_back() {
    let mut server = Server::start();
    server.register("web", "a");
    let mut watch = server.start_command("watch -o json --once");
    watch.out.until(|line| line.contains("\"synced\""));
    let mut poll = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    let request = "GET /api/v1/services/web?revision=1&wait=300 HTTP/1.1\r\nhost: x\r\n\r\n";
    poll.write_all(request.as_bytes()).unwrap();
    // It is being waited for as soon as the next request on the same server was answered.
    server.run("status").exits(0);
    server.running.signal("TERM");
    let mut answer = String::new();
    poll.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let goodbye = watch.out.until(|line| line.contains("\"goodbye\""));
    let goodbye: serde_json::Value = serde_json::from_str(&goodbye).unwrap();
    let goodbye = goodbye.get("data").unwrap_or(&goodbye);
    assert_eq!(goodbye["reason"], "shutdown");
    let retry = goodbye["retry"].as_f64().unwrap();
    assert!((1.0..=5.0).contains(&retry), "{goodbye}");
    assert_eq!(server.running.wait().code(), Some(0));
}

fn serve_in(directory: &std::path::Path) -> Server {
    let mut command = hermes("serve --listen 127.0.0.1:0 --log-format text");
    command.current_dir(directory);
    Server::of(command)
}

#[test]
fn hermes_is_found_through_itself_and_moves_with_its_address() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = serve_in(directory.path());
    server.run("resolve hermes").exits(0).prints(&[&server.url]);
    let mut watch = server.start_command("watch hermes -o json --once");
    watch.out.until(|line| line.contains("\"synced\""));
    server.running.signal("TERM");
    let change = watch.out.until(|line| line.contains("\"deregistered\""));
    assert!(change.contains("\"actor\":\"hermes\""), "{change}");
    watch.out.until(|line| line.contains("\"goodbye\""));
    assert_eq!(server.running.wait().code(), Some(0));

    // It comes back elsewhere, and is killed: what is left of it goes when it is there again.
    let mut server = serve_in(directory.path());
    server.running.kill();
    server.running.wait();
    let server = serve_in(directory.path());
    server.run("resolve hermes").exits(0).prints(&[&server.url]);
    let all = server.run("endpoints hermes -o json").exits(0);
    assert_eq!(all.json()[0]["total"], 1, "{all:?}");
    // What others register as Hermes is theirs.
    server.register("hermes", "elsewhere");
    server.running.signal("HUP");
    drop(server);
    let server = serve_in(directory.path());
    let all = server.run("endpoints hermes -o json").exits(0);
    assert_eq!(all.json()[0]["total"], 2, "{all:?}");
}

#[test]
fn it_need_not_register_itself() {
    let server = Server::start_with("--log memory --register-self false");
    server.run("resolve hermes").exits(3);
}
