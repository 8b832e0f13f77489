//! The log is the truth: whoever applies it gets the same catalog, and no heartbeat that never was.

use std::sync::Arc;

use hermes_core::catalog::Catalog;
use hermes_core::health::Health;
use hermes_core::limits::Limits;
use hermes_core::time::Now;
use proptest::prelude::*;
use serde_json::json;

use crate::driver::{Machine, facts, read_back};
use crate::make::{at, id, register, report, service};
use crate::step::{steps, tight};

/// A catalog made of nothing but the log, as after a restart at `now`.
fn replayed(machine: &Machine, now: Now) -> Catalog {
    let mut catalog = Catalog::new(machine.catalog.limits().clone(), 7);
    for logged in &machine.log {
        catalog.apply(logged.revision, &read_back(&logged.change), now);
    }
    catalog
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_catalog_is_what_its_log_says(steps in steps()) {
        let mut machine = Machine::new(tight());
        for step in &steps {
            machine.take(step);
        }
        let replayed = replayed(&machine, at(1_000_000));
        prop_assert_eq!(facts(&replayed), facts(&machine.catalog));
    }

    #[test]
    fn a_follower_of_the_log_has_the_same_leases(steps in steps()) {
        let mut machine = Machine::new(tight());
        let mut follower = Catalog::new(tight(), 7);
        let mut followed = 0;
        for step in &steps {
            let taken = machine.take(step);
            for logged in &machine.log[followed..] {
                follower.apply(logged.revision, &read_back(&logged.change), logged.now);
            }
            followed = machine.log.len();
            if let Some((service, id)) = &taken.renewed {
                follower.endpoint(service, id).unwrap().pulse.beat(machine.now()).unwrap();
            }
            for view in machine.catalog.services() {
                for endpoint in &view.endpoints {
                    let pulse = &follower.endpoint(&view.key, &endpoint.id).unwrap().pulse;
                    assert_eq!(pulse.lease.deadline(), endpoint.pulse.lease.deadline());
                    assert_eq!(pulse.last_heartbeat(), endpoint.pulse.last_heartbeat());
                }
            }
        }
    }
}

/// A machine with one endpoint that was registered at 0 and again, with more to say, at 2,000.
fn machine_with_one() -> Machine {
    let mut machine = Machine::new(Limits::default());
    let (web, a) = (service("web"), id("a"));
    let url = "http://10.0.0.1:80";
    machine.change(&register(&web, &a, &json!({"url": url, "ttl": 10})));
    machine.wait(2_000);
    machine.change(&register(
        &web,
        &a,
        &json!({"url": url, "ttl": 10, "tags": ["x"]}),
    ));
    machine
}

#[test]
fn after_a_restart_no_lease_runs_out_before_its_ttl_has_passed_again() {
    let machine = machine_with_one();
    let replayed = replayed(&machine, at(500_000));
    let endpoint = replayed.endpoint(&service("web"), &id("a")).unwrap();
    assert_eq!(endpoint.pulse.lease.deadline(), Some(at(510_000).moment));
}

#[test]
fn a_restart_is_no_heartbeat() {
    let machine = machine_with_one();
    let replayed = replayed(&machine, at(500_000));
    let endpoint = replayed.endpoint(&service("web"), &id("a")).unwrap();
    assert_eq!(endpoint.pulse.last_heartbeat(), at(2_000).time);
}

#[test]
fn a_probe_result_that_comes_back_from_a_log_is_no_heartbeat() {
    let mut machine = machine_with_one();
    let endpoint = Arc::clone(machine.catalog.endpoint(&service("web"), &id("a")).unwrap());
    let mut follower = replayed(&machine, at(2_000));
    machine.wait(5_000);
    machine.change(&report(&endpoint, 0, Health::Healthy, "200"));
    let logged = machine.log.last().unwrap();
    follower.apply(logged.revision, &read_back(&logged.change), at(7_000));
    let followed = follower.endpoint(&service("web"), &id("a")).unwrap();
    assert!(followed.is_ready());
    assert_eq!(followed.pulse.lease.deadline(), Some(at(12_000).moment));
    assert_eq!(followed.pulse.last_heartbeat(), at(2_000).time);
}
