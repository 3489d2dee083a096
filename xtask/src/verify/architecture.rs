//! Whether the workspace is built in floors, and whether ARCHITECTURE.md shows them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use cargo_metadata::{DependencyKind, Metadata, Package};

use super::floors::{FLOORS, Links, Row};
use crate::{
    failure::Failure,
    workspace::{self, capture, cargo, resolved_features},
};

const DOCUMENT: &str = "ARCHITECTURE.md";
const DATA: &str = "xtask/src/verify/floors.rs";
/// What a plain crate does not link. A server may link all but the first.
const HEAVY: [&str; 3] = ["burn", "hyper", "tokio"];
/// Burn's feature of this name makes `Autodiff<B>` demand a `DistributedBackend`; `Autodiff<Flex>` stops compiling.
const FORBIDDEN_FEATURE: &str = "distributed";

/// The crates that each crate depends on, by the names of their directories.
type Facts = BTreeMap<String, BTreeSet<String>>;

pub(super) fn check(metadata: &Metadata) -> Result<(), Failure> {
    let path = workspace::root().join(DOCUMENT);
    let document = fs::read_to_string(&path).map_err(Failure::file("read", &path))?;
    let facts = facts(metadata);
    let mut found = edges(&facts, &FLOORS);
    for row in FLOORS.iter().filter(|row| facts.contains_key(row.name)) {
        match row.links {
            Links::Plain => found.extend(heavy(row.name, &HEAVY)?),
            Links::Server => found.extend(heavy(row.name, &HEAVY[..1])?),
            Links::Anything => {}
        }
    }
    let distributed = resolved_features(metadata, "burn").filter(|(_, features)| features.contains(FORBIDDEN_FEATURE));
    found.extend(distributed.map(|(name, _)| format!("{name}: turn its feature `{FORBIDDEN_FEATURE}` off")));
    if !document.contains(&table(&facts, &FLOORS)) {
        found.push(format!("{DOCUMENT}: replace the table of floors by what `cargo xtask floors` prints"));
    }
    let unmapped = facts.keys().filter(|name| !document.contains(&format!("\n    {name}/ ")));
    found.extend(unmapped.map(|name| format!("{DOCUMENT}: add {name}/ to the map")));
    for line in &found {
        println!("  {line}");
    }
    if found.is_empty() { Ok(()) } else { Err(Failure::Architecture(format!("{} things to change", found.len()))) }
}

/// Prints the table for ARCHITECTURE.md.
pub(crate) fn print() -> Result<(), Failure> {
    print!("{}", table(&facts(&workspace::metadata()?), &FLOORS));
    Ok(())
}

fn facts(metadata: &Metadata) -> Facts {
    let members = metadata.workspace_packages();
    let crates: BTreeMap<&str, &str> =
        members.iter().filter_map(|it| Some((it.name.as_str(), directory(it)?))).collect();
    let knows = |package: &Package| {
        let normal = package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
        normal.filter_map(|it| crates.get(it.name.as_str()).map(|name| (*name).to_owned())).collect()
    };
    members.iter().filter_map(|package| Some((directory(package)?.to_owned(), knows(package)))).collect()
}

/// Where under crates/ a package is; none for the tools.
fn directory(package: &Package) -> Option<&str> {
    let directory = package.manifest_path.parent()?;
    (directory.parent()?.file_name()? == "crates").then(|| directory.file_name())?
}

/// Every crate has a row, and depends on crates that its row names, on lower floors.
fn edges(facts: &Facts, rows: &[Row]) -> Vec<String> {
    let floor_of = |name: &str| rows.iter().find(|row| row.name == name).map(|row| row.floor);
    let mut found = Vec::new();
    for (name, knows) in facts {
        let Some(row) = rows.iter().find(|row| row.name == name) else {
            found.push(format!("{DATA}: add a row for `{name}`"));
            continue;
        };
        for other in knows {
            if !row.knows.contains(&other.as_str()) {
                found
                    .push(format!("crates/{name}: drop its dependency on `{other}`, or add that to its row in {DATA}"));
            }
            if floor_of(other).is_some_and(|floor| floor >= row.floor) {
                found.push(format!("crates/{name}: drop its dependency on `{other}`: that is not on a lower floor"));
            }
        }
    }
    found
}

/// Which of these a crate links all the same. `cargo tree` resolves features for this crate alone, as its users' builds do.
fn heavy(name: &str, heavy: &[&str]) -> Result<Option<String>, Failure> {
    let package = format!("kasmina-{name}");
    let mut tree = cargo(["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    let (success, linked, errors) = capture(tree.args(["--package", &package]))?;
    if !success {
        return Err(Failure::Workspace(errors.trim().to_owned()));
    }
    let is_linked = |heavy: &&str| linked.lines().any(|line| line.split(' ').next() == Some(heavy));
    let linked: Vec<_> = heavy.iter().copied().filter(is_linked).collect();
    Ok((!linked.is_empty()).then(|| format!("crates/{name}: links {}; `cargo tree -p {package}`", linked.join(", "))))
}

/// The table of the crates that exist, with what each of them knows by its manifest.
fn table(facts: &Facts, rows: &[Row]) -> String {
    let mut text = "| floor | crate | owns | knows | invariant |\n|---|---|---|---|---|\n".to_owned();
    for Row { floor, name, owns, invariant, .. } in rows {
        let Some(knows) = facts.get(*name) else { continue };
        let knows: Vec<_> = knows.iter().map(|other| format!("`{other}`")).collect();
        let knows = if knows.is_empty() { "-".to_owned() } else { knows.join(", ") };
        text += &format!("| {floor} | `{name}` | {owns} | {knows} | **{invariant}** |\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knows(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn row(floor: u8, name: &'static str, knows: &'static [&'static str]) -> Row {
        Row { floor, name, owns: "things", knows, links: Links::Plain, invariant: "true" }
    }

    #[test]
    fn dependencies_go_down_and_are_named() {
        let rows = [row(0, "low", &[]), row(1, "high", &["low"]), row(1, "beside", &["high"]), row(2, "later", &[])];
        let facts = |high: &[&str], beside: &[&str]| {
            let all = [("low", &[][..]), ("high", high), ("beside", beside)];
            Facts::from(all.map(|(name, others)| (name.to_owned(), knows(others))))
        };
        assert_eq!(edges(&facts(&["low"], &[]), &rows), Vec::<String>::new());
        assert!(edges(&facts(&["low"], &["low"]), &rows)[0].contains("add that to its row"));
        assert!(edges(&facts(&["low"], &["high"]), &rows)[0].contains("not on a lower floor"));
        let unknown = Facts::from([("new".to_owned(), knows(&[]))]);
        assert!(edges(&unknown, &rows)[0].contains("add a row for `new`"));
    }

    #[test]
    fn the_table_shows_what_exists() {
        let rows = [row(0, "low", &[]), row(1, "high", &["low"]), row(2, "later", &[])];
        let facts = Facts::from([("low".to_owned(), knows(&[])), ("high".to_owned(), knows(&["low"]))]);
        let lines = ["| 0 | `low` | things | - | **true** |", "| 1 | `high` | things | `low` | **true** |"];
        assert_eq!(table(&facts, &rows).lines().skip(2).collect::<Vec<_>>(), lines);
    }
}
