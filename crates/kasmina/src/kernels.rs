//! Kernels on their way.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use kasmina_kernel_load::{
    Answered, Arrival, Artifact, ArtifactReader, KernelLibrary, KernelLoadManager, KernelMessages, LibraryError,
    LoadError, LoadEvent, LoadRequest, LoadStats, Purpose, RequestId, Requested, VerifiedArtifact,
};
use kasmina_leyline::{BlueprintId, Monotonic, SeedId, TrainingRunId, v1::BlueprintDescriptor};
use kasmina_memory::Evicted;
use kasmina_safety::Clock;

use crate::settings::KernelSettings;

/// Where a manager's kernels come from.
pub(crate) enum KernelSource {
    Library(Box<dyn KernelLibrary>),
    Messages(Box<dyn KernelMessages>, Box<dyn ArtifactReader>),
}

/// The load manager with what it does not know: the run, the time, and arrivals that nobody has taken.
pub(crate) struct Kernels {
    loads: KernelLoadManager,
    run: TrainingRunId,
    clock: Arc<dyn Clock>,
    arrived: VecDeque<Arrival>,
    /// What was asked for each seed, until it is taken.
    sought: BTreeMap<SeedId, BlueprintId>,
    /// What was asked for ahead of time and has not arrived.
    prefetching: BTreeSet<BlueprintId>,
    latencies: Vec<Latency>,
}

/// How long a request took.
pub(crate) struct Latency {
    pub(crate) purpose: Purpose,
    pub(crate) took: Duration,
    /// The same, if it waited for a load that another request had begun.
    pub(crate) lock_wait: Option<Duration>,
}

/// The answer to a request for a seed.
pub(crate) enum Sought {
    Here(Arc<VerifiedArtifact>),
    /// It will arrive, or its failure.
    Later,
}

impl Kernels {
    pub(crate) fn new(
        source: KernelSource,
        settings: &KernelSettings,
        run: TrainingRunId,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let settings = settings.loads();
        let loads = match source {
            KernelSource::Library(library) => KernelLoadManager::new(library, &settings),
            KernelSource::Messages(port, reader) => {
                KernelLoadManager::over_messages(port, reader, &settings, clock.unix())
            }
        };
        let (arrived, sought, prefetching) = (VecDeque::new(), BTreeMap::new(), BTreeSet::new());
        Self { loads, run, clock, arrived, sought, prefetching, latencies: Vec::new() }
    }

    /// Asks for the kernel of a seed, in place of what was asked for it before, and waits for it at most `patience`.
    pub(crate) fn seek(
        &mut self,
        seed: &SeedId,
        blueprint: &BlueprintId,
        patience: Duration,
    ) -> Result<Sought, LoadError> {
        self.forget(seed);
        let id = match self.request(blueprint, Purpose::Seed(seed.clone()))? {
            Requested::Ready(artifact) => return Ok(Sought::Here(artifact)),
            Requested::Pending(id) => id,
        };
        self.sought.insert(seed.clone(), blueprint.clone());
        if patience.is_zero() || !self.loads.wait_for(id, patience) {
            return Ok(Sought::Later);
        }
        self.poll();
        let at = self.arrived.iter().position(|arrival| arrival.request == id);
        let Some(arrival) = at.and_then(|at| self.arrived.remove(at)) else { return Ok(Sought::Later) };
        self.sought.remove(seed);
        arrival.outcome.map(Sought::Here)
    }

    /// As [`seek`](Self::seek), but the kernel, or its failure, arrives later even if it is here.
    pub(crate) fn seek_for_later(&mut self, seed: &SeedId, blueprint: &BlueprintId) -> Sought {
        self.forget(seed);
        let purpose = Purpose::Seed(seed.clone());
        self.sought.insert(seed.clone(), blueprint.clone());
        let outcome = match self.request(blueprint, purpose.clone()) {
            Ok(Requested::Pending(_)) => return Sought::Later,
            Ok(Requested::Ready(artifact)) => Ok(artifact),
            Err(error) => Err(error),
        };
        self.arrived.push_back(Arrival {
            request: RequestId::AT_ONCE,
            blueprint: blueprint.clone(),
            purpose,
            training_run_id: self.run.clone(),
            outcome,
            latency: Duration::ZERO,
            lock_wait: None,
        });
        Sought::Later
    }

