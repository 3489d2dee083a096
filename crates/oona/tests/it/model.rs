//! The bus in the process beside a slow, obvious model.

use std::{collections::BTreeMap, time::Duration};

use kasmina_leyline::v1::BusMessageType;
use kasmina_oona::{Bus, BusSettings, DeliveryId, LocalBroker, LocalBus, Message, Stream, Subscription};
use proptest::prelude::*;

use crate::worlds::clock_of_today;

const CAPACITY: usize = 6;
const MOST_DELIVERIES: u32 = 3;
const MOST_UNACKNOWLEDGED: usize = 4;
const CLAIM_AFTER: u64 = 60;
const GROUPS: [&str; 2] = ["tamiyo", "urza"];

#[derive(Clone, Debug)]
enum Action {
    Publish,
    Poll {
        group: usize,
        consumer: usize,
        most: usize,
    },
    /// Acknowledges one of all entries that this group was ever given.
    Acknowledge {
        group: usize,
        which: prop::sample::Index,
    },
    Pass {
        seconds: u64,
    },
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        3 => Just(Action::Publish),
        4 => (0..2_usize, 0..2_usize, 0..5_usize)
            .prop_map(|(group, consumer, most)| Action::Poll { group, consumer, most }),
        3 => (0..2_usize, any::<prop::sample::Index>()).prop_map(|(group, which)| Action::Acknowledge { group, which }),
        2 => (1..80_u64).prop_map(|seconds| Action::Pass { seconds }),
    ];
    prop::collection::vec(action, 1..80)
}

/// What a group has of an entry.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    New,
    Pending { consumer: usize, since: u64, deliveries: u32 },
    Done,
    Dead,
}

/// All entries ever, and what became of them. Nothing is removed.
#[derive(Default)]
struct Model {
    now: u64,
    fates: [Vec<Fate>; 2],
    removed: usize,
}

impl Model {
    fn publish(&mut self) -> bool {
        let settled = |fate: &Fate| matches!(fate, Fate::Done | Fate::Dead);
        let stored = self.fates[0].len();
        if stored - self.removed == CAPACITY {
            if !self.fates.iter().all(|fates| settled(&fates[self.removed])) {
                return false;
            }
            self.removed += 1;
        }
        self.fates.iter_mut().for_each(|fates| fates.push(Fate::New));
        true
    }

    /// The entries that a poll gives, with their attempts.
    fn poll(&mut self, group: usize, me: usize, most: usize) -> Vec<(usize, u32)> {
        let (now, fates) = (self.now, &mut self.fates[group]);
        let mut given = Vec::new();
        let mut idle: Vec<(u64, usize)> = fates
            .iter()
            .enumerate()
            .filter_map(|(at, fate)| match fate {
                Fate::Pending { since, .. } if now - since >= CLAIM_AFTER => Some((*since, at)),
                Fate::Pending { .. } | Fate::New | Fate::Done | Fate::Dead => None,
            })
            .collect();
        idle.sort_unstable();
        let held = |fates: &[Fate]| {
            fates.iter().filter(|fate| matches!(fate, Fate::Pending { consumer, .. } if *consumer == me)).count()
        };
        for (_, at) in idle {
            let Fate::Pending { consumer, deliveries, .. } = fates[at] else { unreachable!() };
            if deliveries == MOST_DELIVERIES {
                fates[at] = Fate::Dead;
            } else if given.len() < most && (consumer == me || held(fates) < MOST_UNACKNOWLEDGED) {
                fates[at] = Fate::Pending { consumer: me, since: now, deliveries: deliveries + 1 };
                given.push((at, deliveries + 1));
            }
        }
        while given.len() < most && held(fates) < MOST_UNACKNOWLEDGED {
            let Some(at) = fates.iter().position(|fate| *fate == Fate::New) else { break };
            fates[at] = Fate::Pending { consumer: me, since: now, deliveries: 1 };
            given.push((at, 1));
        }
        given
    }

    fn acknowledge(&mut self, group: usize, at: usize) {
        if matches!(self.fates[group][at], Fate::Pending { .. }) {
            self.fates[group][at] = Fate::Done;
        }
    }

    fn dead(&self) -> usize {
        self.fates.iter().flatten().filter(|fate| **fate == Fate::Dead).count()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_bus_in_the_process_does_what_the_model_does(actions in actions()) {
        let clock = clock_of_today();
        let settings = BusSettings {
            stream_capacity: CAPACITY,
            most_deliveries: MOST_DELIVERIES,
            most_unacknowledged: MOST_UNACKNOWLEDGED,
            time_to_live: Duration::from_secs(1_000_000),
            ..BusSettings::default()
        };
        let broker = LocalBroker::new(settings, clock.clone()).unwrap();
        let join = |group: &str, consumer: &str| {
            broker.join(Subscription::new(group, consumer, [Stream::Normal])).unwrap()
        };
        let buses: Vec<[LocalBus; 2]> = GROUPS.iter().map(|group| [join(group, "a"), join(group, "b")]).collect();
        let publisher = broker.publisher();
        let mut model = Model::default();
        let mut ids: [BTreeMap<usize, DeliveryId>; 2] = Default::default();
        for action in actions {
            match action {
                Action::Publish => {
                    let number = model.fates[0].len();
                    let published = publisher.publish(Message::new(BusMessageType::FieldReport, number.to_string()));
                    prop_assert_eq!(published.is_ok(), model.publish());
                }
                Action::Poll { group, consumer, most } => {
                    let arrived = buses[group][consumer].poll(most).unwrap();
                    let number = |payload: &[u8]| String::from_utf8_lossy(payload).parse::<usize>().unwrap();
                    let facts: Vec<_> = arrived.iter().map(|it| (number(&it.envelope.payload), it.attempt)).collect();
                    prop_assert_eq!(&facts, &model.poll(group, consumer, most));
                    ids[group].extend(facts.iter().zip(&arrived).map(|((number, _), it)| (*number, it.id)));
                }
                Action::Acknowledge { group, which } => {
                    let given: Vec<_> = ids[group].iter().collect();
                    if !given.is_empty() {
                        let (number, id) = given[which.index(given.len())];
                        buses[group][0].acknowledge(*id).unwrap();
                        model.acknowledge(group, *number);
                    }
                }
                Action::Pass { seconds } => {
                    clock.advance(Duration::from_secs(seconds));
                    model.now += seconds;
                }
            }
            prop_assert_eq!(broker.dead_letters().len(), model.dead().min(CAPACITY), "as many as a stream holds");
        }
    }
}
