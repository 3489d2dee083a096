//! The model of what outlives the process, of what cannot be made durable, and of going back.

use std::{collections::BTreeSet, mem, rc::Rc};

use kasmina::leyline::{UnixTime, v1::SeedLifecycleStage::*};

use super::{
    prediction::{Answer, Model, Seed, Sent},
    steps::Share,
};

/// Checkpoints in memory and in the store: the defaults.
const IN_MEMORY: usize = 2;
const IN_STORE: usize = 3;

/// The store as the model sees it.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// The next append or save fails.
    pub failing: bool,
    /// The last attempt to make something durable failed.
    pub troubled: bool,
    /// Something has moved that is not durable.
    pub unsaved: bool,
    /// The state has become durable in this step.
    pub saved: bool,
    /// Ids in the journal.
    journaled: Vec<(String, UnixTime)>,
    pub in_memory: Vec<Checkpoint>,
    pub in_store: Vec<Checkpoint>,
    /// What a crash brings back.
    pub durable: Option<Rc<Model>>,
    /// The checkpoint that was gone back to last.
    pub source: Option<u64>,
}

/// A checkpoint of an epoch.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub number: u64,
    epoch: u64,
    model: Rc<Model>,
}

impl Model {
    /// The state is durable from now on.
    pub fn save(&mut self) {
        let disk = Disk { in_store: self.disk.in_store.clone(), ..Disk::default() };
        let durable = Self { disk, ..self.clone() };
        (self.disk.unsaved, self.disk.saved, self.disk.durable) = (false, true, Some(Rc::new(durable)));
        self.disk.troubled = false;
    }

    pub fn commit(&mut self, changed: bool) -> Answer {
        if !changed && !self.disk.unsaved && !self.disk.troubled {
            return Ok(());
        }
        self.write()?;
        self.save();
        Ok(())
    }

    fn write(&mut self) -> Answer {
        self.disk.troubled = mem::take(&mut self.disk.failing);
        if self.disk.troubled { Err("disk_full") } else { Ok(()) }
    }

    /// Makes durable what a command did, or undoes it: then the nonce is used up, and the kernel has been fetched.
    pub fn conclude(&mut self, before: Self, verified: Option<&Sent>, answer: Answer) -> Answer {
        // For whoever is rejected nothing is written but what time has moved.
        if verified.is_none() {
            if !self.disk.troubled {
                let _ = self.commit(false);
            }
            return answer;
        }
        if self.write().is_err() {
            let Self { admitted, watermark, cached, .. } = mem::replace(self, before);
            (self.admitted, self.watermark, self.cached) = (admitted, watermark, cached);
            (self.disk.failing, self.disk.troubled) = (false, true);
            return verified.map_or(answer, |_| Err("not_durable"));
        }
        self.disk.journaled.extend(verified.map(|sent| (sent.id.clone(), sent.issued_at)));
        if answer.is_ok() || self.disk.unsaved {
            self.save();
        }
        answer
    }

    /// The process dies and another comes back from the store.
    pub fn crash(&mut self) {
        let Some(durable) = self.disk.durable.clone() else { return };
        let mut ids = BTreeSet::new();
        let remembered = self.disk.journaled.iter().filter(|(id, _)| ids.insert(id.clone()));
        let admitted = remembered.map(|(id, issued_at)| (id.clone(), *issued_at, self.now)).collect();
        let disk = Disk {
            failing: self.disk.failing,
            journaled: mem::take(&mut self.disk.journaled),
            in_store: durable.disk.in_store.clone(),
            durable: Some(Rc::clone(&durable)),
            ..Disk::default()
        };
        let mut back = Self {
            now: self.now,
            wall: self.wall,
            failing: mem::take(&mut self.failing),
            admitted,
            cached: Default::default(),
            breaker_events: Vec::new(),
            gate_failures: Vec::new(),
            isolation: durable.isolation.restarted(self.now),
            kernels: durable.kernels.restarted(self.now),
            disk,
            ..(*durable).clone()
        };
        for index in 0..3 {
            let number = back.number();
            let seed = &mut back.seeds[index];
            seed.embargo_end = seed.embargo_end.map(|end| back.now.after(end.since(durable.now)));
            // What was the host's tensor is one of its own now, under the id that it had beside it.
            if let Some(graft) = seed.graft.as_mut().filter(|graft| graft.shared == Some(Share::ByTensor)) {
                (graft.shared, graft.number) = (None, number);
            }
        }
        *self = back;
        // What memory alone could go back to is gone.
        self.commanded = self.commanded.filter(|epoch| self.epochs().contains(epoch));
        let _ = self.commit(true);
    }

