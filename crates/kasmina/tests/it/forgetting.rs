//! A TERMINATED seed leaves the record for good, in the next process too.

use crate::common::{B, Mlp, World, lenient, model_of, optimizer, seed};
use kasmina::{
    commands::Order,
    leyline::{
        SlotId,
        v1::SeedLifecycleStage::{SeedStageDormant, SeedStageTerminated},
    },
    rollback::doubles::MemoryStore,
};

fn world(store: &MemoryStore) -> World {
    World::recover(lenient(), store.clone(), store.clone()).0
}

#[test]
fn forgotten_seed_is_unknown_to_the_next_process() {
    let store = MemoryStore::new();
    let (mut host, mut optimizer) = (model_of(Mlp::<B>::init()), optimizer());
    let mut first = world(&store);
    first.attach(&host);
    first.step(&mut host, &mut optimizer, 1);
    let gone = seed("seed-1");
    assert_eq!(first.manager.forget_seed(&gone).unwrap_err().reason(), "wrong_stage");
    first.manager.order(Order::Terminate { seed: gone.clone() }).unwrap();
    assert_eq!(first.manager.stage(&gone), Some(SeedStageTerminated));
    first.manager.forget_seed(&gone).unwrap();
    assert_eq!(first.manager.stage(&gone), None);
    assert_eq!(first.manager.forget_seed(&gone).unwrap_err().reason(), "unknown_seed");
    first.step(&mut host, &mut optimizer, 2);
    drop(first);

    let mut second = world(&store);
    assert_eq!(second.manager.stage(&gone), None);
    second.go_on(&host);
    second.manager.register_seed(gone.clone(), SlotId::new("late").unwrap()).unwrap();
    drop(second);
    assert_eq!(world(&store).manager.stage(&gone), Some(SeedStageDormant), "a new seed of the old name");
}
