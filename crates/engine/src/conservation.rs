//! Conservative mode: while memory is short, no seed germinates.

use kasmina_leyline::SeedId;
use kasmina_lifecycle::{Finding, Germinate};

use crate::{
    decision::{Effect, Event},
    draft::Draft,
    input::MemoryFacts,
    refusal::Refusal,
};

impl Draft<'_> {
    /// The mode begins or ends, and what is cached goes if the hard limit is exceeded. Seeds that are grafted are not concerned.
    pub(crate) fn memory_assessed(&mut self, facts: MemoryFacts) {
        if facts.purge {
            self.effect(Effect::Purge { include_teacher: false });
        }
        if facts.conserving == self.run().conserving {
            return;
        }
        self.run_mut().conserving = facts.conserving;
        self.emit(if facts.conserving { Event::ConservationBegan(facts) } else { Event::ConservationEnded(facts) });
    }

    /// Memory that is short is not the seed's fault.
    pub(crate) fn memory_suffices(&mut self, id: &SeedId) -> Result<(), Refusal> {
        if self.run().conserving {
            Err(self.not_yet::<Germinate>(id, Finding::postpone("memory_pressure")))
        } else {
            Ok(())
        }
    }
}
