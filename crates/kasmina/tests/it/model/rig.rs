//! The manager, and what is known of it from outside: every step happens, then everything is looked at and the ledger is read.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use burn::{
    module::ParamId,
    optim::{AdamW, GradientsParams, Optimizer, adaptor::OptimizerAdaptor},
    tensor::{Tensor, activation::relu},
};
use kasmina::{
    Grafts, Grown, Settings,
    kernel_load::{LayerSpec, LibraryError, SlotContract},
    leyline::{UnixTime, v1::SeedLifecycleStage::*},
    registry::parameter_ids,
    rollback::{Entry, doubles::MemoryStore},
    safety::Clock,
    security::{Secret, Signer},
};

use super::{
    command::{How, Kernel, What, Who},
    ledger::{LEDGER, Seen},
    mishaps::Held,
    steps::{Case, Gates, Step, Then},
};
use crate::common::{B, Mlp, RATE, World, batch, blueprint, lenient, model_of, optimizer, twin};

pub const SLOTS: [&str; 3] = ["mid", "late", "mid"];

/// How often something happened: that a run is green says nothing if nothing happens in it.
pub type Coverage = BTreeMap<String, u64>;

pub type AdamWOf = OptimizerAdaptor<AdamW, Grown<B, Mlp<B>>, B>;

/// A command on the wire.
#[derive(Clone, Debug)]
pub struct Sent {
    pub who: Who,
    pub what: What,
    pub how: How,
    pub id: String,
    pub wire: Vec<u8>,
}

pub struct Rig {
    pub world: World,
    pub store: MemoryStore,
    pub settings: Settings,
    pub host: Grown<B, Mlp<B>>,
    pub optimizer: AdamWOf,
    pub control: Option<(Grown<B, Mlp<B>>, AdamWOf)>,
    pub signer: Signer,
    pub stranger: Signer,
    pub sent: Vec<Sent>,
    pub batches: u64,
    flush: bool,
    every: u64,
    pub seen: Seen,
    /// Whether a crash would bring back everything as it is.
    pub sure: bool,
    /// Seeds whose kernel has a parameter with an id of the host's, or had one when it was last durable.
    pub by_id: [bool; 3],
    /// Checkpoints by their epochs.
    pub held: BTreeMap<u64, Held>,
    /// How many commands had been sent when the process died last.
    pub crashed_at: Option<usize>,
    pub ever_owned: BTreeSet<ParamId>,
    pub coverage: Coverage,
    /// Ids of packets that the sink has taken.
    pub packets: BTreeSet<String>,
}

impl Rig {
    pub fn new(case: &Case) -> Self {
        let mut settings = lenient();
        settings.lifecycle.fast_path = case.fast_path;
        settings.training.probe_every = 1;
        let impact = &mut settings.gates.system_impact;
        (impact.min_probes, impact.min_probes_fossilize, impact.significance) = (1, 1, f64::INFINITY);
        settings.telemetry.pending_events = 10_000;
        settings.gates.stability.min_losses = if case.gates == Gates::Strict { 4 } else { 2 };
        if case.gates != Gates::Strict {
            (settings.gates.stability.max_rise, settings.gates.stability.max_oscillation) = (f32::MAX, f32::MAX);
            settings.gates.system_impact.relative_tolerance = 1e12;
        }
        if case.gates == Gates::Deaf {
            settings.gates.gradient_health.max_gradient_norm = 0.0;
        }
        let host = model_of(Mlp::<B>::init());
        let control = twin(&host);
        settings.rollback.checkpoint_every = case.every;
        let store = MemoryStore::new();
        let mut world = World::recover(settings.clone(), store.clone(), store.clone()).0;
        world.publish(Kernel::Thin.name(), SlotContract::f32(2, 16, 6), vec![LayerSpec::linear(16, 6)]);
        world.attach(&host);
        let signer = |secret| Signer::new(&Secret::new(secret).unwrap());
        let mut rig = Self {
            signer: signer("a shared secret"),
            stranger: signer("another secret"),
            seen: Seen { host: parameter_ids(&host).into_iter().collect(), ..Seen::default() },
            control: Some((control, optimizer())),
            optimizer: optimizer(),
            world,
            store,
            settings,
            host,
            sent: Vec::new(),
            batches: 0,
            flush: case.flush,
            every: case.every,
            sure: true,
            by_id: [false; 3],
            held: BTreeMap::new(),
            crashed_at: None,
            packets: BTreeSet::new(),
            ever_owned: BTreeSet::new(),
            coverage: Coverage::new(),
        };
        rig.seen.isolation_closed = true;
        rig.begin();
        rig.look();
        rig
    }

