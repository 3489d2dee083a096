//! `kasmina watch --bus`: telemetry and field reports, as they come over a bus.

use std::{
    io::{self, Write},
    sync::Arc,
    thread,
    time::Duration,
};

use clap::ValueEnum;
use kasmina_dispatch::{News, NewsReader};
use kasmina_leyline::v1::{TelemetryEvent, TelemetryLevel, TelemetryPacket};
use kasmina_oona::{BusSettings, Stream, Subscription};
use kasmina_telemetry::{JsonLinesSink, Sink};

use crate::{
    bus::{BusOptions, Changes, Condition},
    failure::Failure,
};

/// How long to rest when nothing has come. Our choice: nobody sees it.
const IDLE: Duration = Duration::from_millis(20);

/// Follows the telemetry of all runs on a bus.
///
/// Writes one line for each event: its time, level, seed, name and attributes. A field report is an event too, `field_report`. How the
/// bus is goes to standard error.
#[derive(clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Over a bus")]
pub(crate) struct Args {
    /// Follow all runs on this Redis server instead: `redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) bus: Option<String>,
    #[command(flatten)]
    options: BusOptions,
    /// The name of this reader: two of one name at the same time share what comes
    #[arg(long, value_name = "NAME", default_value = "watch")]
    name: String,
    /// Leave out events below this level
    #[arg(long, value_enum, default_value = "info")]
    level: Level,
    /// Write whole packets as JSON, one a line: events and metrics, with the names of the contract. --level is that of a packet's
    /// gravest event
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Level {
    Info,
    Warning,
    Critical,
}

impl Level {
    const fn least(self) -> i32 {
        match self {
            Self::Info => TelemetryLevel::Unspecified as i32,
            Self::Warning => TelemetryLevel::Warning as i32,
            Self::Critical => TelemetryLevel::Error as i32,
        }
    }
}

pub(crate) fn run(address: String, args: Args) -> Result<(), Failure> {
    // Field reports are read from telemetry: a reader that stops must not leave a backlog on the stream of commands.
    let subscription =
        Subscription::new(format!("watch-{}", args.name), args.name, [Stream::Emergency, Stream::Telemetry]);
    let settings = NewsReader::settings(BusSettings::default());
    let mut reader = NewsReader::new(args.options.start(address, settings, subscription)?);
    let (mut out, mut changes) = (io::stdout(), Changes::default());
    loop {
        changes.tell(format!("bus: {}", Condition(&reader.bus().status())));
        let mut written = Ok(());
        let read = reader.read(1, |news| {
            if let News::Telemetry(packet) = news {
                written = write(&mut out, packet, args.level.least(), args.json);
            }
        })?;
        written.map_err(|source| Failure::Write { path: "-".into(), source })?;
        if read.malformed > 0 {
            eprintln!("warning: a message cannot be read");
        }
        if read == Default::default() {
            thread::sleep(IDLE);
        }
    }
}

fn write(out: &mut impl Write, packet: TelemetryPacket, least: i32, json: bool) -> io::Result<()> {
    if json {
        if packet.level < least {
            return Ok(());
        }
        let mut lines = Vec::new();
        JsonLinesSink::new(&mut lines).deliver(&Arc::new(packet)).map_err(io::Error::other)?;
        return out.write_all(&lines).and_then(|()| out.flush());
    }
    let shown = packet.events.iter().filter(|event| event.level >= least);
    shown.map(|event| line(&packet, event)).try_for_each(|line| out.write_all(line.as_bytes()))?;
    out.flush()
}

/// Time, level, seed, name, attributes.
fn line(packet: &TelemetryPacket, event: &TelemetryEvent) -> String {
    let time = packet.timestamp.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let level = event.level().as_str_name();
    let level = level.strip_prefix("TELEMETRY_LEVEL_").unwrap_or(level);
    let indicator = |name| packet.system_health.as_ref()?.indicators.get(name).map(String::as_str);
    let seed = indicator("seed_id").or_else(|| event.attributes.get("seed_id").map(String::as_str)).unwrap_or("-");
    let run = indicator("training_run_id").unwrap_or("-");
    let told = ["seed_id", "training_run_id"];
    let attributes = event.attributes.iter().filter(|(name, _)| !told.contains(&name.as_str()));
    let attributes: String = attributes.map(|(name, value)| format!(" {}={}", plain(name), plain(value))).collect();
    format!("{time} {level:<8} {} {} {}{attributes}\n", plain(run), plain(seed), plain(&event.description))
}

/// Text as it is, or in quotes if it is empty or would not be one word on one line: it came over a network.
fn plain(text: &str) -> String {
    let odd = |letter: char| letter.is_whitespace() || letter.is_control() || letter == '"';
    if text.is_empty() || text.contains(odd) { format!("{text:?}") } else { text.to_owned() }
}
