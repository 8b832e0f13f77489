//! A look at a service within the process, beside maps that can do less: `InMemory::peek` beside a
//! bare hash map that nobody may change, one behind an `ArcSwap`, and `papaya`.
//!
//! Every side looks up the same names in the same shuffled order and reads the same field of the same
//! views; what differs is the map. Counted is the processor time of the threads that look. A second
//! thread looks as well in some rounds, and in others a thousand changes a second are written.

use std::collections::HashMap;
use std::fs;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use hermes_core::catalog::ServiceView;
use hermes_core::endpoint::InitialHealth;
use hermes_discovery::{InMemory, ServiceDiscovery};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::args::Plan;
use crate::failure::Failure;
use crate::rounds::{Spread, Wait};
use crate::rows::{Measured, Row};
use crate::server;

/// Changes a second, in the rounds with a writer.
const CHANGES: u64 = 1_000;

type Map<S = RandomState> = HashMap<String, Arc<ServiceView>, S>;

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row {
            name: "peek-1k",
            about: "10,000,000 looks at 1,000 services, beside a bare map",
            target: 0.5,
            measure: |plan, _| measure(plan, 1_000, 10_000_000),
        },
        Row {
            name: "peek-100k",
            about: "2,000,000 looks at 100,000 services, beside a bare map",
            target: 0.5,
            measure: |plan, _| measure(plan, 100_000, 2_000_000),
        },
    ]
}

/// Everything that is compared.
struct Sides {
    discovery: InMemory,
    bare: Map,
    swapped: ArcSwap<Map>,
    papaya: papaya::HashMap<String, Arc<ServiceView>, RandomState>,
    names: Vec<String>,
    /// Looks of one side in one round: so many that they take a tenth of a second, because the
    /// system counts processor time in steps of some milliseconds.
    looks: usize,
}

