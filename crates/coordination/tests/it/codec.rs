//! Bytes from outside.

use std::sync::Arc;

use kasmina_coordination::{
    Certificate, Limits, Membership, MembershipError, Message, Phase, Plan, PublicKey, Round, SecretKey, Unreadable,
    Worker, WorkerId,
};
use kasmina_leyline::TrainingRunId;
use proptest::prelude::*;

use crate::group::{Group, keys, members, order, run};

/// Messages of all kinds, as four workers send them, among them those of a second holder.
fn messages() -> (Group, Vec<Arc<Message>>) {
    let mut group = Group::of(4, kasmina_coordination::Settings { every: 10, lead: 3, ..Default::default() });
    group.lease(1, 0);
    let mut all = Vec::new();
    group.arrive_all(10, &[order("a", 0), order("b", 1)]);
    group.deliver(|_, _, message| {
        all.push(Arc::new(message.clone()));
        !matches!(message, Message::Accept(_))
    });
    group.away = vec![0];
    group.now = group.now.after(group.settings.retry);
    let now = group.now;
    group.workers.values_mut().for_each(|worker| worker.tick(now));
    group.collect();
    group.deliver(|_, _, message| {
        all.push(Arc::new(message.clone()));
        !matches!(message, Message::Accept(_))
    });
    group.lease(2, 1);
    group.deliver(|_, _, message| {
        all.push(Arc::new(message.clone()));
        true
    });
    // The first holder comes back and asks.
    group.away.clear();
    group.now = group.now.after(group.settings.retry);
    let now = group.now;
    group.worker(0).tick(now);
    group.collect();
    group.deliver(|_, _, message| {
        all.push(Arc::new(message.clone()));
        true
    });
    (group, all)
}

#[test]
fn every_message_is_read_as_it_was_sent() {
    let (group, all) = messages();
    let mut names: Vec<_> = all.iter().map(|message| message.name()).collect();
    for message in &all {
        let bytes = message.encode(&group.members);
        assert_eq!(Message::decode(&bytes, &group.members, &Limits::default()).as_ref(), Ok(&**message));
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names, ["accept", "commit", "lock", "prepare", "propose", "query", "vote"]);
}

#[test]
fn a_message_of_another_run_is_not_of_this_group() {
    let (group, all) = messages();
    let other = TrainingRunId::new("run-8").unwrap();
    let other = Membership::new(&other, group.keys.iter().map(SecretKey::public).collect()).unwrap();
    let bytes = all[0].encode(&other);
    let read = Message::decode(&bytes, &group.members, &Limits::default());
    assert_eq!(read, Err(Unreadable::OtherGroup));
}

#[test]
fn what_is_too_long_is_not_looked_at() {
    let members = members(&keys(4));
    let limits = Limits { message_bytes: 10, ..Limits::default() };
    let read = Message::decode(&[0xff; 11], &members, &limits);
    assert_eq!(read, Err(Unreadable::TooLong { got: 11, limit: 10 }));
}

proptest! {
    #[test]
    fn any_bytes_give_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let members = members(&keys(4));
        let _ = Message::decode(&bytes, &members, &Limits::default());
    }

    /// Whatever a stranger changes on the way: the worker takes nothing that was not signed, and does not panic.
    #[test]
    fn a_spoilt_message_changes_nothing_or_means_the_same(which in 0_usize..100, at in 0_usize..2_000, byte in any::<u8>()) {
        let (group, all) = messages();
        let message = &all[which % all.len()];
        let mut bytes = message.encode(&group.members);
        let at = at % bytes.len();
        bytes[at] = byte;
        let read = Message::decode(&bytes, &group.members, &Limits::default());
        if let Ok(read) = read
            && let Some(signed) = read.signed()
            && signed.is_genuine(&group.members)
        {
            prop_assert_eq!(signed, message.signed().unwrap(), "what is genuine was signed");
        }
        let mut fresh = Group::of(4, group.settings.clone());
        let now = fresh.now;
        let _ = fresh.worker(3).receive(&bytes, now);
    }

    #[test]
    fn any_bytes_that_were_kept_give_a_worker_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let group = Group::of(1, kasmina_coordination::Settings::default());
        let kept = [kasmina_coordination::Kept::Promises(bytes.clone())];
        let _ = Worker::resume(group.settings.clone(), Arc::clone(&group.members), group.keys[0].clone(), kept,
            kasmina_coordination::Ledger::default(), 0);
        let _ = kasmina_coordination::Ledger::from_bytes(&bytes);
    }
}

#[test]
fn a_quorum_is_more_than_two_liars_can_tip() {
    let sizes = [(1, 0, 1), (2, 0, 2), (3, 0, 2), (4, 1, 3), (5, 1, 4), (6, 1, 4), (7, 2, 5), (8, 2, 6), (10, 3, 7)];
    for (workers, liars, quorum) in sizes {
        let members = members(&keys(workers));
        assert_eq!((members.liars(), members.quorum()), (liars, quorum), "{workers} workers");
        let shared = 2 * members.quorum() - members.workers();
        assert!(shared > liars, "any two quorums of {workers} share an honest worker");
        assert!(members.workers() - liars >= quorum, "the honest workers are a quorum");
    }
}

#[test]
fn a_membership_is_checked() {
    let key = |number: u8| SecretKey::from_seed(&[number; 32]).public();
    let new = |keys: Vec<PublicKey>| Membership::new(&run(), keys).map(|_| ());
    assert_eq!(new(Vec::new()), Err(MembershipError::Size { got: 0 }));
    let shared = MembershipError::SharedKey { first: WorkerId(0), second: WorkerId(2) };
    assert_eq!(new(vec![key(1), key(2), key(1)]), Err(shared));
    let members = members(&keys(3));
    assert_eq!(members.find(&key(2)), Ok(WorkerId(1)));
    assert_eq!(members.find(&key(9)), Err(MembershipError::Stranger { workers: 3 }));
}

#[test]
fn a_certificate_needs_a_quorum_of_different_workers() {
    let (group, all) = messages();
    let lock = all.iter().find_map(|message| match &**message {
        Message::Propose(proposal) => proposal.locked.clone(),
        _ => None,
    });
    let good = lock.unwrap();
    assert!(good.is_genuine(&group.members));
    let spoil = |change: &dyn Fn(&mut Certificate)| {
        let mut spoilt = good.certificate.clone();
        change(&mut spoilt);
        spoilt.is_genuine(&group.members)
    };
    assert!(!spoil(&|it| it.signatures.truncate(2)), "too few");
    assert!(!spoil(&|it| it.signatures[1] = it.signatures[0]), "one twice");
    assert!(!spoil(&|it| it.token += 1), "another token");
    assert!(!spoil(&|it| it.round = Round { era: 1, ..it.round }), "another era");
    assert!(!spoil(&|it| it.phase = Phase::Accept), "votes are not acceptances");
    let other = Plan { apply_at: 99, ..good.plan.clone() };
    assert_ne!(other.hash(), good.plan.hash());
}
