//! The moves between stages: past a gate, out of the slot, and on by time alone.

use std::time::Duration;

use kasmina_commands::BreakerName;
use kasmina_gates::{KernelOrigin, ResetEvidence};
use kasmina_leyline::{
    SeedId, SlotId,
    v1::{
        FieldReportOutcome,
        SeedLifecycleStage::{
            SeedStageCulled, SeedStageDormant, SeedStageEmbargoed, SeedStageResetting, SeedStageTerminated,
        },
    },
};
use kasmina_lifecycle::{Finding, Gatekeeper, GuardedMove, Lifecycle, Outcome, Reset, Transition, Verdict};

use crate::{
    decision::{Effect, Event},
    draft::Draft,
    ending::Cause,
    overlay::Keepers,
    refusal::Refusal,
    seed::{Embargo, Graft, Seed, Stage},
};

/// Why a seed was culled, if neither a gate nor a kernel says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CullReason {
    Command,
    Cancelled,
    BlendedOut,
    LossNotFinite,
    IsolationViolations,
}

impl CullReason {
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            // CULL was ordered.
            Self::Command => "command",
            // CANCEL was ordered.
            Self::Cancelled => "cancelled",
            // CULL was ordered with `blend_out_steps`, and alpha has reached 0.
            Self::BlendedOut => "blended_out",
            // The loss is a number without the seed and is not one with it.
            Self::LossNotFinite => "loss_not_finite",
            // Three gradients were found where they must not be.
            Self::IsolationViolations => "isolation_violations",
        }
    }
}

