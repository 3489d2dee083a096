//! Whose gradients the learning pass gave, and who got some that it must not get.

use std::collections::BTreeSet;

use burn::{
    module::{AutodiffModule, ParamId},
    optim::GradientsParams,
};
use kasmina_blending::GraftBackend;
use kasmina_leyline::{SeedId, v1::SeedLifecycleStage::SeedStageProbationary};
use kasmina_registry::{Owner, Ownership, parameter_ids};

use crate::{GradientLedger, HostPass, Idle, Participant, Pass, Trace, Violation, cosine_similarity};

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
    // What the host would have got from the seeds.
    let there = (!left.is_empty()).then(|| ledger.copy(host));
    let present: Vec<_> = learners.iter().map(|learner| ledger.present(learner.kernel)).collect();
    let (mut divided, mut violations) = (Vec::new(), Vec::new());
    for (learner, present) in learners.into_iter().zip(present) {
        let seed = learner.seed.clone();
        match take(learner, &present, &foreign, &mut ledger, ownership) {
            Err(shared) => violations.push((seed, shared)),
            Ok(gradients) => {
                let still = if left.is_empty() { BTreeSet::new() } else { reached(&ledger) };
                let shared: BTreeSet<_> = left.difference(&still).copied().collect();
                left = still;
                if !shared.is_empty() {
                    violations.push((seed, shared));
                } else if trace.failed(&seed) {
                    // A seed with a fault is left out of the step.
                } else if present.is_empty() {
                    divided.push((seed, Err(Idle::at(trace.reached(learner.slot)))));
                } else {
                    divided.push((seed, Ok(gradients)));
                }
            }
        }
    }
    if violations.is_empty() {
        divided.sort_by(|(one, _), (other, _)| one.cmp(other));
        return Ok(divided);
    }
    let violation = |(seed, shared): (SeedId, BTreeSet<ParamId>)| {
        let there = there.as_ref();
        let cosine = there.and_then(|there| cosine_similarity::<B, _>(host, &host_pass.gradients, there, &shared));
        Violation { seed, pass: Pass::Seed, shared, cosine }
    };
    Err(violations.into_iter().map(violation).collect())
}

/// The learner's gradients, if its parameters are its own and nobody before it has taken them.
fn take<B: GraftBackend>(
    learner: &Participant<'_, B>,
    present: &BTreeSet<ParamId>,
    foreign: &BTreeSet<ParamId>,
    ledger: &mut GradientLedger<B>,
    ownership: &dyn Ownership,
) -> Result<GradientsParams, BTreeSet<ParamId>> {
    let allowed = ownership.validate_update(&Owner::Seed(learner.seed.clone()), present);
    allowed.map_err(|refusal| BTreeSet::from([refusal.parameter()]))?;
    let by_id: BTreeSet<_> = present.intersection(foreign).copied().collect();
    let missing: BTreeSet<_> = present.difference(&ledger.present(learner.kernel)).copied().collect();
    for shared in [by_id, missing] {
        if !shared.is_empty() {
            return Err(shared);
        }
    }
    ledger.take(learner.kernel)
}
