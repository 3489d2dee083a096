//! Workers in processes of their own that meet at a Redis server.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    time::Duration,
};

use redis::{Client, Cmd, Connection, RedisError, Value};

use crate::{Link, Place, ReduceError};

/// Entries that a stream keeps, for each worker. A worker that is this many exchanges late does not try to catch up with each.
const KEPT_PER_WORKER: usize = 8;
/// How long a command may take that waits for nothing.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a stream stays on the server after the group has begun. A run that takes longer than that goes on in a new one.
const EXPIRES: Duration = Duration::from_secs(7 * 24 * 3600);

/// Workers that meet in a stream of a Redis server.
///
/// What everybody sends is an entry of one stream, and so is the giving up of an exchange. All read it in its order: an exchange has
/// succeeded if what all have sent stands before the first entry that gives it up. So it succeeds for all or for none, unless a worker loses
/// the server ([`ReduceError::Link`]).
///
/// The server sees all gradients, and whoever can write to it can change them: it is as trusted as the workers. An entry holds at most
/// what Redis takes, 512 MiB, which is 134 million values. The stream holds the last 8 entries of each worker, or some more: with 4 workers and a
/// million values, some 130 MB.
pub struct RedisLink {
    client: Client,
    /// `None` after it has broken: the next command makes another.
    connection: Option<Connection>,
    stream: String,
    place: Place,
    timeout: Duration,
    /// How many exchanges this worker has made.
    made: u64,
    /// The last entry that was read.
    read: String,
    /// Exchanges that others have come to: from the one that this worker is in.
    ahead: VecDeque<Exchange>,
    /// The last exchange that anybody has come to.
    furthest: u64,
}

/// What the stream has said of an exchange.
#[derive(Default)]
struct Exchange {
    sent: BTreeMap<usize, Vec<u8>>,
    /// Who gave it up before all had sent.
    given_up: Option<usize>,
}

impl RedisLink {
    /// Joins a group of workers. `stream` is the key at which they meet: workers that begin again after one was lost meet at
    /// another key, because they count their exchanges from 0.
    ///
    /// # Errors
    /// [`ReduceError::Link`]: there is no such server, or `place` is not a place.
    pub fn join(url: &str, stream: &str, place: Place, timeout: Duration) -> Result<Self, ReduceError> {
        if place.rank >= place.workers {
            return Err(ReduceError::Link(format!("rank {} of {} workers", place.rank, place.workers)));
        }
        let client = Client::open(url)?;
        let connection = Some(client.get_connection_with_timeout(COMMAND_TIMEOUT)?);
        let (made, read, ahead, furthest) = (0, "0".to_owned(), VecDeque::new(), 0);
        Ok(Self { client, connection, stream: stream.to_owned(), place, timeout, made, read, ahead, furthest })
    }

    /// Removes what the group has left on the server, once no worker needs it any more.
    ///
    /// # Errors
    /// [`ReduceError::Link`].
    pub fn clear(&mut self) -> Result<(), ReduceError> {
        let _: Value = self.ask(redis::cmd("DEL").arg(&self.stream), COMMAND_TIMEOUT)?;
        Ok(())
    }

