//! The trainer's side: requests go out, answers come in.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use kasmina_kernel_load::{Answered, Answers, KernelLibrary, KernelMessages, LibraryError};
use kasmina_leyline::{
    BlueprintId,
    v1::{
        BlueprintDescriptor, BusMessageType, KernelArtifactError, KernelArtifactReady, KernelCatalogUpdate,
        KernelPrefetchRequest,
    },
};
use kasmina_oona::{Bus, BusError, Delivery, Message, Stream, Subscription};
use prost::{DecodeError, Message as _};

/// The kernel library of a trainer, over a bus. A clone is a handle on the same one: give one to
/// [`KernelLoadManager::over_messages`](kasmina_kernel_load::KernelLoadManager::over_messages), which takes its answers
/// whenever it is polled. Keep another to see what was [received](Self::received).
///
/// The digests in an answer say which weights are the approved ones. So the bus must accept signed entries only
/// ([`EntryKeys`](kasmina_oona::EntryKeys)) if others can write to its server.
#[derive(Clone)]
pub struct OonaKernels(Arc<Inner>);

struct Inner {
    bus: Box<dyn Bus>,
    descriptors: Box<dyn KernelLibrary>,
    received: Mutex<Polled>,
}

/// Announcements that are kept until somebody takes them, and messages that are taken at once. Our choices: more than a catalogue has, and
/// far more than arrive in a step.
const MOST_UPDATES: usize = 1_000;
const MOST_AT_ONCE: usize = 64;

/// What polls found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Polled {
    /// Answers that a load goes on with.
    pub taken: usize,
    /// Answers to a request that was answered, cancelled or too late.
    pub late: usize,
    /// Answers to another trainer's request, or to one of an earlier process.
    pub unknown: usize,
    /// Payloads that are not what their envelope says.
    pub malformed: usize,
    /// Messages of a type that is not for the load manager.
    pub ignored: usize,
    /// Polls that the bus refused.
    pub refused: usize,
    /// Entries that could not be acknowledged and will come again.
    pub unacknowledged: usize,
    /// Kernels that have entered the library, or changed. What is cached stays as it is: a kernel's content never
    /// changes, and a request after this gets the new one once the cached one has expired.
    pub updates: Vec<KernelCatalogUpdate>,
}

impl OonaKernels {
    /// Publishes to `bus`, which has to have the [`subscription`](Self::subscription) of this trainer. The messages
    /// carry no descriptors, so these are looked up in `descriptors`, which is asked for nothing else; it has to be a
    /// library that answers without a network, such as a [`DirectoryLibrary`](kasmina_kernel_load::DirectoryLibrary).
    #[must_use]
    pub fn new(bus: impl Bus + 'static, descriptors: impl KernelLibrary + 'static) -> Self {
        let (bus, descriptors) = (Box::new(bus), Box::new(descriptors));
        Self(Arc::new(Inner { bus, descriptors, received: Mutex::default() }))
    }

    /// What a trainer subscribes to. `trainer` has to be its own: the consumers of a group share the answers, so two
    /// trainers of one name would take each other's. A new trainer also gets what was said within the bus's time to live
    /// before it came, and counts the answers as unknown.
    #[must_use]
    pub fn subscription(trainer: &str) -> Subscription {
        Subscription::new(format!("kernels-{trainer}"), trainer, [Stream::KernelReady, Stream::KernelErrors])
    }

    /// The bus.
    #[must_use]
    pub fn bus(&self) -> &dyn Bus {
        &*self.0.bus
    }

    /// What the manager's polls have found since this was last asked, with the latest 1,000 announcements.
    #[must_use]
    pub fn received(&self) -> Polled {
        std::mem::take(&mut *self.0.received.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Hands over what has arrived, at most `most` messages, and acknowledges each of them afterwards. Returns at once.
    ///
    /// # Errors
    /// [`BusError`] if the bus cannot be polled.
    pub fn poll(&self, answers: &Answers, most: usize) -> Result<Polled, BusError> {
        let mut polled = Polled::default();
        for delivery in self.0.bus.poll(most)? {
            if polled.hand_over(answers, &delivery).is_err() {
                polled.malformed += 1;
            }
            polled.unacknowledged += usize::from(self.0.bus.acknowledge(delivery.id).is_err());
        }
        Ok(polled)
    }
}

impl Polled {
    fn add(&mut self, later: Self) {
        let Self { taken, late, unknown, malformed, ignored, refused, unacknowledged, updates } = later;
        self.taken += taken;
        self.late += late;
        self.unknown += unknown;
        self.malformed += malformed;
        self.ignored += ignored;
        self.refused += refused;
        self.unacknowledged += unacknowledged;
        self.updates.extend(updates);
        let old = self.updates.len().saturating_sub(MOST_UPDATES);
        self.updates.drain(..old);
    }

    fn hand_over(&mut self, answers: &Answers, delivery: &Delivery) -> Result<(), DecodeError> {
        let payload = delivery.envelope.payload.as_slice();
        match delivery.message_type {
            BusMessageType::KernelPrefetchReady => {
                self.count(answers.ready(KernelArtifactReady::decode(payload)?));
            }
            BusMessageType::KernelPrefetchError => {
                self.count(answers.failed(&KernelArtifactError::decode(payload)?));
            }
            BusMessageType::KernelCatalogUpdate => self.updates.push(KernelCatalogUpdate::decode(payload)?),
            BusMessageType::Unspecified
            | BusMessageType::SystemState
            | BusMessageType::AdaptationCommand
            | BusMessageType::FieldReport
            | BusMessageType::Telemetry
            | BusMessageType::PolicyUpdate
            | BusMessageType::KernelPrefetchRequest
            | BusMessageType::Coordination => self.ignored += 1,
        }
        Ok(())
    }

    fn count(&mut self, answered: Answered) {
        match answered {
            Answered::Taken => self.taken += 1,
            Answered::Late => self.late += 1,
            Answered::Unknown => self.unknown += 1,
        }
    }
}

impl KernelMessages for OonaKernels {
    fn descriptor(&self, blueprint: &BlueprintId) -> Result<BlueprintDescriptor, LibraryError> {
        self.0.descriptors.descriptor(blueprint)
    }

    fn request(&self, request: KernelPrefetchRequest) -> Result<(), LibraryError> {
        let message = Message::new(BusMessageType::KernelPrefetchRequest, request.encode_to_vec());
        let unavailable = |cause: String| LibraryError::Unavailable { detail: cause };
        self.0.bus.publish(message).map(drop).map_err(|refused| unavailable(refused.cause.to_string()))
    }

    fn receive(&self, answers: &Answers) {
        let polled = self.poll(answers, MOST_AT_ONCE).unwrap_or_else(|_| Polled { refused: 1, ..Polled::default() });
        self.0.received.lock().unwrap_or_else(PoisonError::into_inner).add(polled);
    }
}

impl fmt::Debug for OonaKernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OonaKernels").field("status", &self.0.bus.status()).finish_non_exhaustive()
    }
}
