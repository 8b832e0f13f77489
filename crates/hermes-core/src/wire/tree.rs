//! JSON text to a tree that borrows from it, without the leniency of most parsers: a member that stands
//! twice is an error.
//!
//! Two programs that read such a text may each believe another one of the two, which is how requests
//! are smuggled past whoever checks them first (RFC 8259, 4). What is wrong is found while parsing;
//! the path to it is only put together when there is something to say. A text is copied only where it
//! is escaped, and members are a list, because most objects have a handful.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use super::fields::{invalid, segment};
use super::problem::{Problem, code};

/// A JSON value that was read, for as long as its body lives.
#[derive(Debug, Clone, PartialEq)]
pub enum Json<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text.
    Text(Cow<'a, str>),
    /// A list.
    List(Vec<Self>),
    /// An object.
    Object(Members<'a>),
}

/// The members of an object, each name once, in the order in which they stand there.
pub type Members<'a> = Vec<(Cow<'a, str>, Json<'a>)>;

impl Json<'_> {
    /// The number that it is.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => number.as_f64(),
            _ => None,
        }
    }
}

impl From<Json<'_>> for Value {
    /// The same, to be kept.
    fn from(json: Json<'_>) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(value),
            Json::Number(number) => Self::Number(number),
            Json::Text(text) => Self::String(text.into_owned()),
            Json::List(items) => items.into_iter().map(Self::from).collect(),
            Json::Object(members) => Self::Object(kept(members)),
        }
    }
}

/// The same members, to be kept.
pub(super) fn kept<C: FromIterator<(String, Value)>>(members: Members<'_>) -> C {
    let members = members.into_iter();
    members
        .map(|(name, value)| (name.into_owned(), value.into()))
        .collect()
}

/// Reads a whole JSON text. Its depth is the caller's affair, see [`super::depth_of`].
///
/// # Errors
/// `invalid_body` when it is no JSON, `invalid_field` when a member stands twice.
pub(super) fn read_tree(text: &[u8]) -> Result<Json<'_>, Problem> {
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

/// A name that stands twice.
fn twice_in<'a>(members: &'a Members<'_>) -> Option<&'a str> {
    /// Up to here, comparing each with each is quicker than sorting.
    const FEW: usize = 16;
    let names = members.iter().map(|(name, _)| &**name);
    if members.len() <= FEW {
        let mut before = names.clone().enumerate();
        return before
            .find_map(|(at, name)| names.clone().take(at).any(|n| n == name).then_some(name));
    }
    let mut sorted: Vec<&str> = names.collect();
    sorted.sort_unstable();
    let mut pairs = sorted.windows(2);
    pairs.find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
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
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Number::from_f64(value).map_or(Json::Null, Json::Number))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let mut list = Vec::new();
        loop {
            match items.next_element_seed(self) {
                Ok(Some(item)) => list.push(item),
                Ok(None) => return Ok(Json::List(list)),
                Err(error) => {
                    self.below(&list.len().to_string());
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json<'de>, A::Error> {
        /// Most objects have no more members.
        const TYPICAL: usize = 8;
        let mut object: Members<'de> = Vec::with_capacity(TYPICAL);
        while let Some(name) = members.next_key_seed(NameOf)? {
            match members.next_value_seed(self) {
                Ok(value) => object.push((name, value)),
                Err(error) => {
                    self.below(&name);
                    return Err(error);
                }
            }
        }
        if let Some(name) = twice_in(&object) {
            *self.twice.borrow_mut() = Some(segment(name));
            return Err(A::Error::custom("a member stands twice"));
        }
        Ok(Json::Object(object))
    }
}

/// Makes the name of a member.
struct NameOf;

impl<'de> DeserializeSeed<'de> for NameOf {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for NameOf {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
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
        let many: String = (0..100).map(|n| format!("\"m{n}\": {n}, ")).collect();
        let many = format!("{{{many}\"m7\": 0}}");
        let cases = cases.into_iter().chain([(&*many, "/m7")]);
        for (text, pointer) in cases {
            let problem = read_tree(text.as_bytes()).unwrap_err();
            assert_eq!(problem.code, code::INVALID_FIELD, "{text}");
            assert_eq!(problem.field.as_deref(), Some(pointer), "{text}");
        }
        assert!(read_tree(br#"{"a": {"b": 1}, "b": {"a": 1}}"#).is_ok());
    }

    #[test]
    fn what_is_no_json_is_no_duplicate() {
        for text in ["", "{", "{}{}", "{\"a\" 1}", "[1,]", "1e999", "\"\\ud800\""] {
            assert_eq!(
                read_tree(text.as_bytes()).unwrap_err().code,
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
            let text = value.to_string();
            prop_assert_eq!(Value::from(read_tree(text.as_bytes()).unwrap()), value);
        }
    }
}
