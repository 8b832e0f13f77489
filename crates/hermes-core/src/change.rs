//! Changes: the only way in which the registry's state ever moves.
//!
//! A change says what an endpoint *is* after it, not what to do to it, so that applying it cannot
//! fail and a log of changes can be kept as one key per endpoint. One change touches one service and
//! has one revision.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::budget::Budget;
use crate::endpoint::{Endpoint, EndpointState};
use crate::name::{EndpointId, ServiceKey};
use crate::policy::ServicePolicy;
use crate::pulse::Pulse;
use crate::time::{Now, Timestamp};

/// The number of one committed change: strictly increasing within a cluster, not contiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which log a revision belongs to: random when a log is created, kept with it. Revisions of
/// different clusters cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClusterId(pub u64);

impl ClusterId {
    /// Reads the 16 hexadecimal digits that it is shown as.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        plain.then(|| u64::from_str_radix(text, 16).ok().map(Self))?
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// A new incarnation of an endpoint.
    Registered,
    /// The same incarnation with another registration or other overrides.
    Updated,
    /// A check found something new.
    Health,
    /// Draining began, ended or was given another reason.
    Drain,
    /// Removed by somebody who said so.
    Deregistered,
    /// Removed by silence: the lease ran out.
    Expired,
    /// The service itself is no longer known.
    Forgotten,
    /// The service was given another policy.
    Policy,
}

impl ChangeKind {
    /// Every kind, in the order of the contract.
    pub const ALL: [Self; 8] = [
        Self::Registered,
        Self::Updated,
        Self::Health,
        Self::Drain,
        Self::Deregistered,
        Self::Expired,
        Self::Forgotten,
        Self::Policy,
    ];

    /// The word for it in the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Updated => "updated",
            Self::Health => "health",
            Self::Drain => "drain",
            Self::Deregistered => "deregistered",
            Self::Expired => "expired",
            Self::Forgotten => "forgotten",
            Self::Policy => "policy",
        }
    }
}

/// Why a change happened: a code for programs and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Stable word.
    pub code: Cow<'static, str>,
    /// What exactly, for people; may be empty.
    pub detail: String,
}

impl Cause {
    /// A cause with its detail.
    #[must_use]
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            code: Cow::Borrowed(code),
            detail: detail.into(),
        }
    }
}

/// Who or what asked for a change: a key's name, a peer's address, `probe`, `lease`, `config`.
pub type Actor = Arc<str>;

/// One change, as it goes into the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// The service that it touches.
    pub service: ServiceKey,
    /// The endpoint that it touches; `None` when it is the service itself.
    pub id: Option<EndpointId>,
    /// The incarnation that it touches; `None` for a service, and for the change that registers
    /// one, whose revision it will be.
    pub incarnation: Option<Revision>,
    /// What the endpoint is after it; `None` when it is no longer there.
    pub state: Option<Arc<EndpointState>>,
    /// What holds for the service after it; `None` when it is not about that.
    pub policy: Option<Arc<ServicePolicy>>,
    /// When, by the wall clock of whoever planned it.
    pub time: Timestamp,
    /// Who.
    pub actor: Actor,
    /// Why.
    pub cause: Cause,
}

/// A change together with its precondition: what it was planned on.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// The change.
    pub change: Arc<Change>,
    /// What the plan saw. A log refuses the change when that is no longer so.
    pub expected: Expected,
}

/// A precondition on the entity that a change touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// There is no such entity.
    Absent,
    /// The last change of the entity has this revision.
    At(Revision),
    /// Nothing is expected.
    Anything,
}

/// What a change touches: one endpoint, or the service itself.
pub type Entity = (ServiceKey, Option<EndpointId>);

impl Change {
    /// What it touches.
    #[must_use]
    pub fn entity(&self) -> Entity {
        (self.service.clone(), self.id.clone())
    }
}

/// Bytes of a change with a small endpoint and of its encoded form, roughly.
const WEIGHT_FIXED: usize = 1_536;

/// A change that is in the log, as watchers see it.
#[derive(Debug)]
pub struct Committed {
    /// Its revision.
    pub revision: Revision,
    /// The change.
    pub change: Arc<Change>,
    /// The endpoint after it; `None` when it is no longer there.
    pub endpoint: Option<Arc<Endpoint>>,
    /// The form in which it is sent, made by the first who sends it and then only copied.
    frame: OnceLock<Bytes>,
    weight: usize,
}

impl Committed {
    /// The change `change` at `revision`, after which its endpoint is `endpoint`.
    #[must_use]
    pub fn new(revision: Revision, change: Arc<Change>, endpoint: Option<Arc<Endpoint>>) -> Self {
        let weight = WEIGHT_FIXED + change.state.as_ref().map_or(0, |state| state.weight());
        Self {
            revision,
            change,
            endpoint,
            frame: OnceLock::new(),
            weight,
        }
    }

    /// A change as it stands in a log, from before this process: what it left is shown, but nobody
    /// hears from it any more.
    #[must_use]
    pub fn restored(revision: Revision, change: Arc<Change>) -> Self {
        let endpoint = change
            .id
            .as_ref()
            .zip(change.state.as_ref())
            .map(|(id, state)| {
                Arc::new(Endpoint {
                    service: change.service.clone(),
                    id: id.clone(),
                    incarnation: state.incarnation.unwrap_or(revision),
                    revision,
                    state: Arc::clone(state),
                    pulse: Arc::new(Pulse::new(None, Now::default(), change.time)),
                    encoded: OnceLock::new(),
                    budget: Arc::new(Budget::new(0)),
                })
            });
        Self::new(revision, change, endpoint)
    }

    /// The incarnation that it touches; `None` when it touches the service itself.
    #[must_use]
    pub fn incarnation(&self) -> Option<Revision> {
        self.endpoint
            .as_ref()
            .map(|endpoint| endpoint.incarnation)
            .or(self.change.incarnation)
    }

    /// The encoded form; `make` runs at most once for all watchers together.
    pub fn frame(&self, make: impl FnOnce(&Self) -> Bytes) -> &Bytes {
        self.frame.get_or_init(|| make(self))
    }

    /// Bytes that it and its encoded form hold, roughly: what bounds are counted in.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.weight
    }
}
