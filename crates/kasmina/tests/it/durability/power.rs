//! A power cut at any moment of a scripted life takes nothing that was acknowledged.

use std::{collections::BTreeMap, sync::Arc};

use super::settings;
use crate::common::{self, B, Mlp, World, model_of, optimizer, refused, seed};
use kasmina::{
    leyline::v1::{SeedLifecycleStage, SeedOperation::*},
    rollback::{Store, doubles::SimulatedDisk},
    safety::Clock,
};

/// What a process that was acknowledged so much stands for: per seed its stage, its alpha, and the loss with its kernel.
type Standing = BTreeMap<String, (SeedLifecycleStage, Option<f32>, Vec<f32>)>;

fn standing(world: &World, host: &kasmina::Grown<B, Mlp<B>>) -> Standing {
    let of = |name: &str| {
        let mut grafts = world.manager.seed_view(host, &seed(name));
        let loss = common::loss(&common::twin(host), 77, &mut grafts).into_data().to_vec().unwrap();
        let alpha = world.manager.alpha(&seed(name)).map(|alpha| alpha.get());
        (name.to_owned(), (world.manager.stage(&seed(name)).unwrap_or_default(), alpha, loss))
    };
    ["seed-1", "seed-2", "seed-3"].into_iter().map(of).collect()
}

fn on(disk: &SimulatedDisk) -> World {
    let Store { journal, blobs, .. } = Store::open_on(Arc::new(disk.clone())).unwrap();
    World::recover(settings(), journal, blobs).0
}

#[test]
fn power_cut_at_any_moment_keeps_every_acknowledgement() {
    let disk = SimulatedDisk::new();
    let host = model_of(Mlp::<B>::init());
    let (mut trained, mut optimizer) = (common::twin(&host), optimizer());
    let mut world = on(&disk);
    // By the number of what was acknowledged: what stood then, and the commands that had been answered.
    let mut acknowledged = vec![(standing(&world, &host), 0)];
    let mut answered: Vec<Vec<u8>> = Vec::new();
    world.attach(&host);
    acknowledged.push((standing(&world, &host), 0));
    disk.mark(1);
    for at in 1..=30 {
        let (one, two, now) = (seed("seed-1"), seed("seed-2"), world.clock.unix());
        let operate =
            |sender: &mut kasmina::CommandSender, seed, operation| sender.operate(seed, operation, [], [], now);
        let sender = &mut world.sender;
        let wire = match at {
            1 => Some(sender.germinate(&one, &common::blueprint("mlp"), now)),
            2 => Some(sender.germinate(&two, &common::blueprint("late"), now)),
            3 => Some(sender.germinate(&seed("seed-3"), &common::blueprint("mlp"), now)),
            4 => Some(sender.pause(&two, false, now)),
            6 => Some(operate(sender, &two, SeedOpCull)),
            10 => Some(sender.operate(
                &one,
                SeedOpStartGrafting,
                [("alpha_total_steps", 8.0)],
                [("blend_mode", "RESIDUAL"), ("alpha_schedule", "linear")],
                now,
            )),
            20 => Some(operate(sender, &one, SeedOpStabilize)),
            26 => Some(operate(sender, &one, SeedOpEvaluate)),
            _ => None,
        };
        if let Some(wire) = wire {
            let wire = wire.unwrap();
            let answer = world.manager.submit(&wire);
            assert_eq!(answer.is_ok(), at != 3, "{at}: {answer:?}");
            answered.push(wire);
            acknowledged.push((standing(&world, &host), answered.len()));
            disk.mark(acknowledged.len() as u64 - 1);
        }
        world.step(&mut trained, &mut optimizer, at);
        if at == 15 {
            world.manager.end_epoch();
            world.manager.checkpoint(&trained, &optimizer).unwrap();
        }
        acknowledged.push((standing(&world, &host), answered.len()));
        disk.mark(acknowledged.len() as u64 - 1);
    }
    std::mem::forget(world);

    let mut images = 0;
    disk.images(6, 7, |image| {
        images += 1;
        let mut world = on(&image.disk);
        let (found, mark) = (standing(&world, &host), image.mark as usize);
        let (sure, commands) = &acknowledged[mark];
        let next = acknowledged.get(mark + 1).map(|(standing, _)| standing);
        // Registering three seeds is three acknowledgements behind one mark.
        let within = mark == 0 || found == *sure || Some(&found) == next;
        assert!(within, "mark {mark}, {}: {found:?}, expected {sure:?} or {next:?}", image.history);
        for wire in &answered[..*commands] {
            assert_eq!(refused(world.manager.submit(wire)), "nonce_replayed");
        }
    });
    assert!(images > 500, "{images}");
}
