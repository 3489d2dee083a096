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

    /// A recovery writes one snapshot, with the live epochs behind it; nothing if there was nothing to recover.
    pub(super) fn is_recovery(&self, findings: &mut Vec<Finding>) {
        let snapshot = |entry: &Entry| matches!(entry, Entry::Snapshot { .. });
        let epoch = |entry: &Entry| matches!(entry, Entry::Epoch { .. });
        let whole = self.0.split_first().is_none_or(|(first, rest)| snapshot(first) && rest.iter().all(epoch));
        if !whole {
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
        let writes = match kind {
            Kind::Submit => !expected.is_empty(),
            Kind::Register | Kind::Terminate | Kind::Settle | Kind::Step | Kind::RollBack => true,
            Kind::Checkpoint => !self.0.iter().any(|entry| matches!(entry, Entry::Epoch { .. })),
            Kind::Restore | Kind::Attach | Kind::Replay => false,
        };
        if writes && (self.is_empty() || kind == Kind::Checkpoint) {
            findings.push(Finding::differs(format!("{kind:?}"), "a record of it", self));
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

    /// One change behind what it follows from, and the rollback that a rollback is. A step may have three: a kernel that is asked for
    /// again and one that arrives are made durable before the step is.
    fn is_whole(&self, kind: Kind, findings: &mut Vec<Finding>) {
        let count = |wanted: fn(&Entry) -> bool| self.0.iter().filter(|entry| wanted(entry)).count();
        let deltas = count(|entry| matches!(entry, Entry::Delta { .. }));
        let all_back = count(|entry| matches!(entry, Entry::RolledBack { seed_id: None, .. }));
        let moves = self.0.iter().rposition(|entry| matches!(entry, Entry::Moved { .. } | Entry::RolledBack { .. }));
        let change = self.0.iter().rposition(|entry| matches!(entry, Entry::Delta { .. }));
        if !self.is_empty() && deltas == 0 {
            findings.push(Finding::differs(format!("{kind:?}"), "a change", self));
        } else if deltas > if kind == Kind::Step { 3 } else { 1 } || moves > change {
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
            Entry::Accepted { command_id, wire } => {
                Some(Self::Accepted { id: command_id.as_str(), wire: Digest::of(wire).to_string() })
            }
            Entry::Refused { command_id, reason } => Some(Self::Refused { id: command_id, reason }),
            Entry::Ordered { .. }
            | Entry::Moved { .. }
            | Entry::Delta { .. }
            | Entry::Snapshot { .. }
            | Entry::Epoch { .. }
            | Entry::EpochDropped { .. }
            | Entry::RolledBack { .. }
            | Entry::Telemetry { .. }
            | Entry::WatermarkReset { .. } => None,
        }
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(super::brief)).finish()
    }
}
