//! One load for everybody who asks for a blueprint.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use kasmina_kernel_load::{LoadEvent, Purpose, Requested};

use super::*;

#[test]
fn sixteen_askers_of_one_blueprint_load_it_once() {
    let (manager, gate) = gated_manager(&settings());
    let barrier = Barrier::new(16);
    let asked: Vec<_> = thread::scope(|scope| {
        let asker = |index: u64| {
            let (manager, barrier) = (&manager, &barrier);
            scope.spawn(move || {
                barrier.wait();
                ask(manager, "bp", index)
            })
        };
        let askers: Vec<_> = (0..16).map(asker).collect();
        askers.into_iter().map(|asker| asker.join().unwrap()).collect()
    });
    call(&gate, "bp").answer(here("bp"));
    let arrived = arrivals(&manager, 16, 100);
    assert!(gate.try_call().is_none(), "the library is called once");
    let first = arrived[0].outcome.clone().unwrap();
    for id in &asked {
        let own = arrived.iter().find(|arrival| arrival.request == *id).unwrap();
        assert!(Arc::ptr_eq(own.outcome.as_ref().unwrap(), &first), "it is the same kernel");
    }
    let stats = manager.stats();
    assert_eq!((stats.total.loads, stats.total.requests, stats.total.joined, stats.outstanding), (1, 16, 15, 0));
    let waited: Vec<_> = arrived.iter().filter_map(|arrival| arrival.lock_wait).collect();
    let longest = *waited.iter().max().unwrap();
    let contention = LoadEvent::Contention { blueprint: blueprint("bp"), waiters: 15, longest };
    assert_eq!((waited.len(), manager.events()), (15, vec![contention]));
}

#[test]
fn arrival_says_what_was_asked_and_how_long_it_took() {
    let (manager, gate) = gated_manager(&settings());
    let first = ask(&manager, "bp", 10);
    let second = pending(manager.request(request_for(&blueprint("bp"), Purpose::Prefetch), at(25)).unwrap());
    call(&gate, "bp").answer(here("bp"));
    let [one, two] = arrivals(&manager, 2, 40).try_into().unwrap();
    assert_eq!((one.request, one.purpose, one.latency), (first, seed("seed-1"), Duration::from_millis(30)));
    assert_eq!((two.request, two.purpose, two.latency), (second, Purpose::Prefetch, Duration::from_millis(15)));
    assert_eq!((one.lock_wait, two.lock_wait), (None, Some(Duration::from_millis(15))));
    assert_eq!((one.training_run_id.as_str(), one.blueprint), ("run-7", blueprint("bp")));
}

#[test]
fn cached_kernel_is_ready_at_once_until_it_expires() {
    let (manager, gate) = gated_manager(&LoadSettings { cache_ttl_seconds: 1, ..settings() });
    ask(&manager, "bp", 0);
    call(&gate, "bp").answer(here("bp"));
    let loaded = arrival(&manager, 5).outcome.unwrap();
    let again = manager.request(request_for(&blueprint("bp"), Purpose::Prefetch), at(900)).unwrap();
    assert_eq!(again, Requested::Ready(Arc::clone(&loaded)));
    assert!(manager.cached(&blueprint("bp"), at(900)).is_some_and(|cached| Arc::ptr_eq(&cached, &loaded)));
    assert_eq!((manager.stats().total.loads, gate.try_call().is_none()), (1, true));
    ask(&manager, "bp", 1_005);
    call(&gate, "bp").answer(here("bp"));
    assert!(arrival(&manager, 1_006).outcome.is_ok());
}

#[test]
fn purged_and_collected_kernels_are_loaded_again() {
    let (manager, gate) = gated_manager(&LoadSettings { cache_ttl_seconds: 1, ..settings() });
    for time in [0, 10_000] {
        ask(&manager, "bp", time);
        call(&gate, "bp").answer(here("bp"));
        assert!(arrival(&manager, time).outcome.is_ok());
        let evicted = if time == 0 { manager.purge() } else { manager.collect(at(20_000)) };
        assert_eq!((evicted.entries(), manager.stats().cache.entries), (1, 0));
    }
}

#[test]
fn different_blueprints_load_side_by_side() {
    let (manager, gate) = gated_manager(&settings());
    ask(&manager, "a", 0);
    ask(&manager, "b", 0);
    let (one, two) = (gate.call(SOON).unwrap(), gate.call(SOON).unwrap());
    assert_eq!(manager.stats().running, 2);
    for call in [two, one] {
        let name = call.asked().to_owned();
        call.answer(here(&name));
        assert_eq!(arrival(&manager, 1).outcome.unwrap().manifest().blueprint_id, blueprint(&name));
    }
}

#[test]
fn asker_who_comes_after_a_cancel_joins_the_running_load() {
    let (manager, gate) = gated_manager(&settings());
    let first = ask(&manager, "bp", 0);
    let call = call(&gate, "bp");
    assert!(manager.cancel(first));
    let second = ask(&manager, "bp", 1);
    assert!(gate.try_call().is_none(), "no second call while the first one runs");
    call.answer(here("bp"));
    let arrived = arrival(&manager, 2);
    assert_eq!((arrived.request, arrived.outcome.is_ok()), (second, true));
    assert_eq!(manager.stats().total.loads, 1);
}

#[test]
fn seed_that_joins_a_prefetch_overtakes_the_others() {
    let (manager, gate) = gated_manager(&LoadSettings { threads: 1, ..settings() });
    let prefetch =
        |name: &str| pending(manager.request(request_for(&blueprint(name), Purpose::Prefetch), at(0)).unwrap());
    for name in ["running", "first", "second", "third"] {
        prefetch(name);
    }
    ask(&manager, "own", 0);
    let joined = ask(&manager, "third", 0);
    ask(&manager, "second", 0);
    // The seed that joined the third prefetch is gone again.
    assert!(manager.cancel(joined));
    for name in ["running", "second", "own", "first", "third"] {
        call(&gate, name).answer(here(name));
    }
    assert_eq!(arrivals(&manager, 6, 1).len(), 6);
}
