//! The answers about one service, put together from bytes that were encoded before.
//!
//! An endpoint is encoded once for each change of it. The list of a service is a concatenation of
//! those, kept for a second where it is long, under a budget for all of them. What differs for each
//! request, which endpoint is selected, is written between two pieces.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use hermes_core::budget::{Budget, Share};
use hermes_core::catalog::ServiceView;
use hermes_core::endpoint::Endpoint;
use hermes_core::name::Name;
use hermes_core::time::Moment;

use super::digits::Decimal;

/// Lists of fewer endpoints are put together faster than they are looked up.
const KEPT_FROM: usize = 16;
/// How long a list is kept. It bounds the age of every `last_heartbeat` in it.
const KEPT_MILLIS: u64 = 1_000;

/// The lists of one view, in the view's slot.
#[derive(Debug, Default)]
struct Lists {
    ready: ArcSwapOption<Kept>,
    all: ArcSwapOption<Kept>,
}

/// A list that was put together before.
#[derive(Debug)]
struct Kept {
    json: Vec<u8>,
    until: Moment,
    _share: Share,
}

/// A `ServiceDiscoveryResponse` about `view` with `selected` chosen for this request, and all its
/// endpoints, or only the ready ones. With it comes whether all of it had been encoded before.
pub(super) fn service_json(
    view: &ServiceView,
    selected: Option<&Endpoint>,
    all: bool,
    (now, budget): (Moment, &Arc<Budget>),
) -> (Vec<u8>, bool) {
    let kept = keeper(view, all);
    let list = kept
        .and_then(|kept| kept.load_full())
        .filter(|kept| now < kept.until);
    if let Some(list) = list {
        return with_selection(view, selected, list.json.len(), |out| {
            out.extend_from_slice(&list.json);
            true
        });
    }
    let chosen = |endpoint: &&Arc<Endpoint>| all || endpoint.is_ready();
    let endpoints = || {
        view.endpoints
            .iter()
            .filter(chosen)
            .map(|endpoint| &**endpoint)
    };
    let Some(kept) = kept else {
        let size = endpoints()
            .map(|endpoint| endpoint.json_size_hint() + 1)
            .sum();
        return with_selection(view, selected, size, |out| {
            write_tail(out, view, endpoints())
        });
    };
    let mut json = Vec::new();
    write_tail(&mut json, view, endpoints());
    json.shrink_to_fit();
    let answer = with_selection(view, selected, json.len(), |out| {
        out.extend_from_slice(&json);
        false
    });
    if let Some(share) = budget.take(json.len()) {
        let until = Moment(now.0 + KEPT_MILLIS);
        kept.store(Some(Arc::new(Kept {
            json,
            until,
            _share: share,
        })));
    }
    answer
}

/// A `UrlAnswer`: only the URL that was selected for this request. Neither names nor URLs hold
/// anything that JSON would escape; their parsers see to that.
pub(super) fn url_json(name: &Name, url: &str, cache_ttl: u64) -> Vec<u8> {
    let cache_ttl = Decimal::from(cache_ttl);
    let parts: [&[u8]; 7] = [
        b"{\"service_name\":\"",
        name.as_str().as_bytes(),
        b"\",\"selected_url\":\"",
        url.as_bytes(),
        b"\",\"cache_ttl\":",
        cache_ttl.as_bytes(),
        b"}",
    ];
    parts.concat()
}

/// A `ServiceDiscoveryResponse` with a list of its own: the endpoints that were selected, best first. `url` is that of
/// the port that was asked for. With it comes whether all of them had been encoded before.
pub(super) fn selection_json(
    view: &ServiceView,
    chosen: &[Arc<Endpoint>],
    url: Option<&str>,
) -> (Vec<u8>, bool) {
    let mut out = Vec::with_capacity(1_024 * (chosen.len() + 1));
    let first = chosen.first();
    write_front(
        &mut out,
        view,
        first.and_then(|e| Some((url?, e.id.as_str()))),
    );
    let was_encoded = write_tail(&mut out, view, chosen.iter().map(|endpoint| &**endpoint));
    (out, was_encoded)
}

