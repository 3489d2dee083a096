//! The half of a bus that reads and acknowledges.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kasmina_leyline::Monotonic;
use kasmina_safety::Clock;
use redis::{Cmd, Value};

use super::{
    RedisSettings,
    claims::Claims,
    inbox::{Dead, Inbox},
    lanes::Refusals,
    link::{Broken, Link},
    reply::{self, Fields},
};
use crate::{
    Admitted, BrokerError, BusError, Counts, Delivery, DeliveryId, DropCause, EntryId, EntryKeys, Health, RawEntry,
    Stream, Subscription, admission::admit,
};

/// How long the thread sleeps if nobody wakes it: it looks at the injected clock as often.
const NAP: Duration = Duration::from_millis(20);

/// How many acknowledgements and dead letters go in one exchange, in batches.
const BATCHES: usize = 4;

/// The half of a bus that reads and acknowledges. [`run`](Self::run) is its thread; no lock is held while it talks to
/// the server.
pub(super) struct Consumer {
    pub(super) settings: Arc<RedisSettings>,
    keys: EntryKeys,
    pub(super) subscription: Subscription,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    work: Condvar,
    settled: Condvar,
    arrived: Condvar,
}

pub(super) struct State {
    pub(super) inbox: Inbox,
    pub(super) refusals: Refusals,
    dead_letters_refused: Option<BrokerError>,
    health: Health,
    /// The caller has taken or acknowledged something since the thread last looked.
    woken: bool,
    stop: bool,
}

/// What only the thread knows.
struct Session {
    link: Link,
    /// Streams whose group is known to be there.
    made: BTreeSet<Stream>,
    claims: Claims,
}

impl Consumer {
    pub(super) fn new(
        settings: Arc<RedisSettings>,
        keys: EntryKeys,
        subscription: Subscription,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let state = State {
            inbox: Inbox::default(),
            refusals: Refusals::new(settings.first_retry, settings.longest_retry),
            dead_letters_refused: None,
            health: Health::Down { since: clock.monotonic(), error: BrokerError::NotTried },
            woken: false,
            stop: false,
        };
        let (work, settled, arrived) = (Condvar::new(), Condvar::new(), Condvar::new());
        Self { settings, keys, subscription, clock, state: Mutex::new(state), work, settled, arrived }
    }

    pub(super) fn poll(&self, most: usize) -> Vec<Delivery> {
        let mut state = self.lock();
        let (now, wall) = (self.clock.monotonic(), self.clock.unix());
        let deliveries = state.inbox.poll(most, &self.settings.bus, now, wall);
        if !deliveries.is_empty() || state.inbox.outgoing() > 0 {
            state.woken = true;
            self.work.notify_one();
        }
        deliveries
    }

    /// Waits until there is something to poll; returns whether there is.
    pub(super) fn wait(&self, at_most: Duration) -> bool {
        let most = self.settings.bus.most_unacknowledged;
        let has_none = |state: &mut State| !state.inbox.has_some(most);
        let waited = self.arrived.wait_timeout_while(self.lock(), at_most, has_none);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    pub(super) fn acknowledge(&self, id: DeliveryId) -> Result<(), BusError> {
        if !self.subscription.includes(id) {
            return Err(BusError::OtherStream { stream: id.stream });
        }
        let mut state = self.lock();
        state.inbox.acknowledge(id)?;
        state.woken = true;
        self.work.notify_one();
        // Somebody may wait who had too much in hand.
        self.arrived.notify_all();
        Ok(())
    }

    /// Waits until the server knows all acknowledgements; returns how many it does not.
    pub(super) fn flush(&self, within: Duration) -> usize {
        let waits = |state: &mut State| state.inbox.outgoing() > 0;
        let waited = self.settled.wait_timeout_while(self.lock(), within, waits);
        waited.unwrap_or_else(PoisonError::into_inner).0.inbox.outgoing()
    }

    pub(super) fn state(&self) -> (Health, BTreeMap<Stream, BrokerError>, Option<BrokerError>, Counts) {
        let state = self.lock();
        let dead_letters = state.dead_letters_refused.clone();
        (state.health.clone(), state.refusals.all(), dead_letters, state.inbox.counts.clone())
    }

    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.work.notify_all();
    }

