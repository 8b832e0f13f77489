//! Selection: which endpoints serve this request.
//!
//! Pure: the turn, the seed and the time are arguments. First the candidates (everything that
//! matches the criteria and is ready), then a policy puts the best first. Each policy is one
//! function over the same candidates.

mod policy;

use std::sync::Arc;

use crate::catalog::ServiceView;
use crate::endpoint::{Endpoint, Platform};
use crate::metadata::Metadata;
use crate::port::MAIN_PORT;
use crate::time::Now;

pub use policy::{rendezvous_score, unit_interval};

/// How the best is found among the candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// Each in turn, over all callers of the service.
    #[default]
    RoundRobin,
    /// Any, with equal chance.
    Random,
    /// Any, with a chance proportional to its weight.
    Weighted,
    /// The lowest reported load for its weight; where nobody reports, the fewest selections by this
    /// server in the last ten seconds.
    LeastLoaded,
    /// The same for the same key, with as few moves as possible when endpoints come and go.
    Rendezvous,
}

impl Policy {
    /// Every policy, in the order of the contract.
    pub const ALL: [Self; 5] = [
        Self::RoundRobin,
        Self::Random,
        Self::Weighted,
        Self::LeastLoaded,
        Self::Rendezvous,
    ];

    /// The word for it in the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::Random => "random",
            Self::Weighted => "weighted",
            Self::LeastLoaded => "least_loaded",
            Self::Rendezvous => "rendezvous",
        }
    }

    /// The policy that a word of the API means.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.word() == word)
    }
}

/// What a caller wants (`SelectionCriteria` of the API).
#[derive(Debug, Clone, PartialEq)]
pub struct Criteria {
    /// How the best is found; `None` is as the service's policy has it, or else in turn.
    pub policy: Option<Policy>,
    /// What rendezvous goes by.
    pub key: Option<String>,
    /// Every member must be equal.
    pub metadata: Metadata,
    /// All must be there.
    pub tags: Vec<String>,
    /// Preferred, or required when `zone_strict`.
    pub zone: Option<String>,
    /// Whether the zone is required.
    pub zone_strict: bool,
    /// Required.
    pub platform: Option<Platform>,
    /// Ids or URLs that must not be chosen.
    pub exclude: Vec<String>,
    /// The named port that is wanted; endpoints without it do not match.
    pub port: String,
    /// Whether not-ready endpoints may serve when nothing is ready. Draining ones never do.
    pub fallback_any: bool,
    /// How many, 1 to 100.
    pub limit: usize,
}

impl Default for Criteria {
    fn default() -> Self {
        Self {
            policy: None,
            key: None,
            metadata: Metadata::default(),
            tags: Vec::new(),
            zone: None,
            zone_strict: false,
            platform: None,
            exclude: Vec::new(),
            port: MAIN_PORT.into(),
            fallback_any: false,
            limit: 1,
        }
    }
}

/// What was chosen.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The best first, at most as many as were wanted.
    pub chosen: Vec<Arc<Endpoint>>,
    /// Whether they are not ready, and only serve because nothing else is.
    pub panic: bool,
}

/// Where a selection takes its variety from, so that the core needs no chance of its own.
#[derive(Debug, Clone, Copy)]
pub struct Variety {
    /// The number of this selection, over all callers of the service.
    pub turn: usize,
    /// Anything that differs from selection to selection.
    pub seed: u64,
}

/// Chooses among the endpoints of `view`.
#[must_use]
pub fn select(view: &ServiceView, criteria: &Criteria, variety: Variety, now: Now) -> Selection {
    let matching: Vec<&Arc<Endpoint>> = view
        .endpoints
        .iter()
        .filter(|endpoint| criteria.matches(endpoint))
        .collect();
    let is_ready = |endpoint: &&Arc<Endpoint>| endpoint.is_ready();
    let mut candidates: Vec<_> = matching.iter().copied().filter(is_ready).collect();
    let panic = candidates.is_empty() && criteria.fallback_any;
    if panic {
        candidates = matching
            .into_iter()
            .filter(|e| e.state.drain.is_none())
            .collect();
    }
    let how = criteria
        .policy
        .or(view.policy.selection)
        .unwrap_or_default();
    let groups = preference_groups(criteria, candidates);
    let chosen: Vec<Arc<Endpoint>> = groups
        .into_iter()
        .flat_map(|group| policy::ordered(group, how, criteria, variety, now))
        .take(criteria.limit)
        .cloned()
        .collect();
    let panic = panic && !chosen.is_empty();
    Selection { chosen, panic }
}

impl Criteria {
    /// Whether an endpoint may be chosen at all, readiness aside.
    #[must_use]
    pub fn matches(&self, endpoint: &Endpoint) -> bool {
        let registration = endpoint.registration();
        let excluded =
            |what: &String| *what == endpoint.id.as_str() || **what == *registration.address.url;
        let has = |tag: &String| endpoint.tags().contains(tag);
        self.platform
            .is_none_or(|platform| platform == registration.platform)
            && (self.port == MAIN_PORT || registration.ports.contains_key(self.port.as_str()))
            && !self.exclude.iter().any(excluded)
            && self.tags.iter().all(has)
            && (!self.zone_strict || self.zone.as_deref() == endpoint.zone())
            && self.metadata_matches(endpoint)
    }

    fn metadata_matches(&self, endpoint: &Endpoint) -> bool {
        if self.metadata.is_empty() {
            return true;
        }
        let metadata = endpoint.metadata();
        self.metadata
            .iter()
            .all(|(name, wanted)| metadata.get(name) == Some(wanted))
    }
}

/// The candidates in groups, those to be used first in front: the wanted zone before others, and
/// weight 0 only after everything else.
fn preference_groups<'a>(
    criteria: &Criteria,
    candidates: Vec<&'a Arc<Endpoint>>,
) -> Vec<Vec<&'a Arc<Endpoint>>> {
    let mut groups: [Vec<&Arc<Endpoint>>; 4] = Default::default();
    for endpoint in candidates {
        let elsewhere = criteria.zone.is_some() && criteria.zone.as_deref() != endpoint.zone();
        groups[2 * usize::from(endpoint.weight() == 0) + usize::from(elsewhere)].push(endpoint);
    }
    groups
        .into_iter()
        .filter(|group| !group.is_empty())
        .collect()
}
