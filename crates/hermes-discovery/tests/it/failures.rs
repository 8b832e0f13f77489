//! When the log fails: everyone is told, nothing changes, nothing expires, and it ends by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hermes_core::change::{Change, ChangeKind};
use hermes_core::check::{Check, CheckKind};
use hermes_core::command::{Claim, Report};
use hermes_core::endpoint::Registration;
use hermes_core::health::Health;
use hermes_core::name::EndpointId;
use hermes_discovery::engine::{Config, Engine, Event, Interest, Refusal, Resume};
use tokio::task::JoinSet;

use crate::leases::asked_while_expiring;
use crate::make::{
    alarm, asked, beat, deregister, drain, engine, engine_on, forget, id, leased, listed, moment,
    register, registration, seconds, seen, service, submit, tagged, until, within,
};
use crate::rigged::RiggedLog;

fn is_log_unavailable(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::LogUnavailable(_))
}

/// An engine on a rigged log, with a few static endpoints of the service web.
async fn rigged_with(ids: &[&str]) -> (RiggedLog, Engine) {
    let log = RiggedLog::new();
    let engine = engine_on(Config::default(), log.clone()).await;
    for text in ids {
        let request = register(&service("web"), &id(text), &tagged("first"));
        submit(&engine, request).await.unwrap();
    }
    (log, engine)
}

