//! Where an endpoint is reached: scheme, host, port, and the URL made of them.
//!
//! The parser is stricter than a browser's on purpose. A registry hands out what it is given, so a
//! spelling that two programs could read differently (user-info, a backslash, `0x7f.1`, a tab) is
//! refused with the reason instead of being mended.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// Longest host name in bytes (RFC 1035, 2.3.4).
pub const HOST_LENGTH_MAX: usize = 253;
/// Longest URL in bytes.
pub const URL_LENGTH_MAX: usize = 2_048;

/// A host: an IP address literal without brackets, or a DNS name, lower-cased.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host(Arc<str>);

impl Host {
    /// Checks `text`; an IPv6 literal may come with or without brackets.
    ///
    /// # Errors
    /// When it is neither an IP address nor a DNS name of at most 253 bytes.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Err(AddressError::HostMissing);
        }
        if let Some(literal) = text.strip_prefix('[') {
            let literal = literal
                .strip_suffix(']')
                .ok_or(AddressError::Host("it has no ']'"))?;
            let address: Ipv6Addr = literal
                .parse()
                .map_err(|_error| AddressError::Host("no IPv6 address in []"))?;
            return Ok(Self(address.to_string().into()));
        }
        match text.parse::<IpAddr>() {
            // Of this there is only one spelling.
            Ok(IpAddr::V4(_)) => return Ok(Self(text.into())),
            Ok(IpAddr::V6(address)) => return Ok(Self(address.to_string().into())),
            Err(_no_literal) => {}
        }
        if text.len() > HOST_LENGTH_MAX {
            return Err(AddressError::Host("it has more than 253 bytes"));
        }
        text.split('.').try_for_each(check_label)?;
        // A last label of digits (or 0x...) makes resolvers read the whole as an IPv4 address in
        // one of its odd spellings (WHATWG URL, "ends in a number").
        let last = text.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|b| b.is_ascii_digit())
            || last.starts_with("0x")
            || last.starts_with("0X")
        {
            return Err(AddressError::Host(
                "it looks like an IPv4 address, but is not one",
            ));
        }
        Ok(Self(lower_cased(text)))
    }

    /// The host as text, IPv6 without brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, when the host is a literal.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }

    /// The host with a port as it stands in a URL or is dialled: `[::1]:80`, `web:80`.
    #[must_use]
    pub fn with_port(&self, port: u16) -> String {
        if self.0.contains(':') {
            format!("[{}]:{port}", self.0)
        } else {
            format!("{}:{port}", self.0)
        }
    }
}

fn lower_cased(text: &str) -> Arc<str> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        text.to_ascii_lowercase().into()
    } else {
        text.into()
    }
}

/// One label of a DNS name. Underscores are common in container names and harmless.
fn check_label(label: &str) -> Result<(), AddressError> {
    if label.is_empty() {
        return Err(AddressError::Host("a part between two dots is empty"));
    }
    if label.len() > 63 {
        return Err(AddressError::Host(
            "a part between two dots has more than 63 bytes",
        ));
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(AddressError::Host("a part begins or ends with a hyphen"));
    }
    if label
        .bytes()
        .any(|b| !b.is_ascii_alphanumeric() && b != b'-' && b != b'_')
    {
        return Err(AddressError::Host(
            "only letters, digits, '-', '_' and '.' may stand in it",
        ));
    }
    Ok(())
}

/// A URL scheme, lower-cased: `http`, `https`, `grpc`, `tcp` and whatever else a port may speak.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scheme(Spelt);

/// How a scheme is kept: the usual two without bytes of their own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Spelt {
    Http,
    Https,
    Otherwise(Arc<str>),
}

