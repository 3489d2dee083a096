//! The default policy's judgement at each gate. A refusal names the first check that failed.

use std::time::Duration;

use kasmina_leyline::v1::BlueprintDescriptor;
use kasmina_lifecycle::{
    Evaluate, Finding, Fossilize, Gatekeeper, Germinate, Reset, Stabilize, StartGrafting, StartTraining, Subject,
};

use crate::{
    GatePolicy, GradientHealthEvidence, ImpactMetric, InterfaceEvidence, KernelOrigin, ResetEvidence, SanityEvidence,
    SanityPolicy, SlotState, StabilityEvidence, SystemImpactEvidence, SystemStatus, check_stage, window::Window,
};

/// `Err` is the refusal.
type Check = Result<(), Finding>;

impl Gatekeeper<Germinate> for GatePolicy {
    type Evidence = SanityEvidence;

    fn judge(&self, subject: &Subject<'_>, evidence: &SanityEvidence) -> Finding {
        let policy = &self.sanity;
        finding(
            check_stage(subject, evidence.expected_stage).and_then(|()| {
                let run = evidence.training_run_id.as_str();
                refuse_if(policy.placeholder_runs.contains(&run.to_lowercase()), "placeholder_run", "run", run)?;
                let blueprint = evidence.blueprint.as_ref().ok_or_else(|| Finding::refuse("unknown_blueprint"))?;
                policy.blueprint(blueprint)?;
                for (name, value) in &evidence.parameters {
                    parameter(blueprint, name, *value)?;
                }
                match &evidence.slot_state {
                    SlotState::Unknown => Err(Finding::refuse("unknown_slot").with("slot", &evidence.slot)),
                    SlotState::Taken(by) => {
                        Err(Finding::refuse("slot_taken").with("slot", &evidence.slot).with("by", by))
                    }
                    SlotState::Free => Ok(()),
                }
            }),
            |pass| pass.with("slot", &evidence.slot).with("parameters", evidence.parameters.len()),
        )
    }
}

impl SanityPolicy {
    fn blueprint(&self, blueprint: &BlueprintDescriptor) -> Check {
        // A missing tier is not a safe one.
        let known = (1..=self.max_tier).contains(&blueprint.tier);
        refuse_if(!known, "tier_not_allowed", "tier", blueprint.tier().as_str_name())?;
        refuse_if(blueprint.quarantine_only && !self.allow_quarantine_only, "quarantined", "quarantine_only", true)?;
        refuse_if(
            blueprint.approval_required && !self.allow_unapproved,
            "approval_required",
            "approval_required",
            true,
        )?;
        // Written so that NaN is too high.
        let tolerable = blueprint.risk <= self.max_risk;
        refuse_if(!tolerable, "risk_too_high", "risk", blueprint.risk)
    }
}

fn parameter(blueprint: &BlueprintDescriptor, name: &str, value: f32) -> Check {
    let about = |reason| Finding::refuse(reason).with("parameter", name).with("value", value);
    let bounds = blueprint.allowed_parameters.get(name).ok_or_else(|| about("unknown_parameter"))?;
    if !value.is_finite() {
        return Err(about("parameter_not_finite"));
    }
    if !(bounds.min_value..=bounds.max_value).contains(&f64::from(value)) {
        return Err(about("parameter_out_of_bounds").with("min", bounds.min_value).with("max", bounds.max_value));
    }
    Ok(())
}

impl Gatekeeper<StartTraining> for GatePolicy {
    type Evidence = GradientHealthEvidence;

