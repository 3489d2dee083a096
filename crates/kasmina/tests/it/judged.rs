//! A seed is judged by what it changes: with it and without it, on one batch, all others being as they are.

use crate::common::{
    B, Host, Mlp, World, alone, batch, bytes, contribution, control_step, determined, fill, model_of, named, optimizer,
    refused, seed, spoilt, weights,
};
use burn::{
    module::Module,
    nn::{Dropout, DropoutConfig, Linear, LinearConfig},
    tensor::{Tensor, activation::relu, backend::Backend},
};
use kasmina::{
    Grafts, Settings,
    blending::BlendBackend,
    doubles::{Act, Act::*, Seat, Trainee},
    kernel_load::{Activation, LayerSpec, SlotContract},
    leyline::v1::SeedLifecycleStage::*,
};

/// The default gates, and every step measures.
fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.training.probe_every = 1;
    settings.training.learning_rate = 1e-2;
    settings
}

/// Makes the kernel of `late` move the output by `by`, whatever comes in.
fn shift(world: &mut World, host: &kasmina::Grown<B, Mlp<B>>, name: &str, by: f32) {
    let head: f32 = host.host.head.weight.val().sum().into_scalar();
    fill(world, name, 0.0, by / head);
}

/// `seed-1` has learned what the host cannot, `seed-2` next to nothing. Both are in SHADOWING.
fn beside() -> (World, Trainee<Mlp<B>>) {
    let mut world = World::new(settings());
    let mut trainee = Trainee::new(determined(Mlp::init()));
    world.attach(&trainee.model);
    let both = |step, act: Act| [(step, "seed-1", act.clone()), (step, "seed-2", act)];
    let script = [both(301, Germinate), both(331, Graft(100))].concat();
    let script = [script, vec![(302, "seed-2", Scale(1e-6))]].concat();
    world.live(&mut trainee, 500, &script);
    world.act("seed-1", Stabilize).unwrap();
    world.act("seed-2", Stabilize).unwrap();
    (world, trainee)
}

#[test]
fn harmful_seed_is_refused_beside_a_helpful_one_at_evaluate() {
    let (mut world, mut trainee) = beside();
    shift(&mut world, &trainee.model, "seed-2", 3.0);
    world.live::<_, (u64, Act)>(&mut trainee, 570, &[]);
    let (helpful, harmful) = (contribution(&world, "seed-1"), contribution(&world, "seed-2"));
    assert!(helpful.mean() > 0.0 && harmful.mean() < 0.0, "{helpful:?} {harmful:?}");
    world.events();
    assert_eq!(refused(world.act("seed-2", Evaluate)), "contribution_negative");
    world.act("seed-1", Evaluate).unwrap();
    assert_eq!((world.stage("seed-1"), world.stage("seed-2")), (SeedStageProbationary, SeedStageEmbargoed));
    let events = world.events();
    let said = |name: &str| named(&events, name)[0].attributes.clone();
    let (refusal, pass) = (said("gate_failure"), said("gate_event"));
    for (attributes, measured) in [(&refusal, harmful), (&pass, helpful)] {
        assert_eq!(attributes["contribution"], measured.mean().to_string());
        assert_eq!(attributes["contribution_error"], measured.error().unwrap().to_string());
    }
    world.live::<_, (u64, Act)>(&mut trainee, 610, &[]);
    world.act("seed-1", Fossilize).unwrap();
    world.manager.settle(&mut trainee.model).unwrap();
    assert_eq!(world.stage("seed-1"), SeedStageFossilized);
}

