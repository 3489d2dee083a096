//! One publisher and subscriber of streams in the process.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError},
    time::Duration,
};

use kasmina_leyline::{
    UnixTime,
    v1::{BusEnvelope, MessagePriority},
};

use super::{
    log::Taken,
    shared::{DeadLetter, Shared, Streams},
};
use crate::{
    Admitted, Bus, BusError, BusSettings, Counts, Delivery, DeliveryId, DropCause, Health, Message, PublishError,
    Refused, Stamp, Status, Stream, Subscription, Ticket, Unflushed,
    admission::judge,
    prepare::{Prepared, overflows, prepare},
    rate::{EmergencyRate, Summary},
    sync::{Mutex, MutexGuard},
};

/// One publisher and subscriber of a [`LocalBroker`](crate::LocalBroker).
pub struct LocalBus {
    shared: Arc<Shared>,
    subscription: Option<Subscription>,
    own: Mutex<Own>,
}

struct Own {
    number: u64,
    last: Ticket,
    rate: EmergencyRate,
    counts: Counts,
}

impl LocalBus {
    pub(super) fn new(shared: Arc<Shared>, subscription: Option<Subscription>) -> Self {
        let number = {
            let mut streams = shared.lock();
            streams.buses += 1;
            streams.buses
        };
        let rate = EmergencyRate::new(shared.settings.emergency_per_minute);
        let own = Own { number, last: Ticket::NONE, rate, counts: Counts::default() };
        Self { shared, subscription, own: Mutex::new(own) }
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message into the first of these streams that has room.
    fn store(&self, own: &mut Own, stamped: BusEnvelope, prepared: Prepared, to: &[Stream]) -> Option<Stream> {
        let settings = &self.shared.settings;
        let mut streams = self.shared.lock();
        let now = self.shared.clock.unix();
        let critical = prepared.priority == MessagePriority::Critical;
        for stream in to {
            let log = &mut streams.logs[stream.index()];
            own.counts.dropped(DropCause::Trimmed, log.make_room(settings, prepared.bytes));
            if log.has_room(settings, prepared.bytes) {
                log.push(stamped, prepared.bytes, critical, now);
                own.counts.stored += 1;
                self.shared.changed.notify_all();
                return Some(*stream);
            }
        }
        None
    }

    fn stamp(&self, own: &Own, number: &str, priority: MessagePriority, envelope: &BusEnvelope) -> BusEnvelope {
        let now = self.shared.clock.unix();
        let message_id = Some(format!("local-{}-{number}", own.number));
        let stamp = Stamp { issued_at: Some(now), sent_at: Some(now), message_id, priority: Some(priority) };
        let mut envelope = envelope.clone();
        stamp.write(&mut envelope);
        envelope
    }

    /// A summary is worth nothing to wait for: if it finds no room, the messages are still where they are.
    fn summarise(&self, own: &mut Own, summary: &Summary) {
        let settings = &self.shared.settings;
        let message = summary.message(settings.emergency_per_minute, self.shared.clock.unix());
        if let Ok(prepared) = prepare(&message, settings) {
            let number = format!("summary-{}", own.counts.stored);
            let stamped = self.stamp(own, &number, prepared.priority, &message.envelope);
            self.store(own, stamped, prepared, &[Stream::Emergency]);
        }
    }

    fn destinations(&self, own: &mut Own, prepared: Prepared) -> Vec<Stream> {
        let (home, now) = (prepared.home, self.shared.clock.monotonic());
        if prepared.priority == MessagePriority::Critical {
            let route = own.rate.route(home, now);
            if let Some(summary) = &route.summary {
                self.summarise(own, summary);
            }
            return vec![route.stream, home];
        }
        let streams = self.shared.lock();
        let backlog = |stream: Stream| streams.logs[stream.index()].backlog();
        let threshold = self.shared.settings.overflow_backlog;
        let overflow = home == Stream::Normal
            && overflows(prepared.priority, backlog(Stream::Normal), backlog(Stream::Emergency), threshold);
        if overflow { vec![Stream::Emergency, home] } else { vec![home] }
    }

    fn subscription(&self, id: Option<DeliveryId>) -> Result<&Subscription, BusError> {
        let subscription = self.subscription.as_ref().ok_or(BusError::NotSubscribed)?;
        match id {
            Some(id) if !subscription.includes(id) => Err(BusError::OtherStream { stream: id.stream }),
            Some(_) | None => Ok(subscription),
        }
    }
}

impl Bus for LocalBus {
    fn publish(&self, message: Message) -> Result<Ticket, Refused> {
        let settings = &self.shared.settings;
        let prepared = match prepare(&message, settings) {
            Ok(prepared) => prepared,
            Err(cause) => return Err(Refused { message: Box::new(message), cause }),
        };
        let own = &mut *self.own();
        let ticket = Ticket(own.last.0 + 1);
        let stamped = self.stamp(own, &ticket.0.to_string(), prepared.priority, &message.envelope);
        let destinations = self.destinations(own, prepared);
        let Some(stream) = self.store(own, stamped, prepared, &destinations) else {
            let (waiting, bytes) = self.shared.lock().logs[prepared.home.index()].size();
            return Err(Refused { message: Box::new(message), cause: PublishError::Full { waiting, bytes } });
        };
        own.last = ticket;
        own.counts.published += 1;
        let critical = prepared.priority == MessagePriority::Critical;
        own.counts.critical_overflow += u64::from(critical && stream != Stream::Emergency);
        own.counts.normal_overflow += u64::from(!critical && stream == Stream::Emergency);
        Ok(ticket)
    }

