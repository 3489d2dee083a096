//! The learning pass: who learns from it, and what one bad seed costs the others.

use std::collections::BTreeMap;

use burn::{
    module::{AutodiffModule, Module, ModuleMapper, Param},
    optim::GradientsParams,
    tensor::{Tensor, TensorData, Tolerance},
};
use kasmina_blending::{Alpha, BlendConfig};
use kasmina_isolation::{Grafts, Idle, LearningPass, Pass, PassKind, frozen_twin, host_pass, learning_pass};
use kasmina_kernel_load::{Activation, KernelModule, LayerSpec, SlotContract, weights::module_to_bytes};
use kasmina_leyline::{SeedId, v1::SeedLifecycleStage::*};

use crate::world::{
    B, Host, How, Seed, batch, built, cast, gradients_of, kernel, registry, rng, seed, share, spoilt, weight,
};

fn forward(host: &Host<B>, grafts: &mut Grafts<B>) -> Tensor<B, 1> {
    host.loss(grafts)
}

type Forward<'a> = &'a dyn Fn(&Host<B>, &mut Grafts<B>) -> Tensor<B, 1>;

/// The learning pass after a host's pass, with a registry that knows these kernels.
fn learn_with(host: &Host<B>, seeds: &[Seed], known: &[Seed], forward: Forward<'_>) -> LearningPass {
    let forward = |host: &Host<B>, grafts: &mut Grafts<B>| forward(host, grafts);
    let (cast, mut registry) = (cast(seeds), registry(known));
    let pass = host_pass(host, &forward, &cast, &mut registry, &rng()).unwrap();
    learning_pass(host, &forward, &cast, &pass, &registry, &rng()).unwrap()
}

fn learn(host: &Host<B>, seeds: &[Seed]) -> LearningPass {
    learn_with(host, seeds, seeds, &forward)
}

/// The bits of every gradient, by seed.
fn bits(seeds: &[Seed], found: &LearningPass) -> BTreeMap<SeedId, Vec<TensorData>> {
    let kernel = |id: &SeedId| &seeds.iter().find(|seed| seed.id == *id).unwrap().kernel;
    found.gradients.iter().map(|(id, gradients)| (id.clone(), gradients_of(kernel(id), gradients))).collect()
}

fn ids<'a>(of: impl IntoIterator<Item = &'a SeedId>) -> Vec<&'a str> {
    of.into_iter().map(SeedId::as_str).collect()
}

fn learners(found: &LearningPass) -> Vec<&str> {
    ids(found.gradients.iter().map(|(id, _)| id))
}

/// Four seeds, two at each slot.
fn four() -> Vec<Seed> {
    let slots = [("a", "mid"), ("b", "mid"), ("c", "late"), ("d", "late")];
    let seeds = slots.iter().zip(1..).map(|((id, slot), number)| {
        let mut seed = Seed::new(id, slot, SeedStageBlending, kernel(number, 4));
        seed.alpha = Alpha::new(0.2 * number as f32).unwrap();
        seed
    });
    seeds.collect()
}

#[test]
fn all_live_seeds_learn_in_one_pass_and_the_host_does_not() {
    let host = Host::init();
    let before = host.bytes();
    let mut seeds = four();
    seeds[1].stage = SeedStageProbationary;
    seeds[3].learns = false;
    let passes = std::cell::RefCell::new(Vec::new());
    let found = learn_with(&host, &seeds, &seeds, &|host, grafts| {
        passes.borrow_mut().push(grafts.pass());
        host.loss(grafts)
    });
    assert_eq!(*passes.borrow(), [PassKind::Host, PassKind::Learning]);
    assert_eq!(learners(&found), ["a", "b", "c"]);
    assert!(found.gradients.iter().all(|(_, gradients)| gradients.len() == 2));
    assert_eq!((found.culprits.len(), found.violations.len(), found.faults.len(), found.idle.len()), (0, 0, 0, 0));
    assert_eq!(ids(found.blend_times.keys()), ["a", "b", "c", "d"]);
    let live = frozen_twin(&host).loss(&mut cast(&seeds).measured(&[])).into_scalar();
    assert_eq!(found.loss.map(f32::to_bits), Some(live.to_bits()));
    assert_eq!(host.bytes(), before);
}

