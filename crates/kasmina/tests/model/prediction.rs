//! The slow and obvious model: what each command must be answered, and where each seed must stand after it.
//!
//! What depends on measured numbers alone (G2 and G4 under strict settings) it takes over from the manager's answer, `told`, if
//! that is one of the answers that are allowed there.
#![allow(unreachable_pub, reason = "shared by the files of one test")]

use std::{collections::BTreeMap, time::Duration};

use kasmina::leyline::{
    Monotonic, UnixTime,
    v1::{
        CircuitBreakerState::{self, CircuitStateClosed, CircuitStateHalfOpen, CircuitStateOpen, CircuitStateUnknown},
        SeedLifecycleStage::{self as Stage, *},
    },
};

use super::{
    command::{Blend, Breaker as Named, Extra, How, Kernel, Number, Schedule, What, Who},
    steps::{Gates, Valid},
};

pub const SLOTS: [&str; 3] = ["mid", "late", "mid"];
pub const PROBE_EVERY: u64 = 2;
const EMBARGO: Duration = Duration::from_secs(30);
const CACHED_FOR: Duration = Duration::from_secs(3_600);
const REMEMBERED_FOR: Duration = Duration::from_secs(300);

/// A command on the wire.
#[derive(Clone, Debug)]
pub struct Sent {
    pub who: Who,
    pub what: What,
    pub how: How,
    pub id: String,
    pub issued_at: UnixTime,
    pub wire: Vec<u8>,
}

type Answer = Result<(), &'static str>;

#[derive(Clone, Debug)]
pub struct Model {
    pub gates: Gates,
    fast_path: bool,
    pub now: Monotonic,
    pub wall: UnixTime,
    pub seeds: [Seed; 3],
    pub isolation: Breaker,
    kernels: Breaker,
    admitted: Vec<(String, UnixTime, Monotonic)>,
    pub failing: Vec<Kernel>,
    cached: BTreeMap<Kernel, Monotonic>,
    pub validation: Option<Valid>,
    pub step: u64,
    /// What telemetry must have told since the last look, in order: breaker and state.
    pub breaker_events: Vec<(&'static str, &'static str)>,
    /// Seeds that a gate refused since the last look.
    pub gate_failures: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Seed {
    pub stage: Stage,
    pub slot: &'static str,
    pub graft: Option<Graft>,
    pub embargo_end: Option<Monotonic>,
    pub violations: u64,
}

/// What a seed has while it is grafted.
#[derive(Clone, Debug, PartialEq)]
pub struct Graft {
    pub kernel: Kernel,
    pub paused: bool,
    blend: Blend,
    schedule: Schedule,
    total: u64,
    blended: u64,
    pub fine_tune: u64,
    losses: usize,
    probes: u64,
    /// It shares a parameter with the host.
    pub shared: bool,
    /// Its weights are NaN.
    pub nan: bool,
}

/// What a batch was seen to do, where it cannot be foretold.
pub struct Told<'a> {
    pub not_finite: bool,
    pub blamed: &'a [usize],
    pub stages: [Stage; 3],
}

impl Model {
    pub fn new(gates: Gates, fast_path: bool) -> Self {
        let seed = |slot| Seed { stage: SeedStageDormant, slot, graft: None, embargo_end: None, violations: 0 };
        Self {
            gates,
            fast_path,
            now: Monotonic::ORIGIN,
            wall: UnixTime::default(),
            seeds: SLOTS.map(seed),
            isolation: Breaker::Closed(0),
            kernels: Breaker::Closed(0),
            admitted: Vec::new(),
            failing: Vec::new(),
            cached: BTreeMap::new(),
            validation: None,
            step: 0,
            breaker_events: Vec::new(),
            gate_failures: Vec::new(),
        }
    }

    pub fn min_losses(gates: Gates) -> usize {
        if gates == Gates::Strict { 4 } else { 2 }
    }

    /// What is due by time alone.
    pub fn tick(&mut self) {
        for seed in &mut self.seeds {
            if seed.embargo_end.is_some_and(|end| end <= self.now) {
                *seed = Seed { stage: SeedStageDormant, embargo_end: None, violations: 0, ..seed.clone() };
                self.validation = None;
            }
        }
        for (name, breaker) in [("isolation", &mut self.isolation), ("kernels", &mut self.kernels)] {
            let event = breaker.allow(self.now).flatten();
            self.breaker_events.extend(event.map(|event| (name, event)));
        }
    }

