//! A state as the named parts of a checkpoint, and back.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kasmina_blending::{Alpha, AlphaSchedule, BlendConfig};
use kasmina_kernel_load::{
    KernelModule, Manifest,
    weights::{module_from_bytes, module_to_bytes, optimizer_from_bytes, optimizer_to_bytes},
};
use kasmina_leyline::{Monotonic, SeedId, SlotId, UnixTime, v1::SeedLifecycleStage};
use kasmina_lifecycle::Lifecycle;
use kasmina_registry::{Registry, parameter_ids};
use kasmina_safety::Breaker;
use serde::{Deserialize, Serialize};

use super::CheckpointError;
use crate::{
    GraftBackend, Settings, Validation,
    manager::Breakers,
    seed::{Attached, Seed, Vitals},
    state::State,
};

/// The parts of a checkpoint by name.
pub(crate) type Blobs = BTreeMap<String, Vec<u8>>;

/// The part that says what the others are.
const STATE: &str = "state";

/// The version of the part `state`. A change of meaning raises it; fields may be added without.
const VERSION: u32 = 1;

/// What a checkpoint says besides the state.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Book {
    pub(crate) run: String,
    /// How often the manager had come back from its journal.
    pub(crate) incarnation: u64,
    /// Commands issued at or before this are refused.
    pub(crate) watermark_unix_ns: Option<i64>,
    /// Checkpoints that a rollback can go back to, and the epochs and steps that they are of.
    pub(crate) kept: Vec<Kept>,
    /// Places in the journal of critical packets that no sink had taken.
    pub(crate) undelivered: Vec<u64>,
}

/// A checkpoint in the store that a rollback can go back to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) id: String,
    pub(crate) epoch: u64,
    pub(crate) step: u64,
}

#[derive(Serialize, Deserialize)]
struct StateRecord {
    version: u32,
    book: Book,
    step: u64,
    epoch: u64,
    commanded: Option<u64>,
    isolation_breaker: i32,
    kernel_breaker: i32,
    seeds: Vec<SeedRecord>,
    fossils: Vec<String>,
    violations: BTreeMap<String, u64>,
    validation: Vec<Validation>,
}

#[derive(Serialize, Deserialize)]
struct SeedRecord {
    id: String,
    slot: String,
    stage: i32,
    embargo_left_ns: Option<u64>,
    attached: Option<AttachedRecord>,
}

#[derive(Serialize, Deserialize)]
struct AttachedRecord {
    manifest: String,
    learning_rate_scale: f64,
    blend: BTreeMap<String, String>,
    schedule: AlphaSchedule,
    epoch: u64,
    blended: u64,
    alpha: Alpha,
    paused: bool,
    fine_tune: u64,
    vitals: Vitals,
}

/// The parts that say what `state` is: each seed's kernel and optimizer are parts of their own.
pub(crate) fn encode<B: GraftBackend>(state: &State<B>, book: &Book, now: Monotonic) -> Result<Blobs, CheckpointError> {
    let mut blobs = Blobs::new();
    for seed in state.seeds.values() {
        if let Some(attached) = &seed.attached {
            blobs.insert(kernel_name(&seed.id), module_to_bytes(&attached.kernel)?);
            blobs.insert(optimizer_name(&seed.id), optimizer_to_bytes(&attached.optimizer)?);
        }
    }
    let record = StateRecord {
        version: VERSION,
        book: book.clone(),
        step: state.step,
        epoch: state.epoch,
        commanded: state.commanded,
        isolation_breaker: state.breakers.isolation.state().into(),
        kernel_breaker: state.breakers.kernels.state().into(),
        seeds: state.seeds.values().map(|seed| seed_record(seed, &state.registry, now)).collect(),
        fossils: state.fossils.iter().map(ToString::to_string).collect(),
        violations: state.violations.counts().map(|(seed, count)| (seed.to_string(), count)).collect(),
        validation: state.validation.clone(),
    };
    let bytes = rmp_serde::to_vec_named(&record).map_err(|error| malformed(error.to_string()))?;
    blobs.insert(STATE.to_owned(), bytes);
    Ok(blobs)
}

/// The state that `blobs` say, at `now` of a clock that may have begun anew.
pub(crate) fn decode<B: GraftBackend>(
    blobs: &Blobs,
    settings: &Settings,
    device: &B::Device,
    now: Monotonic,
) -> Result<(State<B>, Book), CheckpointError> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let bytes = blob(blobs, STATE)?;
    let Version { version: got } = rmp_serde::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    if got > VERSION {
        return Err(CheckpointError::NewerVersion { newest: VERSION, got });
    }
    let record: StateRecord = rmp_serde::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    let mut breakers = Breakers {
        isolation: Breaker::new(settings.isolation_breaker),
        kernels: Breaker::new(settings.kernel_breaker),
    };
    for (breaker, state) in
        [(&mut breakers.isolation, record.isolation_breaker), (&mut breakers.kernels, record.kernel_breaker)]
    {
        // Where it stood open, it stays open for another timeout: nobody knows how long the process was gone.
        let state = state.try_into().map_err(|_| malformed(format!("{state} is no breaker's state")))?;
        let _ = breaker.force(state, now).map_err(|error| malformed(error.to_string()))?;
    }
    let mut state = State {
        seeds: BTreeMap::new(),
        registry: Registry::default(),
        violations: violations(record.violations)?,
        breakers,
        fossils: record.fossils.into_iter().map(SeedId::new).collect::<Result<_, _>>()?,
        validation: record.validation,
        step: record.step,
        epoch: record.epoch,
        commanded: record.commanded,
    };
    for seed in record.seeds {
        let seed = seed_of(seed, blobs, &mut state.registry, settings, device, now)?;
        state.seeds.insert(seed.id.clone(), seed);
    }
    Ok((state, record.book))
}

