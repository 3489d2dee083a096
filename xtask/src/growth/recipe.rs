//! How long and how fast the networks learn. All contenders of a host share one recipe.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{data::Source, policy::Rules};

/// The kinds of networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum HostName {
    /// A perceptron: digits
    Mlp,
    /// Three convolutions: digits, mnist
    Cnn,
    /// Two blocks: addition, text
    Transformer,
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecipeError {
    #[error(transparent)]
    Read(#[from] std::io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("{name} is {value} and must be {rule}")]
    Setting { name: &'static str, value: f64, rule: &'static str },
}

/// Steps of a quick run. The first seed needs some 150, and it must come before the last germination, at 40 %.
const QUICK_STEPS: usize = 400;

/// Settings that all contenders share. They were chosen on the validation part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recipe {
    pub(super) epochs: u64,
    /// Examples in a batch. What does not fill one is left out of the epoch.
    pub(super) batch: usize,
    /// The first examples of the part to learn from; 0: all.
    pub(super) examples: usize,
    /// The highest rate of AdamW, for hosts and seeds.
    pub(super) learning_rate: f64,
    pub(super) weight_decay: f32,
    /// Images are moved by up to so many pixels in each direction, drawn anew for each batch.
    pub(super) shift: usize,
    /// The most parameters of the grown network.
    pub(super) parameters: u64,
    pub(super) growth: Growth,
    /// Whether the test part is looked at.
    pub(super) test: bool,
}

/// What the policy needs, as shares of the run and in steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Growth {
    /// The share of the steps before the first seeds germinate, and that after which none does.
    pub(super) from: f64,
    pub(super) until: f64,
    pub(super) scout_steps: u64,
    /// Steps from alpha 0 to alpha 1, and all steps of BLENDING.
    pub(super) alpha_steps: u64,
    pub(super) blend_steps: u64,
    /// Probes before G4 lets a seed become part of the network, one a step. The fewer, the less the host changes meanwhile.
    pub(super) probes: u64,
    /// Seeds that can germinate at one slot. In each comparison, one does at every slot.
    pub(super) seeds_per_slot: usize,
    /// The most seeds that become part of one slot; absent: as many as germinate there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fossils_per_slot: Option<usize>,
    pub(super) least_contribution: f64,
    /// The share of its learning rate by which the network learns while a seed is on trial, which is in SHADOWING and PROBATIONARY. The
    /// slower it is, the longer a seed that does not learn then fits.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub(super) rate_on_trial: f64,
}

const fn whole() -> f64 {
    1.0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_whole(share: &f64) -> bool {
    *share == whole()
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Mlp => "mlp",
            Self::Cnn => "cnn",
            Self::Transformer => "transformer",
        })
    }
}

impl HostName {
    /// The hosts for this data.
    pub(super) const fn of(data: &Source) -> &'static [Self] {
        match data {
            Source::Digits => &[Self::Mlp, Self::Cnn],
            Source::Mnist(_) => &[Self::Cnn],
            Source::Addition | Source::Text(_) => &[Self::Transformer],
        }
    }
}

impl Recipe {
    pub(super) fn of(data: &Source, host: HostName) -> Self {
        let growth = Growth {
            from: 0.05,
            until: 0.4,
            scout_steps: 10,
            alpha_steps: 20,
            blend_steps: 100,
            probes: 12,
            seeds_per_slot: 6,
            fossils_per_slot: None,
            least_contribution: 0.002,
            rate_on_trial: whole(),
        };
        let base = Self {
            epochs: 10,
            batch: 32,
            examples: 0,
            learning_rate: 0.004,
            weight_decay: 0.01,
            shift: 0,
            parameters: 20_000,
            growth,
            test: true,
        };
        let growth = base.growth.clone();
        match (data, host) {
            (Source::Digits, HostName::Mlp | HostName::Transformer) => {
                Self { epochs: 120, learning_rate: 0.001, weight_decay: 0.05, parameters: 30_000, growth, ..base }
            }
            (Source::Digits, HostName::Cnn) => Self { epochs: 80, parameters: 6_000, ..base },
            (Source::Mnist(_), _) => Self {
                epochs: 12,
                batch: 64,
                learning_rate: 0.005,
                shift: 2,
                parameters: 25_000,
                growth: Growth {
                    from: 0.01,
                    alpha_steps: 30,
                    blend_steps: 150,
                    seeds_per_slot: 15,
                    fossils_per_slot: Some(2),
                    least_contribution: 0.0005,
                    rate_on_trial: 0.0,
                    ..growth
                },
                ..base
            },
            (Source::Addition, _) => Self { epochs: 5, ..base },
            (Source::Text(_), _) => Self {
                epochs: 1,
                examples: 32_000,
                learning_rate: 0.005,
                growth: Growth { least_contribution: 0.0005, ..growth },
                ..base
            },
        }
    }

