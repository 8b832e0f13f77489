//! The wiring, top to bottom: log, engine, prober, socket, serve, stop.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hermes_core::change::ClusterId;
use hermes_discovery::clock::Clock;
use hermes_discovery::engine::{self, Engine, TooManyWatchers};
use hermes_discovery::log::{LogError, MemoryLog};
use hermes_discovery::probe::{self, Prober};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::api::Api;
use crate::auth::{Gate, KeyFileError};
use crate::config::{Config, LogConfig, LogKind};
use crate::declared::{declare_self, declare_services};
use crate::log::{FileLog, OpenError};
use crate::serve;
use crate::serve::tls::{Tls, TlsError};

/// How long a goodbye waits for the changes before it, in milliseconds.
const HEARD_WITHIN_MILLIS: u32 = 200;

/// How long the engine may take to end: a little more than the last snapshot of a log may.
const ENDS_WITHIN: Duration = Duration::from_secs(6);

/// A server that is bound and ready to serve.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    engine: Engine,
    api: Arc<Api>,
    gate: Arc<Gate>,
    tls: Option<Arc<Tls>>,
    config: Config,
    live: Arc<Live>,
    stopping: watch::Sender<bool>,
}

/// What may change while a server runs.
#[derive(Debug)]
struct Live {
    stop_within: ArcSwap<Duration>,
}

