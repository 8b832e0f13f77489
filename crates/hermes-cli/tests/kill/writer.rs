//! A client that writes as fast as it can, notes what is acknowledged, and later asks for it.
//!
//! Its endpoints are its own, and it has one request in flight at a time. So what each of them has to
//! be after a kill is settled by its acknowledgements, but for that one request.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use fastrand::Rng;
use hermes_discovery::client::{Answer, Client, ClientError, Method};
use serde_json::{Value, json};

use crate::model::{Key, Known, Registered, Then, Write, settled, settled_service};
use crate::server::{endpoint, number, service_route};

/// Answers of which the entity tag is kept until after the next kill.
const TAGS_KEPT: usize = 4;

/// What a watcher has to have heard: one change of the endpoint after the one revision, up to the
/// other; `None` where the endpoint is gone.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    pub(crate) service: String,
    /// `None` for the service itself.
    pub(crate) id: Option<String>,
    pub(crate) after: u64,
    pub(crate) upto: u64,
    pub(crate) endpoint: Option<Value>,
}

/// What happened to a client.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) acknowledged: usize,
    /// Requests in flight at a kill that had happened, and that had not.
    pub(crate) happened: usize,
    pub(crate) lost: usize,
    /// Entity tags after a kill that were still good, and that were not.
    pub(crate) tags_good: usize,
    pub(crate) tags_old: usize,
}

/// A client.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) number: usize,
    rng: Rng,
    cluster: String,
    known: BTreeMap<Key, Known>,
    in_flight: Option<Write>,
    serial: u64,
    /// The highest `Hermes-Revision` that was seen.
    pub(crate) revision: u64,
    pub(crate) acknowledged: Vec<Arc<Acknowledged>>,
    tags: VecDeque<Tagged>,
    pub(crate) tally: Tally,
}

/// An answer about a service, with its entity tag.
#[derive(Debug)]
struct Tagged {
    service: String,
    tag: String,
    answer: Value,
}

/// Why a client stops.
#[derive(Debug)]
enum Stop {
    /// The server is gone.
    Killed,
    /// Something that may not be.
    Fault(String),
}

impl From<String> for Stop {
    fn from(fault: String) -> Self {
        Self::Fault(fault)
    }
}

impl Writer {
    /// A client with endpoints in services that others use too, and in services of its own.
    pub(crate) fn new(number: usize, seed: u64, cluster: &str) -> Self {
        let key = |service: String, n: usize| Key {
            service,
            id: format!("c{number}-{n}"),
        };
        let shared = (0..12).map(|n| key(format!("shared-{}", n % 3), n));
        let own = (0..8).map(|n| key(format!("own-{number}-{}", n % 2), n));
        Self {
            number,
            rng: Rng::with_seed(seed),
            cluster: cluster.to_owned(),
            known: shared.chain(own).map(|key| (key, Known::Never)).collect(),
            in_flight: None,
            serial: 0,
            revision: 0,
            acknowledged: Vec::new(),
            tags: VecDeque::new(),
            tally: Tally::default(),
        }
    }

    /// Writes until the server is gone; counts what is acknowledged.
    pub(crate) async fn write(
        &mut self,
        client: &Client,
        written: &AtomicUsize,
    ) -> Result<(), String> {
        loop {
            match self.write_once(client).await {
                Ok(()) => drop(written.fetch_add(1, Relaxed)),
                Err(Stop::Killed) => return Ok(()),
                Err(Stop::Fault(fault)) => return Err(self.fault(&fault)),
            }
        }
    }

    fn fault(&self, what: impl fmt::Display) -> String {
        format!(
            "client {}: {what}; in flight: {:?}",
            self.number, self.in_flight
        )
    }

    async fn write_once(&mut self, client: &Client) -> Result<(), Stop> {
        if self.rng.u8(..16) == 0 {
            self.take_tag(client).await?;
        }
        let write = self.choose();
        self.in_flight = Some(write.clone());
        let answer = match send(client, &write).await {
            Ok(answer) => answer,
            Err(error) => return Err(stop(&error)),
        };
        self.look_at(&answer)?;
        self.note(&write, &answer)?;
        self.tally.acknowledged += 1;
        self.in_flight = None;
        Ok(())
    }

