//! A watcher that follows across kills, as a browser would: it comes back with the last id it heard.
//!
//! The server holds nothing but what is written here, in one namespace, and its log numbers changes
//! without gaps. So a watcher has to hear every revision exactly once, or be told to reset.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use hermes_discovery::client::{Client, Event, Path};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::model::settled;
use crate::server::{DEADLINE, service_route};
use crate::writer::Acknowledged;

/// Everything that is registered: the revision of each service, and its endpoints.
pub(crate) type State = BTreeMap<String, (u64, BTreeMap<String, Value>)>;

/// A watcher.
#[derive(Debug)]
pub(crate) struct Watcher {
    name: &'static str,
    followed: Arc<Mutex<Followed>>,
    task: Option<JoinHandle<()>>,
    /// What it has to have heard when it has caught up.
    pub(crate) pending: Vec<Arc<Acknowledged>>,
}

/// What a watcher has heard.
#[derive(Debug)]
struct Followed {
    cluster: String,
    /// Changes that are kept at least: whoever is behind by fewer must not be told to reset.
    horizon: u64,
    last_event_id: Option<u64>,
    /// Everything up to here was heard.
    at: u64,
    state: State,
    /// The snapshots that came, until they are complete.
    snapshot: Option<State>,
    changes: BTreeMap<u64, Heard>,
    /// What a snapshot covered: after the one revision, up to the other.
    covered: Vec<(u64, u64)>,
    resets: usize,
    resumes: usize,
    fault: Option<String>,
}

/// A change.
#[derive(Debug, PartialEq)]
struct Heard {
    service: String,
    id: Option<String>,
    endpoint: Option<Value>,
}

/// How often a watcher went on where it was, and how often it had to begin anew.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Ways {
    pub(crate) resumes: usize,
    pub(crate) resets: usize,
}

impl Watcher {
    pub(crate) fn new(name: &'static str, cluster: &str, horizon: u64) -> Self {
        let followed = Followed {
            cluster: cluster.to_owned(),
            horizon,
            last_event_id: None,
            at: 0,
            state: State::new(),
            snapshot: None,
            changes: BTreeMap::new(),
            covered: Vec::new(),
            resets: 0,
            resumes: 0,
            fault: None,
        };
        Self {
            name,
            followed: Arc::new(Mutex::new(followed)),
            task: None,
            pending: Vec::new(),
        }
    }

    /// Follows until the server is gone.
    pub(crate) fn follow(&mut self, client: &Arc<Client>) {
        let (client, followed) = (Arc::clone(client), Arc::clone(&self.followed));
        self.task = Some(tokio::spawn(
            async move { follow(&client, &followed).await },
        ));
    }

    /// Waits until it has heard that the server is gone.
    pub(crate) async fn end(&mut self) {
        if let Some(task) = self.task.take() {
            task.await.unwrap();
        }
    }

    pub(crate) fn ways(&self) -> Ways {
        let followed = self.followed.lock().unwrap();
        Ways {
            resumes: followed.resumes,
            resets: followed.resets,
        }
    }

    /// While nobody writes: waits until everything up to `revision` was heard, and compares it with
    /// what is there and with what was acknowledged.
    pub(crate) async fn verify(&mut self, revision: u64, state: &State) -> Result<(), String> {
        if self.task.is_none() {
            return Ok(());
        }
        let until = Instant::now() + DEADLINE;
        while !self.followed.lock().unwrap().has_heard(revision) {
            if Instant::now() >= until {
                return Err(format!("{} never hears of revision {revision}", self.name));
            }
            sleep(std::time::Duration::from_millis(2)).await;
        }
        let mut followed = self.followed.lock().unwrap();
        let verified = followed.verify(&self.pending, state);
        self.pending.clear();
        verified.map_err(|fault| format!("{}: {fault}", self.name))
    }
}

impl Followed {
    fn has_heard(&self, revision: u64) -> bool {
        self.fault.is_some() || (self.at >= revision && self.snapshot.is_none())
    }