/// Changes a server while it runs.
#[derive(Debug, Clone)]
pub struct Handle {
    live: Arc<Live>,
    api: Arc<Api>,
    engine: Engine,
    gate: Arc<Gate>,
    address: SocketAddr,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address can be reached by others, and there are no keys.
    #[error(
        "refusing to listen on {0}: others can reach it, and there is no key to tell them apart. Make \
         one with `hermes key create admin --role admin`, or listen on a loopback address such as \
         127.0.0.1:8001"
    )]
    NoKeys(SocketAddr),
    /// The address can be reached by others, and what they send can be read on its way.
    #[error(
        "refusing to listen on {0} without TLS: keys could be read on their way. Set tls.cert and \
         tls.key, or, where the network itself is trusted or a proxy adds TLS, plain_http"
    )]
    PlainHttp(SocketAddr),
    /// TLS cannot be spoken.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The keys cannot be read.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// The address cannot be bound.
    #[error(
        "cannot listen on {address}: {source}. Is another server running there? Choose another \
             address with --listen; port 0 picks a free one"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The log cannot be read.
    #[error("the log cannot be read: {0}")]
    Log(#[from] LogError),
    /// Nobody may watch, not even the probes.
    #[error("the probes cannot follow the changes: {0}")]
    Watchers(#[from] TooManyWatchers),
}

/// The engine, on the log that the configuration names.
async fn start_engine(config: &Config) -> Result<Engine, StartError> {
    let engine = engine::Config {
        seed: fastrand::u64(..),
        ..config.engine.clone()
    };
    let (clock, new_cluster) = (Clock::system(), ClusterId(fastrand::u64(..)));
    let LogConfig {
        kind,
        directory,
        options,
    } = &config.log;
    Ok(match kind {
        LogKind::Memory => {
            let log = MemoryLog::new(new_cluster).keeping(engine.feed_changes_max);
            Engine::start(engine, clock, log).await?
        }
        LogKind::File => {
            let log = FileLog::open(directory, options.clone(), new_cluster)?;
            Engine::start(engine, clock, log).await?
        }
    })
}

/// The settings of the probes of a server that listens on `address`: it does not probe itself, and
/// loopback only when whoever registers must be there as well.
fn probing_from(config: &probe::Config, address: SocketAddr) -> probe::Config {
    let mut config = config.clone();
    config.reach.own.push(address);
    config.reach.loopback &= address.ip().is_loopback();
    config
}

/// Reads the keys, and refuses to listen where others could reach a server that has none.
fn guard(address: SocketAddr, config: &Config) -> Result<Arc<Gate>, StartError> {
    let gate = Gate::new(config.keys_file(), &config.auth, Clock::system())?;
    let is_reachable = !address.ip().to_canonical().is_loopback();
    if is_reachable && !gate.has_valid_key() {
        return Err(StartError::NoKeys(address));
    }
    if is_reachable && config.tls.cert.is_none() {
        if !config.plain_http {
            return Err(StartError::PlainHttp(address));
        }
        tracing::warn!(
            %address,
            "keys can be read on their way to this server: it speaks plain HTTP, as plain_http says"
        );
    }
    if gate.is_open() {
        tracing::info!("there are no keys: whoever reaches this server may do everything");
    }
    Ok(Arc::new(gate))
}

impl Server {
    /// Binds the socket and starts the engine and its probes.
    ///
    /// # Errors
    /// When the address is not a loopback address or cannot be bound, or the log cannot be read.
    pub async fn bind(config: Config) -> Result<Self, StartError> {
        let address = config.listen;
        let gate = guard(address, &config)?;
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| StartError::Bind { address, source })?;
        Self::start(listener, gate, config).await
    }

    /// The same on a socket that is bound already, as systemd hands it over; `config.listen` is not
    /// used.
    ///
    /// # Errors
    /// As [`Server::bind`].
    pub async fn on(listener: std::net::TcpListener, config: Config) -> Result<Self, StartError> {
        let wrap = |listener: std::net::TcpListener| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        let listener = wrap(listener).map_err(|source| StartError::Bind {
            address: config.listen,
            source,
        })?;
        let address = listener.local_addr().map_err(|source| StartError::Bind {
            address: config.listen,
            source,
        })?;
        let gate = guard(address, &config)?;
        Self::start(listener, gate, config).await
    }

    async fn start(
        listener: TcpListener,
        gate: Arc<Gate>,
        config: Config,
    ) -> Result<Self, StartError> {
        let address = listener.local_addr().map_err(|source| StartError::Bind {
            address: config.listen,
            source,
        })?;
        let tls = Tls::new(&config.tls)?;
        let engine = start_engine(&config).await?;
        let prober = Prober::start(engine.clone(), probing_from(&config.probe, address))?;
        declare_services(&engine, &config.services).await;
        declare_self(&engine, config.own_place(address)).await;
        let (stopping, stopped) = watch::channel(false);
        let api = Arc::new(Api::new(
            engine.clone(),
            prober,
            Arc::clone(&gate),
            &config,
            stopped,
        ));
        Ok(Self {
            listener,
            address,
            engine,
            api,
            gate,
            tls: tls.map(Arc::new),
            live: Arc::new(Live {
                stop_within: ArcSwap::from_pointee(config.stop_within),
            }),
            config,
            stopping,
        })
    }

    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A handle to change it while it runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {
            live: Arc::clone(&self.live),
            api: Arc::clone(&self.api),
            engine: self.engine.clone(),
            gate: Arc::clone(&self.gate),
            address: self.address,
        }
    }

    /// Serves until `shutdown` is done. Then Hermes is deregistered, watchers are told goodbye, long
    /// polls are answered, and what is in flight is finished; while that lasts, `/readyz` says that
    /// the server is stopping. All of it takes no longer than the configured time.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let connections = serve::Connections::new(&self.config.http, self.tls.clone());
        let tls_files = async {
            match &self.tls {
                Some(tls) => tls.follow().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tls_files => {}
            () = connections.accept(&self.listener, &self.api) => {}
            () = Arc::clone(&self.gate).follow() => {}
            () = shutdown => {}
        }
        let stop_within = **self.live.stop_within.load();
        let engine = self.engine.clone();
        if tokio::time::timeout(stop_within, self.finish(connections))
            .await
            .is_err()
        {
            tracing::warn!("some requests were not finished in time and are cut off");
        }
        engine.stop();
        // The log ends in order, and may write down the state before.
        tokio::time::timeout(ENDS_WITHIN, engine.ended()).await.ok();
    }

    async fn finish(self, connections: serve::Connections) {
        declare_self(&self.engine, None).await;
        // Watchers hear what was answered, and this too, before they are told goodbye. Should the hub
        // be that far behind, they hear it when they come back.
        for _ in 0..HEARD_WITHIN_MILLIS {
            if self.engine.handed_out() >= self.engine.catalog().revision() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.stopping.send_replace(true);
        let late = serve::Connections::late(&self.config.http, self.tls.clone());
        tokio::select! {
            () = connections.finished() => {}
            () = late.accept(&self.listener, &self.api) => {}
        }
        drop(self.listener);
        late.finished().await;
    }
}

impl Handle {
    /// Takes over what may change while a server runs; the rest of `config` is left alone. The keys
    /// are read again.
    pub async fn take_over(&self, config: &Config) {
        self.gate.read_again().await;
        self.live.stop_within.store(Arc::new(config.stop_within));
        self.api.set_limits(config.http.clone());
        declare_services(&self.engine, &config.services).await;
        declare_self(&self.engine, config.own_place(self.address)).await;
    }
}
