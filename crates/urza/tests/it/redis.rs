//! Kernels over a real Redis, which is killed and started again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use kasmina_kernel_load::{Arrival, RequestId};
use kasmina_oona::{
    Bus, BusSettings, DropCause, EntryKeys, Health, RedisBus, RedisSettings, Subscription, doubles::RedisServer,
};
use kasmina_safety::SystemClock;
use kasmina_urza::{OonaKernels, Urza, UrzaSettings};

use crate::world::{Shelf, Trainer, arrivals, wait_until};

const FIVE: [&str; 5] = ["bp-0", "bp-1", "bp-2", "bp-3", "bp-4"];
/// The deadline of every request.
const TOO_LATE: u64 = 30_000;

struct World {
    server: RedisServer,
    shelf: Shelf,
    response_timeout: Duration,
}

impl World {
    fn new(options: &[&str]) -> Option<Self> {
        // A machine that is busy is not a server that is stalled.
        let response_timeout = Duration::from_secs(20);
        Some(Self { server: RedisServer::start(options)?, shelf: Shelf::with(&FIVE), response_timeout })
    }

    fn bus(&self, subscription: Subscription, secret: &str) -> RedisBus {
        let mut settings = RedisSettings::new(self.server.address());
        // What a connection took with it when it broke comes again this soon, not after a minute.
        settings.bus = BusSettings { claim_after: Duration::from_millis(600), ..BusSettings::default() };
        settings.bus.most_deliveries = 1_000;
        settings.claim_every = Duration::from_millis(100);
        settings.block = Duration::from_millis(5);
        settings.first_retry = Duration::from_millis(1);
        settings.longest_retry = Duration::from_millis(20);
        settings.response_timeout = self.response_timeout;
        let keys = EntryKeys::of("2026", secret).unwrap();
        RedisBus::start(settings, keys, Some(subscription), SystemClock::new()).unwrap()
    }

    fn urza(&self) -> Urza {
        let bus = self.bus(Urza::subscription("urza-1"), "secret");
        Urza::open(bus, self.shelf.path(), None, UrzaSettings::default(), SystemClock::new()).unwrap()
    }

    fn trainer(&self) -> Trainer {
        Trainer::new(self.bus(OonaKernels::subscription("run-7"), "secret"), &self.shelf)
    }
}

/// Ten requests for each of the five.
fn ask_for_fifty(trainer: &Trainer, now: u64) -> BTreeSet<RequestId> {
    (0..50).map(|number| trainer.ask(FIVE[number % 5], number, now)).collect()
}

fn ids(arrived: &[Arrival]) -> BTreeSet<RequestId> {
    arrived.iter().map(|arrival| arrival.request).collect()
}

#[test]
fn fifty_requests_over_redis_load_each_kernel_once() {
    let Some(world) = World::new(&[]) else { return };
    let (mut urza, trainer) = (world.urza(), world.trainer());
    let asked = ask_for_fifty(&trainer, 0);
    let mut ready = 0;
    let arrived = arrivals(50, || {
        ready += urza.serve_once().unwrap().ready;
        trainer.step(1)
    });
    assert!(arrived.iter().all(|arrival| arrival.outcome.is_ok()));
    assert_eq!(ids(&arrived), asked);
    let total = trainer.manager.stats().total;
    assert_eq!((ready, total.loads, total.ready, total.late_answers), (5, 5, 5, 0));
    wait_until("the requests are acknowledged", || {
        urza.serve_once().unwrap();
        urza.bus().status().counts.acknowledged == 5
    });
}

#[test]
fn killed_redis_that_kept_its_files_loses_no_answer() {
    let Some(mut world) = World::new(&["--appendonly", "yes", "--appendfsync", "always"]) else { return };
    let (mut urza, trainer) = (world.urza(), world.trainer());
    let (mut asked, mut ended) = (BTreeSet::new(), BTreeMap::new());
    // Every round is killed at another point: after the requests, after the answers, and in between.
    for round in 0..6 {
        trainer.manager.purge();
        asked.extend(ask_for_fifty(&trainer, 0));
        for step in 0..6 {
            if step == round {
                world.server.restart();
            }
            urza.serve_once().unwrap();
            note(trainer.step(1), &mut ended);
        }
        wait_until("all requests of the round have ended", || {
            urza.serve_once().unwrap();
            note(trainer.step(1), &mut ended);
            ended.len() == asked.len()
        });
    }
    assert_eq!(ended.keys().copied().collect::<BTreeSet<_>>(), asked);
    assert!(ended.values().all(Result::is_ok), "{ended:?}");
    let total = trainer.manager.stats().total;
    assert_eq!((total.loads, total.ready, total.timeouts), (30, 30, 0));
}

