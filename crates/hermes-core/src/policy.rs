//! Policies: what an operator says about a service as a whole, for all that register under its name.
//!
//! A policy is kept by the registry under the name, also before anybody has registered and after
//! everybody has gone; the second seed document's health path per service name (R128) is the checks of
//! a policy. Each member may be absent, which leaves the built-in default in force.

use crate::check::Check;
use crate::select;

/// Seconds for which clients may use an answer, unless a policy says otherwise (R14).
pub const CACHE_TTL_DEFAULT: u64 = 300;
/// The most that a policy may say: a day.
pub const CACHE_TTL_MAX: u64 = 86_400;

/// What holds for all endpoints of a service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServicePolicy {
    /// The checks of endpoints that were registered without any of their own.
    pub checks: Option<Vec<Check>>,
    /// Seconds for which clients may use an answer.
    pub cache_ttl: Option<u64>,
    /// How an endpoint is selected for callers who do not say.
    pub selection: Option<select::Policy>,
}

impl ServicePolicy {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Seconds for which clients may use an answer.
    #[must_use]
    pub fn cache_ttl(&self) -> u64 {
        self.cache_ttl.unwrap_or(CACHE_TTL_DEFAULT)
    }
}
