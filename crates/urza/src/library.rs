//! The library's side: requests come in, answers and news go out.

use std::{collections::VecDeque, fmt, path::PathBuf, thread};

use kasmina_kernel_load::LibraryError;
use kasmina_leyline::{
    BlueprintId,
    v1::{BusMessageType, KernelCatalogUpdate},
};
use kasmina_oona::{Bus, BusError, Delivery, DeliveryId, Message, PublishError, Stream, Subscription, Ticket};
use kasmina_safety::Clock;
use prost::Message as _;

use crate::{
    answer::{Answer, answer},
    prewarm::Prewarm,
    served::Served,
    settings::UrzaSettings,
    shelf::{Found, Shelf},
};

/// Serves the kernels of a directory over a bus.
///
/// A request is answered with Ready if the kernel was read and verified just now, and with Error otherwise; then the
/// message has the stable name of the reason, which `kasmina explain` knows. It is acknowledged once the bus has stored
/// its answer, so it may be answered twice, which a load manager bears, and is never forgotten. Kernels that are new in
/// the catalogue are announced between requests, and at the start all of them, because nobody knows which of them the
/// others know already.
///
/// Several processes may serve the same directory: they share the requests.
pub struct Urza {
    bus: Box<dyn Bus>,
    shelf: Shelf,
    prewarm: Option<Box<dyn Prewarm>>,
    settings: UrzaSettings,
    clock: Box<dyn Clock>,
    /// Requests that were not looked at.
    inbox: VecDeque<Delivery>,
    /// A message that the bus had no room for, and the request that it answers.
    unsent: Option<(Message, Option<DeliveryId>)>,
    /// Requests that are acknowledged once the bus has stored this.
    answered: VecDeque<(Ticket, DeliveryId)>,
}

impl Urza {
    /// Serves `directory` over `bus`, which has to have the [`subscription`](Self::subscription).
    ///
    /// Times of kernels in the messages are those of [`Prewarm`]. Without one, they are those of reading and verifying
    /// the file; so they are for a kernel that does not run on the input of the measurement.
    ///
    /// # Errors
    /// [`LibraryError`] if the catalogue cannot be read.
    pub fn open(
        bus: impl Bus + 'static,
        directory: impl Into<PathBuf>,
        prewarm: Option<Box<dyn Prewarm>>,
        settings: UrzaSettings,
        clock: impl Clock + 'static,
    ) -> Result<Self, LibraryError> {
        let shelf = Shelf::open(directory.into(), settings.limits, clock.monotonic())?;
        let (bus, clock) = (Box::new(bus), Box::new(clock));
        let (inbox, answered) = (VecDeque::new(), VecDeque::new());
        Ok(Self { bus, shelf, prewarm, settings, clock, inbox, unsent: None, answered })
    }

    /// What a library subscribes to. Consumers share the requests, so `consumer` has to be this process's own.
    #[must_use]
    pub fn subscription(consumer: &str) -> Subscription {
        Subscription::new("urza", consumer, [Stream::KernelRequests])
    }

    /// The bus.
    #[must_use]
    pub fn bus(&self) -> &dyn Bus {
        &*self.bus
    }

    /// Answers what has arrived, at most [`UrzaSettings::batch`] requests, and announces one kernel that is new: so a
    /// request waits for the measurement of one kernel at most. It reads files and does not wait for the bus.
    ///
    /// # Errors
    /// [`BusError`] if the bus cannot be polled.
    pub fn serve_once(&mut self) -> Result<Served, BusError> {
        self.round(true)
    }

    fn round(&mut self, announce: bool) -> Result<Served, BusError> {
        let mut served = Served::default();
        self.acknowledge(&mut served);
        if let Err(error) = self.shelf.look(self.clock.monotonic(), self.settings.look_every) {
            served.catalogue = Some(error);
        }
        if let Some((message, request)) = self.unsent.take() {
            self.send(message, request, &mut served);
        }
        if self.inbox.is_empty() && self.unsent.is_none() {
            self.inbox.extend(self.bus.poll(self.settings.batch)?);
        }
        while self.unsent.is_none()
            && let Some(delivery) = self.inbox.pop_front()
        {
            self.answer(&delivery, &mut served);
        }
        if announce {
            self.announce(&mut served);
        }
        self.acknowledge(&mut served);
        served.waiting = self.inbox.len() + usize::from(self.unsent.is_some());
        Ok(served)
    }

