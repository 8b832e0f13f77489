//! A tally: how many endpoints there are of each kind, kept up to date change by change.
//!
//! Whoever watches over a registry asks for these numbers again and again, and counting a million
//! endpoints for each answer would hold up everybody else.

use crate::endpoint::{Endpoint, EndpointState};
use crate::health::Health;

/// How many endpoints there are of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// By health, in the order of [`Health::ALL`], and by readiness: not ready, ready.
    endpoints: [[usize; 2]; Health::ALL.len()],
    /// Those that have a lease; the others are static.
    pub leased: usize,
    /// Those that are draining.
    pub draining: usize,
    /// Those that have never been ready.
    pub starting: usize,
    /// Those whose health changes too often to be believed.
    pub flapping: usize,
    /// Services that are known and have no endpoint.
    pub empty_services: usize,
}

impl Tally {
    /// Endpoints of this health that are ready, or that are not.
    #[must_use]
    pub fn endpoints(&self, health: Health, is_ready: bool) -> usize {
        self.endpoints[place(health)][usize::from(is_ready)]
    }

    /// All endpoints.
    #[must_use]
    pub fn total(&self) -> usize {
        self.endpoints.iter().flatten().sum()
    }

    /// An endpoint that was there until now is not any more, or not like this.
    pub(crate) fn drop(&mut self, endpoint: &Endpoint) {
        self.count(&endpoint.state, |count| *count -= 1);
    }

    /// An endpoint is there, or is like this, from now on.
    pub(crate) fn take(&mut self, endpoint: &Endpoint) {
        self.count(&endpoint.state, |count| *count += 1);
    }

    fn count(&mut self, state: &EndpointState, mut step: impl FnMut(&mut usize)) {
        let is_ready = usize::from(state.is_ready());
        step(&mut self.endpoints[place(state.health())][is_ready]);
        let kinds = [
            (state.registration.ttl.is_some(), &mut self.leased),
            (state.drain.is_some(), &mut self.draining),
            (!state.started, &mut self.starting),
            (state.flapping, &mut self.flapping),
        ];
        for (is_one, count) in kinds {
            if is_one {
                step(count);
            }
        }
    }
}

/// The place of a health in [`Health::ALL`].
fn place(health: Health) -> usize {
    match health {
        Health::Unknown => 0,
        Health::Healthy => 1,
        Health::Degraded => 2,
        Health::Unhealthy => 3,
    }
}
