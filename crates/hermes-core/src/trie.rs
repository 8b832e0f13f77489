//! A persistent map from names to values: the shape in which the catalog is shared with readers.
//!
//! A clone is one reference count. A change copies the path from the root to one leaf (a few
//! hundred bytes to a few kilobytes) and leaves every older clone as it was, so a reader that
//! holds a clone sees one revision of everything, for as long as it likes, without a lock. Branches
//! that nobody else holds are changed in place, so a batch of changes copies each path once.
//!
//! The structure is a radix tree over the name's hash with 32 children a branch: a hash array
//! mapped trie (P. Bagwell, "Ideal Hash Trees", 2001) without the bitmap, because hashes spread
//! evenly, and with leaves of up to 8 entries, because scanning eight hashes is cheaper than
//! following another pointer. The hash is seeded, so that nobody can choose names that collide.
//!
//! What a look costs are the pointers it follows one after the other. So the kind of a node stands in
//! the branch above it, beside the pointer; a leaf is its entries and nothing else; and a short name
//! stands in its entry. A thousand names are two branches and a leaf away, a million four branches and
//! a leaf. The price is that a leaf is copied when a name comes or goes, even if nobody else holds it.

use std::array;
use std::hash::{BuildHasher, Hasher};
use std::slice;
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::name::Name;

const BITS: u32 = 5;
const FANOUT: usize = 1 << BITS;
const LEAF_MAX: usize = 8;
/// As much as fits beside the length in three words.
const SHORT_MAX: usize = 22;

/// A map from [`Name`] to `V` that is cheap to clone and is never changed under a reader.
#[derive(Clone, Debug)]
pub struct Trie<V> {
    root: Node<V>,
    length: usize,
    seed: FixedState,
}

/// A slot of its parent: two words, of which a branch needs one.
#[derive(Clone, Debug)]
enum Node<V> {
    Leaf(Arc<[Entry<V>]>),
    Branch(Arc<[Self; FANOUT]>),
}

#[derive(Clone, Debug)]
struct Entry<V> {
    hash: u64,
    name: Text,
    value: V,
}

/// A name as a leaf holds it: within the entry if it is short, so that no pointer is followed to
/// compare it.
#[derive(Clone, Debug)]
enum Text {
    Short { length: u8, bytes: [u8; SHORT_MAX] },
    Long(Arc<str>),
}

