//! A shell without tensors: it measures facts by decree and keeps the books that the engine's effects ask for.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use kasmina_blending::{AlphaSchedule, BlendConfig};
use kasmina_engine::{
    Decision, Effect, Engine, EngineSettings, Event, Facts, Input, Measurement, Seed, State, Want,
    commands::Order,
    input::{
        Fault, HostPassFacts, Idle, KernelFacts, KernelFailure, KernelOrigin, Learned, LearningFacts, Ownership,
        ProbeFacts, Rehearsal, Remains, SeedCheckpoint, StepFacts, Violation,
    },
    seed::{Contract, Turn},
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
    /// Kinds of events that have happened, and reasons of culls, refusals and postponements.
    pub seen: BTreeSet<String>,
}

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Luck {
    pub rehearsal: f32,
    pub registered: u64,
    pub packets: (u64, u64),
    pub pause_proven: bool,
    pub origin: Option<KernelOrigin>,
    pub remains: Option<Remains>,
    /// The host's own loss, and that of the network without the seed that is probed.
    pub loss: f32,
    /// The loss of the network with every seed.
    pub seed_loss: f32,
    pub gradient_norm: Option<f32>,
    pub host_gradient_norm: Option<f32>,
    pub blend_latency: Duration,
}

impl Default for Luck {
    fn default() -> Self {
        Self {
            rehearsal: 1.0,
            registered: 2,
            packets: (1, 1),
            pause_proven: true,
            origin: Some(KernelOrigin::Verified),
            remains: Some(Remains::default()),
            loss: 1.0,
            seed_loss: 0.9,
            gradient_norm: Some(1.0),
            host_gradient_norm: Some(1.0),
            blend_latency: Duration::from_micros(10),
        }
    }
}

/// What goes wrong in one step.
#[derive(Clone, Debug, Default)]
pub struct Trouble {
    pub faulty: Vec<SeedId>,
    pub violating: Vec<SeedId>,
    pub idle: Vec<(SeedId, Idle)>,
    pub culprits: Vec<SeedId>,
    /// Seeds whose probes show this difference, loss without less loss with, and not that of [`Luck`].
    pub differences: BTreeMap<SeedId, f32>,
    /// Nothing is measured.
    pub blind: bool,
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
    Contract { rank: 2, channels: (4, 4), dtype: "f32".into() }
}

pub fn settings() -> EngineSettings {
    // A probe in every step, so that a seed's life is short.
    EngineSettings { probe_every: 1, embargo: EMBARGO, ..EngineSettings::new(TrainingRunId::new("run-7").unwrap()) }
}

pub fn policy() -> GatePolicy {
    let mut policy = GatePolicy::default();
    (policy.stability.min_steps, policy.stability.min_losses) = (2, 4);
    // Differences are all alike here, so three of them leave no doubt at a significance of a half.
    let impact = &mut policy.system_impact;
    (impact.min_probes, impact.min_probes_fossilize, impact.significance) = (1, 3, 0.5);
    policy
}

/// An event in a word or two.
fn what(event: &Event) -> String {
    match event {
        Event::Judged(verdict) if !verdict.passed() => format!("refused {}", verdict.reason),
        Event::Culled { why, .. } => format!("culled {why}"),
        Event::LifeEnded(ended) => format!("ended {:?}", ended.outcome),
        Event::Postponed(verdict) => format!("postponed {}", verdict.reason),
        Event::HuntEnded { culled } => {
            format!("hunt ended {}", if culled.is_some() { "with a cull" } else { "without" })
        }
        Event::EvidenceReset { join_withdrawn: true, .. } => "join withdrawn".to_owned(),
        Event::Moved(moved) if moved.from == SeedLifecycleStage::SeedStageFossilized => "fossil terminated".to_owned(),
        Event::Breaker(name, event) => format!("{name} {:?}", event.to),
        other => format!("{other:?}").chars().take_while(|letter| letter.is_alphabetic()).collect(),
    }
}

