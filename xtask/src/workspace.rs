//! Where the workspace is, what cargo knows about it, and how programs are run in it.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use cargo_metadata::{CargoOpt, Metadata, MetadataCommand, Package, PackageId};

use crate::failure::Failure;

/// Features that need more than Rust, and what they need. Every other feature is on in tests, lints and documentation.
pub(crate) const SPECIAL_FEATURES: [(&str, &str); 9] = [
    (
        "aws",
        "links an HTTP client with TLS, which compiles C; `cargo test -p kasmina-kernel-load --features aws` runs it",
    ),
    ("azure", "links an HTTP client with TLS, which compiles C"),
    (
        "cuda",
        "needs an NVIDIA GPU and compiles Burn a second time; `cargo xtask verify` compiles it, \
         `cargo xtask gpu-check --device cuda` runs it",
    ),
    ("cube", "is what the features of GPUs share, and nothing by itself"),
    ("gcp", "links an HTTP client with TLS, which compiles C"),
    ("metal", "needs an Apple GPU and compiles Burn a second time"),
    ("rocm", "needs an AMD GPU and compiles Burn a second time"),
    ("tch", "needs libtorch and compiles Burn a second time"),
    ("vulkan", "needs a Vulkan driver and compiles Burn a second time; `cargo xtask gpu-check` runs it"),
];

/// The workspace's root directory.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// What cargo knows about the workspace, with every optional dependency turned on.
pub(crate) fn metadata() -> Result<Metadata, Failure> {
    let mut command = MetadataCommand::new();
    command.current_dir(root()).features(CargoOpt::AllFeatures).other_options(["--locked".to_owned()]);
    command.exec().map_err(|cause| Failure::Workspace(cause.to_string().trim().to_owned()))
}

/// `package/feature` for all features of these packages except the default and the special ones. Naming them, instead of
/// `--all-features`, leaves Burn's features as they are, so that it is compiled once for everything.
pub(crate) fn features(packages: &[&Package]) -> String {
    let is_wanted = |name: &str| name != "default" && SPECIAL_FEATURES.iter().all(|(special, _)| name != *special);
    let mut all = Vec::new();
    for package in packages {
        let wanted = package.features.keys().filter(|name| is_wanted(name));
        all.extend(wanted.map(|feature| format!("{}/{feature}", package.name)));
    }
    all.sort();
    all.join(",")
}

/// The features of each package whose name begins with `prefix`, as cargo has resolved them.
pub(crate) fn resolved_features<'a>(
    metadata: &'a Metadata,
    prefix: &'a str,
) -> impl Iterator<Item = (&'a str, BTreeSet<&'a str>)> {
    let name = |id: &PackageId| metadata.packages.iter().find(|package| package.id == *id).map(|it| it.name.as_str());
    let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
    nodes
        .filter_map(move |node| Some((name(&node.id)?, node.features.iter().map(|feature| feature.as_str()).collect())))
        .filter(move |(name, _)| name.starts_with(prefix))
}

/// The cargo that runs this program, started in the workspace's root.
pub(crate) fn cargo<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    command
}

/// Runs a command whose output goes straight to the terminal.
pub(crate) fn stream(command: &mut Command) -> Result<(), Failure> {
    let status = command.status().map_err(|source| Failure::Start { program: words(command), source })?;
    if status.success() { Ok(()) } else { Err(Failure::Command { command: words(command), status }) }
}

/// Runs a command to its end and keeps what it printed: whether it succeeded, standard output and standard error.
pub(crate) fn capture(command: &mut Command) -> Result<(bool, String, String), Failure> {
    let output = command.output().map_err(|source| Failure::Start { program: words(command), source })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.success(), text(&output.stdout), text(&output.stderr)))
}

/// Runs a command and hands over each line as it comes, standard output and standard error in their real order.
pub(crate) fn follow(mut command: Command, mut on_line: impl FnMut(&str)) -> Result<ExitStatus, Failure> {
    let program = words(&command);
    let mut run = || {
        let (reader, writer) = io::pipe()?;
        let mut child = command.env("CARGO_TERM_COLOR", "never").stdout(writer.try_clone()?).stderr(writer).spawn()?;
        // Closes this side's ends of the pipe, so that reading ends when the program does.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            on_line(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']));
            line.clear();
        }
        child.wait()
    };
    run().map_err(|source| Failure::Start { program, source })
}

/// The command as a person would type it, without its environment.
pub(crate) fn words(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    std::iter::once(program).chain(command.get_args()).map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
