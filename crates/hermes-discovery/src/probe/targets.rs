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

#[cfg(test)]
mod tests {
    use hermes_core::address::Address;
    use hermes_core::catalog::Catalog;
    use hermes_core::check::CheckKind;
    use hermes_core::command::{Claim, Command, Condition, Report, Request};
    use hermes_core::limits::Limits;
    use hermes_core::name::Name;
    use hermes_core::plan::plan;
    use hermes_core::wire::request::registration_of_url;

    use super::*;

    /// A catalog without an engine, and the targets that follow it.
    struct World {
        catalog: Catalog,
        targets: Targets,
        now: Now,
    }

    fn service() -> ServiceKey {
        ServiceKey::new(Name::default_namespace(), Name::parse("web").unwrap())
    }

    fn id(id: &str) -> EndpointId {
        EndpointId::parse(id).unwrap()
    }

    fn check(name: &str, interval: u64) -> Check {
        Check {
            name: name.into(),
            interval: Duration::from_secs(interval),
            ..Check::new(CheckKind::Tcp)
        }
    }

    impl World {
        fn new() -> Self {
            Self {
                catalog: Catalog::new(Limits::default(), 1),
                targets: Targets::new(10),
                now: Now::default(),
            }
        }

        fn pass(&mut self, millis: u64) {
            self.now.moment.0 += millis;
            self.now.time.0 += millis;
        }

        fn submit(&mut self, command: Command) -> Vec<Event> {
            let request = Request {
                command,
                actor: "test".into(),
                condition: Condition::Always,
                claim: Claim::Free,
            };
            let planned = plan(&self.catalog, &request, self.now).unwrap().changes;
            let apply = |planned: hermes_core::change::Planned| {
                let revision = Revision(self.catalog.revision().0 + 1);
                let change = self.catalog.apply(revision, &planned.change, self.now);
                Event::Change(Arc::new(change))
            };
            planned.into_iter().map(apply).collect()
        }

        fn register(&mut self, endpoint: &str, url: &str, checks: &[Check]) -> Vec<Event> {
            let registration = hermes_core::endpoint::Registration {
                address: Address::parse_url(url).unwrap(),
                checks: checks.to_vec(),
                ..registration_of_url(url).unwrap()
            };
            self.submit(Command::Register {
                service: service(),
                id: id(endpoint),
                registration: Arc::new(registration),
                new: false,
            })
        }

        fn report(&mut self, endpoint: &str, check: &Check) -> Vec<Event> {
            let incarnation = self.endpoint(endpoint).incarnation;
            self.submit(Command::Report(Report {
                service: service(),
                id: id(endpoint),
                incarnation,
                check: Arc::new(check.clone()),
                health: Health::Healthy,
                evidence: "seen".into(),
            }))
        }

        fn endpoint(&self, endpoint: &str) -> &Endpoint {
            self.catalog.endpoint(&service(), &id(endpoint)).unwrap()
        }

        fn hear(&mut self, events: &[Event]) {
            let moment = self.now.moment;
            events
                .iter()
                .for_each(|event| self.targets.hear(event, moment));
        }

        fn snapshot(&self) -> Vec<Event> {
            let views = self
                .catalog
                .services()
                .map(|view| Event::Snapshot(Arc::clone(view)));
            views
                .chain([Event::Synced(self.catalog.revision())])
                .collect()
        }

        /// Starts everything that is due now; what is returned is under way.
        fn start(&mut self) -> Vec<Job> {
            self.targets.line_up_due(self.now.moment);
            let mut jobs = Vec::new();
            let spawn = |job, jobs: &mut Vec<Job>| {
                jobs.push(job);
                tokio::spawn(std::future::pending::<()>()).abort_handle()
            };
            while self
                .targets
                .start_next(self.now, |job| spawn(job, &mut jobs))
            {}
            jobs
        }

        fn finish(&mut self, jobs: Vec<Job>) {
            for job in jobs {
                let done = Done {
                    target: job.target,
                    streak: job.streak,
                    kept: None,
                    is_own_limit: false,
                };
                self.targets.finish(done, self.now.moment);
            }
        }

