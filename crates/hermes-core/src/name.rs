//! Names of services, namespaces, ports and endpoints.
//!
//! A name is parsed once, at the edge, and is right from then on: a [`Name`] that breaks the
//! grammar cannot exist. There is one grammar, the lower-case DNS label, so that the same name
//! works in a URL, in DNS and in an environment variable. What people write differently by habit
//! (`Memory_Store`, `SERVICE_MEMORY_STORE`) is folded; everything else is an error that says what
//! is wrong. The spelling that was folded away is kept beside the name, for those who want it back.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Longest name in bytes: a DNS label (RFC 1035, 2.3.4).
pub const NAME_LENGTH_MAX: usize = 63;
/// Longest endpoint id in bytes.
pub const ENDPOINT_ID_LENGTH_MAX: usize = 128;
/// The namespace that is meant when none is said.
pub const DEFAULT_NAMESPACE: &str = "default";

/// A lower-case DNS label: 1 to 63 bytes of `[a-z0-9-]`, no hyphen at either end. It is the folded
/// text that is compared; how it was spelt makes no difference.
#[derive(Clone)]
pub struct Name {
    folded: Arc<str>,
    /// How it was spelt, where folding has changed it.
    given: Option<Arc<str>>,
}

impl Name {
    /// Folds `text` (ASCII upper case to lower, `_` to `-`) and checks it against the grammar.
    ///
    /// # Errors
    /// When the folded text is empty, too long, or holds a byte that a DNS label may not hold.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > NAME_LENGTH_MAX {
            return Err(NameError::TooLong {
                length: text.len(),
                max: NAME_LENGTH_MAX,
            });
        }
        let is_folded = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if text.bytes().all(is_folded) && !text.starts_with('-') && !text.ends_with('-') {
            return Ok(Self {
                folded: text.into(),
                given: None,
            });
        }
        if let Some(found) = text
            .chars()
            .find(|c| !c.is_ascii_alphanumeric() && !"-_".contains(*c))
        {
            return Err(NameError::Character {
                found,
                allowed: "a-z, 0-9 and -",
            });
        }
        let folded: String = text
            .chars()
            .map(|c| {
                if c == '_' {
                    '-'
                } else {
                    c.to_ascii_lowercase()
                }
            })
            .collect();
        if folded.starts_with('-') || folded.ends_with('-') {
            return Err(NameError::Hyphen);
        }
        let given = (folded != text).then(|| text.into());
        Ok(Self {
            folded: folded.into(),
            given,
        })
    }

    /// The namespace that is meant when none is said.
    #[must_use]
    pub fn default_namespace() -> Self {
        Self {
            folded: DEFAULT_NAMESPACE.into(),
            given: None,
        }
    }

    /// The name of the port that `port` and `url` speak of.
    #[must_use]
    pub fn main_port() -> Self {
        Self {
            folded: crate::port::MAIN_PORT.into(),
            given: None,
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.folded
    }

    /// The name as it was spelt when it was parsed.
    #[must_use]
    pub fn given(&self) -> &str {
        self.given.as_deref().unwrap_or(&self.folded)
    }

    /// The name as text that is shared with it.
    pub(crate) fn text(&self) -> Arc<str> {
        Arc::clone(&self.folded)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.folded == other.folded
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded.cmp(&other.folded)
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As the text that it is borrowed as.
        self.folded.hash(state);
    }
}

/// Who an endpoint is within its service: chosen by the caller, case-sensitive, stable across
/// restarts of the process behind it. 1 to 128 bytes of `[A-Za-z0-9._:-]`, a letter or digit first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(Arc<str>);

