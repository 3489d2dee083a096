//! Members on a bus in the process: on threads, and on one thread with a clock that a test moves.

use std::{sync::Arc, thread, time::Duration};

use kasmina_coordination::{
    DirectoryKeeper, Keeper, Lease, Ledger, LocalLease, Member, MemberError, MemoryKeeper, NoKeeper, Outcome, Pace,
    Settings, Tenancy, Worker, WorkerId, subscription,
};
use kasmina_leyline::UnixTime;
use kasmina_oona::{Bus, BusSettings, LocalBroker, LocalBus};
use kasmina_safety::{Clock, SystemClock, doubles::ManualClock};

use crate::group::{ids, keys, members, order, report, run};

const TTL: Duration = Duration::from_secs(3);

fn settings() -> Settings {
    Settings { every: 10, lead: 3, ..Settings::default() }
}

fn manual_clock() -> ManualClock {
    let clock = ManualClock::default();
    clock.set_unix(UnixTime::from_millis(1_700_000_000_000));
    clock
}

fn group<C: Clock + Clone + 'static>(workers: u8, clock: &C) -> Vec<Member<LocalBus, Tenancy, MemoryKeeper>> {
    let broker = LocalBroker::new(BusSettings::default(), clock.clone()).unwrap();
    let lease = LocalLease::new(TTL, clock.clone());
    let keys = keys(workers);
    let members = members(&keys);
    let member = |key| {
        let worker = Worker::new(settings(), Arc::clone(&members), key).unwrap();
        let bus = broker.join(subscription(&run(), worker.id()));
        let tenancy = lease.of(worker.id());
        Member::new(worker, bus.unwrap(), tenancy, MemoryKeeper, clock.clone(), TTL)
    };
    keys.into_iter().map(member).collect()
}

/// Lets members take turns until all have an outcome.
fn turns<B: Bus, L: Lease, K: Keeper>(members: &mut [Member<B, L, K>]) -> Vec<Vec<Outcome>> {
    let mut outcomes = vec![Vec::new(); members.len()];
    for _ in 0..100 {
        for (member, outcomes) in members.iter_mut().zip(&mut outcomes) {
            outcomes.extend(member.poll().unwrap());
        }
    }
    outcomes
}

fn orders(outcome: &Outcome) -> (Vec<&str>, u64) {
    let Outcome::Decided(decided) = outcome else { panic!("{outcome:?}") };
    (ids(&decided.plan.orders), decided.plan.apply_at)
}

#[test]
fn members_on_one_thread_agree_without_time_passing() {
    let clock = manual_clock();
    let mut group = group(4, &clock);
    for (number, member) in (0..).zip(&mut group) {
        member.begin(10, report(&[order(&format!("order-{number}"), number)])).unwrap();
    }
    let outcomes = turns(&mut group);
    let all = (vec!["order-0", "order-1", "order-2", "order-3"], 13);
    for outcomes in &outcomes {
        assert_eq!(outcomes.iter().map(orders).collect::<Vec<_>>(), std::slice::from_ref(&all));
    }
    assert_eq!(group.iter().filter(|member| member.speaks()).count(), 1, "the holder alone speaks");
    for member in &mut group {
        assert_eq!(member.advance(10).unwrap(), Pace::Go);
        assert_eq!(member.take_events(), []);
        assert_eq!((member.counts().rejected, member.counts().refused), (0, 0));
    }
}

#[test]
fn when_the_holder_is_gone_another_member_takes_its_place() {
    let clock = manual_clock();
    let mut group = group(4, &clock);
    turns(&mut group);
    assert!(group[0].speaks());
    drop(group.remove(0));
    for member in &mut group {
        member.begin(10, report(&[order("a", 0)])).unwrap();
    }
    assert!(turns(&mut group).iter().all(Vec::is_empty), "the lease lasts");
    clock.advance(TTL);
    let outcomes = turns(&mut group);
    // The grace for the one that is gone.
    clock.advance(Duration::from_millis(200));
    let later = turns(&mut group);
    for outcomes in outcomes.iter().zip(&later).map(|(one, other)| [one.clone(), other.clone()].concat()) {
        assert_eq!(outcomes.iter().map(orders).collect::<Vec<_>>(), [(vec!["a"], 13)]);
    }
}

