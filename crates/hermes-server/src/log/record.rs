//! The stored form of changes and states, version 1: JSON with types of its own.
//!
//! Stored types are twins of the domain's, as the wire's are: the domain may be renamed and moved
//! freely, and what was written by an older release is still read. A reader ignores members that it
//! does not know. Golden files hold every form.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use hermes_core::address::{Address, Host, Scheme};
use hermes_core::change::{Cause, Change, ChangeKind, Revision};
use hermes_core::check::{Check, CheckKind, HttpCheck, HttpMethod, StatusMatch, TlsOptions};
use hermes_core::endpoint::{
    CheckFinding, Drain, EndpointState, InitialHealth, Overrides, Platform, Registration,
};
use hermes_core::health::Health;
use hermes_core::metadata::Metadata;
use hermes_core::name::{EndpointId, Name, ServiceKey};
use hermes_core::named::Named;
use hermes_core::port::{Port, Ports};
use hermes_core::time::{Timestamp, whole_millis};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::policy::StoredPolicy;

/// Why stored bytes are not what they should be, in words.
pub(super) type Wrong = String;

/// A text: of the domain when it is written, and of the bytes when it is read, unless it is escaped
/// there.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<Text<'_>> for String {
    fn from(text: Text<'_>) -> Self {
        text.0.into_owned()
    }
}

/// A change as it is stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct StoredChange<'a> {
    kind: Text<'a>,
    namespace: Text<'a>,
    service: Text<'a>,
    /// How the service was spelt, where that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    given_name: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incarnation: Option<u64>,
    time: u64,
    actor: Text<'a>,
    cause: Text<'a>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    detail: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<StoredState<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<StoredPolicy<'a>>,
}

/// What an endpoint is, as it is stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct StoredState<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    incarnation: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<Text<'a>>,
    registration: StoredRegistration<'a>,
    #[serde(default, skip_serializing_if = "StoredOverrides::is_empty")]
    overrides: StoredOverrides,
    #[serde(skip_serializing_if = "Option::is_none")]
    drain: Option<StoredDrain>,
    findings: Vec<StoredFinding<'a>>,
    started: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    flapping: bool,
    registered_at: u64,
    since: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct StoredRegistration<'a> {
    url: Text<'a>,
    scheme: Text<'a>,
    host: Text<'a>,
    port: u16,
    ports: BTreeMap<Text<'a>, (u16, Text<'a>)>,
    #[serde(default, skip_serializing_if = "Named::is_empty")]
    #[serde(deserialize_with = "read_metadata")]
    metadata: Cow<'a, Metadata>,
    #[serde(default, skip_serializing_if = "<[String]>::is_empty")]
    tags: Cow<'a, [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<Text<'a>>,
    weight: u16,
    platform: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
    checks: Vec<StoredCheck<'a>>,
    #[serde(default, skip_serializing_if = "is_false")]
    checks_by_default: bool,
    assume_healthy: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct StoredOverrides {
    #[serde(default, skip_serializing_if = "Named::is_empty")]
    #[serde(deserialize_with = "read_metadata")]
    metadata: Cow<'static, Metadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredDrain {
    reason: String,
    sticky: bool,
    since: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct StoredFinding<'a> {
    health: Text<'a>,
    since: u64,
    evidence: Text<'a>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct StoredCheck<'a> {
    name: Text<'a>,
    #[serde(rename = "type")]
    kind: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<StoredHttp<'a>>,
    port: Text<'a>,
    interval_ms: u64,
    timeout_ms: u64,
    attempts: u32,
    rise: u32,
    fall: u32,
    grace_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<StoredTls<'a>>,
    dry_run: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct StoredTls<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    server_name: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<Text<'a>>,
    verify: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct StoredHttp<'a> {
    path: Text<'a>,
    method: Text<'a>,
    /// An exact status, or the class below ten.
    statuses: Vec<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Text<'a>>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

fn read_metadata<'de, 'a, D>(deserializer: D) -> Result<Cow<'a, Metadata>, D::Error>
where
    D: Deserializer<'de>,
{
    let object = Map::<String, Value>::deserialize(deserializer)?;
    Ok(Cow::Owned(object.into()))
}

impl StoredOverrides {
    fn is_empty(&self) -> bool {
        self.metadata.is_empty()
            && self.tags.is_none()
            && self.weight.is_none()
            && self.zone.is_none()
    }
}

/// A change with its revision, for those who read the log elsewhere.
#[derive(Debug, Serialize)]
pub(super) struct ExportedChange<'a> {
    revision: u64,
    #[serde(flatten)]
    change: StoredChange<'a>,
}

// === writing ===

impl<'a> ExportedChange<'a> {
    /// The change as it is exported.
    pub(super) fn new(revision: Revision, change: &'a Change) -> Self {
        Self {
            revision: revision.0,
            change: change.into(),
        }
    }
}

impl<'a> From<&'a Change> for StoredChange<'a> {
    fn from(change: &'a Change) -> Self {
        Self {
            kind: change.kind.word().into(),
            namespace: change.service.namespace.as_str().into(),
            service: change.service.name.as_str().into(),
            given_name: given_name(&change.service.name),
            id: change.id.as_ref().map(|id| id.as_str().into()),
            incarnation: change.incarnation.map(|incarnation| incarnation.0),
            time: change.time.0,
            actor: (&*change.actor).into(),
            cause: (&*change.cause.code).into(),
            detail: change.cause.detail.as_str().into(),
            state: change.state.as_deref().map(Into::into),
            policy: change.policy.as_deref().map(Into::into),
        }
    }
}