    /// This recipe with as few epochs as have `QUICK_STEPS` steps, of data that has so many `examples`. If the first epoch has more steps, it
    /// is cut to the examples of so many.
    pub(super) fn quick(self, examples: usize) -> Self {
        let examples = if self.examples == 0 { examples } else { self.examples.min(examples) };
        let batches = (examples / self.batch.max(1)).max(1);
        let epochs = (QUICK_STEPS.div_ceil(batches) as u64).min(self.epochs);
        let examples = if batches > QUICK_STEPS { QUICK_STEPS.saturating_mul(self.batch) } else { self.examples };
        Self { epochs, examples, ..self }
    }

    /// This recipe with the settings of a JSON text, which has some of the fields.
    pub(super) fn with(&self, text: &str) -> Result<Self, RecipeError> {
        let mut fields = serde_json::to_value(self)?;
        replace(&mut fields, serde_json::from_str(text)?);
        serde_json::from_value::<Self>(fields)?.checked()
    }

    /// This recipe if a network can be trained by it.
    pub(super) fn checked(self) -> Result<Self, RecipeError> {
        let Growth { from, until, least_contribution, rate_on_trial, .. } = self.growth;
        let count = |name, value: u64| (name, value as f64, value >= 1, "1 or more");
        let share = |name, value: f64| (name, value, (0.0..=1.0).contains(&value), "a share from 0 to 1");
        let (rate, decay) = (self.learning_rate, f64::from(self.weight_decay));
        let checks = [
            count("epochs", self.epochs),
            count("batch", self.batch as u64),
            count("growth.fossils_per_slot", self.growth.fossils_per_slot.unwrap_or(1) as u64),
            ("learning_rate", rate, rate.is_finite() && rate > 0.0, "finite and above 0"),
            ("weight_decay", decay, decay.is_finite() && decay >= 0.0, "finite and 0 or more"),
            share("growth.from", from),
            share("growth.until", until),
            share("growth.least_contribution", least_contribution),
            share("growth.rate_on_trial", rate_on_trial),
        ];
        let wrong = checks.into_iter().find(|(_, _, right, _)| !right);
        wrong.map_or(Ok(self), |(name, value, _, rule)| Err(RecipeError::Setting { name, value, rule }))
    }

    /// Optimizer steps of a run that learns from `examples`.
    pub(super) fn steps(&self, examples: usize) -> u64 {
        self.epochs.saturating_mul((examples / self.batch.max(1)) as u64)
    }

    /// The rules of the policy for a host of `host` parameters and a run of `steps`.
    pub(super) fn rules(&self, host: usize, steps: u64) -> Rules {
        let Growth {
            from,
            until,
            scout_steps,
            alpha_steps,
            blend_steps,
            probes,
            least_contribution,
            fossils_per_slot,
            ..
        } = self.growth;
        let share = |share: f64| (share * steps as f64) as u64;
        Rules {
            first_step: share(from),
            last_step: share(until),
            scout_steps,
            alpha_steps,
            blend_steps,
            // As many as the gate asks for.
            shadowing_steps: 8,
            probation_steps: probes,
            patience: blend_steps.max(scout_steps).saturating_add(120),
            least_contribution,
            weak_seeds: 3,
            fossils_per_slot: fossils_per_slot.unwrap_or(usize::MAX),
            budget: self.parameters.saturating_sub(host as u64),
        }
    }

    /// The learning rate in step `step`, counted from 0, as a share of the highest: a linear warm-up over a twentieth of the steps, then half a
    /// cosine down to a hundredth.
    pub(super) fn rate(step: u64, steps: u64) -> f64 {
        const LEAST: f64 = 0.01;
        let warm_up = (steps / 20).max(1);
        if step < warm_up {
            return (step + 1) as f64 / warm_up as f64;
        }
        let share = (step - warm_up) as f64 / (steps - warm_up).max(1) as f64;
        LEAST + (1.0 - LEAST) * 0.5 * (1.0 + (std::f64::consts::PI * share).cos())
    }
}

