//! Errors: the only place that knows which refusal is which problem.

use std::time::Duration;

use hermes_core::catalog::Catalog;
use hermes_core::change::ChangeKind;
use hermes_core::explain::why_not_ready;
use hermes_core::name::{EndpointId, Name, ServiceKey};
use hermes_core::nearest::nearest;
use hermes_core::rejection::Rejection;
use hermes_core::time::Timestamp;
use hermes_core::wire::problem::{Problem, ProblemEndpoint, ProblemLimit, code};
use hermes_discovery::engine::{Refusal, TooManyWatchers};
use hyper::Method;

use crate::auth::Caller;

/// Endpoints that a problem document lists at most.
const ENDPOINTS_MAX: usize = 20;

/// A problem on its way out, with the headers that go with it.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) problem: Box<Problem>,
    pub(super) retry_after_seconds: Option<u32>,
    pub(super) allow: Option<&'static str>,
}

impl Failure {
    pub(super) fn method_not_allowed(method: &Method, allowed: &'static str) -> Self {
        let detail = format!("This route has no method {method}. It has {allowed}.");
        let failure = Self::from(Problem::new(code::METHOD_NOT_ALLOWED, detail));
        Self {
            allow: Some(allowed),
            ..failure
        }
    }

    pub(super) fn route_unknown(path: &str) -> Self {
        let path: String = path.chars().take(256).collect();
        let detail = format!(
            "There is nothing at {path}. The API begins at /api/v1/services; paths have no doubled \
             and no trailing slashes."
        );
        Problem::new(code::ROUTE_UNKNOWN, detail).into()
    }

    pub(super) fn too_large(what: &str, max: usize) -> Self {
        let detail = format!("The {what} is larger than the {max} bytes that are read. Send less.");
        let limit = Some(ProblemLimit {
            what: format!("bytes of the {what}"),
            max,
        });
        Problem {
            limit,
            ..Problem::new(code::TOO_LARGE, detail)
        }
        .into()
    }

    /// One request more than a key or an address may make.
    pub(super) fn rate_limited(wait: Duration) -> Self {
        let detail = "There are more requests with this key, or from this address, than the server \
                      takes. Nothing was done. Try again after the time in Retry-After, and send many \
                      heartbeats in one request.";
        let seconds = wait.as_secs().saturating_add(1);
        Self {
            retry_after_seconds: Some(u32::try_from(seconds).unwrap_or(u32::MAX)),
            ..Self::from(Problem::new(code::RATE_LIMITED, detail))
        }
    }

    /// `service` is not known; the names that are nearest to it come from `catalog`.
    pub(super) fn service_unknown(catalog: &Catalog, service: &ServiceKey) -> Self {
        let names = catalog
            .namespace(service.namespace.as_str())
            .map(|view| view.names());
        let names = names.unwrap_or_default().iter().map(Name::as_str);
        let near: Vec<String> = nearest(service.name.as_str(), names)
            .into_iter()
            .map(Into::into)
            .collect();
        let hint = match near.first() {
            Some(near) => format!("Did you mean `{near}`?"),
            None => "Has it been registered, and in this namespace?".into(),
        };
        let detail = format!("No service `{service}` is known here. {hint}");
        let service_name = Some(service.name.to_string());
        let problem = Problem::new(code::SERVICE_UNKNOWN, detail);
        Problem {
            nearest: near,
            service_name,
            ..problem
        }
        .into()
    }

    /// The same for somebody who may not read everything: without the names that are near.
    pub(super) fn shown_to(mut self, caller: &Caller) -> Self {
        if caller.is_bounded() && self.problem.code == code::SERVICE_UNKNOWN {
            self.problem.nearest.clear();
            self.problem.detail =
                "No such service is known here. Has it been registered, and in this \
                                   namespace?"
                    .into();
        }
        self
    }

    /// The service is known, but none of its endpoints may be handed out. Says why for each.
    pub(super) fn nothing_ready(catalog: &Catalog, service: &ServiceKey, asked: &str) -> Self {
        let Some(view) = catalog.service_at(service) else {
            return Self::service_unknown(catalog, service);
        };
        let reason_of = |endpoint: &std::sync::Arc<hermes_core::endpoint::Endpoint>| {
            let reason = why_not_ready(endpoint).map(|reason| reason.to_string());
            ProblemEndpoint {
                id: endpoint.id.to_string(),
                health_status: endpoint.state.health().word().into(),
                flags: endpoint.flags().into_iter().map(Into::into).collect(),
                health_reason: reason.unwrap_or_else(|| format!("ready, but {asked}")),
            }
        };
        let endpoints: Vec<_> = view
            .endpoints
            .iter()
            .take(ENDPOINTS_MAX)
            .map(reason_of)
            .collect();
        let detail = match (view.endpoints.len(), view.emptied) {
            (0, Some(emptied)) => format!(
                "`{service}` is known but has no endpoint: the last one was {} at {}. Start one, or \
                 wait for one to register.",
                emptied.by.word(),
                emptied.at
            ),
            (total, _) => {
                let first = endpoints.first();
                let first = first.map(|e| format!(" `{}`: {}.", e.id, e.health_reason));
                let noun = if total == 1 { "endpoint" } else { "endpoints" };
                format!(
                    "`{service}` has {total} {noun}, {} of them ready, and none can be handed \
                     out.{} `endpoints` says why for each.",
                    view.ready_count(),
                    first.unwrap_or_default()
                )
            }
        };
        let service_name = Some(service.name.to_string());
        let problem = Problem::new(code::NOTHING_READY, detail);
        Problem {
            endpoints,
            service_name,
            ..problem
        }
        .into()
    }

