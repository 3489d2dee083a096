//! Which network a store must give back.

use std::collections::BTreeSet;

use crate::crash::{
    finding::{Finding, Wrong},
    protocol::Kind,
};

/// The committed networks that a run has had, by the bits of their losses on one batch, and which of them is stored.
#[derive(Debug)]
pub(super) struct Network {
    had: BTreeSet<u32>,
    stored: Stored,
}

/// Which network the store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    /// None that anybody was told of.
    Nothing,
    /// This one.
    This(u32),
    /// One that the run has had: the process was killed while it stored another.
    Had,
    /// One that nobody was told of: the process was killed while a seed joined the network or left it.
    Untold,
}

impl Network {
    pub(super) const fn new() -> Self {
        Self { had: BTreeSet::new(), stored: Stored::Nothing }
    }

    /// After an operation the committed network has this loss. Returns whether it came back from the store in it.
    pub(super) fn done(&mut self, kind: Kind, loss: Option<u32>, findings: &mut Vec<Finding>) -> bool {
        let Some(loss) = loss else {
            findings.push(Finding::new(Wrong::Error, format!("{kind:?} did not tell the network's loss")));
            return false;
        };
        let restored = kind == Kind::Restore && self.stored != Stored::Nothing;
        match kind {
            Kind::Restore if restored => {
                self.is_stored(loss, findings);
                self.stored = Stored::This(loss);
            }
            Kind::RollBack => {
                self.was_had(kind, loss, findings);
                self.stored = Stored::This(loss);
            }
            Kind::Attach | Kind::Settle | Kind::Checkpoint => self.stored = Stored::This(loss),
            Kind::Restore | Kind::Register | Kind::Submit | Kind::Replay | Kind::Terminate | Kind::Step => {}
        }
        self.had.insert(loss);
        restored
    }

    /// The process was killed in this operation, and the journal has it.
    pub(super) const fn in_flight(&mut self, kind: Kind) {
        match kind {
            Kind::Attach | Kind::Checkpoint | Kind::RollBack => self.stored = Stored::Had,
            Kind::Settle => self.stored = Stored::Untold,
            Kind::Restore | Kind::Register | Kind::Submit | Kind::Replay | Kind::Terminate | Kind::Step => {}
        }
    }

    fn is_stored(&self, loss: u32, findings: &mut Vec<Finding>) {
        match self.stored {
            Stored::This(stored) if stored != loss => {
                let [stored, loss] = [stored, loss].map(f32::from_bits);
                findings.push(Finding::differs("the restored network's loss", stored, loss));
            }
            Stored::Had => self.was_had(Kind::Restore, loss, findings),
            Stored::This(_) | Stored::Nothing | Stored::Untold => {}
        }
    }

    fn was_had(&self, kind: Kind, loss: u32, findings: &mut Vec<Finding>) {
        if !self.had.contains(&loss) {
            let loss = f32::from_bits(loss);
            findings.push(Finding::differs(format!("the network's loss after {kind:?}"), "one that it has had", loss));
        }
    }
}
