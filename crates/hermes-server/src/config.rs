//! The settings of a server. Plain data; every field says its default and what raising it costs.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hermes_core::endpoint::Registration;
use hermes_core::name::Name;
use hermes_discovery::admission::Admission;
use hermes_discovery::engine;
use hermes_discovery::probe;

use crate::auth::{KEYS_FILE, Secret};
use crate::log;

/// The settings of a server.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 picks a free one. Default `127.0.0.1:8001`. Only loopback addresses
    /// are accepted while there are no keys.
    pub listen: SocketAddr,
    /// Where changes go before they count. Default: memory.
    pub log: LogConfig,
    /// The registry itself.
    pub engine: engine::Config,
    /// The health probes.
    pub probe: probe::Config,
    /// Bounds for what strangers send.
    pub http: HttpLimits,
    /// Who is asked for a key.
    pub auth: AuthConfig,
    /// How the listener is secured. Default: not at all, which is for loopback.
    pub tls: TlsConfig,
    /// Whether plain HTTP is spoken off loopback, where keys can be read on their way. Default: no.
    pub plain_http: bool,
    /// Which addresses may be registered (R151). Default: all.
    pub admission: Admission,
    /// How long a stopping server waits for what is in flight. Default 10 s.
    pub stop_within: Duration,
    /// Services that are registered by the configuration itself, static, under the id `default`.
    /// Default: none.
    pub services: BTreeMap<Name, Registration>,
    /// Whether the server registers itself as the service `hermes`. Default: no; `hermes serve` says
    /// yes.
    pub register_self: bool,
    /// What is told on stderr.
    pub logging: Logging,
}

/// Where changes go before they count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// How durable they are. Default: memory; `hermes serve` asks for a file.
    pub kind: LogKind,
    /// The directory of a file log; made when it is not there. Default `hermes-data`, in the working
    /// directory.
    pub directory: PathBuf,
    /// How much of the past a file log keeps.
    pub options: log::Options,
}

/// How durable changes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKind {
    /// They are forgotten with the process.
    Memory,
    /// They survive the process and the machine.
    File,
}

/// What is told on stderr, and how. The server itself only calls `tracing`; whoever runs it
/// subscribes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// A level, or filters such as `hermes_server=debug,warn`. Default `info`.
    pub level: String,
    /// In which form. Default: as fits where stderr leads.
    pub format: LogFormat,
}

/// The form of what is told on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Who is asked for a key, and how often they may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthConfig {
    /// The file of the keys, which `hermes key` writes. Default: `keys.json` in the directory of the
    /// log, and none for a log in memory. A file that is not there is looked for again, so that the
    /// first key counts at once.
    pub keys: Option<PathBuf>,
    /// A key that every service shares (R152), of the role `register`: from the environment, and kept
    /// nowhere. Default: none.
    pub shared_key: Option<Secret>,
    /// Whether reading needs no key where there are keys. Default: no.
    pub anonymous_read: bool,
    /// Requests a second of one key, or of one address that shows none; as many at once after a second
    /// of silence. 0 is no limit. Default 1,000.
    pub requests_per_second: u32,
    /// Whether those who come from loopback are counted, too. Default: no.
    pub limits_loopback: bool,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            keys: None,
            shared_key: None,
            anonymous_read: false,
            requests_per_second: 1_000,
            limits_loopback: false,
        }
    }
}

/// How the listener is secured. All files are PEM, and read again when they change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsConfig {
    /// The certificate with those that lead to its authority, its own first. Default: none, which is
    /// plain HTTP.
    pub cert: Option<PathBuf>,
    /// The key that goes with it.
    pub key: Option<PathBuf>,
    /// The authorities of clients' certificates. Default: none is asked for.
    pub client_ca: Option<PathBuf>,
    /// Whether a client may come without a certificate all the same. Default: no.
    pub client_optional: bool,
}

impl Config {
    /// Where a server that listens on `address` is found, by scheme and address; nothing when it does
    /// not register itself.
    pub(crate) fn own_place(&self, address: SocketAddr) -> Option<(&'static str, SocketAddr)> {
        let scheme = if self.tls.cert.is_some() {
            "https"
        } else {
            "http"
        };
        // Every address of a machine at once is none that anybody could go to.
        let is_place = self.register_self && !address.ip().is_unspecified();
        is_place.then_some((scheme, address))
    }

    /// The file of the keys: the one that is named, else the one beside a log on disk.
    #[must_use]
    pub fn keys_file(&self) -> Option<PathBuf> {
        let beside_log =
            || (self.log.kind == LogKind::File).then(|| self.log.directory.join(KEYS_FILE));
        self.auth.keys.clone().or_else(beside_log)
    }
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

impl Config {
    /// What `hermes serve` begins with: the default, but on disk, and registered with itself.
    #[must_use]
    pub fn served() -> Self {
        let mut config = Self::default();
        config.log.kind = LogKind::File;
        config.register_self = true;
        config
    }
}

/// What a program wants that holds a server within itself: nothing outlives it.
impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8001)),
            log: LogConfig::default(),
            engine: engine::Config::default(),
            probe: probe::Config::default(),
            http: HttpLimits::default(),
            auth: AuthConfig::default(),
            tls: TlsConfig::default(),
            plain_http: false,
            admission: Admission::any(),
            stop_within: Duration::from_secs(10),
            services: BTreeMap::new(),
            register_self: false,
            logging: Logging::default(),
        }
    }
}

impl LogConfig {
    /// A file log.
    #[must_use]
    pub fn on_disk(directory: impl Into<PathBuf>, options: log::Options) -> Self {
        Self {
            kind: LogKind::File,
            directory: directory.into(),
            options,
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            kind: LogKind::Memory,
            directory: "hermes-data".into(),
            options: log::Options::default(),
        }
    }
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            level: "info".into(),
            format: LogFormat::Auto,
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
