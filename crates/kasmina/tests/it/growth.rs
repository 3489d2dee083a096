//! The life of seeds, on signed commands.

use crate::common::{self, B, Host, Mlp, World, lenient, model_of, optimizer, refused, seed};
use burn::{module::AutodiffModule, optim::Optimizer};
use kasmina::{
    Advance, AutomaticMode, Grown, Validation,
    gates::doubles::{AllowAll, Scripted},
    grown::HostModule,
    leyline::v1::{SeedLifecycleGate::*, SeedLifecycleStage::*, SeedOperation::*, TelemetryEvent},
    lifecycle::Finding,
    safety::Clock,
};

type Model = Grown<B, Mlp<B>>;

/// Trains for `steps` steps, counted on in `at`.
fn train<M: Host<B> + HostModule<B>>(
    world: &mut World,
    host: &mut Grown<B, M>,
    optimizer: &mut impl Optimizer<Grown<B, M>, B>,
    at: &mut u64,
    steps: u64,
) {
    for _ in 0..steps {
        *at += 1;
        world.step(host, optimizer, *at);
    }
}

/// A world in which seed-1 has reached the last stage asked for here.
fn grown_to(stage: i32) -> (World, Model, impl Optimizer<Model, B>, u64) {
    let (mut host, mut optimizer, mut at) = (model_of(Mlp::<B>::init()), optimizer(), 0);
    let mut world = World::new(lenient());
    world.attach(&host);
    for next in SeedStageTraining as i32..=stage {
        match next {
            3 => world.germinate("seed-1", "mlp"),
            4 => world.graft("seed-1", "RESIDUAL", 20.0),
            5 => world.operate("seed-1", SeedOpStabilize),
            6 => world.operate("seed-1", SeedOpEvaluate),
            _ => world.operate("seed-1", SeedOpFossilize),
        }
        .unwrap();
        world.manager.settle(&mut host).unwrap();
        assert_eq!(world.stage("seed-1") as i32, next);
        train(&mut world, &mut host, &mut optimizer, &mut at, 20);
    }
    (world, host, optimizer, at)
}

#[test]
fn fossilized_seed_trains_on_with_the_host() {
    let (mut world, mut host, mut optimizer, mut at) = grown_to(SeedStageFossilized as i32);
    let events = world.events();
    let of_seed =
        |event: &&TelemetryEvent| event.description == "seed_state" && event.attributes["from"] != "SEED_STAGE_UNKNOWN";
    let stages: Vec<_> =
        events.iter().filter(of_seed).map(|event| &event.attributes["to"]["SEED_STAGE_".len()..]).collect();
    assert_eq!(stages, ["GERMINATED", "TRAINING", "BLENDING", "SHADOWING", "PROBATIONARY", "FOSSILIZED"]);
    let gates: Vec<_> = events
        .iter()
        .filter(|event| event.description == "gate_event")
        .map(|event| event.attributes["gate"].as_str())
        .collect();
    let [g0, g1, g2, g3, g4] = [
        "SEED_GATE_G0_SANITY",
        "SEED_GATE_G1_GRADIENT_HEALTH",
        "SEED_GATE_G2_STABILITY",
        "SEED_GATE_G3_INTERFACE",
        "SEED_GATE_G4_SYSTEM_IMPACT",
    ];
    assert_eq!(gates, [g0, g1, g2, g3, g4, g4]);

    let bytes = |host: &Grown<B, Mlp<B>>| common::bytes(host.fossils()[0].kernel());
    let before = bytes(&host);
    let states = world.manager.export_seed_states();
    let fossil = states.iter().find(|state| state.seed_id == "seed-1").unwrap();
    assert_eq!((fossil.stage(), fossil.metrics["alpha"]), (SeedStageFossilized, 1.0));
    assert!(world.manager.kernel(&seed("seed-1")).is_none(), "the model has it");
    train(&mut world, &mut host, &mut optimizer, &mut at, 5);
    assert_ne!(bytes(&host), before);
    assert_eq!(refused(world.operate("seed-1", SeedOpCull)), "illegal_transition");
}

