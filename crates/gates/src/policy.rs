//! What the gates demand, with every default and where it comes from.

use kasmina_leyline::v1::BlueprintTier;
use serde::{Deserialize, Serialize};

/// What the gates demand. Absent keys take the defaults, unknown keys are refused.
///
/// It judges every guarded move: it is a [`Gatekeeper`](kasmina_lifecycle::Gatekeeper) for each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatePolicy {
    /// G0.
    pub sanity: SanityPolicy,
    /// G1.
    pub gradient_health: GradientHealthPolicy,
    /// G2.
    pub stability: StabilityPolicy,
    /// G4. (G3 and G5 have nothing to set: what they demand is exact.)
    pub system_impact: SystemImpactPolicy,
}

/// What G0 demands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SanityPolicy {
    /// The riskiest tier that may germinate, as `BlueprintTier`'s number: 1 SAFE, 2 EXPERIMENTAL, 3 HIGH_RISK. Default 2,
    /// our choice: high risk is asked for by name.
    pub max_tier: i32,
    /// The highest risk score of a blueprint, 0 to 1. Default 0.8, our choice.
    pub max_risk: f32,
    /// Whether blueprints that are for quarantine alone may germinate. Default false, as the flag says.
    pub allow_quarantine_only: bool,
    /// Whether blueprints that need an approval may germinate without one on record. Default false, as the flag says.
    pub allow_unapproved: bool,
    /// Run ids that are no real ones, in lower case. Default: what senders write when they have none.
    pub placeholder_runs: Vec<String>,
}

/// What G1 demands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GradientHealthPolicy {
    /// The smallest gradient norm of a kernel that can learn. Default 1e-8: AdamW's epsilon, below which a step is noise.
    pub min_gradient_norm: f32,
    /// The largest. Default 1000, our choice: a hundred times the norms at which trainers clip.
    pub max_gradient_norm: f32,
}

/// What G2 demands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StabilityPolicy {
    /// How many of the last losses are looked at. Default 128, our choice: two to three epochs of a small data set.
    pub window: usize,
    /// The fewest losses that a judgement can be based on. Default 8, our choice: four in each half.
    pub min_losses: usize,
    /// By how much the mean of the window's second half may exceed that of its first, as a share. Default 0.5, our choice: a
    /// diverging seed passes it within a window.
    pub max_rise: f32,
    /// From how many standard errors on such a rise is one. Default 4: losses that do not rise get there once in some 30,000
    /// windows.
    pub min_significance: f32,
    /// The mean step from loss to loss as a share of their mean. Default 1.5, our choice: independent exponential losses
    /// have 1.
    pub max_oscillation: f32,
    /// Loss below which rise and oscillation are not looked at. Default 0.05, our choice: shares of next to nothing say
    /// nothing.
    pub loss_floor: f32,
    /// The longest median time for kernel and blend, in milliseconds. Default 100, our choice: a slot that takes longer
    /// dominates the step.
    pub max_blend_ms: u64,
    /// The longest median time for the isolation checks, in milliseconds. Default 8, the budget of isolation verification.
    pub max_isolation_ms: u64,
}

/// What G4 demands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SystemImpactPolicy {
    /// By how much a metric may be worse, as a share of its baseline. Default 0.02, our choice: the noise of a validation
    /// on a few hundred examples.
    pub relative_tolerance: f64,
    /// By how much a metric may be worse in its own unit, where that is more. Default 0.005, our choice: for baselines
    /// near zero.
    pub absolute_tolerance: f64,
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
        Self { relative_tolerance: 0.02, absolute_tolerance: 0.005 }
    }
}
