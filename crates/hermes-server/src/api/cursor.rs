//! Cursors: the pages of one list show one revision.
//!
//! A catalog never changes, so the next page only needs the same one. As many as there may be are
//! kept, for a minute; the oldest make room. A cursor whose catalog is gone is an answer of its own.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hermes_core::catalog::Catalog;
use hermes_core::change::Revision;
use hermes_core::time::Moment;
use hermes_core::wire::problem::{Problem, code};

use super::error::Failure;

/// How long a catalog is kept for a next page.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// Catalogs that are kept for a next page.
#[derive(Debug)]
pub(super) struct Cursors {
    kept: Mutex<VecDeque<(Moment, Arc<Catalog>)>>,
    most: usize,
}

/// Where a list goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) revision: Revision,
    /// The last namespace and name that were shown.
    pub(super) after: (String, String),
}

impl Cursor {
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let mut parts = text.split('.');
        let parsed = || {
            let revision = Revision(parts.next()?.parse().ok()?);
            let after = (parts.next()?.to_owned(), parts.next()?.to_owned());
            parts.next().is_none().then_some(Self { revision, after })
        };
        let mut parsed = parsed;
        parsed().ok_or_else(|| {
            let detail = "The cursor is not one that this server gave out. Begin without one.";
            Problem::new(code::INVALID_FIELD, detail)
                .at("cursor")
                .into()
        })
    }

    pub(super) fn to_text(&self) -> String {
        format!("{}.{}.{}", self.revision, self.after.0, self.after.1)
    }
}

impl Cursors {
    pub(super) fn new(most: usize) -> Self {
        Self {
            kept: Mutex::default(),
            most,
        }
    }

    /// Keeps a catalog for the next page of a list.
    pub(super) fn keep(&self, catalog: &Arc<Catalog>, now: Moment) {
        let mut kept = self.kept.lock().unwrap();
        kept.retain(|(_, other)| other.revision() != catalog.revision());
        kept.push_back((now.after(KEPT_FOR), Arc::clone(catalog)));
        while kept.len() > self.most {
            kept.pop_front();
        }
    }

    /// The catalog at a cursor.
    pub(super) fn catalog(&self, revision: Revision, now: Moment) -> Result<Arc<Catalog>, Failure> {
        let mut kept = self.kept.lock().unwrap();
        kept.retain(|(until, _)| now < *until);
        let found = kept
            .iter()
            .find(|(_, catalog)| catalog.revision() == revision);
        found.map(|(_, catalog)| Arc::clone(catalog)).ok_or_else(|| {
            let detail = format!(
                "The list at revision {revision} is no longer kept; pages must follow each other \
                 within {} s. Begin again without a cursor.",
                KEPT_FOR.as_secs()
            );
            Problem::new(code::CURSOR_EXPIRED, detail).at("cursor").into()
        })
    }
}
