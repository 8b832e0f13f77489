//! A reader of server-sent events that is stricter than any browser.
//!
//! It takes events apart line by line and accepts no line that the contract does not speak of. The
//! bytes of each event are kept as they came, so that they can be compared without being parsed.

use std::net::SocketAddr;

use bytes::{Buf, Bytes, BytesMut};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::client::{Call, Client, DEADLINE, Response};
use crate::shape;

/// A watch that is being read.
#[derive(Debug)]
pub(crate) struct Events {
    stream: TcpStream,
    /// As it came from the socket, in chunks.
    raw: BytesMut,
    /// Without the chunks.
    text: BytesMut,
    /// So much of the text has no end of an event in it.
    scanned: usize,
    is_over: bool,
    pub(crate) head: Response,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: Option<u64>,
    pub(crate) retry: Option<u64>,
    pub(crate) data: Bytes,
    /// All of it.
    pub(crate) frame: Bytes,
}

impl Events {
    /// Begins a watch. `query` is what follows the question mark.
    pub(crate) async fn open(address: SocketAddr, query: &str) -> Self {
        Self::send(address, Call::get(&format!("/api/v1/watch?{query}"))).await
    }

    pub(crate) async fn send(address: SocketAddr, call: Call) -> Self {
        Self::over(Client::open(address).await, call).await
    }

    pub(crate) async fn over(mut client: Client, call: Call) -> Self {
        client.write(&call.to_bytes()).await;
        let head = client.head().await.expect("a watch is answered");
        assert_eq!(head.status, 200, "{head:?}");
        assert_eq!(head.text("content-type"), "text/event-stream");
        assert_eq!(head.text("cache-control"), "no-store");
        assert_eq!(head.text("transfer-encoding"), "chunked");
        let (stream, raw) = client.into_parts();
        Self {
            stream,
            raw: BytesMut::from(&raw[..]),
            text: BytesMut::new(),
            scanned: 0,
            is_over: false,
            head,
        }
    }

    /// The next event, whatever it is; `None` when the stream has ended in order.
    pub(crate) async fn next_or_end(&mut self) -> Option<Event> {
        loop {
            if let Some(frame) = self.take_frame() {
                return Some(parse(frame));
            }
            if self.is_over {
                assert!(self.text.is_empty(), "a torn event: {:?}", self.text);
                return None;
            }
            self.more().await;
        }
    }

    /// The next event, which must be these very bytes. Takes nothing apart, for those who hear much.
    pub(crate) async fn expect_frame(&mut self, frame: &[u8]) {
        while self.text.len() < frame.len() {
            self.more().await;
        }
        let found = self.text.split_to(frame.len());
        assert!(*found == *frame, "{found:?} instead of {frame:?}");
    }

    pub(crate) async fn next(&mut self) -> Event {
        self.next_or_end().await.expect("the stream goes on")
    }

    /// The next event that is no progress.
    pub(crate) async fn news(&mut self) -> Event {
        let give_up = Instant::now() + DEADLINE;
        loop {
            let event = self.next().await;
            if event.name != "progress" {
                return event;
            }
            assert!(Instant::now() < give_up, "nothing but {event:?}");
        }
    }

    /// The next event that is no progress, which must be a `name`.
    pub(crate) async fn expect(&mut self, name: &str) -> Event {
        let event = self.news().await;
        assert_eq!(event.name, name, "{event:?}");
        event
    }

    /// The next change.
    pub(crate) async fn change(&mut self) -> Value {
        self.expect("change").await.json()
    }

    /// The greeting, the snapshots, and the revision that they are the state at.
    pub(crate) async fn sync(&mut self) -> (Value, Vec<Value>, u64) {
        let hello = self.next().await;
        assert_eq!((hello.name.as_str(), hello.id), ("hello", None));
        let hello = hello.json();
        shape::check(&hello, shape::HELLO);
        let (snapshots, revision) = self.snapshots().await;
        (hello, snapshots, revision)
    }

