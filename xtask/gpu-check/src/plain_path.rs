//! A kernel that the device computes wrongly when it is fused: it learns on the plain path, and comes back.

use std::time::Duration;

use kasmina::{
    GraftBackend,
    doubles::{Act, FusedFault, Mlp, stock},
    leyline::v1::SeedLifecycleStage::{SeedStageBlending, SeedStageTraining},
};

use crate::{
    failure::{Failure, ensure},
    growth::Run,
    numbers::difference,
    report::Checked,
    subject::{Subject, of_stock},
};

/// Of the kernel's weights after 20 steps. Both paths run the same products; fusion changes how sums are rounded.
const TOLERANCE: f64 = 1e-5;
/// How long a breaker stays open, at most.
const TIME_OUT: Duration = Duration::from_secs(30);

/// The host and the kernel of a run whose device is wrong, beside those of one whose device is not, and of one without a seed.
pub(crate) fn check<B: GraftBackend>() -> Result<Checked, Failure> {
    let new = || Run::new(Subject::Mlp(Mlp::<B>::init()), &stock(), of_stock());
    let (mut wrong, mut sound, mut control) = (new()?, new()?, new()?);
    wrong.inject(Some(FusedFault::offset(0.5)));
    for run in [&mut wrong, &mut sound] {
        run.order(Act::Germinate)?;
    }
    told(&mut wrong, 1, 0, "after its first executions")?;
    told(&mut sound, 0, 0, "after the first executions of a kernel that the device computes rightly")?;
    ensure(wrong.stage() == Some(SeedStageTraining), || "the wrong kernel's seed was culled".to_owned())?;

    let untrained = wrong.kernel();
    let all = |runs: [&mut Run<B>; 3], count| runs.into_iter().try_for_each(|run| run.steps(count));
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
    ensure(wrong.stage() == Some(SeedStageBlending), || format!("the seed is in {:?} at the end", wrong.stage()))?;
    apart = apart.max(difference(&wrong.kernel(), &sound.kernel()));
    if apart > TOLERANCE {
        let what = "a kernel on the plain path beside a fused one".to_owned();
        return Err(Failure::Differs { what, difference: apart, tolerance: TOLERANCE });
    }
    Ok(Checked { cases: 1, worst: apart, tolerance: TOLERANCE })
}

fn same_host<B: GraftBackend>(run: &Run<B>, control: &Run<B>) -> Result<(), Failure> {
    ensure(run.has_host_of(control), || "the host is another one because of a kernel on the plain path".to_owned())
}

/// How often kernels went to the plain path and came back since the last look.
fn told<B: GraftBackend>(run: &mut Run<B>, plain: usize, fused: usize, when: &str) -> Result<(), Failure> {
    let got = run.told();
    ensure(got == (plain, fused), || {
        format!("{when}, {} moves to the plain path and {} back, expected {plain} and {fused}", got.0, got.1)
    })
}
