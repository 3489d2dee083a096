//! The slow and obvious model: what each command must be answered, and where each seed must stand after it.
//!
//! What depends on measured numbers alone (G2 and G4 under strict settings) it takes over from the manager's answer, `told`, if
//! that is one of the answers that are allowed there.

use std::{collections::BTreeMap, time::Duration};

use kasmina::leyline::{
    Monotonic, UnixTime,
    v1::{
        CircuitBreakerState::CircuitStateUnknown,
        SeedLifecycleStage::{self as Stage, *},
    },
};

use super::{
    breaker::Breaker,
    command::{Blend, Breaker as Named, Extra, How, Kernel, Number, Schedule, What, Who},
    steps::{Gates, Share, Valid},
    store::Disk,
};

pub const SLOTS: [&str; 3] = ["mid", "late", "mid"];
pub const PROBE_EVERY: u64 = 2;
const EMBARGO: Duration = Duration::from_secs(30);
pub const CACHED_FOR: Duration = Duration::from_secs(3_600);
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

pub type Answer = Result<(), &'static str>;

#[derive(Clone, Debug)]
pub struct Model {
    pub gates: Gates,
    pub fast_path: bool,
    /// Steps from one checkpoint to the next.
    pub every: u64,
    pub now: Monotonic,
    pub wall: UnixTime,
    pub seeds: [Seed; 3],
    pub isolation: Breaker,
    pub kernels: Breaker,
    /// Ids that the manager remembers, when they were issued and from when on it has.
    pub admitted: Vec<(String, UnixTime, Monotonic)>,
    /// Whatever was issued by then is too old.
    pub watermark: Option<UnixTime>,
    pub failing: Vec<Kernel>,
    pub cached: BTreeMap<Kernel, Monotonic>,
    pub validation: Option<Valid>,
    pub step: u64,
    pub epoch: u64,
    /// The epoch that a command said to go back to.
    pub commanded: Option<u64>,
    /// What of it would outlive the process.
    pub disk: Disk,
    pub grafts: u64,
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
    /// No two grafts have the same.
    pub number: u64,
    pub kernel: Kernel,
    pub paused: bool,
    pub blend: Blend,
    pub schedule: Schedule,
    pub total: u64,
    pub blended: u64,
    pub fine_tune: u64,
    pub losses: usize,
    pub probes: u64,
    /// It shares a parameter with the host.
    pub shared: Option<Share>,
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
    pub fn new(gates: Gates, fast_path: bool, every: u64) -> Self {
        let seed = |slot| Seed { stage: SeedStageDormant, slot, graft: None, embargo_end: None, violations: 0 };
        Self {
            gates,
            fast_path,
            every,
            now: Monotonic::ORIGIN,
            wall: UnixTime::default(),
            seeds: SLOTS.map(seed),
            isolation: Breaker::Closed(0),
            kernels: Breaker::Closed(0),
            admitted: Vec::new(),
            watermark: None,
            failing: Vec::new(),
            cached: BTreeMap::new(),
            validation: None,
            step: 0,
            epoch: 0,
            commanded: None,
            disk: Disk::default(),
            grafts: 0,
            breaker_events: Vec::new(),
            gate_failures: Vec::new(),
        }
    }

    pub fn number(&mut self) -> u64 {
        self.grafts += 1;
        self.grafts
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
                self.disk.unsaved = true;
            }
        }
        for (name, breaker) in [("isolation", &mut self.isolation), ("kernels", &mut self.kernels)] {
            let event = breaker.allow(self.now).flatten();
            self.breaker_events.extend(event.map(|event| (name, event)));
        }
    }

    pub fn submit(&mut self, sent: &Sent, told: &str) -> Answer {
        self.tick();
        let before = self.clone();
        let verified = self.verify(sent, told);
        let answer = verified.and_then(|()| self.obey(sent, told));
        self.conclude(before, verified.is_ok().then_some(sent), answer)
    }

    /// What is no command of a sender that knows the secret.
    pub fn reject(&mut self, told: &str) -> Answer {
        self.tick();
        let before = self.clone();
        self.conclude(before, None, unreadable(told))
    }

    fn verify(&mut self, sent: &Sent, told: &str) -> Answer {
        match sent.how {
            How::Forged => return Err("invalid_signature"),
            How::Flipped(_) => return unreadable(told),
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
        let now = self.now;
        let (forgotten, known): (Vec<_>, Vec<_>) =
            self.admitted.drain(..).partition(|(_, _, at)| at.after(REMEMBERED_FOR) <= now);
        self.watermark = forgotten.iter().map(|(_, issued_at, _)| *issued_at).max().max(self.watermark);
        self.admitted = known;
        if self.admitted.iter().any(|(id, ..)| *id == sent.id) {
            return Err("nonce_replayed");
        }
        if self.watermark.is_some_and(|watermark| sent.issued_at <= watermark) {
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
        let named = if [Who::Unnamed, Who::All].contains(&sent.who) { Err("invalid_id") } else { Ok(()) };
        // What is understood waits where everything is about to go back.
        let free = self.commanded.map_or(Ok(()), |_| Err("rollback_pending"));
        let index = free.and(sent.who.index().ok_or("unknown_seed"));
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
            What::Rollback(Some(epoch)) if sent.who == Who::All => self.command_rollback(epoch),
            What::Rollback(None) if sent.who == Who::All => Err("malformed_command"),
            What::Rollback(epoch) => {
                named?;
                self.roll_back_seed(index?, epoch)
            }
            What::Pruning => Err("unsupported"),
        }
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
        self.disk.unsaved = true;
        true
    }
}

fn unreadable(told: &str) -> Answer {
    let allowed = ["malformed", "missing_signature", "invalid_signature"];
    Err(allowed.into_iter().find(|reason| *reason == told).unwrap_or(allowed[0]))
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
