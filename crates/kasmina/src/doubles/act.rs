//! What happens to a seed, as a script says it.

use kasmina_blending::{AlphaSchedule, BlendConfig};
use kasmina_commands::Order;
use kasmina_leyline::{BlueprintId, SeedId};

use super::stock::{blueprint, seed};

/// An order, but for the seed that it is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// GERMINATE, with the kernel that belongs to the seed's slot.
    Germinate,
    /// GERMINATE, with the kernel of this blueprint.
    GerminateAs(&'static str),
    /// START_TRAINING.
    Train,
    /// START_GRAFTING: RESIDUAL, linearly over this many steps.
    Graft(u64),
    /// START_GRAFTING.
    GraftAs(BlendConfig, AlphaSchedule),
    /// STABILIZE.
    Stabilize,
    /// EVALUATE.
    Evaluate,
    /// FINE_TUNE, for this many steps.
    FineTune(u64),
    /// FOSSILIZE.
    Fossilize,
    /// CULL.
    Cull,
    /// CULL, blended out over so many batches.
    BlendOut(u32),
    /// CANCEL.
    Cancel,
    /// PAUSE.
    Pause,
    /// RESUME.
    Resume,
    /// OPTIMIZER, with this scale of the learning rate.
    Scale(f64),
}

impl Act {
    /// The order about `seed`. `kernel` is what [`Germinate`](Self::Germinate) asks for.
    #[must_use]
    pub fn order(self, seed: SeedId, kernel: BlueprintId) -> Order {
        let germinate = |seed, blueprint| Order::Germinate {
            seed,
            blueprint,
            tier: None,
            parameters: std::collections::BTreeMap::new(),
            lr_scale: 1.0,
        };
        match self {
            Self::Germinate => germinate(seed, kernel),
            Self::GerminateAs(name) => germinate(seed, blueprint(name)),
            Self::Train => Order::StartTraining { seed },
            Self::Graft(total_steps) => {
                let schedule = AlphaSchedule::Linear { total_steps };
                Order::StartGrafting { seed, blend: BlendConfig::residual(), schedule }
            }
            Self::GraftAs(blend, schedule) => Order::StartGrafting { seed, blend, schedule },
            Self::Stabilize => Order::Stabilize { seed },
            Self::Evaluate => Order::Evaluate { seed },
            Self::FineTune(steps) => Order::FineTune { seed, steps },
            Self::Fossilize => Order::Fossilize { seed },
            Self::Cull => Order::Cull { seed, blend_out_steps: 0 },
            Self::BlendOut(blend_out_steps) => Order::Cull { seed, blend_out_steps },
            Self::Cancel => Order::Cancel { seed },
            Self::Pause => Order::Pause { seed },
            Self::Resume => Order::Resume { seed },
            Self::Scale(lr_scale) => Order::Optimizer { seed, lr_scale },
        }
    }
}

/// A line of a script. `(11, Graft(10))` is about `seed-1`, `(11, "seed-2", Graft(10))` about another.
#[derive(Clone, Debug, PartialEq)]
pub struct Cue {
    /// It happens before this step, counted from 1.
    pub before: u64,
    /// The seed that it happens to.
    pub seed: SeedId,
    /// What happens.
    pub act: Act,
}

impl From<(u64, Act)> for Cue {
    fn from((before, act): (u64, Act)) -> Self {
        Self { before, seed: seed("seed-1"), act }
    }
}

impl From<(u64, &str, Act)> for Cue {
    fn from((before, name, act): (u64, &str, Act)) -> Self {
        Self { before, seed: seed(name), act }
    }
}