#[test]
fn nobody_who_learns_is_no_pass() {
    let host = Host::init();
    for (stage, learns, paused) in [
        (SeedStageTraining, true, false),
        (SeedStageShadowing, true, false),
        (SeedStageProbationary, false, false),
        (SeedStageBlending, true, true),
    ] {
        let mut seeds = [Seed::new("a", "mid", stage, kernel(1, 4))];
        (seeds[0].learns, seeds[0].paused) = (learns, paused);
        let (cast, mut registry) = (cast(&seeds), registry(&seeds));
        let pass = host_pass(&host, &forward, &cast, &mut registry, &rng()).unwrap();
        assert!(learning_pass(&host, &forward, &cast, &pass, &registry, &rng()).is_none(), "{stage:?}");
    }
}

/// The formulas of CONVEX and RESIDUAL in plain Burn, and no barrier but the frozen host.
#[test]
fn gradients_are_those_of_the_formulas_in_plain_burn() {
    let host = Host::init();
    let mut seeds = four();
    seeds[1].blend = BlendConfig::residual();
    seeds[2].blend = BlendConfig::residual();
    let found = learn(&host, &seeds);
    let blend = |seed: &Seed, h: Tensor<B, 2>| {
        let (out, alpha) = (seed.kernel.forward(h.clone()).unwrap(), seed.alpha.get());
        if seed.blend == BlendConfig::residual() { h + out * alpha } else { h * (1.0 - alpha) + out * alpha }
    };
    let twin = frozen_twin(&host);
    let h = burn::tensor::activation::relu(twin.stem.forward(batch()));
    let h = blend(&seeds[1], blend(&seeds[0], h)).tanh();
    let h = blend(&seeds[3], blend(&seeds[2], h));
    let loss = (twin.head.forward(h) - batch::<B>().sin().sum_dim(1)).square().mean();
    let mut gradients = loss.backward();
    for (seed, (id, got)) in seeds.iter().zip(bits(&seeds, &found)) {
        assert_eq!(seed.id, id);
        let expected = GradientsParams::from_module(&mut gradients, &seed.kernel);
        for (got, expected) in got.iter().zip(gradients_of(&seed.kernel, &expected)) {
            got.assert_approx_eq::<f32>(&expected, Tolerance::rel_abs(1e-5, 1e-7));
        }
    }
}

#[test]
fn seed_with_nan_weights_is_the_only_culprit_and_the_others_learn() {
    let host = Host::init();
    for bad in 0..4 {
        let mut seeds = four();
        seeds[bad].kernel = spoilt(seeds[bad].kernel.clone());
        let found = learn(&host, &seeds);
        assert_eq!(ids(&found.culprits), [seeds[bad].id.as_str()]);
        let without: Vec<_> = seeds.iter().filter(|seed| seed.id != seeds[bad].id).cloned().collect();
        let clean = learn(&host, &without);
        assert_eq!((found.loss, bits(&seeds, &found)), (clean.loss, bits(&without, &clean)));
        assert_eq!(found.gradients.len(), 3);
    }
}

#[test]
fn two_culprits_are_both_found() {
    let host = Host::init();
    let mut seeds = four();
    for bad in [1, 2] {
        seeds[bad].kernel = spoilt(seeds[bad].kernel.clone());
    }
    let found = learn(&host, &seeds);
    assert_eq!(ids(&found.culprits), ["b", "c"]);
    let without = [seeds[0].clone(), seeds[3].clone()];
    let clean = learn(&host, &without);
    assert_eq!((found.loss, bits(&seeds, &found)), (clean.loss, bits(&without, &clean)));
    assert_eq!(learners(&found), ["a", "d"]);
}

