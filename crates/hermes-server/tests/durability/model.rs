//! What the log should hold: a catalog that never touches a disk, and everything that led to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hermes_core::catalog::{Catalog, Emptied, Gone};
use hermes_core::change::{Change, Expected, Planned, Revision};
use hermes_core::command::{Claim, Command, Condition, DrainWish, OverridePatch, Report, Request};
use hermes_core::endpoint::{EndpointState, Registration};
use hermes_core::health::Health;
use hermes_core::limits::Limits;
use hermes_core::name::{EndpointId, Name, ServiceKey};
use hermes_core::plan::plan;
use hermes_core::time::{Moment, Now, Timestamp};
use hermes_core::wire::request::read_registration;
use hermes_discovery::log::{Appended, Record};

/// 21 November 2026, noon.
const NOON: Timestamp = Timestamp(1_795_262_400_000);

/// An empty catalog.
pub(crate) fn empty() -> Catalog {
    let limits = Limits {
        gone_per_service: 4,
        ..Limits::default()
    };
    Catalog::new(limits, 1)
}

/// A service of the default namespace.
pub(crate) fn service(name: &str) -> ServiceKey {
    ServiceKey::new(Name::default_namespace(), Name::parse(name).unwrap())
}

/// An endpoint's id.
pub(crate) fn id(text: &str) -> EndpointId {
    EndpointId::parse(text).unwrap()
}

/// What an instance says of itself, as JSON.
pub(crate) fn registration(json: &str) -> Arc<Registration> {
    Arc::new(read_registration(json.as_bytes()).unwrap())
}

/// Everything that a restart has to bring back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Picture {
    revision: Revision,
    namespaces: BTreeMap<Name, Revision>,
    services: BTreeMap<ServiceKey, ServicePicture>,
}

#[derive(Debug, Clone, PartialEq)]
struct ServicePicture {
    revision: Revision,
    emptied: Option<Emptied>,
    gone: Vec<Gone>,
    endpoints: Vec<(EndpointId, Revision, Revision, EndpointState)>,
}

impl Picture {
    /// What is in a catalog.
    pub(crate) fn of(catalog: &Catalog) -> Self {
        let namespaces = catalog.namespaces().into_iter();
        let services = catalog.services().map(|view| {
            let endpoints = view.endpoints.iter().map(|endpoint| {
                let state = EndpointState::clone(&endpoint.state);
                let (revision, incarnation) = (endpoint.revision, endpoint.incarnation);
                (endpoint.id.clone(), revision, incarnation, state)
            });
            let picture = ServicePicture {
                revision: view.revision,
                emptied: view.emptied,
                gone: view.gone.iter().cloned().collect(),
                endpoints: endpoints.collect(),
            };
            (view.key.clone(), picture)
        });
        Self {
            revision: catalog.revision(),
            namespaces: namespaces
                .map(|view| (view.name.clone(), view.revision))
                .collect(),
            services: services.collect(),
        }
    }
}

impl Picture {
    /// Where two of them differ.
    pub(crate) fn differences(&self, other: &Self) -> String {
        let keys: BTreeSet<_> = self.services.keys().chain(other.services.keys()).collect();
        let differ = |key: &&ServiceKey| self.services.get(key) != other.services.get(key);
        let mut lines = vec![format!("{:?} and {:?}", self.namespaces, other.namespaces)];
        for key in keys.into_iter().filter(differ) {
            for picture in [self, other] {
                lines.push(format!("{key}: {:?}", picture.services.get(key)));
            }
        }
        lines.join("\n")
    }
}

/// A batch that was made up, and which of its changes have preconditions that hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch {
    pub(crate) planned: Vec<Planned>,
    holds: Vec<bool>,
}

impl Batch {
    /// The changes that should be in the log after it.
    fn changes(&self) -> impl Iterator<Item = &Planned> {
        let holds = self.planned.iter().zip(&self.holds);
        holds
            .filter(|(_, holds)| **holds)
            .map(|(planned, _)| planned)
    }
}

/// What was acknowledged, and what may have happened besides.
#[derive(Debug)]
pub(crate) struct Model {
    rng: fastrand::Rng,
    /// The state that everybody sees.
    pub(crate) catalog: Catalog,
    /// Everything that led to it.
    pub(crate) history: Vec<Record>,
    /// The state after what is certain to be there again, and how much of the history led to it.
    certain: (Catalog, usize),
    /// What was asked for after that and came to nothing, or to nobody knows what: a crash may bring
    /// the beginning of any of them back.
    possible: Vec<Vec<Arc<Change>>>,
    ticks: u64,
}

