//! Rounds: A and B in turn, and one ratio for each turn.

use std::time::Duration;

use crate::args::Plan;
use crate::console;
use crate::failure::Failure;
use crate::load::{Order, Sample};
use crate::pin::Cores;

/// Processor time is counted in ticks of a few milliseconds. A server that got less than this, because
/// others had its core, is asked again.
const SERVER_TIME_MIN: Duration = Duration::from_millis(50);
/// How often, before the machine counts as too busy.
const TRIES: usize = 5;

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

    /// The same by the clock: with all the time that Hermes waits for its disk.
    pub(crate) fn ratio_by_clock(&self) -> f64 {
        self.hermes.per_second() / self.floor.per_second()
    }
}

/// A floor and Hermes, waited for in one round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Wait {
    pub(crate) floor: Duration,
    pub(crate) hermes: Duration,
}

impl Wait {
    /// How much of the time that Hermes takes the floor takes.
    pub(crate) fn ratio(&self) -> f64 {
        self.floor.as_secs_f64() / self.hermes.as_secs_f64().max(1e-9)
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
            floor: sample(cores, floor)?,
            hermes: sample(cores, hermes)?,
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

fn sample(cores: &Cores, order: &Order) -> Result<Sample, Failure> {
    for _ in 0..TRIES {
        let sample = order.carry_out(cores)?;
        if sample.server >= SERVER_TIME_MIN {
            return Ok(sample);
        }
    }
    let detail = format!(
        "a server got less than {SERVER_TIME_MIN:?} of processor time, {TRIES} times: use more \
         --seconds, or a less busy machine"
    );
    Err(Failure::Unusable(detail))
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