    /// One thing happens.
    ///
    /// # Errors
    /// What the manager did that it must not have done.
    pub fn step(&mut self, step: &Step) -> Result<(), String> {
        let going_back = match step {
            Step::Send(_, what, _) => matches!(what, What::Rollback(_)),
            Step::Replay(index) => self.replayed(*index).is_some_and(|sent| matches!(sent.what, What::Rollback(_))),
            Step::Crash | Step::Rollback(..) | Step::GoBack => true,
            Step::Next(_)
            | Step::Garbage(_)
            | Step::Train(..)
            | Step::NanBatch
            | Step::Wait(_)
            | Step::Jump(_)
            | Step::Tamper(..)
            | Step::Spoil(_)
            | Step::Fail(_)
            | Step::Heal(_)
            | Step::Validate(_)
            | Step::Epoch
            | Step::FailStore
            | Step::Checkpoint => false,
        };
        if going_back {
            self.settle_telemetry()?;
        }
        self.begin();
        let mut told = false;
        match *step {
            Step::Train(batches, logits) => {
                for batch in 0..batches {
                    if batch > 0 {
                        self.begin();
                    }
                    let told = self.train(logits, false)?;
                    self.end(told)?;
                }
                return Ok(());
            }
            Step::Send(who, what, how) => {
                let sent = self.write(who, what, how);
                self.submit(&sent)?;
                self.sent.push(sent);
            }
            Step::Next(who) => {
                let sent = self.write(who, self.next_of(who), How::Honest);
                self.submit(&sent)?;
                self.sent.push(sent);
            }
            Step::Replay(index) => {
                if let Some(sent) = self.replayed(index).cloned() {
                    self.submit(&sent)?;
                }
            }
            Step::Garbage(ref wire) => {
                if self.hand_over(wire).is_ok() {
                    return Err("garbage was obeyed".to_owned());
                }
            }
            Step::NanBatch => told = self.train(true, true)?,
            Step::Wait(seconds) => self.world.wait(seconds),
            Step::Jump(seconds) => {
                let to = shifted(self.world.clock.unix(), seconds);
                self.world.clock.set_unix(to);
            }
            Step::Tamper(who, share) => self.tamper(who, share),
            Step::Spoil(who) => self.spoil(who),
            Step::Fail(kernel) => {
                let missing = LibraryError::Missing { path: "gone".into() };
                self.world.library.fail(&blueprint(kernel.name()), missing);
            }
            Step::Heal(kernel) => {
                self.world.library.fail(&blueprint(kernel.name()), None);
            }
            Step::Validate(valid) => self.validate(valid),
            Step::Epoch => self.world.manager.end_epoch(),
            Step::Crash => self.crash()?,
            Step::FailStore => self.fail_store(),
            Step::Checkpoint => self.checkpoint(),
            Step::Rollback(who, aim, then) => {
                let sent = self.write(who, self.aim(aim), How::Honest);
                self.submit(&sent)?;
                self.sent.push(sent);
                let attempts = [Then::Later, Then::AtOnce, Then::AtLast].iter().position(|one| *one == then);
                for attempt in 0..attempts.unwrap_or_default() {
                    if self.world.manager.rollback_commanded().is_some() {
                        self.end(false)?;
                        if then == Then::AtLast && attempt == 0 {
                            self.fail_store();
                        }
                        self.settle_telemetry()?;
                        self.begin();
                        self.roll_back()?;
                    }
                }
            }
            Step::GoBack => self.roll_back()?,
        }
        self.end(told)
    }

    pub fn begin(&mut self) {
        let seen = &mut self.seen;
        seen.before = seen.after.clone();
        seen.host_bytes[0] = seen.host_bytes[1].clone();
        (seen.is_command, seen.stepped, seen.handed_over, seen.told) = (false, false, false, None);
        seen.touched.clear();
        seen.learners.clear();
        seen.blamed.clear();
        seen.went_back.clear();
        seen.journal.begin();
        (0..3).for_each(|index| seen.shared[index] &= seen.after[index].kernel.is_some());
        seen.now = self.world.clock.monotonic();
    }

    pub fn count(&mut self, what: &str) {
        *self.coverage.entry(what.to_owned()).or_default() += 1;
    }

    pub fn touch(&mut self, who: Who) -> usize {
        let index = who.index().unwrap_or_default();
        self.seen.touched.insert(index);
        index
    }

