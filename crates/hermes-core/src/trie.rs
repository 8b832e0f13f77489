//! A persistent map from names to values: the shape in which the catalog is shared with readers.
//!
//! A clone is one reference count. A change copies the path from the root to one leaf (a few
//! hundred bytes to a few kilobytes) and leaves every older clone as it was, so a reader that
//! holds a clone sees one revision of everything, for as long as it likes, without a lock. Nodes
//! that nobody else holds are changed in place, so a batch of changes copies each path once.
//!
//! The structure is a radix tree over the name's hash with 32 children a branch: a hash array
//! mapped trie (P. Bagwell, "Ideal Hash Trees", 2001) without the bitmap, because hashes spread
//! evenly, and with leaves of up to 16 entries, because scanning sixteen hashes is cheaper than
//! following another pointer. The hash is seeded, so that nobody can choose names that collide.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::quality::FixedState;

use crate::name::Name;

const BITS: u32 = 5;
const FANOUT: usize = 1 << BITS;
const LEAF_MAX: usize = 16;

/// A map from [`Name`] to `V` that is cheap to clone and is never changed under a reader.
#[derive(Clone, Debug)]
pub struct Trie<V> {
    root: Arc<Node<V>>,
    length: usize,
    seed: FixedState,
}

#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a pointer less to follow at each branch is worth a quarter of a kilobyte for each leaf"
)]
enum Node<V> {
    Leaf(Vec<Entry<V>>),
    Branch([Arc<Self>; FANOUT]),
}

#[derive(Clone, Debug)]
struct Entry<V> {
    hash: u64,
    name: Name,
    value: V,
}

impl<V: Clone> Trie<V> {
    /// An empty map. `seed` should differ from server to server and be unknown to callers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            root: Arc::new(Node::empty()),
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
    pub fn get(&self, name: &str) -> Option<&V> {
        // Most registries have one namespace: to compare its name is cheaper than to hash it.
        if let Node::Leaf(entries) = &*self.root
            && let [only] = &entries[..]
        {
            return (only.name.as_str() == name).then_some(&only.value);
        }
        let hash = self.hash(name);
        let mut node = &*self.root;
        let mut rest = hash;
        loop {
            match node {
                Node::Branch(children) => {
                    node = &children[digit(rest)];
                    rest >>= BITS;
                }
                Node::Leaf(entries) => {
                    let is_it = |e: &&Entry<V>| e.hash == hash && e.name.as_str() == name;
                    return entries.iter().find(is_it).map(|e| &e.value);
                }
            }
        }
    }

