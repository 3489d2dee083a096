//! The manager and its model side by side: every step happens to both, then they are compared and the ledger is read.
#![allow(unreachable_pub, reason = "shared by the files of one test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use burn::{
    module::{Module, ModuleMapper, Param, ParamId},
    optim::{AdamW, GradientsParams, Optimizer, adaptor::OptimizerAdaptor},
    tensor::{Tensor, activation::relu},
};
use kasmina::{
    CommandError, Grafts, Settings, Validation,
    kernel_load::{LayerSpec, LibraryError, SlotContract},
    leyline::{Monotonic, UnixTime, v1::SeedLifecycleStage::*},
    registry::parameter_ids,
    safety::Clock,
    security::{Secret, Signer},
};

use super::{
    command::{Blend, Extra, Flag, How, Kernel, Number, Schedule, What, Who},
    ledger::{LEDGER, Seen, Snapshot, Told as Telemetry},
    prediction::{Model, PROBE_EVERY, SLOTS, Sent, Told},
    steps::{Case, Gates, Share, Step, Valid},
};
use crate::common::{B, Mlp, RATE, World, batch, blueprint, bytes, determined, optimizer, seed, twin};

/// How often something happened: that a run is green says nothing if nothing happens in it.
pub type Coverage = BTreeMap<String, u64>;

type AdamWOf = OptimizerAdaptor<AdamW, Mlp<B>, B>;

pub struct Rig {
    world: World,
    host: Mlp<B>,
    optimizer: AdamWOf,
    control: Option<(Mlp<B>, AdamWOf)>,
    signer: Signer,
    stranger: Signer,
    sent: Vec<Sent>,
    batches: u64,
    flush: bool,
    model: Model,
    seen: Seen,
    ever_owned: BTreeSet<ParamId>,
    pub coverage: Coverage,
}