    pub fn submit(&mut self, sent: &Sent, told: &str) -> Answer {
        self.tick();
        self.verify(sent, told)?;
        self.obey(sent, told)
    }

    /// What is no command of a sender that knows the secret.
    pub fn reject(&mut self, told: &str) -> Answer {
        self.tick();
        let allowed = ["malformed", "missing_signature", "invalid_signature"];
        Err(allowed.into_iter().find(|reason| *reason == told).unwrap_or(allowed[0]))
    }

    fn verify(&mut self, sent: &Sent, told: &str) -> Answer {
        match sent.how {
            How::Forged => return Err("invalid_signature"),
            How::Flipped(_) => return self.reject(told),
            How::WithoutId => return Err("missing_command_id"),
            How::WithoutTime => return Err("missing_timestamp"),
            How::Honest | How::Aged(_) | How::Late | How::InTime | How::WrongRun | How::ReusedId => {}
        }
        if sent.issued_at.since(self.wall) > Duration::from_secs(5) {
            return Err("issued_in_future");
        }
        if self.wall.since(sent.issued_at) > Duration::from_secs(60) {
            return Err("stale_command");
        }
        let (forgotten, known): (Vec<_>, Vec<_>) =
            self.admitted.iter().partition(|(_, _, at)| at.after(REMEMBERED_FOR) <= self.now);
        if known.iter().any(|(id, ..)| *id == sent.id) {
            return Err("nonce_replayed");
        }
        if forgotten.iter().any(|(_, issued_at, _)| sent.issued_at <= *issued_at) {
            return Err("stale_command");
        }
        self.admitted.push((sent.id.clone(), sent.issued_at, self.now));
        Ok(())
    }

    fn obey(&mut self, sent: &Sent, told: &str) -> Answer {
        if sent.how == How::WrongRun {
            return Err("wrong_training_run");
        }
        let (_, deadline_ms) = sent.how.timing();
        if deadline_ms > 0 && sent.issued_at.after(Duration::from_millis(deadline_ms.into())) < self.wall {
            return Err("deadline_exceeded");
        }
        let named = if sent.who == Who::Unnamed { Err("invalid_id") } else { Ok(()) };
        let index = sent.who.index().ok_or("unknown_seed");
        match sent.what {
            What::Germinate(kernel, extra) => {
                named?;
                if kernel == Kernel::Unnamed {
                    return Err("invalid_id");
                }
                if extra == Extra::NanRate {
                    return Err("malformed_command");
                }
                self.germinate(index?, kernel, extra)
            }
            What::StartTraining => named.and(index).and_then(|index| self.start_training(index)),
            What::Graft(blend, schedule, total) => {
                named?;
                blend.flaw().map_or(Ok(()), Err)?;
                let total = match total {
                    Number::Is(total) if total.fract() == 0.0 && total >= 1.0 => total as u64,
                    Number::Is(_) | Number::Missing => return Err("out_of_range"),
                };
                if schedule == Schedule::Unheard {
                    return Err("unknown_alpha_schedule");
                }
                self.start_grafting(index?, blend, schedule, total, told)
            }
            What::Stabilize => named.and(index).and_then(|index| self.stabilize(index)),
            What::Evaluate => named.and(index).and_then(|index| self.evaluate(index, told)),
            What::FineTune(steps) => {
                named?;
                let steps = steps.whole()?;
                let seed = &mut self.seeds[index?];
                let graft = seed.graft.as_mut().filter(|graft| seed.stage == SeedStageProbationary && !graft.paused);
                let graft = graft.ok_or("wrong_stage")?;
                (graft.fine_tune, graft.probes) = (steps, 0);
                Ok(())
            }
            What::Fossilize => named.and(index).and_then(|index| self.fossilize(index, told)),
            What::Cull => {
                named?;
                if self.cull(index?) { Ok(()) } else { Err("illegal_transition") }
            }
            What::Cancel => {
                named?;
                let index = index?;
                let young = [SeedStageGerminated, SeedStageTraining].contains(&self.seeds[index].stage);
                if young && self.cull(index) { Ok(()) } else { Err("wrong_stage") }
            }
            What::Pause(resume) => {
                let resume = resume.read()?;
                named?;
                if resume { self.resume(index?) } else { self.pause(index?) }
            }
            What::Optimizer(scale) => {
                if scale != Number::Missing {
                    scale.positive()?;
                }
                named?;
                scale.positive()?;
                self.seeds[index?].graft.as_ref().map(|_| ()).ok_or("wrong_stage")
            }
            What::Force(breaker, state) => {
                if breaker == Named::Unheard || state == CircuitStateUnknown {
                    return Err("malformed_command");
                }
                let kernels = breaker == Named::Kernels;
                let (name, forced) =
                    if kernels { ("kernels", &mut self.kernels) } else { ("isolation", &mut self.isolation) };
                self.breaker_events.extend(forced.force(state, self.now).map(|event| (name, event)));
                Ok(())
            }
            What::Emergency(teacher) => {
                teacher.read()?;
                self.cached.clear();
                Ok(())
            }
            What::NoOperation => named.and(Err("malformed_command")),
            What::NoPayload | What::OptimizerWithoutPayload | What::Untyped => Err("malformed_command"),
            What::Rollback | What::Pruning => Err("unsupported"),
        }
    }

