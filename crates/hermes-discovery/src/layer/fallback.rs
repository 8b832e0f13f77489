//! A ladder: when one discovery does not know a service, the next is asked (R197, R201).
//!
//! *Unknown* and *unreachable* go down a rung. *Nothing ready* does not, unless it is asked for: who
//! knows a service and says that nothing of it may be handed out now is believed. An answer says
//! which rung it comes from. Changes are made at the first rung.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use hermes_core::select::Criteria;

use super::Layer;
use crate::answer::{self, ResolveError, Resolved, StartError};
use crate::engine::Event;
use crate::service_discovery::{ServiceDiscovery, Watch, wait_until_ready};

/// Asks one discovery after the other.
///
/// ```
/// use std::sync::Arc;
/// use hermes_discovery::{Fallback, InMemory, ServiceDiscovery};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (registry, built_in) = (InMemory::new(), InMemory::new());
/// built_in.register("memory", "http://localhost:9000").await?;
/// let discovery = Fallback::new(registry).then(built_in);
/// let memory = discovery.resolve("memory").await?;
/// assert_eq!((memory.url(), memory.provenance.rung), ("http://localhost:9000", 1));
/// # discovery.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Fallback {
    rungs: Vec<Arc<dyn ServiceDiscovery>>,
    is_for_not_ready: bool,
}

impl Fallback {
    /// A ladder of one rung.
    pub fn new(first: impl ServiceDiscovery + 'static) -> Self {
        Self {
            rungs: vec![Arc::new(first)],
            is_for_not_ready: false,
        }
    }

    /// One rung more, below the others.
    #[must_use]
    pub fn then(mut self, next: impl ServiceDiscovery + 'static) -> Self {
        self.rungs.push(Arc::new(next));
        self
    }

    /// Goes down as well when a service is known and nothing of it is ready.
    #[must_use]
    pub fn also_when_nothing_is_ready(self) -> Self {
        Self {
            is_for_not_ready: true,
            ..self
        }
    }

    /// The rungs, the first one first.
    fn rungs(&self) -> impl Iterator<Item = (usize, &dyn ServiceDiscovery)> {
        self.rungs.iter().map(|rung| &**rung).enumerate()
    }

    fn goes_on_after(&self, error: &ResolveError) -> bool {
        match error {
            ResolveError::Unknown { .. } | ResolveError::Unreachable { .. } => true,
            ResolveError::NothingReady { .. } => self.is_for_not_ready,
            ResolveError::Name { .. } => false,
        }
    }
}

/// Of two reasons the one that says more: a name is wrong everywhere; who knows a service outweighs
/// who does not; and nobody may conclude that it is unknown while somebody could not be asked.
fn telling(a: Option<ResolveError>, b: ResolveError) -> Option<ResolveError> {
    let weight = |error: &ResolveError| match error {
        ResolveError::Name { .. } => 3,
        ResolveError::NothingReady { .. } => 2,
        ResolveError::Unreachable { .. } => 1,
        ResolveError::Unknown { .. } => 0,
    };
    match a {
        Some(a) if weight(&a) >= weight(&b) => Some(a),
        _ => Some(b),
    }
}

fn at_rung(mut resolved: Resolved, rung: usize) -> Resolved {
    resolved.provenance.rung = rung;
    resolved
}

/// What a rung would resolve to. It is asked for what is ready first, which says nothing in the log:
/// a service that a lower rung knows is not missed.
async fn best_of(rung: &dyn ServiceDiscovery, service: &str) -> Result<Resolved, ResolveError> {
    match rung.resolve_ready(service).await {
        Err(ResolveError::NothingReady { endpoints: 1.., .. }) => rung.resolve(service).await,
        answer => answer.inspect(|resolved| answer::tell_resolved(service, resolved)),
    }
}

/// What a rung will answer.
type Answer<'a, R> = Pin<Box<dyn Future<Output = Result<R, ResolveError>> + Send + 'a>>;

impl Fallback {
    /// Asks rung after rung, until one answers. With the answer comes the rung.
    async fn first<'a, R>(
        &'a self,
        ask: impl Fn(&'a dyn ServiceDiscovery) -> Answer<'a, R> + Send,
    ) -> Result<(usize, R), ResolveError> {
        let mut reason = None;
        for (at, rung) in self.rungs() {
            match ask(rung).await {
                Ok(answer) => return Ok((at, answer)),
                Err(error) => {
                    let goes_on = self.goes_on_after(&error);
                    reason = telling(reason, error);
                    if !goes_on {
                        break;
                    }
                }
            }
        }
        Err(reason.expect("a ladder has a rung, and each rung gave a reason"))
    }
}

#[async_trait]
impl Layer for Fallback {
    type Inner = dyn ServiceDiscovery;

    fn inner(&self) -> &Self::Inner {
        &*self.rungs[0]
    }

