//! Metadata: whatever a caller wants to say about an endpoint, as JSON, and patches over it.
//!
//! What is kept is small and never changed; a patch is applied rarely, and to the map that `serde_json`
//! has for JSON objects.

use serde_json::{Map, Value};

use crate::named::Named;

/// The members of a JSON object, in the order of their names.
pub type Metadata = Named<Value>;

impl Metadata {
    /// Itself as a JSON object.
    #[must_use]
    pub fn to_object(&self) -> Map<String, Value> {
        let member = |(name, value): (&str, &Value)| (name.to_owned(), value.clone());
        self.iter().map(member).collect()
    }

    /// Itself with a merge patch applied to its members (RFC 7396).
    #[must_use]
    pub fn patched(&self, patch: &Self) -> Self {
        merged(&self.to_object(), patch).into()
    }

    /// Bytes that it takes in memory, roughly.
    #[must_use]
    pub fn weight(&self) -> usize {
        weight_of(self)
    }
}

impl From<Map<String, Value>> for Metadata {
    fn from(object: Map<String, Value>) -> Self {
        object.into_iter().collect()
    }
}

/// Two merge patches as one: applying it to `base` is applying `first` and then `second`.
#[must_use]
pub fn patches_joined(base: &Metadata, first: &Metadata, second: &Metadata) -> Metadata {
    let [base, first, second] = [base, first, second].map(Named::to_object);
    joined(&base, &first, &second).into()
}

fn merged<'a>(
    base: &Map<String, Value>,
    patch: impl IntoIterator<Item = (impl AsRef<str>, &'a Value)>,
) -> Map<String, Value> {
    let mut result = base.clone();
    for (name, change) in patch {
        let name = name.as_ref();
        match change {
            Value::Null => drop(result.remove(name)),
            Value::Object(inner) => {
                let base = match result.get(name) {
                    Some(Value::Object(base)) => base.clone(),
                    _ => Map::new(),
                };
                result.insert(name.to_owned(), Value::Object(merged(&base, inner)));
            }
            _ => drop(result.insert(name.to_owned(), change.clone())),
        }
    }
    result
}

fn joined(
    base: &Map<String, Value>,
    first: &Map<String, Value>,
    second: &Map<String, Value>,
) -> Map<String, Value> {
    let nothing = Map::new();
    let mut result = first.clone();
    for (name, change) in second {
        let base = base.get(name).and_then(Value::as_object);
        let base = base.unwrap_or(&nothing);
        let joined = match (first.get(name), change) {
            (None, _) => change.clone(),
            (Some(Value::Object(first)), Value::Object(second)) => {
                Value::Object(joined(base, first, second))
            }
            // What `first` took away or replaced does not shine through again.
            (Some(_), Value::Object(second)) => {
                let hidden = base
                    .keys()
                    .map(|name| (name.clone(), Value::Null))
                    .collect();
                Value::Object(joined(base, &hidden, second))
            }
            (Some(_), _) => change.clone(),
        };
        result.insert(name.clone(), joined);
    }
    result
}

fn weight_of<'a>(members: impl IntoIterator<Item = (impl AsRef<str>, &'a Value)>) -> usize {
    const MEMBER: usize = 16;
    fn of_value(value: &Value) -> usize {
        MEMBER
            + match value {
                Value::String(text) => text.len(),
                Value::Array(items) => items.iter().map(of_value).sum(),
                Value::Object(object) => weight_of(object),
                Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            }
    }
    members
        .into_iter()
        .map(|(name, value)| name.as_ref().len() + of_value(value))
        .sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("not an object: {other}"),
        }
    }

    fn metadata(value: Value) -> Metadata {
        object(value).into()
    }

    #[test]
    fn a_merge_patch_replaces_removes_and_descends() {
        let base = metadata(json!({"a": 1, "b": {"c": 2, "d": 3}, "e": [1]}));
        let patch =
            metadata(json!({"a": null, "b": {"c": null, "x": 9}, "e": 7, "f": {"g": null}}));
        let expected = metadata(json!({"b": {"d": 3, "x": 9}, "e": 7, "f": {}}));
        assert_eq!(base.patched(&patch), expected);
    }

    /// Any JSON value of a few small names, so that patches meet each other and the base.
    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), (0..3).prop_map(|n| json!(n))];
        leaf.prop_recursive(3, 16, 3, |inner| {
            prop::collection::btree_map("[abc]", inner, 0..3).prop_map(|members| json!(members))
        })
    }

    fn any_object() -> impl Strategy<Value = Map<String, Value>> {
        prop::collection::btree_map("[abc]", any_value(), 0..3)
            .prop_map(|members| object(json!(members)))
    }

    proptest! {
        #[test]
        fn joined_patches_do_what_one_after_the_other_does(
            base in any_object(),
            first in any_object(),
            second in any_object(),
        ) {
            let [base, first, second] = [base, first, second].map(Metadata::from);
            let joined = patches_joined(&base, &first, &second);
            prop_assert_eq!(base.patched(&joined), base.patched(&first).patched(&second));
        }

        #[test]
        fn it_is_the_object_that_it_was_made_of(object in any_object()) {
            let metadata = Metadata::from(object.clone());
            prop_assert_eq!(metadata.to_object(), object.clone());
            prop_assert_eq!(serde_json::to_string(&metadata).unwrap(), Value::from(object).to_string());
        }
    }
}
