//! Damping: an endpoint whose health goes to and fro is shown as flapping, and its edges are bounded.
//!
//! Every edge is a change that is stored and sent to every watcher, and it moves traffic. An endpoint
//! that cannot make up its mind would do that as often as it is probed. So each edge costs a penalty
//! that halves every minute, as in route flap damping (RFC 2439): beyond `SUPPRESS` the endpoint is
//! flapping, and it is so until the penalty is below `REUSE` again.
//!
//! While it flaps, an edge counts only
//!
//! - when it takes the endpoint out of service and another endpoint of the service is ready: a doubt
//!   is decided against what has a stand-in;
//! - when there is no stand-in and the last edge is `ALONE_PACE` ago: what is alone is neither kept
//!   out for minutes nor heard every second.
//!
//! However an endpoint behaves, that is at most [`EDGES_PER_MINUTE_MAX`] edges in any minute. The
//! penalty is no state: it lives in memory, by the monotonic clock, and begins at zero after a
//! restart. That the endpoint flaps is state, and is in the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::health::Health;
use crate::time::Moment;

/// What one edge costs.
const EDGE: u64 = 500;
/// The penalty beyond which an endpoint flaps: more than six edges, three times down and up again,
/// within a short time.
const SUPPRESS: u64 = 3_000;
/// The penalty below which it flaps no longer.
const REUSE: u64 = 1_500;
/// No more than this is counted, so that two minutes without an edge end it in any case.
const PENALTY_MAX: u64 = 6_000;
/// In this time half of the penalty is forgotten.
const HALF_LIFE: Duration = Duration::from_secs(60);
/// Between two edges of a flapping endpoint that has no stand-in.
const ALONE_PACE: Duration = Duration::from_secs(10);
/// What all of this comes to, for any behaviour of an endpoint (a test tries to find more).
pub const EDGES_PER_MINUTE_MAX: usize = 14;

/// The penalty of one endpoint. Only the writer counts; anybody may look.
#[derive(Debug, Default)]
pub struct Damping {
    /// The penalty at `counted_at`, in thousandths of a down-and-up.
    penalty: AtomicU64,
    /// The last edge, in milliseconds of the engine's time.
    counted_at: AtomicU64,
}

/// An edge that somebody wants to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// What was found until now.
    pub before: Health,
    /// What is found now.
    pub found: Health,
    /// Whether the endpoint flaps, as the log has it.
    pub is_flapping: bool,
    /// Whether another endpoint of the service is ready.
    pub has_stand_in: bool,
}

/// What becomes of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It does not count, for now.
    Held,
    /// It counts, and the endpoint flaps from now on, or does not.
    Counts {
        /// Whether it flaps.
        is_flapping: bool,
    },
}

impl Damping {
    /// Counts an edge that was committed.
    pub fn count(&self, now: Moment) {
        let penalty = (self.penalty(now) + EDGE).min(PENALTY_MAX);
        self.penalty.store(penalty, Ordering::Relaxed);
        self.counted_at.store(now.0, Ordering::Relaxed);
    }

    /// Forgets everything: what was read back from a log did not happen just now.
    pub fn reset(&self) {
        self.penalty.store(0, Ordering::Relaxed);
        self.counted_at.store(0, Ordering::Relaxed);
    }

    /// Whether little enough has happened lately for a flapping endpoint to count as steady.
    #[must_use]
    pub fn is_steady(&self, now: Moment) -> bool {
        self.penalty(now) < REUSE
    }

    /// How long it takes, without another edge, until the endpoint counts as steady.
    #[must_use]
    pub fn steady_in(&self, now: Moment) -> Duration {
        let halvings = (to_float(self.penalty(now)) / to_float(REUSE)).log2();
        HALF_LIFE.mul_f64(halvings.max(0.0))
    }

    /// What becomes of `edge`, if it came now.
    #[must_use]
    pub fn judge(&self, edge: Edge, now: Moment) -> Verdict {
        if !edge.is_flapping || self.is_steady(now) {
            let is_flapping = self.penalty(now) + EDGE > SUPPRESS;
            return Verdict::Counts { is_flapping };
        }
        let goes_out = edge.before.may_serve() && !edge.found.may_serve();
        let last_edge = Moment(self.counted_at.load(Ordering::Relaxed));
        let counts = if edge.has_stand_in {
            goes_out
        } else {
            now.since(last_edge) >= ALONE_PACE
        };
        if counts {
            Verdict::Counts { is_flapping: true }
        } else {
            Verdict::Held
        }
    }

