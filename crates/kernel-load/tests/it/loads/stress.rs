//! Sixteen real threads on one load manager.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::thread;

use kasmina_kernel_load::Purpose;
use kasmina_kernel_load::doubles::MemoryLibrary;

use super::*;

const THREADS: usize = 16;
const ACTIONS: usize = 400;
const KERNELS: usize = 6;
/// Kernels that the library does not have.
const MISSING: usize = 2;

/// What became of every request, from all threads.
#[derive(Default)]
struct Book {
    pending: BTreeMap<RequestId, String>,
    arrived: BTreeMap<RequestId, Result<String, &'static str>>,
    cancelled: BTreeSet<RequestId>,
}

#[test]
fn sixteen_threads_end_every_request_once() {
    let library = MemoryLibrary::new();
    for kernel in 0..KERNELS {
        library.add(&sample_mlp(blueprint(&name(kernel)), 4).unwrap(), &Initialisation::default()).unwrap();
    }
    // Failures of kernels that are not there leave the breaker alone.
    let manager = KernelLoadManager::new(library, &LoadSettings { threads: 3, max_requests: 64, ..settings() });
    let book: Mutex<Book> = Mutex::default();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (manager, book) = (&manager, &book);
            scope.spawn(move || act(thread, manager, book));
        }
    });
    rest(&manager);
    note(&manager, &book);
    let Book { pending, arrived, cancelled } = book.into_inner().unwrap();
    assert!(!arrived.is_empty() && !cancelled.is_empty(), "both happen");
    let ended: BTreeSet<_> = arrived.keys().chain(&cancelled).copied().collect();
    assert_eq!((ended.len(), &ended), (arrived.len() + cancelled.len(), &pending.keys().copied().collect()));
    for (id, outcome) in arrived {
        let asked = &pending[&id];
        let is_there = (0..KERNELS).any(|kernel| name(kernel) == *asked);
        assert_eq!(outcome, if is_there { Ok(asked.clone()) } else { Err("unknown_blueprint") });
    }
    let stats = manager.stats();
    assert_eq!(
        (stats.outstanding, stats.queued, stats.running, stats.awaiting, stats.in_flight_bytes),
        (0, 0, 0, 0, 0)
    );
}

fn name(kernel: usize) -> String {
    format!("bp-{kernel}")
}

/// Asks, cancels, culls, polls and purges, in an order of its own.
fn act(thread: usize, manager: &KernelLoadManager, book: &Mutex<Book>) {
    let mut state = thread as u64 + 1;
    let mut draw = move |below: usize| {
        // Knuth's generator.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut own = Vec::new();
    for _ in 0..ACTIONS {
        match draw(8) {
            0..4 => {
                let name = name(draw(KERNELS + MISSING));
                let purpose = if draw(2) == 0 { Purpose::Prefetch } else { seed(&format!("seed-{thread}")) };
                // Under the book's lock, so that nobody notes an end before the beginning.
                let mut book = book.lock().unwrap();
                match manager.request(request_for(&blueprint(&name), purpose), at(0)) {
                    Ok(Requested::Ready(kernel)) => assert_eq!(kernel.manifest().blueprint_id.as_str(), name),
                    Ok(Requested::Pending(id)) => {
                        own.push(id);
                        assert_eq!(book.pending.insert(id, name), None, "the id is new");
                    }
                    Err(LoadError::TooManyRequests { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            4 => {
                let Some(id) = own.pop() else { continue };
                if manager.cancel(id) {
                    assert!(book.lock().unwrap().cancelled.insert(id), "cancelled twice");
                }
            }
            5 => drop(manager.cached(&blueprint(&name(draw(KERNELS))), at(0))),
            6 if draw(8) == 0 => drop(manager.purge()),
            _ => note(manager, book),
        }
    }
}

fn note(manager: &KernelLoadManager, book: &Mutex<Book>) {
    for arrival in manager.poll(at(0)) {
        let outcome = arrival.outcome.map(|kernel| kernel.manifest().blueprint_id.to_string());
        let outcome = outcome.map_err(|error| error.reason());
        assert_eq!(book.lock().unwrap().arrived.insert(arrival.request, outcome), None, "it arrives once");
    }
}