#[test]
fn views_show_a_seed_from_the_stage_that_they_are_for() {
    for (stage, in_live, in_committed) in
        [(3, false, false), (4, true, false), (5, false, false), (6, true, false), (7, true, true)]
    {
        let (world, host, ..) = grown_to(stage);
        let bare = host.valid().host.forward(common::batch(3), &mut kasmina::Grafts::none()).into_data();
        let committed =
            host.valid().forward(|host, grafts| host.forward(common::batch(3), grafts)).unwrap().into_data();
        let live = host.valid().host.forward(common::batch(3), &mut world.manager.live_view(&host)).into_data();
        assert_eq!((live != bare, committed != bare), (in_live, in_committed), "stage {stage}");
    }
}

#[test]
fn seeds_at_different_slots_do_not_disturb_each_other() {
    let (mut world, mut host, mut optimizer, mut at) = grown_to(SeedStageTraining as i32);
    world.germinate("seed-2", "late").unwrap();
    train(&mut world, &mut host, &mut optimizer, &mut at, 10);
    world.graft("seed-1", "RESIDUAL", 30.0).unwrap();
    train(&mut world, &mut host, &mut optimizer, &mut at, 30);
    assert_eq!((world.stage("seed-1"), world.stage("seed-2")), (SeedStageBlending, SeedStageTraining));
    world.operate("seed-2", SeedOpCull).unwrap();
    world.operate("seed-1", SeedOpStabilize).unwrap();
    train(&mut world, &mut host, &mut optimizer, &mut at, 10);
    world.operate("seed-1", SeedOpEvaluate).unwrap();
    assert_eq!((world.stage("seed-1"), world.stage("seed-2")), (SeedStageProbationary, SeedStageEmbargoed));
}

#[test]
fn automatic_advance_fossilizes_a_seed() {
    let mut settings = lenient();
    settings.lifecycle.advance =
        Advance::Automatic { training_steps: 10, blending_steps: 0, shadowing_steps: 8, probationary_steps: 8 };
    settings.blending.total_steps = 15;
    settings.blending.mode = AutomaticMode::Residual;
    let (mut host, mut optimizer, mut at) = (model_of(Mlp::<B>::init()), optimizer(), 0);
    let mut world = World::new(settings);
    world.attach(&host);
    world.germinate("seed-1", "mlp").unwrap();
    train(&mut world, &mut host, &mut optimizer, &mut at, 60);
    assert_eq!(world.stage("seed-1"), SeedStageFossilized);
}

#[test]
fn paused_seed_is_the_identity_until_resumed() {
    let (mut world, mut host, mut optimizer, mut at) = grown_to(SeedStageBlending as i32);
    let alpha = world.manager.alpha(&seed("seed-1"));
    let pause = |world: &mut World, resume| {
        let wire = world.sender.pause(&seed("seed-1"), resume, world.clock.unix()).unwrap();
        world.manager.submit(&wire)
    };
    pause(&mut world, false).unwrap();
    let bare = host.valid().host.forward(common::batch(3), &mut kasmina::Grafts::none()).into_data();
    let live = |world: &World, host: &Grown<B, Mlp<B>>| {
        host.valid().host.forward(common::batch(3), &mut world.manager.live_view(host)).into_data()
    };
    assert_eq!(live(&world, &host), bare);
    train(&mut world, &mut host, &mut optimizer, &mut at, 3);
    assert_eq!(world.manager.alpha(&seed("seed-1")), alpha, "alpha stands still");
    pause(&mut world, true).unwrap();
    let bare = host.valid().host.forward(common::batch(3), &mut kasmina::Grafts::none()).into_data();
    assert_ne!(live(&world, &host), bare);
    assert_eq!(refused(pause(&mut world, true)), "wrong_stage");
}

