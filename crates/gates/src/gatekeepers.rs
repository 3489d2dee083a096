//! The seam: seven gatekeepers in one.

use std::fmt;

use kasmina_leyline::v1::SeedLifecycleStage;
use kasmina_lifecycle::{
    Evaluate, Finding, Fossilize, Gatekeeper, Germinate, GuardedMove, Reset, Stabilize, StartGrafting, StartTraining,
    Subject,
};

use crate::{
    GradientHealthEvidence, InterfaceEvidence, ResetEvidence, SanityEvidence, StabilityEvidence, SystemImpactEvidence,
};

/// A gatekeeper for every guarded move. Whatever implements [`Gatekeeper`] for all seven with the evidence of this crate
/// is one; there is nothing else to implement.
///
/// It can be boxed: `Box<dyn Gatekeepers + Send + Sync>` judges like what is in the box.
///
/// A wrong yes cannot be taken back at FOSSILIZED, and a wrong no costs a seed. So a gatekeeper must refuse evidence that it
/// does not understand, and every gatekeeper refuses evidence of another stage with `stage_mismatch` before it looks at
/// anything else ([`check_stage`]).
pub trait Gatekeepers:
    fmt::Debug
    + Gatekeeper<Germinate, Evidence = SanityEvidence>
    + Gatekeeper<StartTraining, Evidence = GradientHealthEvidence>
    + Gatekeeper<StartGrafting, Evidence = StabilityEvidence>
    + Gatekeeper<Stabilize, Evidence = InterfaceEvidence>
    + Gatekeeper<Evaluate, Evidence = SystemImpactEvidence>
    + Gatekeeper<Fossilize, Evidence = SystemImpactEvidence>
    + Gatekeeper<Reset, Evidence = ResetEvidence>
{
}

impl<G> Gatekeepers for G where
    G: fmt::Debug
        + Gatekeeper<Germinate, Evidence = SanityEvidence>
        + Gatekeeper<StartTraining, Evidence = GradientHealthEvidence>
        + Gatekeeper<StartGrafting, Evidence = StabilityEvidence>
        + Gatekeeper<Stabilize, Evidence = InterfaceEvidence>
        + Gatekeeper<Evaluate, Evidence = SystemImpactEvidence>
        + Gatekeeper<Fossilize, Evidence = SystemImpactEvidence>
        + Gatekeeper<Reset, Evidence = ResetEvidence>
        + ?Sized
{
}

/// A guarded move together with the evidence that its gate looks at. Implemented for all seven, so that one generic
/// implementation of [`Gatekeeper`] can serve them all.
pub trait Gated: GuardedMove {
    /// The evidence of the move's gate.
    type Evidence: Evidence;
}

/// What all kinds of evidence have in common.
pub trait Evidence: Clone + fmt::Debug + PartialEq + Into<AnyEvidence> {
    /// The stage that the evidence was gathered in.
    fn expected_stage(&self) -> SeedLifecycleStage;
}

/// Evidence of some gate.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum AnyEvidence {
    Sanity(SanityEvidence),
    GradientHealth(GradientHealthEvidence),
    Stability(StabilityEvidence),
    Interface(InterfaceEvidence),
    SystemImpact(SystemImpactEvidence),
    Reset(ResetEvidence),
}

macro_rules! evidence {
    ($($evidence:ident: $any:ident, $($guarded:ident)+;)*) => {$(
        impl Evidence for $evidence {
            fn expected_stage(&self) -> SeedLifecycleStage {
                self.expected_stage
            }
        }

        impl From<$evidence> for AnyEvidence {
            fn from(evidence: $evidence) -> Self {
                Self::$any(evidence)
            }
        }

        $(impl Gated for $guarded {
            type Evidence = $evidence;
        })+
    )*};
}

evidence! {
    SanityEvidence: Sanity, Germinate;
    GradientHealthEvidence: GradientHealth, StartTraining;
    StabilityEvidence: Stability, StartGrafting;
    InterfaceEvidence: Interface, Stabilize;
    SystemImpactEvidence: SystemImpact, Evaluate Fossilize;
    ResetEvidence: Reset, Reset;
}

/// The first check of every gate: the evidence is of the stage that the seed is in.
///
/// # Errors
/// The refusal `stage_mismatch`, with both stages.
#[expect(clippy::result_large_err, reason = "a finding lies in place, so that a gate that passes allocates nothing")]
pub fn check_stage(subject: &Subject<'_>, expected: SeedLifecycleStage) -> Result<(), Finding> {
    if subject.stage == expected {
        return Ok(());
    }
    Err(Finding::refuse("stage_mismatch")
        .with("expected", expected.as_str_name())
        .with("stage", subject.stage.as_str_name()))
}

/// Refuses every move, with the reason `no_gatekeeper`. It stands in where no policy was configured: a seed that nobody
/// judges goes nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefuseAll;

impl<M: Gated> Gatekeeper<M> for RefuseAll {
    type Evidence = M::Evidence;

    fn judge(&self, subject: &Subject<'_>, evidence: &M::Evidence) -> Finding {
        match check_stage(subject, evidence.expected_stage()) {
            Ok(()) => Finding::refuse("no_gatekeeper"),
            Err(refusal) => refusal,
        }
    }
}
