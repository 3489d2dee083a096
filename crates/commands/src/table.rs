//! Every command with everything it takes, in one table. The reader and the sender take the names of fields from here, and the
//! tables of `docs/COMMANDS.md` are printed from it.

use std::fmt::Write;

use kasmina_blending as blending;
use kasmina_leyline::v1::{CommandType, SeedOperation};

/// Where a field stands in an `AdaptationCommand`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A field of the command itself.
    Command,
    /// A field of its payload.
    Payload,
    /// An entry of the payload's map of numbers: `parameters` of a seed operation, `hyperparameters` of an optimizer
    /// adjustment.
    Parameter,
    /// An entry of the command's `annotations`.
    Annotation,
}

/// Something that a command can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name on the wire.
    pub name: &'static str,
    /// Where it stands.
    pub place: Place,
    /// Type and range of its value. Space around an annotation's value does not count.
    pub takes: &'static str,
    /// What holds if it is absent.
    pub default: &'static str,
    /// What it is for.
    pub meaning: &'static str,
}

/// A command, or one operation of `COMMAND_SEED`.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The command.
    pub command: CommandType,
    /// The operation, for `COMMAND_SEED` alone.
    pub operation: Option<SeedOperation>,
    /// The payload that it must or may have, by its name on the wire.
    pub payload: Option<&'static str>,
    /// What it takes. A parameter that is not listed is refused, unless `any_parameter`.
    pub fields: &'static [Field],
    /// Whether it takes parameters that are not listed, as a blueprint defines them.
    pub any_parameter: bool,
    /// What it does.
    pub does: &'static str,
}

macro_rules! fields {
    ($($constant:ident = $name:expr, $place:ident, $takes:literal, $default:literal, $meaning:literal;)*) => {
        $(
            #[doc = $meaning]
            pub const $constant: Field =
                Field { name: $name, place: Place::$place, takes: $takes, default: $default, meaning: $meaning };
        )*
    };
}

fields! {
    DEADLINE = "execution_deadline_ms", Command, "whole number of milliseconds", "no deadline", "Refused if it arrives later than this after `issued_at`. 0 counts as absent.";
    RUN = "training_run_id", Annotation, "text", "any run", "Refused unless it is this run's name.";
    COVERAGE = "feature_coverage", Annotation, "number in [0, 1]", "not said", "The share of the sender's inputs that were present.";
    COVERAGE_MAP = "coverage_map", Annotation, "JSON object of numbers in [0, 1]", "not said", "The same for each input by name.";
    RISK = "risk_score", Annotation, "number in [0, 1]", "not said", "How risky the sender thinks the command is.";
    RISK_REASON = "risk_reason", Annotation, "text", "not said", "Why.";
    TIER = "blueprint_tier", Annotation, "SAFE, EXPERIMENTAL or HIGH_RISK in any case", "not said", "The tier that the sender expects. A GERMINATE is refused if the catalogue has another one.";
    BLUEPRINT_RISK = "blueprint_risk", Annotation, "number in [0, 1]", "not said", "How risky the sender thinks the blueprint is.";

    BLUEPRINT = "blueprint_id", Payload, "identifier", "required", "The blueprint whose kernel is grafted.";
    LR_SCALE = "lr_scale", Parameter, "finite number above 0", "1; required by OPTIMIZER", "Multiplies the seed's learning rate.";
    TOTAL_STEPS = blending::TOTAL_STEPS, Parameter, "whole number, 1 to 2^24", "the receiver's setting", "Batches over which alpha rises from 0 to 1.";
    TEMPERATURE = blending::TEMPERATURE, Parameter, "finite number above 0", "1", "Flattens (above 1) or steepens (below 1) the sigmoid schedule.";
    SCHEDULE = blending::SCHEDULE, Annotation, "sigmoid, linear or cosine in any case", "sigmoid", "How alpha rises.";
    BLEND = "blend", Payload, "BlendConfig", "the annotations below", "The blend as a typed field. It takes precedence over the annotations; a difference is reported.";
    BLEND_MODE = blending::MODE, Annotation, "CONVEX, RESIDUAL, CHANNEL or CONFIDENCE in any case", "CONVEX", "How seed and host are joined.";
    BLEND_SOURCE = blending::SOURCE, Annotation, "text", "not said", "Who chose the mode, for telemetry alone.";
    GATE_K = blending::GATE_K, Annotation, "finite number, at least 0", "4", "CONFIDENCE: slope of the gate per unit of logit.";
    GATE_TAU = blending::GATE_TAU, Annotation, "finite number, at least 0", "0.2", "CONFIDENCE: margin of the logits at which the gate is half open.";
    ALPHA_LO = blending::ALPHA_LO, Annotation, "number in [0, 1]", "0", "CONFIDENCE: least alpha. Swapped with `alpha_hi` if it is larger.";
    ALPHA_HI = blending::ALPHA_HI, Annotation, "number in [0, 1]", "1", "CONFIDENCE: largest alpha.";
    ALPHA_VEC = blending::ALPHA_VEC, Annotation, "JSON list or comma-separated list of numbers in [0, 1]; at most 64 unless the receiver is set otherwise", "required by CHANNEL", "CHANNEL: a factor of alpha for each channel.";
    ALPHA_VEC_LEN = blending::ALPHA_VEC_LEN, Annotation, "whole number", "not compared", "CHANNEL: must be the number of entries of `alpha_vec`.";
    STEPS = "steps", Parameter, "whole number, 1 to 2^24", "required", "Batches that the seed may learn for.";
    BLEND_OUT_STEPS = "blend_out_steps", Annotation, "whole number, 0 to 2^24", "0", "Batches over which alpha of a BLENDING or PROBATIONARY seed falls to 0 before it is taken out. 0: at once, as in every other stage.";
    RESUME = "resume", Annotation, "true or 1; false, 0 or nothing", "false", "Reverses a PAUSE.";
    OPTIMIZER_ID = "optimizer_id", Payload, "the target seed's id", "the target seed's", "The optimizer. A seed has one, with the seed's name.";
    DESIRED_STATE = "desired_state", Payload, "CircuitBreakerState other than UNKNOWN", "required", "The state to force the breaker into.";
    BREAKER = "breaker", Annotation, "isolation, kernels, blending or telemetry", "isolation", "The breaker.";
    INCLUDE_TEACHER = "include_teacher", Annotation, "true or 1; false, 0 or nothing", "false", "Drops the teacher too.";
    TARGET_EPOCH = "target_epoch", Payload, "whole number, 0 to 2^53", "the newest checkpoint; required without a target seed", "The epoch to go back to.";
    REASON = "reason", Payload, "any value", "not said", "For people who read the command; it is not used.";
}

