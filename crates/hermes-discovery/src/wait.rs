//! Waiting for services when a program starts (R170, R176).

use std::fmt;
use std::time::Duration;

use tokio::time::timeout;

use crate::answer::ResolveError;
use crate::service_discovery::{ServiceDiscovery, Watch};

/// What was not there when the patience had ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NotReady {
    /// The services that are not registered, or that nobody could be asked about.
    pub missing: Vec<String>,
    /// Those that are registered, and have no endpoint that is ready.
    pub unhealthy: Vec<String>,
}

/// Waits until all these services have an endpoint that is ready. Waits for changes, and asks again
/// only when there was one.
///
/// ```
/// use std::time::Duration;
/// use hermes_discovery::{InMemory, ServiceDiscovery, wait_for_services};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let discovery = InMemory::new();
/// let not_ready = wait_for_services(&discovery, &["memory"], Duration::from_millis(20)).await;
/// assert_eq!(not_ready.unwrap_err().to_string(), "Missing services: memory");
/// # discovery.shutdown().await;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// After `patience`: what is missing, and what is not ready. Both are logged as errors, once.
pub async fn wait_for_services(
    discovery: &dyn ServiceDiscovery,
    services: &[&str],
    patience: Duration,
) -> Result<(), NotReady> {
    tracing::info!(services = services.join(", "), "waiting for services");
    let all_ready = async {
        let mut watch = match services {
            [] => None,
            services => discovery.watch(services).await.ok(),
        };
        while !look(discovery, services).await.is_empty() {
            match &mut watch {
                Some(watch) => next(watch).await,
                // Nobody tells of changes: what is missing now stays so.
                None => std::future::pending().await,
            }
        }
    };
    let not_ready = match timeout(patience, all_ready).await {
        Ok(()) => NotReady::default(),
        Err(_elapsed) => look(discovery, services).await,
    };
    if not_ready.is_empty() {
        tracing::info!("all required services are available and healthy");
        return Ok(());
    }
    for (what, names) in [
        ("missing services", &not_ready.missing),
        ("unhealthy services", &not_ready.unhealthy),
    ] {
        if !names.is_empty() {
            tracing::error!(services = names.join(", "), "{what}");
        }
    }
    Err(not_ready)
}

/// Waits for the next event; for ever when there will be none.
async fn next(watch: &mut Box<dyn Watch>) {
    if watch.next().await.is_none() {
        std::future::pending::<()>().await;
    }
}

/// What is not ready now.
async fn look(discovery: &dyn ServiceDiscovery, services: &[&str]) -> NotReady {
    let mut not_ready = NotReady::default();
    for service in services {
        match discovery.resolve_ready(service).await {
            Ok(_) => {}
            Err(ResolveError::NothingReady { endpoints, .. }) if endpoints > 0 => {
                not_ready.unhealthy.push((*service).to_owned());
            }
            Err(_) => not_ready.missing.push((*service).to_owned()),
        }
    }
    not_ready
}

impl NotReady {
    /// Whether everything is ready.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unhealthy.is_empty()
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (what, names) in [
            ("Missing services", &self.missing),
            ("Unhealthy services", &self.unhealthy),
        ] {
            if !names.is_empty() {
                write!(f, "{separator}{what}: {}", names.join(", "))?;
                separator = "; ";
            }
        }
        Ok(())
    }
}

impl std::error::Error for NotReady {}
