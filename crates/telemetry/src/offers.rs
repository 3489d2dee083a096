//! One drain: which packets a sink is offered, and what its answers say about it.

use std::{collections::VecDeque, mem};

use kasmina_leyline::v1::TelemetryPacket;

use crate::{
    Drained, Lanes, Packet, SetAside, Sink, SinkError,
    lanes::{Place, Waiting},
};

/// Offers packets to a sink and remembers the answers.
pub(crate) struct Offers<'a> {
    sink: &'a mut dyn Sink,
    recall: &'a mut dyn FnMut(u64) -> Option<TelemetryPacket>,
    drained: Drained,
    /// What must arrive, and the sink took and has not stored.
    unstored: Vec<Waiting>,
    /// Offers so far.
    offers: usize,
    /// The number of the last offer that was taken.
    last_taken: usize,
    refused_in_a_row: usize,
    /// Whether a packet could be read from the journal.
    could_read: bool,
    unreadable_in_a_row: usize,
}

/// Why a packet was kept in this drain.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kept {
    /// The sink refused it, in the offer of this number.
    Refused(usize),
    /// The journal did not give it back.
    Unreadable,
}

impl<'a> Offers<'a> {
    pub(crate) fn new(sink: &'a mut dyn Sink, recall: &'a mut dyn FnMut(u64) -> Option<TelemetryPacket>) -> Self {
        Self {
            sink,
            recall,
            drained: Drained::default(),
            unstored: Vec::new(),
            offers: 0,
            last_taken: 0,
            refused_in_a_row: 0,
            could_read: false,
            unreadable_in_a_row: 0,
        }
    }

    /// Offers the packets of a lane in their order. If the first is refused, goes on `probe` places behind it, and comes to those that
    /// were skipped last, so that a row of packets that a sink will not take does not hide those behind it for ever. Stops when the sink
    /// has taken `unstored` packets that it has not stored.
    pub(crate) fn drain(&mut self, lane: &mut VecDeque<Waiting>, probe: usize, unstored: usize) {
        let (mut todo, mut skipped, mut kept) = (mem::take(lane), VecDeque::new(), VecDeque::new());
        let (mut first, mut rotated) = (true, false);
        self.refused_in_a_row = 0;
        while self.refused_in_a_row < Lanes::REFUSALS_IN_A_ROW && self.unstored.len() < unstored {
            let Some(waiting) = todo.pop_front() else {
                if skipped.is_empty() {
                    break;
                }
                mem::swap(&mut todo, &mut skipped);
                continue;
            };
            if let Some(waiting) = self.offer(waiting) {
                kept.push_back(waiting);
                if first && probe > 0 && !todo.is_empty() {
                    let behind = todo.split_off(probe % todo.len());
                    skipped = mem::replace(&mut todo, behind);
                    rotated = true;
                }
            }
            first = false;
        }
        if kept.is_empty() && skipped.is_empty() {
            *lane = todo;
            return;
        }
        kept.append(&mut skipped);
        kept.append(&mut todo);
        if rotated {
            kept.make_contiguous().sort_by_key(|waiting| waiting.number);
        }
        *lane = kept;
    }

    /// Offers one packet. Gives it back if it was not taken.
    fn offer(&mut self, mut waiting: Waiting) -> Option<Waiting> {
        if let Place::There(place) = waiting.place {
            // A journal that gives back nothing is not asked for everything.
            let asked = self.unreadable_in_a_row < Lanes::REFUSALS_IN_A_ROW;
            let Some(packet) = asked.then(|| (self.recall)(place)).flatten() else {
                self.unreadable_in_a_row += 1;
                waiting.kept = asked.then_some(Kept::Unreadable);
                let source = format!("record {place} cannot be read").into();
                self.drained.error = Some(SinkError { sink: "emergency", source });
                return Some(waiting);
            };
            (self.could_read, self.unreadable_in_a_row) = (true, 0);
            waiting.recalled(packet, place);
        }
        let (Place::Here(packet) | Place::Both(packet, _)) = &waiting.place else { return Some(waiting) };
        self.offers += 1;
        match self.sink.deliver(&packet.packet) {
            Err(error) => {
                self.refused_in_a_row += 1;
                self.drained.error = Some(error);
                waiting.kept = Some(Kept::Refused(self.offers));
                Some(waiting)
            }
            Ok(()) => {
                (self.refused_in_a_row, self.last_taken) = (0, self.offers);
                let unstored = Packet::must_arrive(packet) && !self.sink.is_stored(&packet.packet_id);
                self.drained.delivered.push(packet.clone());
                if unstored {
                    self.unstored.push(waiting);
                }
                None
            }
        }
    }

    /// What this drain says against a packet that was kept: whether it, and not the sink or the journal, is to blame.
    pub(crate) const fn blames(&self, kept: Kept) -> bool {
        match kept {
            Kept::Refused(offer) => offer < self.last_taken,
            Kept::Unreadable => self.could_read,
        }
    }

    pub(crate) fn take_unstored(&mut self) -> Vec<Waiting> {
        mem::take(&mut self.unstored)
    }

    pub(crate) fn set_aside(&mut self, waiting: VecDeque<Waiting>) {
        let named = waiting.into_iter().map(|waiting| waiting.name());
        self.drained.set_aside.extend(named.map(|(id, seed)| SetAside { id, seed }));
    }

    pub(crate) fn finish(self) -> Drained {
        let last_refused = self.offers - self.last_taken;
        let down = last_refused >= Lanes::REFUSALS_IN_A_ROW || (last_refused > 0 && self.last_taken == 0);
        Drained { down, ..self.drained }
    }
}
