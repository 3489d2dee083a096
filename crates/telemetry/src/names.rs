//! Every event and every metric that Kasmina emits: [`EVENTS`] and [`METRICS`] are the tables. The names are a public contract.

use kasmina_leyline::v1::TelemetryLevel;

/// A kind of event. Only the constants of this module exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct EventName {
    /// The name on the wire, in the event's `description`.
    pub name: &'static str,
    pub level: TelemetryLevel,
    pub meaning: &'static str,
}

impl EventName {
    /// Whether an event of this kind is never dropped, however many wait: what is critical, and field reports.
    #[must_use]
    pub fn must_arrive(self) -> bool {
        self.level >= TelemetryLevel::Critical || self.name == FIELD_REPORT.name
    }
}

/// A kind of metric. Only the constants of this module exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct MetricName {
    /// The name on the wire.
    pub name: &'static str,
    /// The unit on the wire, as in UCUM: `1` for pure numbers.
    pub unit: &'static str,
    pub kind: Kind,
    pub meaning: &'static str,
}

/// What the values of a metric are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// How something stands: the last value says it all.
    Gauge,
    /// A count that only grows while the process lives.
    Counter,
    /// One of many measurements. Every [`Reporter::SUMMARY_EVERY`](crate::Reporter::SUMMARY_EVERY) flushes a summary of those since the
    /// last summary follows, as five points with the attribute [`STATISTIC`]: [`STATISTICS`].
    Sample,
}

/// The attribute of a summary's points.
pub const STATISTIC: &str = "statistic";

/// What a summary says of the interval since the last one. `p95` is the nearest rank among the last 1,000 measurements; values that
/// are not finite count in none of them.
pub const STATISTICS: [&str; 5] = ["count", "mean", "min", "max", "p95"];

