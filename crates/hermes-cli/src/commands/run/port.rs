//! Ports: one that is free, and whether somebody accepts connections on one.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use hermes_core::address::Host;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// The first look comes so soon after the start; each next wait is twice as long.
const FIRST: Duration = Duration::from_millis(10);
/// No wait between two looks is longer.
const LONGEST: Duration = Duration::from_millis(500);
/// A connection that takes longer counts as none.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// A port on `host` that was free a moment ago. Nobody holds it: the command has to be quick.
///
/// # Errors
/// When `host` is not an address of this machine, or no port is free.
pub(super) fn free(host: &Host) -> io::Result<u16> {
    let listener = TcpListener::bind((host.as_str(), 0))?;
    Ok(listener.local_addr()?.port())
}

/// Whether somebody accepts connections there.
pub(super) async fn is_accepting(host: &Host, port: u16) -> bool {
    let connect = TcpStream::connect((host.as_str(), port));
    match timeout(CONNECT_MAX, connect).await {
        Ok(Ok(stream)) => !is_with_itself(&stream),
        Ok(Err(_)) | Err(_) => false,
    }
}

/// Whether nobody is at the other end: where the port that is asked for is also the one that the
/// system has chosen to ask from, a connection meets itself (RFC 9293, 3.5, simultaneous opening).
fn is_with_itself(stream: &TcpStream) -> bool {
    let (own, other) = (stream.local_addr(), stream.peer_addr());
    own.is_ok_and(|own| other.is_ok_and(|other| own == other))
}

/// Waits until somebody accepts connections there; `late` is called once when that takes longer
/// than `patience`.
pub(super) async fn until_accepting(
    host: &Host,
    port: u16,
    patience: Duration,
    late: impl FnOnce(),
) {
    let mut late = Some(late);
    let mut waited = Duration::ZERO;
    let mut wait = FIRST;
    while !is_accepting(host, port).await {
        // Several of these must not look in step.
        let jittered = wait.mul_f64(0.5 + fastrand::f64() / 2.0);
        sleep(jittered).await;
        waited += jittered;
        wait = wait.saturating_mul(2).min(LONGEST);
        if waited > patience
            && let Some(late) = late.take()
        {
            late();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_free_port_accepts_nobody_until_somebody_listens() {
        let host = Host::parse("127.0.0.1").unwrap();
        let port = free(&host).unwrap();
        assert!(!is_accepting(&host, port).await);
        let _listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        until_accepting(&host, port, LONGEST, || {}).await;
    }

    #[tokio::test]
    async fn when_nobody_listens_for_long_that_is_said_once() {
        let host = Host::parse("127.0.0.1").unwrap();
        let port = free(&host).unwrap();
        let (late, mut said) = tokio::sync::mpsc::channel(2);
        let waited = until_accepting(&host, port, Duration::ZERO, || late.try_send(()).unwrap());
        let listened = async {
            said.recv().await.unwrap();
            TcpListener::bind(("127.0.0.1", port)).unwrap()
        };
        let ((), _listener) = tokio::join!(waited, listened);
        assert!(said.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_connection_that_meets_itself_is_none() {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        let stream = socket.connect(address).await.unwrap();
        assert!(is_with_itself(&stream));
    }

    #[test]
    fn a_host_that_is_not_this_machine_has_no_free_port() {
        // TEST-NET-1, RFC 5737.
        let host = Host::parse("192.0.2.1").unwrap();
        assert!(free(&host).is_err());
    }
}