impl Model {
    /// Nothing yet. What happens next is decided by the seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
            catalog: empty(),
            history: Vec::new(),
            certain: (empty(), 0),
            possible: Vec::new(),
            ticks: 0,
        }
    }

    /// What time it is: it passes with every batch.
    pub(crate) fn now(&self) -> Now {
        Now {
            moment: Moment(self.ticks * 1_000),
            time: Timestamp(NOON.0 + self.ticks * 1_000),
        }
    }

    /// Makes up a batch of commands that do not get in each other's way, as the engine would.
    pub(crate) fn batch(&mut self) -> Batch {
        self.ticks += 1;
        let mut batch = Batch::default();
        let mut touched: Vec<(ServiceKey, Option<EndpointId>)> = Vec::new();
        for _ in 0..self.rng.usize(1..6) {
            let request = Request {
                command: self.command(),
                actor: "story".into(),
                condition: Condition::Always,
                claim: Claim::Free,
            };
            let (key, id) = (request.command.service(), request.command.id());
            let collides = |(other, other_id): &(ServiceKey, Option<EndpointId>)| {
                other == key && (other_id.is_none() || id.is_none() || other_id.as_ref() == id)
            };
            if touched.iter().any(collides) {
                continue;
            }
            touched.push((key.clone(), id.cloned()));
            let Ok(plan) = plan(&self.catalog, &request, self.now()) else {
                continue;
            };
            // A plan of several changes is that of a service that is forgotten: all or nothing.
            let spoil = plan.changes.len() == 1 && self.rng.u8(..20) == 0;
            for planned in plan.changes {
                let spoil = spoil && planned.change.id.is_some();
                let expected = if spoil {
                    Expected::At(Revision(u64::MAX))
                } else {
                    planned.expected
                };
                batch.holds.push(!spoil);
                batch.planned.push(Planned {
                    expected,
                    ..planned
                });
            }
        }
        batch
    }

    fn command(&mut self) -> Command {
        let rng = &mut self.rng;
        let service = service(rng.choice(["web", "api", "memory-store"]).unwrap());
        let id = id(rng.choice(["a", "b", "c", "d", "10.0.0.1:80"]).unwrap());
        let (what, turn) = (rng.u8(..20), rng.u8(..4));
        match what {
            0..=8 => Command::Register {
                registration: registration(&registration_json(rng)),
                service,
                id,
                new: turn == 0,
            },
            9..=11 => Command::Override {
                patch: patch(rng),
                service,
                id,
            },
            12..=13 => Command::Drain {
                wish: (turn > 0).then(|| DrainWish {
                    reason: format!("because of {}", rng.u8(..)),
                    sticky: rng.bool(),
                }),
                service,
                id,
            },
            14..=15 => self.report(service, id),
            16..=18 => Command::Deregister {
                service,
                id,
                incarnation: None,
            },
            _ => Command::Forget { service },
        }
    }

    /// What a check of the endpoint finds, if it has one.
    fn report(&mut self, service: ServiceKey, id: EndpointId) -> Command {
        let endpoint = self.catalog.endpoint(&service, &id);
        let check = endpoint.and_then(|endpoint| endpoint.registration().checks.first());
        let (Some(endpoint), Some(check)) = (endpoint, check) else {
            return Command::Deregister {
                service,
                id,
                incarnation: None,
            };
        };
        Command::Report(Report {
            incarnation: endpoint.incarnation,
            check: Arc::new(check.clone()),
            health: *self.rng.choice(&Health::ALL).unwrap(),
            evidence: "it \"said\" so\n".into(),
            service,
            id,
        })
    }

    /// The batch was acknowledged by a log with gaps.
    pub(crate) fn follow(&mut self, batch: &Batch, appended: &[Appended]) {
        for (planned, appended) in batch.planned.iter().zip(appended) {
            if let Appended::At(revision) = *appended {
                self.catalog.apply(revision, &planned.change, self.now());
            }
        }
    }

    /// The batch was acknowledged.
    pub(crate) fn acknowledged(&mut self, batch: &Batch, appended: &[Appended]) {
        assert_eq!(appended.len(), batch.planned.len());
        let results = batch.planned.iter().zip(&batch.holds).zip(appended);
        for ((planned, holds), appended) in results {
            match appended {
                Appended::At(revision) => {
                    assert!(holds, "{planned:?} should have been a conflict");
                    assert_eq!(revision.0, self.catalog.revision().0 + 1);
                    self.apply(&planned.change);
                }
                Appended::Conflict => assert!(!holds, "{planned:?} should have held"),
            }
        }
        // A batch of which nothing holds says nothing about the disk.
        if batch.holds.contains(&true) {
            self.all_is_certain();
        }
    }

    fn all_is_certain(&mut self) {
        self.certain = (self.catalog.clone(), self.history.len());
        self.possible.clear();
    }

    /// The batch was refused.
    pub(crate) fn refused(&mut self, batch: &Batch) {
        let before = self.history[self.certain.1..]
            .iter()
            .map(|record| &record.change);
        let changes = before.chain(batch.changes().map(|planned| &planned.change));
        self.possible.push(changes.cloned().collect());
    }

    fn apply(&mut self, change: &Arc<Change>) {
        let revision = Revision(self.catalog.revision().0 + 1);
        let change = Arc::clone(change);
        self.catalog.apply(revision, &change, self.now());
        self.history.push(Record { revision, change });
    }

    /// A start has found this state, and this last change if it could be read: it has to be what was acknowledged, or that with the beginning
    /// of something that was really asked for. Everybody sees it from now on; `is_certain` says
    /// whether the start could make sure of it.
    pub(crate) fn found(&mut self, found: &Catalog, is_certain: bool, last: Option<&Record>) {
        let acknowledged = self.certain.0.revision();
        assert!(
            found.revision() >= acknowledged,
            "revision {acknowledged} was acknowledged, and now there is {}",
            found.revision()
        );
        let picture = Picture::of(found);
        let count = usize::try_from(found.revision().0 - acknowledged.0).unwrap();
        let mut told = Vec::new();
        let mut matches = |model: &mut Self, possible: &[Arc<Change>]| {
            model.catalog = model.certain.0.clone();
            model.history.truncate(model.certain.1);
            possible[..count]
                .iter()
                .for_each(|change| model.apply(change));
            let expected = Picture::of(&model.catalog);
            told.push(expected.differences(&picture));
            expected == picture && (last.is_none() || model.history.last() == last)
        };
        let mut possible = self.possible.clone();
        possible.push(Vec::new());
        possible.retain(|changes| changes.len() >= count);
        let is_possible = possible.iter().any(|changes| matches(self, changes));
        assert!(
            is_possible,
            "revision {acknowledged} was acknowledged, {} was found; what is possible differs in:\n{}",
            found.revision(),
            told.join("\nor:\n")
        );
        if is_certain {
            self.all_is_certain();
        }
    }
}

