//! Routes: the one table of what the server answers to.
//!
//! A path is taken apart at its slashes and compared segment by segment, exactly: no doubled or
//! trailing slash, no other case, nothing that another program might read differently. Only the
//! segments that hold a caller's name are percent-decoded, once, before anything judges them.
//!
//! What the API document says of a route is compared with [`TABLE`] by a test, in both directions.

use std::borrow::Cow;

use hyper::Method;
use percent_encoding::percent_decode_str;

/// What a path leads to, with the names in it as the caller wrote them, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Services,
    Service {
        name: Cow<'a, str>,
    },
    ServiceUrl {
        name: Cow<'a, str>,
    },
    Select {
        name: Cow<'a, str>,
    },
    Endpoints {
        name: Cow<'a, str>,
    },
    Endpoint {
        name: Cow<'a, str>,
        id: Cow<'a, str>,
    },
    Heartbeat {
        name: Cow<'a, str>,
        id: Cow<'a, str>,
    },
    Drain {
        name: Cow<'a, str>,
        id: Cow<'a, str>,
    },
    Policy {
        name: Cow<'a, str>,
    },
    Heartbeats,
    Watch,
    /// What Prometheus scrapes.
    Targets,
    /// `/services` of the second seed document.
    PlainServices,
    /// `/services/{name}` of the second seed document.
    PlainService {
        name: Cow<'a, str>,
    },
    Health,
    /// `/livez`, the same by the name that Kubernetes gives it.
    Live,
    Ready,
    /// What Prometheus reads of the server itself.
    Metrics,
    /// The API document, for programs.
    OpenApi,
    /// The same for people.
    Docs,
    DocsScript,
    DocsStyle,
}

/// Every route: its path, with the names in it in braces, and its methods, as an `Allow` header names
/// them.
const TABLE: [(&str, &str); 22] = [
    ("/api/v1/services", "GET, HEAD"),
    ("/api/v1/services/{name}", "GET, HEAD, DELETE"),
    ("/api/v1/services/{name}/url", "GET, HEAD"),
    ("/api/v1/services/{name}/select", "POST"),
    ("/api/v1/services/{name}/endpoints", "GET, HEAD, POST"),
    (
        "/api/v1/services/{name}/endpoints/{id}",
        "GET, HEAD, PUT, PATCH, DELETE",
    ),
    ("/api/v1/services/{name}/endpoints/{id}/heartbeat", "PUT"),
    (
        "/api/v1/services/{name}/endpoints/{id}/drain",
        "PUT, DELETE",
    ),
    ("/api/v1/services/{name}/policy", "GET, HEAD, PUT"),
    ("/api/v1/heartbeats", "POST"),
    ("/api/v1/watch", "GET, HEAD"),
    ("/api/v1/sd/prometheus", "GET, HEAD"),
    ("/services", "GET, HEAD"),
    ("/services/{name}", "POST"),
    ("/health", "GET, HEAD"),
    ("/livez", "GET, HEAD"),
    ("/readyz", "GET, HEAD"),
    ("/openapi.json", "GET, HEAD"),
    ("/docs", "GET, HEAD"),
    ("/docs/page.js", "GET, HEAD"),
    ("/docs/page.css", "GET, HEAD"),
    ("/metrics", "GET, HEAD"),
];

/// Rows of the table, and one more for what leads nowhere.
pub(super) const ROUTES: usize = TABLE.len() + 1;

/// The methods that are counted each for itself; HEAD is counted as GET.
pub(super) const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// A route with one of its methods, as a number in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Operation {
    /// Its row in [`TABLE`]; one beyond for what leads nowhere.
    pub(super) route: usize,
    /// Its place in [`METHODS`].
    pub(super) method: usize,
    /// Whether it asks for services or endpoints.
    pub(super) is_query: bool,
}

impl Operation {
    /// What leads nowhere: there is no such route, or it has no such method.
    pub(super) const NONE: Self = Self {
        route: TABLE.len(),
        method: 0,
        is_query: false,
    };
}

/// Every operation, with its path and its method.
pub(super) fn operations() -> impl Iterator<Item = (&'static str, &'static str, Operation)> {
    let of_row = |(path, methods): &(&'static str, &'static str)| {
        let (path, methods) = (*path, methods.split(", "));
        let methods = methods.filter(|method| *method != "HEAD");
        methods.filter_map(move |method| {
            let name = Method::from_bytes(method.as_bytes()).ok()?;
            // What stands in braces is a name like any other.
            Some((path, method, route(path)?.operation(&name)))
        })
    };
    let none = ("none", "other", Operation::NONE);
    TABLE.iter().flat_map(of_row).chain([none])
}

