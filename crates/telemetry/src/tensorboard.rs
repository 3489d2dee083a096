//! TensorBoard event files.

mod event_file;
mod proto;
mod record;
mod summary;
mod text;

use std::{
    io::{self, Write},
    sync::Arc,
};

use kasmina_leyline::v1::TelemetryPacket;

pub use event_file::EventFileError;

use crate::{
    Sink, SinkError,
    tensorboard::{record::record, summary::Summaries},
};

/// Writes packets as a TensorBoard event file, which other tools for experiments read too.
///
/// - Each metric is a scalar. Its tag is its name, then the seed, then its attributes, with slashes in between:
///   `kasmina.host.loss`, `kasmina.seed.alpha/seed-1`, `kasmina.host.loss/statistic=mean`. TensorBoard makes a section of what is before
///   the first slash, so that all seeds are side by side. Values are 32-bit floats, as TensorBoard's scalars are; what is larger is
///   infinite.
/// - Each event is a text, in Markdown, with the tag `kasmina.event.gate_failure/seed-1`. A move of a seed reads `TRAINING → BLENDING`, and a
///   gate's refusal names the gate and the reason. Values of attributes are code, so that text from outside can be neither a link nor a
///   picture. Events of one kind, seed and packet are one text.
/// - The step is the packet's `step_index`, and the time is the packet's. A packet without one gets that of the packet before it.
/// - The first scalar of a tag carries the unit and the meaning of its metric, which TensorBoard shows as its description.
///
/// A packet is one record, written in one call and flushed. A reader cannot go past a torn record, so if a write fails half way, the next
/// delivery first writes the rest of it, whatever packet is offered. A packet that is offered twice is in the file twice, unless it is the
/// one that was torn.
///
/// Of several values of a tag at one step, TensorBoard shows the last. When steps run back, because the run was rolled back or restarted, it
/// forgets those that came after them. After a disk that was full, packets can be out of order too; with `--load_fast=false`, TensorBoard
/// shows all that is in the file.
///
/// ```
/// use kasmina_leyline::{SeedId, TrainingRunId, UnixTime};
/// use kasmina_telemetry::{Assembler, Metric, Sink, TfEventsSink, names};
///
/// let mut assembler = Assembler::new("kasmina", TrainingRunId::new("run-7")?, 64);
/// assembler.metric(Some(&SeedId::new("seed-1")?), Metric::new(names::SEED_ALPHA, 0.25));
/// let mut file = Vec::new();
/// let mut sink = TfEventsSink::new(&mut file);
/// for packet in assembler.assemble(12, UnixTime::from_millis(1_700_000_000_000)) {
///     sink.deliver(&packet.packet)?;
/// }
/// assert!(String::from_utf8_lossy(&file).contains("kasmina.seed.alpha/seed-1"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TfEventsSink<W> {
    writer: W,
    summaries: Summaries,
    /// What the writer has not taken in whole.
    torn: Option<Torn>,
}

/// A record on its way into the file.
#[derive(Debug)]
struct Torn {
    packet: Arc<TelemetryPacket>,
    bytes: Vec<u8>,
    written: usize,
}

impl<W: Write + Send> TfEventsSink<W> {
    /// A sink that writes to `writer`, which is at the beginning of an empty file. For a file in a directory there is
    /// [`create`](TfEventsSink::create).
    pub fn new(writer: W) -> Self {
        Self { writer, summaries: Summaries::default(), torn: None }
    }

    fn write(&mut self, packet: &Arc<TelemetryPacket>) -> io::Result<()> {
        if let Some(torn) = &mut self.torn {
            torn.finish(&mut self.writer)?;
            let offered_again = Arc::ptr_eq(&torn.packet, packet) || torn.packet == *packet;
            self.torn = None;
            if offered_again {
                return Ok(());
            }
        }
        let bytes: Vec<u8> = self.summaries.events(packet).iter().flat_map(record).collect();
        let torn = self.torn.insert(Torn { packet: packet.clone(), bytes, written: 0 });
        torn.finish(&mut self.writer)?;
        self.torn = None;
        Ok(())
    }
}

impl<W: Write + Send> Sink for TfEventsSink<W> {
    fn deliver(&mut self, packet: &Arc<TelemetryPacket>) -> Result<(), SinkError> {
        self.write(packet).map_err(|source| SinkError { sink: "TensorBoard", source: source.into() })
    }
}

impl Torn {
    /// Writes what is not yet written. A writer that fails has taken nothing of what it was given.
    fn finish(&mut self, writer: &mut impl Write) -> io::Result<()> {
        while let Some(rest) = self.bytes.get(self.written..).filter(|rest| !rest.is_empty()) {
            match writer.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => self.written += taken,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        writer.flush()
    }
}
