//! How many CRITICAL messages go to the emergency stream, and the summary of those that do not.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use kasmina_leyline::{
    Monotonic, UnixTime,
    v1::{BusMessageType, MessagePriority, TelemetryEvent, TelemetryLevel, TelemetryPacket},
};
use prost::Message as _;

use crate::{Message, Stream};

const MINUTE: Duration = Duration::from_secs(60);

/// Lets so many messages a minute into the emergency stream; the rest goes to its home stream.
///
/// The emergency stream hears of an overflow twice: a summary when it begins, so that whoever reads only this stream
/// knows where to look, and one with the count when it is over. Both take a place of the minute, so that the limit
/// holds in any 60 s. It is over when half of the places are free, because it would begin and end all the time
/// otherwise.
#[derive(Debug)]
pub(crate) struct EmergencyRate {
    limit: usize,
    admitted: VecDeque<Monotonic>,
    /// CRITICAL messages that went home, by stream, since the overflow began.
    overflow: Option<BTreeMap<Stream, u64>>,
}

/// Where a CRITICAL message goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) stream: Stream,
    /// A summary that goes to the emergency stream before it.
    pub(crate) summary: Option<Summary>,
}

/// What the emergency stream hears of an overflow.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Summary {
    Began,
    Ended(BTreeMap<Stream, u64>),
}

impl EmergencyRate {
    pub(crate) fn new(per_minute: u32) -> Self {
        Self { limit: per_minute as usize, admitted: VecDeque::new(), overflow: None }
    }

    /// Routes a CRITICAL message whose home is this stream.
    pub(crate) fn route(&mut self, home: Stream, now: Monotonic) -> Route {
        let ended = self.end(now);
        if let Some(overflow) = &mut self.overflow {
            *overflow.entry(home).or_default() += 1;
            return Route { stream: home, summary: None };
        }
        self.admitted.push_back(now);
        if self.admitted.len() < self.limit {
            return Route { stream: Stream::Emergency, summary: ended };
        }
        // The last place of the minute is the summary's.
        self.overflow = Some(BTreeMap::from([(home, 1)]));
        Route { stream: home, summary: Some(Summary::Began) }
    }

    /// The summary of an overflow that is over.
    pub(crate) fn end(&mut self, now: Monotonic) -> Option<Summary> {
        while self.admitted.front().is_some_and(|at| now.since(*at) >= MINUTE) {
            self.admitted.pop_front();
        }
        let overflow = if self.admitted.len() <= self.limit / 2 { self.overflow.take() } else { None };
        overflow.map(|overflow| {
            self.admitted.push_back(now);
            Summary::Ended(overflow)
        })
    }
}

impl Summary {
    /// A telemetry packet with one event.
    pub(crate) fn message(&self, limit: u32, at: UnixTime) -> Message {
        let mut event = TelemetryEvent { level: TelemetryLevel::Critical.into(), ..TelemetryEvent::default() };
        event.attributes.insert("limit_per_minute".to_owned(), limit.to_string());
        match self {
            Self::Began => {
                event.description = "emergency_overflow_began".to_owned();
            }
            Self::Ended(streams) => {
                event.description = "emergency_overflow_ended".to_owned();
                event.attributes.insert("messages".to_owned(), streams.values().sum::<u64>().to_string());
                let by_stream = streams.iter().map(|(stream, messages)| (format!("{stream:?}"), messages.to_string()));
                event.attributes.extend(by_stream);
            }
        }
        let packet = TelemetryPacket {
            timestamp: Some(at.into()),
            source_subsystem: "oona".to_owned(),
            level: TelemetryLevel::Critical.into(),
            events: vec![event],
            ..TelemetryPacket::default()
        };
        Message::new(BusMessageType::Telemetry, packet.encode_to_vec()).with_priority(MessagePriority::Critical)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_overflow_ends_when_half_of_the_minute_is_free() {
        let mut rate = EmergencyRate::new(10);
        let at = |seconds| Monotonic::ORIGIN.after(Duration::from_secs(seconds));
        for second in 0..9 {
            let direct = Route { stream: Stream::Emergency, summary: None };
            assert_eq!(rate.route(Stream::Normal, at(second)), direct, "second {second}");
        }
        let first = Route { stream: Stream::Normal, summary: Some(Summary::Began) };
        assert_eq!(rate.route(Stream::Normal, at(9)), first);
        assert_eq!(rate.route(Stream::Telemetry, at(62)), Route { stream: Stream::Telemetry, summary: None });
        assert_eq!(rate.end(at(63)), None, "six places are taken");
        let told = BTreeMap::from([(Stream::Normal, 1), (Stream::Telemetry, 1)]);
        let after = Route { stream: Stream::Emergency, summary: Some(Summary::Ended(told)) };
        assert_eq!(rate.route(Stream::Normal, at(64)), after);
    }

    proptest! {
        #[test]
        fn no_minute_has_more_than_the_limit(
            limit in 5..30_u32,
            pauses in prop::collection::vec(prop_oneof![8 => 0..500_u64, 1 => 0..70_000_u64], 1..400),
        ) {
            let mut rate = EmergencyRate::new(limit);
            let mut now = Monotonic::ORIGIN;
            let (mut entries, mut at_home, mut told) = (Vec::new(), 0, 0);
            for pause in pauses {
                now = now.after(Duration::from_millis(pause));
                let ended = |summary: &Summary| match summary {
                    Summary::Began => 0,
                    Summary::Ended(streams) => streams.values().sum(),
                };
                let route = rate.route(Stream::Normal, now);
                let places = usize::from(route.summary.is_some()) + usize::from(route.stream == Stream::Emergency);
                entries.extend(std::iter::repeat_n(now, places));
                at_home += u64::from(route.stream == Stream::Normal);
                told += route.summary.as_ref().map_or(0, ended);
            }
            for (index, first) in entries.iter().enumerate() {
                let minute = entries[index..].iter().take_while(|at| at.since(*first) < MINUTE).count();
                prop_assert!(minute <= limit as usize, "{minute} from {first:?}");
            }
            told += match rate.end(now.after(MINUTE)) {
                Some(Summary::Ended(streams)) => streams.values().sum(),
                Some(Summary::Began) | None => 0,
            };
            prop_assert_eq!(told, at_home, "the summaries stand for all that went home");
        }
    }
}
