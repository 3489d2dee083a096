//! The load manager: cache, library and prefetch as one.

mod desk;
mod effects;
mod flights;
mod loads;
mod pool;
mod priority;
mod report;
mod request;
mod requests;
mod results;
mod settings;
mod shared;
mod source;
mod wire;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam::channel;
use kasmina_leyline::v1::{BlueprintDescriptor, KernelArtifactError, KernelArtifactReady};
use kasmina_leyline::{BlueprintId, Monotonic, SeedId, UnixTime};
use kasmina_memory::Evicted;

use crate::{Artifact, KernelLibrary, LibraryError, LoadError, VerifiedArtifact};
use effects::{Asked, Standing};
use flights::Step;
use shared::Shared;
use source::Source;

pub use effects::Answered;
pub use report::{LoadCounts, LoadEvent, LoadStats};
pub use request::{Arrival, LoadRequest, Purpose, RequestId, Requested};
pub use settings::LoadSettings;
pub use source::{ArtifactReader, DirectoryReader, KernelMessages};

/// How often somebody who waits looks for answers of a message-driven library. A small part of what reading and verifying a
/// kernel takes.
const LOOK_EVERY: Duration = Duration::from_micros(100);

/// How often somebody who waits for one request looks whether it has ended, in case that somebody else has taken the sign. Our choice:
/// a hundredth of what an order may wait.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Loads kernels without stalling its callers.
///
/// A request is answered from the cache, or it joins the load of its blueprint, or it begins one: at most one load of a
/// blueprint runs at a time. Files are read, hashed and verified on the manager's own threads, and [`poll`](Self::poll)
/// returns what has ended. If a load fails, so do all requests that wait for it; nothing is ever substituted, and three
/// failures in a minute open a breaker.
///
/// No method but [`wait`](Self::wait), [`wait_for`](Self::wait_for) and [`shutdown`](Self::shutdown) waits for anything
/// other than its state's lock, which is never held while a file is read or a kernel is freed. All take `&self`, on any thread. Time is an argument;
/// where a thread needs it, the latest that was told is used.
///
/// On two cores of a virtual machine whose other work had to give way (`cargo xtask bench --filter load`), a cached kernel is handed over in
/// 0.07 µs and a poll that finds nothing takes 0.09 µs. Beside reading and hashing its file, a cold load takes 3 times as long for
/// 0.1 MB (0.28 ms, mostly two threads that wake), 1.6 times for 1 MB (1.3 ms), 1.4 times for 10 MB (11 ms) and 1.8 times for 100 MB
/// (0.3 s). Its threads have a lower priority than the trainer's on Linux: with 100 loads of 10 MB in flight, a training step takes 1.0 to
/// 1.1 times as long (`load/step_beside_100`). Over a bus see `kasmina-urza`.
///
/// ```
/// use std::time::Duration;
///
/// use kasmina_kernel_load::blueprints::{Blueprint, BuiltInLibrary, Start};
/// use kasmina_kernel_load::{KernelLoadManager, LoadRequest, LoadSettings, Purpose, Requested, SlotContract};
/// use kasmina_leyline::{Monotonic, SeedId, TrainingRunId, UnixTime};
///
/// let manager = KernelLoadManager::new(BuiltInLibrary::new(7), &LoadSettings::default());
/// let blueprint = Blueprint::Bottleneck.for_slot(SlotContract::f32(2, 8, 8), Start::Identity)?.blueprint_id;
/// let (seed, run) = (Purpose::Seed(SeedId::new("seed-1")?), TrainingRunId::new("run-1")?);
/// let request = LoadRequest::new(blueprint.clone(), seed, run, UnixTime::from_millis(0));
/// let Requested::Pending(id) = manager.request(request.clone(), Monotonic::ORIGIN)? else { unreachable!("it is new") };
///
/// // A trainer polls once a step. This example has nothing else to do.
/// assert!(manager.wait(Duration::from_secs(60)));
/// let arrived = manager.poll(Monotonic::from_millis(3));
/// assert_eq!((arrived[0].request, arrived[0].latency), (id, Duration::from_millis(3)));
/// let kernel = arrived[0].outcome.clone()?;
/// assert_eq!(kernel.manifest().blueprint_id, blueprint);
/// assert!(matches!(manager.request(request, Monotonic::from_millis(4))?, Requested::Ready(_)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct KernelLoadManager {
    shared: Arc<Shared>,
    grace: Duration,
}