        /// Starts and finishes what is due now, and says how much it was.
        fn probe(&mut self) -> usize {
            let jobs = self.start();
            let count = jobs.len();
            self.finish(jobs);
            count
        }
    }

    #[tokio::test]
    async fn what_is_registered_is_due_at_once_and_then_once_in_every_interval() {
        let mut world = World::new();
        world.hear(&world.snapshot());
        let events = world.register("a", "http://a", &[check("tcp", 10)]);
        world.hear(&events);
        assert_eq!(world.probe(), 1);
        let mut probes = Vec::new();
        for _ in 0..40_000 {
            world.pass(1);
            if world.probe() > 0 {
                probes.push(world.now.moment.0);
            }
        }
        assert_eq!(probes.len(), 4, "{probes:?}");
        let apart: Vec<u64> = probes.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(
            apart.iter().all(|apart| (9_980..10_020).contains(apart)),
            "{apart:?}"
        );
        assert_eq!(world.targets.stats().started, 5);
        assert!(world.targets.stats().lateness_max < Duration::from_millis(17));
    }

    #[tokio::test]
    async fn at_the_start_only_what_never_succeeded_is_due_at_once() {
        let mut world = World::new();
        let checks = [check("tcp", 3_600)];
        world.register("old", "http://old", &checks);
        world.report("old", &checks[0]);
        world.register("new", "http://new", &checks);
        world.hear(&world.snapshot());
        let jobs = world.start();
        let ids: Vec<&str> = jobs.iter().map(|job| job.endpoint.id.as_str()).collect();
        assert_eq!(ids, ["new"]);
        world.pass(3_600_016);
        assert_eq!(world.probe(), 1, "the other one, at its phase");
    }

    #[tokio::test]
    async fn of_an_updated_endpoint_only_the_changed_check_is_due_at_once() {
        let mut world = World::new();
        let checks = [check("one", 3_600), check("two", 3_600)];
        let events = world.register("a", "http://a", &checks);
        world.hear(&events);
        assert_eq!(world.probe(), 2);
        let events = world.register("a", "http://a", &[check("two", 1_800), checks[0].clone()]);
        world.hear(&events);
        let jobs = world.start();
        assert_eq!(jobs.len(), 1);
        let probed = &jobs[0].endpoint.registration().checks[jobs[0].at];
        assert_eq!(*probed, check("two", 1_800));
        assert_eq!(world.targets.stats().targets, 2);
    }

    #[tokio::test]
    async fn a_change_of_health_touches_no_target() {
        let mut world = World::new();
        let checks = [check("tcp", 3_600)];
        let events = world.register("a", "http://a", &checks);
        world.hear(&events);
        let jobs = world.start();
        let events = world.report("a", &checks[0]);
        assert_eq!(events.len(), 1);
        world.hear(&events);
        assert!(world.start().is_empty(), "it is being probed already");
        world.finish(jobs);
        assert!(world.start().is_empty(), "it is not due before its phase");
    }

    #[tokio::test]
    async fn a_new_incarnation_is_another_target_and_the_old_probe_ends() {
        let mut world = World::new();
        let checks = [check("tcp", 3_600)];
        let events = world.register("a", "http://a", &checks);
        world.hear(&events);
        world.targets.line_up_due(world.now.moment);
        let probe = tokio::spawn(std::future::pending::<()>());
        let mut old = None;
        let abort = probe.abort_handle();
        world.targets.start_next(world.now, |job| {
            old = Some(job);
            abort
        });
        let events = world.register("a", "http://elsewhere", &checks);
        world.hear(&events);
        let ended = tokio::time::timeout(Duration::from_secs(10), probe).await;
        assert!(ended.expect("it ends").unwrap_err().is_cancelled());
        let jobs = world.start();
        assert_eq!(jobs.len(), 1);
        assert_eq!(
            jobs[0].endpoint.registration().address.host.as_str(),
            "elsewhere"
        );
        world.finish(old.into_iter().collect());
        assert_eq!(world.targets.stats().targets, 1);
        assert!(world.start().is_empty(), "the old result put nothing back");
    }

