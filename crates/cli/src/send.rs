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

/// Write one signed command, or send it over a bus
///
/// The output is what a transport carries and `SeedManager::submit` takes. A command is accepted once, and only within a minute after it
/// was signed, so send it at once. With --bus (feature `bus`) it is published instead, in an entry signed with the same secret, and the
/// server has stored it when the program ends: what came of it is in the run's telemetry (`kasmina watch`).
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
    /// Send the command over this Redis server: `redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`
    #[cfg(feature = "bus")]
    #[arg(long, global = true, value_name = "ADDRESS", conflicts_with = "out")]
    bus: Option<String>,
    /// What the names of the server's streams begin with
    #[cfg(feature = "bus")]
    #[arg(long, global = true, value_name = "NAME", default_value = "oona", requires = "bus")]
    prefix: String,
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
    if to_stdout && !args.over_a_bus() && io::stdout().is_terminal() {
        return Err(Failure::Terminal);
    }
    let order = args.order.order()?;
    let found = secret(args.secret_file.as_deref())?;
    let sender = CommandSender::new(&found.secret, &args.issued_by).map_err(Failure::Sender)?;
    let mut sender = sender.with_deadline_ms(args.deadline_ms.unwrap_or_default());
    let wire = sender.order_with(&order, annotations(&args)?, SystemClock::new().unix())?;
    #[cfg(feature = "bus")]
    if let Some(address) = args.bus {
        let keys = kasmina_oona::EntryKeys::of_key(crate::bus::KEY, found.secret.key());
        let bus = crate::bus::start(address, &args.prefix, keys, kasmina_oona::BusSettings::default(), None)?;
        publish(&bus, wire)?;
        eprintln!("{}: stored", order.name());
        return Ok(());
    }
    let written = if to_stdout { io::stdout().write_all(&wire) } else { fs::write(&args.out, &wire) };
    written.map_err(|source| Failure::Write { path: args.out, source })?;
    eprintln!("{}: {} bytes", order.name(), wire.len());
    Ok(())
}

impl Args {
    #[cfg(feature = "bus")]
    const fn over_a_bus(&self) -> bool {
        self.bus.is_some()
    }

    #[cfg(not(feature = "bus"))]
    #[expect(clippy::unused_self, reason = "with the feature `bus` it is looked at")]
    const fn over_a_bus(&self) -> bool {
        false
    }
}

/// Publishes a command and waits until it is stored.
#[cfg(feature = "bus")]
fn publish(bus: &impl kasmina_oona::Bus, wire: Vec<u8>) -> Result<(), Failure> {
    bus.publish(kasmina_dispatch::command(wire))?;
    let condition = || crate::bus::Condition(&bus.status()).to_string();
    bus.flush(PATIENCE).map_err(|_| Failure::NotStored { seconds: PATIENCE.as_secs(), condition: condition() })
}

/// How long the bus may take to store a command. Our choice: longer than a server takes to restart, and far less than the minute for which a
/// command is fresh.
#[cfg(feature = "bus")]
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

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
