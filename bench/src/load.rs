//! The load: connections that ask, wait for the answer, and ask again.
//!
//! It is a closed loop without a pause, so the server always has as much to do as there are
//! connections. It runs in a process of its own, because its work must not count, and looks at no
//! more of a reply than its status and its length, so that one core of it keeps a server busy. It
//! reads the server's processor time itself, right before and after the requests that count.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::failure::Failure;
use crate::pin::{Cores, Seat};
use crate::{child, http, spent};

/// Requests before those that count: connections are open and buffers have grown.
const WARM_UP: Duration = Duration::from_millis(200);
/// A server that says nothing for so long has failed.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// What to ask, of whom, and for how long.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order {
    pub(crate) address: SocketAddr,
    pub(crate) ask: Ask,
    pub(crate) connections: usize,
    pub(crate) each: Duration,
    /// The process whose time counts.
    pub(crate) server: u32,
}

/// One request, or many that differ in a number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ask {
    pub(crate) method: String,
    /// `{n}` stands for the number of the request, `{t}` for a tenth of it.
    pub(crate) path: String,
    /// Likewise.
    pub(crate) body: String,
    /// The numbers begin anew after so many.
    pub(crate) numbers: u64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) requests: u64,
    pub(crate) wall: Duration,
    pub(crate) server: Duration,
    pub(crate) load: Duration,
}

impl Ask {
    pub(crate) fn get(path: &str) -> Self {
        Self {
            method: "GET".into(),
            path: path.to_owned(),
            body: String::new(),
            numbers: 1,
        }
    }

    /// The path and the body of the request of a number.
    pub(crate) fn at(&self, number: u64) -> (String, String) {
        let number = number % self.numbers.max(1);
        let fill = |text: &str| {
            let text = text.replace("{n}", &number.to_string());
            text.replace("{t}", &(number / 10).to_string())
        };
        (fill(&self.path), fill(&self.body))
    }

    fn bytes(&self, address: SocketAddr, number: u64) -> Vec<u8> {
        let (path, body) = self.at(number);
        http::request(&self.method, address, &path, &body)
    }
}

impl Order {
    /// The arguments with which another process of this program reads the order.
    pub(crate) fn to_args(&self) -> [String; 8] {
        [
            self.address.to_string(),
            self.ask.method.clone(),
            self.ask.path.clone(),
            self.ask.body.clone(),
            self.ask.numbers.to_string(),
            self.connections.to_string(),
            self.each.as_secs_f64().to_string(),
            self.server.to_string(),
        ]
    }

    /// Carries it out in a process of its own.
    pub(crate) fn carry_out(&self, cores: &Cores) -> Result<Sample, Failure> {
        let mut args = vec!["load".to_owned()];
        args.extend(self.to_args());
        let line = child::ask(cores, Seat::Load, &args)?;
        let garbled = || Failure::Unusable(format!("the load said {line:?}"));
        Sample::from_line(&line).ok_or_else(garbled)
    }
}

impl Sample {
    /// Requests for one second of the server's processor time.
    pub(crate) fn per_server_second(&self) -> f64 {
        self.requests as f64 / self.server.as_secs_f64().max(1e-9)
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 / self.wall.as_secs_f64().max(1e-9)
    }

    pub(crate) fn to_line(&self) -> String {
        let seconds = |time: Duration| time.as_secs_f64();
        json!({
            "requests": self.requests,
            "wall": seconds(self.wall),
            "server": seconds(self.server),
            "load": seconds(self.load),
        })
        .to_string()
    }

    fn from_line(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let seconds = |name: &str| Duration::try_from_secs_f64(value[name].as_f64()?).ok();
        Some(Self {
            requests: value["requests"].as_u64()?,
            wall: seconds("wall")?,
            server: seconds("server")?,
            load: seconds("load")?,
        })
    }
}

/// In the process of the load: asks, and counts.
pub(crate) fn run(order: &Order) -> Result<Sample, Failure> {
    let server_id = order.server.to_string();
    let spent = || Ok((spent::by_process(&server_id)?, spent::by_process("self")?));
    let mut load = Load::connect(order)?;
    load.ask_for(WARM_UP)?;
    let (before, began) = (spent()?, Instant::now());
    let requests = load.ask_for(order.each)?;
    let (wall, after) = (began.elapsed(), spent()?);
    Ok(Sample {
        requests,
        wall,
        server: after.0.saturating_sub(before.0),
        load: after.1.saturating_sub(before.1),
    })
}

