//! What a packet says about itself in its health's indicators.

use kasmina_leyline::v1::TelemetryPacket;

/// The seed that the packet is about. An empty one is none.
pub(crate) fn seed_id(packet: &TelemetryPacket) -> Option<&str> {
    indicator(packet, "seed_id").filter(|seed| !seed.is_empty())
}

/// The step that the packet is about. What is no number is none.
pub(crate) fn step_index(packet: &TelemetryPacket) -> Option<u64> {
    indicator(packet, "step_index")?.parse().ok()
}

fn indicator<'a>(packet: &'a TelemetryPacket, name: &str) -> Option<&'a str> {
    packet.system_health.as_ref()?.indicators.get(name).map(String::as_str)
}
