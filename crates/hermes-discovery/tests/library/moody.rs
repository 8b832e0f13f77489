//! A discovery that misbehaves on demand, as a layer like any other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use hermes_discovery::{InMemory, Layer, ResolveError, Resolved, ServiceDiscovery, Watch};
use tokio::sync::Semaphore;

use crate::make::{in_memory, responders};

/// A discovery that counts how often it is asked, that can be out of reach, and that can be slow.
#[derive(Debug, Clone)]
pub(crate) struct Moody {
    pub(crate) inner: InMemory,
    pub(crate) asked: Arc<AtomicUsize>,
    pub(crate) is_away: Arc<AtomicBool>,
    pub(crate) gate: Arc<Semaphore>,
}

impl Moody {
    pub(crate) fn new(healthy: &[&str]) -> Self {
        Self {
            inner: in_memory(&responders(healthy)),
            asked: Arc::default(),
            is_away: Arc::default(),
            gate: Arc::new(Semaphore::new(1_000_000)),
        }
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn reached(&self) -> Result<(), ResolveError> {
        if self.is_away.load(Ordering::SeqCst) {
            let reason = "it is away".to_owned();
            return Err(ResolveError::Unreachable { reason });
        }
        Ok(())
    }

    pub(crate) async fn register(&self, url: &str) {
        ServiceDiscovery::register(&self.inner, "memory", url)
            .await
            .unwrap();
    }
}

#[async_trait]
impl Layer for Moody {
    type Inner = InMemory;

    fn inner(&self) -> &InMemory {
        &self.inner
    }

    async fn resolve(&self, service: &str) -> Result<Resolved, ResolveError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = ServiceDiscovery::resolve(&self.inner, service).await;
        self.gate.acquire().await.unwrap().forget();
        self.reached().and(answer)
    }

    async fn resolve_ready(&self, service: &str) -> Result<Resolved, ResolveError> {
        self.reached()?;
        ServiceDiscovery::resolve_ready(&self.inner, service).await
    }

    async fn watch(&self, services: &[&str]) -> Result<Box<dyn Watch>, ResolveError> {
        self.reached()?;
        ServiceDiscovery::watch(&self.inner, services).await
    }
}
