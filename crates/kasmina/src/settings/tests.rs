use super::*;

fn overlay(variable: &str, value: &str) -> Result<Settings, SettingsError> {
    Settings::default().overlay([(variable.into(), value.into())])
}

#[test]
fn defaults_survive_toml() {
    let text = toml::to_string(&Settings::default()).unwrap();
    assert_eq!(Settings::from_toml(&text).unwrap(), Settings::default());
    assert_eq!(Settings::from_toml("").unwrap(), Settings::default());
}

#[test]
fn unknown_keys_are_refused_by_name() {
    let error = Settings::from_toml("[training]\nsample_evry = 3").unwrap_err();
    assert!(error.to_string().contains("sample_evry"), "{error}");
    let error = overlay("KASMINA_SET_TRAINING__SAMPLE_EVRY", "3").unwrap_err();
    assert!(error.to_string().contains("KASMINA_SET_TRAINING__SAMPLE_EVRY"), "{error}");
    assert!(error.to_string().contains("sample_evry"), "{error}");
    let error = overlay("KASMINA_SET_TRAINNG__SAMPLE_EVERY", "3").unwrap_err();
    assert!(error.to_string().contains("no section trainng"), "{error}");
}

#[test]
fn wrong_types_and_values_out_of_range_are_refused() {
    assert!(matches!(overlay("KASMINA_SET_TRAINING__SAMPLE_EVERY", "often"), Err(SettingsError::Environment { .. })));
    assert!(matches!(
        Settings::from_toml("[training]\nprobe_every = 0"),
        Err(SettingsError::OutOfRange { key: "training.probe_every", .. })
    ));
    assert!(matches!(
        overlay("KASMINA_SET_TRAINING__LEARNING_RATE", "nan"),
        Err(SettingsError::OutOfRange { key: "training.learning_rate", .. })
    ));
    for value in ["-0.1", "1.1", "nan", "inf"] {
        assert!(matches!(
            overlay("KASMINA_SET_COMMANDS__DEGRADED_BELOW", value),
            Err(SettingsError::OutOfRange { key: "commands.degraded_below", .. })
        ));
    }
    for (name, value, refused) in [
        ("TOTAL_BYTES", "0", "memory.total_bytes"),
        ("RESIDENT_BYTES", "0", "memory.resident_bytes"),
        ("TELEMETRY_BYTES", "65535", "memory.telemetry_bytes"),
        ("RESUME_BELOW", "0.95", "memory.resume_below, conserve_at, purge_above"),
        ("CONSERVE_AT", "nan", "memory.resume_below, conserve_at, purge_above"),
        ("PURGE_ABOVE", "inf", "memory.resume_below, conserve_at, purge_above"),
    ] {
        let outcome = overlay(&format!("KASMINA_SET_MEMORY__{name}"), value);
        assert!(matches!(outcome, Err(SettingsError::OutOfRange { key, .. }) if key == refused), "{name} = {value}");
    }
    assert!(matches!(Settings::from_file("no/such/file.toml"), Err(SettingsError::Unreadable { .. })));
}

#[test]
fn environment_reaches_every_depth() {
    let settings = overlay("KASMINA_SET_TELEMETRY__SOURCE", "kasmina-7").unwrap();
    assert_eq!(settings.telemetry.source, "kasmina-7");
    let settings = overlay(
        "KASMINA_SET_LIFECYCLE__ADVANCE",
        "{ mode = 'automatic', training_steps = 1, blending_steps = 4, shadowing_steps = 2, probationary_steps = 3 }",
    )
    .unwrap();
    let expected =
        Advance::Automatic { training_steps: 1, blending_steps: 4, shadowing_steps: 2, probationary_steps: 3 };
    assert_eq!(settings.lifecycle.advance, expected);
    assert_eq!(overlay("PATH", "x").unwrap(), Settings::default());
}
