//! Health checks, executed: the probe is a watcher and a caller, nothing else.
//!
//! ```text
//!  engine.watch ──► targets ──► queue ──► line ──► probes ──► engine.report
//!                   what is     when it   until    at most    only what is
//!                   probed      is due    there    so many    new (edges)
//!                                         is room
//! ```
//!
//! What is probed is learnt by following the changes, and what is found is brought back as a
//! command; the prober has no state that anybody else needs. Registered, changed and never yet
//! successful checks are probed at once, all others at due times that are spread over their interval
//! (see `schedule`). A slow endpoint delays nobody as long as fewer probes than
//! [`Config::concurrency`] are under way; beyond that, due probes wait in their order, and
//! [`ProbeStats`] shows by how much they are late. No check is ever probed twice at the same time.
//!
//! What each kind of check does:
//!
//! - `http`: one request over HTTP/1.1, see `http`; over TLS, see `tls`, where the port's scheme is
//!   `https` or the check has TLS options.
//! - `tcp`: a connection that is accepted within the timeout; with TLS options, a handshake too.
//! - `heartbeat`: nothing is sent. Silence for longer than the timeout, found at a due time, is
//!   unhealthy; that the endpoint is well it says itself, by [`Engine::heartbeat`].
//!
//! A program that embeds the prober may put a [`Probe`] of its own in the place of the first two.
//!
//! Only the registered host is dialled, by one function (`dial`), and only within [`Reach`]. A probe
//! executes nothing, follows no redirect, and judges only what it asked for: when this machine itself
//! cannot ask (too many open files), nothing is found out and nothing is reported. A failed check
//! never removes an endpoint.

mod dial;
mod evidence;
mod execute;
mod http;
mod line;
mod own;
mod reach;
mod schedule;
mod targets;
mod tcp;
mod tls;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hermes_core::explain::ProbeTimes;
use hermes_core::name::{EndpointId, ServiceKey};
use hermes_core::time::Moment;
use hyper::header::HeaderValue;
use tokio::task::{JoinError, JoinHandle, JoinSet};

use crate::engine::{Engine, Interest, Resume, TooManyWatchers, Watcher};
use dial::Dialer;
use execute::{Context, Done};
use targets::Targets;
use tls::Tls;

pub use own::{Asked, Probe, Verdict};
pub use reach::{IpNet, Reach, Refused};

/// The settings of a prober.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Probes under way at the same time; what is due beyond that waits. An endpoint that does not
    /// answer occupies a place for up to its timeout times its attempts (with the defaults 17 s of
    /// every 30), one that answers for milliseconds. Raising it costs one open file and some 40 KiB
    /// for each probe under way, and bursts of so many connections. Default 2,048: enough for 5,000
    /// endpoints that never answer, with an interval of 10 s and a timeout of 2 s.
    pub concurrency: usize,
    /// Connections kept open between two probes of the same endpoint. Each costs an open file and
    /// some 20 KiB here, and an idle connection at the endpoint; those beyond the bound are closed
    /// after the probe and cost a handshake for the next. Raise the limit of open files with it.
    /// Default 4,096.
    pub kept_connections_max: usize,
    /// Where probes may go.
    pub reach: Reach,
    /// What probes say they are. Default `hermes-probe/<version>`.
    pub user_agent: HeaderValue,
}

impl Default for Config {
    fn default() -> Self {
        let user_agent = concat!("hermes-probe/", env!("CARGO_PKG_VERSION"));
        Self {
            concurrency: 2_048,
            kept_connections_max: 4_096,
            reach: Reach::default(),
            user_agent: HeaderValue::from_static(user_agent),
        }
    }
}

/// How the probes are doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProbeStats {
    /// Checks that are being probed.
    pub targets: usize,
    /// Connections kept open between two probes.
    pub connections_kept: usize,
    /// Probes started since the prober started.
    pub started: u64,
    /// By how much all of them together started after they were due.
    pub lateness_sum: Duration,
    /// By how much the latest of them started after it was due.
    pub lateness_max: Duration,
    /// How many started at most so late, for each bound of [`LATENESS_BOUNDS`], and in the last place
    /// later than all of them.
    pub lateness_counts: [u64; LATENESS_BOUNDS.len() + 1],
}

/// The bounds by which lateness is counted, in milliseconds.
pub const LATENESS_BOUNDS: [u64; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000];

impl ProbeStats {
    fn count(&mut self, lateness: Duration) {
        self.started += 1;
        self.lateness_sum += lateness;
        self.lateness_max = self.lateness_max.max(lateness);
        let bound =
            LATENESS_BOUNDS.partition_point(|bound| u128::from(*bound) < lateness.as_millis());
        self.lateness_counts[bound] += 1;
    }

    /// The bound that all but this share of the probes kept; `None` when it is above all bounds.
    #[must_use]
    pub fn lateness_within(&self, share: f64) -> Option<Duration> {
        // A count of probes is far below 2^53.
        #[expect(clippy::cast_precision_loss, reason = "see above")]
        let enough = |count: u64| count as f64 >= share * self.started as f64;
        let mut seen = 0;
        let mut bounds = LATENESS_BOUNDS.iter().zip(self.lateness_counts);
        let bound = bounds.find(|(_, count)| {
            seen += count;
            enough(seen)
        });
        bound.map(|(bound, _)| Duration::from_millis(*bound))
    }
}

