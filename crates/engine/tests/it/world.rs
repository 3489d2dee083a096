//! A shell without tensors: it measures facts by decree and keeps the books that the engine's effects ask for.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use kasmina_blending::{AlphaSchedule, BlendConfig};
use kasmina_engine::{
    Decision, Effect, Engine, EngineSettings, Facts, Input, Seed, Stage, State, Want,
    commands::Order,
    input::{
        Fault, HostPassFacts, KernelFacts, KernelFailure, Learned, Ownership, ProbeFacts, Rehearsal, SeedCheckpoint,
        SeedPassFacts, StepFacts, Violation,
    },
    seed::{Contract, FineTune},
};
use kasmina_gates::GatePolicy;
use kasmina_leyline::{
    BlueprintId, Monotonic, SeedId, SlotId, TrainingRunId,
    v1::{BlueprintDescriptor, BlueprintTier, SeedLifecycleStage},
};

use crate::invariants;

pub const EMBARGO: Duration = Duration::from_secs(30);

pub struct World {
    pub engine: Engine,
    pub now: Monotonic,
    /// What the next facts will say.
    pub luck: Luck,
    /// Seeds whose kernels are in memory, as the effects say.
    pub attached: BTreeSet<SeedId>,
    /// Kernels that were asked for.
    pub fetching: BTreeMap<SeedId, BlueprintId>,
    /// Checkpoints by epoch.
    pub checkpoints: BTreeMap<u64, State>,
    /// Every delta in order: what a journal would hold.
    pub journal: Vec<kasmina_engine::Delta>,
    /// The stage of every seed as the events say.
    pub stages: BTreeMap<SeedId, SeedLifecycleStage>,
    /// The last refusal, for messages.
    pub last: Option<kasmina_engine::Refusal>,
}

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Luck {
    pub rehearsal: f32,
    pub registered: u64,
    pub packets: (u64, u64),
    pub pause_proven: bool,
    pub loss: f32,
    pub seed_loss: f32,
}

impl Default for Luck {
    fn default() -> Self {
        Self { rehearsal: 1.0, registered: 2, packets: (1, 1), pause_proven: true, loss: 1.0, seed_loss: 0.9 }
    }
}

/// Equality in which a NaN equals a NaN.
pub fn assert_same<T: std::fmt::Debug>(left: &T, right: &T, why: &str) {
    assert!(format!("{left:?}") == format!("{right:?}"), "{why}: {left:?} is not {right:?}");
}

pub fn seed(name: &str) -> SeedId {
    SeedId::new(name).unwrap()
}

pub fn blueprint() -> BlueprintId {
    BlueprintId::new("bottleneck").unwrap()
}

pub fn contract() -> Contract {
    Contract { rank: 2, channels: (4, 4), dtype: "f32".to_owned() }
}

pub fn settings() -> EngineSettings {
    EngineSettings { min_losses: 2, embargo: EMBARGO, ..EngineSettings::new(TrainingRunId::new("run-7").unwrap()) }
}

pub fn policy() -> GatePolicy {
    let mut policy = GatePolicy::default();
    policy.stability.min_losses = 2;
    policy
}

pub fn germinate(id: &SeedId) -> Order {
    Order::Germinate {
        seed: id.clone(),
        blueprint: blueprint(),
        tier: None,
        parameters: BTreeMap::new(),
        lr_scale: 1.0,
    }
}

pub fn graft(id: &SeedId) -> Order {
    let schedule = AlphaSchedule::Linear { total_steps: 2 };
    Order::StartGrafting { seed: id.clone(), blend: BlendConfig::residual(), schedule }
}

impl World {
    /// Seeds `a` and `b` at slot `mid`, `c` at slot `late`.
    pub fn new() -> Self {
        let mut world = Self {
            engine: Engine::new(settings(), policy()),
            now: Monotonic::ORIGIN,
            luck: Luck::default(),
            attached: BTreeSet::new(),
            fetching: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            journal: Vec::new(),
            stages: BTreeMap::new(),
            last: None,
        };
        for (id, slot) in [("a", "mid"), ("b", "mid"), ("c", "late")] {
            let decision = world.act(Input::Register(seed(id), SlotId::new(slot).unwrap()));
            assert_eq!(decision.answer, Ok(()));
        }
        world
    }