fn replace(old: &mut Value, new: Value) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, value) in new {
                replace(old.entry(name).or_insert(Value::Null), value);
            }
        }
        (old, new) => *old = new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{growth::report::Report, workspace};

    #[test]
    fn the_rate_rises_to_1_and_falls_to_a_hundredth() {
        let rates: Vec<f64> = (0..200).map(|step| Recipe::rate(step, 200)).collect();
        assert!(rates[..10].windows(2).all(|pair| pair[0] < pair[1]));
        assert!(rates[9] == 1.0 && rates[10] == 1.0);
        assert!(rates[10..].windows(2).all(|pair| pair[0] > pair[1]));
        assert!((0.01..0.011).contains(&rates[199]), "{}", rates[199]);
        assert!((0..3).all(|step| Recipe::rate(step, 1).is_finite()));
    }

    #[test]
    fn the_budget_of_seeds_is_what_the_host_leaves() {
        let recipe = Recipe { parameters: 5_000, ..Recipe::of(&Source::Addition, HostName::Transformer) };
        assert_eq!(recipe.rules(4_000, 1_000).budget, 1_000);
        assert_eq!(recipe.rules(6_000, 1_000).budget, 0);
        assert_eq!((recipe.rules(0, 1_000).first_step, recipe.rules(0, 1_000).last_step), (50, 400));
    }

    #[test]
    fn every_host_that_fits_has_a_recipe_that_trains() {
        for data in [Source::Digits, Source::Mnist("x".into()), Source::Addition, Source::Text("x".into())] {
            for host in HostName::of(&data) {
                let recipe = Recipe::of(&data, *host);
                assert!(recipe.steps(1_257) > 0, "{data} {host}");
                assert_eq!(recipe.clone().checked().unwrap(), recipe);
            }
        }
    }

    #[test]
    fn a_quick_run_is_long_enough_for_a_seed_to_finish() {
        for (data, count) in [
            (Source::Digits, 1_257),
            (Source::Mnist("x".into()), 55_000),
            (Source::Addition, 20_000),
            (Source::Text("x".into()), 100_000),
        ] {
            for host in HostName::of(&data) {
                let quick = Recipe::of(&data, *host).quick(count);
                let used = if quick.examples == 0 { count } else { quick.examples };
                let (steps, growth) = (quick.steps(used), &quick.growth);
                assert!((400..440).contains(&steps), "{data} {host}: {steps} steps");
                let rules = quick.rules(0, steps);
                let fossil = rules.first_step + growth.scout_steps + growth.blend_steps + 8 + growth.probes;
                assert!(fossil < steps / 2 && rules.last_step > rules.first_step, "{data} {host}: {fossil} of {steps}");
            }
        }
    }

    #[test]
    fn a_quick_run_is_never_longer_than_the_whole_one() {
        let recipe = Recipe { epochs: 2, examples: 96, ..Recipe::of(&Source::Addition, HostName::Transformer) };
        assert_eq!(recipe.clone().quick(20_000), recipe);
    }

    #[test]
    fn settings_that_cannot_train_are_named() {
        let base = Recipe::of(&Source::Addition, HostName::Transformer);
        for (text, said) in [
            (r#"{"batch": 0}"#, "batch is 0 and must be 1 or more"),
            (r#"{"epochs": 0}"#, "epochs is 0 and must be 1 or more"),
            (r#"{"learning_rate": 0}"#, "learning_rate is 0 and must be finite and above 0"),
            (r#"{"learning_rate": -0.5}"#, "learning_rate is -0.5 and must be finite and above 0"),
            (r#"{"weight_decay": -1}"#, "weight_decay is -1 and must be finite and 0 or more"),
            (r#"{"weight_decay": 1e300}"#, "weight_decay is inf and must be finite and 0 or more"),
            (r#"{"growth": {"from": -0.1}}"#, "growth.from is -0.1 and must be a share from 0 to 1"),
            (r#"{"growth": {"fossils_per_slot": 0}}"#, "growth.fossils_per_slot is 0 and must be 1 or more"),
            (r#"{"growth": {"rate_on_trial": -1}}"#, "growth.rate_on_trial is -1 and must be a share from 0 to 1"),
            (r#"{"growth": {"until": 1.5}}"#, "growth.until is 1.5 and must be a share from 0 to 1"),
        ] {
            assert_eq!(base.with(text).unwrap_err().to_string(), said);
        }
        let rate = Recipe { learning_rate: f64::NAN, ..base };
        assert!(rate.checked().is_err());
    }

    #[test]
    fn a_text_replaces_some_settings_and_no_unknown_ones() {
        let base = Recipe::of(&Source::Addition, HostName::Transformer);
        let with = base.with(r#"{"epochs": 3, "growth": {"until": 0.25}}"#).unwrap();
        assert_eq!((with.epochs, with.growth.until, with.growth.from), (3, 0.25, base.growth.from));
        assert_eq!(Recipe { epochs: base.epochs, growth: base.growth.clone(), ..with }, base);
        for wrong in ["", "[]", r#"{"epoch": 3}"#, r#"{"growth": {"til": 1}}"#, r#"{"epochs": -1}"#] {
            assert!(base.with(wrong).is_err(), "{wrong}");
        }
    }

    /// What docs/GROWTH.md shows is what the command does today.
    #[test]
    fn published_results_are_of_the_built_in_recipes() {
        for data in [Source::Digits, Source::Mnist("x".into()), Source::Addition, Source::Text("x".into())] {
            let path = workspace::root().join(format!("benches/results/growth/{data}.json"));
            let report: Report = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
            for host in &report.hosts {
                let named = HostName::of(&data).iter().find(|name| name.to_string() == host.host).unwrap();
                assert_eq!(host.recipe, Recipe::of(&data, *named), "{data} {}", host.host);
            }
        }
    }
}
