//! The times in the messages.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use burn::backend::Flex;
use kasmina_kernel_load::{
    ArtifactLimits, Digests, Initialisation, KernelDtype, LayerSpec, Manifest, ShapeError, SlotContract,
    VerifiedArtifact, doubles, initialise, verify,
};
use kasmina_leyline::{
    Monotonic, UnixTime,
    v1::{BusMessageType, KernelArtifactReady},
};
use kasmina_oona::{Bus, BusSettings};
use kasmina_safety::Clock;
use kasmina_urza::{OnDevice, Prewarm, Urza, UrzaSettings, Warmth};
use prost::Message as _;

use crate::{
    library::request,
    world::{Local, Shelf, blueprint},
};

/// A clock on which every reading takes a millisecond.
#[derive(Debug, Default)]
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn monotonic(&self) -> Monotonic {
        Monotonic::from_millis(self.0.fetch_add(1, Ordering::SeqCst))
    }

    fn unix(&self) -> UnixTime {
        UnixTime::from_millis(0)
    }
}

fn verified(manifest: &Manifest) -> VerifiedArtifact {
    let bytes = initialise(manifest, &Initialisation::default()).unwrap();
    let limits = ArtifactLimits::default();
    verify(&bytes, &Digests::of(&bytes, &limits).unwrap(), &limits).unwrap()
}

fn warm(manifest: &Manifest) -> Warmth {
    OnDevice::<Flex>::new(Default::default()).warm(&verified(manifest), 3, &Ticking::default()).unwrap()
}

#[test]
fn kernels_of_every_rank_run() {
    let ms = Duration::from_millis(1);
    let expected = Warmth { first: ms, later: vec![ms; 3] };
    for sample in [doubles::sample_mlp, doubles::sample_attention, doubles::sample_conv] {
        assert_eq!(warm(&sample(blueprint("bp"), 4).unwrap()), expected);
    }
}

#[test]
fn kernel_of_half_precision_runs() {
    let contract = SlotContract::f32(2, 4, 4).with_dtype(KernelDtype::Bf16);
    warm(&Manifest::new(blueprint("bp"), contract, vec![LayerSpec::linear(4, 4)]).unwrap());
}

/// The times of the first answer and of the second.
fn times(prewarm: Option<Box<dyn Prewarm>>) -> [(f32, f32); 2] {
    let (local, shelf) = (Local::new(BusSettings::default()), Shelf::with(&["bp"]));
    let bus = local.broker.join(Urza::subscription("urza-1")).unwrap();
    let mut urza = Urza::open(bus, shelf.path(), prewarm, UrzaSettings::default(), Ticking::default()).unwrap();
    let listener = local.broker.join(kasmina_urza::OonaKernels::subscription("listener")).unwrap();
    [0, 1].map(|number| {
        local.publish(request(&format!("load-1-{number}"), "bp"));
        assert_eq!(urza.serve_once().unwrap().ready, 1);
        let mut arrived = listener.poll(2).unwrap();
        arrived.retain(|delivery| delivery.message_type == BusMessageType::KernelPrefetchReady);
        let [ready] = arrived.try_into().unwrap();
        let ready = KernelArtifactReady::decode(ready.envelope.payload.as_slice()).unwrap();
        (ready.prewarm_p50_ms, ready.prewarm_p95_ms)
    })
}

/// Every run takes a millisecond longer than the one before. No kernel may be measured twice.
#[derive(Default)]
struct Counted(AtomicU64);

impl Prewarm for Counted {
    fn warm(&self, _: &VerifiedArtifact, runs: usize, _: &dyn Clock) -> Result<Warmth, ShapeError> {
        assert_eq!(self.0.fetch_add(1, Ordering::SeqCst), 0, "it is measured once");
        let later = (1..=runs as u64).map(Duration::from_millis).collect();
        Ok(Warmth { first: Duration::from_secs(1), later })
    }
}

#[test]
fn times_are_of_running_the_kernel_and_measured_once() {
    assert_eq!(times(Some(Box::new(Counted::default()))), [(10.0, 19.0); 2]);
}

#[test]
fn without_a_device_times_are_those_of_reading() {
    assert_eq!(times(None), [(1.0, 1.0); 2]);
}