impl EndpointId {
    /// Checks `text` against the grammar.
    ///
    /// # Errors
    /// When the text is empty, too long, or holds a byte outside the grammar.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let Some(first) = text.chars().next() else {
            return Err(NameError::Empty);
        };
        if text.len() > ENDPOINT_ID_LENGTH_MAX {
            return Err(NameError::TooLong {
                length: text.len(),
                max: ENDPOINT_ID_LENGTH_MAX,
            });
        }
        if !first.is_ascii_alphanumeric() {
            return Err(NameError::Character {
                found: first,
                allowed: "a letter or digit first",
            });
        }
        let may_stand = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
        if let Some(found) = text.chars().find(|c| !may_stand(*c)) {
            return Err(NameError::Character {
                found,
                allowed: "A-Z, a-z, 0-9 and . _ : -",
            });
        }
        Ok(Self(text.into()))
    }

    /// The id of an endpoint that was registered without one: `host:port`. A zone index of an
    /// IPv6 address cannot occur here; hosts are checked before.
    ///
    /// # Errors
    /// When the host is so long, or written so, that it cannot serve as an id.
    pub fn of_address(host: &str, port: u16) -> Result<Self, NameError> {
        // An address such as `::1` begins with a colon, which an id may not: it is written in full
        // ("0::1"), which is the same address.
        let lead = if host.starts_with(':') { "0" } else { "" };
        Self::parse(&format!("{lead}{host}:{port}"))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a name or an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was written.
    #[error("it is empty")]
    Empty,
    /// More bytes than the grammar allows.
    #[error("it has {length} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes found.
        length: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A character outside the grammar.
    #[error("{found:?} is not allowed in it; allowed are {allowed}")]
    Character {
        /// The first character that is wrong.
        found: char,
        /// What may stand there.
        allowed: &'static str,
    },
    /// A hyphen or underscore at an end.
    #[error("it begins or ends with a hyphen")]
    Hyphen,
}

/// A service within its namespace.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// Keeps several stacks on one server apart.
    pub namespace: Name,
    /// The name that clients resolve.
    pub name: Name,
}

impl ServiceKey {
    /// The service `name` in `namespace`.
    #[must_use]
    pub fn new(namespace: Name, name: Name) -> Self {
        Self { namespace, name }
    }
}

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }
    )*};
}
as_text!(Name, EndpointId);

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.as_str() == DEFAULT_NAMESPACE {
            write!(f, "{}", self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn habits_are_folded() {
        for text in [
            "memory-store",
            "MEMORY_STORE",
            "Memory-Store",
            "memory_store",
        ] {
            let name = Name::parse(text).unwrap();
            assert_eq!((name.as_str(), name.given()), ("memory-store", text));
            assert_eq!(name, Name::parse("memory-store").unwrap());
        }
    }

    #[test]
    fn everything_else_is_an_error_that_says_what_is_wrong() {
        let cases = [
            ("", "it is empty"),
            ("-web", "it begins or ends with a hyphen"),
            ("web_", "it begins or ends with a hyphen"),
            (
                "we b",
                "' ' is not allowed in it; allowed are a-z, 0-9 and -",
            ),
            (
                "web\n",
                "'\\n' is not allowed in it; allowed are a-z, 0-9 and -",
            ),
            (
                "w\u{e9}b",
                "'\u{e9}' is not allowed in it; allowed are a-z, 0-9 and -",
            ),
            (
                "a.b",
                "'.' is not allowed in it; allowed are a-z, 0-9 and -",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(
                Name::parse(text).unwrap_err().to_string(),
                message,
                "{text:?}"
            );
        }
        assert!(Name::parse(&"a".repeat(63)).is_ok());
        assert!(Name::parse(&"a".repeat(64)).is_err());
    }

    #[test]
    fn ids_keep_their_case_and_may_hold_an_address() {
        assert_eq!(
            EndpointId::parse("Web-1.eu:80").unwrap().as_str(),
            "Web-1.eu:80"
        );
        assert_eq!(
            EndpointId::of_address("10.0.0.1", 80).unwrap().as_str(),
            "10.0.0.1:80"
        );
        assert_eq!(
            EndpointId::of_address("fe80::1", 80).unwrap().as_str(),
            "fe80::1:80"
        );
        assert_eq!(
            EndpointId::of_address("::1", 80).unwrap().as_str(),
            "0::1:80"
        );
        for wrong in ["", "-a", ":a", "a b", "a/b", "a\0"] {
            assert!(EndpointId::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(EndpointId::parse(&"a".repeat(129)).is_err());
    }
}
