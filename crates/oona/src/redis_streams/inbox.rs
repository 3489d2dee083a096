//! What has come from the server, and what goes back.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use kasmina_leyline::{Monotonic, UnixTime, v1::MessagePriority};

use super::seen::Seen;
use crate::{Admitted, BusError, BusSettings, Counts, Delivery, DeliveryId, DropCause, Stream};

/// How many acknowledgements wait at most, 64 times what is handed out by default.
const MOST_ACKNOWLEDGEMENTS: usize = 65_536;

/// How many batches may wait for `poll`, so that the caller and the server work at the same time.
const BATCHES_AHEAD: usize = 4;

/// Entries on their way to the caller, and acknowledgements on their way back.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    urgent: VecDeque<Delivery>,
    ordinary: VecDeque<Delivery>,
    /// When these two were issued.
    waiting: BTreeMap<DeliveryId, UnixTime>,
    /// Handed out, and when.
    held: BTreeMap<DeliveryId, Monotonic>,
    seen: Seen,
    acknowledgements: BTreeSet<DeliveryId>,
    dead: Vec<Dead>,
    /// Acknowledgements and dead letters that the thread has taken out to send.
    sending: usize,
    pub(super) counts: Counts,
}

/// An entry that goes to the dead letters.
#[derive(Clone, Debug)]
pub(super) struct Dead {
    pub(super) id: DeliveryId,
    pub(super) cause: DropCause,
    pub(super) deliveries: u32,
}

impl Inbox {
    /// Puts an entry where it belongs.
    pub(super) fn arrive(&mut self, id: DeliveryId, attempt: u32, admitted: Result<Admitted, DropCause>) {
        if self.waiting.contains_key(&id) || self.acknowledgements.contains(&id) {
            return;
        }
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(cause) => return self.drop_entry(id, cause, attempt),
        };
        if self.seen.is_duplicate(id, admitted.stamp.message_id.as_deref()) {
            return self.drop_entry(id, DropCause::Duplicate, attempt);
        }
        let Admitted { envelope, message_type, priority, stamp, issued_at } = admitted;
        let first = attempt == 1;
        self.counts.unstamped += u64::from(first && stamp.issued_at.or(stamp.sent_at).is_none());
        self.waiting.insert(id, issued_at);
        let delivery = Delivery { id, message_type, envelope, priority, attempt };
        let urgent = priority == MessagePriority::Critical;
        if urgent { self.urgent.push_back(delivery) } else { self.ordinary.push_back(delivery) }
    }

    fn drop_entry(&mut self, id: DeliveryId, cause: DropCause, attempt: u32) {
        if cause.is_kept() {
            let deliveries = attempt.saturating_sub(1);
            self.dead.push(Dead { id, cause, deliveries });
        } else {
            self.counts.dropped(cause, 1);
            self.acknowledgements.insert(id);
        }
        self.held.remove(&id);
    }

    pub(super) fn poll(&mut self, most: usize, bus: &BusSettings, now: Monotonic, wall: UnixTime) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        while deliveries.len() < most && self.held.len() < bus.most_unacknowledged {
            let Some(delivery) = self.urgent.pop_front().or_else(|| self.ordinary.pop_front()) else { break };
            let issued_at = self.waiting.remove(&delivery.id);
            // It was young enough when it came.
            if issued_at.is_some_and(|at| wall.since(at) > bus.time_to_live) {
                self.drop_entry(delivery.id, DropCause::Expired, delivery.attempt);
                continue;
            }
            self.held.insert(delivery.id, now);
            self.counts.delivered += 1;
            self.counts.redelivered += u64::from(delivery.attempt > 1);
            deliveries.push(delivery);
        }
        deliveries
    }

    /// Whether `poll` has something to hand out.
    pub(super) fn has_some(&self, most_unacknowledged: usize) -> bool {
        !self.waiting.is_empty() && self.held.len() < most_unacknowledged
    }

    pub(super) fn acknowledge(&mut self, id: DeliveryId) -> Result<(), BusError> {
        let waiting = self.acknowledgements.len();
        if waiting >= MOST_ACKNOWLEDGEMENTS {
            return Err(BusError::Full { waiting });
        }
        self.counts.acknowledged += u64::from(self.held.remove(&id).is_some());
        self.seen.acknowledged(id);
        self.acknowledgements.insert(id);
        self.forget(&BTreeSet::from([id]));
        Ok(())
    }

    /// How many more entries may be read.
    pub(super) fn room(&self, batch: usize, most_unacknowledged: usize) -> usize {
        let unacknowledged = most_unacknowledged.saturating_sub(self.held.len() + self.waiting.len());
        if self.waiting.len() < BATCHES_AHEAD * batch { batch.min(unacknowledged) } else { 0 }
    }

    /// What the server has to be told: acknowledgements and dead letters.
    pub(super) fn take_outgoing(
        &mut self,
        most: usize,
        allowed: impl Fn(Stream) -> bool,
    ) -> (Vec<DeliveryId>, Vec<Dead>) {
        let allowed = self.acknowledgements.iter().filter(|id| allowed(id.stream));
        let acknowledgements: Vec<_> = allowed.take(most).copied().collect();
        for id in &acknowledgements {
            self.acknowledgements.remove(id);
        }
        let dead: Vec<_> = self.dead.drain(..self.dead.len().min(most)).collect();
        self.sending = acknowledgements.len() + dead.len();
        (acknowledgements, dead)
    }

    /// What was taken out is done, but for what comes back.
    pub(super) fn sent(&mut self, acknowledgements: Vec<DeliveryId>, dead: Vec<Dead>) {
        self.sending = 0;
        self.acknowledgements.extend(acknowledgements);
        self.dead.extend(dead);
    }

    /// What the server has not been told.
    pub(super) fn outgoing(&self) -> usize {
        self.acknowledgements.len() + self.dead.len() + self.sending
    }

    /// Entries that wait for `poll`.
    pub(super) fn waiting(&self) -> Vec<DeliveryId> {
        self.waiting.keys().copied().collect()
    }

    /// Entries that somebody else has settled.
    pub(super) fn forget(&mut self, gone: &BTreeSet<DeliveryId>) {
        if !gone.iter().any(|id| self.waiting.contains_key(id)) {
            return;
        }
        self.waiting.retain(|id, _| !gone.contains(id));
        self.urgent.retain(|delivery| !gone.contains(&delivery.id));
        self.ordinary.retain(|delivery| !gone.contains(&delivery.id));
    }

    /// Entries that were handed out so long ago that they were claimed again, by this consumer or another.
    pub(super) fn give_up(&mut self, after: Duration, now: Monotonic) {
        self.held.retain(|_, at| now.since(*at) < after);
    }
}