    fn germinate(&mut self, index: usize, kernel: Kernel, extra: Extra) -> Answer {
        self.expect(index, SeedStageDormant)?;
        for (name, breaker) in [("isolation", &mut self.isolation), ("kernels", &mut self.kernels)] {
            let event = breaker.allow(self.now).ok_or("breaker_open")?;
            self.breaker_events.extend(event.map(|event| (name, event)));
        }
        let slot = self.seeds[index].slot;
        let trying = |seed: &Seed| seed.slot == slot && seed.graft.is_some() && seed.stage != SeedStageFossilized;
        if kernel == Kernel::Unknown {
            return self.gate_refuses(index, "unknown_blueprint");
        }
        if extra == Extra::UnknownParameter {
            return self.gate_refuses(index, "unknown_parameter");
        }
        if self.seeds.iter().any(trying) {
            return self.gate_refuses(index, "slot_taken");
        }
        self.enter(index, SeedStageGerminated)?;
        let cached = self.cached.get(&kernel).is_some_and(|since| self.now < since.after(CACHED_FOR));
        let loaded = cached || !self.failing.contains(&kernel);
        let event = if loaded { self.kernels.succeed() } else { self.kernels.fail(self.now) };
        self.breaker_events.extend(event.map(|event| ("kernels", event)));
        if !loaded {
            self.cull(index);
            return Err("library_file_missing");
        }
        if !cached {
            self.cached.insert(kernel, self.now);
        }
        if !kernel.fits(slot) {
            self.cull(index);
            return Err("slot_contract");
        }
        self.seeds[index].graft = Some(Graft {
            kernel,
            paused: false,
            blend: Blend::Unsaid,
            schedule: Schedule::Unsaid,
            total: 1_000,
            blended: 0,
            fine_tune: 0,
            losses: 0,
            probes: 0,
            shared: false,
            nan: false,
        });
        if self.fast_path { self.start_training(index) } else { Ok(()) }
    }

    fn start_training(&mut self, index: usize) -> Answer {
        self.expect(index, SeedStageGerminated)?;
        if let Some(reason) = self.gradient_unhealthy(index) {
            return self.gate_refuses(index, reason);
        }
        self.enter(index, SeedStageTraining)
    }

    fn start_grafting(&mut self, index: usize, blend: Blend, schedule: Schedule, total: u64, told: &str) -> Answer {
        self.expect(index, SeedStageTraining)?;
        if blend == Blend::ChannelShort {
            return Err("malformed_command");
        }
        let seed = &self.seeds[index];
        if seed.graft.as_ref().is_none_or(|graft| graft.losses < Self::min_losses(self.gates)) {
            return Err("not_measured");
        }
        if seed.violations > 0 {
            return self.gate_refuses(index, "isolation_violations");
        }
        if let Some(reason) = self.measured(&["loss_rising", "loss_oscillating"], told) {
            return self.gate_refuses(index, reason);
        }
        if let Some(graft) = &mut self.seeds[index].graft {
            (graft.blend, graft.schedule, graft.total, graft.blended) = (blend, schedule, total, 0);
        }
        self.enter(index, SeedStageBlending)
    }

