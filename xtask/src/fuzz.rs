//! `cargo xtask fuzz`: the fuzz targets for a while each, on a copy of the checked-in corpus.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use cargo_metadata::Metadata;

use crate::{
    failure::Failure,
    verify::quietly,
    workspace::{self, capture, cargo, stream},
};

/// AddressSanitizer looks for what unsafe code does, which the workspace forbids; without it a run is twice as fast.
const SANITIZER: &str = "none";
/// Targets take some 120; a parser that lets a file say how much to allocate is found by it.
const MEMORY_MIB: u32 = 1024;
/// Seconds for one input. Real ones take milliseconds.
const SLOWEST: u32 = 10;
/// Where Linux keeps files in memory: a store syncs every write, which a disk answers some hundred times a second.
const MEMORY: &str = "/dev/shm";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Run this target, and those of further --target, only
    #[arg(long = "target", value_name = "NAME")]
    targets: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let all = targets()?;
    if let Some(unknown) = args.targets.iter().find(|name| !all.contains(name)) {
        return Err(Failure::Fuzz(format!("there is no target {unknown}, only {}", all.join(", "))));
    }
    let wanted: Vec<_> = all.iter().filter(|name| args.targets.is_empty() || args.targets.contains(name)).collect();
    let directory = workspace::metadata()?.target_directory.join("fuzz").into_std_path_buf();
    build(&directory)?;
    let scratch = Scratch::new(&directory)?;
    let mut found = Vec::new();
    for name in &wanted {
        // A fuzzer that finds something says what, and how to see it again.
        match fuzz(name, args.seconds, &directory, &scratch) {
            Err(Failure::Command { .. }) => found.push(name.as_str()),
            outcome => outcome?,
        }
    }
    if found.is_empty() { Ok(()) } else { Err(Failure::Fuzz(format!("failed: {}", found.join(", ")))) }
}

/// Compiles every target; for `verify`.
pub(crate) fn check(metadata: &Metadata) -> Result<(), Failure> {
    build(metadata.target_directory.join("fuzz").as_std_path())
}

fn build(directory: &Path) -> Result<(), Failure> {
    tools()?;
    // cargo-fuzz cannot be told to leave the lock file alone.
    let mut locked = cargo(["metadata", "--format-version", "1", "--locked", "--manifest-path", "fuzz/Cargo.toml"]);
    let (success, _, errors) = capture(&mut locked)?;
    if !success {
        let cause = errors.lines().find(|line| line.starts_with("error")).unwrap_or("cargo metadata failed");
        let remedy = "bring it up to date with `cargo update --workspace --manifest-path fuzz/Cargo.toml`";
        return Err(Failure::Fuzz(format!("fuzz/Cargo.lock: {}; {remedy}", cause.trim_start_matches("error: "))));
    }
    quietly(nightly(&cargo_fuzz("build", directory)))
}

/// Says what to install if something is missing.
fn tools() -> Result<(), Failure> {
    let works = |arguments: &[&str]| {
        let mut command = nightly(&[]);
        command.args(arguments);
        capture(&mut command).is_ok_and(|(success, ..)| success)
    };
    if !works(&["--version"]) {
        return Err(Failure::Fuzz("nightly Rust is missing: rustup toolchain install nightly".to_owned()));
    }
    if !works(&["fuzz", "--version"]) {
        return Err(Failure::Fuzz("cargo-fuzz is missing: cargo install cargo-fuzz --locked".to_owned()));
    }
    Ok(())
}

/// The cargo of the nightly toolchain. `cargo +nightly` would not do: the cargo that runs this program is not a proxy.
fn nightly(arguments: &[String]) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo"]).args(arguments);
    command.current_dir(workspace::root()).stdin(Stdio::null());
    command
}

fn cargo_fuzz(subcommand: &str, directory: &Path) -> Vec<String> {
    let directory = shown(directory);
    ["fuzz", subcommand, "--sanitizer", SANITIZER, "--target-dir", &directory].map(str::to_owned).into()
}

/// The names of the targets: those of their files.
fn targets() -> Result<Vec<String>, Failure> {
    let directory = workspace::root().join("fuzz/fuzz_targets");
    let files = list(&directory)?;
    let name = |path: &PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
    Ok(files
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(name)
        .collect())
}

fn fuzz(name: &str, seconds: u32, directory: &Path, scratch: &Scratch) -> Result<(), Failure> {
    let corpus = directory.join("corpus").join(name);
    copy(&workspace::root().join("fuzz/corpus").join(name), &corpus)?;
    let mut arguments = cargo_fuzz("run", directory);
    arguments.extend([name.to_owned(), shown(&corpus), "--".to_owned()]);
    arguments.extend([
        format!("-max_total_time={seconds}"),
        format!("-rss_limit_mb={MEMORY_MIB}"),
        format!("-timeout={SLOWEST}"),
        "-print_final_stats=1".to_owned(),
    ]);
    println!("fuzz {name}");
    stream(nightly(&arguments).env("TMPDIR", &scratch.0))
}

/// Adds the checked-in inputs to what earlier runs have found.
fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::create_dir_all(to).map_err(Failure::file("create", to))?;
    for path in list(from)? {
        let copy = to.join(path.file_name().unwrap_or_default());
        fs::copy(&path, &copy).map_err(Failure::file("write", &copy))?;
    }
    Ok(())
}

/// What lies in a directory, by name.
fn list(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut paths: Vec<_> =
        entries.map_err(Failure::file("list", directory))?.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

/// The path from the workspace's root.
fn shown(path: &Path) -> String {
    path.strip_prefix(workspace::root()).unwrap_or(path).display().to_string()
}

/// Where targets put their temporary files; gone with this value, because a fuzzer exits without cleaning up.
struct Scratch(PathBuf);

impl Scratch {
    fn new(directory: &Path) -> Result<Self, Failure> {
        let memory = Path::new(MEMORY);
        let parent = if memory.is_dir() { memory } else { directory };
        let path = parent.join(format!("kasmina-fuzz-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(Failure::file("create", &path))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A directory that cannot be removed does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}
