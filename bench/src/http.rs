//! Just enough HTTP/1.1: the text of a request, the length of a reply, and a client that waits.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use memchr::memmem;

use crate::failure::Failure;

const END_OF_HEAD: &[u8] = b"\r\n\r\n";
const CONTENT_LENGTH: &[u8] = b"\r\ncontent-length: ";
/// More than any head or reply here.
const REPLY_MAX: usize = 1024 * 1024;

/// The text of a request with a body of JSON, or with none.
pub(crate) fn request(method: &str, address: SocketAddr, path: &str, body: &str) -> Vec<u8> {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\n");
    let rest = match body.len() {
        0 => "\r\n".to_owned(),
        n => format!("content-type: application/json\r\ncontent-length: {n}\r\n\r\n{body}"),
    };
    (head + &rest).into_bytes()
}

/// How long the reply is that begins `bytes`; `None` while its head is not whole. Only success is a
/// reply here, and one that does not say its length has no body.
pub(crate) fn reply_length(bytes: &[u8]) -> Result<Option<usize>, Failure> {
    let Some(end) = memmem::find(bytes, END_OF_HEAD) else {
        return match bytes.len() {
            ..REPLY_MAX => Ok(None),
            _ => Err(Failure::Unusable("a head does not end".into())),
        };
    };
    if !bytes.starts_with(b"HTTP/1.1 2") {
        let text = String::from_utf8_lossy(bytes);
        return Err(Failure::Unusable(format!("the answer is {text}")));
    }
    let head = end + END_OF_HEAD.len();
    let body = memmem::find(&bytes[..end], CONTENT_LENGTH).map_or(0, |at| {
        bytes[at + CONTENT_LENGTH.len()..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .fold(0, |length, byte| length * 10 + usize::from(byte - b'0'))
    });
    Ok(Some(head + body))
}

/// A client of one connection that waits for each reply; for what is not measured.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    stream: TcpStream,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).map_err(Failure::of("connecting"))?;
        stream
            .set_nodelay(true)
            .map_err(Failure::of("connecting"))?;
        Ok(Self { address, stream })
    }

    /// Sends one request; the bytes of its reply, head included.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        body: &str,
    ) -> Result<Vec<u8>, Failure> {
        self.stream
            .write_all(&request(method, self.address, path, body))
            .map_err(Failure::of("sending a request"))?;
        let mut reply = Vec::new();
        let mut chunk = [0; 16 * 1024];
        loop {
            let read = self.stream.read(&mut chunk);
            let read = read.map_err(Failure::of("reading a reply"))?;
            if read == 0 {
                return Err(Failure::Unusable("a reply was cut off".into()));
            }
            reply.extend_from_slice(&chunk[..read]);
            if reply_length(&reply)?.is_some_and(|length| length <= reply.len()) {
                return Ok(reply);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_as_long_as_it_says() {
        let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\ndate: x\r\n\r\n{\"";
        assert_eq!(reply_length(reply).unwrap(), Some(reply.len() + 10));
        assert_eq!(reply_length(&reply[..20]).unwrap(), None);
        let empty = b"HTTP/1.1 204 No Content\r\ndate: x\r\n\r\n";
        assert_eq!(reply_length(empty).unwrap(), Some(empty.len()));
    }

    #[test]
    fn an_error_is_not_a_reply() {
        assert!(reply_length(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").is_err());
    }
}
