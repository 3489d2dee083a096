//! The six gates of a seed's life: the evidence that each looks at, and a policy that judges it.
//!
//! [`Gatekeepers`] is the seam: it stands for the gatekeepers of all seven guarded moves. [`GatePolicy`] is the policy with
//! thresholds; [`RefuseAll`] refuses everything. With the feature `doubles` there are gatekeepers for tests
//! (`doubles::AllowAll`, `doubles::Scripted`) and the suite `conformance::run` for your own.
//!
//! A gate is a pure function of its evidence and its settings. It never changes a seed: only
//! [`kasmina_lifecycle::Approach::judge`] makes the move. Every gate first compares the stage that the evidence was gathered
//! in with the stage that the seed is in, and refuses stale evidence with `stage_mismatch`.
//!
//! | gate | guards | reasons to refuse |
//! |---|---|---|
//! | G0 | DORMANT to GERMINATED | `placeholder_run` `unknown_blueprint` `tier_not_allowed` `quarantined` `approval_required` `risk_too_high` `unknown_parameter` `parameter_not_finite` `parameter_out_of_bounds` `unknown_slot` `slot_taken` |
//! | G1 | GERMINATED to TRAINING, and each resumption | `kernel_missing` `fallback_used` `isolation_violations` `loss_not_finite` `gradient_not_finite` `gradient_vanished` `gradient_exploded` |
//! | G2 | TRAINING to BLENDING, and each step there | `fallback_used` `isolation_violations` `insufficient_history` `loss_not_finite` `loss_rising` `loss_oscillating` `alpha_not_monotone` `blend_latency` `isolation_latency` |
//! | G3 | BLENDING to SHADOWING | `rank` `channels` `dtype` `registry_coverage` `telemetry_incomplete` `pause_unproven` |
//! | G4 | SHADOWING to PROBATIONARY, PROBATIONARY to FOSSILIZED | `isolation_violations` `status_not_nominal` `no_metrics` `metric_not_finite` `metric_regressed` |
//! | G5 | RESETTING to DORMANT | `slot_occupied` `counters_left` `cache_not_empty` `parameters_left` |
//!
//! ```
//! use std::time::Duration;
//!
//! use kasmina_gates::{GatePolicy, ImpactMetric, SystemImpactEvidence, SystemStatus};
//! use kasmina_leyline::{SeedId, v1::SeedLifecycleStage};
//! use kasmina_lifecycle::{Evaluate, Gatekeeper, Subject};
//!
//! let seed_id = SeedId::new("seed-1")?;
//! let subject = Subject { seed_id: &seed_id, stage: SeedLifecycleStage::SeedStageShadowing };
//! let loss = |current| ImpactMetric { name: "loss".into(), baseline: 0.50, current, higher_is_better: false };
//! let evidence = |current| SystemImpactEvidence {
//!     expected_stage: SeedLifecycleStage::SeedStageShadowing,
//!     metrics: vec![loss(current)],
//!     status: SystemStatus::Nominal,
//!     violations: 0,
//! };
//! let policy = GatePolicy::default();
//! assert!(Gatekeeper::<Evaluate>::judge(&policy, &subject, &evidence(0.45)).passed());
//! assert_eq!(Gatekeeper::<Evaluate>::judge(&policy, &subject, &evidence(0.90)).reason(), "metric_regressed");
//! # Ok::<(), kasmina_leyline::InvalidId>(())
//! ```

#[cfg(any(test, feature = "doubles"))]
pub mod conformance;
#[cfg(any(test, feature = "doubles"))]
pub mod doubles;
mod evidence;
mod gatekeepers;
mod judge;
mod policy;
mod window;

pub use evidence::{
    GradientHealthEvidence, ImpactMetric, Interface, InterfaceEvidence, KernelOrigin, ResetEvidence, SanityEvidence,
    SlotState, StabilityEvidence, SystemImpactEvidence, SystemStatus,
};
pub use gatekeepers::{AnyEvidence, Evidence, Gated, Gatekeepers, RefuseAll, check_stage};
pub use policy::{GatePolicy, GradientHealthPolicy, SanityPolicy, StabilityPolicy, SystemImpactPolicy};
