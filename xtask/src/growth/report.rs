//! All records of one kind of data, for programs and for people. It is a file that later runs go on with.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use kasmina::kernel_load::Digest;
use serde::{Deserialize, Serialize};

use super::{
    recipe::Recipe,
    record::{Contender, Record, Score},
};
use crate::failure::Failure;

/// The file.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) data: String,
    pub(super) hosts: Vec<HostReport>,
}

/// One kind of network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct HostReport {
    pub(super) host: String,
    pub(super) recipe: Recipe,
    /// SHA-256 of the data, see `Data::digest`. Older reports do not have it, and no runs can be added to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<Digest>,
    /// The widths of the small network. Older reports have them in their records alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) network: Option<String>,
    pub(super) summary: Vec<Summary>,
    pub(super) records: Vec<Record>,
}

/// What all runs of a host in one report share.
#[derive(Clone, Debug)]
pub(super) struct Conditions {
    pub(super) recipe: Recipe,
    pub(super) data: Digest,
    pub(super) network: String,
}

/// A report has runs that new ones cannot be compared with.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} has runs of {host} {difference}: give another --out")]
pub(crate) struct OtherRuns {
    path: PathBuf,
    host: String,
    difference: Difference,
}

/// How runs in a report differ from those that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Difference {
    #[error("with other settings")]
    Settings,
    #[error("on other data")]
    Data,
    #[error("on data of which it has no digest")]
    UnknownData,
    #[error("with another network")]
    Network,
}

/// One contender over its runs. Means leave out the runs that diverged, unless all did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Summary {
    pub(super) contender: Contender,
    /// With those that diverged.
    pub(super) runs: usize,
    #[serde(default)]
    pub(super) diverged: usize,
    pub(super) parameters: Spread,
    pub(super) parameter_steps: Spread,
    pub(super) seconds: Spread,
    pub(super) validation_loss: Option<Spread>,
    pub(super) validation_accuracy: Option<Spread>,
    pub(super) test_loss: Option<Spread>,
    pub(super) test_accuracy: Option<Spread>,
}

/// A mean over runs, and the standard deviation of one run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Spread {
    pub(super) mean: f64,
    /// Of a sample: with `n - 1`. 0 for one run.
    pub(super) deviation: f64,
}

/// A report and where it is kept.
pub(super) struct Kept {
    pub(super) report: Report,
    path: PathBuf,
}

impl Kept {
    /// Reads the report in this file, or begins one if there is no such file.
    pub(super) fn open(path: PathBuf, data: &str) -> Result<Self, Failure> {
        let report = match fs::read(&path) {
            Ok(bytes) => {
                let what = path.display().to_string();
                serde_json::from_slice(&bytes).map_err(|source| Failure::Json { what, source })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Report { data: data.to_owned(), hosts: Vec::new() }
            }
            Err(error) => return Err(Failure::file("read", &path)(error)),
        };
        Ok(Self { report, path })
    }

    /// The records of a host. Those of other conditions stay as they are, and no others can be added to them.
    pub(super) fn host(&mut self, host: &str, conditions: &Conditions) -> Result<&mut HostReport, OtherRuns> {
        let hosts = &mut self.report.hosts;
        let place = hosts.iter().position(|it| it.host == host).unwrap_or_else(|| {
            hosts.push(HostReport::begin(host, conditions));
            hosts.len() - 1
        });
        let kept = &mut hosts[place];
        if kept.records.is_empty() {
            *kept = HostReport::begin(host, conditions);
        }
        match kept.difference(conditions) {
            Some(difference) => Err(OtherRuns { path: self.path.clone(), host: host.to_owned(), difference }),
            None => Ok(kept),
        }
    }