/// What every command takes.
pub const COMMON: &[Field] = &[DEADLINE, RUN, COVERAGE, COVERAGE_MAP, RISK, RISK_REASON, TIER, BLUEPRINT_RISK];

/// GERMINATE.
pub const GERMINATE: Row = Row {
    any_parameter: true,
    ..seed(
        SeedOperation::SeedOpGerminate,
        &[BLUEPRINT, LR_SCALE],
        "DORMANT to GERMINATED, and on to TRAINING; other parameters as the blueprint allows",
    )
};
/// START_TRAINING.
pub const START_TRAINING: Row =
    seed(SeedOperation::SeedOpStartTraining, &[], "GERMINATED to TRAINING, if the seed did not go on by itself");
/// START_GRAFTING.
pub const START_GRAFTING: Row = seed(
    SeedOperation::SeedOpStartGrafting,
    &[
        TOTAL_STEPS,
        TEMPERATURE,
        SCHEDULE,
        BLEND,
        BLEND_MODE,
        BLEND_SOURCE,
        GATE_K,
        GATE_TAU,
        ALPHA_LO,
        ALPHA_HI,
        ALPHA_VEC,
        ALPHA_VEC_LEN,
    ],
    "TRAINING to BLENDING",
);
/// STABILIZE.
pub const STABILIZE: Row = seed(SeedOperation::SeedOpStabilize, &[], "BLENDING to SHADOWING");
/// EVALUATE.
pub const EVALUATE: Row = seed(SeedOperation::SeedOpEvaluate, &[], "SHADOWING to PROBATIONARY");
/// FINE_TUNE.
pub const FINE_TUNE: Row =
    seed(SeedOperation::SeedOpFineTune, &[STEPS], "lets a PROBATIONARY seed learn for more batches");
/// FOSSILIZE.
pub const FOSSILIZE: Row = seed(SeedOperation::SeedOpFossilize, &[], "PROBATIONARY to FOSSILIZED");
/// CULL.
pub const CULL: Row = seed(
    SeedOperation::SeedOpCull,
    &[BLEND_OUT_STEPS],
    "takes the seed out, at any stage before FOSSILIZED, at once or blended out",
);
/// CANCEL.
pub const CANCEL: Row = seed(SeedOperation::SeedOpCancel, &[], "takes the seed out, before BLENDING only");
/// PAUSE and its reversal.
pub const PAUSE: Row =
    Row { fields: &[RESUME], does: "makes the slot the identity, or ends that", ..plain(CommandType::CommandPause) };