pub fn reason(decision: &Decision) -> &'static str {
    decision.answer.as_ref().map_or_else(kasmina_engine::Refusal::reason, |()| "ok")
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
    /// Seeds `a` and `b` at slot `mid`, `c` at slot `late`, and gates that need little evidence.
    pub fn new() -> Self {
        Self::of(settings(), policy(), &[("a", "mid"), ("b", "mid"), ("c", "late")])
    }

    /// The world as a user has it: the default policy, a probe every second step.
    pub fn strict(seeds: &[(&str, &str)]) -> Self {
        Self::of(EngineSettings { probe_every: 2, ..settings() }, GatePolicy::default(), seeds)
    }

    pub fn of(settings: EngineSettings, policy: GatePolicy, seeds: &[(&str, &str)]) -> Self {
        let mut world = Self {
            engine: Engine::new(settings, policy),
            now: Monotonic::ORIGIN,
            luck: Luck::default(),
            attached: BTreeSet::new(),
            fetching: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            journal: Vec::new(),
            stages: BTreeMap::new(),
            last: None,
            seen: BTreeSet::new(),
        };
        for (id, slot) in seeds {
            let decision = world.act(Input::Register(seed(id), SlotId::new(*slot).unwrap()));
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
        self.seen.extend(decision.events.iter().map(what));
        self.seen.extend(decision.answer.as_ref().err().map(|refusal| refusal.reason().to_owned()));
        self.perform(&decision);
        invariants::hold(self, &before, &input, &decision);
        decision
    }

    /// CULL of a seed over so many steps.
    pub fn cull(&mut self, id: &SeedId, blend_out_steps: u32) -> Decision {
        self.order(Order::Cull { seed: id.clone(), blend_out_steps })
    }

    pub fn order(&mut self, order: Order) -> Decision {
        self.act(Input::Order(order))
    }

    /// A seed on its way to `stage`, by the shortest way.
    pub fn grow(&mut self, id: &SeedId, stage: SeedLifecycleStage) {
        for _ in 0..200 {
            if self.stage(id) == stage {
                return;
            }
            assert!(self.onward(id), "no way from {:?} to {stage:?}: {:?}", self.stage(id), self.last);
        }
        panic!("{id} is {:?} and never became {stage:?}", self.stage(id));
    }

    /// A step, and the order that leads a seed on, if one does.
    pub fn onward(&mut self, id: &SeedId) -> bool {
        let Some(stage) = self.engine.state().stage(id) else { return false };
        let order = match stage {
            SeedLifecycleStage::SeedStageDormant => {
                drop(self.order(germinate(id)));
                return true;
            }
            SeedLifecycleStage::SeedStageGerminated => {
                drop(self.kernel_arrives(id));
                return true;
            }
            SeedLifecycleStage::SeedStageTraining => graft(id),
            SeedLifecycleStage::SeedStageBlending => Order::Stabilize { seed: id.clone() },
            SeedLifecycleStage::SeedStageShadowing => Order::Evaluate { seed: id.clone() },
            SeedLifecycleStage::SeedStageProbationary => Order::Fossilize { seed: id.clone() },
            _ => return false,
        };
        self.plain_step();
        drop(self.order(order));
        self.settle();
        true
    }

    /// Hands the model what has been answered: kernels that join it, and kernels that leave it.
    pub fn settle(&mut self) {
        let ids = |seeds: Vec<&Seed>| seeds.into_iter().map(|seed| seed.id.clone()).collect::<Vec<_>>();
        let state = self.engine.state();
        let (joined, removed) = (ids(state.joining().collect()), ids(state.terminated_fossils().collect()));
        if !(joined.is_empty() && removed.is_empty()) {
            assert_eq!(self.act(Input::ModelSettled { joined, removed }).answer, Ok(()));
        }
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

    /// A whole training step in which nothing goes wrong.
    pub fn plain_step(&mut self) -> Vec<Decision> {
        self.step(&Trouble::default())
    }

    /// A whole training step, as the shell drives it.
    pub fn step(&mut self, trouble: &Trouble) -> Vec<Decision> {
        let fault = |seed: &SeedId| Fault {
            seed: seed.clone(),
            slot: SlotId::new("mid").unwrap(),
            reason: "shape",
            detail: "does not fit".to_owned(),
        };
        let violation =
            |seed: &SeedId| Violation { seed: seed.clone(), pass: "host", shared: 1, cosine: None, dot_product: None };
        let faults = trouble.faulty.iter().map(fault).collect();
        let violations = trouble.violating.iter().map(violation).collect();
        self.settle();
        let mut decisions = vec![
            self.act(Input::HostPass(HostPassFacts { faults, violations, idle: trouble.idle.clone() })),
            self.act(Input::AlphaAdvanced),
        ];

        let whose = |world: &Self, turn| {
            let seeds = world.engine.state().seeds.values().filter(|seed| seed.stage.turn() == turn);
            seeds.map(|seed| seed.id.clone()).collect::<BTreeSet<_>>()
        };
        let learners = whose(self, Turn::Learns);
        if !learners.is_empty() {
            let culprits: Vec<_> = trouble.culprits.iter().filter(|id| learners.contains(*id)).cloned().collect();
            let idle: Vec<_> = trouble.idle.iter().filter(|(id, _)| learners.contains(id)).cloned().collect();
            let clean = |id: &&SeedId| !culprits.contains(id) && idle.iter().all(|(seed, _)| seed != *id);
            decisions.push(self.act(Input::LearningPass(LearningFacts {
                loss: Some(self.luck.seed_loss).filter(|loss| loss.is_finite()),
                learners: learners.iter().filter(clean).cloned().collect(),
                blend_latencies: learners.iter().map(|id| (id.clone(), self.luck.blend_latency)).collect(),
                verify_latency: Duration::from_micros(10),
                culprits,
                idle,
                ..LearningFacts::default()
            })));
        }
        let state = self.engine.state();
        let mut measurements = state.measurements(state.run.step + 1, self.engine.settings());
        measurements.retain(|_| !trouble.blind);
        for measurement in measurements {
            decisions.push(self.act(match measurement {
                Measurement::Probe(id) => {
                    let with = trouble.differences.get(&id).map_or(self.luck.seed_loss, |by| self.luck.loss - by);
                    let (without, blend_latency) = (self.luck.loss, Some(self.luck.blend_latency));
                    Input::Probe(id, ProbeFacts { without, with: Some(with), blend_latency, faults: Vec::new() })
                }
                Measurement::Interaction(one, other) => Input::Interaction { seeds: (one, other), value: 0.1 },
                Measurement::PauseProof(id) => Input::PauseProof(id, self.luck.pause_proven),
            }));
        }
        let mut learned = BTreeMap::new();
        for id in whose(self, Turn::Rides).into_iter().chain(whose(self, Turn::Learns)) {
            if trouble.idle.iter().all(|(idle, _)| *idle != id) {
                learned.insert(id, Learned { learning_rate: 0.01, gradient_norm: self.luck.gradient_norm });
            }
        }
        decisions.push(self.act(Input::StepTaken(StepFacts {
            host_loss: self.luck.loss,
            host_gradient_norm: self.luck.host_gradient_norm,
            verify_latency: Duration::from_micros(10),
            clean: trouble.violating.is_empty(),
            learned,
        })));
        decisions
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
                Want::Origin(id) => facts.origins.extend(self.luck.origin.map(|origin| (id, origin))),
                Want::Remains(id) => facts.remains.extend(self.luck.remains.map(|remains| (id, remains))),
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
                Effect::HandOver { seed } => assert!(self.attached.remove(seed), "{seed} has no kernel to hand over"),
                Effect::SaveWeights { seed } => assert!(self.attached.contains(seed), "{seed} has no weights"),
                Effect::RestoreSeed { seed, epoch } => {
                    assert!(self.attached.contains(seed) && self.checkpoints.contains_key(epoch));
                }
                Effect::CountPackets { .. } | Effect::Purge { .. } => {}
            }
        }
    }
}
