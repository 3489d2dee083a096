//! The two parts of ARCHITECTURE.md that a program can read: the repository map and the table of floors.

use std::collections::BTreeSet;

/// The cells of the table's header.
const HEADER: [&str; 5] = ["floor", "crate", "owns", "knows", "invariant"];

/// What the document says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Document {
    /// Every path of the map, without a trailing slash.
    pub(super) paths: BTreeSet<String>,
    pub(super) rows: Vec<Row>,
}

/// One crate of the table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) floor: u8,
    /// Its directory's name.
    pub(super) name: String,
    /// The directory names of the crates that it says it knows.
    pub(super) knows: BTreeSet<String>,
}

impl Document {
    /// Reads both parts, or says everything that keeps them from being read.
    pub(super) fn parse(text: &str) -> Result<Self, Vec<String>> {
        match (paths(text), rows(text)) {
            (Ok(paths), Ok(rows)) => Ok(Self { paths, rows }),
            (paths, rows) => Err(paths.err().into_iter().chain(rows.err().into_iter().flatten()).collect()),
        }
    }
}

/// The paths of the first block that is tagged `text` and names crates/. A line's first word is a path; a line that is
/// indented further than a directory (a name that ends in a slash) lies in it. The characters that draw trees count as
/// spaces; the rest of a line is for people.
fn paths(text: &str) -> Result<BTreeSet<String>, String> {
    let block = blocks(text)
        .into_iter()
        .find(|block| block.iter().any(|line| line.contains("crates/")))
        .ok_or("add a block tagged ```text with the repository map (it names crates/)")?;
    let mut open: Vec<(usize, String)> = Vec::new();
    let mut paths = BTreeSet::new();
    for line in block {
        let Some(column) = line.chars().position(|character| !" \t│├└─|`+-".contains(character)) else {
            continue;
        };
        let name: String = line.chars().skip(column).take_while(|character| !character.is_whitespace()).collect();
        while open.last().is_some_and(|(parent, _)| *parent >= column) {
            open.pop();
        }
        let parent = open.last().map(|(_, path)| path.as_str()).unwrap_or_default();
        let path = format!("{parent}{name}");
        let shown = path.trim_end_matches('/').trim_start_matches("./");
        if !shown.is_empty() && shown != "." {
            paths.insert(shown.to_owned());
        }
        if name.ends_with('/') {
            open.push((column, path));
        }
    }
    Ok(paths)
}

/// The insides of all blocks tagged `text`.
fn blocks(text: &str) -> Vec<Vec<&str>> {
    let mut found: Vec<Vec<&str>> = Vec::new();
    let mut inside = None;
    for line in text.lines() {
        match (inside, line.strip_prefix("```")) {
            (None, Some(tag)) => {
                let wanted = tag.trim() == "text";
                if wanted {
                    found.push(Vec::new());
                }
                inside = Some(wanted);
            }
            (Some(_), Some(_)) => inside = None,
            (Some(true), None) => found.iter_mut().last().into_iter().for_each(|block| block.push(line)),
            (Some(false) | None, None) => {}
        }
    }
    found
}

fn rows(text: &str) -> Result<Vec<Row>, Vec<String>> {
    let mut lines = text.lines().enumerate().skip_while(|(_, line)| cells(line) != HEADER);
    if lines.next().is_none() {
        return Err(vec![format!("add a table with the header | {} |", HEADER.join(" | "))]);
    }
    let body = lines.take_while(|(_, line)| line.trim_start().starts_with('|')).skip(1);
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    for (index, line) in body {
        match row(line) {
            Ok(row) => rows.push(row),
            Err(problem) => problems.push(format!("line {}: {problem}", index + 1)),
        }
    }
    if problems.is_empty() { Ok(rows) } else { Err(problems) }
}

fn row(line: &str) -> Result<Row, String> {
    let cells = cells(line);
    let [floor, name, _owns, knows, _invariant] = cells.as_slice() else {
        return Err(format!("make it {} cells, not {}", HEADER.len(), cells.len()));
    };
    let floor = floor.parse().map_err(|_| format!("make the floor a number, not {floor:?}"))?;
    match quoted(name).as_slice() {
        [name] => {
            Ok(Row { floor, name: (*name).to_owned(), knows: quoted(knows).into_iter().map(str::to_owned).collect() })
        }
        _ => Err(format!("name one crate in backticks, not {name:?}")),
    }
}

/// The cells of a table's line; nothing for any other line.
fn cells(line: &str) -> Vec<&str> {
    let inside = line.trim().strip_prefix('|').and_then(|line| line.strip_suffix('|'));
    inside.map(|line| line.split('|').map(str::trim).collect()).unwrap_or_default()
}

/// What stands in backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}