#[test]
fn killed_redis_without_files_lets_requests_time_out() {
    let Some(mut world) = World::new(&[]) else { return };
    let trainer = world.trainer();
    let connected = |bus: &dyn Bus| bus.status().health == Health::Connected;
    wait_until("the trainer is connected", || connected(trainer.kernels.bus()));
    let lost = ask_for_fifty(&trainer, 0);
    wait_until("the requests are stored", || trainer.kernels.bus().status().stored_through.number() == 5);
    world.server.restart();
    let mut urza = world.urza();
    wait_until("both are connected", || connected(urza.bus()) && connected(trainer.kernels.bus()));
    let mut ended = BTreeMap::new();
    for _ in 0..20 {
        assert_eq!(urza.serve_once().unwrap().ready, 0);
        note(trainer.step(1), &mut ended);
    }
    assert_eq!(ended.len(), 0);
    note(trainer.step(TOO_LATE), &mut ended);
    assert_eq!(ended.keys().copied().collect::<BTreeSet<_>>(), lost);
    assert!(ended.values().all(|end| *end == Err("prefetch_timeout")), "{ended:?}");
    // What is asked afterwards is answered.
    let asked = trainer.ask("bp-0", 0, TOO_LATE);
    wait_until("the request has ended", || {
        urza.serve_once().unwrap();
        note(trainer.step(TOO_LATE), &mut ended);
        ended.len() == 51
    });
    assert_eq!(ended[&asked], Ok(()));
}

#[test]
fn stalled_redis_delays_answers_and_loses_none() {
    let Some(mut world) = World::new(&[]) else { return };
    world.response_timeout = Duration::from_millis(200);
    let bus = Arc::new(world.bus(Urza::subscription("urza-1"), "secret"));
    let settings = UrzaSettings::default();
    let mut urza = Urza::open(Arc::clone(&bus), world.shelf.path(), None, settings, SystemClock::new()).unwrap();
    let trainer = world.trainer();
    let (end, urza_stalled) = (AtomicBool::new(false), AtomicBool::new(false));
    let is_stalled = |bus: &dyn Bus| matches!(bus.status().health, Health::Stalled { .. });
    let until = || {
        urza_stalled.store(is_stalled(&*bus), Ordering::SeqCst);
        end.load(Ordering::SeqCst)
    };
    thread::scope(|scope| {
        let serving = scope.spawn(|| urza.serve(until, |_| {}));
        let mut asked = ask_for_fifty(&trainer, 0);
        let mut ended = BTreeMap::new();
        wait_until("the first have ended", || {
            note(trainer.step(1), &mut ended);
            ended.len() == 50
        });
        world.server.pause();
        trainer.manager.purge();
        asked.extend(ask_for_fifty(&trainer, 1));
        wait_until("both have noticed", || {
            note(trainer.step(1), &mut ended);
            is_stalled(trainer.kernels.bus()) && urza_stalled.load(Ordering::SeqCst)
        });
        assert_eq!(ended.len(), 50, "nobody answers");
        world.server.resume();
        wait_until("all have ended", || {
            note(trainer.step(2), &mut ended);
            ended.len() == 100
        });
        end.store(true, Ordering::SeqCst);
        let served = serving.join().unwrap().unwrap();
        assert_eq!(ended.keys().copied().collect::<BTreeSet<_>>(), asked);
        assert!(ended.values().all(Result::is_ok), "{ended:?}");
        assert!(served.ready >= 10, "{served:?}");
    });
    let total = trainer.manager.stats().total;
    assert_eq!((total.loads, total.ready, total.timeouts), (10, 10, 0));
}

#[test]
fn library_that_died_is_replaced_by_another() {
    let Some(world) = World::new(&[]) else { return };
    let trainer = world.trainer();
    trainer.ask("bp-0", 0, 0);
    let dead = world.bus(Urza::subscription("urza-0"), "secret");
    wait_until("it has taken the request", || !dead.poll(1).unwrap().is_empty());
    drop(dead);
    let mut urza = world.urza();
    let arrived = arrivals(1, || {
        urza.serve_once().unwrap();
        trainer.step(1)
    });
    assert!(arrived[0].outcome.is_ok());
}

#[test]
fn forged_answer_is_never_handed_over() {
    let Some(world) = World::new(&[]) else { return };
    let trainer = world.trainer();
    let forger = world.bus(Urza::subscription("forger"), "another secret");
    let mut forger = Urza::open(forger, world.shelf.path(), None, UrzaSettings::default(), SystemClock::new()).unwrap();
    let forged = || trainer.kernels.bus().status().counts.dropped.get(&DropCause::BadSignature).copied();
    wait_until("its announcements are dropped", || {
        forger.serve_once().unwrap();
        assert_eq!(trainer.kernels.poll(&trainer.manager.answers(), 64).unwrap(), kasmina_urza::Polled::default());
        forged() == Some(5)
    });
}

/// Notes how requests have ended. None ends twice.
fn note(arrived: Vec<Arrival>, ended: &mut BTreeMap<RequestId, Result<(), &'static str>>) {
    for Arrival { request, outcome, .. } in arrived {
        let end = outcome.map(drop).map_err(|error| error.reason());
        assert_eq!(ended.insert(request, end), None, "{request} has ended twice");
    }
}
