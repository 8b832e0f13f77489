//! The catalog: everything that is registered, at one revision.
//!
//! The catalog is both the state of the state machine and the view that readers get. The engine
//! changes its own copy by [`Catalog::apply`] and publishes a clone, which costs one reference count
//! and never changes again: whoever holds it can list, resolve and page at one revision, without
//! waiting for anybody. See [`crate::trie`] for why that is cheap.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::budget::Budget;
use crate::change::{Change, ChangeKind, Committed, Revision};
use crate::endpoint::{Endpoint, EndpointState};
use crate::limits::Limits;
use crate::name::{EndpointId, Name, ServiceKey};
use crate::policy::ServicePolicy;
use crate::pulse::Pulse;
use crate::slot::Slot;
use crate::tally::Tally;
use crate::time::{Now, Timestamp};
use crate::trie::Trie;

/// Everything that is registered, at one revision.
#[derive(Debug, Clone)]
pub struct Catalog {
    revision: Revision,
    namespaces: Trie<NamespaceView>,
    services: usize,
    tally: Tally,
    limits: Arc<Limits>,
    budget: Arc<Budget>,
    seed: u64,
}

/// The services of one namespace. A clone is a few reference counts.
#[derive(Debug, Clone)]
pub struct NamespaceView {
    /// Its name.
    pub name: Name,
    /// The last change of any service in it, removals included.
    pub revision: Revision,
    services: Trie<Arc<ServiceView>>,
    /// The names in order, made on first use; kept while no service comes or goes.
    names: Arc<OnceLock<Box<[Name]>>>,
}

/// One service with all its endpoints.
#[derive(Debug)]
pub struct ServiceView {
    /// Which service.
    pub key: ServiceKey,
    /// The last change that touched it, removals included.
    pub revision: Revision,
    /// How it came to have no endpoint; `None` while it has one.
    pub emptied: Option<Emptied>,
    /// All endpoints, in the order of their ids.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// What was removed lately, oldest first.
    pub gone: Arc<VecDeque<Gone>>,
    /// What an operator says about all of them.
    pub policy: Arc<ServicePolicy>,
    /// Further encoded forms of this very view, which the core knows nothing of.
    pub forms: Slot,
    ready: OnceLock<ReadyIndex>,
    /// Counts the selections of all callers; shared by all revisions of the service.
    turn: Arc<AtomicUsize>,
    /// What encoded endpoints take their bytes from.
    budget: Arc<Budget>,
}

/// How a known service came to have no endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emptied {
    /// [`ChangeKind::Deregistered`] or [`ChangeKind::Expired`].
    pub by: ChangeKind,
    /// When.
    pub at: Timestamp,
}

/// A removed endpoint that is still remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// Which one.
    pub id: EndpointId,
    /// Its last incarnation.
    pub incarnation: Revision,
    /// [`ChangeKind::Deregistered`] or [`ChangeKind::Expired`].
    pub by: ChangeKind,
    /// When.
    pub at: Timestamp,
}

/// Which endpoints may be handed out, as positions in `endpoints`.
#[derive(Debug)]
struct ReadyIndex {
    ready: usize,
    /// The ready ones; those of weight 0 only when there are no others.
    eligible: Box<[u32]>,
}

impl Catalog {
    /// An empty catalog. `seed` should be random, see [`Trie::new`].
    #[must_use]
    pub fn new(limits: Limits, seed: u64) -> Self {
        Self {
            revision: Revision(0),
            namespaces: Trie::new(seed),
            services: 0,
            tally: Tally::default(),
            budget: Arc::new(Budget::new(limits.encoded_bytes)),
            limits: Arc::new(limits),
            seed,
        }
    }

    /// It contains every change up to this revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The limits that plans are held to.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How many services are known, in all namespaces.
    #[must_use]
    pub fn service_count(&self) -> usize {
        self.services
    }

