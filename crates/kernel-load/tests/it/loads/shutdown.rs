//! The end of a manager.

use std::sync::Arc;

use kasmina_kernel_load::{Answered, Shutdown};

use super::*;

#[test]
fn shutdown_returns_while_the_library_never_answers() {
    let (manager, gate) = gated_manager(&settings());
    ask(&manager, "idle", 0);
    call(&gate, "idle").answer(here("idle"));
    assert!(arrival(&manager, 0).outcome.is_ok());
    ask(&manager, "stuck", 0);
    ask(&manager, "stuck", 0);
    let stuck = call(&gate, "stuck");
    assert_eq!(manager.shutdown(Duration::ZERO), Shutdown { cancelled: 2, joined: 1, abandoned: 1 });
    assert_eq!(manager.shutdown(SOON), Shutdown::default(), "a second one does nothing");
    assert_eq!(manager.poll(at(1)), []);
    let refused = manager.request(request_for(&blueprint("idle"), seed("seed-1")), at(1)).unwrap_err();
    assert_eq!((refused.clone(), refused.reason()), (LoadError::Closed, "load_manager_closed"));
    assert_eq!(manager.deliver(&blueprint("stuck"), Ok(artifact("stuck"))), Answered::Late);

    stuck.answer(here("stuck"));
    rest(&manager);
    let stats = manager.stats();
    assert_eq!((stats.in_flight_bytes, stats.cache.entries, stats.outstanding), (0, 0, 0));
    assert_eq!(manager.poll(at(2)), []);
}

#[test]
fn shutdown_waits_for_a_library_that_answers_in_time() {
    let (manager, gate) = gated_manager(&settings());
    ask(&manager, "bp", 0);
    let call = call(&gate, "bp");
    let done = std::thread::scope(|scope| {
        let shutdown = scope.spawn(|| manager.shutdown(SOON));
        while manager.stats().outstanding > 0 {
            std::thread::yield_now();
        }
        call.answer(here("bp"));
        shutdown.join().unwrap()
    });
    assert_eq!(done, Shutdown { cancelled: 1, joined: 1, abandoned: 0 });
    assert_eq!(manager.poll(at(1)), [], "nobody waits for it any more");
}

#[test]
fn manager_without_a_load_has_no_thread_to_join() {
    let (manager, _gate) = gated_manager(&settings());
    assert_eq!(manager.shutdown(SOON), Shutdown::default());
}

#[test]
fn dropped_manager_lets_go_of_its_kernels() {
    let (manager, gate) = gated_manager(&settings());
    ask(&manager, "bp", 0);
    call(&gate, "bp").answer(here("bp"));
    let kernel = Arc::downgrade(&arrival(&manager, 0).outcome.unwrap());
    assert!(kernel.upgrade().is_some(), "the cache keeps it");
    drop(manager);
    assert!(kernel.upgrade().is_none());
}