#[test]
fn harmful_seed_is_refused_beside_a_helpful_one_at_fossilize() {
    let (mut world, mut trainee) = beside();
    world.live::<_, (u64, Act)>(&mut trainee, 570, &[]);
    world.act("seed-1", Evaluate).unwrap();
    world.act("seed-2", Evaluate).unwrap();
    shift(&mut world, &trainee.model, "seed-2", 3.0);
    world.live::<_, (u64, Act)>(&mut trainee, 700, &[]);
    // The helpful one is judged while the other one spoils the network.
    world.act("seed-1", Fossilize).unwrap();
    assert_eq!(refused(world.act("seed-2", Fossilize)), "contribution_negative");
    world.manager.settle(&mut trainee.model).unwrap();
    assert_eq!((world.stage("seed-1"), world.stage("seed-2")), (SeedStageFossilized, SeedStageEmbargoed));
}

/// Four layers, with a slot behind each.
#[derive(Module, Debug)]
struct Deep<B: Backend> {
    layers: Vec<Linear<B>>,
    head: Linear<B>,
    /// ReLU instead of tanh, which on this backend makes 0 of NaN.
    relu: bool,
}

impl<B: BlendBackend> Deep<B> {
    fn init(relu: bool) -> Self {
        let device = Default::default();
        let layers = [16, 8, 8, 8].map(|inputs| LinearConfig::new(inputs, 8).init(&device)).into();
        Self { layers, head: LinearConfig::new(8, 1).init(&device), relu }
    }
}

impl<B: BlendBackend> Host<B> for Deep<B> {
    fn forward(&self, mut x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        for (at, layer) in self.layers.iter().enumerate() {
            let h = layer.forward(x);
            let h = if self.relu { relu(h) } else { h.tanh() };
            x = grafts.at(&format!("slot-{}", at + 1), h);
        }
        self.head.forward(x)
    }

    fn seats(&self) -> Vec<Seat> {
        NAMES.iter().map(|name| ((*name).into(), name.replace("seed", "slot"), "wide".into())).collect()
    }
}

const NAMES: [&str; 4] = ["seed-1", "seed-2", "seed-3", "seed-4"];

/// Four seeds, in BLENDING since step 31.
fn four_blending(relu: bool, settings: Settings, steps: u64) -> (World, Trainee<Deep<B>>) {
    let mut world = World::new(settings);
    let between = LayerSpec::Activation(Activation::Relu);
    world.publish("wide", SlotContract::f32(2, 8, 8), vec![LayerSpec::linear(8, 8), between, LayerSpec::linear(8, 8)]);
    let mut trainee = Trainee::new(determined(Deep::init(relu)));
    world.attach(&trainee.model);
    let script: Vec<_> = NAMES.iter().flat_map(|name| [(1, *name, Germinate), (31, *name, Graft(steps))]).collect();
    world.live(&mut trainee, 31, &script);
    assert_eq!(NAMES.map(|name| world.stage(name)), [SeedStageBlending; 4]);
    (world, trainee)
}

fn only_culled(world: &World, culled: &str) {
    for name in NAMES {
        let stage = if name == culled { SeedStageEmbargoed } else { SeedStageBlending };
        assert_eq!(world.stage(name), stage, "{name}");
    }
}

/// Behind a ReLU, the loss does not show that something is NaN; the gradients of what is before it would.
#[test]
fn one_spoilt_seed_of_four_is_culled_and_the_others_learn() {
    for relu in [false, true] {
        let (mut world, mut trainee) = four_blending(relu, settings(), 40);
        world.live::<_, (u64, Act)>(&mut trainee, 35, &[]);
        assert!(world.manager.tamper(&seed("seed-2"), spoilt));
        let others = ["seed-1", "seed-3", "seed-4"];
        let before = others.map(|name| weights(&world, name));
        world.events();
        let report = world.live::<_, (u64, Act)>(&mut trainee, 36, &[]).remove(0);
        only_culled(&world, "seed-2");
        for (name, before) in others.iter().zip(before) {
            let after = weights(&world, name);
            assert!(after != before, "{name} did not learn in this step");
            let finite = after.chunks_exact(4).all(|word| f32::from_le_bytes(word.try_into().unwrap()).is_finite());
            assert!(finite, "{name} is spoilt, too");
            let step = report.seeds.iter().find(|step| step.seed == seed(name)).unwrap();
            assert!(step.loss.is_finite());
        }
        assert!(report.seeds.iter().all(|step| step.seed != seed("seed-2")));
        let events = world.events();
        let culled = named(&events, "seed_culled");
        assert_eq!(culled.len(), 1);
        assert_eq!(culled[0].attributes["reason"], "loss_not_finite");
        world.live::<_, (u64, Act)>(&mut trainee, 60, &[]);
        only_culled(&world, "seed-2");
    }
}

