//! A watcher that believes everything it hears, and minds everything it must not hear.

use std::collections::BTreeMap;

use hermes_core::catalog::Catalog;
use hermes_core::change::{Change, Revision};
use hermes_core::name::{EndpointId, ServiceKey};
use hermes_discovery::engine::{Event, ResetReason, Watcher};
use hermes_discovery::log::Record;

use crate::make::within;

/// What it knows, folded from the events.
pub(crate) struct Follower {
    watcher: Watcher,
    state: BTreeMap<(ServiceKey, EndpointId), Revision>,
    /// While snapshots are heard, and nothing else may be.
    is_in_snapshots: bool,
    /// Everything up to here was heard.
    pub(crate) heard: Revision,
    /// The revision of the snapshot that it last began with.
    pub(crate) synced: Revision,
    /// The changes since then.
    pub(crate) changes: Vec<u64>,
    /// What was forgotten at each reset: from where on, up to where, and the changes between.
    stretches: Vec<(Revision, Revision, Vec<u64>)>,
    pub(crate) resets: Vec<ResetReason>,
}

impl Follower {
    /// Of a watcher that begins with a snapshot.
    pub(crate) fn fresh(watcher: Watcher) -> Self {
        Self {
            is_in_snapshots: true,
            ..Self::resumed(watcher, Revision(0))
        }
    }

    /// Of a watcher that begins after a revision.
    pub(crate) fn resumed(watcher: Watcher, revision: Revision) -> Self {
        Self {
            watcher,
            state: BTreeMap::new(),
            is_in_snapshots: false,
            heard: revision,
            synced: revision,
            changes: Vec::new(),
            stretches: Vec::new(),
            resets: Vec::new(),
        }
    }

    /// Hears one event.
    pub(crate) async fn next(&mut self) -> Event {
        let event = within("an event", self.watcher.next()).await;
        self.take_in(&event);
        event
    }

    /// Hears until it has heard everything up to `revision`.
    pub(crate) async fn hear(&mut self, revision: Revision) {
        let hearing = async {
            while self.is_in_snapshots || self.heard < revision {
                let event = self.watcher.next().await;
                self.take_in(&event);
            }
        };
        within("everything", hearing).await;
    }

    /// Hears the changes up to the next progress, and gives their revisions.
    pub(crate) async fn changes_until_progress(&mut self) -> Vec<u64> {
        let before = self.changes.len();
        while !matches!(self.next().await, Event::Progress(_)) {}
        self.changes[before..].to_vec()
    }

    /// Hears everything up to `revision`, and gives the revisions of the changes on the way.
    pub(crate) async fn changes_up_to(&mut self, revision: u64) -> Vec<u64> {
        let before = self.changes.len();
        self.hear(Revision(revision)).await;
        self.changes[before..].to_vec()
    }

    /// Every endpoint that it knows, as [`crate::make::listed`] lists a catalog's.
    pub(crate) fn listed(&self) -> Vec<(ServiceKey, EndpointId, Revision)> {
        let entry = |((service, id), revision): (&(ServiceKey, EndpointId), &Revision)| {
            (service.clone(), id.clone(), *revision)
        };
        self.state.iter().map(entry).collect()
    }

    /// That it knows exactly what `catalog` holds.
    #[track_caller]
    pub(crate) fn assert_knows(&self, catalog: &Catalog) {
        assert_eq!(self.listed(), crate::make::listed(catalog));
    }

    /// That it heard every change of `log` that it says it heard, before every reset and after the
    /// last; of services that are `of_interest`.
    pub(crate) fn assert_no_gap(&mut self, log: &[Record], of_interest: impl Fn(&Change) -> bool) {
        self.end_stretch();
        for (from, to, heard) in &self.stretches {
            let is_meant = |record: &&Record| {
                record.revision > *from && record.revision <= *to && of_interest(&record.change)
            };
            let expected = log.iter().filter(is_meant).map(|record| record.revision.0);
            assert_eq!(
                *heard,
                expected.collect::<Vec<_>>(),
                "after {from}, up to {to}"
            );
        }
    }

    fn end_stretch(&mut self) {
        let heard = std::mem::take(&mut self.changes);
        self.stretches.push((self.synced, self.heard, heard));
        self.synced = self.heard;
    }

    fn take_in(&mut self, event: &Event) {
        match event {
            Event::Snapshot(view) => {
                assert!(
                    self.is_in_snapshots,
                    "a snapshot of {} in between",
                    view.key
                );
                for endpoint in &view.endpoints {
                    let key = (view.key.clone(), endpoint.id.clone());
                    let twice = self.state.insert(key, endpoint.revision);
                    assert_eq!(twice, None, "{} has two snapshots", view.key);
                }
            }
            Event::Synced(revision) => {
                assert!(self.is_in_snapshots, "synced twice");
                self.is_in_snapshots = false;
                (self.heard, self.synced) = (*revision, *revision);
            }
            Event::Change(committed) => {
                assert!(!self.is_in_snapshots, "a change between snapshots");
                let (revision, change) = (committed.revision, &committed.change);
                assert!(revision > self.heard, "{revision} after {}", self.heard);
                self.heard = revision;
                self.changes.push(revision.0);
                let Some(id) = &change.id else {
                    let leftover = self.state.keys().find(|(of, _)| *of == change.service);
                    assert_eq!(leftover, None, "forgotten, and not empty");
                    return;
                };
                let key = (change.service.clone(), id.clone());
                match &committed.endpoint {
                    Some(endpoint) => {
                        assert_eq!(endpoint.revision, revision);
                        self.state.insert(key, revision);
                    }
                    None => {
                        self.state.remove(&key);
                    }
                }
            }
            Event::Progress(revision) => {
                assert!(!self.is_in_snapshots, "progress between snapshots");
                assert!(*revision >= self.heard, "progress goes back");
                self.heard = *revision;
            }
            Event::Reset(reason, _) => {
                self.resets.push(*reason);
                self.state.clear();
                self.end_stretch();
                self.is_in_snapshots = true;
            }
        }
    }
}
