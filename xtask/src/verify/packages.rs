//! Whether every crate that is published can be packaged, and whether its package has all that a build of it reads.

mod outside;

use std::{collections::BTreeSet, fs};

use cargo_metadata::{Dependency, DependencyKind, Metadata, Package};

use super::quietly;
use crate::{
    failure::Failure,
    workspace::{capture, cargo},
};

/// Makes the packages without building them, and reads what is in them. Takes seconds, and leaves them in `target/package`.
pub(super) fn check(metadata: &Metadata) -> Result<(), Failure> {
    let (published, kept) = published(metadata);
    // Packaging resolves every crate's lock file anew, with the dependencies of all features on all platforms.
    quietly(cargo(["fetch", "--locked"]))?;
    let mut command = cargo(["package", "--workspace", "--no-verify", "--allow-dirty", "--locked", "--offline"]);
    command.args(kept.iter().flat_map(|package| ["--exclude", package.name.as_str()]));
    quietly(command)?;
    let mut found = Vec::new();
    for package in published {
        found.extend(package.dependencies.iter().filter_map(|dependency| stale(package, dependency)));
        found.extend(unreadable(package)?);
    }
    for line in &found {
        println!("  {line}");
    }
    if found.is_empty() { Ok(()) } else { Err(Failure::Workspace(format!("{} things to change", found.len()))) }
}

/// The crates that are published, and those that are not.
fn published(metadata: &Metadata) -> (Vec<&Package>, Vec<&Package>) {
    metadata.workspace_packages().into_iter().partition(|package| package.publish.is_none())
}

/// A requirement that a release without this dependency's newest changes would meet. Cargo accepts it in here, where it has the path.
fn stale(package: &Package, dependency: &Dependency) -> Option<String> {
    // Cargo leaves a development dependency without a version out of the package.
    let is_left_out = dependency.kind == DependencyKind::Development && dependency.req.to_string() == "*";
    if dependency.path.is_none() || is_left_out {
        return None;
    }
    let (expected, got) = (format!("^{}", package.version), dependency.req.to_string());
    (got != expected).then(|| {
        format!("{}: requires {} {got}; all versions go up together, to {expected}", package.name, dependency.name)
    })
}

/// The files that the sources of a package name and the package does not have.
fn unreadable(package: &Package) -> Result<Vec<String>, Failure> {
    let mut list = cargo(["package", "--list", "--allow-dirty", "--locked", "--offline", "--package", &package.name]);
    let (success, listed, errors) = capture(&mut list)?;
    if !success {
        return Err(Failure::Workspace(errors.trim().to_owned()));
    }
    // On Windows cargo lists paths with backslashes.
    let listed = listed.replace('\\', "/");
    let files: BTreeSet<&str> = listed.lines().collect();
    let root = package.manifest_path.parent().unwrap_or(&package.manifest_path);
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.ends_with(".rs")) {
        let path = root.join(file).into_std_path_buf();
        let source = fs::read_to_string(&path).map_err(Failure::file("read", &path))?;
        let named = outside::named(file, &source).map_err(|error| Failure::Workspace(format!("{file}: {error}")))?;
        let missing = named.into_iter().filter(|name| !files.contains(name.as_str()));
        found.extend(
            missing.map(|name| format!("{}: {file} reads {name}, which its package does not have", package.name)),
        );
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_not_published_and_libraries_are() {
        let metadata = crate::workspace::metadata().unwrap();
        let (published, kept) = published(&metadata);
        let names = |packages: Vec<&Package>| packages.iter().map(|it| it.name.to_string()).collect::<BTreeSet<_>>();
        assert!(names(published).is_superset(&["kasmina", "kasmina-cli", "kasmina-leyline"].map(str::to_owned).into()));
        assert_eq!(
            names(kept),
            [
                "fuzz-properties",
                "kasmina-bench",
                "kasmina-canvas",
                "kasmina-measure",
                "xtask",
                "xtask-codegen",
                "xtask-gpu-check"
            ]
            .map(str::to_owned)
            .into()
        );
    }
}