/// OPTIMIZER.
pub const OPTIMIZER: Row = Row {
    payload: Some("optimizer_adjustment"),
    fields: &[OPTIMIZER_ID, LR_SCALE],
    does: "sets the scale of the seed's learning rate",
    ..plain(CommandType::CommandOptimizer)
};
/// CIRCUIT_BREAKER.
pub const CIRCUIT_BREAKER: Row = Row {
    payload: Some("circuit_breaker"),
    fields: &[DESIRED_STATE, BREAKER],
    does: "forces a breaker into a state",
    ..plain(CommandType::CommandCircuitBreaker)
};
/// EMERGENCY.
pub const EMERGENCY: Row =
    Row { fields: &[INCLUDE_TEACHER], does: "empties the caches", ..plain(CommandType::CommandEmergency) };
/// ROLLBACK.
pub const ROLLBACK: Row = Row {
    payload: Some("rollback_payload"),
    fields: &[TARGET_EPOCH, REASON],
    does: "goes back to a checkpoint: the target seed alone if one is named, else everything",
    ..plain(CommandType::CommandRollback)
};
/// STRUCTURAL_PRUNING.
pub const STRUCTURAL_PRUNING: Row =
    Row { does: "refused as `unsupported`", ..plain(CommandType::CommandStructuralPruning) };

/// Every command of the wire.
pub const TABLE: &[Row] = &[
    GERMINATE,
    START_TRAINING,
    START_GRAFTING,
    STABILIZE,
    EVALUATE,
    FINE_TUNE,
    FOSSILIZE,
    CULL,
    CANCEL,
    PAUSE,
    OPTIMIZER,
    CIRCUIT_BREAKER,
    EMERGENCY,
    ROLLBACK,
    STRUCTURAL_PRUNING,
];

impl Row {
    /// The names of the parameters that it takes.
    pub fn parameters(&self) -> impl Iterator<Item = &'static str> {
        self.fields.iter().filter(|field| field.place == Place::Parameter).map(|field| field.name)
    }

    /// Its name: of the command, and of the operation if there is one.
    #[must_use]
    pub fn name(&self) -> String {
        let command = self.command.as_str_name();
        match self.operation {
            Some(operation) => format!("`{command}` {}", operation.as_str_name().trim_start_matches("SEED_OP_")),
            None => format!("`{command}`"),
        }
    }
}

/// The tables of `docs/COMMANDS.md`.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from("| command | payload and annotations | what it does |\n|---|---|---|\n");
    for row in TABLE {
        let names = row.fields.iter().map(|field| format!("`{}`", field.name));
        let payload = row.payload.iter().map(|payload| format!("payload `{payload}`")).chain(names);
        let takes: Vec<_> = payload.collect();
        let _ = writeln!(out, "| {} | {} | {} |", row.name(), takes.join(", "), row.does);
    }
    out.push_str("\nEvery command also takes:\n\n");
    print(&mut out, COMMON);
    out.push_str("\nThe fields of the commands above:\n\n");
    let mut fields: Vec<Field> = Vec::new();
    for field in TABLE.iter().flat_map(|row| row.fields) {
        if !fields.contains(field) {
            fields.push(*field);
        }
    }
    print(&mut out, &fields);
    out
}

fn print(out: &mut String, fields: &[Field]) {
    out.push_str("| field | where | value | if absent | meaning |\n|---|---|---|---|---|\n");
    for Field { name, place, takes, default, meaning } in fields {
        let place = match place {
            Place::Command => "command",
            Place::Payload => "payload",
            Place::Parameter => "parameter",
            Place::Annotation => "annotation",
        };
        let _ = writeln!(out, "| `{name}` | {place} | {takes} | {default} | {meaning} |");
    }
}

const fn seed(operation: SeedOperation, fields: &'static [Field], does: &'static str) -> Row {
    Row { operation: Some(operation), payload: Some("seed_operation"), fields, does, ..plain(CommandType::CommandSeed) }
}

const fn plain(command: CommandType) -> Row {
    Row { command, operation: None, payload: None, fields: &[], any_parameter: false, does: "" }
}
