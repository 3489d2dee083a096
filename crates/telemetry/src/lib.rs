//! What happens to seeds, told to whoever listens.
//!
//! Events and metrics of a step go into an [`Assembler`], come out as Leyline packets, at most one per seed and step, and
//! travel on [`Lanes`] to a [`Sink`]: critical packets first, and none of them is ever dropped. Nothing here opens a file,
//! starts a thread or reads a clock.
//!
//! [`JsonLinesSink`] writes packets to whatever it is given, [`TracingSink`] passes their events on to `tracing`, and
//! [`PrometheusText`] keeps what a scrape is told; serving that text is left to whoever owns a socket: `MetricsEndpoint` of the
//! crate `kasmina` does.
//!
//! ```
//! use kasmina_leyline::{SeedId, TrainingRunId, UnixTime};
//! use kasmina_telemetry::{Assembler, Event, Lanes, MemorySink, Metric, names};
//!
//! let seed = SeedId::new("seed-1")?;
//! let mut assembler = Assembler::new("kasmina", TrainingRunId::new("run-7")?, 64);
//! assembler.metric(Some(&seed), Metric::new(names::SEED_ALPHA, 0.25));
//! assembler.event(Some(&seed), Event::new(names::GATE_FAILURE).with("reason", "loss_rising"));
//!
//! let mut lanes = Lanes::new(1_000);
//! for packet in assembler.assemble(12, UnixTime::from_millis(1_700_000_000_000)) {
//!     lanes.push(packet);
//! }
//! let mut sink = MemorySink::default();
//! lanes.drain(&mut sink);
//! let packets = sink.take();
//! assert_eq!(packets[0].events[0].description, "gate_failure");
//! let health = packets[0].system_health.as_ref().ok_or("every packet has its health")?;
//! assert_eq!(health.indicators["priority"], "MESSAGE_PRIORITY_CRITICAL");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Names
//!
//! A packet's `system_health.indicators` hold `priority` (`MESSAGE_PRIORITY_NORMAL`, `_HIGH` or `_CRITICAL` after its gravest
//! event), `step_index` and, where it is about a seed, `seed_id`.
//!
//! | event | level | what it says |
//! |---|---|---|
//! | `seed_state` | INFO | A seed left a stage and entered another. |
//! | `gate_event` | INFO | A gate let a seed pass. |
//! | `gate_failure` | CRITICAL | A gate refused a seed. |
//! | `embargo_start` | INFO | A culled seed's embargo began. |
//! | `embargo_end` | INFO | An embargo ran out. |
//! | `seed_culled` | WARNING | A seed was taken out of its slot, and why. |
//! | `command_accepted` | INFO | A command was carried out. |
//! | `command_rejected` | CRITICAL | A command was not authentic, not fresh, or a replay. |
//! | `command_refused` | WARNING | An authentic command could not be carried out. |
//! | `blend_config` | INFO | How a seed will be blended in. |
//! | `pause` | INFO | A seed was paused: its slot is the identity. |
//! | `resume` | INFO | A paused seed was resumed. |
//! | `breaker_open` | CRITICAL | A breaker opened. |
//! | `breaker_half_open` | WARNING | A breaker lets trials through, or one succeeded. |
//! | `breaker_closed` | INFO | A breaker closed. |
//! | `isolation_violation` | CRITICAL | A gradient was where none may be. Its update was discarded. |
//! | `graft_fault` | CRITICAL | A kernel could not do its part in a pass. The host went on without it. |
//! | `step_refused` | CRITICAL | A training step was not taken. |
//! | `memory_gc` | INFO | Caches were emptied or cleaned. |
//! | `deadline_violation` | WARNING | A command came after its own deadline, or an operation took longer than its budget. |
//! | `rollback_ready` | INFO | A checkpoint was taken that a rollback can go back to. |
//! | `rolled_back` | WARNING | The run or a seed went back to a checkpoint, and how long it took. |
//! | `journal_failed` | CRITICAL | The journal or the checkpoint store did not take something. Nothing of it was acknowledged. |
//! | `recovered` | WARNING | The manager came back from its journal. |
//! | `degraded_inputs` | WARNING | A command says that its sender knew less than it should, or its context cannot be read. |
//! | `sink_failed` | WARNING | A sink did not take a packet. Critical packets wait for it, others up to a bound. |
//! | `packets_dropped` | WARNING | Packets that were not critical were dropped before a sink took them, and how many. |
//! | `seed_queue_dropped` | WARNING | Events that were not critical were dropped, and how many. |
//!
//! | metric | unit | what it measures |
//! |---|---|---|
//! | `kasmina.seed.loss` | 1 | The loss of the pass that the seed took part in. |
//! | `kasmina.seed.alpha` | 1 | The seed's alpha, 0 to 1. |
//! | `kasmina.seed.gradient_norm` | 1 | The L2 norm of the seed's gradient, where it was sampled. |
//! | `kasmina.seed.learning_rate` | 1 | The learning rate of the seed's last optimizer step. |
//! | `kasmina.host.loss` | 1 | The host's own loss on the batch. |
//! | `kasmina.host.pass_ms` | ms | The host's forward and backward pass. |
//! | `kasmina.seed.passes_ms` | ms | The passes of seeds. |
//! | `kasmina.isolation.verify_ms` | ms | The isolation and registry checks of a step. |
//! | `kasmina.isolation.violations_total` | 1 | Isolation violations of the seed so far. |
//! | `kasmina.kernel.load_ms` | ms | Fetching, verifying and building a kernel. |
//! | `kasmina.prewarm.latency_ms` | ms | The first passes of a kernel, before it takes part in any step. |
//! | `kasmina.cache.hits_total` | 1 | Kernels found in the cache. |
//! | `kasmina.cache.misses_total` | 1 | Kernels not found in the cache. |
//! | `kasmina.cache.bytes` | By | Bytes of kernels in the cache. |
//! | `kasmina.breaker.state` | 1 | A breaker's state, as CircuitBreakerState's number; the attribute `breaker` says which. |
//! | `kasmina.nonce_ledger.size` | 1 | Nonces remembered. |
//! | `kasmina.nonce_ledger.evictions_total` | 1 | Nonces that the cap pushed out while still in their window. |
//! | `kasmina.nonce_ledger.ttl_seconds` | s | How long nonces are remembered. |
//! | `kasmina.rollback.latency_ms` | ms | Going back to a checkpoint. |
//! | `kasmina.journal.append_ms` | ms | Making the last acknowledgement durable, its checkpoint included. |
//! | `kasmina.checkpoint.bytes` | By | Bytes of the last checkpoint. |
//! | `kasmina.telemetry.emergency_waiting` | 1 | Critical packets that wait for a sink. |

mod assembler;
mod bridge;
mod event;
mod indicators;
mod json;
mod lanes;
pub mod names;
mod prometheus;
mod sink;

pub use assembler::Assembler;
pub use bridge::TracingSink;
pub use event::{Event, Metric};
pub use lanes::{Drained, Lanes};
pub use names::{EventName, MetricName};
pub use prometheus::PrometheusText;
pub use sink::{JsonLinesSink, MemorySink, NullSink, Sink, SinkError};
