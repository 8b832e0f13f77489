//! Steps that may happen to a registry, in any order: what the properties of `machine` are tried on.
//!
//! There are few names, ids and registrations, so that steps meet each other; times are chosen around
//! the leases, so that some just run out and some just do not.

use std::sync::{Arc, LazyLock};

use hermes_core::catalog::Catalog;
use hermes_core::change::{ChangeKind, Committed, Revision};
use hermes_core::command::{Command, DrainWish, OverridePatch, Report};
use hermes_core::endpoint::Registration;
use hermes_core::health::Health;
use hermes_core::limits::{BodyRules, Limits};
use hermes_core::name::{EndpointId, ServiceKey};
use hermes_core::plan::find_endpoint;
use hermes_core::rejection::Rejection;
use hermes_core::wire::request::read_patch;
use proptest::prelude::*;
use serde_json::json;

use crate::driver::Machine;
use crate::make::{id, registration, service};

/// One thing that happens.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Register {
        target: Target,
        registration: usize,
        new: bool,
    },
    Override {
        target: Target,
        patch: usize,
    },
    /// `Some` begins, sticky or not.
    Drain {
        target: Target,
        sticky: Option<bool>,
    },
    Deregister {
        target: Target,
        whose: Whose,
    },
    Forget {
        target: Target,
    },
    Report {
        target: Target,
        check: usize,
        health: Health,
        whose: Whose,
    },
    Lapse {
        target: Target,
    },
    Heartbeat {
        target: Target,
        whose: Whose,
    },
    /// The clock closes leases; what follows waits.
    Close,
    /// The clock closes leases, and all that waits is committed, or is not.
    Clock {
        log_works: bool,
    },
    Wait(u64),
}

/// Which endpoint, by number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    service: usize,
    id: usize,
}

/// Which incarnation the caller speaks of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Whose {
    Unsaid,
    Current,
    Former,
}

/// What came of a step.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The catalog as it was.
    pub(crate) before: Catalog,
    /// What was asked, if it was a command.
    pub(crate) command: Option<Command>,
    /// Why nothing came of it.
    pub(crate) rejection: Option<Rejection>,
    /// What was committed.
    pub(crate) committed: Vec<Arc<Committed>>,
    /// Whose lease was renewed without a change.
    pub(crate) renewed: Option<(ServiceKey, EndpointId)>,
}

static SERVICES: LazyLock<Vec<ServiceKey>> =
    LazyLock::new(|| ["web", "db", "lab/web"].map(service).to_vec());
static IDS: LazyLock<Vec<EndpointId>> = LazyLock::new(|| ["a", "b", "c"].map(id).to_vec());

/// They differ in host, port, path, metadata, lease, checks and first health.
static REGISTRATIONS: LazyLock<Vec<Registration>> = LazyLock::new(|| {
    [
        json!({"url": "http://10.0.0.1:80", "checks": []}),
        json!({"url": "http://10.0.0.1:80", "checks": [], "ttl": 5, "metadata": {"v": 1, "w": {"x": 1}}}),
        json!({"url": "http://10.0.0.2:80", "ttl": 5}),
        json!({"url": "http://10.0.0.2:80/base", "ttl": 1, "initial_health": "healthy"}),
        json!({"url": "http://10.0.0.2:80", "ttl": 5, "tags": ["t"], "weight": 0, "checks": [
            {"type": "tcp"}, {"type": "http", "dry_run": true}
        ]}),
        json!({"url": "http://10.0.0.2:80", "ttl": 5, "checks": [
            {"type": "tcp", "interval": 10}, {"type": "http", "fall": 2}
        ]}),
        json!({"url": "http://10.0.0.2:80", "ttl": null, "checks": [{"type": "tcp"}]}),
        json!({"host": "10.0.0.2", "port": 80, "ports": {"admin": 81}, "ttl": 2, "zone": "z1"}),
    ]
    .iter()
    .map(registration)
    .collect()
});

static PATCHES: LazyLock<Vec<OverridePatch>> = LazyLock::new(|| {
    [
        json!({"weight": 5, "metadata": {"v": null}}),
        json!({"metadata": {"w": {"y": 2}}, "zone": "z2"}),
        json!({"metadata": null, "tags": ["u"]}),
        json!({"weight": null, "zone": null, "tags": null}),
        json!({}),
    ]
    .iter()
    .map(|body| read_patch(body.to_string().as_bytes()).expect("the patches are right"))
    .collect()
});

/// Sixty to eighty steps.
pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 60..80)
}

/// Limits that so few names reach.
pub(crate) fn tight() -> Limits {
    Limits {
        endpoints_per_service: 2,
        services: 2,
        gone_per_service: 1,
        encoded_bytes: 2_000,
        known_for: std::time::Duration::from_secs(20),
        body: BodyRules::default(),
    }
}

