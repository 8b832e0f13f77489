//! The limits of the state machine: everything that can grow has one.
//!
//! Limits of what one registration may hold are those of the contract unless they are set
//! ([`BodyRules`]); limits of how much a registry holds are settings, because machines differ.

use std::time::Duration;

/// Most members of an endpoint's metadata.
pub const METADATA_MEMBERS_MAX: usize = 64;
/// Most bytes of an endpoint's metadata, encoded.
pub const METADATA_BYTES_MAX: usize = 16 * 1024;
/// Most tags of an endpoint.
pub const TAGS_MAX: usize = 32;
/// Most bytes of one tag, and of a zone.
pub const TAG_LENGTH_MAX: usize = 128;
/// Most named ports of an endpoint.
pub const PORTS_MAX: usize = 16;
/// Most checks of an endpoint.
pub const CHECKS_MAX: usize = 8;
/// Most bytes of text that a check expects in a body.
pub const EXPECT_BODY_MAX: usize = 256;
/// Most bytes of the authority that a check brings along.
pub const TLS_CA_MAX: usize = 16 * 1024;
/// Most bytes of a check's path.
pub const CHECK_PATH_MAX: usize = 256;
/// Deepest nesting of a JSON body.
pub const JSON_DEPTH_MAX: usize = 16;
/// Largest whole number of a JSON body: the last one that every JSON parser reads exactly
/// (RFC 8259, 6).
pub const JSON_INTEGER_MAX: u64 = (1 << 53) - 1;
/// Shortest lease.
pub const TTL_MIN: Duration = Duration::from_secs(1);
/// Longest lease.
pub const TTL_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The lease of a registration that says nothing about it.
pub const TTL_DEFAULT: Duration = Duration::from_secs(30);

/// What one body may hold, and what it means where it is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyRules {
    /// Deepest nesting. Default [`JSON_DEPTH_MAX`].
    pub json_depth: usize,
    /// Members of an endpoint's metadata. Default [`METADATA_MEMBERS_MAX`].
    pub metadata_members: usize,
    /// Bytes of an endpoint's metadata, encoded. Default [`METADATA_BYTES_MAX`].
    pub metadata_bytes: usize,
    /// Tags of an endpoint. Default [`TAGS_MAX`].
    pub tags: usize,
    /// Bytes of one tag, and of a zone. Default [`TAG_LENGTH_MAX`].
    pub tag_length: usize,
    /// Named ports of an endpoint. Default [`PORTS_MAX`].
    pub ports: usize,
    /// Checks of an endpoint. Default [`CHECKS_MAX`].
    pub checks: usize,
    /// Heartbeats in one body. Default 10,000.
    pub heartbeats: usize,
    /// The interval of a check that names none. Default 30 s (R155).
    pub check_interval: Duration,
    /// The timeout of a check that names none, at most its interval. Default 5 s (R156).
    pub check_timeout: Duration,
}

impl Default for BodyRules {
    fn default() -> Self {
        Self {
            json_depth: JSON_DEPTH_MAX,
            metadata_members: METADATA_MEMBERS_MAX,
            metadata_bytes: METADATA_BYTES_MAX,
            tags: TAGS_MAX,
            tag_length: TAG_LENGTH_MAX,
            ports: PORTS_MAX,
            checks: CHECKS_MAX,
            heartbeats: 10_000,
            check_interval: Duration::from_secs(30),
            check_timeout: Duration::from_secs(5),
        }
    }
}

/// Limits of a whole registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most endpoints of one service. Default 10,000.
    pub endpoints_per_service: usize,
    /// Most services in all namespaces together. Default 1,000,000.
    pub services: usize,
    /// Most removed endpoints that a service remembers, to tell a late heartbeat what happened.
    /// The oldest are forgotten first. Default 1,024.
    pub gone_per_service: usize,
    /// Bytes of encoded endpoints that are kept for the next reader; beyond it endpoints are encoded
    /// for each answer. Default 256 MiB.
    pub encoded_bytes: usize,
    /// How long a service stays known after its last endpoint. Default 24 hours.
    pub known_for: Duration,
    /// What one body may hold.
    pub body: BodyRules,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            endpoints_per_service: 10_000,
            services: 1_000_000,
            gone_per_service: 1_024,
            encoded_bytes: 256 * 1024 * 1024,
            known_for: Duration::from_secs(24 * 60 * 60),
            body: BodyRules::default(),
        }
    }
}
