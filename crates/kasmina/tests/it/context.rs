//! What a sender says of its decision is told and obeyed all the same, unless it means to grow something else.

use std::collections::BTreeMap;

use crate::common::{B, Mlp, World, blueprint, model_of, refused, seed};
use kasmina::{
    CommandError, Receipt, Refusal, Settings, engine,
    kernel_load::KernelLibrary,
    leyline::v1::{
        AdaptationCommand, BlueprintTier, CommandType, SeedLifecycleStage::*, SeedOperation::*, TelemetryEvent,
        TelemetryLevel,
    },
    safety::Clock,
};

fn world() -> World {
    let mut world = World::new(Settings::default());
    world.attach(&model_of(Mlp::<B>::init()));
    world.manager.tick();
    world.events();
    world
}

fn germinate<const A: usize>(world: &mut World, annotations: [(&str, &str); A]) -> Result<Receipt, CommandError> {
    let now = world.clock.unix();
    let wire = world.sender.germinate_with(&seed("seed-1"), &blueprint("mlp"), [], annotations, now).unwrap();
    world.manager.submit(&wire)
}

fn cull<const A: usize>(world: &mut World, annotations: [(&str, &str); A]) -> Result<Receipt, CommandError> {
    let wire = world.sender.operate(&seed("seed-1"), SeedOpCull, [], annotations, world.clock.unix()).unwrap();
    world.manager.submit(&wire)
}

fn told(events: &[TelemetryEvent], name: &str) -> Vec<BTreeMap<String, String>> {
    events.iter().filter(|event| event.description == name).map(|event| event.attributes.clone()).collect()
}

#[test]
fn cull_with_unreadable_context_is_obeyed_and_reported() {
    let mut world = world();
    world.germinate("seed-1", "mlp").unwrap();
    world.events();
    let garbage = [
        ("feature_coverage", "most of it"),
        ("coverage_map", "{\"loss\": "),
        ("risk_score", "NaN"),
        ("risk_reason", "\u{0}\u{202e}"),
        ("blueprint_tier", "purple"),
        ("blueprint_risk", &"9".repeat(500)),
    ];
    let receipt = cull(&mut world, garbage).unwrap();
    assert_eq!(receipt.transitions.len(), 2, "culled, embargoed");
    assert_eq!(world.stage("seed-1"), SeedStageEmbargoed);

    world.manager.flush_telemetry();
    let packets = world.sink.take();
    let of_seed = |packet: &kasmina::leyline::v1::TelemetryPacket| {
        packet
            .system_health
            .as_ref()
            .is_some_and(|health| health.indicators.get("seed_id").is_some_and(|id| id == "seed-1"))
    };
    let events: Vec<_> = packets.into_iter().filter(of_seed).flat_map(|packet| packet.events).collect();
    let degraded = told(&events, "degraded_inputs");
    let reasons: Vec<_> = degraded.iter().map(|attributes| attributes["reason"].as_str()).collect();
    let expected = [
        "coverage_unreadable",
        "coverage_map_unreadable",
        "risk_unreadable",
        "blueprint_tier_unreadable",
        "blueprint_risk_unreadable",
    ];
    assert_eq!(reasons, expected);
    for attributes in &degraded {
        assert_eq!(attributes["command_id"], receipt.command.as_str());
        assert!(attributes["text"].chars().count() <= 128);
    }
    assert_eq!(degraded[3]["text"], "purple");
    assert!(
        events
            .iter()
            .filter(|event| event.description == "degraded_inputs")
            .all(|event| event.level() == TelemetryLevel::Warning)
    );
    let accepted = told(&events, "command_accepted").remove(0);
    assert!(!accepted.contains_key("risk_score") && !accepted.contains_key("feature_coverage"), "{accepted:?}");
}

#[test]
fn low_coverage_is_reported_with_the_missing_inputs() {
    let mut world = world();
    let map = r#"{"loss_trend": 0.2, "latency": 1.0, "gradient_norm": 0.0}"#;
    let annotations = [("feature_coverage", "0.4"), ("coverage_map", map), ("risk_score", "0.25")];
    germinate(&mut world, annotations).unwrap();
    assert_eq!(world.stage("seed-1"), SeedStageTraining);
    let events = world.events();
    let degraded = told(&events, "degraded_inputs");
    assert_eq!(degraded.len(), 1, "{degraded:?}");
    assert_eq!(degraded[0]["reason"], "coverage_low");
    assert_eq!(degraded[0]["text"], "0.4");
    assert_eq!(degraded[0]["inputs"], "gradient_norm,loss_trend");
    let accepted = told(&events, "command_accepted").remove(0);
    assert_eq!((accepted["feature_coverage"].as_str(), accepted["risk_score"].as_str()), ("0.4", "0.25"));
}

