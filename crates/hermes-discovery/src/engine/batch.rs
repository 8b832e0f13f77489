//! A batch: what is committed together, and what has to wait for the next one.
//!
//! Plans of one batch do not see each other's changes, so no two of them may touch the same entity,
//! and together they may not go beyond a limit that each of them keeps. Whatever would is planned
//! in the next batch instead, in its order; the first of a batch never has to wait.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;
use hermes_core::catalog::Catalog;
use hermes_core::change::{ChangeKind, Expected, Planned};
use hermes_core::command::Command;
use hermes_core::name::{EndpointId, ServiceKey};

use super::writer::Ask;

/// Asks whose plans are committed together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The changes of all plans, in order.
    pub(super) planned: Vec<Planned>,
    /// The asks, each with the number of its changes.
    pub(super) asks: Vec<(Ask, usize)>,
    touched: HashMap<ServiceKey, Touched, RandomState>,
    new_services: usize,
}

/// What of a service the batch touches already.
#[derive(Debug, Default)]
struct Touched {
    whole: bool,
    ids: HashSet<EndpointId, RandomState>,
    new_endpoints: usize,
}

impl Batch {
    /// Empties it, and keeps its room for the next one.
    pub(super) fn clear(&mut self) {
        self.planned.clear();
        self.asks.clear();
        self.touched.clear();
        self.new_services = 0;
    }

    /// Whether `command` touches nothing that the batch, or something that waits before it, touches.
    pub(super) fn is_free(&self, command: &Command) -> bool {
        let Some(touched) = self.touched.get(command.service()) else {
            return true;
        };
        match command.id() {
            Some(id) => !touched.whole && !touched.ids.contains(id),
            None => false,
        }
    }

    /// Keeps later asks of this batch away from what `command` touches.
    pub(super) fn touch(&mut self, command: &Command) {
        let touched = self.touched.entry(command.service().clone()).or_default();
        match command.id() {
            Some(id) => drop(touched.ids.insert(id.clone())),
            None => touched.whole = true,
        }
    }

    /// Whether the changes keep the limits even after what the batch adds already.
    pub(super) fn has_room(&self, changes: &[Planned], catalog: &Catalog) -> bool {
        let limits = catalog.limits();
        changes
            .iter()
            .filter(|planned| adds_endpoint(planned))
            .all(|planned| {
                let service = &planned.change.service;
                let touched = self.touched.get(service);
                match catalog.service_at(service) {
                    Some(view) => {
                        let added = touched.map_or(0, |touched| touched.new_endpoints);
                        view.endpoints.len() + added < limits.endpoints_per_service
                    }
                    None => {
                        let added = touched.map_or(0, |touched| touched.new_endpoints);
                        let known = catalog.service_count() + self.new_services;
                        added < limits.endpoints_per_service
                            && (added > 0 || known < limits.services)
                    }
                }
            })
    }

    /// Takes an ask in, with its changes.
    pub(super) fn add(&mut self, ask: Ask, changes: Vec<Planned>, catalog: &Catalog) {
        self.touch(&ask.request.command);
        for planned in changes.iter().filter(|planned| adds_endpoint(planned)) {
            let service = &planned.change.service;
            let touched = self.touched.entry(service.clone()).or_default();
            touched.new_endpoints += 1;
            if touched.new_endpoints == 1 && catalog.service_at(service).is_none() {
                self.new_services += 1;
            }
        }
        self.asks.push((ask, changes.len()));
        self.planned.extend(changes);
    }
}

fn adds_endpoint(planned: &Planned) -> bool {
    planned.change.kind == ChangeKind::Registered && planned.expected == Expected::Absent
}
