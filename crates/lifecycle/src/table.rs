//! The table of moves.

use kasmina_leyline::v1::{
    SeedLifecycleGate::{
        self, SeedGateG0Sanity, SeedGateG1GradientHealth, SeedGateG2Stability, SeedGateG3Interface,
        SeedGateG4SystemImpact, SeedGateG5Reset,
    },
    SeedLifecycleStage::{
        self, SeedStageBlending, SeedStageCulled, SeedStageDormant, SeedStageEmbargoed, SeedStageFossilized,
        SeedStageGerminated, SeedStageProbationary, SeedStageResetting, SeedStageShadowing, SeedStageTerminated,
        SeedStageTraining, SeedStageUnknown,
    },
};

/// A move that seeds can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    #[allow(missing_docs, reason = "the name says it")]
    pub from: SeedLifecycleStage,
    #[allow(missing_docs, reason = "the name says it")]
    pub to: SeedLifecycleStage,
    /// The gate that must pass on the way, if any.
    pub gate: Option<SeedLifecycleGate>,
}

/// Every move. A pair of stages that is not listed here is refused.
pub const TABLE: [Move; 25] = [
    free(SeedStageUnknown, SeedStageDormant),
    guarded(SeedStageDormant, SeedGateG0Sanity, SeedStageGerminated),
    free(SeedStageDormant, SeedStageTerminated),
    guarded(SeedStageGerminated, SeedGateG1GradientHealth, SeedStageTraining),
    free(SeedStageGerminated, SeedStageCulled),
    free(SeedStageGerminated, SeedStageTerminated),
    guarded(SeedStageTraining, SeedGateG2Stability, SeedStageBlending),
    free(SeedStageTraining, SeedStageCulled),
    free(SeedStageTraining, SeedStageTerminated),
    guarded(SeedStageBlending, SeedGateG3Interface, SeedStageShadowing),
    free(SeedStageBlending, SeedStageCulled),
    free(SeedStageBlending, SeedStageTerminated),
    guarded(SeedStageShadowing, SeedGateG4SystemImpact, SeedStageProbationary),
    free(SeedStageShadowing, SeedStageCulled),
    free(SeedStageShadowing, SeedStageTerminated),
    guarded(SeedStageProbationary, SeedGateG4SystemImpact, SeedStageFossilized),
    free(SeedStageProbationary, SeedStageCulled),
    free(SeedStageProbationary, SeedStageTerminated),
    free(SeedStageFossilized, SeedStageTerminated),
    free(SeedStageCulled, SeedStageEmbargoed),
    free(SeedStageCulled, SeedStageTerminated),
    free(SeedStageEmbargoed, SeedStageResetting),
    free(SeedStageEmbargoed, SeedStageTerminated),
    guarded(SeedStageResetting, SeedGateG5Reset, SeedStageDormant),
    free(SeedStageResetting, SeedStageTerminated),
];

const fn free(from: SeedLifecycleStage, to: SeedLifecycleStage) -> Move {
    Move { from, to, gate: None }
}

const fn guarded(from: SeedLifecycleStage, gate: SeedLifecycleGate, to: SeedLifecycleStage) -> Move {
    Move { from, to, gate: Some(gate) }
}

/// The table's row for this pair.
pub(crate) fn find(from: SeedLifecycleStage, to: SeedLifecycleStage) -> Option<Move> {
    TABLE.into_iter().find(|entry| entry.from == from && entry.to == to)
}
