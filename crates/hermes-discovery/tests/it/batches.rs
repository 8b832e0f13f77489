//! Batches: what is committed together is as if it had come one after the other.

use std::collections::{BTreeMap, BTreeSet};

use hermes_core::change::{ChangeKind, Revision};
use hermes_core::limits::Limits;
use hermes_core::name::{EndpointId, ServiceKey};
use hermes_core::rejection::Rejection;
use hermes_discovery::engine::{Config, Engine, Refusal};
use hermes_discovery::log::Record;
use tokio::task::JoinSet;

use crate::make::{
    alarm, asked, deregister, engine_on, forget, id, listed, register, seen, service, submit,
    tagged, within,
};
use crate::rigged::RiggedLog;

const CLIENTS: usize = 64;

/// Folds the records of a log, and minds what a log may never say.
#[derive(Default)]
struct Fold {
    endpoints: BTreeMap<(ServiceKey, EndpointId), Revision>,
    services: BTreeSet<ServiceKey>,
    /// The most endpoints that a service, and the most services that the log, ever had.
    most_endpoints: usize,
    most_services: usize,
}

impl Fold {
    fn of(records: &[Record]) -> Self {
        let mut fold = Self::default();
        records.iter().for_each(|record| fold.take_in(record));
        fold
    }

    fn take_in(&mut self, record: &Record) {
        let change = &record.change;
        let Some(id) = &change.id else {
            assert_eq!(change.kind, ChangeKind::Forgotten);
            assert_eq!(self.count(&change.service), 0, "forgotten with endpoints");
            assert!(self.services.remove(&change.service), "forgotten twice");
            return;
        };
        let key = (change.service.clone(), id.clone());
        if change.state.is_some() {
            self.services.insert(change.service.clone());
            let before = self.endpoints.insert(key, record.revision);
            let is_first = change.kind == ChangeKind::Registered;
            assert!(is_first || before.is_some(), "{:?} of nothing", change.kind);
        } else {
            assert!(self.endpoints.remove(&key).is_some(), "removed twice");
        }
        self.most_endpoints = self.most_endpoints.max(self.count(&change.service));
        self.most_services = self.most_services.max(self.services.len());
    }

    fn count(&self, service: &ServiceKey) -> usize {
        self.endpoints
            .keys()
            .filter(|(of, _)| of == service)
            .count()
    }

