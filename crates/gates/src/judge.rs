//! The default policy's judgement at each gate. A refusal or a postponement names the first check that failed.
#![expect(clippy::result_large_err, reason = "a finding lies in place, so that a gate that passes allocates nothing")]

use std::{fmt, time::Duration};

use kasmina_leyline::v1::BlueprintDescriptor;
use kasmina_lifecycle::{
    Evaluate, Finding, Fossilize, Gatekeeper, Germinate, Reset, Stabilize, StartGrafting, StartTraining, Subject,
};

use crate::{
    Contribution, GatePolicy, GradientHealthEvidence, Idle, ImpactMetric, InterfaceEvidence, KernelOrigin, Progress,
    ResetEvidence, SanityEvidence, SanityPolicy, SlotState, StabilityEvidence, StabilityPolicy, SystemImpactEvidence,
    SystemImpactPolicy, check_stage,
    window::{Window, rank_significance},
};

/// `Err` is the refusal or the postponement.
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
        let GradientHealthEvidence { expected_stage, origin, violations, loss, gradient_norm: norm } = *evidence;
        finding(
            check_stage(subject, expected_stage).and_then(|()| {
                verified(origin)?;
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
        finding(
            check_stage(subject, evidence.expected_stage).and_then(|()| {
                verified(evidence.origin)?;
                no_violations(evidence.violations)?;
                within(evidence.blend_latency, policy.max_blend_ms, "blend_latency")?;
                match &evidence.progress {
                    Progress::Training { steps, gradient_norm, host_gradient_norm, idle } => {
                        postpone_if(*steps < policy.min_steps, "too_few_steps", "steps", steps)?;
                        policy.learns(*gradient_norm, *host_gradient_norm, *idle)
                    }
                    Progress::Blending { losses, alpha } => policy.is_stable(losses, *alpha),
                }?;
                // All seeds share that time, so it is not the fault of one.
                let slow = evidence.isolation_latency > Duration::from_millis(policy.max_isolation_ms);
                postpone_if(slow, "isolation_latency", "latency", format_args!("{:?}", evidence.isolation_latency))
            }),
            |pass| match &evidence.progress {
                Progress::Training { steps, gradient_norm, .. } => {
                    pass.with("steps", steps).with("gradient_norm", gradient_norm.unwrap_or_default())
                }
                Progress::Blending { losses, alpha: (_, alpha) } => {
                    pass.with("losses", losses.len()).with("alpha", alpha)
                }
            },
        )
    }
}

impl StabilityPolicy {
    /// A seed that is to be grafted gets a gradient, of the size of the host's.
    fn learns(&self, norm: Option<f32>, host: Option<f32>, idle: Option<Idle>) -> Check {
        if let Some(idle) = idle {
            return Err(Finding::postpone(idle.reason()));
        }
        let norm = norm.ok_or_else(|| Finding::postpone("gradient_not_measured"))?;
        refuse_if(!norm.is_finite(), "gradient_not_finite", "gradient_norm", norm)?;
        postpone_if(norm < self.min_gradient_norm, "gradient_too_small", "gradient_norm", norm)?;
        // A norm that is not finite says nothing of the seed.
        let host = host.filter(|host| host.is_finite());
        let host = host.ok_or_else(|| Finding::postpone("host_gradient_not_measured"))?;
        let ratio = norm / host;
        if host >= self.min_gradient_norm && ratio > self.max_gradient_ratio {
            let refusal = Finding::refuse("gradient_ratio").with("ratio", ratio);
            return Err(refusal.with("gradient_norm", norm).with("host_gradient_norm", host));
        }
        Ok(())
    }

    /// A seed in the blend: alpha does not fall, and the loss neither rises nor oscillates. Too few losses show neither.
    fn is_stable(&self, losses: &[f32], (before, alpha): (Option<f32>, f32)) -> Check {
        // Written so that NaN is not monotone.
        let monotone = (0.0..=1.0).contains(&alpha) && before.is_none_or(|before| before <= alpha);
        refuse_if(!monotone, "alpha_not_monotone", "alpha", alpha)?;
        let judged = &losses[losses.len().saturating_sub(self.window)..];
        if let Some(loss) = judged.iter().find(|loss| !loss.is_finite()) {
            return Err(Finding::refuse("loss_not_finite").with("loss", loss));
        }
        let window = Window::of(losses, self.window).filter(|_| losses.len() >= self.min_losses);
        let window = window.ok_or_else(|| Finding::postpone("insufficient_history").with("losses", losses.len()))?;
        let matters = window.mean > self.loss_floor;
        let significant = |significance| significance > self.min_significance;
        let rising = window.rise > self.max_rise
            && (significant(window.significance) || significant(rank_significance(losses, self.window)));
        refuse_if(matters && rising, "loss_rising", "rise", window.rise)?;
        let oscillation = window.oscillation;
        refuse_if(matters && oscillation > self.max_oscillation, "loss_oscillating", "oscillation", oscillation)
    }
}

impl Gatekeeper<Stabilize> for GatePolicy {
    type Evidence = InterfaceEvidence;

    fn judge(&self, subject: &Subject<'_>, evidence: &InterfaceEvidence) -> Finding {
        let InterfaceEvidence { kernel, slot, .. } = evidence;
        let (own, registered) = evidence.parameters;
        let (due, delivered) = evidence.packets;
        let differ = |reason, same, kernel: fmt::Arguments<'_>, slot: fmt::Arguments<'_>| {
            if same { Ok(()) } else { Err(Finding::refuse(reason).with("kernel", kernel).with("slot", slot)) }
        };
        finding(
            check_stage(subject, evidence.expected_stage).and_then(|()| {
                verified(evidence.origin)?;
                let (own_rank, rank) = (kernel.rank, slot.rank);
                differ("rank", own_rank == rank, format_args!("{own_rank}"), format_args!("{rank}"))?;
                let (own_channels, channels) = (kernel.channels, slot.channels);
                let same = own_channels == channels;
                differ("channels", same, format_args!("{own_channels:?}"), format_args!("{channels:?}"))?;
                let (own_dtype, dtype) = (&kernel.dtype, &slot.dtype);
                differ("dtype", own_dtype == dtype, format_args!("{own_dtype}"), format_args!("{dtype}"))?;
                if own != registered || evidence.foreign_parameters > 0 {
                    let refusal = Finding::refuse("registry_coverage").with("own", own).with("registered", registered);
                    return Err(refusal.with("foreign", evidence.foreign_parameters));
                }
                refuse_if(!evidence.pause_proven, "pause_unproven", "pause_proven", false)?;
                if delivered < due {
                    // A sink that is down is not the seed's fault.
                    return Err(Finding::postpone("telemetry_incomplete")
                        .with("due", due)
                        .with("delivered", delivered));
                }
                Ok(())
            }),
            |pass| pass.with("parameters", own).with("packets", delivered),
        )
    }
}

impl Gatekeeper<Evaluate> for GatePolicy {
    type Evidence = SystemImpactEvidence;

    /// Bearable: a loss that is worse beyond the tolerance refuses once that is significant, and postpones until then.
    fn judge(&self, subject: &Subject<'_>, evidence: &SystemImpactEvidence) -> Finding {
        let policy = &self.system_impact;
        self.system_impact(subject, evidence, policy.min_probes, |contribution| {
            let tolerance = policy.tolerance(contribution.baseline());
            let harmful = -contribution.mean() > tolerance;
            let final_already = contribution.probes() >= policy.min_probes_fossilize;
            let significant = final_already && contribution.is_significant(policy.significance);
            refuse_if(harmful && significant, "contribution_negative", "tolerance", tolerance)?;
            postpone_if(harmful, "not_significant", "tolerance", tolerance)
        })
    }
}

impl Gatekeeper<Fossilize> for GatePolicy {
    type Evidence = SystemImpactEvidence;

    /// For ever: only a loss that is significantly better passes.
    fn judge(&self, subject: &Subject<'_>, evidence: &SystemImpactEvidence) -> Finding {
        let policy = &self.system_impact;
        self.system_impact(subject, evidence, policy.min_probes_fossilize, |contribution| {
            let significant = contribution.is_significant(policy.significance);
            let significance = policy.significance;
            postpone_if(!significant, "not_significant", "significance", significance)?;
            // Written so that NaN does not help.
            let helps = contribution.mean() > 0.0;
            refuse_if(!helps, "contribution_negative", "significance", significance)
        })
    }
}

impl GatePolicy {
    fn system_impact(
        &self,
        subject: &Subject<'_>,
        evidence: &SystemImpactEvidence,
        min_probes: u64,
        judge: impl FnOnce(&Contribution) -> Check,
    ) -> Finding {
        let contribution = &evidence.contribution;
        let finding = finding(
            check_stage(subject, evidence.expected_stage).and_then(|()| {
                verified(evidence.origin)?;
                no_violations(evidence.violations)?;
                let shared = evidence.other_seeds > 0;
                let metrics =
                    || evidence.metrics.iter().try_for_each(|metric| self.system_impact.metric(metric, shared));
                // If others have a part in the metrics, what the seed changes alone is judged first: whoever does harm goes.
                if !shared {
                    metrics()?;
                }
                postpone_if(contribution.probes() < min_probes, "too_few_probes", "min_probes", min_probes)?;
                judge(contribution)?;
                if shared { metrics() } else { Ok(()) }
            }),
            |pass| pass.with("baseline", contribution.baseline()).with("metrics", evidence.metrics.len()),
        );
        contribution.describe(finding)
    }
}

impl SystemImpactPolicy {
    fn tolerance(&self, baseline: f64) -> f64 {
        (self.relative_tolerance * baseline.abs()).max(self.absolute_tolerance)
    }

    /// A metric that is shared with other seeds, or is not a number without any, does not say whose fault it is.
    fn metric(&self, metric: &ImpactMetric, shared: bool) -> Check {
        let ImpactMetric { baseline, current, higher_is_better, .. } = metric;
        if !baseline.is_finite() || (shared && !current.is_finite()) {
            return Err(metric.describe(Finding::postpone("metric_not_finite")));
        }
        if !current.is_finite() {
            return Err(metric.describe(Finding::refuse("metric_not_finite")));
        }
        let tolerance = self.tolerance(*baseline);
        let worse_by = if *higher_is_better { baseline - current } else { current - baseline };
        if worse_by > tolerance {
            let finding =
                if shared { Finding::postpone("metric_regressed") } else { Finding::refuse("metric_regressed") };
            return Err(metric.describe(finding.with("tolerance", tolerance)));
        }
        Ok(())
    }
}

impl ImpactMetric {
    fn describe(&self, finding: Finding) -> Finding {
        finding.with("metric", &self.name).with("baseline", self.baseline).with("current", self.current)
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

fn postpone_if(not_yet: bool, reason: &'static str, name: &'static str, value: impl std::fmt::Display) -> Check {
    if not_yet { Err(Finding::postpone(reason).with(name, value)) } else { Ok(()) }
}

/// The kernel is the artifact that was verified, not a substitute.
fn verified(origin: KernelOrigin) -> Check {
    match origin {
        KernelOrigin::Missing => Err(Finding::refuse("kernel_missing")),
        KernelOrigin::Fallback => Err(Finding::refuse("fallback_used")),
        KernelOrigin::Verified => Ok(()),
    }
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
