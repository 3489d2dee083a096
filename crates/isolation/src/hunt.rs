//! The search for the seeds that make the loss of the live view not finite.

use std::collections::BTreeSet;

use burn::{module::AutodiffModule, tensor::Tensor};
use kasmina_blending::GraftBackend;
use kasmina_leyline::{SeedId, v1::SeedLifecycleStage::SeedStageProbationary};

use crate::{Cast, Grafts, HostPass, Override, StepRng, Trace, behind::Behind};

/// The seeds that make the loss of the live view not finite over the batch of `pass`; none if it is finite, or is not without any of them
/// either. For steps in which nobody learns; a [learning pass](crate::learning_pass) finds them itself.
pub fn culprits<B: GraftBackend, H: AutodiffModule<B>>(
    host: &H,
    forward: &impl Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
    cast: &Cast<'_, B>,
    pass: &HostPass<B>,
    rng: &StepRng<'_, B>,
) -> Vec<SeedId> {
    let behind = Behind { host, forward, cast, pass, rng, unsettled: cast.unsettled(&[]) };
    let seen = behind.run(cast.measured(&[]));
    if seen.value.is_finite() { Vec::new() } else { hunt(&behind, &BTreeSet::new(), &seen.trace) }
}

/// The blended seeds without which the loss is finite; none if no subset of them gives a finite loss. Each forward pass reads one
/// loss; nothing has a graph.
///
/// If it is enough to leave one seed out, that is the culprit; a BLENDING seed is suspected before a PROBATIONARY one, which has
/// proved itself. If it takes several, they are put back one by one, PROBATIONARY ones first, and who makes the loss not finite stays
/// out.
pub(crate) fn hunt<B, H, F>(behind: &Behind<'_, B, H, F>, without: &BTreeSet<SeedId>, trace: &Trace<B>) -> Vec<SeedId>
where
    B: GraftBackend,
    H: AutodiffModule<B>,
    F: Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
{
    let finite = |out: &[&SeedId]| {
        let overrides: Vec<_> =
            without.iter().chain(out.iter().copied()).map(|seed| Override { seed, alpha: None }).collect();
        behind.run(behind.cast.measured(&overrides)).value.is_finite()
    };
    let suspected = behind.cast.blended().filter(|seed| !without.contains(seed.seed) && !trace.failed(seed.seed));
    let mut suspects: Vec<_> = suspected.collect();
    suspects.sort_by_key(|suspect| (suspect.stage == SeedStageProbationary, suspect.seed));
    let suspects: Vec<_> = suspects.into_iter().map(|suspect| suspect.seed).collect();
    if let Some(culprit) = suspects.iter().find(|suspect| finite(&[suspect])) {
        return vec![(*culprit).clone()];
    }
    // With one suspect, this has just been tried.
    if suspects.len() < 2 || !finite(&suspects) {
        return Vec::new();
    }
    let mut out = suspects.clone();
    for suspect in suspects.iter().rev() {
        let less: Vec<_> = out.iter().copied().filter(|other| other != suspect).collect();
        if finite(&less) {
            out = less;
        }
    }
    out.into_iter().cloned().collect()
}