    /// Writes the report. Whoever is killed meanwhile leaves the one from before.
    pub(super) fn write(&self) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(&self.report)
            .map_err(|source| Failure::Json { what: "the report".into(), source })?;
        let beside = self.path.with_extension("json.new");
        fs::write(&beside, text + "\n").map_err(Failure::file("write", &beside))?;
        fs::rename(&beside, &self.path).map_err(Failure::file("write", &self.path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl HostReport {
    fn begin(host: &str, Conditions { recipe, data, network }: &Conditions) -> Self {
        Self {
            host: host.to_owned(),
            recipe: recipe.clone(),
            data: Some(*data),
            network: Some(network.clone()),
            summary: Vec::new(),
            records: Vec::new(),
        }
    }

    fn difference(&self, conditions: &Conditions) -> Option<Difference> {
        if self.recipe != conditions.recipe {
            Some(Difference::Settings)
        } else if self.data.is_none() {
            Some(Difference::UnknownData)
        } else if self.data != Some(conditions.data) {
            Some(Difference::Data)
        } else {
            (self.network.as_ref() != Some(&conditions.network)).then_some(Difference::Network)
        }
    }

    /// The widths of the small network.
    pub(super) fn network(&self) -> &str {
        let control = || self.records.iter().find(|record| record.contender == Contender::Control);
        self.network.as_deref().or_else(|| control().map(|record| record.network.as_str())).unwrap_or(&self.host)
    }

    pub(super) fn find(&self, contender: Contender, seed: u64) -> Option<&Record> {
        self.records.iter().find(|record| (record.contender, record.seed) == (contender, seed))
    }

    /// Adds a record, and sums up anew.
    pub(super) fn add(&mut self, record: Record) {
        self.records.push(record);
        let summary = |contender| Summary::of(contender, &self.records);
        self.summary = Contender::ALL.into_iter().filter_map(summary).collect();
    }

    /// For the terminal.
    pub(super) fn table(&self) -> String {
        let mut text = format!(
            "{:<14}{:>5}{:>12}{:>18}{:>9}{:>19}{:>19}{:>19}{:>19}\n",
            self.host,
            "runs",
            "parameters",
            "parameter-steps",
            "seconds",
            "validation loss",
            "accuracy",
            "test loss",
            "accuracy"
        );
        for row in &self.summary {
            let loss = |spread: Option<Spread>| spread.map_or_else(|| "-".to_owned(), Spread::plain);
            let accuracy = |spread: Option<Spread>| spread.map_or_else(|| "-".to_owned(), Spread::percent);
            text += &format!(
                "{:<14}{:>5}{:>12.0}{:>16.2} M{:>9.1}{:>19}{:>19}{:>19}{:>19}\n",
                row.contender,
                row.runs,
                row.parameters.mean,
                row.parameter_steps.mean / 1e6,
                row.seconds.mean,
                loss(row.validation_loss),
                accuracy(row.validation_accuracy),
                loss(row.test_loss),
                accuracy(row.test_accuracy),
            );
            if row.diverged > 0 {
                text += &format!("{:<14}{:>5} of them diverged and are not in the means\n", "", row.diverged);
            }
        }
        text
    }
}

impl Summary {
    /// `None` if there are no runs of this contender.
    fn of(contender: Contender, records: &[Record]) -> Option<Self> {
        let runs: Vec<&Record> = records.iter().filter(|record| record.contender == contender).collect();
        let finished: Vec<&Record> = runs.iter().copied().filter(|record| !record.diverged).collect();
        let counted = if finished.is_empty() { &runs } else { &finished };
        let spread = |of: &dyn Fn(&Record) -> f64| Spread::of(counted.iter().map(|record| of(record)));
        let scores = |part: fn(&Record) -> Option<Score>, of: fn(&Score) -> f64| {
            let scores: Option<Vec<Score>> = finished.iter().map(|record| part(record)).collect();
            Spread::of(scores?.iter().map(of))
        };
        let loss = |score: &Score| score.loss;
        let accuracy = |score: &Score| score.accuracy;
        Some(Self {
            contender,
            runs: runs.len(),
            diverged: runs.len() - finished.len(),
            parameters: spread(&|record| record.parameters as f64)?,
            parameter_steps: spread(&|record| record.parameter_steps as f64)?,
            seconds: spread(&|record| record.seconds)?,
            validation_loss: scores(|record| record.validation, loss),
            validation_accuracy: scores(|record| record.validation, accuracy),
            test_loss: scores(|record| record.test, loss),
            test_accuracy: scores(|record| record.test, accuracy),
        })
    }
}

impl Spread {
    /// `None` of nothing.
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = if values.len() > 1 { (squares / (count - 1.0)).sqrt() } else { 0.0 };
        (!values.is_empty()).then_some(Self { mean, deviation })
    }

    fn plain(self) -> String {
        format!("{:.4} ± {:.4}", self.mean, self.deviation)
    }

    fn percent(self) -> String {
        format!("{:.2} ± {:.2} %", 100.0 * self.mean, 100.0 * self.deviation)
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
