//! Whole lives of seeds: does the host stay what it is without them, and does a seed learn what it learns on the CPU?

use burn::{
    module::AutodiffModule,
    optim::{AdamW, AdamWConfig, adaptor::OptimizerAdaptor},
};
use kasmina::{
    GraftBackend, Grafts, SeedManager, Settings,
    doubles::{Act, Cnn, FusedFault, Host, Mlp, RATE, Stack, blueprint, determined, seed, stock},
    gates::doubles::AllowAll,
    grown::Grown,
    kernel_load::{Initialisation, Manifest, doubles::MemoryLibrary},
    leyline::{SeedId, SlotId, TrainingRunId, v1::SeedLifecycleStage},
    safety::doubles::ManualClock,
    telemetry::doubles::MemorySink,
};

use crate::{
    Cases, Reference,
    failure::{Failure, ensure, refused},
    numbers::{Numbers, compare, parameters},
    report::Checked,
    subject::{Loss, Subject, of_stack, of_stock},
};

/// Of 40 steps of AdamW, which divides by the size of a gradient, so that rounding counts most where a gradient is nearly zero.
const LIFE_TOLERANCE: f64 = 1e-2;
const SEED: &str = "seed-1";
/// Before which step what happens to the seed. It is part of the host after the last.
const LIFE: [(u64, Act); 5] =
    [(1, Act::Germinate), (8, Act::Graft(8)), (20, Act::Stabilize), (26, Act::Evaluate), (FOSSILIZED, Act::Fossilize)];
const FOSSILIZED: u64 = 34;
/// Bits are the same or not.
const SAME: Checked = Checked { cases: 1, worst: 0.0, tolerance: 0.0 };
const STEPS: u64 = 40;

/// A run on any backend, with one seed. Every gate is open, and no clock runs.
pub(crate) struct Run<B: GraftBackend> {
    manager: SeedManager<B>,
    model: Grown<B, Subject<B>>,
    pub(crate) clock: ManualClock,
    sink: MemorySink,
    optimizer: OptimizerAdaptor<AdamW, Grown<B, Subject<B>>, B>,
    loss: Loss<B>,
    kernel: String,
    step: u64,
}