    #[tokio::test]
    async fn what_is_removed_is_probed_no_more() {
        let mut world = World::new();
        for endpoint in ["a", "b", "c"] {
            let events = world.register(endpoint, "http://x", &[check("tcp", 10)]);
            world.hear(&events);
        }
        let jobs = world.start();
        let events = world.submit(Command::Deregister {
            service: service(),
            id: id("a"),
            incarnation: None,
        });
        world.hear(&events);
        world.finish(jobs);
        world.pass(20_000);
        assert_eq!(world.probe(), 2);
        let events = world.submit(Command::Forget { service: service() });
        world.hear(&events);
        world.pass(20_000);
        assert_eq!(world.probe(), 0);
        assert_eq!(world.targets.stats().targets, 0);
        assert!(world.targets.services.is_empty());
    }

    #[tokio::test]
    async fn after_a_reset_the_snapshots_are_what_there_is() {
        let mut world = World::new();
        let checks = [check("tcp", 3_600)];
        for endpoint in ["stays", "goes"] {
            let events = world.register(endpoint, "http://x", &checks);
            world.hear(&events);
        }
        world.hear(&world.snapshot());
        assert_eq!(world.probe(), 2);
        // Not heard: too slow.
        world.submit(Command::Deregister {
            service: service(),
            id: id("goes"),
            incarnation: None,
        });
        world.register("comes", "http://x", &checks);
        let reset = Event::Reset(crate::engine::ResetReason::Slow, world.catalog.revision());
        world.hear(&[reset]);
        world.hear(&world.snapshot());
        let jobs = world.start();
        let ids: Vec<&str> = jobs.iter().map(|job| job.endpoint.id.as_str()).collect();
        assert_eq!(ids, ["comes"], "the one that stays has been probed already");
        assert_eq!(world.targets.stats().targets, 2);
    }

    #[tokio::test]
    async fn the_last_probe_is_remembered() {
        let mut world = World::new();
        let events = world.register("a", "http://a", &[check("tcp", 10)]);
        world.hear(&events);
        let last = |world: &World, check| {
            world
                .targets
                .times(&service(), &id("a"), check)
                .and_then(|times| times.last)
        };
        assert_eq!(last(&world, "tcp"), None);
        world.pass(5);
        assert_eq!(world.probe(), 1);
        assert_eq!(last(&world, "tcp"), Some(world.now.time));
        let lateness = world.targets.stats().lateness_max;
        assert_eq!(lateness, Duration::from_millis(5), "it waited so long");
        let stats = world.targets.stats();
        assert_eq!(stats.lateness_counts.iter().sum::<u64>(), stats.started);
        assert_eq!(stats.lateness_within(1.0), Some(Duration::from_millis(5)));
        assert_eq!(last(&world, "other"), None);
    }

    #[tokio::test]
    async fn a_probe_that_was_lost_does_not_lose_its_target() {
        let mut world = World::new();
        let events = world.register("a", "http://a", &[check("tcp", 10)]);
        world.hear(&events);
        let probe = tokio::spawn(std::future::pending::<()>());
        let (number, abort) = (probe.id(), probe.abort_handle());
        world.targets.start_next(world.now, |_| abort);
        world.targets.recover(number, world.now.moment);
        world.pass(10_016);
        assert_eq!(world.probe(), 1);
    }

    #[tokio::test]
    async fn what_was_replaced_does_not_pile_up() {
        let mut world = World::new();
        for turn in 0..10_000 {
            let url = format!("http://x:{}", 1 + turn % 2);
            let events = world.register("a", &url, &[check("tcp", 86_400)]);
            world.hear(&events);
        }
        assert!(world.targets.line.len() <= LINE_SLACK + 3);
        assert_eq!(world.probe(), 1);
        for turn in 0..1_000 {
            let url = format!("http://x:{}", 1 + turn % 2);
            let events = world.register("a", &url, &[check("tcp", 86_400)]);
            world.hear(&events);
            assert_eq!(world.probe(), 1);
        }
        assert_eq!(world.targets.queue.len(), 1_001);
        world.pass(60_016);
        assert_eq!(world.probe(), 0, "it is due tomorrow");
        assert_eq!(world.targets.queue.len(), 1);
    }
}
