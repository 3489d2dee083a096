//! Alpha, schedules and annotations, as scripts and as properties.

use std::collections::BTreeMap;

use kasmina_blending::{Alpha, AlphaSchedule, BlendConfig, BlendMode, BlendRefusal};
use kasmina_leyline::v1;
use proptest::prelude::*;

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn numbers(pairs: &[(&str, f32)]) -> BTreeMap<String, f32> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect()
}

fn read(pairs: &[(&str, &str)]) -> Result<BlendConfig, BlendRefusal> {
    BlendConfig::from_annotations(&texts(pairs), 4)
}

#[test]
fn alpha_outside_zero_to_one_is_refused() {
    assert_eq!(Alpha::default(), Alpha::ZERO);
    assert_eq!(Alpha::new(0.25).unwrap().get(), 0.25);
    assert_eq!(Alpha::new(-0.0).unwrap().get().to_bits(), 0);
    assert_eq!((Alpha::new(0.0), Alpha::new(1.0)), (Ok(Alpha::ZERO), Ok(Alpha::ONE)));
    for refused in [f32::NAN, -0.1, 1.000_000_1, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(Alpha::new(refused).unwrap_err().reason(), "invalid_alpha");
    }
}

#[cfg(feature = "tensor")]
#[test]
fn channel_axis_depends_on_the_rank() {
    assert_eq!([0, 1, 2, 3, 4, 5].map(kasmina_blending::channel_axis), [None, None, Some(1), Some(2), Some(1), None]);
}

#[test]
fn schedule_is_read_from_parameters_and_annotation() {
    let read = |parameters: &[(&str, f32)], annotations: &[(&str, &str)]| {
        AlphaSchedule::from_command(&numbers(parameters), &texts(annotations), 100)
    };
    assert_eq!(read(&[], &[]), Ok(AlphaSchedule::Sigmoid { total_steps: 100, temperature: 1.0 }));
    assert_eq!(
        read(&[("alpha_total_steps", 16_777_216.0), ("alpha_temperature", 0.5)], &[]),
        Ok(AlphaSchedule::Sigmoid { total_steps: 1 << 24, temperature: 0.5 })
    );
    let steps = [("alpha_total_steps", 7.0)];
    assert_eq!(read(&steps, &[("alpha_schedule", "Linear")]), Ok(AlphaSchedule::Linear { total_steps: 7 }));
    assert_eq!(read(&steps, &[("alpha_schedule", " COSINE ")]), Ok(AlphaSchedule::Cosine { total_steps: 7 }));
    for steps in [0.0, -1.0, 1.5, 16_777_218.0, f32::NAN, f32::INFINITY] {
        assert_eq!(read(&[("alpha_total_steps", steps)], &[]).unwrap_err().reason(), "out_of_range");
    }
    for temperature in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert_eq!(read(&[("alpha_temperature", temperature)], &[]).unwrap_err().reason(), "out_of_range");
    }
    assert_eq!(read(&[], &[("alpha_schedule", "step")]).unwrap_err().reason(), "unknown_alpha_schedule");
}

#[test]
fn schedule_has_its_shape() {
    let [linear, cosine, sigmoid] = [
        AlphaSchedule::Linear { total_steps: 4 },
        AlphaSchedule::Cosine { total_steps: 4 },
        AlphaSchedule::Sigmoid { total_steps: 4, temperature: 1.0 },
    ]
    .map(|schedule| [1, 2, 3].map(|step| schedule.at(step).get()));
    assert_eq!(linear, [0.25, 0.5, 0.75]);
    assert!((cosine[0] - 0.146_446_6).abs() < 1e-6 && (cosine[1] - 0.5).abs() < 1e-6);
    // (sigmoid(-3) - sigmoid(-6)) / (sigmoid(6) - sigmoid(-6))
    assert!((sigmoid[0] - 0.045_176_66).abs() < 1e-6 && sigmoid[1] == 0.5, "{sigmoid:?}");
}

