//! When a command is started again, and after how long.

use std::time::Duration;

use super::guard::{NOT_EXECUTABLE, NOT_FOUND};
use super::process::Ending;

/// The first wait is at most so long; each next one is twice as long.
const FIRST: Duration = Duration::from_millis(500);
/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(30);
/// A command that ran for so long was fine: the next wait is a first one again.
const GOOD_WHILE: Duration = Duration::from_secs(60);

/// Which endings a command is started again after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Restart {
    /// After none
    #[default]
    Never,
    /// After a signal or an exit code other than 0
    OnFailure,
    /// After any
    Always,
}

/// What a policy has done so far.
#[derive(Debug)]
pub(super) struct Restarts {
    policy: Restart,
    /// Endings in a row, none of them after a good while.
    endings: u32,
}

impl Restarts {
    pub(super) fn new(policy: Restart) -> Self {
        Self { policy, endings: 0 }
    }

    /// Whether nothing has ended yet.
    pub(super) fn is_first(&self) -> bool {
        self.endings == 0
    }

    /// How long to wait before the next start, if there is to be one, after the command `ran` for a
    /// while: between half and all of 0.5 s, 1 s, 2 s, up to 30 s. `chance` is from 0 to 1.
    ///
    /// What cannot be executed (126, 127) will not be executable in a moment.
    pub(super) fn next(&mut self, ending: Ending, ran: Duration, chance: f64) -> Option<Duration> {
        let is_wanted = match self.policy {
            Restart::Never => false,
            Restart::OnFailure => ending != Ending::Exited(0),
            Restart::Always => true,
        };
        let is_vain = [NOT_EXECUTABLE, NOT_FOUND]
            .map(Ending::Exited)
            .contains(&ending);
        if !is_wanted || is_vain {
            return None;
        }
        if ran >= GOOD_WHILE {
            self.endings = 0;
        }
        let longest = FIRST
            .saturating_mul(2_u32.saturating_pow(self.endings))
            .min(LONGEST);
        self.endings = self.endings.saturating_add(1);
        Some(longest.mul_f64(0.5 + chance / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRASH: Ending = Ending::Killed(11);
    const FINE: Ending = Ending::Exited(0);
    const SOON: Duration = Duration::from_secs(1);

    fn after(policy: Restart, ending: Ending) -> bool {
        Restarts::new(policy).next(ending, SOON, 1.0).is_some()
    }

    #[test]
    fn a_policy_says_which_endings_are_followed_by_a_start() {
        let wrong = Ending::Exited(1);
        let all = [FINE, wrong, CRASH];
        assert_eq!(all.map(|end| after(Restart::Never, end)), [false; 3]);
        assert_eq!(
            all.map(|end| after(Restart::OnFailure, end)),
            [false, true, true]
        );
        assert_eq!(all.map(|end| after(Restart::Always, end)), [true; 3]);
    }

    #[test]
    fn what_cannot_be_executed_is_not_tried_again() {
        for code in [126, 127] {
            assert!(!after(Restart::Always, Ending::Exited(code)), "{code}");
        }
    }

    #[test]
    fn waits_double_up_to_a_bound_and_begin_anew_after_a_good_while() {
        let mut restarts = Restarts::new(Restart::OnFailure);
        let longest = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000];
        for longest in longest.map(Duration::from_millis) {
            assert_eq!(restarts.next(CRASH, SOON, 1.0), Some(longest));
        }
        assert_eq!(restarts.next(CRASH, SOON, 0.0), Some(LONGEST / 2));
        for _ in 0..100 {
            assert!(restarts.next(CRASH, SOON, 1.0).unwrap() <= LONGEST);
        }
        assert_eq!(restarts.next(CRASH, GOOD_WHILE, 1.0), Some(FIRST));
        assert_eq!(restarts.next(CRASH, SOON, 1.0), Some(2 * FIRST));
    }
}
