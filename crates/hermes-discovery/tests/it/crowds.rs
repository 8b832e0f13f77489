//! Leases are exact in a crowd: many of them, running out at any moment or all in the same second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hermes_core::change::ChangeKind;
use hermes_core::name::{EndpointId, ServiceKey};
use hermes_core::time::Moment;
use hermes_discovery::clock::Clock;
use hermes_discovery::engine::{Config, Engine, Event, Interest, Resume, Watcher};
use tokio::task::{JoinHandle, JoinSet};

use crate::leases::is_gone;
use crate::make::{
    LATE_MAX, NOON, alarm, beat, engine, id, leased, moment, register, registration, service,
    until, within,
};

/// Endpoints of a service of a crowd.
const PER_SERVICE: usize = 20;

/// Many endpoints with leases, and when each was removed.
#[derive(Clone)]
struct Crowd {
    members: Arc<Vec<Member>>,
}

struct Member {
    service: ServiceKey,
    id: EndpointId,
    ttl: Duration,
    /// The moment at which a watcher heard of the removal, plus one; 0 while it is there.
    removed_at: AtomicU64,
}

impl Crowd {
    fn new(ttls: impl IntoIterator<Item = Duration>) -> Self {
        let member = |(number, ttl)| Member {
            service: service(&format!("crowd-{}", number / PER_SERVICE)),
            id: id(&format!("m{number}")),
            ttl,
            removed_at: AtomicU64::new(0),
        };
        let members = ttls.into_iter().enumerate().map(member).collect();
        Self {
            members: Arc::new(members),
        }
    }

    /// Registers members, as many at the same time as an engine has room for.
    async fn register(&self, engine: &Engine, numbers: std::ops::Range<usize>) {
        let mut answers = JoinSet::new();
        for member in &self.members[numbers] {
            let request = register(&member.service, &member.id, &leased(member.ttl));
            let engine = engine.clone();
            answers.spawn(async move {
                engine
                    .submit(request)
                    .await
                    .map(|outcome| outcome.registered)
            });
        }
        for answer in within("the registrations", answers.join_all()).await {
            assert_eq!(answer, Ok(true));
        }
    }

    /// Notes the removals, until everybody is removed.
    fn observe(&self, engine: &Engine) -> JoinHandle<()> {
        let revision = engine.catalog().revision();
        let resume = Resume::After {
            revision,
            cluster: None,
        };
        let watcher = engine.watch(Interest::everything(), resume).unwrap();
        let (crowd, clock) = (self.clone(), engine.clock());
        tokio::spawn(async move { crowd.note_removals(watcher, clock).await })
    }

    async fn note_removals(&self, mut watcher: Watcher, clock: Clock) {
        let mut left = self.members.len();
        while left > 0 {
            let Event::Change(committed) = watcher.next().await else {
                continue;
            };
            if committed.change.kind != ChangeKind::Expired {
                continue;
            }
            let number = committed.change.id.as_ref().unwrap().as_str()[1..].parse::<usize>();
            let removed_at = &self.members[number.unwrap()].removed_at;
            let before = removed_at.swap(clock.now().moment.0 + 1, Ordering::SeqCst);
            assert_eq!(before, 0, "removed twice");
            left -= 1;
        }
    }

    fn removed_at(&self, number: usize) -> Option<Moment> {
        let at = self.members[number].removed_at.load(Ordering::SeqCst);
        at.checked_sub(1).map(Moment)
    }

    /// That each was removed after its deadline, and at most `late_max` after it.
    fn assert_exact(&self, deadlines: &[Moment], late_max: Duration) {
        for (number, deadline) in deadlines.iter().enumerate() {
            let removed_at = self.removed_at(number).expect("everybody is removed");
            let latest = deadline.after(late_max);
            assert!(
                (*deadline..=latest).contains(&removed_at),
                "m{number}: its lease ran until {deadline:?}, it was removed at {removed_at:?}"
            );
        }
    }
}

/// What should be true of each member, kept beside the engine.
struct Model {
    crowd: Crowd,
    deadlines: Vec<Moment>,
    /// For each step of the clock, who sends a heartbeat then.
    beats: Vec<Vec<usize>>,
    random: fastrand::Rng,
    accepted: usize,
    refused: usize,
}

impl Model {
    /// One step of the clock. Heartbeats come at whole steps.
    const STEP_MILLIS: u64 = 50;
    /// Steps with heartbeats.
    const STEPS: usize = 4_800;

    fn new(crowd: &Crowd, seed: u64) -> Self {
        let deadlines = crowd
            .members
            .iter()
            .map(|m| Moment(0).after(m.ttl))
            .collect();
        let mut model = Self {
            crowd: crowd.clone(),
            deadlines,
            beats: vec![Vec::new(); Self::STEPS],
            random: fastrand::Rng::with_seed(seed),
            accepted: 0,
            refused: 0,
        };
        (0..crowd.members.len()).for_each(|number| model.plan_beat(number, Moment(0)));
        model
    }