#[test]
fn config_is_read_from_annotations() {
    assert_eq!(read(&[]), Ok(BlendConfig::convex()));
    assert_eq!(BlendConfig::default(), BlendConfig::convex());
    assert_eq!(read(&[("blend_mode", " Residual ")]), Ok(BlendConfig::residual()));
    assert_eq!(
        read(&[
            ("blend_mode", "confidence"),
            ("gate_k", "2"),
            ("gate_tau", "0.5"),
            ("alpha_lo", "0.9"),
            ("alpha_hi", "0.1")
        ]),
        BlendConfig::confidence(2.0, 0.5, 0.1, 0.9)
    );
    assert_eq!(
        read(&[("blend_mode", "CONFIDENCE")]),
        BlendConfig::confidence(BlendConfig::DEFAULT_GATE_K, BlendConfig::DEFAULT_GATE_TAU, 0.0, 1.0)
    );
    for list in ["[0.5, 1]", "0.5, 1", " 0.5,1 "] {
        let config = read(&[("blend_mode", "Channel"), ("alpha_vec", list), ("alpha_vec_len", "2")]).unwrap();
        assert_eq!((config.mode(), config.alpha_vec()), (BlendMode::Channel, Some(&[0.5, 1.0][..])));
    }
    let sourced = read(&[("blend_mode_source", "tamiyo")]).unwrap();
    assert_eq!((sourced.source(), sourced.mode().as_str()), (Some("tamiyo"), "CONVEX"));
    assert_eq!(BlendConfig::residual().source(), None);
}

#[test]
fn every_wrong_annotation_is_refused_with_its_reason() {
    let channel = ("blend_mode", "CHANNEL");
    for (annotations, reason) in [
        (&[("blend_mode", "ADDITIVE")][..], "unknown_blend_mode"),
        (&[("blend_mode", "")], "unknown_blend_mode"),
        (&[("gate_k", "four")], "not_a_number"),
        (&[("alpha_vec_len", "-1")], "not_a_number"),
        (&[("gate_k", "inf")], "out_of_range"),
        (&[("gate_k", "-1")], "out_of_range"),
        (&[("gate_tau", "-0.1")], "out_of_range"),
        (&[("gate_tau", "NaN")], "out_of_range"),
        (&[("alpha_lo", "-0.1")], "out_of_range"),
        (&[("alpha_hi", "1.1")], "out_of_range"),
        (&[channel], "alpha_vec_missing"),
        (&[channel, ("alpha_vec", "0.5;0.5")], "alpha_vec_malformed"),
        (&[channel, ("alpha_vec", "[0.5, null]")], "alpha_vec_malformed"),
        (&[channel, ("alpha_vec", "[0.5")], "alpha_vec_malformed"),
        (&[channel, ("alpha_vec", "[]")], "alpha_vec_empty"),
        (&[channel, ("alpha_vec", "")], "alpha_vec_empty"),
        (&[channel, ("alpha_vec", "0,0,0,0,0")], "alpha_vec_too_long"),
        (&[channel, ("alpha_vec", "[0,2]")], "alpha_vec_entry"),
        (&[channel, ("alpha_vec", "nan")], "alpha_vec_entry"),
        (&[channel, ("alpha_vec", "0,1"), ("alpha_vec_len", "3")], "alpha_vec_length"),
        (&[("alpha_vec_len", "3")], "alpha_vec_length"),
    ] {
        assert_eq!(read(annotations).unwrap_err().reason(), reason, "{annotations:?}");
    }
    assert_eq!(BlendConfig::channel(vec![]), Err(BlendRefusal::AlphaVecEmpty));
    assert_eq!(
        read(&[channel, ("alpha_vec", "0,1"), ("alpha_vec_len", "3")]),
        Err(BlendRefusal::AlphaVecLength { expected: 3, got: 2 })
    );
}