    /// The epochs that can be gone back to.
    pub fn epochs(&self) -> BTreeSet<u64> {
        self.disk.in_memory.iter().chain(&self.disk.in_store).map(|checkpoint| checkpoint.epoch).collect()
    }

    pub fn checkpoint(&mut self, number: u64) -> Answer {
        if self.commanded.is_some() {
            return Err("rollback_pending");
        }
        let model = Rc::new(Self { disk: Disk::default(), ..self.clone() });
        let checkpoint = Checkpoint { number, epoch: self.epoch, model };
        keep(&mut self.disk.in_memory, checkpoint.clone(), IN_MEMORY);
        if mem::take(&mut self.disk.failing) {
            return Err("disk_full");
        }
        keep(&mut self.disk.in_store, checkpoint, IN_STORE);
        self.save();
        Ok(())
    }

    pub fn command_rollback(&mut self, epoch: u64) -> Answer {
        if !self.epochs().contains(&epoch) {
            return Err("unknown_checkpoint");
        }
        self.commanded = Some(epoch);
        Ok(())
    }

    pub fn roll_back_seed(&mut self, index: usize, epoch: Option<u64>) -> Answer {
        let now = self.seeds[index].clone();
        let graft = now.graft.as_ref().filter(|_| now.stage != SeedStageFossilized).ok_or("wrong_stage")?;
        let epoch = epoch.or_else(|| self.epochs().last().copied()).ok_or("unknown_checkpoint")?;
        let (then, _) = self.find(epoch)?;
        let seed = &then.model.seeds[index];
        if seed.graft.as_ref().is_none_or(|then| then.number != graft.number) {
            return Err("wrong_stage");
        }
        self.seeds[index] = Seed { violations: now.violations, ..seed.clone() };
        self.validation = None;
        (self.disk.unsaved, self.disk.source) = (true, Some(then.number));
        Ok(())
    }

    /// Everything goes back but nonces and breakers. The number of the checkpoint that it goes back to.
    pub fn roll_back(&mut self) -> Result<u64, &'static str> {
        let epoch = self.commanded.ok_or("rollback_not_commanded")?;
        let (then, in_memory) = self.find(epoch)?;
        self.write()?;
        let Model { seeds, validation, step, epoch, now, .. } = (*then.model).clone();
        (self.seeds, self.validation, self.step, self.epoch, self.commanded) = (seeds, validation, step, epoch, None);
        if !in_memory {
            for seed in &mut self.seeds {
                seed.embargo_end = seed.embargo_end.map(|end| self.now.after(end.since(now)));
            }
        }
        self.disk.in_memory.retain(|checkpoint| checkpoint.epoch <= epoch);
        self.disk.in_store.retain(|checkpoint| checkpoint.epoch <= epoch);
        self.save();
        Ok(then.number)
    }

    /// The checkpoint of an epoch, and whether it is in memory.
    fn find(&self, epoch: u64) -> Result<(Checkpoint, bool), &'static str> {
        let of = |list: &[Checkpoint]| list.iter().find(|checkpoint| checkpoint.epoch == epoch).cloned();
        let (in_memory, in_store) = (of(&self.disk.in_memory), of(&self.disk.in_store));
        let found = in_memory.map(|found| (found, true)).or(in_store.map(|found| (found, false)));
        found.ok_or("unknown_checkpoint")
    }
}

fn keep(list: &mut Vec<Checkpoint>, checkpoint: Checkpoint, most: usize) {
    list.retain(|other| other.epoch != checkpoint.epoch);
    list.push(checkpoint);
    list.drain(..list.len().saturating_sub(most));
}