    /// The refusal of a change, with what `catalog` knows about the names in it.
    pub(super) fn of_refusal(refusal: Refusal, catalog: &Catalog) -> Self {
        match refusal {
            Refusal::Rejected(rejection) => Self::of_rejection(rejection, catalog),
            Refusal::Overloaded { waiting } => {
                let detail = format!(
                    "{waiting} requests are waiting already, which is the limit. Nothing was \
                     changed. Try again after the time in Retry-After."
                );
                Self::later(Problem::new(code::OVERLOADED, detail))
            }
            Refusal::LogUnavailable(why) => {
                let detail = format!(
                    "The change could not be made durable ({why}), so it was not made. Reads go on, \
                     and nothing expires meanwhile. Try again after the time in Retry-After."
                );
                Self::later(Problem::new(code::LOG_UNAVAILABLE, detail))
            }
            _ => {
                let detail = "The server is stopping and takes no more changes. Nothing was changed. \
                              Try again at another server, or later.";
                Self::later(Problem::new(code::STOPPING, detail))
            }
        }
    }

    pub(super) fn of_rejection(rejection: Rejection, catalog: &Catalog) -> Self {
        match rejection {
            Rejection::ServiceUnknown { service } => Self::service_unknown(catalog, &service),
            Rejection::EndpointUnknown { service, id } => {
                Self::endpoint_unknown(catalog, &service, &id)
            }
            Rejection::EndpointGone {
                service,
                id,
                by,
                at,
            } => Self::endpoint_gone(&service, &id, by, at),
            Rejection::IncarnationStale {
                service,
                id,
                current,
            } => {
                let detail = format!(
                    "`{id}` of `{service}` is at incarnation {current}: a newer process has taken \
                     its place. The older one should stop speaking for it."
                );
                let problem = Problem::new(code::INCARNATION_STALE, detail);
                let service_name = Some(service.name.to_string());
                Problem {
                    service_name,
                    incarnation: Some(current.0),
                    ..problem
                }
                .into()
            }
            Rejection::NotOwner { service, id, owner } => {
                let detail = format!(
                    "`{id}` of `{service}` belongs to `{owner}`, so nothing was changed. Use a key of \
                     that owner, or of an admin."
                );
                let service_name = Some(service.name.to_string());
                Problem {
                    service_name,
                    ..Problem::new(code::NOT_OWNER, detail)
                }
                .into()
            }
            Rejection::LimitReached { what, max } => {
                let detail = format!(
                    "The limit of {max} {what} is reached, so nothing was changed. Remove some, or \
                     raise the limit."
                );
                let limit = Some(ProblemLimit {
                    what: what.into(),
                    max,
                });
                Problem {
                    limit,
                    ..Problem::new(code::LIMIT_REACHED, detail)
                }
                .into()
            }
            Rejection::ConditionFailed { service, current } => {
                let detail = format!(
                    "The condition of the request does not hold: `{service}` is at revision \
                     {current}. Nothing was changed. Read it again, then decide."
                );
                let problem = Problem::new(code::PRECONDITION_FAILED, detail);
                Problem {
                    service_name: Some(service.name.to_string()),
                    ..problem
                }
                .into()
            }
            other => Problem::new(code::INVALID_FIELD, other.to_string()).into(),
        }
    }

    fn endpoint_unknown(catalog: &Catalog, service: &ServiceKey, id: &EndpointId) -> Self {
        let view = catalog.service_at(service);
        let ids = view
            .iter()
            .flat_map(|view| view.endpoints.iter().map(|e| e.id.as_str()));
        let near = nearest(id.as_str(), ids)
            .into_iter()
            .map(Into::into)
            .collect();
        let detail = format!(
            "`{service}` has no endpoint `{id}` and remembers none of that id. Look at the id, or \
             register it."
        );
        let service_name = Some(service.name.to_string());
        let problem = Problem::new(code::ENDPOINT_UNKNOWN, detail);
        Problem {
            nearest: near,
            service_name,
            ..problem
        }
        .into()
    }

    fn endpoint_gone(service: &ServiceKey, id: &EndpointId, by: ChangeKind, at: Timestamp) -> Self {
        let by = by.word();
        let detail = format!(
            "`{id}` of `{service}` was removed at {at} ({by}). Whoever it is should register again."
        );
        let problem = Problem::new(code::ENDPOINT_GONE, detail);
        let service_name = Some(service.name.to_string());
        let (reason, removed_at) = (Some(by.into()), Some(at.to_string()));
        Problem {
            service_name,
            reason,
            removed_at,
            ..problem
        }
        .into()
    }

    /// A failure that may be over in a second.
    fn later(problem: Problem) -> Self {
        Self {
            retry_after_seconds: Some(1),
            ..Self::from(problem)
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self {
            problem: Box::new(problem),
            retry_after_seconds: None,
            allow: None,
        }
    }
}

impl From<TooManyWatchers> for Failure {
    fn from(TooManyWatchers { max }: TooManyWatchers) -> Self {
        let detail = format!(
            "There are {max} watchers already, which is the limit. Watch several services with one \
             request, or raise the limit."
        );
        let limit = Some(ProblemLimit {
            what: "watchers".into(),
            max,
        });
        Problem {
            limit,
            ..Problem::new(code::LIMIT_REACHED, detail)
        }
        .into()
    }
}