impl Route<'_> {
    /// Its row in [`TABLE`].
    fn row(&self) -> (&'static str, &'static str) {
        TABLE[self.place()]
    }

    /// The place of that row.
    fn place(&self) -> usize {
        match self {
            Self::Services => 0,
            Self::Service { .. } => 1,
            Self::ServiceUrl { .. } => 2,
            Self::Select { .. } => 3,
            Self::Endpoints { .. } => 4,
            Self::Endpoint { .. } => 5,
            Self::Heartbeat { .. } => 6,
            Self::Drain { .. } => 7,
            Self::Policy { .. } => 8,
            Self::Heartbeats => 9,
            Self::Watch => 10,
            Self::Targets => 11,
            Self::PlainServices => 12,
            Self::PlainService { .. } => 13,
            Self::Health => 14,
            Self::Live => 15,
            Self::Ready => 16,
            Self::OpenApi => 17,
            Self::Docs => 18,
            Self::DocsScript => 19,
            Self::DocsStyle => 20,
            Self::Metrics => 21,
        }
    }

    /// The route with this method; [`Operation::NONE`] when it has no such method.
    pub(super) fn operation(&self, method: &Method) -> Operation {
        let place = match *method {
            Method::GET | Method::HEAD => 0,
            Method::POST => 1,
            Method::PUT => 2,
            Method::PATCH => 3,
            Method::DELETE => 4,
            _ => return Operation::NONE,
        };
        if !self.allows(method) {
            return Operation::NONE;
        }
        let is_query = match self {
            Self::Services
            | Self::Service { .. }
            | Self::ServiceUrl { .. }
            | Self::Endpoints { .. }
            | Self::Endpoint { .. }
            | Self::Targets
            | Self::PlainServices => place == 0,
            Self::Select { .. } => true,
            Self::Heartbeat { .. }
            | Self::Drain { .. }
            | Self::Policy { .. }
            | Self::Heartbeats
            | Self::Watch
            | Self::PlainService { .. }
            | Self::Health
            | Self::Live
            | Self::Ready
            | Self::Metrics
            | Self::OpenApi
            | Self::Docs
            | Self::DocsScript
            | Self::DocsStyle => false,
        };
        Operation {
            route: self.place(),
            method: place,
            is_query,
        }
    }

    /// The methods that the route has, as an `Allow` header names them.
    pub(super) fn methods(&self) -> &'static str {
        self.row().1
    }

    /// Whether the route has this method.
    fn allows(&self, method: &Method) -> bool {
        let mut allowed = self.methods().as_bytes().split(|byte| *byte == b',');
        allowed.any(|allowed| allowed.trim_ascii_start() == method.as_str().as_bytes())
    }
}

/// The route of a path; `None` when there is none.
pub(super) fn route(path: &str) -> Option<Route<'_>> {
    if let Some(rest) = path.strip_prefix("/api/v1/services") {
        return match rest.strip_prefix('/') {
            Some(rest) => service_route(rest),
            None => rest.is_empty().then_some(Route::Services),
        };
    }
    if let Some(name) = path.strip_prefix("/services/") {
        return Some(Route::PlainService {
            name: segment(name)?,
        });
    }
    match path {
        "/api/v1/heartbeats" => Some(Route::Heartbeats),
        "/api/v1/watch" => Some(Route::Watch),
        "/services" => Some(Route::PlainServices),
        "/api/v1/sd/prometheus" => Some(Route::Targets),
        "/health" => Some(Route::Health),
        "/livez" => Some(Route::Live),
        "/readyz" => Some(Route::Ready),
        "/metrics" => Some(Route::Metrics),
        "/openapi.json" => Some(Route::OpenApi),
        "/docs" => Some(Route::Docs),
        "/docs/page.js" => Some(Route::DocsScript),
        "/docs/page.css" => Some(Route::DocsStyle),
        _ => None,
    }
}

/// What follows `/api/v1/services/`.
fn service_route(rest: &str) -> Option<Route<'_>> {
    let mut segments = rest.split('/');
    let name = segment(segments.next()?)?;
    let (second, id, last) = (segments.next(), segments.next(), segments.next());
    if segments.next().is_some() {
        return None;
    }
    match (second, id, last) {
        (None, ..) => Some(Route::Service { name }),
        (Some("url"), None, _) => Some(Route::ServiceUrl { name }),
        (Some("select"), None, _) => Some(Route::Select { name }),
        (Some("policy"), None, _) => Some(Route::Policy { name }),
        (Some("endpoints"), None, _) => Some(Route::Endpoints { name }),
        (Some("endpoints"), Some(id), None) => Some(Route::Endpoint {
            name,
            id: segment(id)?,
        }),
        (Some("endpoints"), Some(id), Some("heartbeat")) => Some(Route::Heartbeat {
            name,
            id: segment(id)?,
        }),
        (Some("endpoints"), Some(id), Some("drain")) => Some(Route::Drain {
            name,
            id: segment(id)?,
        }),
        _ => None,
    }
}

