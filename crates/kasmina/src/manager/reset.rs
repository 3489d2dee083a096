//! An administrator begins anew, with the same manager.

use kasmina_blending::GraftBackend;
use kasmina_engine::{Input, commands::Order};
use kasmina_leyline::{SeedId, UnixTime};
use kasmina_lifecycle::Transition;
use kasmina_rollback::Entry;
use kasmina_telemetry::{Event, names};

use super::door::Batch;
use crate::{error::Refusal, manager::SeedManager};

/// What a reset has done.
#[derive(Clone, Debug, PartialEq)]
pub struct Reset {
    /// How many parameters of a teacher were forgotten.
    pub teacher: usize,
    /// The seeds that were culled.
    pub culled: Vec<SeedId>,
    /// The moves that this made.
    pub transitions: Vec<Transition>,
    /// No command is accepted that was issued at this time or before.
    pub watermark: UnixTime,
}

impl<B: GraftBackend> SeedManager<B> {
    /// Begins anew: drops the teacher, culls every live seed and releases its parameters, and empties the nonce ledger with its watermark at
    /// now. All of it has happened before the next command is looked at. No command on the wire reads as this: owning the manager is the
    /// authority.
    ///
    /// A seed without its parameters could not learn, so none is left live: they are culled, as by CULL, and rest for the embargo. What
    /// belongs to the model stays: its fossils, and seeds whose FOSSILIZE was answered, which join it in the next call that holds it.
    ///
    /// The ledger forgets a nonce because the watermark stands for it. A command from a sender whose clock is ahead, with a time of issue
    /// after the watermark, stays remembered until it expires. A watermark that is later than now stays where it is.
    ///
    /// # Errors
    /// [`Refusal::NotDurable`]: the ledger is emptied all the same, because it then only rejects more. Nothing else has happened.
    pub fn reset(&mut self) -> Result<Reset, Refusal> {
        self.act(Input::Tick);
        let watermark = self.clock.unix();
        self.verifier.restore(Vec::new(), Some(watermark), self.clock.monotonic());

        let seeds = self.state().seeds.values();
        let culled: Vec<_> = seeds.filter(|seed| is_culled(&seed.stage)).map(|seed| seed.id.clone()).collect();
        let mut batch = Batch::default();
        for seed in culled.iter().cloned() {
            self.decide_order(Order::Cull { seed, blend_out_steps: 0 }, &mut batch)?;
        }
        let event =
            Event::new(names::MANAGER_RESET).with("culled", culled.len()).with("watermark_ns", watermark.as_nanos());
        batch.note(move |to| to.event(None, event));
        batch.entries.push(Entry::WatermarkReset { at: watermark });
        self.conclude(batch)?;

        let teacher = self.drop_teacher();
        let all: Vec<SeedId> = self.state().seeds.keys().cloned().collect();
        for seed in all {
            self.tensors.registry_mut().release_seed(&seed);
        }
        Ok(Reset { teacher, culled, transitions: self.take_moved(), watermark })
    }
}

/// Whether a reset culls a seed of this stage: it has a kernel or waits for one, and is not about to join the model.
fn is_culled(stage: &kasmina_engine::Stage) -> bool {
    let waits = matches!(stage, kasmina_engine::Stage::Germinated(_));
    (waits || stage.graft().is_some()) && stage.joining().is_none()
}
