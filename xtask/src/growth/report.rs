//! All records of one kind of data, for programs and for people. It is a file that later runs go on with.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

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
    pub(super) summary: Vec<Summary>,
    pub(super) records: Vec<Record>,
}

/// One contender over its runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Summary {
    pub(super) contender: Contender,
    pub(super) runs: usize,
    pub(super) parameters: Spread,
    pub(super) parameter_steps: Spread,
    pub(super) seconds: Spread,
    pub(super) validation_loss: Spread,
    pub(super) validation_accuracy: Spread,
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

    /// The records of a host. Those of another recipe are dropped.
    pub(super) fn host(&mut self, host: &str, recipe: &Recipe) -> &mut HostReport {
        let hosts = &mut self.report.hosts;
        hosts.retain(|it| it.host != host || it.recipe == *recipe);
        let place = hosts.iter().position(|it| it.host == host).unwrap_or_else(|| {
            let (summary, records) = (Vec::new(), Vec::new());
            hosts.push(HostReport { host: host.to_owned(), recipe: recipe.clone(), summary, records });
            hosts.len() - 1
        });
        &mut hosts[place]
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
                loss(Some(row.validation_loss)),
                accuracy(Some(row.validation_accuracy)),
                loss(row.test_loss),
                accuracy(row.test_accuracy),
            );
        }
        text
    }
}

impl Summary {
    /// `None` if there are no runs of this contender.
    fn of(contender: Contender, records: &[Record]) -> Option<Self> {
        let runs: Vec<&Record> = records.iter().filter(|record| record.contender == contender).collect();
        let spread = |of: &dyn Fn(&Record) -> f64| Spread::of(runs.iter().map(|record| of(record)));
        let tested: Option<Vec<Score>> = runs.iter().map(|record| record.test).collect();
        let test = |of: fn(&Score) -> f64| Spread::of(tested.as_ref()?.iter().map(of));
        Some(Self {
            contender,
            runs: runs.len(),
            parameters: spread(&|record| record.parameters as f64)?,
            parameter_steps: spread(&|record| record.parameter_steps as f64)?,
            seconds: spread(&|record| record.seconds)?,
            validation_loss: spread(&|record| record.validation.loss)?,
            validation_accuracy: spread(&|record| record.validation.accuracy)?,
            test_loss: test(|score| score.loss),
            test_accuracy: test(|score| score.accuracy),
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
mod tests {
    use super::*;
    use crate::growth::{data::Source, recipe::HostName};

    fn recipe() -> Recipe {
        Recipe::of(&Source::Addition, HostName::Transformer)
    }

    fn record(contender: Contender, seed: u64, accuracy: f64, test: Option<f64>) -> Record {
        let score = |accuracy| Score { loss: 1.0 - accuracy, accuracy };
        Record {
            contender,
            seed,
            network: String::new(),
            parameters: 100 + 10 * seed,
            steps: 50,
            parameter_steps: 5_000 + 1_000 * seed,
            seconds: 2.0,
            validation: score(accuracy),
            test: test.map(score),
            growth: Vec::new(),
            fossils: Vec::new(),
        }
    }

    fn close(spread: Spread, mean: f64, deviation: f64) -> bool {
        (spread.mean - mean).abs() < 1e-12 && (spread.deviation - deviation).abs() < 1e-12
    }

    #[test]
    fn a_summary_has_means_and_deviations_of_its_runs_alone() {
        let mut kept = Kept { report: Report::default(), path: PathBuf::new() };
        let host = kept.host("x", &recipe());
        host.add(record(Contender::Grown, 0, 0.5, Some(0.25)));
        host.add(record(Contender::Control, 0, 0.1, None));
        host.add(record(Contender::Grown, 2, 0.7, Some(0.75)));
        let [control, grown] = &host.summary[..] else { panic!("{:?}", host.summary) };
        assert_eq!((control.contender, control.runs, control.test_accuracy), (Contender::Control, 1, None));
        assert!(close(control.validation_accuracy, 0.1, 0.0));
        assert_eq!(grown.runs, 2);
        assert!(close(grown.parameters, 110.0, 200.0_f64.sqrt()));
        assert!(close(grown.parameter_steps, 6_000.0, 2e6_f64.sqrt()));
        assert!(close(grown.validation_accuracy, 0.6, 0.02_f64.sqrt()));
        assert!(close(grown.test_loss.unwrap(), 0.5, 0.125_f64.sqrt()));
        assert!(host.table().contains("60.00 ± 14.14 %"), "{}", host.table());
    }

    #[test]
    fn a_report_that_is_read_again_is_the_same() {
        let held = tempfile::tempdir().unwrap();
        let path = held.path().join("report.json");
        let mut kept = Kept::open(path.clone(), "addition").unwrap();
        kept.host("x", &recipe()).add(record(Contender::Control, 3, 1.0 / 3.0, Some(0.1)));
        kept.write().unwrap();
        let mut again = Kept::open(path, "addition").unwrap();
        assert_eq!(again.report, kept.report);
        assert!(again.host("x", &recipe()).find(Contender::Control, 3).is_some());
        assert!(again.host("x", &recipe()).find(Contender::Control, 4).is_none());
    }

    #[test]
    fn records_of_other_settings_are_dropped() {
        let mut kept = Kept { report: Report::default(), path: PathBuf::new() };
        for host in ["x", "y"] {
            kept.host(host, &recipe()).add(record(Contender::Control, 0, 0.5, None));
        }
        let other = Recipe { epochs: 7, ..recipe() };
        assert_eq!(kept.host("x", &other).records, []);
        assert_eq!(kept.host("y", &recipe()).records.len(), 1);
    }

    #[test]
    fn a_damaged_report_is_named_and_left_alone() {
        let held = tempfile::tempdir().unwrap();
        let path = held.path().join("report.json");
        for damage in ["", "{\"data\":\"x\",\"hosts\":[{", "null"] {
            fs::write(&path, damage).unwrap();
            let failure = Kept::open(path.clone(), "x").err().unwrap().to_string();
            assert!(failure.contains("report.json"), "{failure}");
            assert_eq!(fs::read_to_string(&path).unwrap(), damage);
        }
    }
}
