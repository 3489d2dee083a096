//! What a seed does in each pass: one table.

use kasmina_leyline::v1::SeedLifecycleStage::{
    self, SeedStageBlending, SeedStageCulled, SeedStageDormant, SeedStageEmbargoed, SeedStageFossilized,
    SeedStageGerminated, SeedStageProbationary, SeedStageResetting, SeedStageShadowing, SeedStageTerminated,
    SeedStageTraining, SeedStageUnknown,
};

/// A view of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The pass that trains the host.
    Host,
    /// The one pass in which all seeds learn that are blended in. The host is frozen.
    Learning,
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
    /// It is blended in and learns.
    Learning,
    /// It is blended in and frozen.
    Context,
}

/// How a kernel is applied to an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Differentiable structure: the blend passes gradients on to what comes before it, and to the kernel. In the views of live
    /// seeds the host is frozen, so no gradient reaches it: that is the barrier.
    Structure,
    /// The host's tensor passes through unchanged; the kernel gets a copy of the gradient.
    StraightThrough,
}

/// The alpha at which a seed is blended in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlphaSource {
    /// The one of its [`Participant`](crate::Participant).
    Given,
    /// Always 1.
    One,
}

/// A stage's row of the table.
///
/// | stage | host's pass | learning pass | live | alpha |
/// |---|---|---|---|---|
/// | TRAINING | straight-through | absent | absent | 1 |
/// | BLENDING | absent | learning or context | context | given |
/// | SHADOWING | absent | absent | absent | 1 |
/// | PROBATIONARY | absent | learning or context | context | given |
/// | FOSSILIZED | committed | committed | committed | 1 |
/// | all others | absent | absent | absent | 1 |
///
/// "Learning or context" depends on whether the seed learns at present: a PROBATIONARY one learns while it is fine-tuned, a
/// BLENDING one unless it is leaving. [`measure`](crate::measure) can put any seed in or leave it out with an
/// [`Override`](crate::Override).
///
/// | part | role |
/// |---|---|
/// | absent | none |
/// | committed, learning, context | structure |
/// | straight-through | straight-through |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// In the host's pass.
    pub host: Part,
    /// In the learning pass, if it learns.
    pub learning: Part,
    /// In the live view, and in the learning pass if it does not learn.
    pub live: Part,
    /// In every view in which it is blended in.
    pub alpha: AlphaSource,
}

impl Row {
    const ABSENT: Self =
        Self { host: Part::Absent, learning: Part::Absent, live: Part::Absent, alpha: AlphaSource::One };

    /// The row of `stage`.
    #[must_use]
    pub const fn of(stage: SeedLifecycleStage) -> Self {
        match stage {
            SeedStageTraining => Self { host: Part::StraightThrough, ..Self::ABSENT },
            SeedStageBlending | SeedStageProbationary => {
                Self { learning: Part::Learning, live: Part::Context, alpha: AlphaSource::Given, ..Self::ABSENT }
            }
            SeedStageFossilized => Self {
                host: Part::Committed,
                learning: Part::Committed,
                live: Part::Committed,
                alpha: AlphaSource::One,
            },
            SeedStageShadowing | SeedStageUnknown | SeedStageDormant | SeedStageGerminated | SeedStageCulled
            | SeedStageEmbargoed | SeedStageResetting | SeedStageTerminated => Self::ABSENT,
        }
    }

    /// What a seed with this row does in `view`, if it learns at present or not.
    #[must_use]
    pub const fn part(self, view: View, learns: bool) -> Part {
        match view {
            View::Host => self.host,
            View::Learning if learns => self.learning,
            View::Learning | View::Live => self.live,
        }
    }
}

impl Part {
    /// How the kernel is applied; `None` if it is not.
    #[must_use]
    pub const fn role(self) -> Option<Role> {
        match self {
            Self::Absent => None,
            Self::Committed | Self::Learning | Self::Context => Some(Role::Structure),
            Self::StraightThrough => Some(Role::StraightThrough),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = include_str!("table.rs");

    #[test]
    fn documented_table_is_what_happens() {
        for number in 0..12 {
            let stage = SeedLifecycleStage::try_from(number).unwrap();
            let name = stage.as_str_name().trim_start_matches("SEED_STAGE_");
            let row = SOURCE.lines().find(|line| line.starts_with(&format!("/// | {name} |")));
            let row = row.or_else(|| SOURCE.lines().find(|line| line.starts_with("/// | all others |"))).unwrap();
            let documented: Vec<_> = row.split('|').skip(2).take(4).map(str::trim).collect();
            let part = |view: View, learns: bool| word(Row::of(stage).part(view, learns));
            let of = |view: View| match (part(view, true), part(view, false)) {
                (one, other) if one == other => one.to_owned(),
                (one, other) => format!("{one} or {other}"),
            };
            let mut happens: Vec<_> = [View::Host, View::Learning, View::Live].map(of).into();
            happens.push(match Row::of(stage).alpha {
                AlphaSource::Given => "given".to_owned(),
                AlphaSource::One => "1".to_owned(),
            });
            assert_eq!(happens, documented, "{name}");
        }
    }

    #[test]
    fn documented_roles_are_those_of_the_parts() {
        let parts = [Part::Absent, Part::Committed, Part::Context, Part::StraightThrough, Part::Learning];
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
        }
    }
}
