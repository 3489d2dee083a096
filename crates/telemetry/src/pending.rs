//! The events and metrics about one seed that wait for a packet.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
};

use crate::{Event, EventName, Metric, names::SEED_QUEUE_DROPPED};

/// Critical events of one seed that are kept one by one until a packet is made. Our choice: far more than a step can cause, and less
/// than 1 MB. Those beyond it become one event of their kind with a `count`.
pub(crate) const MOST_CRITICAL: usize = 1_000;

/// Events with their place in the order of arrival. Two queues, so that the oldest event that may be dropped is at the front of one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending {
    critical: VecDeque<(u64, Event)>,
    others: VecDeque<(u64, Event)>,
    arrived: u64,
    metrics: Vec<Metric>,
    /// Events that are not critical and were dropped.
    dropped: u64,
    /// The number of the packet, once a draft of it is in a journal.
    number: Option<u64>,
    /// How many events had come when that draft was made.
    drafted: u64,
    /// Critical events beyond [`MOST_CRITICAL`], by name.
    folded: BTreeMap<&'static str, (EventName, u64)>,
}

impl Pending {
    pub(crate) fn push(&mut self, event: Event, max: usize) {
        self.arrived += 1;
        if !event.must_arrive() {
            self.others.push_back((self.arrived, event));
        } else if self.critical.len() < MOST_CRITICAL {
            self.critical.push_back((self.arrived, event));
        } else {
            let name = event.name();
            self.folded.entry(name.name).or_insert((name, 0)).1 += 1;
        }
        if self.critical.len() + self.others.len() > max && self.others.pop_front().is_some() {
            self.dropped += 1;
        }
    }

    /// Adds a measurement, in place of an earlier one of the same kind with the same attributes.
    pub(crate) fn measure(&mut self, metric: Metric) {
        let same = |held: &&mut Metric| held.name == metric.name && held.attributes == metric.attributes;
        match self.metrics.iter_mut().find(same) {
            Some(held) => *held = metric,
            None => self.metrics.push(metric),
        }
    }

    /// Adds what another one has, in its order.
    pub(crate) fn absorb(&mut self, other: Self, max: usize) {
        self.dropped += other.dropped;
        for (name, (kind, count)) in &other.folded {
            self.folded.entry(name).or_insert((*kind, 0)).1 += count;
        }
        let (events, metrics) = other.in_order();
        metrics.into_iter().for_each(|metric| self.measure(metric));
        events.into_iter().for_each(|event| self.push(event, max));
    }

    /// Whether there is something critical that no draft has.
    pub(crate) fn has_undrafted(&self) -> bool {
        self.critical.back().is_some_and(|(arrived, _)| *arrived > self.drafted)
    }

    /// How many critical events there are.
    pub(crate) fn critical(&self) -> usize {
        self.critical.len()
    }

    /// The number of the packet, if a draft has given it one.
    pub(crate) const fn number(&self) -> Option<u64> {
        self.number
    }

    /// All that has come so far is in a draft of the packet of this number.
    pub(crate) const fn mark_drafted(&mut self, number: u64) {
        (self.number, self.drafted) = (Some(number), self.arrived);
    }

    /// Events and metrics, with one event for what was dropped and one for each kind that was too much.
    pub(crate) fn into_parts(mut self) -> (Vec<Event>, Vec<Metric>) {
        let (dropped, folded) = (self.dropped, mem::take(&mut self.folded));
        let (mut events, metrics) = self.in_order();
        events.extend(folded.into_values().map(|(name, count)| Event::new(name).with("count", count)));
        if dropped > 0 {
            events.push(Event::new(SEED_QUEUE_DROPPED).with("count", dropped));
        }
        (events, metrics)
    }

    /// Whether there is nothing, and nothing that was dropped.
    pub(crate) fn is_empty(&self) -> bool {
        self.critical.is_empty() && self.others.is_empty() && self.metrics.is_empty() && self.dropped == 0
    }

    fn in_order(self) -> (Vec<Event>, Vec<Metric>) {
        let mut events: Vec<_> = self.critical.into_iter().chain(self.others).collect();
        events.sort_by_key(|(arrived, _)| *arrived);
        (events.into_iter().map(|(_, event)| event).collect(), self.metrics)
    }
}
