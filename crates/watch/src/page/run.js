// What is known of a run, from the packets that it has written.

import { Numbers } from "./numbers.js";
import { Seed } from "./seed.js";
import { Series } from "./series.js";
import { plain } from "./words.js";

// The newest events; of the critical ones some more, so that a chatty run does not push them out.
const MOST_EVENTS = 3000;
const MOST_CRITICAL = 1000;
const MOST_SEEDS = 512;
const MOST_BANDS = 2000;
const MOST_IDS = 2000;

const SEVERITY = {
  __proto__: null,
  TELEMETRY_LEVEL_CRITICAL: "critical",
  TELEMETRY_LEVEL_ERROR: "critical",
  TELEMETRY_LEVEL_WARNING: "warning",
};

// Events that are marks in the lane of their seed, or of the run.
const MARKS = {
  __proto__: null,
  gate_event: "passed",
  gate_failure: "refused",
  gate_postponed: "postponed",
  isolation_violation: "violation",
  parameter_violation: "violation",
  graft_fault: "fault",
  step_refused: "fault",
  journal_failed: "fault",
  seed_culled: "culled",
  rolled_back: "rollback",
  recovered: "restart",
  breaker_open: "breaker",
  pause: "pause",
  resume: "resume",
};

export class Run {
  constructor() {
    this.id = null;
    this.loss = new Series();
    this.seeds = new Map();
    this.marks = [];
    this.health = [];
    this.events = [];
    this.critical = [];
    this.counts = { info: 0, warning: 0, critical: 0 };
    this.values = new Numbers();
    this.abandoned = [];
    this.packets = 0;
    this.bad = { lines: 0, oversized: 0, example: null };
    this.first = null;
    this.last = null;
    this.time = null;
    // Which of several workers this run is; they count from 0.
    this.rank = null;
    this.workers = null;
    this.tensors = null;
    this.parameters = null;
    this.registered = null;
    this.untold = 0;
    this.ids = new Set();
    this.number = 0;
  }

  // Takes a line in; a line that is no packet is counted.
  line(text) {
    if (text.trim() === "") return;
    try {
      const packet = JSON.parse(text);
      if (isPacket(packet)) {
        this.packet(packet);
        return;
      }
    } catch {
      // Counted below. The lines after it are read.
    }
    this.bad.lines += 1;
    this.bad.example = text.slice(0, 160);
  }

  packet(packet) {
    const { indicators } = packet.system_health;
    const step = Number(indicators.step_index);
    this.packets += 1;
    this.id ??= indicators.training_run_id ?? null;
    this.time = packet.timestamp ?? this.time;
    const id = indicators.seed_id || null;
    // A packet that was offered twice. Only events would count twice.
    const isNew = packet.events.length === 0 || this.#isNew(packet.packet_id);
    if (isNew) packet.events.forEach((event) => this.#back(event, id, step));
    this.first = this.first === null ? step : Math.min(this.first, step);
    this.last = this.last === null ? step : Math.max(this.last, step);
    const seed = id === null ? null : this.#seed(id, step);
    if (id !== null && seed === null) return;
    for (const metric of packet.metrics) this.#measure(seed, step, metric);
    if (isNew) for (const event of packet.events) this.#event(seed, id, step, packet.timestamp, event);
    if (id === null) this.#feel(step, packet.system_health);
  }

  // The run went back to an earlier step: what came after it did not stay.
  #back(event, id, step) {
    const isRollback = event.description === "rolled_back" && id === null;
    if (!(isRollback || event.description === "recovered")) return;
    const told = event.attributes?.step;
    const target = isStep(told) ? Number(told) : step;
    if (this.last === null || !(target < this.last)) return;
    const gone = this.loss.cut(target);
    if (gone.buckets.length > 0) this.abandoned.push(gone);
    if (this.abandoned.length > 8) this.abandoned.shift();
    for (const seed of this.seeds.values()) seed.cut(target);
    for (const mark of this.marks) mark.isGone ||= mark.step > target;
    this.health = this.health.filter((band) => band.step <= target);
    this.last = Math.max(target, this.first ?? target);
  }

  #isNew(id) {
    if (typeof id !== "string") return true;
    if (this.ids.has(id)) return false;
    this.ids.add(id);
    if (this.ids.size > MOST_IDS) this.ids.delete(this.ids.values().next().value);
    return true;
  }

  // The seed of this name, or null if there are too many.
  #seed(id, step) {
    let seed = this.seeds.get(id);
    if (!seed) {
      if (this.seeds.size >= MOST_SEEDS) {
        this.untold += 1;
        return null;
      }
      seed = new Seed(id, step);
      this.seeds.set(id, seed);
    }
    seed.see(step);
    return seed;
  }

  #measure(seed, step, metric) {
    const attributes = metric.attributes ?? {};
    if (attributes.statistic !== undefined) return;
    if (seed) seed.measure(step, metric.name, metric.value);
    else if (metric.name === "kasmina.host.loss") this.loss.add(step, metric.value);
    else if (metric.name === "kasmina.worker.rank") this.rank = metric.value;
    else if (metric.name === "kasmina.worker.count") this.workers = metric.value;
    (seed ?? this).values.keep(seed?.id ?? "", step, metric, Object.values(attributes).join(", "));
  }

  #event(seed, id, step, time, event) {
    const severity = SEVERITY[event.level] ?? "info";
    const attributes = event.attributes ?? {};
    const name = event.description;
    const told = { number: this.number++, step, time, seed: id, name, severity, attributes };
    this.counts[severity] += 1;
    const list = severity === "critical" ? this.critical : this.events;
    list.push(told);
    if (list.length > (severity === "critical" ? MOST_CRITICAL : MOST_EVENTS)) list.shift();
    if (seed && name === "seed_state") seed.enter(step, plain(attributes.from), plain(attributes.to), told.number);
    if (name === "parameter_registration") {
      const about = seed ?? this;
      about.tensors = Number(attributes.parameters ?? NaN);
      about.parameters = attributes.values === undefined ? null : Number(attributes.values);
      about.registered = told.number;
    }
    if (seed && attributes.blueprint_id) seed.blueprint = attributes.blueprint_id;
    const kind = MARKS[name];
    if (!kind) return;
    const label = attributes.gate ? plain(attributes.gate).slice(0, 2) : "";
    const mark = { step, kind, label, severity, number: told.number, name, attributes, isGone: false };
    if (seed) seed.mark(mark);
    else this.marks.push(mark);
    if (this.marks.length > MOST_BANDS) this.marks.shift();
  }

  #feel(step, health) {
    const status = plain(health?.status) || "UNKNOWN";
    // While all is well, the summary only names the newest event.
    const summary = status === "HEALTHY" ? "" : (health?.summary ?? "");
    const last = this.health.at(-1);
    if (last && last.status === status && last.summary === summary) return;
    this.health.push({ step, status, summary });
    if (this.health.length > MOST_BANDS) this.health.shift();
  }

  // The last value of each metric, of the run and of each seed.
  numbers() {
    return [this, ...this.seeds.values()].flatMap((it) => it.values.told());
  }

  // All events that are kept, the newest first.
  told() {
    return [...this.events, ...this.critical].sort((a, b) => b.number - a.number);
  }
}

// Whether it has the form of a packet, so that nothing else has to ask.
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
function isStep(it) {
  return typeof it === "string" && /^\d{1,15}$/.test(it);
}
