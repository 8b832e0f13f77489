//! Leases are exact: nobody goes before the TTL since the last accepted heartbeat, and whoever is
//! silent is gone within a second after it.

use std::sync::Arc;
use std::time::Duration;

use hermes_core::change::{ChangeKind, Revision};
use hermes_core::check::{Check, CheckKind};
use hermes_core::command::Report;
use hermes_core::endpoint::Registration;
use hermes_core::health::Health;
use hermes_core::name::{EndpointId, ServiceKey};
use hermes_core::rejection::Rejection;
use hermes_core::time::Moment;
use hermes_discovery::engine::{Config, Engine, Outcome, Refusal};
use tokio::task::{JoinHandle, JoinSet};

use crate::make::{
    alarm, asked, beat, deregister, drain, engine, engine_on, id, leased, moment, register,
    register_new, registration, seconds, seen, service, submit, tagged, until, within,
};
use crate::rigged::RiggedLog;

/// Whether a heartbeat was refused because its lease ran out.
pub(crate) fn is_gone(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::Rejected(Rejection::EndpointGone {
            by: ChangeKind::Expired,
            ..
        })
    )
}

/// Registers an endpoint, and asks for the same again while the expiry of its lease is being written.
/// The answer comes once the gate of the log is opened.
pub(crate) async fn asked_while_expiring(
    log: &RiggedLog,
    engine: &Engine,
    (service, id): (&ServiceKey, &EndpointId),
    lease: &Arc<Registration>,
) -> JoinHandle<Result<Outcome, Refusal>> {
    let request = register(service, id, lease);
    submit(engine, request.clone()).await.unwrap();
    log.close_gate();
    log.blocked().await;
    let refusal = beat(engine, service, id).unwrap_err();
    assert!(is_gone(&refusal), "{refusal}");
    asked(engine, request).await
}

