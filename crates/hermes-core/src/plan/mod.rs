//! Plan: what a command leads to.
//!
//! `plan(catalog, request, now)` is pure: the same three give the same changes or the same
//! rejection. It never looks at what is being committed beside it; the engine sees to it that no two
//! plans of one batch touch the same entity. One function for each command: those about one endpoint
//! are here, what checks and leases lead to is in `health`, what is about a service as a whole in
//! `service`.

mod health;
mod service;

use std::sync::Arc;

use crate::catalog::{Catalog, ServiceView};
use crate::change::{Cause, Change, ChangeKind, Expected, Planned, Revision};
use crate::check::Check;
use crate::command::{Command, Condition, DrainWish, OverridePatch, Owner, Request};
use crate::endpoint::{
    CheckFinding, Drain, Endpoint, EndpointState, InitialHealth, Overrides, Registration,
};
use crate::health::Health;
use crate::metadata::{Metadata, patches_joined};
use crate::name::{EndpointId, ServiceKey};
use crate::rejection::{Rejection, check_claim};
use crate::time::Now;

/// What a command leads to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// The changes, each with its precondition; none when everything already is as asked.
    pub changes: Vec<Planned>,
    /// Whether the endpoint was heard from, which renews its lease even when nothing changes.
    pub heard: bool,
}

impl Plan {
    fn nothing() -> Result<Self, Rejection> {
        Ok(Self::default())
    }

    fn one(planned: Planned) -> Result<Self, Rejection> {
        Ok(Self {
            changes: vec![planned],
            heard: false,
        })
    }
}

/// What `request` leads to, with the catalog as it is, at `now`.
///
/// # Errors
/// When the command is refused; nothing changes then.
pub fn plan(catalog: &Catalog, request: &Request, now: Now) -> Result<Plan, Rejection> {
    let planner = Planner {
        catalog,
        request,
        now,
    };
    planner.check_condition()?;
    match &request.command {
        Command::Register {
            service,
            id,
            registration,
            new,
        } => planner.register(service, id, registration, *new),
        Command::Override { service, id, patch } => planner.lay_over(service, id, patch),
        Command::Drain { service, id, wish } => planner.drain(service, id, wish.as_ref()),
        Command::Deregister {
            service,
            id,
            incarnation,
        } => planner.deregister(service, id, *incarnation),
        Command::Forget { service } => planner.forget(service),
        Command::SetPolicy { service, policy } => planner.set_policy(service, policy),
        Command::Report(report) => planner.report(report),
        Command::Expire {
            service,
            id,
            incarnation,
        } => planner.expire(service, id, *incarnation),
        Command::Lapse { service } => planner.lapse(service),
    }
}

/// What every plan looks at.
struct Planner<'a> {
    catalog: &'a Catalog,
    request: &'a Request,
    now: Now,
}

