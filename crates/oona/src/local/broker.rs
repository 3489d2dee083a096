//! Streams in the process.

use std::{collections::VecDeque, fmt, sync::Arc};

use kasmina_safety::Clock;

use super::{
    bus::LocalBus,
    log::Log,
    shared::{DeadLetter, Shared, Streams},
};
use crate::{
    BusSettings, SettingsError, Subscription,
    sync::{Condvar, Mutex},
};

/// The streams of a bus in the process: the default of an embedded manager. Clones are handles of the same streams.
///
/// Everything is as on Redis Streams, but for signatures (nobody else can write here) and for a stream that is full: as
/// long as a group has not handled the oldest entry, [`publish`](crate::Bus::publish) refuses instead of losing it. On
/// a stream without any group the oldest entry makes room, unless it is CRITICAL.
#[derive(Clone)]
pub struct LocalBroker(Arc<Shared>);

impl LocalBroker {
    /// Empty streams.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(settings: BusSettings, clock: impl Clock + 'static) -> Result<Self, SettingsError> {
        settings.check()?;
        let logs = std::array::from_fn(|_| Log::default());
        let streams = Mutex::new(Streams { logs, dead: VecDeque::new(), buses: 0 });
        Ok(Self(Arc::new(Shared { settings, clock: Box::new(clock), streams, changed: Condvar::new() })))
    }

    /// A bus that only publishes.
    #[must_use]
    pub fn publisher(&self) -> LocalBus {
        self.bus(None)
    }

    /// A bus that subscribes, too. A new group begins with the oldest entry that it can still get: those that have
    /// outlived the time to live are not for it.
    ///
    /// # Errors
    /// [`SettingsError::Subscription`].
    pub fn join(&self, subscription: Subscription) -> Result<LocalBus, SettingsError> {
        subscription.check()?;
        let since = self.0.settings.first_deliverable(self.0.clock.unix());
        let mut streams = self.0.lock();
        for stream in &subscription.streams {
            streams.logs[stream.index()].join(&subscription.group, since);
        }
        drop(streams);
        Ok(self.bus(Some(subscription)))
    }

    /// What nobody could handle, oldest first: the last `stream_capacity` of it.
    #[must_use]
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.0.lock().dead.iter().cloned().collect()
    }

    fn bus(&self, subscription: Option<Subscription>) -> LocalBus {
        LocalBus::new(Arc::clone(&self.0), subscription)
    }
}

impl fmt::Debug for LocalBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalBroker").finish_non_exhaustive()
    }
}
