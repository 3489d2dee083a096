//! What happened, as telemetry says it.

use std::time::Duration;

use kasmina_blending::{BlendConfig, BlendStats};
use kasmina_commands::{Command, Notice};
use kasmina_engine as engine;
use kasmina_kernel_load::{LoadEvent, LoadStats, Purpose};
use kasmina_leyline::{
    BlueprintId, SeedId,
    v1::{
        AdaptationCommand,
        CircuitBreakerState::{CircuitStateClosed, CircuitStateHalfOpen, CircuitStateOpen, CircuitStateUnknown},
        SeedLifecycleStage::SeedStageEmbargoed,
    },
};
use kasmina_memory::CacheStats;
use kasmina_reduce::Place;
use kasmina_registry::{RegistryError, UpdateRefusal};
use kasmina_rollback::Timing;
use kasmina_safety::{KernelPath, Outcome, PathChange};
use kasmina_telemetry::{Assembler, Event, EventName, Metric, names};

use crate::{
    error::{CheckpointError, Refused, StepError},
    kernels::Latency,
    report::{Recovered, StepReport},
};

/// Reasons of refusals that say whose a parameter is.
const OWNERSHIP: [&str; 3] = ["cross_seed", "teacher", "unregistered"];

/// Writes down what happened to a seed or a breaker.
pub(crate) fn happened(to: &mut Assembler, event: &engine::Event) {
    match event {
        engine::Event::Moved(moved) => {
            let (from, into) = (moved.from.as_str_name(), moved.to.as_str_name());
            to.event(Some(&moved.seed_id), Event::new(names::SEED_STATE).with("from", from).with("to", into));
            if moved.to == SeedStageEmbargoed {
                to.event(Some(&moved.seed_id), Event::new(names::EMBARGO_START));
            }
        }
        engine::Event::Judged(verdict) => {
            let name = if verdict.passed() { names::GATE_EVENT } else { names::GATE_FAILURE };
            let event = Event::new(name).with("gate", verdict.gate.as_str_name()).with("reason", verdict.reason);
            let event = verdict.attributes.iter().fold(event, |event, (name, value)| event.with(name, value));
            to.event(Some(&verdict.seed_id), event);
        }
        engine::Event::Culled { seed, why } => {
            to.event(Some(seed), Event::new(names::SEED_CULLED).with("reason", why));
            // A kernel came with a parameter of another owner.
            if OWNERSHIP.contains(why) {
                to.event(Some(seed), Event::new(names::PARAMETER_VIOLATION).with("reason", why));
            }
        }
        engine::Event::EmbargoEnded(seed) => to.event(Some(seed), Event::new(names::EMBARGO_END)),
        engine::Event::BlendConfigured { seed, blend, schedule } => {
            let event = Event::new(names::BLEND_CONFIG)
                .with("mode", blend.mode().as_str())
                .with("source", blend.source().unwrap_or("default"))
                .with("schedule", format_args!("{schedule:?}"));
            let length = blend.alpha_vec().map(<[f32]>::len);
            let event = length.into_iter().fold(event, |event, length| event.with("alpha_vec_len", length));
            to.event(Some(seed), event);
        }
        engine::Event::ConservationBegan(facts) | engine::Event::ConservationEnded(facts) => {
            crate::manager::conservation(to, facts);
        }
        engine::Event::Paused(seed) => to.event(Some(seed), Event::new(names::PAUSE)),
        engine::Event::Resumed(seed) => to.event(Some(seed), Event::new(names::RESUME)),
        engine::Event::Breaker(breaker, change) => {
            let name = match change.to {
                CircuitStateOpen | CircuitStateUnknown => names::BREAKER_OPEN,
                CircuitStateHalfOpen => names::BREAKER_HALF_OPEN,
                CircuitStateClosed => names::BREAKER_CLOSED,
            };
            let breaker = breaker.as_str();
            to.event(None, Event::new(name).with("breaker", breaker).with("cause", change.cause.reason()));
            to.metric(None, Metric::new(names::BREAKER_STATE, i32::from(change.to)).with("breaker", breaker));
        }
        engine::Event::Violated { violation, count } => {
            let cosine = violation.cosine.map_or_else(|| "unknown".to_owned(), |cosine| cosine.to_string());
            let event = Event::new(names::ISOLATION_VIOLATION)
                .with("pass", violation.pass)
                .with("shared_parameters", violation.shared)
                .with("cosine_similarity", cosine);
            let seed = Some(&violation.seed);
            to.event(seed, event);
            if violation.shared > 0 {
                let event = Event::new(names::PARAMETER_VIOLATION)
                    .with("reason", "shared_parameter")
                    .with("parameters", violation.shared);
                to.event(seed, event);
            }
            to.metric(seed, Metric::new(names::ISOLATION_VIOLATIONS, *count as f64));
            if let Some(dot_product) = violation.dot_product {
                to.metric(seed, Metric::new(names::ISOLATION_DOT_PRODUCT, dot_product));
            }
            if let Some(cosine) = violation.cosine {
                to.metric(seed, Metric::new(names::ISOLATION_COSINE, cosine));
            }
        }
        engine::Event::Faulted(fault) => {
            let event = Event::new(names::GRAFT_FAULT)
                .with("slot", &fault.slot)
                .with("reason", fault.reason)
                .with("detail", &fault.detail);
            to.event(Some(&fault.seed), event);
        }
        engine::Event::Postponed(verdict) => {
            let event = Event::new(names::GATE_POSTPONED)
                .with("gate", verdict.gate.as_str_name())
                .with("reason", verdict.reason);
            let event = verdict.attributes.iter().fold(event, |event, (name, value)| event.with(name, value));
            to.event(Some(&verdict.seed_id), event);
        }
        engine::Event::Leaving { seed, from, steps } => {
            let event = Event::new(names::BLEND_OUT).with("alpha", from).with("steps", steps);
            to.event(Some(seed), event);
        }
        engine::Event::Idle { seed, slot, reason } => {
            let event = Event::new(names::SEED_IDLE).with("slot", slot).with("reason", reason.reason());
            to.event(Some(seed), event);
        }
        engine::Event::Probed { seed, difference, contribution } => {
            to.metric(Some(seed), Metric::new(names::SEED_CONTRIBUTION, *difference));
            to.metric(Some(seed), Metric::new(names::SEED_CONTRIBUTION_MEAN, contribution.mean()));
            if let Some(error) = contribution.error() {
                to.metric(Some(seed), Metric::new(names::SEED_CONTRIBUTION_ERROR, error));
            }
        }
        engine::Event::Interacted { seeds: (one, other), value } => {
            to.metric(Some(one), Metric::new(names::SEED_INTERACTION, *value).with("other", other.as_str()));
        }
        engine::Event::HuntBegan { seed, reason } => {
            to.event(Some(seed), Event::new(names::HUNT_START).with("reason", reason));
        }
        engine::Event::HuntEnded { culled } => {
            let culled = culled.as_ref().map_or("none", SeedId::as_str);
            to.event(None, Event::new(names::HUNT_END).with("culled", culled));
        }
        engine::Event::EvidenceReset { seed, seed_step, model, join_withdrawn } => {
            let event = Event::new(names::EVIDENCE_RESET)
                .with("seed_step", seed_step)
                .with("model_step", model)
                .with("join_withdrawn", join_withdrawn);
            to.event(Some(seed), event);
        }
        // Metrics of a step are written once, at its end.
        engine::Event::SeedStepped(_) => {}
        // The shell knows when, and in which run.
        engine::Event::LifeEnded(_) => {}
        // The shell knows how long it took.
        engine::Event::SeedRolledBack { .. } => {}
    }
}