#[test]
fn culprit_that_does_not_learn_is_found_too() {
    let host = Host::init();
    let mut seeds = four();
    (seeds[1].stage, seeds[1].learns) = (SeedStageProbationary, false);
    seeds[1].kernel = spoilt(seeds[1].kernel.clone());
    let found = learn(&host, &seeds);
    assert_eq!((ids(&found.culprits), learners(&found)), (vec!["b"], vec!["a", "c", "d"]));
}

#[test]
fn only_seed_as_culprit_leaves_the_loss_of_the_host() {
    let host = Host::init();
    let found = learn(&host, &[Seed::new("a", "mid", SeedStageBlending, spoilt(kernel(1, 4)))]);
    assert_eq!((ids(&found.culprits), learners(&found).len()), (vec!["a"], 0));
    assert_eq!(found.loss, Some(host.loss(&mut Grafts::none()).into_scalar()));
}

#[test]
fn loss_that_nothing_makes_finite_blames_nobody() {
    let host = Host::init();
    let mut seeds = four();
    (seeds[0].stage, seeds[0].learns) = (SeedStageProbationary, false);
    let found = learn_with(&host, &seeds, &seeds, &|host, grafts| {
        let factor = if grafts.pass() == PassKind::Host { 1.0 } else { f32::NAN };
        host.loss(grafts) * factor
    });
    assert_eq!((found.loss, ids(&found.culprits)), (None, vec![]));
    assert!(found.gradients.is_empty());
}

/// A kernel that gives finite numbers, and behind which every gradient is NaN: zero times infinity.
fn saturated() -> KernelModule<B> {
    struct Infinite(bool);
    impl ModuleMapper<B> for Infinite {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            if D < 2 || std::mem::replace(&mut self.0, true) {
                return param;
            }
            param.map(|weight| Tensor::full_like(&weight.detach(), f32::INFINITY).require_grad())
        }
    }
    let (linear, act) = (|| LayerSpec::linear(4, 4), LayerSpec::Activation);
    let layers = vec![act(Activation::Sigmoid), linear(), act(Activation::Tanh), linear()];
    built(9, SlotContract::f32(2, 4, 4), layers).map(&mut Infinite(false))
}

#[test]
fn saturated_seed_costs_seeds_upstream_no_gradient() {
    let host = Host::init();
    let mut seeds = four();
    seeds[3].kernel = saturated();
    let found = learn(&host, &seeds);
    assert!(found.loss.is_some_and(f32::is_finite) && found.culprits.iter().all(|id| *id == seed("d")), "{found:?}");
    for (id, gradients) in bits(&seeds, &found).into_iter().filter(|(id, _)| *id != seed("d")) {
        let finite = gradients.iter().all(|gradient| gradient.iter::<f32>().all(f32::is_finite));
        assert!(finite, "{id} learns from a gradient that is not finite");
    }
}

/// ReLU makes 0 of NaN on this backend, so the loss does not show it, and the gradients of the seeds upstream would be NaN.
#[test]
fn nan_that_a_relu_hides_from_the_loss_is_found() {
    let host = Host::init();
    let forward = |host: &Host<B>, grafts: &mut Grafts<B>| {
        let h = grafts.at("mid", host.stem.forward(batch()).tanh());
        host.head.forward(burn::tensor::activation::relu(grafts.at("late", h.sin()))).square().mean()
    };
    let clean = four();
    let last = clean.iter().rposition(|seed| seed.slot.as_str() == "late").unwrap();
    let mut seeds = clean.clone();
    seeds[last].kernel = spoilt(seeds[last].kernel.clone());
    let found = learn_with(&host, &seeds, &seeds, &forward);
    assert_eq!(found.culprits, [seeds[last].id.clone()]);
    let without: Vec<_> = clean.iter().filter(|seed| seed.id != seeds[last].id).cloned().collect();
    let expected = learn_with(&host, &without, &without, &forward);
    assert_eq!((found.loss, bits(&seeds, &found)), (expected.loss, bits(&without, &expected)));
}