    /// One batch. Whether telemetry was flushed by it.
    fn train(&mut self, logits: bool, nan: bool) -> Result<bool, String> {
        let at = self.batches + 1;
        let factor = if nan { f32::NAN } else { 1.0 };
        let forward = |host: &Mlp<B>, grafts: &mut Grafts<B>| {
            if logits {
                grafts.offer_logits(batch::<B>(at).slice([0..12, 0..2]));
            }
            let loss = loss(host, at, grafts);
            if nan { loss * factor } else { loss }
        };
        for index in 0..3 {
            let stage = &self.seed(index).stage;
            let learns = [SeedStageTraining, SeedStageBlending, SeedStageFossilized].contains(&stage.leyline());
            if stage.graft().is_some_and(|graft| !graft.paused) && (learns || stage.is_fine_tuning()) {
                self.seen.learners.insert(index);
            }
        }
        let commanded = self.world.manager.rollback_commanded().is_some();
        let trained = self.world.manager.train_batch(&mut self.host, &mut self.optimizer, RATE, forward);
        let index_of = |id: &str| Who::SEEDS.iter().position(|who| who.name() == id).unwrap();
        if let Ok(report) = &trained {
            self.seen.hand_over(&report.transitions);
        }
        let (blamed, refused): (Vec<_>, _) = match &trained {
            Ok(report) => (report.violations.iter().map(|one| index_of(one.seed.as_str())).collect(), None),
            Err(error) => (Vec::new(), Some(error.reason())),
        };
        *self.coverage.entry("violation".to_owned()).or_default() += blamed.len() as u64;
        let stepped = refused.is_none();
        let expected = match refused {
            None => !commanded && !nan,
            Some("rollback_pending") => commanded,
            Some("non_finite_loss") => true,
            Some(_) => false,
        };
        if !expected {
            return Err(format!("the batch was answered with {refused:?}"));
        }
        self.seen.stepped = stepped;
        self.seen.refused_steps += usize::from(!stepped);
        self.seen.violations.extend(&blamed);
        self.seen.unanswered += blamed.len();
        self.seen.blamed = blamed;
        if stepped {
            self.batches = at;
            if let Some((control, optimizer)) = &mut self.control {
                control_step(control, optimizer, at);
            }
        }
        if stepped && self.seen.blamed.is_empty() {
            self.seen.unanswered = 0;
        }
        Ok(true)
    }

    /// Looks at everything, and reads the ledger.
    pub fn end(&mut self, flushed: bool) -> Result<(), String> {
        if self.flush {
            self.world.manager.flush_telemetry();
        }
        if self.flush || flushed {
            self.listen();
        }
        self.look();
        self.seen.journal.follow(&self.store, self.seen.after.each_ref().map(|seed| seed.stage));
        self.seen.durable = self.seen.journal.agrees(self.seen.after.each_ref().map(|seed| seed.stage));
        let written = self.seen.journal.written.iter().any(|entry| matches!(entry, Entry::Delta { .. }));
        let changed = self.seen.before != self.seen.after;
        self.sure = self.every == 1
            && self.seen.durable
            && (written && self.seen.stepped || self.sure && (written || !changed));
        for index in 0..3 {
            self.by_id[index] &= self.seen.after[index].kernel.is_some() || !self.seen.durable;
        }
        for (name, clause, check) in LEDGER {
            check(&self.seen).map_err(|why| format!("{name} ({clause}): {why}"))?;
        }
        if let Some(told) = self.seen.told.take() {
            if self.seen.handed_over && self.seen.durable {
                (self.seen.heard, self.seen.returned) = Default::default();
            }
            for index in 0..3 {
                for (_, to) in told.moves(index) {
                    self.seen.last_told[index] = Some(to);
                    *self.coverage.entry(format!("to {}", to.as_str_name())).or_default() += 1;
                }
            }
            let seen = &mut self.seen;
            (seen.rejected, seen.refused, seen.accepted) = Default::default();
            (seen.violations, seen.refused_steps) = Default::default();
        }
        Ok(())
    }
}

/// The host of the other tests, with its second slot in the way of what it learns.
fn loss(host: &Mlp<B>, step: u64, grafts: &mut Grafts<B>) -> Tensor<B, 1> {
    let x = batch::<B>(step);
    let target = x.clone().slice([0..12, 0..8]).sin().sum_dim(1) * x.clone().slice([0..12, 8..16]).sum_dim(1);
    let h = relu(host.stem.forward(x.clone()));
    let h = grafts.at_with_tap("mid", x, h);
    let h = grafts.at("late", h);
    (host.head.forward(h) - target).square().mean()
}

/// A step of plain Burn.
fn control_step(host: &mut Grown<B, Mlp<B>>, optimizer: &mut AdamWOf, step: u64) {
    let gradients = loss(&host.host, step, &mut Grafts::none()).backward();
    *host = optimizer.step(RATE, host.clone(), GradientsParams::from_grads(gradients, host));
}

pub fn shifted(time: UnixTime, seconds: i64) -> UnixTime {
    let by = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { time.before(by) } else { time.after(by) }
}
