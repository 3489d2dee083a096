//! What the demo found, for programs and for people.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    growth::{Judged, Run},
    picture::{Curve, StageSpan, Story, VerdictMark},
    plan::Plan,
};

/// report.json.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) seeds: Vec<u64>,
    /// Images to learn from.
    pub(crate) train: usize,
    /// Images that G4 is shown the accuracy on.
    pub(crate) validation: usize,
    /// Images to be judged by.
    pub(crate) test: usize,
    pub(crate) hosts: Vec<HostReport>,
}

/// One kind of network over all seeds.
#[derive(Debug, Serialize)]
pub(crate) struct HostReport {
    host: String,
    title: String,
    epochs: u64,
    steps_per_epoch: u64,
    /// Mean accuracy after the last epoch, 0 to 1.
    control_accuracy: f64,
    grown_accuracy: f64,
    /// In percentage points.
    gain_points: f64,
    /// The smallest over the runs: until then no byte of a host differed from its control.
    identical_until_step: u64,
    /// Mean time of a step in each stage over that of the control's steps.
    step_time_ratios: BTreeMap<String, f64>,
    runs: Vec<Run>,
}

impl HostReport {
    pub(crate) fn of(plan: &Plan, runs: Vec<Run>, steps_per_epoch: u64) -> Self {
        let last = |accuracies: &dyn Fn(&Run) -> Option<f64>| mean(runs.iter().filter_map(accuracies));
        let control_accuracy = last(&|run| run.control.last().copied());
        let grown_accuracy = last(&|run| run.grown.last().copied());
        let mut ratios: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (stage, ratio) in runs.iter().flat_map(|run| &run.step_time_ratios) {
            ratios.entry(stage.clone()).or_default().push(*ratio);
        }
        Self {
            host: plan.name.to_string(),
            title: plan.title.to_owned(),
            epochs: plan.epochs,
            steps_per_epoch,
            control_accuracy,
            grown_accuracy,
            gain_points: 100.0 * (grown_accuracy - control_accuracy),
            identical_until_step: runs.iter().map(|run| run.identical_until_step).min().unwrap_or_default(),
            step_time_ratios: ratios.into_iter().map(|(stage, all)| (stage, mean(all.into_iter()))).collect(),
            runs,
        }
    }

    /// The picture's story: accuracy over all runs; alpha, stages and verdicts of the first, at the orders' times.
    pub(crate) fn story(&self, plan: &Plan) -> Story {
        let first = self.runs.first();
        let epochs = plan.epochs as f64;
        let stages = first.map_or(&[][..], |run| &run.stages);
        let ends = stages.iter().skip(1).map(|moved| moved.epoch).chain([epochs]);
        let spans = stages.iter().zip(ends).filter(|(moved, to)| *to > moved.epoch);
        let mark = |judged: &Judged| VerdictMark {
            epoch: judged.epoch,
            gate: judged.gate.chars().take(2).collect(),
            passed: judged.passed,
            reason: judged.reason.clone(),
        };
        Story {
            title: format!("{}: {:+.1} points", self.title, self.gain_points),
            steps_per_epoch: self.steps_per_epoch,
            control: self.curve("control: never had a seed", |run| &run.control),
            grown: self.curve("grown", |run| &run.grown),
            alpha: first.map_or_else(Vec::new, |run| by_epoch(run.alpha.iter().copied())),
            stages: spans.map(|(moved, to)| StageSpan { name: moved.stage.clone(), from: moved.epoch, to }).collect(),
            verdicts: first.map_or_else(Vec::new, |run| run.verdicts.iter().map(mark).collect()),
        }
    }

    fn curve(&self, label: &str, of: impl Fn(&Run) -> &Vec<f64>) -> Curve {
        let of = &of;
        let at = |epoch: usize| self.runs.iter().filter_map(move |run| of(run).get(epoch).copied());
        let at = &at;
        let epochs = 0..self.epochs as usize;
        let points = by_epoch(epochs.clone().map(|epoch| mean(at(epoch))));
        let band = epochs.map(|epoch| {
            let low = at(epoch).fold(f64::INFINITY, f64::min);
            let high = at(epoch).fold(f64::NEG_INFINITY, f64::max);
            (epoch as f64 + 1.0, low, high)
        });
        let label = label.to_owned();
        Curve { label, points, band: if self.runs.len() > 1 { band.collect() } else { Vec::new() } }
    }
}

impl Report {
    /// What is wrong, in one line: a host that its seed has touched, or a network that has not gained.
    pub(crate) fn problem(&self) -> Option<String> {
        self.hosts.iter().find_map(|host| {
            let steps = host.epochs * host.steps_per_epoch;
            if let Some(run) = host.runs.iter().find(|run| !run.kept_isolation(steps)) {
                let until = run.identical_until_step;
                return Some(format!(
                    "{} from seed {} differs from its control after step {until}",
                    host.host, run.seed
                ));
            }
            if host.runs.iter().all(|run| run.fossilised().is_none()) {
                return Some(format!("no seed of {} was fossilised", host.host));
            }
            // NaN is not a gain either.
            let gained = host.gain_points > 0.0;
            (!gained).then(|| format!("{} has not gained: {:+.1} points", host.host, host.gain_points))
        })
    }

    /// For the terminal.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{:<6}{:>9}{:>9}{:>9}   bytes equal    step time over the control's\n{:<6}{:>9}{:>9}{:>9}   until step\n",
            "host", "control", "grown", "gain", "", "", "", "points"
        );
        for host in &self.hosts {
            let ratio = |stage: &str| host.step_time_ratios.get(stage).copied().unwrap_or(f64::NAN);
            text += &format!(
                "{:<6}{:>7.1} %{:>7.1} %{:>+9.1}{:>13}    TRAINING {:.2}  BLENDING {:.2}  FOSSILIZED {:.2}\n",
                host.host,
                100.0 * host.control_accuracy,
                100.0 * host.grown_accuracy,
                host.gain_points,
                host.identical_until_step,
                ratio("TRAINING"),
                ratio("BLENDING"),
                ratio("FOSSILIZED"),
            );
        }
        text
    }
}

/// The first epoch ends at 1.
fn by_epoch(values: impl Iterator<Item = f64>) -> Vec<(f64, f64)> {
    values.enumerate().map(|(epoch, value)| (epoch as f64 + 1.0, value)).collect()
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count)
}