    fn verify(&mut self, pending: &[Arc<Acknowledged>], state: &State) -> Result<(), String> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        for acknowledged in pending {
            self.check(acknowledged)?;
        }
        self.changes.clear();
        if self.state == *state {
            Ok(())
        } else {
            Err(first_difference(&self.state, state))
        }
    }

    /// What was acknowledged was heard once, or is covered by a snapshot.
    fn check(&self, acknowledged: &Acknowledged) -> Result<(), String> {
        let Acknowledged { after, upto, .. } = *acknowledged;
        let heard = self.changes.range(after + 1..=upto);
        let heard = heard.filter(|(_, heard)| {
            (&heard.service, &heard.id) == (&acknowledged.service, &acknowledged.id)
                && heard.endpoint == acknowledged.endpoint
        });
        let is_covered = self
            .covered
            .iter()
            .any(|(from, to)| *from < upto && after < *to);
        match heard.count() {
            1 => Ok(()),
            0 if is_covered => Ok(()),
            count => Err(format!("heard {count} times of {acknowledged:?}")),
        }
    }

    /// Takes an event; what is wrong about it is a fault.
    fn take(&mut self, event: &Event) -> Result<(), String> {
        let data: Value = serde_json::from_str(&event.data).map_err(|error| error.to_string())?;
        let revision = data["revision"].as_u64().unwrap_or(0);
        match event.event.as_str() {
            "hello" => return self.begin(&data),
            "reset" => return self.reset(&data["reason"], revision),
            "snapshot" => return self.take_snapshot(data),
            "synced" => self.take_synced(revision)?,
            "change" => self.take_change(revision, data)?,
            "progress" if revision != self.at => {
                return Err(format!("progress to {revision}, heard up to {}", self.at));
            }
            "progress" => {}
            other => return Err(format!("an event {other}: {data}")),
        }
        if event.id.as_deref() != Some(&revision.to_string()) {
            return Err(format!("an id that is not the revision: {event:?}"));
        }
        self.last_event_id = Some(revision);
        Ok(())
    }

    fn begin(&mut self, hello: &Value) -> Result<(), String> {
        if hello["cluster"] != *self.cluster {
            return Err(format!("another cluster: {hello}"));
        }
        if hello["revision"].as_u64() < Some(self.at) {
            return Err(format!("{hello}, but {} was heard already", self.at));
        }
        // What was not complete when the server went is void.
        self.snapshot = self.last_event_id.is_none().then(State::new);
        self.resumes += 1;
        Ok(())
    }

    fn reset(&mut self, reason: &Value, revision: u64) -> Result<(), String> {
        let behind = revision.saturating_sub(self.last_event_id.unwrap_or(0));
        if reason != "compacted" || behind < self.horizon {
            return Err(format!("told to reset ({reason}) while {behind} behind"));
        }
        self.resets += 1;
        self.resumes -= 1;
        self.snapshot = Some(State::new());
        Ok(())
    }

    fn take_snapshot(&mut self, mut data: Value) -> Result<(), String> {
        let state = self.snapshot.as_mut().ok_or("a snapshot for no reason")?;
        let name = data["service_name"].as_str().unwrap_or_default().to_owned();
        let endpoints = endpoints_of(&mut data);
        let revision = data["revision"].as_u64().unwrap_or(0);
        state.insert(name, (revision, endpoints));
        Ok(())
    }

    fn take_synced(&mut self, revision: u64) -> Result<(), String> {
        if revision < self.at {
            return Err(format!("synced at {revision}, after {} was heard", self.at));
        }
        self.state = self.snapshot.take().ok_or("synced without a snapshot")?;
        self.covered.push((self.at, revision));
        self.at = revision;
        Ok(())
    }

    fn take_change(&mut self, revision: u64, mut data: Value) -> Result<(), String> {
        if self.snapshot.is_some() || revision != self.at + 1 {
            return Err(format!("{revision} was heard after {}: {data}", self.at));
        }
        self.at = revision;
        let service = data["service_name"].as_str().unwrap_or_default().to_owned();
        let id = data["id"].as_str().map(ToOwned::to_owned);
        let endpoint = settled(data["endpoint"].take());
        let endpoint = Some(endpoint).filter(|endpoint| !endpoint.is_null());
        if data["type"] == "forgotten" {
            self.state.remove(&service);
        } else {
            let view = self.state.entry(service.clone()).or_default();
            view.0 = data["service_revision"].as_u64().unwrap_or(0);
            match (id.clone(), endpoint.clone()) {
                (Some(id), Some(endpoint)) => drop(view.1.insert(id, endpoint)),
                (Some(id), None) => drop(view.1.remove(&id)),
                (None, _) => return Err(format!("a change of nothing: {data}")),
            }
        }
        let heard = Heard {
            service,
            id,
            endpoint,
        };
        self.changes.insert(revision, heard);
        Ok(())
    }
}

async fn follow(client: &Client, followed: &Mutex<Followed>) {
    let (id, cluster) = {
        let followed = followed.lock().unwrap();
        let id = followed.last_event_id.map(|id| id.to_string());
        (id, followed.cluster.clone())
    };
    let id = id.as_deref().map(|id| ("last-event-id", id));
    let route = Path::new("/api/v1/watch").query("cluster", &cluster);
    let headers: Vec<_> = id.into_iter().collect();
    let Ok(mut events) = client.events(&route, &headers).await else {
        return;
    };
    while let Ok(Some(event)) = events.next().await {
        let mut followed = followed.lock().unwrap();
        if let Err(fault) = followed.take(&event) {
            followed.fault.get_or_insert(fault);
            return;
        }
    }
}

/// Everything that the server has, while nobody writes.
pub(crate) async fn read_state(client: &Client) -> Result<State, String> {
    let read = async |route: &Path| {
        let answer = client.get(route).await.map_err(|error| error.to_string())?;
        serde_json::from_slice::<Value>(&answer.body).map_err(|error| error.to_string())
    };
    let list = read(&Path::new("/api/v1/services")).await?;
    let mut state = State::new();
    for service in list["services"].as_array().into_iter().flatten() {
        let name = service["name"].as_str().unwrap_or_default();
        let route = service_route(name).query("include_unhealthy", "true");
        let mut answer = read(&route).await?;
        let revision = answer["revision"].as_u64().unwrap_or(0);
        state.insert(name.to_owned(), (revision, endpoints_of(&mut answer)));
    }
    Ok(state)
}

fn endpoints_of(answer: &mut Value) -> BTreeMap<String, Value> {
    let endpoints = answer["endpoints"].as_array_mut().map(std::mem::take);
    let with_id = |endpoint: Value| {
        let id = endpoint["id"].as_str().unwrap_or_default().to_owned();
        (id, settled(endpoint))
    };
    endpoints
        .unwrap_or_default()
        .into_iter()
        .map(with_id)
        .collect()
}

fn first_difference(heard: &State, there: &State) -> String {
    let names = heard.keys().chain(there.keys());
    let mut different = names.filter(|name| heard.get(*name) != there.get(*name));
    let name = different.next().map_or("", String::as_str);
    let (heard, there) = (heard.get(name), there.get(name));
    format!("heard of {name} was {heard:?}, and there is {there:?}")
}
