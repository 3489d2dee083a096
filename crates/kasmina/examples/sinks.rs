//! A run that everything can watch: JSON lines, TensorBoard, and a page for Prometheus on port 9464.
//!
//! ```sh
//! cargo run --release -p kasmina --example sinks --features http,tensorboard -- out/sinks 120
//! ```
//!
//! trains for 120 seconds, grows one seed after the other, and gets a signed command now and then. Every second command is forged.

use std::{env, error::Error, fs, fs::File, path::PathBuf, thread, time::Duration};

use burn::{
    module::Module,
    nn::{Linear, LinearConfig},
    optim::AdamWConfig,
    tensor::{Distribution, Tensor, activation::relu, backend::Backend},
};
use kasmina::{
    CommandSender, Grafts, Grown, SeedManager, Settings,
    blending::BlendBackend,
    commands::Order,
    kernel_load::blueprints::{Blueprint, BuiltInLibrary},
    leyline::{SeedId, TrainingRunId, v1::SeedLifecycleStage},
    safety::{Clock, SystemClock},
    security::{CommandVerifier, KeyRing, Secret},
    telemetry::{JsonLinesSink, MetricsEndpoint, PrometheusText, TfEventsSink},
};

type B = burn::backend::Autodiff<burn::backend::Flex>;

/// The port that docs/grafana/prometheus.yml scrapes.
const PORT: u16 = 9464;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let directory = PathBuf::from(arguments.next().unwrap_or_else(|| "out/sinks".to_owned()));
    let seconds = arguments.next().map_or(Ok(120), |seconds| seconds.parse())?;
    fs::create_dir_all(&directory)?;
    let (clock, device) = (SystemClock::new(), Default::default());

    let page = PrometheusText::default();
    let endpoint = MetricsEndpoint::serve(page.clone(), PORT)?;
    println!("http://{}/metrics, {}", endpoint.address(), directory.display());
    let secret = Secret::new("a shared secret")?;
    let mut manager = SeedManager::<B>::builder(TrainingRunId::new("sinks")?)
        .settings(Settings::automatic())
        .kernels(BuiltInLibrary::new(1))
        .verifier(CommandVerifier::new(KeyRing::of("k1", secret.clone())))
        .sink(page)
        .sink(JsonLinesSink::new(File::create(directory.join("telemetry.jsonl"))?))
        .sink(TfEventsSink::create(directory.join("tensorboard"), clock.unix())?)
        .volatile()
        .build::<B>(&device)?;

    let (mut model, mut optimizer) = (Grown::new(Host::init(&device)), AdamWConfig::new().init());
    let batch = || Tensor::<B, 2>::random([64, 8], Distribution::Default, &device);
    manager.attach_host(&model, |host, grafts| host.loss(&batch(), grafts))?;
    let (mut sender, mut forger) =
        (CommandSender::new(&secret, "tamiyo")?, CommandSender::new(&Secret::new("a guess")?, "mallory")?);
    let mut seed: Option<SeedId> = None;
    let end = clock.monotonic().after(Duration::from_secs(seconds));
    while clock.monotonic() < end {
        let step = manager.step();
        match &seed {
            Some(held) if step % 100 == 50 => {
                let order = Order::Pause { seed: held.clone() };
                let sender = if step % 200 == 50 { &mut sender } else { &mut forger };
                // A refusal is in the telemetry too.
                let answer = manager.submit(&sender.order(&order, clock.unix())?);
                println!("step {step}: {}", answer.map_or_else(|error| error.to_string(), |_| "paused".to_owned()));
            }
            // Refused if nothing is paused, which is in the telemetry as well.
            Some(held) if step % 100 == 60 => drop(manager.order(Order::Resume { seed: held.clone() })),
            Some(_) => {}
            None => seed = Some(manager.plant("mid", Blueprint::Mlp)?),
        }
        let x = batch();
        let report = manager.train_batch(&mut model, &mut optimizer, 1e-2, |host, grafts| host.loss(&x, grafts))?;
        for moved in &report.transitions {
            println!("step {step}: {} is {}", moved.seed_id, moved.to.as_str_name());
            if moved.to == SeedLifecycleStage::SeedStageFossilized
                || moved.from == SeedLifecycleStage::SeedStageResetting
            {
                seed = None; // the slot is free
            }
        }
        // A network of this size needs a millisecond for a step; one that is worth watching needs longer.
        thread::sleep(Duration::from_millis(10));
    }
    println!("{} steps, {} seeds are part of the model", manager.step(), model.fossils().len());
    Ok(())
}

#[derive(Module, Debug)]
struct Host<B: Backend> {
    stem: Linear<B>,
    head: Linear<B>,
}

impl<B: BlendBackend> Host<B> {
    fn init(device: &B::Device) -> Self {
        Self { stem: LinearConfig::new(8, 4).init(device), head: LinearConfig::new(4, 1).init(device) }
    }

    fn loss(&self, x: &Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 1> {
        let h = grafts.at("mid", relu(self.stem.forward(x.clone())));
        (self.head.forward(h) - x.clone().sum_dim(1).sin()).square().mean()
    }
}
