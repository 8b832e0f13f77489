//! Plans of what nobody asks for: what checks find, and leases that have run out.

use std::sync::Arc;

use super::{Plan, Planner};
use crate::change::{Cause, ChangeKind, Revision};
use crate::command::Report;
use crate::damping::{Edge, Verdict};
use crate::endpoint::{CheckFinding, Endpoint, EndpointState};
use crate::name::{EndpointId, ServiceKey};
use crate::rejection::Rejection;
use crate::silence::{OnSilence, on_silence};

impl Planner<'_> {
    pub(super) fn report(&self, report: &Report) -> Result<Plan, Rejection> {
        // A result about something that has moved on is not wrong, only late.
        let Some(before) = self.catalog.endpoint(&report.service, &report.id) else {
            return Plan::nothing();
        };
        if before.incarnation != report.incarnation {
            return Plan::nothing();
        }
        let mut checks = before.state.registration.checks.iter();
        let Some(at) = checks.position(|check| *check == *report.check) else {
            return Plan::nothing();
        };
        let found = &before.state.findings[at];
        if found.health == report.health {
            return self.steady(before);
        }
        let edge = Edge {
            before: found.health,
            found: report.health,
            is_flapping: before.state.flapping,
            has_stand_in: self.has_stand_in(before),
        };
        let Verdict::Counts { is_flapping } = before.pulse.damping.judge(edge, self.now.moment)
        else {
            return Plan::nothing();
        };
        let mut state = EndpointState::clone(&before.state);
        state.flapping = is_flapping;
        state.findings[at] = CheckFinding {
            health: report.health,
            since: self.now.time,
            evidence: Arc::clone(&report.evidence),
        };
        let state = self.same_incarnation(before, state);
        let detail = format!("{}: {}", report.check.name, report.evidence);
        let cause = Cause::new("check", detail);
        Plan::one(self.put(&report.id, ChangeKind::Health, state, cause))
    }

    /// Nothing new was found. If the endpoint was flapping and has been steady since, that is over.
    fn steady(&self, before: &Endpoint) -> Result<Plan, Rejection> {
        if !before.state.flapping || !before.pulse.damping.is_steady(self.now.moment) {
            return Plan::nothing();
        }
        let state = EndpointState {
            flapping: false,
            ..EndpointState::clone(&before.state)
        };
        let state = self.same_incarnation(before, state);
        let cause = Cause::new("steady", "it has stopped going to and fro");
        Plan::one(self.put(&before.id, ChangeKind::Health, state, cause))
    }

    /// Whether another endpoint of the service is ready. Asked only of what flaps.
    fn has_stand_in(&self, endpoint: &Endpoint) -> bool {
        let service = self.catalog.service_at(&endpoint.service);
        endpoint.state.flapping
            && service.is_some_and(|view| {
                let mut ready = view.endpoints.iter().filter(|other| other.is_ready());
                ready.any(|other| other.id != endpoint.id)
            })
    }

    pub(super) fn expire(
        &self,
        service: &ServiceKey,
        id: &EndpointId,
        incarnation: Revision,
    ) -> Result<Plan, Rejection> {
        let Some(before) = self.catalog.endpoint(service, id) else {
            return Plan::nothing();
        };
        // A lease that is open again belongs to an endpoint that registered in the meantime.
        if before.incarnation != incarnation || !before.pulse.lease.is_closed() {
            return Plan::nothing();
        }
        match on_silence(self.catalog, service, id, self.now) {
            OnSilence::Remove => {
                let heard = before.pulse.last_heartbeat();
                let ttl = before.registration().ttl.unwrap_or_default().as_secs_f64();
                let detail = format!("not heard from since {heard}; its lease is {ttl} s");
                let cause = Cause::new("lease_expired", detail);
                Plan::one(self.removal(before, ChangeKind::Expired, cause))
            }
        }
    }
}
