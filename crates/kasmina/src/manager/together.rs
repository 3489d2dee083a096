//! What the workers of a group do together in a step. Alone, none of this costs anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use burn::{module::AutodiffModule, optim::GradientsParams};
use kasmina_blending::GraftBackend;
use kasmina_commands::BreakerName;
use kasmina_engine::{
    Input,
    input::{HostPassFacts, LearningFacts},
};
use kasmina_grown::{Grown, HostModule};
use kasmina_isolation::{HostPass, flatten_gradients, gradients_present, unflatten_gradients};
use kasmina_leyline::{SeedId, UnixTime, v1::CircuitBreakerState::CircuitStateHalfOpen};
use kasmina_reduce::{Part, Place, Reduce, ReduceError};
use kasmina_registry::parameter_ids;
use kasmina_rollback::Digest;

use super::SeedManager;
use crate::{
    error::StepError,
    events,
    records::encode,
    tensors::weights_digest,
    workers::{Beginning, Delivery, HostPassed, LearningPassed, Probed, Probing, mean, proven},
};

impl<B: GraftBackend> SeedManager<B> {
    /// Which worker this is, of how many.
    #[must_use]
    pub const fn place(&self) -> Place {
        self.group.place()
    }

    /// Goes on in another group, after one in which a worker was lost. The workers do not know how far each has come: before the next
    /// step all go back to the same epoch ([`roll_back_to`](Self::roll_back_to)), or they find themselves out of step.
    pub fn regroup(&mut self, reduce: impl Reduce<B::InnerBackend> + 'static) {
        self.group.join(Box::new(reduce));
    }

    /// The workers have agreed on this time, for example in a round: commands that are submitted from now on count as received then. A time
    /// before the one that they have agreed on already changes nothing.
    pub fn agree_on_time(&mut self, at: UnixTime) {
        self.group.agree_on(at);
    }

    /// The state of all seeds as a checksum. Workers of one run have the same after every step.
    #[must_use]
    pub fn digest(&self) -> Digest {
        // Every record of the state can be encoded: the journal does.
        let mut bytes = encode(self.state()).unwrap_or_default();
        // What the journal leaves out: how far breakers have counted, and whether memory is short.
        let run = &self.state().run;
        bytes.extend_from_slice(format!("{:?} {}", run.breakers, run.conserving).as_bytes());
        Digest::of(&bytes)
    }

    /// Begins a step with the others, and takes what follows: time, random numbers, memory, telemetry, kernels.
    pub(super) fn begin_together<H: HostModule<B>>(&mut self, model: &Grown<B, H>) -> Result<(), StepError> {
        if self.group.is_alone() {
            return Ok(());
        }
        let own = Beginning {
            step: self.step(),
            state: *self.digest().as_bytes(),
            model: *names_of(model).as_bytes(),
            weights: (!self.group.compared).then(|| self.weights(model)),
            monotonic: self.group.proposes(),
            unix: self.clock.unix(),
            rng_seed: self.draw_rng_seed(model),
            memory: self.assess_own_memory().into(),
            telemetry: self.group.telemetry,
            packets: self.packets_of_grafts(),
            arrived: self.arrived_kernels(),
        };
        let rank = self.place().rank;
        let all = self.group.gather("the beginning of a step", &own)?;
        let begun = Beginning::agree(&all, rank).map_err(|(worker, what)| StepError::OutOfStep { worker, what })?;
        self.group.begun(&begun);
        if own.weights.is_some() && begun.compared {
            self.reporter.emit(None, events::workers_met(self.place()));
        }
        self.group.compared = begun.compared;
        self.group.violated = false;
        if let Some(before) = self.unsettled.take() {
            // The last step was dropped, and each worker's statistics had moved by its own share.
            before.restore(model);
        }
        if let Some(seed) = begun.rng_seed.filter(|_| self.rng_seed().is_none()) {
            self.act(Input::RngSeeded(seed));
        }
        self.take_memory(begun.memory);
        let (failed, delivered) = (begun.telemetry == Delivery::Failed, begun.telemetry == Delivery::Delivered);
        let half_open = self.state().run.breakers.get(BreakerName::Telemetry).state() == CircuitStateHalfOpen;
        if failed || self.flush_failed || (half_open && delivered) {
            self.flush_failed = failed;
            self.act(Input::Flushed { failed });
        }
        self.take_arrivals_of(&begun.arrived).map_err(|error| match error {
            ArrivalError::NotDurable => {
                let what = "its disk refused a kernel that the others have now".to_owned();
                StepError::OutOfStep { worker: rank, what }
            }
            ArrivalError::Reduce(error) => error.into(),
        })
    }