/// Where the answers of a [`KernelMessages`] go, on any thread. A clone is a handle on the same manager and does not
/// keep it alive.
#[derive(Clone)]
pub struct Answers {
    shared: Weak<Shared>,
}

/// What a shutdown found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shutdown {
    /// Requests that were outstanding. They get no [`Arrival`].
    pub cancelled: usize,
    /// Threads that were joined.
    pub joined: usize,
    /// Threads that the library did not let go in time. Each ends when the library's call does, and what it brings is
    /// dropped.
    pub abandoned: usize,
}

impl KernelLoadManager {
    /// A manager of a library that is called. [`KernelLibrary::fetch`] may block.
    #[must_use]
    pub fn new(library: impl KernelLibrary + 'static, settings: &LoadSettings) -> Self {
        Self::over(Source::Library(Box::new(library)), settings, UnixTime::default())
    }

    /// A manager of a library that is sent messages. Its answers go to [`answers`](Self::answers), and `reader` reads
    /// what they name. `started` tells this manager's requests from those of others, so it is the time on the wall
    /// clock.
    #[must_use]
    pub fn over_messages(
        port: impl KernelMessages + 'static,
        reader: impl ArtifactReader + 'static,
        settings: &LoadSettings,
        started: UnixTime,
    ) -> Self {
        Self::over(Source::Messages { port: Box::new(port), reader: Box::new(reader) }, settings, started)
    }

    fn over(source: Source, settings: &LoadSettings, started: UnixTime) -> Self {
        let grace = Duration::from_millis(settings.shutdown_ms);
        Self { shared: Arc::new(Shared::new(source, settings, started)), grace }
    }

    /// Asks for a kernel.
    ///
    /// # Errors
    /// [`LoadError::Breaker`] while the library's breaker is open and nobody else waits for this blueprint;
    /// [`LoadError::TooManyRequests`]; [`LoadError::Closed`] after a shutdown. All other failures arrive by
    /// [`poll`](Self::poll).
    pub fn request(&self, request: LoadRequest, now: Monotonic) -> Result<Requested, LoadError> {
        Ok(match self.shared.act(|loads| loads.ask(request, now))? {
            Asked::Cached(artifact) => Requested::Ready(artifact),
            Asked::Pending(id) => Requested::Pending(id),
        })
    }

    /// The kernel of a blueprint, if it is in the cache. Asks nobody.
    #[must_use]
    pub fn cached(&self, blueprint: &BlueprintId, now: Monotonic) -> Option<Arc<VerifiedArtifact>> {
        self.shared.look(|loads| loads.cached(blueprint, now))
    }

    /// The requests that have ended since the last poll: with a verified kernel, an error, or [`LoadError::Timeout`]. A
    /// kernel that has landed before the poll is in time, even if the poll is late. Call it once a step.
    #[must_use]
    pub fn poll(&self, now: Monotonic) -> Vec<Arrival> {
        self.receive();
        self.shared.act(|loads| loads.poll(now))
    }

    /// Waits until there may be something to poll, for a caller that has nothing else to do. Returns whether there may
    /// be; a deadline of a request does not end the wait.
    #[must_use]
    pub fn wait(&self, at_most: Duration) -> bool {
        self.shared.look(|loads| loads.has_landed()) || self.shared.landed().recv_timeout(at_most).is_ok()
    }

    /// Waits until a request has ended, at most `at_most`, for a caller that needs its kernel before it goes on. Does not
    /// wait for a library that is called and has said that the artifact comes [later](crate::Fetched::Later). Returns whether there is
    /// an [`Arrival`] to [`poll`](Self::poll).
    #[must_use]
    pub fn wait_for(&self, request: RequestId, at_most: Duration) -> bool {
        let too_long = channel::after(at_most);
        let slice = if self.shared.source.by_message() { LOOK_EVERY } else { LOOK_AGAIN };
        loop {
            self.receive();
            match self.shared.look(|loads| loads.standing(request)) {
                Standing::Landed => return true,
                Standing::Coming => {}
                Standing::Later | Standing::Gone => return false,
            }
            channel::select! {
                recv(self.shared.landed()) -> _ => {}
                recv(too_long) -> _ => return false,
                default(slice) => {}
            }
        }
    }

