//! `hermes watch`: a story for people, events for programs, and no gap when the server goes away.

#[cfg(unix)]
use std::io::{BufRead, BufReader, Write};
#[cfg(unix)]
use std::net::TcpListener;
#[cfg(unix)]
use std::process::Stdio;

use crate::command::{Running, hermes};
#[cfg(unix)]
use crate::responder::read_head;
use crate::scripted::{Scripted, answer, events};
use crate::server::Server;

const CLUSTER: &str = "{\"cluster\": \"00000000000000ab\", \"revision\": 7}";

fn watch(url: &str, arguments: &str) -> Running {
    let mut command = hermes(&format!("watch {arguments}"));
    command.env("HERMES_ADDR", url);
    Running::start(command)
}

#[test]
fn people_get_the_state_and_then_a_line_for_every_change() {
    let server = Server::start();
    server.register("web", "a");
    server.register("db", "d");
    let mut watch = server.start_command("watch web");
    let present = watch.out.next().unwrap();
    assert!(
        present.contains("Z  web/a  present       healthy, ready: http://127.0.0.1:9"),
        "{present}"
    );
    watch
        .err
        .until(|line| line.starts_with("this is the state at revision "));
    server.register("web", "b");
    let line = watch.out.next().unwrap();
    assert!(
        line.contains("Z  web/b  registered    healthy, ready: http://127.0.0.1:9"),
        "{line}"
    );
    server.run("deregister db d").exits(0);
    server.run("deregister web a").exits(0);
    let line = watch.out.next().unwrap();
    assert!(
        line.contains("Z  web/a  deregistered  gone: by 127.0.0.1"),
        "{line}"
    );
}

#[test]
fn programs_get_every_event_as_one_line() {
    let server = Server::start();
    server.register("web", "a");
    let mut watch = server.start_command("watch -o json");
    let mut event =
        || -> serde_json::Value { serde_json::from_str(&watch.out.next().unwrap()).unwrap() };
    let hello = event();
    assert_eq!(
        (&hello["event"], &hello["id"]),
        (&"hello".into(), &serde_json::Value::Null)
    );
    let snapshot = event();
    assert_eq!(snapshot["data"]["endpoints"][0]["id"], "a");
    let synced = event();
    assert_eq!(synced["id"], synced["data"]["revision"]);
    server.register("web", "b");
    let change = event();
    assert_eq!(
        (&change["event"], &change["data"]["type"]),
        (&"change".into(), &"registered".into())
    );
    assert_eq!(change["id"], change["data"]["revision"]);
}

#[test]
fn a_watch_may_begin_after_a_revision() {
    let server = Server::start();
    for id in ["a", "b", "c"] {
        server.register("web", id);
    }
    let mut watch = server.start_command("watch -o json --since 1");
    let changes: Vec<String> = ["\"id\":\"b\"", "\"id\":\"c\""]
        .map(|id| {
            watch
                .out
                .until(|line| line.contains("\"change\"") && line.contains(id))
        })
        .into();
    assert!(
        changes.iter().all(|line| !line.contains("snapshot")),
        "{changes:?}"
    );
}

#[test]
fn when_the_server_goes_away_the_watch_goes_on_after_the_last_event() {
    let goodbye = "{\"reason\": \"shutdown\", \"retry\": 0.01}";
    let server = Scripted::start(vec![
        events(&[
            ("hello", None, CLUSTER),
            ("synced", Some(7), "{\"revision\": 7}"),
            ("progress", Some(8), "{\"revision\": 8}"),
            ("goodbye", None, goodbye),
        ]),
        // While it starts, a proxy talks nonsense.
        answer("502 Bad Gateway", "text/html", "<html>"),
        events(&[
            ("hello", None, CLUSTER),
            ("progress", Some(9), "{\"revision\": 9}"),
        ]),
    ]);
    let mut watch = watch(&server.url, "web --namespace lab -o json");
    let first = server.head();
    assert!(
        first.starts_with("get /api/v1/watch?namespace=lab&service=web http"),
        "{first}"
    );
    assert!(first.contains("hermes-client: hermes-cli/"), "{first}");
    assert!(!first.contains("last-event-id"), "{first}");
    for _ in 0..2 {
        let again = server.head();
        assert!(again.contains("last-event-id: 8\r\n"), "{again}");
        assert!(again.contains("cluster=00000000000000ab"), "{again}");
    }
    watch
        .err
        .until(|line| line.contains("ended the stream") && line.contains("shutdown"));
    watch
        .err
        .until(|line| line == "back; going on after revision 8");
    watch.out.until(|line| line.contains("\"id\":9"));
}