impl<V: Clone> Trie<V> {
    /// An empty map. `seed` should differ from server to server and be unknown to callers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            root: Node::empty(),
            length: 0,
            seed: FixedState::with_seed(seed),
        }
    }

    /// How many names it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The value of `name`. Takes any text, so that looking up needs no parsing.
    #[must_use]
    #[inline]
    pub fn get(&self, name: &str) -> Option<&V> {
        // Most registries have one namespace: to compare its name is cheaper than to hash it.
        if let Node::Leaf(entries) = &self.root
            && let [only] = &entries[..]
        {
            return only.name.is(name).then_some(&only.value);
        }
        self.find(self.hash(name), name)
    }

    /// The value of `name`, to be changed for this clone and those made of it later.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut V> {
        let hash = self.hash(name);
        // Looked up first: a miss must not copy a path.
        self.find(hash, name)?;
        self.find_mut(hash, name)
    }

    /// The value of `name`, to be changed as by [`Trie::get_mut`]; made when there is none.
    pub fn get_or_insert_with(&mut self, name: &Name, make: impl FnOnce() -> V) -> &mut V {
        let hash = self.hash(name.as_str());
        if self.find(hash, name.as_str()).is_none() {
            self.insert_new(hash, name, make());
        }
        self.find_mut(hash, name.as_str())
            .expect("it was put there above when it was missing")
    }

    /// Sets the value of `name`, and gives back the one it had.
    pub fn insert(&mut self, name: &Name, value: V) -> Option<V> {
        if let Some(old) = self.get_mut(name.as_str()) {
            return Some(std::mem::replace(old, value));
        }
        self.insert_new(self.hash(name.as_str()), name, value);
        None
    }

    /// Takes `name` out, and gives back its value.
    pub fn remove(&mut self, name: &str) -> Option<V> {
        let hash = self.hash(name);
        let value = self.find(hash, name)?.clone();
        let entries = self.root.leaf_mut(hash);
        let others = entries.iter().filter(|entry| !entry.is(hash, name));
        *entries = others.cloned().collect();
        self.length -= 1;
        Some(value)
    }

    /// Every value, in no particular order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        let mut branches = vec![slice::from_ref(&self.root).iter()];
        let mut entries: slice::Iter<'_, Entry<V>> = [].iter();
        std::iter::from_fn(move || {
            loop {
                if let Some(entry) = entries.next() {
                    return Some(&entry.value);
                }
                match branches.last_mut()?.next() {
                    None => drop(branches.pop()),
                    Some(Node::Branch(children)) => branches.push(children.iter()),
                    Some(Node::Leaf(leaf)) => entries = leaf.iter(),
                }
            }
        })
    }

    fn hash(&self, name: &str) -> u64 {
        let mut hasher = self.seed.build_hasher();
        hasher.write(name.as_bytes());
        hasher.finish()
    }

    // Kept out of `get`, so that the comparison there is small enough to stand where it is called.
    #[inline(never)]
    fn find(&self, hash: u64, name: &str) -> Option<&V> {
        let mut node = &self.root;
        let mut rest = hash;
        loop {
            match node {
                Node::Branch(children) => {
                    node = &children[digit(rest)];
                    rest >>= BITS;
                }
                Node::Leaf(entries) => {
                    let entry = entries.iter().find(|entry| entry.is(hash, name));
                    return entry.map(|entry| &entry.value);
                }
            }
        }
    }

    fn find_mut(&mut self, hash: u64, name: &str) -> Option<&mut V> {
        let entries = Arc::make_mut(self.root.leaf_mut(hash));
        let entry = entries.iter_mut().find(|entry| entry.is(hash, name));
        entry.map(|entry| &mut entry.value)
    }

    /// Puts in a name that is not there yet.
    fn insert_new(&mut self, hash: u64, name: &Name, value: V) {
        let name = Text::of(name);
        self.root.insert_new(0, Entry { hash, name, value });
        self.length += 1;
    }
}

impl<V> Entry<V> {
    fn is(&self, hash: u64, name: &str) -> bool {
        self.hash == hash && self.name.is(name)
    }
}

impl Text {
    fn of(name: &Name) -> Self {
        let text = name.as_str().as_bytes();
        let mut bytes = [0; SHORT_MAX];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(start), Ok(length)) => {
                start.copy_from_slice(text);
                Self::Short { length, bytes }
            }
            _ => Self::Long(name.text()),
        }
    }

    #[inline]
    fn is(&self, name: &str) -> bool {
        match self {
            Self::Short { length, bytes } => {
                usize::from(*length) == name.len()
                    && bytes.get(..name.len()) == Some(name.as_bytes())
            }
            Self::Long(text) => **text == *name,
        }
    }
}

impl<V> Node<V> {
    fn empty() -> Self {
        Self::Leaf(Arc::default())
    }
}

impl<V: Clone> Node<V> {
    /// The leaf that `hash` leads to; the branches on the way are copied where others hold them too.
    fn leaf_mut(&mut self, hash: u64) -> &mut Arc<[Entry<V>]> {
        let mut node = self;
        let mut rest = hash;
        loop {
            match node {
                Self::Leaf(entries) => return entries,
                Self::Branch(children) => {
                    node = &mut Arc::make_mut(children)[digit(rest)];
                    rest >>= BITS;
                }
            }
        }
    }