    fn judge(&self, subject: &Subject<'_>, evidence: &GradientHealthEvidence) -> Finding {
        let policy = &self.gradient_health;
        let GradientHealthEvidence { expected_stage, kernel, violations, loss, gradient_norm: norm } = *evidence;
        finding(
            check_stage(subject, expected_stage).and_then(|()| {
                match kernel {
                    KernelOrigin::Missing => return Err(Finding::refuse("kernel_missing")),
                    KernelOrigin::Fallback => return Err(Finding::refuse("fallback_used")),
                    KernelOrigin::Verified => {}
                }
                no_violations(violations)?;
                refuse_if(!loss.is_finite(), "loss_not_finite", "loss", loss)?;
                refuse_if(!norm.is_finite(), "gradient_not_finite", "gradient_norm", norm)?;
                refuse_if(norm < policy.min_gradient_norm, "gradient_vanished", "gradient_norm", norm)?;
                refuse_if(norm > policy.max_gradient_norm, "gradient_exploded", "gradient_norm", norm)
            }),
            |pass| pass.with("loss", loss).with("gradient_norm", norm),
        )
    }
}

impl Gatekeeper<StartGrafting> for GatePolicy {
    type Evidence = StabilityEvidence;

    fn judge(&self, subject: &Subject<'_>, evidence: &StabilityEvidence) -> Finding {
        let policy = &self.stability;
        let (before, alpha) = evidence.alpha;
        let window = Window::of(&evidence.losses, policy.window);
        finding(
            check_stage(subject, evidence.expected_stage).and_then(|()| {
                refuse_if(evidence.fallback_used, "fallback_used", "fallback_used", true)?;
                no_violations(evidence.violations)?;
                let losses = evidence.losses.len();
                let window = window.filter(|_| losses >= policy.min_losses);
                let window = window.ok_or_else(|| Finding::refuse("insufficient_history").with("losses", losses))?;
                refuse_if(!window.mean.is_finite(), "loss_not_finite", "loss", window.mean)?;
                let matters = window.mean > policy.loss_floor;
                let rising = window.rise > policy.max_rise && window.significance > policy.min_significance;
                refuse_if(matters && rising, "loss_rising", "rise", window.rise)?;
                let oscillation = window.oscillation;
                refuse_if(
                    matters && oscillation > policy.max_oscillation,
                    "loss_oscillating",
                    "oscillation",
                    oscillation,
                )?;
                // Written so that NaN is not monotone.
                let monotone = (0.0..=1.0).contains(&alpha) && before.is_none_or(|before| before <= alpha);
                refuse_if(!monotone, "alpha_not_monotone", "alpha", alpha)?;
                within(evidence.blend_latency, policy.max_blend_ms, "blend_latency")?;
                within(evidence.isolation_latency, policy.max_isolation_ms, "isolation_latency")
            }),
            |pass| match window {
                Some(window) => pass.with("loss", window.mean).with("rise", window.rise).with("alpha", alpha),
                None => pass,
            },
        )
    }
}

impl Gatekeeper<Stabilize> for GatePolicy {
    type Evidence = InterfaceEvidence;

    fn judge(&self, subject: &Subject<'_>, evidence: &InterfaceEvidence) -> Finding {
        let InterfaceEvidence { kernel, slot, .. } = evidence;
        let (own, registered) = evidence.parameters;
        let (due, delivered) = evidence.packets;
        let differ = |reason, kernel: String, slot: String| {
            if kernel == slot { Ok(()) } else { Err(Finding::refuse(reason).with("kernel", kernel).with("slot", slot)) }
        };
        finding(
            check_stage(subject, evidence.expected_stage).and_then(|()| {
                differ("rank", kernel.rank.to_string(), slot.rank.to_string())?;
                differ("channels", format!("{:?}", kernel.channels), format!("{:?}", slot.channels))?;
                differ("dtype", kernel.dtype.clone(), slot.dtype.clone())?;
                if own != registered || evidence.foreign_parameters > 0 {
                    let refusal = Finding::refuse("registry_coverage").with("own", own).with("registered", registered);
                    return Err(refusal.with("foreign", evidence.foreign_parameters));
                }
                if delivered < due {
                    return Err(Finding::refuse("telemetry_incomplete").with("due", due).with("delivered", delivered));
                }
                refuse_if(!evidence.pause_proven, "pause_unproven", "pause_proven", false)
            }),
            |pass| pass.with("parameters", own).with("packets", delivered),
        )
    }
}

