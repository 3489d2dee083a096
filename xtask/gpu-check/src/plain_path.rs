//! A kernel that the device computes wrongly when it is fused: it learns on the plain path, and comes back.

use std::time::Duration;

use kasmina::{
    GraftBackend, Grafts,
    doubles::{Act, FusedFault, Mlp, loss, stock},
    leyline::v1::{SeedLifecycleStage::SeedStageTraining, TelemetryPacket},
};

use crate::{
    failure::{Failure, ensure},
    growth::Run,
    numbers::difference,
    report::Checked,
};

/// Of the kernel's weights after 20 steps. Both paths run the same products; fusion changes how sums are rounded.
const TOLERANCE: f64 = 1e-5;
/// How long a breaker stays open, at most.
const TIME_OUT: Duration = Duration::from_secs(30);

type Story<B> = Run<B, Mlp<B>>;

/// The host and the kernel of a run whose device is wrong, beside those of one whose device is not, and of one without a seed.
pub(crate) fn check<B: GraftBackend>() -> Result<Checked, Failure> {
    let new = || Run::new(Mlp::<B>::init(), stock(), &forward::<B>);
    let (mut wrong, mut sound, mut control) = (new()?, new()?, new()?);
    wrong.inject(Some(FusedFault::offset(0.5)));
    for run in [&mut wrong, &mut sound] {
        run.order(Act::Germinate)?;
    }
    told(&mut wrong, 1, 0, "after its first executions")?;
    told(&mut sound, 0, 0, "after the first executions of a kernel that the device computes rightly")?;
    ensure(wrong.stage() == Some(SeedStageTraining), || "the wrong kernel's seed was culled".to_owned())?;

    let untrained = wrong.kernel();
    let all = |runs: [&mut Story<B>; 3], count| runs.into_iter().try_for_each(|run| steps(run, count));
    all([&mut wrong, &mut sound, &mut control], 5)?;
    for run in [&mut wrong, &mut sound] {
        run.order(Act::Graft(8))?;
    }
    all([&mut wrong, &mut sound, &mut control], 10)?;
    same_host(&wrong, &control)?;
    let learned = difference(&wrong.kernel(), &untrained);
    ensure(learned > 5e-3, || format!("the kernel moved by {learned} alone on the plain path"))?;
    let mut apart = difference(&wrong.kernel(), &sound.kernel());

    wrong.clock.advance(TIME_OUT);
    all([&mut wrong, &mut sound, &mut control], 1)?;
    told(&mut wrong, 0, 0, "after a trial that disagrees again")?;
    wrong.inject(None);
    wrong.clock.advance(TIME_OUT);
    all([&mut wrong, &mut sound, &mut control], 1)?;
    told(&mut wrong, 0, 1, "after a trial that agrees")?;
    all([&mut wrong, &mut sound, &mut control], 5)?;
    same_host(&wrong, &control)?;
    apart = apart.max(difference(&wrong.kernel(), &sound.kernel()));
    if apart > TOLERANCE {
        let what = "a kernel on the plain path beside a fused one".to_owned();
        return Err(Failure::Differs { what, difference: apart, tolerance: TOLERANCE });
    }
    Ok(Checked { cases: 1, worst: apart, tolerance: TOLERANCE })
}

fn forward<B: GraftBackend>(host: &Mlp<B>, step: u64, grafts: &mut Grafts<B>) -> burn::tensor::Tensor<B, 1> {
    loss(host, step, grafts)
}

fn steps<B: GraftBackend>(run: &mut Story<B>, count: usize) -> Result<(), Failure> {
    (0..count).try_for_each(|_| run.step(&forward::<B>))
}

fn same_host<B: GraftBackend>(run: &Story<B>, control: &Story<B>) -> Result<(), Failure> {
    let same = run.host().iter().zip(control.host()).all(|(one, other)| one.to_bits() == other.to_bits());
    ensure(same, || "the host is another one because of a kernel on the plain path".to_owned())
}

/// How often kernels went to the plain path and came back since the last look.
fn told<B: GraftBackend>(run: &mut Story<B>, plain: usize, fused: usize, when: &str) -> Result<(), Failure> {
    run.manager.flush_telemetry();
    let packets = run.sink.take();
    let count = |packets: &[TelemetryPacket], name: &str| {
        packets.iter().flat_map(|packet| &packet.events).filter(|event| event.description == name).count()
    };
    let got = (count(&packets, "kernel_plain"), count(&packets, "kernel_fused"));
    ensure(got == (plain, fused), || {
        format!("{when}, {} moves to the plain path and {} back, expected {plain} and {fused}", got.0, got.1)
    })
}
