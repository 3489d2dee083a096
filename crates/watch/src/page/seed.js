// What is known of one seed.

import { Numbers, Registered } from "./numbers.js";
import { Series } from "./series.js";

const MOST_BUCKETS = 2048;
const MOST_MARKS = 2000;
const MOST_STAGES = 2000;

export class Seed {
  constructor(id, step) {
    this.id = id;
    // Its first step, or null while a rollback to before it is all that is known.
    this.seen = step;
    this.last = step;
    // When each stage was entered. The first is known only from the move out of it.
    this.stages = [];
    this.marks = [];
    this.loss = new Series(MOST_BUCKETS);
    this.alpha = new Series(MOST_BUCKETS);
    this.values = new Numbers();
    this.registered = new Registered();
  }

  // Whether the run went back to before its first step.
  get isGone() {
    return this.seen === null;
  }

  // When it became part of the network, if it is one.
  get accepted() {
    const last = this.stages.at(-1);
    return last?.stage === "FOSSILIZED" ? last.number : null;
  }

  get stage() {
    return this.stages.at(-1)?.stage ?? null;
  }

  // A packet of it came.
  see(step) {
    this.seen ??= step;
    this.last = Math.max(this.last, step);
  }

  // `number` says when, among all events of the run.
  enter(step, from, to, number) {
    if (this.stages.length === 0 && from) this.stages.push({ step: this.seen, stage: from, isOpen: true });
    this.#push({ step, stage: to, number });
  }

  #push(entered) {
    this.stages.push(entered);
    if (this.stages.length > MOST_STAGES) this.stages.shift();
  }

  mark(mark) {
    this.marks.push(mark);
    if (this.marks.length > MOST_MARKS) this.marks.shift();
  }

  measure(step, name, value) {
    if (name === "kasmina.seed.loss") this.loss.add(step, value);
    else if (name === "kasmina.seed.alpha") this.alpha.add(step, value);
  }

  // The run went back to `step`. No event says which stage the seed has then: it is that of `step`, if it was known there.
  // Events up to the step `told` stay.
  cut(step, told) {
    for (const part of [this.loss, this.alpha, this.values]) part.cut(step);
    this.registered.cut(told);
    this.stages = this.stages.filter((entered) => entered.step <= told);
    for (const mark of this.marks) mark.isGone ||= mark.step > told;
    if (this.seen !== null && this.seen > told) this.seen = null;
    this.last = Math.min(this.last, told);
    if (this.isGone) this.values = new Numbers();
  }

  // The seed alone, at `step`, went back to how it was at the step `then`; null if no line tells that step.
  restore(step, then, number) {
    const stage = then === null ? null : this.stageAt(then);
    if (stage !== this.stage) this.#push({ step, stage, number });
    this.loss.latest = null;
    this.alpha.latest = null;
    this.values.cut(then ?? -1);
  }

  // The stage at a step, or null if it is not known.
  stageAt(step) {
    let found = null;
    for (const entered of this.stages) if (entered.step <= step) found = entered.stage;
    return found;
  }

  // Bands to draw: a stage from its step to the next one's, the last as far as the run has come.
  bands(end) {
    if (this.seen === null) return [];
    if (this.stages.length === 0) return [{ from: this.seen, to: end, stage: null }];
    return this.stages.map((entered, index) => ({
      from: entered.step,
      to: this.stages[index + 1]?.step ?? end,
      stage: entered.stage,
      isOpen: entered.isOpen ?? false,
    }));
  }
}
