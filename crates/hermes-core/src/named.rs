//! Values by name in as few bytes as they can be kept in: what nearly every endpoint has a few of.
//!
//! A sorted slice, made at once and never changed. A B-tree takes 632 bytes for its first member, and
//! there was one for the ports and one for the metadata of each endpoint, half of what it weighed. Here
//! a member takes the bytes of its name, the 16 that lead to it, and its value; none takes nothing.

use std::fmt;

use serde::ser::{Serialize, Serializer};

/// Values of type `V`, each with a name of its own, in the order of the names.
#[derive(Clone, PartialEq, Eq)]
pub struct Named<V>(Box<[(Box<str>, V)]>);

impl<V> Named<V> {
    /// The value of this name, found by halving.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&V> {
        let found = self.0.binary_search_by(|(other, _)| (**other).cmp(name));
        found.ok().map(|at| &self.0[at].1)
    }

    /// Whether there is a value of this name.
    #[must_use]
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each name with its value, in the order of the names.
    pub fn iter(&self) -> Iter<'_, V> {
        self.0.iter().map(borrowed)
    }

    /// The names, in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.iter().map(|(name, _)| name)
    }

    /// The values, in the order of their names.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

/// What [`Named::iter`] gives.
pub type Iter<'a, V> =
    std::iter::Map<std::slice::Iter<'a, (Box<str>, V)>, fn(&'a (Box<str>, V)) -> (&'a str, &'a V)>;

fn borrowed<V>((name, value): &(Box<str>, V)) -> (&str, &V) {
    (name, value)
}

impl<V> Default for Named<V> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<N: Into<Box<str>>, V> FromIterator<(N, V)> for Named<V> {
    /// Of those with the same name the last one counts, as in every map.
    fn from_iter<T: IntoIterator<Item = (N, V)>>(members: T) -> Self {
        let members = members.into_iter();
        let mut members: Vec<_> = members.map(|(name, value)| (name.into(), value)).collect();
        if !members.is_sorted_by(|(a, _), (b, _)| a < b) {
            // The last of a name has to be the first, for that is the one that is kept.
            members.reverse();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            members.dedup_by(|(later, _), (first, _)| later == first);
        }
        Self(members.into())
    }
}

impl<'a, V> IntoIterator for &'a Named<V> {
    type Item = (&'a str, &'a V);
    type IntoIter = Iter<'a, V>;

    fn into_iter(self) -> Iter<'a, V> {
        self.iter()
    }
}

/// As a map.
impl<V: Serialize> Serialize for Named<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl<V: fmt::Debug> fmt::Debug for Named<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_takes_no_room() {
        let none = Named::<u64>::default();
        assert_eq!(size_of_val(&none), 2 * size_of::<usize>());
        assert_eq!(size_of_val(&*none.0), 0);
        assert!(none.is_empty() && none.get("").is_none());
    }

    proptest! {
        #[test]
        fn it_is_a_map(members in prop::collection::vec(("[abc]{0,3}", 0..9), 0..12), name in "[abc]{0,3}") {
            let named: Named<i32> = members.iter().map(|(name, value)| (&**name, *value)).collect();
            let model: BTreeMap<&str, i32> = members.iter().map(|(name, value)| (&**name, *value)).collect();
            prop_assert!(named.iter().eq(model.iter().map(|(name, value)| (*name, value))));
            prop_assert!(named.keys().eq(model.keys().copied()) && named.values().eq(model.values()));
            prop_assert_eq!((named.len(), named.is_empty()), (model.len(), model.is_empty()));
            prop_assert_eq!(named.get(&name), model.get(&*name));
            prop_assert_eq!(named.contains_key(&name), model.contains_key(&*name));
            prop_assert_eq!(format!("{named:?}"), format!("{model:?}"));
            let mut reversed: Vec<_> = model.into_iter().collect();
            reversed.reverse();
            prop_assert_eq!(reversed.into_iter().collect::<Named<i32>>(), named);
        }
    }
}
