//! The guarded moves as types.

use kasmina_leyline::v1::{
    SeedLifecycleGate::{
        self, SeedGateG0Sanity, SeedGateG1GradientHealth, SeedGateG2Stability, SeedGateG3Interface,
        SeedGateG4SystemImpact, SeedGateG5Reset,
    },
    SeedLifecycleStage::{
        self, SeedStageBlending, SeedStageDormant, SeedStageFossilized, SeedStageGerminated, SeedStageProbationary,
        SeedStageResetting, SeedStageShadowing, SeedStageTraining,
    },
};

/// A guarded move of the [table](crate::TABLE). Sealed: one type for each guarded row, no others.
pub trait GuardedMove: sealed::Sealed {
    /// The stage it leaves.
    const FROM: SeedLifecycleStage;
    /// The stage it enters.
    const TO: SeedLifecycleStage;
    /// The gate that guards it.
    const GATE: SeedLifecycleGate;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! guarded_moves {
    ($($(#[$doc:meta])* $name:ident: $from:ident, $gate:ident, $to:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub enum $name {}

        impl sealed::Sealed for $name {}

        impl GuardedMove for $name {
            const FROM: SeedLifecycleStage = $from;
            const TO: SeedLifecycleStage = $to;
            const GATE: SeedLifecycleGate = $gate;
        }
    )*};
}

guarded_moves! {
    /// DORMANT to GERMINATED, past G0.
    Germinate: SeedStageDormant, SeedGateG0Sanity, SeedStageGerminated;
    /// GERMINATED to TRAINING, past G1.
    StartTraining: SeedStageGerminated, SeedGateG1GradientHealth, SeedStageTraining;
    /// TRAINING to BLENDING, past G2.
    StartGrafting: SeedStageTraining, SeedGateG2Stability, SeedStageBlending;
    /// BLENDING to SHADOWING, past G3.
    Stabilize: SeedStageBlending, SeedGateG3Interface, SeedStageShadowing;
    /// SHADOWING to PROBATIONARY, past G4.
    Evaluate: SeedStageShadowing, SeedGateG4SystemImpact, SeedStageProbationary;
    /// PROBATIONARY to FOSSILIZED, past G4 on the live view.
    Fossilize: SeedStageProbationary, SeedGateG4SystemImpact, SeedStageFossilized;
    /// RESETTING to DORMANT, past G5.
    Reset: SeedStageResetting, SeedGateG5Reset, SeedStageDormant;
}