/// At alpha 0 a seed's NaN does not show in the loss. It must not come to the gradients of seeds before it either.
#[test]
fn nan_behind_an_alpha_of_zero_does_not_reach_seeds_upstream() {
    let host = Host::init();
    for blend in [BlendConfig::convex(), BlendConfig::residual(), BlendConfig::channel(vec![0.5; 4]).unwrap()] {
        let mut seeds = four();
        seeds[3].kernel = spoilt(seeds[3].kernel.clone());
        (seeds[3].alpha, seeds[3].blend) = (Alpha::ZERO, blend);
        let found = learn(&host, &seeds);
        let without: Vec<_> = seeds[..3].to_vec();
        let mut got = bits(&seeds, &found);
        assert!(got.remove(&seed("d")).is_some() && found.culprits.is_empty());
        assert_eq!(got, bits(&without, &learn(&host, &without)));
    }
}

/// The kernel in the place of the clean one, in which it shares its weight with `of`.
fn thief(clean: &KernelModule<B>, of: &burn::module::Param<Tensor<B, 2>>, how: How) -> KernelModule<B> {
    share(clean.clone(), of, how)
}

#[test]
fn seed_that_shares_with_the_host_is_named_and_the_others_learn() {
    for (how, registered) in [(How::ById, false), (How::ByTensor, false), (How::ByTensor, true)] {
        let host = Host::init();
        // A host whose stem has a weight of a kernel's shape.
        let host = Host { stem: burn::nn::LinearConfig::new(4, 4).init(&Default::default()), head: host.head };
        let forward = |host: &Host<B>, grafts: &mut Grafts<B>| {
            let h = grafts.at("mid", host.stem.forward(batch().narrow(1, 0, 4)).tanh());
            host.head.forward(grafts.at("late", h.sin())).square().mean()
        };
        let clean = four();
        let mut seeds = clean.clone();
        seeds[1].kernel = thief(&clean[1].kernel, &host.stem.weight, how);
        let before = module_to_bytes(&host.valid()).unwrap();
        let found = learn_with(&host, &seeds, if registered { &seeds } else { &clean }, &forward);
        let [violation] = &found.violations[..] else { panic!("{how:?}: {:?}", found.violations) };
        assert_eq!((violation.seed.as_str(), violation.pass), ("b", Pass::Seed));
        assert!(violation.shared.contains(&host.stem.weight.id), "{how:?}: {violation:?}");
        assert!(violation.overlap.is_some_and(|it| it.cosine.abs() <= 1.0), "{how:?}: {violation:?}");
        let without: Vec<_> = clean.iter().filter(|seed| seed.id.as_str() != "b").cloned().collect();
        let expected = learn_with(&host, &without, &without, &forward);
        assert_eq!((found.loss, bits(&seeds, &found)), (expected.loss, bits(&without, &expected)), "{how:?}");
        assert_eq!(module_to_bytes(&host.valid()).unwrap(), before);
    }
}

#[test]
fn seed_that_shares_with_another_kernel_is_named_and_the_others_learn() {
    let host = Host::init();
    for how in [How::ById, How::ByTensor] {
        for victim in [SeedStageBlending, SeedStageProbationary, SeedStageShadowing, SeedStageTraining] {
            let mut clean = four();
            (clean[0].stage, clean[0].learns) = (victim, victim != SeedStageProbationary);
            let mut seeds = clean.clone();
            seeds[2].kernel = thief(&clean[2].kernel, &weight(&clean[0].kernel), how);
            let found = learn_with(&host, &seeds, &clean, &forward);
            let named: Vec<_> = found.violations.iter().map(|violation| violation.seed.as_str()).collect();
            assert_eq!(named, ["c"], "{how:?} {victim:?}");
            let without: Vec<_> = clean.iter().filter(|seed| seed.id.as_str() != "c").cloned().collect();
            let expected = learn(&host, &without);
            assert_eq!((found.loss, bits(&seeds, &found)), (expected.loss, bits(&without, &expected)), "{how:?}");
        }
    }
}

