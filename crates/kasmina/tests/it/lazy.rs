//! An activation given as a closure is computed once per batch, and changes nothing but the time.

use std::cell::Cell;

use crate::common::{B, Mlp, World, batch, bytes, model_of, optimizer, seed, twin};
use burn::tensor::{Tensor, activation::relu};
use kasmina::{Grafts, Settings, StepReport, gates::doubles::AllowAll, leyline::v1::SeedOperation::*};

/// Two slots, one behind the other; `computed` counts what is computed before each.
fn loss(host: &Mlp<B>, step: u64, grafts: &mut Grafts<B>, lazy: bool, computed: &[Cell<u64>; 2]) -> Tensor<B, 1> {
    let count = |slot: usize| computed[slot].set(computed[slot].get() + 1);
    let x = batch::<B>(step);
    let target = x.clone().sin().sum_dim(1);
    let first = || {
        count(0);
        (x.clone(), relu(host.stem.forward(x.clone())))
    };
    let h = if lazy {
        grafts.at_lazy_with_tap("mid", first)
    } else {
        let (tap, h) = first();
        grafts.at_with_tap("mid", tap, h)
    };
    let second = || {
        count(1);
        h.tanh()
    };
    let h = if lazy { grafts.at_lazy("late", second) } else { grafts.at("late", second()) };
    (host.head.forward(h) - target).square().mean()
}

/// 60 steps with two seeds; gives what every step reported, and how often each activation was computed.
fn run(lazy: bool) -> (Vec<StepReport>, [u64; 2], Vec<u8>) {
    let mut host = twin(&model_of(Mlp::<B>::init()));
    let mut world = World::build(Settings::default(), |builder| {
        builder.gatekeepers(AllowAll).volatile().build(&Default::default()).unwrap()
    });
    let mut optimizer = optimizer();
    let computed = [Cell::new(0), Cell::new(0)];
    world.attach(&host);
    let mut reports = Vec::new();
    for step in 1..=60 {
        match step {
            1 => {
                world.germinate("seed-1", "mlp").unwrap();
                world.germinate("seed-2", "late").unwrap();
            }
            11 => {
                world.graft("seed-2", "RESIDUAL", 10.0).unwrap();
            }
            16 => {
                world.graft("seed-1", "RESIDUAL", 10.0).unwrap();
            }
            27 => {
                world.operate("seed-1", SeedOpStabilize).unwrap();
                world.operate("seed-2", SeedOpStabilize).unwrap();
            }
            36 => {
                world.operate("seed-1", SeedOpEvaluate).unwrap();
            }
            45 => {
                world.operate("seed-1", SeedOpFossilize).unwrap();
            }
            _ => {}
        }
        let forward = |host: &Mlp<B>, grafts: &mut Grafts<B>| loss(host, step, grafts, lazy, &computed);
        reports.push(world.manager.train_batch(&mut host, &mut optimizer, 1e-2, forward).unwrap());
    }
    assert!(world.manager.alpha(&seed("seed-1")).is_some());
    (reports, computed.map(|count| count.get()), bytes(&host))
}

#[test]
fn lazy_activation_gives_the_same_bits_and_is_computed_once() {
    let (lazy, lazily, lazy_host) = run(true);
    let (eager, eagerly, eager_host) = run(false);
    for (lazy, eager) in lazy.iter().zip(&eager) {
        assert_eq!((lazy.loss.to_bits(), &lazy.seeds), (eager.loss.to_bits(), &eager.seeds), "step {}", lazy.step);
    }
    assert!(lazy_host == eager_host);
    // One for each step, and nothing before the first slot can differ from pass to pass.
    assert_eq!(lazily[0], 60);
    assert!(lazily[1] < eagerly[1] && lazily[1] > 60, "behind a live seed it is computed anew: {lazily:?} {eagerly:?}");
    assert_eq!(eagerly[0], eagerly[1]);
}
