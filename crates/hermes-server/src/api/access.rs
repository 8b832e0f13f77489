//! Access: what each route asks of its caller, and whether this caller may.
//!
//! A route that is not in [`Route::access`] does not compile, and a path that is no route asks for a
//! key like the others: so what is not allowed is denied, and nobody without a key learns which paths
//! there are. Names are folded before they are judged, by the rules of the handlers behind.

use std::borrow::Cow;
use std::net::IpAddr;

use hermes_core::name::{DEFAULT_NAMESPACE, Name};
use hermes_core::wire::problem::{Problem, code};
use hyper::header::{HOST, ORIGIN};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method};

use super::error::Failure;
use super::route::Route;
use super::{Api, Call, Peer, parse_name};
use crate::auth::{Caller, Denied, Over, Role, Subject};

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing, not even a key.
    Open,
    /// To be allowed to read the service it names; a route that names none shows only such services.
    Read,
    /// To be allowed to write to the service it names; a route that names none judges each.
    Write,
    /// To be allowed everything: what it sets holds for all who register under the name.
    Administer,
}

impl Route<'_> {
    /// What the route asks of whoever calls it with `method`.
    pub(super) fn access(&self, method: &Method) -> Access {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        match self {
            Self::Health | Self::Live | Self::Ready => Access::Open,
            // How one speaks with a Hermes is no secret.
            Self::OpenApi | Self::Docs | Self::DocsScript | Self::DocsStyle => Access::Open,
            Self::Services
            | Self::ServiceUrl { .. }
            | Self::Select { .. }
            | Self::Watch
            | Self::Targets
            | Self::Metrics
            | Self::PlainServices => Access::Read,
            Self::Service { .. } | Self::Endpoints { .. } | Self::Endpoint { .. } if reads => {
                Access::Read
            }
            Self::Policy { .. } if reads => Access::Read,
            Self::Policy { .. } => Access::Administer,
            Self::Service { .. }
            | Self::Endpoints { .. }
            | Self::Endpoint { .. }
            | Self::Heartbeat { .. }
            | Self::Drain { .. }
            | Self::Heartbeats
            | Self::PlainService { .. } => Access::Write,
        }
    }

    /// The service that the path names, as the caller wrote it.
    fn service(&self) -> Option<&str> {
        match self {
            Self::Service { name }
            | Self::ServiceUrl { name }
            | Self::Select { name }
            | Self::Endpoints { name }
            | Self::Endpoint { name, .. }
            | Self::Heartbeat { name, .. }
            | Self::Drain { name, .. }
            | Self::Policy { name }
            | Self::PlainService { name } => Some(name),
            Self::Services
            | Self::Heartbeats
            | Self::Watch
            | Self::Targets
            | Self::PlainServices
            | Self::Health
            | Self::Live
            | Self::Ready
            | Self::Metrics
            | Self::OpenApi
            | Self::Docs
            | Self::DocsScript
            | Self::DocsStyle => None,
        }
    }

    /// Whether `?namespace=` says which namespace is meant; the routes of the seed only know one.
    fn has_namespace(&self) -> bool {
        !matches!(self, Self::PlainServices | Self::PlainService { .. })
    }
}

impl Api {
    /// Who is asking, if they may ask at all, and not too often.
    pub(super) fn admit(
        &self,
        route: Option<&Route<'_>>,
        parts: &Parts,
        peer: &Peer,
    ) -> Result<Caller, Failure> {
        let access = route.map(|route| route.access(&parts.method));
        let admitted = match access {
            Some(Access::Open) => Ok(Caller::Anonymous),
            Some(Access::Read | Access::Write | Access::Administer) | None => {
                self.gate.admit(&parts.headers)
            }
        };
        // Whoever has no good key is counted by address, so that guessing is counted, too.
        let subject = match &admitted {
            Ok(Caller::Key(key)) => Subject::Key(key.id),
            _ => peer.subject,
        };
        if !peer.is_loopback || self.limits_loopback {
            let now = self.engine.clock().moment();
            self.limiter
                .count(subject, now)
                .map_err(Failure::rate_limited)?;
        }
        admitted.map_err(Failure::denied)
    }
}

