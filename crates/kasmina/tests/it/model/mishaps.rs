//! What happens to the manager that is no command: tampering, crashes, full disks, going back.

use burn::{
    module::{Module, ModuleMapper, Param, ParamId},
    tensor::Tensor,
};
use kasmina::Validation;

use super::{
    breaker::Breaker,
    command::{What, Who},
    ledger::Snapshot,
    rig::{AdamWOf, Rig},
    steps::{Aim, Share, Valid},
};
use crate::common::{B, Mlp, bytes, seed, twin};

/// The trainer and the seeds at a checkpoint.
pub struct Held {
    control: Option<(Mlp<B>, AdamWOf)>,
    batches: u64,
    host: Vec<u8>,
    seeds: [Snapshot; 3],
}

impl Rig {
    pub fn tamper(&mut self, who: Who, share: Share) {
        let index = self.touch(who);
        let id = if share == Share::ById { self.host.stem.weight.id } else { ParamId::new() };
        let mut shared = Shared { param: Param::initialized(id, self.host.stem.weight.val()), done: false };
        self.world.manager.tamper(&seed(who.name()), |kernel| kernel.map(&mut shared));
        if shared.done {
            self.seen.shared[index] = true;
            self.model.seeds[index].graft.iter_mut().for_each(|graft| graft.shared = Some(share));
        }
    }

    pub fn spoil(&mut self, who: Who) {
        let index = self.touch(who);
        if self.world.manager.tamper(&seed(who.name()), |kernel| kernel.map(&mut Nan)) {
            self.model.seeds[index].graft.iter_mut().for_each(|graft| graft.nan = true);
        }
    }

    pub fn validate(&mut self, valid: Valid) {
        let metric = |live| Validation { name: "accuracy".into(), host: 0.9, live, higher_is_better: true };
        self.world.manager.report_validation(match valid {
            Valid::None => Vec::new(),
            Valid::Same => vec![metric(0.9)],
            Valid::Worse => vec![metric(0.9), metric(0.5)],
            Valid::Nan => vec![metric(f64::NAN)],
        });
        self.model.validation = Some(valid);
    }

    /// All that was told so far is compared: what comes next is not told move by move.
    pub fn settle_telemetry(&mut self) -> Result<(), String> {
        self.begin();
        self.world.manager.flush_telemetry();
        self.end(true)
    }

    pub fn fail_store(&mut self) {
        self.store.fail_next();
        self.model.disk.failing = true;
    }

    pub fn crash(&mut self) -> Result<(), String> {
        let by_id = |share| share == Some(Share::ById);
        let durable = self.model.disk.durable.as_ref().unwrap();
        if durable.seeds.iter().filter_map(|seed| seed.graft.as_ref()).any(|graft| by_id(graft.shared)) {
            // No seed with a parameter of the host's comes back: nobody can tell whose it is.
            return Ok(());
        }
        let own = durable.seeds.each_ref().map(|seed| seed.graft.as_ref().is_none_or(|graft| graft.shared.is_none()));
        self.count("crash");
        let found = self.world.restart(self.settings.clone(), &self.store);
        self.world.manager.attach_host(&self.host, |host, grafts| crate::common::loss(host, 0, grafts)).unwrap();
        self.model.crash();
        self.everything_went_back();
        self.seen.crashes.push((self.seen.obeyed.len(), self.model.now));
        self.seen.journal.crashed = true;
        (self.seen.heard, self.seen.returned) = Default::default();
        self.seen.unanswered = 0;
        self.seen.isolation_closed = matches!(self.model.isolation, Breaker::Closed(_));
        self.crashed_at = Some(self.sent.len());
        if found.epochs != self.model.epochs().into_iter().collect::<Vec<_>>() {
            return Err(format!("epochs {:?} are found, the model says {:?}", found.epochs, self.model.epochs()));
        }
        self.look();
        let seeds = self.durable.clone();
        for index in 0..3 {
            let mut expected = seeds[index].clone();
            if !own[index] {
                expected.registered.clone_from(&self.seen.after[index].registered);
            }
            self.same(index, &expected)?;
        }
        Ok(())
    }

