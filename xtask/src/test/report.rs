//! Reads what `cargo test` prints and keeps what counts.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{progress::only_progress, workspace};

/// What has been printed so far.
#[derive(Default)]
pub(super) struct Report {
    pub(super) totals: Totals,
    /// Each test that was skipped, and why.
    pub(super) not_run: Vec<String>,
    /// The package's directory of each test binary, by the binary's name.
    packages: BTreeMap<String, String>,
    binary: Option<Binary>,
}

/// How many tests there were.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Totals {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) ignored: usize,
    /// Left out by the filter.
    pub(super) filtered: usize,
}

/// The test binary, or the crate whose documentation is tested, that runs now.
struct Binary {
    name: String,
    /// What it has printed since its last result.
    printed: Vec<String>,
    has_result: bool,
}

/// What cargo says about each thing it has built.
#[derive(Deserialize)]
struct Artifact {
    #[serde(default)]
    manifest_path: PathBuf,
    executable: Option<PathBuf>,
}

impl Report {
    /// Takes one line and gives those to be shown.
    pub(super) fn read(&mut self, line: &str) -> Vec<String> {
        if line.starts_with("{\"reason\":") {
            self.built(line);
            return Vec::new();
        }
        if let Some(name) = self.begins(line) {
            let shown = self.finish();
            self.binary = Some(Binary { name, printed: Vec::new(), has_result: false });
            return shown;
        }
        let Some(binary) = &mut self.binary else {
            return if only_progress(line) { Vec::new() } else { vec![line.to_owned()] };
        };
        if let Some(result) = line.strip_prefix("test result: ").and_then(Totals::parse) {
            return self.ends(result);
        }
        if binary.has_result && line.starts_with("error: test failed") {
            return vec![line.to_owned()];
        }
        if let Some(skipped) = line.trim_start().strip_prefix("SKIPPED: ") {
            self.not_run.push(format!("skipped {} {skipped}", binary.name));
        } else if let Some((test, reason)) = ignored(line) {
            let reason = reason.unwrap_or("no reason is given");
            self.not_run.push(format!("ignored {} {test}: {reason}", binary.name));
        }
        binary.printed.push(line.to_owned());
        Vec::new()
    }

    /// Ends the binary that runs, and gives the lines to be shown if it never said how it went.
    pub(super) fn finish(&mut self) -> Vec<String> {
        match self.binary.take() {
            Some(binary) if !binary.has_result => {
                let headline = format!("{:<52} printed no result", binary.name);
                std::iter::once(headline).chain(binary.printed).collect()
            }
            Some(_) | None => Vec::new(),
        }
    }

    /// What runs now.
    pub(super) fn current(&self) -> &str {
        self.binary.as_ref().map_or("compiling", |binary| binary.name.as_str())
    }

    fn built(&mut self, line: &str) {
        if let Ok(Artifact { manifest_path, executable: Some(executable) }) = serde_json::from_str(line) {
            let directory = manifest_path.parent().unwrap_or(&manifest_path);
            let directory = directory.strip_prefix(workspace::root()).unwrap_or(directory);
            self.packages.insert(stem(&executable), directory.display().to_string());
        }
    }

    /// The name of the binary that begins with this line.
    fn begins(&self, line: &str) -> Option<String> {
        let announcement = line.strip_prefix("   ")?.trim_start();
        if let Some(documented) = announcement.strip_prefix("Doc-tests ") {
            return Some(format!("{documented} documentation"));
        }
        let (source, executable) = announcement.strip_prefix("Running ")?.strip_suffix(')')?.rsplit_once(" (")?;
        let package = self.packages.get(&stem(Path::new(executable)));
        Some([package.map_or("", String::as_str), source.trim_start_matches("unittests ")].join(" ").trim().to_owned())
    }

    /// Documentation has two results: the examples that were compiled together, and the others.
    fn ends(&mut self, result: Totals) -> Vec<String> {
        self.totals.add(result);
        let Some(binary) = &mut self.binary else {
            return Vec::new();
        };
        binary.has_result = true;
        let printed = std::mem::take(&mut binary.printed);
        if result == Totals::default() {
            return Vec::new();
        }
        let mut shown = vec![format!("{:<52} {result}", binary.name)];
        if result.failed > 0 {
            shown.extend(printed.into_iter().skip_while(|line| line != "failures:"));
        }
        shown
    }
}

impl Totals {
    pub(super) fn ran(&self) -> usize {
        self.passed + self.failed
    }

    /// Reads `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s`.
    fn parse(result: &str) -> Option<Self> {
        let (_, counts) = result.split_once(". ")?;
        let count = |what| counts.split("; ").find_map(|part| part.strip_suffix(what)?.trim().parse().ok());
        Some(Self {
            passed: count("passed")?,
            failed: count("failed")?,
            ignored: count("ignored")?,
            filtered: count("filtered out")?,
        })
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.filtered += other.filtered;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>4} ran  {:>3} failed  {:>3} ignored", self.ran(), self.failed, self.ignored)?;
        if self.filtered > 0 {
            write!(f, "  {:>4} filtered out", self.filtered)?;
        }
        Ok(())
    }
}

