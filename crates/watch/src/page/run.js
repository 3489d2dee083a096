// What is known of a run, from the packets that it has written.

import { Numbers, Registered } from "./numbers.js";
import { clip, isStep, parse, parseTorn } from "./packet.js";
import { Seed } from "./seed.js";
import { Series } from "./series.js";
import { plain } from "./words.js";

// The newest events; of the critical ones some more, so that a chatty run does not push them out.
const MOST_EVENTS = 3000;
const MOST_CRITICAL = 1000;
// Those that have a lane and numbers; and how many names of others are kept.
const MOST_SEEDS = 512;
export const MOST_NAMES = 10000;
const MOST_BANDS = 2000;
const MOST_IDS = 2000;
const MOST_EPOCHS = 1000;

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
    this.lastTime = null;
    // The step of the last packet, if it is one before `last`.
    this.behind = null;
    // Which of several workers this run is; they count from 0.
    this.rank = null;
    this.workers = null;
    this.registered = new Registered();
    // Seeds that there is no lane for, and when each came.
    this.undrawn = new Map();
    // Whether a seed may have left since the last time that room was looked for.
    this.mayHaveRoom = true;
    // The step of each epoch that can be gone back to.
    this.epochs = new Map();
    // How often the run went back.
    this.returns = 0;
    this.ids = new Set();
    this.number = 0;
  }

  // Takes a line in; a line that is no packet is counted.
  line(text) {
    if (text.trim() === "") return;
    let packet = parse(text);
    if (!packet) {
      this.bad.lines += 1;
      this.bad.example = clip(text, 160);
      packet = parseTorn(text);
    }
    if (packet) this.packet(packet);
  }

  packet(packet) {
    const { indicators } = packet.system_health;
    const step = Number(indicators.step_index);
    this.packets += 1;
    // A packet that was offered twice, for example by the process that came back.
    if (packet.events.length > 0 && !this.#isNew(packet.packet_id)) return;
    const { training_run_id } = indicators;
    if (training_run_id && training_run_id !== this.id) this.#another(training_run_id, step);
    const id = indicators.seed_id || null;
    packet.events.forEach((event) => this.#back(event, id, step));
    this.#backUntold(packet, id, step);
    this.first = this.first === null ? step : Math.min(this.first, step);
    if (this.last === null || step >= this.last) [this.last, this.lastTime] = [step, packet.timestamp];
    const seed = id === null ? null : this.#seed(id, step, packet);
    if (id === null || seed) for (const metric of packet.metrics) this.#measure(seed, step, metric);
    for (const event of packet.events) this.#event(id, step, packet.timestamp, event);
    if (id === null) this.#feel(step, packet.system_health);
  }

  // The run, or a seed alone, went back to an earlier step.
  #back({ description, attributes }, packetId, step) {
    if (description !== "recovered" && description !== "rolled_back") return;
    const id = packetId ?? attributes?.seed_id ?? null;
    const epoch = this.epochs.get(attributes?.epoch) ?? null;
    if (description === "rolled_back" && id !== null) {
      this.seeds.get(id)?.restore(step, epoch, this.number);
      return;
    }
    const told = isStep(attributes?.step) ? Number(attributes.step) : epoch;
    const target = told === null ? step : Math.min(told, step);
    // What was ordered after that step is in the journal, and is written with the step after it.
    this.#cut(target, description === "recovered" ? target + 1 : target);
  }

  // Steps that are learned from after later ones: the event that the run went back was lost. One alone may be that of another worker.
  #backUntold({ timestamp, metrics }, id, step) {
    if (id !== null || !metrics.some((it) => it.name === "kasmina.host.loss")) return;
    const isBehind = this.last !== null && step < this.last && Date.parse(timestamp) > Date.parse(this.lastTime);
    const first = this.behind;
    this.behind = isBehind ? (first ?? step) : null;
    if (!isBehind || first === null || step <= first) return;
    this.#cut(first);
    this.#markUntold(first, "rollback", "no_event_tells_why");
  }

  // Another run goes on in the same file: nothing of the one before holds.
  #another(id, step) {
    const isFirst = this.id === null;
    this.id = id;
    if (isFirst) return;
    this.#cut(-1);
    [this.first, this.last, this.rank, this.workers] = [null, null, null, null];
    this.epochs.clear();
    this.#markUntold(step, "restart", "another_run_began");
  }

  #markUntold(step, kind, reason) {
    this.marks.push({ step, kind, label: "", severity: "warning", number: null, name: "", attributes: { reason }, isGone: false });
  }

  // What came after this step did not stay, but for events up to the step `told`.
  #cut(target, told = target) {
    if (this.last === null || !(target < this.last)) return;
    this.returns += 1;
    this.mayHaveRoom = true;
    const gone = this.loss.cut(target);
    if (gone.buckets.length > 0) this.abandoned.push(gone);
    if (this.abandoned.length > 8) this.abandoned.shift();
    for (const seed of this.seeds.values()) seed.cut(target, told);
    for (const it of [...this.marks, ...this.events, ...this.critical]) it.isGone ||= it.step > told;
    for (const [id, seen] of this.undrawn) if (seen > told) this.undrawn.delete(id);
    this.values.cut(target);
    this.registered.cut(told);
    this.health = this.health.filter((band) => band.step <= target);
    this.first = Math.min(this.first, target);
    [this.last, this.lastTime, this.behind] = [target, null, null];
  }

  #isNew(id) {
    if (typeof id !== "string") return true;
    if (this.ids.has(id)) return false;
    this.ids.add(id);
    if (this.ids.size > MOST_IDS) this.ids.delete(this.ids.values().next().value);
    return true;
  }

  // The seed of this name, or null if there are too many.
  #seed(id, step, { events, metrics }) {
    let seed = this.seeds.get(id);
    if (!seed) {
      if (this.seeds.size >= MOST_SEEDS && !this.#makeRoom()) {
        if (this.undrawn.size < MOST_NAMES && !this.undrawn.has(id)) this.undrawn.set(id, step);
        return null;
      }
      this.undrawn.delete(id);
      seed = new Seed(id, step);
      this.seeds.set(id, seed);
    }
    // The report on a life that a rollback undid does not say that the seed is there.
    const isReport = metrics.length === 0 && events.every((event) => event.description === "field_report");
    if (!seed.isGone || !isReport) seed.see(step);
    return seed;
  }

  // Leaves out the seed that was the first to be over for good, or that a rollback undid.
  #makeRoom() {
    if (!this.mayHaveRoom) return false;
    const over = [...this.seeds.values()].filter((seed) => seed.isGone || seed.stage === "TERMINATED");
    const first = over.sort((a, b) => b.isGone - a.isGone || a.last - b.last)[0];
    this.mayHaveRoom = over.length > 1;
    if (!first) return false;
    this.seeds.delete(first.id);
    if (!first.isGone && this.undrawn.size < MOST_NAMES) this.undrawn.set(first.id, first.seen);
    return true;
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

  #event(packetId, step, time, event) {
    const severity = SEVERITY[event.level] ?? "info";
    const attributes = event.attributes ?? {};
    const name = event.description;
    const id = packetId ?? attributes.seed_id ?? null;
    const seed = this.seeds.get(id) ?? null;
    const told = { number: this.number++, step, time, seed: id, name, severity, attributes, isGone: false };
    this.counts[severity] += 1;
    const list = severity === "critical" ? this.critical : this.events;
    list.push(told);
    if (list.length > (severity === "critical" ? MOST_CRITICAL : MOST_EVENTS)) list.shift();
    // Of a seed that there is no lane for, the event is all that is shown.
    if (id !== null && !seed) return;
    if (seed && name === "seed_state") {
      seed.enter(step, plain(attributes.from), plain(attributes.to), told.number);
      this.mayHaveRoom ||= seed.stage === "TERMINATED";
    }
    if (name === "parameter_registration") (seed ?? this).registered.add(step, told.number, attributes);
    if (name === "rollback_ready" && isStep(attributes.step)) this.#reach(attributes.epoch, Number(attributes.step));
    const kind = MARKS[name];
    if (!kind) return;
    const label = attributes.gate ? plain(attributes.gate).slice(0, 2) : "";
    const mark = { step, kind, label, severity, number: told.number, name, attributes, isGone: false };
    if (seed) seed.mark(mark);
    else this.marks.push(mark);
    if (this.marks.length > MOST_BANDS) this.marks.shift();
  }

  #reach(epoch, step) {
    this.epochs.delete(epoch);
    this.epochs.set(epoch, step);
    if (this.epochs.size > MOST_EPOCHS) this.epochs.delete(this.epochs.keys().next().value);
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
    return [this, ...this.present()].flatMap((it) => it.values.told());
  }

  // The seeds that are drawn and that no rollback has undone.
  present() {
    return [...this.seeds.values()].filter((seed) => !seed.isGone);
  }

  // All events that are kept, the newest first.
  told() {
    return [...this.events, ...this.critical].sort((a, b) => b.number - a.number);
  }
}
