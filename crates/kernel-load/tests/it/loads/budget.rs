//! Threads and bytes, of which there are only so many.

use super::*;

/// The bytes of the file of [`artifact`].
fn file_bytes() -> u64 {
    artifact("a").bytes.len() as u64
}

#[test]
fn loads_beyond_the_threads_wait_their_turn() {
    let (manager, gate) = gated_manager(&LoadSettings { threads: 2, ..settings() });
    for name in ["a", "b", "c", "d"] {
        ask(&manager, name, 0);
    }
    let mut running = vec![gate.call(SOON).unwrap(), gate.call(SOON).unwrap()];
    assert_eq!((manager.stats().running, manager.stats().queued), (2, 2));
    for next in ["c", "d"] {
        let call = running.remove(0);
        let name = call.asked().to_owned();
        call.answer(here(&name));
        running.push(super::call(&gate, next));
    }
    running.drain(..).for_each(|call| {
        let name = call.asked().to_owned();
        call.answer(here(&name));
    });
    assert_eq!(arrivals(&manager, 4, 1).len(), 4);
}

#[test]
fn load_waits_until_there_is_room_for_its_file() {
    let limits = kasmina_kernel_load::ArtifactLimits { max_bytes: 10_000, ..Default::default() };
    let (manager, gate) = gated_manager(&LoadSettings { in_flight_bytes: 15_000, limits, ..settings() });
    ask(&manager, "a", 0);
    ask(&manager, "b", 0);
    let first = call(&gate, "a");
    let stats = manager.stats();
    assert_eq!((stats.running, stats.queued, stats.in_flight_bytes), (1, 1, 10_000));
    first.answer(here("a"));
    let second = call(&gate, "b");
    let kernel = arrival(&manager, 1).outcome.unwrap();
    assert_eq!(manager.stats().in_flight_bytes, 10_000, "the first one's bytes are free once it is polled");
    assert!(kernel.parameters_bytes() > 0);
    second.answer(here("b"));
    assert!(arrival(&manager, 2).outcome.is_ok());
    assert_eq!(manager.stats().in_flight_bytes, 0);
}

#[test]
fn kernels_that_nobody_polls_hold_up_further_loads() {
    let parameters = {
        let (manager, gate) = gated_manager(&settings());
        ask(&manager, "a", 0);
        call(&gate, "a").answer(here("a"));
        arrival(&manager, 0).outcome.unwrap().parameters_bytes()
    };
    let max_bytes = usize::try_from(file_bytes()).unwrap();
    let limits = kasmina_kernel_load::ArtifactLimits { max_bytes, ..Default::default() };
    let in_flight_bytes = file_bytes() + parameters - 1;
    let (manager, gate) = gated_manager(&LoadSettings { in_flight_bytes, limits, ..settings() });
    ask(&manager, "a", 0);
    ask(&manager, "b", 0);
    call(&gate, "a").answer(here("a"));
    assert!(manager.wait(SOON));
    let stats = manager.stats();
    assert_eq!((stats.in_flight_bytes, stats.queued), (parameters, 1));
    assert!(arrival(&manager, 1).outcome.is_ok());
    call(&gate, "b").answer(here("b"));
    assert!(arrival(&manager, 2).outcome.is_ok());
}

#[test]
fn artifact_that_alone_exceeds_the_budget_is_refused() {
    let in_flight_bytes = file_bytes() - 1;
    let (manager, gate) = gated_manager(&LoadSettings { in_flight_bytes, ..settings() });
    ask(&manager, "a", 0);
    call(&gate, "a").answer(here("a"));
    let refused = error(arrival(&manager, 1));
    assert_eq!(refused, LoadError::OverBudget { limit: in_flight_bytes, bytes: file_bytes() });
    assert_eq!((refused.reason(), manager.stats().in_flight_bytes), ("load_over_budget", 0));
}

#[test]
fn delivery_that_alone_exceeds_the_budget_is_refused() {
    let in_flight_bytes = file_bytes() - 1;
    let (manager, gate) = gated_manager(&LoadSettings { in_flight_bytes, ..settings() });
    ask(&manager, "a", 0);
    call(&gate, "a").answer(Ok(Fetched::Later));
    rest(&manager);
    manager.deliver(&blueprint("a"), Ok(artifact("a")));
    assert_eq!(error(arrival(&manager, 1)).reason(), "load_over_budget");
}

#[test]
fn artifact_beyond_the_limits_is_refused() {
    let limits = kasmina_kernel_load::ArtifactLimits { max_bytes: 10, ..Default::default() };
    let (manager, gate) = gated_manager(&LoadSettings { limits, ..settings() });
    ask(&manager, "a", 0);
    call(&gate, "a").answer(here("a"));
    assert_eq!(error(arrival(&manager, 1)).reason(), "artifact_oversized");
}

#[test]
fn cached_kernels_stay_within_the_budget_of_the_cache() {
    let (manager, gate) = gated_manager(&settings());
    ask(&manager, "a", 0);
    call(&gate, "a").answer(here("a"));
    let one = arrival(&manager, 0).outcome.unwrap().parameters_bytes();
    for (cache_bytes, expected) in [(2 * one, vec!["b", "c"]), (one - 1, vec![])] {
        let (manager, gate) = gated_manager(&LoadSettings { cache_bytes, ..settings() });
        for name in ["a", "b", "c"] {
            ask(&manager, name, 0);
            call(&gate, name).answer(here(name));
            assert!(arrival(&manager, 0).outcome.is_ok(), "a kernel that is not cached is handed over all the same");
        }
        let cached = ["a", "b", "c"].into_iter().filter(|name| manager.cached(&blueprint(name), at(1)).is_some());
        assert_eq!(cached.collect::<Vec<_>>(), expected);
    }
}
