//! Whatever is wrong with a command, a kernel or a batch: a typed reason, an event, and a host that steps as it would have.

use crate::common::{
    self, B, Cnn, Host, Mlp, World, blueprint, bytes, control_step, loss, model_of, optimizer, refused, seed, twin,
};
use std::time::Duration;

use burn::tensor::Tensor;
use kasmina::{
    CommandSender, Grafts, Grown, Settings, StepError,
    grown::HostModule,
    kernel_load::{KernelLibrary, LibraryError},
    leyline::{
        SlotId, UnixTime,
        v1::{AdaptationCommand, CommandType, SeedLifecycleStage::*, SeedOperation::*},
    },
    rollback::{Journal, doubles::MemoryStore},
    safety::Clock,
    security::Secret,
};

/// Lets `mistreat` do its worst between steps that are compared with a control run. Gives the reasons of the events.
fn harmless(mistreat: impl Fn(&mut World) -> &'static str) -> (&'static str, Vec<(String, String)>) {
    let mut host = model_of(Mlp::<B>::init());
    let mut control = twin(&host);
    let mut world = World::new(Settings::default());
    world.attach(&host);
    let (mut host_optimizer, mut control_optimizer) = (optimizer(), optimizer());
    let mut outcome = ("", Vec::new());
    for step in 1..=6 {
        if step == 3 {
            world.events();
            outcome.0 = mistreat(&mut world);
            let told = world.events().into_iter().filter(|event| event.attributes.contains_key("reason"));
            outcome.1 = told.map(|mut event| (event.description, event.attributes.remove("reason").unwrap())).collect();
        }
        world.step(&mut host, &mut host_optimizer, step);
        control_step(&mut control, &mut control_optimizer, step);
        assert!(bytes(&host) == bytes(&control), "step {step} is not what it would have been");
    }
    outcome
}

/// The refusal and one event of this name and the same reason.
fn check(event: &str, reason: &'static str, mistreat: impl Fn(&mut World) -> &'static str) {
    let (refused, events) = harmless(mistreat);
    assert_eq!(refused, reason);
    let told = events.iter().filter(|(name, why)| name == event && why == reason).count();
    assert_eq!(told, 1, "{events:?}");
}

fn submit(world: &mut World, wire: &[u8]) -> &'static str {
    refused(world.manager.submit(wire))
}

fn send(world: &mut World, command: AdaptationCommand) -> &'static str {
    let now = world.clock.unix();
    let wire = world.sender.send(command, now).unwrap();
    submit(world, &wire)
}

#[test]
fn command_that_is_not_authentic_fresh_and_new_is_rejected() {
    let rejected = "command_rejected";
    check(rejected, "malformed", |world| submit(world, b"\xff\xff\xff garbage"));
    check(rejected, "missing_signature", |world| submit(world, b""));
    check(rejected, "invalid_signature", |world| {
        let mut stranger = CommandSender::new(&Secret::new("another secret").unwrap(), "stranger").unwrap();
        let wire = stranger.germinate(&seed("seed-1"), &blueprint("mlp"), world.clock.unix()).unwrap();
        submit(world, &wire)
    });
    check(rejected, "stale_command", |world| {
        let wire = world.sender.germinate(&seed("seed-1"), &blueprint("mlp"), world.clock.unix()).unwrap();
        world.wait(61);
        submit(world, &wire)
    });
    check(rejected, "issued_in_future", |world| {
        let ahead = UnixTime::from_nanos(world.clock.unix().as_nanos() + 6_000_000_000);
        let wire = world.sender.germinate(&seed("seed-1"), &blueprint("mlp"), ahead).unwrap();
        submit(world, &wire)
    });
    check(rejected, "nonce_replayed", |world| {
        let wire = world.sender.operate(&seed("seed-1"), SeedOpCull, [], [], world.clock.unix()).unwrap();
        assert_eq!(submit(world, &wire), "illegal_transition");
        submit(world, &wire)
    });
}

