//! The stored form of what an instance says of itself.

use std::borrow::Cow;
use std::time::Duration;

use hermes_core::address::{Address, Host};
use hermes_core::endpoint::{InitialHealth, Platform, Registration};
use hermes_core::metadata::Metadata;
use hermes_core::port::{MAIN_PORT, Port, Ports};
use hermes_core::time::whole_millis;
use minicbor::encode::{Error, Write};
use minicbor::{Decode, Encode, Encoder};
use serde::{Serialize, Serializer};

use super::check::StoredCheck;
use super::word::Word;
use super::{Again, Wrong, is_false, is_none, name_of, owned};

/// A registration as it is stored.
#[derive(Debug, Encode, Decode, Serialize)]
#[cbor(map)]
pub(super) struct StoredRegistration<'a> {
    #[n(0)]
    url: &'a str,
    #[n(1)]
    scheme: &'a str,
    #[n(2)]
    host: &'a str,
    #[n(3)]
    port: u16,
    /// All of them; the main one, which is that of the address, is not in the record.
    #[b(4)]
    #[cbor(encode_with = "encode_others", skip_if = "is_main_only")]
    #[serde(serialize_with = "serialize_ports")]
    ports: Vec<StoredPort<'a>>,
    #[n(5)]
    #[cbor(with = "super::metadata", skip_if = "is_none")]
    #[serde(skip_serializing_if = "is_none")]
    metadata: Cow<'a, Metadata>,
    #[b(6)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<&'a str>,
    #[n(7)]
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<&'a str>,
    #[n(8)]
    weight: u16,
    #[n(9)]
    platform: Word<Platform>,
    #[n(10)]
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
    #[b(11)]
    #[cbor(skip_if = "Vec::is_empty")]
    checks: Vec<StoredCheck<'a>>,
    #[n(12)]
    #[cbor(skip_if = "is_false")]
    #[serde(skip_serializing_if = "is_false")]
    checks_by_default: bool,
    #[n(13)]
    #[cbor(skip_if = "is_false")]
    assume_healthy: bool,
}

#[derive(Debug, Encode, Decode)]
struct StoredPort<'a> {
    #[n(0)]
    name: &'a str,
    #[n(1)]
    port: u16,
    #[n(2)]
    scheme: &'a str,
}

fn is_main_only(ports: &[StoredPort<'_>]) -> bool {
    ports.iter().all(|port| port.name == MAIN_PORT)
}

fn encode_others<C, W: Write>(
    ports: &[StoredPort<'_>],
    encoder: &mut Encoder<W>,
    context: &mut C,
) -> Result<(), Error<W::Error>> {
    let others = || ports.iter().filter(|port| port.name != MAIN_PORT);
    encoder.array(others().count() as u64)?;
    others().try_for_each(|port| port.encode(encoder, context))
}

fn serialize_ports<S: Serializer>(
    ports: &[StoredPort<'_>],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(
        ports
            .iter()
            .map(|port| (port.name, (port.port, port.scheme))),
    )
}

impl<'a> From<&'a Registration> for StoredRegistration<'a> {
    fn from(registration: &'a Registration) -> Self {
        let port = |(name, port): (&'a str, &'a Port)| StoredPort {
            name,
            port: port.port,
            scheme: port.scheme.as_str(),
        };
        Self {
            url: &registration.address.url,
            scheme: registration.address.scheme.as_str(),
            host: registration.address.host.as_str(),
            port: registration.address.port,
            ports: registration.ports.iter().map(port).collect(),
            metadata: Cow::Borrowed(&registration.metadata),
            tags: registration.tags.iter().map(String::as_str).collect(),
            zone: registration.zone.as_deref(),
            weight: registration.weight,
            platform: Word(registration.platform),
            ttl_ms: registration.ttl.map(whole_millis),
            checks: registration.checks.iter().map(Into::into).collect(),
            checks_by_default: registration.checks_by_default,
            assume_healthy: registration.initial_health == InitialHealth::Healthy,
        }
    }
}

impl StoredRegistration<'_> {
    /// The registration that was stored.
    pub(super) fn read(self, again: &mut Again) -> Result<Registration, Wrong> {
        let address = Address {
            scheme: again.scheme(self.scheme)?,
            host: Host::parse(self.host).map_err(|error| error.to_string())?,
            port: self.port,
            url: self.url.into(),
        };
        let port = |port: StoredPort<'_>| -> Result<_, Wrong> {
            let of = again.scheme(port.scheme)?;
            let named = Port {
                port: port.port,
                scheme: of,
            };
            Ok((name_of(port.name)?, named))
        };
        let others: Vec<_> = self.ports.into_iter().map(port).collect::<Result<_, _>>()?;
        let main = Port {
            port: address.port,
            scheme: address.scheme.clone(),
        };
        let checks = self.checks.into_iter().map(StoredCheck::read);
        Ok(Registration {
            ports: Ports::with(main, others),
            metadata: self.metadata.into_owned(),
            tags: owned(self.tags),
            zone: self.zone.map(Into::into),
            weight: self.weight,
            platform: self.platform.0,
            ttl: self.ttl_ms.map(Duration::from_millis),
            checks: checks.collect::<Result<_, _>>()?,
            checks_by_default: self.checks_by_default,
            initial_health: if self.assume_healthy {
                InitialHealth::Healthy
            } else {
                InitialHealth::Unknown
            },
            address,
        })
    }
}
