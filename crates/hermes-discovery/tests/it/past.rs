//! Watchers that are further behind than the feed: the log has what they lack, and they hear of it as
//! if they had never been away.

use std::time::Duration;

use hermes_core::change::{Change, Revision};
use hermes_core::name::ServiceKey;
use hermes_discovery::engine::{Config, Engine, Event, Interest, ResetReason, Resume};

use crate::follower::Follower;
use crate::make::{alarm, engine_on, id, moment, register, service, submit, tagged};
use crate::rigged::RiggedLog;

/// More than a few pages.
const CHANGES: u64 = 1_500;

/// An engine whose feed holds ten of many changes.
async fn with_a_short_feed(log: &RiggedLog) -> Engine {
    let config = Config {
        feed_changes_max: 10,
        watcher_changes_max: 4,
        ..Config::default()
    };
    let engine = engine_on(config, log.clone()).await;
    write(&engine, 1..=CHANGES).await;
    engine
}

/// One change for each revision; every third is of `web`.
async fn write(engine: &Engine, revisions: std::ops::RangeInclusive<u64>) {
    for revision in revisions {
        let service = service(if revision % 3 == 0 { "web" } else { "api" });
        let endpoint = id(&format!("e{}", revision % 7));
        let request = register(&service, &endpoint, &tagged(format!("{revision}")));
        let outcome = submit(engine, request).await.unwrap();
        assert_eq!(outcome.catalog.revision(), Revision(revision));
    }
}

fn resumed(engine: &Engine, interest: Interest, after: u64) -> Follower {
    let resume = Resume::After {
        revision: Revision(after),
        cluster: Some(engine.cluster()),
    };
    Follower::resumed(engine.watch(interest, resume).unwrap(), Revision(after))
}

fn is_of(key: ServiceKey) -> impl Fn(&Change) -> bool {
    move |change| change.service == key
}

#[tokio::test(start_paused = true)]
async fn whoever_resumes_before_the_feed_begins_hears_every_change_once_and_is_live_then() {
    let _alarm = alarm();
    let log = RiggedLog::new();
    let engine = with_a_short_feed(&log).await;
    for from in [
        0,
        1,
        255,
        256,
        257,
        1_000,
        CHANGES - 11,
        CHANGES - 10,
        CHANGES,
    ] {
        let mut all = resumed(&engine, Interest::everything(), from);
        let mut of_web = resumed(&engine, Interest::service(&service("web")), from);
        let heard = all.changes_until_progress().await;
        assert_eq!(heard, (from + 1..=CHANGES).collect::<Vec<_>>());
        of_web.changes_until_progress().await;
        of_web.assert_no_gap(&log.records(), is_of(service("web")));
        assert_eq!((&*all.resets, &*of_web.resets), (&[][..], &[][..]));
        assert_eq!((all.heard.0, of_web.heard.0), (CHANGES, CHANGES));
    }
    let mut follower = resumed(&engine, Interest::everything(), 3);
    follower.hear(Revision(CHANGES)).await;
    let reads = log.reads();
    write(&engine, CHANGES + 1..=CHANGES + 3).await;
    let news = follower.changes_up_to(CHANGES + 3).await;
    assert_eq!(news, [CHANGES + 1, CHANGES + 2, CHANGES + 3]);
    assert_eq!(log.reads(), reads, "it is live, and needs the log no more");
}

#[tokio::test(start_paused = true)]
async fn whoever_falls_behind_the_feed_catches_up_from_the_log() {
    let _alarm = alarm();
    let log = RiggedLog::new();
    let engine = with_a_short_feed(&log).await;
    let fresh = engine.watch(Interest::everything(), Resume::Fresh).unwrap();
    let mut sleeper = Follower::fresh(fresh);
    sleeper.hear(Revision(CHANGES)).await;
    write(&engine, CHANGES + 1..=CHANGES + 700).await;
    let heard = sleeper.changes_up_to(CHANGES + 700).await;
    assert_eq!(heard, (CHANGES + 1..=CHANGES + 700).collect::<Vec<_>>());
    assert_eq!(sleeper.resets, []);
    sleeper.assert_knows(&engine.catalog());
}