fn violations(counts: BTreeMap<String, u64>) -> Result<kasmina_isolation::ViolationLog, CheckpointError> {
    counts.into_iter().map(|(seed, count)| Ok((SeedId::new(seed)?, count))).collect()
}

fn seed_record<B: GraftBackend>(seed: &Seed<B>, registry: &Registry, now: Monotonic) -> SeedRecord {
    let left = seed.lifecycle.embargo_until().map(|until| until.since(now));
    SeedRecord {
        id: seed.id.to_string(),
        slot: seed.slot.to_string(),
        stage: seed.stage().into(),
        embargo_left_ns: left.map(|left| u64::try_from(left.as_nanos()).unwrap_or(u64::MAX)),
        attached: seed.attached.as_ref().map(|attached| AttachedRecord {
            manifest: attached.manifest.canonical(),
            learning_rate_scale: registry.learning_rate_scale(&seed.id).unwrap_or(1.0),
            blend: attached.blend.annotations(),
            schedule: attached.schedule,
            epoch: attached.epoch,
            blended: attached.blended,
            alpha: attached.alpha,
            paused: attached.paused,
            fine_tune: attached.fine_tune,
            vitals: attached.vitals.clone(),
        }),
    }
}

fn seed_of<B: GraftBackend>(
    record: SeedRecord,
    blobs: &Blobs,
    registry: &mut Registry,
    settings: &Settings,
    device: &B::Device,
    now: Monotonic,
) -> Result<Seed<B>, CheckpointError> {
    let (id, slot) = (SeedId::new(record.id)?, SlotId::new(record.slot)?);
    let stage =
        SeedLifecycleStage::try_from(record.stage).map_err(|_| malformed(format!("{} is no stage", record.stage)))?;
    let left = record.embargo_left_ns.map(Duration::from_nanos);
    let lifecycle = Lifecycle::resumed(id.clone(), stage, settings.lifecycle.embargo(), left, now);
    let attached = match record.attached {
        None => None,
        Some(attached) => Some(attached_of(&id, attached, blobs, registry, settings, device)?),
    };
    Ok(Seed { id, slot, lifecycle, attached })
}

fn attached_of<B: GraftBackend>(
    id: &SeedId,
    record: AttachedRecord,
    blobs: &Blobs,
    registry: &mut Registry,
    settings: &Settings,
    device: &B::Device,
) -> Result<Attached<B>, CheckpointError> {
    let manifest = Manifest::from_json(&record.manifest).map_err(|error| malformed(error.to_string()))?;
    let blank = KernelModule::<B>::blank(&manifest, &settings.kernels.limits, device)?;
    let kernel = module_from_bytes(blank, blob(blobs, &kernel_name(id))?, "a kernel", device)?;
    registry
        .register_seed(id, parameter_ids(&kernel), record.learning_rate_scale)
        .map_err(|error| malformed(error.to_string()))?;
    let blend =
        BlendConfig::from_annotations(&record.blend, usize::MAX).map_err(|error| malformed(error.to_string()))?;
    let mut attached = Attached::new(Arc::new(manifest), kernel, record.schedule, record.epoch);
    let optimizer = blob(blobs, &optimizer_name(id))?.to_vec();
    attached.optimizer = optimizer_from_bytes(attached.optimizer, optimizer, "a seed's optimizer", device)?;
    (attached.blend, attached.blended, attached.alpha) = (blend, record.blended, record.alpha);
    (attached.paused, attached.fine_tune, attached.vitals) = (record.paused, record.fine_tune, record.vitals);
    Ok(attached)
}

fn kernel_name(seed: &SeedId) -> String {
    format!("seed/{seed}/kernel")
}

fn optimizer_name(seed: &SeedId) -> String {
    format!("seed/{seed}/optimizer")
}

pub(crate) fn blob<'a>(blobs: &'a Blobs, name: &str) -> Result<&'a [u8], CheckpointError> {
    blobs.get(name).map(Vec::as_slice).ok_or_else(|| CheckpointError::Missing { blob: name.to_owned() })
}

fn malformed(detail: String) -> CheckpointError {
    CheckpointError::Malformed { what: "the state", detail }
}

impl Book {
    pub(crate) fn watermark(&self) -> Option<UnixTime> {
        self.watermark_unix_ns.map(UnixTime::from_nanos)
    }
}
