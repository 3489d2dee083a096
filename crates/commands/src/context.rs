//! What a sender says of its decision.

use std::collections::BTreeMap;

use kasmina_blending::Conflict;
use kasmina_leyline::v1::BlueprintTier;
use serde_json::Value;

use crate::{ReadError, table};

/// What a sender says of its decision, in the annotations of the command.
///
/// | annotation | value | field |
/// |---|---|---|
/// | `feature_coverage` | in [0, 1] | [`coverage`](Self::coverage) |
/// | `coverage_map` | a JSON object of numbers in [0, 1] | [`coverage_map`](Self::coverage_map) |
/// | `risk_score` | in [0, 1] | [`risk`](Self::risk) |
/// | `risk_reason` | any text | [`risk_reason`](Self::risk_reason) |
/// | `blueprint_tier` | a [`BlueprintTier`] other than UNSPECIFIED in any case, with or without `BLUEPRINT_TIER_` | [`blueprint_tier`](Self::blueprint_tier) |
/// | `blueprint_risk` | in [0, 1] | [`blueprint_risk`](Self::blueprint_risk) |
///
/// All may be absent. Space around a value does not count.
///
/// It is advice. The command is obeyed whatever it says, because a CULL must not fail over a badly formatted remark, and what is
/// wrong with it is reported as [`Degraded`]. The one exception is GERMINATE with a `blueprint_tier`
/// that cannot be read or that differs from the catalogue's: that one is refused, because its sender meant to grow something else.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandContext {
    /// The share of the sender's inputs that were present.
    pub coverage: Option<f64>,
    /// The same for each input, at most [`MAX_INPUTS`](Self::MAX_INPUTS) of them: if there are more, the least covered ones.
    pub coverage_map: BTreeMap<String, f64>,
    /// How risky the sender thinks the command is, 0 to 1.
    pub risk: Option<f64>,
    /// Why, at most [`MAX_RISK_REASON`](Self::MAX_RISK_REASON) characters of it.
    pub risk_reason: Option<String>,
    /// The tier that the sender expects the blueprint to have, `None` if it does not say.
    pub blueprint_tier: Result<Option<BlueprintTier>, Degraded>,
    /// How risky the sender thinks the blueprint is, 0 to 1.
    pub blueprint_risk: Option<f64>,
}

/// One thing that makes a command's context less than it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Degraded {
    /// The machine-readable reason, stable across releases:
    ///
    /// | reason | what it says |
    /// |---|---|
    /// | `coverage_low` | The share of inputs that were present is below the threshold. |
    /// | `coverage_unreadable` | `feature_coverage` is not a number in [0, 1]. |
    /// | `coverage_map_unreadable` | `coverage_map` is not a JSON object, or has entries that are not numbers in [0, 1]. |
    /// | `coverage_map_too_long` | `coverage_map` has more entries than are kept. |
    /// | `risk_unreadable` | `risk_score` is not a number in [0, 1]. |
    /// | `blueprint_tier_unreadable` | `blueprint_tier` names no tier. |
    /// | `blend_conflict` | The typed blend and the annotations differ. |
    /// | `blueprint_risk_unreadable` | `blueprint_risk` is not a number in [0, 1]. |
    pub reason: &'static str,
    /// The annotation that it is about.
    pub annotation: &'static str,
    /// The inputs that it is about, by name: those below the threshold, or those whose coverage cannot be read. At most
    /// [`CommandContext::MAX_INPUTS`], none if the sender names none.
    pub inputs: Vec<String>,
    /// What the annotation says, at most [`MAX_TEXT`](Self::MAX_TEXT) characters of it.
    pub text: String,
}

impl CommandContext {
    /// The most entries of `coverage_map` that are kept. Our choice: more than anybody reads in an event.
    pub const MAX_INPUTS: usize = 64;
    /// The most characters of `risk_reason` that are kept. Our choice: a long sentence or two.
    pub const MAX_RISK_REASON: usize = 256;

