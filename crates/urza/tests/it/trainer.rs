//! The trainer's side, in the process.

use std::{collections::BTreeSet, fs, time::Duration};

use kasmina_kernel_load::{KernelMessages, LoadError, NoKernels};
use kasmina_leyline::v1::{BusMessageType, KernelPrefetchRequest};
use kasmina_oona::{Bus, BusSettings, Message, NoBus, Stream, Subscription};
use kasmina_urza::{OonaKernels, Polled};

use crate::world::{Local, Shelf, Trainer, arrivals, blueprint};

const FIVE: [&str; 5] = ["bp-0", "bp-1", "bp-2", "bp-3", "bp-4"];

#[test]
fn fifty_requests_of_five_blueprints_load_each_once() {
    let (local, shelf) = (Local::new(BusSettings::default()), Shelf::with(&FIVE));
    let (mut urza, trainer, listener) = (local.urza(&shelf), local.trainer(&shelf), local.listener());
    let asked: BTreeSet<_> = (0..50).map(|number| trainer.ask(FIVE[number % 5], number, 0)).collect();
    let served = urza.serve_once().unwrap();
    assert_eq!((served.ready, served.failed), (5, 0));
    let arrived = arrivals(50, || trainer.step(1));
    assert!(
        arrived.iter().all(|arrival| arrival.outcome.as_ref().unwrap().manifest().blueprint_id == arrival.blueprint)
    );
    assert_eq!(arrived.iter().map(|arrival| arrival.request).collect::<BTreeSet<_>>(), asked);
    let total = trainer.manager.stats().total;
    assert_eq!((total.loads, total.ready, total.late_answers, total.unknown_answers), (5, 5, 0, 0));
    let of = |wanted| listener.poll(1_000).unwrap().iter().filter(|it| it.message_type == wanted).count();
    assert_eq!(of(BusMessageType::KernelPrefetchRequest), 5);
}

#[test]
fn request_for_a_kernel_that_is_not_there_fails() {
    let (local, shelf) = (Local::new(BusSettings::default()), Shelf::with(&[]));
    let (mut urza, trainer) = (local.urza(&shelf), local.trainer(&shelf));
    trainer.ask("absent", 0, 0);
    assert_eq!(urza.serve_once().unwrap().failed, 1);
    let error = arrivals(1, || trainer.step(1)).remove(0).outcome.unwrap_err();
    assert_eq!(error.reason(), "library_refused");
    assert!(error.to_string().contains("unknown_blueprint"), "{error}");
}

#[test]
fn artifact_that_was_changed_after_ready_is_refused() {
    let (local, shelf) = (Local::new(BusSettings::default()), Shelf::with(&["bp"]));
    let (mut urza, trainer) = (local.urza(&shelf), local.trainer(&shelf));
    trainer.ask("bp", 0, 0);
    assert_eq!(urza.serve_once().unwrap().ready, 1);
    let file = shelf.file("bp");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let error = arrivals(1, || trainer.step(1)).remove(0).outcome.unwrap_err();
    assert_eq!(error.reason(), "checksum_mismatch");
    assert_eq!(trainer.manager.stats().cache.entries, 0);
}

#[test]
fn answer_that_was_handed_over_does_not_come_again() {
    let (local, shelf) = (Local::new(BusSettings::default()), Shelf::with(&["bp"]));
    let (mut urza, trainer) = (local.urza(&shelf), local.trainer(&shelf));
    trainer.ask("bp", 0, 0);
    urza.serve_once().unwrap();
    let polled = trainer.kernels.poll(&trainer.manager.answers(), 64).unwrap();
    assert_eq!((polled.taken, polled.updates.len(), polled.unacknowledged), (1, 1, 0));
    assert_eq!(trainer.kernels.bus().status().counts.acknowledged, 2);
    local.clock.advance(Duration::from_secs(61));
    assert_eq!(trainer.kernels.poll(&trainer.manager.answers(), 64), Ok(Polled::default()));
}

#[test]
fn trainers_of_two_names_both_get_every_answer() {
    let (local, shelf) = (Local::new(BusSettings::default()), Shelf::with(&["bp"]));
    let mut urza = local.urza(&shelf);
    let one = local.trainer(&shelf);
    let other = Trainer::new(local.broker.join(OonaKernels::subscription("other")).unwrap(), &shelf);
    one.ask("bp", 0, 0);
    urza.serve_once().unwrap();
    let polled = other.kernels.poll(&other.manager.answers(), 64).unwrap();
    assert_eq!((polled.unknown, polled.taken, polled.updates.len()), (1, 0, 1));
    assert!(arrivals(1, || one.step(1))[0].outcome.is_ok());
}

#[test]
fn payloads_that_cannot_be_read_are_counted_and_gone() {
    let (local, shelf) = (Local::new(BusSettings::default()), Shelf::with(&[]));
    let trainer = local.trainer(&shelf);
    for message_type in
        [BusMessageType::KernelPrefetchReady, BusMessageType::KernelPrefetchError, BusMessageType::KernelCatalogUpdate]
    {
        local.publish(Message::new(message_type, *b"\xff\xff\xff"));
    }
    let polled = trainer.kernels.poll(&trainer.manager.answers(), 64).unwrap();
    assert_eq!(polled, Polled { malformed: 3, ..Polled::default() });
    assert_eq!(trainer.kernels.bus().status().counts.acknowledged, 3);
}

#[test]
fn message_of_another_type_is_ignored() {
    let (local, shelf) = (Local::new(BusSettings::default()), Shelf::with(&[]));
    let all = Subscription::new("all", "one", Stream::ALL);
    let trainer = Trainer::new(local.broker.join(all).unwrap(), &shelf);
    local.publish(Message::new(BusMessageType::Telemetry, *b""));
    let polled = trainer.kernels.poll(&trainer.manager.answers(), 64).unwrap();
    assert_eq!(polled, Polled { ignored: 1, ..Polled::default() });
}

#[test]
fn request_that_the_bus_does_not_take_fails_the_load() {
    let settings = BusSettings { stream_capacity: 1, ..BusSettings::default() };
    let (local, shelf) = (Local::new(settings), Shelf::with(&[]));
    // Somebody has to need the first entry, or it makes room for the second.
    let _listener = local.listener();
    let trainer = local.trainer(&shelf);
    trainer.ask("bp-0", 0, 0);
    trainer.ask("bp-1", 1, 0);
    let arrival = arrivals(1, || trainer.step(0)).remove(0);
    assert_eq!((arrival.blueprint, arrival.outcome.unwrap_err().reason()), (blueprint("bp-1"), "library_unavailable"));
}

#[test]
fn kernels_without_a_bus_fail_and_describe_nothing() {
    let kernels = OonaKernels::new(NoBus, NoKernels);
    let error = kernels.request(KernelPrefetchRequest::default()).unwrap_err();
    assert_eq!(error.reason(), "library_unavailable");
    assert_eq!(KernelMessages::descriptor(&kernels, &blueprint("bp")).unwrap_err().reason(), "unknown_blueprint");
}

#[test]
fn descriptors_come_from_the_library_that_was_given() {
    let (local, shelf) = (Local::new(BusSettings::default()), Shelf::with(&["bp"]));
    let trainer = local.trainer(&shelf);
    assert_eq!(trainer.manager.descriptor(&blueprint("bp")).unwrap().name, "sample bp");
    let unknown = trainer.manager.descriptor(&blueprint("other")).unwrap_err();
    assert!(matches!(unknown, LoadError::Library(_)), "{unknown:?}");
}
