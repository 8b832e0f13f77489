//! A probe of one's own: what an application, or a test, puts in the place of the built-in ones.
//!
//! The prober keeps doing what it does for every check: when it is due, how often it is tried, how
//! long an attempt may take, how many results in a row count, and that a result counts only for the
//! incarnation that was probed. Only the attempt itself is another.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use hermes_core::check::Check;
use hermes_core::endpoint::Endpoint;
use hermes_core::health::Health;
use tokio::time::timeout;

use super::evidence::{Failure, Seen};

/// Makes one attempt at a check. A closure is enough.
///
/// ```
/// use hermes_discovery::probe::{Asked, Probe, Verdict};
///
/// fn is_a_probe(_: impl Probe) {}
///
/// // Healthy or not is all that there is to say.
/// is_a_probe(|asked: Asked| async move { asked.endpoint.registration().address.port != 13 });
/// // With what was seen, which is shown wherever the health is.
/// is_a_probe(|_: Asked| async { Verdict::degraded("answers, but its queue is long") });
/// ```
#[async_trait]
pub trait Probe: Send + Sync {
    /// Tries once. An attempt that takes longer than the check's timeout is dropped, and counts as
    /// no answer; so does one that panics.
    async fn probe(&self, asked: Asked) -> Verdict;
}

/// What is probed.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The endpoint, as it was when the probe began.
    pub endpoint: Arc<Endpoint>,
    /// Which of the checks of its registration.
    pub(super) at: usize,
}

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// An answer: this is how it is, and what was seen of it. Ends the probe.
    Found(Health, String),
    /// Nobody answered, and why. Tried again, as often as the check says; unhealthy in the end.
    NoAnswer(String),
}

impl Asked {
    /// The check that is executed.
    #[must_use]
    pub fn check(&self) -> &Check {
        &self.endpoint.registration().checks[self.at]
    }
}

impl Verdict {
    /// It works.
    #[must_use]
    pub fn healthy(evidence: impl Into<String>) -> Self {
        Self::Found(Health::Healthy, evidence.into())
    }

    /// It works, but badly.
    #[must_use]
    pub fn degraded(evidence: impl Into<String>) -> Self {
        Self::Found(Health::Degraded, evidence.into())
    }

    /// It does not work.
    #[must_use]
    pub fn unhealthy(evidence: impl Into<String>) -> Self {
        Self::Found(Health::Unhealthy, evidence.into())
    }

    /// Nobody answered.
    #[must_use]
    pub fn no_answer(evidence: impl Into<String>) -> Self {
        Self::NoAnswer(evidence.into())
    }
}

impl From<bool> for Verdict {
    fn from(is_healthy: bool) -> Self {
        if is_healthy {
            Self::healthy("the check says so")
        } else {
            Self::unhealthy("the check says so")
        }
    }
}

#[async_trait]
impl<F, A> Probe for F
where
    F: Fn(Asked) -> A + Send + Sync,
    A: Future<Output: Into<Verdict>> + Send,
{
    async fn probe(&self, asked: Asked) -> Verdict {
        self(asked).await.into()
    }
}

impl fmt::Debug for dyn Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Probe")
    }
}

/// One attempt by `probe`, within the check's timeout.
pub(super) async fn attempt(probe: &dyn Probe, asked: Asked) -> Result<Seen, Failure> {
    let limit = asked.check().timeout;
    match timeout(limit, caught(async { probe.probe(asked).await })).await {
        Ok(Some(Verdict::Found(health, evidence))) => Ok(Seen { health, evidence }),
        Ok(Some(Verdict::NoAnswer(evidence))) => Err(Failure::Told(evidence.into())),
        Ok(None) => Err(Failure::Told("the check panicked".into())),
        Err(_elapsed) => Err(Failure::Silence),
    }
}

/// What `future` gives, or nothing when it panics. It is dropped after that, and all that it shares
/// with others is the application's own.
async fn caught<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        match polled {
            Ok(polled) => polled.map(Some),
            Err(_panic) => Poll::Ready(None),
        }
    })
    .await
}