impl Gatekeeper<Evaluate> for GatePolicy {
    type Evidence = SystemImpactEvidence;

    fn judge(&self, subject: &Subject<'_>, evidence: &SystemImpactEvidence) -> Finding {
        self.system_impact(subject, evidence)
    }
}

impl Gatekeeper<Fossilize> for GatePolicy {
    type Evidence = SystemImpactEvidence;

    fn judge(&self, subject: &Subject<'_>, evidence: &SystemImpactEvidence) -> Finding {
        self.system_impact(subject, evidence)
    }
}

impl GatePolicy {
    fn system_impact(&self, subject: &Subject<'_>, evidence: &SystemImpactEvidence) -> Finding {
        let status: &'static str = evidence.status.into();
        finding(
            check_stage(subject, evidence.expected_stage).and_then(|()| {
                no_violations(evidence.violations)?;
                refuse_if(evidence.status != SystemStatus::Nominal, "status_not_nominal", "status", status)?;
                if evidence.metrics.is_empty() {
                    return Err(Finding::refuse("no_metrics"));
                }
                evidence.metrics.iter().try_for_each(|metric| self.metric(metric))
            }),
            |pass| match evidence.metrics.first() {
                Some(first) => {
                    pass.with("metric", &first.name).with("baseline", first.baseline).with("current", first.current)
                }
                None => pass,
            },
        )
    }

    fn metric(&self, metric: &ImpactMetric) -> Check {
        let ImpactMetric { name, baseline, current, higher_is_better } = metric;
        let about =
            |reason| Finding::refuse(reason).with("metric", name).with("baseline", baseline).with("current", current);
        if !(baseline.is_finite() && current.is_finite()) {
            return Err(about("metric_not_finite"));
        }
        let policy = &self.system_impact;
        let tolerance = (policy.relative_tolerance * baseline.abs()).max(policy.absolute_tolerance);
        let worse_by = if *higher_is_better { baseline - current } else { current - baseline };
        if worse_by > tolerance {
            return Err(about("metric_regressed").with("tolerance", tolerance));
        }
        Ok(())
    }
}

impl Gatekeeper<Reset> for GatePolicy {
    type Evidence = ResetEvidence;

    fn judge(&self, subject: &Subject<'_>, evidence: &ResetEvidence) -> Finding {
        let none = |count: u64, reason| refuse_if(count > 0, reason, "left", count);
        finding(
            check_stage(subject, evidence.expected_stage).and_then(|()| {
                refuse_if(evidence.slot_occupied, "slot_occupied", "slot_occupied", true)?;
                none(evidence.counters_left, "counters_left")?;
                none(evidence.cached_entries, "cache_not_empty")?;
                none(evidence.registered_parameters, "parameters_left")
            }),
            |pass| pass,
        )
    }
}

fn finding(check: Check, describe: impl FnOnce(Finding) -> Finding) -> Finding {
    match check {
        Ok(()) => describe(Finding::pass()),
        Err(refusal) => refusal,
    }
}

fn refuse_if(wrong: bool, reason: &'static str, name: &'static str, value: impl std::fmt::Display) -> Check {
    if wrong { Err(Finding::refuse(reason).with(name, value)) } else { Ok(()) }
}

fn no_violations(violations: u64) -> Check {
    refuse_if(violations > 0, "isolation_violations", "violations", violations)
}

fn within(latency: Duration, max_ms: u64, reason: &'static str) -> Check {
    let over = latency > Duration::from_millis(max_ms);
    if over {
        Err(Finding::refuse(reason).with("latency", format!("{latency:?}")).with("max_ms", max_ms))
    } else {
        Ok(())
    }
}