    fn poll(&self, most: usize) -> Result<Vec<Delivery>, BusError> {
        let subscription = self.subscription(None)?;
        let own = &mut *self.own();
        if let Some(ended) = own.rate.end(self.shared.clock.monotonic()) {
            self.summarise(own, &ended);
        }
        let settings = &self.shared.settings;
        let (now, wall) = (self.shared.clock.monotonic(), self.shared.clock.unix());
        let mut streams = self.shared.lock();
        let mut deliveries = Vec::new();
        for stream in &subscription.streams {
            let wanted = most - deliveries.len();
            let held: usize = streams.logs.iter().map(|log| log.held_by(subscription)).sum();
            let room = settings.most_unacknowledged.saturating_sub(held);
            let taken = streams.logs[stream.index()].take(subscription, wanted, room, settings, now);
            for taken in taken {
                settle(taken, *stream, subscription, settings, wall, &mut streams, own, &mut deliveries);
            }
        }
        deliveries.sort_by_key(|delivery| delivery.priority != MessagePriority::Critical);
        own.counts.delivered += deliveries.len() as u64;
        own.counts.redelivered += deliveries.iter().filter(|delivery| delivery.attempt > 1).count() as u64;
        Ok(deliveries)
    }

    /// What comes again because nobody has acknowledged it does not end the wait.
    fn wait(&self, at_most: Duration) -> bool {
        let Some(subscription) = &self.subscription else { return false };
        let most = self.shared.settings.most_unacknowledged;
        let has_none = |streams: &mut Streams| {
            let logs = &streams.logs;
            let held: usize = logs.iter().map(|log| log.held_by(subscription)).sum();
            let has_new = |stream: &Stream| logs[stream.index()].has_new(&subscription.group);
            held >= most || !subscription.streams.iter().any(has_new)
        };
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), at_most, has_none);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn acknowledge(&self, id: DeliveryId) -> Result<(), BusError> {
        let subscription = self.subscription(Some(id))?;
        let own = &mut *self.own();
        let was_pending = self.shared.lock().logs[id.stream.index()].acknowledge(&subscription.group, id.entry);
        own.counts.acknowledged += u64::from(was_pending);
        // Somebody may wait who had too much in hand.
        self.shared.changed.notify_all();
        Ok(())
    }

    fn flush(&self, _: Duration) -> Result<(), Unflushed> {
        Ok(())
    }

    fn status(&self) -> Status {
        let own = self.own();
        Status {
            health: Health::Connected,
            stored_through: own.last,
            waiting: 0,
            refusing: BTreeMap::new(),
            dead_letters_refused: None,
            counts: own.counts.clone(),
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "one step of a poll, which has all of them at hand")]
fn settle(
    taken: Taken,
    stream: Stream,
    subscription: &Subscription,
    settings: &BusSettings,
    wall: UnixTime,
    streams: &mut Streams,
    own: &mut Own,
    deliveries: &mut Vec<Delivery>,
) {
    let Taken { entry, stored_at, envelope, attempt, exhausted } = taken;
    let id = DeliveryId { stream, entry };
    let judged =
        if exhausted { Err(DropCause::Exhausted) } else { judge(envelope.clone(), stream, stored_at, settings, wall) };
    match judged {
        Ok(Admitted { envelope, message_type, priority, .. }) => {
            deliveries.push(Delivery { id, message_type, envelope, priority, attempt });
        }
        Err(cause) => {
            streams.logs[stream.index()].acknowledge(&subscription.group, entry);
            own.counts.dropped(cause, 1);
            own.counts.dead_lettered += 1;
            let group = subscription.group.clone();
            let deliveries = attempt - u32::from(!exhausted);
            streams.dead.push_back(DeadLetter { id, group, cause, deliveries, envelope });
            while streams.dead.len() > settings.stream_capacity {
                streams.dead.pop_front();
            }
        }
    }
}

impl fmt::Debug for LocalBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalBus").field("subscription", &self.subscription).finish_non_exhaustive()
    }
}
