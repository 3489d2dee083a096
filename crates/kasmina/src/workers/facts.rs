//! What passes have shown to several workers, made one.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use kasmina_engine::input::{Fault, HostPassFacts, Idle, LearningFacts, ProbeFacts, Violation};
use kasmina_leyline::{SeedId, SlotId};
use serde::{Deserialize, Serialize};

/// The reason of a fault that only other workers have had. Theirs is in the detail.
const FAULT_ELSEWHERE: &str = "fault_on_another_worker";

/// What the host's pass has shown to one worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HostPassed {
    pub(crate) loss: f32,
    /// Why this worker cannot take the step.
    pub(crate) refused: Option<String>,
    pub(crate) verify: Duration,
    seen: Seen,
}

/// What the learning pass has shown to one worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LearningPassed {
    loss: Option<f32>,
    learners: BTreeSet<SeedId>,
    culprits: Vec<SeedId>,
    /// Seeds that its gradients are without.
    left_out: BTreeSet<SeedId>,
    blend_latencies: BTreeMap<SeedId, Duration>,
    verify: Duration,
    seen: Seen,
}

/// What a probe has shown.
pub(crate) enum Probing {
    /// The batch says nothing of the seed.
    Nothing,
    /// No loss is finite. It is without all of these, or there are none and nothing mends it.
    Broken(Vec<SeedId>),
    Measured(ProbeFacts),
}

/// What a probe has shown to one worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Probed {
    Nothing,
    Broken(Vec<SeedId>),
    Measured { without: f32, with: Option<f32>, blend_latency: Option<Duration>, faults: Vec<FaultSeen> },
}

/// The host's pass, as all have seen it.
pub(crate) struct PassAgreed {
    pub(crate) loss: f32,
    pub(crate) verify: Duration,
    pub(crate) facts: HostPassFacts,
    /// The first worker that cannot take the step, and why.
    pub(crate) refused: Option<(usize, String)>,
}

