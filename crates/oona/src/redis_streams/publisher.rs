//! The half of a bus that writes.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kasmina_leyline::{Monotonic, v1::MessagePriority};
use kasmina_safety::Clock;
use prost::Message as _;
use redis::{Cmd, cmd};

use super::{
    RedisSettings,
    backlog::{self, Backlogs},
    lanes::Refusals,
    link::Link,
    queue::{Queue, Waiting},
    reply,
};
use crate::{
    BrokerError, Counts, EntryKeys, Health, Message, PublishError, Refused, Stamp, Status, Stream, Ticket,
    prepare::{Prepared, overflows, prepare},
    rate::{EmergencyRate, Summary},
};

/// How long the thread sleeps if nobody wakes it: it looks at the injected clock as often.
const NAP: Duration = Duration::from_millis(20);

/// The half of a bus that writes. [`run`](Self::run) is its thread; no lock is held while it talks to the server.
pub(super) struct Publisher {
    settings: Arc<RedisSettings>,
    keys: EntryKeys,
    clock: Arc<dyn Clock>,
    /// Begins every `message_id`. Drawn anew for every bus, whatever seeds the rest: two buses must not share it.
    instance: u64,
    state: Mutex<State>,
    work: Condvar,
    settled: Condvar,
}

struct State {
    queue: Queue,
    refusals: Refusals,
    rate: EmergencyRate,
    health: Health,
    counts: Counts,
    last: Ticket,
    /// Of messages and summaries.
    messages: u64,
    stop: bool,
}

impl Publisher {
    pub(super) fn new(settings: Arc<RedisSettings>, keys: EntryKeys, clock: Arc<dyn Clock>) -> Self {
        let state = State {
            queue: Queue::new(),
            refusals: Refusals::new(settings.first_retry, settings.longest_retry),
            rate: EmergencyRate::new(settings.bus.emergency_per_minute),
            health: Health::Down { since: clock.monotonic(), error: BrokerError::NotTried },
            counts: Counts::default(),
            last: Ticket::NONE,
            messages: 0,
            stop: false,
        };
        let (work, settled) = (Condvar::new(), Condvar::new());
        Self { settings, keys, clock, instance: fastrand::u64(..), state: Mutex::new(state), work, settled }
    }

    pub(super) fn publish(&self, message: Message) -> Result<Ticket, Refused> {
        let prepared = match prepare(&message, &self.settings.bus) {
            Ok(prepared) => prepared,
            Err(cause) => return Err(Refused { message: Box::new(message), cause }),
        };
        let state = &mut *self.lock();
        if !state.queue.has_room(prepared, &self.settings) {
            let (waiting, bytes) = state.queue.size();
            return Err(Refused { message: Box::new(message), cause: PublishError::Full { waiting, bytes } });
        }
        let mut lane = prepared.home;
        if prepared.priority == MessagePriority::Critical {
            let route = state.rate.route(prepared.home, self.clock.monotonic());
            self.summarise(state, route.summary);
            state.counts.critical_overflow += u64::from(route.stream != Stream::Emergency);
            lane = route.stream;
        }
        state.last = Ticket(state.last.0 + 1);
        state.counts.published += 1;
        let ticket = state.last;
        self.enqueue(state, Some(ticket), lane, message, prepared);
        self.work.notify_one();
        Ok(ticket)
    }

    /// Waits until nothing waits; returns how many messages still do.
    pub(super) fn flush(&self, within: Duration) -> usize {
        let waits = |state: &mut State| state.queue.size().0 > 0;
        let waited = self.settled.wait_timeout_while(self.lock(), within, waits);
        waited.unwrap_or_else(PoisonError::into_inner).0.queue.size().0
    }

