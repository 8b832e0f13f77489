//! The lease clock: which leases run out, and which services lapse.
//!
//! It only ever *closes* a lease; whether the endpoint goes is planned afterwards, like every other
//! change. Renewals do not come here: an entry whose lease was renewed meanwhile is put back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hermes_core::catalog::Catalog;
use hermes_core::change::{Committed, Revision};
use hermes_core::command::Command;
use hermes_core::due::DueQueue;
use hermes_core::endpoint::Endpoint;
use hermes_core::lease::Closing;
use hermes_core::name::{EndpointId, ServiceKey};
use hermes_core::pulse::Pulse;
use hermes_core::time::Moment;

/// Entries looked at in one go, so that a million leases running out at once leave room between.
const DUE_MAX: usize = 1_024;
/// How long a service that did not lapse when it was due is left alone.
const LAPSE_RETRY_MILLIS: u64 = 60_000;

/// Everything that waits for a moment.
#[derive(Debug, Default)]
pub(super) struct Leases {
    due: DueQueue<Entry>,
    lapses: DueQueue<ServiceKey>,
}

#[derive(Debug)]
struct Entry {
    at: Moment,
    pulse: Arc<Pulse>,
    service: ServiceKey,
    id: EndpointId,
}

/// A lease that ran out, closed, with the command that follows.
#[derive(Debug)]
pub(super) struct RanOut {
    pub(super) command: Command,
    /// `None` for a service that lapses.
    pub(super) pulse: Option<Arc<Pulse>>,
}

impl Leases {
    /// The leases and lapses of everything in `catalog`.
    pub(super) fn of(catalog: &Catalog, now: Moment) -> Self {
        let mut leases = Self::default();
        for service in catalog.services() {
            service
                .endpoints
                .iter()
                .for_each(|endpoint| leases.schedule(endpoint));
            if service.endpoints.is_empty() {
                leases
                    .lapses
                    .push(now.after(catalog.limits().known_for), service.key.clone());
            }
        }
        leases
    }

    /// Takes note of a committed change.
    pub(super) fn follow(&mut self, committed: &Committed, catalog: &Catalog, now: Moment) {
        match &committed.endpoint {
            Some(endpoint) => self.schedule(endpoint),
            None => {
                let service = &committed.change.service;
                let empty =
                    |view: &Arc<hermes_core::catalog::ServiceView>| view.endpoints.is_empty();
                if catalog.service_at(service).is_some_and(empty) {
                    self.lapses
                        .push(now.after(catalog.limits().known_for), service.clone());
                }
            }
        }
    }

    /// Puts a lease that was closed back, to be looked at again at `at`.
    pub(super) fn put_back(&mut self, endpoint: &Endpoint, at: Moment) {
        self.push(at, &endpoint.pulse, &endpoint.service, &endpoint.id);
    }

    /// When something is due next.
    pub(super) fn next_at(&self) -> Option<Moment> {
        self.due
            .next_at()
            .into_iter()
            .chain(self.lapses.next_at())
            .min()
    }

    /// Closes the leases that ran out at or before `now`, and gives back what follows from it.
    pub(super) fn run_out(&mut self, catalog: &Catalog, now: Moment) -> Vec<RanOut> {
        let mut ran_out = Vec::new();
        for entry in self.due.take_due(now, DUE_MAX) {
            // An entry that an earlier deadline has overtaken is only a leftover.
            if entry.pulse.scheduled.load(Ordering::Relaxed) != entry.at.0 {
                continue;
            }
            entry.pulse.scheduled.store(u64::MAX, Ordering::Relaxed);
            match entry.pulse.lease.close_if_due(now) {
                Closing::Closed => ran_out.extend(expiry(entry, catalog)),
                Closing::RunsUntil(deadline) if entry.pulse.lease.deadline().is_some() => {
                    self.push(deadline, &entry.pulse, &entry.service, &entry.id);
                }
                Closing::RunsUntil(_) | Closing::WasClosed => {}
            }
        }
        for service in self.lapses.take_due(now, DUE_MAX) {
            let still_empty = catalog
                .service_at(&service)
                .is_some_and(|v| v.endpoints.is_empty());
            if still_empty {
                self.lapses
                    .push(Moment(now.0 + LAPSE_RETRY_MILLIS), service.clone());
                ran_out.push(RanOut {
                    command: Command::Lapse { service },
                    pulse: None,
                });
            }
        }
        ran_out
    }

    fn schedule(&mut self, endpoint: &Endpoint) {
        let Some(deadline) = endpoint.pulse.lease.deadline() else {
            return;
        };
        if deadline.0 < endpoint.pulse.scheduled.load(Ordering::Relaxed) {
            self.push(deadline, &endpoint.pulse, &endpoint.service, &endpoint.id);
        }
    }

    fn push(&mut self, at: Moment, pulse: &Arc<Pulse>, service: &ServiceKey, id: &EndpointId) {
        pulse.scheduled.store(at.0, Ordering::Relaxed);
        let (pulse, service, id) = (Arc::clone(pulse), service.clone(), id.clone());
        self.due.push(
            at,
            Entry {
                at,
                pulse,
                service,
                id,
            },
        );
    }
}

/// The expiry of the endpoint whose lease was closed.
fn expiry(entry: Entry, catalog: &Catalog) -> Option<RanOut> {
    let Entry {
        pulse, service, id, ..
    } = entry;
    let incarnation: Revision = catalog.endpoint(&service, &id)?.incarnation;
    let command = Command::Expire {
        service,
        id,
        incarnation,
    };
    Some(RanOut {
        command,
        pulse: Some(pulse),
    })
}
