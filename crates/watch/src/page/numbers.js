// The numbers that a run, or one seed of it, wrote last.

// Of one seed, or of the run itself.
const MOST = 200;

export class Numbers {
  constructor() {
    this.values = new Map();
    // How many numbers came that there was no room for.
    this.untold = 0;
  }

  // `told` says which of the metrics of this name it is.
  keep(seed, step, { name, value }, told) {
    const key = `${name}\n${told}`;
    if (this.values.size < MOST || this.values.has(key)) this.values.set(key, { seed, name, told, step, value });
    else this.untold += 1;
  }

  told() {
    return [...this.values.values()];
  }
}
