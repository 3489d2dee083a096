//! Reads what a libFuzzer target prints and keeps what counts.

use std::{collections::VecDeque, fmt, path::PathBuf};

/// Lines that are kept: what a target says last, its backtrace and its input in several spellings.
const SAID: usize = 200;
/// Lines of a finding that are shown.
const SHOWN: usize = 12;

/// How one target did.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Report {
    name: String,
    pub(super) executions: u64,
    per_second: u64,
    edges: u64,
    /// Files of the corpus after the run.
    pub(super) inputs: usize,
    /// The input that broke a promise.
    pub(super) finding: Option<PathBuf>,
    /// The last lines that are no status.
    said: VecDeque<String>,
}

impl Report {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    pub(super) fn read(&mut self, line: &str) {
        if let Some((executions, rest)) = status(line) {
            self.executions = executions;
            let number = |name| after(rest, name).and_then(|text| text.parse().ok());
            self.edges = number("cov:").unwrap_or(self.edges);
            self.per_second = number("exec/s:").unwrap_or(self.per_second);
            return;
        }
        // A slow input is written too, and the run goes on.
        if let Some(path) = after(line, "Test unit written to").filter(|path| !path.contains("slow-unit-")) {
            self.finding = Some(path.into());
        }
        self.said.push_back(line.to_owned());
        if self.said.len() > SAID {
            self.said.pop_front();
        }
    }

    /// What went wrong: the panic without its backtrace, or else the fuzzer's own error, or else the last lines.
    pub(super) fn cause(&self) -> impl Iterator<Item = &str> {
        let first = |text: &str| self.said.iter().position(|line| line.contains(text));
        let last = self.said.len().saturating_sub(SHOWN);
        let begin = first(" panicked at ").or_else(|| first("ERROR: libFuzzer")).unwrap_or(last);
        let lines = self.said.iter().skip(begin).map(String::as_str);
        lines.take_while(|line| !line.starts_with("stack backtrace")).take(SHOWN)
    }
}

/// The executions so far and the rest of a line like `#1024 NEW cov: 12 ft: 30 corp: 4/9b exec/s: 512 rss: 30Mb`.
fn status(line: &str) -> Option<(u64, &str)> {
    let (number, rest) = line.strip_prefix('#')?.split_once(|character: char| character.is_whitespace())?;
    Some((number.parse().ok()?, rest)).filter(|(_, rest)| rest.contains("cov:"))
}

/// The word behind `name`.
fn after<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_once(name)?.1.split_whitespace().next()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, executions, per_second, edges, inputs, finding, .. } = self;
        let verdict = if finding.is_none() { "ok" } else { "FOUND" };
        let findings = usize::from(finding.is_some());
        write!(f, "{verdict:<7}  {name:<13} {executions:>10} executions {per_second:>7}/s {edges:>6} edges ")?;
        write!(f, "{inputs:>5} inputs  {findings} found")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_status_counts_and_a_slow_input_is_no_finding() {
        let mut report = Report::new("journal");
        for line in [
            "INFO: seed corpus: files: 26 min: 1b max: 353b total: 3262b rss: 28Mb",
            "#27\tINITED cov: 700 ft: 900 corp: 20/2Kb exec/s: 0 rss: 30Mb",
            "artifact_prefix='a/'; Test unit written to a/slow-unit-1",
            "#94783\tDONE   cov: 2011 ft: 5537 corp: 848/16Kb lim: 92 exec/s: 3057 rss: 30Mb",
        ] {
            report.read(line);
        }
        assert_eq!((report.executions, report.per_second, report.edges), (94_783, 3_057, 2_011));
        assert_eq!(report.finding, None);
        assert!(report.to_string().starts_with("ok       journal            94783 executions    3057/s   2011 edges"));

        report.read("artifact_prefix='a/'; Test unit written to a/crash-2");
        assert_eq!(report.finding, Some("a/crash-2".into()));
        assert!(report.to_string().starts_with("FOUND") && report.to_string().ends_with("1 found"));
    }

    #[test]
    fn other_lines_are_kept_for_whoever_has_to_understand_a_finding() {
        let mut report = Report::new("command");
        report.read("thread '<unnamed>' panicked at fuzz/properties/src/command.rs:1:1:");
        report.read("#0 frame of a backtrace");
        report.read("==7== ERROR: libFuzzer: deadly signal");
        report.read("stack backtrace:");
        assert_eq!((report.said.len(), report.executions), (4, 0));
        assert_eq!(report.cause().count(), 3);
        (0..2 * SAID).for_each(|_| report.read("a line"));
        assert_eq!((report.said.len(), report.cause().count()), (SAID, SHOWN));
    }
}
