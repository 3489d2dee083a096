// Which steps are shown, and which one is looked at. All plots share it.

const LEAST = 10;

export class View {
  constructor(changed) {
    this.changed = changed;
    this.width = 800;
    this.reset();
  }

  reset() {
    this.bounds = null;
    this.window = null;
    this.follows = null;
    this.step = null;
  }

  // The run has steps from `first` to `last`.
  extend(first, last) {
    if (first === null) {
      this.bounds = null;
      return;
    }
    this.bounds = { from: first, to: Math.max(last, first + LEAST) };
    if (this.follows !== null) this.window = this.#newest(this.follows);
    // The run went back to before what is shown.
    if (this.step !== null && this.step > this.bounds.to) this.step = null;
    if (this.window && this.window.to > this.bounds.to) this.#clamp();
  }

  get from() {
    return (this.window ?? this.bounds)?.from ?? 0;
  }

  get to() {
    return (this.window ?? this.bounds)?.to ?? LEAST;
  }

  x(step) {
    return ((step - this.from) / (this.to - this.from)) * this.width;
  }

  stepAt(x) {
    return Math.round(this.from + (x / this.width) * (this.to - this.from));
  }

  whole() {
    this.window = null;
    this.follows = null;
    this.changed();
  }

  // The newest steps, as the run goes on.
  newest(steps) {
    if (!this.bounds) return;
    this.follows = steps;
    this.window = this.#newest(steps);
    this.changed();
  }

  zoom(factor) {
    if (!this.bounds) return;
    const centre = this.step !== null && this.step >= this.from && this.step <= this.to ? this.step : (this.from + this.to) / 2;
    const span = Math.max((this.to - this.from) * factor, LEAST);
    if (span >= this.bounds.to - this.bounds.from) {
      this.whole();
      return;
    }
    const share = (centre - this.from) / (this.to - this.from);
    this.follows = null;
    this.#show(centre - share * span, span);
    this.changed();
  }

  // Looks at a step, and brings it into sight.
  look(step) {
    if (!this.bounds) return;
    this.step = step === null ? null : Math.min(Math.max(Math.round(step), this.bounds.from), this.bounds.to);
    if (this.step !== null && this.window && (this.step < this.from || this.step > this.to)) {
      this.follows = null;
      this.#show(this.step - (this.to - this.from) / 2, this.to - this.from);
    }
    this.changed();
  }

  // By so many columns of a hundred, and by a step at least.
  move(share) {
    const by = Math.max(Math.round(Math.abs(share) * (this.to - this.from)), 1) * Math.sign(share);
    this.look(this.step === null ? (share < 0 ? this.to : this.from) : this.step + by);
  }

  #newest(steps) {
    return { from: Math.max(this.bounds.to - steps, this.bounds.from), to: this.bounds.to };
  }

  #clamp() {
    const span = this.window.to - this.window.from;
    if (span < this.bounds.to - this.bounds.from) this.#show(this.window.from, span);
    else this.window = null;
  }

  #show(from, span) {
    const start = Math.min(Math.max(from, this.bounds.from), this.bounds.to - span);
    this.window = { from: start, to: start + span };
  }
}
