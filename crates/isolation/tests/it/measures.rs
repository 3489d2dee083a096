//! Measures of the live view, and the proof of a pause.

use std::cell::{Cell, RefCell};

use burn::{
    module::Module,
    nn::{Dropout, DropoutConfig},
    tensor::{Tensor, backend::Backend},
};
use kasmina_blending::{Alpha, BlendBackend, BlendConfig};
use kasmina_isolation::{
    Grafts, Measured, Override, PassKind, RngStream, StepRng, host_pass, learning_pass, measure, prove_pause,
};
use kasmina_leyline::{SeedId, v1::SeedLifecycleStage::*};

use crate::{
    random_hosts::alone,
    world::{B, Host, Seed, batch, cast, kernel, neutral, registry, rng, seed, spoilt},
};

fn forward(host: &Host<B>, grafts: &mut Grafts<B>) -> Tensor<B, 1> {
    host.loss(grafts)
}

fn seeds() -> Vec<Seed> {
    let mut seeds = vec![
        Seed::new("blending", "mid", SeedStageBlending, kernel(1, 4)),
        Seed::new("probationary", "late", SeedStageProbationary, kernel(2, 4)),
        Seed::new("shadowing", "late", SeedStageShadowing, kernel(3, 4)),
        Seed::new("training", "mid", SeedStageTraining, kernel(4, 4)),
    ];
    seeds[1].alpha = Alpha::ONE;
    seeds
}

fn run(host: &Host<B>, seeds: &[Seed], overrides: &[(&str, Option<f32>)]) -> Measured {
    let ids: Vec<_> = overrides.iter().map(|(id, _)| seed(id)).collect();
    let overrides: Vec<_> = ids.iter().zip(overrides).map(|(id, (_, alpha))| put(id, *alpha)).collect();
    let (cast, mut registry) = (cast(seeds), registry(seeds));
    let pass = host_pass(host, &forward, &cast, &mut registry, &rng()).unwrap();
    measure(host, &forward, &cast, &overrides, &pass, &rng())
}

fn put(seed: &SeedId, alpha: Option<f32>) -> Override<'_> {
    Override { seed, alpha: alpha.map(|alpha| Alpha::new(alpha).unwrap()) }
}

#[test]
fn override_is_as_if_the_seed_had_that_part() {
    let host = Host::init();
    let loss = |seeds: &[Seed], overrides: &[(&str, Option<f32>)]| {
        let measured = run(&host, seeds, overrides);
        assert!(measured.faults.is_empty());
        measured.loss.unwrap().to_bits()
    };
    let all = seeds();
    let live = loss(&all, &[]);
    assert_eq!(live, loss(&all[..2], &[]), "only live seeds are in the live view");
    assert_eq!(loss(&all, &[("blending", None)]), loss(&all[1..], &[]));
    assert_eq!(loss(&all, &[("blending", None), ("probationary", None)]), loss(&[], &[]));
    for id in ["shadowing", "training"] {
        let mut changed = all.clone();
        let one = changed.iter_mut().find(|seed| seed.id.as_str() == id).unwrap();
        (one.stage, one.alpha) = (SeedStageBlending, Alpha::new(0.75).unwrap());
        assert_eq!(loss(&all, &[(id, Some(0.75))]), loss(&changed, &[]));
        assert_ne!(loss(&all, &[(id, Some(0.75))]), live);
    }
    let mut paused = all.clone();
    paused[0].paused = true;
    assert_eq!(loss(&paused, &[]), loss(&all, &[("blending", None)]));
    assert_eq!(loss(&paused, &[("blending", Some(0.5))]), live);
}