    /// Puts an entry whose name is not there yet below this node, which is `depth` branches down. A
    /// leaf that is full becomes a branch.
    fn insert_new(&mut self, depth: u32, entry: Entry<V>) {
        match self {
            Self::Branch(children) => {
                let child = &mut Arc::make_mut(children)[digit(entry.hash >> (BITS * depth))];
                child.insert_new(depth + 1, entry);
            }
            // With every bit used up a leaf may only grow: it takes equal hashes to get here.
            Self::Leaf(entries) if entries.len() < LEAF_MAX || BITS * (depth + 1) >= u64::BITS => {
                *entries = entries.iter().cloned().chain([entry]).collect();
            }
            Self::Leaf(entries) => {
                let full = Arc::clone(entries);
                *self = Self::Branch(Arc::new(array::from_fn(|_| Self::empty())));
                for entry in full.iter().cloned().chain([entry]) {
                    self.insert_new(depth, entry);
                }
            }
        }
    }
}

/// The child that a hash leads to, by its lowest bits.
fn digit(hash: u64) -> usize {
    let lowest = u8::try_from(hash % (1 << BITS)).expect("five bits fit into eight");
    usize::from(lowest)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::name::NAME_LENGTH_MAX;

    /// Every third name is too long to stand in its entry.
    fn name(n: u16) -> Name {
        let place = ["", "-of-a-department-that-is-far-away"][usize::from(n.is_multiple_of(3))];
        Name::parse(&format!("service-{n}{place}")).unwrap()
    }

    #[test]
    fn a_clone_stays_what_it_was() {
        let mut trie = Trie::new(7);
        for n in 0..1_000 {
            trie.insert(&name(n), n);
        }
        let before = trie.clone();
        for n in 0..1_000 {
            if n % 2 == 0 {
                trie.remove(name(n).as_str());
            } else {
                *trie.get_mut(name(n).as_str()).unwrap() += 10_000;
            }
        }
        assert_eq!((before.len(), trie.len()), (1_000, 500));
        for n in 0..1_000 {
            assert_eq!(before.get(name(n).as_str()), Some(&n));
            assert_eq!(
                trie.get(name(n).as_str()),
                (n % 2 == 1).then_some(n + 10_000).as_ref()
            );
        }
    }

    #[test]
    fn equal_hashes_only_make_a_longer_leaf() {
        let hash = u64::MAX;
        let mut root = Node::empty();
        for value in 0..100 {
            let name = Text::of(&name(value));
            root.insert_new(0, Entry { hash, name, value });
        }
        assert_eq!(root.leaf_mut(hash).len(), 100);
    }

    #[test]
    fn names_of_every_length_are_told_apart() {
        let names = (1..=NAME_LENGTH_MAX).map(|length| Name::parse(&"a".repeat(length)).unwrap());
        let names: Vec<Name> = names.collect();
        for kept in &names {
            let text = Text::of(kept);
            let found: Vec<_> = names.iter().filter(|name| text.is(name.as_str())).collect();
            assert_eq!(found, [kept]);
            assert!(!text.is(&kept.as_str().replacen('a', "b", 1)));
        }
    }

    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_node_is_two_words_and_a_service_in_a_leaf_five() {
        assert_eq!(size_of::<Node<Arc<u8>>>(), 2 * 8);
        assert_eq!(size_of::<Entry<Arc<u8>>>(), 5 * 8);
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((0u16..400, 0u8..3), 0..2_000), seed: u64) {
            let mut trie = Trie::new(seed);
            let mut model: HashMap<Name, usize> = HashMap::new();
            for (at, (key, step)) in steps.into_iter().enumerate() {
                let key = name(key);
                if step == 0 {
                    prop_assert_eq!(trie.remove(key.as_str()), model.remove(&key));
                } else if step == 1 {
                    let found = *trie.get_or_insert_with(&key, || at);
                    prop_assert_eq!(found, *model.entry(key).or_insert(at));
                } else {
                    prop_assert_eq!(trie.insert(&key, at), model.insert(key, at));
                }
            }
            prop_assert_eq!(trie.len(), model.len());
            for key in (0..400).map(name) {
                prop_assert_eq!(trie.get(key.as_str()), model.get(&key));
            }
            let mut all = [trie.values().collect::<Vec<_>>(), model.values().collect()];
            all.iter_mut().for_each(|values| values.sort_unstable());
            prop_assert_eq!(&all[0], &all[1]);
        }
    }
}