#[test]
fn typed_field_is_checked_like_annotations() {
    let mode = |mode: v1::BlendMode| v1::BlendConfig { mode: mode.into(), ..Default::default() };
    let channel = |alpha_vec: &[f32]| v1::BlendConfig { alpha_vec: alpha_vec.to_vec(), ..mode(v1::BlendMode::Channel) };
    for (typed, reason) in [
        (v1::BlendConfig::default(), "unknown_blend_mode"),
        (v1::BlendConfig { mode: 9, ..Default::default() }, "unknown_blend_mode"),
        (v1::BlendConfig { gate_k: Some(-1.0), ..mode(v1::BlendMode::Convex) }, "out_of_range"),
        (v1::BlendConfig { alpha_hi: Some(f32::NAN), ..mode(v1::BlendMode::Confidence) }, "out_of_range"),
        (v1::BlendConfig { alpha_vec: vec![2.0], ..mode(v1::BlendMode::Convex) }, "alpha_vec_entry"),
        (channel(&[]), "alpha_vec_missing"),
        (channel(&[0.5; 5]), "alpha_vec_too_long"),
    ] {
        assert_eq!(BlendConfig::from_typed(&typed, 4).unwrap_err().reason(), reason, "{typed:?}");
    }
    // An absent part of a typed field has the default of the annotation.
    let confidence = BlendConfig::from_typed(&mode(v1::BlendMode::Confidence), 4);
    assert_eq!(confidence, read(&[("blend_mode", "CONFIDENCE")]));
}

#[test]
fn annotations_beside_a_typed_field_are_compared_with_it() {
    let gate = BlendConfig::confidence(2.0, 0.5, 0.1, 0.9).unwrap();
    let beside = |annotations: &[(&str, &str)]| {
        let (config, conflict) = BlendConfig::read(Some(&gate.to_typed()), &texts(annotations), 4).unwrap();
        assert_eq!(config.mode(), BlendMode::Confidence);
        conflict.map(|conflict| conflict.annotations).unwrap_or_default()
    };
    assert!(beside(&[]).is_empty());
    assert!(beside(&[("blend_mode", " confidence"), ("gate_k", "2.0"), ("blend_mode_source", "x")]).is_empty());
    assert!(beside(&[("alpha_lo", "0.9"), ("alpha_hi", "0.1")]).is_empty(), "swapped, so the same");
    assert_eq!(beside(&[("gate_k", "4"), ("gate_tau", "0.5")]), ["gate_k"]);
    assert_eq!(beside(&[("alpha_vec", "nonsense")]), ["alpha_vec"]);
    assert_eq!(beside(&[("blend_mode", "CONVEX"), ("alpha_lo", "0.2")]), ["blend_mode", "alpha_lo"]);
    // Without a typed field, a wrong annotation is an error.
    assert_eq!(BlendConfig::read(None, &texts(&[("gate_k", "x")]), 4).unwrap_err().reason(), "not_a_number");
}

#[test]
fn stored_blend_that_is_not_valid_is_refused() {
    let text = serde_json::to_string(&BlendConfig::channel(vec![0.5]).unwrap()).unwrap();
    assert_eq!(text, r#"{"recipe":{"CHANNEL":[0.5]},"source":null}"#);
    for wrong in [text.replace("0.5", "1.5"), text.replace("[0.5]", "[]"), text.replace("recipe", "receipt")] {
        assert!(serde_json::from_str::<BlendConfig>(&wrong).is_err(), "{wrong}");
    }
}

fn schedule() -> impl Strategy<Value = AlphaSchedule> {
    let steps = prop_oneof![1..200_u64, 1..=AlphaSchedule::MAX_TOTAL_STEPS, any::<u64>()];
    (0..3, steps, prop_oneof![0.01..100.0_f32, any::<f32>()]).prop_map(|(kind, total_steps, temperature)| match kind {
        0 => AlphaSchedule::Sigmoid { total_steps, temperature },
        1 => AlphaSchedule::Linear { total_steps },
        _ => AlphaSchedule::Cosine { total_steps },
    })
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "(convex|RESIDUAL|Channel|confidence)",
        any::<f32>().prop_map(|number| number.to_string()),
        (0.0..=1.0_f32).prop_map(|number| number.to_string()),
        (0..6_usize).prop_map(|number| number.to_string()),
        prop::collection::vec(0.0..=1.0_f32, 0..6).prop_map(|list| format!("{list:?}")),
        "[0-9.,\\[\\] e-]{0,20}",
        any::<String>(),
    ]
}

