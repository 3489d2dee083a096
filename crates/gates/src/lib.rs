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
//! What speaks against the seed refuses; what is not its fault, or what more evidence can settle, postpones.
//!
//! | gate | guards | reasons to refuse | reasons to postpone |
//! |---|---|---|---|
//! | G0 | DORMANT to GERMINATED | `placeholder_run` `unknown_blueprint` `tier_not_allowed` `quarantined` `approval_required` `risk_too_high` `unknown_parameter` `parameter_not_finite` `parameter_out_of_bounds` `unknown_slot` `slot_taken` | |
//! | G1 | GERMINATED to TRAINING, and each resumption | `kernel_missing` `fallback_used` `isolation_violations` `loss_not_finite` `gradient_not_finite` `gradient_vanished` `gradient_exploded` | |
//! | G2 | TRAINING to BLENDING | `kernel_missing` `fallback_used` `isolation_violations` `blend_latency` `gradient_not_finite` `gradient_ratio` | `isolation_latency` `too_few_steps` `slot_not_reached` `slot_unused` `gradient_not_measured` `gradient_too_small` `host_gradient_not_measured` |
//! | G2 | each step of BLENDING | `kernel_missing` `fallback_used` `isolation_violations` `blend_latency` `alpha_not_monotone` `loss_not_finite` `loss_rising` `loss_oscillating` | `isolation_latency` `insufficient_history` |
//! | G3 | BLENDING to SHADOWING | `kernel_missing` `fallback_used` `rank` `channels` `dtype` `registry_coverage` `pause_unproven` | `telemetry_incomplete` |
//! | G4 | SHADOWING to PROBATIONARY, PROBATIONARY to FOSSILIZED | `kernel_missing` `fallback_used` `isolation_violations` `metric_not_finite` `metric_regressed` `contribution_negative` | `metric_not_finite` `metric_regressed` `too_few_probes` `not_significant` |
//! | G5 | RESETTING to DORMANT | `slot_occupied` `counters_left` `cache_not_empty` `parameters_left` | |
//!
//! | reason | what it says |
//! |---|---|
//! | `too_few_steps` | The seed has been in TRAINING for fewer steps than `stability.min_steps`. |
//! | `slot_not_reached` | The host did not come to the seed's slot in the last step. |
//! | `slot_unused` | The host came to the slot, and its loss does not depend on what left it. |
//! | `gradient_not_measured`, `host_gradient_not_measured` | No gradient norm of the seed, or of the host, has been sampled that is a number. |
//! | `gradient_too_small` | The seed's gradient norm is below `stability.min_gradient_norm`: it does not learn. |
//! | `gradient_ratio` | It is more than `stability.max_gradient_ratio` times the host's. |
//! | `insufficient_history` | Fewer losses than `stability.min_losses` in BLENDING: no trend is judged yet. |
//! | `telemetry_incomplete` | A sink has not taken every packet of this stage. |
//! | `too_few_probes` | Fewer probes in this stage than `system_impact.min_probes`, or `min_probes_fossilize`. |
//! | `not_significant` | EVALUATE: the loss seems worse with the seed, beyond the tolerance, and that may be chance. FOSSILIZE: nothing but chance need be in it. |
//! | `contribution_negative` | The loss is worse with the seed, and that is not chance. For EVALUATE, it is worse beyond the tolerance. |
//!
//! G4 judges a seed by its [`Contribution`]: what it alone changes, on batches that were run with it and without it. SHADOWING is left
//! unless the seed is significantly harmful beyond the tolerance. FOSSILIZED, which cannot be taken back, is entered only by a seed that
//! is significantly helpful. How often a gate is asked does not matter.
//!
//! ```
//! use kasmina_gates::{Contribution, GatePolicy, KernelOrigin, SystemImpactEvidence};
//! use kasmina_leyline::{SeedId, v1::SeedLifecycleStage};
//! use kasmina_lifecycle::{Fossilize, Gatekeeper, Outcome, Subject};
//!
//! let seed_id = SeedId::new("seed-1")?;
//! let subject = Subject { seed_id: &seed_id, stage: SeedLifecycleStage::SeedStageProbationary };
//! let mut evidence = SystemImpactEvidence {
//!     expected_stage: SeedLifecycleStage::SeedStageProbationary,
//!     origin: KernelOrigin::Verified,
//!     violations: 0,
//!     contribution: Contribution::default(),
//!     metrics: vec![],
//!     other_seeds: 0,
//! };
//! let policy = GatePolicy::default();
//! let fossilize = |evidence: &_| Gatekeeper::<Fossilize>::judge(&policy, &subject, evidence);
//! assert_eq!(fossilize(&evidence).outcome(), Outcome::Postponed);
//!
//! // Batches vary, and the seed makes each a little better.
//! for without in [0.50_f32, 0.47, 0.53, 0.49, 0.51].into_iter().cycle().take(40) {
//!     evidence.contribution.record(without, 0.9 * without);
//! }
//! assert!(fossilize(&evidence).passed());
//! # Ok::<(), kasmina_leyline::InvalidId>(())
//! ```

#[cfg(any(test, feature = "doubles"))]
pub mod conformance;
mod contribution;
#[cfg(any(test, feature = "doubles"))]
pub mod doubles;
mod evidence;
mod gatekeepers;
mod judge;
mod policy;
mod window;

pub use contribution::Contribution;
pub use evidence::{
    GradientHealthEvidence, Idle, ImpactMetric, Interface, InterfaceEvidence, KernelOrigin, Progress, ResetEvidence,
    SanityEvidence, SlotState, StabilityEvidence, SystemImpactEvidence,
};
pub use gatekeepers::{AnyEvidence, Evidence, Gated, Gatekeepers, RefuseAll, check_stage};
pub use policy::{GatePolicy, GradientHealthPolicy, SanityPolicy, StabilityPolicy, SystemImpactPolicy};
