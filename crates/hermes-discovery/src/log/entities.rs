//! Preconditions: the revision of every living entity, by which a log judges changes.

use std::collections::HashMap;

use hermes_core::change::{Change, Entity, Expected, Planned, Revision};

use super::Appended;

/// The revision of the last change of every entity that is there.
#[derive(Debug, Default)]
pub struct Entities {
    revisions: HashMap<Entity, Revision>,
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
    /// Judges each change of a batch by its precondition, and numbers those that hold, from the
    /// revision after `last`.
    pub fn number(&mut self, batch: &[Planned], last: Revision) -> Numbered {
        let mut numbered = Numbered {
            appended: Vec::with_capacity(batch.len()),
            last,
            before: Vec::new(),
        };
        for planned in batch {
            let entity = planned.change.entity();
            let found = self.revisions.get(&entity).copied();
            let holds = match planned.expected {
                Expected::Anything => true,
                Expected::Absent => found.is_none(),
                Expected::At(revision) => found == Some(revision),
            };
            numbered.appended.push(if holds {
                numbered.last = Revision(numbered.last.0 + 1);
                numbered.before.push((entity, found));
                self.note(&planned.change, numbered.last);
                Appended::At(numbered.last)
            } else {
                Appended::Conflict
            });
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

    /// Takes note of a change that is in the log.
    pub fn note(&mut self, change: &Change, revision: Revision) {
        if change.state.is_some() {
            self.revisions.insert(change.entity(), revision);
        } else {
            self.revisions.remove(&change.entity());
        }
    }

    /// Takes note of an entity that is there.
    pub fn put(&mut self, entity: Entity, revision: Revision) {
        self.revisions.insert(entity, revision);
    }
}