/// A caller's name: not empty, in one piece, percent-decoded once.
fn segment(raw: &str) -> Option<Cow<'_, str>> {
    if raw.is_empty() || raw.contains('/') {
        return None;
    }
    if raw.contains('%') {
        return Some(percent_decode_str(raw).decode_utf8_lossy());
    }
    Some(Cow::Borrowed(raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_the_contract_says() {
        let web = || Cow::Borrowed("web");
        let a = || Cow::Borrowed("a");
        let cases = [
            ("/api/v1/services", Some(Route::Services)),
            ("/api/v1/services/web", Some(Route::Service { name: web() })),
            (
                "/api/v1/services/web/url",
                Some(Route::ServiceUrl { name: web() }),
            ),
            (
                "/api/v1/services/web/select",
                Some(Route::Select { name: web() }),
            ),
            (
                "/api/v1/services/web/policy",
                Some(Route::Policy { name: web() }),
            ),
            (
                "/api/v1/services/web/endpoints",
                Some(Route::Endpoints { name: web() }),
            ),
            (
                "/api/v1/services/web/endpoints/a",
                Some(Route::Endpoint {
                    name: web(),
                    id: a(),
                }),
            ),
            (
                "/api/v1/services/web/endpoints/a/heartbeat",
                Some(Route::Heartbeat {
                    name: web(),
                    id: a(),
                }),
            ),
            (
                "/api/v1/services/web/endpoints/a/drain",
                Some(Route::Drain {
                    name: web(),
                    id: a(),
                }),
            ),
            (
                "/api/v1/services/w%65b",
                Some(Route::Service { name: web() }),
            ),
            (
                "/api/v1/services/w%2565b",
                Some(Route::Service {
                    name: Cow::Borrowed("w%65b"),
                }),
            ),
            ("/api/v1/heartbeats", Some(Route::Heartbeats)),
            ("/api/v1/watch", Some(Route::Watch)),
            ("/services", Some(Route::PlainServices)),
            ("/services/web", Some(Route::PlainService { name: web() })),
            ("/health", Some(Route::Health)),
            ("/livez", Some(Route::Live)),
            ("/readyz", Some(Route::Ready)),
            ("/metrics", Some(Route::Metrics)),
        ];
        for (path, expected) in cases {
            assert_eq!(route(path), expected, "{path}");
        }
    }

    /// The path of a row with a name in each of its places.
    fn filled(template: &str) -> String {
        template.replace("{name}", "web").replace("{id}", "a")
    }

    #[test]
    fn every_row_of_the_table_is_the_row_of_its_path() {
        for (template, methods) in TABLE {
            let path = filled(template);
            let row = route(&path).map(|route| route.row());
            assert_eq!(row, Some((template, methods)), "{path}");
        }
    }

    #[test]
    fn every_operation_is_counted_for_itself() {
        let all: Vec<_> = operations().map(|(_, _, operation)| operation).collect();
        for (at, (path, method, operation)) in operations().enumerate() {
            let is_twin = |other: &Operation| {
                (other.route, other.method) == (operation.route, operation.method)
            };
            assert!(!all[..at].iter().any(is_twin), "{method} {path}");
            let is_nowhere = operation == Operation::NONE;
            assert_eq!(is_nowhere, path == "none", "{method} {path}");
        }
        let url = Route::ServiceUrl { name: "a".into() };
        assert_eq!(url.operation(&Method::HEAD), url.operation(&Method::GET));
        assert_eq!(url.operation(&Method::PUT), Operation::NONE);
    }

    #[test]
    fn the_document_has_every_route_and_method_and_no_other() {
        let document: serde_json::Value =
            serde_json::from_slice(super::super::docs::OPENAPI).expect("it is JSON");
        let of_table = TABLE.iter().flat_map(|(template, methods)| {
            let methods = methods.split(", ").filter(|method| *method != "HEAD");
            methods.map(move |method| format!("{method} {template}"))
        });
        let paths = document["paths"].as_object().expect("it has paths");
        let of_document = paths.iter().flat_map(|(path, item)| {
            let members = item.as_object().into_iter().flatten();
            let methods = members.filter(|(name, _)| *name != "parameters");
            methods.map(move |(method, _)| format!("{} {path}", method.to_uppercase()))
        });
        let sorted = |mut all: Vec<String>| {
            all.sort();
            all
        };
        assert_eq!(sorted(of_document.collect()), sorted(of_table.collect()));
    }

    #[test]
    fn there_is_no_way_around_a_path() {
        for path in [
            "/",
            "//api/v1/services",
            "/api/v1/services/",
            "/api/v1//services",
            "/api/v1/servicesx",
            "/api/v1/services//url",
            "/api/v1/services/web/",
            "/api/v1/services/web/url/",
            "/api/v1/services/web/URL",
            "/API/v1/services",
            "/api/v1/services/web/endpoints/",
            "/api/v1/services/web/endpoints/a/heartbeat/x",
            "/api/v1/services/web/endpoints/a/b",
            "/api/v1/services/web/%75rl",
            "/%61pi/v1/services",
            "/services/",
            "/services/web/x",
            "/health/",
        ] {
            assert_eq!(route(path), None, "{path}");
        }
    }
}
