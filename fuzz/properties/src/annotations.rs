//! The blend settings of a command.

use std::collections::BTreeMap;

use kasmina_blending::{AlphaSchedule, BlendConfig, BlendMode, Conflict};
use kasmina_leyline::v1;
use prost::Message;

use crate::choices::Choices;

const LONGEST: usize = 4 << 10;

/// Annotations and parameters of a command, as lines `key=value` and `key:=number`, and after a zero byte the encoded typed
/// field: whatever is accepted keeps its promises. The parameters `max` and `default` are the limits that a manager has configured.
pub fn annotations(data: &[u8]) {
    let data = &data[..data.len().min(LONGEST)];
    let zero = data.iter().position(|byte| *byte == 0);
    let (text, field) = zero.map_or((data, None), |zero| (&data[..zero], Some(&data[zero + 1..])));
    let text = String::from_utf8_lossy(text);
    let (mut annotations, mut parameters, mut limits) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for line in text.split('\n') {
        if let Some((key, value)) = line.split_once(":=") {
            match value.parse::<u64>() {
                Ok(whole) if ["max", "default"].contains(&key) => drop(limits.insert(key, whole)),
                Ok(_) | Err(_) => drop(value.parse::<f32>().map(|number| parameters.insert(key.to_owned(), number))),
            }
        } else if let Some((key, value)) = line.split_once('=') {
            annotations.insert(key.to_owned(), value.to_owned());
        }
    }
    let limit = |name| limits.get(name).copied();
    let max = limit("max").map_or(BlendConfig::DEFAULT_MAX_ALPHA_VEC, |max| max as usize);
    configured(&annotations, max);
    match field.and_then(|bytes| v1::BlendConfig::decode(bytes).ok()) {
        Some(field) => typed(&field, &annotations, max),
        None => {
            let alone = BlendConfig::from_annotations(&annotations, max).map(|config| (config, None::<Conflict>));
            let read = BlendConfig::read(None, &annotations, max);
            // As text, in which NaN is equal to itself.
            assert_eq!(format!("{read:?}"), format!("{alone:?}"), "without a field the annotations are all");
        }
    }
    scheduled(&parameters, &annotations, limit("default").unwrap_or(100), data);
}

fn configured(annotations: &BTreeMap<String, String>, max: usize) {
    let config = match BlendConfig::from_annotations(annotations, max) {
        Ok(config) => config,
        Err(refusal) => {
            assert!(!refusal.reason().is_empty() && !refusal.to_string().is_empty());
            return;
        }
    };
    let given = |name: &str| annotations.get(name).map(|text| text.trim());
    let number = |name: &str, absent: f32| {
        given(name).map_or(absent, |text| text.parse().expect("accepted, so every number is one"))
    };
    assert!(config.mode().as_str().eq_ignore_ascii_case(given("blend_mode").unwrap_or("CONVEX")));
    assert_eq!(config.source(), annotations.get("blend_mode_source").map(String::as_str));

    let (k, tau) = (number("gate_k", BlendConfig::DEFAULT_GATE_K), number("gate_tau", BlendConfig::DEFAULT_GATE_TAU));
    let (lo, hi) = (number("alpha_lo", 0.0), number("alpha_hi", 1.0));
    assert!([k, tau].iter().all(|number| number.is_finite() && *number >= 0.0), "k {k}, tau {tau}");
    assert!([lo, hi].iter().all(|number| (0.0..=1.0).contains(number)), "lo {lo}, hi {hi}");

    assert_eq!(config.alpha_vec().is_some(), config.mode() == BlendMode::Channel);
    if let Some(entries) = config.alpha_vec() {
        assert!((1..=max).contains(&entries.len()), "{} entries, at most {max}", entries.len());
        assert!(entries.iter().all(|entry| (0.0..=1.0).contains(entry)), "{entries:?}");
        if let Some(length) = given("alpha_vec_len") {
            assert_eq!(length.parse(), Ok(entries.len()));
        }
    }

    // Without its source, which may hold any text, so that the gate can be found in what it shows.
    let mut plain = annotations.clone();
    plain.remove("blend_mode_source");
    let plain = BlendConfig::from_annotations(&plain, max).expect("the source is for telemetry alone");
    assert_eq!((plain.mode(), plain.alpha_vec()), (config.mode(), config.alpha_vec()));
    if config.mode() == BlendMode::Confidence {
        assert_eq!(BlendConfig::confidence(k, tau, lo, hi).as_ref(), Ok(&plain), "both ways in agree");
        let gate = gate(&plain);
        assert_eq!(gate, [k, tau, lo.min(hi), lo.max(hi)], "k, tau, lo, hi");
    }
}

