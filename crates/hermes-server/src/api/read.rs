//! The reading routes: everything here looks at one catalog, which never changes under it.

use std::sync::Arc;
use std::time::Duration;

use hermes_core::catalog::{Catalog, NamespaceView, ServiceView};
use hermes_core::change::Revision;
use hermes_core::endpoint::Endpoint;
use hermes_core::name::{EndpointId, Name, ServiceKey};
use hermes_core::plan::find_endpoint;
use hermes_core::select::{Criteria, Variety, select};
use hermes_core::wire::answer::{ServiceList, ServiceSummary};
use hermes_core::wire::endpoint_detail;
use hermes_core::wire::request::{invalid_name, read_criteria};
use hermes_discovery::engine::{Event, Interest, Resume};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, HeaderValue, IF_NONE_MATCH};
use serde_json::{Map, Value, json};

use super::cursor::Cursor;
use super::error::Failure;
use super::reply::Reply;
use super::{Call, body, listing, parse_name};
use crate::auth::Caller;

/// Services on a page, unless said otherwise, and at most.
const PAGE: (u64, u64) = (1_000, 10_000);
/// The longest long poll.
const WAIT_MAX: Duration = Duration::from_secs(300);

impl Call<'_> {
    /// `GET /api/v1/services`
    pub(super) async fn list_services(&mut self) -> Result<Reply, Failure> {
        let namespace = self.namespace_or_all()?;
        // Folded as names are, so that the beginning of a name as its owner spells it finds it.
        let prefix = self.query.one("prefix")?.unwrap_or_default();
        let prefix = prefix.to_ascii_lowercase().replace('_', "-");
        let tag = self.query.one("tag")?.map(std::borrow::Cow::into_owned);
        let limit = self.query.integer("limit", 1, PAGE.1)?.unwrap_or(PAGE.0);
        let cursor = self
            .query
            .one("cursor")?
            .map(|text| Cursor::parse(&text))
            .transpose()?;
        let interest = Interest {
            namespace: namespace.clone(),
            services: None,
        };
        self.long_poll(interest, |catalog| revision_of(catalog, namespace.as_ref()))
            .await?;
        self.end_of_query(&[
            "namespace",
            "prefix",
            "tag",
            "limit",
            "cursor",
            "revision",
            "wait",
        ])?;
        let now = self.api.engine.clock().moment();
        let catalog = match &cursor {
            None => self.api.engine.catalog_kept(),
            Some(cursor) => self.api.cursors.catalog(cursor.revision, now)?,
        };
        let etag = self
            .api
            .head
            .etag(revision_of(&catalog, namespace.as_ref()));
        if cursor.is_none() && self.is_current(&etag) {
            return Ok(Reply::not_modified(catalog.revision(), etag));
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let (services, more) = page(
            &catalog,
            namespace.as_ref(),
            (&prefix, tag.as_deref(), &self.caller),
            (limit, cursor),
        );
        let last = services.last().filter(|_| more);
        let next = last.map(|last| {
            self.api.cursors.keep(&catalog, now);
            let after = (last.namespace.clone(), last.name.clone());
            Cursor {
                revision: catalog.revision(),
                after,
            }
            .to_text()
        });
        let revision = catalog.revision();
        let list = ServiceList {
            services,
            next,
            revision: revision.0,
        };
        Ok(Reply {
            etag: Some(etag),
            ..Reply::of(revision, &list)
        })
    }

    /// `GET /api/v1/services/{name}` and `…/endpoints`
    pub(super) async fn service(&mut self, name: &str) -> Result<Reply, Failure> {
        let namespace = self.namespace()?;
        let all = self.query.switch("include_unhealthy")?;
        let key = self.poll_service(&namespace, name).await?;
        self.end_of_query(&["namespace", "include_unhealthy", "revision", "wait"])?;
        let catalog = self.api.engine.catalog();
        let view = known(&catalog, &namespace, name, key)?;
        let etag = self.api.head.etag(view.revision);
        if self.is_current(&etag) {
            return Ok(Reply::not_modified(catalog.revision(), etag));
        }
        let selected = self.next_of(view);
        let kept = (self.api.engine.clock().moment(), &self.api.budget);
        let (json, was_encoded) = listing::service_json(view, selected.as_deref(), all, kept);
        self.api.counters.encoded(was_encoded);
        Ok(Reply {
            etag: Some(etag),
            ..Reply::json(catalog.revision(), json)
        })
    }

    /// `GET /api/v1/services/{name}/url`
    pub(super) async fn url(&mut self, name: &str) -> Result<Reply, Failure> {
        let namespace = self.namespace()?;
        let key = self.poll_service(&namespace, name).await?;
        self.end_of_query(&["namespace", "revision", "wait"])?;
        let catalog = self.api.engine.catalog();
        let view = known(&catalog, &namespace, name, key)?;
        let etag = self.api.head.etag(view.revision);
        if view.ready_count() > 0 && self.is_current(&etag) {
            return Ok(Reply::not_modified(catalog.revision(), etag));
        }
        let Some(selected) = self.next_of(view) else {
            return Err(Failure::nothing_ready(&catalog, &view.key, "not selected"));
        };
        let url = &*selected.registration().address.url;
        let etag = Some(etag);
        let revision = catalog.revision();
        if self.wants_text() {
            let text = format!("{url}\n").into_bytes();
            let media_type = "text/plain; charset=utf-8";
            return Ok(Reply {
                media_type,
                etag,
                ..Reply::json(revision, text)
            });
        }
        let json = listing::url_json(&view.key.name, url, view.policy.cache_ttl());
        Ok(Reply {
            etag,
            ..Reply::json(revision, json)
        })
    }

    /// The endpoint for a caller who asks for nothing in particular: as the service's policy has it.
    fn next_of(&self, view: &ServiceView) -> Option<Arc<Endpoint>> {
        let clock = self.api.engine.clock();
        let selected = match view.policy.selection {
            None => Arc::clone(view.next_ready()?),
            Some(_) => {
                let variety = variety_of(view);
                let selection = select(view, &Criteria::default(), variety, clock.now());
                selection.chosen.into_iter().next()?
            }
        };
        selected.pulse.count_selection(clock.moment());
        Some(selected)
    }

    /// `POST /api/v1/services/{name}/select`
    pub(super) async fn select(&mut self, name: &str, body: Incoming) -> Result<Reply, Failure> {
        let namespace = self.namespace()?;
        self.end_of_query(&["namespace"])?;
        let limits = self.api.limits();
        let bounds = (limits.body_bytes, limits.body_within);
        let body = body::read(self.headers, body, body::JSON, bounds).await?;
        let criteria = read_criteria(&body)?;
        let catalog = self.api.engine.catalog();
        let view = known(&catalog, &namespace, name, None)?;
        let now = self.api.engine.clock().now();
        let selection = select(view, &criteria, variety_of(view), now);
        let Some(first) = selection.chosen.first() else {
            let asked = "does not match the criteria";
            return Err(Failure::nothing_ready(&catalog, &view.key, asked));
        };
        selection
            .chosen
            .iter()
            .for_each(|endpoint| endpoint.pulse.count_selection(now.moment));
        let url = first.url_of_port(&criteria.port);
        let (json, was_encoded) = listing::selection_json(view, &selection.chosen, url.as_deref());
        self.api.counters.encoded(was_encoded);
        let flags = selection.panic.then_some("panic");
        Ok(Reply {
            flags,
            ..Reply::json(catalog.revision(), json)
        })
    }

    /// `GET /api/v1/services/{name}/endpoints/{id}`
    pub(super) async fn endpoint(&mut self, name: &str, id: &str) -> Result<Reply, Failure> {
        let namespace = self.namespace()?;
        let key = self.poll_service(&namespace, name).await?;
        self.end_of_query(&["namespace", "revision", "wait"])?;
        let id = parse_id(id)?;
        let catalog = self.api.engine.catalog();
        let view = known(&catalog, &namespace, name, key)?;
        let endpoint = find_endpoint(&catalog, &view.key, &id)
            .map_err(|rejection| Failure::of_rejection(rejection, &catalog))?;
        let etag = self.api.head.etag(view.revision);
        if self.is_current(&etag) {
            return Ok(Reply::not_modified(catalog.revision(), etag));
        }
        let probed = |check: &str| self.api.prober.times(&view.key, &id, check);
        let detail = endpoint_detail(endpoint, probed, self.api.engine.clock().moment());
        Ok(Reply {
            etag: Some(etag),
            ..Reply::of(catalog.revision(), &detail)
        })
    }

    /// `GET /services` of the second seed document (R131, R183).
    pub(super) fn plain_services(&mut self) -> Result<Reply, Failure> {
        let plain = self.query.switch("plain")?;
        self.end_of_query(&["plain"])?;
        let catalog = self.api.engine.catalog();
        let default = &self.api.default_namespace;
        let etag = self.api.head.etag(revision_of(&catalog, Some(default)));
        if self.is_current(&etag) {
            return Ok(Reply::not_modified(catalog.revision(), etag));
        }
        let namespace = catalog.namespace(default.as_str());
        let mut services = Map::new();
        for name in namespace.map(|view| view.names()).unwrap_or_default() {
            if !self.caller.reads(default.as_str(), name.as_str()) {
                continue;
            }
            let Some(view) = namespace.and_then(|all| all.service(name.as_str())) else {
                continue;
            };
            // What the seed calls the endpoint: a ready one if there is one, else any.
            let Some(endpoint) = view.ready().next().or(view.endpoints.first()) else {
                continue;
            };
            let url = &*endpoint.registration().address.url;
            let value = if plain {
                json!(url)
            } else {
                json!({"endpoint": url, "healthy": view.is_healthy()})
            };
            services.insert(name.to_string(), value);
        }
        let list = json!({"services": Value::Object(services)});
        Ok(Reply {
            etag: Some(etag),
            ..Reply::of(catalog.revision(), &list)
        })
    }

    /// `GET /health` and `/livez`: the process answers.
    pub(super) fn health(&mut self) -> Result<Reply, Failure> {
        self.end_of_query(&[])?;
        Ok(Reply::of(
            self.api.engine.catalog().revision(),
            &self.health_json(&[]),
        ))
    }

    /// `GET /readyz`: not while stopping; a lost log is no reason, because reads go on.
    pub(super) fn ready(&mut self) -> Result<Reply, Failure> {
        self.end_of_query(&[])?;
        let revision = self.api.engine.catalog().revision();
        if self.api.is_stopping() {
            let reply = Reply::of(revision, &self.health_json(&["stopping"]));
            return Ok(Reply {
                status: hyper::StatusCode::SERVICE_UNAVAILABLE,
                ..reply
            });
        }
        Ok(Reply::of(revision, &self.health_json(&[])))
    }

    fn health_json(&self, reasons: &[&str]) -> Value {
        let time = self.api.engine.clock().now().time.to_string();
        let status = if reasons.is_empty() { "ok" } else { "stopping" };
        let mut health =
            json!({"status": status, "time": time, "version": env!("CARGO_PKG_VERSION")});
        if !reasons.is_empty() {
            health["reasons"] = json!(reasons);
        }
        health
    }

    /// Whether the caller has this very version already.
    pub(super) fn is_current(&self, etag: &HeaderValue) -> bool {
        let listed = |value: &HeaderValue| {
            let value = value.to_str().unwrap_or_default();
            value
                .split(',')
                .any(|tag| tag.trim().as_bytes() == etag.as_bytes())
        };
        self.headers.get_all(IF_NONE_MATCH).iter().any(listed)
    }

    fn wants_text(&self) -> bool {
        let accept = self
            .headers
            .get(ACCEPT)
            .and_then(|accept| accept.to_str().ok());
        accept.is_some_and(|accept| accept.trim_start().starts_with("text/plain"))
    }

    /// Waits as a long poll on one service asks for. Comes back with the key when the name had to be
    /// read for it.
    pub(super) async fn poll_service(
        &mut self,
        namespace: &Name,
        name: &str,
    ) -> Result<Option<ServiceKey>, Failure> {
        if self.query.is_empty() {
            return Ok(None);
        }
        let key = ServiceKey::new(namespace.clone(), parse_name("name", name)?);
        let at = |catalog: &Catalog| {
            catalog
                .service_at(&key)
                .map_or(Revision(0), |view| view.revision)
        };
        self.long_poll(Interest::service(&key), at).await?;
        Ok(Some(key))
    }

    /// `?revision=N&wait=D`: answers when the revision is beyond N, or D is over; at once when N has
    /// not happened in this cluster.
    async fn long_poll(
        &mut self,
        interest: Interest,
        revision_of: impl Fn(&Catalog) -> Revision,
    ) -> Result<(), Failure> {
        let revision = self.query.integer("revision", 0, u64::MAX)?.map(Revision);
        let Some(wait) = self.query.duration("wait", WAIT_MAX)? else {
            return Ok(());
        };
        let after = revision.unwrap_or_default();
        let seen = {
            let catalog = self.api.engine.catalog();
            let seen = revision_of(&catalog);
            if seen > after || after > catalog.revision() {
                return Ok(());
            }
            seen
        };
        // Whatever changes from here on is beyond `after`. A service that is forgotten has no revision
        // any more, which is news as well.
        let is_news = |catalog: &Catalog| revision_of(catalog) != seen;
        let mut watcher = self.api.engine.watch(interest, Resume::Fresh)?;
        self.has_waited = true;
        let news = async {
            // The watcher was there before this second look, so nothing falls between.
            while !is_news(&self.api.engine.catalog()) {
                while !matches!(watcher.next().await, Event::Change(_) | Event::Reset(..)) {}
            }
        };
        tokio::select! {
            () = news => {}
            () = tokio::time::sleep(wait) => {}
            () = self.api.stopping() => {}
            () = self.api.gate.denied(&self.caller) => {}
        }
        // What was allowed before the wait may no longer be.
        self.judge_again()
    }
}