#[tokio::test(start_paused = true)]
async fn when_the_horizon_overtakes_a_watcher_it_hears_no_gap_but_a_reset() {
    let _alarm = alarm();
    for overtaken_after in [1, 100, 256, 257, 600, 1_200] {
        let log = RiggedLog::new();
        let engine = with_a_short_feed(&log).await;
        let mut follower = resumed(&engine, Interest::everything(), 0);
        for expected in 1..=overtaken_after {
            let event = follower.next().await;
            let is_next = matches!(&event, Event::Change(change) if change.revision.0 == expected);
            assert!(is_next, "{event:?} instead of {expected}");
        }
        // Beyond what it may have in hand, and where it is not done.
        log.compact(Revision(CHANGES - 20));
        follower.hear(Revision(CHANGES)).await;
        assert_eq!(follower.resets, [ResetReason::Compacted]);
        follower.assert_no_gap(&log.records(), |_| true);
        follower.assert_knows(&engine.catalog());
        write(&engine, CHANGES + 1..=CHANGES + 1).await;
        assert_eq!(follower.changes_up_to(CHANGES + 1).await, [CHANGES + 1]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_be_read_is_a_reset_and_not_the_end() {
    let _alarm = alarm();
    let log = RiggedLog::new();
    let engine = with_a_short_feed(&log).await;
    log.refuse_to_be_read();
    let mut follower = resumed(&engine, Interest::everything(), 5);
    follower.hear(Revision(CHANGES)).await;
    assert_eq!(follower.resets, [ResetReason::Compacted]);
    follower.assert_knows(&engine.catalog());
}

#[tokio::test(start_paused = true)]
async fn a_slow_disk_holds_up_neither_the_writer_nor_whoever_is_live() {
    let _alarm = alarm();
    let log = RiggedLog::new();
    let engine = with_a_short_feed(&log).await;
    log.read_slowly(Duration::from_secs(60));
    let mut late: Vec<Follower> = (0..20)
        .map(|from| resumed(&engine, Interest::everything(), from))
        .collect();
    let mut live = resumed(&engine, Interest::everything(), CHANGES);
    let hearing = async {
        for follower in &mut late {
            follower.hear(Revision(1)).await;
        }
    };
    let began = moment(&engine);
    let writing = async {
        for revision in CHANGES + 1..=CHANGES + 100 {
            write(&engine, revision..=revision).await;
            live.hear(Revision(revision)).await;
        }
        assert_eq!(moment(&engine), began, "nobody waited");
    };
    tokio::join!(writing, async {
        tokio::time::timeout(Duration::from_secs(30), hearing)
            .await
            .ok()
    });
    log.read_slowly(Duration::ZERO);
    for mut follower in late {
        follower.hear(Revision(CHANGES + 100)).await;
        assert_eq!(follower.resets, []);
        follower.assert_no_gap(&log.records(), |_| true);
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_on_a_long_way_without_news_hears_how_far_it_is() {
    let _alarm = alarm();
    let log = RiggedLog::new();
    let engine = with_a_short_feed(&log).await;
    log.read_slowly(Duration::from_secs(3));
    let mut quiet = resumed(&engine, Interest::service(&service("quiet")), 0);
    let (mut said_at, mut said) = (moment(&engine).0, Vec::new());
    while quiet.heard < Revision(CHANGES) {
        let event = quiet.next().await;
        assert!(matches!(event, Event::Progress(_)), "{event:?}");
        let now = moment(&engine).0;
        assert!(
            now - said_at <= 5_000 + 3_000,
            "silent for {} ms",
            now - said_at
        );
        said_at = now;
        said.push(quiet.heard.0);
    }
    assert!(said.len() >= 3, "{said:?}");
}
