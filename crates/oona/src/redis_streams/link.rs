//! A connection that times out, is thrown away and made anew.

use std::time::Duration;

use fastrand::Rng;
use kasmina_leyline::Monotonic;
use redis::{Client, Cmd, Connection, RedisError, Value};

use super::reply;
use crate::{BrokerError, Health};

/// Doubles the wait between attempts while they fail, and draws half of it at random.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    random: Rng,
    /// The wait before the next attempt after a failure, without the random part.
    wait: Duration,
    until: Monotonic,
}

impl Backoff {
    pub(super) fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        Self { first, longest, random: Rng::with_seed(seed), wait: first, until: Monotonic::ORIGIN }
    }

    pub(super) fn is_over(&self, now: Monotonic) -> bool {
        now >= self.until
    }

    pub(super) fn failed(&mut self, now: Monotonic) {
        let half = self.wait / 2;
        self.until = now.after(half + half.mul_f64(self.random.f64()));
        self.wait = self.wait.saturating_mul(2).min(self.longest);
    }

    pub(super) fn succeeded(&mut self) {
        (self.wait, self.until) = (self.first, Monotonic::ORIGIN);
    }
}

/// A connection to one server, of one thread.
pub(super) struct Link {
    client: Client,
    /// What is said on a new connection: the password, the database, PING.
    greeting: Vec<Cmd>,
    timeout: Duration,
    connection: Option<Connection>,
    backoff: Backoff,
    health: Health,
    lost: u64,
}

/// The exchange did not come to its end; it is unknown what the server did.
#[derive(Debug)]
pub(super) struct Broken;

impl Link {
    pub(super) fn new(client: Client, greeting: Vec<Cmd>, timeout: Duration, backoff: Backoff) -> Self {
        let health = Health::Down { since: Monotonic::ORIGIN, error: BrokerError::NotTried };
        Self { client, greeting, timeout, connection: None, backoff, health, lost: 0 }
    }

    pub(super) fn health(&self) -> Health {
        self.health.clone()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// How often a connection was lost.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Connects if the back-off is over. Returns whether there is a new connection.
    pub(super) fn connect(&mut self, now: Monotonic) -> bool {
        if self.is_connected() || !self.backoff.is_over(now) {
            return false;
        }
        match self.open() {
            Ok(connection) => {
                self.connection = Some(connection);
                // A server that was stopped still accepts connections: only its answer shows that it is there.
                self.greet(now)
            }
            Err(error) => {
                self.failed(reply::broker_error(&error), now);
                false
            }
        }
    }

    fn open(&self) -> Result<Connection, RedisError> {
        let connection = self.client.get_connection_with_timeout(self.timeout)?;
        connection.set_read_timeout(Some(self.timeout))?;
        connection.set_write_timeout(Some(self.timeout))?;
        Ok(connection)
    }

    fn greet(&mut self, now: Monotonic) -> bool {
        let greeting = std::mem::take(&mut self.greeting);
        let answers = self.exchange(&greeting, now);
        self.greeting = greeting;
        let Ok(answers) = answers else { return false };
        // A user that may not ping may still do what is needed.
        let is_fatal = |error: &BrokerError| !matches!(error, BrokerError::NoPermission { .. });
        match answers.iter().filter_map(reply::refusal).find(is_fatal) {
            None => true,
            Some(error) => {
                self.failed(error, now);
                false
            }
        }
    }

    /// Sends all commands, then reads an answer for each. An answer can be an error of the server.
    ///
    /// The pipelines of the library go on reading after a time-out, once for every command that is left: 64 of them
    /// would take 64 time-outs. Here the first one ends it.
    pub(super) fn exchange(&mut self, commands: &[Cmd], now: Monotonic) -> Result<Vec<Value>, Broken> {
        let Some(connection) = &mut self.connection else { return Err(Broken) };
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let mut packed = Vec::new();
        for command in commands {
            command.write_packed_command(&mut packed);
        }
        let exchanged = connection.send_packed_command(&packed).and_then(|()| {
            let mut answers = Vec::with_capacity(commands.len());
            while answers.len() < commands.len() {
                answers.push(connection.recv_response()?);
            }
            Ok(answers)
        });
        match exchanged {
            Ok(answers) => {
                self.health = Health::Connected;
                self.backoff.succeeded();
                Ok(answers)
            }
            Err(error) if error.is_timeout() => {
                self.stalled(now);
                Err(Broken)
            }
            Err(error) => {
                self.failed(reply::broker_error(&error), now);
                Err(Broken)
            }
        }
    }

    fn stalled(&mut self, now: Monotonic) {
        self.close();
        self.backoff.failed(now);
        let since = match &self.health {
            Health::Stalled { since } => *since,
            Health::Connected | Health::Down { .. } => now,
        };
        self.health = Health::Stalled { since };
    }

    fn failed(&mut self, error: BrokerError, now: Monotonic) {
        self.close();
        self.backoff.failed(now);
        let since = match &self.health {
            Health::Down { since, error } if *error != BrokerError::NotTried => *since,
            Health::Connected | Health::Stalled { .. } | Health::Down { .. } => now,
        };
        self.health = Health::Down { since, error };
    }

    fn close(&mut self) {
        self.lost += u64::from(self.connection.take().is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_to_the_longest_with_half_at_random() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5), 7);
        let mut now = Monotonic::ORIGIN;
        let mut waits = Vec::new();
        for seconds in [1, 2, 4, 5, 5] {
            assert!(backoff.is_over(now));
            backoff.failed(now);
            let (least, most) = (Duration::from_secs(seconds) / 2, Duration::from_secs(seconds));
            assert!(!backoff.is_over(now.after(least - Duration::from_nanos(1))), "{seconds} s: too early");
            assert!(backoff.is_over(now.after(most)), "{seconds} s: too late");
            waits.push(backoff.until.since(now));
            now = now.after(most);
        }
        assert_ne!(waits[3], waits[4], "the same wait, at random");
        backoff.succeeded();
        backoff.failed(now);
        assert!(backoff.is_over(now.after(Duration::from_secs(1))), "it begins anew");
    }
}