/// "a" comes before "c" by id; but the registry knows whose parameter it is, and a PROBATIONARY seed had it first.
#[test]
fn owner_and_longer_life_count_before_the_id() {
    let host = Host::init();
    for (how, owner) in [(How::ById, SeedStageBlending), (How::ByTensor, SeedStageProbationary)] {
        let mut clean = four();
        clean[2].stage = owner;
        let mut seeds = clean.clone();
        seeds[0].kernel = thief(&clean[0].kernel, &weight(&clean[2].kernel), how);
        let found = learn_with(&host, &seeds, &clean[1..], &forward);
        let named: Vec<_> = found.violations.iter().map(|violation| violation.seed.as_str()).collect();
        // Without a registered kernel at all, by id or not, "a" may update nothing.
        assert_eq!((named, learners(&found)), (vec!["a"], vec!["b", "c", "d"]), "{how:?}");
    }
}

#[test]
fn unregistered_kernel_is_a_violation_and_the_others_learn() {
    let host = Host::init();
    let seeds = four();
    let found = learn_with(&host, &seeds, &seeds[1..], &forward);
    assert_eq!((found.violations.len(), &found.violations[0].seed), (1, &seed("a")));
    assert_eq!(learners(&found), ["b", "c", "d"]);
}

#[test]
fn seed_whose_slot_counts_for_nothing_is_idle_and_the_others_learn() {
    let host = Host::init();
    let mut seeds = four();
    seeds[0].slot = kasmina_leyline::SlotId::new("nowhere").unwrap();
    seeds[1].slot = kasmina_leyline::SlotId::new("unused").unwrap();
    let forward = |host: &Host<B>, grafts: &mut Grafts<B>| {
        let _ = grafts.at("unused", batch::<B>().narrow(1, 0, 4));
        host.loss(grafts)
    };
    let found = learn_with(&host, &seeds, &seeds, &forward);
    assert_eq!(found.idle, [(seed("a"), Idle::SlotNotReached), (seed("b"), Idle::SlotUnused)]);
    assert_eq!(learners(&found), ["c", "d"]);
    assert!(found.violations.is_empty() && found.faults.is_empty());

    let found = learn_with(&host, &seeds[..2], &seeds[..2], &forward);
    assert_eq!((found.idle.len(), found.gradients.len()), (2, 0), "the loss of nobody has no graph");
    assert_eq!(found.loss, Some(host.loss(&mut Grafts::none()).into_scalar()));
    assert_eq!(Idle::SlotUnused.reason(), "slot_unused");
}

#[test]
fn kernel_that_fails_is_a_fault_and_the_others_learn() {
    let host = Host::init();
    let mut seeds = four();
    seeds[0].kernel = kernel(1, 3);
    let found = learn(&host, &seeds);
    let [fault] = &found.faults[..] else { panic!("{:?}", found.faults) };
    assert_eq!((fault.seed.as_str(), fault.reason), ("a", "input_channels"));
    assert_eq!(learners(&found), ["b", "c", "d"]);
    assert!(found.idle.is_empty());
}

#[test]
fn kernel_that_fails_at_one_of_two_visits_gets_no_gradients() {
    let host = Host::init();
    let seeds = four();
    let found = learn_with(&host, &seeds, &seeds, &|host, grafts| {
        let narrow = grafts.at("mid", batch::<B>().narrow(1, 0, 3)).mean();
        host.loss(grafts) + narrow
    });
    assert_eq!((learners(&found), found.faults.len()), (vec!["c", "d"], 2));
}