#[test]
fn after_a_reset_nothing_that_was_known_counts() {
    let reset = "{\"reason\": \"cluster\", \"revision\": 3}";
    let server = Scripted::start(vec![
        events(&[
            ("hello", None, CLUSTER),
            ("synced", Some(7), "{\"revision\": 7}"),
        ]),
        events(&[("hello", None, CLUSTER), ("reset", None, reset)]),
        events(&[("hello", None, CLUSTER)]),
    ]);
    let mut watch = watch(&server.url, "");
    watch
        .err
        .until(|line| line.contains("begins anew (cluster)"));
    let heads = [server.head(), server.head(), server.head()];
    assert!(heads[1].contains("last-event-id: 7\r\n"), "{heads:?}");
    assert!(!heads[2].contains("last-event-id"), "{heads:?}");
}

#[test]
fn once_means_once() {
    let server = Scripted::start(vec![events(&[("hello", None, CLUSTER)])]);
    let mut watch = watch(&server.url, "--once");
    watch
        .err
        .until(|line| line.contains("error: ") && line.contains("ended the stream"));
    assert_eq!(watch.wait().code(), Some(6));
}

#[test]
fn a_watch_that_is_denied_ends() {
    let denied = "{\"reason\": \"denied\", \"retry\": 1}";
    let server = Scripted::start(vec![events(&[
        ("hello", None, CLUSTER),
        ("goodbye", None, denied),
    ])]);
    assert_eq!(watch(&server.url, "").wait().code(), Some(5));

    let body = "{\"code\": \"not_allowed\", \"status\": 403, \"detail\": \"No.\"}";
    let refusal = answer("403 Forbidden", "application/problem+json", body);
    let server = Scripted::start(vec![events(&[("hello", None, CLUSTER)]), refusal]);
    assert_eq!(watch(&server.url, "").wait().code(), Some(5));
}

#[cfg(unix)]
#[test]
fn it_ends_when_its_reader_has_seen_enough() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = hermes("watch -o json --once");
    command.env(
        "HERMES_ADDR",
        format!("http://{}", listener.local_addr().unwrap()),
    );
    let watch = command
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(command);
    let (mut stream, _) = listener.accept().unwrap();
    read_head(&mut stream);
    stream
        .write_all(events(&[("hello", None, CLUSTER)]).as_bytes())
        .unwrap();
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).unwrap();
    assert!(line.contains("hello"), "{line}");
    // Nothing else comes that it could fail to write. In the end it would take that for a loss.
    let ran = watch.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!((ran.status.code(), &*said), (Some(0), ""));
}

#[cfg(unix)]
#[test]
fn ctrl_c_is_an_interruption() {
    let server = Server::start();
    let mut watch = server.start_command("watch -o json");
    watch.out.until(|line| line.contains("\"synced\""));
    watch.signal("INT");
    assert_eq!(watch.wait().code(), Some(130));
}

#[test]
fn a_state_that_was_cut_off_is_told_once() {
    let snapshot = "{\"service_name\": \"web\", \"namespace\": \"default\", \"revision\": 7, \
                    \"emptied\": \"expired\", \"endpoints\": []}";
    let hello = ("hello", None, CLUSTER);
    let snapshot = ("snapshot", None, snapshot);
    let synced = ("synced", Some(7), "{\"revision\": 7}");
    let server = Scripted::start(vec![
        events(&[hello, snapshot]),
        events(&[hello, snapshot, synced]),
    ]);
    let mut watch = watch(&server.url, "");
    watch
        .err
        .until(|line| line.contains("this is the state at revision 7"));
    watch.kill();
    let mut lines = Vec::new();
    while let Some(line) = watch.out.next() {
        lines.push(line.trim().to_owned());
    }
    assert_eq!(lines, ["web  present       empty: expired"]);
}