    pub(super) fn run(&self, link: Link) {
        let mut session = Session { link, made: BTreeSet::new(), claims: Claims::default() };
        loop {
            let now = self.clock.monotonic();
            if session.link.connect(now) {
                session.made.clear();
            }
            // What a broken exchange leaves to do is done after the next connection.
            let progress = if session.link.is_connected() { self.round(&mut session, now) } else { Ok(false) };
            let mut state = self.lock();
            state.health = session.link.health();
            state.inbox.counts.disconnected = session.link.lost();
            if !matches!(progress, Ok(true)) && !state.woken && !state.stop {
                state = self.work.wait_timeout(state, NAP).unwrap_or_else(PoisonError::into_inner).0;
            }
            state.woken = false;
            if state.stop {
                return;
            }
        }
    }

    /// One round: groups, claims, then acknowledgements and a read in one exchange. Returns whether anything came or
    /// went; if not, the server has been asked to hold a read for a while, unless there was nothing to read from.
    fn round(&self, session: &mut Session, now: Monotonic) -> Result<bool, Broken> {
        self.make_groups(session, now)?;
        let Session { link, made, claims } = session;
        let claimed = claims.run(self, link, made, now)?;
        let (acknowledgements, dead, room) = {
            let State { inbox, refusals, .. } = &mut *self.lock();
            let allowed = |stream| refusals.allow(stream, now);
            let (acknowledgements, dead) = inbox.take_outgoing(BATCHES * self.settings.batch, allowed);
            let room = inbox.room(self.settings.batch, self.settings.bus.most_unacknowledged);
            (acknowledgements, dead, room)
        };
        let went = !acknowledgements.is_empty() || !dead.is_empty();
        let open = if room > 0 { self.open(made, now) } else { Vec::new() };
        let grouped = by_stream(&acknowledgements);
        let mut commands: Vec<Cmd> = grouped.iter().map(|(stream, ids)| self.acknowledgement(*stream, ids)).collect();
        commands.extend(dead.iter().map(|dead| self.burial(dead)));
        commands.extend(open.iter().map(|stream| self.read(&[*stream], room, None)));
        let answers = link.exchange(&commands, now);
        let Ok(answers) = answers else {
            self.lock().inbox.sent(acknowledgements, dead);
            self.settled.notify_all();
            return Err(Broken);
        };
        let mut answers = answers.into_iter();
        self.settle(&grouped, &dead, &mut answers, now);
        let mut came = 0;
        for (stream, answer) in open.iter().zip(answers) {
            came += self.take(made, Some(*stream), answer, now);
        }
        if came == 0 && !went && !claimed && !open.is_empty() {
            let waiting = self.read(&open, room, Some(self.settings.block));
            for answer in link.exchange(&[waiting], now)? {
                self.take(made, None, answer, now);
            }
            return Ok(true);
        }
        Ok(came > 0 || went || claimed)
    }

    fn make_groups(&self, session: &mut Session, now: Monotonic) -> Result<(), Broken> {
        let missing: Vec<Stream> = {
            let state = self.lock();
            let streams = self.subscription.streams.iter().copied();
            streams.filter(|it| !session.made.contains(it) && state.refusals.allow(*it, now)).collect()
        };
        let wall = self.clock.unix();
        let commands: Vec<Cmd> = missing.iter().map(|stream| self.group(*stream, wall)).collect();
        let answers = session.link.exchange(&commands, now)?;
        let mut state = self.lock();
        for (stream, answer) in missing.into_iter().zip(&answers) {
            match reply::refusal(answer) {
                Some(error) if !reply::is_error(answer, "BUSYGROUP") => state.refusals.refused(stream, error, now),
                Some(_) | None => {
                    session.made.insert(stream);
                }
            }
        }
        Ok(())
    }

    /// The streams that may be read.
    pub(super) fn open(&self, made: &BTreeSet<Stream>, now: Monotonic) -> Vec<Stream> {
        let state = self.lock();
        made.iter().copied().filter(|stream| state.refusals.allow(*stream, now)).collect()
    }

