//! Preconditions: the revision of every living entity, by which a log judges changes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::fast::RandomState;
use hermes_core::catalog::Catalog;
use hermes_core::change::{Entity, Expected, Planned, Revision};

use super::Appended;

/// The revision of the last change of every entity that is there.
#[derive(Debug, Default)]
pub struct Entities {
    revisions: HashMap<Entity, Revision, RandomState>,
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
        let count = catalog.services().map(|service| service.endpoints.len());
        let mut revisions = HashMap::with_capacity_and_hasher(count.sum(), RandomState::default());
        for service in catalog.services() {
            for endpoint in &service.endpoints {
                let entity = (service.key.clone(), Some(endpoint.id.clone()));
                revisions.insert(entity, endpoint.revision);
            }
        }
        Self { revisions }
    }

    /// How many are there.
    #[must_use]
    pub fn count(&self) -> usize {
        self.revisions.len()
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
            let entity = self.revisions.entry(planned.change.entity());
            let found = match &entity {
                Entry::Occupied(there) => Some(*there.get()),
                Entry::Vacant(_) => None,
            };
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
            let key = entity.key().clone();
            match (&planned.change.state, entity) {
                (Some(_), entity) => drop(entity.insert_entry(numbered.last)),
                (None, Entry::Occupied(there)) => drop(there.remove_entry()),
                (None, Entry::Vacant(_)) => {}
            }
            numbered.before.push((key, found));
            numbered.appended.push(Appended::At(numbered.last));
        }
        numbered
    }

    /// Takes a batch back that could not be made durable.
    pub fn take_back(&mut self, numbered: Numbered) {
        for (entity, before) in numbered.before.into_iter().rev() {
            match before {
                Some(revision) => drop(self.revisions.insert(entity, revision)),
                None => drop(self.revisions.remove(&entity)),
            }
        }
    }
}
