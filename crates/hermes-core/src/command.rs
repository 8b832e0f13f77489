//! Commands: the closed list of everything that may ask for a change.
//!
//! Requests, probe results and the lease clock all come through here. A command is data; what it
//! leads to is decided by [`crate::plan::plan`].

use std::sync::Arc;

use crate::change::{Actor, Revision};
use crate::check::Check;
use crate::endpoint::Registration;
use crate::health::Health;
use crate::metadata::Metadata;
use crate::name::{EndpointId, ServiceKey};
use crate::policy::ServicePolicy;

/// Something that may lead to changes of one service.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// An instance says what it is. The same again renews its lease.
    Register {
        /// The service.
        service: ServiceKey,
        /// The endpoint.
        id: EndpointId,
        /// What it says.
        registration: Arc<Registration>,
        /// Whether it says that it is a new process, which makes a new incarnation in any case.
        new: bool,
    },
    /// An operator lays something over a registration.
    Override {
        /// The service.
        service: ServiceKey,
        /// The endpoint.
        id: EndpointId,
        /// What is laid over it.
        patch: OverridePatch,
    },
    /// An operator begins (`Some`) or ends (`None`) draining.
    Drain {
        /// The service.
        service: ServiceKey,
        /// The endpoint.
        id: EndpointId,
        /// Reason, and whether it outlives the incarnation.
        wish: Option<DrainWish>,
    },
    /// Somebody removes an endpoint.
    Deregister {
        /// The service.
        service: ServiceKey,
        /// The endpoint.
        id: EndpointId,
        /// Only if it is this incarnation.
        incarnation: Option<Revision>,
    },
    /// Somebody removes all endpoints of a service and the service itself.
    Forget {
        /// The service.
        service: ServiceKey,
    },
    /// An operator says what holds for a service, known or not.
    SetPolicy {
        /// The service.
        service: ServiceKey,
        /// What holds from now on.
        policy: Arc<ServicePolicy>,
    },
    /// A check found something.
    Report(Report),
    /// The lease clock closed the lease of an endpoint.
    Expire {
        /// The service.
        service: ServiceKey,
        /// The endpoint.
        id: EndpointId,
        /// The incarnation whose lease it was.
        incarnation: Revision,
    },
    /// A service has been without endpoints for as long as it stays known.
    Lapse {
        /// The service.
        service: ServiceKey,
    },
}

/// What a check found.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The service.
    pub service: ServiceKey,
    /// The endpoint.
    pub id: EndpointId,
    /// The incarnation that was probed; the result counts for no other.
    pub incarnation: Revision,
    /// The definition that was executed; the result counts for no other.
    pub check: Arc<Check>,
    /// What was found.
    pub health: Health,
    /// What was seen, for people.
    pub evidence: Arc<str>,
}

/// A merge patch over the overridable members. The outer `None` leaves a member as it is, the inner
/// `None` takes its override away.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OverridePatch {
    /// Members to lay over the metadata.
    pub metadata: Option<Option<Metadata>>,
    /// Tags to show instead.
    pub tags: Option<Option<Vec<String>>>,
    /// Weight to use instead.
    pub weight: Option<Option<u16>>,
    /// Zone to show instead.
    pub zone: Option<Option<String>>,
}

/// How to drain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DrainWish {
    /// Why, for people.
    pub reason: String,
    /// Whether it outlives the incarnation.
    pub sticky: bool,
}

/// A command with who asks and under which condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What is asked.
    pub command: Command,
    /// Who asks.
    pub actor: Actor,
    /// Under which condition.
    pub condition: Condition,
    /// By what right.
    pub claim: Claim,
}

/// Whose an endpoint is: the owner of the key that registered it, whatever the key is called.
pub type Owner = Arc<str>;

/// By what right a request touches endpoints. An endpoint without an owner is nobody's and may be
/// touched by all; whoever registers it next becomes its owner.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Claim {
    /// Touches everything and owns nothing: the engine itself, and everybody while there are no keys.
    #[default]
    Free,
    /// Touches what is this owner's, and what is nobody's.
    Owner(Owner),
    /// Touches everything; what it registers first is this owner's.
    Admin(Owner),
}

impl Claim {
    /// Whether it touches what belongs to `owner`.
    #[must_use]
    pub fn covers(&self, owner: Option<&str>) -> bool {
        match self {
            Self::Free | Self::Admin(_) => true,
            Self::Owner(own) => owner.is_none_or(|owner| owner == &**own),
        }
    }

    /// Whose an endpoint is that it registers, when it is nobody's yet.
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        match self {
            Self::Free => None,
            Self::Owner(owner) | Self::Admin(owner) => Some(owner),
        }
    }
}

/// A condition that the caller puts on a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Condition {
    /// None.
    #[default]
    Always,
    /// Only if what it is about, an endpoint or a service, is not there (`If-None-Match: *`).
    Absent,
    /// Only if it is there (`If-Match: *`).
    Present,
    /// Only if the service is still at this revision (`If-Match`).
    ServiceAt(Revision),
    /// Only if the service is still at this revision and has no such endpoint (both headers).
    AbsentAt(Revision),
}

impl Command {
    /// The service that it touches.
    #[must_use]
    pub fn service(&self) -> &ServiceKey {
        match self {
            Self::Register { service, .. }
            | Self::Override { service, .. }
            | Self::Drain { service, .. }
            | Self::Deregister { service, .. }
            | Self::Forget { service }
            | Self::SetPolicy { service, .. }
            | Self::Report(Report { service, .. })
            | Self::Expire { service, .. }
            | Self::Lapse { service } => service,
        }
    }

    /// The endpoint that it touches; `None` when it touches all of the service.
    #[must_use]
    pub fn id(&self) -> Option<&EndpointId> {
        match self {
            Self::Register { id, .. }
            | Self::Override { id, .. }
            | Self::Drain { id, .. }
            | Self::Deregister { id, .. }
            | Self::Report(Report { id, .. })
            | Self::Expire { id, .. } => Some(id),
            Self::Forget { .. } | Self::SetPolicy { .. } | Self::Lapse { .. } => None,
        }
    }
}
