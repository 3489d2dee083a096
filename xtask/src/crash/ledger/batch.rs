//! One batch of the journal, beside what was done.

use std::fmt;

use kasmina::{kernel_load::Digest, rollback::Entry};

use crate::crash::{
    finding::{Finding, Wrong},
    protocol::{Announced, Answer, Kind},
};

/// The records of one batch.
#[derive(Debug)]
pub(super) struct Batch(Vec<Entry>);

/// What a batch says of one command.
#[derive(Debug, PartialEq, Eq)]
enum Said<'a> {
    Nonce(&'a str),
    Accepted { id: &'a str, wire: String },
    Refused { id: &'a str, reason: &'a str },
}

impl Batch {
    pub(super) const fn new(entries: Vec<Entry>) -> Self {
        Self(entries)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The checkpoint that it ends with.
    pub(super) fn checkpoint(&self) -> Option<&Entry> {
        self.0.iter().find(|entry| matches!(entry, Entry::Checkpoint { .. }))
    }

    /// A recovery writes one checkpoint; none where there was nothing to recover.
    pub(super) fn is_recovery(&self, findings: &mut Vec<Finding>) {
        if self.0.len() > 1 || self.checkpoint().is_none() != self.is_empty() {
            findings.push(self.unexplained("a recovery"));
        }
    }

    /// Nothing was being done.
    pub(super) fn is_nothing(&self, findings: &mut Vec<Finding>) {
        findings.push(self.unexplained("nothing"));
    }

    /// What was done and acknowledged.
    pub(super) fn is_done(&self, kind: Kind, answers: &[Answer], announced: &[Announced], findings: &mut Vec<Finding>) {
        let mut expected = Vec::new();
        for answer in answers {
            match answer {
                Answer::Accepted { id } => {
                    let wire = announced.iter().find(|announced| announced.id == *id);
                    let wire = wire.map_or_else(|| "no wire".to_owned(), |announced| announced.wire.clone());
                    expected.extend([Said::Nonce(id), Said::Accepted { id, wire }]);
                }
                Answer::Refused { id, reason } => expected.extend([Said::Nonce(id), Said::Refused { id, reason }]),
                Answer::Rejected { .. } => {}
            }
        }
        let said = self.said();
        for (place, expected) in expected.iter().enumerate() {
            if said.get(place) != Some(expected) {
                let found = said.get(place).map_or_else(|| "nothing".to_owned(), |said| format!("{said:?}"));
                findings.push(Finding::differs("acknowledged", format!("{expected:?}"), found));
                return;
            }
        }
        if said.len() > expected.len() {
            findings.push(self.unexplained(format_args!("{} commands", expected.len() / 2)));
        }
        self.is_whole(kind, findings);
    }

    /// What was being done when the process was killed: all of it is there.
    pub(super) fn may_be(&self, kind: Kind, announced: &[Announced], findings: &mut Vec<Finding>) {
        let said = self.said();
        let expected = announced.iter().flat_map(|announced| [(0, announced), (1, announced)]);
        let right = |said: &Said<'_>, (part, announced): (u8, &Announced)| match said {
            Said::Nonce(id) => part == 0 && *id == announced.id,
            Said::Accepted { id, wire } => part == 1 && *id == announced.id && *wire == announced.wire,
            Said::Refused { id, .. } => part == 1 && *id == announced.id,
        };
        if said.len() != 2 * announced.len()
            || !said.iter().zip(expected).all(|(said, announced)| right(said, announced))
        {
            findings.push(self.unexplained(format_args!("{kind:?} of {announced:?}")));
        }
        self.is_whole(kind, findings);
    }

    /// One checkpoint at its end where it tells of a change, and the rollback that a rollback is.
    fn is_whole(&self, kind: Kind, findings: &mut Vec<Finding>) {
        let checkpoints = self.0.iter().filter(|entry| matches!(entry, Entry::Checkpoint { .. })).count();
        let last = matches!(self.0.last(), Some(Entry::Checkpoint { .. }));
        let all_back = self.0.iter().filter(|entry| matches!(entry, Entry::RolledBack { seed_id: None, .. })).count();
        let says_change = |entry: &Entry| match entry {
            Entry::CommandAccepted { .. } | Entry::Transition { .. } | Entry::RolledBack { .. } => true,
            Entry::CommandRefused { .. }
            | Entry::NonceSeen { .. }
            | Entry::Telemetry { .. }
            | Entry::Checkpoint { .. } => false,
        };
        let changes = match kind {
            Kind::Submit | Kind::Replay => self.0.iter().any(says_change),
            Kind::Register | Kind::Step | Kind::Checkpoint | Kind::RollBack => true,
        };
        if changes && checkpoints == 0 {
            findings.push(Finding::differs(format!("{kind:?}"), "a checkpoint", self));
        } else if checkpoints > 1 || checkpoints == 1 && !last {
            findings.push(self.unexplained(format_args!("one {kind:?}")));
        }
        if all_back != usize::from(kind == Kind::RollBack) {
            findings.push(Finding::differs(format!("rollbacks of {kind:?}"), kind == Kind::RollBack, all_back));
        }
    }

    fn said(&self) -> Vec<Said<'_>> {
        self.0.iter().filter_map(Said::of).collect()
    }

    fn unexplained(&self, expected: impl fmt::Display) -> Finding {
        Finding::new(Wrong::Error, format!("nobody did what the journal has: expected {expected}, found {self}"))
    }
}

impl<'a> Said<'a> {
    fn of(entry: &'a Entry) -> Option<Self> {
        match entry {
            Entry::NonceSeen { command_id, .. } => Some(Self::Nonce(command_id.as_str())),
            Entry::CommandAccepted { command_id, wire } => {
                Some(Self::Accepted { id: command_id.as_str(), wire: Digest::of(wire).to_string() })
            }
            Entry::CommandRefused { command_id, reason } => Some(Self::Refused { id: command_id, reason }),
            Entry::Transition { .. }
            | Entry::Telemetry { .. }
            | Entry::RolledBack { .. }
            | Entry::Checkpoint { .. } => None,
        }
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(super::brief)).finish()
    }
}
