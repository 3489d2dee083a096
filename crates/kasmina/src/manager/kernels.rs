//! Kernels that seeds wait for: asked for, awaited, arrived.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use kasmina_blending::GraftBackend;
use kasmina_engine::{Input, Seed};
use kasmina_kernel_load::{Arrival, Artifact, LibraryError, LoadError, LoadStats, Purpose};
use kasmina_leyline::{BlueprintId, SeedId, SlotId};
use kasmina_lifecycle::Transition;
use kasmina_telemetry::{Metric, names};

use super::{door::Batch, together::ArrivalError};
use crate::{
    error::{KernelError, Refusal},
    events,
    kernels::Sought,
    manager::SeedManager,
    tensors::Fetched,
    workers::KernelCame,
};

impl<B: GraftBackend> SeedManager<B> {
    /// Loads a kernel into the cache ahead of time, so that a later GERMINATE finds it there. Returns whether it is there already. That
    /// a load fails is said by telemetry, and by the GERMINATE that needs it.
    ///
    /// # Errors
    /// [`LoadError::TooManyRequests`].
    pub fn prefetch(&mut self, blueprint: &BlueprintId) -> Result<bool, LoadError> {
        self.kernels.prefetch(blueprint)
    }

    /// The loads of kernels: what is on its way, what the cache holds, and what has been done.
    #[must_use]
    pub fn kernel_loads(&self) -> LoadStats {
        self.kernels.stats()
    }

    /// Takes a kernel that its library had announced as [late](kasmina_kernel_load::Fetched::Later), or the news that it will not
    /// come. Every seed that waits for it goes on through G1, or is culled. What nobody waits for is ignored. Returns the moves that were
    /// made. A kernel whose check takes longer than `kernels.wait_ms` arrives with a later step; one that comes before the host
    /// was [looked at](Self::attach_host) waits for that.
    ///
    /// # Errors
    /// [`Refusal::NotDurable`]: nothing has happened yet. The kernel is not lost: the next step or [`tick`](Self::tick) tries again.
    pub fn deliver_kernel(
        &mut self,
        blueprint: &BlueprintId,
        arrived: Result<Artifact, LibraryError>,
    ) -> Result<Vec<Transition>, Refusal> {
        self.act(Input::Tick);
        let asked = if self.ask_again { self.fetch_awaited(Duration::ZERO) } else { Ok(()) };
        // Whatever the disk says, nobody will deliver it again.
        self.kernels.deliver(blueprint, arrived, self.patience());
        self.take_arrivals()?;
        asked?;
        Ok(self.take_moved())
    }

    /// How long a call outside of steps may wait for kernels.
    pub(super) const fn patience(&self) -> Duration {
        Duration::from_millis(self.settings.kernels.wait_ms)
    }

    /// Asks for the kernel of a seed, and stages it if it is here in time.
    pub(super) fn fetch(
        &mut self,
        seed: &SeedId,
        slot: &SlotId,
        blueprint: &BlueprintId,
        patience: Duration,
    ) -> Fetched {
        // What comes to one of several workers is taken when it has come to all.
        let sought = match self.group.is_alone() {
            true => self.kernels.seek(seed, blueprint, patience),
            false => Ok(self.kernels.seek_for_later(seed, blueprint)),
        };
        self.report_loads();
        match sought {
            Ok(Sought::Here(artifact)) => self.tensors.stage(seed, slot, blueprint, &artifact),
            Ok(Sought::Later) => Fetched::Later,
            Err(error) => Fetched::failed(blueprint, error.into()),
        }
    }

    /// Decides the arrival of a kernel, or that it will not come. `took` is the time since it was asked for.
    pub(super) fn kernel_came(
        &mut self,
        seed: SeedId,
        fetched: Fetched,
        took: Duration,
        batch: &mut Batch,
    ) -> Result<(), Refusal> {
        let stats = self.kernels.stats().cache;
        batch.note(move |to| events::cache(to, &stats));
        let fetched = self.prewarmed(&seed, fetched, batch);
        self.decide_kernel(seed, fetched, took, batch)
    }