/// The test that this line says is ignored, and its reason.
fn ignored(line: &str) -> Option<(&str, Option<&str>)> {
    let (test, rest) = line.strip_prefix("test ")?.split_once(" ... ignored")?;
    Some((test, rest.strip_prefix(", ")))
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::{Report, Totals};
    use crate::workspace;

    fn read(report: &mut Report, text: &str) -> Vec<String> {
        text.lines().flat_map(|line| report.read(line)).collect()
    }

    const PASSING: &str = "
running 3 tests
test a ... ok
test slow ... ignored, takes an hour
test device ... ok

successes:

---- device stdout ----
SKIPPED: device: no GPU is here

successes:
    a
    device

test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.00s
";

    #[test]
    fn a_binary_is_one_line_with_its_package() {
        let mut report = Report::default();
        let manifest = workspace::root().join("crates/gates/Cargo.toml").display().to_string().replace('\\', "/");
        let built = format!(
            "{{\"reason\":\"compiler-artifact\",\"manifest_path\":\"{manifest}\",\"executable\":\"/t/deps/laws-12ab\"}}\n"
        );
        let begins = "     Running tests/laws.rs (target/debug/deps/laws-12ab)\n";
        let shown = read(&mut report, &format!("{built}{begins}{PASSING}"));
        assert_eq!(shown.len(), 1, "{shown:?}");
        let words: Vec<&str> = shown[0].split_whitespace().collect();
        assert_eq!(words.join(" "), "crates/gates tests/laws.rs 2 ran 0 failed 1 ignored 4 filtered out");
        assert_eq!(report.totals, Totals { passed: 2, failed: 0, ignored: 1, filtered: 4 });
    }

    #[test]
    fn what_did_not_run_is_named_with_its_reason() {
        let mut report = Report::default();
        read(&mut report, "     Running unittests src/lib.rs (target/debug/deps/gates-1)");
        read(&mut report, PASSING);
        read(&mut report, "test src/lib.rs - outer (line 3) ... ignored");
        assert_eq!(
            report.not_run,
            [
                "ignored src/lib.rs slow: takes an hour",
                "skipped src/lib.rs device: no GPU is here",
                "ignored src/lib.rs src/lib.rs - outer (line 3): no reason is given",
            ]
        );
    }

    #[test]
    fn documentation_may_have_two_results() {
        let mut report = Report::default();
        let result = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n";
        let shown = read(&mut report, &format!("   Doc-tests kasmina\n\nrunning 1 test\n{result}{result}"));
        assert_eq!(shown.len(), 2);
        assert!(shown[0].starts_with("kasmina documentation"), "{shown:?}");
        assert_eq!(report.totals.ran(), 2);
    }

    #[test]
    fn failures_are_shown_in_full() {
        let mut report = Report::default();
        let text = "     Running unittests src/lib.rs (deps/gates-1)\n\nrunning 2 tests\ntest a ... ok\ntest b ... FAILED\n\n\
                    successes:\n\n---- a stdout ----\nfine\n\nfailures:\n\n---- b stdout ----\nno\n\nfailures:\n    b\n\n\
                    test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
                    error: test failed, to rerun pass `-p kasmina-gates --lib`\n";
        let shown = read(&mut report, text).join("\n");
        assert!(shown.contains("---- b stdout ----\nno"), "{shown}");
        assert!(!shown.contains("fine"), "{shown}");
        assert!(shown.ends_with("--lib`"), "{shown}");
        assert_eq!(report.totals.failed, 1);
    }

    #[test]
    fn a_binary_that_dies_is_shown_in_full() {
        let mut report = Report::default();
        read(&mut report, "     Running unittests src/lib.rs (deps/gates-1)\nrunning 1 test\nstack overflow");
        let shown = report.finish();
        assert!(shown[0].ends_with("printed no result"), "{shown:?}");
        assert_eq!(shown[1..], ["running 1 test", "stack overflow"]);
        assert!(report.finish().is_empty());
    }

    #[test]
    fn what_comes_before_the_tests_is_passed_on() {
        let mut report = Report::default();
        assert_eq!(report.read("error[E0308]: mismatched types"), ["error[E0308]: mismatched types"]);
        assert!(report.read("   Compiling kasmina v0.1.0 (/work)").is_empty());
        assert_eq!(report.current(), "compiling");
    }

    #[test]
    fn empty_binaries_are_not_shown() {
        let mut report = Report::default();
        let result = "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert!(read(&mut report, &format!("   Doc-tests kasmina\n{result}")).is_empty());
    }
}
