//! Watchers: a snapshot, then every change after it, in order, without gap or duplicate; or a reset
//! that says why.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use hermes_core::change::{Change, ClusterId, Committed, Revision};
use hermes_core::name::{Name, ServiceKey};
use hermes_discovery::engine::{
    Config, Engine, Event, Interest, ResetReason, Resume, TooManyWatchers, Watcher,
};
use tokio::task::JoinSet;

use crate::follower::Follower;
use crate::make::{
    alarm, asked, deregister, engine, engine_on, forget, id, moment, name, register, service,
    submit, tagged, until, within,
};
use crate::rigged::RiggedLog;

fn after(revision: u64) -> Resume {
    Resume::After {
        revision: Revision(revision),
        cluster: None,
    }
}

fn watch(engine: &Engine, interest: Interest, resume: Resume) -> Watcher {
    engine.watch(interest, resume).unwrap()
}

fn everything(_change: &Change) -> bool {
    true
}

/// Registers `id` of `service` with something new; gives the revision.
async fn change(engine: &Engine, service: &ServiceKey, id: &str) -> Revision {
    let next = engine.catalog().revision().0 + 1;
    let request = register(service, &crate::make::id(id), &tagged(format!("{next}")));
    let outcome = submit(engine, request).await.unwrap();
    assert!(outcome.changed);
    outcome.catalog.revision()
}