/// Where the list of a view is kept; `None` when it is too short for that.
fn keeper(view: &ServiceView, all: bool) -> Option<&ArcSwapOption<Kept>> {
    if view.endpoints.len() < KEPT_FROM {
        return None;
    }
    let lists: &Lists = view.forms.get_or_init(Lists::default)?;
    Some(if all { &lists.all } else { &lists.ready })
}

fn with_selection(
    view: &ServiceView,
    selected: Option<&Endpoint>,
    size: usize,
    write_list: impl FnOnce(&mut Vec<u8>) -> bool,
) -> (Vec<u8>, bool) {
    const FRONT: usize = 768;
    let mut out = Vec::with_capacity(FRONT + size);
    let selected = selected.map(|e| (&*e.registration().address.url, e.id.as_str()));
    write_front(&mut out, view, selected);
    let was_encoded = write_list(&mut out);
    (out, was_encoded)
}

/// Everything up to the list. Names, ids and URLs hold nothing that JSON would escape; their parsers
/// see to that.
fn write_front(out: &mut Vec<u8>, view: &ServiceView, selected: Option<(&str, &str)>) {
    let (name, namespace) = (&view.key.name, view.key.namespace.as_str());
    let (before, between, null) = (",\"selected_url\":", ",\"selected_id\":", "null");
    let mut put = |text: &str| out.extend_from_slice(text.as_bytes());
    [
        "{\"service_name\":\"",
        name.as_str(),
        "\",\"given_name\":\"",
        name.given(),
        "\",\"namespace\":\"",
        namespace,
        "\"",
        before,
    ]
    .into_iter()
    .for_each(&mut put);
    match selected {
        Some((url, id)) => ["\"", url, "\"", between, "\"", id, "\""]
            .into_iter()
            .for_each(put),
        None => [null, between, null].into_iter().for_each(put),
    }
}

/// The list and everything after it. Gives back whether all endpoints had been encoded before.
fn write_tail<'a>(
    out: &mut Vec<u8>,
    view: &ServiceView,
    endpoints: impl Iterator<Item = &'a Endpoint>,
) -> bool {
    let cache_ttl = Decimal::from(view.policy.cache_ttl());
    put(out, &[b",\"cache_ttl\":", cache_ttl.as_bytes()]);
    put(out, &[b",\"endpoints\":"]);
    let was_encoded = write_list(out, endpoints);
    let ready = Decimal::from(view.ready_count() as u64);
    let total = Decimal::from(view.endpoints.len() as u64);
    put(out, &[b",\"ready\":", ready.as_bytes()]);
    put(out, &[b",\"total\":", total.as_bytes()]);
    match view.emptied {
        Some(emptied) => {
            let word = emptied.by.word().as_bytes();
            put(out, &[b",\"emptied\":\"", word, b"\""]);
        }
        None => put(out, &[b",\"emptied\":null"]),
    }
    let revision = Decimal::from(view.revision.0);
    put(out, &[b",\"revision\":", revision.as_bytes(), b"}"]);
    was_encoded
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// A JSON list of endpoints. Gives back whether all of them had been encoded before.
pub(super) fn write_list<'a>(
    out: &mut Vec<u8>,
    endpoints: impl Iterator<Item = &'a Endpoint>,
) -> bool {
    let mut were_encoded = true;
    out.push(b'[');
    for (at, endpoint) in endpoints.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        were_encoded &= endpoint.write_json(out);
    }
    out.push(b']');
    were_encoded
}

#[cfg(test)]
mod tests {
    use hermes_core::wire::answer::UrlAnswer;

    use super::*;

    #[test]
    fn what_is_put_together_is_what_the_wire_type_says() {
        let (name, url) = (Name::parse("web").unwrap(), "http://[::1]:8080/a%20b");
        let answer = UrlAnswer {
            service_name: "web".into(),
            selected_url: url.into(),
            cache_ttl: 300,
        };
        assert_eq!(
            url_json(&name, url, 300),
            serde_json::to_vec(&answer).unwrap()
        );
    }
}
