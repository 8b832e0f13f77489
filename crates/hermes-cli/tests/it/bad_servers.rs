//! Every command against every kind of bad server: the exit code is that of what can be done about
//! it, stdout stays empty, and stderr says what happened and what to do next.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::command::{Ran, end, hermes, run};
use crate::responder::read_head;

/// Each command that asks a server, with as much as it needs. Where a long patience would only make
/// the test long, it is short.
const COMMANDS: &[&str] = &[
    "register web http://127.0.0.1:9",
    "register -f FILE",
    "deregister web a",
    "deregister web --all",
    "heartbeat web a",
    "heartbeat web a --every 10s",
    "drain web a",
    "undrain web a",
    "patch web a --weight 1",
    "services",
    "endpoints web",
    "endpoints web a",
    "resolve web",
    "select web",
    "wait web",
    "watch",
    "watch --once",
    "status",
];

/// Commands that ask nobody, and those whose exit codes are of what they run.
const ALONE: &[&str] = &[
    "serve",
    "run",
    "up",
    "config",
    "key",
    "log",
    "completions",
    "man",
    "help",
];

const CLUSTER: &str = "hermes-cluster: 00000000000000ab\r\n";

/// What a server does with a connection after it has read a request.
#[derive(Clone)]
enum Manner {
    /// It says this and closes.
    Say(String),
    /// It says this and then nothing more, and keeps the connection.
    Stall(String),
    /// It says the first, and then the second until nobody listens any more.
    Forever(String, String),
}

/// One kind of bad server.
struct Kind {
    name: &'static str,
    manner: Manner,
    exit: i32,
    /// What is said about it, unless one of the exceptions below applies.
    says: &'static str,
    /// Commands that notice something else, by how they begin: how they exit, what they say.
    except: &'static [(&'static str, i32, &'static str)],
}

fn http(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}")
}

fn problem(status: &str, code: &str) -> String {
    let number = &status[..3];
    let body =
        format!("{{\"code\": \"{code}\", \"status\": {number}, \"detail\": \"Because. So. Do.\"}}");
    http(status, "content-type: application/problem+json\r\n", &body)
}

const HTML: &str = "content-type: text/html\r\n";
const JSON: &str = "content-type: application/json\r\n";

/// A watch wants events before it looks at anything else.
const NO_EVENTS: &[(&str, i32, &str)] = &[
    ("watch", 1, "it sends no events"),
    ("wait", 1, "it sends no events"),
];

fn denying() -> Vec<Kind> {
    let kind = |name, manner, says| Kind {
        name,
        manner: Manner::Say(manner),
        exit: 5,
        says,
        except: &[],
    };
    vec![
        kind(
            "no key",
            problem("401 Unauthorized", "key_missing"),
            "Because. So. Do.",
        ),
        kind(
            "forbidden",
            problem("403 Forbidden", "not_allowed"),
            "Because. So. Do.",
        ),
        kind(
            "a proxy's 401",
            http("401 Unauthorized", HTML, "<html>"),
            "denies the request",
        ),
        kind(
            "a proxy's 403",
            http("403 Forbidden", HTML, "<html>"),
            "denies the request",
        ),
        kind(
            "a proxy's 407",
            http("407 Proxy", "", ""),
            "denies the request",
        ),
    ]
}

fn strangers() -> Vec<Kind> {
    let kind = |name, manner: String, says, except| Kind {
        name,
        manner: Manner::Say(manner),
        exit: 1,
        says,
        except,
    };
    let api = format!("{CLUSTER}{JSON}");
    let html = format!("{CLUSTER}{HTML}");
    let wrong_type = &[
        ("watch", 1, "it sends no events"),
        ("wait", 1, "it sends no events"),
        ("deregister", 1, "where 204 is expected"),
        ("heartbeat", 1, "where 204 is expected"),
    ];
    let never = "not as a Hermes server does";
    vec![
        kind("no HTTP", "SSH-2.0-OpenSSH_9.6\r\n\r\n".into(), "not HTTP", &[]),
        kind("a page", http("200 OK", HTML, "<html>Welcome</html>"), "names no cluster", NO_EVENTS),
        kind("wrong JSON", http("200 OK", &api, "{\"hello\": 1}"), never, NO_EVENTS),
        kind("broken JSON", http("200 OK", &api, "{\"services\": ["), never, NO_EVENTS),
        kind("not UTF-8", http("200 OK", &api, "\u{fffd}"), never, NO_EVENTS),
        kind("wrong type", http("200 OK", &html, "{}"), "JSON is expected", wrong_type),
        kind("redirect", http("302 Found", "location: http://login/\r\n", ""), "sends the request to http://login/", &[]),
        kind("not modified", http("304 Not Modified", CLUSTER, ""), never, &[]),
        kind("a 404 page", http("404 Not Found", HTML, "<html>"), "status 404", &[]),
        kind("a 500 page", http("500 Oops", HTML, "<html>"), "status 500", &[]),
        kind("an odd problem", http("500 Oops", "content-type: application/problem+json\r\n", "[]"), "status 500", &[]),
        kind("a real problem", problem("500 Oops", "of_a_later_day"), "Because. So. Do.", &[("wait", 1, "it was waited for")]),
        kind("overloaded", problem("503 Busy", "overloaded"), "Because. So. Do.", &[("wait", 1, "it was waited for")]),
        kind("events that are none", "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nevent: change\ndata: {odd\n\n".into(), never, &[]),
    ]
}

