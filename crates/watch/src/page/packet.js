// A line of telemetry, checked once, so that nothing else has to ask.

// Longer lines are cut down, so that the events of a few do not fill the memory. Our choice: ten times the longest of the demo.
const LONG_LINE = 16384;
const MOST_TEXT = 1000;
const MOST_ATTRIBUTES = 64;

// The packet of a line, or null if it is none.
export function parse(text) {
  try {
    const packet = text.length > LONG_LINE ? JSON.parse(text, shorten) : JSON.parse(text);
    return isPacket(packet) ? packet : null;
  } catch {
    return null;
  }
}

// The packet behind a torn one: a process was killed while it wrote a line, and the next one went on in the same line.
export function parseTorn(text) {
  const start = [...text.matchAll(/\{"(?:events|packet_id)":/g)].at(-1)?.index ?? 0;
  return start > 0 ? parse(text.slice(start)) : null;
}

function shorten(key, value) {
  if (typeof value === "string") return clip(value);
  if (key !== "attributes" || !isRecord(value)) return value;
  const all = Object.entries(value);
  const kept = all.slice(0, MOST_ATTRIBUTES).map(([name, text]) => [clip(name), text]);
  if (all.length > MOST_ATTRIBUTES) kept.push(["…", `${all.length - MOST_ATTRIBUTES} more attributes are left out`]);
  return Object.fromEntries(kept);
}

// Copied: a part of a text keeps the whole of it in memory.
export function clip(text, most = MOST_TEXT) {
  return text.length <= most ? text : JSON.parse(JSON.stringify(`${text.slice(0, most)}… (${text.length - most} more characters)`));
}

// Whether it has the form of a packet.
function isPacket(packet) {
  if (!isRecord(packet) || !isRecord(packet.system_health) || !isRecord(packet.system_health.indicators)) return false;
  const { timestamp, packet_id, events, metrics, system_health: { status, summary, indicators } } = packet;
  if (!isStep(indicators.step_index) || !Array.isArray(events) || !Array.isArray(metrics)) return false;
  if (![timestamp, packet_id, status, summary, indicators.training_run_id, indicators.seed_id].every(isTextOrAbsent)) return false;
  const isEvent = (it) => isRecord(it) && typeof it.description === "string" && isTextOrAbsent(it.level) && hasTexts(it.attributes);
  const isMetric = (it) => isRecord(it) && typeof it.name === "string" && ["number", "string"].includes(typeof it.value) && hasTexts(it.attributes);
  return events.every(isEvent) && metrics.every(isMetric);
}

function isRecord(it) {
  return it !== null && typeof it === "object";
}

function isTextOrAbsent(it) {
  return it === undefined || it === null || typeof it === "string";
}

function hasTexts(attributes) {
  return isRecord(attributes ?? {}) && Object.values(attributes ?? {}).every((it) => typeof it === "string");
}

// A whole number that a double holds exactly.
export function isStep(it) {
  return typeof it === "string" && /^\d{1,15}$/.test(it);
}