    /// As [`kernel_came`](Self::kernel_came), once the kernel has run alone.
    fn decide_kernel(
        &mut self,
        seed: SeedId,
        fetched: Fetched,
        took: Duration,
        batch: &mut Batch,
    ) -> Result<(), Refusal> {
        match fetched {
            Fetched::Later => Ok(()),
            Fetched::Failed(failure, cause) => match self.decide(Input::KernelFailed(seed, failure), batch) {
                // The engine says that the kernel failed; the cause says how.
                Err(Refusal::Decided(kasmina_engine::Refusal::Kernel(failure))) => {
                    Err(Refusal::Kernel { blueprint: failure.blueprint, cause: Box::new(cause) })
                }
                other => other,
            },
            Fetched::Ready(facts) => {
                let about = seed.clone();
                let metric = Metric::new(names::KERNEL_FETCH_LATENCY, took.as_secs_f64() * 1e3);
                batch.note(move |to| to.metric(Some(&about), metric));
                self.decide(Input::KernelReady(seed, facts), batch)
            }
        }
    }

    /// The seeds that wait for a kernel which, or whose failure, has arrived here.
    pub(super) fn arrived_kernels(&mut self) -> BTreeSet<SeedId> {
        let awaiting = self.awaiting();
        self.kernels.arrived().filter_map(|arrival| Some(waits_for(&awaiting, arrival)?.0)).collect()
    }

    /// Takes the kernels of these seeds, which have arrived on all workers: a seed has its kernel if it runs on all of them.
    pub(super) fn take_arrivals_of(&mut self, seeds: &BTreeSet<SeedId>) -> Result<(), ArrivalError> {
        if seeds.is_empty() {
            return Ok(());
        }
        let (awaiting, mut batch) = (self.awaiting(), Batch::default());
        let (mut taken, mut came) = (BTreeMap::new(), Vec::new());
        for arrival in self.kernels.take_arrived() {
            let Some((seed, slot)) = waits_for(&awaiting, &arrival) else { continue };
            if !seeds.contains(&seed) {
                self.kernels.put_back(arrival);
                continue;
            }
            let fetched = match &arrival.outcome {
                Ok(artifact) => self.tensors.stage(&seed, &slot, &arrival.blueprint, artifact),
                Err(error) => Fetched::failed(&arrival.blueprint, error.clone().into()),
            };
            let fetched = self.prewarmed(&seed, fetched, &mut batch);
            let outcome = match &fetched {
                Fetched::Ready(_) => self.tensors.staged_as(&seed).ok_or_else(|| ("not staged".to_owned(), false)),
                Fetched::Failed(failure, _) => Err((failure.detail.clone(), failure.source_failed)),
                Fetched::Later => Err(("its slot has not been seen".to_owned(), false)),
            };
            came.push(KernelCame { seed: seed.clone(), outcome });
            taken.insert(seed, (arrival, fetched));
        }
        self.report_loads();
        let all = match self.group.gather("kernels", &came) {
            Ok(all) => all,
            Err(error) => {
                self.tensors.unstage();
                taken.into_values().for_each(|(arrival, _)| self.kernels.put_back(arrival));
                return Err(ArrivalError::Reduce(error));
            }
        };
        let mut arrivals = Vec::new();
        for (seed, (arrival, fetched)) in taken {
            let fetched = match (KernelCame::agree(&all, &seed), fetched) {
                (Ok(ids), Fetched::Ready(facts)) => {
                    self.tensors.rename_staged(&seed, &ids);
                    Fetched::Ready(facts)
                }
                (_, failed @ Fetched::Failed(..)) => failed,
                (agreed, Fetched::Ready(_) | Fetched::Later) => {
                    let why = agreed.err().unwrap_or_default();
                    Fetched::failed(&arrival.blueprint, KernelError::Elsewhere(why))
                }
            };
            let mut fetched = fetched;
            if let Fetched::Failed(failure, _) = &mut fetched {
                failure.source_failed = KernelCame::source_failed(&all, &seed);
            }
            // What the gate says is in the batch's events.
            let _ = self.decide_kernel(seed, fetched, arrival.latency, &mut batch);
            arrivals.push(arrival);
        }
        self.conclude(batch).map_err(|_| {
            arrivals.into_iter().for_each(|arrival| self.kernels.put_back(arrival));
            ArrivalError::NotDurable
        })
    }

