//! What is probed, and what is due: bookkeeping without a socket, a task or a clock.
//!
//! A target is one check of one incarnation. It is at one place at a time: in the queue until it is
//! due, in the line until there is room, or being probed. A new incarnation, and a check that was
//! changed, is a new target with a new number, so whatever comes back for the old number is dropped;
//! so is its probe, if one is under way, and its connection.
//!
//! Numbers of targets that are gone stay in queue and line until they come up. The queue looks only
//! [`HORIZON`] ahead and the line is swept when half of it is gone, so neither can grow beyond what
//! is probed and what was lately replaced.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hermes_core::catalog::ServiceView;
use hermes_core::change::{ChangeKind, Committed, Revision};
use hermes_core::check::Check;
use hermes_core::due::DueQueue;
use hermes_core::endpoint::Endpoint;
use hermes_core::explain::ProbeTimes;
use hermes_core::health::{Health, Streak};
use hermes_core::name::{EndpointId, ServiceKey};
use hermes_core::time::{Moment, Now, Timestamp};
use tokio::task::AbortHandle;

use super::ProbeStats;
use super::execute::{Done, Job};
use super::http::Connection;
use super::schedule::Rhythm;
use crate::engine::Event;

/// How far ahead the queue looks. What is due later is looked at again in between.
const HORIZON: Duration = Duration::from_secs(60);
/// A connection is kept from one probe to the next when they are at most this far apart; those it
/// leads to give a silent one up about then.
const KEPT_INTERVAL_MAX: Duration = Duration::from_secs(120);
/// Numbers of targets that are gone that the line may hold in any case.
const LINE_SLACK: usize = 1_024;

/// Everything that is probed.
#[derive(Debug, Default)]
pub(super) struct Targets {
    services: HashMap<ServiceKey, HashMap<EndpointId, Entry>>,
    all: HashMap<u64, Target>,
    last_number: u64,
    queue: DueQueue<u64>,
    line: VecDeque<u64>,
    kept_max: usize,
    kept: usize,
    /// Counts the snapshots of everything, to find what the latest did not hold.
    round: u64,
    /// Whether a snapshot was complete once: what is new after that was registered since.
    is_synced: bool,
    stats: ProbeStats,
}

/// The targets of one endpoint.
#[derive(Debug)]
struct Entry {
    round: u64,
    incarnation: Revision,
    /// One for each check of its registration, in that order.
    numbers: Vec<u64>,
}

/// One check of one incarnation.
#[derive(Debug)]
struct Target {
    endpoint: Arc<Endpoint>,
    at: usize,
    rhythm: Rhythm,
    due: Moment,
    known_since: Moment,
    last_probe: Option<Timestamp>,
    streak: Streak,
    kept: Option<Connection>,
    /// The probe under way.
    running: Option<Running>,
}

/// A probe under way, which ends when nobody needs it any longer.
#[derive(Debug)]
struct Running(AbortHandle);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Target {
    fn check(&self) -> &Check {
        &self.endpoint.registration().checks[self.at]
    }
}

impl Targets {
    /// Nothing yet. At most `kept_max` connections are kept between probes.
    pub(super) fn new(kept_max: usize) -> Self {
        Self {
            kept_max,
            ..Self::default()
        }
    }

    /// Follows what the engine says.
    pub(super) fn hear(&mut self, event: &Event, now: Moment) {
        match event {
            Event::Snapshot(view) => self.hear_snapshot(view, now),
            Event::Change(change) => self.hear_change(change, now),
            Event::Synced(_) => self.forget_missing(),
            Event::Reset(..) => self.round += 1,
            Event::Progress(_) => {}
        }
    }

    fn hear_snapshot(&mut self, view: &ServiceView, now: Moment) {
        for endpoint in &view.endpoints {
            self.put(endpoint, self.is_synced, now);
        }
    }

    fn hear_change(&mut self, change: &Committed, now: Moment) {
        let service = &change.change.service;
        match (&change.endpoint, &change.change.id) {
            (Some(endpoint), _) => self.put(endpoint, true, now),
            (None, Some(id)) => self.remove(service, id),
            (None, None) if change.change.kind == ChangeKind::Forgotten => {
                for (_, entry) in self.services.remove(service).into_iter().flatten() {
                    self.drop_all(entry.numbers);
                }
            }
            (None, None) => {}
        }
    }

