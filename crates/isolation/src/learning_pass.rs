//! The one pass in which all seeds learn that are blended in.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use burn::{module::AutodiffModule, optim::GradientsParams, tensor::Tensor};
use kasmina_blending::{GraftBackend, tap};
use kasmina_leyline::{SeedId, v1::SeedLifecycleStage::SeedStageFossilized};
use kasmina_registry::Ownership;

use crate::{
    Cast, Fault, GradientLedger, Grafts, HostPass, Idle, Participant, StepRng, Violation,
    behind::Behind,
    divide::{Division, divide},
    hunt::hunt,
};

/// The facts of the learning pass. Nothing has been stepped, and no seed has been culled.
#[derive(Debug, Default)]
pub struct LearningPass {
    /// The loss of the live view with all seeds that could take part; finite. `None` if no pass gave a finite loss.
    pub loss: Option<f32>,
    /// The gradients of the seeds that learned, in the order of their ids.
    pub gradients: Vec<(SeedId, GradientsParams)>,
    /// The seeds that make the loss not finite. The loss and all gradients are those without them.
    pub culprits: Vec<SeedId>,
    /// The seeds that share a parameter with the host or another kernel. The loss and all gradients are those without them.
    pub violations: Vec<Violation>,
    /// Grafts that failed, including those of seeds that do not learn.
    pub faults: Vec<Fault>,
    /// Seeds that would learn and got no gradients, because nothing depends on their slot.
    pub idle: Vec<(SeedId, Idle)>,
    /// The time of each seed's kernel and blend in the pass whose loss counts.
    pub blend_times: BTreeMap<SeedId, Duration>,
    /// The time that all forward and backward passes took.
    pub pass_time: Duration,
    /// The time that the verification took.
    pub verify_time: Duration,
}

/// Runs one forward and one backward pass of the live view over the batch of `pass`, for all seeds that learn behind the barrier:
/// BLENDING ones, and PROBATIONARY ones that are fine-tuned. `None` if there are none.
///
/// The host is a [frozen twin](crate::frozen_twin), and so is every kernel that does not learn. What is frozen is the barrier: no
/// gradient reaches the host, and a seed's gradients are those of a pass in which it learns alone and all others are frozen, up to
/// the order of sums.
///
/// If the loss is not finite, forward passes find the seeds without which it is, and the pass is run again without those. If none are
/// found, the loss is not finite without any of them either (a random mask that the host's pass did not draw, for example): then nobody
/// is to blame, and nobody learns from this batch. If a seed shares a parameter with the host or another kernel, by id or by tensor,
/// the pass is run again without it. So one bad seed costs the others nothing but time.
pub fn learning_pass<B: GraftBackend, H: AutodiffModule<B>>(
    host: &H,
    forward: &impl Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
    cast: &Cast<'_, B>,
    pass: &HostPass<B>,
    ownership: &dyn Ownership,
    rng: &StepRng<'_, B>,
) -> Option<LearningPass> {
    cast.learners().next()?;
    let behind = Behind { host, forward, cast, pass, rng, unsettled: cast.unsettled(&[]) };
    let (mut found, mut without) = (LearningPass::default(), BTreeSet::new());
    // Every round leaves at least one more seed out, so the loop ends.
    loop {
        let started = cast.clock().monotonic();
        let seen = behind.run(cast.learning_without(&without));
        let learners: Vec<_> = cast.learners().filter(|learner| !without.contains(learner.seed)).collect();
        found.see(seen.trace.faults.clone());
        if !seen.value.is_finite() {
            // Burn keeps a graph until a backward pass goes through it.
            drop(tap(seen.loss, None).backward());
            let culprits = hunt(&behind, &without, &seen.trace);
            found.pass_time += cast.clock().monotonic().since(started);
            if culprits.is_empty() {
                return Some(found);
            }
            without.extend(culprits.iter().cloned());
            found.culprits.extend(culprits);
            continue;
        }
        // The loss of a pass in which nobody learns has no graph of its own; a tap gives it one.
        let ledger = (!learners.is_empty()).then(|| GradientLedger::<B>::new(tap(seen.loss, None).backward()));
        let passed = cast.clock().monotonic();
        let violators: Vec<_> = found.violations.iter().map(|violation| &violation.seed).collect();
        let others = cast.participants().iter().filter(|other| {
            // A fossil's parameters are the host's.
            other.stage != SeedStageFossilized
                && !learners.iter().any(|learner| learner.seed == other.seed)
                && !violators.contains(&other.seed)
        });
        let others: Vec<&Participant<'_, B>> = others.collect();
        let divided = match ledger {
            None => Ok(Vec::new()),
            Some(ledger) => {
                divide(Division { host, host_pass: pass, learners, others, trace: &seen.trace, ownership }, ledger)
            }
        };
        found.pass_time += passed.since(started);
        found.verify_time += cast.clock().monotonic().since(passed);
        match divided {
            Err(violations) => {
                without.extend(violations.iter().map(|violation| violation.seed.clone()));
                found.violations.extend(violations);
            }
            Ok(gradients) => {
                found.loss = Some(seen.value);
                for (seed, gradients) in gradients {
                    match gradients {
                        Ok(gradients) => found.gradients.push((seed, gradients)),
                        Err(idle) => found.idle.push((seed, idle)),
                    }
                }
                found.blend_times = seen.trace.blend_times;
                return Some(found);
            }
        }
    }
}

impl LearningPass {
    /// Adds the faults of one more pass. What fails in one pass fails in the next.
    fn see(&mut self, faults: Vec<Fault>) {
        for fault in faults {
            if !self.faults.contains(&fault) {
                self.faults.push(fault);
            }
        }
    }
}
