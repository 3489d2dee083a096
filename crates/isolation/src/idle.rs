//! Seeds that cannot learn, because nothing depends on them.

/// Why a seed got no gradients although it did its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Idle {
    /// The host's forward has not called its slot.
    SlotNotReached,
    /// The host's forward has called its slot, and its loss does not depend on the result.
    SlotUnused,
}

impl Idle {
    /// A machine-readable reason.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::SlotNotReached => "slot_not_reached",
            Self::SlotUnused => "slot_unused",
        }
    }

    /// Why a seed that got no gradient at this slot got none.
    pub(crate) const fn at(reached: bool) -> Self {
        if reached { Self::SlotUnused } else { Self::SlotNotReached }
    }
}