    /// Starts every rung. One that does not start is asked all the same later, and is logged now; only
    /// when none starts it is an error.
    async fn initialize(&self) -> Result<(), StartError> {
        let mut failures = Vec::new();
        for (rung, discovery) in self.rungs() {
            if let Err(error) = discovery.initialize().await {
                tracing::warn!(rung, %error, "a rung did not start");
                failures.push(error);
            }
        }
        let has_all_failed = failures.len() == self.rungs.len();
        match failures.into_iter().next() {
            Some(error) if has_all_failed => Err(error),
            _ => Ok(()),
        }
    }

    async fn shutdown(&self) {
        for (_, rung) in self.rungs() {
            rung.shutdown().await;
        }
    }

    /// The first rung that knows the service answers with the best that it has; before that, where
    /// what is not ready is passed over, the first that has something ready.
    async fn resolve(&self, service: &str) -> Result<Resolved, ResolveError> {
        if self.is_for_not_ready
            && let Ok((rung, ready)) = self.first(|rung| rung.resolve_ready(service)).await
        {
            answer::tell_resolved(service, &ready);
            return Ok(at_rung(ready, rung));
        }
        match self.first(|rung| Box::pin(best_of(rung, service))).await {
            Ok((rung, resolved)) => Ok(at_rung(resolved, rung)),
            Err(error) => {
                answer::tell_not_resolved(&error);
                Err(error)
            }
        }
    }

    async fn resolve_ready(&self, service: &str) -> Result<Resolved, ResolveError> {
        let (rung, resolved) = self.first(|rung| rung.resolve_ready(service)).await?;
        Ok(at_rung(resolved, rung))
    }

    async fn select(
        &self,
        service: &str,
        criteria: &Criteria,
    ) -> Result<Vec<Resolved>, ResolveError> {
        let (rung, chosen) = self.first(|rung| rung.select(service, criteria)).await?;
        Ok(chosen
            .into_iter()
            .map(|resolved| at_rung(resolved, rung))
            .collect())
    }

    async fn is_healthy(&self, service: &str) -> bool {
        match self.first(|rung| rung.resolve_ready(service)).await {
            Ok((at, _)) => {
                let rung = &*self.rungs[at];
                rung.is_healthy(service).await
            }
            Err(_) => false,
        }
    }

    async fn get_all(&self) -> Result<BTreeMap<String, Resolved>, ResolveError> {
        let (mut all, mut reason, mut has_answer) = (BTreeMap::new(), None, false);
        for (at, rung) in self.rungs() {
            match rung.get_all().await {
                Ok(of_rung) => {
                    has_answer = true;
                    for (name, resolved) in of_rung {
                        all.entry(name).or_insert(at_rung(resolved, at));
                    }
                }
                Err(error) => reason = telling(reason, error),
            }
        }
        match reason {
            Some(reason) if !has_answer => Err(reason),
            _ => Ok(all),
        }
    }

    /// Hears what happens at every rung. Each has snapshots and revisions of its own.
    async fn watch(&self, services: &[&str]) -> Result<Box<dyn Watch>, ResolveError> {
        let (mut watches, mut reason) = (Vec::new(), None);
        for (_, rung) in self.rungs() {
            match rung.watch(services).await {
                Ok(watch) => watches.push(watch),
                Err(error) => reason = telling(reason, error),
            }
        }
        match reason {
            Some(reason) if watches.is_empty() => Err(reason),
            _ => Ok(Box::new(Watches(watches))),
        }
    }

    async fn wait_until_ready(
        &self,
        service: &str,
        patience: Duration,
    ) -> Result<Resolved, ResolveError> {
        wait_until_ready(self, service, patience).await
    }
}

/// Hears several at once.
#[derive(Debug)]
struct Watches(Vec<Box<dyn Watch>>);

#[async_trait]
impl Watch for Watches {
    async fn next(&mut self) -> Option<Event> {
        while !self.0.is_empty() {
            let (at, event) = first_of(&mut self.0).await;
            if event.is_some() {
                // Whoever spoke last is heard last, so that nobody is drowned out.
                self.0[at..].rotate_left(1);
                return event;
            }
            drop(self.0.remove(at));
        }
        None
    }
}

/// The first event of any of them, and whose it is.
async fn first_of(watches: &mut [Box<dyn Watch>]) -> (usize, Option<Event>) {
    let mut nexts: Vec<Pin<Box<dyn Future<Output = Option<Event>> + Send + '_>>> =
        watches.iter_mut().map(|watch| watch.next()).collect();
    std::future::poll_fn(|context| {
        for (at, next) in nexts.iter_mut().enumerate() {
            if let Poll::Ready(event) = next.as_mut().poll(context) {
                return Poll::Ready((at, event));
            }
        }
        Poll::Pending
    })
    .await
}
