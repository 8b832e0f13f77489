//! The single writer: takes a batch, plans, commits, applies, publishes, answers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hermes_core::catalog::Catalog;
use hermes_core::change::{ChangeKind, Committed};
use hermes_core::command::{Claim, Command, Condition, Request};
use hermes_core::plan::plan;
use hermes_core::pulse::Pulse;
use hermes_core::time::{Moment, Now};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{Instrument, debug_span};

use super::batch::Batch;
use super::leases::{Leases, RanOut};
use super::{LOG_WORKS, Outcome, Refusal, Shared};
use crate::log::{Appended, Log, LogError};

/// Asks taken from one lane in one go.
const BATCH_MAX: usize = 512;
/// How often a change is planned again after strangers' changes came before it.
const CONFLICTS_MAX: u32 = 8;
/// How long expiries rest when the log could not be written.
const LOG_RETRY_MILLIS: u64 = 1_000;
/// How long an expiry rests that strangers' changes kept coming before.
const CONFLICT_RETRY_MILLIS: u64 = 100;

/// A request on its way, with whoever waits for the answer.
#[derive(Debug)]
pub(super) struct Ask {
    /// Boxed, because an ask is moved from the lane to the batch to the answers.
    pub(super) request: Box<Request>,
    reply: Option<oneshot::Sender<Result<Outcome, Refusal>>>,
    /// The lease that was closed for this expiry, to be opened again if it cannot be committed.
    closed: Option<Arc<Pulse>>,
    conflicts: u32,
}

impl Ask {
    pub(super) fn new(
        request: Request,
        reply: Option<oneshot::Sender<Result<Outcome, Refusal>>>,
    ) -> Self {
        Self {
            request: Box::new(request),
            reply,
            closed: None,
            conflicts: 0,
        }
    }

    fn of_clock(ran_out: RanOut) -> Self {
        let RanOut { command, pulse } = ran_out;
        let request = Request {
            command,
            actor: "lease".into(),
            condition: Condition::Always,
            claim: Claim::Free,
        };
        Self {
            closed: pulse,
            ..Self::new(request, None)
        }
    }

    fn answer(self, answer: Result<Outcome, Refusal>) {
        if let Some(reply) = self.reply {
            // Whoever asked may have gone away; the change stands all the same.
            reply.send(answer).ok();
        }
    }
}

/// Where asks come from.
#[derive(Debug)]
pub(super) struct Lanes {
    pub(super) requests: mpsc::Receiver<Ask>,
    pub(super) reports: mpsc::Receiver<Ask>,
    pub(super) stopped: watch::Receiver<bool>,
}

impl Lanes {
    /// Takes no more asks, and drops those that are in the lanes. A lane that is only dropped may
    /// keep an ask that was on its way into it, and whoever asked would wait for ever.
    async fn close(&mut self) {
        for lane in [&mut self.requests, &mut self.reports] {
            lane.close();
            while lane.recv().await.is_some() {}
        }
    }
}

/// The one who changes things.
pub(super) struct Writer<L> {
    log: L,
    catalog: Catalog,
    shared: Arc<Shared>,
    lanes: Lanes,
    leases: Leases,
    /// Asks that must not share a batch with one before them, in their order.
    waiting: VecDeque<Ask>,
    /// Room for the next batch: the asks that were taken, and what is made of them.
    taken: Vec<Ask>,
    batch: Batch,
    /// Nothing expires before this moment, because the log could not be written.
    expiries_rest_until: Moment,
}

impl<L: Log> Writer<L> {
    pub(super) fn new(log: L, catalog: Catalog, shared: Arc<Shared>, lanes: Lanes) -> Self {
        let leases = Leases::of(&catalog, shared.clock.now().moment);
        let expiries_rest_until = Moment(0);
        Self {
            log,
            catalog,
            shared,
            lanes,
            leases,
            waiting: VecDeque::new(),
            taken: Vec::new(),
            batch: Batch::default(),
            expiries_rest_until,
        }
    }

    /// Works until the engine is stopped. Whoever still waits then is told so.
    pub(super) async fn run(mut self) {
        while self.something_to_do().await {
            let now = self.shared.clock.now();
            self.look_after_log(now).await;
            self.take(now);
            self.plan_all(now);
            self.commit(now).await;
            self.batch.clear();
            // Under a steady flood every receive is ready at once; others want to run too.
            tokio::task::yield_now().await;
        }
        self.shared.stop.send_replace(true);
        // Asks that are dropped, here and with what waits, are answered as stopping.
        self.lanes.close().await;
        self.log.finish(&Arc::new(self.catalog.clone())).await;
    }