impl Draft<'_> {
    pub(crate) fn register(&mut self, id: SeedId, slot: SlotId) -> Result<(), Refusal> {
        if self.seed(&id).is_ok() {
            return Err(Refusal::SeedExists(id));
        }
        let registered = Lifecycle::new(id.clone(), Duration::ZERO).advance(SeedStageDormant, self.now)?;
        self.put(Seed { registered: self.run().forgotten, ..Seed::dormant(id, slot) });
        self.moved(registered);
        Ok(())
    }

    /// Removes the record of a seed of which nothing is left. From then on its name is free.
    pub(crate) fn forget(&mut self, id: &SeedId) -> Result<(), Refusal> {
        match self.seed(id)?.stage {
            Stage::Terminated => {
                self.forget_record(id);
                self.run_mut().forgotten += 1;
                self.effect(Effect::CountPackets { seed: id.clone() });
                Ok(())
            }
            Stage::Dormant
            | Stage::Germinated(..)
            | Stage::Training(..)
            | Stage::Blending(..)
            | Stage::Shadowing(..)
            | Stage::Probationary(..)
            | Stage::Fossilized(..)
            | Stage::Culled
            | Stage::Embargoed(..)
            | Stage::Resetting => Err(self.wrong_stage(id, "only a seed that is TERMINATED can be forgotten")),
        }
    }

    /// Lets the gate of `M` judge, and moves the seed to `next` if it passes. A seed that fails is culled, if its stage can be.
    pub(crate) fn pass<M: GuardedMove>(
        &mut self,
        id: &SeedId,
        evidence: &<Keepers as Gatekeeper<M>>::Evidence,
        next: Stage,
    ) -> Result<(), Refusal>
    where
        Keepers: Gatekeeper<M>,
    {
        let mut lifecycle = self.lifecycle(id)?;
        match lifecycle.approach::<M>()?.judge(&self.keepers(), evidence, self.now) {
            Ok((transition, verdict)) => {
                debug_assert_eq!(next.leyline(), transition.to, "the payload belongs to the stage");
                self.seed_mut(id)?.stage = next;
                self.emit(Event::Judged(verdict));
                self.moved(transition);
                self.effect(Effect::CountPackets { seed: id.clone() });
                Ok(())
            }
            Err(verdict) => Err(self.not_passed(verdict)),
        }
    }

    /// What follows from a verdict that does not let the seed pass.
    pub(crate) fn not_passed(&mut self, verdict: Verdict) -> Refusal {
        if verdict.outcome == Outcome::Postponed {
            return self.postpone(verdict);
        }
        self.emit(Event::Judged(verdict.clone()));
        // DORMANT and RESETTING cannot be culled: nothing is grafted there.
        let _ = self.cull(&verdict.seed_id, verdict.reason, Cause::Verdict);
        Refusal::GateFailed(Box::new(verdict))
    }

    /// Leaves a seed where it is. A policy asks after every step, so the same reason is emitted once.
    pub(crate) fn postpone(&mut self, verdict: Verdict) -> Refusal {
        if let Ok(seed) = self.seed(&verdict.seed_id)
            && seed.postponed.as_deref() != Some(verdict.reason)
        {
            let id = verdict.seed_id.clone();
            if let Ok(seed) = self.seed_mut(&id) {
                seed.postponed = Some(verdict.reason.to_owned());
            }
            self.emit(Event::Postponed(verdict.clone()));
        }
        Refusal::Postponed(Box::new(verdict))
    }

    /// The verdict of the gate of `M` that postpones, given before the gate is asked.
    pub(crate) fn not_yet<M: GuardedMove>(&mut self, id: &SeedId, finding: Finding) -> Refusal {
        self.postpone(finding.into_verdict(id, M::GATE))
    }

    /// Where the seed's kernel comes from. Before that was measured no gate is asked.
    pub(crate) fn origin<M: GuardedMove>(&mut self, id: &SeedId) -> Result<KernelOrigin, Refusal> {
        let measured = self.facts.origins.get(id).copied();
        measured.ok_or_else(|| self.not_yet::<M>(id, Finding::postpone("origin_not_measured")))
    }

    /// An open breaker is not the seed's fault.
    pub(crate) fn closed<M: GuardedMove>(
        &mut self,
        id: &SeedId,
        breaker: Option<BreakerName>,
        describe: impl FnOnce(Finding) -> Finding,
    ) -> Result<(), Refusal> {
        let Some(breaker) = breaker else { return Ok(()) };
        Err(self.not_yet::<M>(id, describe(Finding::postpone("breaker_open").with("breaker", breaker))))
    }

    /// Takes a seed out for a reason of its own.
    pub(crate) fn cull_for(&mut self, id: &SeedId, why: CullReason) -> Result<(), Refusal> {
        self.cull(id, why.reason(), Cause::Wish(why))
    }

    /// Takes a seed out of its slot, without a trace in the host, and lets it rest.
    pub(crate) fn cull(&mut self, id: &SeedId, why: &'static str, cause: Cause) -> Result<(), Refusal> {
        let mut lifecycle = self.lifecycle(id)?;
        let culled = lifecycle.advance(SeedStageCulled, self.now)?;
        let embargoed = lifecycle.advance(SeedStageEmbargoed, self.now)?;
        let until = self.now.after(self.settings().embargo);
        let by = match cause {
            Cause::Wish(CullReason::BlendedOut) => self.graft(id)?.ending.clone(),
            Cause::Wish(_) | Cause::Verdict | Cause::Kernel => self.by(),
        };
        self.life_ends(id, cause.outcome(), why, by);
        self.seed_mut(id)?.stage = Stage::Embargoed(Embargo { until });
        self.effect(Effect::Detach { seed: id.clone() });
        self.emit(Event::Culled { seed: id.clone(), why });
        self.moved(culled);
        self.moved(embargoed);
        Ok(())
    }

    /// Administrative teardown.
    pub(crate) fn terminate(&mut self, id: &SeedId) -> Result<(), Refusal> {
        if let Stage::Fossilized(_) = self.seed(id)?.stage {
            return self.terminate_fossil(id);
        }
        let terminated = self.lifecycle(id)?.advance(SeedStageTerminated, self.now)?;
        self.life_ends(id, FieldReportOutcome::Neutral, "terminated", self.by());
        self.seed_mut(id)?.stage = Stage::Terminated;
        self.effect(Effect::Detach { seed: id.clone() });
        self.moved(terminated);
        Ok(())
    }

    /// Ends the embargoes that are over, resets what could not be reset before, and lets breakers whose time-out is over admit trials.
    pub(crate) fn tick(&mut self) -> Result<(), Refusal> {
        for id in self.due() {
            if let Stage::Embargoed(_) = self.seed(&id)?.stage {
                let resetting = self.lifecycle(&id)?.advance(SeedStageResetting, self.now)?;
                let seed = self.seed_mut(&id)?;
                (seed.violations, seed.stage) = (0, Stage::Resetting);
                self.emit(Event::EmbargoEnded(id.clone()));
                self.moved(resetting);
            }
            // After a refusal the seed stays in RESETTING, where nothing happens to it. A postponed one is tried again.
            let _ = self.reset(&id);
        }
        for (name, _) in self.settings().breakers() {
            let _ = self.breaker_allows(name);
        }
        Ok(())
    }

    /// RESETTING to DORMANT, if nothing of the seed is left.
    fn reset(&mut self, id: &SeedId) -> Result<(), Refusal> {
        let Some(remains) = self.facts.remains.get(id).copied() else {
            return Err(self.not_yet::<Reset>(id, Finding::postpone("remains_not_measured")));
        };
        let Some(ownership) = self.facts.ownership.get(id).copied() else {
            return Err(self.not_yet::<Reset>(id, Finding::postpone("ownership_not_measured")));
        };
        let evidence = ResetEvidence {
            expected_stage: SeedStageResetting,
            slot_occupied: remains.kernels > 0 || self.run().fossils.contains(id),
            counters_left: remains.packets + self.seed(id)?.violations,
            cached_entries: remains.cached,
            registered_parameters: ownership.registered,
        };
        self.pass::<Reset>(id, &evidence, Stage::Dormant)
    }

    /// What every move brings with it.
    pub(crate) fn moved(&mut self, transition: Transition) {
        if let Ok(seed) = self.seed_mut(&transition.seed_id) {
            seed.postponed = None;
        }
        self.emit(Event::Moved(transition));
        self.network_changed();
    }

    /// What was measured of the whole network before it changed says nothing of the network after.
    pub(crate) fn network_changed(&mut self) {
        if !self.run().validation.is_empty() {
            self.run_mut().validation.clear();
        }
    }

    /// The machine that guards the seed's moves, in the seed's stage.
    pub(crate) fn lifecycle(&self, id: &SeedId) -> Result<Lifecycle, Refusal> {
        let (seed, embargo) = (self.seed(id)?, self.settings().embargo);
        let left = seed.embargo_until().map(|until| until.since(self.now));
        Ok(Lifecycle::resumed(seed.id.clone(), seed.stage.leyline(), embargo, left, self.now))
    }

    /// A paused seed can be resumed, culled or left alone.
    pub(crate) fn not_paused(&self, id: &SeedId, graft: &Graft) -> Result<(), Refusal> {
        if graft.paused { Err(self.wrong_stage(id, "it is paused")) } else { Ok(()) }
    }
}

impl Graft {
    /// The graft in a stage that it has just entered: what is counted and judged by stage begins anew.
    pub(crate) fn entering(mut self) -> Self {
        self.vitals.steps = 0;
        self.vitals.losses.clear();
        self
    }
}
