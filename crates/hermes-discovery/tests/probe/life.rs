//! From registration to removal, and what is told of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hermes_core::check::{Check, CheckKind, HttpCheck};
use hermes_core::command::Claim;
use hermes_core::health::Health;
use hermes_core::wire::request::Heartbeat;
use hermes_discovery::probe::{Config, Prober};
use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};

use super::responder::{Answer, Responder, http, well};
use super::world::{World, at, http_kind, id, nobody_listens, often, once, service, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_dies_is_unhealthy_until_it_is_back() {
    let mut world = World::start().await;
    let responder = Responder::start(well()).await;
    world
        .register("a", at(responder.address, &[often(http_kind())]))
        .await;
    world.healthy("a").await;
    assert!(world.endpoint("a").is_ready());
    responder.die().await;
    let said = world.unhealthy("a").await;
    assert!(nobody_listens(&said), "{said}");
    assert!(!world.endpoint("a").is_ready());
    responder.come_back().await;
    world.healthy("a").await;
    assert!(world.endpoint("a").is_ready());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_registered_is_probed_at_once() {
    let mut world = World::start().await;
    let responder = Responder::start(well()).await;
    assert_eq!(world.verdict_count().await, 0);
    world
        .register("a", at(responder.address, &[once(http_kind())]))
        .await;
    world.healthy("a").await;
    let probed = world.prober().times(&service(), &id("a"), "http").last;
    assert!(probed.is_some_and(|at| at.0 > 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_that_is_changed_is_probed_at_once() {
    let mut world = World::start().await;
    let responder = Responder::start(well()).await;
    world
        .register("a", at(responder.address, &[once(http_kind())]))
        .await;
    world.healthy("a").await;
    let changed = once(CheckKind::Http(HttpCheck {
        path: "/other".into(),
        ..HttpCheck::default()
    }));
    world.register("a", at(responder.address, &[changed])).await;
    responder.asked(2).await;
    assert!(responder.requests()[1].1.starts_with("GET /other "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_known_before_the_prober_is_probed_too() {
    let mut world = World::start().await;
    world.prober.take();
    let responder = Responder::start(well()).await;
    world
        .register("a", at(responder.address, &[once(http_kind())]))
        .await;
    world.prober = Some(Prober::start(world.engine.clone(), Config::default()).unwrap());
    world.healthy("a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_incarnation_gets_no_verdict_of_the_old_one() {
    let mut world = World::start().await;
    let old = Responder::start(Answer::WhenReleased(http(500, ""))).await;
    let new = Responder::start(well()).await;
    world
        .register("a", at(old.address, &[often(http_kind())]))
        .await;
    old.asked(1).await;
    world
        .register("a", at(new.address, &[often(http_kind())]))
        .await;
    world.healthy("a").await;
    old.release(1);
    within("the old probe to end", async {
        while old.open() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    new.asked(new.request_count() + 3).await;
    assert_eq!(world.verdict_count().await, 1);
    assert_eq!(old.request_count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_is_reported_once_and_failing_removes_nobody() {
    let mut world = World::start().await;
    let responder = Responder::start(Answer::Raw(http(500, ""))).await;
    world
        .register("a", at(responder.address, &[often(http_kind())]))
        .await;
    world.unhealthy("a").await;
    responder.asked(20).await;
    responder.now(well());
    world.healthy("a").await;
    let asked = responder.request_count();
    responder.asked(asked + 20).await;
    assert_eq!(world.verdict_count().await, 2);
    assert_eq!(world.endpoint("a").state.health(), Health::Healthy);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_failed_is_made_again_with_the_next_result() {
    let mut world = World::start().await;
    let responder = Responder::start(well()).await;
    world
        .register("a", at(responder.address, &[often(http_kind())]))
        .await;
    world.healthy("a").await;
    world.log_refuses(true);
    responder.now(Answer::Raw(http(500, "")));
    let asked = responder.request_count();
    responder.asked(asked + 5).await;
    assert!(world.engine.log_lost_at().is_some());
    assert_eq!(world.endpoint("a").state.health(), Health::Healthy);
    world.log_refuses(false);
    world.unhealthy("a").await;
    assert_eq!(world.verdict_count().await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rise_and_fall_ask_for_results_in_a_row() {
    let mut world = World::start().await;
    let responder = Responder::start(well()).await;
    let check = Check {
        rise: 5,
        fall: 4,
        ..often(http_kind())
    };
    world.register("a", at(responder.address, &[check])).await;
    world.healthy("a").await;
    assert!(responder.request_count() >= 5);
    responder.now(Answer::Raw(http(500, "")));
    let before = responder.request_count();
    world.unhealthy("a").await;
    assert!(responder.request_count() >= before + 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_in_the_grace_period_do_not_count() {
    let mut world = World::start().await;
    let responder = Responder::start(Answer::Raw(http(500, ""))).await;
    let check = Check {
        grace: Duration::from_secs(3_600),
        ..often(http_kind())
    };
    world.register("a", at(responder.address, &[check])).await;
    responder.asked(10).await;
    assert_eq!(world.verdict_count().await, 0);
    assert_eq!(world.endpoint("a").state.health(), Health::Unknown);
    responder.now(well());
    world.healthy("a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_unhealthy_where_heartbeats_are_expected() {
    let mut world = World::start().await;
    let check = Check {
        interval: Duration::from_millis(20),
        timeout: Duration::from_millis(150),
        ..Check::new(CheckKind::Heartbeat)
    };
    let nobody = "127.0.0.1:1".parse().unwrap();
    world.register("a", at(nobody, &[check])).await;
    for _ in 0..2 {
        let said = world.unhealthy("a").await;
        assert!(said.starts_with("no heartbeat for "), "{said}");
        let (service, id, heartbeat) = (service(), id("a"), Heartbeat::default());
        let beat = world
            .engine
            .heartbeat(&service, &id, &heartbeat, &Claim::Free);
        beat.await.unwrap();
        world.healthy("a").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_sends_heartbeats_is_left_alone() {
    let mut world = World::start().await;
    let check = Check {
        interval: Duration::from_millis(10),
        timeout: Duration::from_secs(3_600),
        ..Check::new(CheckKind::Heartbeat)
    };
    let nobody = "127.0.0.1:1".parse().unwrap();
    world.register("a", at(nobody, &[check])).await;
    world.probed(20).await;
    assert_eq!(world.verdict_count().await, 0);
}

#[tokio::test(start_paused = true)]
async fn silence_from_before_the_prober_listened_does_not_count() {
    let mut world = World::start().await;
    world.prober.take();
    let check = Check {
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(10),
        ..Check::new(CheckKind::Heartbeat)
    };
    let nobody = "127.0.0.1:1".parse().unwrap();
    world.register("a", at(nobody, &[check])).await;
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let began = Instant::now();
    world.prober = Some(Prober::start(world.engine.clone(), Config::default()).unwrap());
    let said = world.unhealthy("a").await;
    assert!(said.starts_with("no heartbeat for 1"), "{said}");
    let waited = began.elapsed();
    assert!((10..13).contains(&waited.as_secs()), "{waited:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_prober_ends_with_its_engine() {
    let mut world = World::start().await;
    let (slow, well) = (
        Responder::start(Answer::Silence).await,
        Responder::start(well()).await,
    );
    world
        .register("slow", at(slow.address, &[often(http_kind())]))
        .await;
    world
        .register("well", at(well.address, &[often(http_kind())]))
        .await;
    world.healthy("well").await;
    slow.asked(1).await;
    world.engine.stop();
    let prober = world.prober.as_mut().unwrap();
    within("the prober to end", prober.ended()).await;
    within("the prober to have ended", prober.ended()).await;
    within("the connections to be closed", async {
        while slow.open() + well.open() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// Keeps what is told at INFO and above, by all tests of this binary: which callsites are listened to
/// is decided for the whole process.
#[derive(Clone)]
struct Listener(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("hermes") && *metadata.level() <= Level::INFO
    }
    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _span: &Id, _values: &Record<'_>) {}
    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_edge_is_told_once_the_first_result_among_them() {
    let listener = Listener(Arc::default());
    tracing::subscriber::set_global_default(listener.clone()).unwrap();
    let mut world = World::start().await;
    let responder = Responder::start(Answer::Raw(http(500, ""))).await;
    world
        .register("told", at(responder.address, &[often(http_kind())]))
        .await;
    world.unhealthy("told").await;
    responder.asked(10).await;
    responder.now(well());
    world.healthy("told").await;
    let asked = responder.request_count();
    responder.asked(asked + 10).await;
    let mut lines = listener.0.lock().unwrap().clone();
    lines.retain(|line| line.contains(" id=told"));
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (line, level, message) in [
        (&lines[0], "WARN", "endpoint is unhealthy"),
        (&lines[1], "INFO", "endpoint is now healthy"),
    ] {
        assert!(line.starts_with(level) && line.contains(message), "{line}");
        for field in [
            " service=web",
            " check=http",
            " evidence=\"GET /health answered ",
        ] {
            assert!(line.contains(field), "{line}");
        }
    }
}
