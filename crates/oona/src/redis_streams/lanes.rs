//! Which streams the server refuses, and when to try them again.

use std::{collections::BTreeMap, time::Duration};

use kasmina_leyline::Monotonic;

use super::link::Backoff;
use crate::{BrokerError, Stream};

/// Streams that the server refuses. One that is broken must not hold up the others.
#[derive(Debug)]
pub(super) struct Refusals {
    first: Duration,
    longest: Duration,
    refused: BTreeMap<Stream, (BrokerError, Backoff)>,
}

impl Refusals {
    pub(super) const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, refused: BTreeMap::new() }
    }

    /// Whether the stream may be tried.
    pub(super) fn allow(&self, stream: Stream, now: Monotonic) -> bool {
        self.refused.get(&stream).is_none_or(|(_, backoff)| backoff.is_over(now))
    }

    pub(super) fn refused(&mut self, stream: Stream, error: BrokerError, now: Monotonic) {
        let fresh = || (error.clone(), Backoff::new(self.first, self.longest, stream.index() as u64));
        let (last, backoff) = self.refused.entry(stream).or_insert_with(fresh);
        *last = error;
        // All answers of an exchange that failed are one failure.
        if backoff.is_over(now) {
            backoff.failed(now);
        }
    }

    pub(super) fn accepted(&mut self, stream: Stream) {
        self.refused.remove(&stream);
    }

    pub(super) fn all(&self) -> BTreeMap<Stream, BrokerError> {
        self.refused.iter().map(|(stream, (error, _))| (*stream, error.clone())).collect()
    }
}
