//! Writing JSON straight into bytes: for what is written with every change.
//!
//! Nearly every text of a registry needs no escaping. One look at all of it, many bytes at a time,
//! finds that out, and then it is copied in one piece; what does need some is left to `serde_json`,
//! like numbers and whatever else is not worth a word here.

use serde::Serialize;
use serde_json::Value;

use crate::time::Timestamp;

/// A JSON object that is being written, member by member. A name must need no escaping.
pub(super) struct ObjectWriter<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> ObjectWriter<'a> {
    /// Begins an object at the end of `out`.
    pub(super) fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self {
            out,
            is_empty: true,
        }
    }

    /// Begins a member; what is written to the bytes that come back is its value.
    pub(super) fn member(&mut self, name: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.is_empty) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// A text.
    pub(super) fn text(&mut self, name: &str, text: &str) {
        write_text(self.member(name), text);
    }

    /// A moment; gives back where in the bytes its text begins.
    pub(super) fn time(&mut self, name: &str, time: Timestamp) -> usize {
        let out = self.member(name);
        out.push(b'"');
        let at = out.len();
        out.extend_from_slice(&time.to_text());
        out.push(b'"');
        at
    }

    /// Anything that has string keys and finite numbers.
    pub(super) fn value(&mut self, name: &str, value: &impl Serialize) {
        write_value(self.member(name), value);
    }

    /// The end of the object.
    pub(super) fn end(self) {
        self.out.push(b'}');
    }
}

/// A text in quotes.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    if is_plain(text) {
        out.reserve(text.len() + 2);
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        write_value(out, text);
    }
}

/// An object with all that is in it.
pub(super) fn write_object<'a>(
    out: &mut Vec<u8>,
    members: impl IntoIterator<Item = (impl AsRef<str>, &'a Value)>,
) {
    out.push(b'{');
    for (at, (name, value)) in members.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_text(out, name.as_ref());
        out.push(b':');
        match value {
            Value::String(text) => write_text(out, text),
            Value::Object(members) => write_object(out, members),
            other => write_value(out, other),
        }
    }
    out.push(b'}');
}

fn write_value(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let written = serde_json::to_writer(out, value);
    written.expect("string keys and finite numbers always serialize");
}

/// Whether a text stands in JSON as it is.
fn is_plain(text: &str) -> bool {
    // Without a way out, so that many bytes are looked at at once.
    text.bytes().fold(true, |is_plain, byte| {
        is_plain & (byte >= b' ') & (byte != b'"') & (byte != b'\\')
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_what_serde_makes_of_it() {
        let mut out = Vec::new();
        let mut object = ObjectWriter::begin(&mut out);
        object.text("name", "a \"quoted\"\n\\ \u{e9}");
        object.value("weight", &Some(100));
        ObjectWriter::begin(object.member("inner")).end();
        object.end();
        let expected = r#"{"name":"a \"quoted\"\n\\ é","weight":100,"inner":{}}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn a_text_is_what_serde_makes_of_it(text in ".*", inner in "[ -~\u{0}-\u{1f}\u{7f}]*") {
            for text in [text, inner] {
                let mut out = Vec::new();
                write_text(&mut out, &text);
                prop_assert_eq!(out, serde_json::to_vec(&text).unwrap());
            }
        }

        #[test]
        fn metadata_is_what_serde_makes_of_it(name in ".{0,3}", text in ".{0,3}", number: f64) {
            let value = json!({name.clone(): text, "b": {name: [number, null]}, "c": {}});
            let Value::Object(members) = value else { unreachable!("it is written as one") };
            let mut out = Vec::new();
            write_object(&mut out, &members);
            prop_assert_eq!(out, serde_json::to_vec(&members).unwrap());
        }
    }
}
