//! Traces: at the level `debug`, each request, commit and probe is a span that says which one it was.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::command::hermes;
use crate::server::Server;

#[test]
fn requests_commits_and_probes_are_spans_that_can_be_found_again() {
    let mut command = hermes("serve --listen 127.0.0.1:0 --log memory --log-level debug");
    command.env("HERMES_LOG_FORMAT", "json");
    let mut server = Server::of(command);
    let address = server.url.trim_start_matches("http://").to_owned();
    let body = r#"{"host": "127.0.0.1", "port": 9, "checks": [{"type": "tcp"}]}"#;
    let mut stream = TcpStream::connect(&address).expect("it listens");
    let request = format!(
        "PUT /api/v1/services/web/endpoints/a HTTP/1.1\r\nhost: x\r\nx-request-id: find-me\r\n\
         connection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");

    let (mut request, mut commit, mut probe) = (None, None, None);
    while request.is_none() || commit.is_none() || probe.is_none() {
        let line = server.running.err.next().expect("it goes on telling");
        let Ok(told) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        let span = told["span"].clone();
        let place = match span["name"].as_str() {
            Some("request") if span["request_id"] == "find-me" => &mut request,
            Some("commit") => &mut commit,
            Some("probe") if span["id"] == "a" => &mut probe,
            _ => continue,
        };
        *place = Some(span);
    }
    let request = request.unwrap_or_default();
    assert_eq!(request["method"], "PUT", "{request}");
    assert_eq!(request["path"], "/api/v1/services/web/endpoints/a");
    assert!(commit.is_some_and(|commit| commit["changes"].is_u64()));
    assert!(probe.is_some_and(|probe| probe["check"] == "tcp"));
}