fn broken() -> Vec<Kind> {
    let kind = |name, manner: String, says| Kind {
        name,
        manner: Manner::Say(manner),
        exit: 6,
        says,
        except: &[],
    };
    let cut = format!("HTTP/1.1 200 OK\r\n{CLUSTER}{JSON}content-length: 100\r\n\r\n{{\"a\":");
    let cut = Kind {
        except: NO_EVENTS,
        ..kind("cut off", cut, "the connection broke amid the answer")
    };
    vec![
        kind(
            "closes at once",
            String::new(),
            "no Hermes server can be reached",
        ),
        kind(
            "half a head",
            "HTTP/1.1 200 OK\r\nconte".into(),
            "no Hermes server can be reached",
        ),
        kind(
            "a proxy alone",
            http("502 Bad Gateway", HTML, "<html>"),
            "a proxy answers in its place",
        ),
        kind(
            "a proxy that waits",
            http("504 Timeout", HTML, "<html>"),
            "a proxy answers in its place",
        ),
        cut,
    ]
}

fn endless() -> Vec<Kind> {
    let kind = |name, manner, exit, says, except| Kind {
        name,
        manner,
        exit,
        says,
        except,
    };
    let head = format!("HTTP/1.1 200 OK\r\n{CLUSTER}{JSON}");
    vec![
        kind(
            "silent",
            Manner::Stall(String::new()),
            4,
            "did not answer within",
            &[],
        ),
        kind(
            "slow body",
            Manner::Stall(format!("{head}content-length: 9\r\n\r\n{{")),
            4,
            "did not answer within",
            NO_EVENTS,
        ),
        kind(
            "endless head",
            Manner::Forever(
                "HTTP/1.1 200 OK\r\n".into(),
                format!("a: {}\r\n", "x".repeat(4000)),
            ),
            1,
            "not HTTP",
            &[],
        ),
        kind(
            "announces too much",
            Manner::Stall(format!("{head}content-length: 99999999999\r\n\r\n")),
            1,
            "has more than 67108864 bytes",
            NO_EVENTS,
        ),
        kind(
            "an endless page of an error",
            Manner::Forever("HTTP/1.1 500 Oops\r\n\r\n".into(), "x".repeat(16_384)),
            1,
            "has more than 1048576 bytes",
            &[],
        ),
    ]
}

/// A server with bad manners, for as many connections as there are.
struct BadServer {
    url: String,
    is_stopping: Arc<AtomicBool>,
}

impl BadServer {
    fn start(manner: &Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let is_stopping = Arc::new(AtomicBool::new(false));
        let (stop, manner) = (Arc::clone(&is_stopping), manner.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let manner = manner.clone();
                thread::spawn(move || behave(stream, &manner));
            }
        });
        Self { url, is_stopping }
    }
}

impl Drop for BadServer {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        TcpStream::connect(self.url.strip_prefix("http://").unwrap()).ok();
    }
}

fn behave(mut stream: TcpStream, manner: &Manner) {
    read_head(&mut stream);
    let (first, again) = match manner {
        Manner::Say(first) => (first, None),
        Manner::Stall(first) => (first, Some("")),
        Manner::Forever(first, again) => (first, Some(again.as_str())),
    };
    stream.write_all(first.as_bytes()).ok();
    match again {
        // The other side sees the end, and not a reset for a body that was not read.
        None => {
            stream.shutdown(Shutdown::Write).ok();
            wait_for_end(&mut stream);
        }
        Some("") => wait_for_end(&mut stream),
        Some(again) => while stream.write_all(again.as_bytes()).is_ok() {},
    }
}

