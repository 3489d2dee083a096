//! Riders: what a TRAINING seed learns from, and what it cannot spoil.

use burn::{
    backend::Flex,
    module::{Module, ModuleMapper, Param, ParamId},
    optim::GradientsParams,
    tensor::{Tensor, TensorData},
};
use kasmina_isolation::{Grafts, HostPass, Idle, Pass, host_pass};
use kasmina_kernel_load::KernelModule;
use kasmina_leyline::v1::SeedLifecycleStage::*;

use crate::world::{B, Host, How, Seed, Whole, batch, cast, kernel, registry, rng, seed, share, weight};

fn pass(host: &Host<B>, seeds: &[Seed], forward: &impl Fn(&Host<B>, &mut Grafts<B>) -> Tensor<B, 1>) -> HostPass<B> {
    host_pass(host, forward, &cast(seeds), &mut registry(seeds), &rng()).unwrap()
}

/// The gradient of a linear kernel's weight.
fn gradient(kernel: &KernelModule<B>, gradients: &GradientsParams) -> TensorData {
    gradients.get::<Flex, 2>(weight(kernel).id).unwrap().into_data()
}

/// The kernel beside the activation, in one graph with the host: it adds nothing to the value, and its gradient.
fn beside(kernel: &KernelModule<B>, input: Tensor<B, 2>, h: Tensor<B, 2>) -> Tensor<B, 2> {
    let out = kernel.forward(input.detach()).unwrap();
    h + (out.clone() - out.detach())
}

#[test]
fn rider_learns_from_every_visit_of_its_slot() {
    let host = Host::init();
    let seeds = [Seed::new("rider", "mid", SeedStageTraining, kernel(1, 4))];
    type Slot<'a> = &'a mut dyn FnMut(Tensor<B, 2>) -> Tensor<B, 2>;
    let loss = |host: &Host<B>, slot: Slot<'_>| {
        let mut h = host.stem.forward(batch());
        for _ in 0..2 {
            h = slot(h.tanh()) * 1.5;
        }
        host.head.forward(h).square().mean()
    };
    let found = pass(&host, &seeds, &|host, grafts| loss(host, &mut |h| grafts.at("mid", h)));
    let lazily = pass(&host, &seeds, &|host, grafts| loss(host, &mut |h| grafts.at_lazy("mid", || h)));
    let reference = loss(&host, &mut |h| beside(&seeds[0].kernel, h.clone(), h)).backward();
    let reference = GradientsParams::from_grads(reference, &seeds[0].kernel);
    let (got, expected) = (gradient(&seeds[0].kernel, &found.kernels[0].1), gradient(&seeds[0].kernel, &reference));
    got.assert_approx_eq::<f32>(&expected, burn::tensor::Tolerance::rel_abs(1e-5, 1e-7));
    assert_eq!(got, gradient(&seeds[0].kernel, &lazily.kernels[0].1));
}

#[test]
fn rider_with_a_tap_reads_it_and_learns_from_the_activation() {
    let host = Host::init();
    let seeds = [Seed::new("rider", "mid", SeedStageTraining, kernel(1, 4))];
    let loss = |host: &Host<B>, slot: &mut dyn FnMut(Tensor<B, 2>, Tensor<B, 2>) -> Tensor<B, 2>| {
        let h = host.stem.forward(batch());
        host.head.forward(slot(h.clone().sin(), h.tanh())).square().mean()
    };
    let found = pass(&host, &seeds, &|host, grafts| loss(host, &mut |tap, h| grafts.at_with_tap("mid", tap, h)));
    let lazily =
        pass(&host, &seeds, &|host, grafts| loss(host, &mut |tap, h| grafts.at_lazy_with_tap("mid", || (tap, h))));
    let reference = loss(&host, &mut |tap, h| beside(&seeds[0].kernel, tap, h)).backward();
    let reference = GradientsParams::from_grads(reference, &seeds[0].kernel);
    let (got, expected) = (gradient(&seeds[0].kernel, &found.kernels[0].1), gradient(&seeds[0].kernel, &reference));
    got.assert_approx_eq::<f32>(&expected, burn::tensor::Tolerance::rel_abs(1e-5, 1e-7));
    assert_eq!(got, gradient(&seeds[0].kernel, &lazily.kernels[0].1));
}

