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
async fn probes_spread_over_the_interval() {
    const ENDPOINTS: usize = 200;
    let world = World::start().await;
    let responder = Responder::start(well()).await;
    for endpoint in 0..ENDPOINTS {
        let check = of_path(endpoint, Duration::from_secs(1));
        world
            .register(&format!("a-{endpoint}"), at(responder.address, &[check]))
            .await;
    }
    responder.asked(4 * ENDPOINTS).await;
    let requests = responder.requests();
    let began = requests[0].0;
    // All were registered, and so probed, at once; what comes after that is spread.
    let mut tenths = [0usize; 10];
    for (at, _) in &requests[2 * ENDPOINTS..] {
        let millis = at.duration_since(began).as_millis();
        tenths[usize::try_from(millis / 100 % 10).unwrap()] += 1;
    }
    let busiest = tenths.iter().max().unwrap();
    assert!(
        *busiest < ENDPOINTS,
        "of {} in all: {tenths:?}",
        2 * ENDPOINTS
    );
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
    for endpoint in 0..ENDPOINTS {
        let check = of_path(endpoint, Duration::from_secs(1));
        world
            .register(&format!("a-{endpoint}"), at(responder.address, &[check]))
            .await;
    }
    // The first probe at once, then three seconds of one each.
    responder.asked(4 * ENDPOINTS).await;
    let stats = world.prober().stats();
    let mut counts: HashMap<String, usize> = HashMap::new();
    for (_, head) in responder.requests() {
        let path = head.split(' ').nth(1).unwrap().to_owned();
        *counts.entry(path).or_default() += 1;
    }
    assert_eq!((counts.len(), stats.targets), (ENDPOINTS, ENDPOINTS));
    let (least, most) = (
        counts.values().min().unwrap(),
        counts.values().max().unwrap(),
    );
    assert!(most - least <= 2, "{least} to {most} times; {stats:?}");
    assert!(stats.lateness_max < Duration::from_secs(1), "{stats:?}");
    assert!(stats.connections_kept <= 100, "{stats:?}");
}
