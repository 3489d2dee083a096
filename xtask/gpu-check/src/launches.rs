//! How many kernels the device launches. CubeCL logs each launch if a file in the working directory asks for it, so this runs itself once more
//! in a directory of its own.

use std::{env, fs, process::Command, thread, time::Duration};

use burn::tensor::backend::Backend;
use kasmina::{
    GraftBackend,
    blending::{Alpha, BlendBackend, BlendConfig, barrier_blend},
    doubles::{Act, Mlp, stock},
};

use crate::{
    device::Device,
    failure::{Failure, ensure, refused},
    growth::Run,
    numbers::random,
    report::Checked,
    subject::{Subject, of_stock},
};

/// CubeCL's file of settings.
const SETTINGS: (&str, &str) =
    ("cubecl.toml", "[profiling]\nlogger = { level = \"minimal\", file = \"launches.log\" }\n");
/// The file that they name.
const LOG: &str = "launches.log";
/// Times that something is run before it counts: until all is compiled and tuned.
const WARM: usize = 6;
/// How often it is run in one process, and in the other.
const TIMES: [usize; 2] = [8, 24];
/// The most launches of a step of a small MLP with one seed in BLENDING, probes included.
const MOST_PER_STEP: f64 = 400.0;

/// The blend of two tensors is one kernel.
pub(crate) fn blend(device: Device) -> Result<Checked, Failure> {
    let launches = per_run(device, "blend")?;
    ensure(launches == 1.0, || format!("a blend is {launches} kernels"))?;
    Ok(Checked { cases: 1, worst: launches, tolerance: 1.0 })
}

/// A step of a small host with a seed in BLENDING.
pub(crate) fn step(device: Device) -> Result<Checked, Failure> {
    let launches = per_run(device, "step")?;
    ensure(launches > 1.0 && launches <= MOST_PER_STEP, || format!("a step is {launches} kernels"))?;
    Ok(Checked { cases: 1, worst: launches, tolerance: MOST_PER_STEP })
}

/// What [`blend`] and [`step`] count.
pub(crate) fn launch<B: GraftBackend>(what: &str, times: &str) -> Result<(), Failure> {
    let times: usize = times.parse().map_err(refused("the number of times"))?;
    match what {
        "blend" => blends::<B::InnerBackend>(times),
        "step" => steps::<B>(times),
        _ => Err(Failure::Broken(format!("nothing is called {what:?}"))),
    }
}

fn blends<B: BlendBackend>(times: usize) -> Result<(), Failure> {
    let mut draw = fastrand::Rng::with_seed(1);
    let (host, seed) = (random::<B, 2>(&mut draw, [64, 64]), random::<B, 2>(&mut draw, [64, 64]));
    let alpha = Alpha::new(0.3).map_err(refused("alpha"))?;
    for _ in 0..WARM + times {
        let blended = barrier_blend(host.clone(), seed.clone(), &BlendConfig::convex(), alpha, None);
        drop(blended.map_err(refused("the blend"))?.into_data());
    }
    wait::<B>()
}

fn steps<B: GraftBackend>(times: usize) -> Result<(), Failure> {
    let mut run = Run::new(Subject::Mlp(Mlp::<B>::init()), &stock(), of_stock())?;
    run.order(Act::Germinate)?;
    run.steps(1)?;
    run.order(Act::Graft(1 << 20))?;
    run.steps(WARM + times)?;
    wait::<B>()
}

/// Waits for the device, and for CubeCL's thread that writes the log: until it has grown no longer.
fn wait<B: Backend>() -> Result<(), Failure> {
    B::sync(&Default::default()).map_err(|error| Failure::Broken(format!("the device: {error:?}")))?;
    let size = || fs::metadata(LOG).map(|file| file.len()).unwrap_or_default();
    let (mut before, mut quiet) = (size(), 0);
    while quiet < 5 {
        thread::sleep(Duration::from_millis(200));
        let now = size();
        quiet = if now == before { quiet + 1 } else { 0 };
        before = now;
    }
    Ok(())
}

/// The difference of two processes, one of which runs it more often.
fn per_run(device: Device, what: &'static str) -> Result<f64, Failure> {
    let [few, many] = TIMES.map(|times| launched(device, what, times));
    let (few, many) = (few?, many?);
    ensure(few > 0, || "CubeCL logged no launch".to_owned())?;
    Ok((many as f64 - few as f64) / (TIMES[1] - TIMES[0]) as f64)
}

fn launched(device: Device, what: &'static str, times: usize) -> Result<usize, Failure> {
    let directory = tempfile::tempdir().map_err(refused("a directory"))?;
    let file = |name: &str| directory.path().join(name);
    let (name, settings) = SETTINGS;
    fs::write(file(name), settings).map_err(|source| Failure::File { path: file(name), source })?;
    let output = Command::new(env::current_exe().map_err(refused("this program"))?)
        .args(["--device", &device.to_string(), "--launch", what, &times.to_string()])
        .current_dir(directory.path())
        .output()
        .map_err(refused("this program"))?;
    ensure(output.status.success(), || String::from_utf8_lossy(&output.stderr).into_owned())?;
    let log = fs::read(file(LOG)).map_err(|source| Failure::File { path: file(LOG), source })?;
    Ok(String::from_utf8_lossy(&log).lines().filter(|line| line.starts_with("Executing ")).count())
}
