//! What receivers read, and what they refuse.

use std::{collections::BTreeMap, time::Duration};

use kasmina_blending::{AlphaSchedule, BlendConfig, BlendMode};
use kasmina_commands::{Notice, Order, ReadError, read};
use kasmina_leyline::{
    SeedId,
    v1::{
        self, AdaptationCommand, BlueprintTier, CommandCircuitBreaker, CommandOptimizerAdjustment,
        CommandSeedOperation, CommandType, SeedOperation, adaptation_command::Payload,
    },
};
use kasmina_security::{Verifier, doubles::AcceptAll};
use proptest::{collection::btree_map, option, prelude::*, sample::select};
use prost::Message;
use prost_types::{Struct, Value, value::Kind};

use crate::common::{NOW, read_command, seed, sender, settings, verify};

fn command(command_type: CommandType, payload: Option<Payload>) -> AdaptationCommand {
    AdaptationCommand {
        command_type: command_type.into(),
        target_seed_id: "seed-1".into(),
        payload,
        ..AdaptationCommand::default()
    }
}

fn operation(kind: SeedOperation, parameters: &[(&str, f32)]) -> AdaptationCommand {
    let operation = CommandSeedOperation {
        operation: kind.into(),
        blueprint_id: "mlp".into(),
        parameters: parameters.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        blend: None,
    };
    command(CommandType::CommandSeed, Some(Payload::SeedOperation(operation)))
}

fn with(mut command: AdaptationCommand, annotations: &[(&str, &str)]) -> AdaptationCommand {
    command.annotations.extend(annotations.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())));
    command
}

fn optimizer(id: &str, hyperparameters: &[(&str, f32)]) -> AdaptationCommand {
    let hyperparameters = hyperparameters.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    let adjustment = CommandOptimizerAdjustment { optimizer_id: id.into(), hyperparameters };
    command(CommandType::CommandOptimizer, Some(Payload::OptimizerAdjustment(adjustment)))
}

fn rollback(seed: &str, fields: &[(&str, Kind)]) -> AdaptationCommand {
    let fields = fields.iter().map(|(name, kind)| ((*name).to_owned(), Value { kind: Some(kind.clone()) })).collect();
    AdaptationCommand {
        target_seed_id: seed.into(),
        ..command(CommandType::CommandRollback, Some(Payload::RollbackPayload(Struct { fields })))
    }
}

/// COMMAND_ROLLBACK with a GERMINATE in it is not a rollback to the newest checkpoint.
#[test]
fn payload_of_another_command_is_refused() {
    let payloads = || {
        let operation = operation(SeedOperation::SeedOpGerminate, &[]);
        [operation, optimizer("", &[]), rollback("seed-1", &[])].map(|command| command.payload)
    };
    for kind in [CommandType::CommandPause, CommandType::CommandEmergency, CommandType::CommandRollback] {
        for payload in payloads() {
            if matches!((kind, &payload), (CommandType::CommandRollback, Some(Payload::RollbackPayload(_)))) {
                continue;
            }
            let unreadable = read_command(command(kind, payload)).unwrap_err();
            assert_eq!(unreadable.reason(), "malformed_command", "{kind:?}");
            assert!(unreadable.to_string().ends_with("means nothing here"), "{unreadable}");
        }
    }
}

