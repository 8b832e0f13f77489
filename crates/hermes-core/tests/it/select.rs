//! Selection: what each policy promises, counted; what each criterion lets through.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hermes_core::catalog::ServiceView;
use hermes_core::command::{Command, DrainWish};
use hermes_core::health::Health;
use hermes_core::limits::Limits;
use hermes_core::select::{Criteria, Policy, Variety, rendezvous_score, select, unit_interval};
use hermes_core::wire::request::read_criteria;
use serde_json::{Value, json};

use crate::driver::Machine;
use crate::make::{at, id, register, report, service};

/// A machine whose service `web` has these endpoints, with what is special about each.
fn machine_with(endpoints: &[(&str, Value)]) -> Machine {
    let mut machine = Machine::new(Limits::default());
    for (number, (name, special)) in endpoints.iter().enumerate() {
        let mut body = json!({
            "url": format!("http://10.0.0.{}:80", number + 1),
            "checks": [{"type": "tcp"}],
            "initial_health": "healthy",
            "ttl": null,
        });
        for (member, value) in special.as_object().expect("what is special is an object") {
            body[member] = value.clone();
        }
        machine.change(&register(&service("web"), &id(name), &body));
    }
    machine
}

/// So many endpoints that differ in nothing: `e0`, `e1` and so on.
fn equal(count: usize) -> Machine {
    let names: Vec<String> = (0..count).map(|n| format!("e{n}")).collect();
    let endpoints: Vec<(&str, Value)> = names
        .iter()
        .map(|name| (name.as_str(), json!({})))
        .collect();
    machine_with(&endpoints)
}

fn view(machine: &Machine) -> Arc<ServiceView> {
    Arc::clone(
        machine
            .catalog
            .service_at(&service("web"))
            .expect("it was registered"),
    )
}

/// Criteria, read as a server would read them.
fn criteria(body: &Value) -> Criteria {
    read_criteria(body.to_string().as_bytes()).expect("tests write criteria that are right")
}

fn of(policy: Policy) -> Criteria {
    Criteria {
        policy: Some(policy),
        ..Criteria::default()
    }
}

/// What the next selection by `criteria` gives, best first.
fn chosen(view: &ServiceView, criteria: &Criteria, seed: u64) -> Vec<String> {
    let variety = Variety {
        turn: view.next_turn(),
        seed,
    };
    let selection = select(view, criteria, variety, at(0));
    selection
        .chosen
        .iter()
        .map(|endpoint| endpoint.id.to_string())
        .collect()
}

/// How often each was the first of so many selections.
fn counts(view: &ServiceView, criteria: &Criteria, turns: u64) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for seed in 0..turns {
        let first = chosen(view, criteria, seed)
            .into_iter()
            .next()
            .expect("something is ready");
        *counts.entry(first).or_default() += 1;
    }
    counts
}

/// So seldom that nothing counts as flapping.
fn set_health(machine: &mut Machine, name: &str, health: Health) {
    machine.wait(600_000);
    let endpoint = machine
        .catalog
        .endpoint(&service("web"), &id(name))
        .cloned();
    machine.change(&report(&endpoint.expect("it is there"), 0, health, "seen"));
}

fn drain(machine: &mut Machine, name: &str) {
    machine.change(&Command::Drain {
        service: service("web"),
        id: id(name),
        wish: Some(DrainWish::default()),
    });
}

#[test]
fn round_robin_gives_everyone_the_same_number_of_turns() {
    let view = view(&equal(3));
    let counts = counts(&view, &of(Policy::RoundRobin), 300);
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [100, 100, 100]);
    let mut resolved: BTreeMap<&str, u64> = BTreeMap::new();
    for _ in 0..300 {
        *resolved
            .entry(view.next_ready().unwrap().id.as_str())
            .or_default() += 1;
    }
    assert_eq!(resolved.into_values().collect::<Vec<_>>(), [100, 100, 100]);
}

#[test]
fn round_robin_stays_fair_while_health_flips() {
    let mut machine = equal(3);
    let mut total: BTreeMap<String, u64> = BTreeMap::new();
    for flip in 0..50 {
        let health = if flip % 2 == 0 {
            Health::Unhealthy
        } else {
            Health::Healthy
        };
        set_health(&mut machine, "e1", health);
        let view = view(&machine);
        let ready = view.ready_count();
        assert_eq!(ready, if flip % 2 == 0 { 2 } else { 3 });
        // Between two flips, as many turns as there are ready ones give each exactly one.
        let counts = counts(&view, &of(Policy::RoundRobin), ready as u64);
        assert!(
            counts.values().all(|count| *count == 1) && counts.len() == ready,
            "{counts:?}"
        );
        for (name, count) in counts {
            *total.entry(name).or_default() += count;
        }
    }
    assert_eq!(total.into_values().collect::<Vec<_>>(), [50, 25, 50]);
}

