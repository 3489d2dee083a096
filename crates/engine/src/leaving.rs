//! Taking a seed out: at once, or after it has been blended out.

use kasmina_blending::{Alpha, AlphaSchedule};
use kasmina_leyline::SeedId;
use serde::{Deserialize, Serialize};

use crate::{decision::Event, draft::Draft, moves::CullReason, refusal::Refusal, seed::Graft};

/// A seed on its way out of the blend: alpha falls by the same amount in each batch, and then the seed is culled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leaving {
    /// The alpha that it had.
    pub from: f32,
    /// Batches from there to alpha 0; at least 1.
    pub steps: u64,
    /// Batches of these that are done.
    pub done: u64,
}

impl Leaving {
    /// The alpha of the last batch. It never rises, and is 0 when all steps are done.
    #[must_use]
    pub fn alpha(&self) -> Alpha {
        let left = self.steps.saturating_sub(self.done) as f64 / self.steps.max(1) as f64;
        // Whatever a record says, no more than was in the blend.
        Alpha::new((f64::from(self.from) * left) as f32).unwrap_or(Alpha::ZERO)
    }

    /// Whether alpha has reached 0.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.done >= self.steps
    }
}

impl Draft<'_> {
    /// CULL. Only what is in the blend can be blended out; a seed that is leaving gets a new ramp from where it is.
    pub(crate) fn order_cull(&mut self, id: &SeedId, blend_out_steps: u32) -> Result<(), Refusal> {
        let steps = u64::from(blend_out_steps);
        if steps > AlphaSchedule::MAX_TOTAL_STEPS {
            let cause = format!("{steps} must be from 0 to 2^24");
            return Err(Refusal::Malformed { field: "blend_out_steps", cause });
        }
        let stage = &self.seed(id)?.stage;
        match stage.alpha() {
            Some(alpha) if steps > 0 && alpha > Alpha::ZERO && stage.is_live() => {
                let from = alpha.get();
                let ending = self.by();
                let graft = self.graft_mut(id)?;
                (graft.leaving, graft.ending) = (Some(Leaving { from, steps, done: 0 }), ending);
                self.seed_mut(id)?.stage.withdraw_join();
                self.network_changed();
                self.emit(Event::Leaving { seed: id.clone(), from, steps });
                Ok(())
            }
            Some(_) | None => self.cull_for(id, CullReason::Command),
        }
    }

    /// One more batch for each seed that leaves; those that are out are culled. A paused one goes on leaving.
    pub(crate) fn advance_leaving(&mut self) -> Result<(), Refusal> {
        for id in self.ids() {
            if self.seed(id)?.stage.leaving().is_none() {
                continue;
            }
            let Some(leaving) = &mut self.graft_mut(id)?.leaving else { continue };
            leaving.done += 1;
            if leaving.is_done() {
                self.cull_for(id, CullReason::BlendedOut)?;
            }
        }
        Ok(())
    }

    /// A seed that is leaving can be paused, resumed, culled, terminated or taken back to a checkpoint; it goes nowhere else.
    pub(crate) fn not_leaving(&self, id: &SeedId, graft: &Graft) -> Result<(), Refusal> {
        if graft.leaving.is_some() { Err(self.wrong_stage(id, "it is being blended out")) } else { Ok(()) }
    }
}
