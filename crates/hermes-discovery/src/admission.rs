//! Admission: which addresses may be registered.
//!
//! The seed's rule (R150, R151): `http` or `https`, a host, a port, a path; in production `https`
//! alone. What is an address at all is decided by [`Address::parse_url`], which refuses every odd
//! spelling and says which part is wrong. On top of it stands what an operator wants, and since
//! inside of a mesh or a cluster plain HTTP is usual (R233), the hosts for which it stays allowed
//! are named one by one.
//!
//! ```
//! use hermes_discovery::admission::{Admission, HttpHost};
//!
//! let production = Admission::https_only([HttpHost::parse("*.svc.cluster.local")?]);
//! assert!(production.admit("https://memory.example:9000").is_ok());
//! assert!(production.admit("http://memory.prod.svc.cluster.local:9000").is_ok());
//! let refusal = production.admit("http://memory.example:9000").unwrap_err().to_string();
//! assert!(refusal.contains("https is required"), "{refusal}");
//! assert!(production.admit("https://memory.example:99999").is_err());
//! # Ok::<(), hermes_discovery::admission::HttpHostError>(())
//! ```

use std::fmt;

use hermes_core::address::{Address, AddressError, Host};

/// Most characters of a refused address that are shown.
const SHOWN_MAX: usize = 96;

/// Which addresses may be registered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Admission {
    /// Whether plain `http` is refused.
    pub https_only: bool,
    /// The hosts for which plain `http` is admitted all the same.
    pub http_hosts: Vec<HttpHost>,
}

/// A host, or every host below a domain, to which plain HTTP is admitted: `memory`, `10.0.0.7`,
/// `*.svc.cluster.local`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpHost {
    host: Host,
    is_below: bool,
}

/// Why an address may not be registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It is no address: mend the spelling.
    #[error("`{address}` is no address of an endpoint: {reason}")]
    NoAddress {
        /// What was to be registered, without what may be a secret in it.
        address: String,
        /// What is wrong with it.
        reason: AddressError,
    },
    /// Plain HTTP is not admitted: serve it over https, or name its host as an exception.
    #[error(
        "`{address}` is plain http, and https is required here (R151): register an https address, or \
         name the host `{host}` among those that may speak http"
    )]
    HttpsRequired {
        /// What was to be registered.
        address: String,
        /// Its host.
        host: String,
    },
}

/// Why a text does not name hosts for which HTTP is admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` names no host: {reason}; write a host, an IP address or *.domain")]
pub struct HttpHostError {
    text: String,
    reason: AddressError,
}

impl Admission {
    /// Everything that is an address.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// Only https, but for the hosts that are named.
    #[must_use]
    pub fn https_only(http_hosts: impl IntoIterator<Item = HttpHost>) -> Self {
        Self {
            https_only: true,
            http_hosts: http_hosts.into_iter().collect(),
        }
    }

    /// Reads `url`, and says whether it may be registered.
    ///
    /// # Errors
    /// When it is no address, or one that is not admitted. The text of the error is safe to show:
    /// user-info, in which passwords stand, is left out of it.
    pub fn admit(&self, url: &str) -> Result<Address, Refused> {
        let address = Address::parse_url(url).map_err(|reason| Refused::NoAddress {
            address: shown(url),
            reason,
        })?;
        self.admit_address(&address)?;
        Ok(address)
    }

    /// Says whether an address that was read already may be registered.
    ///
    /// # Errors
    /// When it is not admitted.
    pub fn admit_address(&self, address: &Address) -> Result<(), Refused> {
        let is_plain = address.scheme.as_str() == "http";
        if self.https_only && is_plain && !self.may_speak_http(&address.host) {
            return Err(Refused::HttpsRequired {
                address: shown(&address.url),
                host: address.host.as_str().to_owned(),
            });
        }
        Ok(())
    }

    fn may_speak_http(&self, host: &Host) -> bool {
        self.http_hosts.iter().any(|named| named.covers(host))
    }
}

impl HttpHost {
    /// Reads a host, an IP address, or `*.domain`, which means every name below the domain.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn parse(text: &str) -> Result<Self, HttpHostError> {
        let (host, is_below) = match text.strip_prefix("*.") {
            Some(domain) => (domain, true),
            None => (text, false),
        };
        let wrong = |reason| HttpHostError {
            text: shown(text),
            reason,
        };
        let host = Host::parse(host).map_err(wrong)?;
        if is_below && host.ip().is_some() {
            return Err(wrong(AddressError::Host("nothing is below an IP address")));
        }
        Ok(Self { host, is_below })
    }

    /// Whether `host` is meant.
    #[must_use]
    pub fn covers(&self, host: &Host) -> bool {
        if !self.is_below {
            return self.host == *host;
        }
        let above = host.as_str().strip_suffix(self.host.as_str());
        above.is_some_and(|above| above.len() > 1 && above.ends_with('.'))
    }
}

