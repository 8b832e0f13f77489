//! Plans about a service as a whole: its policy, and its end.

use std::sync::Arc;

use super::{Plan, Planner, check_claim};
use crate::change::{Cause, Change, ChangeKind, Expected, Planned};
use crate::endpoint::{Endpoint, EndpointState};
use crate::name::ServiceKey;
use crate::policy::ServicePolicy;
use crate::rejection::Rejection;
use crate::time::Timestamp;

impl Planner<'_> {
    pub(super) fn forget(&self, service: &ServiceKey) -> Result<Plan, Rejection> {
        let view = self.known(service)?;
        for endpoint in &view.endpoints {
            check_claim(&self.request.claim, endpoint)?;
        }
        let cause = || Cause::new("forgotten", "the whole service was deregistered");
        let mut changes: Vec<Planned> = view
            .endpoints
            .iter()
            .map(|endpoint| self.removal(endpoint, ChangeKind::Deregistered, cause()))
            .collect();
        changes.push(self.forgetting(view, cause()));
        Ok(Plan {
            changes,
            heard: false,
        })
    }

    /// The policy, and what it makes of every endpoint that has the checks of its service.
    pub(super) fn set_policy(
        &self,
        service: &ServiceKey,
        policy: &Arc<ServicePolicy>,
    ) -> Result<Plan, Rejection> {
        let view = self.catalog.service_at(service);
        if view.map_or(policy.is_empty(), |view| view.policy == *policy) {
            return Plan::nothing();
        }
        if view.is_none() {
            self.check_room(service)?;
        }
        let endpoints = view.map(|view| &view.endpoints[..]).unwrap_or_default();
        for endpoint in endpoints {
            check_claim(&self.request.claim, endpoint)?;
        }
        let change = Change {
            policy: Some(Arc::clone(policy)),
            ..self.change(service, ChangeKind::Policy, Cause::new("policy", ""))
        };
        let mut changes = vec![Planned {
            change: Arc::new(change),
            expected: Expected::Anything,
        }];
        changes.extend(
            endpoints
                .iter()
                .filter_map(|e| self.under_new_policy(e, policy)),
        );
        Ok(Plan {
            changes,
            heard: false,
        })
    }

    fn under_new_policy(&self, endpoint: &Endpoint, policy: &ServicePolicy) -> Option<Planned> {
        let before = &endpoint.state;
        let rules = &self.catalog.limits().body;
        let registration = before.registration.under(policy, rules);
        if Arc::ptr_eq(&registration, &before.registration) {
            return None;
        }
        let findings = self.findings(&registration, &before.checks().collect::<Vec<_>>());
        let state = EndpointState {
            registration,
            findings,
            ..EndpointState::clone(before)
        };
        let state = self.same_incarnation(endpoint, state);
        let cause = Cause::new("policy", "the checks of the service were changed");
        Some(self.put(&endpoint.id, ChangeKind::Updated, state, cause))
    }

    pub(super) fn lapse(&self, service: &ServiceKey) -> Result<Plan, Rejection> {
        let Some(view) = self.catalog.service_at(service) else {
            return Plan::nothing();
        };
        let known_for = crate::time::whole_millis(self.catalog.limits().known_for);
        let over = |at: Timestamp| at.0.saturating_add(known_for) <= self.now.time.0;
        // What an operator said about it outlives its endpoints.
        if !view.policy.is_empty() {
            return Plan::nothing();
        }
        if !view.endpoints.is_empty() || !view.emptied.is_some_and(|emptied| over(emptied.at)) {
            return Plan::nothing();
        }
        let cause = Cause::new(
            "lapsed",
            "without an endpoint for as long as a service stays known",
        );
        Plan::one(self.forgetting(view, cause))
    }
}
