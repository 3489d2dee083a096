//! A kernel that shares a parameter with the host is caught in the first step, and the host steps as if it were not there.

use crate::common::{B, Mlp, World, bytes, control_step, model_of, optimizer, refused, seed, twin};
use burn::{
    module::{Module, ModuleMapper, Param, ParamId},
    tensor::Tensor,
};
use kasmina::{
    Settings,
    isolation::Pass,
    kernel_load::{LayerSpec, SlotContract},
    leyline::v1::SeedLifecycleStage::{SeedStageEmbargoed, SeedStageTraining},
};

/// Puts the host's weight in the place of the kernel's weight of the same shape.
struct Share(Param<Tensor<B, 2>>);

impl ModuleMapper<B> for Share {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        if param.val().dims()[..] != self.0.val().dims()[..] {
            return param;
        }
        Param::initialized(self.0.id, Tensor::from_primitive(self.0.val().into_primitive()))
    }
}

#[derive(Clone, Copy, PartialEq)]
pub enum How {
    ById,
    ByTensor,
}

pub fn share(world: &mut World, host: &kasmina::Grown<B, Mlp<B>>, how: How) {
    let id = if how == How::ById { host.host.stem.weight.id } else { ParamId::new() };
    let shared = Param::initialized(id, host.host.stem.weight.val());
    assert!(world.manager.tamper(&seed("seed-1"), |kernel| kernel.map(&mut Share(shared))));
}

fn caught_at_once(how: How, blending: bool) {
    let mut host = model_of(Mlp::<B>::init());
    let mut control = twin(&host);
    let mut world = World::new(Settings::default());
    world.publish("same-shape", SlotContract::f32(2, 16, 6), vec![LayerSpec::linear(16, 6)]);
    world.attach(&host);
    let (mut host_optimizer, mut control_optimizer) = (optimizer(), optimizer());
    world.germinate("seed-1", "same-shape").unwrap();
    let mut step = 0;
    while step < 10 {
        step += 1;
        world.step(&mut host, &mut host_optimizer, step);
        control_step(&mut control, &mut control_optimizer, step);
    }
    if blending {
        world.graft("seed-1", "RESIDUAL", 100.0).unwrap();
    }
    for round in 1..=3 {
        step += 1;
        share(&mut world, &host, how);
        let report = world.step(&mut host, &mut host_optimizer, step);
        control_step(&mut control, &mut control_optimizer, step);
        assert_eq!(report.violations.len(), 1, "round {round}: {:?}", report.violations);
        let violation = &report.violations[0];
        assert_eq!(violation.seed, seed("seed-1"));
        assert_eq!(violation.pass, if blending { Pass::Seed } else { Pass::Host });
        // A tensor that the seed has put in by itself is named as the host names it and as the seed does.
        assert_eq!(violation.shared.len(), if blending && how == How::ByTensor { 2 } else { 1 });
        let overlap = violation.overlap.expect("both passes have a gradient there");
        let cosine = overlap.cosine;
        assert!((-1.0..=1.0).contains(&cosine) && overlap.dot_product.signum() == cosine.signum(), "{overlap:?}");
        assert!(bytes(&host) == bytes(&control), "round {round} left a trace");
        if blending {
            // G2 does not forgive a violation.
            assert_eq!(world.stage("seed-1"), SeedStageEmbargoed);
            return;
        }
        let expected = if round < 3 { SeedStageTraining } else { SeedStageEmbargoed };
        assert_eq!(world.stage("seed-1"), expected, "round {round}");
    }
    assert_eq!(refused(world.germinate("seed-2", "late")), "breaker_open");
    let events = world.events();
    let count = |name: &str| events.iter().filter(|event| event.description == name).count();
    assert_eq!((count("isolation_violation"), count("breaker_open"), count("seed_culled")), (3, 1, 1));
}

#[test]
fn parameter_shared_by_id_in_training_is_caught() {
    caught_at_once(How::ById, false);
}

#[test]
fn parameter_shared_by_tensor_in_training_is_caught() {
    caught_at_once(How::ByTensor, false);
}

#[test]
fn parameter_shared_by_id_in_blending_is_caught() {
    caught_at_once(How::ById, true);
}

#[test]
fn parameter_shared_by_tensor_in_blending_is_caught() {
    caught_at_once(How::ByTensor, true);
}

#[test]
fn seed_violates_once_in_a_step_of_several_runs() {
    let mut host = model_of(Mlp::<B>::init());
    let mut world = World::new(Settings::default());
    world.publish("same-shape", SlotContract::f32(2, 16, 6), vec![LayerSpec::linear(16, 6)]);
    world.attach(&host);
    world.germinate("seed-1", "same-shape").unwrap();
    share(&mut world, &host, How::ById);
    let mut step = world.manager.begin_step(&mut host).unwrap();
    for batch in 1..=4 {
        step.run(&host, |host, grafts| crate::common::loss(host, batch, grafts)).unwrap();
    }
    let report = step.finish(&mut host).unwrap();
    assert_eq!((report.violations.len(), world.manager.state().seeds[&seed("seed-1")].violations), (4, 1));
    assert_eq!(world.stage("seed-1"), SeedStageTraining);
}