#[test]
fn every_refusal_names_its_field() {
    let seedless = |command| AdaptationCommand { target_seed_id: String::new(), ..command };
    let cull = || operation(SeedOperation::SeedOpCull, &[]);
    let graft = || operation(SeedOperation::SeedOpStartGrafting, &[]);
    let breaker =
        || command(CommandType::CommandCircuitBreaker, Some(Payload::CircuitBreaker(CommandCircuitBreaker::default())));
    for (command, reason, text) in [
        (seedless(cull()), "invalid_id", "SeedId is empty"),
        (with(cull(), &[("training_run_id", "run-8")]), "wrong_training_run", "run-8"),
        (command(CommandType::CommandSeed, None), "malformed_command", "seed_operation: is missing"),
        (command(CommandType::CommandOptimizer, None), "malformed_command", "optimizer_adjustment: is missing"),
        (command(CommandType::CommandCircuitBreaker, None), "malformed_command", "circuit_breaker: is missing"),
        (command(CommandType::CommandStructuralPruning, None), "unsupported", "COMMAND_STRUCTURAL_PRUNING"),
        (command(CommandType::CommandUnknown, None), "malformed_command", "command_type: 0"),
        (operation(SeedOperation::SeedOpUnknown, &[]), "malformed_command", "seed_operation.operation: 0"),
        (operation(SeedOperation::SeedOpCull, &[("width", 1.0)]), "malformed_command", "\"width\" means nothing here"),
        (with(cull(), &[("blend_out_steps", "-1")]), "malformed_command", "\"-1\" is not a whole number"),
        (with(cull(), &[("blend_out_steps", "1.5")]), "malformed_command", "blend_out_steps"),
        (with(cull(), &[("blend_out_steps", "16777217")]), "malformed_command", "0 to 2^24"),
        (operation(SeedOperation::SeedOpFineTune, &[]), "malformed_command", "steps: is missing"),
        (operation(SeedOperation::SeedOpFineTune, &[("steps", 1.5)]), "malformed_command", "steps: 1.5"),
        (operation(SeedOperation::SeedOpFineTune, &[("steps", 0.0)]), "malformed_command", "steps: 0"),
        (operation(SeedOperation::SeedOpGerminate, &[("lr_scale", f32::NAN)]), "malformed_command", "lr_scale: NaN"),
        (operation(SeedOperation::SeedOpGerminate, &[("lr_scale", -1.0)]), "malformed_command", "lr_scale: -1"),
        (
            with(operation(SeedOperation::SeedOpGerminate, &[]), &[("blueprint_tier", "purple")]),
            "malformed_command",
            "purple",
        ),
        (with(graft(), &[("blend_mode", "ADDITIVE")]), "unknown_blend_mode", "ADDITIVE"),
        (with(graft(), &[("alpha_schedule", "step")]), "unknown_alpha_schedule", "step"),
        (with(command(CommandType::CommandPause, None), &[("resume", "yes")]), "malformed_command", "resume: \"yes\""),
        (
            with(command(CommandType::CommandEmergency, None), &[("include_teacher", "2")]),
            "malformed_command",
            "include_teacher",
        ),
        (with(breaker(), &[("breaker", "fuse")]), "malformed_command", "\"fuse\" is not one of"),
        (optimizer("other", &[("lr_scale", 1.0)]), "malformed_command", "optimizer_id"),
        (optimizer("", &[]), "malformed_command", "lr_scale: is missing"),
        (optimizer("seed-1", &[("lr_scale", 1.0), ("beta", 0.9)]), "malformed_command", "\"beta\" means nothing here"),
        (rollback("", &[]), "malformed_command", "rollback_payload.target_epoch: is missing"),
        (rollback("", &[("epoch", Kind::NumberValue(1.0))]), "malformed_command", "\"epoch\" means nothing here"),
        (rollback("", &[("target_epoch", Kind::NumberValue(0.5))]), "malformed_command", "whole number"),
        (rollback("", &[("target_epoch", Kind::NumberValue(f64::NAN))]), "malformed_command", "whole number"),
        (rollback("seed-1", &[("target_epoch", Kind::StringValue("1".into()))]), "malformed_command", "whole number"),
    ] {
        let unreadable = read_command(command).unwrap_err();
        assert_eq!(unreadable.reason(), reason, "{unreadable}");
        assert!(unreadable.to_string().contains(text), "{unreadable} does not say {text:?}");
    }
}