    /// The snapshot is complete: what was not in it is gone.
    fn forget_missing(&mut self) {
        let (round, mut missing) = (self.round, Vec::new());
        self.services.retain(|_, entries| {
            entries.retain(|_, entry| {
                let is_there = entry.round == round;
                if !is_there {
                    missing.append(&mut entry.numbers);
                }
                is_there
            });
            !entries.is_empty()
        });
        self.drop_all(missing);
        self.is_synced = true;
    }

    /// The endpoint is as it is now. Checks that are new are due at once, when `at_once` says so or
    /// when there has not been a success yet.
    fn put(&mut self, endpoint: &Arc<Endpoint>, at_once: bool, now: Moment) {
        let (service, id) = (&endpoint.service, &endpoint.id);
        let entry = self.services.get_mut(service).and_then(|of| of.get_mut(id));
        let mut old = match entry {
            Some(entry) if entry.incarnation == endpoint.incarnation => {
                entry.round = self.round;
                std::mem::take(&mut entry.numbers)
            }
            Some(_) => {
                self.remove(service, id);
                Vec::new()
            }
            None => Vec::new(),
        };
        let checks = &endpoint.registration().checks;
        let numbers: Vec<u64> = (0..checks.len())
            .map(|at| match self.same_check(&old, endpoint, at) {
                Some(position) => self.keep(old.swap_remove(position), endpoint, at),
                None => self.begin(endpoint, at, at_once, now),
            })
            .collect();
        self.drop_all(old);
        if numbers.is_empty() {
            self.remove(service, id);
            return;
        }
        let entry = Entry {
            round: self.round,
            incarnation: endpoint.incarnation,
            numbers,
        };
        let entries = self.services.entry(service.clone()).or_default();
        entries.insert(id.clone(), entry);
    }

    /// Where among `numbers` the target of this check is, if it has not been changed.
    fn same_check(&self, numbers: &[u64], endpoint: &Endpoint, at: usize) -> Option<usize> {
        let check = &endpoint.registration().checks[at];
        numbers.iter().position(|number| {
            let target = self.all.get(number);
            target.is_some_and(|target| {
                let same_place = target.at == at && is_same(&target.endpoint, endpoint);
                same_place || target.check() == check
            })
        })
    }

    fn keep(&mut self, number: u64, endpoint: &Arc<Endpoint>, at: usize) -> u64 {
        if let Some(target) = self.all.get_mut(&number) {
            target.endpoint = Arc::clone(endpoint);
            target.at = at;
        }
        number
    }

    fn begin(&mut self, endpoint: &Arc<Endpoint>, at: usize, at_once: bool, now: Moment) -> u64 {
        self.last_number += 1;
        let number = self.last_number;
        let check = &endpoint.registration().checks[at];
        let rhythm = Rhythm::of(&endpoint.service, &endpoint.id, check);
        let finding = endpoint.state.findings.get(at);
        let has_succeeded = endpoint.state.started
            && finding.is_some_and(|finding| finding.health != Health::Unknown);
        let is_due = at_once || !has_succeeded;
        let target = Target {
            endpoint: Arc::clone(endpoint),
            at,
            rhythm,
            due: if is_due { now } else { rhythm.next_after(now) },
            known_since: now,
            last_probe: None,
            streak: Streak::default(),
            kept: None,
            running: None,
        };
        if is_due {
            self.line_up(number);
        } else {
            self.queue_up(number, target.due, now);
        }
        self.all.insert(number, target);
        number
    }

    fn remove(&mut self, service: &ServiceKey, id: &EndpointId) {
        let Some(entries) = self.services.get_mut(service) else {
            return;
        };
        let removed = entries.remove(id);
        if entries.is_empty() {
            self.services.remove(service);
        }
        self.drop_all(removed.map(|entry| entry.numbers).unwrap_or_default());
    }

    fn drop_all(&mut self, numbers: Vec<u64>) {
        for number in numbers {
            let target = self.all.remove(&number);
            self.kept -= usize::from(target.is_some_and(|target| target.kept.is_some()));
        }
    }

