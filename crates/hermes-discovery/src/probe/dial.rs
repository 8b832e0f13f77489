//! Dialling: the one place where a probe opens a socket, and so the one place for a policy on where
//! it may.
//!
//! Only what is registered is dialled, and of that only what is within [`Reach`]. A name is resolved
//! once for each probe, by the system, judged, and pinned: all attempts go to what was judged. Its
//! addresses are tried in turn, each with its share of the time that is left. The system's
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
use super::reach::Reach;

/// Lookups of names at the same time. One more waits, within the timeout of its attempt.
const LOOKUPS_MAX: usize = 64;

/// Opens connections, where it may.
#[derive(Debug)]
pub(super) struct Dialer {
    lookups: Arc<Semaphore>,
    reach: Reach,
    /// Every address that a socket was opened to.
    #[cfg(test)]
    dialled: std::sync::Mutex<Vec<SocketAddr>>,
}

impl Dialer {
    pub(super) fn new(reach: Reach) -> Self {
        Self {
            lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)),
            reach,
            #[cfg(test)]
            dialled: std::sync::Mutex::default(),
        }
    }

    /// A connection to the first of `addresses` that accepts one before `deadline`.
    pub(super) async fn dial(
        &self,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<TcpStream, Failure> {
        let mut failure = Failure::Broken("its name has no address");
        for (tried, address) in addresses.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let sharing = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            failure = match timeout(left / sharing, self.open(*address)).await {
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

    /// The addresses of `host` that a probe may dial, in the order of the system's resolver.
    ///
    /// When there are some and all are refused, it is said why.
    pub(super) async fn addresses(
        &self,
        host: &Host,
        port: u16,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, Failure> {
        let mut addresses = self.resolve(host, port, deadline).await?;
        let mut refused = None;
        addresses.retain(|address| match self.reach.judge(*address) {
            Ok(()) => true,
            Err(reason) => {
                refused = Some(reason);
                false
            }
        });
        match refused {
            Some(reason) if addresses.is_empty() => Err(Failure::Refused(reason)),
            _ => Ok(addresses),
        }
    }

    async fn resolve(
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
            Ok(Ok(Ok(addresses))) => Ok(addresses),
            Ok(_) => Err(Failure::Broken("its name cannot be resolved")),
            Err(_elapsed) => Err(Failure::Broken("its name was not resolved in time")),
        }
    }

    /// Opens a connection. No other function of the probe does.
    async fn open(&self, address: SocketAddr) -> io::Result<TcpStream> {
        #[cfg(test)]
        self.dialled.lock().unwrap().push(address);
        let stream = TcpStream::connect(address).await?;
        // On the machine's own address a port of the ephemeral range, with nobody behind it, can be
        // answered by the very socket that dials it. That is nobody all the same.
        if stream.local_addr()? == stream.peer_addr()? {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses that no probe may dial while Hermes is not on loopback itself.
    const HOSTILE: [[u8; 4]; 14] = [
        [127, 0, 0, 1],
        [127, 0, 0, 2],
        [127, 1, 2, 3],
        [127, 255, 255, 254],
        [0, 0, 0, 0],
        [0, 0, 0, 1],
        [169, 254, 169, 254],
        [169, 254, 170, 2],
        [169, 254, 0, 1],
        [100, 100, 100, 200],
        [168, 63, 129, 16],
        [224, 0, 0, 1],
        [239, 255, 255, 250],
        [255, 255, 255, 255],
    ];
    const HOSTILE_NAMES: [&str; 20] = [
        "::",
        "::1",
        "[::1]",
        "0:0:0:0:0:0:0:1",
        "fe80::1",
        "fe80::a9fe:a9fe",
        "febf::1",
        "ff02::1",
        "ff0e::fb",
        "fd00:ec2::254",
        "fd20:ce::254",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "ip6-localhost",
        "0",
        "127.1",
        "127.0.1",
        "0x7f.1",
        "017700000001",
    ];

    /// The address in every way in which it can be written as a host.
    fn spellings([a, b, c, d]: [u8; 4]) -> Vec<String> {
        let number = u32::from_be_bytes([a, b, c, d]);
        let (high, low) = (number >> 16, number & 0xffff);
        let (low_inverted, high_inverted) = (!low & 0xffff, !high & 0xffff);
        vec![
            format!("{a}.{b}.{c}.{d}"),
            format!("{a}.{b}.{c}.{d}."),
            format!("{number}"),
            format!("{number:#x}"),
            format!("{number:#X}"),
            format!("0{number:o}"),
            format!("{a:#x}.{b:#x}.{c:#x}.{d:#x}"),
            format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
            format!("{a}.{}", number & 0xff_ffff),
            format!("{a}.{b}.{low}"),
            format!("00{a}.{b}.{c}.{d}"),
            format!("::ffff:{a}.{b}.{c}.{d}"),
            format!("::ffff:{high:x}:{low:x}"),
            format!("0:0:0:0:0:ffff:{high:x}:{low:x}"),
            format!("[::ffff:{high:04x}:{low:04x}]"),
            format!("::{a}.{b}.{c}.{d}"),
            format!("::ffff:0:{high:x}:{low:x}"),
            format!("64:ff9b::{a}.{b}.{c}.{d}"),
            format!("64:ff9b:1::{high:x}:{low:x}"),
            format!("2002:{high:x}:{low:x}::"),
            format!("2002:{high:x}:{low:x}::1"),
            format!("2001:0:53aa:64c:0:0:{high_inverted:x}:{low_inverted:x}"),
        ]
    }

    #[tokio::test]
    async fn of_three_hundred_hostile_targets_none_is_dialled() {
        let dialer = Dialer::new(Reach {
            loopback: false,
            own: vec!["10.0.0.9:8001".parse().unwrap()],
            deny: vec!["10.9.0.0/16".parse().unwrap()],
            ..Reach::default()
        });
        let mut targets: Vec<String> = HOSTILE.into_iter().flat_map(spellings).collect();
        targets.extend(HOSTILE_NAMES.map(String::from));
        targets.extend(["10.9.8.7", "::ffff:10.9.8.7"].map(String::from));
        assert!(targets.len() >= 300, "{}", targets.len());
        let (mut judged, mut no_host) = (0, 0);
        for target in &targets {
            // What is no host at all cannot be registered either.
            let Ok(host) = Host::parse(target) else {
                no_host += 1;
                continue;
            };
            let deadline = Instant::now() + std::time::Duration::from_secs(20);
            match dialer.addresses(&host, 80, deadline).await {
                Err(Failure::Refused(_)) => judged += 1,
                // A name that is nobody's.
                Err(Failure::Broken(_)) => {}
                other => panic!("{target}: {other:?}"),
            }
        }
        assert!(
            judged >= 150,
            "{judged} of {}; {no_host} are no hosts",
            targets.len()
        );
        assert_eq!(*dialer.dialled.lock().unwrap(), []);
        let own = Host::parse("10.0.0.9").unwrap();
        let deadline = Instant::now() + std::time::Duration::from_secs(5);
        let refused = dialer.addresses(&own, 8001, deadline).await;
        assert!(matches!(refused, Err(Failure::Refused(_))), "{refused:?}");
    }

    #[tokio::test]
    async fn what_is_allowed_is_dialled_and_noted() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let dialer = Dialer::new(Reach::default());
        let deadline = Instant::now() + std::time::Duration::from_secs(20);
        let host = Host::parse("127.0.0.1").unwrap();
        let addresses = dialer
            .addresses(&host, address.port(), deadline)
            .await
            .unwrap();
        dialer.dial(&addresses, deadline).await.unwrap();
        assert_eq!(*dialer.dialled.lock().unwrap(), [address]);
    }
}
