//! The table of reasons, read from the document that people read.

/// docs/REASONS.md is a copy of it, because a package cannot hold a file from outside of its directory.
const DOCUMENT: &str = include_str!("reasons.md");

/// A group of reasons under one heading.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) title: &'static str,
    pub(crate) reasons: Vec<Reason>,
}

/// One row of a group's table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reason {
    pub(crate) name: &'static str,
    /// Words of the legend, with commas between them.
    pub(crate) places: &'static str,
    pub(crate) cause: &'static str,
    pub(crate) remedy: &'static str,
}

/// All groups, in the document's order.
pub(crate) fn groups() -> Vec<Group> {
    let sections = DOCUMENT.split("\n## ").skip(1);
    sections
        .map(|section| {
            let (title, rows) = section.split_once('\n').unwrap_or((section, ""));
            Group { title, reasons: rows.lines().filter_map(reason).collect() }
        })
        .collect()
}

/// What a word of the column "where" means.
pub(crate) fn place(word: &str) -> Option<&'static str> {
    let (legend, _) = DOCUMENT.split_once("\n## ")?;
    legend.lines().filter_map(cells).find_map(|cells| match cells[..] {
        [known, meaning] if known == word => Some(meaning),
        _ => None,
    })
}

fn reason(line: &'static str) -> Option<Reason> {
    match cells(line)?[..] {
        [name, places, cause, remedy] => {
            Some(Reason { name: name.strip_prefix('`')?.strip_suffix('`')?, places, cause, remedy })
        }
        _ => None,
    }
}

/// The cells of a table's row.
fn cells(line: &'static str) -> Option<Vec<&'static str>> {
    Some(line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::{DOCUMENT, groups, place};

    #[test]
    fn every_row_is_complete_and_read_once() {
        let rows = DOCUMENT.lines().filter(|line| line.starts_with("| `")).count();
        let reasons: Vec<_> = groups().into_iter().flat_map(|group| group.reasons).collect();
        assert!(rows > 100 && reasons.len() == rows, "{rows} rows, {} of them read", reasons.len());
        let names: BTreeSet<_> = reasons.iter().map(|reason| reason.name).collect();
        assert_eq!(names.len(), rows, "a reason has two entries");
        for reason in reasons {
            for word in reason.places.split(", ") {
                assert!(
                    place(word).is_some() || word.starts_with("event "),
                    "{}: {word} is not explained",
                    reason.name
                );
            }
            for text in [reason.cause, reason.remedy] {
                assert!(text.len() > 10 && text.ends_with('.'), "{}: {text:?} is not a sentence", reason.name);
            }
        }
    }

    /// With `UPDATE_DOCS=1` in the environment it writes the document instead.
    #[test]
    fn document_is_a_copy_of_the_table() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/REASONS.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(path, DOCUMENT).unwrap();
            return;
        }
        let copy = fs::read_to_string(&path).unwrap_or_default();
        assert!(copy == DOCUMENT, "run `UPDATE_DOCS=1 cargo test -p kasmina-cli document`");
    }
}