    /// The value of `name`, to be changed for this clone and those made of it later.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut V> {
        // Looked up first: a miss must not copy a path.
        self.get(name)?;
        let hash = self.hash(name);
        let entries = leaf_of(&mut self.root, hash);
        entries
            .iter_mut()
            .find(|e| e.hash == hash && e.name.as_str() == name)
            .map(|e| &mut e.value)
    }

    /// The value of `name`, to be changed as by [`Trie::get_mut`]; made when there is none.
    pub fn get_or_insert_with(&mut self, name: &Name, make: impl FnOnce() -> V) -> &mut V {
        let hash = self.hash(name.as_str());
        let is_it = |e: &Entry<V>| e.hash == hash && e.name == *name;
        if !leaf_of(&mut self.root, hash).iter().any(is_it) {
            let (name, value) = (name.clone(), make());
            insert_new(&mut self.root, 0, Entry { hash, name, value });
            self.length += 1;
        }
        let mut entries = leaf_of(&mut self.root, hash).iter_mut();
        let entry = entries.find(|entry| is_it(entry));
        &mut entry
            .expect("it was put there above when it was missing")
            .value
    }

    /// Sets the value of `name`, and gives back the one it had.
    pub fn insert(&mut self, name: Name, value: V) -> Option<V> {
        if let Some(old) = self.get_mut(name.as_str()) {
            return Some(std::mem::replace(old, value));
        }
        let hash = self.hash(name.as_str());
        insert_new(&mut self.root, 0, Entry { hash, name, value });
        self.length += 1;
        None
    }

    /// Takes `name` out, and gives back its value.
    pub fn remove(&mut self, name: &str) -> Option<V> {
        self.get(name)?;
        let hash = self.hash(name);
        let entries = leaf_of(&mut self.root, hash);
        let at = entries
            .iter()
            .position(|e| e.hash == hash && e.name.as_str() == name)?;
        self.length -= 1;
        Some(entries.swap_remove(at).value)
    }

    /// Every value, in no particular order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// Every name with its value, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &V)> {
        let mut branches: Vec<std::slice::Iter<'_, Arc<Node<V>>>> =
            vec![std::slice::from_ref(&self.root).iter()];
        let mut entries: std::slice::Iter<'_, Entry<V>> = [].iter();
        std::iter::from_fn(move || {
            loop {
                if let Some(entry) = entries.next() {
                    return Some((&entry.name, &entry.value));
                }
                match branches.last_mut()?.next().map(|node| &**node) {
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
}

impl<V> Node<V> {
    fn empty() -> Self {
        Self::Leaf(Vec::new())
    }
}

/// The child that a hash leads to, by its lowest bits.
fn digit(hash: u64) -> usize {
    let lowest = u8::try_from(hash % (1 << BITS)).expect("five bits fit into eight");
    usize::from(lowest)
}

/// The leaf that `hash` leads to, its path copied where others hold it too.
fn leaf_of<V: Clone>(root: &mut Arc<Node<V>>, hash: u64) -> &mut Vec<Entry<V>> {
    let mut node = Arc::make_mut(root);
    let mut rest = hash;
    loop {
        match node {
            Node::Leaf(entries) => return entries,
            Node::Branch(children) => {
                node = Arc::make_mut(&mut children[digit(rest)]);
                rest >>= BITS;
            }
        }
    }
}

/// Puts an entry whose name is not there yet into the leaf at `depth`, which splits when it is full.
fn insert_new<V: Clone>(node: &mut Arc<Node<V>>, depth: u32, entry: Entry<V>) {
    match Arc::make_mut(node) {
        Node::Branch(children) => {
            let child = &mut children[digit(entry.hash >> (BITS * depth))];
            insert_new(child, depth + 1, entry);
        }
        // With every bit used up a leaf may only grow: it takes equal hashes to get here.
        Node::Leaf(entries) if entries.len() < LEAF_MAX || BITS * (depth + 1) >= u64::BITS => {
            entries.push(entry);
        }
        Node::Leaf(entries) => {
            let mut children: [Node<V>; FANOUT] = std::array::from_fn(|_| Node::empty());
            for old in entries.drain(..) {
                if let Node::Leaf(leaf) = &mut children[digit(old.hash >> (BITS * depth))] {
                    leaf.push(old);
                }
            }
            *node = Arc::new(Node::Branch(children.map(Arc::new)));
            insert_new(node, depth, entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn name(n: u16) -> Name {
        Name::parse(&format!("service-{n}")).unwrap()
    }

    #[test]
    fn a_clone_stays_what_it_was() {
        let mut trie = Trie::new(7);
        for n in 0..1_000 {
            trie.insert(name(n), n);
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
        let mut root = Arc::new(Node::empty());
        for n in 0..100 {
            insert_new(
                &mut root,
                0,
                Entry {
                    hash: u64::MAX,
                    name: name(n),
                    value: n,
                },
            );
        }
        assert_eq!(leaf_of(&mut root, u64::MAX).len(), 100);
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
                    prop_assert_eq!(trie.insert(key.clone(), at), model.insert(key, at));
                }
            }
            prop_assert_eq!(trie.len(), model.len());
            let all: HashMap<Name, usize> = trie.iter().map(|(k, v)| (k.clone(), *v)).collect();
            prop_assert_eq!(all, model);
        }
    }
}
