//! The TCP check: a connection that is accepted. Nothing is sent, and it is closed at once.

use hermes_core::address::Host;
use tokio::time::Instant;

use super::dial::Dialer;
use super::evidence::{Failure, Seen, span};

/// Tries once.
pub(super) async fn attempt(
    host: &Host,
    port: u16,
    deadline: Instant,
    dialer: &Dialer,
) -> Result<Seen, Failure> {
    let began = Instant::now();
    let stream = dialer.dial(host, port, deadline).await?;
    let peer = stream.peer_addr().map_err(|error| Failure::of_io(&error))?;
    let took = span(began.elapsed());
    Ok(Seen::healthy(format!("connected to {peer} in {took}")))
}

/// The same for a port that speaks TLS, in which this release does not look.
pub(super) async fn attempt_before_tls(
    host: &Host,
    port: u16,
    deadline: Instant,
    dialer: &Dialer,
) -> Result<Seen, Failure> {
    dialer.dial(host, port, deadline).await?;
    Ok(Seen::healthy(format!(
        "accepts connections on port {port} (TLS is not looked into by this release)"
    )))
}