#[test]
fn seed_that_a_gate_refused_can_germinate_after_its_embargo() {
    let (mut world, mut host, mut optimizer, mut at) = grown_to(SeedStageProbationary as i32);
    world.manager.report_validation(vec![Validation {
        name: "accuracy".into(),
        host: 0.9,
        live: 0.5,
        higher_is_better: true,
    }]);
    world.events();
    assert_eq!(refused(world.operate("seed-1", SeedOpFossilize)), "metric_regressed");
    assert_eq!(world.stage("seed-1"), SeedStageEmbargoed);
    let events = world.events();
    let failure = events.iter().find(|event| event.description == "gate_failure").unwrap();
    assert_eq!(failure.attributes["metric"], "accuracy");
    assert!(world.manager.alpha(&seed("seed-1")).is_none(), "the kernel is gone");

    assert_eq!(refused(world.germinate("seed-1", "mlp")), "illegal_transition");
    let (until, _) = world.manager.next_deadline().unwrap();
    assert_eq!(until, kasmina::leyline::Monotonic::from_millis(30_000));
    world.wait(30);
    train(&mut world, &mut host, &mut optimizer, &mut at, 1);
    assert_eq!(world.stage("seed-1"), SeedStageDormant);
    world.germinate("seed-1", "mlp").unwrap();
}

#[test]
fn cancel_is_refused_from_blending_on_and_cull_is_not() {
    let (mut world, ..) = grown_to(SeedStageTraining as i32);
    world.operate("seed-1", SeedOpCancel).unwrap();
    assert_eq!(world.stage("seed-1"), SeedStageEmbargoed);
    let (mut world, ..) = grown_to(SeedStageBlending as i32);
    assert_eq!(refused(world.operate("seed-1", SeedOpCancel)), "wrong_stage");
    world.operate("seed-1", SeedOpCull).unwrap();
}

#[test]
fn fine_tuned_seed_learns_for_the_steps_allowed() {
    let (mut world, mut host, mut optimizer, mut at) = grown_to(SeedStageProbationary as i32);
    let live = |world: &World| {
        let frozen = Grown::new(frozen());
        Mlp::<B>::valid(&frozen.host).forward(common::batch(3), &mut world.manager.live_view(&frozen)).into_data()
    };
    let before = live(&world);
    train(&mut world, &mut host, &mut optimizer, &mut at, 2);
    assert_eq!(live(&world), before, "without FINE_TUNE the seed stands still");
    let wire = world.sender.operate(&seed("seed-1"), SeedOpFineTune, [("steps", 2.0)], [], world.clock.unix()).unwrap();
    world.manager.submit(&wire).unwrap();
    train(&mut world, &mut host, &mut optimizer, &mut at, 2);
    let tuned = live(&world);
    assert_ne!(tuned, before);
    train(&mut world, &mut host, &mut optimizer, &mut at, 2);
    assert_eq!(live(&world), tuned, "two steps were allowed");
}

/// A host that nothing trains, to look at seeds through.
fn frozen() -> Mlp<B> {
    use burn::tensor::Tensor;
    let mut host = Mlp::<B>::init();
    host.stem.weight = host.stem.weight.map(|weight| Tensor::full_like(&weight, 0.1));
    host.head.weight = host.head.weight.map(|weight| Tensor::full_like(&weight, 0.1));
    host.stem.bias = None;
    host.head.bias = None;
    host
}

#[test]
fn gate_without_measurements_postpones_and_does_not_cull() {
    let (mut world, ..) = grown_to(SeedStageFossilized as i32);
    world.germinate("seed-2", "late").unwrap();
    assert_eq!(refused(world.graft("seed-2", "RESIDUAL", 10.0)), "too_few_steps");
    assert_eq!(world.stage("seed-2"), SeedStageTraining);
    let (mut world, ..) = grown_to(SeedStageTraining as i32);
    world.graft("seed-1", "RESIDUAL", 10.0).unwrap();
    assert_eq!(refused(world.operate("seed-1", SeedOpStabilize)), "blending_incomplete");
    assert_eq!(world.stage("seed-1"), SeedStageBlending);
}