/// A command was obeyed.
pub(crate) fn accepted(to: &mut Assembler, wire: &AdaptationCommand, command: &Command) {
    let said = [("risk_score", command.context.risk), ("feature_coverage", command.context.coverage)];
    let said = said.into_iter().filter_map(|(name, number)| Some((name, number?)));
    let event = said.fold(about(names::COMMAND_ACCEPTED, wire), |event, (name, number)| event.with(name, number));
    to.event(target(wire).as_ref(), event);
    to.count(Metric::new(names::COMMANDS_ACCEPTED, 1));
}

/// A command was not obeyed.
pub(crate) fn refused(to: &mut Assembler, wire: &AdaptationCommand, refused: &Refused) {
    let target = target(wire);
    let event = about(names::COMMAND_REFUSED, wire).with("reason", refused.reason).with("detail", &refused.detail);
    to.event(target.as_ref(), event);
    if let Some((deadline_ms, late_ms)) = refused.late {
        let event = about(names::DEADLINE_VIOLATION, wire)
            .with("operation", "command")
            .with("deadline_ms", deadline_ms)
            .with("late_ms", late_ms);
        to.event(target.as_ref(), event);
    }
}

/// Something about a command that its sender should know.
pub(crate) fn noticed(to: &mut Assembler, wire: &AdaptationCommand, notices: &[Notice]) {
    for notice in notices {
        let degraded = match notice {
            Notice::Degraded(degraded) => degraded.clone(),
            Notice::BlendConflict(conflict) => conflict.clone().into(),
        };
        let event = about(names::DEGRADED_INPUTS, wire)
            .with("reason", notice.reason())
            .with("annotation", degraded.annotation)
            .with("text", &degraded.text);
        let event = degraded.inputs_text().into_iter().fold(event, |event, inputs| event.with("inputs", inputs));
        to.event(target(wire).as_ref(), event);
    }
}