#[test]
fn defaults_of_the_receiver_fill_what_is_left_out() {
    let order = |command| read_command(command).unwrap().order;
    let expected = Order::StartGrafting {
        seed: seed(),
        blend: BlendConfig::convex(),
        schedule: AlphaSchedule::Sigmoid { total_steps: settings().default_total_steps, temperature: 1.0 },
    };
    assert_eq!(order(operation(SeedOperation::SeedOpStartGrafting, &[])), expected);
    assert_eq!(order(command(CommandType::CommandPause, None)), Order::Pause { seed: seed() });
    assert_eq!(order(command(CommandType::CommandEmergency, None)), Order::Emergency { include_teacher: false });
    let newest = Order::RollBackSeed { seed: seed(), epoch: None };
    assert_eq!(order(command(CommandType::CommandRollback, None)), newest);
    let reason = [("reason", Kind::BoolValue(true)), ("target_epoch", Kind::NumberValue(4.0))];
    assert_eq!(order(rollback("", &reason)), Order::Rollback { epoch: 4 });
    assert_eq!(order(optimizer("", &[("lr_scale", 0.5)])), Order::Optimizer { seed: seed(), lr_scale: 0.5 });
    let Order::Germinate { parameters, lr_scale, tier, .. } =
        order(operation(SeedOperation::SeedOpGerminate, &[("lr_scale", 0.5), ("width", 2.0)]))
    else {
        panic!("a germinate")
    };
    assert_eq!((parameters, lr_scale, tier), ([("width".to_owned(), 2.0)].into(), 0.5, None));
}

#[test]
fn deadline_counts_from_the_time_of_issue() {
    let cull = AdaptationCommand { execution_deadline_ms: 250, ..operation(SeedOperation::SeedOpCull, &[]) };
    let wire = sender().send(cull, NOW).unwrap();
    let at = |millis| read(&verify(&wire), &settings(), NOW.after(Duration::from_millis(millis)));
    assert!(at(0).is_ok() && at(250).is_ok());
    assert_eq!(at(257).unwrap_err().error, ReadError::DeadlineExceeded { deadline_ms: 250, late_ms: 7 });
}

/// A CULL must not fail over a remark, and an order that cannot be read does not hide one.
#[test]
fn poor_context_is_a_notice_beside_the_order_or_the_error() {
    let garbage = [("feature_coverage", "most of it"), ("risk_score", "NaN"), ("blueprint_tier", "purple")];
    let reasons = |notices: &[Notice]| notices.iter().map(Notice::reason).collect::<Vec<_>>();
    let expected = ["coverage_unreadable", "risk_unreadable", "blueprint_tier_unreadable"];
    let read = read_command(with(operation(SeedOperation::SeedOpCull, &[]), &garbage)).unwrap();
    assert_eq!(
        (read.order, reasons(&read.notices)),
        (Order::Cull { seed: seed(), blend_out_steps: 0 }, expected.to_vec())
    );
    let unreadable = read_command(with(operation(SeedOperation::SeedOpFineTune, &[]), &garbage)).unwrap_err();
    assert_eq!(reasons(&unreadable.notices), expected);
    assert!(unreadable.context.blueprint_tier.is_err());
}

#[test]
fn tier_is_read_in_any_spelling_of_the_contract() {
    for text in ["SAFE", " safe", "BLUEPRINT_TIER_SAFE"] {
        let germinate = with(operation(SeedOperation::SeedOpGerminate, &[]), &[("blueprint_tier", text)]);
        let Order::Germinate { tier, .. } = read_command(germinate).unwrap().order else { panic!("a germinate") };
        assert_eq!(tier, Some(BlueprintTier::Safe), "{text:?}");
    }
}

#[test]
fn typed_blend_wins_and_a_difference_is_a_notice() {
    let typed = |annotations: &[(&str, &str)]| {
        let mut graft = with(operation(SeedOperation::SeedOpStartGrafting, &[]), annotations);
        if let Some(Payload::SeedOperation(operation)) = &mut graft.payload {
            operation.blend = Some(v1::BlendConfig { mode: v1::BlendMode::Residual.into(), ..Default::default() });
        }
        let read = read_command(graft).unwrap();
        let Order::StartGrafting { blend, .. } = read.order else { panic!("a graft") };
        assert_eq!(blend.mode(), BlendMode::Residual);
        read.notices
    };
    assert_eq!(typed(&[]), []);
    assert_eq!(typed(&[("blend_mode", "residual"), ("blend_mode_source", "tamiyo")]), []);
    let [Notice::BlendConflict(conflict)] = &typed(&[("blend_mode", "CONVEX")])[..] else { panic!("a conflict") };
    assert_eq!((&conflict.annotations[..], conflict.used), (&["blend_mode"][..], BlendMode::Residual));
    let [Notice::BlendConflict(conflict)] = &typed(&[("gate_k", "steep")])[..] else { panic!("a conflict") };
    assert_eq!(conflict.annotations, ["gate_k"]);
}

