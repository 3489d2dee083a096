//! Settings that every bus has, with the source of each default.

use std::time::Duration;

use kasmina_leyline::UnixTime;

use crate::{DeliveryId, Stream, StreamNames};

/// Settings that every bus has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusSettings {
    /// The names of the streams.
    pub streams: StreamNames,
    /// An entry that was delivered and not acknowledged for so long is delivered again, to whichever consumer asks
    /// first. A handler has to be done before that. Default 60 s: the contract's.
    pub claim_after: Duration,
    /// How often an entry is delivered to a group before it goes to the dead letters. Default 5: the contract's.
    pub most_deliveries: u32,
    /// An entry must have been stored within this time after it was sent. Default 60 s, as for signed commands.
    pub freshness: Duration,
    /// How far a sender's clock may be ahead of the server's. Default 5 s, as for signed commands.
    pub ahead: Duration,
    /// What was published longer ago is not delivered any more. Default 15 min: the contract's.
    pub time_to_live: Duration,
    /// The longest payload of an entry, which is a whole encoded envelope. Default 1 MiB: a command or packet has some
    /// hundred bytes, and a kernel goes by reference.
    pub max_payload_bytes: usize,
    /// How many entries a stream holds; Redis may hold some more (`MAXLEN ~`). Default 100,000: 15 min at 100
    /// messages/s, and some 50 MB at 300 bytes.
    pub stream_capacity: usize,
    /// How many bytes of envelopes a stream of a bus in the process holds. Redis does not count them. Default 64 MiB.
    pub stream_bytes: usize,
    /// How many CRITICAL messages of one bus go to the emergency stream in any 60 s, with the summaries. Default 120:
    /// the contract's.
    pub emergency_per_minute: u32,
    /// If more entries of the normal stream than this wait for their slowest group, new ones go to the emergency
    /// stream, unless as many wait there. Default 10,000: some seconds of work at 49,000 messages/s, far more than a
    /// healthy backlog.
    pub overflow_backlog: u64,
    /// How many entries a bus hands out before some of them have to be acknowledged. Default 1,024: 16 batches.
    pub most_unacknowledged: usize,
}

impl Default for BusSettings {
    fn default() -> Self {
        Self {
            streams: StreamNames::default(),
            claim_after: Duration::from_secs(60),
            most_deliveries: 5,
            freshness: Duration::from_secs(60),
            ahead: Duration::from_secs(5),
            time_to_live: Duration::from_secs(15 * 60),
            max_payload_bytes: 1 << 20,
            stream_capacity: 100_000,
            stream_bytes: 64 << 20,
            emergency_per_minute: 120,
            overflow_backlog: 10_000,
            most_unacknowledged: 1_024,
        }
    }
}

impl BusSettings {
    /// Whatever was stored before this has expired by `now`, or claims to be from the future. A group that is new then
    /// begins here: it must not bury what was never meant for it.
    pub(crate) fn first_deliverable(&self, now: UnixTime) -> UnixTime {
        now.before(self.time_to_live.saturating_add(self.ahead))
    }

    /// # Errors
    /// [`SettingsError`], for the first setting that cannot work.
    pub fn check(&self) -> Result<(), SettingsError> {
        if let Some(name) = self.streams.unusable() {
            return Err(SettingsError::StreamName { name: name.to_owned() });
        }
        if self.claim_after < Duration::from_millis(1) {
            return Err(SettingsError::TooSmall { setting: "claim_after", least: 1 });
        }
        // When an overflow ends, half of the minute's places are taken, and two summaries and a message come.
        let counts = [
            ("most_deliveries", u64::from(self.most_deliveries), 1),
            ("max_payload_bytes", self.max_payload_bytes as u64, 1),
            ("stream_capacity", self.stream_capacity as u64, 1),
            ("emergency_per_minute", u64::from(self.emergency_per_minute), 5),
            ("most_unacknowledged", self.most_unacknowledged as u64, 1),
        ];
        match counts.into_iter().find(|(_, value, least)| value < least) {
            Some((setting, _, least)) => Err(SettingsError::TooSmall { setting, least }),
            None => Ok(()),
        }
    }
}

/// A bus cannot be made with these settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A stream has an empty name, or the name of another one.
    #[error("two streams are called {name:?}, or one has no name")]
    StreamName {
        /// The name.
        name: String,
    },
    /// A count, or a duration in milliseconds, is too small.
    #[error("`{setting}` has to be at least {least}")]
    TooSmall {
        /// The setting.
        setting: &'static str,
        /// What it has to be.
        least: u64,
    },
    /// A subscription without a group, a consumer or a stream.
    #[error("the subscription names no {missing}")]
    Subscription {
        /// What is missing.
        missing: &'static str,
    },
    /// The server's address cannot be read. The address itself may hold a password, so that it is not repeated.
    #[error("the server's address cannot be read: {detail}")]
    Address {
        /// What is wrong.
        detail: String,
    },
    /// A thread could not be started.
    #[error("no thread for the bus: {detail}")]
    Thread {
        /// What the system said.
        detail: String,
    },
}

impl crate::Subscription {
    /// # Errors
    /// [`SettingsError::Subscription`].
    pub fn check(&self) -> Result<(), SettingsError> {
        let parts = [
            ("group", self.group.is_empty()),
            ("consumer", self.consumer.is_empty()),
            ("stream", self.streams.is_empty()),
        ];
        match parts.into_iter().find(|(_, missing)| *missing) {
            Some((missing, _)) => Err(SettingsError::Subscription { missing }),
            None => Ok(()),
        }
    }

    pub(crate) fn includes(&self, id: DeliveryId) -> bool {
        let stream: Stream = id.stream;
        self.streams.contains(&stream)
    }
}
