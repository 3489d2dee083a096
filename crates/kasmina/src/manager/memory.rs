//! Memory: what the manager holds, what it does when that is too much, and what it promises.

use kasmina_blending::GraftBackend;
use kasmina_engine::{Input, input::MemoryFacts};
use kasmina_leyline::{BlueprintId, Monotonic, v1::BlueprintDescriptor};
use kasmina_memory::{
    Assessment, Cache, Evict, Freed, Governor, Holding, OverBudget, PerPool, Pool, Reservation, ResidentProbe,
};
use kasmina_telemetry::{Assembler, Event, Metric, PacketBytes, Reporter, names};
use prost::Message;

use crate::{
    kernels::Kernels,
    manager::SeedManager,
    settings::{MEMORY_PER_WIRE_BYTE, Settings},
};

/// The governor, and what the manager caches itself.
pub(crate) struct Memory {
    governor: Governor,
    /// What the library has said of blueprints.
    blueprints: Cache<BlueprintId, BlueprintDescriptor>,
    probe: Box<dyn ResidentProbe + Send>,
    /// The share at the last look.
    pressure: f64,
}

impl Memory {
    pub(crate) fn new(settings: &Settings, probe: Box<dyn ResidentProbe + Send>) -> Self {
        let limits = settings.memory.governor(settings.kernels.cache_bytes);
        let blueprints = Cache::new(settings.memory.blueprints());
        Self { governor: Governor::new(limits), blueprints, probe, pressure: 0.0 }
    }

    /// Keeps what the library has said of a blueprint.
    pub(super) fn remember(&mut self, blueprint: &BlueprintId, descriptor: &BlueprintDescriptor, now: Monotonic) {
        let bytes = (blueprint.as_str().len() + descriptor.encoded_len()) as u64;
        // One that exceeds the whole budget is asked for each time.
        let _ = self.blueprints.insert(blueprint.clone(), descriptor.clone(), bytes, now);
    }

    /// Promises bytes of a pool.
    pub(super) fn reserve(&mut self, pool: Pool, bytes: u64) -> Result<Reservation, OverBudget> {
        self.governor.reserve(pool, bytes)
    }

    /// Asks for what is promised of a pool back. Returns how much that is.
    pub(super) fn withdraw(&self, pool: Pool) -> u64 {
        self.governor.withdraw(pool);
        self.governor.reserved(pool)
    }

    /// What the library has said of a blueprint, not long ago.
    pub(super) fn descriptor(&self, blueprint: &BlueprintId, now: Monotonic) -> Option<&BlueprintDescriptor> {
        self.blueprints.peek(blueprint, now)
    }
}

/// What one pool holds, may hold, and has freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolReport {
    /// What it holds now, with what is reserved in it.
    pub held: Holding,
    /// Its budget in bytes.
    pub budget: u64,
    /// What was freed because it had expired.
    pub expired: Freed,
    /// What purges have freed.
    pub purged: Freed,
}

/// How the memory of a manager stands: [`SeedManager::memory`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemoryReport {
    /// Each pool.
    pub pools: PerPool<PoolReport>,
    /// What all of them hold, in bytes.
    pub total: u64,
    /// What all of them may hold, in bytes: `memory.total_bytes`.
    pub budget: u64,
    /// The resident memory of the process at the beginning of the last step, in bytes; `None` if it is not known or `memory.resident_bytes`
    /// does not limit it.
    pub resident: Option<u64>,
    /// The larger share of a budget that was in use at the beginning of the last step.
    pub pressure: f64,
    /// Whether conservative mode is on: no seed germinates.
    pub conserving: bool,
}

/// Cached artifacts.
struct Artifacts<'a>(&'a Kernels);

impl Evict for Artifacts<'_> {
    fn holding(&self) -> Holding {
        artifacts(self.0)
    }

    fn collect(&mut self, _now: Monotonic) -> Freed {
        self.0.collect().into()
    }

    fn purge(&mut self) -> Freed {
        self.0.purge().into()
    }
}

/// Packets that wait for sinks.
struct Packets<'a>(&'a mut Reporter);

impl Evict for Packets<'_> {
    fn holding(&self) -> Holding {
        packets(self.0)
    }

    fn collect(&mut self, now: Monotonic) -> Freed {
        freed(self.0.collect(now))
    }

    fn purge(&mut self) -> Freed {
        freed(self.0.purge())
    }
}

fn artifacts(kernels: &Kernels) -> Holding {
    let cache = kernels.stats().cache;
    Holding { entries: cache.entries, bytes: cache.bytes, pinned: 0 }
}

fn packets(reporter: &Reporter) -> Holding {
    let (held, critical) = reporter.held();
    let in_memory = |bytes: u64| bytes.saturating_mul(MEMORY_PER_WIRE_BYTE);
    Holding { entries: held.packets, bytes: in_memory(held.bytes), pinned: in_memory(critical.bytes) }
}

const fn freed(packets: PacketBytes) -> Freed {
    Freed { entries: packets.packets, bytes: packets.bytes.saturating_mul(MEMORY_PER_WIRE_BYTE) }
}