impl Call<'_> {
    /// Whether the caller may use the route, on the names that it speaks of.
    pub(super) fn judge(&self, route: &Route<'_>, method: &Method) -> Result<(), Failure> {
        if let (Caller::Open, Access::Write | Access::Administer) =
            (&self.caller, route.access(method))
        {
            return check_origin(self.headers);
        }
        if self.caller.may_everything() {
            return Ok(());
        }
        let (role, reads) = match route.access(method) {
            Access::Open => return Ok(()),
            Access::Read => (Role::Read, true),
            Access::Write => (Role::Register, false),
            Access::Administer => {
                return Err(self.not_allowed("policies of services need the role `admin`"));
            }
        };
        if !self.caller.has(role) {
            let what = "registering and changing need the role `register` or `admin`";
            return Err(self.not_allowed(what));
        }
        if matches!(route, Route::Metrics) {
            // They speak of no name, and so of no namespace.
            return Ok(());
        }
        let namespace = match self.query.peek("namespace") {
            Some(text) if route.has_namespace() => Some(text),
            _ => None,
        };
        let namespace = match namespace {
            None => Cow::Borrowed(DEFAULT_NAMESPACE),
            // Every namespace: what is shown of each is judged one by one, where `*` is understood.
            Some("*") if route.service().is_none() => return Ok(()),
            // Not a name: the handler says so to those who may name any.
            Some("*") => Cow::Borrowed("*"),
            Some(text) => folded("namespace", text)?,
        };
        if !self.caller.reaches(&namespace) {
            let what = format!("the namespace `{namespace}` is outside of its scope");
            return Err(self.not_allowed(&what));
        }
        let Some(name) = route.service() else {
            return Ok(());
        };
        let name = folded("name", name)?;
        self.judge_name(&namespace, &name, reads)
    }

    /// Whether the caller may read, or else write to, a service.
    pub(super) fn judge_name(
        &self,
        namespace: &str,
        name: &str,
        reads: bool,
    ) -> Result<(), Failure> {
        let may = if reads {
            self.caller.reads(namespace, name)
        } else {
            self.caller.writes(namespace, name)
        };
        if may {
            return Ok(());
        }
        let deed = if reads { "read" } else { "registered" };
        let what =
            format!("`{namespace}/{name}` is not among the names that may be {deed} with it");
        Err(self.not_allowed(&what))
    }

    /// Who the caller is after a while: the key may have been revoked meanwhile.
    pub(super) fn judge_again(&mut self) -> Result<(), Failure> {
        self.caller = self.api.gate.again(&self.caller).map_err(Failure::denied)?;
        Ok(())
    }

    fn not_allowed(&self, what: &str) -> Failure {
        let whose = match self.caller.actor() {
            Some(name) => format!("The key `{name}` is good, but not for this"),
            None => "Without a key only reading is allowed".into(),
        };
        let detail = format!("{whose}: {what}. Nothing was changed. Use a key that allows it.");
        Problem::new(code::NOT_ALLOWED, detail).into()
    }
}

impl Failure {
    /// Why somebody is not let in. Nothing of what was shown is repeated.
    pub(super) fn denied(denied: Denied) -> Self {
        let (code, detail) = match denied {
            Denied::Missing => (
                code::KEY_MISSING,
                "This server asks for a key, and the request has none. Send one in the header \
                 `X-API-Key`, or as `Authorization: Bearer`; commands read it from HERMES_API_KEY or \
                 from the file that HERMES_API_KEY_FILE names. `hermes key create` makes one."
                    .to_owned(),
            ),
            Denied::Unknown => (
                code::KEY_INVALID,
                "The key is not one of this server. Was it copied whole, and is this the right \
                 server? `hermes key list` shows the keys there are."
                    .to_owned(),
            ),
            Denied::Over(Over::Revoked(at)) => (
                code::KEY_INVALID,
                format!("The key was revoked at {at}. `hermes key create` makes another."),
            ),
            Denied::Over(Over::Expired(at)) => (
                code::KEY_INVALID,
                format!("The key has expired at {at}. `hermes key rotate` makes the next."),
            ),
            Denied::Several => (
                code::KEY_INVALID,
                "The request has several keys, and they differ. Send one.".to_owned(),
            ),
        };
        Problem::new(code, detail).into()
    }
}

/// A name from outside, folded. One that is right already costs nothing; whether it is a name at all
/// is the handler's affair.
fn folded<'a>(what: &str, text: &'a str) -> Result<Cow<'a, str>, Failure> {
    let is_folded = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if text.bytes().all(is_folded) {
        return Ok(Cow::Borrowed(text));
    }
    let name: Name = parse_name(what, text)?;
    Ok(Cow::Owned(name.as_str().to_owned()))
}

/// Where nobody is asked for a key, a page that somebody looks at on this machine could write as well:
/// browsers send such requests for any page, and say of which origin it is. Only pages of the server
/// itself may, by an address that no name server of a stranger can lead elsewhere.
fn check_origin(headers: &HeaderMap) -> Result<(), Failure> {
    let Some(origin) = headers.get(ORIGIN) else {
        return Ok(());
    };
    let origin = origin.to_str().unwrap_or_default();
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let of_origin = origin.split_once("://").map(|(_scheme, host)| host);
    let is_own = of_origin.is_some() && of_origin == host;
    if is_own && host.is_some_and(is_local) {
        return Ok(());
    }
    let shown: String = origin.chars().take(64).collect();
    let detail = format!(
        "A page of `{shown}` asks for a change, and this server asks nobody for a key, so it takes none \
         from pages of elsewhere. Use a page of the server itself at its IP address or at localhost, or \
         make keys with `hermes key create`."
    );
    Err(Problem::new(code::NOT_ALLOWED, detail).at("Origin").into())
}

/// Whether `host`, with or without a port, is an IP address or `localhost`.
fn is_local(host: &str) -> bool {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) => name,
        _ => host,
    };
    let literal = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || literal.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn only_pages_of_the_server_itself_may_write() {
        let own = [
            ("http://127.0.0.1:8001", "127.0.0.1:8001"),
            ("http://[::1]:8001", "[::1]:8001"),
            ("http://localhost:8001", "localhost:8001"),
            ("https://10.1.2.3", "10.1.2.3"),
        ];
        let other = [
            ("http://localhost:3000", "localhost:8001"),
            ("http://rebound.example:8001", "rebound.example:8001"),
            ("http://127.0.0.1.example", "127.0.0.1.example"),
            ("http://localhost.example:1", "localhost.example:1"),
            ("null", "127.0.0.1:8001"),
            ("127.0.0.1:8001", "127.0.0.1:8001"),
        ];
        let rows = own.map(|row| (row, true)).into_iter();
        for ((origin, host), may) in rows.chain(other.map(|row| (row, false))) {
            let mut headers = HeaderMap::new();
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
            headers.insert(HOST, HeaderValue::from_static(host));
            assert_eq!(check_origin(&headers).is_ok(), may, "{origin} at {host}");
        }
    }
}