#[test]
fn command_that_cannot_be_carried_out_is_refused() {
    let refused_event = "command_refused";
    check(refused_event, "unknown_seed", |world| {
        let wire = world.sender.operate(&seed("nobody"), SeedOpCull, [], [], world.clock.unix()).unwrap();
        submit(world, &wire)
    });
    check(refused_event, "illegal_transition", |world| refused(world.operate("seed-1", SeedOpFossilize)));
    check(refused_event, "unknown_blueprint", |world| refused(world.germinate("seed-1", "nothing")));
    check(refused_event, "unsupported", |world| {
        send(
            world,
            AdaptationCommand { command_type: CommandType::CommandStructuralPruning.into(), ..Default::default() },
        )
    });
    check(refused_event, "malformed_command", |world| send(world, AdaptationCommand::default()));
    check(refused_event, "malformed_command", |world| {
        send(
            world,
            AdaptationCommand {
                command_type: CommandType::CommandSeed.into(),
                target_seed_id: "seed-1".into(),
                ..Default::default()
            },
        )
    });
    check(refused_event, "invalid_id", |world| {
        send(
            world,
            AdaptationCommand {
                command_type: CommandType::CommandPause.into(),
                target_seed_id: "no id\n".into(),
                ..Default::default()
            },
        )
    });
    check(refused_event, "wrong_training_run", |world| {
        let annotations = [("training_run_id", "run-8")];
        let wire = world.sender.operate(&seed("seed-1"), SeedOpCull, [], annotations, world.clock.unix()).unwrap();
        submit(world, &wire)
    });
    check(refused_event, "deadline_exceeded", |world| {
        let command = AdaptationCommand {
            command_type: CommandType::CommandPause.into(),
            target_seed_id: "seed-1".into(),
            execution_deadline_ms: 500,
            ..Default::default()
        };
        let now = world.clock.unix();
        let wire = world.sender.send(command, now).unwrap();
        world.wait(1);
        submit(world, &wire)
    });
}

#[test]
fn slot_that_is_taken_refuses_a_second_seed() {
    check("command_refused", "slot_taken", |world| {
        world.germinate("seed-1", "mlp").unwrap();
        refused(world.germinate("seed-3", "mlp"))
    });
    check("gate_failure", "slot_taken", |world| {
        world.germinate("seed-1", "mlp").unwrap();
        refused(world.germinate("seed-3", "mlp"))
    });
    check("command_refused", "unknown_slot", |world| {
        world.manager.register_seed(seed("lost"), SlotId::new("nowhere").unwrap()).unwrap();
        refused(world.germinate("lost", "mlp"))
    });
}

#[test]
fn kernel_that_does_not_fit_or_is_missing_fails_the_graft() {
    check("command_refused", "slot_contract", |world| refused(world.germinate("seed-1", "cnn")));
    check("seed_culled", "slot_contract", |world| refused(world.germinate("seed-1", "late")));
    check("command_refused", "library_file_missing", |world| {
        world.library.fail(&blueprint("mlp"), LibraryError::Missing { path: "mlp.safetensors".into() });
        refused(world.germinate("seed-1", "mlp"))
    });
    let (reason, _) = harmless(|world| {
        let mut fetched = world.library.fetch(&blueprint("mlp")).unwrap().here().unwrap();
        let last = fetched.bytes.len() - 1;
        fetched.bytes[last] ^= 1;
        let descriptor = world.library.descriptor(&blueprint("mlp")).unwrap();
        world.library.put(descriptor, &blueprint("mlp"), fetched);
        let reason = refused(world.germinate("seed-1", "mlp"));
        assert_eq!(world.stage("seed-1"), SeedStageEmbargoed);
        reason
    });
    assert_eq!(reason, "checksum_mismatch");
}

#[test]
fn three_failed_loads_open_the_kernel_breaker() {
    let (reason, events) = harmless(|world| {
        for kernel in ["mlp", "late"] {
            world.library.fail(&blueprint(kernel), LibraryError::Missing { path: "gone".into() });
        }
        let rest = |world: &mut World| {
            world.wait(30);
            world.manager.tick();
        };
        refused(world.germinate("seed-1", "mlp"));
        refused(world.germinate("seed-2", "late"));
        rest(world);
        refused(world.germinate("seed-1", "mlp"));
        assert_eq!(refused(world.germinate("seed-2", "late")), "breaker_open");
        rest(world);
        // After its time-out it lets one trial through, which fails and opens it again.
        assert_eq!(refused(world.germinate("seed-1", "mlp")), "library_file_missing");
        refused(world.germinate("seed-2", "late"))
    });
    assert_eq!(reason, "breaker_open");
    assert!(events.iter().any(|(name, why)| name == "command_refused" && why == "breaker_open"));
}