    fn settle(
        &self,
        acknowledged: &[(Stream, Vec<EntryId>)],
        buried: &[Dead],
        answers: &mut impl Iterator<Item = Value>,
        now: Monotonic,
    ) {
        let mut state = self.lock();
        let mut back = Vec::new();
        for ((stream, ids), answer) in acknowledged.iter().zip(&mut *answers) {
            match reply::refusal(&answer) {
                // Without the group nothing is pending.
                None | Some(BrokerError::NoGroup) => {}
                Some(error) => {
                    state.refusals.refused(*stream, error, now);
                    back.extend(ids.iter().map(|entry| DeliveryId { stream: *stream, entry: *entry }));
                }
            }
        }
        for (dead, answer) in buried.iter().zip(&mut *answers) {
            match reply::refusal(&answer) {
                None => {
                    let moved = reply::count(&answer).unwrap_or(0);
                    state.inbox.counts.dead_lettered += moved;
                    state.inbox.counts.dropped(dead.cause, moved);
                    state.dead_letters_refused = None;
                }
                // The entry is still pending, and comes again once it has been idle for long enough.
                Some(error) => state.dead_letters_refused = Some(error),
            }
        }
        state.inbox.sent(back, Vec::new());
        drop(state);
        self.settled.notify_all();
    }

    /// Takes in what a read brought. Returns how many entries that were.
    fn take(&self, made: &mut BTreeSet<Stream>, stream: Option<Stream>, answer: Value, now: Monotonic) -> usize {
        if let Some(error) = reply::refusal(&answer) {
            match stream {
                Some(stream) if error == BrokerError::NoGroup => {
                    made.remove(&stream);
                }
                Some(stream) => self.lock().refusals.refused(stream, error, now),
                // One of several streams; each is asked on its own in the next round.
                None => {}
            }
            return 0;
        }
        let Some(streams) = reply::streams(answer) else {
            if let Some(stream) = stream {
                let detail = "XREADGROUP answered something else than streams".to_owned();
                self.lock().refusals.refused(stream, BrokerError::Unexpected { detail }, now);
            }
            return 0;
        };
        if let Some(stream) = stream {
            self.lock().refusals.accepted(stream);
        }
        let mut came = 0;
        for (name, listed) in streams {
            let stream = self.subscription.streams.iter().find(|stream| self.name(**stream).as_bytes() == name);
            if let (Some(stream), Some(entries)) = (stream, reply::entries(listed)) {
                came += entries.len();
                self.arrive(*stream, entries.into_iter().map(|(id, fields)| (id, fields, 1)).collect());
            }
        }
        came
    }

    /// Checks entries and puts them into the inbox, each with its attempt.
    pub(super) fn arrive(&self, stream: Stream, entries: Vec<(EntryId, Option<Fields>, u32)>) {
        let wall = self.clock.unix();
        let judge = |(id, fields, attempt): (EntryId, Option<Fields>, u32)| {
            let admitted = if attempt > self.settings.bus.most_deliveries {
                Err(DropCause::Exhausted)
            } else {
                fields
                    .ok_or(DropCause::Trimmed)
                    .and_then(|fields| admit(&RawEntry { stream, id, fields }, &self.keys, &self.settings.bus, wall))
            };
            (DeliveryId { stream, entry: id }, attempt, admitted)
        };
        let judged: Vec<(DeliveryId, u32, Result<Admitted, DropCause>)> = entries.into_iter().map(judge).collect();
        let mut state = self.lock();
        for (id, attempt, admitted) in judged {
            state.inbox.arrive(id, attempt, admitted);
        }
        drop(state);
        self.arrived.notify_all();
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Entries by their streams.
pub(super) fn by_stream(ids: &[DeliveryId]) -> Vec<(Stream, Vec<EntryId>)> {
    let mut streams: BTreeMap<Stream, Vec<EntryId>> = BTreeMap::new();
    for id in ids {
        streams.entry(id.stream).or_default().push(id.entry);
    }
    streams.into_iter().collect()
}
