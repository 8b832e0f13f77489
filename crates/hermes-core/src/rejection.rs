//! Rejections: why a command leads to nothing.

use crate::change::{ChangeKind, Revision};
use crate::command::{Claim, Owner};
use crate::endpoint::Endpoint;
use crate::name::{EndpointId, ServiceKey};
use crate::time::Timestamp;

/// Why a command was refused. Sorted by what the caller can do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The service is not known: look at the name, or register.
    #[error("no service `{service}` is known")]
    ServiceUnknown {
        /// The name that was asked for.
        service: ServiceKey,
    },
    /// The service has no such endpoint and remembers none: look at the id, or register.
    #[error("service `{service}` has no endpoint `{id}`, and remembers none")]
    EndpointUnknown {
        /// The service.
        service: ServiceKey,
        /// The id that was asked for.
        id: EndpointId,
    },
    /// The endpoint was there and is removed: register again.
    #[error("endpoint `{id}` of `{service}` was removed at {at}")]
    EndpointGone {
        /// The service.
        service: ServiceKey,
        /// The endpoint.
        id: EndpointId,
        /// How it was removed.
        by: ChangeKind,
        /// When it was removed.
        at: Timestamp,
    },
    /// A newer incarnation lives: whoever speaks for the older one should stop.
    #[error("endpoint `{id}` of `{service}` is at incarnation {current}; a newer one lives")]
    IncarnationStale {
        /// The service.
        service: ServiceKey,
        /// The endpoint.
        id: EndpointId,
        /// The one that lives.
        current: Revision,
    },
    /// The endpoint belongs to somebody else: use a key of that owner, or of an admin.
    #[error("endpoint `{id}` of `{service}` belongs to `{owner}`")]
    NotOwner {
        /// The service.
        service: ServiceKey,
        /// The endpoint.
        id: EndpointId,
        /// Whose it is.
        owner: Owner,
    },
    /// The registry is full in one respect: remove something, or raise the limit.
    #[error("the limit of {max} {what} is reached")]
    LimitReached {
        /// What is limited.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// The caller's own condition does not hold: read again, then decide.
    #[error("the condition of the request does not hold: `{service}` is at revision {current}")]
    ConditionFailed {
        /// The service.
        service: ServiceKey,
        /// Its revision; 0 when it is not known.
        current: Revision,
    },
}

/// Whether `claim` touches `endpoint`. Asks nothing of the allocator when it does.
///
/// # Errors
/// [`Rejection::NotOwner`].
pub fn check_claim(claim: &Claim, endpoint: &Endpoint) -> Result<(), Rejection> {
    let owner = endpoint.state.owner.as_ref();
    if claim.covers(owner.map(|owner| &**owner)) {
        return Ok(());
    }
    Err(Rejection::NotOwner {
        service: endpoint.service.clone(),
        id: endpoint.id.clone(),
        owner: owner.cloned().unwrap_or_else(|| "".into()),
    })
}
