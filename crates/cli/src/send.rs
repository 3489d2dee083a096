//! `kasmina send`: one order as a signed command.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

use kasmina_commands::{CommandSender, table};
use kasmina_leyline::TrainingRunId;
use kasmina_safety::{Clock, SystemClock};

use crate::{
    failure::Failure,
    order::{OrderArgs, pair},
    secret::secret,
};

/// Write one signed command
///
/// The output is what a transport carries and `SeedManager::submit` takes. A command is accepted once, and only within a minute after it
/// was signed, so send it at once.
///
/// The secret is the content of --secret-file or, without it, of the variable ESPER_LEYLINE_SECRET, or of the file that
/// ESPER_LEYLINE_SECRET_FILE names.
#[derive(clap::Args)]
#[command(next_help_heading = "Options of every order")]
pub(crate) struct Args {
    #[command(subcommand)]
    order: OrderArgs,
    /// Read the shared secret from this file
    #[arg(long, global = true, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Write the command to this file; `-` is standard output
    #[arg(long, global = true, value_name = "FILE", default_value = "-")]
    out: PathBuf,
    /// The sender's name; command ids begin with it
    #[arg(long, global = true, value_name = "NAME", default_value = "operator")]
    issued_by: String,
    /// The training run; any other refuses the command
    #[arg(long, global = true, value_name = "RUN", value_parser = |text: &str| TrainingRunId::new(text))]
    run: Option<TrainingRunId>,
    /// The deadline, in milliseconds after the signing; a command that comes later is refused
    #[arg(long, global = true, value_name = "MS", value_parser = clap::value_parser!(u32).range(1..))]
    deadline_ms: Option<u32>,
    /// An annotation, for example `risk_score=0.2`; can be repeated
    #[arg(long, global = true, value_name = "NAME=VALUE", value_parser = pair::<String>)]
    annotation: Vec<(String, String)>,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let to_stdout = args.out == Path::new("-");
    if to_stdout && io::stdout().is_terminal() {
        return Err(Failure::Terminal);
    }
    let order = args.order.order()?;
    let found = secret(args.secret_file.as_deref())?;
    let sender = CommandSender::new(&found.secret, &args.issued_by).map_err(Failure::Sender)?;
    let mut sender = sender.with_deadline_ms(args.deadline_ms.unwrap_or_default());
    let wire = sender.order_with(&order, annotations(&args)?, SystemClock::new().unix())?;
    let written = if to_stdout { io::stdout().write_all(&wire) } else { fs::write(&args.out, &wire) };
    written.map_err(|source| Failure::Write { path: args.out, source })?;
    eprintln!("{}: {} bytes", order.name(), wire.len());
    Ok(())
}

/// Those of --annotation and --run. Two values for one name are a mistake, and so is one that a command cannot keep.
fn annotations(args: &Args) -> Result<BTreeMap<&str, &str>, Failure> {
    let run = args.run.iter().map(|run| (table::RUN.name, run.as_str()));
    let given = args.annotation.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut annotations = BTreeMap::new();
    for (name, value) in run.chain(given) {
        if name == SIGNATURE {
            return Err(Failure::Signature);
        }
        if annotations.insert(name, value).is_some_and(|before| before != value) {
            return Err(Failure::Contradiction { name: name.to_owned() });
        }
    }
    Ok(annotations)
}

/// The annotation that holds the signature.
const SIGNATURE: &str = "signature";
