//! Whole lives of seeds: does the host stay what it is without them, and does a seed learn what it learns on the CPU?

use burn::{
    module::{AutodiffModule, ModuleDisplay},
    optim::{AdamW, AdamWConfig, adaptor::OptimizerAdaptor},
    tensor::Tensor,
};
use kasmina::{
    GraftBackend, Grafts, SeedManager, Settings,
    doubles::{Act, Cnn, FusedFault, Host, Mlp, RATE, Stack, blueprint, determined, loss, seed, stock},
    gates::doubles::AllowAll,
    grown::{Grown, HostModule},
    kernel_load::{Initialisation, Manifest, doubles::MemoryLibrary},
    leyline::{SeedId, SlotId, TrainingRunId, v1::SeedLifecycleStage},
    safety::doubles::ManualClock,
    telemetry::doubles::MemorySink,
};

use crate::{
    Cases, Reference,
    failure::{Failure, ensure, refused},
    numbers::{compare, parameters, random},
    report::Checked,
};

/// Of 40 steps of AdamW, which divides by the size of a gradient, so that rounding counts most where a gradient is nearly zero.
const LIFE_TOLERANCE: f64 = 1e-2;
const SEED: &str = "seed-1";
/// Before which step what happens to the seed. It is part of the host after the last.
const LIFE: [(u64, Act); 5] =
    [(1, Act::Germinate), (8, Act::Graft(8)), (20, Act::Stabilize), (26, Act::Evaluate), (34, Act::Fossilize)];
const STEPS: u64 = 40;

/// A run on any backend, with one seed. Every gate is open, and no clock runs.
pub(crate) struct Run<B: GraftBackend, H: Host<B> + HostModule<B>> {
    pub(crate) manager: SeedManager<B>,
    pub(crate) model: Grown<B, H>,
    pub(crate) clock: ManualClock,
    pub(crate) sink: MemorySink,
    optimizer: OptimizerAdaptor<AdamW, Grown<B, H>, B>,
    kernel: String,
    step: u64,
}

impl<B: GraftBackend, H: Host<B> + HostModule<B> + AutodiffModule<B> + ModuleDisplay> Run<B, H> {
    pub(crate) fn new(
        host: H,
        kernels: Vec<Manifest>,
        forward: &impl Fn(&H, u64, &mut Grafts<B>) -> Tensor<B, 1>,
    ) -> Result<Self, Failure> {
        let (clock, sink, library) = (ManualClock::default(), MemorySink::default(), MemoryLibrary::new());
        for manifest in kernels {
            library.add(&manifest, &Initialisation { seed: 3, zero_last: false }).map_err(refused("a kernel"))?;
        }
        let builder = SeedManager::<B>::builder(TrainingRunId::new("gpu-check").map_err(refused("an id"))?)
            .settings(Settings::default())
            .kernels(library)
            .clock(clock.clone())
            .sink(sink.clone())
            .gatekeepers(AllowAll)
            .volatile();
        let mut manager = builder.build(&Default::default()).map_err(refused("a manager"))?;
        manager.declare_fused();
        let (_, slot, kernel) =
            host.seats().into_iter().next().ok_or(Failure::Broken("a host without slots".into()))?;
        let model = Grown::new(determined(host));
        manager.attach_host(&model, |host, grafts| forward(host, 0, grafts)).map_err(refused("the host"))?;
        manager
            .register_seed(seed(SEED), SlotId::new(slot).map_err(refused("a slot"))?)
            .map_err(refused("the seed"))?;
        Ok(Self { manager, model, clock, sink, optimizer: AdamWConfig::new().init(), kernel, step: 0 })
    }

    pub(crate) fn order(&mut self, act: Act) -> Result<(), Failure> {
        let order = act.order(seed(SEED), blueprint(&self.kernel));
        self.manager.order(order).map(drop).map_err(refused("an order"))
    }

    pub(crate) fn step(&mut self, forward: &impl Fn(&H, u64, &mut Grafts<B>) -> Tensor<B, 1>) -> Result<(), Failure> {
        self.step += 1;
        let step = self.step;
        let forward = |host: &H, grafts: &mut Grafts<B>| forward(host, step, grafts);
        let report = self.manager.train_batch(&mut self.model, &mut self.optimizer, RATE, forward);
        report.map(drop).map_err(refused("a step"))
    }

    pub(crate) fn host(&self) -> Vec<f32> {
        parameters(&self.model.host)
    }

    pub(crate) fn kernel(&self) -> Vec<f32> {
        self.manager.kernel(&seed(SEED)).as_ref().map(parameters).unwrap_or_default()
    }

