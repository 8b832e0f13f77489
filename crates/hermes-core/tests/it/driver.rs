//! A small engine to drive the state machine: it plans, numbers the changes as a log would (growing,
//! with gaps), applies them, and keeps the log. Its clock closes leases before it expires anything.

use std::sync::Arc;

use hermes_core::catalog::{Catalog, Gone, ServiceView};
use hermes_core::change::{Change, ChangeKind, Committed, Revision};
use hermes_core::command::{Claim, Command, Condition, Request};
use hermes_core::endpoint::{Endpoint, EndpointState};
use hermes_core::lease::Closing;
use hermes_core::limits::Limits;
use hermes_core::name::{EndpointId, ServiceKey};
use hermes_core::plan::{Plan, plan};
use hermes_core::rejection::Rejection;
use hermes_core::time::{Now, Timestamp};

use crate::make::at;

/// One change in the log.
#[derive(Debug, Clone)]
pub(crate) struct Logged {
    pub(crate) revision: Revision,
    pub(crate) change: Arc<Change>,
    pub(crate) now: Now,
}

/// The state machine with everything around it that a test needs.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) catalog: Catalog,
    pub(crate) log: Vec<Logged>,
    millis: u64,
    /// Leases that the clock has closed, with the command that follows.
    closed: Vec<(Arc<Endpoint>, Command)>,
}

/// What came of a command.
pub(crate) type Outcome = Result<Vec<Arc<Committed>>, Rejection>;

impl Machine {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            catalog: Catalog::new(limits, 42),
            log: Vec::new(),
            millis: 0,
            closed: Vec::new(),
        }
    }

    pub(crate) fn now(&self) -> Now {
        at(self.millis)
    }

    pub(crate) fn wait(&mut self, millis: u64) {
        self.millis += millis;
    }

    /// What the command would lead to.
    pub(crate) fn plan(&self, command: &Command) -> Result<Plan, Rejection> {
        self.plan_under(command, Condition::Always)
    }

    pub(crate) fn plan_under(
        &self,
        command: &Command,
        condition: Condition,
    ) -> Result<Plan, Rejection> {
        self.plan_request(command, condition, Claim::Free)
    }

    /// What the command would lead to when `claim` gives it.
    pub(crate) fn plan_by(&self, claim: &Claim, command: &Command) -> Result<Plan, Rejection> {
        self.plan_request(command, Condition::Always, claim.clone())
    }

    fn plan_request(
        &self,
        command: &Command,
        condition: Condition,
        claim: Claim,
    ) -> Result<Plan, Rejection> {
        let request = Request {
            command: command.clone(),
            actor: "test".into(),
            condition,
            claim,
        };
        plan(&self.catalog, &request, self.now())
    }

    /// The command, from plan to publication.
    pub(crate) fn ask(&mut self, command: &Command) -> Outcome {
        self.ask_by(&Claim::Free, command)
    }

    /// The same, when `claim` gives it.
    pub(crate) fn ask_by(&mut self, claim: &Claim, command: &Command) -> Outcome {
        let mut committed = Vec::new();
        if matches!(command, Command::Register { .. }) && self.is_closed(command) {
            // What is being removed is removed first, and then registers anew.
            committed.extend(self.finish_expiries(true));
        }
        let plan = self.plan_by(claim, command)?;
        if plan.heard {
            let endpoint = self.endpoint_of(command).expect("who was heard is there");
            endpoint.pulse.beat(self.now()).expect("its lease is open");
        }
        committed.extend(self.commit(&plan));
        Ok(committed)
    }

    /// A command that must lead to exactly one change; gives back the endpoint after it.
    pub(crate) fn change(&mut self, command: &Command) -> Arc<Endpoint> {
        let committed = self.ask(command).expect("the command is accepted");
        let last = committed.last().expect("the command changes something");
        Arc::clone(last.endpoint.as_ref().expect("the endpoint is there"))
    }

    /// The lease clock: closes every lease that has run out. Nothing is removed yet.
    pub(crate) fn close_leases(&mut self) {
        let now = self.now().moment;
        let endpoints = self.catalog.services().flat_map(|view| &view.endpoints);
        for endpoint in endpoints {
            if endpoint.pulse.lease.close_if_due(now) == Closing::Closed {
                let command = Command::Expire {
                    service: endpoint.service.clone(),
                    id: endpoint.id.clone(),
                    incarnation: endpoint.incarnation,
                };
                self.closed.push((Arc::clone(endpoint), command));
            }
        }
    }

    /// Commits the expiries of all closed leases; or fails to, and opens the leases again.
    pub(crate) fn finish_expiries(&mut self, log_works: bool) -> Vec<Arc<Committed>> {
        let mut committed = Vec::new();
        for (endpoint, command) in std::mem::take(&mut self.closed) {
            let plan = self.plan(&command).expect("an expiry is never refused");
            if log_works {
                committed.extend(self.commit(&plan));
            } else if !plan.changes.is_empty() {
                endpoint.pulse.lease.reopen();
            }
        }
        committed
    }

    /// The endpoint that a command speaks of.
    pub(crate) fn endpoint_of(&self, command: &Command) -> Option<&Arc<Endpoint>> {
        self.catalog.endpoint(command.service(), command.id()?)
    }

    fn is_closed(&self, command: &Command) -> bool {
        self.endpoint_of(command)
            .is_some_and(|endpoint| endpoint.pulse.lease.is_closed())
    }

    fn commit(&mut self, plan: &Plan) -> Vec<Arc<Committed>> {
        let now = self.now();
        let mut committed = Vec::new();
        for planned in &plan.changes {
            let last = self.catalog.revision().0;
            // Gaps of one to four, as other entities of the same log would leave them.
            let revision = Revision(last + 1 + (last * 7 + 3) % 4);
            let change = Arc::clone(&planned.change);
            committed.push(Arc::new(self.catalog.apply(revision, &change, now)));
            self.log.push(Logged {
                revision,
                change,
                now,
            });
        }
        committed
    }
}

