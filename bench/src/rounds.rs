//! Rounds: A and B in turn, and one ratio for each turn.

use crate::args::Plan;
use crate::console;
use crate::failure::Failure;
use crate::load::{Order, Sample};
use crate::pin::Cores;

/// A floor and Hermes, measured in one round, right after each other.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Round {
    pub(crate) floor: Sample,
    pub(crate) hermes: Sample,
}

impl Round {
    /// What Hermes does in a second of processor time, for each one that the floor does.
    pub(crate) fn ratio(&self) -> f64 {
        self.hermes.per_server_second() / self.floor.per_server_second()
    }
}

/// Median and range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (last, middle) = (values.len() - 1, values.len() / 2);
        let below = if values.len().is_multiple_of(2) {
            middle - 1
        } else {
            middle
        };
        Self {
            median: f64::midpoint(values[below], values[middle]),
            min: values[0],
            max: values[last],
        }
    }
}

/// Measures both in turn: one round that does not count, then those of the plan.
pub(crate) fn alternate(
    plan: &Plan,
    cores: &Cores,
    floor: &Order,
    hermes: &Order,
) -> Result<Vec<Round>, Failure> {
    let one = || {
        Ok(Round {
            floor: floor.carry_out(cores)?,
            hermes: hermes.carry_out(cores)?,
        })
    };
    one()?;
    (1..=plan.rounds)
        .map(|number| {
            let round = one()?;
            let (rounds, ratio) = (plan.rounds, round.ratio());
            console::note(&format!("  round {number} of {rounds}: {ratio:.3}"));
            Ok(round)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let odd = Spread::of([3.0, 1.0, 9.0].into_iter());
        assert_eq!((odd.median, odd.min, odd.max), (3.0, 1.0, 9.0));
        let even = Spread::of([4.0, 1.0, 2.0, 9.0].into_iter());
        assert_eq!((even.median, even.min, even.max), (3.0, 1.0, 9.0));
    }
}