#[tokio::test(start_paused = true)]
async fn everyone_in_the_batch_is_told_and_nothing_changes() {
    let _alarm = alarm();
    let (log, engine) = rigged_with(&["one", "two", "three"]).await;
    let (web, api) = (service("web"), service("api"));
    let mut watcher = engine.watch(Interest::everything(), Resume::Fresh).unwrap();
    while !matches!(watcher.next().await, Event::Synced(_)) {}
    let (before, appends) = (engine.catalog_kept(), log.appends());
    assert_eq!(engine.log_lost_at(), None);

    until(&engine, 10_000).await;
    log.close_gate();
    let mut answers = vec![asked(&engine, drain(&web, &id("three"))).await];
    log.blocked().await;
    answers.push(asked(&engine, register(&web, &id("one"), &tagged("second"))).await);
    answers.push(asked(&engine, deregister(&web, &id("two"))).await);
    answers.push(asked(&engine, register(&api, &id("one"), &tagged("first"))).await);
    answers.push(asked(&engine, forget(&service("web"))).await);
    log.lose();
    log.open_gate();
    for answer in answers {
        let refusal = within("the answer", answer).await.unwrap().unwrap_err();
        assert!(is_log_unavailable(&refusal), "{refusal}");
        assert!(
            refusal.to_string().contains("the story says so"),
            "{refusal}"
        );
    }
    assert_eq!(
        log.appends() - appends,
        3,
        "one alone, then a batch, then what waited for it"
    );
    assert_eq!(engine.log_lost_at(), Some(moment(&engine)));
    assert_eq!(listed(&engine.catalog()), listed(&before));
    assert_eq!(engine.catalog().revision(), before.revision());

    // It is lost since the first failure, not since the last.
    until(&engine, 15_000).await;
    let refusal = submit(&engine, drain(&web, &id("one"))).await.unwrap_err();
    assert!(is_log_unavailable(&refusal));
    assert_eq!(engine.log_lost_at().map(|at| at.0), Some(10_000));
    while moment(&engine).0 < 30_000 {
        let event = watcher.next().await;
        assert!(
            matches!(event, Event::Progress(at) if at == before.revision()),
            "{event:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn it_recovers_without_a_restart() {
    let _alarm = alarm();
    let (log, engine) = rigged_with(&["one"]).await;
    let web = service("web");
    for _ in 0..3 {
        log.lose();
        let refusal = submit(&engine, drain(&web, &id("one"))).await.unwrap_err();
        assert!(is_log_unavailable(&refusal) && engine.log_lost_at().is_some());
        log.recover();
        assert!(
            submit(&engine, drain(&web, &id("one")))
                .await
                .unwrap()
                .changed
        );
        assert_eq!(engine.log_lost_at(), None);
        submit(&engine, deregister(&web, &id("one"))).await.unwrap();
        submit(&engine, register(&web, &id("one"), &tagged("again")))
            .await
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_changes_nothing_is_answered_without_a_log() {
    let _alarm = alarm();
    let (log, engine) = rigged_with(&["one"]).await;
    let web = service("web");
    log.lose();
    let same = submit(&engine, register(&web, &id("one"), &tagged("first")))
        .await
        .unwrap();
    assert!(!same.changed);
    beat(&engine, &web, &id("one")).unwrap();
    assert!(
        submit(&engine, drain(&web, &id("none")))
            .await
            .is_err_and(|e| !is_log_unavailable(&e))
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_expires_while_the_log_is_lost_and_heartbeats_go_on() {
    let _alarm = alarm();
    let (log, engine) = rigged_with(&[]).await;
    let (web, beating, silent) = (service("web"), id("beating"), id("silent"));
    for id in [&beating, &silent] {
        submit(&engine, register(&web, id, &leased(Duration::from_secs(5))))
            .await
            .unwrap();
    }
    until(&engine, 4_000).await;
    log.lose();
    let revision = engine.catalog().revision();
    // Its own expiry is tried, fails, and is tried again, about once a second.
    for second in 5..=60 {
        until(&engine, second * 1_000 + 500).await;
        assert_eq!(engine.catalog().revision(), revision);
        beat(&engine, &web, &beating).expect("the lease is open while nothing is written");
    }
    assert!(engine.log_lost_at().is_some());
    let tries = log.appends();
    assert!((50..80).contains(&tries), "{tries} tries in a minute");

    log.recover();
    until(&engine, 62_000).await;
    assert_eq!(engine.log_lost_at(), None, "the expiry was written");
    assert!(seen(&engine, &web, &silent).is_none());
    until(&engine, 65_499).await;
    assert!(
        seen(&engine, &web, &beating).is_some(),
        "it was heard from at 60.5"
    );
    until(&engine, 66_500).await;
    assert!(seen(&engine, &web, &beating).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_closed_while_its_expiry_is_written_and_opens_when_it_cannot_be() {
    let _alarm = alarm();
    let (log, engine) = rigged_with(&[]).await;
    let (web, one) = (service("web"), id("one"));
    let five_seconds = leased(Duration::from_secs(5));
    let again = asked_while_expiring(&log, &engine, (&web, &one), &five_seconds).await;
    until(&engine, 9_000).await;
    log.lose();
    log.open_gate();
    // The expiry did not happen, so this only renews.
    let outcome = within("the answer", again).await.unwrap().unwrap();
    assert!(!outcome.changed);
    beat(&engine, &web, &one).unwrap();
    log.recover();
    until(&engine, 13_999).await;
    assert!(seen(&engine, &web, &one).is_some());
    until(&engine, 15_000).await;
    assert!(seen(&engine, &web, &one).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_full_lane_refuses_and_leaves_nothing_half_done() {
    let _alarm = alarm();
    let log = RiggedLog::new();
    let config = Config {
        requests_max: 4,
        ..Config::default()
    };
    let engine = engine_on(config, log.clone()).await;
    let web = service("web");
    let request = |number: u32| register(&web, &id(&format!("e{number}")), &tagged("x"));
    log.close_gate();
    let mut answers = vec![asked(&engine, request(0)).await];
    log.blocked().await;
    for number in 1..=4 {
        answers.push(asked(&engine, request(number)).await);
    }
    for number in 5..8 {
        let refusal = submit(&engine, request(number)).await.unwrap_err();
        assert_eq!(refusal, Refusal::Overloaded { waiting: 4 });
    }
    // Heartbeats, reads and reports have ways of their own.
    assert_eq!(engine.catalog().service_count(), 0);

    log.open_gate();
    for answer in answers {
        assert!(
            within("the answer", answer)
                .await
                .unwrap()
                .unwrap()
                .registered
        );
    }
    let ids: Vec<EndpointId> = listed(&engine.catalog())
        .into_iter()
        .map(|(_, id, _)| id)
        .collect();
    assert_eq!(ids, ["e0", "e1", "e2", "e3", "e4"].map(id));
    assert_eq!(log.records().len(), 5);
    assert!(submit(&engine, request(5)).await.unwrap().registered);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_requests_takes_no_room_from_reports_and_expiries() {
    let _alarm = alarm();
    let log = RiggedLog::new();
    let config = Config {
        requests_max: 1,
        ..Config::default()
    };
    let engine = engine_on(config, log.clone()).await;
    let (web, one, two) = (service("web"), id("one"), id("two"));
    let check = Check::new(CheckKind::Tcp);
    let checked = Registration {
        checks: vec![check.clone()],
        ..registration(None)
    };
    submit(&engine, register(&web, &one, &Arc::new(checked)))
        .await
        .unwrap();
    submit(
        &engine,
        register(&web, &two, &leased(Duration::from_secs(5))),
    )
    .await
    .unwrap();
    let incarnation = seen(&engine, &web, &one).unwrap().incarnation;

    until(&engine, 4_900).await;
    log.close_gate();
    let first = asked(&engine, register(&web, &id("three"), &tagged("x"))).await;
    log.blocked().await;
    let waits = asked(&engine, register(&web, &id("four"), &tagged("x"))).await;
    let refused = submit(&engine, register(&web, &id("five"), &tagged("x"))).await;
    assert_eq!(refused.unwrap_err(), Refusal::Overloaded { waiting: 1 });
    let report = Report {
        service: web.clone(),
        id: one.clone(),
        incarnation,
        check: Arc::new(check),
        health: Health::Healthy,
        evidence: "connected".into(),
    };
    let reported = tokio::spawn({
        let engine = engine.clone();
        async move { engine.report(report).await }
    });
    until(&engine, 5_500).await;
    log.open_gate();
    assert!(
        within("the report", reported)
            .await
            .unwrap()
            .unwrap()
            .changed
    );
    assert!(within("the first", first).await.unwrap().is_ok());
    assert!(within("the second", waits).await.unwrap().is_ok());
    until(&engine, 5_520).await;
    assert!(seen(&engine, &web, &one).unwrap().is_ready());
    assert!(seen(&engine, &web, &two).is_none());
}

#[tokio::test(start_paused = true)]
async fn whoever_stops_waiting_gets_the_change_all_the_same() {
    let _alarm = alarm();
    let (log, engine) = rigged_with(&["one"]).await;
    let web = service("web");
    log.close_gate();
    let begun = asked(&engine, drain(&web, &id("one"))).await;
    log.blocked().await;
    let waiting = asked(&engine, register(&web, &id("two"), &tagged("x"))).await;
    let after = asked(&engine, register(&web, &id("three"), &tagged("x"))).await;
    for gone_away in [begun, waiting] {
        gone_away.abort();
        assert!(gone_away.await.unwrap_err().is_cancelled());
    }
    log.open_gate();
    within("the answer", after).await.unwrap().unwrap();
    assert!(
        seen(&engine, &web, &id("one"))
            .unwrap()
            .state
            .drain
            .is_some()
    );
    assert!(seen(&engine, &web, &id("two")).is_some());
}

#[tokio::test(start_paused = true)]
async fn who_waits_when_the_engine_stops_is_told_so() {
    let _alarm = alarm();
    let (log, engine) = rigged_with(&["one"]).await;
    let web = service("web");
    log.close_gate();
    let begun = asked(&engine, drain(&web, &id("one"))).await;
    log.blocked().await;
    // One that waits in the lane, and one more for an endpoint that is being changed.
    let waiting = [
        asked(&engine, register(&web, &id("two"), &tagged("x"))).await,
        asked(&engine, deregister(&web, &id("one"))).await,
    ];
    engine.stop();
    within("the end", engine.stopped()).await;
    log.open_gate();

    assert!(
        within("the answer", begun).await.unwrap().unwrap().changed,
        "it was on its way"
    );
    for answer in waiting {
        let refusal = within("the answer", answer).await.unwrap().unwrap_err();
        assert_eq!(refusal, Refusal::Stopping);
    }
    let late = submit(&engine, deregister(&web, &id("one"))).await;
    assert_eq!(late.unwrap_err(), Refusal::Stopping);
    let drained = seen(&engine, &web, &id("one")).expect("reads go on");
    assert!(drained.state.drain.is_some());
    assert_eq!(log.records().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everyone_is_answered_however_the_stop_comes_between() {
    let _alarm = alarm();
    for round in 0..200 {
        let engine = engine(Config::default()).await;
        let mut clients = JoinSet::new();
        for client in 0..8 {
            let engine = engine.clone();
            clients.spawn(async move {
                for number in 0.. {
                    let (own, id) = (service(&format!("w{client}")), id(&format!("e{number}")));
                    match engine.submit(register(&own, &id, &tagged("x"))).await {
                        Ok(outcome) => assert!(outcome.registered),
                        Err(refusal) => return assert_eq!(refusal, Refusal::Stopping),
                    }
                }
            });
        }
        let enough = async {
            while engine.catalog().revision().0 <= round {
                tokio::task::yield_now().await;
            }
        };
        within("some registrations", enough).await;
        engine.stop();
        within("the last answer", clients.join_all()).await;
    }
}

/// Conflicts with the first `times` changes of `id`.
fn conflicts_with(id: EndpointId, times: usize) -> impl FnMut(&Change) -> bool + Send {
    let mut left = times;
    move |change| {
        let is_meant = change.id.as_ref() == Some(&id) && left > 0;
        left -= usize::from(is_meant);
        is_meant
    }
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_planned_again_and_nobody_else_notices() {
    let _alarm = alarm();
    let (log, engine) = rigged_with(&["one", "two", "three"]).await;
    let web = service("web");
    for times in 1..8 {
        let tag = format!("round-{times}");
        log.conflict(conflicts_with(id("two"), times));
        log.close_gate();
        let first = asked(&engine, register(&web, &id("zero"), &tagged(&*tag))).await;
        log.blocked().await;
        let answers = ["one", "two", "three"].map(|text| {
            let (engine, tag) = (engine.clone(), tagged(&*tag));
            tokio::spawn(submit(&engine, register(&service("web"), &id(text), &tag)))
        });
        tokio::task::yield_now().await;
        let appends = log.appends();
        log.open_gate();
        within("the answer", first).await.unwrap().unwrap();
        let mut revisions = Vec::new();
        for answer in answers {
            let outcome = within("the answer", answer).await.unwrap().unwrap();
            assert!(outcome.changed && !outcome.registered);
            revisions.push(outcome.catalog.revision());
        }
        assert_eq!(revisions[0], revisions[2], "one batch");
        assert!(revisions[1] > revisions[0], "in a later one");
        assert_eq!(
            log.appends() - appends,
            1 + times,
            "once with the others, then alone"
        );
        for text in ["one", "two", "three"] {
            assert_eq!(seen(&engine, &web, &id(text)).unwrap().tags(), [&*tag]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn conflicts_without_end_are_given_up() {
    let _alarm = alarm();
    let (log, engine) = rigged_with(&["one"]).await;
    let web = service("web");
    log.conflict(conflicts_with(id("one"), usize::MAX));
    let refusal = submit(&engine, drain(&web, &id("one"))).await.unwrap_err();
    assert!(is_log_unavailable(&refusal), "{refusal}");
    assert_eq!(engine.log_lost_at(), None, "the log itself works");
    assert!(
        submit(&engine, register(&web, &id("two"), &tagged("x")))
            .await
            .is_ok()
    );
    log.conflict(|_| false);
    assert!(
        submit(&engine, drain(&web, &id("one")))
            .await
            .unwrap()
            .changed
    );
}

#[tokio::test(start_paused = true)]
async fn an_expiry_that_meets_conflicts_happens_all_the_same() {
    let _alarm = alarm();
    let (log, engine) = rigged_with(&[]).await;
    let (web, one) = (service("web"), id("one"));
    for times in [1, 7, 8, 20] {
        submit(
            &engine,
            register(&web, &one, &leased(Duration::from_secs(5))),
        )
        .await
        .unwrap();
        let runs_until = moment(&engine).0 + 5_000;
        log.conflict(conflicts_with(one.clone(), times));
        until(&engine, runs_until - 1).await;
        assert!(seen(&engine, &web, &one).is_some());
        until(&engine, runs_until + 1_000).await;
        assert!(
            seen(&engine, &web, &one).is_none(),
            "after {times} conflicts"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_expiry_that_conflicts_without_end_leaves_room_for_others() {
    let _alarm = alarm();
    let (log, engine) = rigged_with(&[]).await;
    let (web, one) = (service("web"), id("one"));
    submit(
        &engine,
        register(&web, &one, &leased(Duration::from_secs(5))),
    )
    .await
    .unwrap();
    log.conflict(conflicts_with(one.clone(), usize::MAX));
    until(&engine, 10_000).await;
    let before = log.appends();
    until(&engine, 20_000).await;
    let tries = log.appends() - before;
    assert!(tries <= 800, "{tries} tries in ten seconds");
    // Between the tries the lease is open, and whoever beats stays.
    let mut random = fastrand::Rng::with_seed(1);
    let beating = async {
        while beat(&engine, &web, &one).is_err() {
            tokio::time::sleep(Duration::from_millis(random.u64(1..10))).await;
        }
    };
    within("a heartbeat", beating).await;
    log.conflict(|_| false);
    let beaten_at = moment(&engine).0;
    until(&engine, beaten_at + 4_999).await;
    assert!(seen(&engine, &web, &one).is_some());
}

#[tokio::test(start_paused = true)]
async fn forgetting_a_service_goes_on_after_a_conflict() {
    let _alarm = alarm();
    let ids = ["one", "two", "three"];
    let (log, engine) = rigged_with(&ids).await;
    let web = service("web");
    let mut left = 2;
    log.conflict(move |change| {
        let is_meant = change.kind == ChangeKind::Forgotten && left > 0;
        left -= u32::from(is_meant);
        is_meant
    });
    let outcome = submit(&engine, forget(&web))
        .await
        .expect("it is planned again");
    assert!(outcome.catalog.service_at(&web).is_none());
    let kinds: Vec<ChangeKind> = log
        .records()
        .iter()
        .map(|record| record.change.kind)
        .collect();
    assert_eq!(kinds[3..6], [ChangeKind::Deregistered; 3]);
    assert_eq!(kinds[6..], [ChangeKind::Forgotten]);
    for text in ids {
        let back = submit(&engine, register(&web, &id(text), &tagged("back"))).await;
        assert!(back.unwrap().registered);
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_waits_for_the_log_and_is_told_when_it_fails() {
    let _alarm = alarm();
    let (log, engine) = rigged_with(&[]).await;
    let (web, one) = (service("web"), id("one"));
    let check = Check::new(CheckKind::Heartbeat);
    let checked = Registration {
        checks: vec![check],
        ..registration(seconds(30))
    };
    submit(&engine, register(&web, &one, &Arc::new(checked)))
        .await
        .unwrap();
    log.lose();
    let heartbeat = hermes_core::wire::request::Heartbeat::default();
    let refusal = within(
        "the answer",
        engine.heartbeat(&web, &one, &heartbeat, &Claim::Free),
    )
    .await
    .unwrap_err();
    assert!(is_log_unavailable(&refusal));
    until(&engine, 29_000).await;
    log.recover();
    within(
        "the answer",
        engine.heartbeat(&web, &one, &heartbeat, &Claim::Free),
    )
    .await
    .unwrap();
    assert_eq!(
        seen(&engine, &web, &one).unwrap().state.health(),
        Health::Healthy
    );
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    log.conflict(move |change| {
        count.fetch_add(
            usize::from(change.kind == ChangeKind::Health),
            Ordering::SeqCst,
        );
        false
    });
    within(
        "the answer",
        engine.heartbeat(&web, &one, &heartbeat, &Claim::Free),
    )
    .await
    .unwrap();
    assert_eq!(
        written.load(Ordering::SeqCst),
        0,
        "the same again is no news"
    );
}
