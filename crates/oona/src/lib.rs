//! The bus: envelopes between subsystems, each at least once.
//!
//! todo

mod admission;
mod bus;
#[cfg(any(test, feature = "doubles"))]
pub mod conformance;
#[cfg(any(test, feature = "doubles"))]
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