macro_rules! events {
    ($($constant:ident: $name:literal, $level:ident, $meaning:literal;)*) => {
        /// Every kind of event.
        ///
        /// | event | level | meaning |
        /// |---|---|---|
        $(#[doc = concat!("| [`", $name, "`](", stringify!($constant), ") | ", stringify!($level), " | ", $meaning, " |")])*
        pub const EVENTS: &[EventName] = &[$($constant),*];
        $(
            #[doc = $meaning]
            pub const $constant: EventName = EventName { name: $name, level: TelemetryLevel::$level, meaning: $meaning };
        )*
    };
}

macro_rules! metrics {
    ($($constant:ident: $name:literal, $unit:literal, $kind:ident, $meaning:literal;)*) => {
        /// Every kind of metric.
        ///
        /// | metric | unit | kind | meaning |
        /// |---|---|---|---|
        $(#[doc = concat!("| [`", $name, "`](", stringify!($constant), ") | ", $unit, " | ", stringify!($kind), " | ", $meaning, " |")])*
        pub const METRICS: &[MetricName] = &[$($constant),*];
        $(
            #[doc = $meaning]
            pub const $constant: MetricName = MetricName { name: $name, unit: $unit, kind: Kind::$kind, meaning: $meaning };
        )*
    };
}

events! {
    SEED_STATE: "seed_state", Info, "A seed left a stage and entered another.";
    GATE_EVENT: "gate_event", Info, "A gate let a seed pass.";
    GATE_FAILURE: "gate_failure", Critical, "A gate refused a seed.";
    GATE_POSTPONED: "gate_postponed", Info, "A gate cannot judge yet, and what it waits for. Emitted when the reason changes.";
    SEED_IDLE: "seed_idle", Warning, "No gradient reaches a seed any more, and which slot is to blame.";
    BLEND_OUT: "blend_out", Info, "A seed's alpha falls to 0, and then it is culled.";
    HUNT_START: "hunt_start", Warning, "The loss of the blend misbehaves: every seed in it is measured in the next step.";
    HUNT_END: "hunt_end", Warning, "The seed that did the most harm was culled, or none did any.";
    EVIDENCE_RESET: "evidence_reset", Warning, "The model was restored as it was before a seed was last measured: the seed is measured again.";
    EMBARGO_START: "embargo_start", Info, "A culled seed's embargo began.";
    EMBARGO_END: "embargo_end", Info, "An embargo ran out.";
    SEED_CULLED: "seed_culled", Warning, "A seed was taken out of its slot, and why.";
    FIELD_REPORT: "field_report", Info, "A seed's life has ended: how, why and with which numbers. It is never dropped.";
    COMMAND_ACCEPTED: "command_accepted", Info, "A command was executed.";
    COMMAND_REJECTED: "command_rejected", Critical, "A command was not authentic, not fresh, or a replay.";
    COMMAND_REFUSED: "command_refused", Warning, "An authentic command could not be executed.";
    BLEND_CONFIG: "blend_config", Info, "How a seed will be blended in.";
    PAUSE: "pause", Info, "A seed was paused: its slot passes the host's activation through.";
    RESUME: "resume", Info, "A paused seed was resumed.";
    BREAKER_OPEN: "breaker_open", Critical, "A breaker opened.";
    BREAKER_HALF_OPEN: "breaker_half_open", Warning, "A breaker admits trials, or a trial succeeded.";
    BREAKER_CLOSED: "breaker_closed", Info, "A breaker closed.";
    ISOLATION_VIOLATION: "isolation_violation", Critical, "A gradient reached parameters that it must not reach. The update was discarded.";
    GRAFT_FAULT: "graft_fault", Critical, "A kernel failed in a pass. The host continued without it.";
    KERNEL_PLAIN: "kernel_plain", Warning, "A kernel was moved past the device's fusion, and why.";
    KERNEL_FUSED: "kernel_fused", Info, "A kernel came back to the device's fusion.";
    WORKERS_MET: "workers_met", Info, "The workers of a run have begun a step together for the first time, and which worker this is.";
    STEP_REFUSED: "step_refused", Critical, "A training step was refused.";
    PREFETCH_TIMEOUT: "prefetch_timeout", Critical, "A kernel did not arrive before the deadline of its request.";
    CACHE_LOCK_CONTENTION: "cache_lock_contention", Warning, "Requests waited for a load of the same kernel that another had begun; how many, and how long the first of them waited.";
    MEMORY_GC: "memory_gc", Info, "Memory was freed: of which pool, how much, and why.";
    CONSERVATION_START: "conservation_start", Warning, "Memory is short: no seed germinates from now on.";
    CONSERVATION_END: "conservation_end", Info, "Memory suffices again: seeds germinate.";
    DEADLINE_VIOLATION: "deadline_violation", Warning, "A command came after its own deadline, or an operation took longer than its budget.";
    ROLLBACK_READY: "rollback_ready", Info, "A checkpoint was taken that a rollback can restore.";
    ROLLED_BACK: "rolled_back", Warning, "The run or a seed was restored from a checkpoint, and how long that took.";
    JOURNAL_FAILED: "journal_failed", Critical, "A write to the journal or to the checkpoint store failed. Nothing of it was acknowledged.";
    RECOVERED: "recovered", Warning, "The manager came back from its journal.";
    DEGRADED_INPUTS: "degraded_inputs", Warning, "A command reports that its sender decided on incomplete inputs, or its context cannot be read.";
    PARAMETER_REGISTRATION: "parameter_registration", Info, "Parameters were registered as the host's or a seed's: how many tensors, and how many numbers are in them.";
    PARAMETER_VIOLATION: "parameter_violation", Critical, "A parameter would have been registered or updated by another than its owner, and why it was not.";
    TEACHER_REGISTERED: "teacher_registered", Info, "Parameters were registered as the teacher's, which nobody updates: how many tensors.";
    TEACHER_DROPPED: "teacher_dropped", Warning, "The teacher was dropped: how many tensors were its own, and how many bytes are asked back.";
    DISTILLATION_SKIPPED: "distillation_skipped", Warning, "A batch was trained without the teacher, and why. Emitted when the reason changes.";
    MANAGER_RESET: "manager_reset", Warning, "An administrator has reset the manager: every live seed was culled, the teacher dropped, and no older command is accepted.";
    NONCE_LEDGER_TRUNCATED: "nonce_ledger_truncated", Warning, "The nonce ledger was full and forgot nonces early, and how many. Older commands are stale from now on.";
    SINK_FAILED: "sink_failed", Warning, "A sink did not take a packet. Critical packets wait for it; others wait up to a bound.";
    PACKETS_DROPPED: "packets_dropped", Warning, "Packets that were not critical were dropped before a sink took them, and how many.";
    PACKET_SET_ASIDE: "packet_set_aside", Critical, "A sink refused packets again and again while it took others. They are no longer offered to it; how many, and their ids.";
    CRITICAL_PACKETS_SHED: "critical_packets_shed", Critical, "More critical packets waited than are kept without a journal. The oldest were dropped, and how many.";
    SEED_QUEUE_DROPPED: "seed_queue_dropped", Warning, "Events that were not critical were dropped, and how many.";
}

metrics! {
    SEED_LOSS: "kasmina.seed.loss", "1", Sample, "The loss of the seed's pass.";
    SEED_ALPHA: "kasmina.seed.alpha", "1", Gauge, "The seed's alpha, 0 to 1.";
    SEED_GRADIENT_NORM: "kasmina.seed.gradient_norm", "1", Sample, "The L2 norm of the seed's gradient, when it was sampled.";
    SEED_LEARNING_RATE: "kasmina.seed.learning_rate", "1", Gauge, "The learning rate of the seed's last optimizer step.";
    SEED_CONTRIBUTION: "kasmina.seed.contribution", "1", Sample, "By how much a probe's loss was lower with the seed than without it.";
    SEED_INTERACTION: "kasmina.seed.interaction", "1", Sample, "What two seeds change together beyond what each changes alone; the attribute `other` names the second.";
    SEED_CONTRIBUTION_MEAN: "kasmina.seed.contribution_mean", "1", Gauge, "The mean of these in the seed's stage.";
    SEED_CONTRIBUTION_ERROR: "kasmina.seed.contribution_error", "1", Gauge, "The standard error of that mean.";
    HOST_LOSS: "kasmina.host.loss", "1", Sample, "The host's own loss on the batch.";
    WORKER_RANK: "kasmina.worker.rank", "1", Gauge, "Which of several workers this is, from 0.";
    WORKER_COUNT: "kasmina.worker.count", "1", Gauge, "How many workers train the network.";
    WORKER_EXCHANGE_MS: "kasmina.worker.exchange_ms", "ms", Sample, "The exchanges of a step with the other workers, with the wait for the slowest.";
    HOST_PASS_MS: "kasmina.host.pass_ms", "ms", Sample, "The host's forward and backward pass.";
    SEED_PASSES_MS: "kasmina.seed.passes_ms", "ms", Sample, "The passes of seeds.";
    BLEND_ALPHA_MEAN: "kasmina.blend.alpha_mean", "1", Gauge, "The mean weight of the seed in the blend; attributes `mode` and `source`.";
    BLEND_ALPHA_P95: "kasmina.blend.alpha_p95", "1", Gauge, "The 95th percentile of the seed's weights; attributes `mode` and `source`.";
    BLEND_SPARSITY: "kasmina.blend.sparsity", "1", Gauge, "The share of weights that are 0; attributes `mode` and `source`.";
    BLEND_CLAMPED_FRACTION: "kasmina.blend.clamped_fraction", "1", Gauge, "The share of weights that a limit of CONFIDENCE has set; attributes `mode` and `source`.";
    BLEND_GATE_MEAN: "kasmina.blend.gate_mean", "1", Gauge, "The mean opening of the gate of CONFIDENCE; attributes `mode` and `source`.";
    ISOLATION_VIOLATIONS: "kasmina.isolation.violations", "1", Gauge, "Isolation violations of the seed since it was last DORMANT.";
    ISOLATION_DOT_PRODUCT: "kasmina.isolation.dot_product", "1", Gauge, "The dot product of the host's gradient and a seed's over the parameters that they share; 0 if they share none.";
    ISOLATION_COSINE: "kasmina.isolation.cosine", "1", Gauge, "The cosine similarity of the two gradients in the last violation.";
    ISOLATION_HOOK_LATENCY: "kasmina.isolation.hook_latency_ms", "ms", Sample, "The isolation and registry checks of a step.";
    KERNEL_FETCH_LATENCY: "kasmina.kernel.fetch_latency_ms", "ms", Sample, "Fetching, verifying and building a kernel.";
    PREWARM_MS: "kasmina.prewarm.latency_ms", "ms", Sample, "The first executions of a kernel at its slot, before it is grafted.";
    KERNEL_FIRST_EXECUTION: "kasmina.kernel.first_execution_ms", "ms", Sample, "The first execution of a kernel on a device that fuses operations, forward and backward, compilation included.";
    KERNEL_FUSED_DIFFERENCE: "kasmina.kernel.fused_difference", "1", Sample, "The largest difference between the fused and the plain path of a kernel, as a share of the plain path's largest number.";
    CACHE_SIZE: "kasmina.cache.size", "1", Gauge, "Kernels in the cache.";
    CACHE_BYTES: "kasmina.cache.bytes", "By", Gauge, "Bytes of kernels in the cache.";
    CACHE_HITS: "kasmina.cache.hits_total", "1", Counter, "Kernels found in the cache.";
    CACHE_MISSES: "kasmina.cache.misses_total", "1", Counter, "Kernels not found in the cache.";
    CACHE_HIT_RATE: "kasmina.cache.hit_rate", "1", Gauge, "The share of look-ups that found their kernel, since the last value.";
    CACHE_EVICTIONS: "kasmina.cache.evictions", "1", Counter, "Kernels that have left the cache: expired, displaced or purged.";
    CACHE_TTL: "kasmina.cache.ttl_seconds", "s", Gauge, "How long a kernel stays in the cache.";
    PREFETCH_REQUESTS: "kasmina.prefetch.requests_total", "1", Counter, "Requests for kernels that were not in the cache.";
    PREFETCH_INFLIGHT: "kasmina.prefetch.inflight", "1", Gauge, "Requests for kernels that have not been answered.";
    PREFETCH_LATENCY: "kasmina.prefetch.latency_ms", "ms", Sample, "From the request for a kernel to its hand-over or its failure.";
    CACHE_LOCK_WAIT: "kasmina.cache.lock_wait_ms", "ms", Sample, "How long a request waited for a load of the same kernel that another had begun.";
    BREAKER_STATE: "kasmina.breaker.state", "1", Gauge, "A breaker's state, as CircuitBreakerState's number; the attribute `breaker` says which.";
    NONCE_LEDGER_SIZE: "kasmina.nonce_ledger.size", "1", Gauge, "Nonces remembered.";
    NONCE_LEDGER_EVICTIONS: "kasmina.nonce_ledger.evictions_total", "1", Counter, "Nonces that the cap evicted while still in their window.";
    NONCE_LEDGER_TTL: "kasmina.nonce_ledger.ttl_seconds", "s", Gauge, "How long nonces are remembered.";
    COMMANDS_ACCEPTED: "kasmina.commands.accepted_total", "1", Counter, "Commands that were carried out.";
    COMMANDS_REJECTED: "kasmina.commands.rejected_total", "1", Counter, "Commands that were not authentic, not fresh, or replays; the attribute `reason` says why.";
    ROLLBACK_LATENCY: "kasmina.rollback.latency_ms", "ms", Sample, "Restoring a checkpoint.";
    JOURNAL_APPEND: "kasmina.journal.append_ms", "ms", Sample, "Making the last acknowledgement durable, its checkpoint included.";
    CHECKPOINT_BYTES: "kasmina.checkpoint.bytes", "By", Gauge, "Bytes of the last checkpoint.";
    MEMORY_HELD: "kasmina.memory.held_bytes", "By", Gauge, "Bytes that a pool holds or has reserved; the attribute `pool` says which.";
    MEMORY_BUDGET: "kasmina.memory.budget_bytes", "By", Gauge, "The budget of a pool; the attribute `pool` says which, `total` is all of them.";
    MEMORY_PRESSURE: "kasmina.memory.pressure", "1", Gauge, "The share of the total budget that is held, or of the resident limit, if that is larger.";
    MEMORY_CONSERVING: "kasmina.memory.conserving", "1", Gauge, "1 while conservative mode is on, 0 otherwise.";
    MEMORY_RESIDENT: "kasmina.memory.resident_bytes", "By", Gauge, "The resident memory of the process, where it is known.";
    MEMORY_FREED: "kasmina.memory.freed_bytes_total", "By", Counter, "Bytes that were freed; the attributes `pool` and `cause` (`expired`, `purged`) say where and why.";
    EMERGENCY_WAITING: "kasmina.telemetry.emergency_waiting", "1", Gauge, "Critical packets that wait for a sink.";
}
