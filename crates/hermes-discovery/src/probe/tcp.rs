//! The TCP check: a connection that is accepted, and over which TLS is agreed when the check asks for
//! it. Nothing else is sent, and it is closed at once.

use tokio::time::{Instant, timeout_at};

use super::evidence::{Failure, Seen, span};
use super::line::Line;

/// Tries once.
pub(super) async fn attempt(line: &Line<'_>) -> Result<Seen, Failure> {
    let began = Instant::now();
    let stream = timeout_at(line.deadline, line.open())
        .await
        .map_err(|_elapsed| Failure::Silence)??;
    let peer = stream.tcp().peer_addr();
    let peer = peer.map_err(|error| Failure::of_io(&error))?;
    let (over, took) = (stream.over(), span(began.elapsed()));
    Ok(Seen::healthy(format!(
        "connected to {peer}{over} in {took}"
    )))
}
