//! One stream in memory, and what its groups have had of it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use kasmina_leyline::{Monotonic, UnixTime, v1::BusEnvelope};

use crate::{BusSettings, EntryId, Subscription};

/// One stream in memory, oldest entry first.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: VecDeque<Entry>,
    bytes: usize,
    last: Option<EntryId>,
    groups: BTreeMap<String, Group>,
}

#[derive(Debug)]
struct Entry {
    id: EntryId,
    /// Earlier than its id says, if the clock was set back.
    stored_at: UnixTime,
    envelope: BusEnvelope,
    bytes: usize,
    critical: bool,
}

#[derive(Debug, Default)]
struct Group {
    /// The newest entry that some consumer got, or that was too old when the group began.
    read: Option<EntryId>,
    pending: BTreeMap<EntryId, Pending>,
    /// The same, by the time of the last delivery.
    by_time: BTreeSet<(Monotonic, EntryId)>,
    held: BTreeMap<String, usize>,
}

#[derive(Debug)]
struct Pending {
    consumer: String,
    delivered_at: Monotonic,
    deliveries: u32,
}

/// An entry for a consumer.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) entry: EntryId,
    pub(super) stored_at: UnixTime,
    pub(super) envelope: BusEnvelope,
    pub(super) attempt: u32,
    /// It was delivered as often as is allowed.
    pub(super) exhausted: bool,
}

impl Log {
    /// A new group begins with the first entry that was stored at this time or later.
    pub(super) fn join(&mut self, group: &str, since: UnixTime) {
        if !self.groups.contains_key(group) {
            let older = self.entries.iter().take_while(|entry| entry.stored_at < since);
            let read = older.last().map(|entry| entry.id);
            self.groups.insert(group.to_owned(), Group { read, ..Group::default() });
        }
    }

    pub(super) fn has_room(&self, settings: &BusSettings, bytes: usize) -> bool {
        self.entries.len() < settings.stream_capacity && self.bytes.saturating_add(bytes) <= settings.stream_bytes
    }

    /// Removes the oldest entries as long as there is no room and nobody needs them. Returns how many nobody has had.
    pub(super) fn make_room(&mut self, settings: &BusSettings, bytes: usize) -> u64 {
        let mut unread = 0;
        while !self.has_room(settings, bytes) {
            let Some(oldest) = self.entries.front() else { break };
            let needed = if self.groups.is_empty() {
                oldest.critical
            } else {
                self.groups.values().any(|group| group.needs(oldest.id))
            };
            if needed {
                break;
            }
            unread += u64::from(self.groups.is_empty());
            self.bytes -= oldest.bytes;
            self.entries.pop_front();
        }
        unread
    }

    pub(super) fn push(&mut self, envelope: BusEnvelope, bytes: usize, critical: bool, now: UnixTime) {
        let millis = u64::try_from(now.as_nanos() / 1_000_000).unwrap_or(0);
        let id = match self.last {
            Some(last) if last.millis >= millis => EntryId { sequence: last.sequence + 1, ..last },
            Some(_) | None => EntryId { millis, sequence: 0 },
        };
        self.last = Some(id);
        self.bytes += bytes;
        self.entries.push_back(Entry { id, stored_at: now, envelope, bytes, critical });
    }

    /// Entries and bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }

    /// How many entries wait for the slowest group, or are in its hands.
    pub(super) fn backlog(&self) -> u64 {
        let waiting = |group: &Group| self.entries.len() - self.after(group.read) + group.pending.len();
        self.groups.values().map(waiting).max().unwrap_or(0) as u64
    }

