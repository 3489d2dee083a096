//! `kasmina explain`: what a reason means and what to do about it.

use std::io::{self, ErrorKind, Write};

use textwrap::Options;

use crate::{
    failure::Failure,
    reasons::{Group, Reason, groups, place},
};

/// The width of the text. Our choice: every terminal has it.
const WIDTH: usize = 80;

/// The most names that are suggested for one that is unknown, and how alike they must be, 0 to 1. Our choice: a mistyped letter or
/// a forgotten word.
const SUGGESTIONS: usize = 3;
const ALIKE: f64 = 0.8;

/// Say what a machine-readable reason means and what to do about it
///
/// Errors, events and the journal have such reasons: `stale_command`, `loss_rising`, `disk_full`. Without a reason, all are listed.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The reason
    reason: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let groups = groups();
    let text = match &args.reason {
        None => list(&groups),
        Some(name) => explain(&groups, name)?,
    };
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|source| Failure::Write { path: "standard output".into(), source }),
    }
}

fn list(groups: &[Group]) -> String {
    let mut text = String::new();
    for group in groups {
        let longest = group.reasons.iter().map(|reason| reason.name.len()).max().unwrap_or_default();
        text.push_str(&format!("{}\n", group.title));
        for Reason { name, cause, .. } in &group.reasons {
            let (first, rest) = (format!("  {name:longest$}  "), " ".repeat(longest + 4));
            text.push_str(&wrapped(cause, &first, &rest));
        }
        text.push('\n');
    }
    text.push_str("`kasmina explain REASON` says where a reason appears and what to do about it.\n");
    text
}

fn explain(groups: &[Group], name: &str) -> Result<String, Failure> {
    let name = name.trim().to_lowercase().replace('-', "_");
    let known = || groups.iter().flat_map(|group| &group.reasons);
    let Some(reason) = known().find(|reason| reason.name == name) else {
        let alike = |known: &str| (strsim::jaro_winkler(&name, known) >= ALIKE).then_some(known.to_owned());
        let mut nearest: Vec<_> = known().filter_map(|reason| alike(reason.name)).collect();
        nearest.sort_by(|a, b| strsim::jaro_winkler(&name, b).total_cmp(&strsim::jaro_winkler(&name, a)));
        nearest.truncate(SUGGESTIONS);
        return Err(Failure::UnknownReason { name, nearest });
    };
    let mut text = format!("{}\n\n", reason.name);
    for word in reason.places.split(", ") {
        let meaning = place(word).map_or_else(|| word.to_owned(), |meaning| format!("{word}: {meaning}"));
        text.push_str(&wrapped(&meaning, "  where   ", "          "));
    }
    text.push_str(&wrapped(reason.cause, "  cause   ", "          "));
    text.push_str(&wrapped(reason.remedy, "  remedy  ", "          "));
    Ok(text)
}

fn wrapped(text: &str, first: &str, rest: &str) -> String {
    let options = Options::new(WIDTH).initial_indent(first).subsequent_indent(rest).break_words(false);
    format!("{}\n", textwrap::fill(text, options))
}

#[cfg(test)]
mod tests {
    use super::{WIDTH, explain, groups};

    #[test]
    fn every_reason_is_explained_within_the_width() {
        for reason in groups().iter().flat_map(|group| &group.reasons) {
            let text = explain(&groups(), reason.name).unwrap();
            for word in ["where", "cause", "remedy"] {
                assert!(text.contains(&format!("\n  {word} ")), "{text}");
            }
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        }
    }
}