    /// Reads the annotations of a command, and says what is wrong with them. Coverage is low where `feature_coverage` is below
    /// `degraded_below`, or where any input is and the sender gives no `feature_coverage` that can be read.
    #[must_use]
    pub fn read(annotations: &BTreeMap<String, String>, degraded_below: f64) -> (Self, Vec<Degraded>) {
        let mut degraded = Vec::new();
        let coverage = share(annotations, table::COVERAGE.name, "coverage_unreadable", &mut degraded);
        let coverage_map = read_coverage_map(annotations, &mut degraded);
        degraded.extend(low_coverage(annotations, coverage, &coverage_map, degraded_below));
        let risk = share(annotations, table::RISK.name, "risk_unreadable", &mut degraded);
        let blueprint_tier = read_tier(annotations);
        degraded.extend(blueprint_tier.as_ref().err().cloned());
        let blueprint_risk = share(annotations, table::BLUEPRINT_RISK.name, "blueprint_risk_unreadable", &mut degraded);
        let risk_reason =
            annotations.get(table::RISK_REASON.name).map(|text| shortened(text.trim(), Self::MAX_RISK_REASON));
        (Self { coverage, coverage_map, risk, risk_reason, blueprint_tier, blueprint_risk }, degraded)
    }

    /// The tier that a GERMINATE demands, if it demands one.
    pub(crate) fn tier(&self) -> Result<Option<BlueprintTier>, ReadError> {
        self.blueprint_tier.clone().map_err(|unreadable| {
            let cause = format!("{:?} is none of SAFE, EXPERIMENTAL and HIGH_RISK", unreadable.text);
            ReadError::malformed("annotations[\"blueprint_tier\"]", cause)
        })
    }
}

impl Degraded {
    /// The most characters of an annotation that are kept and emitted. Our choice: a line.
    pub const MAX_TEXT: usize = 128;

    fn new(reason: &'static str, annotation: &'static str, text: &str) -> Self {
        Self { reason, annotation, inputs: Vec::new(), text: shortened(text, Self::MAX_TEXT) }
    }

    /// The inputs as one text, at most [`MAX_TEXT`](Self::MAX_TEXT) characters of it.
    #[must_use]
    pub fn inputs_text(&self) -> Option<String> {
        (!self.inputs.is_empty()).then(|| shortened(&self.inputs.join(","), Self::MAX_TEXT))
    }
}

/// The same as an event: the annotations that differ, and the mode that is used.
impl From<Conflict> for Degraded {
    fn from(conflict: Conflict) -> Self {
        let annotation = conflict.annotations.first().copied().unwrap_or(table::BLEND_MODE.name);
        let text = format!("the typed field is used: {}", conflict.used);
        let inputs = conflict.annotations.into_iter().map(str::to_owned).collect();
        Self { inputs, ..Self::new("blend_conflict", annotation, &text) }
    }
}

fn shortened(text: &str, max_chars: usize) -> String {
    text.chars().take(max_chars).collect()
}

/// Not for a NaN.
fn is_share(number: &f64) -> bool {
    (0.0..=1.0).contains(number)
}

fn share(
    annotations: &BTreeMap<String, String>,
    annotation: &'static str,
    unreadable: &'static str,
    degraded: &mut Vec<Degraded>,
) -> Option<f64> {
    let text = annotations.get(annotation)?;
    let share = text.trim().parse().ok().filter(is_share);
    if share.is_none() {
        degraded.push(Degraded::new(unreadable, annotation, text));
    }
    share
}

fn read_coverage_map(annotations: &BTreeMap<String, String>, degraded: &mut Vec<Degraded>) -> BTreeMap<String, f64> {
    let annotation = table::COVERAGE_MAP.name;
    let Some(text) = annotations.get(annotation) else { return BTreeMap::new() };
    let Ok(entries) = serde_json::from_str::<BTreeMap<String, Value>>(text) else {
        degraded.push(Degraded::new("coverage_map_unreadable", annotation, text));
        return BTreeMap::new();
    };
    let (mut readable, mut unreadable) = (Vec::new(), Vec::new());
    for (input, value) in entries {
        match value.as_f64().filter(is_share) {
            Some(coverage) => readable.push((input, coverage)),
            None => unreadable.push(input),
        }
    }
    if !unreadable.is_empty() {
        unreadable.truncate(CommandContext::MAX_INPUTS);
        let notice = Degraded::new("coverage_map_unreadable", annotation, text);
        degraded.push(Degraded { inputs: unreadable, ..notice });
    }
    if readable.len() > CommandContext::MAX_INPUTS {
        degraded.push(Degraded::new("coverage_map_too_long", annotation, text));
        readable.sort_by(|(_, a), (_, b)| a.total_cmp(b));
        readable.truncate(CommandContext::MAX_INPUTS);
    }
    readable.into_iter().collect()
}