    /// Snapshots until `synced`, and its revision.
    pub(crate) async fn snapshots(&mut self) -> (Vec<Value>, u64) {
        let mut snapshots = Vec::new();
        loop {
            let event = self.next().await;
            let data = event.json();
            if event.name == "synced" {
                shape::check(&data, shape::SYNCED);
                assert_eq!(data["revision"].as_u64(), event.id);
                return (snapshots, event.id.unwrap_or_default());
            }
            assert_eq!((event.name.as_str(), event.id), ("snapshot", None));
            shape::check(&data, shape::SNAPSHOT);
            snapshots.push(data);
        }
    }

    /// The greeting of a watch that goes on where another one ended.
    pub(crate) async fn hello(&mut self) -> Value {
        let hello = self.next().await;
        assert_eq!(hello.name, "hello");
        hello.json()
    }

    /// Takes an event out of the text, when all of it is there.
    fn take_frame(&mut self) -> Option<Bytes> {
        while let Some(at) = self.text[self.scanned..]
            .iter()
            .position(|byte| *byte == b'\n')
        {
            let line_end = self.scanned + at;
            match self.text.get(line_end + 1) {
                None => {
                    self.scanned = line_end;
                    return None;
                }
                Some(b'\n') => {
                    self.scanned = 0;
                    return Some(self.text.split_to(line_end + 2).freeze());
                }
                Some(_) => self.scanned = line_end + 1,
            }
        }
        self.scanned = self.text.len();
        None
    }

    /// Takes the next chunk into the text, or reads until there is more of it.
    async fn more(&mut self) {
        if !self.take_chunk() {
            let read = timeout(DEADLINE, self.stream.read_buf(&mut self.raw)).await;
            let read = read.expect("a watch is never silent for long");
            assert!(read.expect("the connection is open") > 0, "a torn stream");
        }
    }

    /// Takes a chunk out of the raw bytes, when all of it is there.
    fn take_chunk(&mut self) -> bool {
        let Some(line) = self.raw.windows(2).position(|bytes| bytes == b"\r\n") else {
            return false;
        };
        let length = std::str::from_utf8(&self.raw[..line]).expect("a length is ASCII");
        let length = usize::from_str_radix(length, 16).expect("a length is hexadecimal");
        if self.raw.len() < line + 2 + length + 2 {
            return false;
        }
        self.raw.advance(line + 2);
        self.text.extend_from_slice(&self.raw[..length]);
        self.raw.advance(length + 2);
        self.is_over = length == 0;
        true
    }
}

impl Event {
    pub(crate) fn json(&self) -> Value {
        let value: Value = serde_json::from_slice(&self.data).expect("data is one JSON value");
        assert!(value.is_object(), "{value}");
        shape::check_times(&value);
        value
    }
}

fn parse(frame: Bytes) -> Event {
    let (mut name, mut id, mut retry, mut data) = (None, None, None, None);
    let whole = |value: &[u8]| {
        let text = std::str::from_utf8(value).expect("a number is ASCII");
        Some(text.parse::<u64>().expect("it is a number"))
    };
    let lines = frame[..frame.len() - 2].split(|byte| *byte == b'\n');
    for line in lines {
        let colon = line.windows(2).position(|bytes| bytes == b": ");
        let (field, value) = line.split_at(colon.expect("a line is `field: value`"));
        let value = &value[2..];
        let is_first = match field {
            b"event" => name
                .replace(String::from_utf8_lossy(value).into_owned())
                .is_none(),
            b"id" => std::mem::replace(&mut id, whole(value)).is_none(),
            b"retry" => std::mem::replace(&mut retry, whole(value)).is_none(),
            b"data" => data.replace(frame.slice_ref(value)).is_none(),
            _ => false,
        };
        assert!(is_first, "strange or twice: {frame:?}");
    }
    Event {
        name: name.expect("an event has a name"),
        id,
        retry,
        data: data.expect("an event has data"),
        frame,
    }
}
