//! What waits for the server.

use std::collections::VecDeque;

use kasmina_leyline::{
    Monotonic, UnixTime,
    v1::{BusEnvelope, MessagePriority},
};

use super::{RedisSettings, lanes::Refusals};
use crate::{Stream, Ticket, prepare::Prepared};

/// A message that waits for the server.
#[derive(Debug)]
pub(super) struct Waiting {
    /// None for a summary.
    pub(super) ticket: Option<Ticket>,
    pub(super) message_id: String,
    pub(super) lane: Stream,
    pub(super) envelope: BusEnvelope,
    pub(super) prepared: Prepared,
    pub(super) issued_at: UnixTime,
}

/// Bounded lanes, one a stream, each in the order of its publishes. What is in flight still counts, because it may come
/// back.
#[derive(Debug)]
pub(super) struct Queue {
    lanes: [VecDeque<Waiting>; Stream::ALL.len()],
    waiting: usize,
    bytes: usize,
    stored: Stored,
    /// The lane that is served first after the emergency lane.
    turn: usize,
}

/// Which publishes the server has stored: all before `next`, and those that are marked.
#[derive(Debug, Default)]
struct Stored {
    through: u64,
    beyond: VecDeque<bool>,
}

impl Queue {
    pub(super) fn new() -> Self {
        let lanes = std::array::from_fn(|_| VecDeque::new());
        Self { lanes, waiting: 0, bytes: 0, stored: Stored::default(), turn: 1 }
    }

    pub(super) fn has_room(&self, prepared: Prepared, settings: &RedisSettings) -> bool {
        let critical = prepared.priority == MessagePriority::Critical;
        let reserve = if critical { settings.critical_reserve } else { 0 };
        let reserve_bytes = if critical { settings.queue_bytes / 8 } else { 0 };
        self.waiting < settings.queue.saturating_add(reserve)
            && self.bytes.saturating_add(prepared.bytes) <= settings.queue_bytes.saturating_add(reserve_bytes)
    }

    /// Messages and bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.waiting, self.bytes)
    }

    pub(super) fn stored_through(&self) -> Ticket {
        Ticket(self.stored.through)
    }

    pub(super) fn push(&mut self, waiting: Waiting) {
        self.waiting += 1;
        self.bytes += waiting.prepared.bytes;
        self.lanes[waiting.lane.index()].push_back(waiting);
    }

    /// The next batch: emergencies first, then the other lanes in turn, without those that the server refuses.
    pub(super) fn take(&mut self, most: usize, refusals: &Refusals, now: Monotonic) -> Vec<Waiting> {
        let mut batch = Vec::new();
        if refusals.allow(Stream::Emergency, now) {
            let lane = &mut self.lanes[Stream::Emergency.index()];
            batch.extend(lane.drain(..lane.len().min(most)));
        }
        let mut idle = 0;
        while batch.len() < most && idle < Stream::ALL.len() - 1 {
            let lane = &mut self.lanes[self.turn];
            let next = if refusals.allow(Stream::ALL[self.turn], now) { lane.pop_front() } else { None };
            idle = if next.is_some() { 0 } else { idle + 1 };
            batch.extend(next);
            self.turn = self.turn % (Stream::ALL.len() - 1) + 1;
        }
        batch
    }

    /// The server has stored it.
    pub(super) fn stored(&mut self, waiting: &Waiting) {
        self.waiting -= 1;
        self.bytes -= waiting.prepared.bytes;
        if let Some(ticket) = waiting.ticket {
            self.stored.mark(ticket.0);
        }
    }

    /// Back to the heads of their lanes, in the order in which they were taken.
    pub(super) fn put_back(&mut self, batch: Vec<Waiting>) {
        for waiting in batch.into_iter().rev() {
            self.lanes[waiting.lane.index()].push_front(waiting);
        }
    }
}

impl Stored {
    fn mark(&mut self, ticket: u64) {
        let at = (ticket - self.through - 1) as usize;
        if self.beyond.len() <= at {
            self.beyond.resize(at + 1, false);
        }
        self.beyond[at] = true;
        while self.beyond.front() == Some(&true) {
            self.beyond.pop_front();
            self.through += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::BrokerError;

    const NOW: Monotonic = Monotonic::ORIGIN;

    fn queue(lanes: &[Stream]) -> Queue {
        let mut queue = Queue::new();
        for (ticket, lane) in (1..).zip(lanes) {
            queue.push(Waiting {
                ticket: Some(Ticket(ticket)),
                message_id: String::new(),
                lane: *lane,
                envelope: BusEnvelope::default(),
                prepared: Prepared { home: *lane, priority: MessagePriority::Normal, bytes: 1 },
                issued_at: UnixTime::default(),
            });
        }
        queue
    }

    fn tickets(batch: &[Waiting]) -> Vec<u64> {
        batch.iter().filter_map(|waiting| waiting.ticket).map(Ticket::number).collect()
    }

    #[test]
    fn emergencies_go_first_then_the_lanes_in_turn() {
        use Stream::{Emergency, Normal, Telemetry};
        let mut queue = queue(&[Telemetry, Telemetry, Telemetry, Normal, Normal, Emergency]);
        let mut refusals = Refusals::new(Duration::from_secs(1), Duration::from_secs(1));
        let batch = queue.take(4, &refusals, NOW);
        assert_eq!(tickets(&batch), [6, 4, 1, 5]);
        queue.put_back(batch);
        refusals.refused(Normal, BrokerError::ReadOnly, NOW);
        let batch = queue.take(64, &refusals, NOW);
        assert_eq!(tickets(&batch), [6, 1, 2, 3], "without the lane that is refused");
        batch.iter().for_each(|waiting| queue.stored(waiting));
        assert_eq!((queue.size(), queue.stored_through().number()), ((2, 2), 3));
        assert_eq!(tickets(&queue.take(64, &refusals, NOW.after(Duration::from_secs(1)))), [4, 5], "it is tried again");
    }

    #[test]
    fn the_watermark_stops_at_the_first_gap() {
        let mut stored = Stored::default();
        for (ticket, through) in [(2, 0), (3, 0), (1, 3), (5, 3), (4, 5), (6, 6)] {
            stored.mark(ticket);
            assert_eq!(stored.through, through, "after {ticket}");
        }
    }
}