    /// Serves in this thread until `until` says so, which is asked before every [`serve_once`](Self::serve_once), and
    /// tells `report` what each of them has done unless it was nothing. At the end it answers what the bus has taken
    /// already, announces nothing more, and waits for the last answers to be stored: for
    /// [`flush`](UrzaSettings::flush) at most. A request whose answer is not stored comes again.
    ///
    /// # Errors
    /// As [`serve_once`](Self::serve_once).
    pub fn serve(
        &mut self,
        mut until: impl FnMut() -> bool,
        mut report: impl FnMut(&Served),
    ) -> Result<Served, BusError> {
        let mut all = Served::default();
        while !until() {
            let served = self.serve_once()?;
            if served.is_idle() {
                self.rest(&served);
            } else {
                report(&served);
                all.add(served);
            }
        }
        let until = self.clock.monotonic().after(self.settings.flush);
        let left = |this: &Self| until.since(this.clock.monotonic());
        while !left(self).is_zero() {
            let served = self.round(false)?;
            if served.is_idle() {
                break;
            }
            report(&served);
            all.add(served);
        }
        if self.bus.flush(left(self)).is_ok() {
            self.acknowledge(&mut all);
            // An acknowledgement that is not stored brings its request back, to be answered a second time.
            let _ = self.bus.flush(left(self));
        }
        Ok(all)
    }

    /// Rests until a request comes. With something in hand that the bus has no room for, another one changes nothing.
    fn rest(&self, served: &Served) {
        if served.waiting > 0 {
            thread::sleep(self.settings.idle);
        } else {
            self.bus.wait(self.settings.idle);
        }
    }

    fn answer(&mut self, delivery: &Delivery, served: &mut Served) {
        let find =
            |blueprint: &BlueprintId| self.shelf.find(blueprint, self.prewarm.as_deref(), &self.settings, &*self.clock);
        let message = match answer(delivery, find) {
            Answer::Ready(ready) => {
                served.ready += 1;
                Message::new(BusMessageType::KernelPrefetchReady, ready.encode_to_vec())
            }
            Answer::Error(error) => {
                served.failed += 1;
                Message::new(BusMessageType::KernelPrefetchError, error.encode_to_vec())
            }
            Answer::Malformed => {
                served.malformed += 1;
                return self.settle(delivery.id, served);
            }
            Answer::NotForUs => {
                served.ignored += 1;
                return self.settle(delivery.id, served);
            }
        };
        self.send(message, Some(delivery.id), served);
    }

    fn announce(&mut self, served: &mut Served) {
        if self.unsent.is_some() {
            return;
        }
        let Some(blueprint) = self.shelf.next_news() else { return };
        let found = self.shelf.find(&blueprint, self.prewarm.as_deref(), &self.settings, &*self.clock);
        match found {
            Ok(Found { reference, digests, times }) => {
                let update = KernelCatalogUpdate {
                    blueprint_id: blueprint.as_str().to_owned(),
                    artifact_ref: reference,
                    checksum: digests.checksum.to_string(),
                    guard_digest: digests.guard_digest.to_string(),
                    compile_ms: times.first,
                    prewarm_ms: times.p50,
                };
                served.announced += 1;
                let message = Message::new(BusMessageType::KernelCatalogUpdate, update.encode_to_vec());
                self.send(message, None, served);
            }
            Err(error) => served.unfit.push((blueprint, error)),
        }
    }

    fn send(&mut self, message: Message, request: Option<DeliveryId>, served: &mut Served) {
        match self.bus.publish(message) {
            Ok(ticket) => self.answered.extend(request.map(|request| (ticket, request))),
            Err(refused) if matches!(refused.cause, PublishError::Full { .. }) => {
                self.unsent = Some((*refused.message, request));
            }
            // It would be refused again and again.
            Err(_) => {
                served.refused += 1;
                if let Some(request) = request {
                    self.settle(request, served);
                }
            }
        }
    }

    /// There will be no answer, so there is nothing to wait for.
    fn settle(&mut self, request: DeliveryId, served: &mut Served) {
        if self.bus.acknowledge(request).is_err() {
            served.unacknowledged += 1;
        }
    }

    fn acknowledge(&mut self, served: &mut Served) {
        let stored = self.bus.status().stored_through;
        while let Some((ticket, request)) = self.answered.front()
            && *ticket <= stored
        {
            if self.bus.acknowledge(*request).is_err() {
                served.unacknowledged += 1;
                return;
            }
            self.answered.pop_front();
        }
    }
}

impl fmt::Debug for Urza {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Urza").field("status", &self.bus.status()).finish_non_exhaustive()
    }
}
