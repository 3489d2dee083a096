//! A bus that stores late, or takes no acknowledgement.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kasmina_oona::{
    Bus, BusError, BusSettings, Delivery, DeliveryId, LocalBus, Message, Refused, Status, Subscription, Ticket,
    Unflushed,
};
use kasmina_urza::{Polled, Served, Urza, UrzaSettings};

use crate::{
    library::request,
    world::{Local, Shelf, Trainer},
};

#[derive(Clone)]
struct Faulty {
    bus: Arc<LocalBus>,
    stores: Arc<AtomicBool>,
    acknowledges: Arc<AtomicBool>,
}

impl Faulty {
    fn new(local: &Local, subscription: Subscription) -> Self {
        let no = || Arc::new(AtomicBool::new(false));
        Self { bus: Arc::new(local.broker.join(subscription).unwrap()), stores: no(), acknowledges: no() }
    }

    fn acknowledged(&self) -> u64 {
        self.bus.status().counts.acknowledged
    }
}

impl Bus for Faulty {
    fn publish(&self, message: Message) -> Result<Ticket, Refused> {
        self.bus.publish(message)
    }

    fn poll(&self, most: usize) -> Result<Vec<Delivery>, BusError> {
        self.bus.poll(most)
    }

    fn acknowledge(&self, id: DeliveryId) -> Result<(), BusError> {
        if self.acknowledges.load(Ordering::SeqCst) {
            self.bus.acknowledge(id)
        } else {
            Err(BusError::Full { waiting: 1 })
        }
    }

    fn flush(&self, within: Duration) -> Result<(), Unflushed> {
        self.stores.store(true, Ordering::SeqCst);
        self.bus.flush(within)
    }

    fn status(&self) -> Status {
        let status = self.bus.status();
        if self.stores.load(Ordering::SeqCst) { status } else { Status { stored_through: Ticket::NONE, ..status } }
    }
}

#[test]
fn request_waits_until_its_answer_is_stored() {
    let (local, shelf) = (Local::new(BusSettings::default()), Shelf::with(&["bp"]));
    let bus = Faulty::new(&local, Urza::subscription("urza-1"));
    bus.acknowledges.store(true, Ordering::SeqCst);
    let settings = UrzaSettings::default();
    let mut urza = Urza::open(bus.clone(), shelf.path(), None, settings, local.clock.clone()).unwrap();
    local.publish(request("load-1-0", "bp"));
    assert_eq!(urza.serve_once().unwrap().ready, 1);
    urza.serve_once().unwrap();
    assert_eq!(bus.acknowledged(), 0);
    bus.stores.store(true, Ordering::SeqCst);
    urza.serve_once().unwrap();
    assert_eq!(bus.acknowledged(), 1);
}

#[test]
fn end_of_serving_waits_for_the_last_answers() {
    let (local, shelf) = (Local::new(BusSettings::default()), Shelf::with(&["bp"]));
    let bus = Faulty::new(&local, Urza::subscription("urza-1"));
    bus.acknowledges.store(true, Ordering::SeqCst);
    let settings = UrzaSettings::default();
    let mut urza = Urza::open(bus.clone(), shelf.path(), None, settings, local.clock.clone()).unwrap();
    local.publish(request("load-1-0", "bp"));
    let mut rounds = [false, true].into_iter();
    assert_eq!(urza.serve(|| rounds.next().unwrap(), |_| {}).unwrap().ready, 1);
    assert_eq!(bus.acknowledged(), 1);
}

#[test]
fn acknowledgement_that_is_not_taken_is_tried_again() {
    let (local, shelf) = (Local::new(BusSettings::default()), Shelf::with(&[]));
    let bus = Faulty::new(&local, Urza::subscription("urza-1"));
    bus.stores.store(true, Ordering::SeqCst);
    let settings = UrzaSettings::default();
    let mut urza = Urza::open(bus.clone(), shelf.path(), None, settings, local.clock.clone()).unwrap();
    local.publish(request("load-1-0", "bp"));
    assert_eq!(urza.serve_once().unwrap(), Served { failed: 1, unacknowledged: 1, ..Served::default() });
    bus.acknowledges.store(true, Ordering::SeqCst);
    assert_eq!(urza.serve_once().unwrap(), Served::default());
    assert_eq!(bus.acknowledged(), 1);
}

#[test]
fn answer_that_is_not_acknowledged_comes_again() {
    let (local, shelf) = (Local::new(BusSettings::default()), Shelf::with(&["bp"]));
    let mut urza = local.urza(&shelf);
    urza.serve_once().unwrap();
    let bus = Faulty::new(&local, kasmina_urza::OonaKernels::subscription("run-7"));
    let trainer = Trainer::new(bus.clone(), &shelf);
    trainer.ask("bp", 0, 0);
    urza.serve_once().unwrap();
    let poll = || trainer.kernels.poll(&trainer.manager.answers(), 64).unwrap();
    let first = poll();
    assert_eq!((first.taken, first.updates.len(), first.unacknowledged), (1, 1, 2));
    bus.acknowledges.store(true, Ordering::SeqCst);
    local.clock.advance(Duration::from_secs(61));
    assert_eq!(poll(), Polled { late: 1, updates: first.updates, ..Polled::default() });
    assert_eq!(bus.acknowledged(), 2);
}
