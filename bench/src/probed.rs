//! What is probed: two times as many endpoints as answer, on one listener.
//!
//! Every address of 127.0.0.0/8 leads to this machine, so each endpoint has an address of its own.
//! Those in 127.1.0.0/16 answer every request at once; those in 127.2.0.0/16 take the connection, and
//! never answer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::failure::Failure;
use crate::{child, files, server};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";
/// Connections that may wait to be accepted: many probes begin at the same moment.
const BACKLOG: u32 = 4_096;

/// The address of an endpoint: every other one is silent.
pub(crate) fn address(number: usize, port: u16) -> SocketAddr {
    let at = u16::try_from(number / 2).unwrap_or(u16::MAX);
    let [third, last] = at.to_be_bytes();
    let second = if number.is_multiple_of(2) { 1 } else { 2 };
    SocketAddr::from((Ipv4Addr::new(127, second, third, last), port))
}

/// Serves all of them until the parent lets go.
pub(crate) fn run() -> Result<(), Failure> {
    files::allow_many();
    server::one_thread()?.block_on(async {
        let listen = || {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))?;
            socket.listen(BACKLOG)
        };
        let listener = listen().map_err(Failure::of("listening"))?;
        let address = listener.local_addr();
        child::say_address(address.map_err(Failure::of("listening"))?);
        let accept = async {
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(answer(stream));
                }
            }
        };
        tokio::select! {
            () = accept => {}
            () = child::let_go() => {}
        }
        Ok(())
    })
}

/// Answers, or does not, for as long as the connection lasts.
async fn answer(mut stream: TcpStream) -> Option<()> {
    let is_silent = match stream.local_addr().ok()?.ip() {
        IpAddr::V4(ip) => ip.octets()[1] == 2,
        IpAddr::V6(_) => false,
    };
    stream.set_nodelay(true).ok()?;
    // A request is small, and comes in one piece.
    let mut request = [0; 1_024];
    while stream.read(&mut request).await.ok()? > 0 {
        if !is_silent {
            stream.write_all(ANSWER).await.ok()?;
        }
    }
    Some(())
}
