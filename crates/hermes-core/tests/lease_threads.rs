//! Every interleaving of heartbeats, the lease clock and the writer, over the lease itself.
//!
//! `src/lease.rs` is compiled here once more, against the atomics of `loom`, which runs a model again
//! for each order in which its threads may meet. So these tests are exhaustive, not lucky. Each says
//! which fault it was seen to catch when that fault was put into `src/lease.rs`.

use std::time::Duration;

use loom::sync::Arc;
use loom::thread::{self, JoinHandle};

use lease::{Closing, Lease};
use time::Moment;

mod sync {
    //! What `src/sync.rs` is to the crate itself.
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
}

mod time {
    //! Time is the crate's own: it has no threads in it.
    pub(crate) use hermes_core::time::{Moment, whole_millis};
}

#[path = "../src/lease.rs"]
#[expect(
    unreachable_pub,
    reason = "the file belongs to a library, where what it holds is public"
)]
mod lease;

/// Milliseconds of the lease in every model that does not say otherwise.
const TTL: u64 = 10;

fn ttl(millis: u64) -> Option<Duration> {
    Some(Duration::from_millis(millis))
}

/// Runs a model of three threads in every order that stops a thread at most three times where it
/// could have gone on. Every fault below shows with two; without a bound it takes minutes, and was
/// seen to find nothing more.
fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// A heartbeat that says when it came if it was accepted.
fn heartbeat(lease: &Arc<Lease>, now: u64) -> JoinHandle<Option<u64>> {
    let lease = Arc::clone(lease);
    thread::spawn(move || lease.renew(Moment(now)).is_ok().then_some(now))
}

/// The clock: looks at these moments, one after the other, until it has closed the lease. Says when.
fn clock(lease: &Arc<Lease>, moments: &'static [u64]) -> JoinHandle<Option<u64>> {
    let lease = Arc::clone(lease);
    thread::spawn(move || look(&lease, moments))
}

fn look(lease: &Lease, moments: &[u64]) -> Option<u64> {
    let closes = |now: &&u64| lease.close_if_due(Moment(**now)) == Closing::Closed;
    moments.iter().find(closes).copied()
}

/// The accepted ones among these heartbeats.
fn accepted<const N: usize>(heartbeats: [JoinHandle<Option<u64>>; N]) -> Vec<u64> {
    let join = |heartbeat: JoinHandle<Option<u64>>| heartbeat.join().expect("it does not panic");
    heartbeats.into_iter().filter_map(join).collect()
}

/// Catches: `renew` that stores instead of comparing and swapping (a heartbeat is accepted and
/// expired all the same); `close_if_due` that stores.
#[test]
fn an_accepted_heartbeat_is_never_followed_by_an_expiry_within_its_ttl() {
    loom::model(|| {
        let lease = Arc::new(Lease::new(ttl(TTL), Moment(0)));
        let beats = [heartbeat(&lease, 8), heartbeat(&lease, 10)];
        let closed = look(&lease, &[10, 18]);
        let accepted = accepted(beats);
        match closed {
            Some(at) => {
                assert!(lease.is_closed());
                assert!(
                    accepted.iter().all(|heard| heard + TTL <= at),
                    "{accepted:?}"
                );
                assert!(at >= TTL);
            }
            // No third way: an open lease has refused nobody, and knows the last one it heard.
            None => {
                assert_eq!(accepted, [8, 10]);
                assert_eq!(lease.deadline(), Some(Moment(10 + TTL)));
            }
        }
    });
}

/// Catches: a failed expiry that leaves the lease closed; `renew` that stores.
#[test]
fn a_failed_commit_opens_the_lease_for_every_heartbeat_that_comes_after() {
    explore(|| {
        let lease = Arc::new(Lease::new(ttl(TTL), Moment(0)));
        let beats = [heartbeat(&lease, 8), heartbeat(&lease, 11)];
        let first = lease.close_if_due(Moment(10));
        if first == Closing::Closed {
            // The log is full: nothing was removed.
            lease.reopen();
        }
        let second = lease.close_if_due(Moment(18));
        let accepted = accepted(beats);
        assert_ne!(second, Closing::WasClosed);
        if second == Closing::Closed {
            assert!(accepted.iter().all(|heard| heard + TTL <= 18));
        } else {
            let last = accepted.iter().max().map_or(0, |heard| heard + TTL);
            assert_eq!(lease.deadline(), Some(Moment(last)));
        }
        // Who was refused met a closed lease.
        assert!(accepted.len() == 2 || [first, second].contains(&Closing::Closed));
    });
}

/// Catches: `begin` that stores the moment instead of moving it forward (the later heartbeat loses a
/// millisecond); `begin` that does nothing to a closed lease (what has just registered is expired).
#[test]
fn registering_again_beside_a_heartbeat_keeps_what_either_was_promised() {
    explore(|| {
        let lease = Arc::new(Lease::new(ttl(TTL), Moment(0)));
        let beats = [heartbeat(&lease, 9)];
        let clock = clock(&lease, &[10, 17]);
        lease.begin(ttl(TTL), Moment(8));
        let closed = clock.join().unwrap();
        let accepted = accepted(beats);
        // Whatever the clock closed before is open now, so its expiry leads to nothing.
        assert!(!lease.is_closed());
        let last = accepted.iter().max().map_or(8, |heard| *heard);
        assert_eq!(lease.deadline(), Some(Moment(last + TTL)));
        assert!(!accepted.is_empty() || closed.is_some());
    });
}

/// Catches: `close_if_due` without its second look at the TTL; `begin` that moves the lease but does
/// not open it.
#[test]
fn a_lease_made_longer_is_not_closed_by_its_old_ttl() {
    explore(|| {
        let lease = Arc::new(Lease::new(ttl(TTL), Moment(0)));
        let beats = [heartbeat(&lease, 9)];
        let clock = clock(&lease, &[19]);
        lease.begin(ttl(3 * TTL), Moment(8));
        clock.join().unwrap();
        let last = accepted(beats).into_iter().max().unwrap_or(8);
        assert!(!lease.is_closed());
        assert_eq!(lease.deadline(), Some(Moment(last + 3 * TTL)));
    });
}

/// Catches: `begin` that stores the shorter TTL before it moves the lease.
#[test]
fn a_lease_made_shorter_counts_from_its_registration() {
    explore(|| {
        let lease = Arc::new(Lease::new(ttl(3 * TTL), Moment(0)));
        let beats = [heartbeat(&lease, 9)];
        let clock = clock(&lease, &[17]);
        lease.begin(ttl(TTL), Moment(8));
        assert_eq!(clock.join().unwrap(), None, "nothing was due");
        assert_eq!(accepted(beats), [9]);
        assert_eq!(lease.deadline(), Some(Moment(9 + TTL)));
    });
}

/// Catches: `close` that stores a word it has read before.
#[test]
fn a_deregistered_endpoint_accepts_no_heartbeat_and_is_not_expired_too() {
    loom::model(|| {
        let lease = Arc::new(Lease::new(ttl(TTL), Moment(0)));
        let beats = [heartbeat(&lease, 8)];
        let clock = clock(&lease, &[10]);
        lease.close();
        assert!(lease.is_closed());
        assert!(lease.renew(Moment(9)).is_err());
        let closed = clock.join().unwrap();
        let accepted = accepted(beats);
        assert!(lease.is_closed());
        assert!(closed.is_none() || accepted.is_empty());
    });
}
