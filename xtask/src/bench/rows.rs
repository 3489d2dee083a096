//! What is measured, and what it has to be. Only this file changes when a benchmark or a budget does.

/// One measured thing. `id` is criterion's name of it: `group/function`.
pub(super) struct Row {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) comparison: Comparison,
    /// Over it is a failure.
    pub(super) budget: Limit,
    /// What it should reach; shown, no more.
    pub(super) aim: Limit,
}

/// The other row of the same run that a row is compared with.
#[derive(Clone, Copy)]
pub(super) enum Comparison {
    Alone,
    /// This row's time as a multiple of that row's.
    Time(&'static str),
    /// This row's bandwidth as a multiple of that row's, where this one moves `bytes` times as many bytes.
    Bandwidth {
        of: &'static str,
        bytes: f64,
    },
}

/// What a row has to keep. Ratios are those of its comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Limit {
    None,
    Nanoseconds(f64),
    RatioAtMost(f64),
    RatioAtLeast(f64),
}

use Comparison::{Alone, Bandwidth, Time};
use Limit::{Nanoseconds, None, RatioAtLeast, RatioAtMost};

const MICROSECOND: f64 = 1e3;
const MILLISECOND: f64 = 1e6;

const fn alone(id: &'static str, title: &'static str, budget: f64, aim: f64) -> Row {
    Row { id, title, comparison: Alone, budget: Nanoseconds(budget), aim: Nanoseconds(aim) }
}

const fn compared(id: &'static str, title: &'static str, comparison: Comparison, budget: Limit, aim: Limit) -> Row {
    Row { id, title, comparison, budget, aim }
}

/// Blending reads two buffers and writes one; a copy reads one and writes one.
const BLENDED_BYTES: f64 = 1.5;
const COPY: Comparison = Bandwidth { of: "blend/copy", bytes: BLENDED_BYTES };
const CONVEX: Comparison = Time("blend/convex");
const HOST: Comparison = Time("step/host");
const ONE_DURABLE: Comparison = Time("command/submit_durable_1");

/// A budget that is a ratio, and its aim.
const fn ratio(id: &'static str, title: &'static str, comparison: Comparison, budget: f64, aim: f64) -> Row {
    Row { id, title, comparison, budget: RatioAtMost(budget), aim: RatioAtMost(aim) }
}

/// Shown beside another row, without a budget.
const fn shown(id: &'static str, title: &'static str, comparison: Comparison) -> Row {
    Row { id, title, comparison, budget: None, aim: None }
}

