//! Whether ARCHITECTURE.md says what cargo and the file system say: the map, the floors, and who knows whom.

mod document;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use document::{Document, Row};

use crate::{
    failure::Failure,
    workspace::{self, DependencyKind, Metadata, Package},
};

const FILE: &str = "ARCHITECTURE.md";
const XTASK: &str = "xtask";
/// Up to this floor there are neither tensors nor an asynchronous runtime, and no crate knows one of its own floor.
const PLAIN_FLOORS: u8 = 1;
const HEAVY: [&str; 2] = ["burn", "tokio"];

/// What cargo says about one crate.
#[derive(Default)]
struct Facts {
    /// Directory names of the workspace's crates that it depends on.
    knows: BTreeSet<String>,
    /// Names of everything that is linked into it.
    linked: Vec<String>,
}

pub(super) fn check(metadata: &Metadata) -> Result<(), Failure> {
    let root = workspace::root();
    let path = root.join(FILE);
    let text = fs::read_to_string(&path).map_err(Failure::file("read", &path))?;
    let exists = |path: &str| root.join(path).exists();
    let violations = violations(&text, &facts(metadata), exists);
    for violation in &violations {
        println!("  {violation}");
    }
    match violations.len() {
        0 => Ok(()),
        1 => Err(Failure::Architecture("1 line has to change".to_owned())),
        more => Err(Failure::Architecture(format!("{more} lines have to change"))),
    }
}

/// The crates under crates/ by the names of their directories.
fn facts(metadata: &Metadata) -> BTreeMap<String, Facts> {
    let members = metadata.members();
    let crates: BTreeMap<&str, &str> = members.keys().filter_map(|name| Some((*name, directory(name)?))).collect();
    let facts = |package: &Package| Facts {
        knows: package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind == DependencyKind::Normal)
            .filter_map(|dependency| crates.get(dependency.name.as_str()).map(|name| (*name).to_owned()))
            .collect(),
        linked: metadata.linked_into(package).into_iter().map(str::to_owned).collect(),
    };
    members.values().filter_map(|package| Some((directory(&package.name)?.to_owned(), facts(package)))).collect()
}

/// Where under crates/ a package lives; none for the tools.
fn directory(package: &str) -> Option<&str> {
    if package == "kasmina" { Some(package) } else { package.strip_prefix("kasmina-") }
}

/// One line for each thing to change.
fn violations(text: &str, facts: &BTreeMap<String, Facts>, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(problems) => {
            return problems.into_iter().map(|problem| format!("{FILE}: {problem}")).collect();
        }
    };
    let mut found = map(&document.paths, facts, exists);
    found.extend(floors(&document.rows, facts));
    found
}

fn map(paths: &BTreeSet<String>, facts: &BTreeMap<String, Facts>, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let wanted = facts.keys().map(|name| format!("crates/{name}")).chain([XTASK.to_owned()]);
    let missing = wanted.filter(|path| !paths.contains(path)).map(|path| format!("{FILE}: the map lacks {path}"));
    let gone = paths.iter().filter(|path| !exists(path));
    missing.chain(gone.map(|path| format!("{FILE}: the map lists {path}, which does not exist"))).collect()
}

fn floors(rows: &[Row], facts: &BTreeMap<String, Facts>) -> Vec<String> {
    let mut found = Vec::new();
    let mut listed: BTreeMap<&str, &Row> = BTreeMap::new();
    for row in rows {
        let name = row.name.as_str();
        if name != XTASK && !facts.contains_key(name) {
            found.push(format!("{FILE}: the table lists `{name}`, but there is no crates/{name}"));
        } else if listed.insert(name, row).is_some() {
            found.push(format!("{FILE}: the table lists `{name}` twice"));
        }
    }
    for (name, facts) in facts {
        match listed.get(name.as_str()) {
            None => found.push(format!("{FILE}: the table lacks `{name}`")),
            Some(row) => {
                found.extend(knowledge(row, facts));
                found.extend(edges(row, facts, &listed));
                found.extend(weight(row, facts));
            }
        }
    }
    found
}

/// What a crate knows must be what the table says.
fn knowledge(row: &Row, facts: &Facts) -> Vec<String> {
    let name = &row.name;
    let unsaid = facts.knows.difference(&row.knows).map(|other| {
        format!("{FILE}: `{name}` depends on `{other}`: add it to `knows`, or drop it from crates/{name}/Cargo.toml")
    });
    let untrue = row
        .knows
        .difference(&facts.knows)
        .map(|other| format!("{FILE}: `{name}` does not depend on `{other}`: drop it from `knows`"));
    unsaid.chain(untrue).collect()
}

/// Dependencies go down; on the upper floors they may also go sideways.
fn edges(row: &Row, facts: &Facts, listed: &BTreeMap<&str, &Row>) -> Vec<String> {
    let Row { name, floor, .. } = row;
    let others = facts.knows.iter().filter_map(|other| listed.get(other.as_str()));
    others
        .filter_map(|other| {
            let problem = if other.floor > *floor {
                "dependencies go down"
            } else if other.floor == *floor && *floor <= PLAIN_FLOORS {
                "crates of the floors 0 and 1 know none of their own floor"
            } else {
                return None;
            };
            let Row { name: below, floor: there, .. } = other;
            Some(format!(
                "crates/{name}/Cargo.toml: drop `{below}` (floor {there}) from floor {floor}, or move one: {problem}"
            ))
        })
        .collect()
}

/// The lower floors link nothing heavy.
fn weight(row: &Row, facts: &Facts) -> Vec<String> {
    let Row { name, floor, .. } = row;
    if *floor > PLAIN_FLOORS {
        return Vec::new();
    }
    let is_linked = |heavy: &&str| facts.linked.iter().any(|linked| linked == heavy);
    HEAVY
        .into_iter()
        .filter(is_linked)
        .map(|heavy| format!("crates/{name}/Cargo.toml: drop what links {heavy}: floor {floor} does without"))
        .collect()
}

#[cfg(test)]
mod tests;