/// One of many writers: comes, changes, goes, and now and then forgets a whole service.
async fn write_at_random(engine: Engine, writer: usize, requests: usize) {
    let mut random = fastrand::Rng::new();
    for number in 0..requests {
        let service = service(&format!("web-{}", random.u8(0..5)));
        let id = id(&format!("e{}", random.usize(0..20)));
        let request = match random.u8(0..40) {
            0 => forget(&service),
            1..10 => deregister(&service, &id),
            _ => register(&service, &id, &tagged(format!("{writer}-{number}"))),
        };
        // What is not there cannot be removed; everything else works.
        engine.submit(request).await.ok();
        // Floods with pauses between them.
        if random.u8(0..20) == 0 {
            tokio::time::sleep(Duration::from_micros(random.u64(0..3_000))).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_and_the_changes_after_it_make_the_catalog_whenever_one_begins() {
    let _alarm = alarm();
    let log = RiggedLog::new();
    let config = Config {
        progress_interval: Duration::from_millis(50),
        ..Config::default()
    };
    let engine = engine_on(config, log.clone()).await;
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        writers.spawn(write_at_random(engine.clone(), writer, 300));
    }
    let mut watchers = JoinSet::new();
    for number in 0..60 {
        let engine = engine.clone();
        watchers.spawn(async move {
            let mut random = fastrand::Rng::new();
            // Some begin before the first change, and some when most of them are over.
            let begin = Revision(random.u64(0..1_500));
            while engine.catalog().revision() < begin {
                tokio::task::yield_now().await;
            }
            let one_service = Interest::service(&service("web-3"));
            let is_of_one = number % 3 == 0;
            let interest = if is_of_one {
                one_service
            } else {
                Interest::everything()
            };
            let mut follower = Follower::fresh(watch(&engine, interest, Resume::Fresh));
            for _ in 0..random.u8(1..100) {
                follower.next().await;
            }
            (follower, is_of_one)
        });
    }
    within("the writers", writers.join_all()).await;
    let last = engine.catalog().revision();
    let records = log.records();
    let web_3 = service("web-3");
    for (mut follower, is_of_one) in within("the watchers", watchers.join_all()).await {
        follower.hear(last).await;
        assert_eq!(follower.resets, []);
        let mut expected = crate::make::listed(&engine.catalog());
        if is_of_one {
            expected.retain(|(service, ..)| *service == web_3);
            follower.assert_no_gap(&records, |change| change.service == web_3);
        } else {
            follower.assert_no_gap(&records, everything);
        }
        assert_eq!(follower.listed(), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_two_resets_there_is_no_gap_however_small_the_feed_and_the_log_are() {
    let _alarm = alarm();
    // The feed, and the log behind it.
    for (feed_changes_max, keeps) in [(1, 1), (4, 4), (20, 20), (1, 60), (4, 400), (1, u64::MAX)] {
        let log = RiggedLog::new().keeping(keeps);
        let config = Config {
            feed_changes_max,
            watcher_changes_max: 4,
            progress_interval: Duration::from_millis(1),
            ..Config::default()
        };
        let engine = engine_on(config, log.clone()).await;
        let mut writers = JoinSet::new();
        for writer in 0..16 {
            writers.spawn(write_at_random(engine.clone(), writer, 200));
        }
        let (over, is_over) = tokio::sync::watch::channel(Revision(u64::MAX));
        let mut watchers = JoinSet::new();
        for _ in 0..8 {
            let (engine, is_over) = (engine.clone(), is_over.clone());
            watchers.spawn(async move {
                let everything = Interest::everything();
                let mut follower = Follower::fresh(watch(&engine, everything, Resume::Fresh));
                while follower.heard < *is_over.borrow() {
                    follower.next().await;
                }
                follower
            });
        }
        within("the writers", writers.join_all()).await;
        over.send(engine.catalog().revision()).unwrap();
        let records = log.records();
        for mut follower in within("the watchers", watchers.join_all()).await {
            follower.hear(engine.catalog().revision()).await;
            follower.assert_knows(&engine.catalog());
            follower.assert_no_gap(&records, everything);
            let is_slow = |reason: &ResetReason| *reason == ResetReason::Slow;
            assert!(follower.resets.iter().all(is_slow));
            assert!(
                keeps < u64::MAX || follower.resets.is_empty(),
                "the log has it all"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_resume_gives_exactly_the_later_changes_from_every_revision() {
    const CHANGES: u64 = 500;
    let _alarm = alarm();
    let engine = engine(Config::default()).await;
    let (web, api) = (service("web"), service("api"));
    let mut of_web = Vec::new();
    for number in 1..=CHANGES {
        let service = if number % 3 == 0 { &web } else { &api };
        let revision = change(&engine, service, &format!("e{}", number % 7)).await;
        assert_eq!(revision.0, number);
        of_web.extend((number % 3 == 0).then_some(number));
    }
    let cluster = Some(engine.cluster());
    for from in 0..=CHANGES {
        let revision = Revision(from);
        let resume = Resume::After { revision, cluster };
        let watcher = watch(&engine, Interest::everything(), resume);
        let mut follower = Follower::resumed(watcher, revision);
        let heard = follower.changes_until_progress().await;
        assert_eq!(heard, (from + 1..=CHANGES).collect::<Vec<_>>());
        assert_eq!(
            (follower.heard, &*follower.resets),
            (Revision(CHANGES), &[][..])
        );

        let watcher = watch(&engine, Interest::service(&web), resume);
        let mut follower = Follower::resumed(watcher, revision);
        let later: Vec<u64> = of_web.iter().copied().filter(|n| *n > from).collect();
        assert_eq!(follower.changes_until_progress().await, later);
        assert_eq!(follower.heard, Revision(CHANGES));
    }
}

#[tokio::test(start_paused = true)]
async fn a_resume_that_is_impossible_is_told_why_and_gets_a_snapshot() {
    let _alarm = alarm();
    let config = Config {
        feed_changes_max: 10,
        ..Config::default()
    };
    let engine = engine(config).await;
    let web = service("web");
    for number in 0..30 {
        change(&engine, &web, &format!("e{number}")).await;
    }
    let own = engine.cluster();
    let other = ClusterId(own.0 + 1);
    // Revision, cluster, and the reason; none where the resume is possible.
    let cases = [
        (0, None, Some(ResetReason::Compacted)),
        (19, Some(own), Some(ResetReason::Compacted)),
        (20, Some(own), None),
        (30, None, None),
        (31, None, Some(ResetReason::Ahead)),
        (u64::MAX, Some(own), Some(ResetReason::Ahead)),
        (25, Some(other), Some(ResetReason::Cluster)),
        (5, Some(other), Some(ResetReason::Cluster)),
        (99, Some(other), Some(ResetReason::Cluster)),
    ];
    for (revision, cluster, reason) in cases {
        let revision = Revision(revision);
        let resume = Resume::After { revision, cluster };
        let watcher = watch(&engine, Interest::everything(), resume);
        let mut follower = Follower::resumed(watcher, revision);
        let Some(reason) = reason else {
            let heard = follower.changes_until_progress().await;
            assert_eq!(heard, (revision.0 + 1..=30).collect::<Vec<_>>());
            continue;
        };
        let reset = follower.next().await;
        let is_right = matches!(reset, Event::Reset(why, at) if why == reason && at.0 == 30);
        assert!(is_right, "{revision} {cluster:?}: {reset:?}");
        assert!(matches!(follower.next().await, Event::Snapshot(_)));
        assert!(matches!(follower.next().await, Event::Synced(Revision(30))));
        follower.assert_knows(&engine.catalog());
        assert!(matches!(
            follower.next().await,
            Event::Progress(Revision(30))
        ));
    }
    // The changes go on after a reset as after any snapshot.
    let watcher = watch(&engine, Interest::everything(), after(0));
    let mut follower = Follower::resumed(watcher, Revision(0));
    follower.hear(Revision(30)).await;
    change(&engine, &web, "later").await;
    assert_eq!(follower.changes_up_to(31).await, [31]);
    follower.assert_knows(&engine.catalog());
}

#[tokio::test(start_paused = true)]
async fn words_for_the_reasons_are_those_of_the_contract() {
    let _alarm = alarm();
    let words = [
        (ResetReason::Compacted, "compacted"),
        (ResetReason::Slow, "slow"),
        (ResetReason::Cluster, "cluster"),
        (ResetReason::Ahead, "ahead"),
    ];
    for (reason, word) in words {
        assert_eq!(reason.word(), word);
    }
}

/// An engine with small queues, a watcher that has heard its snapshot and reads no more, and the
/// changes that are still held in memory.
async fn with_a_sleeper(feed_changes_max: usize, changes: u64) -> (Engine, Follower, usize) {
    let config = Config {
        feed_changes_max,
        watcher_changes_max: 8,
        ..Config::default()
    };
    let engine = engine(config).await;
    let mut sleeper = Follower::fresh(watch(&engine, Interest::everything(), Resume::Fresh));
    sleeper.hear(Revision(0)).await;
    let mut witness = watch(&engine, Interest::everything(), Resume::Fresh);
    let mut held: Vec<Weak<Committed>> = Vec::new();
    for number in 0..changes {
        let revision = change(&engine, &service("web"), &format!("e{}", number % 10)).await;
        let heard = async {
            loop {
                match witness.next().await {
                    Event::Change(committed) => return committed,
                    Event::Snapshot(_) | Event::Synced(_) | Event::Progress(_) => {}
                    Event::Reset(reason, _) => panic!("the witness reads all the time: {reason:?}"),
                }
            }
        };
        let committed = within("the change", heard).await;
        assert_eq!(committed.revision, revision);
        held.push(Arc::downgrade(&committed));
    }
    let held = held
        .iter()
        .filter(|change| change.strong_count() > 0)
        .count();
    (engine, sleeper, held)
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_never_reads_costs_little_and_loses_nothing_that_the_feed_has() {
    let _alarm = alarm();
    let (engine, mut sleeper, held) = with_a_sleeper(100, 100).await;
    assert_eq!(held, 100, "those of the feed");
    sleeper.hear(Revision(100)).await;
    assert_eq!(sleeper.changes, (1..=100).collect::<Vec<_>>());
    assert_eq!(sleeper.resets, []);
    // It is live again.
    change(&engine, &service("web"), "new").await;
    assert_eq!(sleeper.changes_up_to(101).await, [101]);
    sleeper.assert_knows(&engine.catalog());
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_slept_for_longer_than_the_feed_lasts_begins_anew() {
    let _alarm = alarm();
    let (engine, mut sleeper, held) = with_a_sleeper(20, 200).await;
    assert!(
        held <= 20 + 8 + 1,
        "{held} changes are held for a watcher that never reads"
    );
    let reset = sleeper.next().await;
    let is_right = matches!(reset, Event::Reset(ResetReason::Slow, Revision(200)));
    assert!(is_right, "{reset:?}");
    sleeper.hear(Revision(200)).await;
    sleeper.assert_knows(&engine.catalog());
    change(&engine, &service("web"), "new").await;
    assert_eq!(sleeper.changes_up_to(201).await, [201]);
    sleeper.assert_knows(&engine.catalog());
}

#[tokio::test(start_paused = true)]
async fn a_queue_is_bounded_by_bytes_too() {
    let _alarm = alarm();
    let config = Config {
        watcher_bytes_max: 10_000,
        feed_bytes_max: 20_000,
        ..Config::default()
    };
    let engine = engine_on(config, RiggedLog::new().keeping(10)).await;
    let mut sleeper = Follower::fresh(watch(&engine, Interest::everything(), Resume::Fresh));
    sleeper.hear(Revision(0)).await;
    for (changes, resets) in [(10, 0), (100, 1)] {
        let mut last = Revision(0);
        for number in 0..changes {
            last = change(&engine, &service("web"), &format!("e{number}")).await;
        }
        sleeper.hear(last).await;
        assert_eq!(sleeper.resets.len(), resets, "after {changes} changes");
        sleeper.assert_knows(&engine.catalog());
    }
}

#[tokio::test(start_paused = true)]
async fn changes_that_come_in_one_flood_reach_everybody_or_are_reset() {
    let _alarm = alarm();
    // One batch is larger than the feed: the feed has dropped what nobody was told of yet.
    let config = Config {
        feed_changes_max: 10,
        ..Config::default()
    };
    let log = RiggedLog::new().keeping(10);
    let engine = engine_on(config, log.clone()).await;
    let web = service("web");
    let mut follower = Follower::fresh(watch(&engine, Interest::everything(), Resume::Fresh));
    let mut quiet = Follower::fresh(watch(
        &engine,
        Interest::service(&service("api")),
        Resume::Fresh,
    ));
    follower.hear(Revision(0)).await;
    quiet.hear(Revision(0)).await;
    log.close_gate();
    let mut answers = Vec::new();
    for number in 0..=50 {
        let request = register(&web, &id(&format!("e{number}")), &tagged("x"));
        answers.push(asked(&engine, request).await);
    }
    log.open_gate();
    for answer in answers {
        within("the answer", answer).await.unwrap().unwrap();
    }
    change(&engine, &web, "last").await;
    for (follower, endpoints) in [(&mut follower, 52), (&mut quiet, 0)] {
        follower.hear(Revision(52)).await;
        assert_eq!(follower.resets, [ResetReason::Slow]);
        assert_eq!(follower.listed().len(), endpoints);
    }
    change(&engine, &service("api"), "one").await;
    assert_eq!(quiet.changes_up_to(53).await, [53]);
}

#[tokio::test(start_paused = true)]
async fn progress_is_said_in_time_also_under_a_constant_stream_of_changes() {
    let _alarm = alarm();
    let engine = engine(Config::default()).await;
    let (web, quiet) = (service("web"), service("quiet"));
    let writer = tokio::spawn({
        let (engine, web) = (engine.clone(), web.clone());
        async move {
            for number in 1..=600 {
                until(&engine, number * 50).await;
                change(&engine, &web, "e1").await;
            }
        }
    });
    let mut watchers = JoinSet::new();
    for interest in [
        Interest::service(&web),
        Interest::service(&quiet),
        Interest::everything(),
    ] {
        let mut follower = Follower::fresh(watch(&engine, interest, Resume::Fresh));
        let engine = engine.clone();
        watchers.spawn(async move {
            let (mut said_at, mut progressed) = (0, 0);
            while moment(&engine).0 < 30_000 {
                if let Event::Progress(revision) = follower.next().await {
                    let now = moment(&engine).0;
                    assert!(
                        now - said_at <= 5_000 + 50,
                        "silent from {said_at} to {now}"
                    );
                    // One change each 50 ms: it lags by the newest at most.
                    assert!(
                        revision.0 + 2 >= now / 50,
                        "at {now} it only knows of {revision}"
                    );
                    (said_at, progressed) = (now, progressed + 1);
                }
            }
            progressed
        });
    }
    for progressed in within("the watchers", watchers.join_all()).await {
        assert!(progressed >= 5, "{progressed} times in 30 s");
    }
    within("the writer", writer).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn watchers_hear_of_what_they_are_interested_in_and_of_nothing_else() {
    let _alarm = alarm();
    let engine = engine(Config::default()).await;
    let keys = ["a", "b"].map(name).into_iter().flat_map(|namespace| {
        let key = move |text: &&str| ServiceKey::new(namespace.clone(), name(text));
        ["web", "api", "db"].each_ref().map(key)
    });
    let keys: Vec<ServiceKey> = keys.collect();
    for key in &keys {
        change(&engine, key, "before").await;
    }
    let interest = |namespace: Option<&str>, services: Option<&[&str]>| Interest {
        namespace: namespace.map(name),
        services: services.map(|names| {
            names
                .iter()
                .map(|text| name(text))
                .collect::<BTreeSet<Name>>()
        }),
    };
    let two: &[&str] = &["db", "web"];
    let cases = [
        (
            Interest::everything(),
            vec!["a/api", "a/db", "a/web", "b/api", "b/db", "b/web"],
        ),
        (Interest::service(&keys[0]), vec!["a/web"]),
        (interest(Some("b"), None), vec!["b/api", "b/db", "b/web"]),
        (interest(Some("a"), Some(two)), vec!["a/db", "a/web"]),
        (
            interest(None, Some(two)),
            vec!["a/db", "a/web", "b/db", "b/web"],
        ),
        (interest(Some("a"), Some(&["new", "web"])), vec!["a/web"]),
        (interest(Some("c"), None), vec![]),
        (interest(Some("a"), Some(&[])), vec![]),
    ];
    let mut followers: Vec<Follower> = cases
        .iter()
        .map(|(interest, _)| Follower::fresh(watch(&engine, interest.clone(), Resume::Fresh)))
        .collect();
    for follower in &mut followers {
        follower.hear(Revision(6)).await;
    }
    for key in &keys {
        change(&engine, key, "after").await;
        submit(&engine, deregister(key, &id("before")))
            .await
            .unwrap();
    }
    let last = engine.catalog().revision();
    for (follower, (interest, services)) in followers.iter_mut().zip(&cases) {
        follower.hear(last).await;
        let known: Vec<String> = follower
            .listed()
            .iter()
            .map(|(service, id, _)| format!("{service} {id}"))
            .collect();
        let expected: Vec<String> = services.iter().map(|key| format!("{key} after")).collect();
        assert_eq!(known, expected, "{interest:?}");
        assert_eq!(follower.changes.len(), 2 * services.len(), "{interest:?}");
    }
    // A service that did not exist when the watcher began.
    change(&engine, &ServiceKey::new(name("a"), name("new")), "one").await;
    assert_eq!(followers[5].changes_up_to(last.0 + 1).await, [last.0 + 1]);
    change(&engine, &ServiceKey::new(name("c"), name("new")), "one").await;
    assert_eq!(followers[6].changes_up_to(last.0 + 2).await, [last.0 + 2]);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_is_dropped_makes_room_for_another() {
    let _alarm = alarm();
    let config = Config {
        watchers_max: 3,
        ..Config::default()
    };
    let engine = engine(config).await;
    let web = service("web");
    let interests = [
        Interest::service(&web),
        Interest::everything(),
        Interest {
            namespace: Some(Name::default_namespace()),
            services: Some(["web", "api"].map(name).into()),
        },
    ];
    for round in 0..10 {
        let now = after(engine.catalog().revision().0);
        let mut watchers: Vec<Watcher> = interests
            .iter()
            .map(|interest| watch(&engine, interest.clone(), now))
            .collect();
        let refused = engine.watch(Interest::everything(), Resume::Fresh);
        assert_eq!(refused.unwrap_err(), TooManyWatchers { max: 3 });
        drop(watchers.swap_remove(round % 3));
        watchers.push(watch(&engine, Interest::service(&web), now));
        assert!(
            engine
                .watch(Interest::service(&web), Resume::Fresh)
                .is_err()
        );
        // Whoever is still there hears on.
        let revision = change(&engine, &web, "e1").await;
        for watcher in watchers {
            let mut follower = Follower::resumed(watcher, Revision(revision.0 - 1));
            assert_eq!(follower.changes_up_to(revision.0).await, [revision.0]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_watchers_of_one_service_hear_everything_in_order() {
    let _alarm = alarm();
    let engine = engine(Config::default()).await;
    let (web, api) = (service("web"), service("api"));
    let mut watchers = JoinSet::new();
    for _ in 0..1_000 {
        let mut follower = Follower::fresh(watch(&engine, Interest::service(&web), Resume::Fresh));
        watchers.spawn(async move {
            follower.hear(Revision(40)).await;
            follower.changes
        });
    }
    for number in 0..20 {
        change(&engine, &api, &format!("e{number}")).await;
        change(&engine, &web, &format!("e{}", number % 3)).await;
        tokio::task::yield_now().await;
    }
    let of_web: Vec<u64> = (1..=20).map(|n| n * 2).collect();
    for heard in within("the watchers", watchers.join_all()).await {
        assert_eq!(heard, of_web);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_when_the_wait_for_an_event_is_given_up() {
    let _alarm = alarm();
    let engine = engine(Config::default()).await;
    let web = service("web");
    let mut watcher = watch(&engine, Interest::service(&web), after(0));
    let writer = tokio::spawn({
        let (engine, web) = (engine.clone(), web.clone());
        async move {
            for number in 0..200 {
                change(&engine, &web, &format!("e{}", number % 3)).await;
                tokio::time::sleep(Duration::from_millis(number % 4)).await;
            }
        }
    });
    let (mut heard, mut given_up) = (Vec::new(), 0);
    let hearing = async {
        while heard.len() < 200 {
            match tokio::time::timeout(Duration::from_millis(1), watcher.next()).await {
                Ok(Event::Change(committed)) => heard.push(committed.revision.0),
                Ok(_) => {}
                Err(_elapsed) => given_up += 1,
            }
            heard.extend(std::iter::from_fn(|| watcher.try_next_change()).map(|c| c.revision.0));
        }
    };
    within("the changes", hearing).await;
    assert_eq!(heard, (1..=200).collect::<Vec<_>>());
    assert!(given_up > 50);
    writer.await.unwrap();
}