impl<'a> From<&'a EndpointState> for StoredState<'a> {
    fn from(state: &'a EndpointState) -> Self {
        let finding = |finding: &'a CheckFinding| StoredFinding {
            health: finding.health.word().into(),
            since: finding.since.0,
            evidence: (&*finding.evidence).into(),
        };
        Self {
            incarnation: state.incarnation.map(|incarnation| incarnation.0),
            owner: state.owner.as_deref().map(Into::into),
            registration: (&*state.registration).into(),
            overrides: (&*state.overrides).into(),
            drain: state.drain.as_ref().map(|drain| StoredDrain {
                reason: drain.reason.clone(),
                sticky: drain.sticky,
                since: drain.since.0,
            }),
            findings: state.findings.iter().map(finding).collect(),
            started: state.started,
            flapping: state.flapping,
            registered_at: state.registered_at.0,
            since: state.since.0,
        }
    }
}

impl<'a> From<&'a Registration> for StoredRegistration<'a> {
    fn from(registration: &'a Registration) -> Self {
        let port = |(name, port): (&'a str, &'a Port)| {
            (name.into(), (port.port, port.scheme.as_str().into()))
        };
        Self {
            url: (&*registration.address.url).into(),
            scheme: registration.address.scheme.as_str().into(),
            host: registration.address.host.as_str().into(),
            port: registration.address.port,
            ports: registration.ports.iter().map(port).collect(),
            metadata: Cow::Borrowed(&registration.metadata),
            tags: Cow::Borrowed(&registration.tags),
            zone: registration.zone.as_deref().map(Into::into),
            weight: registration.weight,
            platform: registration.platform.word().into(),
            ttl_ms: registration.ttl.map(whole_millis),
            checks: registration.checks.iter().map(Into::into).collect(),
            checks_by_default: registration.checks_by_default,
            assume_healthy: registration.initial_health == InitialHealth::Healthy,
        }
    }
}

impl From<&Overrides> for StoredOverrides {
    fn from(overrides: &Overrides) -> Self {
        let Overrides {
            metadata,
            tags,
            weight,
            zone,
        } = overrides.clone();
        Self {
            metadata: Cow::Owned(metadata),
            tags,
            weight,
            zone,
        }
    }
}