    /// One input through the door, with every invariant checked.
    pub fn act(&mut self, input: Input) -> Decision {
        let facts = self.facts(&input);
        let before = self.engine.state().clone();
        let decision = self.engine.decide(input.clone(), &facts, self.now);
        assert_same(self.engine.state(), &before, "a decision changes nothing");
        assert_same(&self.engine.decide(input.clone(), &facts, self.now), &decision, "and is the same each time");
        self.engine.commit(decision.delta.clone());
        self.journal.push(decision.delta.clone());
        self.last = decision.answer.clone().err().or(self.last.take());
        self.perform(&decision);
        invariants::hold(self, &before, &input, &decision);
        decision
    }

    pub fn order(&mut self, order: Order) -> Decision {
        self.act(Input::Order(order))
    }

    /// A seed on its way to `stage`, by the shortest way.
    pub fn grow(&mut self, id: &SeedId, stage: SeedLifecycleStage) {
        use SeedLifecycleStage::*;
        for _ in 0..64 {
            match self.stage(id) {
                now if now == stage => return,
                SeedStageDormant => drop(self.order(germinate(id))),
                SeedStageGerminated => drop(self.kernel_arrives(id)),
                SeedStageTraining => {
                    self.step(&[], &[]);
                    self.step(&[], &[]);
                    drop(self.order(graft(id)));
                }
                SeedStageBlending => {
                    self.step(&[], &[]);
                    drop(self.order(Order::Stabilize { seed: id.clone() }));
                }
                SeedStageShadowing => {
                    self.step(&[], &[]);
                    drop(self.order(Order::Evaluate { seed: id.clone() }));
                }
                SeedStageProbationary => {
                    self.step(&[], &[]);
                    drop(self.order(Order::Fossilize { seed: id.clone() }));
                }
                other => panic!("no way from {other:?} to {stage:?}: {:?}", self.last),
            }
        }
        panic!("{id} is {:?} and never became {stage:?}", self.stage(id));
    }

    pub fn kernel_arrives(&mut self, id: &SeedId) -> Decision {
        self.act(Input::KernelReady(
            id.clone(),
            KernelFacts { blueprint: blueprint(), contract: contract(), parameters: 2 },
        ))
    }

    pub fn kernel_fails(&mut self, id: &SeedId, source_failed: bool) -> Decision {
        let detail = "the file is not there".to_owned();
        let failure = KernelFailure { blueprint: blueprint(), reason: "artifact_missing", detail, source_failed };
        self.act(Input::KernelFailed(id.clone(), failure))
    }

    /// A whole training step.
    pub fn step(&mut self, faulty: &[SeedId], violating: &[SeedId]) {
        let fault = |seed: &SeedId| Fault {
            seed: seed.clone(),
            slot: SlotId::new("mid").unwrap(),
            reason: "shape",
            detail: "does not fit".to_owned(),
        };
        let violation = |seed: &SeedId| Violation { seed: seed.clone(), pass: "host", shared: 1, cosine: None };
        let (faults, violations) = (faulty.iter().map(fault).collect(), violating.iter().map(violation).collect());
        let _ = self.act(Input::HostPass(HostPassFacts { faults, violations }));
        let seeds: Vec<Seed> = self.engine.state().seeds.values().cloned().collect();
        let mut learned = BTreeMap::new();
        for Seed { id, stage, .. } in seeds {
            let Some(graft) = stage.graft().filter(|graft| !graft.paused) else { continue };
            let _ = graft;
            let latency = Duration::from_micros(10);
            match stage {
                Stage::Blending(..) => {
                    let facts = SeedPassFacts {
                        loss: Some(self.luck.seed_loss),
                        blend_latency: latency,
                        verify_latency: latency,
                        faults: Vec::new(),
                        violation: None,
                    };
                    let _ = self.act(Input::SeedPass(id.clone(), facts));
                }
                Stage::Shadowing(..) | Stage::Probationary(_, _, FineTune(0)) => {
                    let facts = ProbeFacts {
                        host_loss: self.luck.loss,
                        loss: Some(self.luck.seed_loss),
                        blend_latency: latency,
                        faults: Vec::new(),
                    };
                    let _ = self.act(Input::Probe(id.clone(), facts));
                }
                Stage::Probationary(..) => {
                    let facts = SeedPassFacts {
                        loss: Some(self.luck.seed_loss),
                        blend_latency: latency,
                        verify_latency: latency,
                        faults: Vec::new(),
                        violation: None,
                    };
                    let _ = self.act(Input::SeedPass(id.clone(), facts));
                }
                Stage::Dormant
                | Stage::Germinated(_)
                | Stage::Training(_)
                | Stage::Fossilized(..)
                | Stage::Culled
                | Stage::Embargoed(_)
                | Stage::Resetting
                | Stage::Terminated => {}
            }
            learned.insert(id, Learned { learning_rate: 0.01, gradient_norm: Some(1.0) });
        }
        let facts = StepFacts {
            host_loss: self.luck.loss,
            verify_latency: Duration::from_micros(10),
            clean: violating.is_empty(),
            learned,
        };
        let _ = self.act(Input::StepTaken(facts));
    }