    /// Maybe another heartbeat of this member, sometimes too late.
    fn plan_beat(&mut self, number: usize, now: Moment) {
        if self.random.bool() {
            return;
        }
        let ttl = self.crowd.members[number].ttl.as_secs_f64();
        let pause = Duration::from_secs_f64(ttl * 1.2 * self.random.f64());
        let step = now.after(pause).0 / Self::STEP_MILLIS + 1;
        if let Some(beats) = self.beats.get_mut(usize::try_from(step).unwrap()) {
            beats.push(number);
        }
    }

    fn beat(&mut self, engine: &Engine, number: usize) {
        let now = moment(engine);
        let member = &self.crowd.members[number];
        match beat(engine, &member.service, &member.id) {
            Ok(()) => {
                assert_eq!(
                    self.crowd.removed_at(number),
                    None,
                    "m{number} beats, and is gone"
                );
                self.deadlines[number] = now.after(member.ttl);
                self.accepted += 1;
                self.plan_beat(number, now);
            }
            Err(refusal) => {
                assert!(is_gone(&refusal), "m{number}: {refusal}");
                let deadline = self.deadlines[number];
                assert!(
                    deadline <= now,
                    "m{number}: refused at {now:?} before {deadline:?}"
                );
                self.refused += 1;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_leases_each_end_within_a_second_after_their_last_heartbeat() {
    let _alarm = alarm();
    let seed = 0x1ea5e;
    let mut random = fastrand::Rng::with_seed(seed);
    let ttls = (0..100_000).map(|_| Duration::from_millis(random.u64(1_000..=60_000)));
    let crowd = Crowd::new(ttls);
    let engine = engine(Config {
        requests_max: 100_000,
        ..Config::default()
    })
    .await;
    crowd.register(&engine, 0..100_000).await;
    assert_eq!(moment(&engine), Moment(0), "the test clock stands still");

    let everybody_removed = crowd.observe(&engine);
    let mut model = Model::new(&crowd, seed);
    for step in 0..Model::STEPS {
        if model.beats[step].is_empty() {
            continue;
        }
        until(&engine, step as u64 * Model::STEP_MILLIS).await;
        for number in std::mem::take(&mut model.beats[step]) {
            model.beat(&engine, number);
        }
    }
    within("the last removal", everybody_removed).await.unwrap();

    crowd.assert_exact(&model.deadlines, LATE_MAX);
    assert_eq!(crate::make::listed(&engine.catalog()), []);
    let (accepted, refused) = (model.accepted, model.refused);
    assert!(
        accepted > 50_000 && refused > 10_000,
        "{accepted} beats, {refused} too late"
    );
}

/// Endpoints whose leases run out within one second.
const RUSH: usize = 20_000;
/// Clients that register meanwhile.
const CLIENTS: usize = 64;

/// Clients that register without pause until they are told to stop, and are never refused.
struct Flood {
    is_over: Arc<AtomicBool>,
    registered: Arc<AtomicU64>,
    clients: JoinSet<()>,
}

impl Flood {
    fn begin(engine: &Engine) -> Self {
        let mut flood = Self {
            is_over: Arc::default(),
            registered: Arc::default(),
            clients: JoinSet::new(),
        };
        for client in 0..CLIENTS {
            let (engine, over) = (engine.clone(), Arc::clone(&flood.is_over));
            let registered = Arc::clone(&flood.registered);
            flood.clients.spawn(async move {
                let lasting = Arc::new(registration(None));
                for number in 0.. {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    let service = service(&format!("flood-{client}-{}", number / PER_SERVICE));
                    let request = register(&service, &id(&format!("f{number}")), &lasting);
                    let outcome = engine.submit(request).await;
                    assert!(outcome.expect("nobody is refused").registered);
                    registered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        flood
    }

    fn registered(&self) -> u64 {
        self.registered.load(Ordering::SeqCst)
    }

    async fn end(self) {
        self.is_over.store(true, Ordering::SeqCst);
        within("the end of the flood", self.clients.join_all()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn twenty_thousand_leases_that_run_out_in_one_second_meet_a_flood_of_registrations() {
    let _alarm = alarm();
    let ttls = (0..RUSH).map(|n| Duration::from_millis(5_000 + n as u64 * 1_000 / RUSH as u64));
    let crowd = Crowd::new(ttls);
    let engine = engine(Config {
        requests_max: RUSH,
        ..Config::default()
    })
    .await;
    crowd.register(&engine, 0..RUSH).await;
    let everybody_removed = crowd.observe(&engine);
    until(&engine, 4_900).await;

    // While the clients never pause, nobody but the story moves the clock.
    let flood = Flood::begin(&engine);
    while !everybody_removed.is_finished() {
        assert!(
            moment(&engine) < Moment(9_000),
            "the flood holds up the expiries"
        );
        let (before, turn) = (flood.registered(), 2 * CLIENTS as u64);
        while flood.registered() < before + turn {
            tokio::task::yield_now().await;
        }
        tokio::time::advance(Duration::from_millis(10)).await;
    }
    assert!(flood.registered() > 5_000);
    flood.end().await;
    let deadlines: Vec<Moment> = crowd
        .members
        .iter()
        .map(|m| Moment(0).after(m.ttl))
        .collect();
    crowd.assert_exact(&deadlines, LATE_MAX);
}

/// What a busy machine may add to the second: two cores that other tests and programs share stand
/// still for so long now and then. A lane that starves would be late for as long as the flood lasts.
const BUSY_MACHINE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_rush_on_the_clock_of_the_machine() {
    // Long enough that registering a step of them never takes as long on a busy machine.
    const TTL: Duration = Duration::from_secs(8);
    const STEP: usize = 500;
    let _alarm = alarm();
    let crowd = Crowd::new(std::iter::repeat_n(TTL, RUSH));
    let engine = engine(Config::default()).await;
    let beat_all = |numbers: std::ops::Range<usize>| {
        for member in &crowd.members[numbers] {
            beat(&engine, &member.service, &member.id).expect("its lease is younger than its TTL");
        }
    };
    for begin in (0..RUSH).step_by(STEP) {
        crowd.register(&engine, begin..begin + STEP).await;
        // Those before stay, however slowly the others come.
        beat_all(0..begin + STEP);
    }
    let everybody_removed = crowd.observe(&engine);
    let first_at = moment(&engine);
    beat_all(0..RUSH);
    let last_at = moment(&engine);

    let flood = Flood::begin(&engine);
    within("the last removal", everybody_removed).await.unwrap();
    assert!(flood.registered() > 1_000);
    flood.end().await;
    let between = last_at.since(first_at);
    crowd.assert_exact(
        &[first_at.after(TTL); RUSH],
        between + LATE_MAX + BUSY_MACHINE,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accepted_heartbeat_is_never_followed_by_an_expiry_within_the_ttl() {
    const TTL: Duration = Duration::from_millis(200);
    const ENDPOINTS: usize = 300;
    let _alarm = alarm();
    let engine = engine(Config::default()).await;
    let crowd = Crowd::new(std::iter::repeat_n(TTL, ENDPOINTS));
    // The times of the removals are in the changes: a watcher that lags hides nothing.
    let mut watcher = engine.watch(Interest::everything(), Resume::Fresh).unwrap();
    let mut clients = JoinSet::new();
    for number in 0..ENDPOINTS {
        let (engine, crowd) = (engine.clone(), crowd.clone());
        clients.spawn(async move {
            (
                number,
                beat_until_gone(&engine, &crowd.members[number]).await,
            )
        });
    }
    let mut accepted_at = vec![Moment(0); ENDPOINTS];
    for (number, at) in within("the last refusal", clients.join_all()).await {
        accepted_at[number] = at;
    }
    let mut left = ENDPOINTS;
    while left > 0 {
        let event = within("the removals", watcher.next()).await;
        let Event::Change(committed) = event else {
            continue;
        };
        if committed.change.kind == ChangeKind::Expired {
            let number = committed.change.id.as_ref().unwrap().as_str()[1..].parse::<usize>();
            let at = accepted_at[number.unwrap()];
            let removed_at = Moment(committed.change.time.0 - NOON.0);
            assert!(
                removed_at >= at.after(TTL),
                "beat at {at:?}, removed at {removed_at:?}"
            );
            left -= 1;
        }
    }
}

/// Beats about when the lease runs out, until it did; gives when the last accepted one was sent.
async fn beat_until_gone(engine: &Engine, member: &Member) -> Moment {
    let mut accepted_at = moment(engine);
    let request = register(&member.service, &member.id, &leased(member.ttl));
    engine.submit(request).await.unwrap();
    let mut random = fastrand::Rng::new();
    for round in 0.. {
        // Clearly in time at first, then ever closer to the very moment.
        let ttl = u64::try_from(member.ttl.as_micros()).unwrap();
        let earliest = ttl * (4 + round.min(6)) / 10;
        let pause = Duration::from_micros(random.u64(earliest..=ttl * 11 / 10));
        tokio::time::sleep(pause).await;
        let sent_at = moment(engine);
        match beat(engine, &member.service, &member.id) {
            Ok(()) => accepted_at = sent_at,
            Err(refusal) => {
                assert!(is_gone(&refusal), "{refusal}");
                break;
            }
        }
    }
    accepted_at
}
