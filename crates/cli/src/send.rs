//! `kasmina send`: one order as a signed command.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

use kasmina_leyline::{CommandId, TrainingRunId, UnixTime, v1::AdaptationCommand};
use kasmina_safety::{Clock, SystemClock};
use kasmina_security::Signer;

use crate::{
    failure::Failure,
    order::{Order, pair},
    secret,
};

/// Writes one signed command: the bytes that a bus carries and `SeedManager::submit` takes.
///
/// The secret is the content of --secret-file or, without it, of the variable ESPER_LEYLINE_SECRET, or of the file that
/// ESPER_LEYLINE_SECRET_FILE names. A command is accepted once, and only for a few minutes after it was signed.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    order: Order,
    /// Read the shared secret from this file
    #[arg(long, global = true, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Write the command to this file; `-` is standard output
    #[arg(long, global = true, value_name = "FILE", default_value = "-")]
    out: PathBuf,
    /// The name of the sender; command ids begin with it
    #[arg(long, global = true, value_name = "NAME", default_value = "operator")]
    issued_by: String,
    /// Refuse the command in any other training run
    #[arg(long, global = true, value_name = "RUN", value_parser = |text: &str| TrainingRunId::new(text))]
    run: Option<TrainingRunId>,
    /// Refuse the command if it arrives later than this after it was signed, in milliseconds
    #[arg(long, global = true, value_name = "MS")]
    deadline_ms: Option<u32>,
    /// Add an annotation, for example the context of the decision; can be repeated
    #[arg(long, global = true, value_name = "NAME=VALUE", value_parser = pair::<String>)]
    annotation: Vec<(String, String)>,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let to_stdout = args.out == Path::new("-");
    if to_stdout && io::stdout().is_terminal() {
        return Err(Failure::Terminal);
    }
    let secret = secret::read(args.secret_file.as_deref())?;
    let now = SystemClock::new().unix();
    let command = command(&args, now)?;
    let wire = Signer::new(&secret).sign(&command)?;
    let written = if to_stdout { io::stdout().write_all(&wire) } else { fs::write(&args.out, &wire) };
    written.map_err(|source| Failure::Write { path: args.out, source })?;
    eprintln!("{}: {} bytes", command.command_id, wire.len());
    Ok(())
}

fn command(args: &Args, now: UnixTime) -> Result<AdaptationCommand, Failure> {
    let mut command = args.order.command();
    let id = CommandId::new(format!("{}-{}", args.issued_by, now.as_nanos())).map_err(Failure::Sender)?;
    command.version = 1;
    command.command_id = id.to_string();
    command.issued_at = Some(now.into());
    command.issued_by.clone_from(&args.issued_by);
    command.execution_deadline_ms = args.deadline_ms.unwrap_or_default();
    let run = args.run.iter().map(|run| ("training_run_id".to_owned(), run.to_string()));
    command.annotations.extend(run.chain(args.annotation.iter().cloned()));
    Ok(command)
}