impl Planner<'_> {
    fn check_condition(&self) -> Result<(), Rejection> {
        let command = &self.request.command;
        let service = self.catalog.service_at(command.service());
        let current = service.map_or(Revision(0), |view| view.revision);
        // What the command is about: an endpoint, or the service itself.
        let is_there = match command.id() {
            Some(id) => service.is_some_and(|view| view.endpoint(id).is_some()),
            None => service.is_some(),
        };
        let is_at = |revision| service.is_some() && current == revision;
        let holds = match self.request.condition {
            Condition::Always => true,
            Condition::Absent => !is_there,
            Condition::Present => is_there,
            Condition::ServiceAt(revision) => is_at(revision),
            Condition::AbsentAt(revision) => is_at(revision) && !is_there,
        };
        let service = command.service().clone();
        if holds {
            Ok(())
        } else {
            Err(Rejection::ConditionFailed { service, current })
        }
    }

    fn register(
        &self,
        service: &ServiceKey,
        id: &EndpointId,
        registration: &Arc<Registration>,
        new: bool,
    ) -> Result<Plan, Rejection> {
        let registration = &self.under_policy(service, registration);
        let Some(before) = self.catalog.endpoint(service, id) else {
            self.check_room(service)?;
            let owner = self.request.claim.owner();
            let state = self.first_state(owner, registration, Arc::default(), None);
            let cause = Cause::new("registered", "");
            return Plan::one(self.put(id, ChangeKind::Registered, state, cause));
        };
        check_claim(&self.request.claim, before)?;
        let old = &before.state;
        let owner = old.owner.as_ref().or(self.request.claim.owner());
        if !new && old.registration.says_the_same(registration) && old.owner.as_ref() == owner {
            return Ok(Plan {
                changes: vec![],
                heard: true,
            });
        }
        let moved = !same_place(&old.registration, registration);
        if new || moved {
            let drain = old.drain.clone().filter(|drain| drain.sticky);
            let state = self.first_state(owner, registration, Arc::clone(&old.overrides), drain);
            let cause = if moved {
                let from = &old.registration.address.url;
                Cause::new("moved", format!("it was at {from}"))
            } else {
                Cause::new("restarted", "a new process took the endpoint over")
            };
            return Plan::one(self.put(id, ChangeKind::Registered, state, cause));
        }
        let findings = self.findings(registration, &old.checks().collect::<Vec<_>>());
        let state = EndpointState {
            owner: owner.cloned(),
            registration: Arc::clone(registration),
            findings,
            ..EndpointState::clone(old)
        };
        let state = self.same_incarnation(before, state);
        let cause = Cause::new("reregistered", "");
        Plan::one(self.put(id, ChangeKind::Updated, state, cause))
    }

    fn lay_over(
        &self,
        service: &ServiceKey,
        id: &EndpointId,
        patch: &OverridePatch,
    ) -> Result<Plan, Rejection> {
        let before = self.own(service, id)?;
        let overrides = overridden(&before.state, patch);
        if overrides == *before.state.overrides {
            return Plan::nothing();
        }
        let rules = self.catalog.limits().body;
        if overrides.metadata.len() > rules.metadata_members {
            return Err(Rejection::LimitReached {
                what: "members of overridden metadata",
                max: rules.metadata_members,
            });
        }
        if serde_json::to_vec(&overrides.metadata)
            .map_or(true, |json| json.len() > rules.metadata_bytes)
        {
            return Err(Rejection::LimitReached {
                what: "bytes of overridden metadata",
                max: rules.metadata_bytes,
            });
        }
        let state = EndpointState {
            overrides: Arc::new(overrides),
            ..EndpointState::clone(&before.state)
        };
        let state = self.same_incarnation(before, state);
        let cause = Cause::new("overridden", "");
        Plan::one(self.put(id, ChangeKind::Updated, state, cause))
    }

    fn drain(
        &self,
        service: &ServiceKey,
        id: &EndpointId,
        wish: Option<&DrainWish>,
    ) -> Result<Plan, Rejection> {
        let before = self.own(service, id)?;
        let old = before.state.drain.as_ref();
        let drain = wish.map(|wish| Drain {
            reason: wish.reason.clone(),
            sticky: wish.sticky,
            since: old.map_or(self.now.time, |drain| drain.since),
        });
        if old == drain.as_ref() {
            return Plan::nothing();
        }
        let cause = match &drain {
            Some(drain) => Cause::new("drain", drain.reason.clone()),
            None => Cause::new("undrain", ""),
        };
        let state = EndpointState {
            drain,
            ..EndpointState::clone(&before.state)
        };
        let state = self.same_incarnation(before, state);
        Plan::one(self.put(id, ChangeKind::Drain, state, cause))
    }

    fn deregister(
        &self,
        service: &ServiceKey,
        id: &EndpointId,
        incarnation: Option<Revision>,
    ) -> Result<Plan, Rejection> {
        let before = match self.own(service, id) {
            Ok(before) => before,
            // What is already gone is as asked.
            Err(Rejection::EndpointGone { .. }) => return Plan::nothing(),
            Err(rejection) => return Err(rejection),
        };
        if incarnation.is_some_and(|asked| asked != before.incarnation) {
            let current = before.incarnation;
            let (service, id) = (service.clone(), id.clone());
            return Err(Rejection::IncarnationStale {
                service,
                id,
                current,
            });
        }
        let cause = Cause::new("deregistered", "");
        Plan::one(self.removal(before, ChangeKind::Deregistered, cause))
    }

    /// `registration` with the checks that the policy of its service gives it.
    fn under_policy(
        &self,
        service: &ServiceKey,
        registration: &Arc<Registration>,
    ) -> Arc<Registration> {
        match self.catalog.service_at(service) {
            Some(view) if view.policy.checks.is_some() => {
                registration.under(&view.policy, &self.catalog.limits().body)
            }
            _ => Arc::clone(registration),
        }
    }

    /// The service, or that it is unknown.
    fn known(&self, service: &ServiceKey) -> Result<&ServiceView, Rejection> {
        let unknown = || Rejection::ServiceUnknown {
            service: service.clone(),
        };
        self.catalog
            .service_at(service)
            .map(|view| &**view)
            .ok_or_else(unknown)
    }

    /// The endpoint if the request may touch it, or which kind of not being there it is.
    fn own(&self, service: &ServiceKey, id: &EndpointId) -> Result<&Endpoint, Rejection> {
        let endpoint = find_endpoint(self.catalog, service, id)?;
        check_claim(&self.request.claim, endpoint)?;
        Ok(endpoint)
    }

    /// Whether one more endpoint may be registered.
    fn check_room(&self, service: &ServiceKey) -> Result<(), Rejection> {
        let limits = self.catalog.limits();
        let (what, count, max) = match self.catalog.service_at(service) {
            Some(view) => (
                "endpoints of one service",
                view.endpoints.len(),
                limits.endpoints_per_service,
            ),
            None => ("services", self.catalog.service_count(), limits.services),
        };
        if count < max {
            Ok(())
        } else {
            Err(Rejection::LimitReached { what, max })
        }
    }

    /// The state of an incarnation that begins now.
    fn first_state(
        &self,
        owner: Option<&Owner>,
        registration: &Arc<Registration>,
        overrides: Arc<Overrides>,
        drain: Option<Drain>,
    ) -> EndpointState {
        let state = EndpointState {
            incarnation: None,
            owner: owner.cloned(),
            registration: Arc::clone(registration),
            overrides,
            drain,
            findings: self.findings(registration, &[]),
            started: false,
            flapping: false,
            registered_at: self.now.time,
            since: self.now.time,
        };
        let before = state.clone();
        state.settled(&before, self.now.time)
    }

    /// One finding for each check of `registration`: the one that its namesake had before, or the
    /// first one.
    fn findings(
        &self,
        registration: &Registration,
        before: &[(&Check, &CheckFinding)],
    ) -> Vec<CheckFinding> {
        let (health, evidence) = match registration.initial_health {
            InitialHealth::Healthy => (Health::Healthy, "healthy, as it was registered"),
            InitialHealth::Unknown => (Health::Unknown, "no probe has succeeded yet"),
        };
        let first = || CheckFinding {
            health,
            since: self.now.time,
            evidence: evidence.into(),
        };
        let of_namesake = |check: &Check| {
            before
                .iter()
                .find(|(old, _)| old.name == check.name)
                .map(|(_, found)| (*found).clone())
        };
        registration
            .checks
            .iter()
            .map(|check| of_namesake(check).unwrap_or_else(first))
            .collect()
    }

    /// `state` as the next one of the incarnation that `before` is.
    fn same_incarnation(&self, before: &Endpoint, state: EndpointState) -> EndpointState {
        let state = EndpointState {
            incarnation: Some(before.incarnation),
            ..state
        };
        state.settled(&before.state, self.now.time)
    }

    /// `state` for the endpoint `id` of the service that the command touches.
    fn put(
        &self,
        id: &EndpointId,
        kind: ChangeKind,
        state: EndpointState,
        cause: Cause,
    ) -> Planned {
        let service = self.request.command.service();
        let before = self.catalog.endpoint(service, id);
        let expected = before.map_or(Expected::Absent, |before| Expected::At(before.revision));
        let change = Change {
            id: Some(id.clone()),
            incarnation: state.incarnation,
            state: Some(Arc::new(state)),
            ..self.change(service, kind, cause)
        };
        Planned {
            change: Arc::new(change),
            expected,
        }
    }

    fn removal(&self, endpoint: &Endpoint, kind: ChangeKind, cause: Cause) -> Planned {
        let change = Change {
            id: Some(endpoint.id.clone()),
            incarnation: Some(endpoint.incarnation),
            ..self.change(&endpoint.service, kind, cause)
        };
        Planned {
            change: Arc::new(change),
            expected: Expected::At(endpoint.revision),
        }
    }

    fn forgetting(&self, view: &ServiceView, cause: Cause) -> Planned {
        let change = self.change(&view.key, ChangeKind::Forgotten, cause);
        Planned {
            change: Arc::new(change),
            expected: Expected::Anything,
        }
    }

    /// A change of the service itself, to be narrowed to an endpoint.
    fn change(&self, service: &ServiceKey, kind: ChangeKind, cause: Cause) -> Change {
        Change {
            kind,
            service: service.clone(),
            id: None,
            incarnation: None,
            state: None,
            policy: None,
            time: self.now.time,
            actor: Arc::clone(&self.request.actor),
            cause,
        }
    }
}

