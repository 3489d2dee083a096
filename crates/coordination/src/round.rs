//! Which round.

use std::fmt;

/// A round: the step at whose beginning it is held, in one era. Later eras come after earlier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Round {
    /// How often the group has gone back to an earlier checkpoint: after a rollback the same steps come again, and are
    /// other rounds.
    pub era: u64,
    /// The step that has not begun yet.
    pub step: u64,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} of era {}", self.step, self.era)
    }
}