    /// That the engine's catalog is what the log says.
    fn assert_is(&self, engine: &Engine) {
        let entry = |((service, id), revision): (&(ServiceKey, EndpointId), &Revision)| {
            (service.clone(), id.clone(), *revision)
        };
        let folded: Vec<_> = self.endpoints.iter().map(entry).collect();
        assert_eq!(folded, listed(&engine.catalog()));
        assert_eq!(self.services.len(), engine.catalog().service_count());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_write_is_seen_in_its_answer_and_ever_after() {
    const ROUNDS: u64 = 40;
    let _alarm = alarm();
    let log = RiggedLog::new();
    let engine = engine_on(Config::default(), log.clone()).await;
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let engine = engine.clone();
        clients.spawn(async move {
            let (web, own) = (service("web"), id(&format!("own-{client}")));
            let mut last = Revision(0);
            for round in 0..ROUNDS {
                // One endpoint is everybody's, one of a few, and one the client's alone.
                let tag = format!("{client:02}-{round:03}");
                for shared in [id("all"), id(&format!("some-{}", client % 4)), own.clone()] {
                    let request = register(&web, &shared, &tagged(&*tag));
                    let outcome = engine.submit(request).await.unwrap();
                    let written = outcome.catalog.endpoint(&web, &shared).unwrap();
                    assert_eq!(written.tags(), [&*tag], "the answer shows something else");
                    assert!(written.revision > last, "an earlier write came later");
                    last = written.revision;
                    let read = seen(&engine, &web, &shared).unwrap();
                    assert!(
                        read.revision >= last,
                        "a later read is older than the answer"
                    );
                    assert!(engine.catalog().revision() >= outcome.catalog.revision());
                    if shared == own {
                        assert_eq!(read.tags(), [&*tag]);
                    }
                }
            }
        });
    }
    within("the clients", clients.join_all()).await;

    let records = log.records();
    assert_eq!(records.len() as u64, CLIENTS as u64 * ROUNDS * 3);
    Fold::of(&records).assert_is(&engine);
    // What one client wrote to one endpoint is in the log in its order.
    let mut written: BTreeMap<(EndpointId, String), Vec<String>> = BTreeMap::new();
    for record in &records {
        let state = record.change.state.as_ref().unwrap();
        let (client, round) = state.registration.tags[0].split_once('-').unwrap();
        let key = (record.change.id.clone().unwrap(), client.to_owned());
        written.entry(key).or_default().push(round.to_owned());
    }
    for rounds in written.values() {
        assert!(rounds.is_sorted_by(|a, b| a < b) && rounds.len() as u64 == ROUNDS);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_for_one_endpoint_happen_in_the_order_they_came() {
    let _alarm = alarm();
    let log = RiggedLog::new();
    let engine = engine_on(Config::default(), log.clone()).await;
    let web = service("web");
    log.close_gate();
    let mut answers = vec![asked(&engine, register(&web, &id("other"), &tagged("x"))).await];
    log.blocked().await;
    for number in 0..100 {
        let request = match number % 10 {
            9 => deregister(&web, &id("one")),
            _ => register(&web, &id("one"), &tagged(format!("{number}"))),
        };
        answers.push(asked(&engine, request).await);
    }
    log.open_gate();
    for answer in answers {
        assert!(within("the answer", answer).await.unwrap().unwrap().changed);
    }
    let one = Some(id("one"));
    let written: Vec<String> = log
        .records()
        .iter()
        .filter(|record| record.change.id == one)
        .map(|record| match &record.change.state {
            Some(state) => state.registration.tags[0].clone(),
            None => "gone".to_owned(),
        })
        .collect();
    let text = |number: u32| match number % 10 {
        9 => "gone".to_owned(),
        _ => number.to_string(),
    };
    assert_eq!(written, (0..100).map(text).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn different_endpoints_share_one_commit() {
    let _alarm = alarm();
    let log = RiggedLog::new();
    let engine = engine_on(Config::default(), log.clone()).await;
    log.close_gate();
    let mut answers = vec![asked(&engine, register(&service("web"), &id("x"), &tagged("x"))).await];
    log.blocked().await;
    for number in 0..100 {
        let web = service(&format!("web-{}", number % 3));
        let request = register(&web, &id(&format!("e{number}")), &tagged("x"));
        answers.push(asked(&engine, request).await);
    }
    log.open_gate();
    for answer in answers {
        within("the answer", answer).await.unwrap().unwrap();
    }
    assert_eq!(log.appends(), 2);
}

/// An engine of which both limits are small.
async fn small(endpoints_per_service: usize, services: usize) -> (RiggedLog, Engine) {
    let limits = Limits {
        endpoints_per_service,
        services,
        ..Limits::default()
    };
    let config = Config {
        limits,
        ..Config::default()
    };
    let log = RiggedLog::new();
    (log.clone(), engine_on(config, log).await)
}

/// How many of those who asked at the same time were let in; the others met the limit `max`.
async fn let_in(log: &RiggedLog, engine: &Engine, asks: Vec<(ServiceKey, EndpointId)>) -> usize {
    // The writer is busy with something that changes no count, so that all asks are one batch.
    submit(engine, register(&service("busy"), &id("b"), &tagged("x")))
        .await
        .unwrap();
    log.close_gate();
    let busy = asked(engine, register(&service("busy"), &id("b"), &tagged("y"))).await;
    log.blocked().await;
    let mut answers = Vec::new();
    for (service, id) in asks {
        answers.push(asked(engine, register(&service, &id, &tagged("x"))).await);
    }
    log.open_gate();
    within("the answer", busy).await.unwrap().unwrap();
    let mut let_in = 0;
    for answer in answers {
        match within("the answer", answer).await.unwrap() {
            Ok(outcome) => let_in += usize::from(outcome.registered),
            Err(refusal) => {
                let is_limit = matches!(refusal, Refusal::Rejected(Rejection::LimitReached { .. }));
                assert!(is_limit, "{refusal}");
            }
        }
    }
    let_in
}

#[tokio::test(start_paused = true)]
async fn a_batch_never_takes_more_endpoints_into_a_service_than_there_may_be() {
    let _alarm = alarm();
    for known in [false, true] {
        let (log, engine) = small(10, 100).await;
        let (web, api) = (service("web"), service("api"));
        if known {
            for number in 0..4 {
                let request = register(&web, &id(&format!("k{number}")), &tagged("x"));
                submit(&engine, request).await.unwrap();
            }
        }
        let both = (0..CLIENTS).flat_map(|n| {
            let id = id(&format!("e{n}"));
            [(web.clone(), id.clone()), (api.clone(), id)]
        });
        let room = 20 - if known { 4 } else { 0 };
        assert_eq!(let_in(&log, &engine, both.collect()).await, room);
        let fold = Fold::of(&log.records());
        assert_eq!(
            (fold.count(&web), fold.count(&api), fold.most_endpoints),
            (10, 10, 10)
        );
        fold.assert_is(&engine);
        // Who is there may come again.
        let first = engine.catalog().service_at(&web).unwrap().endpoints[0]
            .id
            .clone();
        assert!(
            submit(&engine, register(&web, &first, &tagged("y")))
                .await
                .unwrap()
                .changed
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_never_makes_more_services_known_than_there_may_be() {
    let _alarm = alarm();
    let (log, engine) = small(10, 6).await;
    // Five are free beside the busy one. Two endpoints of each service come, side by side.
    let asks = (0..CLIENTS).flat_map(|n| {
        let service = service(&format!("web-{n}"));
        [(service.clone(), id("one")), (service, id("two"))]
    });
    assert_eq!(let_in(&log, &engine, asks.collect()).await, 10);
    let fold = Fold::of(&log.records());
    assert_eq!((fold.services.len(), fold.most_services), (6, 6));
    fold.assert_is(&engine);
    // An emptied service stays known, and keeps its place; a forgotten one leaves it to another.
    let first = service("web-0");
    for text in ["one", "two"] {
        submit(&engine, deregister(&first, &id(text)))
            .await
            .unwrap();
    }
    let other = register(&service("other"), &id("one"), &tagged("x"));
    assert!(submit(&engine, other.clone()).await.is_err());
    submit(&engine, forget(&first)).await.unwrap();
    assert!(submit(&engine, other).await.unwrap().registered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_while_endpoints_come_and_go() {
    let _alarm = alarm();
    let (log, engine) = small(10, 5).await;
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let engine = engine.clone();
        clients.spawn(async move {
            let mut random = fastrand::Rng::new();
            for _ in 0..50 {
                let service = service(&format!("web-{}", random.u8(0..8)));
                let own = id(&format!("e{client}"));
                let request = match random.u8(0..20) {
                    0 => forget(&service),
                    1..8 => deregister(&service, &own),
                    _ => register(&service, &own, &tagged(format!("{}", random.u8(..)))),
                };
                match engine.submit(request).await {
                    Ok(_) | Err(Refusal::Rejected(_)) => {}
                    Err(refusal) => panic!("{refusal}"),
                }
            }
        });
    }
    within("the clients", clients.join_all()).await;
    let fold = Fold::of(&log.records());
    assert_eq!(
        (fold.most_endpoints, fold.most_services),
        (10, 5),
        "reached, not exceeded"
    );
    fold.assert_is(&engine);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgetting_a_service_and_registering_in_it_come_one_after_the_other() {
    let _alarm = alarm();
    let log = RiggedLog::new();
    let engine = engine_on(Config::default(), log.clone()).await;
    let web = service("web");
    let mut forgotten = 0;
    for round in 0..100 {
        let mut clients = JoinSet::new();
        for client in 0..16 {
            let request = match client {
                7 | 12 => forget(&web),
                _ => register(
                    &web,
                    &id(&format!("e{client}")),
                    &tagged(format!("{round}")),
                ),
            };
            let engine = engine.clone();
            clients.spawn(async move { engine.submit(request).await });
        }
        for answer in within("the answers", clients.join_all()).await {
            match answer {
                Ok(outcome) => {
                    let is_forgotten = outcome.catalog.service("default", "web").is_none();
                    forgotten += usize::from(is_forgotten);
                }
                Err(Refusal::Rejected(Rejection::ServiceUnknown { .. })) => {}
                Err(refusal) => panic!("{refusal}"),
            }
        }
        Fold::of(&log.records()).assert_is(&engine);
    }
    assert!(
        forgotten > 0,
        "no forgetting was ever the last of its batch"
    );

    // The other engine, which only reads the log, comes to the same.
    let replayed = engine_on(Config::default(), log.clone()).await;
    assert_eq!(listed(&replayed.catalog()), listed(&engine.catalog()));
    assert_eq!(replayed.catalog().revision(), engine.catalog().revision());
}