    /// The host's pass failed here. The others hear of it; `None` if they do not, and then nothing follows from it.
    pub(super) fn agree_on_refusal(&mut self, facts: HostPassFacts, error: &StepError) -> Option<HostPassFacts> {
        if self.group.is_alone() {
            return Some(facts);
        }
        let own = HostPassed::new(f32::NAN, Some(error.to_string()), Duration::ZERO, &facts);
        let all = self.group.gather("the host's pass", &own).ok()?;
        Some(HostPassed::agree(&all, &facts).facts)
    }

    /// The host's pass as all have seen it: its loss is the mean, and its verification took as long as the slowest. If another worker cannot
    /// take the step, nor can this one.
    pub(super) fn agree_on_host_pass(
        &mut self,
        pass: &mut HostPass<B>,
        facts: HostPassFacts,
    ) -> Result<HostPassFacts, StepError> {
        if self.group.is_alone() {
            return Ok(facts);
        }
        let own = HostPassed::new(pass.loss, None, pass.verify_time, &facts);
        let all = self.group.gather("the host's pass", &own)?;
        let agreed = HostPassed::agree(&all, &facts);
        if let Some((worker, why)) = agreed.refused {
            self.act(Input::HostPassFailed(agreed.facts.faults));
            return Err(StepError::RefusedElsewhere { worker, why });
        }
        (pass.loss, pass.verify_time) = (agreed.loss, agreed.verify);
        self.group.violated |= !agreed.facts.violations.is_empty();
        Ok(agreed.facts)
    }

    /// The learning pass as all have seen it, and whether their gradients go together. Workers have one if any of them has.
    pub(super) fn agree_on_learning(
        &mut self,
        facts: Option<LearningFacts>,
        left_out: BTreeSet<SeedId>,
    ) -> Result<Option<(LearningFacts, bool)>, StepError> {
        if self.group.is_alone() {
            return Ok(facts.map(|facts| (facts, true)));
        }
        if !self.state().holds_kernels() {
            return Ok(None);
        }
        let own = facts.as_ref().map(|facts| LearningPassed::new(facts, left_out));
        let all = self.group.gather("the pass of seeds", &own)?;
        if all.iter().all(Option::is_none) {
            return Ok(None);
        }
        let all: Vec<_> = all.into_iter().map(Option::unwrap_or_default).collect();
        let agreed = LearningPassed::agree(&all, &facts.unwrap_or_default());
        self.group.violated |= !agreed.facts.violations.is_empty();
        Ok(Some((agreed.facts, agreed.alike)))
    }

    pub(super) fn agree_on_probe(&mut self, probing: Probing) -> Result<Probing, StepError> {
        if self.group.is_alone() {
            return Ok(probing);
        }
        let all = self.group.gather("a probe", &Probed::new(&probing))?;
        Ok(Probed::agree(&all, &probing))
    }

    pub(super) fn agree_on_interaction(&mut self, value: Option<f32>) -> Result<Option<f32>, StepError> {
        if self.group.is_alone() {
            return Ok(value);
        }
        Ok(mean(self.group.gather("an interaction", &value)?.into_iter().flatten()))
    }

    pub(super) fn agree_on_pause(&mut self, is_proven: Option<bool>) -> Result<Option<bool>, StepError> {
        if self.group.is_alone() {
            return Ok(is_proven);
        }
        Ok(proven(&self.group.gather("the proof of a pause", &is_proven)?))
    }