impl<B: GraftBackend> Run<B> {
    pub(crate) fn new(host: Subject<B>, kernels: &[Manifest], loss: Loss<B>) -> Result<Self, Failure> {
        let (clock, sink, library) = (ManualClock::default(), MemorySink::default(), MemoryLibrary::new());
        for manifest in kernels {
            library.add(manifest, &Initialisation { seed: 3, zero_last: false }).map_err(refused("a kernel"))?;
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
        let seat = Host::<B>::seats(&host).into_iter().next();
        let (_, slot, kernel) = seat.ok_or_else(|| Failure::Broken("a host without slots".to_owned()))?;
        let model = Grown::new(determined(host));
        let first = |host: &Subject<B>, grafts: &mut Grafts<B>| loss(host, 0, grafts);
        manager.attach_host(&model, first).map_err(refused("the host"))?;
        let slot = SlotId::new(slot).map_err(refused("a slot"))?;
        manager.register_seed(seed(SEED), slot).map_err(refused("the seed"))?;
        let optimizer = AdamWConfig::new().init();
        Ok(Self { manager, model, clock, sink, optimizer, loss, kernel, step: 0 })
    }

    pub(crate) fn order(&mut self, act: Act) -> Result<(), Failure> {
        let order = act.order(seed(SEED), blueprint(&self.kernel));
        self.manager.order(order).map(drop).map_err(refused("an order"))
    }

    pub(crate) fn steps(&mut self, count: usize) -> Result<(), Failure> {
        for _ in 0..count {
            self.step += 1;
            let (loss, step) = (&self.loss, self.step);
            let forward = |host: &Subject<B>, grafts: &mut Grafts<B>| loss(host, step, grafts);
            let report = self.manager.train_batch(&mut self.model, &mut self.optimizer, RATE, forward);
            report.map_err(refused("a step"))?;
        }
        Ok(())
    }

    /// The next step of [`LIFE`].
    fn live(&mut self) -> Result<(), Failure> {
        let next = self.step + 1;
        for (_, act) in LIFE.into_iter().filter(|(before, _)| *before == next) {
            self.order(act)?;
        }
        self.steps(1)
    }

    /// Parameters and running statistics, those of the last step included.
    pub(crate) fn host(&self) -> Vec<f32> {
        parameters(&self.model.host.valid())
    }

    /// Whether the host has the same bits as that of another run.
    pub(crate) fn has_host_of(&self, other: &Self) -> bool {
        self.apart(other).is_empty()
    }

    /// Which numbers of the host have other bits than those of another run, and both.
    fn apart(&self, other: &Self) -> Vec<(usize, f32, f32)> {
        let pairs = self.host().into_iter().zip(other.host()).enumerate();
        pairs
            .filter(|(_, (one, other))| one.to_bits() != other.to_bits())
            .map(|(at, (own, other))| (at, own, other))
            .collect()
    }

    pub(crate) fn kernel(&self) -> Vec<f32> {
        self.manager.kernel(&seed(SEED)).as_ref().map(parameters).unwrap_or_default()
    }

    pub(crate) fn stage(&self) -> Option<SeedLifecycleStage> {
        self.manager.stage(&SeedId::new(SEED).ok()?)
    }

    /// How often kernels went to the plain path and came back since the last look.
    pub(crate) fn told(&mut self) -> (usize, usize) {
        self.manager.flush_telemetry();
        let packets = self.sink.take();
        let events = || packets.iter().flat_map(|packet| &packet.events);
        let count = |name: &str| events().filter(|event| event.description == name).count();
        (count("kernel_plain"), count("kernel_fused"))
    }

    pub(crate) fn inject(&mut self, fault: Option<FusedFault>) {
        self.manager.inject(blueprint(&self.kernel), fault);
    }
}

/// The bits of a host with a seed beside it and without one, in every step until the seed is part of it.
pub(crate) fn bits_of_an_mlp<B: GraftBackend>() -> Result<Checked, Failure> {
    same_host("an MLP", || Subject::Mlp(Mlp::<B>::init()), &stock(), &of_stock())?;
    Ok(SAME)
}

/// The same with convolutions and running statistics.
pub(crate) fn bits_of_a_cnn<B: GraftBackend>() -> Result<Checked, Failure> {
    same_host("a CNN with batch normalisation", || Subject::Cnn(Cnn::<B>::init()), &stock(), &of_stock())?;
    Ok(SAME)
}

/// The same with random sizes. Every other size is tuned and compiled anew, so they are few: one in ten cases.
pub(crate) fn bits_of_stacks<B: GraftBackend>(cases: Cases) -> Result<Checked, Failure> {
    let mut draw = fastrand::Rng::with_seed(cases.seed);
    let stacks = cases.count.div_ceil(10);
    for _ in 0..stacks {
        let (width, depth, batch, hidden) = (draw.usize(3..40), draw.usize(2..5), draw.usize(1..20), draw.usize(1..9));
        let name = format!("{depth} layers of {width}, batches of {batch}");
        let host = || Subject::Stack(Stack::<B>::init(width, depth, 1));
        let loss = of_stack(draw.u64(..), [batch, width]);
        same_host(&name, host, &[Stack::<B>::relu_kernel(width, hidden)], &loss)?;
    }
    Ok(Checked { cases: stacks, ..SAME })
}

fn same_host<B: GraftBackend>(
    name: &str,
    host: impl Fn() -> Subject<B>,
    kernels: &[Manifest],
    loss: &Loss<B>,
) -> Result<(), Failure> {
    let mut grown = Run::new(host(), kernels, loss.clone())?;
    let mut control = Run::new(host(), kernels, loss.clone())?;
    let untrained = grown.host();
    for step in 1..FOSSILIZED {
        grown.live()?;
        control.steps(1)?;
        let apart = grown.apart(&control);
        ensure(apart.is_empty(), || {
            let (first, numbers) = (&apart[..apart.len().min(3)], apart.len());
            format!(
                "{name}: after step {step} the host is another one because of its seed, {numbers} numbers: {first:?}"
            )
        })?;
    }
    ensure(grown.host() != untrained, || format!("{name}: the host has not learned"))
}

/// A life on the device and on the CPU: the numbers of the host and of the kernel that has become part of it.
pub(crate) fn agreement<B: GraftBackend>() -> Result<Checked, Failure> {
    let (device, reference) = (life::<B>()?, life::<Reference>()?);
    let worst = compare("a life of 40 steps", &device, &reference, LIFE_TOLERANCE)?;
    Ok(Checked { cases: 1, worst, tolerance: LIFE_TOLERANCE })
}

fn life<B: GraftBackend>() -> Result<Numbers, Failure> {
    let mut run = Run::new(Subject::Mlp(Mlp::<B>::init()), &stock(), of_stock())?;
    for _ in 0..STEPS {
        run.live()?;
    }
    let fossils = run.model.fossils().iter().map(|fossil| parameters(fossil.kernel()));
    let fossils: Vec<_> = fossils.map(|values| ("the fossil".to_owned(), values)).collect();
    ensure(fossils.len() == 1, || format!("the seed is in {:?} at the end", run.stage()))?;
    let (plain, _) = run.told();
    ensure(plain == 0, || "the kernel's first executions went wrong, and it learned on the plain path".to_owned())?;
    Ok([("the host".to_owned(), run.host())].into_iter().chain(fossils).collect())
}
