//! Layers: each wraps a discovery and changes one thing about it.
//!
//! - [`Balanced`]: several endpoints of a service, each in turn.
//! - [`Required`]: what has to be there when the program starts.
//! - [`Cached`]: answers are kept for a while.
//! - [`Fallback`]: when one discovery does not know, another is asked.
//!
//! A layer is a [`ServiceDiscovery`] again, so they stack: `Required::strict(Balanced::new(InMemory::new()), ["memory"])`.
//! To write one, implement [`Layer`] and override the methods it is about; all others go to what it
//! wraps.

mod balanced;
mod cached;
mod fallback;
mod required;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use hermes_core::endpoint::Registration;
use hermes_core::select::Criteria;

use crate::answer::{ChangeError, ResolveError, Resolved, StartError};
use crate::service_discovery::{ServiceDiscovery, Watch};

pub use balanced::Balanced;
pub use cached::{CacheConfig, Cached};
pub use fallback::Fallback;
pub use required::Required;

/// A discovery that wraps another, and differs from it in the methods that are overridden here. What
/// each of them means is said at [`ServiceDiscovery`], which every layer is.
///
/// ```
/// use hermes_discovery::{InMemory, Layer, ResolveError, Resolved, ServiceDiscovery};
///
/// /// Says aloud what was looked for in vain.
/// #[derive(Debug)]
/// struct Loud<D>(D);
///
/// #[async_trait::async_trait]
/// impl<D: ServiceDiscovery> Layer for Loud<D> {
///     type Inner = D;
///
///     fn inner(&self) -> &D {
///         &self.0
///     }
///
///     async fn resolve(&self, service: &str) -> Result<Resolved, ResolveError> {
///         let answer = self.0.resolve(service).await;
///         answer.inspect_err(|error| println!("{error}"))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let discovery = Loud(InMemory::new());
/// assert!(ServiceDiscovery::resolve(&discovery, "memory").await.is_err());
/// # }
/// ```
#[async_trait]
#[expect(missing_docs, reason = "each method is that of `ServiceDiscovery`")]
#[expect(
    clippy::missing_errors_doc,
    reason = "each method is that of `ServiceDiscovery`"
)]
pub trait Layer: Send + Sync + fmt::Debug {
    /// What is wrapped.
    type Inner: ServiceDiscovery + ?Sized;

    /// What is wrapped.
    fn inner(&self) -> &Self::Inner;

    async fn initialize(&self) -> Result<(), StartError> {
        self.inner().initialize().await
    }

    async fn shutdown(&self) {
        self.inner().shutdown().await;
    }

    async fn resolve(&self, service: &str) -> Result<Resolved, ResolveError> {
        self.inner().resolve(service).await
    }

    async fn resolve_ready(&self, service: &str) -> Result<Resolved, ResolveError> {
        self.inner().resolve_ready(service).await
    }

    async fn select(
        &self,
        service: &str,
        criteria: &Criteria,
    ) -> Result<Vec<Resolved>, ResolveError> {
        self.inner().select(service, criteria).await
    }

    async fn is_healthy(&self, service: &str) -> bool {
        self.inner().is_healthy(service).await
    }

    async fn get_all(&self) -> Result<BTreeMap<String, Resolved>, ResolveError> {
        self.inner().get_all().await
    }

    fn registration(&self, service: &str, url: &str) -> Result<Registration, ChangeError> {
        self.inner().registration(service, url)
    }

    async fn register(&self, service: &str, url: &str) -> Result<(), ChangeError> {
        self.inner().register(service, url).await
    }

    async fn register_endpoint(
        &self,
        service: &str,
        id: &str,
        registration: Registration,
    ) -> Result<(), ChangeError> {
        let inner = self.inner();
        inner.register_endpoint(service, id, registration).await
    }

    async fn deregister(&self, service: &str) -> Result<(), ChangeError> {
        self.inner().deregister(service).await
    }

    async fn deregister_endpoint(&self, service: &str, id: &str) -> Result<(), ChangeError> {
        self.inner().deregister_endpoint(service, id).await
    }

    async fn watch(&self, services: &[&str]) -> Result<Box<dyn Watch>, ResolveError> {
        self.inner().watch(services).await
    }

    async fn wait_until_ready(
        &self,
        service: &str,
        patience: Duration,
    ) -> Result<Resolved, ResolveError> {
        self.inner().wait_until_ready(service, patience).await
    }
}

#[async_trait]
impl<L: Layer> ServiceDiscovery for L {
    async fn initialize(&self) -> Result<(), StartError> {
        Layer::initialize(self).await
    }

    async fn shutdown(&self) {
        Layer::shutdown(self).await;
    }

    async fn resolve(&self, service: &str) -> Result<Resolved, ResolveError> {
        Layer::resolve(self, service).await
    }

    async fn resolve_ready(&self, service: &str) -> Result<Resolved, ResolveError> {
        Layer::resolve_ready(self, service).await
    }

    async fn select(
        &self,
        service: &str,
        criteria: &Criteria,
    ) -> Result<Vec<Resolved>, ResolveError> {
        Layer::select(self, service, criteria).await
    }

    async fn is_healthy(&self, service: &str) -> bool {
        Layer::is_healthy(self, service).await
    }

    async fn get_all(&self) -> Result<BTreeMap<String, Resolved>, ResolveError> {
        Layer::get_all(self).await
    }

    fn registration(&self, service: &str, url: &str) -> Result<Registration, ChangeError> {
        Layer::registration(self, service, url)
    }

    async fn register(&self, service: &str, url: &str) -> Result<(), ChangeError> {
        Layer::register(self, service, url).await
    }

    async fn register_endpoint(
        &self,
        service: &str,
        id: &str,
        registration: Registration,
    ) -> Result<(), ChangeError> {
        Layer::register_endpoint(self, service, id, registration).await
    }

    async fn deregister(&self, service: &str) -> Result<(), ChangeError> {
        Layer::deregister(self, service).await
    }

    async fn deregister_endpoint(&self, service: &str, id: &str) -> Result<(), ChangeError> {
        Layer::deregister_endpoint(self, service, id).await
    }

    async fn watch(&self, services: &[&str]) -> Result<Box<dyn Watch>, ResolveError> {
        Layer::watch(self, services).await
    }

    async fn wait_until_ready(
        &self,
        service: &str,
        patience: Duration,
    ) -> Result<Resolved, ResolveError> {
        Layer::wait_until_ready(self, service, patience).await
    }
}
