//! The settings of a server. Plain data; every field says its default and what raising it costs.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hermes_discovery::engine;
use hermes_discovery::probe;

/// The settings of a server.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 picks a free one. Default `127.0.0.1:8001`. Only loopback addresses
    /// are accepted while there are no keys.
    pub listen: SocketAddr,
    /// The registry itself.
    pub engine: engine::Config,
    /// The health probes.
    pub probe: probe::Config,
    /// Bounds for what strangers send.
    pub http: HttpLimits,
    /// How long a stopping server waits for what is in flight. Default 10 s.
    pub stop_within: Duration,
}

/// Bounds for what strangers send.
#[derive(Debug, Clone)]
pub struct HttpLimits {
    /// Connections at the same time; more wait to be accepted. Each costs about 20 KiB. Default
    /// 50,000.
    pub connections: usize,
    /// Bytes of a request's head. Default 16 KiB.
    pub head_bytes: usize,
    /// Time for a request's head, from its first byte. Default 5 s.
    pub head_within: Duration,
    /// Bytes of a body. Default 64 KiB.
    pub body_bytes: usize,
    /// Bytes of a body of many heartbeats. Default 1 MiB.
    pub heartbeats_bytes: usize,
    /// Time for a body. Default 10 s.
    pub body_within: Duration,
    /// Time that a connection may do nothing. Default 75 s.
    pub idle: Duration,
    /// Services that one watcher may name. Default 1,000.
    pub watch_services: usize,
    /// Lists of services that are kept for their next page. Default 64.
    pub cursors: usize,
    /// Bytes of encoded lists that are kept for the next reader. Default 64 MiB.
    pub encoded_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8001)),
            engine: engine::Config::default(),
            probe: probe::Config::default(),
            http: HttpLimits::default(),
            stop_within: Duration::from_secs(10),
        }
    }
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: 50_000,
            head_bytes: 16 * 1024,
            head_within: Duration::from_secs(5),
            body_bytes: 64 * 1024,
            heartbeats_bytes: 1024 * 1024,
            body_within: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            watch_services: 1_000,
            cursors: 64,
            encoded_bytes: 64 * 1024 * 1024,
        }
    }
}