fn annotations() -> impl Strategy<Value = BTreeMap<String, String>> {
    let name = prop::sample::select(vec![
        "blend_mode",
        "blend_mode_source",
        "gate_k",
        "gate_tau",
        "alpha_lo",
        "alpha_hi",
        "alpha_vec",
        "alpha_vec_len",
        "alpha_schedule",
    ]);
    prop::collection::btree_map(name.prop_map(str::to_owned), value(), 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn schedule_never_falls(schedule in schedule(), start in prop_oneof![0..300_u64, any::<u64>()], jump in 0..1000_u64) {
        let (now, next, later) = (schedule.at(start), schedule.at(start.saturating_add(1)), schedule.at(start.saturating_add(jump + 1)));
        prop_assert!(now <= next && next <= later, "{now:?} {next:?} {later:?}");
        prop_assert_eq!(schedule.at(0), Alpha::ZERO);
        prop_assert_eq!(schedule.at(u64::MAX), Alpha::ONE);
        prop_assert!(Alpha::new(now.get()).is_ok());
    }

    #[test]
    fn schedule_goes_from_zero_to_one(schedule in schedule(), total in 1..500_u64) {
        let schedule = match schedule {
            AlphaSchedule::Sigmoid { temperature, .. } => AlphaSchedule::Sigmoid { total_steps: total, temperature },
            AlphaSchedule::Linear { .. } => AlphaSchedule::Linear { total_steps: total },
            AlphaSchedule::Cosine { .. } => AlphaSchedule::Cosine { total_steps: total },
        };
        let steps: Vec<Alpha> = (0..=total + 1).map(|step| schedule.at(step)).collect();
        prop_assert!(steps.is_sorted());
        prop_assert_eq!(steps[0], Alpha::ZERO);
        prop_assert_eq!(&steps[total as usize..], &[Alpha::ONE; 2]);
    }

    #[test]
    fn accepted_config_is_valid(annotations in annotations(), max in 0..8_usize) {
        let Ok(config) = BlendConfig::from_annotations(&annotations, max) else { return Ok(()) };
        prop_assert_eq!(config.source(), annotations.get("blend_mode_source").map(String::as_str));
        let named = annotations.get("blend_mode").map_or("CONVEX".to_owned(), |name| name.trim().to_uppercase());
        prop_assert_eq!(config.mode().as_str(), named);
        prop_assert_eq!(config.mode() == BlendMode::Channel, config.alpha_vec().is_some());
        if let Some(alpha_vec) = config.alpha_vec() {
            prop_assert!((1..=max).contains(&alpha_vec.len()));
            prop_assert!(alpha_vec.iter().all(|entry| Alpha::new(*entry).is_ok()));
        }
    }

    #[test]
    fn config_comes_back_from_annotations_and_typed_field(annotations in annotations(), k in 0_f32..1e9, tau in 0_f32..1e-3, hi in 0_f32..1.0) {
        let gate = BlendConfig::confidence(k, tau, hi / 3.0, hi).unwrap();
        for config in BlendConfig::from_annotations(&annotations, 8).into_iter().chain([gate]) {
            prop_assert_eq!(BlendConfig::from_annotations(&config.annotations(), 8), Ok(config.clone()));
            prop_assert_eq!(BlendConfig::from_typed(&config.to_typed(), 8), Ok(config.clone()));
            let both = BlendConfig::read(Some(&config.to_typed()), &config.annotations(), 8);
            prop_assert_eq!(both, Ok((config, None)));
        }
    }

    #[test]
    fn reading_a_schedule_never_panics(
        annotations in annotations(), steps in any::<f32>(), temperature in any::<f32>(), fallback in any::<u64>(),
    ) {
        let parameters = numbers(&[("alpha_total_steps", steps), ("alpha_temperature", temperature)]);
        let _ = AlphaSchedule::from_command(&parameters, &annotations, fallback);
        let _ = AlphaSchedule::from_command(&numbers(&[]), &annotations, fallback).map(|schedule| schedule.at(fallback / 2));
    }
}
