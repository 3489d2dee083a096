//! The nonces in the journal, and the watermark that stands for those that have left it.

use std::{collections::VecDeque, time::Duration};

use kasmina_leyline::{Monotonic, UnixTime};
use kasmina_security::Retention;

/// When nonces were written, and what stands for those that the journal may forget: the verifier forgets only when the next
/// command comes.
#[derive(Default)]
pub(crate) struct Nonces {
    retention: Duration,
    /// When batches with nonces were written, and the latest issue in each, oldest first.
    written: VecDeque<(Monotonic, UnixTime)>,
    /// The latest issue of those that may be forgotten.
    forgotten: Option<UnixTime>,
    /// What the verifier said last.
    verifiers: Option<UnixTime>,
    /// The last reset that the verifier told of.
    reset: Option<UnixTime>,
    /// The last reset that is in the journal.
    reset_written: Option<UnixTime>,
}

impl Nonces {
    /// None were written; the verifier remembers them for `retention`.
    pub(crate) fn new(retention: Duration) -> Self {
        Self { retention, ..Self::default() }
    }

    /// A batch with nonces is in the journal; the newest was issued then.
    pub(crate) fn written(&mut self, newest: Option<UnixTime>, now: Monotonic) {
        self.written.extend(newest.map(|newest| (now, newest)));
    }

    /// An operator's reset that the journal does not have yet.
    pub(crate) fn unwritten_reset(&self, told: Retention) -> Option<UnixTime> {
        told.reset.filter(|at| self.reset_written != Some(*at))
    }

    /// The journal has the verifier's reset, if there was one.
    pub(crate) const fn reset_is_written(&mut self, told: Retention) {
        self.reset_written = told.reset;
    }

    /// Nonces that were written before this time can go.
    pub(crate) fn forgettable(&self, now: Monotonic) -> Option<Monotonic> {
        let age = now.since(Monotonic::ORIGIN).checked_sub(self.retention)?;
        Some(Monotonic::ORIGIN.after(age))
    }

    /// The watermark of a process that comes back without the nonces from before `since`.
    pub(crate) fn watermark(&mut self, told: Retention, since: Option<Monotonic>) -> Option<UnixTime> {
        while let Some((_, newest)) = self.written.front().copied().filter(|(written, _)| Some(*written) < since) {
            self.forgotten = self.forgotten.max(Some(newest));
            self.written.pop_front();
        }
        if told.reset != self.reset {
            self.lower_to(told.reset);
        }
        if told.watermark < self.verifiers {
            self.lower_to(told.watermark);
        }
        (self.verifiers, self.reset) = (told.watermark, told.reset);
        self.forgotten.max(told.watermark)
    }

    /// An operator has lowered the watermark.
    fn lower_to(&mut self, watermark: Option<UnixTime>) {
        self.forgotten = self.forgotten.min(watermark);
        self.written.iter_mut().for_each(|(_, newest)| *newest = watermark.map_or(*newest, |at| at.min(*newest)));
    }
}
