//! How a seed's life ends, as its policy wants to know it.

use kasmina_leyline::{BlueprintId, CommandId, SeedId, v1::FieldReportOutcome};

use crate::{decision::Event, draft::Draft, moves::CullReason, seed::Seed};

/// A seed's life, which began when G0 let it germinate, has ended: its slot is free again, or its kernel is part of the model.
///
/// | how | outcome | reason |
/// |---|---|---|
/// | it has become part of the model | SUCCESS | `fossilized` |
/// | a gate, or the hunt, found that it does harm or not what it must | REGRESSION | the gate's |
/// | the loss is not finite with it, or a gradient was found where it must not be three times | REGRESSION | `loss_not_finite`, `isolation_violations` |
/// | its kernel did not come, or failed in a pass | ABORTED | the kernel's |
/// | CANCEL | ABORTED | `cancelled` |
/// | CULL, at once or blended out: the policy knows why | NEUTRAL | `command`, `blended_out` |
/// | TERMINATE | NEUTRAL | `terminated` |
/// | the run went back to an epoch in which it did not live | NEUTRAL | `rolled_back` |
///
/// What happens to a fossil is the life of the model: there is no second end. If a rollback brings a seed back to life whose life had
/// ended, it ends once more.
#[derive(Clone, Debug, PartialEq)]
pub struct LifeEnded {
    /// The seed as it was at its end.
    pub seed: Seed,
    /// The blueprint of its kernel.
    pub blueprint: BlueprintId,
    /// What came of it.
    pub outcome: FieldReportOutcome,
    /// Why it ended.
    pub reason: &'static str,
    /// The command that decided it, if one did.
    pub by: Option<CommandId>,
    /// Epochs that ended since its kernel was attached.
    pub epochs: u64,
}

/// Who ends a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A gate, or what a gate would say.
    Verdict,
    /// Its kernel.
    Kernel,
    /// Somebody's wish, or what follows from it.
    Wish(CullReason),
}

impl Cause {
    pub(crate) const fn outcome(self) -> FieldReportOutcome {
        match self {
            Self::Verdict | Self::Wish(CullReason::LossNotFinite | CullReason::IsolationViolations) => {
                FieldReportOutcome::Regression
            }
            Self::Kernel | Self::Wish(CullReason::Cancelled) => FieldReportOutcome::Aborted,
            Self::Wish(CullReason::Command | CullReason::BlendedOut) => FieldReportOutcome::Neutral,
        }
    }
}

impl Draft<'_> {
    /// Says that the seed's life ends here. It is called before the seed's record changes, and says nothing of a seed that does not live.
    pub(crate) fn life_ends(
        &mut self,
        id: &SeedId,
        outcome: FieldReportOutcome,
        reason: &'static str,
        by: Option<CommandId>,
    ) {
        let Ok(seed) = self.seed(id).cloned() else { return };
        let Some(blueprint) = seed.stage.blueprint().cloned() else { return };
        let epochs = seed.stage.graft().map_or(0, |graft| self.run().epoch.saturating_sub(graft.epoch));
        self.emit(Event::LifeEnded(Box::new(LifeEnded { seed, blueprint, outcome, reason, by, epochs })));
    }

    /// The seed becomes part of the model.
    pub(crate) fn life_succeeds(&mut self, id: &SeedId) {
        let by = self.graft(id).ok().and_then(|graft| graft.ending.clone());
        self.life_ends(id, FieldReportOutcome::Success, "fossilized", by);
    }

    /// The seed's life is not part of the run any more.
    pub(crate) fn life_is_rolled_back(&mut self, id: &SeedId) {
        self.life_ends(id, FieldReportOutcome::Neutral, "rolled_back", None);
    }
}
