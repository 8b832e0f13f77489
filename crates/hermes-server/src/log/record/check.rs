//! The stored form of a check.

use std::time::Duration;

use hermes_core::check::{Check, CheckKind, HttpCheck, HttpMethod, StatusMatch, TlsOptions};
use hermes_core::time::whole_millis;
use minicbor::{Decode, Encode};
use serde::Serialize;

use super::word::{Kind, Word};
use super::{Wrong, is_false};

/// A check as it is stored.
#[derive(Debug, Encode, Decode, Serialize)]
#[cbor(map)]
pub(super) struct StoredCheck<'a> {
    #[n(0)]
    name: &'a str,
    #[n(1)]
    #[serde(rename = "type")]
    kind: Word<Kind>,
    #[b(2)]
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<StoredHttp<'a>>,
    #[n(3)]
    port: &'a str,
    #[n(4)]
    interval_ms: u64,
    #[n(5)]
    timeout_ms: u64,
    #[n(6)]
    attempts: u32,
    #[n(7)]
    rise: u32,
    #[n(8)]
    fall: u32,
    #[n(9)]
    grace_ms: u64,
    #[b(10)]
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<StoredTls<'a>>,
    #[n(11)]
    #[cbor(skip_if = "is_false")]
    dry_run: bool,
}

#[derive(Debug, Encode, Decode, Serialize)]
#[cbor(map)]
struct StoredTls<'a> {
    #[n(0)]
    #[serde(skip_serializing_if = "Option::is_none")]
    server_name: Option<&'a str>,
    #[n(1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<&'a str>,
    #[n(2)]
    verify: bool,
}

#[derive(Debug, Encode, Decode, Serialize)]
#[cbor(map)]
struct StoredHttp<'a> {
    #[n(0)]
    path: &'a str,
    #[n(1)]
    method: Word<HttpMethod>,
    /// An exact status, or the class below ten.
    #[n(2)]
    statuses: Vec<u16>,
    #[n(3)]
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
}

impl<'a> From<&'a Check> for StoredCheck<'a> {
    fn from(check: &'a Check) -> Self {
        let (kind, http) = match &check.kind {
            CheckKind::Http(http) => (Kind::Http, Some(http.into())),
            CheckKind::Tcp => (Kind::Tcp, None),
            CheckKind::Heartbeat => (Kind::Heartbeat, None),
        };
        Self {
            name: &check.name,
            kind: Word(kind),
            http,
            port: &check.port,
            interval_ms: whole_millis(check.interval),
            timeout_ms: whole_millis(check.timeout),
            attempts: check.attempts,
            rise: check.rise,
            fall: check.fall,
            grace_ms: whole_millis(check.grace),
            tls: check.tls.as_deref().map(|tls| StoredTls {
                server_name: tls.server_name.as_deref(),
                ca: tls.ca.as_deref(),
                verify: tls.verify,
            }),
            dry_run: check.dry_run,
        }
    }
}

impl<'a> From<&'a HttpCheck> for StoredHttp<'a> {
    fn from(http: &'a HttpCheck) -> Self {
        let number = |status: &StatusMatch| match *status {
            StatusMatch::Exact(status) => status,
            StatusMatch::Class(class) => class,
        };
        Self {
            path: &http.path,
            method: Word(http.method),
            statuses: http.expect_status.iter().map(number).collect(),
            body: http.expect_body.as_deref(),
        }
    }
}

impl StoredCheck<'_> {
    /// The check that was stored.
    pub(super) fn read(self) -> Result<Check, Wrong> {
        let kind = match (self.kind.0, self.http) {
            (Kind::Http, Some(http)) => CheckKind::Http(http.read()),
            (Kind::Tcp, None) => CheckKind::Tcp,
            (Kind::Heartbeat, None) => CheckKind::Heartbeat,
            (Kind::Http, None) | (_, Some(_)) => {
                return Err("what a check asks does not go with its kind".into());
            }
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
    fn read(self) -> HttpCheck {
        let status = |number: u16| match number {
            class @ 0..10 => StatusMatch::Class(class),
            exact => StatusMatch::Exact(exact),
        };
        HttpCheck {
            path: self.path.into(),
            method: self.method.0,
            expect_status: self.statuses.into_iter().map(status).collect(),
            expect_body: self.body.map(Into::into),
        }
    }
}
