//! A seed's passes take no random numbers from a host that draws them.

use std::collections::BTreeSet;

use crate::common::{B, Noisy, World, alone, bytes, loss, model_of, optimizer, twin};
use burn::tensor::{Distribution, Tensor, TensorData, backend::Backend};
use kasmina::{Settings, leyline::v1::SeedOperation::SeedOpStabilize};

#[test]
fn host_with_dropout_draws_the_same_numbers_with_a_seed() {
    if !alone("dropout::host_with_dropout_draws_the_same_numbers_with_a_seed") {
        return;
    }
    let mut host = model_of(Noisy::init());
    let mut control = twin(&host);
    let mut settings = Settings::default();
    settings.training.rng_seed = Some(7);
    let (mut world, mut other) = (World::new(settings.clone()), World::new(settings));
    world.attach(&host);
    other.attach(&control);
    let (mut host_optimizer, mut control_optimizer) = (optimizer(), optimizer());
    for step in 1..=40 {
        match step {
            1 => {
                world.germinate("seed-1", "mlp").unwrap();
            }
            11 => {
                world.graft("seed-1", "CONVEX", 10.0).unwrap();
            }
            21 => {
                world.operate("seed-1", SeedOpStabilize).unwrap();
            }
            _ => {}
        }
        world.step(&mut host, &mut host_optimizer, step);
        let drawn_after_seeds = draw();
        other.step(&mut control, &mut control_optimizer, step);
        assert_eq!(drawn_after_seeds, draw(), "what the trainer draws at step {step}");
        assert!(bytes(&host) == bytes(&control), "step {step} left a trace");
    }
}

#[test]
fn runs_differ_if_the_backend_was_seeded_differently() {
    if !alone("dropout::runs_differ_if_the_backend_was_seeded_differently") {
        return;
    }
    let run = |backend: u64| {
        B::seed(&Default::default(), backend);
        let mut host = model_of(Noisy::init());
        let (mut world, mut host_optimizer) = (World::new(Settings::default()), optimizer());
        world.attach(&host);
        for step in 1..=3 {
            world.step(&mut host, &mut host_optimizer, step);
        }
        bytes(&host)
    };
    let hosts: BTreeSet<_> = (1..=5).map(run).collect();
    assert_eq!(hosts.len(), 5);
    assert!(hosts.contains(&run(3)), "the same seed gives the same run");
}

/// A trainer that draws its batches would otherwise draw the one that was refused for ever.
#[test]
fn draws_after_a_refused_step_are_new_ones() {
    if !alone("dropout::draws_after_a_refused_step_are_new_ones") {
        return;
    }
    let mut host = model_of(Noisy::init());
    let mut settings = Settings::default();
    settings.training.rng_seed = Some(7);
    let (mut world, mut host_optimizer) = (World::new(settings), optimizer());
    world.attach(&host);
    world.step(&mut host, &mut host_optimizer, 1);
    let mut seen = vec![draw()];
    for _ in 0..2 {
        let refused = world
            .manager
            .train_batch(&mut host, &mut host_optimizer, 1e-2, |host, grafts| loss(host, 2, grafts) * f32::NAN);
        assert!(refused.is_err());
        let drawn = draw();
        assert!(!seen.contains(&drawn), "the trainer draws the same batch again");
        seen.push(drawn);
    }
}

/// Random numbers as a trainer draws them between batches.
fn draw() -> TensorData {
    Tensor::<B, 1>::random([8], Distribution::Default, &Default::default()).into_data()
}
