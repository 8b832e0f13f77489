//! The lease on one thread: when it runs out, and what opens it again. `lease_threads.rs` has the rest.

use std::time::Duration;

use hermes_core::lease::{Closing, Lease, LeaseClosed};
use hermes_core::time::Moment;

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
    assert!(matches!(
        lease.close_if_due(Moment(1 << 60)),
        Closing::RunsUntil(_)
    ));
}

#[test]
fn a_registration_brings_its_ttl_and_counts_from_now() {
    let lease = Lease::new(None, Moment(0));
    lease.begin(TTL, Moment(1_000));
    assert_eq!(lease.deadline(), Some(Moment(11_000)));
    lease.begin(Some(Duration::from_secs(1)), Moment(2_000));
    assert_eq!(lease.deadline(), Some(Moment(3_000)));
    lease.begin(None, Moment(3_000));
    assert_eq!(lease.deadline(), None);
}

#[test]
fn a_registration_opens_what_the_clock_has_closed() {
    let lease = Lease::new(TTL, Moment(0));
    assert_eq!(lease.close_if_due(Moment(10_000)), Closing::Closed);
    lease.begin(TTL, Moment(10_001));
    assert!(!lease.is_closed());
    assert_eq!(lease.deadline(), Some(Moment(20_001)));
}
