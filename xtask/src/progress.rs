//! Shows that something is going on, where somebody watches a terminal.

use std::{fmt::Display, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

/// A spinner on standard error with the time so far; nothing at all where standard error is no terminal.
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

    /// Whether nobody sees the spinner, so that lines have to say it.
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

#[cfg(test)]
mod tests {
    use super::only_progress;

    #[test]
    fn only_what_cargo_is_doing_is_progress() {
        assert!(only_progress("   Compiling kasmina v0.1.0 (/work)"));
        assert!(!only_progress("error: Compiling failed"));
        assert!(!only_progress("   --> src/lib.rs:1:1"));
        assert!(!only_progress(""));
    }
}
