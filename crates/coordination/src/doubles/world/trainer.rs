//! Trainers: steps, rounds, and replicas that begin again.

use super::super::chain::Applied;
use super::{Happening, MS, World};
use crate::{Isolation, Pace, WorkerId};

impl World {
    pub(super) fn train(&mut self, replica: usize, life: u64) -> Result<(), String> {
        let is_over = self.replicas[replica].life != life;
        if is_over || self.is_asleep(replica, || Happening::Step { replica, life }) {
            return Ok(());
        }
        let lies = !self.is_honest(replica) && self.random.bool();
        let (every, it) = (self.settings.every, &mut self.replicas[replica]);
        let (now, step) = (it.skew.monotonic(self.now), it.step);
        let Some(worker) = &mut it.worker else { return Ok(()) };
        if it.isolated.is_some() {
            return Ok(());
        }
        let era = worker.ledger().era();
        if step.is_multiple_of(every) && it.arrived != Some(crate::Round { era, step }) {
            it.arrived = Some(crate::Round { era, step });
            it.save();
            let report = it.report(self.now, lies);
            if let Some(worker) = &mut it.worker {
                worker.arrive(step, report, now).map_err(|error| error.to_string())?;
            }
            self.carry_out(replica)?;
        }
        let it = &mut self.replicas[replica];
        if it.isolated.is_some() || it.step != step {
            return Ok(());
        }
        let Some(worker) = &mut it.worker else { return Ok(()) };
        let pace = worker.advance(step, now).map_err(|error| error.to_string())?;
        match pace {
            Pace::Wait => {}
            Pace::Isolated(cause) => it.isolated = Some(cause),
            Pace::GoBack { epoch } => return self.go_back(replica, step, epoch),
            Pace::Go => {
                self.apply(replica, step)?;
                let it = &mut self.replicas[replica];
                it.train();
                let takes = it.step_takes;
                self.after(takes, Happening::Step { replica, life });
            }
        }
        self.carry_out(replica)
    }

    pub(super) fn apply(&mut self, replica: usize, step: u64) -> Result<(), String> {
        let honest = self.is_honest(replica);
        let it = &mut self.replicas[replica];
        let Some(decided) = it.due.remove(&step) else { return Ok(()) };
        let applied = Applied::new(&decided, step);
        if honest {
            let worker = WorkerId(u16::try_from(replica).unwrap_or(u16::MAX));
            self.chain.apply(worker, it.applied.len(), &applied)?;
        }
        it.apply(applied);
        Ok(())
    }

    pub(super) fn go_back(&mut self, replica: usize, step: u64, epoch: u64) -> Result<(), String> {
        let held = self.replicas[replica].checkpoints.iter().rev().find(|checkpoint| checkpoint.step == epoch);
        let Some(to) = held.cloned() else {
            // It was restored from another replica after it had promised: it has to be again.
            self.replicas[replica].isolated = Some(Isolation::Missed);
            self.after(300 * MS, Happening::Restore { replica });
            return Ok(());
        };
        self.apply(replica, step)?;
        self.seen.rollbacks += u64::from(self.is_honest(replica));
        let it = &mut self.replicas[replica];
        // The history of decisions goes on; weights and step go back.
        (it.step, it.weights) = (to.step, to.weights);
        if let Some(worker) = &mut it.worker {
            worker.went_back(to.step).map_err(|error| error.to_string())?;
        }
        it.arrived = None;
        it.checkpoints.retain(|checkpoint| checkpoint.step < epoch);
        it.save();
        let life = self.replicas[replica].life;
        self.after(MS, Happening::Step { replica, life });
        self.carry_out(replica)
    }

    pub(super) fn restart(&mut self, replica: usize) -> Result<(), String> {
        if self.replicas[replica].worker.is_some() {
            return Ok(());
        }
        let held = self.replicas[replica].checkpoints.len();
        let back = if self.random.u8(0..4) == 0 { self.random.usize(0..held) } else { 0 };
        let from = self.replicas[replica].checkpoints[held - 1 - back].clone();
        self.seen.restarts += 1;
        self.begin(replica, from)
    }

    /// The replica that has heard of most decisions, for those that begin from it.
    pub(in crate::doubles) fn foremost(&self) -> Option<usize> {
        let live = (0..self.replicas.len()).filter(|it| self.is_honest(*it) && self.replicas[*it].is_live());
        live.max_by_key(|it| (self.replicas[*it].applied.len(), self.replicas[*it].step))
    }

    /// Restores a replica from the foremost live one.
    pub(in crate::doubles) fn restore(&mut self, replica: usize) -> Result<bool, String> {
        let from = self.foremost().and_then(|foremost| {
            let foremost = &self.replicas[foremost];
            Some((foremost.present()?, foremost.checkpoints.clone()))
        });
        let Some((from, checkpoints)) = from else { return Ok(false) };
        self.seen.restored += 1;
        self.replicas[replica].checkpoints = checkpoints;
        self.begin(replica, from)?;
        Ok(true)
    }
}
