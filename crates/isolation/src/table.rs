//! What a seed does in each pass: one table.

use kasmina_leyline::{
    SeedId,
    v1::SeedLifecycleStage::{
        self, SeedStageBlending, SeedStageCulled, SeedStageDormant, SeedStageEmbargoed, SeedStageFossilized,
        SeedStageGerminated, SeedStageProbationary, SeedStageResetting, SeedStageShadowing, SeedStageTerminated,
        SeedStageTraining, SeedStageUnknown,
    },
};

/// A view of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// The pass that trains the host.
    Host,
    /// The pass of one seed: everything else is frozen.
    Seed(SeedId),
    /// What inference and validation see. It has no graph.
    Live,
}

/// What a seed does in a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Nothing: its slot passes the host's activation on.
    Absent,
    /// It is structure: it learns with the host or is frozen with it.
    Committed,
    /// It learns from a copy of the host's gradient, behind an activation that it does not change.
    StraightThrough,
    /// It learns behind the barrier blend.
    Learning,
    /// It is frozen and blended in, at its alpha.
    Context,
    /// It is frozen and blended in at alpha 1, to be measured.
    Probed,
}

/// How a kernel is applied to an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Differentiable structure: the blend passes gradients to the host and to the kernel.
    Structure,
    /// The host's tensor passes through unchanged; the kernel gets a copy of the gradient.
    StraightThrough,
    /// Blended in; the host side is not a parent of the blend.
    Barrier,
}

/// The alpha at which a seed is blended in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlphaSource {
    /// The one of its schedule.
    Schedule,
    /// Always 1.
    One,
}

/// A stage's row of the table.
///
/// | stage | host's pass | its own pass | another seed's | live | alpha |
/// |---|---|---|---|---|---|
/// | TRAINING | straight-through | absent | absent | absent | 1 |
/// | BLENDING | absent | learning | context | context | schedule |
/// | SHADOWING | absent | probed | absent | absent | 1 |
/// | PROBATIONARY | absent | probed | context | context | 1 |
/// | FOSSILIZED | committed | committed | committed | committed | 1 |
/// | all others | absent | absent | absent | absent | 1 |
///
/// | part | role |
/// |---|---|
/// | absent | none |
/// | committed, context | structure |
/// | straight-through | straight-through |
/// | learning, probed | barrier |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// In the host's pass.
    pub host: Part,
    /// In its own pass.
    pub own: Part,
    /// In another seed's pass.
    pub other: Part,
    /// In the live view.
    pub live: Part,
    /// In every view in which it is blended in.
    pub alpha: AlphaSource,
}

impl Row {
    const ABSENT: Self = Self {
        host: Part::Absent,
        own: Part::Absent,
        other: Part::Absent,
        live: Part::Absent,
        alpha: AlphaSource::One,
    };

    /// The row of `stage`.
    #[must_use]
    pub const fn of(stage: SeedLifecycleStage) -> Self {
        match stage {
            SeedStageTraining => Self { host: Part::StraightThrough, ..Self::ABSENT },
            SeedStageBlending => Self {
                own: Part::Learning,
                other: Part::Context,
                live: Part::Context,
                alpha: AlphaSource::Schedule,
                ..Self::ABSENT
            },
            SeedStageShadowing => Self { own: Part::Probed, ..Self::ABSENT },
            SeedStageProbationary => {
                Self { own: Part::Probed, other: Part::Context, live: Part::Context, ..Self::ABSENT }
            }
            SeedStageFossilized => Self {
                host: Part::Committed,
                own: Part::Committed,
                other: Part::Committed,
                live: Part::Committed,
                alpha: AlphaSource::One,
            },
            SeedStageUnknown | SeedStageDormant | SeedStageGerminated | SeedStageCulled | SeedStageEmbargoed
            | SeedStageResetting | SeedStageTerminated => Self::ABSENT,
        }
    }

    /// What a seed with this row does in `view`, if `seed` is its id.
    #[must_use]
    pub fn part(self, seed: &SeedId, view: &View) -> Part {
        match view {
            View::Host => self.host,
            View::Seed(other) if other == seed => self.own,
            View::Seed(_) => self.other,
            View::Live => self.live,
        }
    }
}

impl Part {
    /// How the kernel is applied; `None` if it is not.
    #[must_use]
    pub const fn role(self) -> Option<Role> {
        match self {
            Self::Absent => None,
            Self::Committed | Self::Context => Some(Role::Structure),
            Self::StraightThrough => Some(Role::StraightThrough),
            Self::Learning | Self::Probed => Some(Role::Barrier),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = include_str!("table.rs");

    #[test]
    fn documented_table_is_what_happens() {
        let seed = SeedId::new("a").unwrap();
        let views = [View::Host, View::Seed(seed.clone()), View::Seed(SeedId::new("b").unwrap()), View::Live];
        for number in 0..12 {
            let stage = SeedLifecycleStage::try_from(number).unwrap();
            let name = stage.as_str_name().trim_start_matches("SEED_STAGE_");
            let row = SOURCE.lines().find(|line| line.starts_with(&format!("/// | {name} |")));
            let row = row.or_else(|| SOURCE.lines().find(|line| line.starts_with("/// | all others |"))).unwrap();
            let documented: Vec<_> = row.split('|').skip(2).take(5).map(str::trim).collect();
            let mut happens: Vec<_> = views.iter().map(|view| word(Row::of(stage).part(&seed, view))).collect();
            happens.push(match Row::of(stage).alpha {
                AlphaSource::Schedule => "schedule",
                AlphaSource::One => "1",
            });
            assert_eq!(happens, documented, "{name}");
        }
    }

    #[test]
    fn documented_roles_are_those_of_the_parts() {
        let parts = [Part::Absent, Part::Committed, Part::Context, Part::StraightThrough, Part::Learning, Part::Probed];
        for part in parts {
            let starts = |line: &&str| {
                let cells: Vec<_> = line.trim_start_matches("/// |").split('|').map(str::trim).collect();
                line.starts_with("/// | ") && cells.len() == 3 && cells[0].split(", ").any(|name| name == word(part))
            };
            let row = SOURCE.lines().find(starts).unwrap();
            let role = match part.role() {
                None => "none",
                Some(Role::Structure) => "structure",
                Some(Role::StraightThrough) => "straight-through",
                Some(Role::Barrier) => "barrier",
            };
            assert_eq!(row.split('|').nth(2).map(str::trim), Some(role), "{part:?}");
        }
    }

    fn word(part: Part) -> &'static str {
        match part {
            Part::Absent => "absent",
            Part::Committed => "committed",
            Part::StraightThrough => "straight-through",
            Part::Learning => "learning",
            Part::Context => "context",
            Part::Probed => "probed",
        }
    }
}