/// Asks each number once, as fast as it goes. For what has to be there before anything is measured.
pub(crate) fn ask_all(order: &Order) -> Result<(), Failure> {
    let mut load = Load::connect(order)?;
    while load.answered < order.ask.numbers {
        load.ask_for(Duration::from_millis(1))?;
    }
    Ok(())
}

struct Load {
    poll: Poll,
    connections: Vec<Connection>,
    requests: Requests,
    answered: u64,
}

/// The requests of an order, in turn.
struct Requests {
    ask: Ask,
    address: SocketAddr,
    next: u64,
    /// The only one, when there is but one.
    fixed: Option<Vec<u8>>,
}

impl Requests {
    fn next(&mut self) -> std::borrow::Cow<'_, [u8]> {
        match &self.fixed {
            Some(fixed) => fixed.as_slice().into(),
            None => {
                let bytes = self.ask.bytes(self.address, self.next);
                self.next += 1;
                bytes.into()
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    /// What has come of the reply that is awaited, at its beginning.
    buffer: Vec<u8>,
    filled: usize,
}

impl Load {
    /// Opens the connections, and sends the first request on each.
    fn connect(order: &Order) -> Result<Self, Failure> {
        let failed = Failure::of("connecting");
        let poll = Poll::new().map_err(&failed)?;
        let fixed = (order.ask.numbers <= 1).then(|| order.ask.bytes(order.address, 0));
        let mut requests = Requests {
            ask: order.ask.clone(),
            address: order.address,
            next: 0,
            fixed,
        };
        let mut connections = Vec::with_capacity(order.connections);
        for at in 0..order.connections {
            let mut stream = std::net::TcpStream::connect(order.address).map_err(&failed)?;
            stream.set_nodelay(true).map_err(&failed)?;
            stream.set_nonblocking(true).map_err(&failed)?;
            stream.write_all(&requests.next()).map_err(&failed)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry()
                .register(&mut stream, Token(at), Interest::READABLE)
                .map_err(&failed)?;
            connections.push(Connection {
                stream,
                buffer: vec![0; 16 * 1024],
                filled: 0,
            });
        }
        Ok(Self {
            poll,
            connections,
            requests,
            answered: 0,
        })
    }

    /// Asks for so long; how many replies came.
    fn ask_for(&mut self, duration: Duration) -> Result<u64, Failure> {
        let mut events = Events::with_capacity(1_024);
        let end = Instant::now() + duration;
        let mut replies = 0;
        while Instant::now() < end {
            self.poll
                .poll(&mut events, Some(SILENCE_MAX))
                .map_err(Failure::of("waiting for replies"))?;
            if events.is_empty() {
                return Err(Failure::Unusable("the server fell silent".into()));
            }
            for event in &events {
                let connection = &mut self.connections[event.token().0];
                if connection.receive()? {
                    replies += 1;
                    self.answered += 1;
                    connection.ask(&self.requests.next())?;
                }
            }
        }
        Ok(replies)
    }
}

impl Connection {
    fn ask(&mut self, request: &[u8]) -> Result<(), Failure> {
        // A request is small, and the one before it was answered: it always fits.
        self.stream
            .write_all(request)
            .map_err(Failure::of("sending a request"))
    }

    /// Reads what is there; whether a reply is whole.
    fn receive(&mut self) -> Result<bool, Failure> {
        loop {
            if self.filled == self.buffer.len() {
                self.buffer.resize(2 * self.filled, 0);
            }
            let read = match self.stream.read(&mut self.buffer[self.filled..]) {
                Ok(0) => return Err(Failure::Unusable("the server hung up".into())),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(Failure::of("reading a reply")(error)),
            };
            self.filled += read;
            let length = http::reply_length(&self.buffer[..self.filled])?;
            if length.is_some_and(|length| length <= self.filled) {
                self.filled = 0;
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_survives_the_way_between_processes() {
        let sample = Sample {
            requests: 123_456,
            wall: Duration::from_millis(2_000),
            server: Duration::from_millis(1_900),
            load: Duration::from_millis(1_500),
        };
        assert_eq!(Sample::from_line(&sample.to_line()), Some(sample));
        assert_eq!(Sample::from_line("{}"), None);
    }
}
