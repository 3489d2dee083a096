//! A packet that is shared by everything that carries it.

use std::{ops::Deref, sync::Arc};

use kasmina_leyline::{
    SeedId,
    v1::{TelemetryLevel, TelemetryPacket},
};

use crate::names;

/// A packet and the seed that it is about. A clone copies two pointers.
///
/// Nothing has to read the seed out of the packet's indicators again, except from a packet that comes back from a journal
/// ([`From<TelemetryPacket>`]).
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    /// The seed, or `None` for a packet about the run.
    pub seed: Option<SeedId>,
    /// The packet in the contract's form.
    pub packet: Arc<TelemetryPacket>,
}

impl Packet {
    /// Whether the packet is never dropped: it is critical, or holds a field report.
    #[must_use]
    pub fn must_arrive(packet: &TelemetryPacket) -> bool {
        packet.level >= TelemetryLevel::Error as i32
            || packet.events.iter().any(|event| event.description == names::FIELD_REPORT.name)
    }
}

impl Deref for Packet {
    type Target = TelemetryPacket;

    fn deref(&self) -> &TelemetryPacket {
        &self.packet
    }
}

impl From<TelemetryPacket> for Packet {
    /// Reads the seed from the indicator `seed_id`. An id that is not valid counts as none.
    fn from(packet: TelemetryPacket) -> Self {
        let seed = seed_id(&packet).and_then(|id| SeedId::new(id).ok());
        Self { seed, packet: Arc::new(packet) }
    }
}

/// The indicator `seed_id`, if it is not empty.
pub(crate) fn seed_id(packet: &TelemetryPacket) -> Option<&str> {
    indicator(packet, "seed_id").filter(|seed| !seed.is_empty())
}

/// The indicator `step_index`, if it is a number.
pub(crate) fn step_index(packet: &TelemetryPacket) -> Option<u64> {
    indicator(packet, "step_index")?.parse().ok()
}

fn indicator<'a>(packet: &'a TelemetryPacket, name: &str) -> Option<&'a str> {
    packet.system_health.as_ref()?.indicators.get(name).map(String::as_str)
}
