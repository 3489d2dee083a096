//! A seed's passes take no random numbers from a host that draws them.

use crate::common::{B, Noisy, World, alone, bytes, determined, optimizer, twin};
use burn::tensor::{Distribution, Tensor, TensorData};
use kasmina::{Settings, leyline::v1::SeedOperation::SeedOpStabilize};

#[test]
fn host_with_dropout_draws_the_same_numbers_with_a_seed() {
    if !alone("dropout::host_with_dropout_draws_the_same_numbers_with_a_seed") {
        return;
    }
    let mut host = determined(Noisy::init());
    let mut control = twin(&host);
    let (mut world, mut other) = (World::new(Settings::default()), World::new(Settings::default()));
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

/// Random numbers as a trainer draws them between batches.
fn draw() -> TensorData {
    Tensor::<B, 1>::random([8], Distribution::Default, &Default::default()).into_data()
}