/// Reads what comes until the other side has left.
fn wait_for_end(stream: &mut TcpStream) {
    match std::io::copy(stream, &mut std::io::sink()) {
        Ok(_) => {}
        Err(error) => assert_ne!(error.kind(), ErrorKind::InvalidInput, "{error}"),
    }
}

/// Runs every command against every kind, and tells all surprises at once.
fn expect(kinds: &[Kind]) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("services.yaml");
    std::fs::write(&file, "services: {web: 'http://127.0.0.1:9'}").unwrap();
    let mut surprises = Vec::new();
    for kind in kinds {
        let server = BadServer::start(&kind.manner);
        for command in COMMANDS {
            let exception = kind
                .except
                .iter()
                .find(|(begin, _, _)| command.starts_with(begin));
            let (exit, says) =
                exception.map_or((kind.exit, kind.says), |(_, exit, says)| (*exit, *says));
            let is_patient = exit == 4 || command.starts_with("wait");
            let timeout = if is_patient { "300ms" } else { "30s" };
            let words = command.replace("FILE", &file.display().to_string());
            let ran = end(
                hermes(&format!("{words} --timeout {timeout}")).env("HERMES_ADDR", &server.url)
            );
            if let Some(surprise) = surprise(&ran, exit, says) {
                surprises.push(format!("{} / {command}: {surprise}: {ran:#?}", kind.name));
            }
        }
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

fn surprise(ran: &Ran, exit: i32, says: &str) -> Option<String> {
    if ran.code != Some(exit) {
        return Some(format!("exits with {:?}, not {exit}", ran.code));
    }
    if !ran.err.contains(says) {
        return Some(format!("does not say {says:?}"));
    }
    if !ran.out.is_empty() {
        return Some("there is data on stdout".into());
    }
    // The words of a server say themselves what to do.
    let is_told = ran.err.contains("Because. So. Do.");
    (!ran.err.contains("hint: ") && !is_told).then(|| "says nothing of what to do".into())
}

#[test]
fn who_denies_is_told_from_who_fails() {
    expect(&denying());
}

#[test]
fn a_stranger_is_no_server() {
    expect(&strangers());
}

#[test]
fn a_connection_that_breaks_is_no_answer() {
    expect(&broken());
}

#[test]
fn what_never_ends_is_ended() {
    expect(&endless());
}

#[test]
fn nobody_there_is_unreachable() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("services.yaml");
    std::fs::write(&file, "services: {web: 'http://127.0.0.1:9'}").unwrap();
    for command in COMMANDS {
        let command = command.replace("FILE", &file.display().to_string());
        let is_patient = command.starts_with("wait");
        let timeout = if is_patient { "300ms" } else { "30s" };
        run(&format!(
            "{command} --addr http://127.0.0.1:1 --timeout {timeout}"
        ))
        .exits(6)
        .prints(&[])
        .says("connection refused")
        .says("`hermes serve`");
    }
    end(hermes("resolve web").env("HERMES_ADDR", "http://127.0.0.1:1")).exits(6);
    run("resolve web --addr http://no-such-host.invalid:1")
        .exits(6)
        .says("no-such-host");
}

/// An answer in pieces that never ends, and never says how long it will be.
#[test]
fn an_endless_answer_is_given_up_at_its_bound() {
    let chunk = format!("4000\r\n{}\r\n", " ".repeat(0x4000));
    let head = format!("HTTP/1.1 200 OK\r\n{CLUSTER}{JSON}transfer-encoding: chunked\r\n\r\n");
    let server = BadServer::start(&Manner::Forever(head, chunk));
    run(&format!("resolve web --addr {}", server.url))
        .exits(1)
        .prints(&[])
        .says("has more than 67108864 bytes");
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n".to_owned();
    let server = BadServer::start(&Manner::Forever(
        head,
        format!("data: {}", "x".repeat(16_384)),
    ));
    run(&format!("watch --once --addr {}", server.url))
        .exits(1)
        .prints(&[])
        .says("an event has more than");
}

/// A command that is new has to stand in the table.
#[test]
fn every_command_that_asks_is_tried() {
    let help = run("--help").exits(0).out;
    let list = help.split("Commands:\n").nth(1).unwrap_or_default();
    let listed = list.lines().take_while(|line| line.starts_with("  "));
    let listed: Vec<&str> = listed
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(listed.contains(&"resolve"), "{help}");
    for name in listed {
        let is_tried = COMMANDS
            .iter()
            .any(|command| command.split(' ').next() == Some(name));
        assert!(
            is_tried || ALONE.contains(&name),
            "`hermes {name}` is not tried"
        );
    }
}