impl Scheme {
    /// Checks `text` against RFC 3986, 3.1, and at most 32 bytes.
    ///
    /// # Errors
    /// When it is not a scheme.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        match text {
            "http" => return Ok(Self::http()),
            "https" => return Ok(Self(Spelt::Https)),
            _ => {}
        }
        let wrong = |b: u8| !b.is_ascii_alphanumeric() && !b"+-.".contains(&b);
        let begins_well = text.starts_with(|c: char| c.is_ascii_alphabetic());
        if !begins_well || text.len() > 32 || text.bytes().any(wrong) {
            return Err(AddressError::Scheme(
                "a letter first, then letters, digits, + - .",
            ));
        }
        let folded = lower_cased(text);
        Ok(Self(match &*folded {
            "http" => Spelt::Http,
            "https" => Spelt::Https,
            _ => Spelt::Otherwise(folded),
        }))
    }

    /// Plain HTTP, the scheme that is meant when none is said.
    #[must_use]
    pub fn http() -> Self {
        Self(Spelt::Http)
    }

    /// The scheme as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Spelt::Http => "http",
            Spelt::Https => "https",
            Spelt::Otherwise(text) => text,
        }
    }

    /// Whether HTTP is spoken there, with or without TLS.
    #[must_use]
    pub fn is_http(&self) -> bool {
        matches!(self.0, Spelt::Http | Spelt::Https)
    }
}

/// Scheme, host and port with the URL as it is handed out.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// What is spoken there.
    pub scheme: Scheme,
    /// The host.
    pub host: Host,
    /// The port, at least 1.
    pub port: u16,
    /// The URL as registered; `scheme://host:port` when it was registered without one.
    pub url: Arc<str>,
}

impl Address {
    /// Reads an `http` or `https` URL without user-info, query or fragment. A missing port is 80
    /// or 443. The URL is kept as it was written.
    ///
    /// # Errors
    /// When it is no such URL; the error says which part is wrong.
    pub fn parse_url(text: &str) -> Result<Self, AddressError> {
        if text.len() > URL_LENGTH_MAX {
            return Err(AddressError::Url("it has more than 2048 bytes"));
        }
        // Looked at again only where something is wrong, to say what.
        if !text.bytes().all(stands_in_url) {
            text.chars().try_for_each(check_character)?;
        }
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::Scheme(
            "it must begin with http:// or https://",
        ))?;
        let scheme = Scheme::parse(scheme)?;
        if !scheme.is_http() {
            return Err(AddressError::Scheme(
                "only http and https are registered by URL",
            ));
        }
        if rest.bytes().any(|byte| matches!(byte, b'?' | b'#')) {
            return Err(AddressError::Url(
                "a query or fragment is not part of an endpoint",
            ));
        }
        let authority = rest.split('/').next().unwrap_or_default();
        if authority.bytes().any(|byte| byte == b'@') {
            return Err(AddressError::Url(
                "user-info is refused: a registry keeps no secrets",
            ));
        }
        let (host, port) = split_port(authority)?;
        let port = match port {
            Some(digits) => parse_port(digits)?,
            None if scheme.as_str() == "https" => 443,
            None => 80,
        };
        Ok(Self {
            scheme,
            host: Host::parse(host)?,
            port,
            url: text.into(),
        })
    }

    /// The address made of its parts.
    #[must_use]
    pub fn of_parts(scheme: Scheme, host: Host, port: u16) -> Self {
        let url = url_of(&scheme, &host, port).into();
        Self {
            scheme,
            host,
            port,
            url,
        }
    }

    /// Whether both lead to the same place: scheme, host and port; the path is not part of it.
    #[must_use]
    pub fn same_place(&self, other: &Self) -> bool {
        (&self.scheme, &self.host, self.port) == (&other.scheme, &other.host, other.port)
    }
}

/// Whether a byte is one of those that RFC 3986 knows.
fn stands_in_url(byte: u8) -> bool {
    let never = matches!(
        byte,
        b'\\' | b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}'
    );
    byte.is_ascii_graphic() && !never
}

