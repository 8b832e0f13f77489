//! Endpoints: what is registered, what is laid over it, what is known of it.
//!
//! Three layers are kept apart. The [`Registration`] is what the instance itself says; the
//! [`Overrides`] are what an operator says (PATCH, drain), win on reading and survive a
//! re-registration; health is what checks found. Together they are an [`EndpointState`], the part
//! that goes through the log. An [`Endpoint`] is a state at its revision, immutable, with what moves
//! without a change beside it in a [`Pulse`].

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::address::{Address, url_of};
use crate::budget::{Budget, Share};
use crate::change::Revision;
use crate::check::Check;
use crate::command::Owner;
use crate::health::{Health, worst};
use crate::limits::BodyRules;
use crate::metadata::Metadata;
use crate::name::{EndpointId, ServiceKey};
use crate::policy::ServicePolicy;
use crate::port::{MAIN_PORT, Port, Ports};
use crate::pulse::Pulse;
use crate::time::Timestamp;
use crate::wire::EncodedEndpoint;

/// The weight of an endpoint that was registered without one.
pub const WEIGHT_DEFAULT: u16 = 100;

/// What an instance says of itself, after defaults and folding.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// Where the main port is reached.
    pub address: Address,
    /// Named ports, `main` always among them.
    pub ports: Ports,
    /// Any JSON values.
    pub metadata: Metadata,
    /// For filtering.
    pub tags: Vec<String>,
    /// Where it runs, for preferring what is near.
    pub zone: Option<String>,
    /// Its share of selections, 0 to 65535; 0 means only when nothing else is ready.
    pub weight: u16,
    /// Where the process runs, in the first seed document's sense.
    pub platform: Platform,
    /// The lease; `None` is static.
    pub ttl: Option<Duration>,
    /// How its health is found out; none means that it counts as healthy.
    pub checks: Vec<Check>,
    /// Whether they are the defaults of the service, which its policy may change.
    pub checks_by_default: bool,
    /// What holds until the first probe.
    pub initial_health: InitialHealth,
}

impl Registration {
    /// What stands for an address of which nothing else is said: static, with one port, and with the
    /// check that is usual for its scheme.
    #[must_use]
    pub fn at(address: Address) -> Self {
        let port = Port {
            port: address.port,
            scheme: address.scheme.clone(),
        };
        Self {
            ports: Ports::of(port),
            metadata: Metadata::default(),
            tags: Vec::new(),
            zone: None,
            weight: WEIGHT_DEFAULT,
            platform: Platform::default(),
            ttl: None,
            checks: vec![Check::default_for(&address.scheme)],
            checks_by_default: true,
            initial_health: InitialHealth::default(),
            address,
        }
    }

    /// The same with the checks that `policy` gives it, or else `rules`, where it brings none of its
    /// own.
    #[must_use]
    pub fn under(self: &Arc<Self>, policy: &ServicePolicy, rules: &BodyRules) -> Arc<Self> {
        if !self.checks_by_default {
            return Arc::clone(self);
        }
        let usual = || vec![Check::usual(&self.address.scheme, rules)];
        let checks = policy.checks.clone().unwrap_or_else(usual);
        if checks == self.checks {
            return Arc::clone(self);
        }
        Arc::new(Self {
            checks,
            ..Self::clone(self)
        })
    }

    /// Whether it says the same, however that came about.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let Self {
            address,
            ports,
            metadata,
            tags,
            zone,
            weight,
            platform,
            ttl,
            checks,
            checks_by_default: _,
            initial_health,
        } = self;
        *address == other.address
            && *ports == other.ports
            && *metadata == other.metadata
            && *tags == other.tags
            && *zone == other.zone
            && *weight == other.weight
            && *platform == other.platform
            && *ttl == other.ttl
            && *checks == other.checks
            && *initial_health == other.initial_health
    }
}

/// Where a process runs. The JSON field is called `environment`, as in the first seed document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Platform {
    /// On a machine.
    #[default]
    Local,
    /// In a container.
    Docker,
    /// In a pod.
    Kubernetes,
}

impl Platform {
    /// Every value, in the order of the contract.
    pub const ALL: [Self; 3] = [Self::Local, Self::Docker, Self::Kubernetes];

    /// The word for it in the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Docker => "docker",
            Self::Kubernetes => "kubernetes",
        }
    }

    /// The platform that a word of the API means.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|platform| platform.word() == word)
    }
}

/// Whether a new endpoint is handed out before a probe has found it to work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InitialHealth {
    /// `starting`, and not ready until a first success.
    #[default]
    Unknown,
    /// Ready at once; the first probes may correct it.
    Healthy,
}

/// What an operator says: a merge patch over the registration.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Overrides {
    /// A merge patch (RFC 7396) over the registered metadata; a null hides a member.
    pub metadata: Metadata,
    /// Replaces the registered tags.
    pub tags: Option<Vec<String>>,
    /// Replaces the registered weight.
    pub weight: Option<u16>,
    /// Replaces the registered zone.
    pub zone: Option<String>,
}

impl Overrides {
    /// Whether nothing is laid over the registration.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The wish that an endpoint gets no new work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drain {
    /// Why, for people; at most 256 bytes.
    pub reason: String,
    /// Whether it outlives this incarnation.
    pub sticky: bool,
    /// Since when.
    pub since: Timestamp,
}