#[test]
fn kernel_of_two_seeds_is_fetched_once_and_built_twice() {
    let (mut world, host, ..) = grown_to(SeedStageFossilized as i32);
    world.germinate("seed-3", "mlp").unwrap();
    assert_eq!(world.library.fetches(), 1);
    let three: Vec<_> = world.manager.registry().parameters_of(&seed("seed-3")).collect();
    let one = kasmina::registry::parameter_ids(host.fossils()[0].kernel());
    assert_eq!((one.len(), three.len()), (4, 4));
    assert!(one.iter().all(|parameter| !three.contains(parameter)));
}

#[test]
fn step_sends_at_most_one_packet_per_seed() {
    let (mut world, mut host, mut optimizer, mut at) = grown_to(SeedStageBlending as i32);
    let _ = world.sink.take();
    for _ in 0..5 {
        train(&mut world, &mut host, &mut optimizer, &mut at, 1);
        let packets = world.sink.take();
        let about = |seed: Option<&str>| {
            let of = |packet: &&kasmina::leyline::v1::TelemetryPacket| {
                packet.system_health.as_ref().unwrap().indicators.get("seed_id").map(String::as_str) == seed
            };
            packets.iter().filter(of).count()
        };
        assert_eq!((about(Some("seed-1")), about(None), packets.len()), (1, 1, 2));
    }
}

#[test]
fn paused_seed_makes_no_move() {
    let (mut world, mut host, mut optimizer, mut at) = grown_to(SeedStageProbationary as i32);
    let wire = world.sender.pause(&seed("seed-1"), false, world.clock.unix()).unwrap();
    world.manager.submit(&wire).unwrap();
    assert_eq!(refused(world.operate("seed-1", SeedOpFossilize)), "wrong_stage");
    train(&mut world, &mut host, &mut optimizer, &mut at, 2);
    assert_eq!(world.stage("seed-1"), SeedStageProbationary);
    let wire = world.sender.pause(&seed("seed-1"), true, world.clock.unix()).unwrap();
    world.manager.submit(&wire).unwrap();
    world.operate("seed-1", SeedOpFossilize).unwrap();
    let wire = world.sender.pause(&seed("seed-1"), true, world.clock.unix()).unwrap();
    assert_eq!(refused(world.manager.submit(&wire)), "wrong_stage", "a fossil is not paused, so not resumed");
}

#[test]
fn fine_tuned_seed_is_probed_again_before_fossilize() {
    let (mut world, mut host, mut optimizer, mut at) = grown_to(SeedStageProbationary as i32);
    let tune = [("steps", 2.0)];
    let wire = world.sender.operate(&seed("seed-1"), SeedOpFineTune, tune, [], world.clock.unix()).unwrap();
    world.manager.submit(&wire).unwrap();
    assert_eq!(refused(world.operate("seed-1", SeedOpFossilize)), "not_measured");
    train(&mut world, &mut host, &mut optimizer, &mut at, 2);
    assert_eq!(refused(world.operate("seed-1", SeedOpFossilize)), "too_few_probes", "no probe of the new weights yet");
    train(&mut world, &mut host, &mut optimizer, &mut at, 8);
    let judged = world.operate("seed-1", SeedOpFossilize).map_or_else(|error| error.reason(), |_| "fossilised");
    assert!(!["not_measured", "too_few_probes"].contains(&judged), "{judged}");
}