    fn choose(&mut self) -> Write {
        let at = self.rng.usize(..self.known.len());
        let (key, known) = self.known.iter().nth(at).expect("it is within the length");
        let (key, is_there) = (key.clone(), known.is_there());
        self.serial += 1;
        match if is_there { self.rng.u8(..100) } else { 0 } {
            0..40 => {
                let filler = if self.rng.u8(..5) == 0 { 6_000 } else { 60 };
                let host = format!("10.0.0.{}", self.rng.u8(1..4));
                let serial = self.serial;
                Write::Register(
                    key,
                    Registered {
                        host,
                        serial,
                        filler,
                    },
                )
            }
            40..58 => Write::Override(key, self.rng.u16(1..1_000), self.serial),
            58..68 => Write::Drain(key, Some(format!("reason {}", self.serial))),
            68..78 => Write::Drain(key, None),
            78..80 if key.service.starts_with("own") => Write::Forget(key.service),
            _ => Write::Deregister(key),
        }
    }

    /// What every answer has to say.
    fn look_at(&mut self, answer: &Answer) -> Result<(), String> {
        if answer.header("hermes-cluster") != Some(&self.cluster) {
            let found = answer.header("hermes-cluster");
            return Err(format!("the cluster is {found:?}, not {}", self.cluster));
        }
        let revision = number(answer, "hermes-revision").unwrap_or(0);
        if revision < self.revision {
            let before = self.revision;
            return Err(format!(
                "the revision went down from {before} to {revision}"
            ));
        }
        self.revision = revision;
        Ok(())
    }

    fn note(&mut self, write: &Write, answer: &Answer) -> Result<(), String> {
        match write {
            Write::Register(key, _) | Write::Override(key, ..) | Write::Drain(key, _) => {
                let body: Value =
                    serde_json::from_slice(&answer.body).map_err(|e| e.to_string())?;
                let shown = if matches!(write, Write::Register(..)) {
                    &body["endpoint"]
                } else {
                    &body
                };
                self.note_there(key, write, settled(shown.clone()))
            }
            Write::Deregister(key) => {
                self.note_removal(key);
                self.known.insert(key.clone(), Known::Gone);
                Ok(())
            }
            Write::Forget(service) => {
                self.note_forgotten(service);
                Ok(())
            }
        }
    }

    fn note_there(&mut self, key: &Key, write: &Write, shown: Value) -> Result<(), String> {
        let before = &self.known[key];
        let Then::There(wanted) = before.after(write) else {
            return Err("an endpoint where none should be".into());
        };
        wanted.check(&shown)?;
        before.check_step(&shown)?;
        let revision = shown["revision"].as_u64().unwrap_or(0);
        let is_news = match before {
            Known::There(_, old) => old["revision"] != shown["revision"],
            Known::Never | Known::Gone => true,
        };
        if is_news {
            self.acknowledged.push(Arc::new(Acknowledged {
                service: key.service.clone(),
                id: Some(key.id.clone()),
                after: revision.saturating_sub(1),
                upto: revision,
                endpoint: Some(shown.clone()),
            }));
        }
        self.known.insert(key.clone(), Known::There(wanted, shown));
        Ok(())
    }

    /// The endpoint is gone: its removal lies between its last change and the answer.
    fn note_removal(&mut self, key: &Key) {
        let Known::There(_, shown) = &self.known[key] else {
            return;
        };
        self.acknowledged.push(Arc::new(Acknowledged {
            service: key.service.clone(),
            id: Some(key.id.clone()),
            after: shown["revision"].as_u64().unwrap_or(0),
            upto: self.revision,
            endpoint: None,
        }));
    }

    fn note_forgotten(&mut self, service: &str) {
        let keys: Vec<Key> = self.of_service(service);
        let mut after = 0;
        for key in keys {
            self.note_removal(&key);
            if let Some(Known::There(_, shown)) = self.known.insert(key, Known::Never) {
                after = shown["revision"].as_u64().unwrap_or(0).max(after);
            }
        }
        self.acknowledged.push(Arc::new(Acknowledged {
            service: service.to_owned(),
            id: None,
            after,
            upto: self.revision,
            endpoint: None,
        }));
    }