impl Rig {
    pub fn new(case: &Case) -> Self {
        let mut settings = Settings::default();
        settings.lifecycle.fast_path = case.fast_path;
        settings.training.probe_every = PROBE_EVERY;
        settings.telemetry.pending_events = 10_000;
        settings.gates.stability.min_losses = Model::min_losses(case.gates);
        if case.gates != Gates::Strict {
            (settings.gates.stability.max_rise, settings.gates.stability.max_oscillation) = (f32::MAX, f32::MAX);
            settings.gates.system_impact.relative_tolerance = 1e12;
        }
        if case.gates == Gates::Deaf {
            settings.gates.gradient_health.max_gradient_norm = 0.0;
        }
        let host = determined(Mlp::<B>::init());
        let control = twin(&host);
        let mut world = World::new(settings);
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
            host,
            sent: Vec::new(),
            batches: 0,
            flush: case.flush,
            model: Model::new(case.gates, case.fast_path),
            ever_owned: BTreeSet::new(),
            coverage: Coverage::new(),
        };
        rig.seen.isolation_closed = true;
        rig.look();
        rig
    }

    /// One thing happens.
    ///
    /// # Errors
    /// What the manager did that it must not have done.
    pub fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Train(batches, logits) => {
                return (0..*batches).try_for_each(|_| {
                    self.begin();
                    let told = self.train(*logits, false)?;
                    self.end(told)
                });
            }
            Step::Send(..) | Step::Next(_) | Step::Replay(_) | Step::Garbage(_) | Step::NanBatch => self.begin(),
            Step::Wait(_)
            | Step::Jump(_)
            | Step::Tamper(..)
            | Step::Spoil(_)
            | Step::Fail(_)
            | Step::Heal(_)
            | Step::Validate(_)
            | Step::Epoch => self.begin(),
        }
        let mut told = false;
        match *step {
            Step::Train(..) => {}
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
            Step::Replay(index) if !self.sent.is_empty() => {
                let last = self.sent.len() - 1;
                let sent = self.sent[last - index.min(last)].clone();
                self.submit(&sent)?;
            }
            Step::Replay(_) => {}
            Step::Garbage(ref wire) => {
                let answer = self.hand_over(wire);
                let expected = self.model.reject(answer.err().unwrap_or("accepted"));
                self.agree(answer, expected)?;
            }
            Step::NanBatch => told = self.train(true, true)?,
            Step::Wait(seconds) => self.world.wait(seconds),
            Step::Jump(seconds) => {
                let to = shifted(self.world.clock.unix(), seconds);
                self.world.clock.set_unix(to);
            }
            Step::Tamper(who, share) => self.tamper(who, share),
            Step::Spoil(who) => {
                let index = self.touch(who);
                if self.world.manager.tamper(&seed(who.name()), |kernel| kernel.map(&mut Nan)) {
                    self.model.seeds[index].graft.iter_mut().for_each(|graft| graft.nan = true);
                }
            }
            Step::Fail(kernel) => {
                let missing = LibraryError::Missing { path: "gone".into() };
                self.world.library.fail(&blueprint(kernel.name()), missing);
                self.model.failing.push(kernel);
            }
            Step::Heal(kernel) => {
                self.world.library.fail(&blueprint(kernel.name()), None);
                self.model.failing.retain(|failing| *failing != kernel);
            }
            Step::Validate(valid) => self.validate(valid),
            Step::Epoch => self.world.manager.end_epoch(),
        }
        self.end(told)
    }

    fn begin(&mut self) {
        let seen = &mut self.seen;
        seen.before = seen.after.clone();
        seen.host_bytes[0] = seen.host_bytes[1].clone();
        (seen.is_command, seen.stepped, seen.handed_over, seen.told) = (false, false, false, None);
        seen.touched.clear();
        seen.learners.clear();
        seen.blamed.clear();
        (0..3).for_each(|index| seen.shared[index] &= seen.after[index].kernel.is_some());
        (self.model.now, self.model.wall) = (self.world.clock.monotonic(), self.world.clock.unix());
    }

    fn touch(&mut self, who: Who) -> usize {
        let index = who.index().unwrap_or_default();
        self.seen.touched.insert(index);
        index
    }

    /// What the seed's stage asks for.
    fn next_of(&self, who: Who) -> What {
        let seed = &self.model.seeds[who.index().unwrap_or_default()];
        if seed.graft.as_ref().is_some_and(|graft| graft.paused) {
            return What::Pause(Flag::Yes);
        }
        let kernel = [Kernel::Thin, Kernel::Late, Kernel::Mlp][who as usize];
        let graft = What::Graft(Blend::Residual, Schedule::Linear, Number::Is(2.0));
        let next = [
            (SeedStageDormant, What::Germinate(kernel, Extra::Plain)),
            (SeedStageGerminated, What::StartTraining),
            (SeedStageTraining, graft),
            (SeedStageBlending, What::Stabilize),
            (SeedStageShadowing, What::Evaluate),
            (SeedStageProbationary, What::Fossilize),
        ];
        next.into_iter().find(|(stage, _)| *stage == seed.stage).map_or(What::Cull, |(_, what)| what)
    }

    fn write(&self, who: Who, what: What, how: How) -> Sent {
        let (age, deadline) = how.timing();
        let issued_at = shifted(self.world.clock.unix(), -age);
        let last = self.sent.last().filter(|_| how == How::ReusedId).map(|sent| sent.id.clone());
        let id = last.unwrap_or_else(|| format!("command-{}", self.sent.len()));
        let mut command = what.command(who);
        command.command_id = if how == How::WithoutId { String::new() } else { id.clone() };
        command.issued_at = (how != How::WithoutTime).then(|| issued_at.into());
        command.execution_deadline_ms = deadline;
        if how == How::WrongRun {
            command.annotations.insert("training_run_id".to_owned(), "run-8".to_owned());
        }
        let signer = if how == How::Forged { &self.stranger } else { &self.signer };
        let mut wire = signer.sign(&command).unwrap();
        if let How::Flipped(bit) = how {
            let bit = usize::from(bit) % (wire.len() * 8);
            wire[bit / 8] ^= 1 << (bit % 8);
        }
        Sent { who, what, how, id, issued_at, wire }
    }

    fn submit(&mut self, sent: &Sent) -> Result<(), String> {
        self.seen.touched.extend(sent.who.index());
        let answer = self.hand_over(&sent.wire);
        let expected = self.model.submit(sent, answer.err().unwrap_or("accepted"));
        let kind = format!("{:?}", sent.what);
        let kind = kind.split('(').next().unwrap_or_default();
        *self.coverage.entry(format!("{kind} {}", answer.err().unwrap_or("accepted"))).or_default() += 1;
        self.agree(answer, expected)
    }

    /// What time alone moves is no other seed's matter.
    fn hand_over(&mut self, wire: &[u8]) -> Result<(), &'static str> {
        let seen = &mut self.seen;
        seen.is_command = true;
        let due = |end: Option<Monotonic>| end.is_some_and(|end| end <= self.model.now);
        seen.touched.extend((0..3).filter(|index| due(self.model.seeds[*index].embargo_end)));
        match self.world.manager.submit(wire) {
            Ok(receipt) => {
                seen.hand_over(&receipt.transitions);
                seen.obeyed.push((receipt.command.to_string(), wire.to_vec(), self.model.now));
                seen.accepted.push(receipt.command.to_string());
                Ok(())
            }
            Err(error) => {
                match &error {
                    CommandError::Rejected(rejection) => seen.rejected.push(rejection.reason().to_owned()),
                    CommandError::Refused { command, refusal, transitions } => {
                        seen.hand_over(transitions);
                        seen.obeyed.push((command.to_string(), wire.to_vec(), self.model.now));
                        seen.refused.push((command.to_string(), refusal.reason().to_owned()));
                    }
                    other => seen.rejected.push(other.to_string()),
                }
                Err(error.reason())
            }
        }
    }

    fn agree(&self, answer: Result<(), &'static str>, expected: Result<(), &'static str>) -> Result<(), String> {
        if answer == expected { Ok(()) } else { Err(format!("the manager says {answer:?}, the model {expected:?}")) }
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
        for (index, seed) in self.model.seeds.iter().enumerate() {
            let Some(graft) = seed.graft.as_ref().filter(|graft| !graft.paused) else { continue };
            let tuned = seed.stage == SeedStageProbationary && graft.fine_tune > 0;
            if tuned || [SeedStageTraining, SeedStageBlending, SeedStageFossilized].contains(&seed.stage) {
                self.seen.learners.insert(index);
            }
        }
        let trained = self.world.manager.train_batch(&mut self.host, &mut self.optimizer, RATE, forward);
        let index_of = |id: &str| Who::SEEDS.iter().position(|who| who.name() == id).unwrap();
        if let Ok(report) = &trained {
            self.seen.hand_over(&report.transitions);
        }
        let stages = Who::SEEDS.map(|who| self.world.stage(who.name()));
        let (blamed, refused): (Vec<_>, _) = match &trained {
            Ok(report) => (report.violations.iter().map(|one| index_of(one.seed.as_str())).collect(), None),
            Err(error) => (Vec::new(), Some(error.reason())),
        };
        *self.coverage.entry("violation".to_owned()).or_default() += blamed.len() as u64;
        let stepped = if nan {
            self.model.tick();
            false
        } else {
            let not_finite = refused == Some("non_finite_loss");
            self.model.batch(logits, &Told { not_finite, blamed: &blamed, stages })
        };
        if stepped != refused.is_none() {
            return Err(format!("the batch was refused: {refused:?}, the model says stepped: {stepped}"));
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

    fn tamper(&mut self, who: Who, share: Share) {
        let index = self.touch(who);
        let id = if share == Share::ById { self.host.stem.weight.id } else { ParamId::new() };
        let mut shared = Shared { param: Param::initialized(id, self.host.stem.weight.val()), done: false };
        self.world.manager.tamper(&seed(who.name()), |kernel| kernel.map(&mut shared));
        if shared.done {
            self.seen.shared[index] = true;
            self.model.seeds[index].graft.iter_mut().for_each(|graft| graft.shared = true);
        }
    }

    fn validate(&mut self, valid: Valid) {
        let metric = |live| Validation { name: "accuracy".into(), host: 0.9, live, higher_is_better: true };
        self.world.manager.report_validation(match valid {
            Valid::None => Vec::new(),
            Valid::Same => vec![metric(0.9)],
            Valid::Worse => vec![metric(0.9), metric(0.5)],
            Valid::Nan => vec![metric(f64::NAN)],
        });
        self.model.validation = Some(valid);
    }

    /// Looks at everything, compares, and reads the ledger.
    fn end(&mut self, flushed: bool) -> Result<(), String> {
        if self.flush {
            self.world.manager.flush_telemetry();
        }
        if self.flush || flushed {
            self.listen();
        }
        self.look();
        self.compare()?;
        for (name, clause, check) in LEDGER {
            check(&self.seen).map_err(|why| format!("{name} ({clause}): {why}"))?;
        }
        if let Some(told) = self.seen.told.take() {
            if self.seen.handed_over {
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

    /// Takes the packets out of the sink.
    fn listen(&mut self) {
        let mut told = Telemetry::default();
        for packet in self.world.sink.take() {
            let about = packet.system_health.as_ref().and_then(|health| health.indicators.get("seed_id"));
            let about = about.and_then(|id| Who::SEEDS.iter().position(|who| who.name() == id));
            about.into_iter().for_each(|index| told.packets[index] += 1);
            told.events.extend(packet.events.into_iter().map(|event| (about, event)));
        }
        let breakers = told.breakers();
        if let Some((_, last)) = breakers.iter().rfind(|(breaker, _)| breaker == "isolation") {
            (self.seen.unanswered, self.seen.isolation_closed) = (0, last == "breaker_closed");
        }
        for index in 0..3 {
            self.seen.heard[index].extend(told.moves(index));
        }
        self.seen.told = Some(told);
    }

    fn look(&mut self) {
        let states = self.world.manager.export_seed_states();
        for (index, state) in states.into_iter().enumerate() {
            let id = seed(Who::SEEDS[index].name());
            let mut kernel = None;
            // To look at a kernel is to replace it by itself.
            self.world.manager.tamper(&id, |own| {
                kernel = Some((parameter_ids(&own), bytes(&own)));
                own
            });
            let registered: Vec<_> = self.world.manager.registry().parameters_of(&id).collect();
            self.ever_owned.extend(registered.iter().copied());
            self.seen.after[index] = Snapshot {
                stage: self.world.manager.stage(&id).unwrap(),
                alpha: self.world.manager.alpha(&id).map(|alpha| alpha.get()),
                slot: SLOTS[index],
                registered,
                kernel,
                state,
            };
        }
        if self.seen.after.iter().any(|seed| seed.stage == SeedStageFossilized) {
            self.control = None;
        }
        self.seen.host_bytes[1] = bytes(&self.host);
        self.seen.control = self.control.as_ref().map(|(control, _)| bytes(control));
        let registry = self.world.manager.registry();
        self.seen.owners = self.ever_owned.iter().map(|id| (*id, registry.owner(*id).cloned())).collect();
    }

    /// Whether manager and model say the same of everything.
    fn compare(&mut self) -> Result<(), String> {
        for (index, seed) in self.model.seeds.iter().enumerate() {
            let is = &self.seen.after[index];
            let name = Who::SEEDS[index].name();
            if is.stage != seed.stage {
                return Err(format!("{name} is in {:?}, the model says {:?}", is.stage, seed.stage));
            }
            let tensors = seed.graft.as_ref().map_or(0, |graft| graft.kernel.tensors());
            if is.registered.len() != tensors {
                return Err(format!("{name} owns {}, the model says {tensors}", is.registered.len()));
            }
            let alpha = seed.graft.as_ref().and_then(|graft| graft.alpha());
            if alpha.is_some() && is.alpha != alpha {
                return Err(format!("{name} is at alpha {:?}, the model says {alpha:?}", is.alpha));
            }
        }
        let manager = &self.world.manager;
        let deadline = self.model.seeds.iter().filter_map(|seed| seed.embargo_end).min();
        if (manager.step(), manager.next_deadline()) != (self.model.step, deadline) {
            let is = (manager.step(), manager.next_deadline());
            return Err(format!("step and deadline are {is:?}, the model says {:?}", (self.model.step, deadline)));
        }
        let Some(told) = &self.seen.told else { return Ok(()) };
        let expected: Vec<_> = std::mem::take(&mut self.model.breaker_events);
        let expected: Vec<_> = expected.into_iter().map(|(name, event)| (name.to_owned(), event.to_owned())).collect();
        if told.breakers() != expected {
            return Err(format!("the breakers told {:?}, the model says {expected:?}", told.breakers()));
        }
        let mut expected = std::mem::take(&mut self.model.gate_failures);
        expected.sort_unstable();
        if told.gate_failures() != expected {
            return Err(format!("gates refused {:?}, the model says {expected:?}", told.gate_failures()));
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
fn control_step(host: &mut Mlp<B>, optimizer: &mut AdamWOf, step: u64) {
    let gradients = loss(host, step, &mut Grafts::none()).backward();
    *host = optimizer.step(RATE, host.clone(), GradientsParams::from_grads(gradients, host));
}

fn shifted(time: UnixTime, seconds: i64) -> UnixTime {
    let by = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { time.before(by) } else { time.after(by) }
}

/// Puts the host's weight in the place of the kernel's weight of the same shape.
struct Shared {
    param: Param<Tensor<B, 2>>,
    done: bool,
}

impl ModuleMapper<B> for Shared {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        if param.val().dims()[..] != self.param.val().dims()[..] {
            return param;
        }
        self.done = true;
        Param::initialized(self.param.id, Tensor::from_primitive(self.param.val().into_primitive()))
    }
}

struct Nan;

impl ModuleMapper<B> for Nan {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        param.map(|tensor| Tensor::full_like(&tensor.detach(), f32::NAN).require_grad())
    }
}
