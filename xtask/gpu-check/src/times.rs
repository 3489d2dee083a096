//! Whether the time of a blend that gates look at is the device's, and not that of the calls that queue it.

use std::sync::Arc;

use kasmina::{
    GraftBackend,
    blending::{Alpha, BlendConfig},
    isolation::{Cast, Participant},
    kernel_load::{
        SlotContract,
        blueprints::{Blueprint, Start},
    },
    leyline::{SeedId, SlotId, v1::SeedLifecycleStage::SeedStageBlending},
    safety::{Clock, SystemClock},
};

use crate::{
    failure::{Failure, ensure, refused},
    kernels::artifact,
    numbers::random,
    report::Checked,
};

/// Wide enough that the device works for longer than it takes to queue the work.
const SHAPE: [usize; 2] = [1024, 512];
/// Times that the blend runs before it counts, so that all is compiled and tuned, and times that it counts.
const WARM: usize = 3;
const TIMES: usize = 5;
/// The most by which the time until the device is done exceeds the time that is reported, at the median.
const TOLERANCE: f64 = 2.0;

pub(crate) fn check<B: GraftBackend>() -> Result<Checked, Failure> {
    let device = B::Device::default();
    let contract = SlotContract::f32(2, SHAPE[1], SHAPE[1]);
    let manifest = Blueprint::Mlp.for_slot(contract, Start::Identity).map_err(refused("a blueprint"))?;
    let kernel = artifact(&manifest, 1)?.build::<B>(&device);
    let (seed, slot) = (SeedId::new("seed").map_err(refused("an id"))?, SlotId::new("mid").map_err(refused("an id"))?);
    let (blend, alpha) = (BlendConfig::convex(), Alpha::new(0.5).map_err(refused("alpha"))?);
    let participant = Participant {
        seed: &seed,
        slot: &slot,
        stage: SeedStageBlending,
        kernel: &kernel,
        blend: &blend,
        alpha,
        paused: false,
        learns: false,
    };
    let clock = SystemClock::new();
    let cast = Cast::new([participant], Arc::new(clock));
    let h = random::<B, 2>(&mut fastrand::Rng::with_seed(1), SHAPE);
    let wait = || B::sync(&device).map_err(|error| Failure::Broken(format!("the device: {error:?}")));
    let mut ratios = Vec::new();
    for _ in 0..WARM + TIMES {
        let mut grafts = cast.measured(&[]);
        wait()?;
        let started = clock.monotonic();
        let out = grafts.at("mid", h.clone());
        wait()?;
        let took = clock.monotonic().since(started);
        drop(out);
        let reported = grafts.finish().blend_times.get(&seed).copied();
        let reported = reported.ok_or_else(|| Failure::Broken("no time is reported".to_owned()))?;
        ratios.push(took.as_secs_f64() / reported.as_secs_f64());
    }
    let counted = &mut ratios[WARM..];
    counted.sort_by(f64::total_cmp);
    let median = counted[TIMES / 2];
    ensure(median <= TOLERANCE, || format!("the device is busy for {median:.1} times the time that is reported"))?;
    Ok(Checked { cases: TIMES, worst: median, tolerance: TOLERANCE })
}