#[test]
fn hunt_culls_the_one_of_four_that_makes_the_loss_rise() {
    let mut slow = settings();
    // Too slow to mend what is done to one of them.
    slow.training.learning_rate = 1e-5;
    let (mut world, mut trainee) = four_blending(false, slow, 60);
    fill(&mut world, "seed-4", 1.0, 2.0);
    world.events();
    let mut culled_at = None;
    world.live_and::<_, (u64, Act)>(&mut trainee, 91, &[], |world, _, report| {
        if culled_at.is_none() && world.stage("seed-4") != SeedStageBlending {
            culled_at = Some(report.step);
        }
    });
    only_culled(&world, "seed-4");
    let events = world.events();
    let (began, ended) = (named(&events, "hunt_start"), named(&events, "hunt_end"));
    assert_eq!(began[0].attributes["reason"], "loss_rising");
    let caught: Vec<_> = ended.iter().map(|event| event.attributes["culled"].as_str()).collect();
    assert_eq!(caught.iter().filter(|culled| **culled == "seed-4").count(), 1, "{caught:?}");
    assert!(caught.iter().all(|culled| ["seed-4", "none"].contains(culled)), "{caught:?}");
    assert_eq!(named(&events, "seed_culled").len(), 1);
    assert!(culled_at.unwrap() < 91);
}

/// Draws before the slot, where passes may skip it, and behind it.
#[derive(Module, Debug)]
struct Rainy<B: Backend> {
    mlp: Mlp<B>,
    dropout: Dropout,
    /// Whether passes may reuse what comes before the slot.
    lazy: bool,
}

impl<B: BlendBackend> Host<B> for Rainy<B> {
    fn forward(&self, x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        let stem = || relu(self.mlp.stem.forward(self.dropout.forward(x)));
        let h = if self.lazy { grafts.at_lazy("late", stem) } else { grafts.at("late", stem()) };
        self.mlp.head.forward(self.dropout.forward(h))
    }

    fn seats(&self) -> Vec<Seat> {
        vec![("seed-1".into(), "late".into(), "late".into())]
    }
}

#[test]
fn neutral_seed_on_a_dropout_host_changes_no_bit_and_waits() {
    if !alone("judged::neutral_seed_on_a_dropout_host_changes_no_bit_and_waits") {
        return;
    }
    for lazy in [false, true] {
        let mut settings = settings();
        settings.training.rng_seed = Some(11);
        let mut world = World::new(settings);
        let mut trainee =
            Trainee::new(determined(Rainy { mlp: Mlp::init(), dropout: DropoutConfig::new(0.3).init(), lazy }));
        world.attach(&trainee.model);
        world.live(&mut trainee, 42, &[(1, Germinate), (21, Graft(20))]);
        world.act("seed-1", Stabilize).unwrap();
        fill(&mut world, "seed-1", 0.0, 0.0);
        for step in 43..=110 {
            if step == 60 {
                world.act("seed-1", Evaluate).unwrap();
            }
            world.live::<_, (u64, Act)>(&mut trainee, step, &[]);
            let measured = contribution(&world, "seed-1");
            assert_eq!(measured.probes(), if step < 60 { step - 42 } else { step - 59 });
            assert_eq!((measured.mean(), measured.error().unwrap_or_default()), (0.0, 0.0), "step {step}");
            assert!(measured.baseline() > 0.0);
            if step >= 60 {
                let reason = if measured.probes() < 30 { "too_few_probes" } else { "not_significant" };
                assert_eq!(refused(world.act("seed-1", Fossilize)), reason, "step {step}");
                assert_eq!(world.stage("seed-1"), SeedStageProbationary);
            }
        }
    }
}