/// CONFIDENCE needs logits before its slot; whoever runs the committed network may have none.
#[test]
fn confidence_blend_needs_logits_and_is_never_fossilized() {
    let (mut host, mut optimizer) = (model_of(Mlp::<B>::init()), optimizer());
    let mut world =
        World::build(lenient(), |builder| builder.gatekeepers(AllowAll).volatile().build(&Default::default()).unwrap());
    world.attach(&host);
    world.germinate("seed-1", "mlp").unwrap();
    let forward = |step: u64, offers: bool| {
        move |host: &Mlp<B>, grafts: &mut kasmina::Grafts<B>| {
            let loss = common::loss(host, step, grafts);
            if offers {
                let x = common::batch::<B>(step);
                grafts.offer_logits(burn::tensor::Tensor::cat(vec![x.clone().sum_dim(1), x.mean_dim(1)], 1));
            }
            loss
        }
    };
    for step in 1..=60 {
        match step {
            11 => {
                world.graft("seed-1", "CONFIDENCE", 10.0).unwrap();
            }
            22 => {
                world.operate("seed-1", SeedOpStabilize).unwrap();
            }
            32 => {
                world.operate("seed-1", SeedOpEvaluate).unwrap();
            }
            _ => {}
        }
        let report = world.manager.train_batch(&mut host, &mut optimizer, 1e-2, forward(step, true)).unwrap();
        assert!(step <= 32 || report.transitions.is_empty(), "{:?}", report.transitions);
    }
    assert_eq!(world.stage("seed-1"), SeedStageProbationary);
    assert_eq!(refused(world.operate("seed-1", SeedOpFossilize)), "unsupported");
    assert_eq!(world.stage("seed-1"), SeedStageProbationary);
    // Without logits it cannot do its part, and is taken out.
    for step in 61..=64 {
        world.manager.train_batch(&mut host, &mut optimizer, 1e-2, forward(step, false)).unwrap();
    }
    assert_eq!(world.stage("seed-1"), SeedStageEmbargoed);
    assert!(
        world.events().iter().any(|event| event.attributes.get("reason").is_some_and(|why| why == "logits_missing"))
    );
}

#[test]
fn refusal_that_culls_reports_the_moves() {
    let (mut world, ..) = grown_to(SeedStageTraining as i32);
    let error = world.germinate("seed-2", "mlp").unwrap_err();
    let kasmina::CommandError::Refused { transitions, .. } = error else { panic!("{error}") };
    let to: Vec<_> = transitions.iter().map(|moved| moved.to).collect();
    assert_eq!(to, [SeedStageGerminated, SeedStageCulled, SeedStageEmbargoed]);
}

#[test]
fn gatekeeper_of_ones_own_is_asked_and_obeyed() {
    let (gatekeeper, script) = Scripted::pair();
    let mut world = World::build(lenient(), |builder| {
        builder.gatekeepers(gatekeeper).volatile().build(&Default::default()).unwrap()
    });
    let (mut host, mut optimizer, mut at) = (model_of(Mlp::<B>::init()), optimizer(), 0);
    world.attach(&host);
    world.germinate("seed-1", "mlp").unwrap();
    train(&mut world, &mut host, &mut optimizer, &mut at, 10);
    let asked: Vec<_> = script.take_asked().into_iter().map(|asked| (asked.gate, asked.finding.passed())).collect();
    assert_eq!(asked, [(SeedGateG0Sanity, true), (SeedGateG1GradientHealth, true)]);

    script.next(SeedGateG2Stability, Finding::refuse("not_today").with("mood", "bad"));
    assert_eq!(refused(world.graft("seed-1", "RESIDUAL", 10.0)), "not_today");
    assert_eq!(world.stage("seed-1"), SeedStageEmbargoed);
    let failure = world.events().into_iter().find(|event| event.description == "gate_failure").unwrap();
    assert_eq!((failure.attributes["reason"].as_str(), failure.attributes["mood"].as_str()), ("not_today", "bad"));
    let asked = script.take_asked();
    assert_eq!((asked.len(), asked[0].stage, asked[0].gate), (1, SeedStageTraining, SeedGateG2Stability));
}