impl<'a> From<&'a Check> for StoredCheck<'a> {
    fn from(check: &'a Check) -> Self {
        let http = match &check.kind {
            CheckKind::Http(http) => Some(StoredHttp {
                path: http.path.as_str().into(),
                method: if http.method == HttpMethod::Get {
                    "GET"
                } else {
                    "HEAD"
                }
                .into(),
                statuses: http
                    .expect_status
                    .iter()
                    .map(|status| status_number(*status))
                    .collect(),
                body: http.expect_body.as_deref().map(Into::into),
            }),
            CheckKind::Tcp | CheckKind::Heartbeat => None,
        };
        Self {
            name: check.name.as_str().into(),
            kind: check.kind.word().into(),
            http,
            port: check.port.as_str().into(),
            interval_ms: whole_millis(check.interval),
            timeout_ms: whole_millis(check.timeout),
            attempts: check.attempts,
            rise: check.rise,
            fall: check.fall,
            grace_ms: whole_millis(check.grace),
            tls: check.tls.as_deref().map(|tls| StoredTls {
                server_name: tls.server_name.as_deref().map(Into::into),
                ca: tls.ca.as_deref().map(Into::into),
                verify: tls.verify,
            }),
            dry_run: check.dry_run,
        }
    }
}

fn status_number(status: StatusMatch) -> u16 {
    match status {
        StatusMatch::Exact(status) => status,
        StatusMatch::Class(class) => class,
    }
}

// === reading ===

impl StoredChange<'_> {
    /// The change that was stored.
    pub(super) fn read(self) -> Result<Change, Wrong> {
        let kind = ChangeKind::ALL
            .into_iter()
            .find(|kind| *kind.word() == *self.kind);
        let kind = kind.ok_or_else(|| format!("unknown kind of change `{}`", self.kind))?;
        Ok(Change {
            kind,
            service: service_key(&self.namespace, &self.service, self.given_name.as_deref())?,
            id: self.id.map(|id| endpoint_id(&id)).transpose()?,
            incarnation: self.incarnation.map(Revision),
            state: self.state.map(StoredState::read).transpose()?.map(Arc::new),
            policy: self
                .policy
                .map(StoredPolicy::read)
                .transpose()?
                .map(Arc::new),
            time: Timestamp(self.time),
            actor: (&*self.actor).into(),
            cause: Cause {
                code: Cow::Owned(self.cause.into()),
                detail: self.detail.into(),
            },
        })
    }
}

impl StoredState<'_> {
    /// The state that was stored.
    pub(super) fn read(self) -> Result<EndpointState, Wrong> {
        let finding = |finding: StoredFinding<'_>| -> Result<CheckFinding, Wrong> {
            let health = Health::from_word(&finding.health)
                .ok_or_else(|| format!("unknown health `{}`", finding.health))?;
            let since = Timestamp(finding.since);
            Ok(CheckFinding {
                health,
                since,
                evidence: (&*finding.evidence).into(),
            })
        };
        let StoredOverrides {
            metadata,
            tags,
            weight,
            zone,
        } = self.overrides;
        let registration = self.registration.read()?;
        let findings: Vec<_> = self
            .findings
            .into_iter()
            .map(finding)
            .collect::<Result<_, _>>()?;
        if findings.len() != registration.checks.len() {
            return Err("not as many findings as checks".into());
        }
        Ok(EndpointState {
            incarnation: self.incarnation.map(Revision),
            owner: self.owner.map(|owner| (&*owner).into()),
            registration: Arc::new(registration),
            overrides: Arc::new(Overrides {
                metadata: metadata.into_owned(),
                tags,
                weight,
                zone,
            }),
            drain: self.drain.map(|drain| Drain {
                reason: drain.reason,
                sticky: drain.sticky,
                since: Timestamp(drain.since),
            }),
            findings,
            started: self.started,
            flapping: self.flapping,
            registered_at: Timestamp(self.registered_at),
            since: Timestamp(self.since),
        })
    }
}

