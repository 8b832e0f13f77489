//! Paths of the API, with whatever a user typed percent-encoded where it stands.

use std::fmt::{self, Write};

/// A path with its query. Made of parts, so that no part can become another: a name with a slash
/// in it stays one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    text: String,
    has_query: bool,
}

impl Path {
    /// A path that is written in the code: `/api/v1/services`.
    #[must_use]
    pub fn new(root: &'static str) -> Self {
        Self {
            text: root.into(),
            has_query: false,
        }
    }

    /// The same with one segment more.
    #[must_use]
    pub fn segment(mut self, segment: &str) -> Self {
        self.text.push('/');
        self.encode(segment);
        self
    }

    /// The same with one parameter more.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.text.push(if self.has_query { '&' } else { '?' });
        self.has_query = true;
        self.encode(name);
        self.text.push('=');
        self.encode(value);
        self
    }

    /// The path as it is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether an answer has the headers that every answer of the API has.
    pub(super) fn is_of_api(&self) -> bool {
        self.text.starts_with("/api/v1/") || self.text.starts_with("/services")
    }

    /// Everything but what RFC 3986, 2.3 calls unreserved, and the colon: it is common in ids, and
    /// means itself in segments and in queries.
    fn encode(&mut self, text: &str) {
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
                self.text.push(char::from(byte));
            } else {
                write!(self.text, "%{byte:02X}").expect("a string takes whatever is written");
            }
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_stays_where_it_stands() {
        let path = Path::new("/api/v1/services")
            .segment("we/b?x")
            .segment("10.0.0.1:80")
            .query("namespace", "a&b=c")
            .query("tag", "w\u{e9} +");
        let expected =
            "/api/v1/services/we%2Fb%3Fx/10.0.0.1:80?namespace=a%26b%3Dc&tag=w%C3%A9%20%2B";
        assert_eq!(path.as_str(), expected);
        assert!(path.is_of_api());
        assert!(!Path::new("/health").is_of_api());
    }
}
