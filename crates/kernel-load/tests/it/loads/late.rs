//! Deadlines, cancelled requests, and kernels that come later.

use std::sync::Arc;
use std::time::Duration;

use kasmina_kernel_load::{Answered, LibraryError, LoadEvent};

use super::*;

#[test]
fn cancelled_load_brings_nothing_and_its_bytes_are_freed() {
    let (manager, gate) = gated_manager(&settings());
    let id = ask(&manager, "bp", 0);
    let call = call(&gate, "bp");
    assert!(manager.stats().in_flight_bytes > 0);
    assert!(manager.cancel(id) && !manager.cancel(id));
    call.answer(here("bp"));
    rest(&manager);
    assert_eq!(manager.poll(at(1)), []);
    let stats = manager.stats();
    assert_eq!((stats.in_flight_bytes, stats.cache.entries, stats.outstanding), (0, 0, 0));
    assert_eq!((stats.total.cancelled, stats.total.abandoned, stats.total.ready), (1, 1, 0));
}

#[test]
fn culled_seed_takes_back_its_own_requests_only() {
    let (manager, gate) = gated_manager(&settings());
    let mut others = Vec::new();
    for (name, purpose) in
        [("a", seed("culled")), ("a", seed("lives")), ("b", seed("culled")), ("a", Purpose::Prefetch)]
    {
        let id = pending(manager.request(request_for(&blueprint(name), purpose.clone()), at(0)).unwrap());
        if purpose != seed("culled") {
            others.push(id);
        }
    }
    let culled = SeedId::new("culled").unwrap();
    assert_eq!((manager.cancel_seed(&culled), manager.cancel_seed(&culled)), (2, 0));
    for _ in 0..2 {
        let call = gate.call(SOON).unwrap();
        let name = call.asked().to_owned();
        call.answer(here(&name));
    }
    let arrived: Vec<_> = arrivals(&manager, 2, 1).into_iter().map(|arrival| arrival.request).collect();
    assert_eq!(arrived, others);
}

#[test]
fn kernel_cancelled_before_the_poll_is_not_handed_over() {
    let (manager, gate) = gated_manager(&settings());
    let id = ask(&manager, "bp", 0);
    call(&gate, "bp").answer(here("bp"));
    assert!(manager.wait(SOON));
    assert!(manager.stats().in_flight_bytes > 0, "it counts until it is polled");
    assert!(manager.cancel(id));
    assert_eq!((manager.poll(at(1)), manager.stats().in_flight_bytes), (vec![], 0));
    assert_eq!(manager.stats().cache.entries, 1, "the cache keeps it");
}

#[test]
fn request_past_its_deadline_times_out_once() {
    let (manager, gate) = gated_manager(&settings());
    let id = pending(
        manager
            .request(request_for(&blueprint("bp"), seed("seed-1")).within(Duration::from_millis(50)), at(100))
            .unwrap(),
    );
    let call = call(&gate, "bp");
    assert_eq!((manager.next_deadline(), manager.poll(at(149))), (Some(at(150)), vec![]));
    let arrived = arrival(&manager, 150);
    let after = Duration::from_millis(50);
    assert_eq!((arrived.request, error(arrived)), (id, LoadError::Timeout { blueprint: blueprint("bp"), after }));
    let expected = LoadEvent::Timeout {
        request: id,
        blueprint: blueprint("bp"),
        purpose: seed("seed-1"),
        training_run_id: TrainingRunId::new("run-7").unwrap(),
        after,
    };
    assert_eq!(manager.events(), [expected]);
    assert_eq!((manager.poll(at(151)), manager.next_deadline(), manager.cancel(id)), (vec![], None, false));
    call.answer(here("bp"));
    rest(&manager);
    assert_eq!(manager.poll(at(152)), []);
    let stats = manager.stats();
    assert_eq!((stats.total.timeouts, stats.total.abandoned, stats.in_flight_bytes), (1, 1, 0));
    assert_eq!(stats.cache.entries, 0, "what nobody waits for is not kept");
}

#[test]
fn default_deadline_is_the_one_of_the_settings() {
    let (manager, gate) = gated_manager(&LoadSettings { timeout_ms: 7, ..settings() });
    ask(&manager, "bp", 0);
    let _call = call(&gate, "bp");
    assert_eq!(manager.poll(at(6)), []);
    assert_eq!(error(arrival(&manager, 7)).reason(), "prefetch_timeout");
}