    /// Takes the answers that have come to a message-driven library.
    fn receive(&self) {
        self.shared.source.receive(&self.answers());
    }

    /// The earliest time at which a request can time out.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Monotonic> {
        self.shared.look(|loads| loads.next_deadline())
    }

    /// Takes back a request. Returns whether it was outstanding; then there will be no [`Arrival`]. A load that nobody
    /// waits for any more is not begun, and if a thread works on it, what it brings is dropped.
    pub fn cancel(&self, request: RequestId) -> bool {
        self.shared.act(|loads| loads.cancel(request))
    }

    /// Takes back all requests of a seed, for example because it was culled. Returns how many were outstanding.
    pub fn cancel_seed(&self, seed: &SeedId) -> usize {
        self.shared.act(|loads| loads.cancel_seed(seed))
    }

    /// Takes an artifact that the library had announced with [`Fetched::Later`](crate::Fetched::Later), or why there
    /// will be none. It is verified like any other.
    pub fn deliver(&self, blueprint: &BlueprintId, delivered: Result<Artifact, LibraryError>) -> Answered {
        self.shared.act(|loads| loads.deliver(blueprint, Step::Check(delivered.map_err(LoadError::from))))
    }

    /// Where the answers of a message-driven library go.
    #[must_use]
    pub fn answers(&self) -> Answers {
        Answers { shared: Arc::downgrade(&self.shared) }
    }

    /// The catalogue's description of a blueprint.
    ///
    /// # Errors
    /// [`LoadError::Library`].
    pub fn descriptor(&self, blueprint: &BlueprintId) -> Result<BlueprintDescriptor, LoadError> {
        Ok(self.shared.source.descriptor(blueprint)?)
    }

    /// Drops the cached kernels that have expired, for example at the end of an epoch.
    pub fn collect(&self, now: Monotonic) -> Evicted {
        self.shared.act(|loads| loads.collect(now))
    }

    /// Drops all cached kernels. Loads go on.
    pub fn purge(&self) -> Evicted {
        self.shared.act(|loads| loads.purge())
    }

    /// What has happened since the last call. At most 1,000 events are kept, the latest ones.
    #[must_use]
    pub fn events(&self) -> Vec<LoadEvent> {
        self.shared.look(|loads| loads.events())
    }

    /// What the manager holds and what it has done.
    #[must_use]
    pub fn stats(&self) -> LoadStats {
        self.shared.look(|loads| loads.stats())
    }

    /// Cancels all requests, refuses new ones, and ends the threads. For those that the library holds it waits at most
    /// `grace`. Dropping the manager does the same with [`LoadSettings::shutdown_ms`]. A second call does nothing.
    pub fn shutdown(&self, grace: Duration) -> Shutdown {
        let (cancelled, busy) = self.shared.act(|loads| (loads.close(), loads.running()));
        let threads = self.shared.pool.close(busy, grace);
        Shutdown { cancelled, joined: threads.joined, abandoned: threads.abandoned }
    }
}

impl Drop for KernelLoadManager {
    fn drop(&mut self) {
        self.shutdown(self.grace);
    }
}

impl fmt::Debug for KernelLoadManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelLoadManager").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Answers {
    /// The library has the kernel. However often this is delivered, it is handled once.
    pub fn ready(&self, message: KernelArtifactReady) -> Answered {
        let request = message.request_id.clone();
        self.answer(&request, |blueprint| wire::ready(message, blueprint))
    }

    /// The library has no kernel. However often this is delivered, it is handled once.
    pub fn failed(&self, message: &KernelArtifactError) -> Answered {
        self.answer(&message.request_id, |blueprint| wire::failed(message, blueprint))
    }

    fn answer(&self, request_id: &str, step: impl FnOnce(&BlueprintId) -> Step) -> Answered {
        let Some(shared) = self.shared.upgrade() else { return Answered::Unknown };
        shared.act(|loads| match shared.ids.number(request_id) {
            Some(number) => loads.answer(number, step),
            None => {
                loads.count_unknown();
                Answered::Unknown
            }
        })
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}
