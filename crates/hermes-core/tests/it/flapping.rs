//! Flapping through the state machine: shown, bounded, and over by itself.

use hermes_core::damping::EDGES_PER_MINUTE_MAX;
use hermes_core::endpoint::Endpoint;
use hermes_core::explain::{ProbeTimes, next_action, why_not_ready};
use hermes_core::health::Health;
use hermes_core::limits::Limits;
use serde_json::json;
use std::sync::Arc;

use crate::driver::Machine;
use crate::make::{id, register, report, service};

/// A service with these endpoints, all found to work.
fn web(ids: &[&str]) -> Machine {
    let mut machine = Machine::new(Limits::default());
    for (at, endpoint) in ids.iter().enumerate() {
        let url = format!("http://10.0.0.{at}:80");
        let body = json!({"url": url, "checks": [{"type": "tcp"}], "initial_health": "healthy"});
        machine.change(&register(&service("web"), &id(endpoint), &body));
    }
    machine
}

fn endpoint(machine: &Machine, of: &str) -> Arc<Endpoint> {
    let found = machine.catalog.endpoint(&service("web"), &id(of));
    Arc::clone(found.expect("it is registered"))
}

/// Finds `a` down and up in turn, each second. What comes back is the number of changes.
fn flap(machine: &mut Machine, seconds: u64) -> usize {
    let mut changes = 0;
    for second in 0..seconds {
        machine.wait(1_000);
        let found = [Health::Unhealthy, Health::Healthy][usize::from(second % 2 == 1)];
        changes += find(machine, found);
    }
    changes
}

/// Finds this of `a`, and says how many changes came of it.
fn find(machine: &mut Machine, found: Health) -> usize {
    let command = report(&endpoint(machine, "a"), 0, found, "refused");
    machine
        .ask(&command)
        .expect("a report is not refused")
        .len()
}

#[test]
fn what_flaps_is_flagged_kept_out_while_others_serve_and_comes_back_by_itself() {
    let mut machine = web(&["a", "b"]);
    let changes = flap(&mut machine, 60);
    assert!(changes <= EDGES_PER_MINUTE_MAX, "{changes}");
    let flapping = endpoint(&machine, "a");
    assert_eq!(flapping.flags(), ["flapping"]);
    assert!(!flapping.is_ready());
    let why = why_not_ready(&flapping)
        .expect("it is not ready")
        .to_string();
    assert!(why.starts_with("check `tcp` flaps since "), "{why}");

    // Shown is when a success counts again, and then it does.
    let check = &flapping.registration().checks[0];
    let now = machine.now().moment;
    let times = ProbeTimes {
        last: None,
        next: Some(now),
    };
    let next = next_action(&flapping, check, Health::Unhealthy, times, now).expect("it is probed");
    let seconds = next
        .split_whitespace()
        .find_map(|word| word.parse::<u64>().ok());
    let seconds = seconds.unwrap_or_else(|| panic!("no seconds in `{next}`"));
    machine.wait(seconds * 1_000 - 2_000);
    assert_eq!(find(&mut machine, Health::Healthy), 0);
    machine.wait(2_000);
    assert_eq!(find(&mut machine, Health::Healthy), 1);
    let back = endpoint(&machine, "a");
    assert!(back.is_ready() && back.flags().is_empty());
}

#[test]
fn what_flaps_alone_is_not_kept_out_for_long() {
    let mut machine = web(&["a"]);
    flap(&mut machine, 60);
    machine.wait(10_000);
    let found = endpoint(&machine, "a").state.health();
    if !found.may_serve() {
        assert_eq!(find(&mut machine, Health::Healthy), 1);
    }
    let alone = endpoint(&machine, "a");
    assert!(alone.is_ready());
    assert_eq!(alone.flags(), ["flapping"]);
}

#[test]
fn what_stays_as_it_is_does_not_flap_for_ever() {
    let mut machine = web(&["a", "b"]);
    flap(&mut machine, 20);
    let health = endpoint(&machine, "a").state.health();
    assert_eq!(find(&mut machine, health), 0);
    machine.wait(180_000);
    assert_eq!(find(&mut machine, health), 1);
    assert!(endpoint(&machine, "a").flags().is_empty());
    assert_eq!(find(&mut machine, health), 0);
}
