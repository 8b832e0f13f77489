//! JSON text to a value, without the leniency of most parsers: a member that stands twice is an error.
//!
//! Two programs that read such a text may each believe another one of the two, which is how requests
//! are smuggled past whoever checks them first (RFC 8259, 4). What is wrong is found while parsing;
//! the path to it is only put together when there is something to say.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use super::fields::{invalid, segment};
use super::problem::{Problem, code};

/// Reads a whole JSON text. Its depth is the caller's affair, see [`super::depth_of`].
///
/// # Errors
/// `invalid_body` when it is no JSON, `invalid_field` when a member stands twice.
pub(super) fn read_value(text: &[u8]) -> Result<Value, Problem> {
    let twice = RefCell::new(None);
    let mut parser = serde_json::Deserializer::from_slice(text);
    let read = Strict { twice: &twice }.deserialize(&mut parser);
    let read = read.and_then(|value| parser.end().map(|()| value));
    read.map_err(|error| match twice.take() {
        Some(pointer) => invalid(
            &pointer,
            "it stands there twice; send each member once, so that it has one value",
        ),
        None => {
            let detail = format!("The body is not JSON: {error}. Send one JSON object.");
            Problem::new(code::INVALID_BODY, detail)
        }
    })
}

/// Makes one value.
#[derive(Clone, Copy)]
struct Strict<'a> {
    /// The JSON pointer to the member that stands twice, as far as it is put together.
    twice: &'a RefCell<Option<String>>,
}

impl Strict<'_> {
    /// What went wrong below `name` did so under its path.
    fn below(&self, name: &str) {
        if let Some(pointer) = &mut *self.twice.borrow_mut() {
            pointer.insert_str(0, &segment(name));
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            match items.next_element_seed(self) {
                Ok(Some(item)) => list.push(item),
                Ok(None) => return Ok(Value::Array(list)),
                Err(error) => {
                    self.below(&list.len().to_string());
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let room = match object.entry(name) {
                Entry::Vacant(room) => room,
                Entry::Occupied(twice) => {
                    *self.twice.borrow_mut() = Some(segment(twice.key()));
                    return Err(A::Error::custom("a member stands twice"));
                }
            };
            match members.next_value_seed(self) {
                Ok(value) => {
                    room.insert(value);
                }
                Err(error) => {
                    self.below(room.key());
                    return Err(error);
                }
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_member_that_stands_twice_is_named_by_its_path() {
        let cases = [
            (r#"{"a": 1, "a": 1}"#, "/a"),
            (
                r#"{"a": {"b": [0, {"c/d": 1, "c\u002fd": 2}]}}"#,
                "/a/b/1/c~1d",
            ),
            (r#"[{"x~": null, "x~": null}]"#, "/0/x~0"),
        ];
        for (text, pointer) in cases {
            let problem = read_value(text.as_bytes()).unwrap_err();
            assert_eq!(problem.code, code::INVALID_FIELD, "{text}");
            assert_eq!(problem.field.as_deref(), Some(pointer), "{text}");
        }
        assert!(read_value(br#"{"a": {"b": 1}, "b": {"a": 1}}"#).is_ok());
    }

    #[test]
    fn what_is_no_json_is_no_duplicate() {
        for text in ["", "{", "{}{}", "{\"a\" 1}", "[1,]", "1e999", "\"\\ud800\""] {
            assert_eq!(
                read_value(text.as_bytes()).unwrap_err().code,
                code::INVALID_BODY,
                "{text}"
            );
        }
    }

    /// Any JSON value.
    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(|n| json!(n)),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::btree_map(".{0,3}", inner, 0..4).prop_map(|m| json!(m)),
            ]
        })
    }

    proptest! {
        #[test]
        fn everything_else_reads_as_it_was_written(value in any_value()) {
            prop_assert_eq!(read_value(value.to_string().as_bytes()).unwrap(), value);
        }
    }
}
