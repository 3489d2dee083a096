//! The suite, run by every bus of this crate.

use std::time::Duration;

use kasmina_leyline::v1::BusMessageType;
use kasmina_oona::{
    Bus, BusError, DeliveryId, EntryId, Health, Message, NoBus, PublishError, Stream, conformance, doubles::RedisServer,
};

use crate::worlds::{LocalWorld, RedisWorld};

#[test]
fn the_bus_in_the_process_conforms() {
    conformance::run(LocalWorld::new);
}

#[test]
fn the_bus_over_redis_streams_conforms() {
    if RedisServer::start(&[]).is_none() {
        return;
    }
    conformance::run(|settings| RedisWorld::new(settings, &[]).unwrap());
}

#[test]
fn the_null_object_refuses_everything() {
    let bus: Box<dyn Bus> = Box::new(NoBus);
    let message = Message::new(BusMessageType::Telemetry, *b"x");
    let refused = bus.publish(message.clone()).unwrap_err();
    assert_eq!((*refused.message, refused.cause), (message, PublishError::NotWired));
    assert_eq!(bus.poll(1), Err(BusError::NotWired));
    let id = DeliveryId { stream: Stream::Normal, entry: EntryId { millis: 1, sequence: 0 } };
    assert_eq!(bus.acknowledge(id), Err(BusError::NotWired));
    assert_eq!(bus.flush(Duration::ZERO), Ok(()));
    assert!(matches!(bus.status().health, Health::Down { .. }));
}
