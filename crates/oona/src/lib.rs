//! The bus: envelopes between subsystems, each at least once.
//!
//! A [`Bus`] publishes, polls and acknowledges [messages](Message), on [streams](Stream) by what they are for.
//! Subscribers of one group share the entries; what one of them does not acknowledge within a minute is delivered
//! again, five times at most, and then goes to the dead letters. [`LocalBroker`] keeps the streams in the process,
//! which is the default of an embedded manager. With the feature `redis`, `RedisBus` keeps them on a Redis server (7.0
//! or newer), where Esper's other services read and write them. With the feature `doubles` there are the suite that
//! both run (`conformance::run`) and a server for tests (`doubles::RedisServer`).
//!
//! ```
//! use kasmina_leyline::v1::{BusMessageType, MessagePriority};
//! use kasmina_oona::{Bus, BusSettings, LocalBroker, Message, Stream, Subscription};
//! use kasmina_safety::SystemClock;
//!
//! let broker = LocalBroker::new(BusSettings::default(), SystemClock::new())?;
//! let tamiyo = broker.publisher();
//! let kasmina = broker.join(Subscription::new("kasmina", "worker-1", [Stream::Emergency, Stream::Normal]))?;
//!
//! tamiyo.publish(Message::new(BusMessageType::AdaptationCommand, *b"a signed command"))?;
//! tamiyo.publish(Message::new(BusMessageType::AdaptationCommand, *b"stop").with_priority(MessagePriority::Critical))?;
//!
//! let arrived = kasmina.poll(64)?;
//! assert_eq!(arrived[0].envelope.payload, b"stop");
//! for delivery in arrived {
//!     // handle it, then
//!     kasmina.acknowledge(delivery.id)?;
//! }
//! assert_eq!(kasmina.status().counts.acknowledged, 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is promised
//!
//! - `publish` never waits for a server. If too much waits already, the caller gets its message back; for CRITICAL ones
//!   there is a reserve. What was taken is kept until it is stored, as long as the bus lives, and [`Status::stored_through`] says what is.
//! - CRITICAL goes to the emergency stream, at most 120 a minute from one bus. The others go to the stream of their
//!   type at once, still marked CRITICAL, and the emergency stream gets two telemetry events in their place:
//!   `emergency_overflow_began`, and `emergency_overflow_ended` with how many went where.
//! - If too many entries wait on the normal stream, new ones of NORMAL and HIGH priority go to the emergency stream.
//! - Every entry that is not delivered is counted by its [`DropCause`]. What is authentic goes to the dead letters
//!   besides.
//! - If a secret is configured, an entry without its signature is not even decoded. [`EntryKeys`] rotate while a bus
//!   runs.
//! - An envelope is delivered within a time to live of 15 minutes, and only if it came into its stream within 60 s
//!   after it was sent: see [`Stamp`], also for senders that set none.
//!
//! # What it costs
//!
//! Thousands of messages a second at 300 bytes (`cargo xtask bench --filter bus`), with Redis 7.0.15 on the same two
//! cores of a virtual machine whose other work had to give way. That signing seems to make publishing faster is noise.
//!
//! | | publish | consume and acknowledge | both at once |
//! |---|---|---|---|
//! | by hand, in pipelines of 64 | 172 | 154 | |
//! | over Redis | 125 | 124 | 81 |
//! | over Redis, signed | 132 | 95 | 60 |
//! | in the process | | | 342 |

mod admission;
mod bus;
#[cfg(feature = "doubles")]
pub mod conformance;
#[cfg(feature = "doubles")]
pub mod doubles;
mod drops;
mod error;
mod keys;
mod local;
mod message;
mod prepare;
mod rate;
#[cfg(feature = "redis")]
mod redis_streams;
mod settings;
mod stamp;
mod stream;
mod sync;

pub use admission::{Admitted, RawEntry, admit};
pub use bus::{Bus, NoBus, Status};
pub use drops::{Counts, DropCause};
pub use error::{BrokerError, BusError, Health, PublishError, Refused, Unflushed};
pub use keys::{EntryKeys, KeyError};
pub use local::{DeadLetter, LocalBroker, LocalBus};
pub use message::{Delivery, DeliveryId, EntryId, Message, Subscription, Ticket};
#[cfg(feature = "redis")]
pub use redis_streams::{RedisBus, RedisSettings};
pub use settings::{BusSettings, SettingsError};
pub use stamp::Stamp;
pub use stream::{Stream, StreamNames};
