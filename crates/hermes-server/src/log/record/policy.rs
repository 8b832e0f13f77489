//! The stored form of a policy, as that of everything else: see its parent.

use hermes_core::policy::ServicePolicy;
use hermes_core::select;
use minicbor::{Decode, Encode};
use serde::Serialize;

use super::Wrong;
use super::check::StoredCheck;
use super::word::Word;

/// What holds for a service, as it is stored.
#[derive(Debug, Encode, Decode, Serialize)]
#[cbor(map)]
pub(in crate::log) struct StoredPolicy<'a> {
    #[b(0)]
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Vec<StoredCheck<'a>>>,
    #[n(1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_ttl: Option<u64>,
    #[n(2)]
    #[serde(skip_serializing_if = "Option::is_none")]
    selection: Option<Word<select::Policy>>,
}

impl<'a> From<&'a ServicePolicy> for StoredPolicy<'a> {
    fn from(policy: &'a ServicePolicy) -> Self {
        let checks = policy.checks.as_deref();
        Self {
            checks: checks.map(|checks| checks.iter().map(Into::into).collect()),
            cache_ttl: policy.cache_ttl,
            selection: policy.selection.map(Word),
        }
    }
}

impl StoredPolicy<'_> {
    /// The policy that was stored.
    pub(in crate::log) fn read(self) -> Result<ServicePolicy, Wrong> {
        let checks = self.checks.map(|checks| {
            let checks = checks.into_iter().map(StoredCheck::read);
            checks.collect::<Result<_, _>>()
        });
        Ok(ServicePolicy {
            checks: checks.transpose()?,
            cache_ttl: self.cache_ttl,
            selection: self.selection.map(|word| word.0),
        })
    }
}
