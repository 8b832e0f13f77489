//! Several endpoints of a service, each in turn (the seed's `LoadBalancedServiceDiscovery`).
//!
//! Another URL is another endpoint instead of a replacement, and the ready ones are handed out by a
//! [`Policy`]. The health of each is that of its own checks; nothing is probed for an answer (R244).
//! When none is ready, [`ServiceDiscovery::resolve`] says so in the log, and answers as everywhere
//! with the best that there is, whose health stands in the answer.

use async_trait::async_trait;
use hermes_core::name::EndpointId;
use hermes_core::select::{Criteria, Policy};

use super::Layer;
use crate::answer::{ChangeError, ResolveError, Resolved, tell_resolved};
use crate::service_discovery::ServiceDiscovery;

/// Hands out the ready endpoints of a service, the best by a policy first.
///
/// ```
/// use hermes_discovery::{Balanced, InMemory, ServiceDiscovery};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let discovery = Balanced::new(InMemory::new());
/// discovery.register("memory", "http://memory-1:9000").await?;
/// discovery.register("memory", "http://memory-2:9000").await?;
/// # discovery.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Balanced<D> {
    inner: D,
    policy: Policy,
}

impl<D: ServiceDiscovery> Balanced<D> {
    /// Each in turn.
    pub fn new(inner: D) -> Self {
        Self::by(Policy::RoundRobin, inner)
    }

    /// The best by `policy`.
    pub fn by(policy: Policy, inner: D) -> Self {
        Self { inner, policy }
    }

    async fn next(&self, service: &str) -> Result<Resolved, ResolveError> {
        let criteria = Criteria {
            policy: Some(self.policy),
            ..Criteria::default()
        };
        let chosen = self.inner.select(service, &criteria).await?;
        let first = chosen.into_iter().next();
        Ok(first.expect("a selection that is not an error holds an endpoint"))
    }
}

#[async_trait]
impl<D: ServiceDiscovery> Layer for Balanced<D> {
    type Inner = D;

    fn inner(&self) -> &D {
        &self.inner
    }

    async fn resolve(&self, service: &str) -> Result<Resolved, ResolveError> {
        match self.next(service).await {
            Ok(resolved) => {
                tell_resolved(service, &resolved);
                Ok(resolved)
            }
            Err(error @ ResolveError::NothingReady { endpoints: 1.., .. }) => {
                tracing::warn!(%error, "nothing is ready");
                self.inner.resolve(service).await
            }
            Err(_) => self.inner.resolve(service).await,
        }
    }

    async fn resolve_ready(&self, service: &str) -> Result<Resolved, ResolveError> {
        self.next(service).await
    }

    /// One more endpoint, whose id is its host and port; the same again changes nothing (R135).
    async fn register(&self, service: &str, url: &str) -> Result<(), ChangeError> {
        let registration = self.inner.registration(service, url)?;
        let address = &registration.address;
        let id = EndpointId::of_address(address.host.as_str(), address.port);
        let id = id.map_err(|reason| ChangeError::Name {
            text: address.host.with_port(address.port),
            reason,
        })?;
        let inner = &self.inner;
        inner
            .register_endpoint(service, id.as_str(), registration)
            .await
    }
}
