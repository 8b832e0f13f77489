//! The wiring, top to bottom: log, engine, prober, socket, serve, stop.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use hermes_core::change::ClusterId;
use hermes_discovery::clock::Clock;
use hermes_discovery::engine::{self, Engine, TooManyWatchers};
use hermes_discovery::log::{LogError, MemoryLog};
use hermes_discovery::probe::Prober;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::api::Api;
use crate::config::{Config, LogConfig};
use crate::log::{FileLog, OpenError};
use crate::serve;

/// A server that is bound and ready to serve.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    engine: Engine,
    api: Arc<Api>,
    config: Config,
    stopping: watch::Sender<bool>,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address can be reached by others, and there are no keys.
    #[error(
        "refusing to listen on {0}: others can reach it, and this release has no keys to tell them \
         apart. Listen on a loopback address such as 127.0.0.1:8001"
    )]
    NotLoopback(SocketAddr),
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
    Ok(match &config.log {
        LogConfig::Memory => {
            let log = MemoryLog::new(new_cluster).keeping(engine.feed_changes_max);
            Engine::start(engine, clock, log).await?
        }
        LogConfig::File { directory, options } => {
            let log = FileLog::open(directory, options.clone(), new_cluster)?;
            Engine::start(engine, clock, log).await?
        }
    })
}

impl Server {
    /// Binds the socket and starts the engine and its probes.
    ///
    /// # Errors
    /// When the address is not a loopback address or cannot be bound, or the log cannot be read.
    pub async fn bind(config: Config) -> Result<Self, StartError> {
        let listen = config.listen;
        if !listen.ip().is_loopback() {
            return Err(StartError::NotLoopback(listen));
        }
        let bind_error = |source| StartError::Bind {
            address: listen,
            source,
        };
        let listener = TcpListener::bind(listen).await.map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        let engine = start_engine(&config).await?;
        let prober = Prober::start(engine.clone(), config.probe.clone())?;
        let (stopping, stopped) = watch::channel(false);
        let api = Arc::new(Api::new(
            engine.clone(),
            prober,
            config.http.clone(),
            stopped,
        ));
        Ok(Self {
            listener,
            address,
            engine,
            api,
            config,
            stopping,
        })
    }

    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is done. Then no more connections are accepted, watchers are told
    /// goodbye, what is in flight is finished within the configured time, and the engine stops.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let connections = serve::Connections::new(&self.config.http);
        tokio::select! {
            () = connections.accept(&self.listener, &self.api) => {}
            () = shutdown => {}
        }
        drop(self.listener);
        self.stopping.send_replace(true);
        if tokio::time::timeout(self.config.stop_within, connections.finished())
            .await
            .is_err()
        {
            tracing::warn!("some requests were not finished in time and are cut off");
        }
        self.engine.stop();
    }
}
