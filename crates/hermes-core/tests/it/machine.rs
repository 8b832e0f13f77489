//! What holds of the state machine whatever happens to it, each tried on many sequences of steps.

use std::collections::BTreeMap;
use std::sync::Arc;

use hermes_core::catalog::{Catalog, ServiceView};
use hermes_core::change::{ChangeKind, Committed, Revision};
use hermes_core::command::Command;
use hermes_core::endpoint::{Drain, Endpoint, Overrides};
use hermes_core::explain::why_not_ready;
use hermes_core::health::Health;
use hermes_core::limits::Limits;
use hermes_core::name::{EndpointId, ServiceKey};
use hermes_core::rejection::Rejection;
use hermes_core::time::Moment;
use proptest::prelude::*;

use crate::driver::{Machine, facts};
use crate::make::report;
use crate::step::{Step, Taken, steps, tight};

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 128,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Limits that nothing here reaches, but for how long an empty service stays known.
fn wide() -> Limits {
    Limits {
        known_for: std::time::Duration::from_secs(20),
        ..Limits::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_revision_only_grows(steps in steps()) {
        Machine::run(wide(), &steps, |machine, _, taken| {
            let mut last = taken.before.revision();
            for committed in &taken.committed {
                assert!(committed.revision > last);
                last = committed.revision;
            }
            assert_eq!(machine.catalog.revision(), last);
        });
    }

    #[test]
    fn the_same_plan_is_made_twice(steps in steps()) {
        let mut machine = Machine::new(tight());
        for step in &steps {
            if let Some(command) = machine.command_of(step) {
                assert_eq!(machine.plan(&command), machine.plan(&command));
            }
            machine.take(step);
        }
    }

    #[test]
    fn a_lease_is_exact(steps in steps()) {
        let mut promises = Promises::default();
        Machine::run(wide(), &steps, |machine, step, taken| promises.look(machine, step, taken));
    }

    #[test]
    fn what_was_removed_never_comes_back_by_something_late(steps in steps()) {
        let mut removed: Vec<Arc<Endpoint>> = Vec::new();
        Machine::run(wide(), &steps, |machine, _, taken| {
            for committed in &taken.committed {
                let is_new = committed.change.kind == ChangeKind::Registered;
                let incarnation = committed.incarnation();
                assert_eq!(is_new, incarnation == Some(committed.revision));
                assert!(!removed.iter().any(|gone| Some(gone.incarnation) == incarnation));
            }
            removed.extend(removed_by(taken));
            for endpoint in &removed {
                assert!(endpoint.pulse.beat(machine.now()).is_err(), "a late heartbeat is refused");
                if !endpoint.registration().checks.is_empty() {
                    let late = machine.plan(&report(endpoint, 0, Health::Healthy, "late")).unwrap();
                    assert_eq!(late.changes, [], "a late probe result leads to nothing");
                }
            }
        });
    }

    #[test]
    fn what_is_gone_is_remembered_until_it_is_back(steps in steps()) {
        let mut gone: BTreeMap<ServiceKey, Vec<EndpointId>> = BTreeMap::new();
        Machine::run(wide(), &steps, |machine, _, taken| {
            for committed in &taken.committed {
                let of_service = gone.entry(committed.change.service.clone()).or_default();
                match &committed.change.id {
                    None => of_service.clear(),
                    Some(id) => {
                        of_service.retain(|other| other != id);
                        of_service.extend(is_removal(committed).then(|| id.clone()));
                    }
                }
            }
            for view in machine.catalog.services() {
                let remembered: Vec<_> = view.gone.iter().map(|gone| gone.id.clone()).collect();
                assert_eq!(remembered, gone[&view.key]);
            }
        });
    }

    #[test]
    fn a_service_revision_is_that_of_the_last_change_that_touched_it(steps in steps()) {
        let mut last: BTreeMap<ServiceKey, Revision> = BTreeMap::new();
        Machine::run(wide(), &steps, |machine, _, taken| {
            for committed in &taken.committed {
                let before = last.insert(committed.change.service.clone(), committed.revision);
                assert!(before < Some(committed.revision));
            }
            for view in machine.catalog.services() {
                assert_eq!(view.revision, last[&view.key]);
            }
            for namespace in machine.catalog.namespaces() {
                let inside = last.iter().filter(|(key, _)| key.namespace == namespace.name);
                assert_eq!(Some(&namespace.revision), inside.map(|(_, revision)| revision).max());
            }
        });
    }

    #[test]
    fn the_tally_is_what_counting_would_find(steps in steps()) {
        Machine::run(wide(), &steps, |machine, _, _| {
            let (tally, all) = (machine.catalog.tally(), || machine.catalog.services());
            let endpoints = || all().flat_map(|view| &view.endpoints);
            for (health, is_ready) in Health::ALL.into_iter().flat_map(|h| [(h, true), (h, false)]) {
                let is_such = |e: &&Arc<Endpoint>| (e.state.health(), e.is_ready()) == (health, is_ready);
                assert_eq!(tally.endpoints(health, is_ready), endpoints().filter(is_such).count());
            }
            assert_eq!(tally.total(), endpoints().count());
            assert_eq!(tally.leased, endpoints().filter(|e| e.registration().ttl.is_some()).count());
            assert_eq!(tally.draining, endpoints().filter(|e| e.state.drain.is_some()).count());
            assert_eq!(tally.starting, endpoints().filter(|e| !e.state.started).count());
            assert_eq!(tally.flapping, endpoints().filter(|e| e.state.flapping).count());
            assert_eq!(tally.empty_services, all().filter(|view| view.endpoints.is_empty()).count());
        });
    }

    #[test]
    fn what_is_refused_or_already_so_changes_nothing(steps in steps()) {
        Machine::run(tight(), &steps, |machine, _, taken| {
            if taken.committed.is_empty() {
                assert_eq!(facts(&machine.catalog), facts(&taken.before));
                for view in machine.catalog.services() {
                    let before = taken.before.service_at(&view.key).expect("it was there");
                    assert!(Arc::ptr_eq(before, view));
                }
            }
        });
    }

    #[test]
    fn overrides_survive_registrations_and_go_with_the_endpoint(steps in steps()) {
        Machine::run(wide(), &steps, |machine, _, taken| {
            if let Some((before, now)) = registered_by(machine, taken) {
                let kept = before.map_or_else(Overrides::default, |b| (*b.state.overrides).clone());
                assert_eq!(*now.state.overrides, kept);
            }
        });
    }

    #[test]
    fn a_drain_ends_with_the_incarnation_unless_it_is_sticky(steps in steps()) {
        Machine::run(wide(), &steps, |machine, _, taken| {
            if let Some((before, now)) = registered_by(machine, taken) {
                let old = before.as_ref().and_then(|before| before.state.drain.clone());
                let same = before.is_some_and(|before| before.incarnation == now.incarnation);
                let stays = |drain: &Drain| same || drain.sticky;
                assert_eq!(now.state.drain, old.filter(stays));
            }
        });
    }

    #[test]
    fn registering_the_same_twice_is_only_a_renewal(steps in steps()) {
        Machine::run(wide(), &steps, |machine, _, taken| {
            let Some(Command::Register { service, id, registration, .. }) = &taken.command else {
                return;
            };
            let again = Command::Register {
                service: service.clone(),
                id: id.clone(),
                registration: Arc::new((**registration).clone()),
                new: false,
            };
            let plan = machine.plan(&again).unwrap();
            assert!(plan.heard && plan.changes.is_empty());
        });
    }

    #[test]
    fn emptied_says_how_the_last_one_went_and_only_while_there_is_none(steps in steps()) {
        let mut last: BTreeMap<ServiceKey, Arc<Committed>> = BTreeMap::new();
        Machine::run(wide(), &steps, |machine, _, taken| {
            for committed in taken.committed.iter().filter(|committed| is_removal(committed)) {
                last.insert(committed.change.service.clone(), Arc::clone(committed));
            }
            for view in machine.catalog.services() {
                let said = view.emptied.map(|emptied| (emptied.by, emptied.at));
                let removal = || (last[&view.key].change.kind, last[&view.key].change.time);
                assert_eq!(said, view.endpoints.is_empty().then(removal));
            }
        });
    }

    #[test]
    fn a_service_is_forgotten_only_on_request_or_after_its_time(steps in steps()) {
        Machine::run(wide(), &steps, |machine, _, taken| {
            let before: Vec<&Arc<ServiceView>> = taken.before.services().collect();
            let unknown = before.iter().filter(|v| machine.catalog.service_at(&v.key).is_none());
            for view in unknown {
                match &taken.command {
                    Some(Command::Forget { service }) => assert_eq!(service, &view.key),
                    Some(Command::Lapse { service }) => {
                        assert_eq!(service, &view.key);
                        assert!(is_over(view, machine));
                    }
                    other => panic!("{other:?} made {:?} unknown", view.key),
                }
            }
            if let Some(Command::Lapse { service }) = &taken.command {
                let due = taken.before.service_at(service).is_some_and(|view| is_over(view, machine));
                assert_eq!(due, !taken.committed.is_empty());
            }
        });
    }

    #[test]
    fn no_limit_is_passed_and_none_refuses_before_it_is_reached(steps in steps()) {
        let limits = tight();
        Machine::run(limits.clone(), &steps, |machine, _, taken| {
            assert!(machine.catalog.service_count() <= limits.services);
            assert_eq!(machine.catalog.service_count(), machine.catalog.services().count());
            for view in machine.catalog.services() {
                assert!(view.endpoints.len() <= limits.endpoints_per_service);
                assert!(view.gone.len() <= limits.gone_per_service);
            }
            if let Some(Rejection::LimitReached { what, max }) = &taken.rejection {
                let command = taken.command.as_ref().expect("a command was refused");
                let service = taken.before.service_at(command.service());
                let count = service.map_or(taken.before.service_count(), |v| v.endpoints.len());
                assert_eq!(count, *max, "{what}");
            }
        });
    }

    #[test]
    fn a_catalog_that_somebody_holds_never_changes(steps in steps()) {
        let mut held: Vec<(Catalog, String)> = Vec::new();
        Machine::run(tight(), &steps, |machine, step, _| {
            if matches!(step, Step::Wait(_)) {
                let catalog = machine.catalog.clone();
                let seen = format!("{:?}", facts(&catalog));
                held.push((catalog, seen));
            }
        });
        for (catalog, seen) in held {
            assert_eq!(format!("{:?}", facts(&catalog)), seen);
        }
    }

    #[test]
    fn an_endpoint_is_ready_exactly_when_nothing_speaks_against_it(steps in steps()) {
        Machine::run(wide(), &steps, |machine, _, taken| {
            for view in machine.catalog.services() {
                for endpoint in &view.endpoints {
                    assert_eq!(endpoint.is_ready(), why_not_ready(endpoint).is_none());
                    assert_eq!(endpoint.is_ready(), !flagged(endpoint) && endpoint.state.health().may_serve());
                }
                assert_eq!(view.ready_count(), view.ready().count());
                assert_eq!(view.next_ready().is_some(), view.ready_count() > 0);
            }
            // Its `since` moves exactly when its health or readiness does.
            for committed in &taken.committed {
                if let (Some(now), Some(before)) = (&committed.endpoint, before_of(taken, committed))
                    && now.incarnation == before.incarnation
                {
                    let verdict = |e: &Endpoint| (e.state.health(), e.is_ready());
                    let moved = verdict(now) != verdict(&before);
                    let since = if moved { committed.change.time } else { before.state.since };
                    assert_eq!(now.state.since, since);
                }
            }
        });
    }
}

/// Until when every endpoint may rely on being registered; `None` for ever.
#[derive(Default)]
struct Promises {
    until: BTreeMap<(ServiceKey, EndpointId), Option<Moment>>,
}

impl Promises {
    fn look(&mut self, machine: &Machine, step: &Step, taken: &Taken) {
        let now = machine.now().moment;
        let by_instance = matches!(taken.command, Some(Command::Register { .. }));
        for committed in &taken.committed {
            let change = &committed.change;
            let Some(id) = &change.id else { continue };
            let key = (change.service.clone(), id.clone());
            match &committed.endpoint {
                Some(endpoint) if by_instance => self.promise(key, endpoint, now),
                Some(_) => {}
                None => {
                    let until = self
                        .until
                        .remove(&key)
                        .expect("what is removed was promised");
                    let ran_out = until.is_some_and(|until| until <= now);
                    assert!(
                        ran_out || change.kind == ChangeKind::Deregistered,
                        "expired early"
                    );
                }
            }
        }
        if let Some(key) = &taken.renewed {
            let endpoint = machine
                .catalog
                .endpoint(&key.0, &key.1)
                .expect("it was renewed");
            self.promise(key.clone(), endpoint, now);
        }
        if let (Step::Heartbeat { .. }, Some(Rejection::EndpointGone { service, id, .. })) =
            (step, &taken.rejection)
        {
            let until = self
                .until
                .get(&(service.clone(), id.clone()))
                .copied()
                .flatten();
            assert!(
                until.is_none_or(|until| until <= now),
                "a heartbeat is refused too early"
            );
        }
        if matches!(step, Step::Clock { log_works: true }) {
            let late = self.until.values().flatten().find(|until| **until <= now);
            assert_eq!(late, None, "the clock ran, and something is still there");
        }
        let there: usize = machine
            .catalog
            .services()
            .map(|view| view.endpoints.len())
            .sum();
        assert_eq!(there, self.until.len(), "nothing goes before its time");
    }

    fn promise(&mut self, key: (ServiceKey, EndpointId), endpoint: &Endpoint, now: Moment) {
        let until = endpoint.registration().ttl.map(|ttl| now.after(ttl));
        assert_eq!(endpoint.pulse.lease.deadline(), until);
        self.until.insert(key, until);
    }
}

/// The endpoints that a step removed, as they were.
fn removed_by(taken: &Taken) -> impl Iterator<Item = Arc<Endpoint>> {
    let removals = taken
        .committed
        .iter()
        .filter(|committed| is_removal(committed));
    removals.filter_map(|committed| before_of(taken, committed))
}

fn is_removal(committed: &Committed) -> bool {
    matches!(
        committed.change.kind,
        ChangeKind::Deregistered | ChangeKind::Expired
    )
}

/// What a change touched, as it was before the step.
fn before_of(taken: &Taken, committed: &Committed) -> Option<Arc<Endpoint>> {
    let id = committed.change.id.as_ref()?;
    taken
        .before
        .endpoint(&committed.change.service, id)
        .cloned()
}

/// When the step was a registration that was accepted: the endpoint before and after it.
fn registered_by(
    machine: &Machine,
    taken: &Taken,
) -> Option<(Option<Arc<Endpoint>>, Arc<Endpoint>)> {
    let command = taken.command.as_ref()?;
    let is_register = matches!(command, Command::Register { .. });
    if !is_register || taken.rejection.is_some() {
        return None;
    }
    let now = Arc::clone(machine.endpoint_of(command)?);
    // One that had run out was removed first, so the registration came to an empty place.
    let ran_out = taken.committed.iter().any(|committed| {
        is_removal(committed)
            && Some(&committed.change.service) == Some(command.service())
            && committed.change.id.as_ref() == command.id()
    });
    let before = taken
        .before
        .endpoint(command.service(), command.id()?)
        .cloned();
    Some((before.filter(|_| !ran_out), now))
}

/// Whether a service has been empty for as long as it stays known.
fn is_over(view: &ServiceView, machine: &Machine) -> bool {
    let known_for = machine.catalog.limits().known_for;
    view.emptied.is_some_and(|emptied| {
        let empty_for = machine.now().time.0 - emptied.at.0;
        u128::from(empty_for) >= known_for.as_millis()
    })
}

fn flagged(endpoint: &Endpoint) -> bool {
    !endpoint.flags().is_empty()
}
