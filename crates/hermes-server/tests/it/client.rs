//! A client that hides nothing: it writes the bytes it is told to and shows those that come back.
//!
//! It is written by hand because most of what is tested here is what a good client library would
//! never send, or would mend without saying so. It checks the ground rules on every answer.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{document, shape};

/// How long anything that must happen may take. Far beyond what it takes, even on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// How long something that must not happen is looked out for. Being too short can only miss a fault,
/// never invent one.
pub(crate) const GLANCE: Duration = Duration::from_millis(100);

/// One connection, kept alive.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

/// A request, byte for byte.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

/// An answer, byte for byte.
#[derive(Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Call {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.into(),
            target: target.into(),
            headers: Vec::new(),
            body: None,
        }
    }

    pub(crate) fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn body(mut self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.header("content-type", media_type)
    }

    /// With a body of JSON, declared as the method wants it.
    pub(crate) fn json(self, value: &Value) -> Self {
        let media_type = match self.method.as_str() {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        self.body(media_type, value.to_string())
    }

    /// With a body that is not declared at all.
    pub(crate) fn plain_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nhost: test\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = &self.body {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

impl Client {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = timeout(DEADLINE, TcpStream::connect(address))
            .await
            .expect("the server accepts within the deadline")
            .expect("the server listens");
        stream.set_nodelay(true).expect("it is a TCP socket");
        Self::over(stream)
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn send(&mut self, call: Call) -> Response {
        self.write(&call.to_bytes()).await;
        let what = format!("{} {}", call.method, call.target);
        let response = self.answer(&call.method).await;
        let response = response.unwrap_or_else(|| unanswered(&what));
        response.check(&call);
        response
    }

    /// The same without looking at more than the status, for those who say much.
    pub(crate) async fn tell(&mut self, call: &Call, status: u16) -> Response {
        self.write(&call.to_bytes()).await;
        let response = self.answer(&call.method).await;
        response.expect("the request is answered").must_be(status)
    }

    pub(crate) async fn get(&mut self, target: &str) -> Response {
        self.send(Call::get(target)).await
    }

    pub(crate) async fn delete(&mut self, target: &str) -> Response {
        self.send(Call::new("DELETE", target)).await
    }

    pub(crate) async fn put(&mut self, target: &str, value: &Value) -> Response {
        self.send(Call::new("PUT", target).json(value)).await
    }

    pub(crate) async fn patch(&mut self, target: &str, value: &Value) -> Response {
        self.send(Call::new("PATCH", target).json(value)).await
    }

    pub(crate) async fn post(&mut self, target: &str, value: &Value) -> Response {
        self.send(Call::new("POST", target).json(value)).await
    }

    /// Registers a static endpoint without checks, which is ready at once. Gives back the endpoint.
    pub(crate) async fn register(&mut self, service: &str, id: &str) -> Value {
        self.register_with(service, id, &json!({})).await
    }

    /// The same with further members.
    pub(crate) async fn register_with(
        &mut self,
        service: &str,
        id: &str,
        members: &Value,
    ) -> Value {
        let mut body = json!({"host": format!("{id}.test"), "port": 80, "checks": [], "ttl": null});
        for (name, value) in members.as_object().expect("members stand in an object") {
            body[name] = value.clone();
        }
        let target = format!("/api/v1/services/{service}/endpoints/{id}");
        let answer = self.put(&target, &body).await;
        assert!(answer.status < 300, "{target}: {answer:?}");
        answer.json()["endpoint"].clone()
    }

    /// The newest revision of the server.
    pub(crate) async fn revision(&mut self) -> u64 {
        self.get("/health").await.must_be(200).revision()
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        timeout(DEADLINE, self.stream.write_all(bytes))
            .await
            .expect("the server reads within the deadline")
            .expect("the connection is open");
    }

    /// Reads one answer; `None` when the server closes instead.
    pub(crate) async fn answer(&mut self, method: &str) -> Option<Response> {
        let mut response = self.head().await?;
        let no_body = method == "HEAD" || matches!(response.status, 100..200 | 204 | 304);
        if no_body {
            return Some(response);
        }
        response.body = match response.header("content-length") {
            Some(length) => {
                let length = length.parse().expect("a length is a number");
                self.take(length).await?
            }
            None => self.chunks().await?,
        };
        Some(response)
    }

    /// Reads the head of an answer, and leaves what follows it.
    pub(crate) async fn head(&mut self) -> Option<Response> {
        let head = self.until(b"\r\n\r\n").await?;
        let head = String::from_utf8(head).expect("a head is ASCII");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok())
            .expect("an answer begins with its status");
        let header = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_ascii_lowercase(), value.to_owned()))
        };
        let headers: Option<Vec<_>> = lines.map(header).collect();
        Some(Response {
            status,
            headers: headers.expect("a header has a name and a value"),
            body: Vec::new(),
        })
    }

    /// What was read beyond the last answer.
    pub(crate) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.buffer)
    }

    /// Reads until the server closes. What came before that is given back.
    pub(crate) async fn end(mut self) -> Vec<u8> {
        while self.more().await {}
        self.buffer
    }

    async fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = String::from_utf8(self.until(b"\r\n").await?).ok()?;
            let length = usize::from_str_radix(line.trim(), 16).expect("a chunk has a length");
            let chunk = self.take(length + 2).await?;
            if length == 0 {
                return Some(body);
            }
            body.extend_from_slice(&chunk[..length]);
        }
    }

    async fn until(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        loop {
            let found = self.buffer.windows(mark.len()).position(|at| at == mark);
            if let Some(at) = found {
                return Some(self.buffer.drain(..at + mark.len()).collect());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            if !self.more().await {
                return None;
            }
        }
        Some(self.buffer.drain(..length).collect())
    }

    /// Reads what comes next; `false` when the server has closed, kindly or not.
    async fn more(&mut self) -> bool {
        let read = timeout(DEADLINE, self.stream.read_buf(&mut self.buffer)).await;
        let read = read.expect("the server answers or closes within the deadline");
        read.is_ok_and(|count| count > 0)
    }
}