    fn ask<T: redis::FromRedisValue>(&mut self, command: &Cmd, within: Duration) -> Result<T, ReduceError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.client.get_connection_with_timeout(COMMAND_TIMEOUT)?,
        };
        connection.set_read_timeout(Some(within))?;
        connection.set_write_timeout(Some(COMMAND_TIMEOUT))?;
        let answer = command.query(&mut connection)?;
        self.connection = Some(connection);
        Ok(answer)
    }

    /// `None` gives the exchange up. Returns the server's time, in milliseconds.
    fn send(&mut self, number: u64, bytes: Option<&[u8]>) -> Result<u64, ReduceError> {
        let mut command = redis::cmd("XADD");
        let kept = KEPT_PER_WORKER * self.place.workers;
        command.arg(&self.stream).arg("MAXLEN").arg("~").arg(kept).arg("*");
        command.arg("exchange").arg(number).arg("worker").arg(self.place.rank);
        match bytes {
            Some(bytes) => command.arg("sent").arg(bytes),
            None => command.arg("given_up").arg(""),
        };
        let id: String = self.ask(&command, COMMAND_TIMEOUT)?;
        if number == 0 {
            // A group that is killed leaves nothing for ever.
            let _: Value = self.ask(redis::cmd("EXPIRE").arg(&self.stream).arg(EXPIRES.as_secs()), COMMAND_TIMEOUT)?;
        }
        milliseconds(&id).ok_or_else(|| ReduceError::Link(format!("an entry with the id {id}")))
    }

    /// Reads what there is, or waits for it. Returns the time of the last entry, if there was one.
    fn read(&mut self, number: u64, within: Duration) -> Result<Option<u64>, ReduceError> {
        let mut command = redis::cmd("XREAD");
        // 0 would wait for ever.
        let block = u64::try_from(within.as_millis()).unwrap_or(u64::MAX).max(1);
        command.arg("BLOCK").arg(block).arg("STREAMS").arg(&self.stream).arg(&self.read);
        let answer: Value = self.ask(&command, within + COMMAND_TIMEOUT)?;
        let entries = entries(answer).ok_or_else(|| ReduceError::Link("an answer that cannot be read".to_owned()))?;
        let mut last = None;
        for Entry { id, exchange, worker, sent } in entries {
            last = milliseconds(&id).or(last);
            self.read = id;
            if worker < self.place.workers {
                self.furthest = self.furthest.max(exchange);
            }
            let Some(at) = exchange.checked_sub(number).and_then(|at| usize::try_from(at).ok()) else { continue };
            // Nobody who is in step is further ahead than one exchange, but for those that were given up.
            if worker >= self.place.workers || at > KEPT_PER_WORKER {
                continue;
            }
            while self.ahead.len() <= at {
                self.ahead.push_back(Exchange::default());
            }
            let exchange = &mut self.ahead[at];
            if exchange.given_up.is_some() || exchange.sent.len() == self.place.workers {
                continue;
            }
            match sent {
                Some(bytes) => drop(exchange.sent.entry(worker).or_insert(bytes)),
                None => exchange.given_up = Some(worker),
            }
        }
        Ok(last)
    }

    /// Waits for the others. `since` is when this worker came, by the server's clock.
    fn wait(&mut self, number: u64, since: u64) -> Result<Vec<Vec<u8>>, ReduceError> {
        let timeout = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
        let (mut missing, mut gave_up) = (Vec::new(), false);
        loop {
            if self.furthest > number + KEPT_PER_WORKER as u64 {
                // The others have long gone on. What they sent since may be gone, too.
                self.made = self.furthest;
                self.ahead.clear();
                return Err(ReduceError::GivenUp);
            }
            let exchange = self.ahead.front();
            if let Some(exchange) = exchange {
                if exchange.sent.len() == self.place.workers {
                    let exchange = self.ahead.pop_front().unwrap_or_default();
                    return Ok(exchange.sent.into_values().collect());
                }
                match exchange.given_up {
                    Some(by) if by == self.place.rank => {
                        self.ahead.pop_front();
                        return Err(ReduceError::TimedOut { missing, within: self.timeout });
                    }
                    Some(_) => {
                        self.ahead.pop_front();
                        return Err(ReduceError::GivenUp);
                    }
                    None => {}
                }
            }
            let last = self.read(number, self.timeout)?;
            // Entries of other exchanges do not prolong the wait.
            let is_over = last.is_none_or(|last| last >= since.saturating_add(timeout).saturating_add(1));
            if is_over && !gave_up {
                gave_up = true;
                let came = |rank: &usize| self.ahead.front().is_some_and(|it| it.sent.contains_key(rank));
                missing = (0..self.place.workers).filter(|rank| !came(rank)).collect();
                self.send(number, None)?;
            }
        }
    }
}

impl Link for RedisLink {
    fn place(&self) -> Place {
        self.place
    }

    fn exchange(&mut self, sent: Vec<u8>) -> Result<Vec<Vec<u8>>, ReduceError> {
        let number = self.made;
        self.made += 1;
        let outcome = self.send(number, Some(&sent)).and_then(|since| self.wait(number, since));
        if let Err(ReduceError::Link(_)) = outcome {
            // What is there of this exchange is not looked at again.
            self.ahead.pop_front();
        }
        outcome
    }
}

impl fmt::Debug for RedisLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLink")
            .field("stream", &self.stream)
            .field("place", &self.place)
            .field("made", &self.made)
            .finish_non_exhaustive()
    }
}

impl From<RedisError> for ReduceError {
    fn from(error: RedisError) -> Self {
        Self::Link(error.to_string())
    }
}

/// The time in the id of an entry.
fn milliseconds(id: &str) -> Option<u64> {
    id.split('-').next()?.parse().ok()
}

struct Entry {
    id: String,
    exchange: u64,
    worker: usize,
    /// `None` if the exchange is given up.
    sent: Option<Vec<u8>>,
}

/// The entries of one stream. Those that no worker has written are left out.
fn entries(answer: Value) -> Option<Vec<Entry>> {
    if matches!(answer, Value::Nil) {
        return Some(Vec::new());
    }
    let Value::Array(streams) = answer else { return None };
    let Value::Array(stream) = streams.into_iter().next()? else { return None };
    let Value::Array(entries) = stream.into_iter().nth(1)? else { return None };
    let mut read = Vec::new();
    for entry in entries {
        let Value::Array(entry) = entry else { return None };
        let [Value::BulkString(id), Value::Array(fields)] = <[Value; 2]>::try_from(entry).ok()? else { return None };
        let id = String::from_utf8(id).ok()?;
        let entry = known(id.clone(), fields);
        read.push(entry.unwrap_or(Entry { id, exchange: 0, worker: usize::MAX, sent: None }));
    }
    Some(read)
}

fn known(id: String, fields: Vec<Value>) -> Option<Entry> {
    let fields: Vec<Vec<u8>> = fields
        .into_iter()
        .map(|field| if let Value::BulkString(bytes) = field { Some(bytes) } else { None })
        .collect::<Option<_>>()?;
    let [exchange_name, exchange, worker_name, worker, what, bytes] = <[Vec<u8>; 6]>::try_from(fields).ok()?;
    if exchange_name != b"exchange" || worker_name != b"worker" {
        return None;
    }
    let number = |bytes: Vec<u8>| String::from_utf8(bytes).ok()?.parse::<u64>().ok();
    let sent = match what.as_slice() {
        b"sent" => Some(bytes),
        b"given_up" => None,
        _ => return None,
    };
    Some(Entry { id, exchange: number(exchange)?, worker: usize::try_from(number(worker)?).ok()?, sent })
}
