//! The process that reads telemetry: Weatherlight's part. What it has read is in a file, a line each.

use std::{
    collections::BTreeSet,
    error::Error,
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    thread,
};

use kasmina::leyline::v1::{SystemHealth, TelemetryPacket};
use kasmina_dispatch::{News, NewsReader};
use kasmina_oona::BusSettings;
use serde::{Deserialize, Serialize};

use super::story::{A_MOMENT, Story, join_with};

/// The moves of a seed: the step of each, and the stage that was entered.
pub(super) type Moves = BTreeSet<(u64, String)>;

/// What was read.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Line {
    /// A seed has moved.
    Move { step: u64, to: String },
    /// The life of a seed has ended.
    Report { id: String, outcome: String },
}

pub(super) fn file(story: &Story) -> PathBuf {
    story.directory.join("read.jsonl")
}

/// Writes down what arrives. Runs until it is killed.
pub(super) fn read(address: &str, story: &Story) -> Result<(), Box<dyn Error>> {
    let settings = NewsReader::settings(BusSettings::default());
    let bus = join_with(address, Some(NewsReader::subscription("reader", "reader")), settings)?;
    let mut reader = NewsReader::new(bus);
    let mut file = File::options().create(true).append(true).open(file(story))?;
    loop {
        let mut lines = Vec::new();
        let read = reader.read(64, |news| match news {
            News::Telemetry(packet) => lines.extend(moves(&packet).map(|(step, to)| Line::Move { step, to })),
            News::Report(report) => {
                let outcome = report.outcome().as_str_name();
                let outcome = outcome.trim_start_matches("FIELD_REPORT_OUTCOME_").to_owned();
                lines.push(Line::Report { id: report.report_id, outcome });
            }
        })?;
        for line in lines {
            writeln!(file, "{}", serde_json::to_string(&line)?)?;
        }
        if read.news == 0 {
            thread::sleep(A_MOMENT);
        }
    }
}

/// What a packet says of moves: the step, and the stage that was entered.
pub(super) fn moves(packet: &TelemetryPacket) -> impl Iterator<Item = (u64, String)> {
    let indicator = |health: &SystemHealth| health.indicators.get("step_index")?.parse().ok();
    let step = packet.system_health.as_ref().and_then(indicator).unwrap_or_default();
    let entered = packet.events.iter().filter(|event| event.description == "seed_state");
    entered
        .filter_map(move |event| Some((step, event.attributes.get("to")?.trim_start_matches("SEED_STAGE_").to_owned())))
}

/// What has been written down so far. A line that is not whole yet is left out.
pub(super) fn lines(path: &Path) -> Vec<Line> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    BufReader::new(file).lines().map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok()).collect()
}