/// The learning pass, as all have seen it.
pub(crate) struct LearningAgreed {
    pub(crate) facts: LearningFacts,
    /// Whether all workers have left out the same seeds. If not, their gradients are of different networks, and no seed learns from them.
    pub(crate) alike: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Seen {
    faults: Vec<FaultSeen>,
    violations: Vec<ViolationSeen>,
    idle: Vec<(SeedId, Idle)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FaultSeen {
    seed: SeedId,
    slot: SlotId,
    reason: String,
    detail: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ViolationSeen {
    seed: SeedId,
    in_host_pass: bool,
    shared: usize,
    cosine: Option<f32>,
    dot_product: Option<f32>,
}

impl HostPassed {
    pub(crate) fn new(loss: f32, refused: Option<String>, verify: Duration, facts: &HostPassFacts) -> Self {
        Self { loss, refused, verify, seen: Seen::of(&facts.faults, &facts.violations, &facts.idle) }
    }

    /// What all have seen, by rank. `own` is what this worker has.
    pub(crate) fn agree(all: &[Self], own: &HostPassFacts) -> PassAgreed {
        let seen: Vec<&Seen> = all.iter().map(|one| &one.seen).collect();
        let refused = all.iter().enumerate().find_map(|(worker, one)| Some((worker, one.refused.clone()?)));
        PassAgreed {
            loss: mean(all.iter().map(|one| one.loss)).unwrap_or(f32::NAN),
            verify: all.iter().map(|one| one.verify).max().unwrap_or_default(),
            facts: HostPassFacts {
                faults: faults(seen.iter().flat_map(|seen| &seen.faults), &own.faults),
                violations: violations(&seen),
                idle: idle(&seen),
            },
            refused,
        }
    }
}

impl LearningPassed {
    pub(crate) fn new(facts: &LearningFacts, left_out: BTreeSet<SeedId>) -> Self {
        Self {
            left_out,
            loss: facts.loss,
            learners: facts.learners.clone(),
            culprits: facts.culprits.clone(),
            blend_latencies: facts.blend_latencies.clone(),
            verify: facts.verify_latency,
            seen: Seen::of(&facts.faults, &facts.violations, &facts.idle),
        }
    }

    pub(crate) fn agree(all: &[Self], own: &LearningFacts) -> LearningAgreed {
        let seen: Vec<&Seen> = all.iter().map(|one| &one.seen).collect();
        let alike = all.windows(2).all(|two| two[0].left_out == two[1].left_out);
        let mut blend_latencies: BTreeMap<SeedId, Duration> = BTreeMap::new();
        for (seed, latency) in all.iter().flat_map(|one| &one.blend_latencies) {
            let longest = blend_latencies.entry(seed.clone()).or_default();
            *longest = (*longest).max(*latency);
        }
        let losses: Option<Vec<f32>> = all.iter().map(|one| one.loss).collect();
        let learners = all.iter().flat_map(|one| &one.learners).filter(|_| alike);
        let culprits: BTreeSet<_> = all.iter().flat_map(|one| &one.culprits).cloned().collect();
        let facts = LearningFacts {
            loss: losses.filter(|_| alike).and_then(mean),
            learners: learners.cloned().collect(),
            culprits: culprits.into_iter().collect(),
            blend_latencies,
            verify_latency: all.iter().map(|one| one.verify).max().unwrap_or_default(),
            faults: faults(seen.iter().flat_map(|seen| &seen.faults), &own.faults),
            violations: violations(&seen),
            idle: idle(&seen),
        };
        LearningAgreed { facts, alike }
    }
}

impl Probed {
    pub(crate) fn new(probing: &Probing) -> Self {
        match probing {
            Probing::Nothing => Self::Nothing,
            Probing::Broken(culprits) => Self::Broken(culprits.clone()),
            Probing::Measured(facts) => Self::Measured {
                without: facts.without,
                with: facts.with,
                blend_latency: facts.blend_latency,
                faults: facts.faults.iter().map(FaultSeen::of).collect(),
            },
        }
    }

    /// The mean over the workers whose batches say something. If the losses of one of them are broken, so is the probe.
    pub(crate) fn agree(all: &[Self], own: &Probing) -> Probing {
        let (mut culprits, mut broken) = (BTreeSet::new(), false);
        let (mut withouts, mut withs, mut latencies, mut seen) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for one in all {
            match one {
                Self::Nothing => {}
                Self::Broken(found) => {
                    broken = true;
                    culprits.extend(found.iter().cloned());
                }
                Self::Measured { without, with, blend_latency, faults } => {
                    withouts.push(*without);
                    withs.push(*with);
                    latencies.extend(*blend_latency);
                    seen.extend(faults);
                }
            }
        }
        if broken {
            return Probing::Broken(culprits.into_iter().collect());
        }
        let own = if let Probing::Measured(facts) = own { facts.faults.as_slice() } else { &[] };
        let Some(without) = mean(withouts) else { return Probing::Nothing };
        Probing::Measured(ProbeFacts {
            without,
            with: withs.into_iter().collect::<Option<Vec<f32>>>().and_then(mean),
            blend_latency: latencies.into_iter().max(),
            faults: faults(seen, own),
        })
    }
}

impl Seen {
    fn of(faults: &[Fault], violations: &[Violation], idle: &[(SeedId, Idle)]) -> Self {
        Self {
            faults: faults.iter().map(FaultSeen::of).collect(),
            violations: violations.iter().map(ViolationSeen::of).collect(),
            idle: idle.to_vec(),
        }
    }
}

impl FaultSeen {
    fn of(fault: &Fault) -> Self {
        let Fault { seed, slot, reason, detail } = fault;
        Self { seed: seed.clone(), slot: slot.clone(), reason: (*reason).to_owned(), detail: detail.clone() }
    }
}

impl ViolationSeen {
    fn of(violation: &Violation) -> Self {
        let Violation { seed, pass, shared, cosine, dot_product } = violation;
        let (cosine, dot_product) = (*cosine, *dot_product);
        Self { seed: seed.clone(), in_host_pass: *pass == Violation::HOST, shared: *shared, cosine, dot_product }
    }
}

/// One fault of each graft, in the order of their seeds. Reasons are words of this program, so those of others go into the detail.
fn faults<'a>(all: impl IntoIterator<Item = &'a FaultSeen>, own: &[Fault]) -> Vec<Fault> {
    let mut agreed = BTreeMap::new();
    for seen in all {
        let place = (seen.seed.clone(), seen.slot.clone());
        agreed.entry(place).or_insert_with(|| {
            let same = |fault: &&Fault| fault.seed == seen.seed && fault.slot == seen.slot;
            own.iter().find(same).cloned().unwrap_or_else(|| Fault {
                seed: seen.seed.clone(),
                slot: seen.slot.clone(),
                reason: FAULT_ELSEWHERE,
                detail: format!("{}: {}", seen.reason, seen.detail),
            })
        });
    }
    agreed.into_values().collect()
}

/// One violation of each seed, as the first worker has it that has one.
fn violations(all: &[&Seen]) -> Vec<Violation> {
    let mut agreed = BTreeMap::new();
    for seen in all.iter().flat_map(|seen| &seen.violations) {
        let pass = if seen.in_host_pass { Violation::HOST } else { Violation::SEED };
        agreed.entry(seen.seed.clone()).or_insert_with(|| Violation {
            seed: seen.seed.clone(),
            pass,
            shared: seen.shared,
            cosine: seen.cosine,
            dot_product: seen.dot_product,
        });
    }
    agreed.into_values().collect()
}

/// A seed is idle if no worker's gradient reaches it.
fn idle(all: &[&Seen]) -> Vec<(SeedId, Idle)> {
    let mut reasons: BTreeMap<&SeedId, Vec<Idle>> = BTreeMap::new();
    for (seed, reason) in all.iter().flat_map(|seen| &seen.idle) {
        reasons.entry(seed).or_default().push(*reason);
    }
    let everywhere = reasons.into_iter().filter(|(_, reasons)| reasons.len() == all.len());
    everywhere.filter_map(|(seed, reasons)| Some((seed.clone(), reasons.into_iter().max()?))).collect()
}

/// The mean, in the order of the ranks; `None` of nothing.
pub(crate) fn mean(values: impl IntoIterator<Item = f32>) -> Option<f32> {
    let (sum, count) = values.into_iter().fold((0.0_f64, 0_u32), |(sum, count), it| (sum + f64::from(it), count + 1));
    (count > 0).then(|| (sum / f64::from(count)) as f32)
}

/// Whether all workers that could tell have proved a pause; `None` if none could tell.
pub(crate) fn proven(all: &[Option<bool>]) -> Option<bool> {
    let told: Vec<bool> = all.iter().copied().flatten().collect();
    (!told.is_empty()).then(|| told.into_iter().all(|proven| proven))
}