pub(super) const ROWS: [Row; 97] = [
    alone("breaker/allow_and_record", "circuit breaker, one guarded call", 10.0 * MICROSECOND, 50.0),
    alone("transition/guarded", "guarded transition", 300.0 * MICROSECOND, 2.0 * MICROSECOND),
    alone("engine/order/1_seeds", "engine: an order", 5.0 * MICROSECOND, MICROSECOND),
    ratio("engine/order/8_seeds", "the same, 8 seeds", Time("engine/order/1_seeds"), 2.0, 1.2),
    ratio("engine/order/64_seeds", "the same, 64 seeds", Time("engine/order/1_seeds"), 2.0, 1.2),
    alone("engine/order_with_gate/1_seeds", "engine: an order with its gate", 5.0 * MICROSECOND, MICROSECOND),
    ratio("engine/order_with_gate/8_seeds", "the same, 8 seeds", Time("engine/order_with_gate/1_seeds"), 2.0, 1.2),
    ratio("engine/order_with_gate/64_seeds", "the same, 64 seeds", Time("engine/order_with_gate/1_seeds"), 2.0, 1.2),
    shown("engine/step/1_seeds", "engine: a step", Alone),
    shown("engine/step/8_seeds", "the same, 8 seeds", Time("engine/step/1_seeds")),
    shown("engine/step/64_seeds", "the same, 64 seeds", Time("engine/step/1_seeds")),
    compared("verify/command", "verify a signed command", Alone, Nanoseconds(2.0 * MICROSECOND), None),
    ratio("verify/command_1k_live", "the same, 1,000 live nonces", Time("verify/command"), 1.25, 1.05),
    ratio("verify/command_9k_live", "the same, 9,000 live nonces", Time("verify/command"), 1.25, 1.05),
    shown("command/dispatch", "a command, verification apart", Time("verify/command")),
    shown("command/submit_volatile", "a command, nothing durable", Alone),
    shown("command/append_synced", "a synced append of its journal's bytes", Alone),
    ratio("command/submit_durable_1", "a command, durable", Time("command/append_synced"), 1.5, 1.2),
    shown("command/append_synced_seeds_8", "a synced append, 8 seeds of 100k", Alone),
    ratio(
        "command/submit_durable_1_seeds_8",
        "a durable command, 8 seeds of 100k",
        Time("command/append_synced_seeds_8"),
        1.5,
        1.2,
    ),
    shown("command/append_synced_seeds_64", "a synced append, 64 seeds of 100k", Alone),
    ratio(
        "command/submit_durable_1_seeds_64",
        "a durable command, 64 seeds of 100k",
        Time("command/append_synced_seeds_64"),
        1.5,
        1.2,
    ),
    shown("command/submit_durable_16", "16 commands, durable together", ONE_DURABLE),
    compared(
        "command/submit_durable_256",
        "256 commands, durable together",
        ONE_DURABLE,
        RatioAtMost(4.0),
        Nanoseconds(256.0 * 5.0 * MICROSECOND),
    ),
    alone("rollback/fast_10m", "roll back, 10M parameters, memory", 50.0 * MILLISECOND, 5.0 * MILLISECOND),
    compared("rollback/full_10m", "roll back, 10M parameters, store", Alone, Nanoseconds(12_000.0 * MILLISECOND), None),
    shown("recover/commands_100", "recover a run of 100 commands", Alone),
    shown("recover/commands_1600", "recover a run of 1,600 commands", Time("recover/commands_100")),
    alone("kernel_handover/cached", "hand over a cached kernel", MICROSECOND, 0.1 * MICROSECOND),
    shown("kernel_handover/build", "build a kernel of 1M parameters", Alone),
    shown("kernel_verify/68256", "verify an artifact of 68 kB", Alone),
    shown("kernel_verify/4209600", "verify an artifact of 4.2 MB", Alone),
    alone("load_cached/threads/1", "load manager: a cached kernel, 1 thread", MICROSECOND, 0.1 * MICROSECOND),
    shown("load_cached/threads/16", "the same, 16 threads", Time("load_cached/threads/1")),
    shown("load_idle_poll", "load manager: a poll that finds nothing", Alone),
    shown("load_single_flight/16_askers", "16 askers of one kernel of 37 kB", Alone),
    shown("load_cold/read_and_hash_0.1mb", "read and hash 0.1 MB", Alone),
    shown("load_cold/load_0.1mb", "load a kernel of 0.1 MB", Time("load_cold/read_and_hash_0.1mb")),
    shown("load_cold/read_and_hash_1mb", "read and hash 1 MB", Alone),
    ratio("load_cold/load_1mb", "load a kernel of 1 MB", Time("load_cold/read_and_hash_1mb"), 2.0, 1.5),
    shown("load_cold/read_and_hash_10mb", "read and hash 10 MB", Alone),
    ratio("load_cold/load_10mb", "load a kernel of 10 MB", Time("load_cold/read_and_hash_10mb"), 2.0, 1.5),
    shown("load_cold/read_and_hash_100mb", "read and hash 100 MB", Alone),
    ratio("load_cold/load_100mb", "load a kernel of 100 MB", Time("load_cold/read_and_hash_100mb"), 2.0, 1.5),
    shown("step_beside_loads/alone", "transformer, beside the next row", Alone),
    ratio("step_beside_loads/beside", "the same, 100 loads in flight", Time("step_beside_loads/alone"), 1.5, 1.1),
    alone("prefetch/local_latency", "prefetch over 40 ms, in process", 45.0 * MILLISECOND, 40.1 * MILLISECOND),
    alone("prefetch/local_latency_p95", "the same, 95th percentile", 60.0 * MILLISECOND, 53.4 * MILLISECOND),
    alone("prefetch/local_overhead", "the same, over what the library took", MILLISECOND, 0.1 * MILLISECOND),
    alone("prefetch/redis_latency", "prefetch over 40 ms, over Redis", 50.0 * MILLISECOND, 40.5 * MILLISECOND),
    alone("prefetch/redis_latency_p95", "the same, 95th percentile", 65.0 * MILLISECOND, 53.4 * MILLISECOND),
    alone("prefetch/redis_overhead", "the same, over what the library took", 5.0 * MILLISECOND, 0.5 * MILLISECOND),
    shown("bus/local", "16,384 messages of 300 B, in process", Alone),
    shown("bus/raw_publish", "16,384 XADD by hand, 64 at a time", Alone),
    shown("bus/redis_publish", "the same through the bus", Time("bus/raw_publish")),
    shown("bus/redis_signed_publish", "the same, signed", Time("bus/raw_publish")),
    shown("bus/raw_consume", "XREADGROUP and XACK by hand, 64 at a time", Alone),
    shown("bus/redis_consume", "the same through the bus", Time("bus/raw_consume")),
    shown("bus/redis_signed_consume", "the same, signed", Time("bus/raw_consume")),
    shown("bus/redis_both", "both at once through the bus", Alone),
    shown("bus/redis_signed_both", "the same, signed", Time("bus/redis_both")),
    alone("packet/reference", "build a telemetry packet", 80.0 * MICROSECOND, MICROSECOND),
    shown("blend/copy", "copy, the memory's own speed", Alone),
    shown("blend/plain", "blend, plain tensor operations", COPY),
    compared("blend/convex", "blend, convex", COPY, RatioAtLeast(0.8), RatioAtLeast(0.95)),
    compared("blend/residual", "blend, residual", CONVEX, RatioAtMost(1.05), None),
    compared("blend/confidence", "blend, by confidence", CONVEX, RatioAtMost(1.05), None),
    compared("blend/channel", "blend, per channel", CONVEX, RatioAtMost(1.15), None),
    shown("step/host", "training step, plain Burn", Alone),
    ratio("step/host_training", "training step, seed in training", HOST, 1.15, 1.1),
    ratio("step/host_blending", "training step, seed blending", HOST, 1.2, 1.1),
    ratio("step/host_blending_eager", "the same, activation not lazy", HOST, 1.5, 1.4),
    shown("seeds/training_0_host", "transformer of 4 blocks, plain Burn", Alone),
    ratio("seeds/training_0", "the same, managed without seeds", Time("seeds/training_0_host"), 1.1, 1.05),
    shown("seeds/training_1_host", "transformer, beside the next row", Alone),
    ratio("seeds/training_1", "the same, 1 seed in training", Time("seeds/training_1_host"), 1.2, 1.1),
    shown("seeds/training_4_host", "transformer, beside the next row", Alone),
    ratio("seeds/training_4", "the same, 4 seeds in training", Time("seeds/training_4_host"), 1.4, 1.3),
    shown("seeds/training_16_host", "transformer of 16 blocks, plain Burn", Alone),
    ratio("seeds/training_16", "the same, 16 seeds in training", Time("seeds/training_16_host"), 1.4, 1.3),
    shown("seeds/blending_1_host", "transformer, beside the next row", Alone),
    ratio("seeds/blending_1", "the same, 1 seed blending", Time("seeds/blending_1_host"), 2.0, 1.8),
    shown("seeds/blending_4_host", "transformer, beside the next row", Alone),
    ratio("seeds/blending_4", "the same, 4 seeds blending", Time("seeds/blending_4_host"), 2.1, 1.9),
    shown("seeds/blending_16_host", "transformer of 16 blocks, plain Burn", Alone),
    ratio("seeds/blending_16", "the same, 16 seeds blending", Time("seeds/blending_16_host"), 2.1, 1.9),
    compared("isolation/verify", "verify isolation", Time("step/host_blending"), RatioAtMost(0.01), None),
    shown("journal/append_raw_1", "a synced write of a record's bytes", Alone),
    ratio("journal/append_1", "journal a record", Time("journal/append_raw_1"), 1.5, 1.2),
    shown("journal/append_raw_16", "a synced write of 16 records' bytes", Alone),
    ratio("journal/append_16", "journal 16 records", Time("journal/append_raw_16"), 1.5, 1.2),
    shown("journal/append_raw_256", "a synced write of 256 records' bytes", Alone),
    ratio("journal/append_256", "journal 256 records", Time("journal/append_raw_256"), 1.5, 1.2),
    shown("journal/recover_1k", "open and read 1,000 records", Alone),
    shown("journal/recover_100k", "open and read 100,000 records", Time("journal/recover_1k")),
    shown("blobs/put_10m", "store 10M parameters as blobs", Alone),
    alone("blobs/get_10m", "read and verify 10M parameters", 12_000.0 * MILLISECOND, 50.0 * MILLISECOND),
];

impl Comparison {
    /// The other row's id.
    pub(super) fn with(self) -> Option<&'static str> {
        match self {
            Alone => Option::None,
            Time(other) | Bandwidth { of: other, .. } => Some(other),
        }
    }

    /// The ratio of two measured times.
    pub(super) fn ratio(self, nanoseconds: f64, other: f64) -> f64 {
        match self {
            Alone | Time(_) => nanoseconds / other,
            Bandwidth { bytes, .. } => bytes * other / nanoseconds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Limit, ROWS};

    #[test]
    fn rows_are_unique_and_ratios_have_a_row_to_compare_with() {
        for (index, row) in ROWS.iter().enumerate() {
            assert!(ROWS[..index].iter().all(|other| other.id != row.id), "{} is there twice", row.id);
            let is_ratio = |limit| matches!(limit, Limit::RatioAtMost(_) | Limit::RatioAtLeast(_));
            match row.comparison.with() {
                Some(other) => assert!(ROWS.iter().any(|row| row.id == other), "{} is compared with {other}", row.id),
                None => assert!(!is_ratio(row.budget) && !is_ratio(row.aim), "{}", row.id),
            }
        }
    }
}
