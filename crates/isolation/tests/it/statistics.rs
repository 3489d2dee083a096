//! Running statistics: put back in place, and estimated anew for another view.

use burn::{
    module::{AutodiffModule, Module, ModuleMapper, Param},
    nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, LinearLayout},
    tensor::{Tensor, backend::Backend},
};
use kasmina_blending::{Alpha, BlendBackend, BlendConfig};
use kasmina_isolation::{
    Grafts, PassKind, Statistics, frozen_twin, host_pass, independent_copy, learning_pass, refit_statistics,
};
use kasmina_kernel_load::weights::module_to_bytes;
use kasmina_leyline::v1::SeedLifecycleStage::*;

use crate::world::{B, Seed, cast, kernel, ramp, registry, rng};

/// A host with a slot before a batch normalisation, and a linear layer in column layout.
#[derive(Module, Debug)]
struct Normed<B: Backend> {
    stem: Linear<B>,
    norm: BatchNorm<B>,
    /// No pass comes here.
    idle: BatchNorm<B>,
    frozen: Linear<B>,
    head: Linear<B>,
}

impl Normed<B> {
    fn init() -> Self {
        let device = Default::default();
        let linear = |layout, outputs, steps| {
            LinearConfig::new(4, outputs).with_layout(layout).init::<B>(&device).map(&mut Ramp(steps))
        };
        let host = Self {
            stem: linear(LinearLayout::Col, 4, 7),
            norm: BatchNormConfig::new(4).with_momentum(0.2).init(&device),
            idle: BatchNormConfig::new(3).init(&device),
            frozen: linear(LinearLayout::Col, 4, 5).no_grad(),
            head: linear(LinearLayout::Row, 1, 11),
        };
        assert!(host.has_mappers());
        host
    }

    /// Every parameter and every running statistic.
    fn bytes(&self) -> Vec<u8> {
        module_to_bytes(&self.valid()).unwrap()
    }

    /// Whether the mapper of the column layout is there: a record of such a weight is transposed.
    fn has_mappers(&self) -> bool {
        let saved = |linear: &Linear<B>| linear.clone().into_record().weight.val().into_data();
        let transposed = |linear: &Linear<B>| linear.weight.val().transpose().into_data();
        [&self.stem, &self.frozen].iter().all(|linear| saved(linear) == transposed(linear))
    }
}

/// Weights that are the same in every run.
struct Ramp(usize);

impl ModuleMapper<B> for Ramp {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        param.map(|tensor| ramp::<B, D>(tensor.dims(), self.0).require_grad())
    }
}

impl<B: BlendBackend> Normed<B> {
    fn forward(&self, batch: usize, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        let h = grafts.at("mid", self.stem.forward(ramp::<B, 2>([32, 4], 3 + batch)));
        let h: Tensor<B, 3> = h.unsqueeze_dim(2);
        self.head.forward(self.frozen.forward(self.norm.forward(h).squeeze_dim(2)).tanh())
    }

    fn loss(&self, batch: usize, grafts: &mut Grafts<B>) -> Tensor<B, 1> {
        (self.forward(batch, grafts) - 1.0).square().mean()
    }
}

fn loss(batch: usize) -> impl Fn(&Normed<B>, &mut Grafts<B>) -> Tensor<B, 1> {
    move |host, grafts| host.loss(batch, grafts)
}

/// A seed that shifts and stretches what comes to the batch normalisation.
fn strong(stage: kasmina_leyline::v1::SeedLifecycleStage) -> Seed {
    struct Strong;
    impl ModuleMapper<B> for Strong {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            param.map(|tensor| {
                let shift = if D == 1 { 5.0 } else { 0.0 };
                Tensor::from_inner(tensor.inner() * 6.0 + shift).require_grad()
            })
        }
    }
    let mut seed = Seed::new("strong", "mid", stage, kernel(1, 4).map(&mut Strong));
    (seed.blend, seed.alpha) = (BlendConfig::residual(), Alpha::ONE);
    seed
}

/// A host whose running statistics fit it.
fn trained() -> Normed<B> {
    let host = Normed::init();
    for step in 0..60 {
        host.forward(step % 8, &mut Grafts::none());
    }
    host
}

#[test]
fn restored_statistics_are_those_of_the_moment() {
    let host = trained();
    let before = host.bytes();
    let clone = host.clone();
    let kept = Statistics::of(&host);
    for batch in 0..3 {
        host.forward(20 + batch, &mut Grafts::none());
    }
    assert_ne!(host.bytes(), before);
    // Looking at them has let all updates count. This one still waits.
    host.forward(23, &mut Grafts::none());
    kept.restore(&host);
    assert_eq!(host.bytes(), before);
    assert!(host.has_mappers());
    assert_eq!(clone.bytes(), before);

    // The run goes on as if nothing had happened.
    let (other, twin) = (independent_copy(&host), &host);
    for host in [&other, twin] {
        host.forward(5, &mut Grafts::none());
    }
    assert_eq!(other.bytes(), host.bytes());
}