    pub(super) fn status(&self) -> Status {
        let state = self.lock();
        Status {
            health: state.health.clone(),
            stored_through: state.queue.stored_through(),
            waiting: state.queue.size().0,
            refusing: state.refusals.all(),
            dead_letters_refused: None,
            counts: state.counts.clone(),
        }
    }

    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.work.notify_all();
    }

    pub(super) fn run(&self, mut link: Link) {
        let mut backlogs = Backlogs::default();
        let mut probed: Option<Monotonic> = None;
        loop {
            let now = self.clock.monotonic();
            if link.connect(now) {
                probed = None;
            }
            if link.is_connected() && probed.is_none_or(|at| now.since(at) >= self.settings.probe_every) {
                probed = Some(now);
                let questions = backlog::questions(&self.settings.bus.streams);
                if let Ok(answers) = link.exchange(&questions, now) {
                    backlogs = backlog::read(answers);
                }
            }
            let Some(batch) = self.next(&link, now) else { return };
            if !batch.is_empty() {
                self.send(&mut link, batch, &mut backlogs, now);
            }
        }
    }

    /// The next batch, empty after a nap without one; none when the bus is dropped.
    fn next(&self, link: &Link, now: Monotonic) -> Option<Vec<Waiting>> {
        let mut state = self.lock();
        state.health = link.health();
        state.counts.disconnected = link.lost();
        let ended = state.rate.end(now);
        self.summarise(&mut state, ended);
        let mut batch = Vec::new();
        if link.is_connected() && !state.stop {
            let State { queue, refusals, .. } = &mut *state;
            batch = queue.take(self.settings.batch, refusals, now);
        }
        if batch.is_empty() && !state.stop {
            state = self.work.wait_timeout(state, NAP).unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.stop { None } else { Some(batch) }
    }

    fn send(&self, link: &mut Link, mut batch: Vec<Waiting>, backlogs: &mut Backlogs, now: Monotonic) {
        let targets: Vec<Stream> = batch.iter().map(|waiting| self.target(waiting, *backlogs, now)).collect();
        let commands: Vec<Cmd> =
            batch.iter_mut().zip(&targets).map(|(waiting, target)| self.command(waiting, *target)).collect();
        let answers = link.exchange(&commands, now);
        let state = &mut *self.lock();
        let Ok(answers) = answers else {
            state.queue.put_back(batch);
            return;
        };
        let mut refused = Vec::new();
        for ((waiting, target), answer) in batch.into_iter().zip(targets).zip(&answers) {
            if let Some(error) = reply::refusal(answer) {
                state.refusals.refused(waiting.lane, error, now);
                refused.push(waiting);
                continue;
            }
            state.refusals.accepted(waiting.lane);
            state.queue.stored(&waiting);
            state.counts.stored += 1;
            state.counts.normal_overflow += u64::from(target != waiting.lane);
            backlogs.normal += u64::from(target == Stream::Normal);
            backlogs.emergency += u64::from(target == Stream::Emergency);
        }
        state.queue.put_back(refused);
        self.settled.notify_all();
    }

    fn target(&self, waiting: &Waiting, backlogs: Backlogs, now: Monotonic) -> Stream {
        let (priority, threshold) = (waiting.prepared.priority, self.settings.bus.overflow_backlog);
        let overflow = waiting.lane == Stream::Normal
            && overflows(priority, backlogs.normal, backlogs.emergency, threshold)
            && self.lock().refusals.allow(Stream::Emergency, now);
        if overflow { Stream::Emergency } else { waiting.lane }
    }

    /// Stamps, encodes and signs. An entry that waited long for the server is fresh all the same: it says when it was
    /// sent.
    fn command(&self, waiting: &mut Waiting, target: Stream) -> Cmd {
        let stamp = Stamp {
            issued_at: Some(waiting.issued_at),
            sent_at: Some(self.clock.unix()),
            message_id: Some(waiting.message_id.clone()),
            priority: Some(waiting.prepared.priority),
        };
        stamp.write(&mut waiting.envelope);
        let payload = waiting.envelope.encode_to_vec();
        let bus = &self.settings.bus;
        let mut command = cmd("XADD");
        command.arg(bus.streams.of(target)).arg("MAXLEN").arg("~").arg(bus.stream_capacity).arg("*");
        let signature = self.keys.sign(&payload);
        command.arg("payload").arg(payload);
        if let Some(signature) = signature {
            command.arg("signature").arg(signature);
        }
        command
    }

    fn summarise(&self, state: &mut State, summary: Option<Summary>) {
        let Some(summary) = summary else { return };
        let message = summary.message(self.settings.bus.emergency_per_minute, self.clock.unix());
        // It is larger than the limit only if that is too small for any packet.
        if let Ok(prepared) = prepare(&message, &self.settings.bus) {
            self.enqueue(state, None, Stream::Emergency, message, prepared);
        }
    }

    fn enqueue(&self, state: &mut State, ticket: Option<Ticket>, lane: Stream, message: Message, prepared: Prepared) {
        state.messages += 1;
        let message_id = format!("{:016x}-{}", self.instance, state.messages);
        let issued_at = self.clock.unix();
        state.queue.push(Waiting { ticket, message_id, lane, envelope: message.envelope, prepared, issued_at });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
