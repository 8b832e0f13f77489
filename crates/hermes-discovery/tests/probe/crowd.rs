//! Many endpoints, slow ones among them.

use std::collections::HashMap;
use std::time::Duration;

use hermes_core::check::{Check, CheckKind, HttpCheck};
use hermes_discovery::probe::Config;

use super::responder::{Answer, Responder, http, well};
use super::world::{World, at, http_kind, often, once, within};

/// A check of a path of its own, so that the responder can tell who is meant.
fn of_path(endpoint: usize, interval: Duration) -> Check {
    Check {
        interval,
        ..often(CheckKind::Http(HttpCheck {
            path: format!("/{endpoint}"),
            ..HttpCheck::default()
        }))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_probes_are_under_way_than_may_be_and_the_rest_wait_in_order() {
    let config = Config {
        concurrency: 4,
        ..Config::default()
    };
    let mut world = World::with(config).await;
    let responder = Responder::start(Answer::WhenReleased(http(200, ""))).await;
    for endpoint in 0..40 {
        let check = Check {
            timeout: Duration::from_secs(60),
            ..of_path(endpoint, Duration::from_secs(3_600))
        };
        world
            .register(&format!("a-{endpoint}"), at(responder.address, &[check]))
            .await;
    }
    for answered in 0..=36 {
        responder.asked(answered + 4).await;
        assert_eq!(world.prober().stats().started, answered as u64 + 4);
        responder.release(1);
    }
    responder.release(3);
    for endpoint in 0..40 {
        let name = format!("a-{endpoint}");
        within(&name, async {
            while !world.endpoint(&name).is_ready() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }
    assert_eq!(responder.pending_most(), 4);
    // In order: nobody is asked before one that registered four places earlier.
    let order: Vec<usize> = responder
        .requests()
        .iter()
        .map(|(_, head)| head[5..].split(' ').next().unwrap().parse().unwrap())
        .collect();
    for (at, endpoint) in order.iter().enumerate() {
        assert!(at.abs_diff(*endpoint) < 4, "{order:?}");
    }
    assert_eq!(world.verdict_count().await, 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_endpoints_delay_nobody_below_the_bound() {
    let config = Config {
        concurrency: 20,
        ..Config::default()
    };
    let mut world = World::with(config).await;
    let slow = Responder::start(Answer::Silence).await;
    let quick = Responder::start(well()).await;
    for endpoint in 0..19 {
        let check = Check {
            timeout: Duration::from_secs(60),
            ..once(http_kind())
        };
        world
            .register(&format!("slow-{endpoint}"), at(slow.address, &[check]))
            .await;
    }
    slow.asked(19).await;
    world
        .register("quick", at(quick.address, &[often(http_kind())]))
        .await;
    world.healthy("quick").await;
    quick.asked(50).await;
    assert_eq!(slow.request_count(), 19, "and none is probed twice at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_endpoints_none_is_forgotten() {
    const ENDPOINTS: usize = 1_000;
    let config = Config {
        kept_connections_max: 100,
        ..Config::default()
    };
    let world = World::with(config).await;
    let responder = Responder::start(well()).await;
    let registrations = (0..ENDPOINTS).map(|endpoint| {
        let check = of_path(endpoint, Duration::from_secs(2));
        (format!("a-{endpoint}"), at(responder.address, &[check]))
    });
    world.register_all(registrations).await;
    // The first probe at once, then one in each of two intervals.
    let (mut probes, mut seen) = (HashMap::<String, usize>::new(), 0);
    within("three probes of each endpoint", async {
        while probes.len() < ENDPOINTS || probes.values().any(|count| *count < 3) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            for (_, head) in responder.requests_after(seen) {
                let path = head.split(' ').nth(1).unwrap().to_owned();
                *probes.entry(path).or_default() += 1;
                seen += 1;
            }
        }
    })
    .await;
    let stats = world.prober().stats();
    assert_eq!(stats.targets, ENDPOINTS);
    assert!(stats.connections_kept <= 100, "{stats:?}");
    // A machine that is too slow leaves out probes, but of all endpoints alike.
    let most = probes.values().max().unwrap();
    assert!(*most <= 8, "{most} probes of one, {stats:?}");
}

/// A world in which time only passes while nobody has anything to do, with so many endpoints that
/// are probed every second without a socket.
async fn quiet_world(endpoints: usize) -> World {
    let world = World::start().await;
    let nobody = "127.0.0.1:1".parse().unwrap();
    let check = Check {
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(3_600),
        ..Check::new(CheckKind::Heartbeat)
    };
    let registrations = (0..endpoints).map(|endpoint| {
        let check = check.clone();
        (format!("a-{endpoint}"), at(nobody, &[check]))
    });
    world.register_all(registrations).await;
    world.probed(endpoints as u64).await;
    world
}

#[tokio::test(start_paused = true)]
async fn no_probe_is_left_out_and_none_is_late() {
    let world = quiet_world(1_000).await;
    let before = world.prober().stats().started;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let stats = world.prober().stats();
    let probes = stats.started - before;
    // What is due just before either end comes out of the queue up to 16 ms after it.
    assert!(probes.abs_diff(60_000) < 50, "{probes} probes");
    assert!(stats.lateness_max <= Duration::from_millis(16), "{stats:?}");
    assert!(stats.lateness_sum >= stats.lateness_max);
}

#[tokio::test(start_paused = true)]
async fn probes_spread_over_the_interval() {
    let world = quiet_world(1_000).await;
    let mut tenths = Vec::new();
    for _ in 0..10 {
        let before = world.prober().stats().started;
        tokio::time::sleep(Duration::from_millis(100)).await;
        tenths.push(world.prober().stats().started - before);
    }
    assert!(
        tenths.iter().all(|count| (60..140).contains(count)),
        "{tenths:?}"
    );
}
