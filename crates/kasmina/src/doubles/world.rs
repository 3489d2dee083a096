//! The test world: a manager, a library, a clock that stands still, a sink, and whoever sends the commands.

use std::{collections::BTreeMap, time::Duration};

use burn::optim::{AdamW, Optimizer, adaptor::OptimizerAdaptor};
use kasmina_commands::CommandSender;
use kasmina_grown::{Grown, HostModule};
use kasmina_kernel_load::{LayerSpec, Manifest, SlotContract, doubles::MemoryLibrary};
use kasmina_leyline::{
    BlueprintId, SeedId, TrainingRunId, UnixTime,
    v1::{SeedLifecycleStage, SeedOperation, TelemetryEvent},
};
use kasmina_lifecycle::Transition;
use kasmina_rollback::{Blobs, Journal, doubles::MemoryStore};
use kasmina_safety::{Clock, doubles::ManualClock};
use kasmina_security::{CommandVerifier, KeyRing, Secret};
use kasmina_telemetry::doubles::MemorySink;

use super::{
    act::{Act, Cue},
    hosts::{B, Host, RATE, loss, optimizer},
    stock::{self, blueprint, seed, slot},
};
use crate::{
    builder::SeedManagerBuilder,
    error::{CommandError, Refusal},
    manager::{Receipt, SeedManager},
    report::{Recovered, StepReport},
    settings::Settings,
};

/// The secret that the world's sender and verifier share.
pub const SECRET: &str = "a shared secret";

/// A manager and all that it is wired to. Each part can be reached, and scripted, from outside.
pub struct World<C: Clock + Clone + 'static = ManualClock> {
    /// The manager.
    pub manager: SeedManager<B>,
    /// Its clock.
    pub clock: C,
    /// Its library, with the kernels of [`stock`](super::stock) in it.
    pub library: MemoryLibrary,
    /// A sink of its telemetry.
    pub sink: MemorySink,
    /// Signs commands that its verifier accepts.
    pub sender: CommandSender,
    /// What [`Act::Germinate`] asks for.
    kernels: BTreeMap<SeedId, BlueprintId>,
}

/// A model with its optimizer, and how far it has been trained.
pub struct Trainee<H: Host<B> + HostModule<B>> {
    /// The model.
    pub model: Grown<B, H>,
    /// Its optimizer.
    pub optimizer: OptimizerAdaptor<AdamW, Grown<B, H>, B>,
    /// The step that was taken last.
    pub step: u64,
}

impl<H: Host<B> + HostModule<B>> Trainee<H> {
    /// Before its first step.
    #[must_use]
    pub fn new(host: H) -> Self {
        Self { model: Grown::new(host), optimizer: optimizer(), step: 0 }
    }
}

/// The default settings, but G4 passes a seed after two probes if their mean says that it does no harm, whatever chance may have done. The
/// defaults demand thirty probes and a significant difference.
#[must_use]
pub fn lenient() -> Settings {
    let mut settings = Settings::default();
    let impact = &mut settings.gates.system_impact;
    (impact.min_probes, impact.min_probes_fossilize, impact.significance) = (2, 2, f64::INFINITY);
    settings
}

/// Whoever sends the commands.
///
/// # Panics
/// Never: the name is one.
#[must_use]
pub fn sender() -> CommandSender {
    CommandSender::new(&secret(), "tamiyo").expect("a name")
}

fn secret() -> Secret {
    Secret::new(SECRET).expect("not empty")
}

fn builder<C: Clock + Clone + 'static>(
    settings: Settings,
    clock: &C,
    library: &MemoryLibrary,
    sink: &MemorySink,
) -> SeedManagerBuilder {
    SeedManager::<B>::builder(TrainingRunId::new("run-7").expect("an id"))
        .settings(settings)
        .verifier(CommandVerifier::new(KeyRing::of("k1", secret())))
        .kernels(library.clone())
        .clock(clock.clone())
        .sink(sink.clone())
}

