//! A lease on a Redis server.

use std::{fmt, time::Duration};

use redis::{Client, Connection, RedisError, Value, cmd};

use super::{Lease, LeaseError, Tenure};
use crate::WorkerId;

/// Takes or renews the lease, in one step of the server. Gives who holds it, under which token, and whose process it is.
const TAKE: &str = "
local held = redis.call('HMGET', KEYS[1], 'process', 'worker', 'token')
if held[1] == ARGV[1] then
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
    return {held[2], held[3], held[1]}
end
if held[1] then return {held[2], held[3], held[1]} end
local last = tonumber(redis.call('GET', KEYS[2]) or '0')
local token = string.format('%.0f', math.max(last, tonumber(ARGV[4])) + 1)
redis.call('SET', KEYS[2], token)
redis.call('HSET', KEYS[1], 'process', ARGV[1], 'worker', ARGV[2], 'token', token)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {ARGV[2], token, ARGV[1]}";

const RELEASE: &str = "
if redis.call('HGET', KEYS[1], 'process') == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0";

/// Settings of a [`RedisLease`].
#[derive(Clone, PartialEq, Eq)]
pub struct RedisLeaseSettings {
    /// `redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`, or `redis+unix:///PATH`. Never printed, because it may hold
    /// a password.
    pub address: String,
    /// The key of the lease; that of its last token has `.token` behind it. One for each training run. In a cluster of
    /// servers put it in braces, so that both keys are on one.
    pub key: String,
    /// After so long it ends. Default 3 s: a worker that waits for a round sees the next holder within its 5 s.
    pub ttl: Duration,
    /// How long the server may take to connect or answer. Default 500 ms: the caller waits for it.
    pub response_timeout: Duration,
}

impl RedisLeaseSettings {
    /// Defaults, for the server at this address and this training run.
    #[must_use]
    pub fn new(address: impl Into<String>, run: &kasmina_leyline::TrainingRunId) -> Self {
        Self {
            address: address.into(),
            key: format!("kasmina.{{{run}}}.lease"),
            ttl: Duration::from_secs(3),
            response_timeout: Duration::from_millis(500),
        }
    }
}

impl fmt::Debug for RedisLeaseSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLeaseSettings").field("key", &self.key).field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

/// A lease on a Redis server, as one process sees it.
///
/// Its token is higher than every one that the server remembers, and than every one that the worker that takes it has
/// seen. A server that fails over to a replica may forget a tenure, so that two workers believe that they hold the lease;
/// that costs time and nothing else.
pub struct RedisLease {
    settings: RedisLeaseSettings,
    client: Client,
    connection: Option<Connection>,
    worker: WorkerId,
    process: String,
}

impl RedisLease {
    /// The lease as this process sees it. `process` is a name that no other process ever has: 16 random bytes, for
    /// example. Nothing is said to the server yet.
    ///
    /// # Errors
    /// [`LeaseError::Away`], if the address cannot be read.
    pub fn new(settings: RedisLeaseSettings, worker: WorkerId, process: impl Into<String>) -> Result<Self, LeaseError> {
        let client = Client::open(settings.address.as_str()).map_err(|error| away(&error))?;
        Ok(Self { settings, client, connection: None, worker, process: process.into() })
    }

    /// How long a tenure lasts.
    #[must_use]
    pub const fn ttl(&self) -> Duration {
        self.settings.ttl
    }

    fn ask(&mut self, command: &redis::Cmd) -> Result<Value, LeaseError> {
        let connection = match self.connection.take() {
            Some(connection) => Ok(connection),
            None => self.connect(),
        };
        let mut connection = connection.map_err(|error| away(&error))?;
        let answer = command.query(&mut connection).map_err(|error| away(&error))?;
        // A connection that timed out may still bring the old answer.
        self.connection = Some(connection);
        Ok(answer)
    }

    fn connect(&self) -> Result<Connection, RedisError> {
        let timeout = self.settings.response_timeout;
        let connection = self.client.get_connection_with_timeout(timeout)?;
        connection.set_read_timeout(Some(timeout))?;
        connection.set_write_timeout(Some(timeout))?;
        Ok(connection)
    }

    fn tenure(&self, answer: &Value) -> Result<Option<Tenure>, LeaseError> {
        let unreadable = || LeaseError::Unreadable { detail: format!("{answer:?}") };
        let Value::Array(fields) = answer else { return Err(unreadable()) };
        let text = |value: &Value| {
            if let Value::BulkString(bytes) = value { String::from_utf8(bytes.clone()).ok() } else { None }
        };
        let [worker, token, process] = fields.as_slice() else { return Err(unreadable()) };
        if let (Value::Nil, Value::Nil, Value::Nil) = (worker, token, process) {
            return Ok(None);
        }
        let worker = text(worker).and_then(|it| it.parse().ok()).ok_or_else(unreadable)?;
        let token = text(token).and_then(|it| it.parse().ok()).ok_or_else(unreadable)?;
        let is_mine = text(process).ok_or_else(unreadable)? == self.process;
        Ok(Some(Tenure { token, holder: WorkerId(worker), is_mine }))
    }
}

impl Lease for RedisLease {
    fn take(&mut self, above: u64) -> Result<Tenure, LeaseError> {
        let ttl = u64::try_from(self.settings.ttl.as_millis()).unwrap_or(u64::MAX);
        let mut command = cmd("EVAL");
        command.arg(TAKE).arg(2).arg(&self.settings.key).arg(format!("{}.token", self.settings.key));
        command.arg(&self.process).arg(self.worker.0).arg(ttl).arg(above);
        let answer = self.ask(&command)?;
        let unreadable = || LeaseError::Unreadable { detail: format!("{answer:?}") };
        self.tenure(&answer)?.ok_or_else(unreadable)
    }

    fn look(&mut self) -> Result<Option<Tenure>, LeaseError> {
        let mut command = cmd("HMGET");
        command.arg(&self.settings.key).arg("worker").arg("token").arg("process");
        let answer = self.ask(&command)?;
        self.tenure(&answer)
    }

    fn release(&mut self) -> Result<(), LeaseError> {
        let mut command = cmd("EVAL");
        command.arg(RELEASE).arg(1).arg(&self.settings.key).arg(&self.process);
        self.ask(&command).map(|_| ())
    }
}

impl fmt::Debug for RedisLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RedisLease");
        shown.field("settings", &self.settings).field("worker", &self.worker).finish_non_exhaustive()
    }
}

fn away(error: &RedisError) -> LeaseError {
    let detail = error.detail().map_or_else(|| error.category().to_owned(), |it| format!("{}: {it}", error.category()));
    LeaseError::Away { detail }
}