impl<B: GraftBackend> SeedManager<B> {
    /// What the manager holds, what it may hold, and what it has freed. Live kernels, the model and checkpoints in memory do not count:
    /// they are not to be had again.
    #[must_use]
    pub fn memory(&self) -> MemoryReport {
        let governor = &self.memory.governor;
        let (limits, totals) = (governor.limits(), governor.freed());
        let holdings = self.holdings();
        let pools = PerPool::new(|pool| {
            let (held, reserved) = (holdings[pool], governor.reserved(pool));
            let held = Holding {
                bytes: held.bytes.saturating_add(reserved),
                pinned: held.pinned.saturating_add(reserved),
                ..held
            };
            PoolReport { held, budget: limits.pools[pool], expired: totals.expired[pool], purged: totals.purged[pool] }
        });
        MemoryReport {
            pools,
            total: pools.iter().fold(0, |sum, (_, pool)| sum.saturating_add(pool.held.bytes)),
            budget: limits.total_bytes,
            resident: governor.resident(),
            pressure: self.memory.pressure,
            conserving: self.state().run.conserving,
        }
    }

    fn holdings(&self) -> PerPool<Holding> {
        PerPool::new(|pool| match pool {
            Pool::Kernels => artifacts(&self.kernels),
            Pool::Blueprints => self.memory.blueprints.holding(),
            Pool::Telemetry => packets(&self.reporter),
            Pool::Teacher => Holding::default(),
        })
    }

    /// Looks at what is held, once a step. Conservative mode begins or ends, and above the hard limit caches go.
    pub(super) fn assess_memory(&mut self) {
        let facts = self.assess_own_memory();
        self.take_memory(facts);
    }

    /// What follows from how memory stands: of this process, or of the worst off of several workers.
    pub(super) fn take_memory(&mut self, facts: MemoryFacts) {
        let changed = facts.conserving != self.state().run.conserving;
        if changed && facts.conserving {
            // What has expired goes first.
            self.collect_memory();
        }
        if changed || facts.purge {
            self.act(Input::Memory(facts));
        }
    }

    /// How the memory of this process stands.
    pub(super) fn assess_own_memory(&mut self) -> MemoryFacts {
        let held = self.holdings();
        let Memory { governor, probe, pressure, .. } = &mut self.memory;
        let resident = governor.limits().resident_bytes.and_then(|_| probe.resident());
        let assessed = governor.assess(&held, resident);
        *pressure = assessed.pressure;
        let Assessment { conserving, purge, held, limit, .. } = assessed;
        MemoryFacts { conserving, purge, held, limit }
    }

    /// Frees what has expired.
    pub(super) fn collect_memory(&mut self) {
        let now = self.clock.monotonic();
        self.free("expired", |governor, pools| governor.collect(pools, now));
    }

    /// Frees everything that can be had again.
    pub(super) fn purge_memory(&mut self) {
        self.free("purged", Governor::purge);
    }

    fn free(
        &mut self,
        cause: &'static str,
        free: impl FnOnce(&mut Governor, &mut [(Pool, &mut dyn Evict)]) -> PerPool<Freed>,
    ) {
        let Memory { governor, blueprints, .. } = &mut self.memory;
        let mut artifacts = Artifacts(&self.kernels);
        let mut packets = Packets(&mut self.reporter);
        let mut pools: [(Pool, &mut dyn Evict); 3] =
            [(Pool::Kernels, &mut artifacts), (Pool::Blueprints, blueprints), (Pool::Telemetry, &mut packets)];
        let freed = free(governor, &mut pools);
        self.reporter.write(|to| write_freed(to, &freed, cause));
    }

    /// How memory stands, once a summary.
    pub(super) fn write_memory_gauges(&mut self) {
        if !self.reporter.is_summary_due() {
            return;
        }
        let report = self.memory();
        self.reporter.write(|to| write_report(to, &report));
    }
}

/// One event, and the counters.
fn write_freed(to: &mut Assembler, freed: &PerPool<Freed>, cause: &'static str) {
    let mut all = Freed::default();
    freed.iter().for_each(|(_, freed)| all += *freed);
    let mut event =
        Event::new(names::MEMORY_GC).with("cause", cause).with("entries", all.entries).with("bytes", all.bytes);
    for (pool, freed) in freed.iter().filter(|(_, freed)| **freed != Freed::default()) {
        event = event.with(pool.as_str(), freed.bytes);
        let metric = Metric::new(names::MEMORY_FREED, freed.bytes as f64);
        to.count(metric.with("pool", pool.as_str()).with("cause", cause));
    }
    to.event(None, event);
}

fn write_report(to: &mut Assembler, report: &MemoryReport) {
    for (name, pools) in [(names::MEMORY_HELD, report.total), (names::MEMORY_BUDGET, report.budget)] {
        to.metric(None, Metric::new(name, pools as f64).with("pool", "total"));
    }
    for (pool, PoolReport { held, budget, .. }) in report.pools.iter() {
        to.metric(None, Metric::new(names::MEMORY_HELD, held.bytes as f64).with("pool", pool.as_str()));
        to.metric(None, Metric::new(names::MEMORY_BUDGET, *budget as f64).with("pool", pool.as_str()));
    }
    to.metric(None, Metric::new(names::MEMORY_PRESSURE, report.pressure));
    to.metric(None, Metric::new(names::MEMORY_CONSERVING, f64::from(u8::from(report.conserving))));
    if let Some(resident) = report.resident {
        to.metric(None, Metric::new(names::MEMORY_RESIDENT, resident as f64));
    }
}

/// Conservative mode begins or ends.
pub(crate) fn conservation(to: &mut Assembler, facts: &MemoryFacts) {
    let name = if facts.conserving { names::CONSERVATION_START } else { names::CONSERVATION_END };
    to.event(None, Event::new(name).with("held_bytes", facts.held).with("limit_bytes", facts.limit));
    to.metric(None, Metric::new(names::MEMORY_CONSERVING, f64::from(u8::from(facts.conserving))));
}