    fn stabilize(&mut self, index: usize) -> Answer {
        self.expect(index, SeedStageBlending)?;
        let graft = self.seeds[index].graft.as_ref();
        if graft.is_none_or(|graft| graft.blended < graft.total) {
            return Err("blending_incomplete");
        }
        if graft.is_some_and(|graft| graft.shared) {
            return self.gate_refuses(index, "registry_coverage");
        }
        self.enter(index, SeedStageShadowing)
    }

    fn evaluate(&mut self, index: usize, told: &str) -> Answer {
        self.expect(index, SeedStageShadowing)?;
        self.impact(index, told, None)?;
        self.enter(index, SeedStageProbationary)
    }

    fn fossilize(&mut self, index: usize, told: &str) -> Answer {
        self.expect(index, SeedStageProbationary)?;
        let graft = self.seeds[index].graft.as_ref();
        if graft.is_some_and(|graft| graft.blend == Blend::Confidence) {
            return Err("unsupported");
        }
        if graft.is_some_and(|graft| graft.fine_tune > 0) {
            return Err("not_measured");
        }
        self.impact(index, told, self.validation)?;
        self.enter(index, SeedStageFossilized)
    }

    /// G4.
    fn impact(&mut self, index: usize, told: &str, validation: Option<Valid>) -> Answer {
        let seed = &self.seeds[index];
        seed.graft.as_ref().filter(|graft| graft.probes > 0).ok_or("not_measured")?;
        if [self.isolation, self.kernels].iter().any(|breaker| matches!(breaker, Breaker::Open(_))) {
            return Err("breaker_open");
        }
        if seed.violations > 0 {
            return self.gate_refuses(index, "isolation_violations");
        }
        if let Some(reason) = self.measured(&["metric_regressed"], told) {
            return self.gate_refuses(index, reason);
        }
        match validation {
            Some(Valid::Nan) => self.gate_refuses(index, "metric_not_finite"),
            Some(Valid::Worse) if self.gates == Gates::Strict => self.gate_refuses(index, "metric_regressed"),
            Some(Valid::Worse | Valid::Same | Valid::None) | None => Ok(()),
        }
    }

    fn pause(&mut self, index: usize) -> Answer {
        let seed = &mut self.seeds[index];
        let graft = seed.graft.as_mut().filter(|_| seed.stage != SeedStageFossilized).ok_or("wrong_stage")?;
        graft.paused = true;
        Ok(())
    }

    fn resume(&mut self, index: usize) -> Answer {
        self.seeds[index].graft.as_ref().filter(|graft| graft.paused).ok_or("wrong_stage")?;
        if let Some(reason) = self.gradient_unhealthy(index) {
            let fossil = self.seeds[index].stage == SeedStageFossilized;
            let refused = self.gate_refuses(index, reason);
            // A fossil cannot be culled, and that is what the sender is told.
            return if fossil { Err("illegal_transition") } else { refused };
        }
        if let Some(graft) = &mut self.seeds[index].graft {
            graft.paused = false;
        }
        Ok(())
    }