    fn line_up(&mut self, number: u64) {
        if self.line.len() > 2 * self.all.len() + LINE_SLACK {
            self.line.retain(|number| self.all.contains_key(number));
        }
        self.line.push_back(number);
    }

    fn queue_up(&mut self, number: u64, due: Moment, now: Moment) {
        self.queue.push(due.min(now.after(HORIZON)), number);
    }

    /// When something comes out of the queue.
    pub(super) fn next_at(&self) -> Option<Moment> {
        self.queue.next_at()
    }

    /// Everything that is due lines up, behind what waits already.
    pub(super) fn line_up_due(&mut self, now: Moment) {
        for number in self.queue.take_due(now, usize::MAX) {
            let Some(due) = self.all.get(&number).map(|target| target.due) else {
                continue;
            };
            if due <= now {
                self.line_up(number);
            } else {
                self.queue_up(number, due, now);
            }
        }
    }

    /// The first in the line begins to be probed, by the task that `spawn` makes of it. `false` when
    /// the line is empty.
    pub(super) fn start_next(&mut self, now: Now, spawn: impl FnOnce(Job) -> AbortHandle) -> bool {
        while let Some(number) = self.line.pop_front() {
            let Some(target) = self.all.get_mut(&number) else {
                continue;
            };
            let kept = target.kept.take();
            self.kept -= usize::from(kept.is_some());
            self.stats.count(now.moment.since(target.due));
            target.last_probe = Some(now.time);
            target.running = Some(Running(spawn(Job {
                target: number,
                endpoint: Arc::clone(&target.endpoint),
                at: target.at,
                known_since: target.known_since,
                streak: target.streak,
                kept,
            })));
            return true;
        }
        false
    }

    /// A probe came back. Its target, if it is still there, waits for its next due time.
    pub(super) fn finish(&mut self, done: Done, now: Moment) {
        let Some(target) = self.all.get_mut(&done.target) else {
            return;
        };
        target.running = None;
        target.streak = done.streak;
        let is_soon = target.check().interval <= KEPT_INTERVAL_MAX;
        if is_soon && self.kept < self.kept_max {
            self.kept += usize::from(done.kept.is_some());
            target.kept = done.kept;
        }
        target.due = target.rhythm.next_after(now);
        let due = target.due;
        self.queue_up(done.target, due, now);
    }

    /// A probe came to an end without a result, which is a fault of ours; its target goes on.
    pub(super) fn recover(&mut self, probe: tokio::task::Id, now: Moment) {
        let is_its = |target: &Target| {
            let running = target.running.as_ref();
            running.is_some_and(|running| running.0.id() == probe)
        };
        let target = self.all.iter().find(|(_, target)| is_its(target));
        if let Some((&number, target)) = target {
            let done = Done {
                target: number,
                streak: target.streak,
                kept: None,
                is_own_limit: false,
            };
            self.finish(done, now);
        }
    }

    /// Closes every connection that is kept.
    pub(super) fn close_kept(&mut self) {
        if self.kept > 0 {
            self.all.values_mut().for_each(|target| target.kept = None);
            self.kept = 0;
        }
    }

    /// When the check was last probed, and when it will be next.
    pub(super) fn times(
        &self,
        service: &ServiceKey,
        id: &EndpointId,
        check: &str,
    ) -> Option<ProbeTimes> {
        let numbers = &self.services.get(service)?.get(id)?.numbers;
        let mut targets = numbers.iter().filter_map(|number| self.all.get(number));
        let target = targets.find(|target| target.check().name == check)?;
        Some(ProbeTimes {
            last: target.last_probe,
            next: Some(target.due),
        })
    }

    pub(super) fn stats(&self) -> ProbeStats {
        ProbeStats {
            targets: self.all.len(),
            connections_kept: self.kept,
            ..self.stats
        }
    }
}

/// Whether both come from one registration, so that their checks need not be compared.
fn is_same(a: &Endpoint, b: &Endpoint) -> bool {
    Arc::ptr_eq(&a.state.registration, &b.state.registration)
}
