//! What the process that is to be killed says of itself: one JSON object a line, each before or after one operation.

use std::collections::BTreeMap;

use kasmina::{
    kernel_load::Digest,
    leyline::v1::{AdaptationCommand, SeedLifecycleStage},
    lifecycle::Transition,
    rollback::Entry,
};
use prost::Message;
use serde::{Deserialize, Serialize};

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "line")]
pub(super) enum Line {
    /// It has come back from its store.
    Recovered { incarnation: u64, standing: Standing },
    /// It is about to do something.
    Intends { kind: Kind, commands: Vec<Announced> },
    /// It has been done: this is what was acknowledged.
    Done { kind: Kind, answers: Vec<Answer>, moves: Vec<Move>, standing: Standing },
    /// Something that must not happen.
    Error { what: String },
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// The model comes back from the store.
    Restore,
    /// The model is shown to the manager.
    Attach,
    Register,
    Submit,
    /// Commands that were answered before.
    Replay,
    /// A fossil is ordered to leave the model.
    Terminate,
    /// What has been answered joins and leaves the model.
    Settle,
    Step,
    Checkpoint,
    RollBack,
}

/// A command that is about to be submitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Announced {
    pub(super) id: String,
    /// The digest of its bytes.
    pub(super) wire: String,
}

/// How a command was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub(super) enum Answer {
    Accepted { id: String },
    Refused { id: String, reason: String },
    Rejected { reason: String },
}

/// A seed went from one stage to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Move {
    pub(super) seed: String,
    pub(super) from: String,
    pub(super) to: String,
}

/// Where the process stands behind an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Standing {
    /// The last record of the journal.
    pub(super) sequence: u64,
    pub(super) step: u64,
    /// The stage of every seed.
    pub(super) stages: BTreeMap<String, String>,
    /// What the kernel of each grafted seed comes to.
    pub(super) kernels: BTreeMap<String, String>,
    /// The bits of the committed network's loss on a batch that is always the same; none before it is restored.
    pub(super) loss: Option<u32>,
}

impl Announced {
    /// `None` for bytes that are no command.
    pub(super) fn of(wire: &[u8]) -> Option<Self> {
        let id = AdaptationCommand::decode(wire).ok()?.command_id;
        Some(Self { id, wire: Digest::of(wire).to_string() })
    }
}

impl Move {
    pub(super) fn of(transition: &Transition) -> Self {
        let Transition { seed_id, from, to, .. } = transition;
        Self { seed: seed_id.to_string(), from: stage_name(*from), to: stage_name(*to) }
    }

    pub(super) fn of_entry(entry: &Entry) -> Option<Self> {
        if let Entry::Moved { seed_id, from, to, .. } = entry {
            return Some(Self { seed: seed_id.to_string(), from: stage_name(*from), to: stage_name(*to) });
        }
        None
    }
}

pub(super) fn stage_name(stage: SeedLifecycleStage) -> String {
    stage.as_str_name().trim_start_matches("SEED_STAGE_").to_owned()
}