#[test]
fn measures_change_nothing() {
    let host = Host::init();
    let (before, seeds) = (host.bytes(), seeds());
    let (cast, mut registry) = (cast(&seeds), registry(&seeds));
    let kinds = std::cell::RefCell::new(Vec::new());
    let forward = |host: &Host<B>, grafts: &mut Grafts<B>| {
        kinds.borrow_mut().push(grafts.pass());
        host.loss(grafts)
    };
    let pass = host_pass(&host, &forward, &cast, &mut registry, &rng()).unwrap();
    let learned = || {
        let found = learning_pass(&host, &forward, &cast, &pass, &registry, &rng()).unwrap();
        let of = found.gradients.iter().map(|(id, gradients)| {
            let kernel = &seeds.iter().find(|seed| seed.id == *id).unwrap().kernel;
            crate::world::gradients_of(kernel, gradients)
        });
        (found.loss, of.collect::<Vec<_>>())
    };
    let first = learned();
    kinds.borrow_mut().clear();
    let (shadowing, blending) = (seed("shadowing"), seed("blending"));
    let all = [put(&shadowing, Some(1.0)), put(&blending, None)];
    let one = measure(&host, &forward, &cast, &all, &pass, &rng());
    assert_eq!(*kinds.borrow(), [PassKind::Measure]);
    let live = measure(&host, &forward, &cast, &[], &pass, &rng());
    assert_ne!(one.loss, live.loss);
    assert_eq!(live.loss, first.0, "the learning pass has the loss of the live view");
    assert_eq!(measure(&host, &forward, &cast, &all, &pass, &rng()).loss, one.loss);
    assert_eq!((learned(), host.bytes()), (first, before));
}

#[test]
fn seed_that_is_put_in_and_fails_leaves_no_loss() {
    let host = Host::init();
    let mut seeds = seeds();
    seeds[2].kernel = kernel(3, 3);
    let found = run(&host, &seeds, &[("shadowing", Some(1.0))]);
    assert_eq!((found.loss, found.faults.len(), found.faults[0].reason), (None, 1, "input_channels"));
    seeds[2] = Seed::new("shadowing", "nowhere", SeedStageShadowing, kernel(3, 4));
    let found = run(&host, &seeds, &[("shadowing", Some(1.0))]);
    assert_eq!((found.loss, found.faults.len(), found.faults[0].reason), (None, 1, "slot_not_reached"));
    assert!(run(&host, &seeds, &[("shadowing", None)]).loss.is_some());
    seeds[2] = Seed::new("shadowing", "late", SeedStageShadowing, spoilt(kernel(3, 4)));
    assert!(run(&host, &seeds, &[("shadowing", Some(1.0))]).loss.unwrap().is_nan());
}

#[test]
fn fault_of_another_seed_is_listed_and_the_loss_counts() {
    let host = Host::init();
    let mut seeds = seeds();
    seeds[0].kernel = kernel(1, 3);
    let found = run(&host, &seeds, &[("shadowing", Some(1.0))]);
    assert!(found.loss.is_some());
    assert_eq!(found.faults.iter().map(|fault| fault.seed.as_str()).collect::<Vec<_>>(), ["blending"]);
    assert!(found.blend_times.contains_key(&seed("shadowing")));
}

#[test]
fn a_cast_that_times_no_blends_reports_no_times_and_the_same_loss() {
    let (host, seeds) = (Host::init(), seeds());
    let measured = |times_blends: bool| {
        let cast = cast(&seeds).timing_blends(times_blends);
        let pass = host_pass(&host, &forward, &cast, &mut registry(&seeds), &rng()).unwrap();
        measure(&host, &forward, &cast, &[], &pass, &rng())
    };
    let (timed, untimed) = (measured(true), measured(false));
    assert!(!timed.blend_times.is_empty() && untimed.blend_times.is_empty());
    assert_eq!(timed.loss, untimed.loss);
}

/// A host with dropout before, between and behind its slots.
#[derive(Module, Debug)]
struct Noisy<B: Backend> {
    host: Host<B>,
    dropout: Dropout,
}