    pub fn checkpoint(&mut self) -> Result<(), String> {
        // What shares a parameter is a graft behind the registry's back: no checkpoint says of it what it is.
        if self.model.seeds.iter().filter_map(|seed| seed.graft.as_ref()).any(|graft| graft.shared.is_some()) {
            return Ok(());
        }
        self.world.manager.end_epoch();
        self.model.epoch += 1;
        let number = self.held.len() as u64;
        let answer = self.world.manager.checkpoint(&self.host, &self.optimizer);
        let expected = self.model.checkpoint(number);
        self.agree(answer.map_err(|error| error.reason()), expected)?;
        self.look();
        self.held.push(Held {
            control: self.control.as_ref().map(|(host, optimizer)| (twin(host), optimizer.clone())),
            batches: self.batches,
            host: bytes(&self.host),
            seeds: self.seen.after.clone(),
        });
        Ok(())
    }

    pub fn aim(&self, aim: Aim) -> What {
        let epochs: Vec<_> = self.model.epochs().into_iter().collect();
        What::Rollback(match aim {
            Aim::Unsaid => None,
            Aim::Unknown => Some(999),
            Aim::Kept(place) => epochs.get(usize::from(place) % epochs.len().max(1)).copied().or(Some(998)),
        })
    }

    pub fn roll_back(&mut self) -> Result<(), String> {
        let answer = self.world.manager.roll_back(&mut self.host, &mut self.optimizer);
        let reason = answer.as_ref().map(|_| ()).map_err(|error| error.reason());
        let expected = self.model.roll_back();
        self.count(&format!("roll_back {}", reason.err().unwrap_or("done")));
        self.agree(reason, expected.map(|_| ()))?;
        let (Ok(_), Ok(number)) = (answer, expected) else { return Ok(()) };
        self.everything_went_back();
        let held = &self.held[number as usize];
        (self.batches, self.seen.host_bytes[0]) = (held.batches, held.host.clone());
        self.control = held.control.as_ref().map(|(host, optimizer)| (twin(host), optimizer.clone()));
        let seeds = held.seeds.clone();
        self.look();
        (0..3).try_for_each(|index| self.same(index, &seeds[index]))
    }

    /// A command has put one seed back.
    pub fn seed_went_back(&mut self, index: usize) -> Result<(), String> {
        let number = self.model.disk.source.unwrap_or_default();
        self.went_back(index);
        self.look();
        let (is, then) = (&self.seen.after[index], &self.held[number as usize].seeds[index]);
        let same = (is.stage, is.alpha, &is.registered, &is.kernel)
            == (then.stage, then.alpha, &then.registered, &then.kernel);
        if same { Ok(()) } else { Err(format!("seed-{} went back to {is:?}, it was {then:?}", index + 1)) }
    }

    fn everything_went_back(&mut self) {
        (0..3).for_each(|index| self.went_back(index));
    }

    fn went_back(&mut self, index: usize) {
        let seed = &self.model.seeds[index];
        self.seen.touched.insert(index);
        self.seen.went_back.insert(index);
        self.seen.last_told[index] = Some(seed.stage);
        self.seen.shared[index] = seed.graft.as_ref().is_some_and(|graft| graft.shared.is_some());
    }

    /// Compared as text, because NaN is NaN.
    fn same(&self, index: usize, expected: &Snapshot) -> Result<(), String> {
        let [is, expected] = [&self.seen.after[index], expected].map(|seed| format!("{seed:?}"));
        if is == expected { Ok(()) } else { Err(format!("{is} came back, it was {expected}")) }
    }
}

/// Puts the host's weight in the place of the kernel's weight of the same shape.
struct Shared {
    param: Param<Tensor<B, 2>>,
    done: bool,
}

impl ModuleMapper<B> for Shared {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        if param.val().dims()[..] != self.param.val().dims()[..] {
            return param;
        }
        self.done = true;
        Param::initialized(self.param.id, Tensor::from_primitive(self.param.val().into_primitive()))
    }
}

struct Nan;

impl ModuleMapper<B> for Nan {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        param.map(|tensor| Tensor::full_like(&tensor.detach(), f32::NAN).require_grad())
    }
}
