//! A server on a free port that stops with the test.

use std::net::{Ipv4Addr, SocketAddr};

use hermes_server::log::OpenError;
use hermes_server::{Config, Server, StartError};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::client::{Client, DEADLINE};

/// A server that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A server with other settings.
    pub(crate) async fn with(settle: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            ..Config::default()
        };
        settle(&mut config);
        loop {
            let bound = Server::bind(config.clone()).await;
            if !matches!(bound, Err(StartError::Open(OpenError::Held(_)))) {
                return Self::of(bound.expect("a free port can be had"));
            }
            // The server before it on the same directory is about to let go of it.
            tokio::task::yield_now().await;
        }
    }

    /// A server that is bound already.
    pub(crate) fn of(server: Server) -> Self {
        let address = server.address();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move {
            // An error means that the test is over, which is a reason to stop too.
            stopped.await.ok();
        };
        let task = tokio::spawn(server.run(shutdown));
        let stop = Some(stop);
        Self {
            address,
            stop,
            task,
        }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::open(self.address).await
    }

    /// Tells it to stop, without waiting.
    pub(crate) fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until it has stopped.
    pub(crate) async fn stopped(mut self) {
        self.begin_stop();
        timeout(DEADLINE, &mut self.task)
            .await
            .expect("the server stops within the deadline")
            .expect("the server does not panic");
    }
}
