//! The one policy for silence: what happens when a lease ran out.
//!
//! Everything that ever decides about an endpoint because nothing was heard from it is decided here,
//! by one pure function, so that a brake on mass removal has exactly one place to stand in.

use crate::catalog::Catalog;
use crate::name::{EndpointId, ServiceKey};
use crate::time::Now;

/// What to do with an endpoint whose lease ran out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnSilence {
    /// Remove it.
    Remove,
}

/// Decides about the endpoint `id` of `service`, whose lease ran out at or before `now`.
#[must_use]
pub fn on_silence(
    _catalog: &Catalog,
    _service: &ServiceKey,
    _id: &EndpointId,
    _now: Now,
) -> OnSilence {
    OnSilence::Remove
}
