//! The seam between the machine and whoever judges.

use kasmina_leyline::{SeedId, v1::SeedLifecycleStage};

use crate::{Finding, GuardedMove};

/// The seed that stands before a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Subject<'a> {
    pub seed_id: &'a SeedId,
    /// The stage that the machine has it in, whatever the evidence claims.
    pub stage: SeedLifecycleStage,
}

/// Judges whether a seed may make the move `M`.
///
/// A wrong yes lets a seed closer to the host than it has earned: before BLENDING that costs compute, from then on the
/// model's quality, and at FOSSILIZED the damage is permanent. A wrong no costs one seed, which can germinate again after
/// its embargo. A postponement costs time: give it for whatever is not the seed's fault, and whatever more evidence can settle.
pub trait Gatekeeper<M: GuardedMove> {
    /// What the gatekeeper looks at.
    type Evidence;

    /// Judges the seed. The answer depends only on the arguments and on the gatekeeper's own settings.
    fn judge(&self, subject: &Subject<'_>, evidence: &Self::Evidence) -> Finding;
}

impl<M: GuardedMove, G: Gatekeeper<M> + ?Sized> Gatekeeper<M> for &G {
    type Evidence = G::Evidence;

    fn judge(&self, subject: &Subject<'_>, evidence: &Self::Evidence) -> Finding {
        (**self).judge(subject, evidence)
    }
}

impl<M: GuardedMove, G: Gatekeeper<M> + ?Sized> Gatekeeper<M> for Box<G> {
    type Evidence = G::Evidence;

    fn judge(&self, subject: &Subject<'_>, evidence: &Self::Evidence) -> Finding {
        (**self).judge(subject, evidence)
    }
}