impl<B: BlendBackend> Noisy<B> {
    fn loss(&self, grafts: &mut Grafts<B>, lazy: bool) -> Tensor<B, 1> {
        let drop = |h: Tensor<B, 2>| self.dropout.forward(h);
        let first = || drop(self.host.stem.forward(batch()));
        let h = if lazy { grafts.at_lazy("mid", first) } else { grafts.at("mid", first()) };
        let second = || drop(drop(h.clone()).tanh());
        let h = if lazy { grafts.at_lazy("late", second) } else { grafts.at("late", second()) };
        self.host.head.forward(drop(h)).square().mean()
    }
}

#[test]
fn neutral_seed_on_a_dropout_host_does_not_move_the_loss() {
    if !alone("measures::neutral_seed_on_a_dropout_host_does_not_move_the_loss") {
        return;
    }
    let device = Default::default();
    let host = Noisy { host: Host::init(), dropout: DropoutConfig::new(0.4).init() };
    for (slot, lazy) in [("mid", false), ("mid", true), ("late", false), ("late", true)] {
        for (step, stage) in [SeedStageShadowing, SeedStageBlending, SeedStageProbationary].into_iter().enumerate() {
            let mut seeds = [
                Seed::new("context", "mid", SeedStageProbationary, kernel(1, 4)),
                Seed::new("neutral", slot, stage, neutral()),
            ];
            seeds[1].blend = BlendConfig::residual();
            for seeds in [&seeds[..], &seeds[1..]] {
                let rng = StepRng::new(&device, Some(11), step as u64);
                let forward = |host: &Noisy<B>, grafts: &mut Grafts<B>| host.loss(grafts, lazy);
                let (cast, mut registry) = (cast(seeds), registry(seeds));
                let pass = host_pass(&host, &forward, &cast, &mut registry, &rng).unwrap();
                let neutral = seed("neutral");
                let of = |alpha| measure(&host, &forward, &cast, &[put(&neutral, alpha)], &pass, &rng).loss;
                let (without, with) = (of(None), of(Some(1.0)));
                assert_eq!(without.map(f32::to_bits), with.map(f32::to_bits), "{slot}, lazy: {lazy}, {stage:?}");
                // The draws go on as if nothing had been measured.
                let drawn = || {
                    rng.start(RngStream::Host);
                    host.loss(&mut Grafts::none(), lazy).into_scalar()
                };
                assert_eq!(pass.loss, drawn());
                assert_ne!(without, Some(pass.loss), "the masks are not those of the host's pass");
            }
        }
    }
}

/// In the passes of a step, and only in those, the masks are the same.
#[test]
fn masks_differ_from_slot_to_slot_and_from_step_to_step() {
    if !alone("measures::masks_differ_from_slot_to_slot_and_from_step_to_step") {
        return;
    }
    let device = Default::default();
    let host = Host::init();
    let dropout = DropoutConfig::new(0.5).init();
    let seen = std::cell::RefCell::new(Vec::new());
    for step in [0, 0, 1] {
        let forward = |host: &Host<B>, grafts: &mut Grafts<B>| {
            let mut masks = Vec::new();
            for slot in ["mid", "late", "late"] {
                grafts.at(slot, Tensor::<B, 2>::ones([1, 4], &device));
                masks.push(dropout.forward(Tensor::<B, 1>::ones([64], &device)).into_data().to_vec::<f32>().unwrap());
            }
            seen.borrow_mut().push(masks);
            host.loss(grafts)
        };
        let rng = StepRng::new(&device, Some(5), step);
        let cast = cast(&[]);
        let pass = host_pass(&host, &forward, &cast, &mut registry(&[]), &rng).unwrap();
        seen.borrow_mut().pop();
        measure(&host, &forward, &cast, &[], &pass, &rng);
    }
    let seen = seen.into_inner();
    assert_eq!(seen[0], seen[1]);
    let mut masks: Vec<_> = seen[1].iter().chain(&seen[2]).collect();
    masks.sort_by(|one, other| one.partial_cmp(other).unwrap());
    masks.dedup();
    assert_eq!(masks.len(), 6);
}