/// The endpoint `id` of `service`.
///
/// # Errors
/// Which kind of not being there it is: the service is unknown, the endpoint was removed and is
/// remembered, or nothing is known of it.
pub fn find_endpoint<'a>(
    catalog: &'a Catalog,
    service: &ServiceKey,
    id: &EndpointId,
) -> Result<&'a Arc<Endpoint>, Rejection> {
    let Some(view) = catalog.service_at(service) else {
        return Err(Rejection::ServiceUnknown {
            service: service.clone(),
        });
    };
    let (service, id) = (service.clone(), id.clone());
    match (view.endpoint(&id), view.gone(&id)) {
        (Some(endpoint), _) => Ok(endpoint),
        (None, Some(gone)) => Err(Rejection::EndpointGone {
            service,
            id,
            by: gone.by,
            at: gone.at,
        }),
        (None, None) => Err(Rejection::EndpointUnknown { service, id }),
    }
}

/// Whether both registrations lead to the same places: what differs makes a new incarnation.
fn same_place(a: &Registration, b: &Registration) -> bool {
    a.address.same_place(&b.address) && a.ports == b.ports
}

/// The overrides of `state` with `patch` applied.
fn overridden(state: &EndpointState, patch: &OverridePatch) -> Overrides {
    let before = &*state.overrides;
    let metadata = match &patch.metadata {
        None => before.metadata.clone(),
        Some(None) => Metadata::default(),
        Some(Some(members)) => {
            patches_joined(&state.registration.metadata, &before.metadata, members)
        }
    };
    Overrides {
        metadata,
        tags: patch.tags.clone().unwrap_or_else(|| before.tags.clone()),
        weight: patch.weight.unwrap_or(before.weight),
        zone: patch.zone.clone().unwrap_or_else(|| before.zone.clone()),
    }
}
