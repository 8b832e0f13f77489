//! Preconditions: the revision of every living entity, by which a log judges changes.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use hermes_core::catalog::Catalog;
use hermes_core::change::{Entity, Expected, Planned, Revision};
use hermes_core::name::{EndpointId, ServiceKey};

use super::Appended;

/// The revision of the last change of every entity that is there.
///
/// There are as many as endpoints, so they are kept by service, in the order of their ids: each takes
/// 24 bytes beside what its service takes. A single map of all would take 180.
#[derive(Debug, Default)]
pub struct Entities {
    services: HashMap<ServiceKey, Vec<(Option<EndpointId>, Revision)>, RandomState>,
    count: usize,
}

/// A batch that was judged and numbered, and how to take that back.
#[derive(Debug)]
pub struct Numbered {
    /// What became of each change.
    pub appended: Vec<Appended>,
    /// The last revision that was given out; the one before the batch when none was.
    pub last: Revision,
    before: Vec<(Entity, Option<Revision>)>,
}

impl Entities {
    /// The entities of `catalog`.
    #[must_use]
    pub fn of(catalog: &Catalog) -> Self {
        let mut entities = Self::default();
        entities.services.reserve(catalog.service_count());
        for view in catalog.services().filter(|view| !view.endpoints.is_empty()) {
            let endpoints = view.endpoints.iter();
            let revisions =
                endpoints.map(|endpoint| (Some(endpoint.id.clone()), endpoint.revision));
            let revisions: Vec<_> = revisions.collect();
            entities.count += revisions.len();
            entities.services.insert(view.key.clone(), revisions);
        }
        entities
    }

    /// How many are there.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    fn find(&self, (service, id): &Entity) -> Option<Revision> {
        let revisions = self.services.get(service)?;
        let at = revisions
            .binary_search_by(|(other, _)| other.cmp(id))
            .ok()?;
        Some(revisions[at].1)
    }

    /// Takes note of the last revision of an entity, or that it is gone.
    fn set(&mut self, (service, id): &Entity, revision: Option<Revision>) {
        let Some(revisions) = self.services.get_mut(service) else {
            if let Some(revision) = revision {
                let first = vec![(id.clone(), revision)];
                self.services.insert(service.clone(), first);
                self.count += 1;
            }
            return;
        };
        match (
            revisions.binary_search_by(|(other, _)| other.cmp(id)),
            revision,
        ) {
            (Ok(at), Some(revision)) => revisions[at].1 = revision,
            (Err(at), Some(revision)) => {
                revisions.insert(at, (id.clone(), revision));
                self.count += 1;
            }
            (Ok(at), None) => {
                revisions.remove(at);
                self.count -= 1;
                if revisions.is_empty() {
                    self.services.remove(service);
                }
            }
            (Err(_), None) => {}
        }
    }

    /// Judges each change of a batch by its precondition, and numbers those that hold, from the
    /// revision after `last`.
    pub fn number(&mut self, batch: &[Planned], last: Revision) -> Numbered {
        let mut numbered = Numbered {
            appended: Vec::with_capacity(batch.len()),
            last,
            before: Vec::with_capacity(batch.len()),
        };
        for planned in batch {
            let entity = planned.change.entity();
            let found = self.find(&entity);
            let holds = match planned.expected {
                Expected::Anything => true,
                Expected::Absent => found.is_none(),
                Expected::At(revision) => found == Some(revision),
            };
            if !holds {
                numbered.appended.push(Appended::Conflict);
                continue;
            }
            numbered.last = Revision(numbered.last.0 + 1);
            let is_there = planned.change.state.is_some();
            self.set(&entity, is_there.then_some(numbered.last));
            numbered.before.push((entity, found));
            numbered.appended.push(Appended::At(numbered.last));
        }
        numbered
    }

    /// Takes a batch back that could not be made durable.
    pub fn take_back(&mut self, numbered: Numbered) {
        for (entity, before) in numbered.before.into_iter().rev() {
            self.set(&entity, before);
        }
    }
}
