//! How a step begins on several workers: whether they are where the others are, and what each of them knows that the others do not.

use std::collections::{BTreeMap, BTreeSet};

use kasmina_engine::input::MemoryFacts;
use kasmina_leyline::{Monotonic, SeedId, UnixTime};
use serde::{Deserialize, Serialize};

/// What one worker says when a step begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Beginning {
    /// The steps that it has taken.
    pub(crate) step: u64,
    /// The state of its engine, as a checksum.
    pub(crate) state: [u8; 32],
    /// The names of its model's parameters, as a checksum.
    pub(crate) model: [u8; 32],
    /// All numbers of its model, as a checksum, in the first step of a process and after a rollback.
    pub(crate) weights: Option<[u8; 32]>,
    pub(crate) monotonic: Monotonic,
    pub(crate) unix: UnixTime,
    /// What it has drawn for the random numbers of all steps, if it had to.
    pub(crate) rng_seed: Option<u64>,
    /// Whether memory is short, whether caches must go, and by what.
    pub(crate) memory: Memory,
    pub(crate) telemetry: Delivery,
    /// Of each seed with a kernel: the packets due and delivered since its last gate.
    pub(crate) packets: BTreeMap<SeedId, (u64, u64)>,
    /// Seeds whose kernel, or its failure, has arrived.
    pub(crate) arrived: BTreeSet<SeedId>,
}

/// As [`MemoryFacts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    conserving: bool,
    purge: bool,
    held: u64,
    limit: u64,
}

impl From<MemoryFacts> for Memory {
    fn from(MemoryFacts { conserving, purge, held, limit }: MemoryFacts) -> Self {
        Self { conserving, purge, held, limit }
    }
}

/// What became of telemetry since the last step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Delivery {
    #[default]
    Nothing,
    Delivered,
    /// A sink refused.
    Failed,
}

/// What all begin a step with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Begun {
    pub(crate) monotonic: Monotonic,
    pub(crate) unix: UnixTime,
    /// Whether the weights of all have been compared; if only some have sent theirs, all do so in the next step.
    pub(crate) compared: bool,
    pub(crate) rng_seed: Option<u64>,
    pub(crate) memory: MemoryFacts,
    pub(crate) telemetry: Delivery,
    pub(crate) packets: BTreeMap<SeedId, (u64, u64)>,
    /// Seeds whose kernel, or its failure, has arrived everywhere.
    pub(crate) arrived: BTreeSet<SeedId>,
}

impl Beginning {
    /// What all say, made one; or the first worker that is not where this one is, and what differs.
    pub(crate) fn agree(all: &[Self], rank: usize) -> Result<Begun, (usize, String)> {
        let Some(own) = all.get(rank) else { return Err((rank, "nothing came from this worker itself".to_owned())) };
        for (worker, other) in all.iter().enumerate() {
            if other.step != own.step {
                return Err((worker, format!("it has taken {} steps, and this worker {}", other.step, own.step)));
            }
            if other.state != own.state {
                return Err((worker, format!("its seeds are not as they are here after step {}", own.step)));
            }
            if other.model != own.model {
                return Err((worker, "its model has parameters of other names: begin all from one file".to_owned()));
            }
            if other.weights.zip(own.weights).is_some_and(|(theirs, ours)| theirs != ours) {
                return Err((worker, "its model has other weights: begin all from one file".to_owned()));
            }
        }
        let mut packets: BTreeMap<SeedId, (u64, u64)> = BTreeMap::new();
        for (seed, (due, delivered)) in all.iter().flat_map(|one| &one.packets) {
            let worst = packets.entry(seed.clone()).or_default();
            let missing = |(due, delivered): (u64, u64)| (due.saturating_sub(delivered), due);
            if missing((*due, *delivered)) > missing(*worst) {
                *worst = (*due, *delivered);
            }
        }
        let fullest = all.iter().map(|one| one.memory).max_by_key(|memory| (memory.held, memory.limit));
        let Memory { held, limit, .. } = fullest.unwrap_or_default();
        let memory = MemoryFacts {
            conserving: all.iter().any(|one| one.memory.conserving),
            purge: all.iter().any(|one| one.memory.purge),
            held,
            limit,
        };
        let everywhere = |seed: &&SeedId| all.iter().all(|one| one.arrived.contains(*seed));
        Ok(Begun {
            monotonic: all.iter().map(|one| one.monotonic).max().unwrap_or(own.monotonic),
            unix: median(all.iter().map(|one| one.unix)).unwrap_or(own.unix),
            compared: all.windows(2).all(|two| two[0].weights.is_some() == two[1].weights.is_some()),
            rng_seed: all.iter().find_map(|one| one.rng_seed),
            memory,
            telemetry: all.iter().map(|one| one.telemetry).max().unwrap_or_default(),
            packets,
            arrived: own.arrived.iter().filter(everywhere).cloned().collect(),
        })
    }
}

/// One clock that is fast, or slow, changes nothing.
fn median(times: impl Iterator<Item = UnixTime>) -> Option<UnixTime> {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}
