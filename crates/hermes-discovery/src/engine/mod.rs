//! The engine: one writer, no door for reading.
//!
//! ```text
//!  requests ──┐
//!  reports  ──┼─► lanes ─► plan ─► log.append ─► apply ─┬─► catalog ─► readers
//!  leases   ──┘  (bounded)                              └─► feed ────► watchers
//! ```
//!
//! Everything that asks for a change enters through a lane of its own, so that a flood of requests
//! never delays an expiry or drops a probe result. A single task, the writer, takes a batch,
//! plans it, commits it as one group, applies it, publishes the next catalog and only then answers:
//! an acknowledged write is in the log and is seen by every later read.
//!
//! Readers take the published [`Catalog`] with one atomic load. Heartbeats move a deadline in an
//! atomic beside it. Neither ever waits for the writer.

mod batch;
mod hub;
mod leases;
mod past;
mod stats;
mod watcher;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use hermes_core::catalog::Catalog;
use hermes_core::change::{ChangeKind, ClusterId, Revision};
use hermes_core::check::CheckKind;
use hermes_core::command::{Claim, Command, Report, Request};
use hermes_core::endpoint::Endpoint;
use hermes_core::health::Health;
use hermes_core::limits::Limits;
use hermes_core::name::{EndpointId, ServiceKey};
use hermes_core::plan::find_endpoint;
use hermes_core::rejection::{Rejection, check_claim};
use hermes_core::time::Moment;
use hermes_core::wire::request::Heartbeat;
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::log::{Extent, Log, LogError};
use hub::Hub;
use past::Past;
use stats::Counters;
use writer::{Ask, Writer};

pub use hub::{Interest, TooManyWatchers};
pub use stats::{COMMIT_TIME_BOUNDS, CommitTimes, Stats};
pub use watcher::{Event, ResetReason, Resume, Watcher};

/// The settings of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What a registry may hold.
    pub limits: Limits,
    /// Requests that may wait for the writer; one more is refused as overloaded. Raising it trades
    /// memory and waiting time for fewer refusals in a burst. Default 8,192.
    pub requests_max: usize,
    /// Changes kept in memory for watchers that resume or fell behind; older ones are read from the
    /// log. More of them cost memory that every change has to pass through, and save reads of a log
    /// when many are away for long. Default 8,192.
    pub feed_changes_max: usize,
    /// Bytes of those changes. Default 64 MiB.
    pub feed_bytes_max: usize,
    /// Watchers at the same time. Default 20,000.
    pub watchers_max: usize,
    /// Changes that wait for one watcher before it has to catch up from the feed. Default 1,024.
    pub watcher_changes_max: usize,
    /// Bytes of those changes. Default 4 MiB.
    pub watcher_bytes_max: usize,
    /// The longest time in which a watcher hears nothing. Default 5 s.
    pub progress_interval: Duration,
    /// Seeds the catalog's hashing; should be random and unknown to callers.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            requests_max: 8_192,
            feed_changes_max: 8_192,
            feed_bytes_max: 64 * 1024 * 1024,
            watchers_max: 20_000,
            watcher_changes_max: 1_024,
            watcher_bytes_max: 4 * 1024 * 1024,
            progress_interval: Duration::from_secs(5),
            seed: 0,
        }
    }
}

/// What everybody holds of a running engine. A clone is one reference count.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Ask>,
    reports: mpsc::Sender<Ask>,
}

/// What the writer and the holders share.
struct Shared {
    clock: Clock,
    cluster: ClusterId,
    catalog: ArcSwap<Catalog>,
    hub: Hub,
    past: Past,
    counters: Counters,
    log_lost_at: AtomicU64,
    stop: watch::Sender<bool>,
    /// Each task of the engine listens here, and never hears anything: it is told by their absence.
    tasks: watch::Sender<()>,
    config: Config,
}

/// Says that the log works, in `log_lost_at`.
const LOG_WORKS: u64 = u64::MAX;

/// What an accepted command came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The catalog that contains it.
    pub catalog: Arc<Catalog>,
    /// Whether anything changed.
    pub changed: bool,
    /// Whether a new incarnation began.
    pub registered: bool,
}

/// Why a command came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The command itself is refused; the same again will be refused again.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// More is waiting than may wait: try again later.
    #[error("{waiting} requests are waiting already, which is the limit")]
    Overloaded {
        /// How many are waiting.
        waiting: usize,
    },
    /// The log cannot be written, so nothing may change: try again later.
    #[error("the change could not be made durable: {0}")]
    LogUnavailable(String),
    /// The engine is stopping: ask another, or later.
    #[error("the engine is stopping")]
    Stopping,
}

