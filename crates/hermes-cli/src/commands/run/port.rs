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
    timeout(CONNECT_MAX, connect)
        .await
        .is_ok_and(|connected| connected.is_ok())
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

    #[test]
    fn a_host_that_is_not_this_machine_has_no_free_port() {
        // TEST-NET-1, RFC 5737.
        let host = Host::parse("192.0.2.1").unwrap();
        assert!(free(&host).is_err());
    }
}
