//! The thresholds of the default policy. Every default names its source.

use kasmina_leyline::v1::BlueprintTier;
use serde::{Deserialize, Serialize};

/// The policy with thresholds: it judges every guarded move, so it is a [`Gatekeepers`](crate::Gatekeepers).
///
/// As text (TOML, JSON), absent keys take the defaults and unknown keys are an error. G3 and G5 have no settings, because what
/// they demand is exact.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatePolicy {
    /// G0.
    pub sanity: SanityPolicy,
    /// G1.
    pub gradient_health: GradientHealthPolicy,
    /// G2.
    pub stability: StabilityPolicy,
    /// G4.
    pub system_impact: SystemImpactPolicy,
}

/// The thresholds of G0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SanityPolicy {
    /// The riskiest tier that may germinate, as `BlueprintTier`'s number: 1 SAFE, 2 EXPERIMENTAL, 3 HIGH_RISK. Default 2,
    /// our choice: high risk must be enabled explicitly.
    pub max_tier: i32,
    /// The highest risk score of a blueprint, 0 to 1. Default 0.8, our choice.
    pub max_risk: f32,
    /// Whether blueprints marked `quarantine_only` may germinate. Default false, as the mark demands.
    pub allow_quarantine_only: bool,
    /// Whether blueprints marked `approval_required` may germinate without a recorded approval. Default false, as the mark
    /// demands.
    pub allow_unapproved: bool,
    /// Run ids, in lower case, that do not name a real run. Default: what senders write when they have no run id.
    pub placeholder_runs: Vec<String>,
}

/// The thresholds of G1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GradientHealthPolicy {
    /// The smallest gradient norm. Default 1e-8: AdamW's epsilon, below which its steps are noise.
    pub min_gradient_norm: f32,
    /// The largest gradient norm. Default 1000, our choice: a hundred times the norms at which trainers usually clip.
    pub max_gradient_norm: f32,
}

/// The thresholds of G2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StabilityPolicy {
    /// Steps of TRAINING before a seed can be grafted; fewer postpone. Default 8, our choice: as many as `min_losses`.
    pub min_steps: u64,
    /// The smallest norm of the seed's gradient; a smaller one postpones. Default 1e-8: AdamW's epsilon, below which its steps are
    /// noise. The ratio is not judged if the host's norm is below it.
    pub min_gradient_norm: f32,
    /// How many times the host's gradient norm the seed's may be. Default 10: the limit of the newest Python implementation.
    pub max_gradient_ratio: f32,
    /// How many of the latest losses are judged in BLENDING. Default 128, our choice: two to three epochs of a small data set.
    pub window: usize,
    /// The smallest number of losses that can be judged in BLENDING; fewer are not. Default 8, our choice: four in each half of the window.
    pub min_losses: usize,
    /// How much the mean of the window's second half may exceed the mean of its first half, as a share of the latter. Default
    /// 0.5, our choice: a diverging seed exceeds it within one window.
    pub max_rise: f32,
    /// The rise must exceed this many standard errors, or the order of the losses this many standard deviations, to count as a rise.
    /// Default 4: by chance alone, either does in about one window in 30,000.
    pub min_significance: f32,
    /// The largest mean change from one loss to the next, as a share of the mean loss. Default 1.5, our choice: independent
    /// exponentially distributed losses have 1.
    pub max_oscillation: f32,
    /// Below this mean loss, rise and oscillation are not judged. Default 0.05, our choice: shares of a loss near zero are
    /// noise.
    pub loss_floor: f32,
    /// The longest median time per step for kernel and blend, in milliseconds. Default 100, our choice: a slower slot
    /// dominates the step.
    pub max_blend_ms: u64,
    /// The longest median time per step for the isolation checks, in milliseconds. Default 8: the budget of isolation
    /// verification.
    pub max_isolation_ms: u64,
}

/// The thresholds of G4. The larger of the two tolerances applies, to the metrics of the whole network and, in SHADOWING, to the
/// loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SystemImpactPolicy {
    /// How much worse a metric or the loss may be, as a share of its baseline. Default 0.02, our choice: the noise of a validation on a
    /// few hundred examples.
    pub relative_tolerance: f64,
    /// Absolute tolerance, in the metric's unit. Default 0.005, our choice: for baselines near zero.
    pub absolute_tolerance: f64,
    /// Probes in SHADOWING before EVALUATE can pass; fewer postpone. Default 8, our choice: a pass can be taken back.
    pub min_probes: u64,
    /// Probes before a contribution can decide what cannot be taken back: FOSSILIZE, and the refusal of EVALUATE. Fewer postpone.
    /// Default 30, our choice: as many as it takes for skewed differences to be judged wrongly no more often than `significance` says.
    /// [`Contribution`](crate::Contribution) has the measurement.
    pub min_probes_fossilize: u64,
    /// The largest probability with which a seed that changes nothing on average is ever passed or refused as if it did, however often
    /// the gate is asked. Default 0.05, the usual one. See [`Contribution`](crate::Contribution) for the limits.
    pub significance: f64,
}

impl Default for SanityPolicy {
    fn default() -> Self {
        Self {
            max_tier: BlueprintTier::Experimental.into(),
            max_risk: 0.8,
            allow_quarantine_only: false,
            allow_unapproved: false,
            placeholder_runs: ["unknown", "none", "null", "default", "unspecified", "placeholder"]
                .map(str::to_owned)
                .to_vec(),
        }
    }
}

impl Default for GradientHealthPolicy {
    fn default() -> Self {
        Self { min_gradient_norm: 1e-8, max_gradient_norm: 1e3 }
    }
}

impl Default for StabilityPolicy {
    fn default() -> Self {
        Self {
            min_steps: 8,
            min_gradient_norm: 1e-8,
            max_gradient_ratio: 10.0,
            window: 128,
            min_losses: 8,
            max_rise: 0.5,
            min_significance: 4.0,
            max_oscillation: 1.5,
            loss_floor: 0.05,
            max_blend_ms: 100,
            max_isolation_ms: 8,
        }
    }
}

impl Default for SystemImpactPolicy {
    fn default() -> Self {
        Self {
            relative_tolerance: 0.02,
            absolute_tolerance: 0.005,
            min_probes: 8,
            min_probes_fossilize: 30,
            significance: 0.05,
        }
    }
}
