//! The floor of every HTTP row: bare hyper that answers everything with the same bytes.
//!
//! It looks at nothing, decides nothing and allocates next to nothing, so it is what hyper, tokio and
//! the kernel cost by themselves. Its reply has as many bytes on the wire as that of Hermes, but three
//! headers instead of eleven; what is missing there is in the body. Making and writing headers is work
//! that Hermes chose to do, so it counts.

use std::convert::Infallible;
use std::net::Ipv4Addr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::failure::Failure;
use crate::{child, server};

/// What hyper writes before the body, with the digits of `content-length` left out.
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: \r\n\
                    date: Sat, 21 Nov 2026 18:05:03 GMT\r\n\r\n";

/// Answers everything with `bytes` bytes, head included.
pub(crate) fn run(bytes: usize) -> Result<(), Failure> {
    let body = Bytes::from(vec![b'x'; body_length(bytes)?]);
    server::one_thread()?.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.map_err(Failure::of("listening"))?;
        let address = listener.local_addr();
        child::say_address(address.map_err(Failure::of("listening"))?);
        tokio::select! {
            ended = accept(&listener, &body) => ended,
            () = child::let_go() => Ok(()),
        }
    })
}

async fn accept(listener: &TcpListener, body: &Bytes) -> Result<(), Failure> {
    loop {
        let (stream, _peer) = listener
            .accept()
            .await
            .map_err(Failure::of("accepting a connection"))?;
        tokio::spawn(serve(stream, body.clone()));
    }
}

async fn serve(stream: TcpStream, body: Bytes) {
    stream.set_nodelay(true).ok();
    let service = service_fn(|request: Request<Incoming>| {
        let mut response = Response::new(Full::new(body.clone()));
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        async {
            // What is sent is taken, and not looked at.
            let body = request.into_body();
            if !body.is_end_stream() {
                body.collect().await.ok();
            }
            Ok::<_, Infallible>(response)
        }
    });
    // A connection that ends badly is noticed by the load.
    http1::Builder::new()
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service)
        .await
        .ok();
}

/// How long the body is in a reply of `bytes` bytes.
fn body_length(bytes: usize) -> Result<usize, Failure> {
    let with = |digits: usize| bytes.checked_sub(HEAD.len() + digits);
    let fitting = (1..=9).find_map(|digits| {
        let body = with(digits)?;
        (body.to_string().len() == digits).then_some(body)
    });
    let detail = || format!("no reply has {bytes} bytes");
    fitting.ok_or_else(|| Failure::Unusable(detail()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_makes_up_for_the_head() {
        let reply = |body: usize| HEAD.len() + body.to_string().len() + body;
        for bytes in [200, 400, 509, 1_500, 20_000] {
            assert_eq!(reply(body_length(bytes).unwrap()), bytes);
        }
        assert!(body_length(50).is_err());
    }
}
