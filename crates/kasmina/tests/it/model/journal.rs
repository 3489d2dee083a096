//! What the journal says, read as it grows, beside what was answered and told.

use std::collections::VecDeque;

use kasmina::{
    leyline::v1::SeedLifecycleStage as Stage,
    rollback::{
        Entry,
        doubles::{MemoryStore, conformance::records},
    },
};

use super::{command::Who, ledger::Seen};

type Move = (usize, Stage, Stage);

#[derive(Debug, Default)]
pub struct Reading {
    last: u64,
    /// Written in this step.
    pub written: Vec<Entry>,
    /// The stage of each seed that it tells; `None` where it says that one has gone back.
    stages: [Option<Stage>; 3],
    /// Moves that nobody has been told of yet.
    untold: VecDeque<Move>,
    /// The first thing that was wrong with it.
    flaw: Option<String>,
    /// The command of this step: its id, and why it was refused.
    pub answer: Option<(String, Option<String>)>,
    /// The moves that the step's call returned.
    pub returned: Vec<Move>,
    pub crashed: bool,
}

impl Reading {
    pub fn begin(&mut self) {
        self.written.clear();
        self.returned.clear();
        (self.answer, self.crashed) = (None, false);
    }

    /// Reads on. `stages` are those that the seeds are in.
    pub fn follow(&mut self, store: &MemoryStore, stages: [Stage; 3]) {
        for record in records(&mut store.clone(), self.last + 1) {
            self.last = record.sequence;
            self.take_in(&record.entry);
            self.written.push(record.entry);
        }
        for (known, is) in self.stages.iter_mut().zip(stages) {
            known.get_or_insert(is);
        }
        for told in std::mem::take(&mut self.returned) {
            if !std::iter::from_fn(|| self.untold.pop_front()).any(|journaled| journaled == told) {
                self.flaw.get_or_insert(format!("{told:?} was told and is not in the journal, in this order"));
            }
        }
        if self.crashed {
            self.untold.clear();
        }
    }

    /// Whether these are the stages that it tells.
    pub fn agrees(&self, stages: [Stage; 3]) -> bool {
        self.stages == stages.map(Some)
    }

    fn take_in(&mut self, entry: &Entry) {
        let index = |seed: &str| Who::SEEDS.iter().position(|who| who.name() == seed).unwrap();
        match entry {
            Entry::Moved { seed_id, from, to, .. } => {
                let index = index(seed_id.as_str());
                let was = self.stages[index].unwrap_or(*from);
                if was != *from {
                    self.flaw.get_or_insert(format!("{seed_id} leaves {from:?} and was in {was:?}"));
                }
                self.stages[index] = Some(*to);
                self.untold.push_back((index, *from, *to));
            }
            Entry::RolledBack { seed_id: Some(seed), .. } => self.stages[index(seed.as_str())] = None,
            Entry::RolledBack { seed_id: None, .. } => self.stages = [None; 3],
            Entry::Accepted { .. } | Entry::Refused { .. } | Entry::NonceSeen { .. } => {}
            Entry::Ordered { .. }
            | Entry::Delta { .. }
            | Entry::Snapshot { .. }
            | Entry::Epoch { .. }
            | Entry::EpochDropped { .. }
            | Entry::Telemetry { .. }
            | Entry::WatermarkReset { .. } => {}
        }
    }
}

pub fn what_is_told_is_journaled(seen: &Seen) -> Result<(), String> {
    seen.journal.flaw.clone().map_or(Ok(()), Err)
}

pub fn every_answer_is_journaled(seen: &Seen) -> Result<(), String> {
    let Some((id, refused)) = &seen.journal.answer else { return Ok(()) };
    let about = |entry: &&Entry| match entry {
        Entry::Accepted { command_id, .. } => refused.is_none() && command_id.as_str() == id,
        Entry::Refused { command_id, reason } => command_id == id && refused.as_ref() == Some(reason),
        Entry::NonceSeen { command_id, .. } => command_id.as_str() == id,
        Entry::Moved { .. } | Entry::RolledBack { .. } => false,
        Entry::Ordered { .. }
        | Entry::Delta { .. }
        | Entry::Snapshot { .. }
        | Entry::Epoch { .. }
        | Entry::EpochDropped { .. }
        | Entry::Telemetry { .. }
        | Entry::WatermarkReset { .. } => false,
    };
    let durable = refused.as_deref() != Some("not_durable");
    let found = seen.journal.written.iter().filter(about).count();
    let expected = if durable { 2 } else { 0 };
    if found == expected { Ok(()) } else { Err(format!("{id}, {refused:?}: {:?}", seen.journal.written)) }
}

pub fn nothing_acknowledged_is_lost(seen: &Seen) -> Result<(), String> {
    let stages = seen.after.each_ref().map(|seed| Some(seed.stage));
    if !seen.journal.crashed || stages == seen.journal.stages {
        return Ok(());
    }
    Err(format!("{stages:?} came back, the journal says {:?}", seen.journal.stages))
}
