//! A live seed cannot touch the host: whatever a seed does until it is culled, the host's bytes are, step for step, those of
//! a run in plain Burn that never had it.

use crate::common::{self, B, Cnn, Host, Mlp, World, bytes, control_step, determined, optimizer, twin};
use burn::module::AutodiffModule;
use kasmina::{
    Settings,
    leyline::v1::{SeedLifecycleStage::*, SeedOperation::*},
};

/// 50 steps: TRAINING, BLENDING, SHADOWING, PROBATIONARY, culled.
fn a_culled_seed_leaves_no_trace<M: Host<B> + AutodiffModule<B>>(mut host: M, kernel: &str, mode: &str) {
    let mut control = twin(&host);
    // This is about bytes: ten steps of blending make no good seed, and G4 would say so.
    let mut settings = Settings::default();
    settings.gates.system_impact.relative_tolerance = 10.0;
    let mut world = World::new(settings);
    world.attach(&host);
    let (mut host_optimizer, mut control_optimizer) = (optimizer(), optimizer());
    assert_eq!(bytes(&host), bytes(&control));
    for step in 1..=50 {
        match step {
            1 => {
                world.germinate("seed-1", kernel).unwrap();
            }
            11 => {
                world.graft("seed-1", mode, 10.0).unwrap();
            }
            21 => {
                world.operate("seed-1", SeedOpStabilize).unwrap();
            }
            31 => {
                world.operate("seed-1", SeedOpEvaluate).unwrap();
            }
            41 => {
                world.operate("seed-1", SeedOpCull).unwrap();
            }
            _ => {}
        }
        let expected =
            [SeedStageTraining, SeedStageBlending, SeedStageShadowing, SeedStageProbationary, SeedStageEmbargoed];
        assert_eq!(world.stage("seed-1"), expected[(step as usize - 1) / 10], "step {step}");
        let report = world.step(&mut host, &mut host_optimizer, step);
        control_step(&mut control, &mut control_optimizer, step);
        assert_eq!(report.violations, []);
        assert!(bytes(&host) == bytes(&control), "step {step} left a trace");
    }
    let parameters: Vec<_> = world.manager.registry().parameters_of(&common::seed("seed-1")).collect();
    assert_eq!(parameters, []);
}

#[test]
fn mlp_convex() {
    a_culled_seed_leaves_no_trace(determined(Mlp::init()), "mlp", "CONVEX");
}

#[test]
fn mlp_residual() {
    a_culled_seed_leaves_no_trace(determined(Mlp::init()), "mlp", "RESIDUAL");
}

#[test]
fn cnn_with_batch_normalisation() {
    a_culled_seed_leaves_no_trace(Cnn::init(), "cnn", "RESIDUAL");
}

/// The test above can fail: a host that a seed is fossilised into does differ.
#[test]
fn a_fossil_does_leave_a_trace() {
    let mut host = determined(Mlp::init());
    let mut control = twin(&host);
    let mut world = World::new(Settings::default());
    world.attach(&host);
    let (mut host_optimizer, mut control_optimizer) = (optimizer(), optimizer());
    let mut same_until = 0;
    for step in 1..=50 {
        match step {
            1 => {
                world.germinate("seed-1", "mlp").unwrap();
            }
            11 => {
                world.graft("seed-1", "RESIDUAL", 10.0).unwrap();
            }
            21 => {
                world.operate("seed-1", SeedOpStabilize).unwrap();
            }
            31 => {
                world.operate("seed-1", SeedOpEvaluate).unwrap();
            }
            41 => {
                world.operate("seed-1", SeedOpFossilize).unwrap();
            }
            _ => {}
        }
        world.step(&mut host, &mut host_optimizer, step);
        control_step(&mut control, &mut control_optimizer, step);
        if bytes(&host) == bytes(&control) {
            same_until = step;
        }
    }
    assert_eq!(same_until, 40);
}
