//! The stored form of changes and states, version 2: CBOR (RFC 8949) with types of its own.
//!
//! Stored types are twins of the domain's, as the wire's are: the domain may be renamed and moved
//! freely, and what was written by an older release is still read. A member is a number, its `n`, which
//! is never used again for another one. A member that is absent has its default, and a reader passes
//! over numbers that it does not know. Texts are borrowed when they are read.
//!
//! Words of which there are few are numbers too (see `word`). The same types written as JSON, in words,
//! are what `hermes log export` shows. Golden files hold every form in both.

mod again;
mod check;
mod metadata;
mod policy;
mod registration;
mod word;

use std::borrow::Cow;
use std::sync::Arc;

use hermes_core::change::{Cause, Change, ChangeKind, Revision};
use hermes_core::endpoint::{CheckFinding, Drain, EndpointState, Overrides};
use hermes_core::health::Health;
use hermes_core::metadata::Metadata;
use hermes_core::name::{EndpointId, Name};
use hermes_core::time::Timestamp;
use minicbor::{Decode, Encode};
use serde::Serialize;

pub(super) use again::Again;
pub(super) use policy::StoredPolicy;
use registration::StoredRegistration;
pub(super) use word::Word;

/// Why stored bytes are not what they should be, in words.
pub(super) type Wrong = String;

/// A change as it is stored.
#[derive(Debug, Encode, Decode, Serialize)]
#[cbor(map)]
pub(super) struct StoredChange<'a> {
    #[n(0)]
    kind: Word<ChangeKind>,
    #[n(1)]
    namespace: &'a str,
    #[n(2)]
    service: &'a str,
    /// How the service was spelt, where that differs.
    #[n(3)]
    #[serde(skip_serializing_if = "Option::is_none")]
    given_name: Option<&'a str>,
    #[n(4)]
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[n(5)]
    #[serde(skip_serializing_if = "Option::is_none")]
    incarnation: Option<u64>,
    #[n(6)]
    time: u64,
    #[n(7)]
    actor: &'a str,
    #[n(8)]
    cause: &'a str,
    #[n(9)]
    #[cbor(skip_if = "is_empty")]
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    #[b(10)]
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<StoredState<'a>>,
    #[b(11)]
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<StoredPolicy<'a>>,
}

/// What an endpoint is, as it is stored.
#[derive(Debug, Encode, Decode, Serialize)]
#[cbor(map)]
pub(super) struct StoredState<'a> {
    #[n(0)]
    #[serde(skip_serializing_if = "Option::is_none")]
    incarnation: Option<u64>,
    #[n(1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
    #[b(2)]
    registration: StoredRegistration<'a>,
    #[b(3)]
    #[cbor(skip_if = "StoredOverrides::is_empty")]
    #[serde(skip_serializing_if = "StoredOverrides::is_empty")]
    overrides: StoredOverrides<'a>,
    #[b(4)]
    #[serde(skip_serializing_if = "Option::is_none")]
    drain: Option<StoredDrain<'a>>,
    #[b(5)]
    #[cbor(skip_if = "Vec::is_empty")]
    findings: Vec<StoredFinding<'a>>,
    #[n(6)]
    #[cbor(skip_if = "is_false")]
    started: bool,
    #[n(7)]
    #[cbor(skip_if = "is_false")]
    #[serde(skip_serializing_if = "is_false")]
    flapping: bool,
    #[n(8)]
    registered_at: u64,
    #[n(9)]
    since: u64,
}

#[derive(Debug, Default, Encode, Decode, Serialize)]
#[cbor(map)]
struct StoredOverrides<'a> {
    #[n(0)]
    #[cbor(with = "metadata", skip_if = "is_none")]
    #[serde(skip_serializing_if = "is_none")]
    metadata: Cow<'a, Metadata>,
    #[b(1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<&'a str>>,
    #[n(2)]
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u16>,
    #[n(3)]
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<&'a str>,
}

#[derive(Debug, Encode, Decode, Serialize)]
#[cbor(map)]
struct StoredDrain<'a> {
    #[n(0)]
    reason: &'a str,
    #[n(1)]
    sticky: bool,
    #[n(2)]
    since: u64,
}

#[derive(Debug, Encode, Decode, Serialize)]
#[cbor(map)]
struct StoredFinding<'a> {
    #[n(0)]
    health: Word<Health>,
    #[n(1)]
    since: u64,
    #[n(2)]
    evidence: &'a str,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde and minicbor ask for a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

fn is_empty(text: &&str) -> bool {
    text.is_empty()
}

fn is_none(metadata: &Metadata) -> bool {
    metadata.is_empty()
}

impl StoredOverrides<'_> {
    fn is_empty(&self) -> bool {
        is_none(&self.metadata)
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
            kind: Word(change.kind),
            namespace: change.service.namespace.as_str(),
            service: change.service.name.as_str(),
            given_name: given_name(&change.service.name),
            id: change.id.as_ref().map(EndpointId::as_str),
            incarnation: change.incarnation.map(|incarnation| incarnation.0),
            time: change.time.0,
            actor: &change.actor,
            cause: &change.cause.code,
            detail: &change.cause.detail,
            state: change.state.as_deref().map(Into::into),
            policy: change.policy.as_deref().map(Into::into),
        }
    }
}