/// The numbers of a step.
pub(crate) fn stepped(to: &mut Assembler, report: &StepReport, state: &engine::State) {
    for (name, value) in [
        (names::HOST_LOSS, f64::from(report.loss)),
        (names::HOST_PASS_MS, milliseconds(report.timing.host)),
        (names::SEED_PASSES_MS, milliseconds(report.timing.seeds)),
        (names::ISOLATION_HOOK_LATENCY, milliseconds(report.timing.verify)),
    ] {
        to.metric(None, Metric::new(name, value));
    }
    if report.violations.is_empty() && !report.seeds.is_empty() {
        // A sum over no parameter. In a violation it is not.
        to.metric(None, Metric::new(names::ISOLATION_DOT_PRODUCT, 0.0));
    }
    for step in &report.seeds {
        let seed = Some(&step.seed);
        to.metric(seed, Metric::new(names::SEED_LOSS, step.loss));
        to.metric(seed, Metric::new(names::SEED_ALPHA, step.alpha));
        let graft = state.seeds.get(&step.seed).and_then(|seed| seed.stage.graft());
        for (name, value) in [
            (names::SEED_GRADIENT_NORM, step.gradient_norm.map(f64::from)),
            (names::SEED_LEARNING_RATE, graft.map(|graft| graft.vitals.learning_rate)),
        ] {
            value.into_iter().for_each(|value| to.metric(seed, Metric::new(name, value)));
        }
    }
}

/// How the step went in a group of workers.
pub(crate) fn worked(to: &mut Assembler, place: Place, exchange: Duration) {
    for (name, value) in [
        (names::WORKER_RANK, place.rank as f64),
        (names::WORKER_COUNT, place.workers as f64),
        (names::WORKER_EXCHANGE_MS, milliseconds(exchange)),
    ] {
        to.metric(None, Metric::new(name, value));
    }
}

pub(crate) fn workers_met(place: Place) -> Event {
    Event::new(names::WORKERS_MET).with("rank", place.rank).with("workers", place.workers)
}

pub(crate) fn step_refused(error: &StepError) -> Event {
    Event::new(names::STEP_REFUSED).with("reason", error.reason()).with("detail", error)
}

pub(crate) fn journal_failed(error: &CheckpointError) -> Event {
    Event::new(names::JOURNAL_FAILED).with("reason", error.reason()).with("detail", error)
}

pub(crate) fn recovered(recovered: &Recovered) -> Event {
    let event = Event::new(names::RECOVERED)
        .with("incarnation", recovered.incarnation)
        .with("records", recovered.records)
        .with("seeds", recovered.seeds)
        .with("step", recovered.step);
    let event = recovered.abandoned_rollback.iter().fold(event, |event, epoch| event.with("abandoned_rollback", epoch));
    let event = recovered.skipped_snapshot.iter().fold(event, |event, place| event.with("skipped_snapshot", place));
    let event = recovered.older_weights.iter().fold(event, |event, seed| event.with("older_weights", seed));
    recovered.torn_tail.iter().fold(event, |event, torn| event.with("torn_tail", torn))
}

pub(crate) fn rollback_ready(epoch: u64, step: u64, stored: bool) -> Event {
    Event::new(names::ROLLBACK_READY).with("epoch", epoch).with("step", step).with("in_store", stored)
}

/// A seed went back to an epoch, or the whole run, to the `step` with which that epoch ended.
pub(crate) fn rolled_back(to: &mut Assembler, seed: Option<&SeedId>, epoch: u64, step: Option<u64>, timing: &Timing) {
    let took = milliseconds(timing.took);
    let event = Event::new(names::ROLLED_BACK)
        .with("epoch", epoch)
        .with("path", timing.sla.name)
        .with("took_ms", format_args!("{took:.3}"));
    let event = match step {
        Some(step) => event.with("step", step),
        None => event,
    };
    to.event(seed, event);
    to.metric(None, Metric::new(names::ROLLBACK_LATENCY, took).with("path", timing.sla.name));
    if let Some(over) = timing.breach {
        let event = Event::new(names::DEADLINE_VIOLATION)
            .with("operation", "rollback")
            .with("path", timing.sla.name)
            .with("deadline_ms", timing.sla.budget.as_millis())
            .with("late_ms", over.as_millis());
        to.event(seed, event);
    }
}