    /// How many endpoints there are of each kind.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Bytes of encoded endpoints that are kept for the next reader.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        self.budget.taken()
    }

    /// A namespace; `None` when nothing was ever registered in it.
    #[must_use]
    #[inline]
    pub fn namespace(&self, name: &str) -> Option<&NamespaceView> {
        self.namespaces.get(name)
    }

    /// All namespaces, in the order of their names.
    #[must_use]
    pub fn namespaces(&self) -> Vec<&NamespaceView> {
        let mut all: Vec<_> = self.namespaces.values().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// A service; `None` when it is not known.
    #[must_use]
    pub fn service(&self, namespace: &str, name: &str) -> Option<&Arc<ServiceView>> {
        self.namespaces.get(namespace)?.services.get(name)
    }

    /// The same by its key.
    #[must_use]
    pub fn service_at(&self, key: &ServiceKey) -> Option<&Arc<ServiceView>> {
        self.service(key.namespace.as_str(), key.name.as_str())
    }

    /// One endpoint.
    #[must_use]
    pub fn endpoint(&self, key: &ServiceKey, id: &EndpointId) -> Option<&Arc<Endpoint>> {
        self.service_at(key)?.endpoint(id)
    }

    /// Every service, in no particular order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<ServiceView>> {
        self.namespaces
            .values()
            .flat_map(|namespace| namespace.services.values())
    }

    /// Makes the change part of the catalog. Cannot fail: what could go wrong was found by the plan,
    /// and a change says what is afterwards, not what to do. `now` is when leases begin that begin
    /// with this change.
    pub fn apply(&mut self, revision: Revision, change: &Arc<Change>, now: Now) -> Committed {
        self.revision = self.revision.max(revision);
        if change.kind == ChangeKind::Forgotten {
            self.forget(revision, &change.service);
            return Committed::new(revision, Arc::clone(change), None);
        }
        let gone_max = self.limits.gone_per_service;
        let service = self.service_mut(revision, &change.service);
        let before = change.id.as_ref().and_then(|id| service.endpoint(id));
        let before = before.cloned();
        let endpoint = match (&change.id, &change.state) {
            (Some(id), Some(state)) => {
                let pulse = service.pulse_for(id, state, change, now);
                Some(service.put(revision, id, state, pulse))
            }
            (Some(id), None) => {
                service.remove(id, change, gone_max);
                None
            }
            (None, _) => {
                if let Some(policy) = &change.policy {
                    service.put_policy(policy, change.time);
                }
                None
            }
        };
        let total = service.endpoints.len();
        self.count(before.as_deref(), endpoint.as_deref(), total);
        Committed::new(revision, Arc::clone(change), endpoint)
    }

    /// Counts one endpoint instead of another, of a service that has `total` of them now.
    fn count(&mut self, before: Option<&Endpoint>, after: Option<&Endpoint>, total: usize) {
        let tally = &mut self.tally;
        before.into_iter().for_each(|before| tally.drop(before));
        after.into_iter().for_each(|after| tally.take(after));
        match (before, after, total) {
            (Some(_), None, 0) => tally.empty_services += 1,
            (None, Some(_), 1) => tally.empty_services -= 1,
            _ => {}
        }
    }

    /// The service to be changed at `revision`; made known when it is not.
    fn service_mut(&mut self, revision: Revision, key: &ServiceKey) -> &mut ServiceView {
        let Self {
            namespaces,
            services,
            tally,
            budget,
            seed,
            ..
        } = self;
        let namespace = namespace_mut(namespaces, *seed, revision, &key.namespace);
        let names = &mut namespace.names;
        let make = || {
            *services += 1;
            tally.empty_services += 1;
            *names = Arc::default();
            let view = ServiceView::new(key.clone(), revision, Arc::clone(budget));
            Arc::new(view)
        };
        let view = namespace.services.get_or_insert_with(&key.name, make);
        let view = Arc::make_mut(view);
        view.touch(revision);
        view
    }

    fn forget(&mut self, revision: Revision, key: &ServiceKey) {
        let namespace = namespace_mut(&mut self.namespaces, self.seed, revision, &key.namespace);
        if let Some(view) = namespace.services.remove(key.name.as_str()) {
            namespace.names = Arc::default();
            for endpoint in &view.endpoints {
                endpoint.pulse.lease.close();
                self.tally.drop(endpoint);
            }
            self.tally.empty_services -= usize::from(view.endpoints.is_empty());
            self.services -= 1;
        }
    }
}

/// How a catalog comes back from a snapshot: everything is put where it was, with the revision it
/// had.
impl Catalog {
    /// A namespace, with the last change of any service in it.
    pub fn restore_namespace(&mut self, name: &Name, revision: Revision) {
        namespace_mut(&mut self.namespaces, self.seed, revision, name);
    }

