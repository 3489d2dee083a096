// Plain words for what the contract has names for.
//
// Tables that are asked for names out of a file have no prototype: "constructor" and "toString" are not in them.

export const STAGES = {
  __proto__: null,
  DORMANT: "Dormant: the seed has a place in the network, and nothing in it yet.",
  GERMINATED: "Germinated: its module was asked for, and is being fetched and checked.",
  TRAINING: "Training: the seed learns beside the network. The network does not notice it.",
  BLENDING: "Blending: its output is mixed into the network, a little more with each step (alpha goes from 0 to 1).",
  SHADOWING: "Shadowing: taken out again, and measured: what would the network be with it?",
  PROBATIONARY: "Probationary: fully in the network, on trial: is the network measurably better with it?",
  FOSSILIZED: "Fossilized: accepted. The seed is now an ordinary part of the network and learns with it.",
  CULLED: "Culled: taken out without a trace, because it did not help or did harm.",
  EMBARGOED: "Embargoed: its place stays empty for a while.",
  RESETTING: "Resetting: its place is being cleaned.",
  TERMINATED: "Terminated: over for good.",
};

export const GATES = {
  __proto__: null,
  G0: "may this module be tried here?",
  G1: "does the module run, and does it get a gradient to learn from?",
  G2: "does it learn steadily?",
  G3: "does the network work with it blended in?",
  G4: "is the network measurably better with it?",
  G5: "is nothing left of it?",
};

// Shapes differ too, so that nothing is told by colour alone.
export const MARKS = {
  __proto__: null,
  passed: "gate passed",
  refused: "gate refused: the seed is taken out",
  postponed: "gate cannot judge yet",
  violation: "isolation violation: a gradient went where it must not; the update was thrown away",
  fault: "something failed; the network went on",
  culled: "seed taken out",
  rollback: "went back to an earlier step",
  restart: "the program came back after it had ended",
  breaker: "a breaker opened: something failed too often",
  pause: "seed paused",
  resume: "seed resumed",
};

// From the least to the most worth seeing, where marks are too close for all of them.
export const GRAVITY = ["resume", "pause", "postponed", "passed", "restart", "rollback", "culled", "fault", "refused", "breaker", "violation"];

export const HEALTH = {
  __proto__: null,
  HEALTHY: { word: "healthy", sign: "✓", text: "The run itself reports nothing wrong." },
  DEGRADED: { word: "degraded", sign: "!", text: "Something deserves a look." },
  UNHEALTHY: { word: "unhealthy", sign: "✕", text: "Something is wrong." },
  CRITICAL: { word: "critical", sign: "‼", text: "Something has just failed." },
  UNKNOWN: { word: "unknown", sign: "?", text: "The run has not said how it is." },
};

export const SIGNS = { critical: "■", warning: "▲", info: "●" };

// SEED_STAGE_TRAINING is TRAINING, SEED_GATE_G2_STABILITY is G2_STABILITY.
export function plain(text) {
  return String(text ?? "").replace(/^(SEED_STAGE_|SEED_GATE_|HEALTH_STATUS_)/, "");
}

// What an event says, in a line.
export function sentence(event) {
  const about = event.attributes;
  const gate = plain(about.gate).slice(0, 2);
  const reason = about.reason ? `: ${spaced(about.reason)}` : "";
  switch (event.name) {
    case "seed_state":
      return `goes from ${plain(about.from)} to ${plain(about.to)}`;
    case "gate_event":
      return `passes gate ${gate}`;
    case "gate_failure":
      return `refused by gate ${gate}${reason}`;
    case "gate_postponed":
      return `gate ${gate} cannot judge yet${reason}`;
    case "parameter_registration":
      return `${count(about.parameters)} parameter tensors registered`;
    default:
      return `${spaced(event.name)}${reason}`;
  }
}

export function spaced(name) {
  return String(name).replaceAll("_", " ");
}

const WHOLE = new Intl.NumberFormat("en");

export function count(value) {
  const number = Number(value);
  return Number.isFinite(number) ? WHOLE.format(number) : String(value ?? "unknown");
}

// Four digits; what is no number stays the text that it was.
export function short(value) {
  if (typeof value !== "number") return value === null || value === undefined ? "no data" : String(value);
  if (!Number.isFinite(value)) return "no data";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e15) return WHOLE.format(value);
  return size < 1e-5 || size >= 1e7 ? value.toExponential(2).replace(/\.?0+e/, "e") : String(Number(value.toPrecision(4)));
}

export function bytes(value) {
  if (value < 1e3) return `${value} B`;
  if (value < 1e6) return `${(value / 1e3).toFixed(0)} kB`;
  return `${(value / 1e6).toFixed(1)} MB`;
}