/// What an override names is computed anew from its slot on; a pass that does not name it takes it from the host's pass.
#[test]
fn masks_behind_a_slot_do_not_depend_on_what_was_skipped() {
    if !alone("measures::masks_behind_a_slot_do_not_depend_on_what_was_skipped") {
        return;
    }
    let device = Default::default();
    let host = Host::init();
    let dropout = DropoutConfig::new(0.5).init();
    let (seen, computed) = (std::cell::RefCell::new(Vec::new()), Cell::new(0));
    let mask = || dropout.forward(Tensor::<B, 2>::ones([16, 4], &device));
    let forward = |host: &Host<B>, grafts: &mut Grafts<B>| {
        let h = grafts.at("mid", mask());
        let h = grafts.at_lazy("late", || {
            computed.set(computed.get() + 1);
            h * mask()
        });
        let behind = mask();
        seen.borrow_mut().push(behind.to_data());
        host.head.forward(h * behind).mean()
    };
    let seeds = [Seed::new("training", "mid", SeedStageTraining, kernel(1, 4))];
    let rng = StepRng::new(&device, Some(5), 0);
    let cast = cast(&seeds);
    let pass = host_pass(&host, &forward, &cast, &mut registry(&seeds), &rng).unwrap();
    let training = seed("training");
    measure(&host, &forward, &cast, &[], &pass, &rng);
    assert_eq!(computed.get(), 1);
    measure(&host, &forward, &cast, &[put(&training, None)], &pass, &rng);
    assert_eq!(computed.get(), 2);
    let seen = seen.into_inner();
    assert_eq!(seen[1], seen[2]);
    assert_ne!(seen[0], seen[1], "the host's pass goes on drawing");
}

#[test]
fn pause_is_proved_by_real_passes() {
    let host = Host::init();
    for learns in [true, false] {
        let mut seeds = seeds();
        seeds[0].learns = learns;
        let (cast, mut registry) = (cast(&seeds), registry(&seeds));
        let pass = host_pass(&host, &forward, &cast, &mut registry, &rng()).unwrap();
        for id in ["blending", "probationary", "shadowing"] {
            assert_eq!(prove_pause(&seed(id), &host, &forward, &cast, &pass, &rng()), Some(true), "{id}");
        }
        assert_eq!(prove_pause(&seed("nobody"), &host, &forward, &cast, &pass, &rng()), None);
    }
}

#[test]
fn pause_that_changes_an_activation_is_not_proved() {
    let host = Host::init();
    let seeds = seeds();
    let (cast, mut registry) = (cast(&seeds), registry(&seeds));
    let (passes, spoilt) = (Cell::new(0), RefCell::new(Vec::new()));
    // One bit of the activation at the second visit, in some of the passes.
    let forward = |host: &Host<B>, grafts: &mut Grafts<B>| {
        passes.set(passes.get() + 1);
        let nudge = if spoilt.borrow().contains(&passes.get()) { 1.0 + f32::EPSILON } else { 1.0 };
        let again = grafts.at("mid", Tensor::<B, 2>::ones([1, 4], &Default::default()) * nudge);
        host.loss(grafts) + again.mean() * 0.0
    };
    let pass = host_pass(&host, &forward, &cast, &mut registry, &rng()).unwrap();
    let proved = |bad: &[u32]| {
        passes.set(0);
        *spoilt.borrow_mut() = bad.to_vec();
        prove_pause(&seed("blending"), &host, &forward, &cast, &pass, &rng())
    };
    assert_eq!(proved(&[]), Some(true));
    assert_eq!([[1, 3], [2, 4]].map(|bad| proved(&bad)), [Some(false), Some(false)]);
    assert_eq!([1, 2].map(|bad| proved(&[bad])), [None, None], "it does not come again");
    let unreached = |host: &Host<B>, _: &mut Grafts<B>| host.loss(&mut Grafts::none());
    assert_eq!(prove_pause(&seed("blending"), &host, &unreached, &cast, &pass, &rng()), None);
}