impl World {
    /// What is forgotten with the process.
    ///
    /// # Panics
    /// If the settings make no sense.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self::build(settings, |builder| builder.volatile().build(&Default::default()).expect("sensible settings"))
    }

    /// What goes on from a store, and what was found there.
    ///
    /// # Panics
    /// If the settings make no sense, or nothing can be recovered.
    pub fn recover(
        settings: Settings,
        journal: impl Journal + 'static,
        blobs: impl Blobs + 'static,
    ) -> (Self, Recovered) {
        let mut found = Recovered::default();
        let world = Self::build(settings, |builder| {
            let recovered = builder.journal(journal, blobs).recover(&Default::default());
            let (manager, recovered) = recovered.expect("a sound store");
            found = recovered;
            manager
        });
        (world, found)
    }

    /// With a clock that stands still. `finish` may wire up other parts: a store, gatekeepers, a policy, another library.
    pub fn build(settings: Settings, finish: impl FnOnce(SeedManagerBuilder) -> SeedManager<B>) -> Self {
        let clock = ManualClock::default();
        clock.set_unix(UnixTime::from_millis(1_700_000_000_000));
        Self::with_clock(settings, clock, finish)
    }

    /// The process dies, and another comes back from the store. Clock, library and sink are those of before.
    ///
    /// # Panics
    /// If nothing can be recovered.
    pub fn restart(&mut self, settings: Settings, store: &MemoryStore) -> Recovered {
        let builder = |settings| builder(settings, &self.clock, &self.library, &self.sink);
        let nobody = builder(Settings::default()).volatile().build(&Default::default()).expect("the defaults");
        drop(std::mem::replace(&mut self.manager, nobody));
        let builder = builder(settings).journal(store.clone(), store.clone());
        let (manager, recovered) = builder.recover(&Default::default()).expect("a sound store");
        self.manager = manager;
        recovered
    }

    /// Time passes.
    pub fn wait(&mut self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

impl<C: Clock + Clone + 'static> World<C> {
    /// As [`World::build`], with a clock of one's own.
    pub fn with_clock(settings: Settings, clock: C, finish: impl FnOnce(SeedManagerBuilder) -> SeedManager<B>) -> Self {
        let (library, sink) = (MemoryLibrary::new(), MemorySink::default());
        let manager = finish(builder(settings, &clock, &library, &sink));
        let world = Self { manager, clock, library, sink, sender: sender(), kernels: BTreeMap::new() };
        stock::stock().iter().for_each(|manifest| world.add(manifest));
        world
    }

    /// Puts a fresh kernel into the library.
    ///
    /// # Panics
    /// If the layers do not chain.
    pub fn publish(&self, name: &str, contract: SlotContract, layers: Vec<LayerSpec>) {
        self.add(&Manifest::new(blueprint(name), contract, layers).expect("the layers chain"));
    }

    /// Puts a fresh kernel into the library.
    pub fn add(&self, manifest: &Manifest) {
        stock::publish(&self.library, manifest);
    }

    /// Shows the manager a model, and registers its host's seeds.
    ///
    /// # Panics
    /// If the manager refuses.
    pub fn attach<H: Host<B> + HostModule<B>>(&mut self, model: &Grown<B, H>) {
        self.manager.attach_host(model, |host, grafts| loss(host, 0, grafts)).expect("a host alone");
        self.register(&model.host);
    }

    /// Another process goes on with the model that the trainer has kept.
    ///
    /// # Panics
    /// If the model has other fossils than the run.
    pub fn go_on<H: Host<B> + HostModule<B>>(&mut self, model: &Grown<B, H>) {
        let step = self.manager.step();
        self.manager.model_restored(model, step).expect("the model of this run");
        self.manager.attach_host(model, |host, grafts| loss(host, 0, grafts)).expect("a host alone");
    }

    /// Registers the host's seeds.
    ///
    /// # Panics
    /// If one is registered already.
    pub fn register<M: Host<B>>(&mut self, host: &M) {
        for (name, at, kernel) in host.seats() {
            self.manager.register_seed(seed(&name), slot(&at)).expect("the first");
            self.kernels.insert(seed(&name), blueprint(&kernel));
        }
    }

    /// Trains a model on the batch of a step.
    ///
    /// # Panics
    /// If the step is not taken.
    pub fn step<H: Host<B> + HostModule<B>>(
        &mut self,
        model: &mut Grown<B, H>,
        optimizer: &mut impl Optimizer<Grown<B, H>, B>,
        step: u64,
    ) -> StepReport {
        let report = self.manager.train_batch(model, optimizer, RATE, |host, grafts| loss(host, step, grafts));
        report.expect("the loss is finite")
    }

    /// Trains on to the step `until` while the script is carried out, by signed commands.
    ///
    /// # Panics
    /// If a command is not carried out, or a step not taken.
    pub fn live<H: Host<B> + HostModule<B>, S: Into<Cue> + Clone>(
        &mut self,
        trainee: &mut Trainee<H>,
        until: u64,
        script: &[S],
    ) -> Vec<StepReport> {
        self.live_and(trainee, until, script, |_, _, _| {})
    }

    /// As [`live`](Self::live), with a look at the world after each step.
    ///
    /// # Panics
    /// As [`live`](Self::live).
    pub fn live_and<H: Host<B> + HostModule<B>, S: Into<Cue> + Clone>(
        &mut self,
        trainee: &mut Trainee<H>,
        until: u64,
        script: &[S],
        mut look: impl FnMut(&mut Self, &mut Trainee<H>, &StepReport),
    ) -> Vec<StepReport> {
        let cues: Vec<Cue> = script.iter().cloned().map(Into::into).collect();
        let mut reports = Vec::new();
        while trainee.step < until {
            trainee.step += 1;
            for Cue { seed, act, .. } in cues.iter().filter(|cue| cue.before == trainee.step) {
                let outcome = self.act(seed.as_str(), act.clone());
                assert!(outcome.is_ok(), "{act:?} of {seed} before step {}: {outcome:?}", trainee.step);
            }
            let report = self.step(&mut trainee.model, &mut trainee.optimizer, trainee.step);
            look(self, trainee, &report);
            reports.push(report);
        }
        reports
    }

    /// Lets something happen to a seed, by a signed command.
    ///
    /// # Errors
    /// As [`SeedManager::submit`].
    ///
    /// # Panics
    /// If it cannot be said on the wire.
    pub fn act(&mut self, name: &str, act: Act) -> Result<Receipt, CommandError> {
        let wire = self.wire(name, act);
        self.manager.submit(&wire)
    }

    /// Lets something happen to a seed, by an order of the process that owns the manager.
    ///
    /// # Errors
    /// As [`SeedManager::order`].
    pub fn order(&mut self, name: &str, act: Act) -> Result<Vec<Transition>, Refusal> {
        let order = act.order(seed(name), self.kernel(name));
        self.manager.order(order)
    }

    /// The signed command that lets something happen to a seed.
    ///
    /// # Panics
    /// If it cannot be said on the wire.
    pub fn wire(&mut self, name: &str, act: Act) -> Vec<u8> {
        let order = act.order(seed(name), self.kernel(name));
        self.sender.order(&order, self.clock.unix()).expect("it can be said on the wire")
    }

    fn kernel(&self, name: &str) -> BlueprintId {
        self.kernels.get(&seed(name)).cloned().unwrap_or_else(|| blueprint("mlp"))
    }

    /// GERMINATE.
    ///
    /// # Errors
    /// As [`SeedManager::submit`].
    ///
    /// # Panics
    /// Never: it is short.
    pub fn germinate(&mut self, name: &str, kernel: &str) -> Result<Receipt, CommandError> {
        let wire = self.sender.germinate(&seed(name), &blueprint(kernel), self.clock.unix()).expect("short");
        self.manager.submit(&wire)
    }

    /// A seed operation without parameters.
    ///
    /// # Errors
    /// As [`SeedManager::submit`].
    ///
    /// # Panics
    /// Never: it is short.
    pub fn operate(&mut self, name: &str, operation: SeedOperation) -> Result<Receipt, CommandError> {
        let wire = self.sender.operate(&seed(name), operation, [], [], self.clock.unix()).expect("short");
        self.manager.submit(&wire)
    }

    /// START_GRAFTING by annotations, linearly over `steps`.
    ///
    /// # Errors
    /// As [`SeedManager::submit`].
    ///
    /// # Panics
    /// If `mode` is too long.
    pub fn graft(&mut self, name: &str, mode: &str, steps: f32) -> Result<Receipt, CommandError> {
        let parameters = [("alpha_total_steps", steps)];
        let annotations = [("blend_mode", mode), ("alpha_schedule", "linear")];
        let operation = SeedOperation::SeedOpStartGrafting;
        let wire = self.sender.operate(&seed(name), operation, parameters, annotations, self.clock.unix());
        self.manager.submit(&wire.expect("short"))
    }

    /// The stage of a seed.
    ///
    /// # Panics
    /// If it was never registered.
    #[must_use]
    pub fn stage(&self, name: &str) -> SeedLifecycleStage {
        self.manager.stage(&seed(name)).expect("it is registered")
    }

    /// The events since the last call, in the order of their packets.
    pub fn events(&mut self) -> Vec<TelemetryEvent> {
        self.manager.flush_telemetry();
        self.sink.take().into_iter().flat_map(|packet| packet.events).collect()
    }
}