/// One character of a URL, with what is wrong about it.
fn check_character(c: char) -> Result<(), AddressError> {
    match c {
        '\n' | '\r' => Err(AddressError::Url("a line break stands in it")),
        ' ' => Err(AddressError::Url("a space stands in it")),
        c if c.is_control() => Err(AddressError::Url("a control character stands in it")),
        c if !c.is_ascii() => Err(AddressError::Url(
            "a non-ASCII character stands in it; write an international name in its ASCII form, \
             xn--...",
        )),
        '\\' | '"' | '<' | '>' | '^' | '`' | '{' | '|' | '}' => Err(AddressError::Character(c)),
        _ => Ok(()),
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// `scheme://host:port`.
#[must_use]
pub fn url_of(scheme: &Scheme, host: &Host, port: u16) -> String {
    format!("{}://{}", scheme.as_str(), host.with_port(port))
}

/// Splits `host:port`; the host of an IPv6 literal keeps its brackets.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), AddressError> {
    if let Some(end) = authority.find(']') {
        let (host, rest) = authority.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(AddressError::Host(
                "something stands between ']' and the port",
            )),
        };
    }
    match authority.split_once(':') {
        Some((_, port)) if port.contains(':') => {
            Err(AddressError::Host("an IPv6 address stands in [] in a URL"))
        }
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((authority, None)),
    }
}

/// A port in decimal, 1 to 65535, without signs or leading zeros.
fn parse_port(digits: &str) -> Result<u16, AddressError> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    digits
        .parse()
        .ok()
        .filter(|_| plain)
        .ok_or(AddressError::Port)
}

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The scheme is wrong.
    #[error("the scheme is wrong: {0}")]
    Scheme(&'static str),
    /// There is no host.
    #[error("the host is missing")]
    HostMissing,
    /// The host is wrong.
    #[error("the host is wrong: {0}")]
    Host(&'static str),
    /// The port is wrong.
    #[error("the port is wrong: it must be a number from 1 to 65535")]
    Port,
    /// A character that no URL holds.
    #[error("the URL is wrong: '{0}' may not stand in it")]
    Character(char),
    /// Something else about the URL is wrong.
    #[error("the URL is wrong: {0}")]
    Url(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        let cases = [
            ("http://web", "web", 80),
            ("https://web", "web", 443),
            ("http://memory-service:9000", "memory-service", 9000),
            ("HTTP://Web.Example:8080/base/", "web.example", 8080),
            ("http://[::1]:8080", "::1", 8080),
            ("http://10.0.0.1:65535/a", "10.0.0.1", 65535),
            ("http://my_container:1", "my_container", 1),
        ];
        for (url, host, port) in cases {
            let address = Address::parse_url(url).unwrap();
            assert_eq!(
                (address.host.as_str(), address.port, &*address.url),
                (host, port, url)
            );
        }
    }

    #[test]
    fn odd_spellings_are_refused_with_the_part_that_is_wrong() {
        let cases = [
            ("web:80", "scheme"),
            ("ftp://web", "scheme"),
            ("http://", "host is missing"),
            ("http:///path", "host is missing"),
            ("http://user:pw@web", "user-info"),
            ("http://web?x=1", "query"),
            ("http://web#x", "query or fragment"),
            ("http://web:0", "port"),
            ("http://web:99999", "port"),
            ("http://web:", "port"),
            ("http://web:+80", "port"),
            ("http://web:080", "port"),
            ("http://::1:80", "IPv6 address stands in []"),
            ("http://[::1", "]"),
            ("http://[::1]x:80", "between ']' and the port"),
            ("http://[fe80::1%25eth0]:80", "no IPv6"),
            ("http://127.1", "IPv4"),
            ("http://0x7f.0x1", "IPv4"),
            ("http://0X7F.0X1", "IPv4"),
            ("http://2130706433", "IPv4"),
            ("http://256.1.1.1", "IPv4"),
            ("http://we b", "space"),
            ("http://web\n", "line break"),
            ("http://web\t", "control"),
            ("http://web\\x", "'\\' may not"),
            ("http://w\u{e9}b", "non-ASCII"),
            ("http://-web", "hyphen"),
            ("http://a..b", "empty"),
            ("http://web.", "empty"),
        ];
        for (url, part) in cases {
            let message = Address::parse_url(url).expect_err(url).to_string();
            assert!(message.contains(part), "{url}: {message}");
        }
    }
}