    /// The mean of the gradients over all workers: of the model, of its running statistics, and of every seed, in this order.
    /// What no worker has a gradient for stays without one.
    pub(super) fn reduce_gradients<H: HostModule<B>>(
        &mut self,
        model: &Grown<B, H>,
        gradients: GradientsParams,
        kernels: &mut BTreeMap<SeedId, GradientsParams>,
    ) -> Result<GradientsParams, StepError> {
        if self.group.is_alone() {
            return Ok(gradients);
        }
        let own = Present {
            host: gradients_present(model, &gradients),
            seeds: kernels.iter().filter_map(|(seed, it)| Some((seed.clone(), self.present(seed, it)?))).collect(),
        };
        let all = self.group.gather("the gradients", &own)?;
        let wanted = Present::union(all).map_err(StepError::from)?;
        let gradients = self.reduce_part(&Part::Host, model, gradients, &wanted.host)?;
        if let Some(moved) = self.unsettled.as_ref().and_then(|before| before.moved(model)) {
            let moved = self.group.reduce(&Part::Statistics, moved)?;
            self.unsettled.iter().for_each(|before| before.restore_moved(model, &moved));
        }
        let mut own = std::mem::take(kernels);
        for (seed, wanted) in wanted.seeds {
            let gone =
                || ReduceError::Link(format!("another worker has gradients for seed {seed}, which has no kernel here"));
            let kernel = self.tensors.kernel_ref(&seed).cloned().ok_or_else(gone)?;
            let gradients = own.remove(&seed).unwrap_or_default();
            let gradients = self.reduce_part(&Part::Seed(seed.clone()), &kernel, gradients, &wanted)?;
            kernels.insert(seed, gradients);
        }
        Ok(gradients)
    }

    fn reduce_part<M: AutodiffModule<B>>(
        &mut self,
        part: &Part,
        module: &M,
        gradients: GradientsParams,
        wanted: &[bool],
    ) -> Result<GradientsParams, StepError> {
        let Some(flat) = flatten_gradients(module, &gradients, wanted) else { return Ok(gradients) };
        let mean = self.group.reduce(part, flat)?;
        let length = || ReduceError::Link(format!("the gradients of {part} came back with another length"));
        Ok(unflatten_gradients(module, mean, wanted).ok_or_else(length)?)
    }

    fn present(&self, seed: &SeedId, gradients: &GradientsParams) -> Option<Vec<bool>> {
        Some(gradients_present(self.tensors.kernel_ref(seed)?, gradients))
    }

    /// All numbers of the model and of the seeds' kernels, as a checksum.
    fn weights<H: HostModule<B>>(&self, model: &Grown<B, H>) -> [u8; 32] {
        let kernels = self.state().seeds.keys().filter_map(|seed| self.tensors.kernel_ref(seed)).map(weights_digest);
        let digests = std::iter::once(weights_digest(model)).chain(kernels);
        *Digest::of(&digests.flat_map(|digest| *digest.as_bytes()).collect::<Vec<_>>()).as_bytes()
    }

    fn packets_of_grafts(&self) -> BTreeMap<SeedId, (u64, u64)> {
        let grafted = self.state().seeds.values().filter(|seed| seed.stage.graft().is_some());
        grafted.map(|seed| (seed.id.clone(), self.reporter.packets(&seed.id))).collect()
    }
}

/// Why kernels that have arrived were not taken.
pub(super) enum ArrivalError {
    NotDurable,
    Reduce(ReduceError),
}

/// Which parameters have a gradient, on one worker.
#[derive(serde::Serialize, serde::Deserialize)]
struct Present {
    host: Vec<bool>,
    seeds: BTreeMap<SeedId, Vec<bool>>,
}

impl Present {
    /// What any worker has a gradient for.
    fn union(all: Vec<Self>) -> Result<Self, ReduceError> {
        let mut union = Self { host: Vec::new(), seeds: BTreeMap::new() };
        for (worker, one) in all.into_iter().enumerate() {
            let add = |to: &mut Vec<bool>, more: Vec<bool>, of: &str| {
                if to.is_empty() {
                    *to = more;
                } else if to.len() == more.len() {
                    to.iter_mut().zip(more).for_each(|(to, more)| *to |= more);
                } else {
                    let (ours, theirs) = (to.len(), more.len());
                    let named = |count: usize| format!("{count} parameters of {of}");
                    return Err(ReduceError::Mismatch { worker, ours: named(ours), theirs: named(theirs) });
                }
                Ok(())
            };
            add(&mut union.host, one.host, "the model")?;
            for (seed, present) in one.seeds {
                let of = format!("seed {seed}");
                add(union.seeds.entry(seed).or_default(), present, &of)?;
            }
        }
        Ok(union)
    }
}

/// The names of a model's parameters and fossils. Replicas that differ in them cannot be told to be alike.
fn names_of<B: GraftBackend, H: HostModule<B>>(model: &Grown<B, H>) -> Digest {
    let ids: Vec<u8> = parameter_ids(model).into_iter().flat_map(|id| id.val().to_le_bytes()).collect();
    Digest::of(&ids)
}
