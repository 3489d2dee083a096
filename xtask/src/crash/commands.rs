//! Which command is sent next: mostly the one that a seed's stage calls for.

use kasmina::{
    CommandSender,
    leyline::{
        BlueprintId, SeedId, UnixTime,
        v1::{
            AdaptationCommand, CommandOptimizerAdjustment, CommandType,
            SeedLifecycleStage::{
                self, SeedStageBlending, SeedStageCulled, SeedStageDormant, SeedStageEmbargoed, SeedStageFossilized,
                SeedStageGerminated, SeedStageProbationary, SeedStageResetting, SeedStageShadowing,
                SeedStageTerminated, SeedStageTraining, SeedStageUnknown,
            },
            SeedOperation::{
                self, SeedOpCancel, SeedOpCull, SeedOpEvaluate, SeedOpFineTune, SeedOpFossilize, SeedOpStabilize,
                SeedOpStartGrafting, SeedOpStartTraining,
            },
            adaptation_command::Payload,
        },
        wire::Malformed,
    },
};

use fastrand::Rng;

/// What is asked of a seed.
#[derive(Clone, Copy, Debug)]
enum Wish {
    Germinate,
    Graft,
    FineTune,
    Operate(SeedOperation),
    Pause,
    Resume,
    Optimizer,
    RollBackSeed,
    RollBackAll,
}

const ODD: [Wish; 10] = [
    Wish::Operate(SeedOpCull),
    Wish::Operate(SeedOpCancel),
    Wish::Operate(SeedOpStabilize),
    Wish::Pause,
    Wish::Resume,
    Wish::Resume,
    Wish::FineTune,
    Wish::Optimizer,
    Wish::RollBackSeed,
    Wish::RollBackAll,
];

/// A signed command for a seed in this stage; `epochs` are those that a rollback can go back to.
pub(crate) fn next(
    sender: &mut CommandSender,
    random: &mut Rng,
    (seed, blueprint, stage): &(SeedId, BlueprintId, SeedLifecycleStage),
    epochs: &[u64],
    now: UnixTime,
) -> Result<Vec<u8>, Malformed> {
    let odd = if random.u64(..4) == 0 { random.choice(&ODD).copied() } else { None };
    match odd.unwrap_or_else(|| due(*stage, random)) {
        Wish::Germinate => sender.germinate(seed, blueprint, now),
        Wish::Graft => {
            let parameters = [("alpha_total_steps", 1.0 + random.u64(..3) as f32)];
            let mode = if random.u64(..2) == 0 { "CONVEX" } else { "RESIDUAL" };
            let annotations = [("blend_mode", mode), ("alpha_schedule", "linear")];
            sender.operate(seed, SeedOpStartGrafting, parameters, annotations, now)
        }
        Wish::FineTune => sender.operate(seed, SeedOpFineTune, [("steps", 1.0 + random.u64(..2) as f32)], [], now),
        Wish::Operate(operation) => sender.operate(seed, operation, [], [], now),
        Wish::Pause => sender.pause(seed, false, now),
        Wish::Resume => sender.pause(seed, true, now),
        Wish::Optimizer => {
            let hyperparameters = [("lr_scale".to_owned(), 0.5 + random.u64(..4) as f32)].into();
            let adjustment = CommandOptimizerAdjustment { optimizer_id: String::new(), hyperparameters };
            let command = AdaptationCommand {
                command_type: CommandType::CommandOptimizer.into(),
                target_seed_id: seed.to_string(),
                payload: Some(Payload::OptimizerAdjustment(adjustment)),
                ..AdaptationCommand::default()
            };
            sender.send(command, now)
        }
        Wish::RollBackSeed => sender.roll_back_seed(seed, None, now),
        // Where there is none yet it is refused.
        Wish::RollBackAll => sender.roll_back(random.choice(epochs).copied().unwrap_or_default(), now),
    }
}

/// What brings a seed in `stage` on.
fn due(stage: SeedLifecycleStage, random: &mut Rng) -> Wish {
    match stage {
        SeedStageDormant => Wish::Germinate,
        SeedStageGerminated => Wish::Operate(SeedOpStartTraining),
        SeedStageTraining => Wish::Graft,
        SeedStageBlending => Wish::Operate(SeedOpStabilize),
        SeedStageShadowing => Wish::Operate(SeedOpEvaluate),
        // Rarely: a fossil stays for good, and seeds that are culled begin anew.
        SeedStageProbationary if random.u64(..12) == 0 => Wish::Operate(SeedOpFossilize),
        SeedStageProbationary if random.u64(..3) == 0 => Wish::FineTune,
        SeedStageProbationary
        | SeedStageUnknown
        | SeedStageCulled
        | SeedStageEmbargoed
        | SeedStageResetting
        | SeedStageTerminated => Wish::Operate(SeedOpCull),
        SeedStageFossilized => Wish::Optimizer,
    }
}
