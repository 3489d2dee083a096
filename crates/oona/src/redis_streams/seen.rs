//! What a subscriber has handled, so that it does not handle it again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::DeliveryId;

/// How many messages are remembered: two of the publisher's default queues could be sent twice.
const REMEMBERED: usize = 8_192;

/// The last messages that came, and the last entries that were acknowledged.
#[derive(Debug, Default)]
pub(super) struct Seen {
    messages: BTreeMap<String, DeliveryId>,
    order: VecDeque<String>,
    acknowledged: BTreeSet<DeliveryId>,
    acknowledged_order: VecDeque<DeliveryId>,
}

impl Seen {
    /// Whether the entry was acknowledged, or its message has come in another entry.
    pub(super) fn is_duplicate(&mut self, id: DeliveryId, message_id: Option<&str>) -> bool {
        if self.acknowledged.contains(&id) {
            return true;
        }
        let Some(message_id) = message_id else { return false };
        if let Some(first) = self.messages.get(message_id) {
            return *first != id;
        }
        self.messages.insert(message_id.to_owned(), id);
        self.order.push_back(message_id.to_owned());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.messages.remove(&oldest);
        }
        false
    }

    pub(super) fn acknowledged(&mut self, id: DeliveryId) {
        if self.acknowledged.insert(id) {
            self.acknowledged_order.push_back(id);
        }
        if self.acknowledged_order.len() > REMEMBERED
            && let Some(oldest) = self.acknowledged_order.pop_front()
        {
            self.acknowledged.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EntryId, Stream};

    fn id(sequence: u64) -> DeliveryId {
        DeliveryId { stream: Stream::Normal, entry: EntryId { millis: 1, sequence } }
    }

    #[test]
    fn a_message_in_a_second_entry_is_a_duplicate() {
        let mut seen = Seen::default();
        assert!(!seen.is_duplicate(id(1), Some("a")));
        assert!(!seen.is_duplicate(id(1), Some("a")), "the same entry comes again");
        assert!(seen.is_duplicate(id(2), Some("a")));
        assert!(!seen.is_duplicate(id(3), None) && !seen.is_duplicate(id(4), None), "nothing is known of these");
        seen.acknowledged(id(3));
        assert!(seen.is_duplicate(id(3), None));
    }

    #[test]
    fn memory_is_bounded() {
        let mut seen = Seen::default();
        for number in 0..2 * REMEMBERED as u64 {
            seen.is_duplicate(id(number), Some(&number.to_string()));
            seen.acknowledged(id(number));
        }
        let sizes = [seen.messages.len(), seen.order.len(), seen.acknowledged.len(), seen.acknowledged_order.len()];
        assert_eq!(sizes, [REMEMBERED; 4]);
    }
}
