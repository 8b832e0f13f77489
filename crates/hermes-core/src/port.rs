//! Ports: where an endpoint is reached, by name.
//!
//! The main port is part of what it is to be an endpoint, so it stands by itself and cannot be missing;
//! the few endpoints that have more of them pay for those.

use std::fmt;

use crate::address::Scheme;
use crate::name::Name;
use crate::named::Named;

/// The name of the port that `port` and `url` speak of.
pub const MAIN_PORT: &str = "main";

/// One named port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The port, at least 1.
    pub port: u16,
    /// What is spoken there.
    pub scheme: Scheme,
}

/// All ports of an endpoint by their names, [`MAIN_PORT`] always among them.
#[derive(Clone, PartialEq, Eq)]
pub struct Ports {
    main: Port,
    others: Named<Port>,
}

impl Ports {
    /// The main port and no other.
    #[must_use]
    pub fn of(main: Port) -> Self {
        Self::with(main, [])
    }

    /// The main port and others; one of them that is called [`MAIN_PORT`] takes its place.
    #[must_use]
    pub fn with(main: Port, others: impl IntoIterator<Item = (Name, Port)>) -> Self {
        let mut ports = Self {
            main,
            others: Named::default(),
        };
        let mut beside = Vec::new();
        for (name, port) in others {
            if name.as_str() == MAIN_PORT {
                ports.main = port;
            } else {
                beside.push((name.as_str().to_owned(), port));
            }
        }
        ports.others = beside.into_iter().collect();
        ports
    }

    /// The main port.
    #[must_use]
    pub fn main(&self) -> &Port {
        &self.main
    }

    /// The port of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Port> {
        if name == MAIN_PORT {
            return Some(&self.main);
        }
        self.others.get(name)
    }

    /// Whether there is a port of this name.
    #[must_use]
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// How many there are, at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always a main port")]
    pub fn len(&self) -> usize {
        1 + self.others.len()
    }

    /// Each name with its port, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Port)> {
        let before = self.others.iter().take_while(|(name, _)| *name < MAIN_PORT);
        let after = self.others.iter().skip_while(|(name, _)| *name < MAIN_PORT);
        before.chain([(MAIN_PORT, &self.main)]).chain(after)
    }

    /// The names, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(name, _)| name)
    }

    /// The ports, in the order of their names.
    pub fn values(&self) -> impl Iterator<Item = &Port> {
        self.iter().map(|(_, port)| port)
    }
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn port(port: u16) -> Port {
        let scheme = Scheme::http();
        Port { port, scheme }
    }

    #[test]
    fn a_single_port_takes_no_room_beside_it() {
        let ports = Ports::of(port(80));
        assert_eq!(ports.iter().collect::<Vec<_>>(), [(MAIN_PORT, &port(80))]);
        assert_eq!(ports.others, Named::default());
    }

    proptest! {
        #[test]
        fn they_are_a_map_with_a_main_port(others in prop::collection::vec(("main|[a-z]{1,2}", 1..9_u16), 0..6)) {
            let named = |(name, number): &(String, u16)| (Name::parse(name).unwrap(), port(*number));
            let ports = Ports::with(port(80), others.iter().map(named));
            let mut model = BTreeMap::from([(Name::main_port(), port(80))]);
            model.extend(others.iter().map(named));
            prop_assert!(ports.iter().eq(model.iter().map(|(name, port)| (name.as_str(), port))));
            prop_assert_eq!(ports.len(), model.len());
            prop_assert_eq!(ports.main(), &model["main"]);
            for name in ["main", "a", "zz"].into_iter().chain(others.iter().map(|(name, _)| &**name)) {
                prop_assert_eq!(ports.get(name), model.get(name));
                prop_assert_eq!(ports.contains_key(name), model.contains_key(name));
            }
        }
    }
}
