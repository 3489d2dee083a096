//! What a GERMINATE asks for.

use kasmina_leyline::{BlueprintId, v1::BlueprintTier};

/// A blueprint as a sender wants it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) blueprint: BlueprintId,
    /// The tier that it must have, if any.
    pub(crate) tier: Option<BlueprintTier>,
}
