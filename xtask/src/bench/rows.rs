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

pub(super) const ROWS: [Row; 40] = [
    alone("breaker/allow_and_record", "circuit breaker, one guarded call", 10.0 * MICROSECOND, 50.0),
    alone("transition/guarded", "guarded transition", 300.0 * MICROSECOND, 2.0 * MICROSECOND),
    alone("verify/command", "verify a signed command", 0.5 * MILLISECOND, 2.0 * MICROSECOND),
    compared("verify/command_1k_live", "the same with 1,000 live nonces", Time("verify/command"), None, None),
    compared("verify/command_9k_live", "the same with 9,000 live nonces", Time("verify/command"), None, None),
    compared("command/dispatch", "a command, verification apart", Time("verify/command"), None, None),
    compared("command/submit_volatile", "a command, nothing durable", Alone, None, None),
    compared("command/submit_durable_1", "a command, durable", Time("command/submit_volatile"), None, None),
    compared(
        "command/submit_durable_16",
        "16 commands, durable together",
        Time("command/submit_durable_1"),
        None,
        None,
    ),
    compared(
        "command/submit_durable_256",
        "256 commands, durable together",
        Time("command/submit_durable_1"),
        None,
        None,
    ),
    alone("rollback/fast_10m", "roll back, 10M parameters, memory", 500.0 * MILLISECOND, 50.0 * MILLISECOND),
    compared("rollback/full_10m", "roll back, 10M parameters, store", Alone, Nanoseconds(12_000.0 * MILLISECOND), None),
    compared("recover/commands_100", "recover a run of 100 commands", Alone, None, None),
    compared("recover/commands_1600", "recover a run of 1,600 commands", Time("recover/commands_100"), None, None),
    alone("kernel_handover/cached", "hand over a cached kernel", 100.0 * MICROSECOND, MICROSECOND),
    alone("packet/reference", "build a telemetry packet", 80.0 * MICROSECOND, MICROSECOND),
    compared("kernel_handover/build", "build a kernel of 1M parameters", Alone, None, None),
    compared("kernel_verify/68256", "verify an artifact of 68 kB", Alone, None, None),
    compared("kernel_verify/4209600", "verify an artifact of 4.2 MB", Alone, None, None),
    compared("blend/copy", "copy, the memory's own speed", Alone, None, None),
    compared("blend/plain", "blend, plain tensor operations", COPY, None, None),
    compared("blend/convex", "blend, convex", COPY, None, RatioAtLeast(0.8)),
    compared("blend/residual", "blend, residual", CONVEX, RatioAtMost(1.05), None),
    compared("blend/confidence", "blend, by confidence", CONVEX, RatioAtMost(1.05), None),
    compared("blend/channel", "blend, per channel", CONVEX, RatioAtMost(1.15), None),
    compared(
        "isolation/verify",
        "verify isolation",
        Time("step/host_blending"),
        Nanoseconds(8.0 * MILLISECOND),
        RatioAtMost(0.01),
    ),
    compared("step/host", "training step, host alone", Alone, None, None),
    compared("step/host_training", "training step, seed in training", Time("step/host"), None, None),
    compared("step/host_blending", "training step, seed blending", Time("step/host"), RatioAtMost(1.35), None),
    compared("step/host_blending_eager", "the same, activation not lazy", Time("step/host"), None, None),
    compared("journal/append_unsynced_1", "journal a record, not synced", Alone, None, None),
    compared("journal/append_1", "journal a record, synced", Time("journal/append_unsynced_1"), None, None),
    compared("journal/append_unsynced_16", "journal 16 records, not synced", Alone, None, None),
    compared("journal/append_16", "journal 16 records, synced", Time("journal/append_unsynced_16"), None, None),
    compared("journal/append_unsynced_256", "journal 256 records, not synced", Alone, None, None),
    compared("journal/append_256", "journal 256 records, synced", Time("journal/append_unsynced_256"), None, None),
    compared("journal/recover_1k", "open and read 1,000 records", Alone, None, None),
    compared("journal/recover_100k", "open and read 100,000 records", Time("journal/recover_1k"), None, None),
    compared("checkpoint/save_10m", "save 10M parameters", Alone, None, None),
    alone("checkpoint/load_10m", "load 10M parameters", 12_000.0 * MILLISECOND, 50.0 * MILLISECOND),
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
