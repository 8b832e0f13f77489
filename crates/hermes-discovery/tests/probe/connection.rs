//! Connections are kept between probes, and may go stale meanwhile.

use std::time::Duration;

use hermes_discovery::probe::Config;

use super::responder::{Answer, Responder, http, well};
use super::world::{World, at, http_kind, often, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_serves_many_probes() {
    let mut world = World::start().await;
    let responder = Responder::start(well()).await;
    world
        .register("a", at(responder.address, &[often(http_kind())]))
        .await;
    world.healthy("a").await;
    responder.asked(30).await;
    assert_eq!(responder.accepted(), 1);
    assert!(world.prober().stats().connections_kept <= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_went_stale_is_no_failure() {
    let mut world = World::start().await;
    let answer = Answer::OncePerConnection(http(200, "well"));
    let responder = Responder::start(answer).await;
    world
        .register("a", at(responder.address, &[often(http_kind())]))
        .await;
    world.healthy("a").await;
    responder.asked(30).await;
    assert!(responder.accepted() >= 15);
    assert_eq!(world.verdict_count().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_closed_after_the_answer_is_no_failure() {
    let mut world = World::start().await;
    let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let responder = Responder::start(Answer::RawThenClose(answer.to_vec())).await;
    world
        .register("a", at(responder.address, &[often(http_kind())]))
        .await;
    world.healthy("a").await;
    responder.asked(20).await;
    // One by one: each was asked over a connection of its own, and none twice.
    let (requests, accepted) = (responder.request_count(), responder.accepted());
    assert!(
        accepted.abs_diff(requests) <= 1,
        "{accepted} for {requests}"
    );
    assert_eq!(world.verdict_count().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_on_which_silence_fell_is_tried_anew_before_it_counts() {
    let mut world = World::start().await;
    let responder = Responder::start(well()).await;
    let check = hermes_core::check::Check {
        interval: Duration::from_secs(4),
        timeout: Duration::from_secs(1),
        attempts: 1,
        ..often(http_kind())
    };
    world.register("a", at(responder.address, &[check])).await;
    world.healthy("a").await;
    responder.now(Answer::Silence);
    // The kept connection, then a new one: only the second silence counts.
    assert_eq!(world.unhealthy("a").await, "no answer within 1 s");
    assert_eq!(responder.accepted(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_connections_are_kept_than_may_be() {
    let config = Config {
        kept_connections_max: 3,
        ..Config::default()
    };
    let mut world = World::with(config).await;
    let responder = Responder::start(well()).await;
    for endpoint in 0..10 {
        let name = format!("a-{endpoint}");
        world
            .register(&name, at(responder.address, &[often(http_kind())]))
            .await;
        world.healthy(&name).await;
    }
    for round in 1..20 {
        responder.asked(round * 10).await;
        assert!(world.prober().stats().connections_kept <= 3);
    }
    assert!(
        responder.accepted() > 20,
        "most probes needed a new connection"
    );
    assert_eq!(world.verdict_count().await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_end_with_their_target_and_with_the_prober() {
    let mut world = World::start().await;
    let responder = Responder::start(well()).await;
    let closed = || {
        within("the connections to be closed", async {
            while responder.open() > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
    };
    let registration = at(responder.address, &[often(http_kind())]);
    world.register("a", registration.clone()).await;
    world.healthy("a").await;
    world
        .submit(hermes_core::command::Command::Deregister {
            service: super::world::service(),
            id: super::world::id("a"),
            incarnation: None,
        })
        .await;
    closed().await;

    world.register("a", registration).await;
    world.healthy("a").await;
    world.prober.take();
    closed().await;
}
