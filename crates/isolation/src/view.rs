//! What a seed does in each view of the network.

use kasmina_leyline::{
    SeedId,
    v1::SeedLifecycleStage::{
        self, SeedStageBlending, SeedStageCulled, SeedStageDormant, SeedStageEmbargoed, SeedStageFossilized,
        SeedStageGerminated, SeedStageProbationary, SeedStageResetting, SeedStageShadowing, SeedStageTerminated,
        SeedStageTraining, SeedStageUnknown,
    },
};

/// A way to look at the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// The pass that trains the host.
    Host,
    /// The pass of one seed: everything else is frozen.
    Seed(SeedId),
    /// What inference and validation see. No graph.
    Live,
}

/// What a seed does in a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Nothing: its slot passes the host's activation on.
    Absent,
    /// It is structure: it learns with the host, or is frozen with it.
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

/// The part of `seed`, which is in `stage`, in `view`.
///
/// | stage | host's pass | its own pass | another seed's | live |
/// |---|---|---|---|---|
/// | TRAINING | straight-through | absent | absent | absent |
/// | BLENDING | absent | learning | context | context |
/// | SHADOWING | absent | probed | absent | absent |
/// | PROBATIONARY | absent | probed | context | context |
/// | FOSSILIZED | committed | committed | committed | committed |
/// | all others | absent | absent | absent | absent |
#[must_use]
pub fn part(stage: SeedLifecycleStage, seed: &SeedId, view: &View) -> Part {
    let own = matches!(view, View::Seed(other) if other == seed);
    let host = *view == View::Host;
    match stage {
        SeedStageFossilized => Part::Committed,
        SeedStageTraining if host => Part::StraightThrough,
        SeedStageBlending if own => Part::Learning,
        SeedStageShadowing | SeedStageProbationary if own => Part::Probed,
        SeedStageBlending | SeedStageProbationary if !host => Part::Context,
        SeedStageUnknown
        | SeedStageDormant
        | SeedStageGerminated
        | SeedStageTraining
        | SeedStageBlending
        | SeedStageShadowing
        | SeedStageProbationary
        | SeedStageCulled
        | SeedStageEmbargoed
        | SeedStageResetting
        | SeedStageTerminated => Part::Absent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_table_is_what_happens() {
        let seed = SeedId::new("a").unwrap();
        let views = [View::Host, View::Seed(seed.clone()), View::Seed(SeedId::new("b").unwrap()), View::Live];
        let source = include_str!("view.rs");
        let mut rows = 0;
        for number in 0..12 {
            let stage = SeedLifecycleStage::try_from(number).unwrap();
            let name = stage.as_str_name().trim_start_matches("SEED_STAGE_");
            let row = source.lines().find(|line| line.starts_with(&format!("/// | {name} |")));
            let row = row.or_else(|| source.lines().find(|line| line.starts_with("/// | all others |"))).unwrap();
            let cells: Vec<_> = row.split('|').skip(2).take(4).map(str::trim).collect();
            let parts = views.iter().map(|view| match part(stage, &seed, view) {
                Part::Absent => "absent",
                Part::Committed => "committed",
                Part::StraightThrough => "straight-through",
                Part::Learning => "learning",
                Part::Context => "context",
                Part::Probed => "probed",
            });
            assert_eq!(parts.collect::<Vec<_>>(), cells, "{name}");
            rows += 1;
        }
        assert_eq!(rows, 12);
    }
}