#[test]
fn one_asker_times_out_and_the_others_go_on_waiting() {
    let (manager, gate) = gated_manager(&LoadSettings { timeout_ms: 10, ..settings() });
    let first = ask(&manager, "bp", 0);
    let second = ask(&manager, "bp", 5);
    let call = call(&gate, "bp");
    assert_eq!(arrival(&manager, 10).request, first);
    call.answer(here("bp"));
    let arrived = arrival(&manager, 11);
    assert_eq!((arrived.request, arrived.outcome.is_ok()), (second, true));
}

#[test]
fn kernel_that_landed_in_time_is_handed_over_by_a_late_poll() {
    let (manager, gate) = gated_manager(&LoadSettings { timeout_ms: 10, ..settings() });
    ask(&manager, "bp", 0);
    call(&gate, "bp").answer(here("bp"));
    assert!(manager.wait(SOON));
    assert!(arrival(&manager, 1_000).outcome.is_ok());
}

#[test]
fn time_that_goes_back_times_nothing_out() {
    let (manager, gate) = gated_manager(&LoadSettings { timeout_ms: 10, ..settings() });
    ask(&manager, "bp", 1_000);
    let call = call(&gate, "bp");
    assert_eq!(manager.poll(at(3)), []);
    call.answer(here("bp"));
    let arrived = arrival(&manager, 4);
    assert_eq!((arrived.latency, arrived.outcome.is_ok()), (Duration::ZERO, true));
}

#[test]
fn announced_kernel_is_verified_when_it_is_delivered() {
    let (manager, gate) = gated_manager(&settings());
    let id = blueprint("bp");
    assert_eq!(manager.deliver(&id, Ok(artifact("bp"))), Answered::Late, "nobody asked");
    ask(&manager, "bp", 0);
    call(&gate, "bp").answer(Ok(Fetched::Later));
    rest(&manager);
    assert_eq!((manager.stats().awaiting, manager.stats().in_flight_bytes), (1, 0));
    assert_eq!(manager.deliver(&id, Ok(artifact("bp"))), Answered::Taken);
    assert!(arrival(&manager, 1).outcome.is_ok());
    assert_eq!(manager.deliver(&id, Ok(artifact("bp"))), Answered::Late);
    assert_eq!((manager.stats().total.late_answers, manager.poll(at(2))), (2, vec![]));
}

#[test]
fn delivery_that_overtakes_the_announcement_is_taken() {
    let (manager, gate) = gated_manager(&settings());
    ask(&manager, "bp", 0);
    let call = call(&gate, "bp");
    assert_eq!(manager.deliver(&blueprint("bp"), Ok(artifact("bp"))), Answered::Taken);
    assert_eq!(manager.deliver(&blueprint("bp"), Ok(artifact("bp"))), Answered::Late, "one is enough");
    call.answer(Ok(Fetched::Later));
    assert!(arrival(&manager, 1).outcome.is_ok());
}

#[test]
fn delivery_that_is_not_the_promised_kernel_is_refused() {
    let torn = || Artifact { bytes: artifact("bp").bytes[1..].to_vec(), ..artifact("bp") };
    let gone = LibraryError::Unavailable { detail: "no route".into() };
    for (delivered, reason) in [
        (Ok(torn()), "checksum_mismatch"),
        (Ok(artifact("other")), "wrong_blueprint"),
        (Err(gone), "library_unavailable"),
    ] {
        let (manager, gate) = gated_manager(&settings());
        ask(&manager, "bp", 0);
        call(&gate, "bp").answer(Ok(Fetched::Later));
        rest(&manager);
        assert_eq!(manager.deliver(&blueprint("bp"), delivered), Answered::Taken);
        assert_eq!(error(arrival(&manager, 1)).reason(), reason);
        assert_eq!(manager.stats().cache.entries, 0);
    }
}

#[test]
fn announced_kernel_that_never_comes_times_out() {
    let (manager, gate) = gated_manager(&LoadSettings { timeout_ms: 10, ..settings() });
    ask(&manager, "bp", 0);
    call(&gate, "bp").answer(Ok(Fetched::Later));
    rest(&manager);
    assert_eq!(error(arrival(&manager, 10)).reason(), "prefetch_timeout");
    assert_eq!((manager.stats().awaiting, manager.deliver(&blueprint("bp"), Ok(artifact("bp")))), (0, Answered::Late));
    ask(&manager, "bp", 11);
    call(&gate, "bp").answer(here("bp"));
    assert!(Arc::strong_count(&arrival(&manager, 12).outcome.unwrap()) >= 1);
}
