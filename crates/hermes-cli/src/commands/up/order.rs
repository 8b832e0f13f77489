//! Who needs whom: circles that nobody could be first of, and those who have to go first.

use std::collections::{BTreeMap, BTreeSet};

use hermes_core::name::Name;

/// The circles among `needs`, each once and from its first name on. Whoever only needs one that is
/// in a circle is not told of: it is not what is wrong.
pub(super) fn cycles(needs: &BTreeMap<Name, Vec<Name>>) -> Vec<Vec<Name>> {
    let mut left: BTreeSet<&Name> = needs.keys().collect();
    let mut found = Vec::new();
    loop {
        // Whoever needs nobody that is left can be started.
        loop {
            let before = left.len();
            let now = left.clone();
            left.retain(|name| needs[*name].iter().any(|need| now.contains(need)));
            if left.len() == before {
                break;
            }
        }
        let Some(first) = left.first() else {
            return found;
        };
        // Each that is left needs one that is left: a walk comes round.
        let mut walk: Vec<&Name> = vec![first];
        let cycle = loop {
            let last = walk[walk.len() - 1];
            let next = needs[last].iter().find(|need| left.contains(need));
            let next = next.expect("who needs nobody that is left has been removed");
            if let Some(at) = walk.iter().position(|name| *name == next) {
                break walk.split_off(at);
            }
            walk.push(next);
        };
        for name in &cycle {
            left.remove(name);
        }
        found.push(beginning_with_the_first(&cycle));
    }
}

fn beginning_with_the_first(cycle: &[&Name]) -> Vec<Name> {
    let first = cycle.iter().min();
    let at = cycle.iter().position(|name| Some(name) == first);
    let (end, begin) = cycle.split_at(at.unwrap_or_default());
    begin
        .iter()
        .chain(end)
        .map(|name| (*name).clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(needs: &[(&str, &[&str])]) -> Vec<String> {
        let name = |name: &&str| Name::parse(name).unwrap();
        let needs = needs
            .iter()
            .map(|(who, needs)| (name(who), needs.iter().map(name).collect()))
            .collect();
        let shown = |cycle: &Vec<Name>| {
            let names: Vec<&str> = cycle.iter().map(Name::as_str).collect();
            names.join(" ")
        };
        cycles(&needs).iter().map(shown).collect()
    }

    #[test]
    fn without_a_circle_there_is_none() {
        assert!(found(&[]).is_empty());
        assert!(found(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])]).is_empty());
    }

    #[test]
    fn each_circle_is_found_once_and_not_who_hangs_on_it() {
        let one = found(&[("x", &["b"]), ("b", &["c"]), ("c", &["a"]), ("a", &["b"])]);
        assert_eq!(one, ["a b c"]);
        let two = found(&[("a", &["b"]), ("b", &["a"]), ("c", &["c"]), ("d", &[])]);
        assert_eq!(two, ["a b", "c"]);
        let joined = found(&[("a", &["b", "c"]), ("b", &["a"]), ("c", &["a"])]);
        assert_eq!(joined, ["a b"]);
    }
}