#[test]
fn nan_loss_steps_nothing() {
    nothing_is_stepped(model_of(Mlp::<B>::init()), "mlp");
}

/// The batch has gone through the batch normalisation before the loss shows that it is none to learn from.
#[test]
fn nan_loss_moves_no_running_statistics() {
    nothing_is_stepped(Grown::new(Cnn::<B>::init()), "cnn");
}

fn nothing_is_stepped<M: Host<B> + HostModule<B>>(mut host: Grown<B, M>, kernel: &str) {
    let mut control = twin(&host);
    let mut world = World::new(Settings::default());
    world.attach(&host);
    let (mut host_optimizer, mut control_optimizer) = (optimizer(), optimizer());
    world.germinate("seed-1", kernel).unwrap();
    for step in 1..=20 {
        if step == 5 || step == 15 {
            let before = (bytes(&host), world.manager.step());
            let nan = |host: &M, grafts: &mut Grafts<B>| loss(host, step + 100, grafts) * f32::NAN;
            let error = world.manager.train_batch(&mut host, &mut host_optimizer, 1e-2, nan).unwrap_err();
            assert!(matches!(error, StepError::NonFiniteLoss { step: at, .. } if at == step), "{error}");
            let told = world.events();
            assert!(
                told.iter().any(|event| event.attributes.get("reason").is_some_and(|why| why == "non_finite_loss"))
            );
            assert!((bytes(&host), world.manager.step()) == before);
        }
        if step == 12 {
            world.graft("seed-1", "RESIDUAL", 50.0).unwrap();
        }
        world.step(&mut host, &mut host_optimizer, step);
        control_step(&mut control, &mut control_optimizer, step);
        assert!(bytes(&host) == bytes(&control), "step {step}");
    }
    assert_eq!(world.stage("seed-1"), SeedStageBlending);
}

/// A seed whose weights have become NaN shows it in its own pass, and is culled; the host has not noticed.
#[test]
fn seed_that_diverges_is_culled_and_the_host_is_untouched() {
    let mut host = model_of(Mlp::<B>::init());
    let mut control = twin(&host);
    let mut world = World::new(Settings::default());
    world.attach(&host);
    let (mut host_optimizer, mut control_optimizer) = (optimizer(), optimizer());
    world.germinate("seed-1", "mlp").unwrap();
    for step in 1..=15 {
        if step == 11 {
            world.graft("seed-1", "RESIDUAL", 50.0).unwrap();
            struct Spoil;
            impl burn::module::ModuleMapper<B> for Spoil {
                fn map_float<const D: usize>(
                    &mut self,
                    param: burn::module::Param<Tensor<B, D>>,
                ) -> burn::module::Param<Tensor<B, D>> {
                    param.map(|tensor| Tensor::full_like(&tensor.detach(), f32::NAN).require_grad())
                }
            }
            world.manager.tamper(&seed("seed-1"), |kernel| burn::module::Module::map(kernel, &mut Spoil));
        }
        world.step(&mut host, &mut host_optimizer, step);
        control_step(&mut control, &mut control_optimizer, step);
        assert!(bytes(&host) == bytes(&control), "step {step}");
        let expected = if step < 11 { SeedStageTraining } else { SeedStageEmbargoed };
        assert_eq!(world.stage("seed-1"), expected, "step {step}");
    }
    let culled = world.events().into_iter().find(|event| event.description == "seed_culled").unwrap();
    assert_eq!(culled.attributes["reason"], "loss_not_finite");
}

