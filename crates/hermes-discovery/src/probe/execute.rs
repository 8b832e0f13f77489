//! One probe, from the first attempt to the edge that it brings back.
//!
//! An attempt that comes to no answer is made again, one second later, up to the number that the
//! check asks for; none begins after half the interval. An answer ends the probe, whatever it says
//! (R169). To fail over a connection that was kept from the last probe is no attempt: it may have
//! died since, so the same is asked at once over a new one. Silence there counts after half the
//! interval, when there is no time left to ask again.
//!
//! The result counts results in a row, and is brought to the engine only when it is another than the
//! catalog shows at that moment, for that very incarnation and check. So an edge is reported once, a
//! report that failed is made again with the next result, and a result that is too late is dropped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hermes_core::check::{Check, CheckKind, TlsOptions};
use hermes_core::command::Report;
use hermes_core::endpoint::Endpoint;
use hermes_core::health::{Health, Streak};
use hermes_core::time::{Moment, Now, whole_millis};
use hyper::header::HeaderValue;
use tokio::time::{Instant, sleep};
use tracing::{Instrument, debug_span};

use super::dial::Dialer;
use super::evidence::{Failure, Seen, bounded, span};
use super::http::{self, Connection};
use super::line::Line;
use super::own::{self, Asked, Probe};
use super::tcp;
use super::tls::Tls;
use crate::engine::Engine;

/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// What all probes share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) engine: Engine,
    pub(super) dialer: Dialer,
    pub(super) tls: Tls,
    pub(super) user_agent: HeaderValue,
    /// What probes in the place of the built-in ones.
    pub(super) own: Option<Arc<dyn Probe>>,
}

/// What one probe works on.
#[derive(Debug)]
pub(super) struct Job {
    /// What is probed, as its bookkeeper calls it.
    pub(super) target: u64,
    pub(super) endpoint: Arc<Endpoint>,
    /// Which of the endpoint's checks.
    pub(super) at: usize,
    /// Since when the prober knows the target.
    pub(super) known_since: Moment,
    pub(super) streak: Streak,
    pub(super) kept: Option<Connection>,
}

/// What is left of a probe.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) target: u64,
    pub(super) streak: Streak,
    pub(super) kept: Option<Connection>,
    /// Whether this machine could not ask, so that nothing was found out.
    pub(super) is_own_limit: bool,
}

/// What came of a probe.
enum Found {
    /// A result.
    Result(Seen),
    /// That it was heard from. Whether that is healthy, only the endpoint can say.
    Heard,
    /// Nothing: this machine could not ask.
    OwnLimit,
}

/// Probes once, and brings the result back if it is news.
pub(super) async fn run(context: Arc<Context>, mut job: Job) -> Done {
    let span = debug_span!(
        "probe",
        service = %job.endpoint.service, id = %job.endpoint.id, check = %job.check().name
    );
    let found = probe(&context, &mut job).instrument(span.clone()).await;
    span.in_scope(|| tracing::debug!(is_result = matches!(found, Found::Result(_)), "probed"));
    let is_own_limit = matches!(found, Found::OwnLimit);
    let now = context.engine.clock().now();
    match found {
        Found::Result(seen) => {
            if let Some(health) = job.count(seen.health, now) {
                bring_back(&context, &job, health, bounded(&seen.evidence)).await;
            }
        }
        Found::Heard => drop(job.count(Health::Healthy, now)),
        Found::OwnLimit => {}
    }
    Done {
        target: job.target,
        streak: job.streak,
        kept: job.kept,
        is_own_limit,
    }
}

impl Job {
    fn check(&self) -> &Check {
        &self.endpoint.registration().checks[self.at]
    }

    /// Counts one result, and says what the check finds now.
    fn count(&mut self, health: Health, now: Now) -> Option<Health> {
        let check = &self.endpoint.registration().checks[self.at];
        let registered_at = self.endpoint.state.registered_at.0;
        let in_grace = now.time.0 < registered_at.saturating_add(whole_millis(check.grace));
        self.streak.count(check, health, in_grace)
    }
}

async fn probe(context: &Context, job: &mut Job) -> Found {
    if job.check().kind == CheckKind::Heartbeat {
        return listen(job, context.engine.clock().moment());
    }
    let (interval, attempts_max) = (job.check().interval, job.check().attempts);
    let began = Instant::now();
    let (mut attempts, mut pinned) = (0, None);
    loop {
        let was_kept = job.kept.is_some();
        let failure = match attempt(context, job, &mut pinned).await {
            Ok(seen) => return Found::Result(seen),
            Err(Failure::OwnLimit) => return Found::OwnLimit,
            Err(failure) => failure,
        };
        let is_early = |passed: Duration| passed <= interval / 2;
        if was_kept && (failure != Failure::Silence || is_early(began.elapsed())) {
            continue;
        }
        attempts += 1;
        let words = failure.words(job.check().timeout, 1);
        tracing::debug!(
            service = %job.endpoint.service, id = %job.endpoint.id, check = %job.check().name,
            attempt = attempts, evidence = words, "attempt failed"
        );
        let is_last = failure.is_final() || attempts >= attempts_max;
        if is_last || !is_early(began.elapsed() + PAUSE) {
            let words = failure.words(job.check().timeout, attempts);
            return Found::Result(Seen::unhealthy(words));
        }
        sleep(PAUSE).await;
    }
}

