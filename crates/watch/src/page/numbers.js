// The numbers that a run, or one seed of it, has: its metrics, and how many parameters were registered.

// Of one seed, or of the run itself.
const MOST = 200;
const MOST_REGISTERED = 200;

// The last value of each metric.
export class Numbers {
  constructor() {
    this.values = new Map();
    // How many numbers came that there was no room for.
    this.untold = 0;
  }

  // `told` says which of the metrics of this name it is.
  keep(seed, step, { name, value }, told) {
    const key = `${name}\n${told}`;
    if (this.values.size < MOST || this.values.has(key)) this.values.set(key, { seed, name, told, step, value, isGone: false });
    else this.untold += 1;
  }

  // The run went back to `step`: what a later number has become is not known before it is written again.
  cut(step) {
    for (const value of this.values.values()) value.isGone ||= value.step > step;
  }

  told() {
    return [...this.values.values()];
  }
}

// How many tensors and numbers, each time that they were registered.
export class Registered {
  constructor() {
    this.all = [];
  }

  // `number` says when, among all events of the run.
  add(step, number, { parameters, values }) {
    this.all.push({ step, number, tensors: Number(parameters ?? NaN), parameters: values === undefined ? null : Number(values) });
    if (this.all.length > MOST_REGISTERED) this.all.shift();
  }

  cut(step) {
    this.all = this.all.filter((it) => it.step <= step);
  }

  get latest() {
    return this.all.at(-1) ?? { step: null, number: null, tensors: null, parameters: null };
  }
}
