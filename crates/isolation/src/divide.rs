//! Whose gradients the learning pass gave, and who got some that it must not get.

use std::collections::BTreeSet;

use burn::{
    module::{AutodiffModule, ParamId},
    optim::GradientsParams,
};
use kasmina_blending::GraftBackend;
use kasmina_leyline::{SeedId, v1::SeedLifecycleStage::SeedStageProbationary};
use kasmina_registry::{Owner, Ownership, parameter_ids};

use crate::{GradientLedger, HostPass, Idle, Participant, Pass, Trace, Violation, overlap};

/// The parties of a learning pass.
pub(crate) struct Division<'a, B: GraftBackend, H> {
    pub(crate) host: &'a H,
    pub(crate) host_pass: &'a HostPass<B>,
    /// Who learns in the pass.
    pub(crate) learners: Vec<&'a Participant<'a, B>>,
    /// Whose parameters must get no gradient.
    pub(crate) others: Vec<&'a Participant<'a, B>>,
    pub(crate) trace: &'a Trace<B>,
    pub(crate) ownership: &'a dyn Ownership,
}

/// The gradients of each learner whose graft has not failed, or why it has none.
pub(crate) type Divided = Vec<(SeedId, Result<GradientsParams, Idle>)>;

/// Splits the gradients of a pass among the learners, if they can be separated.
///
/// # Errors
/// The seeds that share a parameter with the host or another kernel. Of two learners that share, the one to blame is the one that the
/// registry does not know as the owner; if it knows both, the one that is not PROBATIONARY; if that tells nothing, the later by id.
pub(crate) fn divide<B: GraftBackend, H: AutodiffModule<B>>(
    Division { host, host_pass, mut learners, others, trace, ownership }: Division<'_, B, H>,
    mut ledger: GradientLedger<B>,
) -> Result<Divided, Vec<Violation>> {
    learners.sort_by_key(|learner| (learner.stage != SeedStageProbationary, learner.seed));
    // Only a module that shares a tensor with a learner has a gradient.
    let reached = |ledger: &GradientLedger<B>| -> BTreeSet<ParamId> {
        let kernels = others.iter().flat_map(|other| ledger.present(other.kernel));
        kernels.chain(ledger.present(host)).collect()
    };
    let foreign: BTreeSet<_> =
        others.iter().flat_map(|other| parameter_ids(other.kernel)).chain(parameter_ids(host)).collect();
    let mut left = reached(&ledger);
    // Of the foreign parameters with a gradient, those that share it with whoever has just taken its own.
    let freed = |left: &mut BTreeSet<ParamId>, ledger: &GradientLedger<B>| -> BTreeSet<ParamId> {
        if left.is_empty() {
            return BTreeSet::new();
        }
        let still = reached(ledger);
        let freed = left.difference(&still).copied().collect();
        *left = still;
        freed
    };
    // What the host would have got from the seeds.
    let there = (!left.is_empty()).then(|| ledger.copy(host));
    let present: Vec<_> = learners.iter().map(|learner| ledger.present(learner.kernel)).collect();
    let (mut divided, mut violations, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for (learner, present) in learners.into_iter().zip(present) {
        let seed = learner.seed.clone();
        let shared = match check(learner, &present, &foreign, ownership) {
            Err(shared) => {
                refused.push((learner, shared));
                continue;
            }
            Ok(()) => take(learner, &present, &mut ledger),
        };
        let gradients = match shared {
            Ok(gradients) => gradients,
            Err(shared) => {
                violations.push((seed, shared));
                continue;
            }
        };
        let shared = freed(&mut left, &ledger);
        if !shared.is_empty() {
            violations.push((seed, shared));
        } else if !trace.failed(&seed) {
            // A seed with a fault is left out of the step.
            let idle = present.is_empty().then(|| Idle::at(trace.reached(learner.slot)));
            divided.push((seed, idle.map_or(Ok(gradients), Err)));
        }
    }
    // Only now, so that nobody misses what one of these shares with it.
    for (learner, mut shared) in refused {
        drop(ledger.take_all(learner.kernel));
        shared.extend(freed(&mut left, &ledger));
        violations.push((learner.seed.clone(), shared));
    }
    if violations.is_empty() {
        divided.sort_by(|(one, _), (other, _)| one.cmp(other));
        return Ok(divided);
    }
    let violation = |(seed, shared): (SeedId, BTreeSet<ParamId>)| {
        let there = there.as_ref();
        let overlap = there.and_then(|there| overlap::<B, _>(host, &host_pass.gradients, there, &shared));
        Violation { seed, pass: Pass::Seed, shared, overlap }
    };
    Err(violations.into_iter().map(violation).collect())
}

/// Whether the parameters of the learner that have a gradient are its own, by their ids.
fn check<B: GraftBackend>(
    learner: &Participant<'_, B>,
    present: &BTreeSet<ParamId>,
    foreign: &BTreeSet<ParamId>,
    ownership: &dyn Ownership,
) -> Result<(), BTreeSet<ParamId>> {
    let allowed = ownership.validate_update(&Owner::Seed(learner.seed.clone()), present);
    allowed.map_err(|refusal| BTreeSet::from([refusal.parameter()]))?;
    let shared: BTreeSet<_> = present.intersection(foreign).copied().collect();
    if shared.is_empty() { Ok(()) } else { Err(shared) }
}

/// The learner's gradients, if nobody before it has taken one of them.
fn take<B: GraftBackend>(
    learner: &Participant<'_, B>,
    present: &BTreeSet<ParamId>,
    ledger: &mut GradientLedger<B>,
) -> Result<GradientsParams, BTreeSet<ParamId>> {
    let missing: BTreeSet<_> = present.difference(&ledger.present(learner.kernel)).copied().collect();
    if missing.is_empty() { ledger.take(learner.kernel) } else { Err(missing) }
}
