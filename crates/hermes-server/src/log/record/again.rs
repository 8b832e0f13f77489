//! What one record after the other says again: read once, and shared by those that say it.
//!
//! The endpoints of a service stand together, nearly all have the scheme of the one before, and hardly
//! any has overrides. Where that is so, a record takes neither the work nor the memory for it. Whoever
//! reads on several threads has one of these for each, so that they do not meet.

use std::sync::Arc;

use hermes_core::address::Scheme;
use hermes_core::endpoint::Overrides;
use hermes_core::name::{Name, ServiceKey};

use super::{Wrong, name_of};

/// What the records before have said.
#[derive(Debug, Default)]
pub(in crate::log) struct Again {
    key: Option<ServiceKey>,
    scheme: Option<Scheme>,
    /// None at all.
    pub(super) overrides: Arc<Overrides>,
}

impl Again {
    /// A stored service, with the spelling that it was given.
    pub(in crate::log) fn service_key(
        &mut self,
        namespace: &str,
        name: &str,
        given: Option<&str>,
    ) -> Result<ServiceKey, Wrong> {
        let spelt = given.unwrap_or(name);
        let last = self.key.as_ref();
        let same_namespace = last.filter(|last| last.namespace.as_str() == namespace);
        if let Some(last) = same_namespace
            && last.name.given() == spelt
            && last.name.as_str() == name
        {
            return Ok(last.clone());
        }
        let namespace = match same_namespace {
            Some(last) => Name::clone(&last.namespace),
            None => name_of(namespace)?,
        };
        let key = ServiceKey::new(namespace, name_of(spelt)?);
        if key.name.as_str() != name {
            return Err(format!("{given:?} is no spelling of the name {name:?}"));
        }
        self.key = Some(key.clone());
        Ok(key)
    }

    /// A stored scheme.
    pub(super) fn scheme(&mut self, text: &str) -> Result<Scheme, Wrong> {
        if let Some(last) = &self.scheme
            && last.as_str() == text
        {
            return Ok(last.clone());
        }
        let scheme = Scheme::parse(text).map_err(|error| error.to_string())?;
        self.scheme = Some(scheme.clone());
        Ok(scheme)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_is_shared_and_what_does_not_is_not() {
        let mut again = Again::default();
        for (namespace, name, given) in [
            ("default", "web", None),
            ("default", "web", None),
            ("default", "web", Some("Web")),
            ("default", "web", None),
            ("other", "web", None),
            ("other", "api", None),
        ] {
            let key = again.service_key(namespace, name, given).unwrap();
            assert_eq!(
                (key.namespace.as_str(), key.name.as_str()),
                (namespace, name)
            );
            assert_eq!(key.name.given(), given.unwrap_or(name));
        }
        assert!(again.service_key("other", "api", Some("web")).is_err());
        assert!(again.service_key("other", "no name", None).is_err());
        for scheme in ["http", "http", "grpc", "http"] {
            assert_eq!(again.scheme(scheme).unwrap().as_str(), scheme);
        }
        assert!(again.scheme("no scheme").is_err());
    }
}