fn unanswered(what: &str) -> Response {
    assert!(
        what.is_empty(),
        "{what} was not answered: the server closed"
    );
    Response {
        status: 0,
        headers: Vec::new(),
        body: Vec::new(),
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        write!(f, "{} {:?} {body}", self.status, self.headers)
    }
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(other, _)| other == name);
        let (_, value) = found.next()?;
        assert!(found.next().is_none(), "{name} stands twice in {self:?}");
        Some(value)
    }

    /// A header that must be there.
    pub(crate) fn text(&self, name: &str) -> String {
        let value = self.header(name).unwrap_or_default().to_owned();
        assert!(!value.is_empty(), "no {name} in {self:?}");
        value
    }

    pub(crate) fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        let value = serde_json::from_slice(&self.body);
        assert!(value.is_ok(), "not JSON: {text:?}");
        value.unwrap_or_default()
    }

    pub(crate) fn must_be(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// The problem document of a refusal.
    pub(crate) fn problem(self, status: u16, code: &str) -> Value {
        let problem = self.must_be(status).json();
        assert_eq!(problem["code"], code, "{problem}");
        problem
    }

    pub(crate) fn revision(&self) -> u64 {
        let revision = self.text("hermes-revision").parse();
        revision.expect("a revision is a number")
    }

    pub(crate) fn etag(&self) -> String {
        self.text("etag")
    }

    /// The ground rules, which hold for every answer.
    fn check(&self, call: &Call) {
        document::check(&call.method, &call.target, self);
        let what = format!("{} {}: {self:?}", call.method, call.target);
        let is_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let cluster = self.text("hermes-cluster");
        assert!(cluster.len() == 16 && is_hex(&cluster), "{what}");
        self.revision();
        assert_eq!(self.header("hermes-age"), Some("0.000"), "{what}");
        assert_eq!(self.header("hermes-source"), Some("live"), "{what}");
        assert_eq!(self.header("cache-control"), Some("no-cache"), "{what}");
        assert!(
            (1..=64).contains(&self.text("x-request-id").len()),
            "{what}"
        );
        assert!(
            matches!(self.header("hermes-flags"), None | Some("panic")),
            "{what}"
        );
        if let Some(etag) = self.header("etag") {
            let inner = etag
                .strip_prefix("W/\"")
                .and_then(|rest| rest.strip_suffix('"'));
            let (of, revision) = inner
                .and_then(|etag| etag.split_once('-'))
                .unwrap_or_default();
            assert!(of == cluster && revision.parse::<u64>().is_ok(), "{what}");
        }
        if matches!(self.status, 204 | 304) || call.method == "HEAD" {
            assert!(self.body.is_empty(), "{what}");
            return;
        }
        let media_type = self.text("content-type");
        let is_not_ready = (self.status, call.target.as_str()) == (503, "/readyz");
        if self.status >= 400 && !is_not_ready {
            self.check_problem(&media_type, &what);
        } else if !media_type.starts_with("text/") {
            assert_eq!(media_type, "application/json", "{what}");
            shape::check_times(&self.json());
        }
    }

    fn check_problem(&self, media_type: &str, what: &str) {
        assert_eq!(media_type, "application/problem+json", "{what}");
        let problem = self.json();
        shape::check_times(&problem);
        let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
        let code = text("code");
        assert_eq!(text("type"), format!("urn:hermes:problem:{code}"), "{what}");
        assert_eq!(problem["status"], self.status, "{what}");
        assert_eq!(text("request_id"), self.text("x-request-id"), "{what}");
        assert!(
            !text("title").is_empty() && !text("detail").is_empty(),
            "{what}"
        );
        let may_return = matches!(self.status, 429 | 503) && code != "nothing_ready";
        assert_eq!(self.header("retry-after").is_some(), may_return, "{what}");
        let known = [
            "type",
            "title",
            "status",
            "detail",
            "code",
            "request_id",
            "field",
            "nearest",
            "service_name",
            "endpoints",
            "limit",
            "reason",
            "removed_at",
            "incarnation",
        ];
        let strange = problem.as_object().expect("a problem is an object");
        let strange: Vec<_> = strange
            .keys()
            .filter(|name| !known.contains(&name.as_str()))
            .collect();
        assert!(strange.is_empty(), "{strange:?} in {what}");
    }
}
