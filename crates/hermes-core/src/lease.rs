//! The lease: the promise that an endpoint stays registered until a deadline.
//!
//! A lease is one atomic word, so that a heartbeat is a compare-and-swap from whatever thread it
//! arrives on and never waits for the writer. The rule that everything hangs on is
//! **close, then expire**: when the clock finds a lease run out, it first closes it atomically, and
//! only then plans the expiry. A heartbeat meets an open lease and moves its deadline, or meets a
//! closed one and is refused; there is no third way, so a heartbeat that was accepted is never
//! followed by an expiry within its TTL. If the expiry cannot be committed, the lease opens again;
//! if the endpoint registers again first, it opens too, and the expiry leads to nothing.
//!
//! The word holds when the endpoint was last heard from, not when the lease runs out: that only
//! grows, so a registration and a heartbeat that meet cannot take from each other what either was
//! promised, whatever TTL the registration brings.
//!
//! `tests/lease_threads.rs` explores every interleaving of this file.

use std::time::Duration;

use crate::sync::{AtomicU64, Ordering};
use crate::time::{Moment, whole_millis};

/// The bit that says closed; the moment in milliseconds stands above it.
const CLOSED: u64 = 1;
/// The deadline of what never runs out, and the TTL that leads to it.
const NEVER: u64 = u64::MAX >> 1;

/// State of one lease. Static endpoints have one too, which never runs out.
#[derive(Debug)]
pub struct Lease {
    /// When the endpoint was last heard from, and whether the lease is closed.
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
        Self {
            word: AtomicU64::new(heard_at(now)),
            ttl_millis: AtomicU64::new(millis_of(ttl)),
        }
    }

    /// A heartbeat: moves the deadline to one TTL from `now`, never to an earlier one.
    ///
    /// # Errors
    /// When the lease is closed.
    pub fn renew(&self, now: Moment) -> Result<(), LeaseClosed> {
        let mut word = self.word.load(Ordering::Acquire);
        while word & CLOSED == 0 {
            match self.swap(word, word.max(heard_at(now))) {
                Ok(()) => return Ok(()),
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
            let deadline = self.deadline_of(word);
            if deadline > now {
                return Closing::RunsUntil(deadline);
            }
            match self.swap(word, word | CLOSED) {
                Ok(()) if self.deadline_of(word) <= now => return Closing::Closed,
                // A registration beside this call made the TTL longer and left the word as it was.
                Ok(()) => self.reopen(),
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

    /// The endpoint registered again: the lease is open, and runs out one `ttl` after `now`, or
    /// after a later heartbeat. `None` makes it static. Called by the one writer only.
    pub fn begin(&self, ttl: Option<Duration>, now: Moment) {
        let ttl_millis = millis_of(ttl);
        // While the word moves, the longer of both TTLs holds: the clock never closes early.
        self.ttl_millis.fetch_max(ttl_millis, Ordering::AcqRel);
        self.word.fetch_max(heard_at(now), Ordering::AcqRel);
        self.word.fetch_and(!CLOSED, Ordering::AcqRel);
        self.ttl_millis.store(ttl_millis, Ordering::Release);
    }

    /// When the lease runs out; `None` when it is static.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let deadline = self.deadline_of(self.word.load(Ordering::Acquire));
        (deadline.0 != NEVER).then_some(deadline)
    }

    /// Whether the lease is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.word.load(Ordering::Acquire) & CLOSED != 0
    }

    /// When a lease with this word runs out, by the TTL of now.
    fn deadline_of(&self, word: u64) -> Moment {
        let ttl_millis = self.ttl_millis.load(Ordering::Acquire);
        Moment((word >> 1).saturating_add(ttl_millis).min(NEVER))
    }

    /// Sets the word to `next` if it still is `word`; else gives back what it is.
    fn swap(&self, word: u64, next: u64) -> Result<(), u64> {
        self.word
            .compare_exchange(word, next, Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
    }
}

/// The word of an open lease whose endpoint was last heard from at `now`.
fn heard_at(now: Moment) -> u64 {
    now.0.min(NEVER) << 1
}

fn millis_of(ttl: Option<Duration>) -> u64 {
    ttl.map_or(NEVER, whole_millis)
}
