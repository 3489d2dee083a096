//! Settings of a bus over Redis Streams.

use std::{fmt, time::Duration};

use redis::IntoConnectionInfo;

use super::link::{Backoff, Link};
use crate::{BusSettings, SettingsError};

/// Settings of a bus over Redis Streams.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisSettings {
    /// `redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`, or `redis+unix:///PATH`. Never printed, because it may hold
    /// a password.
    pub address: String,
    /// What every bus has.
    pub bus: BusSettings,
    /// How long connecting, writing or an answer may take before the server counts as stalled. Default 2 s: thirty
    /// times the slowest `appendfsync always` of a busy disk, and short enough to notice.
    pub response_timeout: Duration,
    /// The wait after the first failure; it doubles with every further one, and half of it is drawn at random, so that
    /// many clients do not come back at the same moment. Default 100 ms.
    pub first_retry: Duration,
    /// The longest wait. Default 30 s.
    pub longest_retry: Duration,
    /// Seeds the random part of the waits. `None` draws a seed.
    pub jitter_seed: Option<u64>,
    /// How many messages may wait for the server. Default 8,192: at 49,000 messages/s a sixth of a second.
    pub queue: usize,
    /// How many CRITICAL messages may wait on top of that. Default 1,024.
    pub critical_reserve: usize,
    /// How many bytes of envelopes may wait. Default 64 MiB.
    pub queue_bytes: usize,
    /// How many entries are written or read in one exchange. Default 64: the contract's.
    pub batch: usize,
    /// How long the server holds a read if there is nothing; acknowledgements and a shutdown wait for it. Default 20
    /// ms: an idle subscriber costs the server a hundred small commands a second, a thousandth of what it can do.
    pub block: Duration,
    /// How often idle entries are looked for, and those refreshed that wait here for `poll`. At most a third of
    /// `claim_after`. Default 5 s.
    pub claim_every: Duration,
    /// How often the backlog is measured and an idle connection is tested. Default 1 s.
    pub probe_every: Duration,
}

impl RedisSettings {
    /// Defaults, for the server at this address.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            bus: BusSettings::default(),
            response_timeout: Duration::from_secs(2),
            first_retry: Duration::from_millis(100),
            longest_retry: Duration::from_secs(30),
            jitter_seed: None,
            queue: 8_192,
            critical_reserve: 1_024,
            queue_bytes: 64 << 20,
            batch: 64,
            block: Duration::from_millis(20),
            claim_every: Duration::from_secs(5),
            probe_every: Duration::from_secs(1),
        }
    }

    /// # Errors
    /// [`SettingsError`], for the first setting that cannot work.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.bus.check()?;
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let least = [
            ("queue", self.queue as u64, 1),
            ("queue_bytes", self.queue_bytes as u64, self.bus.max_payload_bytes as u64),
            ("batch", self.batch as u64, 1),
            // Zero would be for ever.
            ("block", millis(self.block), 1),
            ("response_timeout", millis(self.response_timeout), 2 * millis(self.block)),
            ("first_retry", millis(self.first_retry), 1),
            ("longest_retry", millis(self.longest_retry), millis(self.first_retry)),
            ("claim_after", millis(self.bus.claim_after), 3 * millis(self.claim_every)),
        ];
        match least.into_iter().find(|(_, value, least)| value < least) {
            Some((setting, _, least)) => Err(SettingsError::TooSmall { setting, least }),
            None => Ok(()),
        }
    }

    /// A connection to be made, the `number`th of this bus.
    pub(super) fn link(&self, number: u64) -> Result<Link, SettingsError> {
        let unreadable = |error: redis::RedisError| SettingsError::Address { detail: error.category().to_owned() };
        let info = self.address.as_str().into_connection_info().map_err(unreadable)?;
        let mut greeting = Vec::new();
        if let Some(password) = info.redis_settings().password() {
            let mut command = redis::cmd("AUTH");
            command.arg(info.redis_settings().username()).arg(password);
            greeting.push(command);
        }
        let database = info.redis_settings().db();
        if database != 0 {
            let mut command = redis::cmd("SELECT");
            command.arg(database);
            greeting.push(command);
        }
        greeting.push(redis::cmd("PING"));
        let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true);
        // The library itself says nothing on a new connection, so that a server that does not answer is seen in the
        // greeting.
        let silent = redis::RedisConnectionInfo::default().set_skip_set_lib_name();
        let info = info.set_tcp_settings(tcp).set_redis_settings(silent);
        let client = redis::Client::open(info).map_err(unreadable)?;
        let seed = self.jitter_seed.unwrap_or_else(|| fastrand::u64(..)).wrapping_add(number);
        let backoff = Backoff::new(self.first_retry, self.longest_retry, seed);
        Ok(Link::new(client, greeting, self.response_timeout, backoff))
    }
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings").field("bus", &self.bus).finish_non_exhaustive()
    }
}