#[test]
fn rider_behind_a_frozen_stem_learns() {
    let Host { stem, head } = Host::init();
    let host = Host { stem: stem.no_grad(), head };
    let seeds = [Seed::new("rider", "mid", SeedStageTraining, kernel(1, 4))];
    let found = pass(&host, &seeds, &|host: &Host<B>, grafts| host.loss(grafts));
    assert_eq!(found.kernels[0].1.len(), 2);
    assert_eq!(found.gradients.len(), 2, "the head's");
}

#[test]
fn rider_whose_slot_counts_for_nothing_is_idle() {
    let host = Host::init();
    let seeds = [
        Seed::new("absent", "nowhere", SeedStageTraining, kernel(1, 4)),
        Seed::new("unused", "mid", SeedStageTraining, kernel(2, 4)),
    ];
    let found = pass(&host, &seeds, &|host: &Host<B>, grafts| {
        let h = host.stem.forward(batch());
        let _ = grafts.at("mid", h.clone());
        host.head.forward(h).square().mean()
    });
    assert!(found.kernels.is_empty());
    assert_eq!(found.idle, [(seed("absent"), Idle::SlotNotReached), (seed("unused"), Idle::SlotUnused)]);
    assert!(found.violations.is_empty() && found.trace.faults.is_empty());
}

#[test]
fn rider_with_a_parameter_id_of_the_host_is_a_violation_whatever_its_shape() {
    let host = Host::init();
    for same_shape in [true, false] {
        // The head's weight has the shape [4, 1], a kernel's [4, 4].
        let channels = if same_shape { 1 } else { 4 };
        let mut seeds = [Seed::new("thief", "mid", SeedStageTraining, kernel(1, channels))];
        let forward = |host: &Host<B>, grafts: &mut Grafts<B>| {
            let h = host.stem.forward(batch()).narrow(1, 0, channels);
            let h = grafts.at("mid", h).sum_dim(1).repeat_dim(1, 4);
            host.head.forward(h).square().mean()
        };
        let mut registry = registry(&seeds);
        seeds[0].kernel = seeds[0].kernel.clone().map(&mut Rename(host.head.weight.id));
        let found = host_pass(&host, &forward, &cast(&seeds), &mut registry, &rng()).unwrap();
        let [violation] = &found.violations[..] else { panic!("{:?}", found.violations) };
        assert_eq!((violation.pass, violation.shared.len(), violation.overlap), (Pass::Host, 1, None));
        assert!(found.kernels.is_empty());
    }
}

#[test]
fn later_of_two_riders_that_share_is_named_and_a_rider_that_shares_with_a_fossil() {
    for how in [How::ById, How::ByTensor] {
        for other in [SeedStageTraining, SeedStageFossilized] {
            let mut seeds = [
                Seed::new("owner", "mid", other, kernel(1, 4)),
                Seed::new("thief", "late", SeedStageTraining, kernel(2, 4)),
            ];
            let mut registry = registry(&seeds);
            seeds[1].kernel = share(seeds[1].kernel.clone(), &weight(&seeds[0].kernel), how);
            let host = Whole::of(Host::init(), &seeds);
            let forward = |whole: &Whole<B, Host<B>>, grafts: &mut Grafts<B>| whole.host.loss(grafts);
            let found = host_pass(&host, &forward, &cast(&seeds), &mut registry, &rng()).unwrap();
            let named: Vec<_> = found.violations.iter().map(|violation| violation.seed.as_str()).collect();
            // A fossil's gradients are the host's.
            let learns = if other == SeedStageTraining { vec!["owner"] } else { Vec::new() };
            let learn: Vec<_> = found.kernels.iter().map(|(id, _)| id.as_str()).collect();
            assert_eq!((named, learn), (vec!["thief"], learns), "{how:?} {other:?}");
        }
    }
}

/// Gives the weight another id.
struct Rename(ParamId);

impl ModuleMapper<B> for Rename {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        if D == 2 { Param::initialized(self.0, param.val()) } else { param }
    }
}