/// What a selection takes its variety from.
fn variety_of(view: &ServiceView) -> Variety {
    Variety {
        turn: view.next_turn(),
        seed: fastrand::u64(..),
    }
}

/// The service, looked up as it was written first, because most callers write a name as it is shown.
pub(super) fn known<'a>(
    catalog: &'a Catalog,
    namespace: &Name,
    name: &str,
    key: Option<ServiceKey>,
) -> Result<&'a Arc<ServiceView>, Failure> {
    if let Some(view) = catalog.service(namespace.as_str(), name) {
        return Ok(view);
    }
    let key = match key {
        Some(key) => key,
        None => ServiceKey::new(namespace.clone(), parse_name("name", name)?),
    };
    catalog
        .service_at(&key)
        .ok_or_else(|| Failure::service_unknown(catalog, &key))
}

pub(super) fn parse_id(text: &str) -> Result<EndpointId, Failure> {
    Ok(EndpointId::parse(text).map_err(|error| invalid_name("id", text, &error))?)
}

/// The last change of a namespace, or of everything.
pub(super) fn revision_of(catalog: &Catalog, namespace: Option<&Name>) -> Revision {
    match namespace {
        None => catalog.revision(),
        Some(name) => catalog
            .namespace(name.as_str())
            .map_or(Revision(0), |namespace| namespace.revision),
    }
}