#[test]
fn random_is_uniform() {
    let view = view(&equal(5));
    let counts = counts(&view, &of(Policy::Random), 10_000);
    let square = |count: &u64| (i64::try_from(*count).unwrap() - 2_000).pow(2);
    let chi_square_times_2000: i64 = counts.values().map(square).sum();
    // 18.47 is what four degrees of freedom pass once in a thousand seeds; the seeds are fixed.
    assert!(chi_square_times_2000 < 36_940, "{counts:?}");
}

#[test]
fn weighted_follows_the_weights() {
    let endpoints = [
        ("a", json!({"weight": 100})),
        ("b", json!({"weight": 200})),
        ("c", json!({"weight": 700})),
    ];
    let view = view(&machine_with(&endpoints));
    let counts = counts(&view, &of(Policy::Weighted), 10_000);
    for (name, expected) in [("a", 1_000), ("b", 2_000), ("c", 7_000)] {
        let off = counts[name].abs_diff(expected);
        assert!(off < 150, "{name}: {} instead of {expected}", counts[name]);
    }
}

#[test]
fn weight_zero_serves_only_when_nothing_else_does() {
    let mut machine = machine_with(&[("a", json!({"weight": 0})), ("b", json!({}))]);
    for policy in Policy::ALL {
        let criteria = Criteria {
            key: Some("k".into()),
            limit: 2,
            ..of(policy)
        };
        for seed in 0..20 {
            assert_eq!(
                chosen(&view(&machine), &criteria, seed),
                ["b", "a"],
                "{policy:?}"
            );
        }
    }
    set_health(&mut machine, "b", Health::Unhealthy);
    for policy in Policy::ALL {
        let criteria = Criteria {
            key: Some("k".into()),
            ..of(policy)
        };
        assert_eq!(chosen(&view(&machine), &criteria, 0), ["a"]);
    }
    assert_eq!(view(&machine).next_ready().unwrap().id, id("a"));
}

#[test]
fn least_loaded_takes_the_lowest_load_for_the_weight() {
    let endpoints = [
        ("a", json!({})),
        ("b", json!({"weight": 400})),
        ("c", json!({})),
    ];
    let view = view(&machine_with(&endpoints));
    for (endpoint, load) in view.endpoints.iter().zip([2.0, 4.0, 3.0]) {
        endpoint.pulse.report_load(load);
    }
    let criteria = Criteria {
        limit: 3,
        ..of(Policy::LeastLoaded)
    };
    assert_eq!(chosen(&view, &criteria, 0), ["b", "a", "c"]);
    // Who reports nothing is new, and is tried soon.
    let mut machine = machine_with(&endpoints);
    machine
        .catalog
        .endpoint(&service("web"), &id("a"))
        .unwrap()
        .pulse
        .report_load(0.1);
    set_health(&mut machine, "b", Health::Unhealthy);
    let view = self::view(&machine);
    assert_eq!(chosen(&view, &criteria, 0), ["c", "a"]);
}

#[test]
fn least_loaded_without_reports_evens_recent_selections_out() {
    let view = view(&machine_with(&[
        ("a", json!({})),
        ("b", json!({"weight": 300})),
    ]));
    let mut counts = BTreeMap::from([("a", 0), ("b", 0)]);
    // In the first seconds only `a` was selected; after ten more nobody remembers.
    for _ in 0..10 {
        view.endpoints[0].pulse.count_selection(at(0).moment);
    }
    for turn in 0..400 {
        let now = at(5_000);
        let variety = Variety { turn, seed: 0 };
        let selection = select(&view, &of(Policy::LeastLoaded), variety, now);
        let first = &selection.chosen[0];
        first.pulse.count_selection(now.moment);
        *counts.get_mut(first.id.as_str()).unwrap() += 1;
    }
    // 410 selections in all, one to three: `a` had ten of its 102 or 103 before.
    assert!((92..=93).contains(&counts["a"]), "{counts:?}");
    let later = select(
        &view,
        &of(Policy::LeastLoaded),
        Variety { turn: 0, seed: 0 },
        at(60_000),
    );
    assert_eq!(
        later.chosen[0].id,
        id("a"),
        "equally idle: whose turn it is"
    );
}