/// Numbers that are close to Gaussian, with mean 0 and variance 1.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        let mut uniform = || {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((mixed ^ (mixed >> 31)) >> 40) as f32 / 2_f32.powi(24)
        };
        (0..12).map(|_| uniform()).sum::<f32>() - 6.0
    }
}

/// Whether a seed that changes the loss by noise around 0 got a final verdict in 60 probes, asked for after each.
fn noise_was_judged(run: u64) -> bool {
    let mut settings = settings();
    let gates = &mut settings.gates;
    // Quickly to PROBATIONARY; FOSSILIZE is judged as by default.
    (gates.stability.min_steps, gates.stability.min_losses, gates.stability.max_gradient_ratio) = (1, 1000, 1e9);
    (gates.system_impact.min_probes, gates.system_impact.relative_tolerance) = (1, 1e9);
    let mut world = World::new(settings);
    let mut host = model_of(Mlp::<B>::init());
    let mut host_optimizer = optimizer();
    world.attach(&host);
    let mut noise = Noise(run);
    let mut step = |world: &mut World| {
        let noise = noise.next();
        let forward = |host: &Mlp<B>, grafts: &mut Grafts<B>| {
            host.forward(batch(3), grafts).mean().mul_scalar(noise).add_scalar(100.0)
        };
        world.manager.train_batch(&mut host, &mut host_optimizer, 0.0, forward).unwrap();
    };
    world.act("seed-2", Germinate).unwrap();
    step(&mut world);
    world.act("seed-2", Graft(1)).unwrap();
    step(&mut world);
    world.act("seed-2", Stabilize).unwrap();
    fill(&mut world, "seed-2", 0.0, 1.0);
    step(&mut world);
    world.act("seed-2", Evaluate).unwrap();
    for _ in 0..60 {
        step(&mut world);
        match world.order("seed-2", Fossilize) {
            Ok(_) => return true,
            Err(refusal) if refusal.reason() == "contribution_negative" => return true,
            Err(refusal) => assert!(["too_few_probes", "not_significant"].contains(&refusal.reason()), "{refusal}"),
        }
    }
    let measured = contribution(&world, "seed-2");
    assert!(measured.probes() == 60 && measured.error().unwrap() > 0.0);
    false
}

/// The default significance is 0.05, so one wrong verdict is expected at most; 2,000 runs of the same statistic without tensors
/// are among the gates' own tests.
#[test]
fn noise_gets_no_final_verdict_in_twenty_runs() {
    let wrong = (0..20).filter(|run| noise_was_judged(run * 7919)).count();
    assert!(wrong <= 1, "{wrong} of 20");
}

/// The seeds do not touch the host meanwhile.
#[test]
fn judging_leaves_the_host_alone() {
    let mut world = World::new(settings());
    let (mut with, mut without) =
        (Trainee::new(determined(Deep::<B>::init(true))), Trainee::new(determined(Deep::<B>::init(true))));
    let between = LayerSpec::Activation(Activation::Relu);
    world.publish("wide", SlotContract::f32(2, 8, 8), vec![LayerSpec::linear(8, 8), between, LayerSpec::linear(8, 8)]);
    world.attach(&with.model);
    let script: Vec<_> = NAMES.iter().flat_map(|name| [(1, *name, Germinate), (11, *name, Graft(30))]).collect();
    world.live_and(&mut with, 40, &script, |_, with, report| {
        control_step(&mut without.model, &mut without.optimizer, report.step);
        assert!(bytes(&with.model) == bytes(&without.model), "step {}", report.step);
    });
}
