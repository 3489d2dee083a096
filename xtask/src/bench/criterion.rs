//! What criterion writes.

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
    /// Reads every `new/estimates.json` below a directory; a directory that does not exist holds none.
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

fn json<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let text = fs::read_to_string(path).map_err(Failure::file("read", path))?;
    serde_json::from_str(&text).map_err(|source| Failure::Json { what: path.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Estimates;

    #[test]
    fn only_new_results_are_read_and_broken_ones_named() {
        let home = tempfile::tempdir().unwrap();
        let save = |directory: &str, id: &str, estimates: &str| {
            let directory = home.path().join(directory);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("benchmark.json"), format!("{{\"group_id\":\"g\",\"full_id\":\"{id}\"}}"))
                .unwrap();
            fs::write(directory.join("estimates.json"), estimates).unwrap();
        };
        save("step/host/new", "step/host", r#"{"mean":{"point_estimate":12.5,"standard_error":1.0},"median":null}"#);
        save("step/host/base", "step/host", r#"{"mean":{"point_estimate":99.0}}"#);
        let estimates = Estimates::read(home.path()).unwrap();
        assert_eq!((estimates.nanoseconds("step/host"), estimates.nanoseconds("step")), (Some(12.5), None));
        assert_eq!(estimates.without(&[]).collect::<Vec<_>>(), ["step/host"]);
        assert_eq!(Estimates::read(&home.path().join("nothing")).unwrap().without(&[]).count(), 0);
        save("step/new", "step", "{}");
        let message = Estimates::read(home.path()).unwrap_err().to_string();
        assert!(message.contains("estimates.json") && message.contains("mean"), "{message}");
    }
}