#[tokio::test(start_paused = true)]
async fn a_late_heartbeat_is_told_that_the_endpoint_is_gone() {
    let _alarm = alarm();
    let engine = engine(Config::default()).await;
    let (web, one) = (service("web"), id("one"));
    let registered = submit(
        &engine,
        register(&web, &one, &leased(Duration::from_secs(10))),
    );
    registered.await.unwrap();

    until(&engine, 9_999).await;
    beat(&engine, &web, &one).unwrap();
    until(&engine, 19_998).await;
    assert!(seen(&engine, &web, &one).is_some());
    until(&engine, 21_000).await;
    assert!(seen(&engine, &web, &one).is_none());
    assert!(is_gone(&beat(&engine, &web, &one).unwrap_err()));

    let emptied = engine.catalog().service_at(&web).unwrap().emptied.unwrap();
    assert_eq!(emptied.by, ChangeKind::Expired);
    let again = submit(
        &engine,
        register(&web, &one, &leased(Duration::from_secs(10))),
    )
    .await;
    assert!(again.unwrap().registered);
    beat(&engine, &web, &one).unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_same_registration_again_renews_the_lease_and_changes_nothing() {
    let _alarm = alarm();
    let engine = engine(Config::default()).await;
    let (web, one) = (service("web"), id("one"));
    let ten_seconds = || leased(Duration::from_secs(10));
    submit(&engine, register(&web, &one, &ten_seconds()))
        .await
        .unwrap();
    let revision = engine.catalog().revision();
    for round in 1..=5 {
        until(&engine, round * 9_000).await;
        let outcome = submit(&engine, register(&web, &one, &ten_seconds()))
            .await
            .unwrap();
        assert_eq!((outcome.changed, outcome.registered), (false, false));
    }
    assert_eq!(engine.catalog().revision(), revision);
    assert_gone_between(&engine, &one, 55_000).await;
}

/// That `id` of the service web is there until its lease runs out, and gone within a second.
async fn assert_gone_between(engine: &Engine, id: &EndpointId, runs_until: u64) {
    let web = service("web");
    until(engine, runs_until - 1).await;
    assert!(
        seen(engine, &web, id).is_some(),
        "{id} went before {runs_until}"
    );
    until(engine, runs_until + 1_000).await;
    assert!(
        seen(engine, &web, id).is_none(),
        "{id} outlives {runs_until}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_registration_that_meets_its_own_expiry_begins_anew() {
    let _alarm = alarm();
    // Which of the two the writer hears of first is for it to choose; both must end well.
    for _ in 0..40 {
        let log = RiggedLog::new();
        let engine = engine_on(Config::default(), log.clone()).await;
        let (web, one, two) = (service("web"), id("one"), id("two"));
        let ten_seconds = leased(Duration::from_secs(10));
        let first = submit(&engine, register(&web, &one, &ten_seconds))
            .await
            .unwrap();

        // The same again arrives in time, but the writer is busy until the lease has run out.
        until(&engine, 9_900).await;
        log.close_gate();
        let other = asked(&engine, register(&web, &two, &tagged("other"))).await;
        log.blocked().await;
        let again = asked(&engine, register(&web, &one, &ten_seconds)).await;
        until(&engine, 10_500).await;
        log.open_gate();

        within("the answer", other).await.unwrap().unwrap();
        let outcome = within("the answer", again).await.unwrap().unwrap();
        let incarnation = |catalog: &hermes_core::catalog::Catalog| {
            catalog
                .endpoint(&web, &one)
                .map(|endpoint| endpoint.incarnation)
        };
        assert!(incarnation(&outcome.catalog) > incarnation(&first.catalog));
        assert_eq!((outcome.changed, outcome.registered), (true, true));
        let kinds: Vec<ChangeKind> = log
            .records()
            .iter()
            .map(|record| record.change.kind)
            .collect();
        let (registered, expired) = (ChangeKind::Registered, ChangeKind::Expired);
        assert_eq!(kinds, [registered, registered, expired, registered]);
        assert_gone_between(&engine, &one, 20_500).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_registration_that_comes_while_its_expiry_is_written_begins_anew() {
    let _alarm = alarm();
    let log = RiggedLog::new();
    let engine = engine_on(Config::default(), log.clone()).await;
    let (web, one) = (service("web"), id("one"));
    let ten_seconds = leased(Duration::from_secs(10));
    let again = asked_while_expiring(&log, &engine, (&web, &one), &ten_seconds).await;
    let begun_at = moment(&engine).0;
    log.open_gate();
    assert!(
        within("the answer", again)
            .await
            .unwrap()
            .unwrap()
            .registered
    );
    assert_gone_between(&engine, &one, begun_at + 10_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_registration_is_never_followed_by_an_expiry_within_the_ttl() {
    const TTL: Duration = Duration::from_millis(100);
    let _alarm = alarm();
    let engine = engine(Config::default()).await;
    let mut clients = JoinSet::new();
    for client in 0..100 {
        let engine = engine.clone();
        clients.spawn(async move {
            let (web, one) = (service("web"), id(&format!("c{client}")));
            let mut random = fastrand::Rng::new();
            for _ in 0..10 {
                let sent_at = moment(&engine);
                let outcome = engine
                    .submit(register(&web, &one, &leased(TTL)))
                    .await
                    .unwrap();
                let incarnation = outcome.catalog.endpoint(&web, &one).map(|e| e.incarnation);
                // The lease runs at least until here, whichever of the two acknowledged it.
                tokio::time::sleep(Duration::from_micros(random.u64(80_000..120_000))).await;
                let now_seen = seen(&engine, &web, &one).map(|e| e.incarnation);
                if moment(&engine) < sent_at.after(TTL) {
                    assert_eq!(now_seen, incarnation);
                }
            }
        });
    }
    within("the clients", clients.join_all()).await;
}

#[tokio::test(start_paused = true)]
async fn static_endpoints_never_expire() {
    let _alarm = alarm();
    let engine = engine(Config::default()).await;
    let (web, one) = (service("web"), id("one"));
    submit(&engine, register(&web, &one, &tagged("static")))
        .await
        .unwrap();
    let a_year = 365 * 24 * 60 * 60 * 1_000;
    until(&engine, a_year).await;
    assert!(seen(&engine, &web, &one).is_some());
    beat(&engine, &web, &one).expect("a heartbeat does no harm");
}

#[tokio::test(start_paused = true)]
async fn another_ttl_counts_from_the_registration_that_brings_it() {
    let _alarm = alarm();
    // TTL before, TTL after, and when the second registration comes. All in seconds.
    let stories = [
        (seconds(30), seconds(5), 10),
        (seconds(5), seconds(30), 4),
        (seconds(30), seconds(60), 29),
        (seconds(10), None, 9),
        (None, seconds(10), 100),
        (None, seconds(1), 1),
    ];
    for (before, after, at) in stories {
        let engine = engine(Config::default()).await;
        let (web, one) = (service("web"), id("one"));
        let first = submit(
            &engine,
            register(&web, &one, &Arc::new(registration(before))),
        );
        let incarnation = first.await.unwrap().catalog.revision();
        until(&engine, at * 1_000).await;
        let second = submit(
            &engine,
            register(&web, &one, &Arc::new(registration(after))),
        );
        let outcome = second.await.unwrap();
        assert_eq!((outcome.changed, outcome.registered), (true, false));
        assert_eq!(seen(&engine, &web, &one).unwrap().incarnation, incarnation);
        match after {
            Some(ttl) => assert_gone_between(&engine, &one, Moment(at * 1_000).after(ttl).0).await,
            None => {
                until(&engine, 1_000_000).await;
                assert!(seen(&engine, &web, &one).is_some());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_incarnation_begins_with_a_whole_lease() {
    let _alarm = alarm();
    let engine = engine(Config::default()).await;
    let (web, one, two) = (service("web"), id("one"), id("two"));
    let shared: Arc<Registration> = leased(Duration::from_secs(10));
    for id in [&one, &two] {
        submit(&engine, register(&web, id, &shared)).await.unwrap();
    }
    until(&engine, 9_000).await;
    // Both say that they are new; one of them has kept what it registered, and sends the very same.
    let equal = leased(Duration::from_secs(10));
    for (id, registration) in [(&one, &equal), (&two, &shared)] {
        let outcome = submit(&engine, register_new(&web, id, registration))
            .await
            .unwrap();
        assert!(outcome.registered);
    }
    until(&engine, 18_999).await;
    assert!(seen(&engine, &web, &one).is_some());
    assert!(seen(&engine, &web, &two).is_some());
    assert_gone_between(&engine, &two, 19_000).await;
}

#[tokio::test(start_paused = true)]
async fn changes_of_others_do_not_renew_a_lease() {
    let _alarm = alarm();
    let engine = engine(Config::default()).await;
    let (web, one) = (service("web"), id("one"));
    submit(
        &engine,
        register(&web, &one, &leased(Duration::from_secs(10))),
    )
    .await
    .unwrap();
    until(&engine, 9_000).await;
    submit(&engine, drain(&web, &one)).await.unwrap();
    assert_gone_between(&engine, &one, 10_000).await;
}

/// Stops an engine and starts another on the same log, with a clock of its own.
async fn restarted(engine: Engine, log: &RiggedLog) -> Engine {
    engine.stop();
    drop(engine);
    engine_on(Config::default(), log.clone()).await
}

#[tokio::test(start_paused = true)]
async fn a_restart_gives_every_lease_another_ttl() {
    let _alarm = alarm();
    let log = RiggedLog::new();
    let engine = engine_on(Config::default(), log.clone()).await;
    let (web, one, gone) = (service("web"), id("one"), id("gone"));
    for id in [&one, &gone] {
        submit(
            &engine,
            register(&web, id, &leased(Duration::from_secs(10))),
        )
        .await
        .unwrap();
    }
    submit(&engine, deregister(&web, &gone)).await.unwrap();
    until(&engine, 9_000).await;

    let engine = restarted(engine, &log).await;
    assert!(is_removed_by(
        &engine,
        &web,
        &gone,
        ChangeKind::Deregistered
    ));
    assert_gone_between(&engine, &one, 10_000).await;

    let engine = restarted(engine, &log).await;
    assert!(is_removed_by(&engine, &web, &one, ChangeKind::Expired));
}

/// Whether a heartbeat is told that the endpoint was removed in this way.
fn is_removed_by(engine: &Engine, service: &ServiceKey, id: &EndpointId, kind: ChangeKind) -> bool {
    matches!(
        beat(engine, service, id),
        Err(Refusal::Rejected(Rejection::EndpointGone { by, .. })) if by == kind
    )
}

#[tokio::test(start_paused = true)]
async fn a_lease_begins_when_the_engine_can_be_reached_however_long_the_log_is() {
    let _alarm = alarm();
    let log = RiggedLog::new();
    let engine = engine_on(Config::default(), log.clone()).await;
    let (web, one) = (service("web"), id("one"));
    submit(
        &engine,
        register(&web, &one, &leased(Duration::from_secs(10))),
    )
    .await
    .unwrap();

    log.read_slowly(Duration::from_secs(60));
    let engine = restarted(engine, &log).await;
    let reachable_at = moment(&engine).0;
    assert!(reachable_at >= 60_000);
    assert_gone_between(&engine, &one, reachable_at + 10_000).await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_keeps_health_and_incarnation() {
    let _alarm = alarm();
    let log = RiggedLog::new();
    let engine = engine_on(Config::default(), log.clone()).await;
    let (web, one) = (service("web"), id("one"));
    let check = Arc::new(Check::new(CheckKind::Tcp));
    let checked = Registration {
        checks: vec![Check::clone(&check)],
        ..registration(seconds(10))
    };
    submit(&engine, register(&web, &one, &Arc::new(checked)))
        .await
        .unwrap();
    let incarnation = seen(&engine, &web, &one).unwrap().incarnation;
    for health in [Health::Healthy, Health::Unhealthy] {
        let report = Report {
            service: web.clone(),
            id: one.clone(),
            incarnation,
            check: Arc::clone(&check),
            health,
            evidence: "seen".into(),
        };
        within("the report", engine.report(report)).await.unwrap();
    }
    let before = seen(&engine, &web, &one).unwrap();
    assert_eq!(before.state.health(), Health::Unhealthy);

    let engine = restarted(engine, &log).await;
    let after = seen(&engine, &web, &one).unwrap();
    assert_eq!(after.state, before.state);
    assert_eq!(
        (after.incarnation, after.revision),
        (incarnation, Revision(3))
    );
}
