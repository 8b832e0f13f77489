//! Routes: the one table of what the server answers to.
//!
//! A path is taken apart at its slashes and compared segment by segment, exactly: no doubled or
//! trailing slash, no other case, nothing that another program might read differently. Only the
//! segments that hold a caller's name are percent-decoded, once, before anything judges them.

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
    Heartbeats,
    Watch,
    /// `/services` of the second seed document.
    PlainServices,
    /// `/services/{name}` of the second seed document.
    PlainService {
        name: Cow<'a, str>,
    },
    /// `/health` and `/livez`.
    Health,
    Ready,
}

impl Route<'_> {
    /// The methods that the route has, as an `Allow` header names them.
    pub(super) fn methods(&self) -> &'static str {
        match self {
            Self::Services
            | Self::ServiceUrl { .. }
            | Self::Watch
            | Self::PlainServices
            | Self::Health
            | Self::Ready => "GET, HEAD",
            Self::Service { .. } => "GET, HEAD, DELETE",
            Self::Select { .. } | Self::Heartbeats | Self::PlainService { .. } => "POST",
            Self::Endpoints { .. } => "GET, HEAD, POST",
            Self::Endpoint { .. } => "GET, HEAD, PUT, PATCH, DELETE",
            Self::Heartbeat { .. } => "PUT",
            Self::Drain { .. } => "PUT, DELETE",
        }
    }

    /// Whether the route has this method.
    pub(super) fn allows(&self, method: &Method) -> bool {
        self.methods()
            .split(',')
            .any(|allowed| allowed.trim_start() == method.as_str())
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
        "/health" | "/livez" => Some(Route::Health),
        "/readyz" => Some(Route::Ready),
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
            ("/livez", Some(Route::Health)),
            ("/readyz", Some(Route::Ready)),
        ];
        for (path, expected) in cases {
            assert_eq!(route(path), expected, "{path}");
        }
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
