//! The Hermes that is measured: the library, as `hermes serve` runs it, on one thread.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use hermes_server::{Config, LogKind, Server};
use tokio::runtime;

use crate::child;
use crate::failure::Failure;

pub(crate) fn run(directory: Option<PathBuf>) -> Result<(), Failure> {
    let mut log = Config::default().log;
    if let Some(directory) = directory {
        (log.kind, log.directory) = (LogKind::File, directory);
    }
    one_thread()?.block_on(async {
        let config = Config {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            log,
            ..Config::default()
        };
        let server = Server::bind(config)
            .await
            .map_err(|error| Failure::Unusable(format!("Hermes does not start ({error})")))?;
        child::say_address(server.address());
        server.run(child::let_go()).await;
        Ok(())
    })
}

/// The runtime of every server here, so that none has an advantage by it.
pub(crate) fn one_thread() -> Result<runtime::Runtime, Failure> {
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::of("starting a runtime"))
}