    fn penalty(&self, now: Moment) -> u64 {
        let counted_at = Moment(self.counted_at.load(Ordering::Relaxed));
        let penalty = self.penalty.load(Ordering::Relaxed);
        let halvings = now.since(counted_at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        from_float(to_float(penalty) * (-halvings).exp2())
    }
}

fn to_float(penalty: u64) -> f64 {
    // A penalty is at most a few thousand.
    u32::try_from(penalty).map_or(f64::MAX, f64::from)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is a share of a penalty, which is at most a few thousand and never negative"
)]
fn from_float(penalty: f64) -> u64 {
    penalty.ceil() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An endpoint under damping, as the registry treats it.
    struct Damped {
        damping: Damping,
        health: Health,
        is_flapping: bool,
        has_stand_in: bool,
        edges: Vec<Moment>,
    }

    impl Damped {
        fn new(has_stand_in: bool) -> Self {
            Self {
                damping: Damping::default(),
                health: Health::Healthy,
                is_flapping: false,
                has_stand_in,
                edges: Vec::new(),
            }
        }

        fn find(&mut self, found: Health, now: Moment) {
            let edge = Edge {
                before: self.health,
                found,
                is_flapping: self.is_flapping,
                has_stand_in: self.has_stand_in,
            };
            if found == self.health {
                self.is_flapping &= !self.damping.is_steady(now);
                return;
            }
            if let Verdict::Counts { is_flapping } = self.damping.judge(edge, now) {
                self.damping.count(now);
                self.is_flapping = is_flapping;
                self.health = found;
                self.edges.push(now);
            }
        }
    }

    fn seconds(seconds: u64) -> Moment {
        Moment(seconds * 1_000)
    }

    #[test]
    fn an_outage_now_and_then_is_never_damped() {
        let mut endpoint = Damped::new(true);
        for minute in 0..60 {
            endpoint.find(Health::Unhealthy, seconds(minute * 60));
            endpoint.find(Health::Healthy, seconds(minute * 60 + 10));
            assert!(!endpoint.is_flapping, "minute {minute}");
        }
        assert_eq!(endpoint.edges.len(), 120);
    }

    #[test]
    fn what_flaps_beside_others_stays_out_until_it_was_steady_for_a_while() {
        let mut endpoint = Damped::new(true);
        for second in 0..60 {
            let found = [Health::Unhealthy, Health::Healthy][usize::from(second % 2 == 1)];
            endpoint.find(found, seconds(second));
        }
        assert!(endpoint.is_flapping && endpoint.edges.len() < 9);
        assert_eq!(endpoint.health, Health::Unhealthy);
        let back = endpoint.damping.steady_in(seconds(60));
        assert!(
            back > Duration::ZERO && back < Duration::from_secs(60),
            "{back:?}"
        );
        let at = seconds(60).after(back + Duration::from_secs(1));
        endpoint.find(Health::Healthy, at);
        assert_eq!(endpoint.health, Health::Healthy);
        assert!(!endpoint.is_flapping);
    }

    #[test]
    fn what_flaps_alone_is_heard_now_and_then() {
        let mut endpoint = Damped::new(false);
        for second in 0..600 {
            let found = [Health::Unhealthy, Health::Healthy][usize::from(second % 2 == 1)];
            endpoint.find(found, seconds(second));
        }
        let late = endpoint.edges.iter().filter(|at| at.0 > 300_000).count();
        assert!((20..=35).contains(&late), "{late}");
    }

    proptest! {
        #[test]
        fn no_behaviour_makes_more_edges_than_the_bound(
            steps in prop::collection::vec((1u64..15_000, 0usize..4, any::<bool>()), 1..400),
        ) {
            let mut endpoint = Damped::new(true);
            let mut now = Moment(0);
            for (pause, found, has_stand_in) in steps {
                now = Moment(now.0 + pause);
                endpoint.has_stand_in = has_stand_in;
                endpoint.find(Health::ALL[found], now);
            }
            for (first, at) in endpoint.edges.iter().enumerate() {
                let within = endpoint.edges[first..].iter().take_while(|edge| edge.0 < at.0 + 60_000);
                prop_assert!(within.count() <= EDGES_PER_MINUTE_MAX);
            }
        }
    }
}