impl<'a> From<&'a EndpointState> for StoredState<'a> {
    fn from(state: &'a EndpointState) -> Self {
        let finding = |finding: &'a CheckFinding| StoredFinding {
            health: Word(finding.health),
            since: finding.since.0,
            evidence: &finding.evidence,
        };
        Self {
            incarnation: state.incarnation.map(|incarnation| incarnation.0),
            owner: state.owner.as_deref(),
            registration: (&*state.registration).into(),
            overrides: (&*state.overrides).into(),
            drain: state.drain.as_ref().map(|drain| StoredDrain {
                reason: &drain.reason,
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

impl<'a> From<&'a Overrides> for StoredOverrides<'a> {
    fn from(overrides: &'a Overrides) -> Self {
        let tags = overrides.tags.as_ref();
        Self {
            metadata: Cow::Borrowed(&overrides.metadata),
            tags: tags.map(|tags| tags.iter().map(String::as_str).collect()),
            weight: overrides.weight,
            zone: overrides.zone.as_deref(),
        }
    }
}

// === reading ===

impl StoredChange<'_> {
    /// The change that was stored.
    pub(super) fn read(self, again: &mut Again) -> Result<Change, Wrong> {
        let state = self.state.map(|state| state.read(again)).transpose()?;
        let policy = self.policy.map(StoredPolicy::read).transpose()?;
        Ok(Change {
            kind: self.kind.0,
            service: again.service_key(self.namespace, self.service, self.given_name)?,
            id: self.id.map(endpoint_id).transpose()?,
            incarnation: self.incarnation.map(Revision),
            state: state.map(Arc::new),
            policy: policy.map(Arc::new),
            time: Timestamp(self.time),
            actor: self.actor.into(),
            cause: Cause {
                code: Cow::Owned(self.cause.into()),
                detail: self.detail.into(),
            },
        })
    }
}

impl StoredState<'_> {
    /// The state that was stored.
    pub(super) fn read(self, again: &mut Again) -> Result<EndpointState, Wrong> {
        let finding = |finding: StoredFinding<'_>| CheckFinding {
            health: finding.health.0,
            since: Timestamp(finding.since),
            evidence: finding.evidence.into(),
        };
        let registration = self.registration.read(again)?;
        let findings: Vec<_> = self.findings.into_iter().map(finding).collect();
        if findings.len() != registration.checks.len() {
            return Err("not as many findings as checks".into());
        }
        Ok(EndpointState {
            incarnation: self.incarnation.map(Revision),
            owner: self.owner.map(Into::into),
            registration: Arc::new(registration),
            overrides: if self.overrides.is_empty() {
                Arc::clone(&again.overrides)
            } else {
                Arc::new(self.overrides.read())
            },
            drain: self.drain.map(|drain| Drain {
                reason: drain.reason.into(),
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

impl StoredOverrides<'_> {
    fn read(self) -> Overrides {
        Overrides {
            metadata: self.metadata.into_owned(),
            tags: self.tags.map(owned),
            weight: self.weight,
            zone: self.zone.map(Into::into),
        }
    }
}

fn owned(texts: Vec<&str>) -> Vec<String> {
    texts.into_iter().map(Into::into).collect()
}

fn name_of(text: &str) -> Result<Name, Wrong> {
    Name::parse(text).map_err(|error| format!("the name {text:?} is wrong: {error}"))
}

/// A stored id.
pub(super) fn endpoint_id(text: &str) -> Result<EndpointId, Wrong> {
    EndpointId::parse(text).map_err(|error| format!("the id {text:?} is wrong: {error}"))
}

/// How a name was spelt, where that differs from the name.
pub(super) fn given_name(name: &Name) -> Option<&str> {
    (name.given() != name.as_str()).then(|| name.given())
}

#[cfg(test)]
mod tests {
    use hermes_core::name::ServiceKey;

    use super::super::segment::take_stored;
    use super::*;

    fn change() -> Change {
        let name = |text| Name::parse(text).unwrap();
        Change {
            kind: ChangeKind::Forgotten,
            service: ServiceKey::new(name("default"), name("web")),
            id: None,
            incarnation: None,
            state: None,
            policy: None,
            time: Timestamp(1),
            actor: "me".into(),
            cause: Cause::new("story", ""),
        }
    }

    fn stored(change: &Change) -> Vec<u8> {
        minicbor::to_vec(StoredChange::from(change)).unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Change, Wrong> {
        take_stored::<StoredChange<'_>>(bytes)?.read(&mut Again::default())
    }

    /// One member more, with a number that nobody has: a list of a map and a text.
    const UNKNOWN: [u8; 8] = [0x18, 99, 0x82, 0xa1, 0, 0xf6, 0x61, b'x'];

    #[test]
    fn members_of_a_newer_release_are_passed_over() {
        let mut bytes = stored(&change());
        bytes[0] += 1;
        bytes.extend(UNKNOWN);
        assert_eq!(read(&bytes), Ok(change()));
    }

    #[test]
    fn what_has_no_default_may_not_be_missing_and_nothing_may_stand_behind() {
        let bytes = stored(&change());
        let without_kind = [&[bytes[0] - 1], &bytes[3..]].concat();
        let error = read(&without_kind).unwrap_err();
        assert!(error.contains("missing"), "{error}");
        let error = read(&[&bytes[..], &[0]].concat()).unwrap_err();
        assert!(error.contains("behind it"), "{error}");
        for end in 0..bytes.len() {
            read(&bytes[..end]).unwrap_err();
        }
    }
}
