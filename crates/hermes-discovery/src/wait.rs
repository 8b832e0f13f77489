//! Waiting for services when a program starts (R170, R176).

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use hermes_core::name::Name;
use tokio::time::timeout;

use crate::answer::ResolveError;
use crate::service_discovery::{Attention, ServiceDiscovery};

/// What was not there when the patience had ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NotReady {
    /// The services that are not registered, or that nobody could be asked about.
    pub missing: Vec<String>,
    /// Those that are registered, and have no endpoint that is ready.
    pub unhealthy: Vec<String>,
}

/// Waits until all these services have an endpoint that is ready. Waits for changes, and asks again
/// only when there was one, or once a second while nobody can be asked.
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
/// After `patience`: what is missing, and what is not ready. Both are logged as errors, once. Before
/// that when waiting is in vain: when a name is none, or the discovery is shut down.
pub async fn wait_for_services(
    discovery: &dyn ServiceDiscovery,
    services: &[&str],
    patience: Duration,
) -> Result<(), NotReady> {
    let services = &once(services.to_vec())[..];
    tracing::info!(services = services.join(", "), "waiting for services");
    let waiting = async {
        let mut attention = Attention::to(discovery, services).await;
        loop {
            let (not_ready, is_in_vain) = look(discovery, services).await;
            if not_ready.is_empty() || is_in_vain || !attention.is_called().await {
                return not_ready;
            }
        }
    };
    let not_ready = match timeout(patience, waiting).await {
        Ok(not_ready) => not_ready,
        Err(_elapsed) => look(discovery, services).await.0,
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

/// Each service once, as it was spelt first.
pub(crate) fn once<N: AsRef<str>>(mut services: Vec<N>) -> Vec<N> {
    let mut seen = HashSet::new();
    services.retain(|service| {
        let text = service.as_ref();
        seen.insert(Name::parse(text).map_err(|_invalid| text.to_owned()))
    });
    services
}

/// What is not ready now, and whether it never will be.
async fn look(discovery: &dyn ServiceDiscovery, services: &[&str]) -> (NotReady, bool) {
    let (mut not_ready, mut is_in_vain) = (NotReady::default(), false);
    for service in services {
        match discovery.resolve_ready(service).await {
            Ok(_) => {}
            Err(ResolveError::NothingReady { endpoints, .. }) if endpoints > 0 => {
                not_ready.unhealthy.push((*service).to_owned());
            }
            Err(error) => {
                is_in_vain |= matches!(error, ResolveError::Name { .. });
                not_ready.missing.push((*service).to_owned());
            }
        }
    }
    (not_ready, is_in_vain)
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
