//! The library's side of a prefetch run.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
    time::Duration,
};

use kasmina::{
    kernel_load::Digests,
    leyline::{
        Monotonic,
        v1::{BusMessageType, KernelArtifactReady, KernelPrefetchRequest},
    },
    safety::{Clock, SystemClock},
};
use kasmina_oona::{Bus, Message};
use prost::Message as _;

const MEAN: f64 = 0.040;
const DEVIATION: f64 = 0.008;

/// How long the library had a request.
pub(super) struct Served {
    pub(super) blueprint: String,
    pub(super) took: Duration,
}

/// Answers each request after a drawn time, until the end.
pub(super) fn serve(
    bus: &impl Bus,
    digests: &BTreeMap<String, Digests>,
    told: &Sender<Served>,
    clock: SystemClock,
    end: &AtomicBool,
) {
    let mut draw = drawing();
    let mut answers = BinaryHeap::new();
    let mut requests = BTreeMap::new();
    while !end.load(Ordering::Relaxed) {
        let next = answers.peek().map(|Reverse((due, _))| *due);
        let rest = next.map_or(Duration::from_millis(20), |due: Monotonic| due.since(clock.monotonic()));
        bus.wait(rest);
        for delivery in bus.poll(64).expect("a subscribed bus") {
            let came = clock.monotonic();
            let request = KernelPrefetchRequest::decode(delivery.envelope.payload.as_slice()).expect("a request");
            answers.push(Reverse((came.after(draw()), request.request_id.clone())));
            requests.insert(request.request_id, (request.blueprint_id, came));
            bus.acknowledge(delivery.id).expect("room");
        }
        while let Some(Reverse((due, request_id))) = answers.pop() {
            if clock.monotonic() < due {
                answers.push(Reverse((due, request_id)));
                break;
            }
            let (blueprint, came) = requests.remove(&request_id).expect("it was asked");
            let message = ready(request_id, &blueprint, &digests[&blueprint]);
            let took = clock.monotonic().since(came);
            // The trainer may be gone by now.
            let _ = told.send(Served { blueprint, took });
            bus.publish(message).expect("room");
        }
    }
}

fn ready(request_id: String, blueprint: &str, digests: &Digests) -> Message {
    let ready = KernelArtifactReady {
        request_id,
        blueprint_id: blueprint.into(),
        artifact_ref: format!("{blueprint}.safetensors"),
        checksum: digests.checksum.to_string(),
        guard_digest: digests.guard_digest.to_string(),
        ..KernelArtifactReady::default()
    };
    Message::new(BusMessageType::KernelPrefetchReady, ready.encode_to_vec())
}

/// Draws times, the same in every run.
fn drawing() -> impl FnMut() -> Duration {
    let mut random = fastrand::Rng::with_seed(7);
    move || {
        // Irwin and Hall: the sum of twelve uniform numbers has variance 1.
        let normal = (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
        Duration::from_secs_f64((MEAN + DEVIATION * normal).max(0.0))
    }
}
