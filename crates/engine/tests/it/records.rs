//! A delta's seeds are a map, in memory and in the bytes of a record.

use std::collections::BTreeMap;

use kasmina_engine::{Delta, Records, Seed};
use kasmina_leyline::{SeedId, SlotId};
use proptest::prelude::*;

use crate::world::seed;

fn record(name: u8, lives: u64) -> Seed {
    Seed { lives, ..Seed::dormant(seed(&format!("s{name}")), SlotId::new("slot").unwrap()) }
}

proptest! {
    #[test]
    fn any_history_of_changes_leaves_what_a_map_holds(
        history in prop::collection::vec((0..20_u8, prop::option::of(any::<u64>())), 0..60),
    ) {
        let (mut records, mut map) = (Records::default(), BTreeMap::new());
        for (name, change) in history {
            let id = seed(&format!("s{name}"));
            match change {
                Some(lives) => {
                    records.insert(record(name, lives));
                    map.insert(id.clone(), record(name, lives));
                }
                None => {
                    records.remove(&id);
                    map.remove(&id);
                }
            }
            prop_assert_eq!((records.get(&id), records.contains_key(&id)), (map.get(&id), map.contains_key(&id)));
            prop_assert_eq!((records.len(), records.is_empty()), (map.len(), map.is_empty()));
        }
        prop_assert!(records.keys().eq(map.keys()) && records.values().eq(map.values()));
        let bytes = postcard::to_allocvec(&records).unwrap();
        prop_assert_eq!(&bytes, &postcard::to_allocvec(&map).unwrap(), "stores have this form");
        prop_assert_eq!(postcard::from_bytes::<Records>(&bytes).unwrap(), records);
    }
}

#[test]
fn record_under_the_id_of_another_seed_is_refused() {
    let map: BTreeMap<SeedId, Seed> = [(seed("a"), record(1, 0))].into();
    let bytes = postcard::to_allocvec(&map).unwrap();
    assert!(postcard::from_bytes::<Records>(&bytes).is_err());
    let refused = serde_json::from_value::<Delta>(serde_json::json!({ "seeds": map, "forgotten": [], "run": null }));
    assert!(refused.unwrap_err().to_string().contains("the record of a is that of s1"));
}
