//! What criterion prints and writes.

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::{Deserialize, de::DeserializeOwned};

use super::rows::Row;
use crate::failure::Failure;

/// Mean times in nanoseconds by criterion's full ids.
#[derive(Debug, Default)]
pub(super) struct Estimates(BTreeMap<String, f64>);

#[derive(Deserialize)]
struct Benchmark {
    full_id: String,
}

#[derive(Deserialize)]
struct Statistics {
    mean: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
}

impl Estimates {
    /// Reads every `new/estimates.json` below a directory; a directory that is not there holds none.
    pub(super) fn read(directory: &Path) -> Result<Self, Failure> {
        let mut found = BTreeMap::new();
        let mut open = vec![directory.to_owned()];
        while let Some(directory) = open.pop() {
            let entries = match fs::read_dir(&directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries.map_err(Failure::file("read", &directory))?,
            };
            for entry in entries {
                let path = entry.map_err(Failure::file("read", &directory))?.path();
                if path.is_dir() {
                    open.push(path);
                }
            }
            let estimates = directory.join("estimates.json");
            if directory.ends_with("new") && estimates.is_file() {
                let Benchmark { full_id } = json(&directory.join("benchmark.json"))?;
                let Statistics { mean } = json(&estimates)?;
                found.insert(full_id, mean.point_estimate);
            }
        }
        Ok(Self(found))
    }

    pub(super) fn nanoseconds(&self, id: &str) -> Option<f64> {
        self.0.get(id).copied()
    }

    /// The ids that were measured but have no row.
    pub(super) fn without(&self, rows: &[Row]) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str).filter(move |id| rows.iter().all(|row| row.id != *id))
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, f64); N]> for Estimates {
    fn from(times: [(&str, f64); N]) -> Self {
        Self(times.map(|(id, nanoseconds)| (id.to_owned(), nanoseconds)).into())
    }
}

/// The id whose measurement this line reports on.
pub(super) fn begins(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("Benchmarking ")?;
    Some(rest.split_once(": ").map_or(rest, |(id, _)| id))
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let text = fs::read_to_string(path).map_err(Failure::file("read", path))?;
    serde_json::from_str(&text).map_err(|source| Failure::Json { what: path.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{Estimates, begins};
    use crate::bench::rows::ROWS;

    fn save(directory: &Path, id: &str, mean: f64) {
        fs::create_dir_all(directory).unwrap();
        fs::write(directory.join("benchmark.json"), format!("{{\"group_id\":\"g\",\"full_id\":\"{id}\"}}")).unwrap();
        let estimates = format!("{{\"mean\":{{\"point_estimate\":{mean},\"standard_error\":1.0}},\"median\":null}}");
        fs::write(directory.join("estimates.json"), estimates).unwrap();
    }

    #[test]
    fn only_the_new_results_are_read() {
        let home = tempfile::tempdir().unwrap();
        save(&home.path().join("step/host/new"), "step/host", 12.5);
        save(&home.path().join("step/host/base"), "step/host", 99.0);
        save(&home.path().join("other/new"), "other", 1.0);
        let estimates = Estimates::read(home.path()).unwrap();
        assert_eq!(estimates.nanoseconds("step/host"), Some(12.5));
        assert_eq!(estimates.nanoseconds("step"), None);
        assert_eq!(estimates.without(&ROWS).collect::<Vec<_>>(), ["other"]);
    }

    #[test]
    fn no_directory_is_no_result() {
        let home = tempfile::tempdir().unwrap();
        let estimates = Estimates::read(&home.path().join("nothing")).unwrap();
        assert_eq!(estimates.without(&[]).count(), 0);
    }

    #[test]
    fn a_result_that_cannot_be_understood_names_its_file() {
        let home = tempfile::tempdir().unwrap();
        let new = home.path().join("step/new");
        save(&new, "step", 1.0);
        fs::write(new.join("estimates.json"), "{}").unwrap();
        let message = Estimates::read(home.path()).unwrap_err().to_string();
        assert!(message.contains("estimates.json") && message.contains("mean"), "{message}");
    }

    #[test]
    fn what_is_being_measured() {
        assert_eq!(begins("Benchmarking step/host"), Some("step/host"));
        assert_eq!(begins("Benchmarking step/host: Warming up for 3.0000 s"), Some("step/host"));
        assert_eq!(begins("step/host               time:   [1 ns 2 ns 3 ns]"), None);
    }
}
