//! Who gives orders.

use kasmina_blending::{AlphaSchedule, BlendConfig};
use kasmina_commands::Order;
use kasmina_leyline::SeedId;

use crate::{
    input::SeedStep,
    seed::{Probation, Stage},
    state::State,
};

/// Gives orders after each step.
///
/// A policy looks and does not touch: its orders go through the same door as signed commands, are judged by the same gates and are
/// written to the same journal. An order out of turn is refused and changes nothing, and a gate that needs more evidence postpones, so it
/// costs a policy nothing to ask again. A gate that refuses culls its seed.
///
/// An order that needs a kernel does not wait for it, because it would hold up the step: the seed has it some steps later, depending on how
/// long the library takes. Seeds must be registered by whoever owns the manager. For growth that is the same in every run, give the
/// policy's orders between steps instead.
pub trait Policy {
    /// The orders that follow from this step, in the order in which they are to be carried out.
    fn orders(&mut self, seen: &Observation<'_>) -> Vec<Order>;
}

/// What a policy sees.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// Every seed and what belongs to none.
    pub state: &'a State,
    /// The host's own loss in this step.
    pub host_loss: f32,
    /// What the step was for the seeds that took part.
    pub seeds: &'a [SeedStep],
}

/// Gives no orders: all come from outside.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPolicy;

impl Policy for NoPolicy {
    fn orders(&mut self, _: &Observation<'_>) -> Vec<Order> {
        Vec::new()
    }
}

impl<P: Policy + ?Sized> Policy for Box<P> {
    fn orders(&mut self, seen: &Observation<'_>) -> Vec<Order> {
        (**self).orders(seen)
    }
}

/// Puts each seed before its next gate after a number of steps.
#[derive(Clone, Debug, PartialEq)]
pub struct StepPolicy {
    /// Steps of TRAINING before START_GRAFTING.
    pub training_steps: u64,
    /// Steps of BLENDING before STABILIZE, which waits for the end of the schedule too. In the steps after that end a seed
    /// learns at full strength; in SHADOWING and PROBATIONARY it does not learn, unless FINE_TUNE lets it.
    pub blending_steps: u64,
    /// Steps of SHADOWING before EVALUATE.
    pub shadowing_steps: u64,
    /// Steps of PROBATIONARY before FOSSILIZE.
    pub probationary_steps: u64,
    /// How seeds are blended in.
    pub blend: BlendConfig,
    /// How alpha grows.
    pub schedule: AlphaSchedule,
}

impl Policy for StepPolicy {
    fn orders(&mut self, seen: &Observation<'_>) -> Vec<Order> {
        seen.state.seeds.values().filter_map(|seed| self.order(seed.id.clone(), &seed.stage)).collect()
    }
}

impl StepPolicy {
    fn order(&self, seed: SeedId, stage: &Stage) -> Option<Order> {
        let graft = stage.graft().filter(|graft| !graft.paused && graft.leaving.is_none())?;
        let steps = graft.vitals.steps;
        match stage {
            Stage::Training(_) if steps >= self.training_steps => {
                Some(Order::StartGrafting { seed, blend: self.blend.clone(), schedule: self.schedule })
            }
            Stage::Blending(_, blend) if blend.is_complete() && steps >= self.blending_steps => {
                Some(Order::Stabilize { seed })
            }
            Stage::Shadowing(..) if steps >= self.shadowing_steps => Some(Order::Evaluate { seed }),
            Stage::Probationary(_, _, Probation::OnTrial) if steps >= self.probationary_steps => {
                Some(Order::Fossilize { seed })
            }
            Stage::Dormant
            | Stage::Germinated(_)
            | Stage::Training(_)
            | Stage::Blending(..)
            | Stage::Shadowing(..)
            | Stage::Probationary(..)
            | Stage::Fossilized(_)
            | Stage::Culled
            | Stage::Embargoed(_)
            | Stage::Resetting
            | Stage::Terminated => None,
        }
    }
}