fn step() -> impl Strategy<Value = Step> {
    let target =
        || (0..SERVICES.len(), 0..IDS.len()).prop_map(|(service, id)| Target { service, id });
    let whose = || {
        prop_oneof![
            Just(Whose::Unsaid),
            Just(Whose::Current),
            Just(Whose::Former)
        ]
    };
    let wait = prop_oneof![
        6 => 1_u64..900,
        3 => prop::sample::select(vec![999, 1_000, 1_999, 4_999, 5_000, 20_000]),
        1 => 10_000_u64..70_000,
    ];
    prop_oneof![
        10 => (target(), 0..REGISTRATIONS.len(), prop::bool::weighted(0.2)).prop_map(
            |(target, registration, new)| Step::Register { target, registration, new }
        ),
        3 => (target(), 0..PATCHES.len()).prop_map(|(target, patch)| Step::Override { target, patch }),
        3 => (target(), any::<Option<bool>>()).prop_map(|(target, sticky)| Step::Drain { target, sticky }),
        3 => (target(), whose()).prop_map(|(target, whose)| Step::Deregister { target, whose }),
        1 => target().prop_map(|target| Step::Forget { target }),
        6 => (target(), 0..2_usize, prop::sample::select(Health::ALL.to_vec()), whose()).prop_map(
            |(target, check, health, whose)| Step::Report { target, check, health, whose }
        ),
        1 => target().prop_map(|target| Step::Lapse { target }),
        6 => (target(), whose()).prop_map(|(target, whose)| Step::Heartbeat { target, whose }),
        2 => Just(Step::Close),
        4 => prop::bool::weighted(0.7).prop_map(|log_works| Step::Clock { log_works }),
        6 => wait.prop_map(Step::Wait),
    ]
}

impl Machine {
    /// Takes all steps, and lets `look` look at what came of each.
    pub(crate) fn run(limits: Limits, steps: &[Step], mut look: impl FnMut(&Self, &Step, &Taken)) {
        let mut machine = Self::new(limits);
        for step in steps {
            let taken = machine.take(step);
            look(&machine, step, &taken);
        }
    }

    /// Takes one step.
    pub(crate) fn take(&mut self, step: &Step) -> Taken {
        let mut taken = Taken {
            before: self.catalog.clone(),
            command: self.command_of(step),
            rejection: None,
            committed: Vec::new(),
            renewed: None,
        };
        if let Some(command) = &taken.command {
            match self.ask(command) {
                Ok(committed) => taken.committed = committed,
                Err(rejection) => taken.rejection = Some(rejection),
            }
            let is_heard = matches!(command, Command::Register { .. }) && taken.rejection.is_none();
            if is_heard && taken.committed.is_empty() {
                taken.renewed = command
                    .id()
                    .map(|id| (command.service().clone(), id.clone()));
            }
            return taken;
        }
        match step {
            Step::Wait(millis) => self.wait(*millis),
            Step::Close => self.close_leases(),
            Step::Clock { log_works } => {
                self.close_leases();
                taken.committed = self.finish_expiries(*log_works);
            }
            Step::Heartbeat { target, whose } => match self.heartbeat(*target, *whose) {
                Ok(()) => taken.renewed = Some((target.service(), target.id())),
                Err(rejection) => taken.rejection = Some(rejection),
            },
            _ => {}
        }
        taken
    }

    /// A heartbeat as an engine takes it: beside the writer, from the view.
    fn heartbeat(&self, target: Target, whose: Whose) -> Result<(), Rejection> {
        let (service, id) = (target.service(), target.id());
        let endpoint = find_endpoint(&self.catalog, &service, &id)?;
        let current = endpoint.incarnation;
        if self
            .incarnation(target, whose)
            .is_some_and(|said| said != current)
        {
            return Err(Rejection::IncarnationStale {
                service,
                id,
                current,
            });
        }
        let (by, at) = (ChangeKind::Expired, self.now().time);
        let gone = |_closed| Rejection::EndpointGone {
            service,
            id,
            by,
            at,
        };
        endpoint.pulse.beat(self.now()).map_err(gone)
    }

    /// The command that a step is; `None` when it moves nothing but time and leases, or when there is
    /// nothing it could speak of.
    pub(crate) fn command_of(&self, step: &Step) -> Option<Command> {
        Some(match step {
            Step::Register {
                target,
                registration,
                new,
            } => Command::Register {
                service: target.service(),
                id: target.id(),
                registration: Arc::new(REGISTRATIONS[*registration].clone()),
                new: *new,
            },
            Step::Override { target, patch } => Command::Override {
                service: target.service(),
                id: target.id(),
                patch: PATCHES[*patch].clone(),
            },
            Step::Drain { target, sticky } => Command::Drain {
                service: target.service(),
                id: target.id(),
                wish: sticky.map(|sticky| DrainWish {
                    reason: "moving".into(),
                    sticky,
                }),
            },
            Step::Deregister { target, whose } => Command::Deregister {
                service: target.service(),
                id: target.id(),
                incarnation: self.incarnation(*target, *whose),
            },
            Step::Forget { target } => Command::Forget {
                service: target.service(),
            },
            Step::Lapse { target } => Command::Lapse {
                service: target.service(),
            },
            Step::Report {
                target,
                check,
                health,
                whose,
            } => {
                let endpoint = self.catalog.endpoint(&target.service(), &target.id())?;
                let check = endpoint.registration().checks.get(*check)?;
                Command::Report(Report {
                    service: target.service(),
                    id: target.id(),
                    incarnation: self
                        .incarnation(*target, *whose)
                        .unwrap_or(endpoint.incarnation),
                    check: Arc::new(check.clone()),
                    health: *health,
                    evidence: "seen".into(),
                })
            }
            Step::Heartbeat { .. } | Step::Close | Step::Clock { .. } | Step::Wait(_) => {
                return None;
            }
        })
    }

    fn incarnation(&self, target: Target, whose: Whose) -> Option<Revision> {
        let endpoint = self.catalog.endpoint(&target.service(), &target.id());
        let current = endpoint.map_or(Revision(1_000_000), |endpoint| endpoint.incarnation);
        match whose {
            Whose::Unsaid => None,
            Whose::Current => Some(current),
            Whose::Former => Some(Revision(current.0 - 1)),
        }
    }
}

impl Target {
    fn service(self) -> ServiceKey {
        SERVICES[self.service].clone()
    }

    fn id(self) -> EndpointId {
        IDS[self.id].clone()
    }
}
