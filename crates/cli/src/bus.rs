//! A bus over Redis, as arguments name it.

use std::{fmt, path::PathBuf};

use kasmina_oona::{BusSettings, EntryKeys, Health, RedisBus, RedisSettings, Status, StreamNames, Subscription};
use kasmina_safety::SystemClock;

use crate::{failure::Failure, secret::secret};

/// How to use a bus.
#[derive(clap::Args)]
pub(crate) struct BusOptions {
    /// What the names of its streams begin with
    #[arg(long, value_name = "NAME", default_value = "oona")]
    prefix: String,
    /// Read the shared secret from this file
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Sign nothing and accept everything: whoever can write to the server decides what is read here
    #[arg(long, conflicts_with = "secret_file")]
    unsigned: bool,
}

impl BusOptions {
    /// The bus at this address, with this subscription.
    pub(crate) fn start(
        self,
        address: String,
        bus: BusSettings,
        subscription: Subscription,
    ) -> Result<RedisBus, Failure> {
        let keys = if self.unsigned {
            EntryKeys::default()
        } else {
            EntryKeys::of_key(KEY, secret(self.secret_file.as_deref())?.secret.key())
        };
        start(address, &self.prefix, keys, bus, Some(subscription))
    }
}

/// The name of the key that entries are signed with.
pub(crate) const KEY: &str = "esper";

pub(crate) fn start(
    address: String,
    prefix: &str,
    keys: EntryKeys,
    bus: BusSettings,
    subscription: Option<Subscription>,
) -> Result<RedisBus, Failure> {
    let mut settings = RedisSettings::new(address);
    settings.bus = BusSettings { streams: StreamNames::prefixed(prefix), ..bus };
    Ok(RedisBus::start(settings, keys, subscription, SystemClock::new())?)
}

/// How a bus is, in a line.
pub(crate) struct Condition<'s>(pub(crate) &'s Status);

impl fmt::Display for Condition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.health {
            Health::Connected => f.write_str("connected")?,
            Health::Stalled { .. } => f.write_str("the server does not answer")?,
            Health::Down { error, .. } => write!(f, "{error}")?,
        }
        self.0.refusing.iter().try_for_each(|(stream, error)| write!(f, "; stream {stream:?}: {error}"))
    }
}

/// Tells what has changed on standard error, and nothing twice in a row.
#[derive(Default)]
pub(crate) struct Changes(String);

impl Changes {
    pub(crate) fn tell(&mut self, text: String) {
        if text != self.0 && !text.is_empty() {
            eprintln!("{text}");
        }
        self.0 = text;
    }
}
