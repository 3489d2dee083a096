//! What operators are told of events.

use kasmina_leyline::v1::TelemetryLevel;
use kasmina_telemetry::names::EVENTS;

#[test]
fn every_alarm_has_an_entry_in_the_runbook() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/RUNBOOK.md");
    let text = std::fs::read_to_string(path).unwrap();
    let alarms = EVENTS.iter().filter(|event| event.level >= TelemetryLevel::Warning);
    let missing: Vec<_> = alarms.map(|event| event.name).filter(|name| !text.contains(&format!("`{name}`"))).collect();
    assert_eq!(missing, [""; 0]);
}