    /// A service, still without endpoints.
    pub fn restore_service(
        &mut self,
        key: &ServiceKey,
        revision: Revision,
        (emptied, gone): (Option<Emptied>, VecDeque<Gone>),
        policy: ServicePolicy,
    ) {
        let service = self.service_mut(revision, key);
        service.policy = Arc::new(policy);
        service.emptied = emptied;
        service.gone = Arc::new(gone);
    }

    /// An endpoint of a service that was restored, at its own revision. Its lease begins at `now`.
    pub fn restore_endpoint(
        &mut self,
        key: &ServiceKey,
        (id, revision): (&EndpointId, Revision),
        state: &Arc<EndpointState>,
        now: Now,
    ) {
        let kept = self.service_at(key).map_or(revision, |view| view.revision);
        let pulse = Arc::new(Pulse::new(state.registration.ttl, now, state.since));
        let service = self.service_mut(kept, key);
        let before = service.endpoint(id).cloned();
        let endpoint = service.put(revision, id, state, pulse);
        let total = service.endpoints.len();
        self.count(before.as_deref(), Some(&endpoint), total);
    }

    /// The revision of the whole.
    pub fn restore_revision(&mut self, revision: Revision) {
        self.revision = revision;
    }
}

/// The namespace to be changed at `revision`; made known when it is not.
fn namespace_mut<'a>(
    namespaces: &'a mut Trie<NamespaceView>,
    seed: u64,
    revision: Revision,
    name: &Name,
) -> &'a mut NamespaceView {
    let make = || NamespaceView {
        name: name.clone(),
        revision,
        services: Trie::new(seed),
        names: Arc::default(),
    };
    let view = namespaces.get_or_insert_with(name, make);
    view.revision = view.revision.max(revision);
    view
}

impl NamespaceView {
    /// A service; `None` when it is not known.
    #[must_use]
    #[inline]
    pub fn service(&self, name: &str) -> Option<&Arc<ServiceView>> {
        self.services.get(name)
    }

    /// The names of all its services, in order.
    #[must_use]
    pub fn names(&self) -> &[Name] {
        self.names.get_or_init(|| {
            let mut names: Vec<Name> = self.services().map(|view| view.key.name.clone()).collect();
            names.sort_unstable();
            names.into()
        })
    }

    /// Every service, in no particular order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<ServiceView>> {
        self.services.values()
    }
}

impl ServiceView {
    fn new(key: ServiceKey, revision: Revision, budget: Arc<Budget>) -> Self {
        Self {
            key,
            revision,
            emptied: None,
            endpoints: Vec::new(),
            gone: Arc::default(),
            policy: Arc::default(),
            forms: Slot::default(),
            ready: OnceLock::new(),
            turn: Arc::default(),
            budget,
        }
    }

    /// One endpoint.
    #[must_use]
    pub fn endpoint(&self, id: &EndpointId) -> Option<&Arc<Endpoint>> {
        self.position(id).ok().map(|at| &self.endpoints[at])
    }

    /// A removed endpoint, while it is remembered.
    #[must_use]
    pub fn gone(&self, id: &EndpointId) -> Option<&Gone> {
        self.gone.iter().rev().find(|gone| gone.id == *id)
    }

    /// How many endpoints may be handed out.
    #[must_use]
    pub fn ready_count(&self) -> usize {
        self.ready_index().ready
    }

    /// The endpoints that may be handed out, in the order of their ids.
    pub fn ready(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints.iter().filter(|endpoint| endpoint.is_ready())
    }

    /// The next ready endpoint in turn, over all callers of the service: the hot path of resolving.
    /// Endpoints of weight 0 only have a turn when there are no others.
    #[must_use]
    pub fn next_ready(&self) -> Option<&Arc<Endpoint>> {
        let eligible = &self.ready_index().eligible;
        let at = self.next_turn().checked_rem(eligible.len())?;
        Some(&self.endpoints[eligible[at] as usize])
    }

