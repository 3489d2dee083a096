//! `kasmina urza`: a library of kernels on the bus.

use std::{path::PathBuf, sync::Arc};

use burn::backend::Flex;
use clap::Subcommand;
use kasmina_oona::{Bus, BusSettings};
use kasmina_safety::SystemClock;
use kasmina_urza::{OnDevice, Served, Urza, UrzaSettings};

use crate::{
    bus::{BusOptions, Changes, Condition},
    failure::Failure,
    stop::Stop,
};

/// Serve a directory of kernels over a bus
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Answer requests for the kernels of a directory, and announce new ones
    ///
    /// Runs until SIGINT or SIGTERM: then it ends with what it has at hand, waits some seconds for its last answers to be stored, and
    /// exits with 0. A second signal ends it at once. However it ends, what it had not answered then is answered by the next that
    /// serves. Every kernel is run on the CPU, for the times in the answers. What it does is written to standard error.
    ///
    /// The secret that entries are signed with is the content of --secret-file or, without it, of the variable ESPER_LEYLINE_SECRET, or
    /// of the file that ESPER_LEYLINE_SECRET_FILE names.
    Serve(ServeArgs),
}

#[derive(clap::Args)]
struct ServeArgs {
    /// The directory, which `kasmina kernels build` makes
    dir: PathBuf,
    /// The Redis server: `redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`
    #[arg(long, value_name = "ADDRESS")]
    bus: String,
    #[command(flatten)]
    options: BusOptions,
    /// The name of this process among those that serve the same streams
    #[arg(long, value_name = "NAME", default_value = "urza")]
    consumer: String,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::Serve(args) => serve(args),
    }
}

fn serve(args: ServeArgs) -> Result<(), Failure> {
    let stop = Stop::on_signals()?;
    let bus = args.options.start(args.bus, BusSettings::default(), Urza::subscription(&args.consumer))?;
    let bus = Arc::new(bus);
    let prewarm = Box::new(OnDevice::<Flex>::new(Default::default()));
    let mut urza = Urza::open(Arc::clone(&bus), args.dir, Some(prewarm), UrzaSettings::default(), SystemClock::new())?;
    let (mut news, mut health) = (Changes::default(), Changes::default());
    urza.serve(
        || {
            health.tell(format!("bus: {}", Condition(&bus.status())));
            stop.has_come()
        },
        |served| {
            report(served);
            news.tell(served.catalogue.as_ref().map_or_else(String::new, |error| format!("catalogue: {error}")));
        },
    )?;
    let unstored = bus.status().waiting;
    if unstored > 0 {
        eprintln!("warning: {unstored} messages were not stored: requests among them are answered again");
    }
    Ok(())
}

fn report(served: &Served) {
    let Served { ready, failed, malformed, ignored, announced, refused, .. } = served;
    let counts = [
        (ready, "answered with a kernel"),
        (failed, "answered with an error"),
        (malformed, "requests that cannot be read"),
        (ignored, "messages that are not requests"),
        (announced, "kernels announced"),
        (refused, "answers that the bus does not take"),
    ];
    for (count, what) in counts.into_iter().filter(|(count, _)| **count > 0) {
        eprintln!("{count} {what}");
    }
    for (blueprint, error) in &served.unfit {
        eprintln!("warning: {blueprint} cannot be served: {}: {error}", error.reason());
    }
}