fn payload() -> impl Strategy<Value = Option<Payload>> {
    let name = || {
        prop_oneof![
            select(vec!["steps", "lr_scale", "alpha_total_steps", "alpha_temperature"]).prop_map(str::to_owned),
            ".{0,4}"
        ]
    };
    let numbers = move || btree_map(name(), any::<f32>(), 0..4);
    let kind = prop_oneof![
        any::<f64>().prop_map(Kind::NumberValue),
        (0..9_u8).prop_map(|number| Kind::NumberValue(number.into())),
        any::<bool>().prop_map(Kind::BoolValue),
    ];
    let blend = (-1..6, option::of(any::<f32>()), option::of(any::<f32>()), prop::collection::vec(any::<f32>(), 0..4))
        .prop_map(|(mode, gate_k, alpha_lo, alpha_vec)| v1::BlendConfig {
            mode,
            gate_k,
            alpha_lo,
            alpha_vec,
            ..Default::default()
        });
    prop_oneof![
        6 => (-1..12, ".{0,3}", numbers(), option::of(blend)).prop_map(|(operation, blueprint_id, parameters, blend)| {
            Some(Payload::SeedOperation(CommandSeedOperation { operation, blueprint_id, parameters, blend }))
        }),
        1 => (".{0,3}", numbers()).prop_map(|(optimizer_id, hyperparameters)| {
            Some(Payload::OptimizerAdjustment(CommandOptimizerAdjustment { optimizer_id, hyperparameters }))
        }),
        1 => (-1..6).prop_map(|desired_state| {
            Some(Payload::CircuitBreaker(CommandCircuitBreaker { desired_state, ..Default::default() }))
        }),
        2 => btree_map(select(vec!["target_epoch", "reason", "x"]).prop_map(str::to_owned), kind, 0..3).prop_map(|fields| {
            let fields = fields.into_iter().map(|(name, kind)| (name, Value { kind: Some(kind) })).collect();
            Some(Payload::RollbackPayload(Struct { fields }))
        }),
        1 => Just(None),
    ]
}

fn annotations() -> impl Strategy<Value = BTreeMap<String, String>> {
    let names: Vec<_> =
        kasmina_commands::table::TABLE.iter().flat_map(|row| row.fields).map(|field| field.name).collect();
    let text = prop_oneof![
        "(true|CHANNEL|0\\.5|\\[0\\.5\\]|kernels|linear|SAFE)",
        ".{0,6}",
        any::<f32>().prop_map(|n| n.to_string())
    ];
    btree_map(select(names).prop_map(str::to_owned), text, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4096) })]

    /// What an authentic sender may send, however wrong, is an order or a reason. The same bytes read the same.
    #[test]
    fn any_command_is_read_or_refused(
        command_type in -1..10, target in "(seed-1|.{0,3})", deadline: u32, payload in payload(), annotations in annotations(),
    ) {
        let command = AdaptationCommand {
            command_id: "c".into(),
            command_type,
            target_seed_id: target,
            execution_deadline_ms: deadline,
            issued_at: Some(NOW.into()),
            payload,
            annotations,
            ..Default::default()
        };
        let wire = command.encode_to_vec();
        let verified = AcceptAll::default().verify(&wire, NOW, Default::default()).unwrap().decode().unwrap();
        let outcome = read(&verified, &settings(), NOW);
        match &outcome {
            Ok(read) => {
                prop_assert_ne!(read.order.name(), "terminate");
                prop_assert_eq!(read.order.command_type(), Some(command.command_type()));
                prop_assert_eq!(read.order.seed().map(SeedId::as_str).unwrap_or_default(),
                    if read.order.seed().is_some() { command.target_seed_id.as_str() } else { "" });
            }
            Err(unreadable) => prop_assert!(!unreadable.reason().is_empty() && !unreadable.to_string().is_empty()),
        }
        prop_assert_eq!(format!("{:?}", read(&verified, &settings(), NOW)), format!("{outcome:?}"));
    }
}