/// Executes the checks of everything that is registered with an engine.
#[derive(Debug)]
pub struct Prober {
    context: Arc<Context>,
    watcher: Watcher,
    targets: Arc<Mutex<Targets>>,
    probes: JoinSet<Done>,
    concurrency: usize,
    /// When it was last said that a probe could not open a file.
    short_of_files_at: Option<Moment>,
}

/// Holds a running prober. Dropping it ends the prober and all its probes.
#[derive(Debug)]
pub struct ProberHandle {
    task: JoinHandle<()>,
    targets: Arc<Mutex<Targets>>,
}

impl Prober {
    /// Starts probing what is registered with `engine`, until the engine is stopped or the handle is
    /// dropped.
    ///
    /// # Errors
    /// When the engine has as many watchers as it may have.
    pub fn start(engine: Engine, config: Config) -> Result<ProberHandle, TooManyWatchers> {
        Self::start_with(engine, config, None)
    }

    /// The same, with a probe in the place of the built-in ones. Checks of kind `heartbeat` stay as
    /// they are: they ask nobody.
    ///
    /// # Errors
    /// As [`Prober::start`].
    pub fn start_with(
        engine: Engine,
        config: Config,
        own: Option<Arc<dyn Probe>>,
    ) -> Result<ProberHandle, TooManyWatchers> {
        let watcher = engine.watch(Interest::everything(), Resume::Fresh)?;
        let targets = Arc::new(Mutex::new(Targets::new(config.kept_connections_max)));
        let context = Context {
            engine,
            dialer: Dialer::new(config.reach),
            tls: Tls::default(),
            user_agent: config.user_agent,
            own,
        };
        let prober = Self {
            context: Arc::new(context),
            watcher,
            targets: Arc::clone(&targets),
            probes: JoinSet::new(),
            concurrency: config.concurrency.max(1),
            short_of_files_at: None,
        };
        let attendance = prober.context.engine.attend();
        let task = tokio::spawn(async move {
            prober.run().await;
            drop(attendance);
        });
        Ok(ProberHandle { task, targets })
    }

    async fn run(mut self) {
        let context = Arc::clone(&self.context);
        let clock = context.engine.clock();
        let mut stopped = std::pin::pin!(context.engine.stopped());
        loop {
            let due = self.start_due();
            let due = async {
                match due {
                    Some(at) => clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = &mut stopped => break,
                () = due => {}
                event = self.watcher.next() => {
                    self.targets.lock().unwrap().hear(&event, clock.now().moment);
                }
                Some(done) = self.probes.join_next_with_id() => {
                    self.take(done.map(|(_, done)| done));
                }
            }
            // A long snapshot, or a flood of results, is always ready; others want to run too.
            tokio::task::coop::consume_budget().await;
        }
        self.probes.shutdown().await;
        self.targets.lock().unwrap().close_kept();
    }

    /// Starts what is due, as far as there is room. What comes back is when to look again.
    fn start_due(&mut self) -> Option<Moment> {
        let now = self.context.engine.clock().now();
        let mut targets = self.targets.lock().unwrap();
        targets.line_up_due(now.moment);
        while self.probes.len() < self.concurrency {
            let context = Arc::clone(&self.context);
            let spawn = |job| self.probes.spawn(execute::run(context, job));
            if !targets.start_next(now, spawn) {
                break;
            }
        }
        targets.next_at()
    }

    /// Takes the result of a probe that ended.
    fn take(&mut self, done: Result<Done, JoinError>) {
        let now = self.context.engine.clock().moment();
        let mut targets = self.targets.lock().unwrap();
        match done {
            Ok(done) => {
                if done.is_own_limit {
                    targets.close_kept();
                    warn_short_of_files(&mut self.short_of_files_at, now);
                }
                targets.finish(done, now);
            }
            // A probe that was no longer needed.
            Err(error) if error.is_cancelled() => {}
            Err(error) => {
                tracing::error!(%error, "a probe failed by a fault of ours; its endpoint keeps its health");
                targets.recover(error.id(), now);
            }
        }
    }
}

/// Says that probes cannot ask, once a minute while it lasts.
fn warn_short_of_files(said_at: &mut Option<Moment>, now: Moment) {
    const AGAIN_AFTER: Duration = Duration::from_secs(60);
    if said_at.is_none_or(|at| now.since(at) >= AGAIN_AFTER) {
        *said_at = Some(now);
        tracing::warn!(
            "a probe could not open a connection, because this process has too many files open: \
             nothing is found out until that is over; raise its limit of open files"
        );
    }
}

impl ProberHandle {
    /// How the probes are doing.
    #[must_use]
    pub fn stats(&self) -> ProbeStats {
        self.targets.lock().unwrap().stats()
    }

    /// When the check `check` of this incarnation was last probed, and when it will be next.
    #[must_use]
    pub fn times(&self, service: &ServiceKey, id: &EndpointId, check: &str) -> ProbeTimes {
        let targets = self.targets.lock().unwrap();
        targets.times(service, id, check).unwrap_or_default()
    }

    /// Waits until the prober has ended with its engine, and no probe is under way any longer.
    pub async fn ended(&mut self) {
        if !self.task.is_finished() {
            (&mut self.task).await.ok();
        }
    }
}

impl Drop for ProberHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}
