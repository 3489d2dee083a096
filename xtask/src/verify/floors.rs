//! The floors of the workspace. Only this file changes when a crate comes, goes or moves.

/// One crate under crates/. A row whose directory does not exist yet is skipped.
pub(super) struct Row {
    pub(super) floor: u8,
    pub(super) name: &'static str,
    pub(super) owns: &'static str,
    /// The crates of the workspace that it may depend on.
    pub(super) knows: &'static [&'static str],
    /// Whether it may link tensors and an asynchronous runtime.
    pub(super) links: Links,
    pub(super) invariant: &'static str,
}

/// What a crate may link.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// No Burn, tokio or hyper, however far down.
    Plain,
    /// No Burn: a server, or what starts one.
    Server,
    Anything,
}

use Links::{Anything, Plain, Server};

const fn row(
    floor: u8,
    name: &'static str,
    links: Links,
    owns: &'static str,
    knows: &'static [&'static str],
    invariant: &'static str,
) -> Row {
    Row { floor, name, owns, knows, links, invariant }
}

pub(super) const FLOORS: [Row; 23] = [
    row(
        0,
        "leyline",
        Plain,
        "bindings, identifiers, time, wire canonicalisation",
        &[],
        "the bytes that were signed are found without decoding",
    ),
    row(
        1,
        "lifecycle",
        Plain,
        "stages, moves, embargo",
        &["leyline"],
        "no guarded move without its own gate's verdict on this seed",
    ),
    row(
        1,
        "safety",
        Plain,
        "clocks, breakers, deadlines, the watch over kernels",
        &["leyline"],
        "only `SystemClock` reads the machine's clocks",
    ),
    row(
        1,
        "security",
        Plain,
        "verification, nonces, keys",
        &["leyline"],
        "nothing else can make a `Verified`, and a ledger makes none twice of one command",
    ),
    row(
        1,
        "memory",
        Plain,
        "caches, budgets, pressure, reservations",
        &["leyline"],
        "a cache never holds more bytes than its budget, and what is reserved counts as held",
    ),
    row(
        1,
        "telemetry",
        Plain,
        "events, metrics, packets, lanes, sinks",
        &["leyline"],
        "nothing critical is lost that a journal can hold, and all that is dropped is counted",
    ),
    row(
        1,
        "blending",
        Anything,
        "modes, schedules, tensor operations",
        &["leyline"],
        "behind the barrier the host is not a parent: its gradient is absent",
    ),
    row(
        2,
        "commands",
        Plain,
        "orders, their reader and writer, annotations",
        &["blending", "leyline", "security"],
        "the reader, the sender and the document come from one table",
    ),
    row(2, "gates", Plain, "evidence, verdicts, policy", &["leyline", "lifecycle"], "a gate never changes a seed"),
    row(
        2,
        "reduce",
        Anything,
        "gradients and facts between the workers of a run",
        &["leyline"],
        "all workers get the same bits, or an error",
    ),
    row(2, "registry", Anything, "ownership of parameters", &["leyline"], "a parameter has at most one owner"),
    row(
        2,
        "kernel-load",
        Anything,
        "artifacts, kernels, libraries, loads",
        &["leyline", "memory", "safety"],
        "nothing of an artifact reaches a device unverified, and nothing ever replaces one",
    ),
    row(
        2,
        "rollback",
        Plain,
        "the journal, and the blobs that it names",
        &["leyline"],
        "what was acknowledged is read back, or an error says where it was lost",
    ),
    row(
        2,
        "oona",
        Plain,
        "the bus: in the process, and over Redis Streams",
        &["leyline", "safety", "security"],
        "no publisher waits for a server, and nothing that was taken is dropped uncounted",
    ),
    row(
        2,
        "watch",
        Server,
        "a page that shows a run while it goes, from the telemetry that it writes",
        &["telemetry"],
        "a run is read and never touched, and nothing outside of its directory is shown",
    ),
    row(
        3,
        "engine",
        Plain,
        "every seed's record, and what each input does to it",
        &["blending", "commands", "gates", "leyline", "lifecycle", "safety"],
        "deciding changes nothing, and a decision is data",
    ),
    row(
        3,
        "isolation",
        Anything,
        "grafts, passes, gradient ledger",
        &["blending", "kernel-load", "leyline", "registry", "safety"],
        "a shared parameter shows in the pass in which it is shared",
    ),
    row(
        3,
        "urza",
        Anything,
        "kernels over the bus: a trainer's requests, and the library that answers them",
        &["kernel-load", "leyline", "oona", "safety"],
        "a kernel is Ready only if its file was verified just now, and its request is acknowledged once that is stored",
    ),
    row(
        3,
        "reduce-collective",
        Anything,
        "workers over Burn's own collective operations",
        &["reduce"],
        "a call that cannot be ended is made by a thread that nobody waits for past the time-out",
    ),
    row(
        3,
        "dispatch",
        Plain,
        "commands, telemetry and field reports over the bus",
        &["leyline", "oona", "telemetry"],
        "a command is acknowledged after its answer, and a report is dropped after the server has stored it",
    ),
    row(
        4,
        "grown",
        Anything,
        "a host and its fossils as one module, and their file",
        &["blending", "isolation", "kernel-load", "leyline"],
        "a file is loaded as what was saved, or it is refused",
    ),
    row(
        5,
        "kasmina",
        Anything,
        "the seed manager: builder, door, training step, settings",
        &[
            "blending",
            "commands",
            "engine",
            "gates",
            "grown",
            "isolation",
            "kernel-load",
            "leyline",
            "lifecycle",
            "memory",
            "reduce",
            "registry",
            "rollback",
            "safety",
            "security",
            "telemetry",
        ],
        "until it is fossilised, a seed does not change one bit of its host",
    ),
    row(
        6,
        "cli",
        Server,
        "the binary `kasmina`: signs commands, explains reasons, looks after stores, shows runs; with features, buses and kernels",
        &[
            "blending",
            "commands",
            "dispatch",
            "kernel-load",
            "leyline",
            "oona",
            "rollback",
            "safety",
            "telemetry",
            "urza",
            "watch",
        ],
        "an order that no receiver would read as it was meant is not signed",
    ),
];
