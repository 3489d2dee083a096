//! Loads that fail, and the breaker that they open.

use std::fs;

use kasmina_kernel_load::doubles::sample_descriptor;
use kasmina_kernel_load::{DirectoryLibrary, LibraryError, LoadEvent};
use kasmina_leyline::v1::CircuitBreakerState::{CircuitStateClosed, CircuitStateHalfOpen, CircuitStateOpen};

use super::*;

fn unavailable() -> LibraryError {
    LibraryError::Unavailable { detail: "no route".into() }
}

/// One load that fails.
fn fail(manager: &KernelLoadManager, gate: &Gate, error: LibraryError, now: u64) {
    ask(manager, "bp", now);
    call(gate, "bp").answer(Err(error));
    assert!(arrival(manager, now).outcome.is_err());
}

#[test]
fn failed_load_fails_everybody_who_waits_and_is_not_kept() {
    let (manager, gate) = gated_manager(&settings());
    ask(&manager, "bp", 0);
    ask(&manager, "bp", 0);
    call(&gate, "bp").answer(Err(unavailable()));
    for arrival in arrivals(&manager, 2, 1) {
        assert_eq!(error(arrival), LoadError::Library(unavailable()));
    }
    ask(&manager, "bp", 2);
    call(&gate, "bp").answer(here("bp"));
    assert!(arrival(&manager, 3).outcome.is_ok(), "the library is asked again");
    assert_eq!((manager.stats().total.failed, manager.stats().total.ready), (1, 1));
}

#[test]
fn damaged_or_foreign_artifact_is_an_error() {
    let (manager, gate) = gated_manager(&settings());
    let mut damaged = artifact("bp");
    *damaged.bytes.last_mut().unwrap() ^= 1;
    for (artifact, reason) in [(damaged, "checksum_mismatch"), (artifact("other"), "wrong_blueprint")] {
        ask(&manager, "bp", 0);
        call(&gate, "bp").answer(Ok(Fetched::Here(artifact)));
        assert_eq!(error(arrival(&manager, 1)).reason(), reason);
    }
    assert_eq!((manager.stats().cache.entries, manager.stats().in_flight_bytes), (0, 0));
}

#[test]
fn file_that_is_damaged_or_gone_fails_the_load() {
    let directory = tempfile::tempdir().unwrap();
    let mut library = DirectoryLibrary::open_or_create(directory.path()).unwrap();
    let Artifact { mut bytes, digests } = artifact("bp");
    library.publish(&bytes, sample_descriptor(&blueprint("bp"))).unwrap();
    let file = directory.path().join(format!("{}.safetensors", digests.checksum));
    let manager = KernelLoadManager::new(library, &settings());
    let load = |now| {
        ask(&manager, "bp", now);
        arrival(&manager, now).outcome.map(|kernel| *kernel.digests()).map_err(|error| error.reason())
    };
    assert_eq!(load(0), Ok(digests));
    manager.purge();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, &bytes).unwrap();
    assert_eq!(load(1), Err("checksum_mismatch"));
    fs::write(&file, &bytes[..9]).unwrap();
    assert_eq!(load(2), Err("checksum_mismatch"));
    fs::remove_file(&file).unwrap();
    assert_eq!(load(100_000), Err("library_file_missing"));
}

#[test]
fn panic_in_the_library_is_an_error_and_the_thread_lives_on() {
    let (manager, gate) = gated_manager(&LoadSettings { threads: 1, ..settings() });
    ask(&manager, "bp", 0);
    call(&gate, "bp").panic("the library's own mistake");
    let expected = LoadError::Panicked { detail: "the library's own mistake".into() };
    assert_eq!(error(arrival(&manager, 1)), expected);
    assert_eq!(expected.reason(), "library_panicked");
    ask(&manager, "bp", 2);
    call(&gate, "bp").answer(here("bp"));
    assert!(arrival(&manager, 3).outcome.is_ok());
    assert_eq!(manager.shutdown(SOON).joined, 1);
}