    pub(crate) fn stage(&self) -> Option<SeedLifecycleStage> {
        self.manager.stage(&SeedId::new(SEED).ok()?)
    }

    pub(crate) fn inject(&mut self, fault: Option<FusedFault>) {
        self.manager.inject(blueprint(&self.kernel), fault);
    }
}

/// The host's bits with a seed and without one, in every step until the seed is part of it.
pub(crate) fn bit_identity<B: GraftBackend>(cases: Cases) -> Result<Checked, Failure> {
    let mut draw = fastrand::Rng::with_seed(cases.seed);
    let of_stock = |host: &_, step, grafts: &mut Grafts<B>| loss(host, step, grafts);
    same_host("an MLP", Mlp::<B>::init, &stock(), &of_stock)?;
    let of_stock = |host: &_, step, grafts: &mut Grafts<B>| loss(host, step, grafts);
    same_host("a CNN with batch normalisation", Cnn::<B>::init, &stock(), &of_stock)?;
    // Every other shape is tuned and compiled anew, so they are few.
    let stacks = cases.count.div_ceil(10);
    for _ in 0..stacks {
        let (width, depth, batch, hidden) = (draw.usize(3..40), draw.usize(2..5), draw.usize(1..20), draw.usize(1..9));
        let numbers = draw.u64(..);
        let of_stack = |host: &Stack<B>, step: u64, grafts: &mut Grafts<B>| {
            let x = random::<B, 2>(&mut fastrand::Rng::with_seed(numbers ^ step), [batch, width]);
            (host.forward(x.clone(), grafts) - x).square().mean()
        };
        let name = format!("{depth} layers of {width}, batches of {batch}");
        let host = || Stack::<B>::init(width, depth, 1);
        same_host(&name, host, &[Stack::<B>::relu_kernel(width, hidden)], &of_stack)?;
    }
    Ok(Checked { cases: 2 + stacks, worst: 0.0, tolerance: 0.0 })
}

fn same_host<B: GraftBackend, H: Host<B> + HostModule<B> + AutodiffModule<B> + ModuleDisplay>(
    name: &str,
    host: impl Fn() -> H,
    kernels: &[Manifest],
    forward: &impl Fn(&H, u64, &mut Grafts<B>) -> Tensor<B, 1>,
) -> Result<(), Failure> {
    let mut grown = Run::new(host(), kernels.to_vec(), forward)?;
    let mut control = Run::new(host(), kernels.to_vec(), forward)?;
    let untrained = grown.host();
    let fossilize = LIFE.len() - 1;
    for step in 1..LIFE[fossilize].0 {
        act(&mut grown, step)?;
        grown.step(forward)?;
        control.step(forward)?;
        let same = grown.host().iter().zip(control.host()).all(|(one, other)| one.to_bits() == other.to_bits());
        ensure(same, || format!("{name}: after step {step} the host is another one because of its seed"))?;
    }
    ensure(grown.host() != untrained, || format!("{name}: the host has not learned"))
}

/// A life on the device and on the CPU: the numbers of the host and of the kernel that has become part of it.
pub(crate) fn agreement<B: GraftBackend>() -> Result<Checked, Failure> {
    let (device, reference) = (life::<B>()?, life::<Reference>()?);
    let worst = compare("a life of 40 steps", &device, &reference, LIFE_TOLERANCE)?;
    Ok(Checked { cases: 1, worst, tolerance: LIFE_TOLERANCE })
}

fn life<B: GraftBackend>() -> Result<crate::numbers::Numbers, Failure> {
    let forward = |host: &Mlp<B>, step, grafts: &mut Grafts<B>| loss(host, step, grafts);
    let mut run = Run::new(Mlp::<B>::init(), stock(), &forward)?;
    for step in 1..=STEPS {
        act(&mut run, step)?;
        run.step(&forward)?;
    }
    let fossils = run.model.fossils().iter().map(|fossil| parameters(fossil.kernel()));
    let fossils: Vec<_> = fossils.map(|values| ("the fossil".to_owned(), values)).collect();
    ensure(fossils.len() == 1, || format!("the seed is in {:?} at the end", run.stage()))?;
    Ok([("the host".to_owned(), run.host())].into_iter().chain(fossils).collect())
}

fn act<B: GraftBackend, H: Host<B> + HostModule<B> + AutodiffModule<B> + ModuleDisplay>(
    run: &mut Run<B, H>,
    step: u64,
) -> Result<(), Failure> {
    for (_, act) in LIFE.into_iter().filter(|(before, _)| *before == step) {
        run.order(act)?;
    }
    Ok(())
}
