//! After a power cut at any moment, the committed network is one that the run has had.

use std::{collections::BTreeSet, sync::Arc};

use burn::module::AutodiffModule;
use kasmina::{
    Grown,
    doubles::Act::{self, *},
    leyline::v1::SeedLifecycleStage::*,
    rollback::{Store, doubles::SimulatedDisk},
};

use crate::common::{B, Mlp, World, bytes, lenient, loss, model_of, optimizer, seed, twin};

type Model = Grown<B, Mlp<B>>;

fn on(disk: &SimulatedDisk) -> (World, kasmina::Recovered) {
    let Store { journal, blobs, .. } = Store::open_on(Arc::new(disk.clone())).unwrap();
    World::recover(lenient(), journal, blobs)
}

/// What the committed network is: its loss on a batch that it was not trained on, and its fossils.
fn committed(model: &Model) -> (u32, usize) {
    let loss = model.valid().forward(|host, grafts| loss(host, 777, grafts)).unwrap();
    (loss.into_scalar().to_bits(), model.fossils().len())
}

#[test]
fn power_cut_brings_back_a_network_that_the_run_had() {
    let disk = SimulatedDisk::new();
    let start = model_of(Mlp::<B>::init());
    let (mut model, mut optimizer) = (twin(&start), optimizer());
    let (mut world, _) = on(&disk);
    let mut had = BTreeSet::from([committed(&model)]);
    world.attach(&model);
    disk.mark(1);
    let script: [(u64, Act); 6] =
        [(1, Germinate), (14, Graft(5)), (20, Stabilize), (25, Evaluate), (40, Fossilize), (45, Germinate)];
    for at in 1..=48 {
        for (_, act) in script.iter().filter(|(before, _)| *before == at) {
            let name = if at == 45 { "seed-2" } else { "seed-1" };
            world.act(name, act.clone()).unwrap();
        }
        if at == 40 {
            // What was answered joins in a call of its own here, so that this network, too, is one that the run has had.
            world.manager.settle(&mut model).unwrap();
            had.insert(committed(&model));
        }
        world.step(&mut model, &mut optimizer, at);
        had.insert(committed(&model));
        if at == 30 || at == 44 {
            world.manager.end_epoch();
            world.manager.checkpoint(&model, &optimizer).unwrap();
        }
    }
    assert_eq!((world.stage("seed-1"), had.len()), (SeedStageFossilized, 50));
    std::mem::forget(world);

    let (mut images, mut stages, mut restored_at) = (0, BTreeSet::new(), BTreeSet::new());
    disk.images(6, 7, |image| {
        images += 1;
        let (mut world, found) = on(&image.disk);
        // A host that begins anywhere.
        let (mut model, mut optimizer) = (model_of(Mlp::<B>::init()), crate::common::optimizer());
        model.host.head.weight = model.host.head.weight.map(|weight| weight * 3.0);
        let random = bytes(&model);
        let restored = world.manager.restore_model(&mut model, &mut optimizer).unwrap();
        if image.mark == 0 {
            assert_eq!(found.grafted, 0, "{}", image.history);
            return;
        }
        assert!(bytes(&model) != random, "{}", image.history);
        assert!(had.contains(&committed(&model)), "mark {}, {}: {restored:?}", image.mark, image.history);
        let stage = world.manager.stage(&seed("seed-1")).unwrap();
        assert_eq!(stage == SeedStageFossilized, model.fossils().len() == 1, "{}", image.history);
        stages.insert(stage as i32);
        restored_at.insert(restored.step);
        world.manager.attach_host(&model, |host, grafts| loss(host, 0, grafts)).unwrap();
        world.step(&mut model, &mut optimizer, 1000);
    });
    assert!(images > 300, "{images}");
    assert_eq!(restored_at, BTreeSet::from([0, 30, 39, 44]));
    assert!(stages.len() >= 6, "{stages:?}");
}