/// Everything about one service that goes through the log.
#[derive(Debug, PartialEq)]
pub(crate) struct Facts {
    service: ServiceKey,
    revision: Revision,
    emptied: Option<(ChangeKind, Timestamp)>,
    gone: Vec<Gone>,
    endpoints: Vec<EndpointFacts>,
}

#[derive(Debug, PartialEq)]
struct EndpointFacts {
    id: EndpointId,
    incarnation: Revision,
    revision: Revision,
    state: Arc<EndpointState>,
    /// What clients get, with one and the same last heartbeat.
    json: String,
}

/// The durable facts of a catalog: its revision, and every service in the order of their keys.
pub(crate) fn facts(catalog: &Catalog) -> (Revision, Vec<Facts>) {
    let mut all: Vec<Facts> = catalog.services().map(|view| facts_of(view)).collect();
    all.sort_by(|a, b| a.service.cmp(&b.service));
    (catalog.revision(), all)
}

fn facts_of(view: &ServiceView) -> Facts {
    let endpoint = |endpoint: &Arc<Endpoint>| {
        let mut json = Vec::new();
        endpoint.write_json(&mut json);
        let json = String::from_utf8(json).expect("JSON is UTF-8");
        let heard = format!("\"last_heartbeat\":\"{}\"", endpoint.pulse.last_heartbeat());
        EndpointFacts {
            id: endpoint.id.clone(),
            incarnation: endpoint.incarnation,
            revision: endpoint.revision,
            state: Arc::clone(&endpoint.state),
            json: json.replacen(&heard, "\"last_heartbeat\":\"...\"", 1),
        }
    };
    Facts {
        service: view.key.clone(),
        revision: view.revision,
        emptied: view.emptied.map(|emptied| (emptied.by, emptied.at)),
        gone: view.gone.iter().cloned().collect(),
        endpoints: view.endpoints.iter().map(endpoint).collect(),
    }
}

/// The change as it comes back from a log on disk: equal, and nothing of it shared.
pub(crate) fn read_back(change: &Change) -> Arc<Change> {
    let mut copy = change.clone();
    copy.state = change.state.as_ref().map(|state| {
        let mut state = EndpointState::clone(state);
        state.registration = Arc::new((*state.registration).clone());
        state.overrides = Arc::new((*state.overrides).clone());
        Arc::new(state)
    });
    Arc::new(copy)
}
