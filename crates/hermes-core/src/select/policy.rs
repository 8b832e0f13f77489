//! The policies: each puts a group of candidates into an order, the best first.

use std::sync::Arc;

use super::{Criteria, Policy, Variety};
use crate::endpoint::Endpoint;
use crate::time::Now;

type Group<'a> = Vec<&'a Arc<Endpoint>>;

/// `group` with the best first, as `how` has it. The group is in the order of ids.
pub(super) fn ordered<'a>(
    group: Group<'a>,
    how: Policy,
    criteria: &Criteria,
    variety: Variety,
    now: Now,
) -> Group<'a> {
    match how {
        Policy::RoundRobin => round_robin(group, variety.turn),
        Policy::Random => by_score(group, |at, _| unit_interval(mix(variety.seed, at as u64))),
        Policy::Weighted => by_score(group, |at, endpoint| {
            weighted_score(
                unit_interval(mix(variety.seed, at as u64)),
                endpoint.weight(),
            )
        }),
        Policy::LeastLoaded => least_loaded(group, variety.turn, now),
        Policy::Rendezvous => {
            let key = criteria.key.as_deref().unwrap_or_default();
            by_score(group, |_, endpoint| {
                rendezvous_score(key, endpoint.id.as_str(), endpoint.weight())
            })
        }
    }
}

/// Each in turn: the group, rotated.
fn round_robin(mut group: Group<'_>, turn: usize) -> Group<'_> {
    if let Some(by) = turn.checked_rem(group.len()) {
        group.rotate_left(by);
    }
    group
}

/// The lowest load first. Those that are equally loaded have their turns.
fn least_loaded(group: Group<'_>, turn: usize, now: Now) -> Group<'_> {
    let reported = group.iter().any(|endpoint| endpoint.pulse.load().is_some());
    let load = |endpoint: &Arc<Endpoint>| {
        let weight = f64::from(endpoint.weight().max(1));
        if reported {
            // Who does not report is taken to be idle: it is new, and is tried soon.
            endpoint.pulse.load().unwrap_or(0.0) / weight
        } else {
            #[expect(clippy::cast_precision_loss, reason = "a count of ten seconds")]
            let selections = endpoint.pulse.recent_selections(now.moment) as f64;
            selections / weight
        }
    };
    let mut loaded: Vec<(f64, &Arc<Endpoint>)> = round_robin(group, turn)
        .into_iter()
        .map(|endpoint| (load(endpoint), endpoint))
        .collect();
    loaded.sort_by(|a, b| a.0.total_cmp(&b.0));
    loaded.into_iter().map(|(_, endpoint)| endpoint).collect()
}

/// The highest score first; of equals the first by id.
fn by_score(group: Group<'_>, score: impl Fn(usize, &Endpoint) -> f64) -> Group<'_> {
    let mut scored: Vec<(f64, &Arc<Endpoint>)> = group
        .into_iter()
        .enumerate()
        .map(|(at, e)| (score(at, e), e))
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().map(|(_, endpoint)| endpoint).collect()
}

/// Turns a number from the unit interval into one whose maximum over all falls on each with a chance
/// proportional to its weight. Source: P. Efraimidis, P. Spirakis, "Weighted random sampling with a
/// reservoir" (2006), in logarithms.
fn weighted_score(unit: f64, weight: u16) -> f64 {
    unit.ln() / f64::from(weight.max(1))
}

/// Highest random weight of `id` for `key`: D. Thaler, C. Ravishankar, "A Name-Based Mapping Scheme
/// for Rendezvous" (1996), weighted by the logarithm method (J. Resch, 2015). Every server and every
/// release gives the same score: FNV-1a over key, a zero byte and id, finished by `splitmix64`.
#[must_use]
pub fn rendezvous_score(key: &str, id: &str, weight: u16) -> f64 {
    const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
    let bytes = key.bytes().chain([0]).chain(id.bytes());
    let hash = bytes.fold(FNV_OFFSET, |hash, b| {
        (hash ^ u64::from(b)).wrapping_mul(FNV_PRIME)
    });
    weighted_score(unit_interval(mix(hash, 0)), weight)
}

/// A number in the open unit interval from the upper 52 bits of `bits`: with the half that keeps it
/// off both ends they are the 53 that a double holds.
#[must_use]
pub fn unit_interval(bits: u64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "52 bits are held exactly by a double"
    )]
    let upper = (bits >> 12) as f64;
    (upper + 0.5) / 4_503_599_627_370_496.0
}

/// The `n`-th number of the `splitmix64` sequence that begins at `seed` (G. Steele et al., 2014).
fn mix(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
