//! What has to be there when the program starts (the seed's `RequiredServicesDiscovery`).
//!
//! The seed says both: fail (R140), and log it and go on (R176). Whoever wraps a discovery says which
//! (R237). What was registered before [`ServiceDiscovery::initialize`], and what is loaded by it, is
//! there; whether it is healthy is another question, see [`crate::wait_for_services`].

use async_trait::async_trait;

use super::Layer;
use crate::answer::{ResolveError, StartError};
use crate::service_discovery::ServiceDiscovery;
use crate::wait::once;

/// Verifies, when it is initialized, that services are registered.
///
/// ```
/// use hermes_discovery::{InMemory, Required, ServiceDiscovery};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let discovery = Required::strict(InMemory::new(), ["memory", "cognition"]);
/// discovery.register("memory", "http://memory-service:9000").await?;
/// let error = discovery.initialize().await.unwrap_err();
/// assert_eq!(error.to_string(), "Missing required services: cognition");
/// # discovery.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Required<D> {
    inner: D,
    services: Vec<String>,
    is_strict: bool,
}

impl<D: ServiceDiscovery> Required<D> {
    /// Initializing fails, and names what is missing.
    pub fn strict<N: Into<String>>(inner: D, services: impl IntoIterator<Item = N>) -> Self {
        Self {
            inner,
            services: once(services.into_iter().map(Into::into).collect()),
            is_strict: true,
        }
    }

    /// What is missing is logged as an error, and initializing goes on.
    pub fn warn<N: Into<String>>(inner: D, services: impl IntoIterator<Item = N>) -> Self {
        Self {
            is_strict: false,
            ..Self::strict(inner, services)
        }
    }

    /// Those that are not registered. One that nobody can be asked about is not there either.
    async fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for service in &self.services {
            match self.inner.resolve_ready(service).await {
                Ok(_) => {}
                Err(ResolveError::NothingReady { endpoints, .. }) if endpoints > 0 => {}
                Err(_) => missing.push(service.clone()),
            }
        }
        missing
    }
}

#[async_trait]
impl<D: ServiceDiscovery> Layer for Required<D> {
    type Inner = D;

    fn inner(&self) -> &D {
        &self.inner
    }

    async fn initialize(&self) -> Result<(), StartError> {
        self.inner.initialize().await?;
        let services = self.missing().await;
        if services.is_empty() {
            tracing::info!("all required services are registered");
            return Ok(());
        }
        let error = StartError::Missing { services };
        tracing::error!(%error, "required services are missing");
        if self.is_strict { Err(error) } else { Ok(()) }
    }
}
