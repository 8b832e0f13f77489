//! The stored form of a policy, as that of everything else: see `record`.

use hermes_core::policy::ServicePolicy;
use hermes_core::select;
use serde::{Deserialize, Serialize};

use super::record::{StoredCheck, Text, Wrong};

/// What holds for a service, as it is stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct StoredPolicy<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Vec<StoredCheck<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_ttl: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    selection: Option<Text<'a>>,
}

impl<'a> From<&'a ServicePolicy> for StoredPolicy<'a> {
    fn from(policy: &'a ServicePolicy) -> Self {
        let checks = policy.checks.as_deref();
        Self {
            checks: checks.map(|checks| checks.iter().map(Into::into).collect()),
            cache_ttl: policy.cache_ttl,
            selection: policy.selection.map(|selection| selection.word().into()),
        }
    }
}

impl StoredPolicy<'_> {
    /// The policy that was stored.
    pub(super) fn read(self) -> Result<ServicePolicy, Wrong> {
        let checks = self.checks.map(|checks| {
            let checks = checks.into_iter().map(StoredCheck::read);
            checks.collect::<Result<_, _>>()
        });
        let selection = |word: Text<'_>| {
            let found = select::Policy::from_word(&word);
            found.ok_or_else(|| format!("unknown way of selection `{word}`"))
        };
        Ok(ServicePolicy {
            checks: checks.transpose()?,
            cache_ttl: self.cache_ttl,
            selection: self.selection.map(selection).transpose()?,
        })
    }
}
