//! Shows that something is going on, if somebody watches a terminal.

use std::{fmt::Display, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

/// A spinner on standard error with the time so far; nothing if standard error is not a terminal.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn start(what: impl Display) -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4} {prefix}: {wide_msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(what.to_string());
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    /// Replaces what is shown beside the spinner.
    pub(crate) fn show(&self, now: impl Display) {
        self.0.set_message(now.to_string());
    }

    /// Whether nobody sees the spinner, so that lines have to say what is going on.
    pub(crate) fn is_hidden(&self) -> bool {
        self.0.is_hidden()
    }

    /// Prints a line that stays, to standard error.
    pub(crate) fn warn(&self, line: impl Display) {
        self.0.suspend(|| eprintln!("{line}"));
    }

    /// Prints a line that stays.
    pub(crate) fn print(&self, line: impl Display) {
        self.0.suspend(|| println!("{line}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Whether cargo only says what it is doing.
pub(crate) fn only_progress(line: &str) -> bool {
    const VERBS: [&str; 9] = [
        "Blocking",
        "Checking",
        "Compiling",
        "Documenting",
        "Downloaded",
        "Downloading",
        "Finished",
        "Locking",
        "Updating",
    ];
    line.starts_with(' ') && line.split_whitespace().next().is_some_and(|word| VERBS.contains(&word))
}