    /// Takes the kernels that have arrived and the failures: each is an input of its own for its seed. What cannot be made durable is
    /// kept for the next time. One of several workers takes them at the beginning of a step.
    pub(super) fn take_arrivals(&mut self) -> Result<(), Refusal> {
        if !self.group.is_alone() {
            return Ok(());
        }
        let arrived = self.kernels.take_arrived();
        self.report_loads();
        if arrived.is_empty() {
            return Ok(());
        }
        let (awaiting, mut batch) = (self.awaiting(), Batch::default());
        let mut taken = Vec::new();
        for arrival in arrived {
            let Some((seed, slot)) = waits_for(&awaiting, &arrival) else { continue };
            let fetched = match &arrival.outcome {
                Ok(artifact) => self.tensors.stage(&seed, &slot, &arrival.blueprint, artifact),
                Err(error) => Fetched::failed(&arrival.blueprint, error.clone().into()),
            };
            if let Fetched::Later = fetched {
                // Its slot has not been seen.
                self.kernels.put_back(arrival);
                continue;
            }
            // What the gate says is in the batch's events.
            let _ = self.kernel_came(seed, fetched, arrival.latency, &mut batch);
            taken.push(arrival);
        }
        self.conclude(batch).inspect_err(|_| taken.into_iter().for_each(|arrival| self.kernels.put_back(arrival)))?;
        Ok(())
    }

    /// Asks for every kernel that a seed waits for and that is not on its way. May wait so long for all of them together.
    pub(super) fn fetch_awaited(&mut self, patience: Duration) -> Result<(), Refusal> {
        let (mut batch, began) = (Batch::default(), self.clock.monotonic());
        for (seed, slot, blueprint) in self.awaiting() {
            if self.kernels.is_sought(&seed, &blueprint) {
                continue;
            }
            let asked = self.clock.monotonic();
            let fetched = self.fetch(&seed, &slot, &blueprint, patience.saturating_sub(asked.since(began)));
            let took = self.clock.monotonic().since(asked);
            let _ = self.kernel_came(seed, fetched, took, &mut batch);
        }
        // With nothing new, what is owed need not be written before the step ends.
        let concluded = if batch.decisions() == 0 { Ok(()) } else { self.conclude(batch) };
        // What was not made durable, or could not be staged yet, has to be asked for again.
        self.ask_again = self.awaiting().iter().any(|(seed, _, blueprint)| !self.kernels.is_sought(seed, blueprint));
        concluded?;
        Ok(())
    }

    /// The seeds that wait for a kernel, their slots, and the kernels.
    fn awaiting(&self) -> Vec<(SeedId, SlotId, BlueprintId)> {
        let request = |seed: &Seed| Some((seed.id.clone(), seed.slot.clone(), seed.stage.awaits()?.blueprint.clone()));
        self.state().seeds.values().filter_map(request).collect()
    }

    fn report_loads(&mut self) {
        let (events, latencies) = (self.kernels.events(), self.kernels.take_latencies());
        if events.is_empty() && latencies.is_empty() {
            return;
        }
        self.reporter.write(|to| {
            events.iter().for_each(|event| events::load(to, event));
            latencies.iter().for_each(|latency| events::arrived(to, latency));
        });
    }
}

/// The seed that an arrival is for, and its slot, if it still waits for it.
fn waits_for(awaiting: &[(SeedId, SlotId, BlueprintId)], arrival: &Arrival) -> Option<(SeedId, SlotId)> {
    let Purpose::Seed(seed) = &arrival.purpose else { return None };
    let waits = |(id, _, blueprint): &&(SeedId, SlotId, BlueprintId)| id == seed && *blueprint == arrival.blueprint;
    awaiting.iter().find(waits).map(|(seed, slot, _)| (seed.clone(), slot.clone()))
}
