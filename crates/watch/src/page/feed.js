// Polls the server for runs and for what is new in one of them.

const REST = 500;
const RUNS_EVERY = 4;
const QUIET_TURNS = 4;
// Another run is gone over to if it was written so much later than this one. Our choice: a slow run writes more often than that.
const LATER_BY_MS = 30000;

export class Feed {
  // `on.restart()`, `on.lines(text, oversized)`, `on.runs(answer, chosen)`, `on.state(state)`.
  constructor(on) {
    this.on = on;
    this.runs = null;
    this.chosen = null;
    this.pinned = false;
    this.cursor = null;
    this.total = 0;
    this.quiet = 0;
    // When the chosen file was last written, as far as is known.
    this.written = null;
    this.turn = 0;
    this.stopped = false;
    this.epoch = 0;
  }

  // Follows this run, or whichever is written if it is null.
  choose(name) {
    this.pinned = name !== null;
    this.turn = 0;
    const next = name ?? this.runs?.runs[0]?.name;
    if (next !== undefined) this.#take(next);
  }

  async follow() {
    while (!this.stopped) {
      await this.#turn();
      await rest(document.hidden ? 2 * REST : REST);
    }
  }

  async #turn() {
    try {
      if (this.turn % RUNS_EVERY === 0) await this.#look();
      this.turn += 1;
      if (this.chosen === null) {
        this.on.state({ word: "waiting", detail: this.#absence() });
        return;
      }
      await this.#read();
    } catch (error) {
      // What has been read stays. The server may come back on the same port.
      this.turn = 0;
      this.on.state({ word: "no server", detail: `The program that serves this page does not answer. Trying again. (${error.message})` });
    }
  }

  async #look() {
    const answer = await fetch("/runs");
    if (!answer.ok) throw new Error(`runs: ${answer.status}`);
    const runs = await answer.json();
    this.runs = runs;
    if (!this.pinned && runs.runs.length > 0) {
      const here = runs.runs.find((run) => run.name === this.chosen);
      const newest = runs.runs[0];
      // A file that was removed keeps the time of before.
      this.written = here?.modified_ms ?? this.written;
      const isDone = here === undefined || this.quiet >= QUIET_TURNS;
      const isLater = this.written !== null && newest.modified_ms - this.written >= LATER_BY_MS;
      if (this.chosen === null || (isDone && isLater)) this.#take(newest.name);
    }
    this.on.runs(runs, this.chosen);
  }

  #take(name) {
    if (name === this.chosen) return;
    this.epoch += 1;
    this.chosen = name;
    this.cursor = null;
    this.total = 0;
    this.quiet = 0;
    this.written = this.runs?.runs.find((run) => run.name === name)?.modified_ms ?? null;
    this.on.restart();
  }

  // Reads as long as there is more, and lets the browser draw between two pieces.
  async #read() {
    const epoch = this.epoch;
    for (;;) {
      const from = this.cursor === null ? "" : `&from=${this.cursor}`;
      const answer = await fetch(`/lines?run=${encodeURIComponent(this.chosen)}${from}`);
      const text = await answer.text();
      if (epoch !== this.epoch) return;
      if (answer.status === 404) {
        this.turn = 0;
        this.on.state({ word: "gone", detail: "The file is not there any more. What it said is still shown; if it comes back, the page goes on." });
        return;
      }
      if (!answer.ok) throw new Error(text.trim());
      if (answer.headers.get("kasmina-restarted") === "1") {
        this.total = 0;
        this.on.restart();
      }
      const next = answer.headers.get("kasmina-next");
      const behind = Number(answer.headers.get("kasmina-behind"));
      const oversized = Number(answer.headers.get("kasmina-oversized"));
      const moved = next !== this.cursor;
      this.cursor = next;
      const done = Number(next.split("-")[0]);
      if (text !== "" || oversized > 0) {
        this.quiet = 0;
        this.on.lines(text, oversized);
      } else {
        this.quiet += 1;
      }
      const share = done + behind > 0 ? done / (done + behind) : 1;
      const isReading = behind > 0 && text !== "";
      this.on.state(isReading ? { word: "reading", share } : { word: this.quiet < QUIET_TURNS ? "live" : "quiet", unfinished: behind });
      if (behind === 0 || !moved) return;
      await rest(0);
    }
  }

  #absence() {
    if (!this.runs) return "";
    return this.runs.is_there
      ? `There is no *.jsonl in ${this.runs.directory} yet.`
      : `The directory ${this.runs.directory} is not there yet.`;
  }
}

function rest(milliseconds) {
  return new Promise((done) => setTimeout(done, milliseconds));
}
