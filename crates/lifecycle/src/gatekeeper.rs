//! Who judges.

use kasmina_leyline::{SeedId, v1::SeedLifecycleStage};

use crate::{Finding, GuardedMove};

/// The seed before the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    /// Which seed.
    pub seed_id: &'a SeedId,
    /// The stage it is in.
    pub stage: SeedLifecycleStage,
}

/// Judges whether a seed may make the move `M`.
///
/// A wrong yes lets a seed closer to the host than it has earned: before BLENDING that costs compute, after it the model's
/// quality, at FOSSILIZED for good. A wrong no costs one seed, which can germinate again after its embargo.
pub trait Gatekeeper<M: GuardedMove> {
    /// What it must be shown.
    type Evidence;

    /// What it finds. Depends on nothing but the arguments and its own settings.
    fn judge(&self, subject: &Subject<'_>, evidence: &Self::Evidence) -> Finding;
}

impl<M: GuardedMove, G: Gatekeeper<M> + ?Sized> Gatekeeper<M> for &G {
    type Evidence = G::Evidence;

    fn judge(&self, subject: &Subject<'_>, evidence: &Self::Evidence) -> Finding {
        (**self).judge(subject, evidence)
    }
}

/// Lets nobody pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoGatekeeper;

impl<M: GuardedMove> Gatekeeper<M> for NoGatekeeper {
    type Evidence = ();

    fn judge(&self, _: &Subject<'_>, (): &()) -> Finding {
        Finding::refuse("no_gatekeeper")
    }
}
