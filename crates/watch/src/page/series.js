// Numbers over steps in bounded memory: buckets of equal width, which doubles whenever there would be too many. A bucket keeps the lowest,
// the highest and the mean of its numbers, so that a peak of one step stays visible in a run of a million.

const MOST = 4096;

export class Series {
  constructor(most = MOST) {
    this.most = most;
    this.width = 1;
    this.buckets = [];
    this.count = 0;
    this.latest = null;
    // How many steps lie between two numbers as a rule, of late: a majority vote.
    this.stride = 1;
    this.votes = 0;
  }

  // `value` may be a text that says what is no number: "NaN", "inf".
  add(step, value) {
    const number = typeof value === "number" ? value : NaN;
    const last = this.buckets.at(-1);
    if (last && step > last.last) this.#vote(step - last.last);
    const key = Math.floor(step / this.width);
    let bucket = last && last.key === key ? last : this.#at(key, step);
    if (step >= bucket.last) bucket.value = value;
    bucket.first = Math.min(bucket.first, step);
    bucket.last = Math.max(bucket.last, step);
    bucket.stride = this.stride;
    if (Number.isFinite(number)) {
      bucket.low = Math.min(bucket.low, number);
      bucket.high = Math.max(bucket.high, number);
      bucket.sum += number;
      bucket.n += 1;
    } else {
      bucket.odd += 1;
    }
    this.count += 1;
    if (!this.latest || step >= this.latest.step) this.latest = { step, value };
    while (this.buckets.length > this.most) this.#widen();
  }

  // Where the steps after `step` go that did not stay: into a series of their own.
  cut(step) {
    const gone = new Series(this.most);
    gone.width = this.width;
    gone.buckets = this.buckets.filter((bucket) => bucket.first > step);
    this.buckets = this.buckets.filter((bucket) => bucket.first <= step);
    this.count = this.buckets.reduce((count, bucket) => count + bucket.n + bucket.odd, 0);
    const last = this.buckets.at(-1);
    // A bucket that goes on after `step` does not tell its last number before.
    this.latest = last && last.last <= step ? { step: last.last, value: last.value } : null;
    if (last) last.last = Math.min(last.last, step);
    return gone;
  }

  // What to draw of the steps `from` to `to` in so many columns: one entry a column that has numbers, in order. `gap` says that numbers
  // are missing before it.
  columns(from, to, columns) {
    const per = Math.max((to - from) / columns, 1e-9);
    const drawn = [];
    let before = null;
    for (const bucket of this.buckets.slice(this.#from(from), this.#from(to) + 2)) {
      const gap = before !== null && bucket.first - before.last > 1.5 * Math.max(bucket.stride, before.stride);
      const column = Math.floor(((bucket.first + bucket.last) / 2 - from) / per);
      const open = drawn.at(-1);
      if (open && open.column === column && !gap) {
        merge(open, bucket);
      } else {
        drawn.push({ ...bucket, column, gap });
      }
      before = bucket;
    }
    return drawn;
  }

  // The number at a step, or null if there is none.
  at(step) {
    const index = this.#from(step);
    for (const bucket of this.buckets.slice(Math.max(index - 1, 0), index + 1)) {
      if (bucket.first <= step && step <= bucket.last) return bucket;
    }
    const bucket = this.buckets[index - 1] ?? this.buckets[index];
    const near = bucket && step >= bucket.first && step - bucket.last < Math.max(bucket.stride, this.width);
    return near ? bucket : null;
  }

  // The first bucket that ends at `step` or later.
  #from(step) {
    let [low, high] = [0, this.buckets.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.buckets[middle].last < step) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #at(key, step) {
    const fresh = { key, first: step, last: step, value: null, stride: 1, low: Infinity, high: -Infinity, sum: 0, n: 0, odd: 0 };
    const last = this.buckets.at(-1);
    if (!last || last.key < key) {
      this.buckets.push(fresh);
      return fresh;
    }
    const index = this.buckets.findIndex((bucket) => bucket.key >= key);
    if (this.buckets[index].key === key) return this.buckets[index];
    this.buckets.splice(index, 0, fresh);
    return fresh;
  }

  #widen() {
    this.width *= 2;
    const wide = [];
    for (const bucket of this.buckets) {
      const key = Math.floor(bucket.first / this.width);
      const last = wide.at(-1);
      if (last && last.key === key) merge(last, bucket);
      else wide.push({ ...bucket, key });
    }
    this.buckets = wide;
  }

  #vote(distance) {
    if (distance === this.stride) this.votes = Math.min(this.votes + 1, 3);
    else if (this.votes === 0) this.stride = distance;
    else this.votes -= 1;
  }
}

export function mean(bucket) {
  return bucket.n > 0 ? bucket.sum / bucket.n : NaN;
}

function merge(into, from) {
  if (from.last >= into.last) into.value = from.value;
  into.first = Math.min(into.first, from.first);
  into.last = Math.max(into.last, from.last);
  into.stride = Math.max(into.stride, from.stride);
  into.low = Math.min(into.low, from.low);
  into.high = Math.max(into.high, from.high);
  into.sum += from.sum;
  into.n += from.n;
  into.odd += from.odd;
}