    /// Waits for the first ask of any lane; `false` when the engine was stopped.
    async fn something_to_do(&mut self) -> bool {
        if *self.lanes.stopped.borrow() {
            return false;
        }
        if !self.waiting.is_empty() {
            return true;
        }
        let due = if self.log_is_lost() {
            Some(self.expiries_rest_until)
        } else {
            self.leases.next_at()
        };
        let clock = self.shared.clock;
        let lease_due = async {
            match due {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let Lanes {
            requests,
            reports,
            stopped,
        } = &mut self.lanes;
        let first = tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return false,
            () = lease_due => return true,
            ask = reports.recv() => ask,
            ask = requests.recv() => ask,
        };
        // None: every holder of the engine is gone.
        self.waiting.extend(first);
        !self.waiting.is_empty()
    }

    /// What goes into the next batch: what waits, then of every lane as much as there is, up to a
    /// bound for each, so that no lane waits for another to be empty. While much waits already,
    /// requests stay in their lane, where they are counted.
    fn take(&mut self, now: Now) {
        let asks = &mut self.taken;
        asks.extend(self.waiting.drain(..));
        let room = BATCH_MAX.saturating_sub(asks.len());
        if now.moment >= self.expiries_rest_until {
            let ran_out = self.leases.run_out(&self.catalog, now.moment);
            asks.extend(ran_out.into_iter().map(Ask::of_clock));
        }
        let Lanes {
            requests, reports, ..
        } = &mut self.lanes;
        asks.extend(std::iter::from_fn(|| reports.try_recv().ok()).take(BATCH_MAX));
        asks.extend(std::iter::from_fn(|| requests.try_recv().ok()).take(room));
    }

    /// Plans every ask that can be, answers those that come to nothing, and lets the rest wait.
    fn plan_all(&mut self, now: Now) {
        let batch = &mut self.batch;
        let published = self.shared.catalog.load_full();
        for ask in self.taken.drain(..) {
            let command = &ask.request.command;
            if is_being_removed(&self.catalog, command) {
                // Its expiry is in this batch, or waits too: it goes first, and then this registers
                // anew. Not touched, or the expiry would wait for what waits for it.
                self.waiting.push_back(ask);
                continue;
            }
            if !batch.is_free(command) {
                batch.touch(command);
                self.waiting.push_back(ask);
                continue;
            }
            match plan(&self.catalog, &ask.request, now) {
                Err(rejection) => ask.answer(Err(rejection.into())),
                Ok(plan) if plan.changes.is_empty() => {
                    if plan.heard {
                        hear(&self.catalog, command, now);
                    }
                    let catalog = Arc::clone(&published);
                    ask.answer(Ok(Outcome {
                        catalog,
                        changed: false,
                        registered: false,
                    }));
                }
                Ok(plan) if batch.has_room(&plan.changes, &self.catalog) => {
                    batch.add(ask, plan.changes, &self.catalog);
                }
                Ok(_) => {
                    batch.touch(command);
                    self.waiting.push_back(ask);
                }
            }
        }
        self.shared.counters.hold(self.waiting.len());
    }

    /// Makes the batch durable, then visible, then answers.
    async fn commit(&mut self, now: Now) {
        if self.batch.planned.is_empty() {
            return;
        }
        let began = Instant::now();
        let span = debug_span!("commit", changes = self.batch.planned.len());
        let append = self.log.append(&self.batch.planned);
        match append.instrument(span.clone()).await {
            Ok(appended) => {
                let took = began.elapsed();
                span.in_scope(|| tracing::debug!(?took, "committed"));
                let counters = &self.shared.counters;
                counters.committed(appended.len(), took);
                self.log_works();
                self.publish(&appended);
            }
            Err(error) => self.give_up(&error, now),
        }
    }

    fn publish(&mut self, appended: &[Appended]) {
        // Leases that begin with these changes begin now, not before they were durable.
        let now = self.shared.clock.now();
        let mut committed: Vec<Arc<Committed>> = Vec::with_capacity(appended.len());
        let mut batch = std::mem::take(&mut self.batch);
        let mut answers = Vec::with_capacity(batch.asks.len());
        let mut changes = batch.planned.iter().zip(appended);
        for (ask, count) in batch.asks.drain(..) {
            let (mut conflict, mut registered) = (false, false);
            for (planned, appended) in changes.by_ref().take(count) {
                let Appended::At(revision) = *appended else {
                    conflict = true;
                    continue;
                };
                registered |= planned.change.kind == ChangeKind::Registered;
                let change = Arc::new(self.catalog.apply(revision, &planned.change, now));
                self.leases.follow(&change, &self.catalog, now.moment);
                committed.push(change);
            }
            if registered {
                // Also a new process that registers the very same was heard from.
                hear(&self.catalog, &ask.request.command, now);
            }
            if conflict {
                self.plan_again(ask);
            } else {
                answers.push((ask, registered));
            }
        }
        self.batch = batch;
        let catalog = Arc::new(self.catalog.clone());
        self.shared.catalog.store(Arc::clone(&catalog));
        self.shared.counters.applied(&committed);
        self.shared.hub.push(committed);
        self.log.published(&catalog);
        for (ask, registered) in answers {
            let catalog = Arc::clone(&catalog);
            ask.answer(Ok(Outcome {
                catalog,
                changed: true,
                registered,
            }));
        }
    }

    /// Strangers' changes came before this one: it is planned on them, unless that goes on for ever.
    fn plan_again(&mut self, mut ask: Ask) {
        ask.conflicts += 1;
        if ask.conflicts < CONFLICTS_MAX {
            self.waiting.push_back(ask);
            return;
        }
        let now = self.shared.clock.now().moment;
        self.reopen(&ask, Moment(now.0 + CONFLICT_RETRY_MILLIS));
        let detail = "others kept changing the same endpoint".to_owned();
        ask.answer(Err(Refusal::LogUnavailable(detail)));
    }

    /// Nothing of the batch is in the log: everyone is told, and closed leases open again.
    fn give_up(&mut self, error: &LogError, now: Now) {
        self.shared.counters.failed();
        if !self.log_is_lost() {
            tracing::error!(%error, "the log cannot be written; nothing changes and nothing expires");
            self.shared
                .log_lost_at
                .store(now.moment.0, Ordering::Release);
        }
        self.expiries_rest_until = Moment(now.moment.0 + LOG_RETRY_MILLIS);
        let mut batch = std::mem::take(&mut self.batch);
        for (ask, _) in batch.asks.drain(..) {
            self.reopen(&ask, self.expiries_rest_until);
            ask.answer(Err(Refusal::LogUnavailable(error.to_string())));
        }
        self.batch = batch;
    }

    fn reopen(&mut self, ask: &Ask, again_at: Moment) {
        let Some(pulse) = &ask.closed else { return };
        let command = &ask.request.command;
        let endpoint = command
            .id()
            .and_then(|id| self.catalog.endpoint(command.service(), id));
        // The lease of an endpoint that strangers have removed meanwhile stays closed.
        if let Some(endpoint) = endpoint {
            pulse.lease.reopen();
            self.leases.put_back(endpoint, again_at);
        }
    }

    fn log_is_lost(&self) -> bool {
        self.shared.log_lost_at.load(Ordering::Acquire) != LOG_WORKS
    }

    /// While the log is lost, finds out now and then whether it works again, even if nobody asks for
    /// anything.
    async fn look_after_log(&mut self, now: Now) {
        if !self.log_is_lost() || now.moment < self.expiries_rest_until {
            return;
        }
        match self.log.append(&[]).await {
            Ok(_) => self.log_works(),
            Err(_) => self.expiries_rest_until = Moment(now.moment.0 + LOG_RETRY_MILLIS),
        }
    }

    fn log_works(&mut self) {
        self.expiries_rest_until = Moment(0);
        if self.shared.log_lost_at.swap(LOG_WORKS, Ordering::AcqRel) != LOG_WORKS {
            tracing::info!("the log can be written again");
        }
    }
}

/// Whether the command hears from an endpoint whose lease has just been closed. What is heard too
/// late must not be answered as if the endpoint stayed.
fn is_being_removed(catalog: &Catalog, command: &Command) -> bool {
    let Command::Register { service, id, .. } = command else {
        return false;
    };
    catalog
        .endpoint(service, id)
        .is_some_and(|endpoint| endpoint.pulse.lease.is_closed())
}

/// Renews the lease of an endpoint that was heard from by a request.
fn hear(catalog: &Catalog, command: &Command, now: Now) {
    let endpoint = command
        .id()
        .and_then(|id| catalog.endpoint(command.service(), id));
    if let Some(endpoint) = endpoint {
        // Leases are closed by this very task, and it has just looked: the lease is open.
        endpoint.pulse.beat(now).ok();
    }
}