fn measure(plan: &Plan, services: usize, looks: usize) -> Result<Measured, Failure> {
    let runtime = server::one_thread()?;
    let sides = Arc::new(runtime.block_on(Sides::new(services, looks))?);
    let mut waits = Vec::new();
    let mut others: [(&'static str, Vec<f64>); 5] = [
        (
            "an ArcSwap of a map takes, for each time of the bare map",
            Vec::new(),
        ),
        ("papaya takes", Vec::new()),
        ("peek takes", Vec::new()),
        (
            "peek on two threads takes, for each time of the bare map on two",
            Vec::new(),
        ),
        (
            "peek while 1,000 changes/s are written takes, for each time without",
            Vec::new(),
        ),
    ];
    for round in 0..=plan.rounds {
        let bare = sides.bare()?;
        let found = [
            sides.swapped()? / bare,
            sides.papaya()? / bare,
            sides.peek()? / bare,
            on_two(&sides, Sides::peek)? / on_two(&sides, Sides::bare)?,
            sides.peek_while_written(&runtime)? / sides.peek()?,
        ];
        // The first round does not count.
        if round > 0 {
            waits.push(Wait {
                floor: Duration::from_secs_f64(bare),
                hermes: Duration::from_secs_f64(bare * found[2]),
            });
            for ((_, all), ratio) in others.iter_mut().zip(found) {
                all.push(ratio);
            }
        }
    }
    runtime.block_on(sides.discovery.shutdown());
    let fact = |(what, ratios): (&'static str, Vec<f64>)| {
        let Spread { median, min, max } = Spread::of(ratios.into_iter());
        (what, format!("{median:.2} ({min:.2}..{max:.2})"))
    };
    let facts = others.into_iter().map(fact).collect();
    Ok(Measured::Waited { waits, facts })
}

impl Sides {
    async fn new(services: usize, looks: usize) -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::Unusable(error.to_string());
        let discovery = InMemory::new();
        let registration = discovery.registration("a", "http://10.0.0.1:9000");
        let mut registration = registration.map_err(|error| failed(&error))?;
        registration.checks.clear();
        registration.initial_health = InitialHealth::Healthy;
        let mut names: Vec<String> = (0..services).map(|n| format!("service-{n}")).collect();
        for chunk in names.chunks(512) {
            let mut registering = JoinSet::new();
            for name in chunk {
                let (discovery, registration) = (discovery.clone(), registration.clone());
                let name = name.clone();
                registering.spawn(async move {
                    let registered = discovery.register_endpoint(&name, "a", registration);
                    registered.await
                });
            }
            for registered in registering.join_all().await {
                registered.map_err(|error| failed(&error))?;
            }
        }
        let engine = discovery.engine().await.map_err(|error| failed(&error))?;
        let catalog = engine.catalog_kept();
        let own = |view: &Arc<ServiceView>| (view.key.name.to_string(), Arc::clone(view));
        let bare: Map = catalog.services().map(own).collect();
        shuffle(&mut names);
        Ok(Self {
            swapped: ArcSwap::from_pointee(bare.clone()),
            papaya: bare.clone().into_iter().collect(),
            discovery,
            bare,
            names,
            looks,
        })
    }

    /// The processor time of all looks, in seconds.
    fn looks(&self, look: impl Fn(&str) -> Option<u64>) -> Result<f64, Failure> {
        let before = spent_by_thread()?;
        let mut sum = 0;
        for name in self.names.iter().cycle().take(self.looks) {
            sum += look(black_box(name)).unwrap_or(0);
        }
        black_box(sum);
        Ok(spent_by_thread()?.saturating_sub(before).as_secs_f64())
    }

    fn bare(&self) -> Result<f64, Failure> {
        self.looks(|name| self.bare.get(name).map(|view| view.revision.0))
    }

    fn swapped(&self) -> Result<f64, Failure> {
        self.looks(|name| self.swapped.load().get(name).map(|view| view.revision.0))
    }

    fn papaya(&self) -> Result<f64, Failure> {
        self.looks(|name| self.papaya.pin().get(name).map(|view| view.revision.0))
    }

    fn peek(&self) -> Result<f64, Failure> {
        self.looks(|name| self.discovery.peek(name, |view| view.revision.0))
    }

    /// The same while the runtime of the discovery, on a thread of its own, writes.
    fn peek_while_written(&self, runtime: &Runtime) -> Result<f64, Failure> {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let looking = scope.spawn(|| {
                let took = self.peek();
                is_over.store(true, Ordering::Release);
                took
            });
            runtime.block_on(self.write(&is_over));
            looking
                .join()
                .unwrap_or_else(|_| Err(Failure::Unusable("a thread is lost".into())))
        })
    }

    /// Registers other addresses, so many in a second, until it is over.
    async fn write(&self, is_over: &AtomicBool) {
        let mut ticks = interval(Duration::from_nanos(1_000_000_000 / CHANGES));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut port = 1_u16;
        for name in self.names.iter().cycle() {
            ticks.tick().await;
            if is_over.load(Ordering::Acquire) {
                return;
            }
            port = port % 60_000 + 1;
            let registration = self
                .discovery
                .registration(name, &format!("http://10.0.0.2:{port}"));
            if let Ok(mut registration) = registration {
                registration.checks.clear();
                // A refusal would be a change less, and none is to be expected.
                let registered = self.discovery.register_endpoint(name, "a", registration);
                registered.await.ok();
            }
        }
    }
}

/// Two threads at the same time; the processor time of both.
fn on_two(sides: &Sides, side: fn(&Sides) -> Result<f64, Failure>) -> Result<f64, Failure> {
    std::thread::scope(|scope| {
        let threads = [scope.spawn(|| side(sides)), scope.spawn(|| side(sides))];
        let lost = |_| Err(Failure::Unusable("a thread is lost".into()));
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(lost))
            .sum()
    })
}

/// The processor time that this thread has used until now.
fn spent_by_thread() -> Result<Duration, Failure> {
    let failed = Failure::of("asking for processor time");
    let text = fs::read_to_string("/proc/thread-self/schedstat").map_err(failed)?;
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Ok(Duration::from_nanos(nanos.unwrap_or(0)))
}

/// Always the same order, and none that the memory has.
fn shuffle(names: &mut [String]) {
    let mut state = 42_u64;
    for at in (1..names.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let random = usize::try_from(state >> 33).unwrap_or(0);
        names.swap(at, random % (at + 1));
    }
}