/// One page of the list, and whether there is more.
fn page(
    catalog: &Catalog,
    namespace: Option<&Name>,
    (prefix, tag, caller): (&str, Option<&str>, &Caller),
    (limit, cursor): (usize, Option<Cursor>),
) -> (Vec<ServiceSummary>, bool) {
    let namespaces: Vec<&NamespaceView> = match namespace {
        Some(name) => catalog.namespace(name.as_str()).into_iter().collect(),
        None => catalog.namespaces(),
    };
    let tagged =
        |endpoint: &Arc<Endpoint>| tag.is_none_or(|tag| endpoint.tags().iter().any(|t| t == tag));
    let is_readable = |key: &ServiceKey| caller.reads(key.namespace.as_str(), key.name.as_str());
    let matches = |view: &&Arc<ServiceView>| {
        is_readable(&view.key) && (tag.is_none() || view.endpoints.iter().any(tagged))
    };
    let mut services = namespaces
        .into_iter()
        .flat_map(|namespace| names_after(namespace, cursor.as_ref(), prefix))
        .filter(matches);
    let shown: Vec<ServiceSummary> = services.by_ref().take(limit).map(summary).collect();
    let more = services.next().is_some();
    (shown, more)
}

/// The services of a namespace that begin with `prefix` and come after the cursor, in order.
fn names_after<'a>(
    namespace: &'a NamespaceView,
    cursor: Option<&Cursor>,
    prefix: &str,
) -> impl Iterator<Item = &'a Arc<ServiceView>> {
    let names = namespace.names();
    let from = names.partition_point(|name| name.as_str() < prefix);
    let to = from + names[from..].partition_point(|name| name.as_str().starts_with(prefix));
    let names = &names[from..to];
    let seen = cursor.map_or(0, |cursor| {
        match cursor.after.0.as_str().cmp(namespace.name.as_str()) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => {
                names.partition_point(|name| name.as_str() <= cursor.after.1.as_str())
            }
            std::cmp::Ordering::Greater => names.len(),
        }
    });
    names[seen..]
        .iter()
        .filter_map(|name| namespace.service(name.as_str()))
}

fn summary(view: &Arc<ServiceView>) -> ServiceSummary {
    ServiceSummary {
        name: view.key.name.to_string(),
        given_name: view.key.name.given().into(),
        namespace: view.key.namespace.to_string(),
        ready: view.ready_count(),
        total: view.endpoints.len(),
        revision: view.revision.0,
        emptied: view.emptied.map(|emptied| emptied.by.word().into()),
    }
}
