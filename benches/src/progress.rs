//! What is being measured, on standard error: a bar in a terminal, a line each elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

pub(crate) struct Progress {
    bar: ProgressBar,
    begun: usize,
    all: usize,
}

impl Progress {
    pub(crate) fn of(all: usize) -> Self {
        let bar = ProgressBar::new(all as u64);
        if let Ok(style) = ProgressStyle::with_template("{pos}/{len} {elapsed} {msg}") {
            bar.set_style(style);
        }
        Self { bar, begun: 0, all }
    }

    /// Says what comes next.
    pub(crate) fn next(&mut self, what: &str) {
        self.begun += 1;
        if std::io::stderr().is_terminal() {
            self.bar.set_position(self.begun as u64);
            self.bar.set_message(what.to_owned());
        } else {
            eprintln!("{}/{} {what}", self.begun, self.all);
        }
    }

    pub(crate) fn end(self) {
        self.bar.finish_and_clear();
    }
}
