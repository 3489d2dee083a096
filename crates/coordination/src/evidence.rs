//! Workers that say two things where they may say one.

use std::collections::BTreeMap;

use crate::{Membership, Phase, Round, Signed, WorkerId};

/// Two signed statements of one worker with the same phase, round and token, and different content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What was said first.
    pub first: Signed,
    /// What was said then.
    pub second: Signed,
}

impl Evidence {
    /// Who said it.
    #[must_use]
    pub const fn worker(&self) -> WorkerId {
        self.first.statement.worker
    }

    /// Whether it convicts: anybody can check it who knows the members.
    #[must_use]
    pub fn convicts(&self, membership: &Membership) -> bool {
        let key = |it: &Signed| (it.statement.worker, it.statement.phase, it.statement.round, it.statement.token);
        key(&self.first) == key(&self.second)
            && self.first.statement.hash != self.second.statement.hash
            && self.first.is_genuine(membership)
            && self.second.is_genuine(membership)
    }
}

/// How many statements of one worker are remembered: four phases of eight rounds under one or two tokens. A worker that
/// signs more than that in between is not found out here, and its first vote alone counts all the same.
const REMEMBERED: usize = 64;

/// The first statement of each worker about each matter. It remembers genuine statements only.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    heard: BTreeMap<WorkerId, BTreeMap<Matter, Heard>>,
}

/// A round, a token and a phase.
type Matter = (Round, u64, Phase);
/// What was said first, and whether a contradiction was told.
type Heard = (Signed, bool);

impl Watch {
    /// Hears a genuine statement. Gives the evidence if it contradicts an earlier one, once for each matter.
    pub(crate) fn hear(&mut self, signed: &Signed) -> Option<Evidence> {
        let statement = &signed.statement;
        let of = self.heard.entry(statement.worker).or_default();
        let (first, told) =
            of.entry((statement.round, statement.token, statement.phase)).or_insert_with(|| (*signed, false));
        if first.statement.hash != statement.hash && !*told {
            *told = true;
            return Some(Evidence { first: *first, second: *signed });
        }
        while of.len() > REMEMBERED {
            of.pop_first();
        }
        None
    }

    /// Whether exactly this was heard and checked before.
    pub(crate) fn knows(&self, signed: &Signed) -> bool {
        let statement = &signed.statement;
        let key = (statement.round, statement.token, statement.phase);
        self.heard.get(&statement.worker).and_then(|of| of.get(&key)).is_some_and(|(first, _)| first == signed)
    }
}