impl Engine {
    /// Starts an engine on `log`: restores what it holds, and runs the writer until
    /// [`Engine::stop`] is called. Every lease begins anew, so nothing expires before its TTL has
    /// passed again.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn start(config: Config, clock: Clock, mut log: impl Log) -> Result<Self, LogError> {
        let mut catalog = Catalog::new(config.limits.clone(), config.seed);
        log.restore(&mut catalog, clock.now()).await?;
        let hub = hub::filled(&log, catalog.revision(), &config).await?;
        begin_leases(&catalog, &clock);
        let (requests, requests_lane) = mpsc::channel(config.requests_max.max(1));
        // A probe holds its slot until its result is taken, so this lane is bounded by the number of
        // probes in flight, and a full one only makes probes wait.
        let (reports, reports_lane) = mpsc::channel(1_024);
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            clock,
            cluster: log.cluster(),
            hub,
            past: Past::new(log.reader()),
            counters: Counters::default(),
            catalog: ArcSwap::from_pointee(catalog.clone()),
            log_lost_at: AtomicU64::new(LOG_WORKS),
            stop,
            tasks: watch::Sender::new(()),
            config,
        });
        let (writing, handing_out) = (shared.tasks.subscribe(), shared.tasks.subscribe());
        let lanes = writer::Lanes {
            requests: requests_lane,
            reports: reports_lane,
            stopped,
        };
        let writer = Writer::new(log, catalog, Arc::clone(&shared), lanes);
        tokio::spawn(async move {
            writer.run().await;
            drop(writing);
        });
        let of_hub = Arc::clone(&shared);
        tokio::spawn(async move {
            hub::run(of_hub).await;
            drop(handing_out);
        });
        Ok(Self {
            shared,
            requests,
            reports,
        })
    }

    /// Everything that is registered, at one revision. One atomic load; hold it only briefly, or
    /// clone the `Arc` within.
    #[must_use]
    #[inline]
    pub fn catalog(&self) -> Guard<Arc<Catalog>> {
        self.shared.catalog.load()
    }

    /// The same, to be kept.
    #[must_use]
    pub fn catalog_kept(&self) -> Arc<Catalog> {
        self.shared.catalog.load_full()
    }

    /// Which log the revisions belong to.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.shared.cluster
    }

    /// The engine's clock.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.shared.clock
    }

    /// The longest time in which a watcher hears nothing.
    #[must_use]
    pub fn progress_interval(&self) -> Duration {
        self.shared.config.progress_interval
    }

    /// Since when the log has not been writable; `None` while it works. Nothing expires meanwhile.
    #[must_use]
    pub fn log_lost_at(&self) -> Option<Moment> {
        let at = self.shared.log_lost_at.load(Ordering::Acquire);
        (at != LOG_WORKS).then_some(Moment(at))
    }

    /// What the engine has done since it was started.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (watchers, overflows) = self.shared.hub.counts();
        Stats {
            requests_waiting: self.requests.max_capacity() - self.requests.capacity(),
            reports_waiting: self.reports.max_capacity() - self.reports.capacity(),
            watchers,
            overflows,
            ..self.shared.counters.now()
        }
    }

    /// What it was started with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// What its log takes up.
    #[must_use]
    pub fn log_extent(&self) -> Extent {
        self.shared.past.extent()
    }

    /// Asks for a change and waits until it is durable and visible. Once this was called the change
    /// may happen even if the caller stops waiting.
    ///
    /// # Errors
    /// When the command is refused, too much is waiting, or the log cannot be written. Nothing
    /// changes then.
    pub async fn submit(&self, request: Request) -> Result<Outcome, Refusal> {
        let (reply, answer) = oneshot::channel();
        match self.requests.try_send(Ask::new(request, Some(reply))) {
            Ok(()) => answer.await.unwrap_or(Err(Refusal::Stopping)),
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.shared.counters.refused();
                let waiting = self.shared.config.requests_max;
                Err(Refusal::Overloaded { waiting })
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Refusal::Stopping),
        }
    }

    /// Brings what a check found. Waits for room instead of being refused: probes are few, and each
    /// result matters.
    ///
    /// # Errors
    /// When the log cannot be written, or the engine is stopping.
    pub async fn report(&self, report: Report) -> Result<Outcome, Refusal> {
        let (reply, answer) = oneshot::channel();
        let request = Request {
            command: Command::Report(report),
            actor: "probe".into(),
            condition: hermes_core::command::Condition::Always,
            claim: Claim::Free,
        };
        let ask = Ask::new(request, Some(reply));
        self.reports
            .send(ask)
            .await
            .map_err(|_closed| Refusal::Stopping)?;
        answer.await.unwrap_or(Err(Refusal::Stopping))
    }

    /// A heartbeat: renews the lease at once, without the writer. What it says about health goes the
    /// way of a probe result, and only when it says something new.
    ///
    /// # Errors
    /// When there is no such endpoint, it was removed, it belongs to somebody else, or a newer
    /// incarnation lives.
    pub async fn heartbeat(
        &self,
        service: &ServiceKey,
        id: &EndpointId,
        heartbeat: &Heartbeat,
        claim: &Claim,
    ) -> Result<(), Refusal> {
        let report = self.beat(service, id, heartbeat, claim)?;
        if let Some(report) = report {
            self.report(report).await?;
        }
        Ok(())
    }

    /// The part of a heartbeat that never waits. What comes back is news about health, if any.
    ///
    /// # Errors
    /// As [`Engine::heartbeat`].
    pub fn beat(
        &self,
        service: &ServiceKey,
        id: &EndpointId,
        heartbeat: &Heartbeat,
        claim: &Claim,
    ) -> Result<Option<Report>, Rejection> {
        let catalog = self.catalog();
        let endpoint = find_endpoint(&catalog, service, id)?;
        check_claim(claim, endpoint)?;
        let current = endpoint.incarnation;
        let (service, id) = (service.clone(), id.clone());
        if heartbeat.incarnation.is_some_and(|of| of != current) {
            return Err(Rejection::IncarnationStale {
                service,
                id,
                current,
            });
        }
        let now = self.shared.clock.now();
        endpoint
            .pulse
            .beat(now)
            .map_err(|_closed| Rejection::EndpointGone {
                service,
                id,
                by: ChangeKind::Expired,
                at: now.time,
            })?;
        if let Some(load) = heartbeat.load {
            endpoint.pulse.report_load(load);
        }
        Ok(news_of(endpoint, heartbeat))
    }

    /// Follows the changes.
    ///
    /// # Errors
    /// When there are as many watchers as there may be.
    pub fn watch(&self, interest: Interest, resume: Resume) -> Result<Watcher, TooManyWatchers> {
        Watcher::new(Arc::clone(&self.shared), interest, resume)
    }

    /// The change up to which the queues of watchers have been filled. It follows the catalog's
    /// revision, and reaches it soon.
    #[must_use]
    pub fn handed_out(&self) -> Revision {
        self.shared.hub.handed_out()
    }

    /// Stops the writer. What waits is refused as stopping; reads go on.
    pub fn stop(&self) {
        self.shared.stop.send_replace(true);
    }

    /// Held by a task that works for the engine, for as long as it does.
    pub(crate) fn attend(&self) -> watch::Receiver<()> {
        self.shared.tasks.subscribe()
    }

    /// Resolves when every task of the engine has ended, which they do when it is stopped; its prober,
    /// if it has one, is among them.
    pub async fn ended(&self) {
        self.shared.tasks.closed().await;
    }

    /// Resolves when [`Engine::stop`] was called.
    pub async fn stopped(&self) {
        // The sender lives as long as `self`, so waiting can only end by the value.
        self.shared
            .stop
            .subscribe()
            .wait_for(|stopped| *stopped)
            .await
            .ok();
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("cluster", &self.shared.cluster)
            .field("revision", &self.catalog().revision())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

/// What a heartbeat says about the health of an endpoint that has a check for it, if it is new.
fn news_of(endpoint: &Endpoint, heartbeat: &Heartbeat) -> Option<Report> {
    let mut checks = endpoint.state.checks();
    let (check, finding) = checks.find(|(check, _)| check.kind == CheckKind::Heartbeat)?;
    let health = heartbeat.health.unwrap_or(Health::Healthy);
    // What flaps is told about, too, so that it can be found to be steady again.
    (finding.health != health || endpoint.state.flapping).then(|| Report {
        service: endpoint.service.clone(),
        id: endpoint.id.clone(),
        incarnation: endpoint.incarnation,
        check: Arc::new(check.clone()),
        health,
        evidence: heartbeat
            .note
            .as_deref()
            .unwrap_or("it says so itself")
            .into(),
    })
}

/// Begins every lease anew. However long it took to restore them, they are whole at its end: until
/// then no heartbeat could arrive.
fn begin_leases(catalog: &Catalog, clock: &Clock) {
    let now = clock.now().moment;
    for endpoint in catalog.services().flat_map(|view| &view.endpoints) {
        // Only what was removed has a closed lease.
        endpoint.pulse.lease.renew(now).ok();
        // What was replayed did not happen just now.
        endpoint.pulse.damping.reset();
    }
}
