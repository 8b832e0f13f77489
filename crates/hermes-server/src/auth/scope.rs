//! Roles and scopes: what a key is for.
//!
//! A role says which kinds of routes a key opens, a scope which names. Namespaces bound everything a
//! key does. Prefixes bound what the key is for: what a `register` key registers, what a `read` key
//! reads. A `register` key reads the rest of its namespaces all the same, because whoever registers has
//! to find others, unless `read_prefixes` narrows that too. An `admin` key has no bounds.

use std::fmt;

use hermes_core::name::{Name, NameError};

/// Most namespaces, and most prefixes, of one key.
pub const SCOPE_MAX: usize = 64;

/// Which kinds of routes a key opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Resolves, lists and watches.
    Read,
    /// Registers, renews, drains and removes what belongs to its owner, too.
    Register,
    /// Everything, whosever it is.
    Admin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Register, Self::Admin];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Register => "register",
            Self::Admin => "admin",
        }
    }

    /// The role that a word means.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The beginning of a name, folded as names are: 1 to 63 bytes of `[a-z0-9-]`, no hyphen first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// Folds `text` as a name and checks it.
    ///
    /// # Errors
    /// When no name can begin so.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        // What a prefix may be is what a name may be, with one more letter to spare for its end.
        let bare = text.trim_end_matches(['-', '_']);
        if bare.is_empty() {
            return Err(NameError::Empty);
        }
        let mut folded = Name::parse(bare)?.as_str().to_owned();
        folded.extend(std::iter::repeat_n('-', text.len() - bare.len()));
        Name::parse(&format!("{folded}x"))?;
        Ok(Self(folded))
    }

    /// The prefix as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which names a key speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// These namespaces; all when there are none.
    pub namespaces: Vec<Name>,
    /// Names that begin so; all when there are none.
    pub prefixes: Vec<Prefix>,
    /// For a `register` key: it also reads names that begin so; all when there are none.
    pub read_prefixes: Vec<Prefix>,
}

/// Role and scope together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// Which kinds of routes.
    pub role: Role,
    /// Which names.
    pub scope: Scope,
}

impl Rights {
    /// Every name with this role.
    #[must_use]
    pub fn everywhere(role: Role) -> Self {
        Self {
            role,
            scope: Scope::default(),
        }
    }

    /// Whether anything of a namespace may be read or written.
    #[must_use]
    pub fn reach(&self, namespace: &str) -> bool {
        let namespaces = &self.scope.namespaces;
        let is_it = |name: &Name| name.as_str() == namespace;
        self.role == Role::Admin || namespaces.is_empty() || namespaces.iter().any(is_it)
    }

    /// Whether a service may be read: resolved, listed, watched. Names are folded.
    #[must_use]
    pub fn read(&self, namespace: &str, name: &str) -> bool {
        let Scope {
            prefixes,
            read_prefixes,
            ..
        } = &self.scope;
        self.reach(namespace)
            && match self.role {
                Role::Admin => true,
                Role::Read => any(prefixes, name),
                // An empty list of its own prefixes means all names, and so it is asked last.
                Role::Register => {
                    any(read_prefixes, name) || prefixes.is_empty() || any(prefixes, name)
                }
            }
    }

    /// Whether endpoints of a service may be registered, renewed, changed and removed.
    #[must_use]
    pub fn write(&self, namespace: &str, name: &str) -> bool {
        match self.role {
            Role::Read => false,
            Role::Register => self.reach(namespace) && any(&self.scope.prefixes, name),
            Role::Admin => true,
        }
    }

    /// Whether there is a service that may not be read.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        let Scope {
            namespaces,
            prefixes,
            read_prefixes,
        } = &self.scope;
        match self.role {
            Role::Admin => false,
            Role::Read => !namespaces.is_empty() || !prefixes.is_empty(),
            Role::Register => {
                !namespaces.is_empty() || (!prefixes.is_empty() && !read_prefixes.is_empty())
            }
        }
    }
}

/// Whether `name` begins with one of `prefixes`; every name does when there are none.
fn any(prefixes: &[Prefix], name: &str) -> bool {
    prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(&prefix.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(texts: &[&str]) -> Vec<Prefix> {
        texts
            .iter()
            .map(|text| Prefix::parse(text).unwrap())
            .collect()
    }

    fn parts(text: &str) -> (&str, &str) {
        text.split_once('/').unwrap()
    }

    fn rights(role: Role, namespaces: &[&str], own: &[&str], read: &[&str]) -> Rights {
        let namespaces = namespaces.iter().map(|name| Name::parse(name).unwrap());
        let scope = Scope {
            namespaces: namespaces.collect(),
            prefixes: prefixes(own),
            read_prefixes: prefixes(read),
        };
        Rights { role, scope }
    }

    #[test]
    fn a_prefix_is_folded_as_the_names_that_it_is_held_against() {
        for (text, folded) in [("Web_", "web-"), ("web", "web"), ("a--", "a--"), ("9", "9")] {
            assert_eq!(Prefix::parse(text).unwrap().as_str(), folded);
        }
        for wrong in ["", "-", "_web", "we b", "w*", &"a".repeat(64)] {
            assert!(Prefix::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_role_and_a_scope_say_together_what_may_be_done() {
        let all = ["default/web-a", "default/db", "lab/web-a", "lab/db"];
        let cases: [(Rights, &[&str], &[&str]); 8] = [
            (Rights::everywhere(Role::Read), &all, &[]),
            (Rights::everywhere(Role::Register), &all, &all),
            (Rights::everywhere(Role::Admin), &all, &all),
            (
                rights(Role::Read, &["lab"], &["web-"], &[]),
                &["lab/web-a"],
                &[],
            ),
            (
                rights(Role::Read, &[], &["web-", "d"], &[]),
                &["default/web-a", "default/db", "lab/web-a", "lab/db"],
                &[],
            ),
            (
                rights(Role::Register, &["default"], &["web-"], &[]),
                &["default/web-a", "default/db"],
                &["default/web-a"],
            ),
            (
                rights(Role::Register, &[], &["web-"], &["x"]),
                &["default/web-a", "lab/web-a"],
                &["default/web-a", "lab/web-a"],
            ),
            (rights(Role::Admin, &["lab"], &["x"], &["x"]), &all, &all),
        ];
        for (rights, reads, writes) in cases {
            for name in all {
                let (space, short) = parts(name);
                assert_eq!(
                    rights.read(space, short),
                    reads.contains(&name),
                    "{rights:?} {name}"
                );
                assert_eq!(
                    rights.write(space, short),
                    writes.contains(&name),
                    "{rights:?} {name}"
                );
            }
        }
    }

    #[test]
    fn what_may_be_written_may_be_read_and_unbounded_means_everything() {
        let lists: [&[&str]; 3] = [&[], &["web-"], &["db", "x"]];
        let spaces: [&[&str]; 2] = [&[], &["lab"]];
        let names = ["default/web-a", "default/db", "lab/web-a", "lab/zoo"];
        for role in Role::ALL {
            for space in spaces {
                for own in lists {
                    for read in lists {
                        let rights = rights(role, space, own, read);
                        for (space, name) in names.map(parts) {
                            assert!(
                                rights.read(space, name) || !rights.write(space, name),
                                "{rights:?}"
                            );
                            assert!(
                                rights.read(space, name) || rights.is_bounded(),
                                "{rights:?}"
                            );
                        }
                    }
                }
            }
        }
    }
}