impl StoredRegistration<'_> {
    fn read(self) -> Result<Registration, Wrong> {
        let address = Address {
            scheme: scheme(&self.scheme)?,
            host: Host::parse(&self.host).map_err(|error| error.to_string())?,
            port: self.port,
            url: (&*self.url).into(),
        };
        let port = |(name, (port, of)): (Text<'_>, (u16, Text<'_>))| -> Result<_, Wrong> {
            // Mostly the same, and then they share it.
            let scheme = if *of == *address.scheme.as_str() {
                address.scheme.clone()
            } else {
                scheme(&of)?
            };
            Ok((name_of(&name)?, Port { port, scheme }))
        };
        let main = Port {
            port: address.port,
            scheme: address.scheme.clone(),
        };
        let ports: Vec<_> = self.ports.into_iter().map(port).collect::<Result<_, _>>()?;
        let initial_health = if self.assume_healthy {
            InitialHealth::Healthy
        } else {
            InitialHealth::Unknown
        };
        Ok(Registration {
            ports: Ports::with(main, ports),
            metadata: self.metadata.into_owned(),
            tags: self.tags.into_owned(),
            zone: self.zone.map(Into::into),
            weight: self.weight,
            platform: Platform::from_word(&self.platform)
                .ok_or_else(|| format!("unknown platform `{}`", self.platform))?,
            ttl: self.ttl_ms.map(Duration::from_millis),
            checks: self
                .checks
                .into_iter()
                .map(StoredCheck::read)
                .collect::<Result<_, _>>()?,
            checks_by_default: self.checks_by_default,
            initial_health,
            address,
        })
    }
}

impl StoredCheck<'_> {
    pub(super) fn read(self) -> Result<Check, Wrong> {
        let kind = match (&*self.kind, self.http) {
            ("http", Some(http)) => CheckKind::Http(http.read()?),
            ("tcp", None) => CheckKind::Tcp,
            ("heartbeat", None) => CheckKind::Heartbeat,
            (other, _) => return Err(format!("unknown kind of check `{other}`")),
        };
        Ok(Check {
            name: self.name.into(),
            kind,
            port: self.port.into(),
            interval: Duration::from_millis(self.interval_ms),
            timeout: Duration::from_millis(self.timeout_ms),
            attempts: self.attempts,
            rise: self.rise,
            fall: self.fall,
            grace: Duration::from_millis(self.grace_ms),
            tls: self.tls.map(|tls| {
                Box::new(TlsOptions {
                    server_name: tls.server_name.map(Into::into),
                    ca: tls.ca.map(Into::into),
                    verify: tls.verify,
                })
            }),
            dry_run: self.dry_run,
        })
    }
}

impl StoredHttp<'_> {
    fn read(self) -> Result<HttpCheck, Wrong> {
        let method = match &*self.method {
            "GET" => HttpMethod::Get,
            "HEAD" => HttpMethod::Head,
            other => return Err(format!("unknown method `{other}`")),
        };
        let status = |number: u16| match number {
            class @ 0..10 => StatusMatch::Class(class),
            exact => StatusMatch::Exact(exact),
        };
        Ok(HttpCheck {
            path: self.path.into(),
            method,
            expect_status: self.statuses.into_iter().map(status).collect(),
            expect_body: self.body.map(Into::into),
        })
    }
}

fn scheme(text: &str) -> Result<Scheme, Wrong> {
    Scheme::parse(text).map_err(|error| error.to_string())
}

fn name_of(text: &str) -> Result<Name, Wrong> {
    Name::parse(text).map_err(|error| format!("the name {text:?} is wrong: {error}"))
}

/// A stored id.
pub(super) fn endpoint_id(text: &str) -> Result<EndpointId, Wrong> {
    EndpointId::parse(text).map_err(|error| format!("the id {text:?} is wrong: {error}"))
}

/// How a name was spelt, where that differs from the name.
pub(super) fn given_name(name: &Name) -> Option<Text<'_>> {
    (name.given() != name.as_str()).then(|| name.given().into())
}

/// A stored service, with the spelling that it was given.
pub(super) fn service_key(
    namespace: &str,
    name: &str,
    given: Option<&str>,
) -> Result<ServiceKey, Wrong> {
    let key = ServiceKey::new(name_of(namespace)?, name_of(given.unwrap_or(name))?);
    if key.name.as_str() == name {
        Ok(key)
    } else {
        Err(format!("{given:?} is no spelling of the name {name:?}"))
    }
}