#[test]
fn members_on_threads_apply_the_same_orders_at_the_same_steps() {
    let clock = SystemClock::new();
    let group = group(4, &clock);
    let train = |number: usize, mut member: Member<LocalBus, Tenancy, MemoryKeeper>| {
        let mut applied = Vec::new();
        let mut due = Vec::new();
        for step in 0..200 {
            if step % 10 == 0 {
                let name = format!("order-{step}-{number}");
                let outcomes = member.barrier(step, report(&[order(&name, step as i64)])).unwrap();
                due.extend(outcomes.into_iter().map(|outcome| match outcome {
                    Outcome::Decided(decided) => decided,
                    other => panic!("{other:?}"),
                }));
            }
            assert_eq!(member.advance(step).unwrap(), Pace::Go);
            for decided in due.extract_if(.., |decided| decided.plan.apply_at == step) {
                applied.push((step, ids(&decided.plan.orders).into_iter().map(str::to_owned).collect::<Vec<_>>()));
            }
        }
        applied
    };
    let threads: Vec<_> =
        group.into_iter().enumerate().map(|(number, member)| thread::spawn(move || train(number, member))).collect();
    let applied: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(applied[0].len(), 20);
    // A straggler's orders are left out of its round.
    assert!(applied[0].iter().all(|(_, orders)| orders.len() >= 3), "{:?}", applied[0]);
    for other in &applied[1..] {
        assert_eq!(*other, applied[0]);
    }
}

#[test]
fn when_a_promise_is_not_durable_nothing_is_said() {
    let clock = manual_clock();
    let broker = LocalBroker::new(BusSettings::default(), clock.clone()).unwrap();
    let keys = keys(1);
    let worker = Worker::new(settings(), members(&keys), keys[0].clone()).unwrap();
    let bus = broker.join(subscription(&run(), WorkerId(0))).unwrap();
    let lease = LocalLease::new(TTL, clock.clone()).of(WorkerId(0));
    let mut member = Member::new(worker, bus, lease, NoKeeper, clock, TTL);
    assert!(matches!(member.barrier(0, report(&[])), Err(MemberError::Keep(_))));
    assert!(matches!(member.poll(), Err(MemberError::Keep(_))), "and it stays so");
    assert_eq!(member.counts().sent, 0);
}

#[test]
fn after_a_restart_from_its_directory_a_member_still_has_its_word() {
    let clock = manual_clock();
    let directory = tempfile::tempdir().unwrap();
    let broker = LocalBroker::new(BusSettings::default(), clock.clone()).unwrap();
    let lease = LocalLease::new(TTL, clock.clone());
    let (keys, step) = (keys(1), 10);
    let member = || {
        let keeper = DirectoryKeeper::open(directory.path(), 4).unwrap();
        let kept = keeper.kept().unwrap();
        let worker =
            Worker::resume(settings(), members(&keys), keys[0].clone(), kept, Ledger::default(), step).unwrap();
        let bus = broker.join(subscription(&run(), worker.id())).unwrap();
        Member::new(worker, bus, lease.of(WorkerId(0)), keeper, clock.clone(), TTL)
    };
    let first = member().barrier(step, report(&[order("a", 0)])).unwrap();
    assert_eq!(orders(&first[0]), (vec!["a"], 13));
    // The process dies, and begins again from a checkpoint before the round, with another order.
    let again = member().barrier(step, report(&[order("b", 0)])).unwrap();
    assert_eq!(again, first, "what was decided stays decided");
}
