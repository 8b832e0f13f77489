//! A server that is scripted to the byte, for what a real one does not do on demand.

use std::io::Write;
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::responder::read_head;

/// Gives the n-th connection the n-th answer, and closes it. Then it refuses connections.
pub(crate) struct Scripted {
    pub(crate) url: String,
    heads: Receiver<String>,
}

impl Scripted {
    pub(crate) fn start(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (seen, heads) = channel();
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                seen.send(read_head(&mut stream)).ok();
                stream.write_all(answer.as_bytes()).ok();
            }
        });
        Self { url, heads }
    }

    /// The head of the next request.
    pub(crate) fn head(&self) -> String {
        self.heads.recv_timeout(Duration::from_secs(30)).unwrap()
    }
}

/// An answer with a body.
pub(crate) fn answer(status: &str, media_type: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// A stream of events, which ends with the connection.
pub(crate) fn events(events: &[(&str, Option<u64>, &str)]) -> String {
    let mut answer = String::from("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n");
    for (event, id, data) in events {
        let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
        answer.push_str(&format!("event: {event}\n{id}data: {data}\n\n"));
    }
    answer
}
