//! `kasmina watch`: a page for the runs of a directory, or the telemetry that comes over a bus.

use std::path::PathBuf;

use kasmina_watch::{Follower, Server};

use crate::failure::Failure;
#[cfg(feature = "bus")]
use crate::news;

/// Look at runs while they go: on a page in your browser, or over a bus
///
/// With a directory, a page on 127.0.0.1 shows its runs: loss, seeds, gates, health and events. A run is a file `*.jsonl` that a
/// JsonLinesSink writes, in the directory or below it; the page follows it while it grows. Runs until it is stopped (Ctrl-C).
#[cfg_attr(
    feature = "bus",
    doc = "",
    doc = "With --bus, one line for each event of all runs on a Redis server is written: its time, level, seed, name and attributes. It first \
           shows what the streams still hold, and goes on later where it was stopped, if it is started with the same --name. The secret that \
           entries are signed with is the content of --secret-file or, without it, of the variable ESPER_LEYLINE_SECRET, or of the file \
           that ESPER_LEYLINE_SECRET_FILE names."
)]
#[derive(clap::Args)]
#[cfg_attr(feature = "bus", command(override_usage = USAGE))]
pub(crate) struct Args {
    /// Show the runs in this directory; it need not be there yet
    #[cfg_attr(feature = "bus", arg(required_unless_present = "bus", conflicts_with_all = OVER_A_BUS))]
    #[cfg_attr(not(feature = "bus"), arg(required = true))]
    run_dir: Option<PathBuf>,
    /// Serve the page on this port of 127.0.0.1; on a free one by default
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    #[cfg_attr(feature = "bus", arg(conflicts_with = "bus"))]
    port: u16,
    #[cfg(feature = "bus")]
    #[command(flatten)]
    news: news::Args,
}

/// What goes with a bus only.
#[cfg(feature = "bus")]
const OVER_A_BUS: [&str; 7] = ["bus", "json", "level", "name", "prefix", "secret_file", "unsigned"];

#[cfg(feature = "bus")]
const USAGE: &str = "kasmina watch [--port <PORT>] <RUN_DIR>\n       kasmina watch --bus <ADDRESS> [OPTIONS]";

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    #[cfg(feature = "bus")]
    let mut args = args;
    #[cfg(feature = "bus")]
    if let Some(address) = args.news.bus.take() {
        return news::run(address, args.news);
    }
    args.run_dir.map_or(Ok(()), |directory| serve(directory, args.port))
}

fn serve(directory: PathBuf, port: u16) -> Result<(), Failure> {
    if directory.is_file() {
        return Err(Failure::NotADirectory { path: directory });
    }
    let follower = Follower::new(directory);
    let (directory, is_there) = (follower.directory().to_owned(), follower.runs().is_there);
    let server = Server::start(follower, port)?;
    println!("http://{}/ shows the runs in {}", server.address(), directory.display());
    if !is_there {
        eprintln!("warning: there is no directory {} yet: the page waits for it", directory.display());
    }
    server.wait();
    Ok(())
}