#[test]
fn rendezvous_keeps_a_key_where_it_is() {
    let mut machine = equal(10);
    let owner = |machine: &Machine, key: usize| {
        let criteria = Criteria {
            key: Some(format!("user-{key}")),
            ..of(Policy::Rendezvous)
        };
        let view = view(machine);
        let first = chosen(&view, &criteria, 1);
        assert_eq!(
            chosen(&view, &criteria, 2),
            first,
            "neither turn nor seed matter"
        );
        first
    };
    let before: Vec<_> = (0..2_000).map(|key| owner(&machine, key)).collect();
    set_health(&mut machine, "e3", Health::Unhealthy);
    let mut moved = 0;
    for (key, owned_by) in before.iter().enumerate() {
        let now = owner(&machine, key);
        if owned_by == &["e3"] {
            moved += 1;
            assert_ne!(now, *owned_by);
        } else {
            assert_eq!(now, *owned_by, "only the keys of what is gone move");
        }
    }
    assert!(
        (150..250).contains(&moved),
        "a tenth of the keys, not {moved}"
    );
    set_health(&mut machine, "e3", Health::Healthy);
    let after: Vec<_> = (0..2_000).map(|key| owner(&machine, key)).collect();
    assert_eq!(after, before, "and they come back");
}

#[test]
fn rendezvous_shares_keys_by_weight() {
    let view = view(&machine_with(&[
        ("a", json!({"weight": 100})),
        ("b", json!({"weight": 300})),
    ]));
    let owns = |name: &str| {
        let owned = |key: &i32| {
            let criteria = Criteria {
                key: Some(format!("user-{key}")),
                ..of(Policy::Rendezvous)
            };
            chosen(&view, &criteria, 0) == [name]
        };
        (0..4_000).filter(owned).count()
    };
    let owned = owns("a");
    assert!(
        (900..1_100).contains(&owned),
        "{owned} of 4000, not about 1000"
    );
}

#[test]
fn rendezvous_scores_are_the_same_in_every_release() {
    // Computed by another program from the words of the documentation. A client that computes them
    // itself, or an older server, must agree. `ln` may differ in the
    // last bit from machine to machine, which moves no key that is not a tie.
    for (key, id, weight, score) in [
        ("", "", 1, -0.81144402792534),
        ("user-1", "a", 100, -0.0011094590032203716),
        ("user-1", "b", 100, -0.003476055088490472),
        ("user-1", "b", 300, -0.0011586850294968238),
        ("user-2", "10.0.0.1:8080", 65_535, -3.048150813450531e-05),
        ("caf\u{e9}", "web-1.eu", 0, -1.2920015716393443),
    ] {
        let found = rendezvous_score(key, id, weight);
        assert!(
            (found - score).abs() <= score.abs() * 1e-14,
            "{key} {id} {weight}: {found:e}"
        );
    }
}

#[test]
fn the_unit_interval_is_open_at_both_ends() {
    for bits in [0, 1, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
        let unit = unit_interval(bits);
        assert!(0.0 < unit && unit < 1.0, "{bits}: {unit}");
    }
}

#[test]
fn each_criterion_lets_through_what_it_says() {
    let machine = machine_with(&[
        (
            "a",
            json!({"zone": "eu", "tags": ["x", "y"], "metadata": {"v": 1, "w": {"p": [1]}}}),
        ),
        (
            "b",
            json!({"zone": "us", "tags": ["x"], "environment": "docker", "ports": {"admin": 81}}),
        ),
        ("c", json!({"metadata": {"v": 1.5, "w": null}, "weight": 0})),
    ]);
    let view = view(&machine);
    for (body, expected) in [
        (json!({}), &["a", "b", "c"] as &[&str]),
        (json!({"metadata": {"v": 1}}), &["a"]),
        (json!({"metadata": {"v": 1.5}}), &["c"]),
        (json!({"metadata": {"w": {"p": [1]}}}), &["a"]),
        (json!({"metadata": {"w": null}}), &["c"]),
        (json!({"metadata": {"v": "1"}}), &[]),
        (json!({"metadata": {"v": 1, "z": 1}}), &[]),
        (json!({"tags": ["x"]}), &["a", "b"]),
        (json!({"tags": ["y", "x"]}), &["a"]),
        (json!({"tags": ["z"]}), &[]),
        (json!({"zone": "us"}), &["b", "a", "c"]),
        (json!({"zone": "us", "zone_strict": true}), &["b"]),
        (json!({"zone": "mars", "zone_strict": true}), &[]),
        (json!({"environment": "docker"}), &["b"]),
        (json!({"environment": "kubernetes"}), &[]),
        (json!({"exclude": ["a"]}), &["b", "c"]),
        (json!({"exclude": ["http://10.0.0.2:80", "c"]}), &["a"]),
        (
            json!({"exclude": ["A", "http://10.0.0.2:80/"]}),
            &["a", "b", "c"],
        ),
        (json!({"port": "admin"}), &["b"]),
        (json!({"port": "main"}), &["a", "b", "c"]),
        (json!({"port": "metrics"}), &[]),
    ] {
        let criteria = Criteria {
            limit: 10,
            ..criteria(&body)
        };
        let selection = select(&view, &criteria, Variety { turn: 0, seed: 0 }, at(0));
        let ids: Vec<&str> = selection.chosen.iter().map(|e| e.id.as_str()).collect();
        assert_eq!(ids, expected, "{body}");
        assert!(!selection.panic);
    }
}