fn registration_json(rng: &mut fastrand::Rng) -> String {
    let port = rng.u16(80..83);
    let ttl = rng.choice([r#""ttl": 30"#, r#""ttl": null"#, r#""ttl": "1500ms""#]);
    let checks = rng.choice([
        r#""checks": []"#,
        r#""checks": [{"type": "tcp"}, {"type": "heartbeat"}]"#,
        r#""checks": [{"type": "http", "path": "/%C3%BC", "interval": 1.5, "expect_status": ["2xx", 404], "expect_body": "ß\"ok"}]"#,
        r#""environment": "docker""#,
    ]);
    let (ttl, checks) = (ttl.unwrap(), checks.unwrap());
    format!(
        r#"{{"url": "http://10.0.0.1:{port}", {ttl}, {checks}, "tags": ["a", "{port}"],
            "metadata": {{"share": {}, "text": "a\u0000\"ß", "deep": {{"list": [null, {}]}}}}}}"#,
        rng.f64() * 10f64.powi(rng.i32(-20..20)),
        rng.u64(..)
    )
}

fn patch(rng: &mut fastrand::Rng) -> OverridePatch {
    let text = rng.choice([
        r#"{"weight": 7, "metadata": {"text": null}}"#,
        r#"{"weight": null, "tags": ["x"], "zone": "eu-1a"}"#,
        r#"{"metadata": null, "tags": null}"#,
    ]);
    hermes_core::wire::request::read_patch(text.unwrap().as_bytes()).unwrap()
}
