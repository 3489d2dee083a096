//! The same over a real server.

use std::{sync::Arc, thread, time::Duration};

use kasmina_coordination::{
    DirectoryKeeper, Lease as _, LeaseError, Member, Outcome, Pace, RedisLease, RedisLeaseSettings, Settings, Worker,
    WorkerId, subscription,
};
use kasmina_oona::{EntryKeys, RedisBus, RedisSettings, doubles::RedisServer};
use kasmina_safety::SystemClock;

use crate::{
    group::{ids, keys, members, order, report, run},
    lease::conforms,
};

type RedisMember = Member<RedisBus, RedisLease, DirectoryKeeper>;

const PATIENT: Duration = Duration::from_secs(20);

fn lease(server: &RedisServer, worker: u16, process: &str, ttl: Duration) -> RedisLease {
    let mut settings = RedisLeaseSettings::new(server.address(), &run());
    (settings.ttl, settings.response_timeout) = (ttl, PATIENT);
    RedisLease::new(settings, WorkerId(worker), process).unwrap()
}

#[test]
fn the_lease_over_redis_conforms() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let processes = std::cell::Cell::new(0);
    let ttl = Duration::from_millis(1_500);
    let tenant = |worker| {
        processes.set(processes.get() + 1);
        lease(&server, worker, &format!("process-{}", processes.get()), ttl)
    };
    let mut probe = lease(&server, 9, "probe", ttl);
    let until_free = || while probe_is_held(&server) {};
    conforms(tenant, until_free);
    assert!(probe.look().unwrap().is_some());
}

/// Asks the server until the lease has ended by itself.
fn probe_is_held(server: &RedisServer) -> bool {
    thread::yield_now();
    lease(server, 9, "probe", PATIENT).look().unwrap().is_some()
}

#[test]
fn a_server_that_is_away_is_an_error_without_its_address() {
    let Some(mut server) = RedisServer::start(&[]) else { return };
    let mut lease = lease(&server, 0, "process", PATIENT);
    lease.take(0).unwrap();
    server.kill();
    let error = lease.take(0).unwrap_err();
    assert!(matches!(error, LeaseError::Away { .. }), "{error:?}");
    server.restart();
    assert_eq!(lease.take(5).map(|tenure| tenure.token), Ok(6), "the server has forgotten, and the worker has not");
    let settings = RedisLeaseSettings::new("redis://:secret phrase@localhost", &run());
    assert!(!format!("{settings:?}").contains("phrase"));
}

fn member(server: &RedisServer, directory: &std::path::Path, number: u16, workers: u8) -> RedisMember {
    let keys = keys(workers);
    let settings = Settings { every: 10, lead: 3, timeout: PATIENT, ..Settings::default() };
    let worker = Worker::new(settings, members(&keys), keys[usize::from(number)].clone()).unwrap();
    let mut bus = RedisSettings::new(server.address());
    (bus.first_retry, bus.response_timeout) = (Duration::from_millis(1), PATIENT);
    let subscription = subscription(&run(), WorkerId(number));
    let keys = EntryKeys::of("2026", "secret").unwrap();
    let bus = RedisBus::start(bus, keys, Some(subscription), SystemClock::new()).unwrap();
    let ttl = Duration::from_secs(10);
    let lease = lease(server, number, &format!("process-{number}"), ttl);
    let keeper = DirectoryKeeper::open(directory.join(number.to_string()), 16).unwrap();
    Member::new(worker, bus, lease, keeper, SystemClock::new(), ttl)
}

#[test]
fn four_members_apply_the_same_orders_while_the_server_is_killed() {
    let Some(mut server) = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let members: Vec<_> = (0..4).map(|number| member(&server, directory.path(), number, 4)).collect();
    let (tell, told) = std::sync::mpsc::channel();
    let train = |number: u16, mut member: RedisMember| {
        let tell = tell.clone();
        move || {
            let mut applied = Vec::new();
            let mut due = Vec::new();
            for step in 0..100_u64 {
                if step % 10 == 0 {
                    let name = format!("order-{step}-{number}");
                    due.extend(member.barrier(step, report(&[order(&name, step as i64)])).unwrap());
                    let _ = tell.send(step);
                }
                assert_eq!(member.advance(step).unwrap(), Pace::Go);
                due.extend(member.take_outcomes());
                due.retain(|outcome| {
                    let Outcome::Decided(decided) = outcome else { panic!("{outcome:?}") };
                    if decided.plan.apply_at != step {
                        return true;
                    }
                    let orders = ids(&decided.plan.orders).into_iter().map(str::to_owned);
                    applied.push((step, orders.collect::<Vec<_>>()));
                    false
                });
            }
            applied
        }
    };
    let threads: Vec<_> = (0..).zip(members).map(|(number, member)| thread::spawn(train(number, member))).collect();
    while told.recv().unwrap() < 40 {}
    server.restart();
    let applied: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(applied[0].len(), 10);
    for other in &applied[1..] {
        assert_eq!(*other, applied[0]);
    }
    let kept = Arc::new(std::fs::read_dir(directory.path().join("0")).unwrap().count());
    assert_eq!(*kept, 11, "promises, and ten decisions");
}