#[test]
fn a_preferred_zone_comes_first_but_weight_zero_comes_last() {
    let machine = machine_with(&[
        ("a", json!({"zone": "eu"})),
        ("b", json!({"zone": "us", "weight": 0})),
        ("c", json!({"zone": "us"})),
        ("d", json!({"weight": 0})),
    ]);
    let criteria = Criteria {
        limit: 10,
        ..criteria(&json!({"zone": "us"}))
    };
    assert_eq!(chosen(&view(&machine), &criteria, 0), ["c", "a", "b", "d"]);
}

#[test]
fn an_override_counts_for_selection() {
    let mut machine = machine_with(&[
        ("a", json!({"zone": "eu", "tags": ["x"]})),
        ("b", json!({})),
    ]);
    let patch = br#"{"zone": "us", "tags": ["y"], "weight": 0, "metadata": {"v": 2}}"#;
    machine.change(&Command::Override {
        service: service("web"),
        id: id("a"),
        patch: hermes_core::wire::request::read_patch(patch).unwrap(),
    });
    let view = view(&machine);
    for (body, expected) in [
        (
            json!({"zone": "us", "zone_strict": true}),
            &["a"] as &[&str],
        ),
        (json!({"tags": ["x"]}), &[]),
        (json!({"tags": ["y"], "metadata": {"v": 2}}), &["a"]),
        (json!({"limit": 2}), &["b", "a"]),
    ] {
        assert_eq!(chosen(&view, &criteria(&body), 0), expected, "{body}");
    }
}

#[test]
fn only_with_fallback_any_do_not_ready_ones_serve_and_draining_ones_never() {
    let mut machine = equal(3);
    let any = criteria(&json!({"fallback": "any", "limit": 10}));
    let select_any = |machine: &Machine| {
        let selection = select(&view(machine), &any, Variety { turn: 0, seed: 0 }, at(0));
        let ids: Vec<String> = selection.chosen.iter().map(|e| e.id.to_string()).collect();
        (ids, selection.panic)
    };
    set_health(&mut machine, "e0", Health::Unhealthy);
    drain(&mut machine, "e1");
    assert_eq!(
        select_any(&machine),
        (vec!["e2".into()], false),
        "something is ready"
    );
    set_health(&mut machine, "e2", Health::Unknown);
    assert_eq!(select_any(&machine), (vec!["e0".into(), "e2".into()], true));
    assert!(chosen(&view(&machine), &criteria(&json!({})), 0).is_empty());
    drain(&mut machine, "e0");
    drain(&mut machine, "e2");
    assert_eq!(
        select_any(&machine),
        (vec![], false),
        "nobody serves, so nobody panics"
    );
}

#[test]
fn a_limit_gives_the_best_first_and_nobody_twice() {
    let view = view(&equal(5));
    for policy in Policy::ALL {
        let all = Criteria {
            key: Some("k".into()),
            limit: 100,
            ..of(policy)
        };
        for turn in 0..20 {
            let variety = Variety {
                turn,
                seed: turn as u64,
            };
            let ids = |limit: usize| {
                let criteria = Criteria {
                    limit,
                    ..all.clone()
                };
                let chosen = select(&view, &criteria, variety, at(0)).chosen;
                chosen.iter().map(|e| e.id.to_string()).collect::<Vec<_>>()
            };
            let everyone = ids(100);
            assert_eq!(
                everyone.iter().collect::<BTreeSet<_>>().len(),
                5,
                "{policy:?}"
            );
            for limit in 1..5 {
                assert_eq!(ids(limit), everyone[..limit], "{policy:?}");
            }
        }
    }
}