/// The typed field wins over annotations, is within the same limits, and is written as it was read.
fn typed(field: &v1::BlendConfig, annotations: &BTreeMap<String, String>, max: usize) {
    let read = BlendConfig::read(Some(field), annotations, max);
    let config = match BlendConfig::from_typed(field, max) {
        Ok(config) => config,
        Err(refusal) => {
            assert!(!refusal.reason().is_empty() && !refusal.to_string().is_empty());
            assert_eq!(
                read.map(|_| ()).map_err(|error| error.reason()),
                Err(refusal.reason()),
                "no way around the field"
            );
            return;
        }
    };
    assert_eq!(BlendConfig::from_typed(&config.to_typed(), max).as_ref(), Ok(&config), "written as it was read");
    if let Some(entries) = config.alpha_vec() {
        assert!((1..=max).contains(&entries.len()), "{} entries, at most {max}", entries.len());
        assert!(entries.iter().all(|entry| (0.0..=1.0).contains(entry)), "{entries:?}");
    }
    if config.mode() == BlendMode::Confidence {
        let [k, tau, lo, hi] = gate(&config.clone().with_source(None));
        assert!(k >= 0.0 && tau >= 0.0 && k.is_finite() && tau.is_finite(), "k {k}, tau {tau}");
        assert!(0.0 <= lo && lo <= hi && hi <= 1.0, "lo {lo}, hi {hi}");
    }

    let (used, conflict) = read.expect("the field alone decides whether it is valid");
    let source = config.source().or(annotations.get("blend_mode_source").map(String::as_str)).map(str::to_owned);
    assert_eq!(used, config.clone().with_source(source), "annotations change the source at most");
    if let Some(conflict) = conflict {
        assert!(!conflict.annotations.is_empty() && conflict.used == config.mode());
        assert!(conflict.annotations.iter().all(|name| annotations.contains_key(*name)), "{conflict:?}");
    }
    let own = config.annotations();
    assert_eq!(BlendConfig::from_annotations(&own, max).as_ref(), Ok(&config), "both ways to say it are the same");
    assert_eq!(BlendConfig::read(Some(field), &own, max), Ok((config, None)), "no conflict with itself");
}

/// `k`, `tau`, `lo` and `hi` of CONFIDENCE, which are shown and nowhere given.
fn gate(config: &BlendConfig) -> [f32; 4] {
    let shown = format!("{config:?}");
    ["k: ", "tau: ", "lo: ", "hi: "].map(|name| {
        let number = shown.split(name).nth(1).and_then(|text| text.split([',', ' ']).next());
        number.and_then(|text| text.parse().ok()).unwrap_or(f32::NAN)
    })
}

fn scheduled(parameters: &BTreeMap<String, f32>, annotations: &BTreeMap<String, String>, default: u64, data: &[u8]) {
    let schedule = match AlphaSchedule::from_command(parameters, annotations, default) {
        Ok(schedule) => schedule,
        Err(refusal) => {
            assert!(!refusal.reason().is_empty() && !refusal.to_string().is_empty());
            return;
        }
    };
    let (total, temperature) = match schedule {
        AlphaSchedule::Sigmoid { total_steps, temperature } => (total_steps, temperature),
        AlphaSchedule::Linear { total_steps } | AlphaSchedule::Cosine { total_steps } => (total_steps, 1.0),
    };
    assert!(temperature.is_finite() && temperature > 0.0, "{temperature}");
    match parameters.get("alpha_total_steps") {
        Some(&steps) => {
            assert!((1..=AlphaSchedule::MAX_TOTAL_STEPS).contains(&total), "{total}");
            assert_eq!(total as f32, steps);
        }
        None => assert_eq!(total, default),
    }

    let mut choices = Choices::new(data);
    let mut steps = vec![0, 1, 2, total / 4, total / 2, total.saturating_sub(1), total, u64::MAX];
    for _ in 0..8 {
        let step = u64::from_le_bytes(choices.number()) % total.max(1);
        steps.extend([step, step + 1]);
    }
    steps.sort_unstable();
    let mut before = 0.0;
    for step in steps {
        let alpha = schedule.at(step).get();
        assert!((0.0..=1.0).contains(&alpha), "{schedule:?} gives {alpha} at {step}");
        assert!(alpha >= before, "{schedule:?} falls from {before} to {alpha} at {step}");
        assert!(step != 0 || alpha == 0.0, "{schedule:?} begins with {alpha}");
        assert!(step < total.max(1) || alpha == 1.0, "{schedule:?} is over at {step} with {alpha}");
        before = alpha;
    }
}