    fn of_service(&self, service: &str) -> Vec<Key> {
        let keys = self.known.keys().filter(|key| key.service == service);
        keys.cloned().collect()
    }

    async fn take_tag(&mut self, client: &Client) -> Result<(), Stop> {
        let at = self.rng.usize(..self.known.len());
        let service = self
            .known
            .keys()
            .nth(at)
            .expect("within the length")
            .service
            .clone();
        let route = service_route(&service).query("include_unhealthy", "true");
        let answer = match client.get(&route).await {
            Ok(answer) => answer,
            Err(error) if error.code() == Some("service_unknown") => return Ok(()),
            Err(error) => return Err(stop(&error)),
        };
        let tag = answer.header("etag").unwrap_or_default().to_owned();
        let answer = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
        self.tags.truncate(TAGS_KEPT - 1);
        self.tags.push_front(Tagged {
            service,
            tag,
            answer: settled_service(answer),
        });
        Ok(())
    }

    /// After a kill, while nobody writes: everything is as it was acknowledged.
    pub(crate) async fn verify(&mut self, client: &Client) -> Result<(), String> {
        let verified = self.verify_all(client).await;
        verified.map_err(|fault| self.fault(fault))?;
        self.in_flight = None;
        Ok(())
    }

    async fn verify_all(&mut self, client: &Client) -> Result<(), String> {
        let health = client.get(&service_list()).await;
        self.look_at(&health.map_err(|error| error.to_string())?)?;
        let keys: Vec<Key> = self.known.keys().cloned().collect();
        let mut happened = Vec::new();
        for key in keys {
            happened.extend(self.verify_one(client, &key).await?);
        }
        // A forget is one commit: all of it happened, or nothing.
        if happened.iter().any(|first| *first != happened[0]) {
            return Err("half of a write in flight has happened".into());
        }
        match (happened.first(), &self.in_flight) {
            (Some(true), _) => self.tally.happened += 1,
            (Some(false), _) => self.tally.lost += 1,
            (None, _) => {}
        }
        for tagged in std::mem::take(&mut self.tags) {
            self.verify_tag(client, tagged).await?;
        }
        Ok(())
    }

    /// Verifies one endpoint. When the write in flight touches it and would have changed it, says
    /// whether it happened, and takes over what is there.
    async fn verify_one(&mut self, client: &Client, key: &Key) -> Result<Option<bool>, String> {
        let found = find(client, key).await?;
        let wrong = |what: String| format!("{}/{}: {what}", key.service, key.id);
        let before = &self.known[key];
        let in_flight = self.in_flight.as_ref().filter(|write| write.touches(key));
        let is_as_acknowledged = check(before, &found);
        let Some(write) = in_flight else {
            return is_as_acknowledged.map(|()| None).map_err(wrong);
        };
        if is_as_acknowledged.is_ok() {
            // A forgotten service changes nothing about those that are not there.
            let counts = before.is_there() || !matches!(write, Write::Forget(_));
            return Ok(counts.then_some(false));
        }
        let after = check_after(before, write, &found);
        let now = after.map_err(|what| wrong(format!("{what} after {write:?}")))?;
        self.known.insert(key.clone(), now);
        Ok(Some(true))
    }

    /// A tag from before the kill gives 304 if and only if the answer would be the same.
    async fn verify_tag(&mut self, client: &Client, tagged: Tagged) -> Result<(), String> {
        let route = service_route(&tagged.service).query("include_unhealthy", "true");
        let asked = [("if-none-match", tagged.tag.as_str())];
        let conditional = client.request(Method::GET, &route, &asked, Bytes::new());
        let conditional = match conditional.await {
            Err(error) if error.code() == Some("service_unknown") => {
                self.tally.tags_old += 1;
                return Ok(());
            }
            other => other.map_err(|error| error.to_string())?,
        };
        let now = client
            .get(&route)
            .await
            .map_err(|error| error.to_string())?;
        let now: Value = serde_json::from_slice(&now.body).map_err(|error| error.to_string())?;
        let (now, before) = (settled_service(now), tagged.answer);
        if (conditional.status == 304) != (now == before) {
            let (tag, status) = (tagged.tag, conditional.status);
            return Err(format!("{tag} gives {status}, but {before} is {now} now"));
        }
        if now["revision"].as_u64() < before["revision"].as_u64() {
            return Err(format!(
                "a service revision went down: {before} is {now} now"
            ));
        }
        if conditional.status == 304 {
            self.tally.tags_good += 1;
        } else {
            self.tally.tags_old += 1;
        }
        Ok(())
    }
}

