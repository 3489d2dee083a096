//! Records that an older version has written.

use kasmina_engine::{Stage, State, commands::BreakerName};
use kasmina_leyline::v1::{CircuitBreakerState::CircuitStateClosed, SeedLifecycleStage::*};
use serde_json::Value;

use crate::world::{World, seed};

/// What this version has added, wherever it stands.
const NEW: [&str; 9] = [
    "postponed",
    "idle",
    "leaving",
    "contribution",
    "pause_proven",
    "host_gradient_norm",
    "hunt",
    "blending",
    "telemetry",
];

fn without_the_new(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !NEW.contains(&name.as_str()));
            fields.values_mut().for_each(without_the_new);
        }
        Value::Array(values) => values.iter_mut().for_each(without_the_new),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn record_without_the_new_fields_still_reads() {
    for stage in [SeedStageTraining, SeedStageBlending, SeedStageShadowing, SeedStageProbationary, SeedStageFossilized]
    {
        let mut world = World::new();
        world.grow(&seed("a"), stage);
        let written = serde_json::to_value(world.engine.state()).unwrap();
        let mut old = written.clone();
        without_the_new(&mut old);
        assert_ne!(old, written);
        let read: State = serde_json::from_value(old).unwrap();
        assert_eq!(read.stage(&seed("a")), Some(stage));
        for name in BreakerName::ALL {
            assert_eq!(read.run.breakers.get(name).state(), CircuitStateClosed);
        }
        let record = &read.seeds[&seed("a")];
        assert_eq!((&record.postponed, record.stage.leaving()), (&None, None));
        if let Stage::Blending(_, blend) = &record.stage {
            assert_eq!((blend.pause_proven, blend.contribution.probes()), (None, 0));
        }
    }
}
