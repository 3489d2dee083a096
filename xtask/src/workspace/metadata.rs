//! The part of `cargo metadata` that is used here.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

use super::{capture, cargo, words};
use crate::failure::Failure;

/// Features that need more than Rust, and what they need. Every other feature is on in tests, lints and documentation.
pub(crate) const SPECIAL_FEATURES: [(&str, &str); 1] = [(
    "cuda",
    "needs an NVIDIA GPU and compiles Burn a second time; `cargo xtask verify` compiles it, \
     `cargo test --features cuda -p kasmina` runs it",
)];

/// What cargo knows about the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    workspace_default_members: Vec<String>,
    resolve: Option<Resolve>,
    pub(crate) target_directory: PathBuf,
}

/// One package, of the workspace or not.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    id: String,
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
    features: BTreeMap<String, Vec<String>>,
    targets: Vec<Target>,
}

/// One thing that cargo can build from a package.
#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// One declared dependency.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: DependencyKind,
}

/// What a dependency is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Option<String>")]
pub(crate) enum DependencyKind {
    /// The crate itself.
    Normal,
    /// Its tests, examples and benches.
    Development,
    /// Its build script.
    Build,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Debug, Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Debug, Deserialize)]
struct EdgeKind {
    kind: DependencyKind,
}

impl Metadata {
    /// Asks cargo, with every optional dependency turned on.
    pub(crate) fn read() -> Result<Self, Failure> {
        let mut command = cargo(["metadata", "--format-version", "1", "--all-features", "--locked"]);
        let (success, output, errors) = capture(&mut command)?;
        if !success {
            let cause = errors.lines().find(|line| line.starts_with("error")).unwrap_or("cargo metadata failed");
            return Err(Failure::Workspace(cause.trim_start_matches("error: ").to_owned()));
        }
        serde_json::from_str(&output).map_err(|source| Failure::Json { what: words(&command), source })
    }

    /// The workspace's packages, by name.
    pub(crate) fn members(&self) -> BTreeMap<&str, &Package> {
        self.named(&self.workspace_members)
    }

    /// The packages that cargo takes when none is named, by name.
    pub(crate) fn default_members(&self) -> BTreeMap<&str, &Package> {
        self.named(&self.workspace_default_members)
    }

    /// `package/feature` for all features of these packages but the default and the special ones. Naming them, instead
    /// of `--all-features`, leaves Burn's features as they are, so that it is compiled once for everything.
    pub(crate) fn features(packages: &BTreeMap<&str, &Package>) -> String {
        let wanted = |name: &&String| *name != "default" && SPECIAL_FEATURES.iter().all(|(special, _)| name != special);
        packages
            .values()
            .flat_map(|package| {
                package.features.keys().filter(wanted).map(|feature| format!("{}/{feature}", package.name))
            })
            .collect::<Vec<_>>()
            .join(",")
    }

    /// The names of everything that is linked into this package, however far down.
    pub(crate) fn linked_into(&self, package: &Package) -> Vec<&str> {
        let nodes: BTreeMap<&str, &Node> =
            self.resolve.iter().flat_map(|resolve| &resolve.nodes).map(|node| (node.id.as_str(), node)).collect();
        let names: BTreeMap<&str, &str> =
            self.packages.iter().map(|package| (package.id.as_str(), package.name.as_str())).collect();
        let mut found = BTreeMap::new();
        let mut open = vec![package.id.as_str()];
        while let Some(id) = open.pop() {
            let normal = |edge: &&Edge| edge.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal);
            for edge in nodes.get(id).iter().flat_map(|node| &node.deps).filter(normal) {
                let name = names.get(edge.pkg.as_str()).copied().unwrap_or(&edge.pkg);
                if found.insert(edge.pkg.as_str(), name).is_none() {
                    open.push(&edge.pkg);
                }
            }
        }
        found.into_values().collect()
    }

    fn named(&self, ids: &[String]) -> BTreeMap<&str, &Package> {
        self.packages
            .iter()
            .filter(|package| ids.contains(&package.id))
            .map(|package| (package.name.as_str(), package))
            .collect()
    }
}

impl Package {
    /// The names of its `[[bench]]` targets.
    pub(crate) fn benches(&self) -> impl Iterator<Item = &str> {
        let bench = |target: &&Target| target.kind.iter().any(|kind| kind == "bench");
        self.targets.iter().filter(bench).map(|target| target.name.as_str())
    }
}

impl From<Option<String>> for DependencyKind {
    fn from(kind: Option<String>) -> Self {
        match kind.as_deref() {
            Some("dev") => Self::Development,
            Some("build") => Self::Build,
            _ => Self::Normal,
        }
    }
}
