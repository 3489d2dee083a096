//! The load manager, on real threads. A library waits in each call until the test answers, so nothing depends on how fast a thread is.

mod budget;
mod failures;
mod late;
mod messages;
mod sharing;
mod shutdown;
mod stress;
mod waiting;

use std::time::Duration;

use kasmina_kernel_load::doubles::{Call, Gate, gated, sample_mlp};
use kasmina_kernel_load::{
    Arrival, Artifact, Fetched, Initialisation, KernelLoadManager, LoadError, LoadRequest, LoadSettings, Purpose,
    RequestId, Requested, initialise,
};
use kasmina_leyline::{BlueprintId, Monotonic, SeedId, TrainingRunId, UnixTime};

use crate::common::{blueprint, digests};

/// How long a thread may take that has something to do. Only a failing test waits so long.
const SOON: Duration = Duration::from_secs(30);

fn at(millis: u64) -> Monotonic {
    Monotonic::from_millis(millis)
}

/// Threads that the library never lets go must not hold up the end of a test.
fn settings() -> LoadSettings {
    LoadSettings { shutdown_ms: 0, ..LoadSettings::default() }
}

fn gated_manager(settings: &LoadSettings) -> (KernelLoadManager, Gate) {
    let (library, gate) = gated();
    (KernelLoadManager::new(library, settings), gate)
}

fn seed(name: &str) -> Purpose {
    Purpose::Seed(SeedId::new(name).unwrap())
}

fn request_for(blueprint: &BlueprintId, purpose: Purpose) -> LoadRequest {
    let run = TrainingRunId::new("run-7").unwrap();
    LoadRequest::new(blueprint.clone(), purpose, run, UnixTime::from_millis(5))
}

fn ask(manager: &KernelLoadManager, name: &str, now: u64) -> RequestId {
    pending(manager.request(request_for(&blueprint(name), seed("seed-1")), at(now)).unwrap())
}

fn pending(requested: Requested) -> RequestId {
    match requested {
        Requested::Pending(id) => id,
        Requested::Ready(_) => panic!("it was in the cache"),
    }
}

/// A kernel of four channels: 130 bytes of parameters and more.
fn artifact(name: &str) -> Artifact {
    let bytes = initialise(&sample_mlp(blueprint(name), 4).unwrap(), &Initialisation::default()).unwrap();
    Artifact { digests: digests(&bytes), bytes }
}

fn here(name: &str) -> Result<Fetched, kasmina_kernel_load::LibraryError> {
    Ok(Fetched::Here(artifact(name)))
}

fn call(gate: &Gate, name: &str) -> Call {
    let call = gate.call(SOON).unwrap();
    assert_eq!(call.asked(), name);
    call
}

/// Polls at one time until so many requests have ended.
fn arrivals(manager: &KernelLoadManager, count: usize, now: u64) -> Vec<Arrival> {
    let mut arrived = manager.poll(at(now));
    while arrived.len() < count {
        assert!(manager.wait(SOON), "{count} arrivals, got {arrived:?}");
        arrived.extend(manager.poll(at(now)));
    }
    assert_eq!(arrived.len(), count);
    arrived
}

fn arrival(manager: &KernelLoadManager, now: u64) -> Arrival {
    arrivals(manager, 1, now).remove(0)
}

fn error(arrival: Arrival) -> LoadError {
    arrival.outcome.unwrap_err()
}

/// Waits until no thread works on a load.
fn rest(manager: &KernelLoadManager) {
    // The last thing that a thread does for a load is to enter its end. There is nothing to wait on if nobody polls for it.
    while manager.stats().running > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn settings_survive_text_and_unknown_keys_are_refused() {
    let settings: LoadSettings = serde_json::from_str(r#"{"threads": 2, "breaker": {"window_ms": 5}}"#).unwrap();
    assert_eq!((settings.threads, settings.timeout_ms), (2, 30_000));
    assert_eq!(settings.breaker.window, Duration::from_millis(5));
    let text = serde_json::to_string(&settings).unwrap();
    assert_eq!(serde_json::from_str::<LoadSettings>(&text).unwrap(), settings);
    assert!(serde_json::from_str::<LoadSettings>(r#"{"thread": 2}"#).is_err());
}
