//! Health: what is known of an endpoint, and how several checks become one word.
//!
//! *Unknown is not unhealthy.* Nothing has been found out yet, and what must not be handed out for
//! that reason is `starting`, which is another axis.

use crate::check::Check;

/// What is known of an endpoint, or found by one of its checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Health {
    /// Nothing has been found out yet.
    Unknown,
    /// It works.
    Healthy,
    /// It works, but says that it works badly. Still handed out.
    Degraded,
    /// It does not work.
    Unhealthy,
}

impl Health {
    /// Every value, in the order of the contract.
    pub const ALL: [Self; 4] = [
        Self::Unknown,
        Self::Healthy,
        Self::Degraded,
        Self::Unhealthy,
    ];

    /// The word for it in the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// The health that a word of the API means.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|health| health.word() == word)
    }

    /// Whether an endpoint of this health may serve.
    #[must_use]
    pub fn may_serve(self) -> bool {
        matches!(self, Self::Healthy | Self::Degraded)
    }

    /// How bad it is: of several checks the worst counts, and not knowing is worse than degraded.
    fn badness(self) -> u8 {
        match self {
            Self::Healthy => 0,
            Self::Degraded => 1,
            Self::Unknown => 2,
            Self::Unhealthy => 3,
        }
    }
}

/// The position of the worst of several; the first of equals. `None` when there are none.
pub fn worst(healths: impl IntoIterator<Item = Health>) -> Option<usize> {
    let mut worst: Option<(usize, u8)> = None;
    for (at, health) in healths.into_iter().enumerate() {
        if worst.is_none_or(|(_, badness)| health.badness() > badness) {
            worst = Some((at, health.badness()));
        }
    }
    worst.map(|(at, _)| at)
}

/// Counts results in a row, so that one lost packet need not be an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Streak {
    successes: u32,
    failures: u32,
}

impl Streak {
    /// Counts one result and says what the check finds now: `None` while too few results in a row
    /// agree (`rise`, `fall`), or while the grace period lets a failure pass.
    pub fn count(&mut self, check: &Check, found: Health, in_grace: bool) -> Option<Health> {
        if found.may_serve() {
            self.successes = self.successes.saturating_add(1);
            self.failures = 0;
            (self.successes >= check.rise).then_some(found)
        } else {
            self.successes = 0;
            if in_grace {
                return None;
            }
            self.failures = self.failures.saturating_add(1);
            (self.failures >= check.fall).then_some(found)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::CheckKind;

    #[test]
    fn the_worst_check_counts() {
        use Health::{Degraded, Healthy, Unhealthy, Unknown};
        assert_eq!(worst([]), None);
        assert_eq!(worst([Healthy, Healthy]), Some(0));
        assert_eq!(worst([Healthy, Degraded]), Some(1));
        assert_eq!(worst([Healthy, Unknown, Degraded]), Some(1));
        assert_eq!(worst([Unknown, Unhealthy, Unhealthy]), Some(1));
    }

    #[test]
    fn rise_and_fall_ask_for_results_in_a_row() {
        let check = Check {
            rise: 2,
            fall: 3,
            ..Check::new(CheckKind::Tcp)
        };
        let mut streak = Streak::default();
        let mut count = |found| streak.count(&check, found, false);
        assert_eq!(count(Health::Healthy), None);
        assert_eq!(count(Health::Healthy), Some(Health::Healthy));
        assert_eq!(count(Health::Unhealthy), None);
        assert_eq!(count(Health::Unhealthy), None);
        assert_eq!(count(Health::Healthy), None);
        assert_eq!(count(Health::Unhealthy), None);
        assert_eq!(count(Health::Unhealthy), None);
        assert_eq!(count(Health::Unhealthy), Some(Health::Unhealthy));
    }

    #[test]
    fn failures_in_the_grace_period_do_not_count() {
        let check = Check::new(CheckKind::Tcp);
        let mut streak = Streak::default();
        assert_eq!(streak.count(&check, Health::Unhealthy, true), None);
        assert_eq!(
            streak.count(&check, Health::Healthy, true),
            Some(Health::Healthy)
        );
        assert_eq!(
            streak.count(&check, Health::Unhealthy, false),
            Some(Health::Unhealthy)
        );
    }
}
