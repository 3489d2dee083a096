//! Packets as JSON.

use kasmina_leyline::v1::{MetricPoint, TelemetryEvent, TelemetryPacket};
use serde_json::{Value, json};

/// The packet with the contract's field names. Numbers that JSON cannot express (NaN, infinities) become strings.
pub(crate) fn packet(packet: &TelemetryPacket) -> Value {
    let number = |value: f64| if value.is_finite() { json!(value) } else { json!(value.to_string()) };
    let metric = |metric: &MetricPoint| {
        json!({
            "name": metric.name,
            "value": number(metric.value),
            "unit": metric.unit,
            "attributes": metric.attributes,
        })
    };
    let health = packet.system_health.as_ref().map(|health| {
        json!({
            "status": health.status().as_str_name(),
            "summary": health.summary,
            "indicators": health.indicators,
        })
    });
    json!({
        "packet_id": packet.packet_id,
        "timestamp": packet.timestamp.map(|timestamp| timestamp.to_string()),
        "source_subsystem": packet.source_subsystem,
        "level": packet.level().as_str_name(),
        "metrics": packet.metrics.iter().map(metric).collect::<Vec<_>>(),
        "events": packet.events.iter().map(event).collect::<Vec<_>>(),
        "system_health": health,
    })
}

fn event(event: &TelemetryEvent) -> Value {
    json!({
        "event_id": event.event_id,
        "description": event.description,
        "level": event.level().as_str_name(),
        "attributes": event.attributes,
    })
}
