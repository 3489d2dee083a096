//! What happens to the manager that is no command: tampering, crashes, full disks, going back.

use burn::{
    module::{Module, ModuleMapper, Param, ParamId},
    tensor::Tensor,
};
use kasmina::{Grown, Validation, leyline::v1::CircuitBreakerState::CircuitStateClosed};

use super::{
    command::{What, Who},
    ledger::Snapshot,
    rig::{AdamWOf, Rig},
    steps::{Aim, Share, Valid},
};
use crate::common::{B, Mlp, bytes, seed, twin};

/// The trainer and the seeds at a checkpoint.
pub struct Held {
    control: Option<(Grown<B, Mlp<B>>, AdamWOf)>,
    batches: u64,
    host: Vec<u8>,
    seeds: [Snapshot; 3],
}

impl Rig {
    pub fn tamper(&mut self, who: Who, share: Share) {
        let index = self.touch(who);
        let id = if share == Share::ById { self.host.host.stem.weight.id } else { ParamId::new() };
        let mut shared = Shared { param: Param::initialized(id, self.host.host.stem.weight.val()), done: false };
        self.world.manager.tamper(&seed(who.name()), |kernel| kernel.map(&mut shared));
        if shared.done {
            self.seen.shared[index] = true;
            self.by_id[index] |= share == Share::ById;
            self.sure = false;
        }
    }

    pub fn spoil(&mut self, who: Who) {
        self.touch(who);
        self.world.manager.tamper(&seed(who.name()), |kernel| kernel.map(&mut Nan));
        self.sure = false;
    }

    pub fn validate(&mut self, valid: Valid) {
        let metric = |live| Validation { name: "accuracy".into(), host: 0.9, live, higher_is_better: true };
        self.world.manager.report_validation(match valid {
            Valid::None => Vec::new(),
            Valid::Same => vec![metric(0.9)],
            Valid::Worse => vec![metric(0.9), metric(0.5)],
            Valid::Nan => vec![metric(f64::NAN)],
        });
    }

    /// All that was told so far is compared: what comes next is not told move by move.
    pub fn settle_telemetry(&mut self) -> Result<(), String> {
        self.begin();
        self.world.manager.flush_telemetry();
        self.end(true)
    }

    pub fn fail_store(&mut self) {
        if self.batches.is_multiple_of(2) { self.store.fail_next_append() } else { self.store.fail_next_put() }
    }

    pub fn crash(&mut self) -> Result<(), String> {
        if self.by_id.contains(&true) {
            // No seed with a parameter of the host's comes back: nobody can tell whose it is.
            return Ok(());
        }
        self.count("crash");
        let before = self.seen.after.clone();
        let shared = self.seen.shared;
        let found = self.world.restart(self.settings.clone(), &self.store);
        self.look();
        self.seen.crashes.push((self.seen.obeyed.len(), self.seen.now));
        self.seen.journal.crashed = true;
        if let Some(unknown) = found.epochs.iter().find(|epoch| !self.held.contains_key(epoch)) {
            return Err(format!("epoch {unknown} is found, and nobody has checkpointed it"));
        }
        // Weights that are shared by tensor come back as the seed's own.
        for index in (0..3).filter(|index| self.sure && !shared[*index]) {
            self.same(index, &before[index])?;
        }
        self.everything_went_back();
        self.world.go_on(&self.host);
        (self.seen.heard, self.seen.returned) = Default::default();
        self.seen.unanswered = 0;
        let isolation = kasmina::commands::BreakerName::Isolation;
        let breaker = self.world.manager.state().run.breakers.get(isolation);
        self.seen.isolation_closed = breaker.state() == CircuitStateClosed;
        self.seen.shared = [false; 3];
        self.crashed_at = Some(self.sent.len());
        Ok(())
    }

    pub fn checkpoint(&mut self) {
        // What shares a parameter is a graft behind the registry's back: no checkpoint says of it what it is.
        if self.seen.shared.contains(&true) {
            return;
        }
        self.world.manager.end_epoch();
        let answer = self.world.manager.checkpoint(&self.host, &self.optimizer);
        if self.world.manager.rollback_commanded().is_some() {
            return;
        }
        self.count(&format!("checkpoint {}", answer.err().map_or("done", |error| error.reason())));
        self.look();
        let held = Held {
            control: self.control.as_ref().map(|(host, optimizer)| (twin(host), optimizer.clone())),
            batches: self.batches,
            host: bytes(&self.host),
            seeds: self.seen.after.clone(),
        };
        self.held.insert(self.world.manager.state().run.epoch, held);
    }

    pub fn aim(&self, aim: Aim) -> What {
        let epochs = self.world.manager.epochs();
        What::Rollback(match aim {
            Aim::Unsaid => None,
            Aim::Unknown => Some(999),
            Aim::Kept(place) => epochs.get(usize::from(place) % epochs.len().max(1)).copied().or(Some(998)),
        })
    }

    pub fn roll_back(&mut self) -> Result<(), String> {
        let commanded = self.world.manager.rollback_commanded();
        let answer = self.world.manager.roll_back(&mut self.host, &mut self.optimizer);
        self.count(&format!("roll_back {}", answer.as_ref().err().map_or("done", |error| error.reason())));
        let Ok(back) = answer else { return Ok(()) };
        if Some(back.epoch) != commanded {
            return Err(format!("went back to {}, commanded was {commanded:?}", back.epoch));
        }
        self.look();
        let held = &self.held[&back.epoch];
        (self.batches, self.seen.host_bytes[0]) = (held.batches, held.host.clone());
        self.control = held.control.as_ref().map(|(host, optimizer)| (twin(host), optimizer.clone()));
        self.seen.control = self.control.as_ref().map(|(control, _)| bytes(control));
        let seeds = held.seeds.clone();
        self.seen.shared = [false; 3];
        self.by_id = [false; 3];
        self.everything_went_back();
        (0..3).try_for_each(|index| self.same(index, &seeds[index]))
    }

    /// A command has put one seed back.
    pub fn seed_went_back(&mut self, index: usize, epoch: u64) -> Result<(), String> {
        self.look();
        self.seen.shared[index] = false;
        self.by_id[index] = false;
        self.went_back(index);
        self.same(index, &self.held[&epoch].seeds[index])
    }

    fn everything_went_back(&mut self) {
        (0..3).for_each(|index| self.went_back(index));
    }

    fn went_back(&mut self, index: usize) {
        self.seen.touched.insert(index);
        self.seen.went_back.insert(index);
        self.seen.last_told[index] = Some(self.seen.after[index].stage);
    }

    /// Compared as text, because NaN is NaN.
    fn same(&self, index: usize, expected: &Snapshot) -> Result<(), String> {
        let [is, expected] = [&self.seen.after[index], expected]
            .map(|seed| format!("{:?}", (seed.stage, seed.alpha, &seed.registered, &seed.kernel)));
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
