//! A worker's place in its group, and the time on which the group has agreed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use burn::tensor::Tensor;
use kasmina_blending::GraftBackend;
use kasmina_leyline::{Monotonic, SeedId, UnixTime};
use kasmina_reduce::{Part, Place, Reduce, ReduceError};
use kasmina_safety::Clock;
use serde::{Serialize, de::DeserializeOwned};

use super::start::{Begun, Delivery};

/// What a manager knows of the other workers. Alone, it costs nothing.
pub(crate) struct Group<B: GraftBackend> {
    reduce: Box<dyn Reduce<B::InnerBackend>>,
    clock: Arc<dyn Clock>,
    place: Place,
    time: Time,
    packets: BTreeMap<SeedId, (u64, u64)>,
    /// Whether the manager was built for a group: then it goes by the group's time even if it is left alone.
    grouped: bool,
    /// Whether any worker has found a violation in this step.
    pub(crate) violated: bool,
    /// How long this worker has been in exchanges in this step.
    exchange: Duration,
    /// Whether the weights of all workers' models have been compared since this process began, or went back.
    pub(crate) compared: bool,
    /// What became of this worker's telemetry since the last step.
    pub(crate) telemetry: Delivery,
}

/// Time in a group: it is agreed on once a step, and stands still in between.
#[derive(Clone, Copy, Debug)]
struct Time {
    monotonic: Monotonic,
    unix: UnixTime,
    /// This worker's own clock when that was agreed.
    at: Monotonic,
}

impl<B: GraftBackend> Group<B> {
    pub(crate) fn new(reduce: Box<dyn Reduce<B::InnerBackend>>, clock: Arc<dyn Clock>) -> Self {
        let place = reduce.place();
        let time = Time { monotonic: Monotonic::ORIGIN, unix: clock.unix(), at: clock.monotonic() };
        Self {
            reduce,
            clock,
            place,
            time,
            packets: BTreeMap::new(),
            grouped: !place.is_alone(),
            violated: false,
            exchange: Duration::ZERO,
            compared: false,
            telemetry: Delivery::Nothing,
        }
    }

    /// Goes on with other workers, by the same time.
    pub(crate) fn join(&mut self, reduce: Box<dyn Reduce<B::InnerBackend>>) {
        self.place = reduce.place();
        self.reduce = reduce;
        self.compared = false;
    }

    pub(crate) const fn is_alone(&self) -> bool {
        self.place.is_alone()
    }

    pub(crate) const fn place(&self) -> Place {
        self.place
    }

    /// The time that decisions go by; alone, that of the worker's own clock.
    pub(crate) fn monotonic(&self) -> Monotonic {
        match (self.grouped, self.is_alone()) {
            (false, _) => self.clock.monotonic(),
            (true, true) => self.proposes(),
            (true, false) => self.time.monotonic,
        }
    }

    /// The wall clock that commands are compared with.
    pub(crate) fn unix(&self) -> UnixTime {
        if self.is_alone() { self.clock.unix() } else { self.time.unix }
    }

    /// Others have agreed on this time.
    pub(crate) fn agree_on(&mut self, at: UnixTime) {
        self.time.unix = self.time.unix.max(at);
    }

    /// What this worker would say the time is: as much later than agreed as its own clock has gone on.
    pub(crate) fn proposes(&self) -> Monotonic {
        self.time.monotonic.after(self.clock.monotonic().since(self.time.at))
    }

    /// The run goes on by the time of the process that wrote its journal.
    pub(crate) fn resume(&mut self, at: Monotonic) {
        self.time = Time { monotonic: at, unix: self.clock.unix(), at: self.clock.monotonic() };
    }

    pub(crate) fn begun(&mut self, begun: &Begun) {
        self.time = Time { monotonic: begun.monotonic, unix: begun.unix, at: self.clock.monotonic() };
        self.packets.clone_from(&begun.packets);
        self.telemetry = Delivery::Nothing;
    }

    /// The packets of a seed as the worst off worker has them; `None` if there is no other worker.
    pub(crate) fn packets(&self, seed: &SeedId) -> Option<(u64, u64)> {
        (!self.is_alone()).then(|| self.packets.get(seed).copied().unwrap_or_default())
    }

    /// How long this worker has been in exchanges since this was last asked.
    pub(crate) fn take_exchange(&mut self) -> Duration {
        std::mem::take(&mut self.exchange)
    }

    /// What every worker has measured, by rank. `what` says what that is: all must be asking for the same.
    pub(crate) fn gather<T: Serialize + DeserializeOwned>(
        &mut self,
        what: &str,
        own: &T,
    ) -> Result<Vec<T>, ReduceError> {
        let encoded = postcard::to_allocvec(&(what, own)).map_err(|error| ReduceError::Link(error.to_string()))?;
        let all = self.timed(|reduce| reduce.gather(encoded))?;
        let read = |(worker, bytes): (usize, &Vec<u8>)| {
            let (theirs, rest): (&str, _) =
                postcard::take_from_bytes(bytes).map_err(|error| unreadable(worker, &error))?;
            if theirs != what {
                let (ours, theirs) = (what.to_owned(), theirs.to_owned());
                return Err(ReduceError::Mismatch { worker, ours, theirs });
            }
            postcard::from_bytes(rest).map_err(|error| unreadable(worker, &error))
        };
        all.iter().enumerate().map(read).collect()
    }

    pub(crate) fn reduce(
        &mut self,
        part: &Part,
        values: Tensor<B::InnerBackend, 1>,
    ) -> Result<Tensor<B::InnerBackend, 1>, ReduceError> {
        self.timed(|reduce| reduce.reduce(part, values))
    }

    fn timed<T>(&mut self, exchange: impl FnOnce(&mut dyn Reduce<B::InnerBackend>) -> T) -> T {
        let started = self.clock.monotonic();
        let given = exchange(&mut *self.reduce);
        self.exchange += self.clock.monotonic().since(started);
        given
    }
}

fn unreadable(worker: usize, error: &postcard::Error) -> ReduceError {
    ReduceError::Link(format!("what worker {worker} sent cannot be read: {error}"))
}