#[test]
fn coverage_threshold_comes_from_the_settings() {
    let mut settings = Settings::default();
    settings.commands.degraded_below = 0.4;
    let mut world = World::new(settings);
    world.attach(&model_of(Mlp::<B>::init()));
    germinate(&mut world, [("feature_coverage", "0.4")]).unwrap();
    assert_eq!(told(&world.events(), "degraded_inputs").len(), 0);
    cull(&mut world, [("feature_coverage", "0.39")]).unwrap();
    assert_eq!(told(&world.events(), "degraded_inputs").len(), 1);
}

/// Any number of inputs, and names of any length: the event stays short.
#[test]
fn long_context_makes_a_short_event() {
    let mut world = world();
    world.germinate("seed-1", "mlp").unwrap();
    world.events();
    let entries: Vec<_> = (0..500).map(|i| format!("\"an_input_with_a_rather_long_name_{i}\": 0")).collect();
    cull(&mut world, [("coverage_map", &format!("{{{}}}", entries.join(",")))]).unwrap();
    let degraded = told(&world.events(), "degraded_inputs");
    let reasons: Vec<_> = degraded.iter().map(|attributes| attributes["reason"].as_str()).collect();
    assert_eq!(reasons, ["coverage_map_too_long", "coverage_low"]);
    assert!(degraded[1]["inputs"].starts_with("an_input_with_a_rather_long_name_0,"));
    for attributes in degraded {
        assert!(attributes.values().all(|value| value.chars().count() <= 128), "{attributes:?}");
    }
}

#[test]
fn germinate_with_wrong_tier_is_refused() {
    let mut world = world();
    let outcome = germinate(&mut world, [("blueprint_tier", "HIGH_RISK")]);
    let CommandError::Refused { refusal, transitions, .. } = outcome.unwrap_err() else { panic!("it is authentic") };
    assert!(matches!(
        *refusal,
        Refusal::Decided(engine::Refusal::TierMismatch {
            expected: BlueprintTier::HighRisk,
            got: BlueprintTier::Safe,
            ..
        })
    ));
    let text = "mlp is of tier BLUEPRINT_TIER_SAFE in the catalogue, the command says BLUEPRINT_TIER_HIGH_RISK";
    assert_eq!((refusal.reason(), refusal.to_string().as_str()), ("tier_mismatch", text));
    assert_eq!((transitions.len(), world.stage("seed-1"), world.library.fetches()), (0, SeedStageDormant, 0));
    let events = world.events();
    assert_eq!(told(&events, "command_refused")[0]["reason"], "tier_mismatch");
    assert_eq!(told(&events, "gate_failure").len() + told(&events, "seed_culled").len(), 0);
    // The slot is free for another seed.
    world.germinate("seed-3", "mlp").unwrap();
}

#[test]
fn germinate_with_unreadable_tier_is_refused() {
    let mut world = world();
    for text in ["SAFEST", "", "UNSPECIFIED"] {
        assert_eq!(refused(germinate(&mut world, [("blueprint_tier", text)])), "malformed_command");
        assert_eq!((world.stage("seed-1"), world.library.fetches()), (SeedStageDormant, 0));
    }
    germinate(&mut world, [("blueprint_tier", "safe")]).unwrap();
    assert_eq!(world.stage("seed-1"), SeedStageTraining);
}

#[test]
fn tier_that_agrees_with_the_catalogue_opens_no_gate() {
    let mut world = world();
    let name = blueprint("mlp");
    let mut descriptor = world.library.descriptor(&name).unwrap();
    descriptor.tier = BlueprintTier::HighRisk.into();
    let fetched = world.library.fetch(&name).unwrap().here().unwrap();
    world.library.put(descriptor, &name, fetched);
    // To agree with the catalogue opens no gate.
    assert_eq!(refused(germinate(&mut world, [("blueprint_tier", "HIGH_RISK")])), "tier_not_allowed");
    assert_eq!(refused(germinate(&mut world, [("blueprint_tier", "SAFE")])), "tier_mismatch");
    assert_eq!(world.stage("seed-1"), SeedStageDormant);
}

/// The tier is the blueprint's, and only GERMINATE names one.
#[test]
fn tier_on_another_command_is_ignored() {
    let mut world = world();
    germinate(&mut world, [("blueprint_tier", "BLUEPRINT_TIER_SAFE")]).unwrap();
    let pause = AdaptationCommand {
        command_type: CommandType::CommandPause.into(),
        target_seed_id: "seed-1".into(),
        annotations: [("blueprint_tier".to_owned(), "HIGH_RISK".to_owned())].into(),
        ..Default::default()
    };
    let wire = world.sender.send(pause, world.clock.unix()).unwrap();
    world.manager.submit(&wire).unwrap();
    cull(&mut world, [("blueprint_tier", "HIGH_RISK")]).unwrap();
    assert_eq!(world.stage("seed-1"), SeedStageEmbargoed);
    assert_eq!(told(&world.events(), "degraded_inputs").len(), 0);
}
