//! Groups, consumers that die, and entries that nobody can handle.

use std::time::Duration;

use super::{LONG, World, acknowledge, arrivals, assert_nothing_comes, publish, reader, texts};

/// More than all that a suite's settings allow an entry to live.
const HOURS: Duration = Duration::from_secs(3 * 3_600);

pub(super) fn every_group_gets_all(world: &mut impl World) {
    let (one, other) = (world.bus(reader("tamiyo", "one")), world.bus(reader("urza", "one")));
    publish(&one, ["a", "b"]);
    assert_eq!(texts(&arrivals(&one, 2)), ["a", "b"]);
    assert_eq!(texts(&arrivals(&other, 2)), ["a", "b"]);
}

pub(super) fn consumers_share(world: &mut impl World) {
    let (one, other) = (world.bus(reader("tamiyo", "one")), world.bus(reader("tamiyo", "other")));
    let published: Vec<String> = (0..200).map(|number| format!("{number:03}")).collect();
    publish(&one, &published);
    let (mut arrived, mut rounds) = (Vec::new(), 0);
    while arrived.len() < published.len() {
        for bus in [&one, &other] {
            let deliveries = bus.poll(7).expect("a subscribed bus");
            arrived.extend(texts(&deliveries));
            acknowledge(bus, &deliveries);
        }
        std::thread::sleep(super::A_MOMENT);
        rounds += 1;
        assert!(rounds < super::PATIENCE, "only {} came", arrived.len());
    }
    arrived.sort();
    assert_eq!(arrived, published, "each entry goes to one of them");
}

pub(super) fn a_dead_consumer_is_replaced(world: &mut impl World) {
    let dead = world.bus(reader("tamiyo", "dead"));
    publish(&dead, ["a", "b", "c"]);
    let held = arrivals(&dead, 3);
    acknowledge(&dead, &held[..1]);
    drop(dead);
    let heir = world.bus(reader("tamiyo", "heir"));
    assert_nothing_comes(&heir);
    world.pass(LONG);
    let inherited = arrivals(&heir, 2);
    assert_eq!(texts(&inherited), ["b", "c"]);
    assert!(inherited.iter().all(|delivery| delivery.attempt == 2), "{inherited:?}");
    acknowledge(&heir, &inherited);
    world.pass(LONG);
    assert_nothing_comes(&heir);
}

pub(super) fn nothing_is_tried_for_ever(world: &mut impl World) {
    let bus = world.bus(reader("tamiyo", "one"));
    publish(&bus, ["poison"]);
    for attempt in 1..=5 {
        let arrived = arrivals(&bus, 1);
        assert_eq!((texts(&arrived), arrived[0].attempt), (vec!["poison".to_owned()], attempt));
        world.pass(LONG);
    }
    let buried = |world: &mut dyn FnMut() -> Vec<String>| {
        (0..super::PATIENCE).any(|_| {
            // The bus in the process works when it is polled.
            assert_eq!(bus.poll(1), Ok(Vec::new()), "a sixth delivery");
            std::thread::sleep(super::A_MOMENT);
            world() == ["exhausted"]
        })
    };
    assert!(buried(&mut || world.dead_letters()), "five deliveries, then the dead letters");
    assert_nothing_comes(&bus);
    world.pass(LONG);
    assert_nothing_comes(&bus);
    assert_eq!(world.dead_letters(), ["exhausted"], "and no second letter");
    assert_eq!(bus.status().counts.dead_lettered, 1);
}

pub(super) fn a_late_group_begins_at_the_beginning(world: &mut impl World) {
    let early = world.bus(reader("tamiyo", "one"));
    publish(&early, ["a", "b"]);
    acknowledge(&early, &arrivals(&early, 2));
    let late = world.bus(reader("urza", "one"));
    assert_eq!(texts(&arrivals(&late, 2)), ["a", "b"]);
}

pub(super) fn a_late_group_buries_nothing(world: &mut impl World) {
    for _ in 0..3 {
        world.store_before("expired", HOURS);
    }
    world.store_before("young", LONG);
    let late = world.bus(reader("tamiyo", "one"));
    assert_eq!(texts(&arrivals(&late, 1)), ["young"]);
    assert_nothing_comes(&late);
    assert_eq!(world.dead_letters(), [""; 0], "what expired before the group was there is not its loss");
    assert_eq!(late.status().counts.dropped.len(), 0, "{:?}", late.status().counts.dropped);
}
