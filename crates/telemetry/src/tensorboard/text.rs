//! An event for a reader, in Markdown.

use kasmina_leyline::v1::{TelemetryEvent, TelemetryLevel};

use crate::names::{GATE_EVENT, GATE_FAILURE, GATE_POSTPONED, SEED_STATE};

const FROM: &str = "from";
const TO: &str = "to";
const GATE: &str = "gate";
const REASON: &str = "reason";

/// What happened, then what else is known, as a list.
pub(super) fn markdown(event: &TelemetryEvent) -> String {
    let name = event.description.as_str();
    let [from, to, gate, reason] = [FROM, TO, GATE, REASON].map(|name| event.attributes.get(name));
    let (said, used): (_, &[&str]) = if let (Some(from), Some(to)) = (from, to)
        && name == SEED_STATE.name
    {
        (format!("{} → {}", stage(from), stage(to)), &[FROM, TO])
    } else if let (Some(gate), Some(reason), Some(verb)) = (gate, reason, verb(name)) {
        // The reason of a gate that passed is that it passed.
        let why = if reason == verb { String::new() } else { format!(": {}", code(reason)) };
        (format!("{} {verb}{why}", gate_name(gate)), &[GATE, REASON])
    } else {
        (code(name), &[])
    };
    let level = match event.level() {
        TelemetryLevel::Unspecified | TelemetryLevel::Info => "",
        TelemetryLevel::Warning => "**WARNING** ",
        TelemetryLevel::Error => "**ERROR** ",
        TelemetryLevel::Critical => "**CRITICAL** ",
    };
    let others = event.attributes.iter().filter(|(name, _)| !used.contains(&name.as_str()));
    let list: String = others.map(|(name, value)| format!("\n- {}: {}", code(name), code(value))).collect();
    // A list begins after an empty line.
    format!("{level}{said}{}{list}", if list.is_empty() { "" } else { "\n" })
}

/// What a gate did, in the event of this name.
fn verb(name: &str) -> Option<&'static str> {
    [(GATE_EVENT, "passed"), (GATE_FAILURE, "refused"), (GATE_POSTPONED, "postponed")]
        .into_iter()
        .find_map(|(event, verb)| (event.name == name).then_some(verb))
}

fn stage(name: &str) -> String {
    code(name.trim_start_matches("SEED_STAGE_"))
}

fn gate_name(name: &str) -> String {
    code(name.trim_start_matches("SEED_GATE_"))
}

/// A span of code, in which Markdown means nothing. It ends at a backtick, and a paragraph at an empty line: neither is left inside.
fn code(text: &str) -> String {
    let plain = |character: char| match character {
        '`' => '\'',
        character if character.is_control() => ' ',
        character => character,
    };
    format!("`{}`", text.chars().map(plain).collect::<String>())
}