    /// The number of this selection, counted over all callers of the service.
    pub fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether at least one endpoint is healthy and ready.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.ready()
            .any(|endpoint| endpoint.state.health() == crate::health::Health::Healthy)
    }

    fn ready_index(&self) -> &ReadyIndex {
        self.ready.get_or_init(|| {
            let is_ready = |at: &u32| self.endpoints[*at as usize].is_ready();
            let all = 0..u32::try_from(self.endpoints.len()).unwrap_or(u32::MAX);
            let ready: Vec<u32> = all.filter(is_ready).collect();
            let weighty = |at: &u32| self.endpoints[*at as usize].weight() > 0;
            let preferred: Vec<u32> = ready.iter().copied().filter(weighty).collect();
            let count = ready.len();
            let eligible = if preferred.is_empty() {
                ready
            } else {
                preferred
            };
            ReadyIndex {
                ready: count,
                eligible: eligible.into(),
            }
        })
    }

    fn position(&self, id: &EndpointId) -> Result<usize, usize> {
        self.endpoints
            .binary_search_by(|endpoint| endpoint.id.cmp(id))
    }

    /// Begins a new revision of this view: what was derived from the old one is dropped.
    fn touch(&mut self, revision: Revision) {
        self.revision = revision;
        self.ready = OnceLock::new();
        self.forms = Slot::default();
    }

    /// The pulse that goes on with `state`: the endpoint's own, or the first one. An endpoint keeps
    /// its pulse through every revision, so that a heartbeat is never lost to a change beside it.
    fn pulse_for(
        &self,
        id: &EndpointId,
        state: &EndpointState,
        change: &Change,
        now: Now,
    ) -> Arc<Pulse> {
        let ttl = state.registration.ttl;
        let Some(before) = self.endpoint(id) else {
            return Arc::new(Pulse::new(ttl, now, change.time));
        };
        // Another registration came from the instance itself, so it was heard from. Compared by
        // value: a change that was read from a log shares nothing with the catalog.
        if state.is_edge_from(&before.state) {
            before.pulse.damping.count(now.moment);
        }
        let (old, new) = (&before.state.registration, &state.registration);
        let is_again = change.kind == ChangeKind::Registered;
        if is_again || (!Arc::ptr_eq(old, new) && old != new) {
            let time = change.time;
            before.pulse.begin(ttl, Now { time, ..now });
        }
        Arc::clone(&before.pulse)
    }

    fn put(
        &mut self,
        revision: Revision,
        id: &EndpointId,
        state: &Arc<EndpointState>,
        pulse: Arc<Pulse>,
    ) -> Arc<Endpoint> {
        let endpoint = Arc::new(Endpoint {
            service: self.key.clone(),
            id: id.clone(),
            incarnation: state.incarnation.unwrap_or(revision),
            revision,
            state: Arc::clone(state),
            pulse,
            encoded: OnceLock::new(),
            budget: Arc::clone(&self.budget),
        });
        match self.position(id) {
            Ok(at) => self.endpoints[at] = Arc::clone(&endpoint),
            Err(at) => self.endpoints.insert(at, Arc::clone(&endpoint)),
        }
        self.emptied = None;
        if self.gone(id).is_some() {
            Arc::make_mut(&mut self.gone).retain(|gone| gone.id != *id);
        }
        endpoint
    }

    /// A service that is only known by its policy counts as empty since then.
    fn put_policy(&mut self, policy: &Arc<ServicePolicy>, at: Timestamp) {
        self.policy = Arc::clone(policy);
        if self.endpoints.is_empty() && self.emptied.is_none() {
            let by = ChangeKind::Deregistered;
            self.emptied = Some(Emptied { by, at });
        }
    }

    fn remove(&mut self, id: &EndpointId, change: &Change, gone_max: usize) {
        let Ok(at) = self.position(id) else { return };
        let endpoint = self.endpoints.remove(at);
        endpoint.pulse.lease.close();
        let gone = Arc::make_mut(&mut self.gone);
        gone.push_back(Gone {
            id: id.clone(),
            incarnation: endpoint.incarnation,
            by: change.kind,
            at: change.time,
        });
        while gone.len() > gone_max {
            gone.pop_front();
        }
        if self.endpoints.is_empty() {
            self.emptied = Some(Emptied {
                by: change.kind,
                at: change.time,
            });
        }
    }
}

impl Clone for ServiceView {
    /// A copy to be changed: what was derived from this revision is not taken along.
    fn clone(&self) -> Self {
        Self {
            key: self.key.clone(),
            revision: self.revision,
            emptied: self.emptied,
            endpoints: self.endpoints.clone(),
            gone: Arc::clone(&self.gone),
            policy: Arc::clone(&self.policy),
            forms: Slot::default(),
            ready: OnceLock::new(),
            turn: Arc::clone(&self.turn),
            budget: Arc::clone(&self.budget),
        }
    }
}