/// A slot that changes its shape under a living seed: a fault, and the host goes on.
#[test]
fn host_that_changes_its_shapes_loses_only_the_seed() {
    let mut host = model_of(Mlp::<B>::init());
    let mut world = World::new(Settings::default());
    world.attach(&host);
    let mut optimizer = optimizer();
    world.germinate("seed-1", "mlp").unwrap();
    let narrow = |host: &Mlp<B>, grafts: &mut Grafts<B>| {
        let x = common::batch::<B>(1);
        let h = grafts.at_with_tap("mid", x.clone().slice([0..12, 0..8]), host.stem.forward(x));
        host.head.forward(h).mean()
    };
    let report = world.manager.train_batch(&mut host, &mut optimizer, 1e-2, narrow).unwrap();
    assert_eq!(report.transitions.len(), 2, "culled, embargoed");
    assert!(world.events().iter().any(|event| event.description == "graft_fault"));
}

#[test]
fn loss_of_twelve_numbers_is_refused() {
    let mut host = model_of(Mlp::<B>::init());
    let mut world = World::new(Settings::default());
    world.attach(&host);
    let before = bytes(&host);
    let unreduced = |host: &Mlp<B>, grafts: &mut Grafts<B>| loss(host, 1, grafts).repeat(&[12]);
    let error = world.manager.train_batch(&mut host, &mut optimizer(), 1e-2, unreduced).unwrap_err();
    assert_eq!(error, StepError::LossShape { got: vec![12] });
    assert!(bytes(&host) == before);
}

#[test]
fn unknown_or_fractional_parameter_is_refused() {
    check("command_refused", "malformed_command", |world| {
        let parameters = [("alpha_total_step", 10.0)];
        let now = world.clock.unix();
        let wire = world.sender.operate(&seed("seed-1"), SeedOpStartGrafting, parameters, [], now).unwrap();
        submit(world, &wire)
    });
    check("command_refused", "malformed_command", |world| {
        let wire =
            world.sender.operate(&seed("seed-1"), SeedOpFineTune, [("steps", 0.5)], [], world.clock.unix()).unwrap();
        submit(world, &wire)
    });
}

#[test]
fn setting_out_of_range_builds_no_manager() {
    let mut settings = Settings::default();
    settings.training.probe_every = 0;
    let run = kasmina::leyline::TrainingRunId::new("run-7").unwrap();
    let built = kasmina::SeedManager::<B>::builder(run).settings(settings).build::<B>(&Default::default());
    assert_eq!(built.err().unwrap().to_string(), "training.probe_every = 0: must be at least 1");
}

#[test]
fn flood_of_replays_and_stale_copies_becomes_an_event_each() {
    let store = MemoryStore::new();
    let mut world = World::build(Settings::default(), |builder| {
        builder.journal(store.clone(), store.clone()).build(&Default::default()).unwrap()
    });
    world.attach(&model_of(Mlp::<B>::init()));
    let now = world.clock.unix();
    let replayed = world.sender.germinate(&seed("seed-1"), &blueprint("mlp"), now).unwrap();
    let stale =
        world.sender.germinate(&seed("seed-1"), &blueprint("mlp"), now.before(Duration::from_secs(61))).unwrap();
    world.manager.submit(&replayed).unwrap();
    world.events();
    let honest = |world: &mut World, resume: bool| {
        let before = store.status().unwrap().end;
        world.manager.submit(&world.sender.pause(&seed("seed-1"), resume, world.clock.unix()).unwrap()).unwrap();
        store.status().unwrap().end - before
    };
    let first = honest(&mut world, false);
    for _ in 0..100_000 {
        assert_eq!(submit(&mut world, &replayed), "nonce_replayed");
        assert_eq!(submit(&mut world, &stale), "stale_command");
    }
    assert_eq!(honest(&mut world, true), first, "an honest command does not journal what was rejected");
    let rejected: Vec<_> = world.events().into_iter().filter(|event| event.description == "command_rejected").collect();
    let counts: Vec<_> = rejected.iter().map(|event| event.attributes["count"].as_str()).collect();
    assert_eq!(counts, ["100000", "100000"]);
}

#[test]
fn flood_of_forged_commands_becomes_one_event() {
    let mut world = World::new(Settings::default());
    for _ in 0..10_000 {
        assert_eq!(submit(&mut world, b"not a command"), "malformed");
    }
    let events = world.events();
    assert_eq!(events.len(), 1);
    assert_eq!(
        (events[0].attributes["reason"].as_str(), events[0].attributes["count"].as_str()),
        ("malformed", "10000")
    );
}