/// What one check has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckFinding {
    /// What it found.
    pub health: Health,
    /// Since when it finds that.
    pub since: Timestamp,
    /// What it saw, for people; at most 256 bytes.
    pub evidence: Arc<str>,
}

/// Everything about an endpoint that goes through the log.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointState {
    /// The revision at which this incarnation was registered; `None` in the very change that
    /// registers it, which does not know its revision yet.
    pub incarnation: Option<Revision>,
    /// Whose it is: the first owner who registered it, for as long as it is there. `None` is nobody's.
    pub owner: Option<Owner>,
    /// What the instance says.
    pub registration: Arc<Registration>,
    /// What the operator says.
    pub overrides: Arc<Overrides>,
    /// Whether the operator wants it drained.
    pub drain: Option<Drain>,
    /// One finding for each check of the registration, in its order.
    pub findings: Vec<CheckFinding>,
    /// Whether it was ever found to work, in this incarnation.
    pub started: bool,
    /// Whether its health goes to and fro, so that its edges are held back ([`crate::damping`]).
    pub flapping: bool,
    /// When this incarnation was registered.
    pub registered_at: Timestamp,
    /// The last change of health or readiness.
    pub since: Timestamp,
}

impl EndpointState {
    /// Of all checks that count, what the worst one finds; healthy without any.
    #[must_use]
    pub fn health(&self) -> Health {
        self.deciding()
            .map_or(Health::Healthy, |(_, finding)| finding.health)
    }

    /// The check that decides the health, with its finding; `None` when no check counts.
    #[must_use]
    pub fn deciding(&self) -> Option<(&Check, &CheckFinding)> {
        let counting = || self.checks().filter(|(check, _)| !check.dry_run);
        let at = worst(counting().map(|(_, finding)| finding.health))?;
        counting().nth(at)
    }

    /// Every check with its finding.
    pub fn checks(&self) -> impl Iterator<Item = (&Check, &CheckFinding)> {
        self.registration.checks.iter().zip(&self.findings)
    }

    /// The server's verdict: whether it may be handed out.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.started && self.drain.is_none() && self.health().may_serve()
    }

    /// Whether it differs from `before`, of the same incarnation, in what a check finds.
    #[must_use]
    pub fn is_edge_from(&self, before: &Self) -> bool {
        let (now, then) = (self.findings.iter(), before.findings.iter());
        let healths = now.map(|finding| finding.health);
        self.incarnation.is_some() && !healths.eq(then.map(|finding| finding.health))
    }

    /// What follows from the findings, after one of them or the drain was changed at `now`:
    /// whether it has started, and since when it is as it is.
    #[must_use]
    pub fn settled(mut self, before: &Self, now: Timestamp) -> Self {
        self.started |= self.health().may_serve();
        if (self.health(), self.is_ready()) != (before.health(), before.is_ready()) {
            self.since = now;
        }
        self
    }
}

impl EndpointState {
    /// Bytes of its metadata, in memory and encoded, roughly; the rest is small and bounded.
    #[must_use]
    pub fn weight(&self) -> usize {
        2 * (self.registration.metadata.weight() + self.overrides.metadata.weight())
    }
}

/// One running instance at one revision. Immutable; a change makes a new one.
#[derive(Debug)]
pub struct Endpoint {
    /// The service it belongs to.
    pub service: ServiceKey,
    /// Who it is within the service.
    pub id: EndpointId,
    /// The revision at which this incarnation was registered.
    pub incarnation: Revision,
    /// The last change of this endpoint.
    pub revision: Revision,
    /// What went through the log.
    pub state: Arc<EndpointState>,
    /// What moves without a change.
    pub pulse: Arc<Pulse>,
    /// The JSON form, made on first use and then only copied.
    pub(crate) encoded: OnceLock<(EncodedEndpoint, Share)>,
    /// What it takes its bytes from.
    pub(crate) budget: Arc<Budget>,
}

impl Endpoint {
    /// The registration layer.
    #[must_use]
    pub fn registration(&self) -> &Registration {
        &self.state.registration
    }

    /// Whether it may be handed out.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state.is_ready()
    }

    /// The metadata as read: overrides laid over the registration.
    #[must_use]
    pub fn metadata(&self) -> Cow<'_, Metadata> {
        let registered = &self.state.registration.metadata;
        let overrides = &self.state.overrides.metadata;
        if overrides.is_empty() {
            return Cow::Borrowed(registered);
        }
        Cow::Owned(registered.patched(overrides))
    }

    /// The tags as read.
    #[must_use]
    pub fn tags(&self) -> &[String] {
        self.state
            .overrides
            .tags
            .as_deref()
            .unwrap_or(&self.state.registration.tags)
    }

    /// The zone as read.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        let registered = self.state.registration.zone.as_deref();
        self.state.overrides.zone.as_deref().or(registered)
    }

    /// The weight as read.
    #[must_use]
    pub fn weight(&self) -> u16 {
        self.state
            .overrides
            .weight
            .unwrap_or(self.state.registration.weight)
    }

    /// The URL of a named port; `None` when it has no such port.
    #[must_use]
    pub fn url_of_port(&self, name: &str) -> Option<String> {
        if name == MAIN_PORT {
            return Some(self.registration().address.url.to_string());
        }
        let port = self.registration().ports.get(name)?;
        Some(url_of(
            &port.scheme,
            &self.registration().address.host,
            port.port,
        ))
    }
}
