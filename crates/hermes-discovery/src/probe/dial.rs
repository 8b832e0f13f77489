//! Dialling: the one place where a probe opens a socket, and so the one place for a policy on where
//! it may.
//!
//! Only what is registered is dialled. A name is resolved once for each attempt, by the system, and
//! its addresses are tried in turn, each with its share of the time that is left. The system's
//! resolver cannot be interrupted: a lookup that nobody waits for any longer keeps its thread.
//! Therefore only so many run at the same time, counted until they really end; a dead name server
//! must not take the threads that the log writes with.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hermes_core::address::Host;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::evidence::Failure;

/// Lookups of names at the same time. One more waits, within the timeout of its attempt.
const LOOKUPS_MAX: usize = 64;

/// Opens connections. Cheap to clone; all clones share the bound on lookups.
#[derive(Debug, Clone)]
pub(super) struct Dialer {
    lookups: Arc<Semaphore>,
}

impl Dialer {
    pub(super) fn new() -> Self {
        let lookups = Arc::new(Semaphore::new(LOOKUPS_MAX));
        Self { lookups }
    }

    /// A connection to the first address of `host` that accepts one before `deadline`.
    pub(super) async fn dial(
        &self,
        host: &Host,
        port: u16,
        deadline: Instant,
    ) -> Result<TcpStream, Failure> {
        let mut addresses = self.addresses(host, port, deadline).await?;
        let mut failure = Failure::Broken("its name has no address");
        while let Some(address) = addresses.pop() {
            let left = deadline.saturating_duration_since(Instant::now());
            let sharing = u32::try_from(addresses.len() + 1).unwrap_or(u32::MAX);
            failure = match timeout(left / sharing, open(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => Failure::of_io(&error),
                Err(_elapsed) => Failure::Silence,
            };
            if failure == Failure::OwnLimit {
                break;
            }
        }
        Err(failure)
    }

    /// The addresses of `host`, the first one last.
    async fn addresses(
        &self,
        host: &Host,
        port: u16,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, Failure> {
        if let Some(ip) = host.ip() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let lookup = async {
            let permit = Arc::clone(&self.lookups).acquire_owned().await;
            let host = host.clone();
            // A task of its own, which keeps the permit until the system has answered.
            let lookup = tokio::spawn(async move {
                let _permit = permit;
                let found = lookup_host((host.as_str(), port)).await;
                found.map(Iterator::collect::<Vec<SocketAddr>>)
            });
            lookup.await
        };
        match timeout_at(deadline, lookup).await {
            Ok(Ok(Ok(mut addresses))) => {
                addresses.reverse();
                Ok(addresses)
            }
            Ok(_) => Err(Failure::Broken("its name cannot be resolved")),
            Err(_elapsed) => Err(Failure::Broken("its name was not resolved in time")),
        }
    }
}

/// Opens a connection. No other function of the probe does.
async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // On the machine's own address a port of the ephemeral range, with nobody behind it, can be
    // answered by the very socket that dials it. That is nobody all the same.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    Ok(stream)
}
