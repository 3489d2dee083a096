//! The suite that every lease runs, and the lease in the process.

use std::time::Duration;

use kasmina_coordination::{Lease, LeaseError, LocalLease, NoLease, Tenure, WorkerId};
use kasmina_safety::doubles::ManualClock;

/// What every lease has to do. `tenant` makes one as a process sees it; `pass` lets the lease's time pass.
pub(crate) fn conforms<L: Lease>(tenant: impl Fn(u16) -> L, pass: impl Fn()) {
    let (mut one, mut other) = (tenant(0), tenant(1));
    assert_eq!(one.look(), Ok(None));
    let first = one.take(0).unwrap();
    assert_eq!(first, Tenure { token: 1, holder: WorkerId(0), is_mine: true });
    assert_eq!(one.take(0), Ok(first), "renewed under the same token");
    let theirs = Tenure { is_mine: false, ..first };
    assert_eq!(other.take(0), Ok(theirs), "taken");
    assert_eq!(other.look(), Ok(Some(theirs)));
    other.release().unwrap();
    assert_eq!(one.look(), Ok(Some(first)), "only the holder can give it back");
    // The same worker after a restart.
    let mut again = tenant(0);
    assert_eq!(again.take(0), Ok(theirs), "another process of the holder does not have it");
    pass();
    assert_eq!(one.look(), Ok(None), "it ends by itself");
    let second = other.take(0).unwrap();
    assert_eq!(second, Tenure { token: 2, holder: WorkerId(1), is_mine: true });
    assert_eq!(one.take(0), Ok(Tenure { is_mine: false, ..second }));
    other.release().unwrap();
    let third = one.take(7).unwrap();
    assert_eq!((third.token, third.is_mine), (8, true), "higher than all that the worker knows");
    one.release().unwrap();
    assert_eq!(again.take(0).unwrap().token, 9, "tokens only rise");
}

#[test]
fn the_lease_in_the_process_conforms() {
    let clock = ManualClock::default();
    let lease = LocalLease::new(Duration::from_secs(3), clock.clone());
    conforms(|worker| lease.of(WorkerId(worker)), || clock.advance(Duration::from_secs(3)));
}

#[test]
fn the_null_object_gives_it_to_nobody() {
    assert_eq!(NoLease.take(0), Err(LeaseError::NotWired));
    assert_eq!(NoLease.look(), Err(LeaseError::NotWired));
}