/// One attempt at a check that asks. `pinned` is where this probe dials, once that was found out.
async fn attempt(
    context: &Context,
    job: &mut Job,
    pinned: &mut Option<Vec<SocketAddr>>,
) -> Result<Seen, Failure> {
    if let Some(own) = &context.own {
        let endpoint = Arc::clone(&job.endpoint);
        let asked = Asked {
            endpoint,
            at: job.at,
        };
        return own::attempt(&**own, asked).await;
    }
    let mut kept = job.kept.take();
    let (registration, check) = (job.endpoint.registration(), job.check());
    let Some(port) = registration.ports.get(check.port.as_str()) else {
        return Err(Failure::Nonsense("it has no port of the name in the check"));
    };
    let (host, deadline) = (&registration.address.host, Instant::now() + check.timeout);
    if pinned.is_none() {
        match context.dialer.addresses(host, port.port, deadline).await {
            Ok(addresses) => {
                kept = kept.filter(|kept| addresses.contains(&kept.peer));
                *pinned = Some(addresses);
            }
            // Without a name server, what answers over a connection from before still answers.
            Err(Failure::Broken(_)) if kept.is_some() => {}
            Err(failure) => return Err(failure),
        }
    }
    let tls = match &check.tls {
        None if port.scheme.as_str() == "https" => Some(TlsOptions::default()),
        options => options.as_deref().cloned(),
    };
    let line = Line {
        dialer: &context.dialer,
        tls: tls.as_ref().map(|options| (&context.tls, options)),
        host,
        addresses: pinned.as_deref().unwrap_or_default(),
        deadline,
    };
    match &check.kind {
        CheckKind::Http(http) => {
            let ask = http::Ask {
                check: http,
                port: port.port,
                user_agent: &context.user_agent,
            };
            let (seen, kept) = http::attempt(&ask, &line, kept).await?;
            job.kept = kept;
            Ok(seen)
        }
        CheckKind::Tcp | CheckKind::Heartbeat => tcp::attempt(&line).await,
    }
}

/// The heartbeat check: whether the endpoint was heard from within the timeout. Counted from when the
/// prober began to listen, so that nobody is silent because the server was down.
fn listen(job: &Job, now: Moment) -> Found {
    let silent_for = job.endpoint.pulse.silent_for(now);
    let silent_for = silent_for.min(now.since(job.known_since));
    if silent_for <= job.check().timeout {
        return Found::Heard;
    }
    let evidence = format!("no heartbeat for {}", span(silent_for));
    Found::Result(Seen::unhealthy(evidence))
}

/// Reports the edge, if it is one.
async fn bring_back(context: &Context, job: &Job, health: Health, evidence: Arc<str>) {
    let Some(recorded) = recorded(context, job) else {
        return;
    };
    let is_edge = recorded.health != health;
    // What flaps is reported about, too, so that it can be found to be steady again.
    if !is_edge && !recorded.is_flapping {
        return;
    }
    let report = Report {
        service: job.endpoint.service.clone(),
        id: job.endpoint.id.clone(),
        incarnation: job.endpoint.incarnation,
        check: Arc::new(job.check().clone()),
        health,
        evidence: Arc::clone(&evidence),
    };
    match context.engine.report(report).await {
        Ok(outcome) if outcome.changed && is_edge => {
            tell(job, recorded.health, health, &evidence);
        }
        // It has moved on since it was looked up, or flaps and is held.
        Ok(_) => {}
        Err(refusal) => tracing::debug!(
            service = %job.endpoint.service, id = %job.endpoint.id, check = %job.check().name,
            %refusal, "a result could not be recorded; the next one is tried again"
        ),
    }
}

/// What the catalog shows.
struct Recorded {
    health: Health,
    is_flapping: bool,
}

/// What the catalog shows for the check, if the endpoint is still the one that was probed.
fn recorded(context: &Context, job: &Job) -> Option<Recorded> {
    let catalog = context.engine.catalog();
    let endpoint = catalog.endpoint(&job.endpoint.service, &job.endpoint.id)?;
    if endpoint.incarnation != job.endpoint.incarnation {
        return None;
    }
    let mut checks = endpoint.state.checks();
    let (_, finding) = checks.find(|(check, _)| *check == job.check())?;
    Some(Recorded {
        health: finding.health,
        is_flapping: endpoint.state.flapping,
    })
}

/// Every edge is told once, the first result among them (R231).
fn tell(job: &Job, before: Health, health: Health, evidence: &str) {
    let (service, id, check) = (&job.endpoint.service, &job.endpoint.id, job.check());
    let (name, now) = (&check.name, if_known(before));
    let word = health.word();
    if check.dry_run {
        tracing::info!(%service, %id, check = %name, evidence, health = word, "dry run of a check");
    } else if health.may_serve() {
        tracing::info!(%service, %id, check = %name, evidence, "endpoint is {now}{word}");
    } else {
        tracing::warn!(%service, %id, check = %name, evidence, "endpoint is {now}{word}");
    }
}

/// What tells a change from a first result (R112, R113).
fn if_known(before: Health) -> &'static str {
    if before == Health::Unknown {
        ""
    } else {
        "now "
    }
}
