//! Requests that no honest trainer sends.

use kasmina_leyline::v1::BusMessageType;
use kasmina_oona::{Bus, BusSettings, Message, Stream, Subscription};
use kasmina_urza::{Served, Urza, UrzaSettings};

use crate::{
    library::request,
    world::{Local, Shelf},
};

fn served(message: Message) -> Served {
    let (local, shelf) = (Local::new(BusSettings::default()), Shelf::with(&[]));
    let mut urza = local.urza(&shelf);
    local.publish(message);
    let served = urza.serve_once().unwrap();
    assert_eq!(urza.bus().status().counts.acknowledged, 1, "it does not come again");
    served
}

#[test]
fn request_that_cannot_be_read_is_counted_and_gone() {
    let malformed = Served { malformed: 1, ..Served::default() };
    let broken = Message::new(BusMessageType::KernelPrefetchRequest, *b"\xff\xff\xff");
    for message in [broken, request("", "bp"), request(&"x".repeat(257), "bp")] {
        assert_eq!(served(message), malformed);
    }
}

#[test]
fn name_that_no_blueprint_can_have_gets_an_error() {
    for name in ["", "../bp", "a\0b", &"x".repeat(10_000)] {
        assert_eq!(served(request("load-1-0", name)), Served { failed: 1, ..Served::default() }, "{name:?}");
    }
}

#[test]
fn answer_that_no_bus_takes_is_given_up() {
    let publisher = Local::new(BusSettings::default()).broker.publisher();
    let of_length = |length: usize| request("load-1-0", &"x".repeat(length));
    // The longest request that fits into an entry. Its answer has a reason besides.
    let fits = |length: &usize| publisher.publish(of_length(*length)).is_ok();
    let longest = (0..=1 << 20).rev().find(fits).unwrap();
    let served = served(of_length(longest));
    assert_eq!((served.failed, served.refused, served.waiting), (1, 1, 0));
}

#[test]
fn message_that_is_no_request_is_ignored() {
    let (local, shelf) = (Local::new(BusSettings::default()), Shelf::with(&[]));
    let bus = local.broker.join(Subscription::new("urza", "one", Stream::ALL)).unwrap();
    let mut urza = Urza::open(bus, shelf.path(), None, UrzaSettings::default(), local.clock.clone()).unwrap();
    for message_type in [BusMessageType::KernelPrefetchReady, BusMessageType::AdaptationCommand] {
        local.publish(Message::new(message_type, *b""));
    }
    assert_eq!(urza.serve_once().unwrap(), Served { ignored: 2, ..Served::default() });
    assert_eq!(urza.bus().status().counts.acknowledged, 2);
}
