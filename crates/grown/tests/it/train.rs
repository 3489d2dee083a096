//! The user's optimizer, clipping and schedule apply to host and fossils together.

use burn::grad_clipping::GradientClippingConfig;
use burn::lr_scheduler::{LrScheduler, linear::LinearLrSchedulerConfig};
use burn::module::Module;
use burn::optim::{AdamW, AdamWConfig, Optimizer, SgdConfig, adaptor::OptimizerAdaptor, momentum::MomentumConfig};
use kasmina_grown::{Grown, clip_by_global_norm, prune_optimizer};
use kasmina_isolation::gradient_norm;

use crate::common::{FIRST, Host, STEM, Train, fossil, gradients, grown, step, trained, weights};

#[test]
fn adamw_moves_host_and_fossils() {
    let before = grown();
    let after = step(before.clone(), &mut AdamWConfig::new().init(), 1e-2, 1);
    assert!([STEM, FIRST].iter().all(|place| weights(&before, place) != weights(&after, place)));
}

#[test]
fn sgd_with_momentum_remembers_the_fossils() {
    let config =
        SgdConfig::new().with_momentum(Some(MomentumConfig { momentum: 0.9, dampening: 0.0, nesterov: false }));
    let before = grown();
    let mut optimizer = config.init();
    let with_memory = step(step(before.clone(), &mut optimizer, 1e-2, 1), &mut optimizer, 1e-2, 2);
    let without = step(step(before, &mut config.init(), 1e-2, 1), &mut config.init(), 1e-2, 2);
    assert!([STEM, FIRST].iter().all(|place| weights(&with_memory, place) != weights(&without, place)));
}

#[test]
fn fossil_pushed_at_step_10_joins_the_optimizer() {
    let mut optimizer = AdamWConfig::new().init();
    let mut network = Grown::new(Host::<Train>::new());
    for index in 0..10 {
        network = step(network, &mut optimizer, 1e-2, index);
    }
    let before = Optimizer::<Grown<Train, Host<Train>>, Train>::to_record(&optimizer).len();
    network.push(fossil("seed-1", "mid")).unwrap();
    let planted = weights(&network, FIRST);
    network = step(network, &mut optimizer, 1e-2, 10);
    let after = Optimizer::<Grown<Train, Host<Train>>, Train>::to_record(&optimizer).len();
    assert_eq!((before, after), (6, 12), "stem, norm and head have two tensors each; the fossil has six");
    assert_ne!(planted, weights(&network, FIRST));
}

/// The fossil that leaves takes its moments with it, and nothing else changes: the others step as they would have.
#[test]
fn pruned_optimizer_knows_the_module_and_steps_as_before() {
    let mut optimizer = AdamWConfig::new().init();
    let mut network = step(step(grown(), &mut optimizer, 1e-2, 0), &mut optimizer, 1e-2, 1);
    let count = |optimizer: &OptimizerAdaptor<AdamW, Grown<Train, Host<Train>>, Train>| optimizer.to_record().len();
    let (seed, all) = (network.fossils()[0].seed().clone(), count(&optimizer));
    network.remove(&seed);
    let mut pruned = prune_optimizer(optimizer.clone(), &network);
    assert_eq!((count(&optimizer), count(&pruned)), (all, all - 6), "the fossil has six tensors");
    let [kept, after] = [&mut optimizer, &mut pruned].map(|optimizer| step(network.clone(), optimizer, 1e-2, 2));
    assert_eq!(weights(&after, STEM), weights(&kept, STEM));
    assert_eq!(count(&prune_optimizer(pruned, &after)), all - 6);
}

#[test]
fn optimizer_of_burn_clips_fossils_too() {
    let clipped = |norm| {
        let clipping = GradientClippingConfig::Norm(norm);
        step(grown(), &mut SgdConfig::new().with_gradient_clipping(Some(clipping)).init(), 1.0, 1)
    };
    let (still, moved) = (clipped(1e-12), clipped(1e3));
    let start = grown();
    assert!(distance(&start, &still, FIRST) < 1e-7 && distance(&start, &moved, FIRST) > 1e-5);
}

#[test]
fn global_norm_is_that_of_host_and_fossils() {
    let network = trained();
    let (host, fossils) = network.clone().into_parts();
    let mut all = gradients(&network, 7);
    let parts: f32 = fossils.iter().map(|fossil| gradient_norm(fossil, &all).powi(2)).sum();
    let whole = (gradient_norm(&host, &all).powi(2) + parts).sqrt();
    assert!(parts > 0.0);

    let untouched = clip_by_global_norm(&network, &mut all, whole * 2.0);
    assert!((untouched - whole).abs() <= whole * 1e-5);
    assert_eq!(gradient_norm(&network, &all), untouched, "small gradients stay as they are");

    let count = all.len();
    clip_by_global_norm(&network, &mut all, whole / 4.0);
    assert!((gradient_norm(&network, &all) - whole / 4.0).abs() <= whole * 1e-5);
    assert_eq!(all.len(), count);
}

#[test]
fn schedule_applies_to_host_and_fossils() {
    let mut schedule = LinearLrSchedulerConfig::new(0.5, 0.125, 2).init().unwrap();
    let start = grown();
    let mut moved = || {
        let rate = schedule.step();
        let after = step(start.clone(), &mut SgdConfig::new().init(), rate, 1);
        [STEM, FIRST].map(|place| f64::from(distance(&start, &after, place)) / rate)
    };
    let (first, second) = (moved(), moved());
    for (first, second) in first.into_iter().zip(second) {
        assert!((second / first - 1.0).abs() < 1e-3, "{first} and {second}");
    }
    assert!(schedule.step() < 0.5);
}

#[test]
fn no_grad_freezes_host_and_fossils() {
    let (frozen, network) = (grown::<Train>().no_grad(), grown::<Train>());
    let out = frozen.forward(|host, grafts| host.forward(crate::common::batch(1), grafts)).unwrap();
    assert!(!out.is_require_grad());
    assert_eq!(gradients(&network, 1).len(), 18);
}

/// The largest move of a weight.
fn distance(start: &Grown<Train, Host<Train>>, end: &Grown<Train, Host<Train>>, place: &str) -> f32 {
    let numbers = |network| weights(network, place).into_iter().map(f32::from_bits);
    numbers(start).zip(numbers(end)).map(|(start, end)| (end - start).abs()).fold(0.0, f32::max)
}