fn service_list() -> hermes_discovery::client::Path {
    hermes_discovery::client::Path::new("/api/v1/services")
}

/// Whoever is killed does not answer; every other error is a fault.
fn stop(error: &ClientError) -> Stop {
    match error {
        ClientError::Unreachable { .. } => Stop::Killed,
        other => Stop::Fault(other.to_string()),
    }
}

async fn send(client: &Client, write: &Write) -> Result<Answer, ClientError> {
    let merge = [("content-type", "application/merge-patch+json")];
    let (method, route, headers, body) = match write {
        Write::Register(key, registered) => (Method::PUT, route(key), &[][..], registered.body()),
        Write::Override(key, weight, note) => {
            let body = json!({"weight": weight, "metadata": {"note": note}});
            (Method::PATCH, route(key), &merge[..], body.to_string())
        }
        Write::Drain(key, Some(reason)) => {
            let body = json!({"reason": reason}).to_string();
            (Method::PUT, route(key).segment("drain"), &[][..], body)
        }
        Write::Drain(key, None) => (
            Method::DELETE,
            route(key).segment("drain"),
            &[][..],
            String::new(),
        ),
        Write::Deregister(key) => (Method::DELETE, route(key), &[][..], String::new()),
        Write::Forget(service) => (
            Method::DELETE,
            service_route(service),
            &[][..],
            String::new(),
        ),
    };
    client.request(method, &route, headers, body.into()).await
}

fn route(key: &Key) -> hermes_discovery::client::Path {
    endpoint(&key.service, &key.id)
}

/// What the server says of an endpoint: its detail, or the code of the problem.
async fn find(client: &Client, key: &Key) -> Result<Result<Value, String>, String> {
    match client.get(&route(key)).await {
        Ok(answer) => serde_json::from_slice(&answer.body)
            .map(Ok)
            .map_err(|error| error.to_string()),
        Err(error) => error
            .code()
            .map(|code| Err(code.to_owned()))
            .ok_or_else(|| error.to_string()),
    }
}

/// Whether what was found is what was acknowledged last.
fn check(known: &Known, found: &Result<Value, String>) -> Result<(), String> {
    match (known, found) {
        (Known::There(wanted, shown), Ok(detail)) => {
            if settled(detail.clone()) != *shown {
                return Err(format!("acknowledged was {shown}, and there is {detail}"));
            }
            wanted.check_overrides(detail)
        }
        (Known::Gone, Err(code)) if code == "endpoint_gone" => Ok(()),
        (Known::Never, Err(code)) if code == "endpoint_unknown" || code == "service_unknown" => {
            Ok(())
        }
        (known, found) => Err(format!(
            "acknowledged was {known:?}, and there is {found:?}"
        )),
    }
}

/// Whether what was found is what the write in flight makes of it.
fn check_after(
    before: &Known,
    write: &Write,
    found: &Result<Value, String>,
) -> Result<Known, String> {
    match (before.after(write), found) {
        (Then::There(wanted), Ok(detail)) => {
            wanted.check(detail)?;
            wanted.check_overrides(detail)?;
            before.check_step(detail)?;
            Ok(Known::There(wanted, settled(detail.clone())))
        }
        (Then::Gone, found) => check(&Known::Gone, found).map(|()| Known::Gone),
        (Then::Never, found) => check(&Known::Never, found).map(|()| Known::Never),
        (after, found) => Err(format!(
            "either {before:?} or {after:?}, but there is {found:?}"
        )),
    }
}
