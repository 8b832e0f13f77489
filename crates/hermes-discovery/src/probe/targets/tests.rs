//! What is probed when, and what is not, without a socket.

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