    pub fn pass_time(&mut self, by: Duration) -> Decision {
        self.now = self.now.after(by);
        self.act(Input::Tick)
    }

    pub fn checkpoint(&mut self) {
        let state = self.engine.state().clone();
        self.checkpoints.insert(state.run.epoch, state);
    }

    pub fn stage(&self, id: &SeedId) -> SeedLifecycleStage {
        self.engine.state().stage(id).unwrap()
    }

    pub fn facts(&self, input: &Input) -> Facts {
        let mut facts = Facts::default();
        for want in self.engine.wants(input, self.now) {
            match want {
                Want::Descriptor(id) => {
                    let tier = BlueprintTier::Safe.into();
                    let descriptor =
                        BlueprintDescriptor { blueprint_id: id.to_string(), tier, ..BlueprintDescriptor::default() };
                    facts.descriptor = Some(Ok((id == blueprint()).then_some(descriptor)));
                }
                Want::Slot(_) => facts.slot = Some(contract()),
                Want::Rehearsal(_) => {
                    facts.rehearsal = Some(Rehearsal { loss: self.luck.rehearsal, gradient_norm: self.luck.rehearsal });
                }
                Want::Ownership(id) => {
                    let registered = if self.attached.contains(&id) { self.luck.registered } else { 0 };
                    facts.ownership.insert(id, Ownership { own: 2, registered, foreign: 0 });
                }
                Want::Packets(_) => facts.packets = Some(self.luck.packets),
                Want::PauseProof(_) => facts.pause_proven = Some(self.luck.pause_proven),
                Want::Epochs => facts.epochs = self.checkpoints.keys().copied().collect(),
                Want::Checkpoint(id, epoch) => {
                    let found = match epoch {
                        Some(epoch) => self.checkpoints.get_key_value(&epoch),
                        None => self.checkpoints.last_key_value(),
                    };
                    facts.checkpoint = found.map(|(epoch, state)| {
                        let seed = state.seeds.get(&id).cloned();
                        Ok(SeedCheckpoint { epoch: *epoch, seed, same_graft: true })
                    });
                }
            }
        }
        facts
    }

    /// Does what the effects say, as far as there are books to keep.
    fn perform(&mut self, decision: &Decision) {
        for effect in &decision.effects {
            match effect {
                Effect::Fetch { seed, blueprint } => drop(self.fetching.insert(seed.clone(), blueprint.clone())),
                Effect::Attach { seed } => {
                    assert!(self.fetching.remove(seed).is_some(), "{seed} got a kernel that it had not asked for");
                    assert!(self.attached.insert(seed.clone()), "{seed} got a second kernel");
                }
                Effect::Detach { seed } => {
                    self.fetching.remove(seed);
                    self.attached.remove(seed);
                }
                Effect::SaveWeights { seed } => assert!(self.attached.contains(seed), "{seed} has no weights"),
                Effect::RestoreSeed { seed, epoch } => {
                    assert!(self.attached.contains(seed) && self.checkpoints.contains_key(epoch));
                }
                Effect::CountPackets { .. } | Effect::Purge { .. } => {}
            }
        }
    }
}
