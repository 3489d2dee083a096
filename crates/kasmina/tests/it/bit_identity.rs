//! A live seed cannot touch the host: whatever a seed does until it is culled, the host's bytes are, step for step, those of
//! a run in plain Burn that never had it.

use crate::common::{self, B, Cnn, Host, Mlp, World, bytes, control_step, determined, model_of, optimizer, twin};
use kasmina::{
    Settings,
    blending::{AlphaSchedule, BlendConfig},
    doubles::{Act, Act::*, Trainee},
    gates::doubles::AllowAll,
    grown::HostModule,
    leyline::v1::SeedLifecycleStage::*,
};

/// A world whose gates are open: ten steps of blending make no good seed, and this is about bytes.
fn world() -> World {
    World::build(Settings::default(), |builder| {
        builder.gatekeepers(AllowAll).volatile().build(&Default::default()).unwrap()
    })
}

fn life(blend: BlendConfig, end: Act) -> [(u64, Act); 5] {
    let graft = GraftAs(blend, AlphaSchedule::Linear { total_steps: 10 });
    [(1, Germinate), (11, graft), (21, Stabilize), (31, Evaluate), (41, end)]
}

/// 50 steps: TRAINING, BLENDING, SHADOWING, PROBATIONARY, culled.
fn culled_seed_leaves_no_trace<M: Host<B> + HostModule<B>>(host: M, blend: BlendConfig) {
    let mut trainee = Trainee::new(host);
    let (mut control, mut its_optimizer) = (twin(&trainee.model), optimizer());
    let mut world = world();
    world.attach(&trainee.model);
    assert_eq!(bytes(&trainee.model), bytes(&control));
    world.live_and(&mut trainee, 50, &life(blend, Cull), |world, trainee, report| {
        let step = report.step;
        let expected =
            [SeedStageTraining, SeedStageBlending, SeedStageShadowing, SeedStageProbationary, SeedStageEmbargoed];
        assert_eq!(world.stage("seed-1"), expected[(step as usize - 1) / 10], "step {step}");
        control_step(&mut control, &mut its_optimizer, step);
        assert_eq!(report.violations, []);
        assert!(bytes(&trainee.model) == bytes(&control), "step {step} left a trace");
    });
    let parameters: Vec<_> = world.manager.registry().parameters_of(&common::seed("seed-1")).collect();
    assert_eq!(parameters, []);
}

#[test]
fn mlp_with_culled_convex_seed_equals_plain_burn() {
    culled_seed_leaves_no_trace(model_of(Mlp::init()), BlendConfig::convex());
}

#[test]
fn mlp_with_culled_residual_seed_equals_plain_burn() {
    culled_seed_leaves_no_trace(model_of(Mlp::init()), BlendConfig::residual());
}

#[test]
fn batch_norm_with_culled_seed_equals_plain_burn() {
    culled_seed_leaves_no_trace(Cnn::init(), BlendConfig::residual());
}

/// The tests above can fail: a host with a fossil does differ.
#[test]
fn host_differs_from_plain_burn_once_a_seed_is_fossilized() {
    let mut trainee = Trainee::new(determined(Mlp::init()));
    let (mut control, mut its_optimizer) = (twin(&trainee.model), optimizer());
    let mut world = world();
    world.attach(&trainee.model);
    let mut same_until = 0;
    world.live_and(&mut trainee, 50, &life(BlendConfig::residual(), Fossilize), |_, trainee, report| {
        control_step(&mut control, &mut its_optimizer, report.step);
        if bytes(&trainee.model) == bytes(&control) {
            same_until = report.step;
        }
    });
    assert_eq!(same_until, 40);
}
