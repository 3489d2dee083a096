//! Running statistics that fit a network with a seed before a batch normalisation.

use crate::common::{B, Cnn, Host, Noisy, World, alone, batch, bytes, determined, fill, loss, seed};
use burn::{
    module::{AutodiffModule, Module},
    nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig},
    tensor::{Distribution, Tensor, backend::Backend},
};
use kasmina::{
    Grafts, Grown, Settings,
    blending::BlendBackend,
    doubles::{Act, Act::*, Seat, Trainee},
    gates::doubles::AllowAll,
    isolation::frozen_twin,
    leyline::v1::SeedLifecycleStage::*,
};

/// A slot before a batch normalisation.
#[derive(Module, Debug)]
struct Normed<B: Backend> {
    stem: Linear<B>,
    norm: BatchNorm<B>,
    head: Linear<B>,
}

impl<B: BlendBackend> Normed<B> {
    fn init() -> Self {
        let device = Default::default();
        let stem = LinearConfig::new(16, 6).init(&device);
        Self { stem, norm: BatchNormConfig::new(6).init(&device), head: LinearConfig::new(6, 1).init(&device) }
    }
}

impl<B: BlendBackend> Host<B> for Normed<B> {
    fn forward(&self, x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        let h = grafts.at("late", self.stem.forward(x));
        let h: Tensor<B, 3> = h.unsqueeze_dim(2);
        self.head.forward(self.norm.forward(h).squeeze_dim(2))
    }

    fn seats(&self) -> Vec<Seat> {
        vec![("seed-1".into(), "late".into(), "late".into())]
    }
}

/// A seed in PROBATIONARY that moves and mixes what comes to the normalisation.
fn strong() -> (World, Trainee<Normed<B>>) {
    let mut world = World::build(Settings::default(), |builder| {
        builder.gatekeepers(AllowAll).volatile().build(&Default::default()).unwrap()
    });
    let mut host = determined(Normed::init());
    // Weights of any size may be determined, but a variance is not negative.
    host.norm = BatchNormConfig::new(6).init(&Default::default());
    let mut trainee = Trainee::new(host);
    world.attach(&trainee.model);
    let script = [(1, Germinate), (21, Graft(10)), (33, Stabilize), (43, Evaluate)];
    world.live(&mut trainee, 60, &script);
    fill(&mut world, "seed-1", 0.7, 40.0);
    (world, trainee)
}

fn batches() -> impl Iterator<Item = impl Fn(&Normed<B>, &mut Grafts<B>) -> Tensor<B, 1>> {
    (0..8).map(|batch| move |host: &Normed<B>, grafts: &mut Grafts<B>| loss(host, batch, grafts))
}

/// The mean loss of the live view in inference, and that in training mode, whose statistics are each batch's own.
fn losses(world: &World, host: &kasmina::Grown<B, Normed<B>>) -> (f32, f32) {
    let twin = frozen_twin(host);
    let (mut inference, mut training) = (0.0, 0.0);
    for step in 20..28 {
        inference += loss(&host.valid(), step, &mut world.manager.live_view(host)).into_scalar() / 8.0;
        training += loss(&twin, step, &mut world.manager.seed_view(host, &seed("seed-1"))).into_scalar() / 8.0;
    }
    (inference, training)
}

fn fits_only_when_refitted(world: &World, host: &kasmina::Grown<B, Normed<B>>) {
    let before = bytes(host);
    let refitted = world.manager.refit_statistics(host, batches());
    assert!(bytes(host) == before, "the host is as it was");
    assert!(bytes(&refitted) != before);
    let ((stale, wanted), (fitted, same)) = (losses(world, host), losses(world, &refitted));
    assert_eq!(wanted.to_bits(), same.to_bits(), "parameters are the host's");
    assert!((fitted - wanted).abs() < 0.2 * wanted, "{fitted} is not {wanted}");
    assert!((stale - wanted).abs() > wanted, "{stale} is too good: {wanted}");
}

#[test]
fn live_view_with_refitted_statistics_fits() {
    let (world, trainee) = strong();
    assert_eq!(world.stage("seed-1"), SeedStageProbationary);
    fits_only_when_refitted(&world, &trainee.model);
}

#[test]
fn fresh_fossil_with_refitted_statistics_fits() {
    let (mut world, mut trainee) = strong();
    world.act("seed-1", Fossilize).unwrap();
    world.manager.settle(&mut trainee.model).unwrap();
    assert_eq!(world.stage("seed-1"), SeedStageFossilized);
    fits_only_when_refitted(&world, &trainee.model);
    let refitted = world.manager.refit_statistics(&trainee.model, batches());
    let committed = |host: &Grown<B, Normed<B>>| {
        host.valid().forward(|host, grafts| host.forward(batch(3), grafts)).unwrap().into_data().as_bytes().to_vec()
    };
    let live = refitted.valid().host.forward(batch(3), &mut world.manager.live_view(&refitted)).into_data();
    assert!(committed(&refitted) == live.as_bytes(), "nobody else is live");
    // The host's own statistics come to fit as it trains on with the fossil.
    world.live::<_, (u64, Act)>(&mut trainee, 120, &[]);
    let (inference, training) = losses(&world, &trainee.model);
    assert!((inference - training).abs() < training, "{inference} {training}");
}

#[test]
fn refit_without_seeds_changes_no_parameter() {
    let mut world = World::new(Settings::default());
    let mut trainee = Trainee::new(Cnn::init());
    world.attach(&trainee.model);
    world.live::<_, (u64, Act)>(&mut trainee, 5, &[]);
    let none = [|host: &Cnn<B>, grafts: &mut Grafts<B>| loss(host, 9, grafts)].into_iter().take(0);
    assert!(bytes(&world.manager.refit_statistics(&trainee.model, none)) == bytes(&trainee.model));
    let one = [|host: &Cnn<B>, grafts: &mut Grafts<B>| loss(host, 9, grafts)];
    let refitted = world.manager.refit_statistics(&trainee.model, one);
    assert!(bytes(&refitted) != bytes(&trainee.model));
    assert!(
        bytes(&refitted.host.stem) == bytes(&trainee.model.host.stem)
            && bytes(&refitted.host.head) == bytes(&trainee.model.host.head)
    );
}

#[test]
fn refit_leaves_the_trainer_its_random_numbers() {
    if !alone("batch_norm::refit_leaves_the_trainer_its_random_numbers") {
        return;
    }
    let draw = || Tensor::<B, 1>::random([8], Distribution::Default, &Default::default()).into_data();
    let mut world = World::new(Settings::default());
    let mut trainee = Trainee::new(determined(Noisy::init()));
    world.attach(&trainee.model);
    world.live::<_, (u64, Act)>(&mut trainee, 3, &[]);
    let after_the_step = draw();
    let batches = (0..3).map(|batch| move |host: &Noisy<B>, grafts: &mut Grafts<B>| loss(host, batch, grafts));
    let _ = world.manager.refit_statistics(&trainee.model, batches);
    assert_eq!(draw(), after_the_step);
}