    /// At most `most` entries for a consumer, of which `room` are not in its hands already: first those that another
    /// one has had for too long, then new ones. Exhausted ones come on top.
    pub(super) fn take(
        &mut self,
        subscription: &Subscription,
        most: usize,
        mut room: usize,
        settings: &BusSettings,
        now: Monotonic,
    ) -> Vec<Taken> {
        let Some(mut group) = self.groups.remove(&subscription.group) else { return Vec::new() };
        let mut taken = Vec::new();
        let mut fresh = 0;
        for id in group.idle(settings.claim_after, now) {
            let Some(entry) = self.entries.get(self.index(id)).filter(|entry| entry.id == id) else { continue };
            let Some(deliveries) = group.pending.get(&id).map(|pending| pending.deliveries) else { continue };
            let exhausted = deliveries >= settings.most_deliveries;
            let is_own = group.pending.get(&id).is_some_and(|pending| pending.consumer == subscription.consumer);
            if !exhausted && (fresh >= most || (room == 0 && !is_own)) {
                continue;
            }
            let attempt = if exhausted { deliveries } else { deliveries + 1 };
            fresh += usize::from(!exhausted);
            // An entry that is given up makes room, if it was in the hands of this consumer.
            room = room + usize::from(exhausted && is_own) - usize::from(!exhausted && !is_own);
            if exhausted {
                group.release(id);
            } else {
                group.hand_out(id, &subscription.consumer, attempt, now);
            }
            let (envelope, stored_at) = (entry.envelope.clone(), entry.stored_at);
            taken.push(Taken { entry: id, stored_at, envelope, attempt, exhausted });
        }
        let new = self.entries.range(self.after(group.read)..).take(most.saturating_sub(fresh).min(room));
        for Entry { id, stored_at, envelope, .. } in new {
            group.read = Some(*id);
            group.hand_out(*id, &subscription.consumer, 1, now);
            let (stored_at, envelope) = (*stored_at, envelope.clone());
            taken.push(Taken { entry: *id, stored_at, envelope, attempt: 1, exhausted: false });
        }
        self.groups.insert(subscription.group.clone(), group);
        taken
    }

    /// Whether there are entries that no consumer of a group has had.
    pub(super) fn has_new(&self, group: &str) -> bool {
        self.groups.get(group).is_some_and(|group| self.after(group.read) < self.entries.len())
    }

    /// How many entries a consumer has in its hands.
    pub(super) fn held_by(&self, subscription: &Subscription) -> usize {
        let group = self.groups.get(&subscription.group);
        group.and_then(|group| group.held.get(&subscription.consumer)).copied().unwrap_or(0)
    }

    /// Whether it was pending.
    pub(super) fn acknowledge(&mut self, group: &str, id: EntryId) -> bool {
        self.groups.get_mut(group).is_some_and(|group| group.release(id).is_some())
    }

    /// The index of the first entry after this one.
    fn after(&self, id: Option<EntryId>) -> usize {
        id.map_or(0, |id| self.entries.partition_point(|entry| entry.id <= id))
    }

    fn index(&self, id: EntryId) -> usize {
        self.entries.partition_point(|entry| entry.id < id)
    }
}

impl Group {
    fn needs(&self, id: EntryId) -> bool {
        self.read.is_none_or(|read| read < id) || self.pending.contains_key(&id)
    }

    /// The entries that were delivered so long ago, in that order.
    fn idle(&self, claim_after: Duration, now: Monotonic) -> Vec<EntryId> {
        let idle = self.by_time.iter().take_while(|(at, _)| now.since(*at) >= claim_after);
        idle.map(|(_, id)| *id).collect()
    }

    fn hand_out(&mut self, id: EntryId, consumer: &str, deliveries: u32, now: Monotonic) {
        self.release(id);
        *self.held.entry(consumer.to_owned()).or_default() += 1;
        self.by_time.insert((now, id));
        self.pending.insert(id, Pending { consumer: consumer.to_owned(), delivered_at: now, deliveries });
    }

    fn release(&mut self, id: EntryId) -> Option<Pending> {
        let pending = self.pending.remove(&id)?;
        self.by_time.remove(&(pending.delivered_at, id));
        if let Some(held) = self.held.get_mut(&pending.consumer) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&pending.consumer);
            }
        }
        Some(pending)
    }
}