#[test]
fn three_failures_in_a_minute_open_the_breaker() {
    let (manager, gate) = gated_manager(&settings());
    ask(&manager, "cached", 0);
    call(&gate, "cached").answer(here("cached"));
    assert!(arrival(&manager, 0).outcome.is_ok());
    for now in [1_000, 2_000, 60_999] {
        fail(&manager, &gate, unavailable(), now);
    }
    let refused = manager.request(request_for(&blueprint("bp"), seed("seed-1")), at(61_000)).unwrap_err();
    assert_eq!((refused.reason(), manager.stats().total.refused), ("breaker_open", 1));
    assert!(gate.try_call().is_none(), "the library is not asked");
    assert!(manager.cached(&blueprint("cached"), at(61_000)).is_some(), "what is in the cache is still handed over");
    let opened = manager.events();
    assert!(matches!(&opened[..], [LoadEvent::Breaker(event)] if event.to == CircuitStateOpen), "{opened:?}");

    ask(&manager, "bp", 60_999 + 30_000);
    assert_eq!(manager.stats().breaker, CircuitStateHalfOpen);
    call(&gate, "bp").answer(here("bp"));
    assert!(arrival(&manager, 91_000).outcome.is_ok());
    ask(&manager, "next", 91_000);
    call(&gate, "next").answer(here("next"));
    assert!(arrival(&manager, 91_001).outcome.is_ok());
    assert_eq!(manager.stats().breaker, CircuitStateClosed);
}

#[test]
fn failures_further_apart_leave_the_breaker_closed() {
    let (manager, gate) = gated_manager(&settings());
    for now in [0, 30_000, 60_000, 90_000, 120_000] {
        fail(&manager, &gate, unavailable(), now);
    }
    assert_eq!((manager.stats().breaker, manager.events()), (CircuitStateClosed, vec![]));
}

#[test]
fn unknown_blueprint_does_not_count_against_the_library() {
    let (manager, gate) = gated_manager(&settings());
    for now in 0..5 {
        fail(&manager, &gate, LibraryError::UnknownBlueprint { blueprint: blueprint("bp") }, now);
    }
    assert_eq!(manager.stats().breaker, CircuitStateClosed);
}

#[test]
fn loads_that_time_out_open_the_breaker() {
    let (manager, gate) = gated_manager(&LoadSettings { timeout_ms: 10, ..settings() });
    let mut calls = Vec::new();
    for name in ["a", "b", "c"] {
        ask(&manager, name, 0);
        ask(&manager, name, 0);
        calls.push(gate.call(SOON).unwrap());
    }
    assert_eq!(arrivals(&manager, 6, 10).len(), 6);
    let refused = manager.request(request_for(&blueprint("d"), seed("seed-1")), at(11)).unwrap_err();
    assert_eq!(refused.reason(), "breaker_open");
    assert_eq!(manager.stats().total.timeouts, 6);
}

#[test]
fn requests_beyond_the_limit_are_refused() {
    let (manager, _gate) = gated_manager(&LoadSettings { max_requests: 2, ..settings() });
    let first = ask(&manager, "a", 0);
    ask(&manager, "a", 0);
    let refused = manager.request(request_for(&blueprint("a"), seed("seed-1")), at(0)).unwrap_err();
    assert_eq!((refused.clone(), refused.reason()), (LoadError::TooManyRequests { limit: 2 }, "too_many_loads"));
    assert!(manager.cancel(first));
    ask(&manager, "b", 0);
}

#[test]
fn events_that_nobody_takes_are_bounded_and_counted() {
    let breaker = kasmina_safety::BreakerSettings { failure_threshold: u32::MAX, ..Default::default() };
    let (manager, _gate) = gated_manager(&LoadSettings { timeout_ms: 0, breaker, ..settings() });
    for _ in 0..1_003 {
        ask(&manager, "bp", 0);
        assert_eq!(error(arrival(&manager, 0)).reason(), "prefetch_timeout");
    }
    assert_eq!((manager.events().len(), manager.stats().total.events_dropped), (1_000, 3));
    assert_eq!(manager.stats().total.loads, 1, "everybody joined the load that still runs");
}
