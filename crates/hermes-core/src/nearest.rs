//! "Did you mean": the known words nearest to one that is not known.

/// At most so many suggestions are made.
const SUGGESTIONS_MAX: usize = 3;
/// At most so many candidates are looked at, so that a wrong name stays cheap in a large registry.
const CANDIDATES_MAX: usize = 10_000;

/// The up to three `candidates` nearest to `word`, nearest first. Near means: so few edits that a
/// slip of the fingers explains them (a third of the length), or one word contained in the other.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let slips = (word.chars().count() / 3).max(1);
    let mut near: Vec<(usize, &str)> = candidates
        .into_iter()
        .take(CANDIDATES_MAX)
        .filter_map(|candidate| rank(word, candidate, slips).map(|rank| (rank, candidate)))
        .collect();
    near.sort_unstable();
    near.truncate(SUGGESTIONS_MAX);
    near.into_iter().map(|(_, candidate)| candidate).collect()
}

/// How near `candidate` is, or `None` when it is not.
fn rank(word: &str, candidate: &str, slips: usize) -> Option<usize> {
    if word.len().abs_diff(candidate.len()) <= slips {
        let edits = edits(word, candidate);
        if edits <= slips {
            return Some(edits);
        }
    }
    let contained = word.len().min(candidate.len()) >= 3
        && (candidate.contains(word) || word.contains(candidate));
    contained.then_some(slips + 1)
}

/// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours.
/// Source: L. Boytsov, "Indexing methods for approximate dictionary searching" (2011), 2.1.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let substitution = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = substitution.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        (before, last) = (last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_nearest_first() {
        let known = ["rhetor", "router", "memory", "memory-store", "web"];
        assert_eq!(nearest("rehtor", known), ["rhetor"]);
        assert_eq!(nearest("rhoter", known), ["rhetor", "router"]);
        assert_eq!(nearest("memry", known), ["memory"]);
        assert_eq!(nearest("memory-store-2", known), ["memory-store", "memory"]);
        assert_eq!(nearest("wbe", known), ["web"]);
        assert!(nearest("cognition", known).is_empty());
        assert!(nearest("w", ["q"]).len() == 1, "one letter is one slip");
    }

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("abc", "abc"), 0);
        assert_eq!(edits("abc", "acb"), 1);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