impl fmt::Display for HttpHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let below = if self.is_below { "*." } else { "" };
        write!(f, "{below}{}", self.host.as_str())
    }
}

/// What may be shown of a text that was meant to be an address: no user-info, no control characters,
/// not too much of it.
#[must_use]
pub fn shown(text: &str) -> String {
    let begin = text.find("://").map_or(0, |at| at + 3);
    let authority = text[begin..].find(['/', '?', '#']);
    let end = authority.map_or(text.len(), |length| begin + length);
    let safe = match text[begin..end].rfind('@') {
        Some(at) => format!("{}...{}", &text[..begin], &text[begin + at..]),
        None => text.to_owned(),
    };
    let mut printed = String::new();
    for (count, c) in safe.chars().enumerate() {
        match c {
            _ if count == SHOWN_MAX => {
                printed.push_str("...");
                break;
            }
            c if c.is_control() => printed.extend(c.escape_debug()),
            c => printed.push(c),
        }
    }
    printed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_rule_of_the_seed_admits_is_admitted_and_more_that_is_right() {
        let any = Admission::any();
        for url in [
            "http://memory-service:9000",
            "https://memory.example",
            "https://memory.example:8443/api/v1.2/",
            "http://my_container:1/a-b_c.d",
            "http://10.0.0.7:65535",
            "http://[2001:db8::7]:8080/base",
            "http://xn--bcher-kva.example:80",
        ] {
            assert_eq!(&*any.admit(url).unwrap().url, url);
        }
    }

    #[test]
    fn every_odd_spelling_is_refused_and_the_text_says_what_is_wrong() {
        let any = Admission::any();
        let cases = [
            ("memory:9000", "must begin with http:// or https://"),
            ("ftp://memory", "only http and https"),
            ("http://", "the host is missing"),
            ("http://memory:0", "a number from 1 to 65535"),
            ("http://memory:99999", "a number from 1 to 65535"),
            ("http://memory:9000\n", "line break"),
            ("http://memory:9000\r\nX: y", "line break"),
            (" http://memory:9000", "space"),
            ("http://memory\t:9000", "control character"),
            ("http://b\u{fc}cher.example", "xn--"),
            ("http://memory/a b", "space"),
            ("http://memory\\evil", "'\\' may not stand"),
            ("http://memory/{id}", "'{' may not stand"),
            ("http://::1:80", "an IPv6 address stands in []"),
            ("http://[::1%25eth0]", "no IPv6 address in []"),
            ("http://0x7f.1", "IPv4"),
            ("http://memory?x=1", "a query or fragment"),
            ("http://memory#x", "a query or fragment"),
            ("http://user:hunter2@memory", "user-info"),
        ];
        for (url, part) in cases {
            let text = any.admit(url).expect_err(url).to_string();
            assert!(text.contains(part), "{url:?}: {text}");
            assert!(!text.contains("hunter2"), "{text}");
            assert!(!text.contains('\n'), "{text:?}");
        }
    }

    #[test]
    fn in_production_only_https_is_admitted_and_what_is_named() {
        let names = ["memory", "*.svc.cluster.local", "10.0.0.7", "[::1]"];
        let rule = Admission::https_only(names.map(|name| HttpHost::parse(name).unwrap()));
        for url in [
            "https://anything.example",
            "http://memory:9000",
            "http://MEMORY:9000",
            "http://a.b.svc.cluster.local",
            "http://10.0.0.7",
            "http://[::1]:80",
        ] {
            assert!(rule.admit(url).is_ok(), "{url}");
        }
        for url in [
            "http://cognition:9000",
            "http://memory.example",
            "http://svc.cluster.local",
            "http://evilsvc.cluster.local",
            "http://10.0.0.70",
            "HTTP://cognition",
        ] {
            let refusal = rule.admit(url).expect_err(url);
            assert!(
                matches!(refusal, Refused::HttpsRequired { .. }),
                "{refusal}"
            );
        }
    }

    #[test]
    fn exceptions_are_hosts_and_domains_and_nothing_else() {
        for (text, part) in [
            ("", "host is missing"),
            ("*", "only letters"),
            ("*.*.local", "only letters"),
            ("*.10.0.0.7", "nothing is below"),
            ("http://memory", "only letters"),
            ("memory:80", "only letters"),
        ] {
            let error = HttpHost::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert_eq!(HttpHost::parse("*.Mesh").unwrap().to_string(), "*.mesh");
    }

    #[test]
    fn what_is_shown_of_an_address_is_short_and_holds_no_password() {
        assert_eq!(shown("http://a:b@c:80/x@y"), "http://...@c:80/x@y");
        assert_eq!(shown("a:b@c"), "...@c");
        assert_eq!(shown("http://a\nb"), "http://a\\nb");
        assert_eq!(shown(&"a".repeat(200)).len(), SHOWN_MAX + 3);
    }
}
