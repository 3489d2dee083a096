//! From TRAINING to FOSSILIZED: G2, G3, and G4 twice.

use kasmina_blending::{AlphaSchedule, BlendConfig, BlendMode};
use kasmina_commands::BreakerName;
use kasmina_gates::{
    Contribution, ImpactMetric, InterfaceEvidence, KernelOrigin, Progress, StabilityEvidence, SystemImpactEvidence,
};
use kasmina_leyline::{
    SeedId,
    v1::SeedLifecycleStage::{self, SeedStageBlending, SeedStageProbationary, SeedStageShadowing, SeedStageTraining},
};
use kasmina_lifecycle::{Evaluate, Finding, Fossilize, Gatekeeper, GuardedMove, Outcome, Stabilize, StartGrafting};

use crate::{
    decision::{Effect, Event},
    draft::Draft,
    ending::Cause,
    hunt::Trend,
    refusal::Refusal,
    seed::{Blend, Graft, Joining, Probation, Stage, Trial},
    state::Validation,
};

/// The most steps of FINE_TUNE: those that a command can say.
const MOST_FINE_TUNING: u64 = 1 << 24;

impl Draft<'_> {
    /// TRAINING to BLENDING.
    pub(crate) fn start_grafting(
        &mut self,
        id: &SeedId,
        config: BlendConfig,
        schedule: AlphaSchedule,
    ) -> Result<(), Refusal> {
        let seed = self.seed(id)?;
        let Stage::Training(graft) = &seed.stage else { return Err(self.illegal(seed, StartGrafting::TO)) };
        let (graft, violations) = (graft.clone(), seed.violations);
        self.not_paused(id, &graft)?;
        self.fits_channels(id, &config)?;
        let open = self.breaker_is_open(BreakerName::Blending).then_some(BreakerName::Blending);
        self.closed::<StartGrafting>(id, open, |finding| finding)?;
        let progress = Progress::Training {
            steps: graft.vitals.steps,
            gradient_norm: graft.vitals.gradient_norm,
            host_gradient_norm: self.run().host_gradient_norm,
            idle: graft.idle,
        };
        let origin = self.origin::<StartGrafting>(id)?;
        let evidence = stability(&graft, SeedStageTraining, origin, violations, progress);
        let contribution = Contribution::default();
        let blend = Blend { config: config.clone(), schedule, advanced: 0, contribution, pause_proven: None };
        self.pass::<StartGrafting>(id, &evidence, Stage::Blending(graft.entering(), blend))?;
        self.emit(Event::BlendConfigured { seed: id.clone(), blend: config, schedule });
        self.effect(Effect::SaveWeights { seed: id.clone() });
        Ok(())
    }

    /// G2 again, as after every step of BLENDING. A trend of the loss, which all seeds in the blend share, starts a hunt; for anything else
    /// the seed is culled. A seed that is leaving has no part in the loss any more, and its alpha has to fall.
    pub(crate) fn recheck_stability(&mut self, id: &SeedId) -> Result<(), Refusal> {
        let seed = self.seed(id)?;
        let Stage::Blending(graft, blend) = &seed.stage else { return Ok(()) };
        let (graft, violations) = (graft.clone(), seed.violations);
        let progress = match &graft.leaving {
            Some(leaving) => Progress::Blending { losses: Vec::new(), alpha: (None, leaving.alpha().get()) },
            None => Progress::Blending {
                losses: graft.vitals.losses.iter().copied().collect(),
                alpha: (blend.previous_alpha().map(|alpha| alpha.get()), blend.alpha().get()),
            },
        };
        let origin = self.origin::<StartGrafting>(id)?;
        let evidence = stability(&graft, SeedStageBlending, origin, violations, progress);
        let finding = Gatekeeper::<StartGrafting>::judge(&self.keepers(), &self.lifecycle(id)?.subject(), &evidence);
        if finding.outcome() != Outcome::Refused {
            // A history that is too short speaks neither for the seed nor against it.
            return Ok(());
        }
        let verdict = finding.into_verdict(id, StartGrafting::GATE);
        if let Some(trend) = Trend::of(&verdict) {
            self.begin_hunt(id, trend);
            return Ok(());
        }
        self.emit(Event::Judged(verdict.clone()));
        self.cull(id, verdict.reason, Cause::Verdict)
    }

    /// BLENDING to SHADOWING.
    pub(crate) fn stabilize(&mut self, id: &SeedId) -> Result<(), Refusal> {
        let seed = self.seed(id)?;
        let Stage::Blending(graft, blend) = &seed.stage else { return Err(self.illegal(seed, Stabilize::TO)) };
        let (graft, blend) = (graft.clone(), blend.clone());
        self.not_paused(id, &graft)?;
        self.not_leaving(id, &graft)?;
        if !blend.is_complete() {
            return Err(Refusal::BlendingIncomplete { seed: id.clone(), alpha: blend.alpha().get() });
        }
        let slot = self.facts.slot.clone().ok_or_else(|| not_measured(id, "the host has not shown its slot yet"))?;
        let origin = self.origin::<Stabilize>(id)?;
        let Some(ownership) = self.facts.ownership.get(id).copied() else {
            return Err(self.not_yet::<Stabilize>(id, Finding::postpone("ownership_not_measured")));
        };
        let Some(packets) = self.facts.packets else {
            return Err(self.not_yet::<Stabilize>(id, Finding::postpone("telemetry_not_measured")));
        };
        let Some(pause_proven) = blend.pause_proven else {
            return Err(self.not_yet::<Stabilize>(id, Finding::postpone("pause_not_measured")));
        };
        let evidence = InterfaceEvidence {
            expected_stage: SeedStageBlending,
            origin,
            kernel: graft.contract.clone().into(),
            slot: slot.into(),
            parameters: (ownership.own, ownership.registered),
            foreign_parameters: ownership.foreign,
            packets,
            pause_proven,
        };
        let trial = Trial { blend: blend.config, contribution: Contribution::default() };
        self.pass::<Stabilize>(id, &evidence, Stage::Shadowing(graft.entering(), trial))?;
        self.effect(Effect::SaveWeights { seed: id.clone() });
        Ok(())
    }

    /// SHADOWING to PROBATIONARY.
    pub(crate) fn evaluate(&mut self, id: &SeedId) -> Result<(), Refusal> {
        let seed = self.seed(id)?;
        let Stage::Shadowing(graft, trial) = &seed.stage else { return Err(self.illegal(seed, Evaluate::TO)) };
        let (graft, trial) = (graft.clone(), trial.clone());
        self.not_paused(id, &graft)?;
        let evidence = self.system_impact::<Evaluate>(id, SeedStageShadowing, trial.contribution)?;
        let trial = Trial { contribution: Contribution::default(), ..trial };
        let next = Stage::Probationary(graft.entering(), trial, Probation::OnTrial);
        self.pass::<Evaluate>(id, &evidence, next)?;
        self.effect(Effect::SaveWeights { seed: id.clone() });
        Ok(())
    }

    /// The first of two steps from PROBATIONARY to FOSSILIZED: the verdict. The seed joins the model when the shell next holds it, and
    /// is PROBATIONARY until then.
    pub(crate) fn fossilize(&mut self, id: &SeedId) -> Result<(), Refusal> {
        let seed = self.seed(id)?;
        let Stage::Probationary(graft, trial, probation) = &seed.stage else {
            return Err(self.illegal(seed, Fossilize::TO));
        };
        let (mut graft, trial, fine_tuning) =
            (graft.clone(), trial.clone(), matches!(probation, Probation::FineTuning(_)));
        self.not_paused(id, &graft)?;
        self.not_leaving(id, &graft)?;
        self.not_joining(id)?;
        if trial.blend.mode() == BlendMode::Confidence {
            // Whoever runs the committed network has no logits before it has run.
            return Err(Refusal::Unsupported("FOSSILIZE of a CONFIDENCE blend"));
        }
        if fine_tuning {
            return Err(not_measured(id, "FINE_TUNE is still running"));
        }
        if self.settings().require_validation && self.run().validation.is_empty() {
            return Err(not_measured(id, "no metrics of the live network since it last moved"));
        }
        let mut evidence = self.system_impact::<Fossilize>(id, SeedStageProbationary, trial.contribution)?;
        evidence.metrics.extend(self.run().validation.iter().map(Into::into));
        let mut lifecycle = self.lifecycle(id)?;
        let granted = lifecycle.approach::<Fossilize>()?.grant(&self.keepers(), &evidence);
        let (_, verdict) = granted.map_err(|verdict| self.not_passed(verdict))?;
        let named = verdict.attributes.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let joining = Joining { step: self.run().step, verdict: named.collect() };
        graft.ending = self.by();
        self.seed_mut(id)?.stage = Stage::Probationary(graft, trial, Probation::Joining(joining));
        self.seed_mut(id)?.postponed = None;
        self.emit(Event::Judged(verdict));
        self.effect(Effect::SaveWeights { seed: id.clone() });
        Ok(())
    }

    /// Allows the seed's own optimizer `steps` more steps in PROBATIONARY.
    pub(crate) fn fine_tune(&mut self, id: &SeedId, steps: u64) -> Result<(), Refusal> {
        let Stage::Probationary(graft, ..) = &self.seed(id)?.stage else {
            return Err(self.wrong_stage(id, "FINE_TUNE works in PROBATIONARY"));
        };
        self.not_paused(id, graft)?;
        self.not_leaving(id, graft)?;
        self.not_joining(id)?;
        if !(1..=MOST_FINE_TUNING).contains(&steps) {
            let cause = format!("{steps} must be from 1 to 2^24");
            return Err(Refusal::Malformed { field: "steps", cause });
        }
        if let Stage::Probationary(_, trial, probation) = &mut self.seed_mut(id)?.stage {
            // The probes were of weights that are about to change.
            (trial.contribution, *probation) = (Contribution::default(), Probation::FineTuning(steps));
        }
        self.network_changed();
        Ok(())
    }

    /// CHANNEL has one alpha for each channel of the slot.
    fn fits_channels(&self, id: &SeedId, blend: &BlendConfig) -> Result<(), Refusal> {
        let Some(alphas) = blend.alpha_vec() else { return Ok(()) };
        let slot = self.facts.slot.as_ref().ok_or_else(|| not_measured(id, "the host has not shown its slot yet"))?;
        let channels = slot.channels.1;
        if alphas.len() == channels {
            return Ok(());
        }
        Err(Refusal::Malformed {
            field: "annotations[\"alpha_vec\"]",
            cause: format!("has {} entries, the slot has {channels} channels", alphas.len()),
        })
    }

    /// For G4. An open breaker is not the seed's fault, so it is not its gate's business either.
    fn system_impact<M: GuardedMove>(
        &mut self,
        id: &SeedId,
        expected_stage: SeedLifecycleStage,
        contribution: Contribution,
    ) -> Result<SystemImpactEvidence, Refusal> {
        self.closed::<M>(id, self.run().breakers.open(), |finding| contribution.describe(finding))?;
        let origin = self.origin::<M>(id)?;
        let violations = self.seed(id)?.violations;
        let others = self.seeds_before().filter(|other| other.id != *id);
        let other_seeds = others.filter(|other| self.latest(other).stage.is_live()).count();
        Ok(SystemImpactEvidence { expected_stage, origin, violations, contribution, metrics: Vec::new(), other_seeds })
    }
}

/// For G2.
fn stability(
    graft: &Graft,
    expected_stage: SeedLifecycleStage,
    origin: KernelOrigin,
    violations: u64,
    progress: Progress,
) -> StabilityEvidence {
    StabilityEvidence {
        expected_stage,
        origin,
        violations,
        blend_latency: graft.vitals.blend_latency.median(),
        isolation_latency: graft.vitals.verify_latency.median(),
        progress,
    }
}

fn not_measured(id: &SeedId, what: &'static str) -> Refusal {
    Refusal::NotMeasured { seed: id.clone(), what }
}

impl From<&Validation> for ImpactMetric {
    fn from(validation: &Validation) -> Self {
        Self {
            name: validation.name.clone(),
            baseline: validation.host,
            current: validation.live,
            higher_is_better: validation.higher_is_better,
        }
    }
}