    /// G1.
    fn gradient_unhealthy(&self, index: usize) -> Option<&'static str> {
        let seed = &self.seeds[index];
        if seed.violations > 0 {
            Some("isolation_violations")
        } else if seed.graft.as_ref().is_some_and(|graft| graft.nan) {
            Some("loss_not_finite")
        } else {
            (self.gates == Gates::Deaf).then_some("gradient_exploded")
        }
    }

    /// What a gate may find in numbers, under strict settings alone.
    fn measured(&self, reasons: &[&'static str], told: &str) -> Option<&'static str> {
        reasons.iter().copied().find(|reason| self.gates == Gates::Strict && *reason == told)
    }

    fn gate_refuses(&mut self, index: usize, reason: &'static str) -> Answer {
        self.gate_failures.push(index);
        self.cull(index);
        Err(reason)
    }

    fn expect(&self, index: usize, stage: Stage) -> Answer {
        let seed = &self.seeds[index];
        if seed.stage != stage {
            return Err("illegal_transition");
        }
        if seed.graft.as_ref().is_some_and(|graft| graft.paused) { Err("wrong_stage") } else { Ok(()) }
    }

    fn enter(&mut self, index: usize, stage: Stage) -> Answer {
        self.validation = None;
        let seed = &mut self.seeds[index];
        seed.stage = stage;
        if let Some(graft) = &mut seed.graft {
            graft.probes = 0;
        }
        Ok(())
    }

    /// Whether it could be culled.
    pub fn cull(&mut self, index: usize) -> bool {
        let seed = &mut self.seeds[index];
        let grown =
            [SeedStageGerminated, SeedStageTraining, SeedStageBlending, SeedStageShadowing, SeedStageProbationary];
        if !grown.contains(&seed.stage) {
            return false;
        }
        (seed.stage, seed.graft) = (SeedStageEmbargoed, None);
        seed.embargo_end = Some(self.now.after(EMBARGO));
        // It was measured on another network.
        self.validation = None;
        true
    }

    /// A batch, with logits for CONFIDENCE or without. Whether it was stepped.
    pub fn batch(&mut self, logits: bool, told: &Told<'_>) -> bool {
        self.tick();
        let active = |seed: &Seed| seed.graft.as_ref().is_some_and(|graft| !graft.paused);
        let fossil_nan = |seed: &Seed| {
            seed.stage == SeedStageFossilized && active(seed) && seed.graft.as_ref().is_some_and(|graft| graft.nan)
        };
        // A fossil of NaN is the host's own NaN.
        if self.seeds.iter().any(fossil_nan) && told.not_finite {
            return false;
        }
        self.step += 1;
        let mut violated = false;
        for index in 0..3 {
            let seed = &self.seeds[index];
            let shares = active(seed) && seed.graft.as_ref().is_some_and(|graft| graft.shared);
            let caught = shares
                && (seed.stage == SeedStageTraining
                    || seed.stage == SeedStageFossilized && told.blamed.contains(&index));
            if caught {
                violated = true;
                self.violated(index);
            }
        }
        let mut learning = Vec::new();
        for (index, seed) in self.seeds.iter_mut().enumerate() {
            let Some(graft) = seed.graft.as_mut().filter(|graft| !graft.paused) else { continue };
            if seed.stage == SeedStageBlending {
                graft.blended += 1;
                learning.push(index);
            } else if seed.stage == SeedStageProbationary && graft.fine_tune > 0 {
                learning.push(index);
            }
        }
        let mut poisoned = [false; 3];
        for index in learning {
            let Some(nan) = self.pass(index, logits) else { continue };
            poisoned[index] = nan;
            let Some(graft) = &mut self.seeds[index].graft else { continue };
            graft.losses += 1;
            graft.fine_tune = graft.fine_tune.saturating_sub(1);
            if nan && self.seeds[index].stage == SeedStageProbationary {
                self.cull(index);
            } else if graft.shared && !nan {
                violated = true;
                self.violated(index);
            }
        }
        if self.step.is_multiple_of(PROBE_EVERY) {
            let probed = |index: &usize| {
                let seed = &self.seeds[*index];
                let idle = seed.graft.as_ref().is_some_and(|graft| !graft.paused && graft.fine_tune == 0);
                idle && [SeedStageShadowing, SeedStageProbationary].contains(&seed.stage)
            };
            for index in (0..3).filter(probed).collect::<Vec<_>>() {
                let Some(nan) = self.pass(index, logits) else { continue };
                let Some(graft) = &mut self.seeds[index].graft else { continue };
                graft.probes += 1;
                if nan {
                    self.cull(index);
                }
            }
        }
        self.settle(violated, poisoned, told);
        true
    }

    /// The pass of a seed: culls those whose blend is a fault. Whether its loss is NaN; `None` where it took no part.
    fn pass(&mut self, index: usize, logits: bool) -> Option<bool> {
        self.seeds[index].graft.as_ref()?;
        let mut nan = false;
        for other in 0..3 {
            let seed = &self.seeds[other];
            let in_view = [SeedStageBlending, SeedStageProbationary, SeedStageFossilized].contains(&seed.stage)
                || seed.stage == SeedStageShadowing && other == index;
            let Some(graft) = seed.graft.as_ref().filter(|graft| in_view && !graft.paused) else { continue };
            if graft.blend == Blend::Confidence && !logits {
                self.cull(other);
            } else {
                nan |= graft.nan && (other == index || seed.stage == SeedStageFossilized);
            }
        }
        self.seeds[index].graft.as_ref().map(|_| nan)
    }

    fn settle(&mut self, violated: bool, poisoned: [bool; 3], told: &Told<'_>) {
        let mut verified = false;
        for (index, poisoned) in poisoned.into_iter().enumerate() {
            let seed = &mut self.seeds[index];
            let Some(graft) = seed.graft.as_mut().filter(|graft| !graft.paused) else { continue };
            verified = true;
            if [SeedStageTraining, SeedStageFossilized].contains(&seed.stage) {
                graft.losses += 1;
            }
            let unstable = seed.violations > 0
                || poisoned
                || (self.gates == Gates::Strict && told.stages[index] == SeedStageEmbargoed);
            if seed.stage == SeedStageBlending && unstable {
                let _ = self.gate_refuses(index, "G2");
            }
        }
        if verified && !violated {
            self.breaker_events.extend(self.isolation.succeed().map(|event| ("isolation", event)));
        }
    }

    fn violated(&mut self, index: usize) {
        let event = self.isolation.fail(self.now);
        self.breaker_events.extend(event.map(|event| ("isolation", event)));
        self.seeds[index].violations += 1;
        if self.seeds[index].violations >= 3 {
            self.cull(index);
            if let Breaker::Closed(_) = self.isolation {
                self.isolation = Breaker::Open(self.now.after(Breaker::TIMEOUT));
                self.breaker_events.push(("isolation", "breaker_open"));
            }
        }
    }
}

impl Graft {
    /// Alpha, where it needs no schedule to know.
    pub fn alpha(&self) -> Option<f32> {
        if self.blended == 0 {
            Some(0.0)
        } else if self.blended >= self.total {
            Some(1.0)
        } else {
            (self.schedule == Schedule::Linear).then(|| (self.blended as f64 / self.total as f64) as f32)
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Breaker {
    Closed(u32),
    Open(Monotonic),
    HalfOpen(u32),
}

impl Breaker {
    const TIMEOUT: Duration = Duration::from_secs(30);

    /// `None` while it is open; else what it tells.
    fn allow(&mut self, now: Monotonic) -> Option<Option<&'static str>> {
        match *self {
            Self::Open(until) if now < until => None,
            Self::Open(_) => {
                *self = Self::HalfOpen(0);
                Some(Some("breaker_half_open"))
            }
            Self::Closed(_) | Self::HalfOpen(_) => Some(None),
        }
    }

    fn succeed(&mut self) -> Option<&'static str> {
        let (next, event) = match *self {
            Self::Closed(_) => (Self::Closed(0), None),
            Self::Open(until) => (Self::Open(until), None),
            Self::HalfOpen(0) => (Self::HalfOpen(1), Some("breaker_half_open")),
            Self::HalfOpen(_) => (Self::Closed(0), Some("breaker_closed")),
        };
        *self = next;
        event
    }

    fn fail(&mut self, now: Monotonic) -> Option<&'static str> {
        let open = (Self::Open(now.after(Self::TIMEOUT)), Some("breaker_open"));
        let (next, event) = match *self {
            Self::Closed(failures) if failures < 2 => (Self::Closed(failures + 1), None),
            Self::Closed(_) | Self::HalfOpen(_) => open,
            Self::Open(until) => (Self::Open(until), None),
        };
        *self = next;
        event
    }

    fn force(&mut self, state: CircuitBreakerState, now: Monotonic) -> Option<&'static str> {
        let (next, event) = match state {
            CircuitStateUnknown => return None,
            CircuitStateClosed => (Self::Closed(0), "breaker_closed"),
            CircuitStateOpen => (Self::Open(now.after(Self::TIMEOUT)), "breaker_open"),
            CircuitStateHalfOpen => (Self::HalfOpen(0), "breaker_half_open"),
        };
        *self = next;
        Some(event)
    }
}
