//! The policy's side: commands go out, telemetry and field reports come in.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
    time::Duration,
};

use kasmina_leyline::v1::{
    AdaptationCommand, BusMessageType, CommandType, FieldReport, MessagePriority, TelemetryPacket,
};
use kasmina_oona::{Bus, BusError, BusSettings, Delivery, Message, Stream, Subscription};
use prost::{DecodeError, Message as _};

/// How many ids of packets and reports are remembered, to tell what comes again. Our choice: a minute of a hundred a
/// second, and less than 1 MB.
const REMEMBERED: usize = 8_192;

/// The message that carries a signed command, as a [`CommandSender`](https://docs.rs/kasmina-commands) writes it.
///
/// EMERGENCY and CIRCUIT_BREAKER go with CRITICAL priority, so that they overtake what waits; every other command with
/// NORMAL, so that commands come in the order in which they were sent.
#[must_use]
pub fn command(wire: impl Into<Vec<u8>>) -> Message {
    let wire = wire.into();
    let command_type = AdaptationCommand::decode(wire.as_slice()).map(|command| command.command_type());
    let priority = match command_type {
        Ok(CommandType::CommandEmergency | CommandType::CommandCircuitBreaker) => MessagePriority::Critical,
        Ok(
            CommandType::CommandUnknown
            | CommandType::CommandSeed
            | CommandType::CommandRollback
            | CommandType::CommandOptimizer
            | CommandType::CommandPause
            | CommandType::CommandStructuralPruning,
        )
        | Err(_) => MessagePriority::Normal,
    };
    Message::new(BusMessageType::AdaptationCommand, wire).with_priority(priority)
}

/// Reads what runs publish.
pub struct NewsReader {
    bus: Box<dyn Bus>,
    seen: Seen,
}

/// What a run has published.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// The events and metrics of a step.
    Telemetry(TelemetryPacket),
    /// How a seed's life has ended.
    Report(FieldReport),
}

/// What one [`NewsReader::read`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// News that were handed over.
    pub news: usize,
    /// Packets and reports that had come before, by their ids.
    pub repeated: usize,
    /// Payloads that are not what their envelope says.
    pub malformed: usize,
    /// Messages that are neither telemetry nor reports.
    pub ignored: usize,
    /// Acknowledgements that the bus did not take. What they are of comes again.
    pub unacknowledged: usize,
}

impl NewsReader {
    /// What a policy subscribes to. Every `group` gets everything; consumers of one group share it.
    #[must_use]
    pub fn subscription(group: &str, consumer: &str) -> Subscription {
        Subscription::new(group, consumer, [Stream::Emergency, Stream::Normal, Stream::Telemetry])
    }

    /// How old news may be. A century, our choice: a packet says itself when it was made, and one that waited for a server
    /// or a reader that was down is late and not wrong.
    pub const ANY_AGE: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

    /// The settings of a bus that news are read from, if these are the bus's: with the contract's time to live, a reader would
    /// never see what was published more than 15 min ago, critical or not.
    #[must_use]
    pub fn settings(settings: BusSettings) -> BusSettings {
        BusSettings { time_to_live: Self::ANY_AGE, ..settings }
    }

    /// Reads from `bus`, which has to have the [`subscription`](Self::subscription), or another one to some of its
    /// streams: field reports are on [`Stream::Normal`], telemetry is on the two others.
    #[must_use]
    pub fn new(bus: impl Bus + 'static) -> Self {
        Self { bus: Box::new(bus), seen: Seen::default() }
    }

    /// The bus.
    #[must_use]
    pub fn bus(&self) -> &dyn Bus {
        &*self.bus
    }

    /// Hands over what has arrived, at most `most` messages, and acknowledges each afterwards. Returns at once. What
    /// comes again is handed over once, as long as this reader lives and remembers its id: the last 8,192.
    ///
    /// # Errors
    /// [`BusError`] if the bus cannot be polled.
    pub fn read(&mut self, most: usize, mut handle: impl FnMut(News)) -> Result<Read, BusError> {
        let mut read = Read::default();
        for delivery in self.bus.poll(most)? {
            match news(&delivery) {
                Err(_) => read.malformed += 1,
                Ok(None) => read.ignored += 1,
                Ok(Some(news)) if self.seen.is_repeated(&news) => read.repeated += 1,
                Ok(Some(news)) => {
                    read.news += 1;
                    handle(news);
                }
            }
            read.unacknowledged += usize::from(self.bus.acknowledge(delivery.id).is_err());
        }
        Ok(read)
    }
}

fn news(delivery: &Delivery) -> Result<Option<News>, DecodeError> {
    let payload = delivery.envelope.payload.as_slice();
    match delivery.message_type {
        BusMessageType::Telemetry => Ok(Some(News::Telemetry(TelemetryPacket::decode(payload)?))),
        BusMessageType::FieldReport => Ok(Some(News::Report(FieldReport::decode(payload)?))),
        BusMessageType::Unspecified
        | BusMessageType::SystemState
        | BusMessageType::AdaptationCommand
        | BusMessageType::PolicyUpdate
        | BusMessageType::KernelPrefetchRequest
        | BusMessageType::KernelPrefetchReady
        | BusMessageType::KernelPrefetchError
        | BusMessageType::KernelCatalogUpdate
        | BusMessageType::Coordination => Ok(None),
    }
}

/// The ids of the last packets and reports.
#[derive(Debug, Default)]
struct Seen {
    ids: BTreeSet<(bool, String)>,
    order: VecDeque<(bool, String)>,
}

impl Seen {
    /// Whether this id has come before. What has none never has.
    fn is_repeated(&mut self, news: &News) -> bool {
        let id = match news {
            News::Telemetry(packet) => (false, packet.packet_id.clone()),
            News::Report(report) => (true, report.report_id.clone()),
        };
        if id.1.is_empty() {
            return false;
        }
        if !self.ids.insert(id.clone()) {
            return true;
        }
        self.order.push_back(id);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        false
    }
}

impl fmt::Debug for NewsReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewsReader").field("status", &self.bus.status()).finish_non_exhaustive()
    }
}