fn low_coverage(
    annotations: &BTreeMap<String, String>,
    coverage: Option<f64>,
    coverage_map: &BTreeMap<String, f64>,
    degraded_below: f64,
) -> Option<Degraded> {
    let below = coverage_map.iter().filter(|(_, coverage)| **coverage < degraded_below);
    let inputs: Vec<_> = below.map(|(input, _)| input.clone()).collect();
    let low = coverage.map_or(!inputs.is_empty(), |coverage| coverage < degraded_below);
    let annotation = if coverage.is_some() { table::COVERAGE.name } else { table::COVERAGE_MAP.name };
    let text = annotations.get(annotation).map_or("", String::as_str);
    low.then(|| Degraded { inputs, ..Degraded::new("coverage_low", annotation, text) })
}

fn read_tier(annotations: &BTreeMap<String, String>) -> Result<Option<BlueprintTier>, Degraded> {
    let annotation = table::TIER.name;
    let Some(text) = annotations.get(annotation) else { return Ok(None) };
    let name = text.trim().to_ascii_uppercase();
    let prefixed = if name.starts_with("BLUEPRINT_TIER_") { name } else { format!("BLUEPRINT_TIER_{name}") };
    // A sender that does not know the tier leaves it out: UNSPECIFIED is more likely a field that nobody has filled in.
    BlueprintTier::from_str_name(&prefixed)
        .filter(|tier| *tier != BlueprintTier::Unspecified)
        .map(Some)
        .ok_or_else(|| Degraded::new("blueprint_tier_unreadable", annotation, text))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_map, prelude::*, sample::select};

    use super::*;

    const NAMES: &[&str] =
        &["feature_coverage", "coverage_map", "risk_score", "risk_reason", "blueprint_tier", "blueprint_risk", "other"];

    fn read<const N: usize>(annotations: [(&str, &str); N]) -> (CommandContext, Vec<Degraded>) {
        CommandContext::read(&annotations.map(|(name, text)| (name.into(), text.into())).into(), 0.7)
    }

    fn reasons(degraded: &[Degraded]) -> Vec<&'static str> {
        degraded.iter().map(|degraded| degraded.reason).collect()
    }

    #[test]
    fn full_context_is_read() {
        let (context, degraded) = read([
            ("feature_coverage", " 0.75\n"),
            ("coverage_map", r#"{ "loss": 1, "latency": 0.5 }"#),
            ("risk_score", "1e-1"),
            ("risk_reason", " loss is rising "),
            ("blueprint_tier", "experimental"),
            ("blueprint_risk", "1"),
        ]);
        let expected = CommandContext {
            coverage: Some(0.75),
            coverage_map: [("latency".to_owned(), 0.5), ("loss".to_owned(), 1.0)].into(),
            risk: Some(0.1),
            risk_reason: Some("loss is rising".to_owned()),
            blueprint_tier: Ok(Some(BlueprintTier::Experimental)),
            blueprint_risk: Some(1.0),
        };
        assert_eq!(context, expected);
        assert_eq!(degraded, []);
    }

    #[test]
    fn empty_context_is_read_without_notices() {
        let (context, degraded) = read([("blend_mode", "CONVEX")]);
        assert_eq!((context.coverage, context.risk, context.blueprint_risk), (None, None, None));
        assert_eq!((context.coverage_map.len(), context.risk_reason), (0, None));
        assert_eq!((context.blueprint_tier, degraded), (Ok(None), vec![]));
    }

    #[test]
    fn low_coverage_names_the_inputs_below_the_threshold() {
        let map = r#"{"z": 0.1, "at": 0.7, "a": 0.69, "full": 1.0}"#;
        let (_, degraded) = read([("feature_coverage", "0.6"), ("coverage_map", map)]);
        let low = Degraded {
            reason: "coverage_low",
            annotation: "feature_coverage",
            inputs: vec!["a".into(), "z".into()],
            text: "0.6".into(),
        };
        assert_eq!(degraded, [low]);
        // One input that is missing is in the sender's own sum already.
        assert_eq!(read([("feature_coverage", "0.7"), ("coverage_map", map)]).1, []);
        let (_, degraded) = read([("coverage_map", map)]);
        assert_eq!(reasons(&degraded), ["coverage_low"]);
        assert_eq!(
            (degraded[0].annotation, degraded[0].inputs.as_slice()),
            ("coverage_map", &["a".into(), "z".into()][..])
        );
        assert_eq!(reasons(&read([("feature_coverage", "0.699")]).1), ["coverage_low"]);
    }

    #[test]
    fn number_outside_its_range_is_reported() {
        for (annotation, reason) in [
            ("feature_coverage", "coverage_unreadable"),
            ("risk_score", "risk_unreadable"),
            ("blueprint_risk", "blueprint_risk_unreadable"),
        ] {
            for text in ["", "high", "NaN", "inf", "-inf", "1.0001", "-0.1", "0,5", "1e999"] {
                let (context, degraded) = read([(annotation, text)]);
                assert_eq!((context.coverage, context.risk, context.blueprint_risk), (None, None, None), "{text:?}");
                assert_eq!(degraded, [Degraded { reason, annotation, inputs: vec![], text: text.into() }]);
            }
        }
    }

    #[test]
    fn unreadable_map_is_reported_and_readable_entries_are_kept() {
        for text in ["", "loss", "[0.5]", "0.5", "null", "{\"loss\": 1", &"[".repeat(50_000)] {
            let (context, degraded) = read([("coverage_map", text)]);
            assert_eq!(
                (context.coverage_map.len(), reasons(&degraded)),
                (0, vec!["coverage_map_unreadable"]),
                "{text:?}"
            );
            assert!(degraded[0].text.chars().count() <= Degraded::MAX_TEXT);
        }
        let (context, degraded) = read([("coverage_map", r#"{"b": "1", "ok": 1, "a": 2, "c": null, "d": {}}"#)]);
        assert_eq!(context.coverage_map, [("ok".to_owned(), 1.0)].into());
        assert_eq!(reasons(&degraded), ["coverage_map_unreadable"]);
        assert_eq!(degraded[0].inputs, ["a", "b", "c", "d"]);
    }

    #[test]
    fn long_map_keeps_its_least_covered_entries() {
        let map = |entries: usize| {
            let entries: Vec<_> = (0..entries).map(|i| format!("\"{i:03}\": {}", 1.0 - i as f64 / 100.0)).collect();
            format!("{{{}}}", entries.join(","))
        };
        let (context, degraded) = read([("feature_coverage", "1"), ("coverage_map", &map(64))]);
        assert_eq!((context.coverage_map.len(), reasons(&degraded)), (64, vec![]));
        let (context, degraded) = read([("feature_coverage", "1"), ("coverage_map", &map(70))]);
        assert_eq!((context.coverage_map.len(), reasons(&degraded)), (64, vec!["coverage_map_too_long"]));
        assert_eq!(context.coverage_map.keys().next().unwrap(), "006");

        let (context, degraded) = read([("risk_reason", &"é".repeat(300)), ("risk_score", &"é".repeat(300))]);
        assert_eq!(context.risk_reason.unwrap(), "é".repeat(256));
        assert_eq!(degraded[0].text, "é".repeat(128));
    }

    #[test]
    fn tier_is_read_by_its_contract_name() {
        let tier = |text| read([("blueprint_tier", text)]).0.blueprint_tier;
        for (text, expected) in [
            ("SAFE", BlueprintTier::Safe),
            (" safe ", BlueprintTier::Safe),
            ("BLUEPRINT_TIER_SAFE", BlueprintTier::Safe),
            ("Blueprint_Tier_High_Risk", BlueprintTier::HighRisk),
            ("high_risk", BlueprintTier::HighRisk),
            ("EXPERIMENTAL", BlueprintTier::Experimental),
        ] {
            assert_eq!(tier(text), Ok(Some(expected)), "{text:?}");
        }
        for text in
            ["", "1", "SAFER", "HIGH RISK", "UNSPECIFIED", "BLUEPRINT_TIER_", "BLUEPRINT_TIER_BLUEPRINT_TIER_SAFE"]
        {
            let (context, degraded) = read([("blueprint_tier", text)]);
            assert_eq!(reasons(&degraded), ["blueprint_tier_unreadable"], "{text:?}");
            assert_eq!(context.blueprint_tier.as_ref().unwrap_err(), &degraded[0]);
            assert_eq!(context.tier().unwrap_err().reason(), "malformed_command");
        }
    }

    /// Texts that are nearly right.
    fn text() -> impl Strategy<Value = String> {
        let number = prop_oneof![
            (0.0..=1.0).prop_map(|share: f64| share.to_string()),
            any::<f64>().prop_map(|number| number.to_string()),
            select(vec!["NaN", "-inf", "1e999", "-0", "null", "\"0.5\"", "[[]]"]).prop_map(str::to_owned),
        ];
        let map = btree_map("[a-z]{1,2}", number.clone(), 0..80).prop_map(|entries| {
            let entries: Vec<_> = entries.iter().map(|(input, number)| format!("{input:?}: {number}")).collect();
            format!("{{{}}}", entries.join(", "))
        });
        let tier = select(vec!["safe", "BLUEPRINT_TIER_HIGH_RISK", "unspecified", "BLUEPRINT_TIER_"]);
        prop_oneof![2 => number, 3 => map, 1 => any::<String>(), 1 => tier.prop_map(str::to_owned)]
    }

    fn annotations() -> impl Strategy<Value = BTreeMap<String, String>> {
        btree_map(select(NAMES).prop_map(str::to_owned), text(), 0..=NAMES.len())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1024) })]

        #[test]
        fn any_annotations_give_a_bounded_context(annotations in annotations(), threshold in any::<f64>()) {
            let (context, degraded) = CommandContext::read(&annotations, threshold);
            let single = [context.coverage, context.risk, context.blueprint_risk];
            for number in single.iter().flatten().chain(context.coverage_map.values()) {
                prop_assert!(number.is_finite() && (0.0..=1.0).contains(number), "{number}");
            }
            prop_assert!(context.coverage_map.len() <= CommandContext::MAX_INPUTS);
            prop_assert!(context.risk_reason.iter().all(|text| text.chars().count() <= CommandContext::MAX_RISK_REASON));
            prop_assert_ne!(&context.blueprint_tier, &Ok(Some(BlueprintTier::Unspecified)));
            for told in &degraded {
                prop_assert!(told.inputs.is_sorted() && told.inputs.len() <= CommandContext::MAX_INPUTS);
                prop_assert!(told.text.chars().count() <= Degraded::MAX_TEXT);
                prop_assert!(annotations.contains_key(told.annotation));
            }
            prop_assert_eq!(CommandContext::read(&annotations, threshold), (context, degraded));
        }

        #[test]
        fn higher_threshold_keeps_every_notice(annotations in annotations(), a in 0.0..=1.0, b in 0.0..=1.0) {
            let (context, below) = CommandContext::read(&annotations, f64::min(a, b));
            let (same, above) = CommandContext::read(&annotations, f64::max(a, b));
            prop_assert_eq!(context, same);
            for told in below {
                let still = above.iter().any(|other| {
                    (other.reason, other.annotation, &other.text) == (told.reason, told.annotation, &told.text)
                        && told.inputs.iter().all(|input| other.inputs.contains(input))
                });
                prop_assert!(still, "{told:?} is gone: {above:?}");
            }
        }
    }
}
