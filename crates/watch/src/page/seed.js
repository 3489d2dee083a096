// What is known of one seed.

import { Numbers } from "./numbers.js";
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
    this.dropped = 0;
    this.loss = new Series(MOST_BUCKETS);
    this.alpha = new Series(MOST_BUCKETS);
    this.values = new Numbers();
    this.tensors = null;
    this.parameters = null;
    this.blueprint = null;
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
    this.stages.push({ step, stage: to, number });
    if (this.stages.length > MOST_STAGES) this.stages.shift();
  }

  mark(mark) {
    this.marks.push(mark);
    if (this.marks.length > MOST_MARKS) {
      this.marks.shift();
      this.dropped += 1;
    }
  }

  measure(step, name, value) {
    if (name === "kasmina.seed.loss") this.loss.add(step, value);
    else if (name === "kasmina.seed.alpha") this.alpha.add(step, value);
  }

  // The run went back to `step`. No event says which stage the seed has then: it is that of `step`, if it was known there.
  cut(step) {
    this.loss.cut(step);
    this.alpha.cut(step);
    this.stages = this.stages.filter((entered) => entered.step <= step);
    for (const mark of this.marks) mark.isGone ||= mark.step > step;
    if (this.seen !== null && this.seen > step) this.seen = null;
    this.last = Math.min(this.last, step);
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
