//! What is wrong with a store, and what was counted while looking for it.

use std::{
    collections::BTreeSet,
    fmt::{self, Display},
};

use serde::Serialize;

use super::protocol::{Answer, Kind, Move};

/// Why a replay is rejected: its id is remembered, or it is older than all that are.
const OF_REPLAYS: [&str; 2] = ["nonce_replayed", "stale_command"];

/// In which way something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Something acknowledged is not there, or not as it was.
    Lost,
    /// A command was obeyed twice, or is there twice.
    Duplicate,
    /// The store, or a part of it, cannot be read.
    Unreadable,
    /// Something that nobody did, or that must not happen.
    Error,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) wrong: Wrong,
    pub(super) what: String,
}

impl Finding {
    pub(super) fn new(wrong: Wrong, what: impl Into<String>) -> Self {
        Self { wrong, what: what.into() }
    }

    /// Something acknowledged that is another than it was.
    pub(super) fn differs(what: impl Display, expected: impl Display, found: impl Display) -> Self {
        Self::new(Wrong::Lost, format!("{what}: expected {expected}, found {found}"))
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.wrong, self.what)
    }
}

/// The line that is printed at the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Tally {
    pub(super) kills: u64,
    pub(super) seed: u64,
    /// Stores that were begun.
    pub(super) stores: u64,
    pub(super) commands_acknowledged: u64,
    pub(super) steps_acknowledged: u64,
    pub(super) transitions_acknowledged: u64,
    pub(super) rollbacks_acknowledged: u64,
    /// Times that a seed joined the network or left it.
    pub(super) settled_acknowledged: u64,
    /// Times that the network came back from the store.
    pub(super) networks_restored: u64,
    pub(super) replays_rejected: u64,
    /// Times that records had been dropped from the journal's beginning.
    pub(super) compactions: u64,
    /// Batches that the journal had and nobody had been told of.
    pub(super) in_flight_kept: u64,
    pub(super) killed_during_recovery: u64,
    pub(super) stages_reached: BTreeSet<String>,
    pub(super) lost: u64,
    pub(super) duplicates: u64,
    pub(super) unreadable: u64,
    pub(super) errors: u64,
    pub(super) seconds: f64,
}

impl Tally {
    /// Counts what was acknowledged, and finds the answers that must not be given.
    pub(super) fn acknowledged(&mut self, kind: Kind, answers: &[Answer], moves: &[Move]) -> Vec<Finding> {
        self.transitions_acknowledged += moves.len() as u64;
        self.steps_acknowledged += u64::from(kind == Kind::Step);
        self.rollbacks_acknowledged += u64::from(kind == Kind::RollBack);
        self.settled_acknowledged += u64::from(kind == Kind::Settle);
        self.stages_reached.extend(moves.iter().map(|moved| moved.to.clone()));
        let mut findings = Vec::new();
        for answer in answers {
            match (kind, answer) {
                (Kind::Replay, Answer::Rejected { reason }) if OF_REPLAYS.contains(&reason.as_str()) => {
                    self.replays_rejected += 1;
                }
                (Kind::Replay, answer) => {
                    findings.push(Finding::new(Wrong::Duplicate, format!("a replay was answered with {answer:?}")));
                }
                (_, Answer::Rejected { reason }) => {
                    findings.push(Finding::new(Wrong::Error, format!("a fresh command was rejected: {reason}")));
                }
                (_, Answer::Accepted { .. } | Answer::Refused { .. }) => self.commands_acknowledged += 1,
            }
        }
        findings
    }

    pub(super) fn count(&mut self, finding: &Finding) {
        let count = match finding.wrong {
            Wrong::Lost => &mut self.lost,
            Wrong::Duplicate => &mut self.duplicates,
            Wrong::Unreadable => &mut self.unreadable,
            Wrong::Error => &mut self.errors,
        };
        *count += 1;
    }

    pub(super) fn findings(&self) -> u64 {
        self.lost + self.duplicates + self.unreadable + self.errors
    }
}
