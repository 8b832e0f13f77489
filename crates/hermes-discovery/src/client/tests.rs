//! The client against servers that are scripted to the byte: good ones, stale ones, odd ones.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::{Client, ClientError, Config, Method, Path};

const HERMES: &str = "hermes-cluster: 00000000000000ab\r\ncontent-type: application/json\r\n";

/// What a scripted server does with one connection: for each request the bytes it answers with;
/// after the last one it closes the connection.
type Script = Vec<String>;

struct Scripted {
    address: String,
    /// The heads of the requests, as they came.
    requests: mpsc::Receiver<String>,
}

impl Scripted {
    async fn start(connections: Vec<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (seen, requests) = mpsc::channel(64);
        tokio::spawn(async move {
            for script in connections {
                let (mut stream, _) = listener.accept().await.unwrap();
                for answer in script {
                    let head = read_request(&mut stream).await;
                    seen.send(head).await.unwrap();
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        Self { address, requests }
    }

    async fn request(&mut self) -> String {
        self.requests.recv().await.unwrap()
    }
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    loop {
        read.push(stream.read_u8().await.unwrap());
        if read.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let head = String::from_utf8(read).unwrap().to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    head + std::str::from_utf8(&body).unwrap()
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn services() -> Path {
    Path::new("/api/v1/services")
}

async fn ask(script: &str) -> Result<super::Answer, ClientError> {
    let server = Scripted::start(vec![vec![script.to_owned()]]).await;
    Client::new(&server.address).unwrap().get(&services()).await
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let script = vec![
        answer("200 OK", HERMES, "{}"),
        answer("200 OK", HERMES, "[]"),
    ];
    let mut server = Scripted::start(vec![script]).await;
    let config = Config {
        caller: "hermes-test/1\n.0".into(),
        ..Config::default()
    };
    let client = Client::with(&format!("http://{}/", server.address), config).unwrap();
    assert_eq!(&client.get(&services()).await.unwrap().body[..], b"{}");
    let path = services().segment("a/b");
    let body = Bytes::from_static(b"{\"url\": 1}");
    let second = client.request(Method::PUT, &path, &[("if-match", "*")], body);
    assert_eq!(&second.await.unwrap().body[..], b"[]");

    let first = server.request().await;
    assert!(
        first.starts_with("get /api/v1/services http/1.1\r\n"),
        "{first}"
    );
    assert!(first.contains(&format!("host: {}\r\n", server.address)));
    assert!(
        first.contains("hermes-client: hermes-test/1.0\r\n"),
        "{first}"
    );
    let second = server.request().await;
    assert!(
        second.starts_with("put /api/v1/services/a%2fb http/1.1\r\n"),
        "{second}"
    );
    assert!(second.contains("if-match: *\r\n"));
    assert!(second.contains("content-type: application/json\r\n"));
    assert!(second.ends_with("\r\n\r\n{\"url\": 1}"));
}

#[tokio::test]
async fn a_connection_that_went_stale_is_replaced_without_a_word() {
    let good = || vec![answer("200 OK", HERMES, "{}")];
    // The second connection takes a request and closes instead of answering: it was kept too long.
    let closing = vec![answer("200 OK", HERMES, "{}"), String::new()];
    let mut server = Scripted::start(vec![good(), closing, good()]).await;
    let client = Client::new(&server.address).unwrap();
    for _ in 0..3 {
        client.get(&services()).await.unwrap();
    }
    for _ in 0..4 {
        server.request().await;
    }
}

#[tokio::test]
async fn a_problem_document_is_a_problem() {
    let body = r#"{"code": "service_unknown", "detail": "No.", "nearest": ["web"]}"#;
    let problem = "content-type: application/problem+json\r\n";
    let error = ask(&answer("404 Not Found", problem, body))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some("service_unknown"));
    assert_eq!(error.to_string(), "No.");
    let ClientError::Problem(problem) = error else {
        panic!("{error:?}")
    };
    assert_eq!(problem.nearest, ["web"]);
}

#[tokio::test]
async fn whatever_is_not_a_hermes_server_is_nonsense() {
    let problem = "content-type: application/problem+json\r\n";
    let cases = [
        (
            answer("404 Not Found", "content-type: text/html\r\n", "<html>"),
            "status 404",
        ),
        (answer("500 Oops", problem, "{}"), "status 500"),
        (answer("500 Oops", problem, "not json"), "status 500"),
        (answer("200 OK", "", "{}"), "names no cluster"),
        ("SSH-2.0-OpenSSH_9.6\r\n\r\n".to_owned(), "not HTTP/1.1"),
    ];
    for (script, part) in cases {
        let error = ask(&script).await.unwrap_err();
        assert!(matches!(error, ClientError::Nonsense { .. }), "{error:?}");
        assert!(error.to_string().contains(part), "{error}");
    }
    let odd = ask(&answer("200 OK", HERMES, "[")).await.unwrap();
    let error = odd.read(serde_json::from_slice::<serde_json::Value>);
    assert!(matches!(error, Err(ClientError::Nonsense { .. })));
}

#[tokio::test]
async fn an_answer_may_not_grow_beyond_its_bound() {
    let script = vec![answer("200 OK", HERMES, "[1, 2, 3]")];
    let server = Scripted::start(vec![script]).await;
    let config = Config {
        bytes_max: 8,
        ..Config::default()
    };
    let client = Client::with(&server.address, config).unwrap();
    let error = client.get(&services()).await.unwrap_err();
    assert!(error.to_string().contains("more than 8 bytes"), "{error}");
}

#[tokio::test]
async fn nobody_there_and_nobody_answering_are_two_things() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let config = Config {
        answer_timeout: Duration::from_millis(30),
        ..Config::default()
    };
    let client = Client::with(&address, config).unwrap();
    let error = client.get(&services()).await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error:?}");
    drop(listener);
    let error = client.get(&services()).await.unwrap_err();
    assert!(
        matches!(error, ClientError::Unreachable { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("connection refused"), "{error}");
}

#[tokio::test]
async fn an_answer_cut_off_is_no_answer() {
    let cut = format!("HTTP/1.1 200 OK\r\n{HERMES}content-length: 10\r\n\r\n{{");
    let error = ask(&cut).await.unwrap_err();
    assert!(
        matches!(error, ClientError::Unreachable { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_stream_gives_its_events_and_then_its_end() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let events = "retry: 2000\nevent: hello\ndata: {}\n\nid: 7\nevent: change\ndata: 1\n\n";
    let mut server = Scripted::start(vec![vec![format!("{head}{events}")]]).await;
    let client = Client::new(&server.address).unwrap();
    let path = Path::new("/api/v1/watch").query("service", "web");
    let mut stream = client
        .events(&path, &[("last-event-id", "6")])
        .await
        .unwrap();
    let request = server.request().await;
    assert!(
        request.starts_with("get /api/v1/watch?service=web "),
        "{request}"
    );
    assert!(request.contains("last-event-id: 6\r\n"));
    assert!(request.contains("accept: text/event-stream\r\n"));

    assert_eq!(stream.next().await.unwrap().unwrap().event, "hello");
    let change = stream.next().await.unwrap().unwrap();
    assert_eq!(
        (change.id.as_deref(), change.data.as_str()),
        (Some("7"), "1")
    );
    assert_eq!(stream.retry(), Some(Duration::from_secs(2)));
    assert_eq!(stream.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_broken() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = Config {
        silence_max: Duration::from_millis(30),
        ..Config::default()
    };
    let address = listener.local_addr().unwrap().to_string();
    let client = Client::with(&address, config).unwrap();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    };
    let path = Path::new("/api/v1/watch");
    let (stream, _open) = tokio::join!(client.events(&path, &[]), server);
    let error = stream.unwrap().next().await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn a_watch_of_something_else_is_nonsense_and_a_refused_one_a_problem() {
    let problem = "content-type: application/problem+json\r\n";
    let refused = answer(
        "400 Bad",
        problem,
        r#"{"code": "invalid_name", "detail": "x"}"#,
    );
    let page = answer("200 OK", "content-type: text/html\r\n", "<html>");
    let server = Scripted::start(vec![vec![page], vec![refused]]).await;
    let client = Client::new(&server.address).unwrap();
    let path = Path::new("/api/v1/watch");
    let error = client.events(&path, &[]).await.unwrap_err();
    assert!(
        error.to_string().contains("no events, but text/html"),
        "{error}"
    );
    let error = client.events(&path, &[]).await.unwrap_err();
    assert_eq!(error.code(), Some("invalid_name"));
}

#[tokio::test]
async fn what_http_cannot_say_is_not_sent() {
    let client = Client::new("127.0.0.1:1").unwrap();
    let long = services().segment(&"a".repeat(70_000));
    let error = client.get(&long).await.unwrap_err();
    assert!(matches!(error, ClientError::Unsendable { .. }), "{error:?}");
    let (path, headers) = (services(), [("a", "\n")]);
    let request = client.request(Method::GET, &path, &headers, Bytes::new());
    let error = request.await.unwrap_err();
    assert!(matches!(error, ClientError::Unsendable { .. }), "{error:?}");
}