#[test]
fn independent_copy_keeps_mappers_and_shares_no_statistics() {
    let host = trained();
    let copy = independent_copy(&host);
    assert_eq!(copy.bytes(), host.bytes());
    let before = host.bytes();
    copy.forward(30, &mut Grafts::none());
    assert_ne!(copy.bytes(), before);
    assert_eq!(host.bytes(), before);
    assert!(copy.stem.weight.is_require_grad() && !copy.frozen.weight.is_require_grad());

    assert!(host.has_mappers() && copy.has_mappers());
    assert!(!Normed::<B>::from_inner(host.valid()).has_mappers(), "what this is there for");

    // A leaf of its own: a gradient of the copy is none of the host's.
    let gradients = copy.loss(1, &mut Grafts::none()).backward();
    assert!(copy.stem.weight.val().grad(&gradients).is_some());
    assert!(host.stem.weight.val().grad(&gradients).is_none());
}

/// The loss of the live view in inference, and in training on the same batches, where statistics are those of the batch.
fn live_losses(host: &Normed<B>, seeds: &[Seed]) -> (f32, f32) {
    let (mut inference, mut training) = (0.0, 0.0);
    for batch in 0..8 {
        let of: f32 = host.valid().loss(batch, &mut cast(seeds).live()).into_scalar();
        inference += of;
        training += frozen_twin(host).loss(batch, &mut cast(seeds).measured(&[])).into_scalar();
    }
    (inference / 8.0, training / 8.0)
}

#[test]
fn refitted_statistics_fit_the_live_view() {
    let host = trained();
    for stage in [SeedStageBlending, SeedStageFossilized] {
        let seeds = [strong(stage)];
        let before = host.bytes();
        let kinds = std::cell::RefCell::new(Vec::new());
        let refitted = refit_statistics(
            &host,
            || cast(&seeds).measured(&[]),
            (0..8).map(|batch| {
                let kinds = &kinds;
                move |host: &Normed<B>, grafts: &mut Grafts<B>| {
                    kinds.borrow_mut().push(grafts.pass());
                    host.forward(batch, grafts)
                }
            }),
        );
        assert_eq!(host.bytes(), before);
        assert_eq!(*kinds.borrow(), [PassKind::Refit; 9]);
        let (stale, wanted) = live_losses(&host, &seeds);
        let (fitted, same) = live_losses(&refitted, &seeds);
        assert_eq!(wanted.to_bits(), same.to_bits(), "training mode does not read them");
        assert!((fitted - wanted).abs() < 0.1 * wanted, "{fitted} {wanted}");
        assert!((stale - wanted).abs() > wanted, "{stale} {wanted}");
        assert!(refitted.has_mappers());
        let parameters = |host: &Normed<B>| {
            let host = host.valid();
            [&host.stem, &host.frozen, &host.head].map(|linear| linear.weight.val().into_data())
        };
        assert_eq!(parameters(&refitted), parameters(&host));
    }
}

/// Momentum 0.2 forgets little of one batch, so an average that starts at the host's values would be wrong.
#[test]
fn one_batch_gives_its_own_statistics() {
    let host = trained();
    let refitted = refit_statistics(&host, Grafts::none, [loss(3)]);
    let h = host.stem.forward(ramp::<B, 2>([32, 4], 6));
    let mean = h.clone().mean_dim(0);
    let variance = (h - mean.clone()).square().mean_dim(0);
    let tolerance = burn::tensor::Tolerance::rel_abs(1e-4, 1e-5);
    let got = |state: &burn::module::RunningState<Tensor<B, 1>>| state.value_sync().into_data();
    got(&refitted.norm.running_mean).assert_approx_eq::<f32>(&mean.squeeze_dim::<1>(0).into_data(), tolerance);
    got(&refitted.norm.running_var).assert_approx_eq::<f32>(&variance.squeeze_dim::<1>(0).into_data(), tolerance);
    assert_eq!(got(&refitted.idle.running_mean), got(&host.idle.running_mean));
    assert_eq!(got(&refitted.idle.running_var), got(&host.idle.running_var));
}

#[test]
fn refit_without_batches_is_a_copy() {
    let host = trained();
    assert_eq!(refit_statistics(&host, Grafts::none, [loss(1)].into_iter().take(0)).bytes(), host.bytes());
}

#[test]
fn passes_of_a_step_leave_the_mappers_of_the_host() {
    let host = trained();
    let seeds = [strong(SeedStageBlending)];
    let (cast, mut registry) = (cast(&seeds), registry(&seeds));
    let kept = Statistics::of(&host);
    let before = host.bytes();
    let pass = host_pass(&host, &loss(2), &cast, &mut registry, &rng()).unwrap();
    let moved = host.bytes();
    assert_ne!(moved, before);
    learning_pass(&host, &loss(2), &cast, &pass, &registry, &rng()).unwrap();
    assert_eq!(host.bytes(), moved);
    kept.restore(&host);
    assert_eq!(host.bytes(), before);
    assert!(host.has_mappers());
}