/// Something happened to the loads of kernels.
pub(crate) fn load(to: &mut Assembler, event: &LoadEvent) {
    match event {
        LoadEvent::Timeout { request, blueprint, purpose, after, .. } => {
            let event = Event::new(names::PREFETCH_TIMEOUT)
                .with("request", request)
                .with("blueprint", blueprint)
                .with("after_ms", after.as_millis());
            to.event(seed_of(purpose), event);
        }
        LoadEvent::Contention { blueprint, waiters, longest } => {
            let event = Event::new(names::CACHE_LOCK_CONTENTION)
                .with("blueprint", blueprint)
                .with("waiters", waiters)
                .with("longest_ms", format_args!("{:.3}", milliseconds(*longest)));
            to.event(None, event);
        }
        // The engine's breaker is the one that decides.
        LoadEvent::Breaker(_) => {}
    }
}

/// A request for a kernel has ended.
pub(crate) fn arrived(to: &mut Assembler, Latency { purpose, took, lock_wait }: &Latency) {
    let seed = seed_of(purpose);
    to.metric(seed, Metric::new(names::PREFETCH_LATENCY, milliseconds(*took)));
    if let Some(waited) = lock_wait {
        to.metric(seed, Metric::new(names::CACHE_LOCK_WAIT, milliseconds(*waited)));
    }
}

const fn seed_of(purpose: &Purpose) -> Option<&SeedId> {
    match purpose {
        Purpose::Seed(seed) => Some(seed),
        Purpose::Prefetch => None,
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The loads of kernels, in total.
pub(crate) fn loads(to: &mut Assembler, stats: &LoadStats) {
    to.metric(None, Metric::new(names::PREFETCH_REQUESTS, stats.total.requests as f64));
    to.metric(None, Metric::new(names::PREFETCH_INFLIGHT, stats.outstanding as f64));
    cache(to, &stats.cache);
}

/// What a cache holds and what it has done, in total.
pub(crate) fn cache(to: &mut Assembler, stats: &CacheStats) {
    for (name, value) in [
        (names::CACHE_SIZE, stats.entries as f64),
        (names::CACHE_BYTES, stats.bytes as f64),
        (names::CACHE_HITS, stats.total.hits as f64),
        (names::CACHE_MISSES, stats.total.misses as f64),
        (names::CACHE_EVICTIONS, stats.total.evicted.entries() as f64),
        (names::CACHE_TTL, stats.ttl.as_secs_f64()),
    ] {
        to.metric(None, Metric::new(name, value));
    }
}

/// The blend of a seed in numbers.
pub(crate) fn blended(to: &mut Assembler, seed: &SeedId, blend: &BlendConfig, stats: &BlendStats) {
    let values = [
        (names::BLEND_ALPHA_MEAN, Some(stats.alpha_mean)),
        (names::BLEND_ALPHA_P95, Some(stats.alpha_p95)),
        (names::BLEND_SPARSITY, Some(stats.sparsity)),
        (names::BLEND_CLAMPED_FRACTION, Some(stats.clamped_fraction)),
        (names::BLEND_GATE_MEAN, stats.gate_mean),
    ];
    for (name, value) in values.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        let metric = Metric::new(name, value).with("mode", blend.mode().as_str());
        to.metric(Some(seed), metric.with("source", blend.source().unwrap_or("default")));
    }
}

/// A kernel takes another path from now on.
pub(crate) fn path_changed(blueprint: &BlueprintId, device: &str, change: &PathChange) -> Event {
    let name = match change.to {
        KernelPath::Plain => names::KERNEL_PLAIN,
        KernelPath::Fused => names::KERNEL_FUSED,
    };
    let event = Event::new(name)
        .with("reason", change.ground.reason())
        .with("blueprint", blueprint)
        .with("device", device)
        .with("took_ms", format_args!("{:.3}", change.execution.took.as_secs_f64() * 1e3));
    match change.execution.outcome {
        Outcome::Compared { difference, tolerance } => {
            event.with("difference", difference).with("tolerance", tolerance)
        }
        Outcome::Failed { .. } => event,
    }
}

/// So many parameter tensors are registered as the host's, or as a seed's; `values` numbers are in all tensors of that module.
pub(crate) fn registered(parameters: u64, values: usize) -> Event {
    Event::new(names::PARAMETER_REGISTRATION).with("parameters", parameters).with("values", values)
}

/// A parameter belongs to another.
pub(crate) fn not_registered(error: &RegistryError) -> Event {
    Event::new(names::PARAMETER_VIOLATION).with("reason", error.reason()).with("detail", error)
}

/// A parameter had a gradient of another, which was taken out of the step.
pub(crate) fn not_updated(refusal: &UpdateRefusal) -> Event {
    Event::new(names::PARAMETER_VIOLATION).with("reason", refusal.reason()).with("detail", refusal)
}

fn about(name: EventName, command: &AdaptationCommand) -> Event {
    Event::new(name)
        .with("command_id", &command.command_id)
        .with("command_type", command.command_type().as_str_name())
        .with("issued_by", &command.issued_by)
}

fn target(command: &AdaptationCommand) -> Option<SeedId> {
    SeedId::new(&command.target_seed_id).ok()
}
