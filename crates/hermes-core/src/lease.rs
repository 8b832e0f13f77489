//! The lease: the promise that an endpoint stays registered until a deadline.
//!
//! A lease is one atomic word, so that a heartbeat is a compare-and-swap from whatever thread it
//! arrives on and never waits for the writer. The rule that everything hangs on is
//! **close, then expire**: when the clock finds a lease run out, it first closes it atomically, and
//! only then plans the expiry. A heartbeat meets an open lease and moves its deadline, or meets a
//! closed one and is refused; there is no third way, so a heartbeat that was accepted is never
//! followed by an expiry within its TTL. If the expiry cannot be committed, the lease opens again.
//!
//! `tests/lease_threads.rs` explores every interleaving of this file.

use std::time::Duration;

use crate::sync::{AtomicU64, Ordering};
use crate::time::{Moment, whole_millis};

/// The bit that says closed; the deadline in milliseconds stands above it.
const CLOSED: u64 = 1;
/// The deadline of what never runs out.
const NEVER: u64 = u64::MAX >> 1;

/// Deadline and state of one lease. Static endpoints have one too, which never runs out.
#[derive(Debug)]
pub struct Lease {
    word: AtomicU64,
    ttl_millis: AtomicU64,
}

/// What [`Lease::close_if_due`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// The deadline has passed; the lease is closed now, by this call.
    Closed,
    /// The lease runs until this moment.
    RunsUntil(Moment),
    /// The lease was closed before.
    WasClosed,
}

/// A heartbeat came to a lease that is closed: its endpoint is being removed, or is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseClosed;

impl Lease {
    /// An open lease that runs out one `ttl` after `now`; never, when there is none.
    #[must_use]
    pub fn new(ttl: Option<Duration>, now: Moment) -> Self {
        let ttl_millis = ttl.map_or(NEVER, whole_millis);
        Self {
            word: AtomicU64::new(open_until(now, ttl_millis)),
            ttl_millis: AtomicU64::new(ttl_millis),
        }
    }

    /// A heartbeat: moves the deadline to one TTL from `now`, never to an earlier one.
    ///
    /// # Errors
    /// When the lease is closed.
    pub fn renew(&self, now: Moment) -> Result<(), LeaseClosed> {
        let renewed = open_until(now, self.ttl_millis.load(Ordering::Acquire));
        let mut word = self.word.load(Ordering::Acquire);
        while word & CLOSED == 0 {
            let next = word.max(renewed);
            match self
                .word
                .compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Ok(()),
                Err(found) => word = found,
            }
        }
        Err(LeaseClosed)
    }

    /// Closes the lease if its deadline is at or before `now`.
    pub fn close_if_due(&self, now: Moment) -> Closing {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            if word & CLOSED != 0 {
                return Closing::WasClosed;
            }
            let deadline = Moment(word >> 1);
            if deadline > now {
                return Closing::RunsUntil(deadline);
            }
            let closed = word | CLOSED;
            match self
                .word
                .compare_exchange_weak(word, closed, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Closing::Closed,
                Err(found) => word = found,
            }
        }
    }

    /// Closes the lease whatever its deadline: its endpoint was deregistered.
    pub fn close(&self) {
        self.word.fetch_or(CLOSED, Ordering::AcqRel);
    }

    /// Opens the lease again, with the deadline it had: the expiry could not be committed.
    pub fn reopen(&self) {
        self.word.fetch_and(!CLOSED, Ordering::AcqRel);
    }

    /// Gives the lease another TTL, counted from `now`, which may move its deadline either way.
    /// `None` makes it static. A closed lease stays closed.
    pub fn set_ttl(&self, ttl: Option<Duration>, now: Moment) {
        let ttl_millis = ttl.map_or(NEVER, whole_millis);
        self.ttl_millis.store(ttl_millis, Ordering::Release);
        let next = open_until(now, ttl_millis);
        let mut word = self.word.load(Ordering::Acquire);
        while word & CLOSED == 0 {
            match self
                .word
                .compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return,
                Err(found) => word = found,
            }
        }
    }

    /// When the lease runs out; `None` when it is static.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let deadline = self.word.load(Ordering::Acquire) >> 1;
        (deadline != NEVER).then_some(Moment(deadline))
    }

    /// Whether the lease is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.word.load(Ordering::Acquire) & CLOSED != 0
    }
}

/// The word of an open lease that runs out `ttl_millis` after `now`.
fn open_until(now: Moment, ttl_millis: u64) -> u64 {
    now.0.saturating_add(ttl_millis).min(NEVER) << 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Option<Duration> = Some(Duration::from_secs(10));

    #[test]
    fn a_lease_runs_out_exactly_one_ttl_after_the_last_heartbeat() {
        let lease = Lease::new(TTL, Moment(0));
        lease.renew(Moment(4_000)).unwrap();
        assert_eq!(
            lease.close_if_due(Moment(13_999)),
            Closing::RunsUntil(Moment(14_000))
        );
        assert_eq!(lease.close_if_due(Moment(14_000)), Closing::Closed);
        assert_eq!(lease.close_if_due(Moment(14_000)), Closing::WasClosed);
        assert_eq!(lease.renew(Moment(14_000)), Err(LeaseClosed));
    }

    #[test]
    fn a_failed_expiry_opens_it_again() {
        let lease = Lease::new(TTL, Moment(0));
        assert_eq!(lease.close_if_due(Moment(10_000)), Closing::Closed);
        lease.reopen();
        lease.renew(Moment(11_000)).unwrap();
        assert_eq!(lease.deadline(), Some(Moment(21_000)));
    }

    #[test]
    fn an_old_heartbeat_never_shortens_it() {
        let lease = Lease::new(TTL, Moment(5_000));
        lease.renew(Moment(1_000)).unwrap();
        assert_eq!(lease.deadline(), Some(Moment(15_000)));
    }

    #[test]
    fn a_static_lease_never_runs_out() {
        let lease = Lease::new(None, Moment(0));
        lease.renew(Moment(1)).unwrap();
        assert_eq!(lease.deadline(), None);
        assert_eq!(
            lease.close_if_due(Moment(1 << 60)),
            Closing::RunsUntil(Moment(NEVER))
        );
        lease.set_ttl(TTL, Moment(1_000));
        assert_eq!(lease.deadline(), Some(Moment(11_000)));
        lease.close();
        lease.set_ttl(None, Moment(0));
        assert!(lease.is_closed());
    }
}