    /// What has arrived and was not taken.
    pub(crate) fn arrived(&mut self) -> impl Iterator<Item = &Arrival> {
        self.poll();
        self.arrived.iter()
    }

    /// Whether this kernel was asked for the seed, and neither it nor its failure has been taken.
    pub(crate) fn is_sought(&self, seed: &SeedId, blueprint: &BlueprintId) -> bool {
        self.sought.get(seed) == Some(blueprint)
    }

    /// Asks for a kernel ahead of time, unless that has been done. Returns whether it is there already.
    pub(crate) fn prefetch(&mut self, blueprint: &BlueprintId) -> Result<bool, LoadError> {
        self.poll();
        if self.prefetching.contains(blueprint) {
            return Ok(false);
        }
        let is_here = matches!(self.request(blueprint, Purpose::Prefetch)?, Requested::Ready(_));
        if !is_here {
            self.prefetching.insert(blueprint.clone());
        }
        Ok(is_here)
    }

    fn request(&self, blueprint: &BlueprintId, purpose: Purpose) -> Result<Requested, LoadError> {
        let request = LoadRequest::new(blueprint.clone(), purpose, self.run.clone(), self.clock.unix());
        self.loads.request(request, self.clock.monotonic())
    }

    /// Gives the library's artifact to those who wait for it, and waits at most `patience` until it has been checked.
    pub(crate) fn deliver(
        &mut self,
        blueprint: &BlueprintId,
        arrived: Result<Artifact, LibraryError>,
        patience: Duration,
    ) -> bool {
        let taken = self.loads.deliver(blueprint, arrived) == Answered::Taken;
        let began = self.clock.monotonic();
        // A token of another load ends one wait, so this looks more than once.
        while taken && self.loads.wait(patience.saturating_sub(self.clock.monotonic().since(began))) {
            self.poll();
            if self.arrived.iter().any(|arrival| arrival.blueprint == *blueprint) {
                break;
            }
        }
        taken
    }

    fn poll(&mut self) {
        for arrival in self.loads.poll(self.clock.monotonic()) {
            let Arrival { purpose, latency: took, lock_wait, .. } = &arrival;
            if *purpose == Purpose::Prefetch {
                self.prefetching.remove(&arrival.blueprint);
            }
            self.latencies.push(Latency { purpose: purpose.clone(), took: *took, lock_wait: *lock_wait });
            self.arrived.push_back(arrival);
        }
    }

    /// What has arrived since this was last asked.
    pub(crate) fn take_arrived(&mut self) -> Vec<Arrival> {
        self.poll();
        for arrival in &self.arrived {
            if let Purpose::Seed(seed) = &arrival.purpose {
                self.sought.remove(seed);
            }
        }
        self.arrived.drain(..).collect()
    }

    /// Puts an arrival back, to be taken later.
    pub(crate) fn put_back(&mut self, arrival: Arrival) {
        if let Purpose::Seed(seed) = &arrival.purpose {
            self.sought.insert(seed.clone(), arrival.blueprint.clone());
        }
        self.arrived.push_back(arrival);
    }

    /// Takes back what was asked for a seed.
    pub(crate) fn forget(&mut self, seed: &SeedId) {
        self.loads.cancel_seed(seed);
        self.sought.remove(seed);
        self.arrived.retain(|arrival| arrival.purpose != Purpose::Seed(seed.clone()));
    }

    pub(crate) fn descriptor(&self, blueprint: &BlueprintId) -> Result<Option<BlueprintDescriptor>, LoadError> {
        match self.loads.descriptor(blueprint) {
            Ok(descriptor) => Ok(Some(descriptor)),
            Err(LoadError::Library(LibraryError::UnknownBlueprint { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The earliest time at which a request can time out.
    pub(crate) fn next_deadline(&self) -> Option<Monotonic> {
        self.loads.next_deadline()
    }

    pub(crate) fn take_latencies(&mut self) -> Vec<Latency> {
        std::mem::take(&mut self.latencies)
    }

    pub(crate) fn events(&self) -> Vec<LoadEvent> {
        self.loads.events()
    }

    pub(crate) fn stats(&self) -> LoadStats {
        self.loads.stats()
    }

    pub(crate) fn collect(&self) -> Evicted {
        self.loads.collect(self.clock.monotonic())
    }

    pub(crate) fn purge(&self) -> Evicted {
        self.loads.purge()
    }
}
