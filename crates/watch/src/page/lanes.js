// A lane for each seed, and one for the run, on the axis of the loss.

import { drawMissing, line } from "./loss.js";
import { drawMarks } from "./marks.js";
import { byId, html, say, svg } from "./svg.js";
import { HEALTH, STAGES, count, short } from "./words.js";

const HEIGHT = 84;
const BAND = { top: 2, bottom: 60 };
const ALPHA = { top: 24, bottom: 56 };
const MARKS_AT = 73;
const RUN_HEIGHT = 46;

const UNDONE = "The run went back to before this seed's first step, or another run began.";

export class Lanes {
  // `pick(mark)` and `choose(seed)` are called when one is clicked.
  constructor(view, pick, choose) {
    this.view = view;
    this.pick = pick;
    this.choose = choose;
    this.rows = new Map();
    this.box = byId("lanes");
    this.seen = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const row = this.rows.get(entry.target.dataset.seed);
        if (row) row.isSeen = entry.isIntersecting;
      }
      view.changed();
    }, { rootMargin: "200px" });
  }

  reset() {
    this.seen.disconnect();
    this.rows.clear();
    this.box.replaceChildren();
  }

  draw(run, chosen, missing) {
    this.missing = missing;
    this.#run(run);
    for (const id of this.rows.keys()) if (!run.seeds.has(id)) this.#drop(id);
    for (const seed of run.seeds.values()) {
      const row = this.rows.get(seed.id) ?? this.#row(seed.id);
      const stage = seed.isGone ? "undone" : (seed.stage ?? "stage unknown");
      say(row.stage, stage.toLowerCase());
      row.button.title = seed.isGone ? UNDONE : (STAGES[stage] ?? "The lines do not say in which stage this seed is.");
      row.button.setAttribute("aria-pressed", String(chosen === seed.id));
      row.element.classList.toggle("undone", seed.isGone);
      say(row.told, seed.isGone ? "not there at this step" : told(seed, run.last));
      if (row.isSeen) this.#lane(row.plot, seed, run.last);
    }
    byId("no-seeds").hidden = run.seeds.size > 0;
  }

  #row(id) {
    const name = html("span", { class: "seed-name", title: id }, id);
    const stage = html("span", { class: "seed-stage" });
    const numbers = html("span", { class: "seed-told" });
    const button = html("button", { type: "button", class: "seed", onclick: () => this.choose(id) }, name, stage, numbers);
    const plot = svg("svg", { class: "lane", height: HEIGHT, preserveAspectRatio: "none", "aria-hidden": true });
    const element = html("div", { class: "row", "data-seed": id }, button, plot);
    const row = { element, button, stage, told: numbers, plot, isSeen: false };
    this.rows.set(id, row);
    this.box.append(element);
    this.seen.observe(element);
    return row;
  }

  #drop(id) {
    const { element } = this.rows.get(id);
    this.seen.unobserve(element);
    element.remove();
    this.rows.delete(id);
  }

  #lane(plot, seed, end) {
    const { view } = this;
    plot.setAttribute("viewBox", `0 0 ${view.width} ${HEIGHT}`);
    const parts = [];
    let drawn = -Infinity;
    for (const band of seed.bands(end)) {
      // Of bands that are narrower than a pixel, one a pixel.
      const right = view.x(band.to);
      if (right - drawn < 0.75 && band.to < end) continue;
      drawn = right;
      this.#band(band, parts);
    }
    parts.push(svg("line", { class: "alpha-zero", x1: 0, x2: view.width, y1: ALPHA.bottom, y2: ALPHA.bottom }));
    const y = (alpha) => ALPHA.bottom - Math.min(Math.max(alpha, 0), 1) * (ALPHA.bottom - ALPHA.top);
    const points = seed.alpha.columns(view.from, view.to, Math.max(Math.floor(view.width / 2), 50));
    const path = line(points, view, y, 0);
    parts.push(svg("path", { class: "alpha-edge", d: path }), svg("path", { class: "alpha", d: path }));
    // Inside of the scale, where a line along its edge does not strike them out.
    for (const [text, y] of [["alpha 1", ALPHA.top + 12], ["0", ALPHA.bottom - 4]]) {
      parts.push(svg("text", { class: "alpha-scale", x: view.width - 3, y, "text-anchor": "end" }, text));
    }
    parts.push(...drawMissing(this.missing, view, BAND.bottom));
    parts.push(...drawMarks(seed.marks, view, MARKS_AT, 58, this.pick));
    plot.replaceChildren(...parts);
  }

  #band({ from, to, stage, isOpen }, parts) {
    const [left, right] = [Math.max(this.view.x(from), -2), Math.min(this.view.x(to), this.view.width + 2)];
    if (right < 0 || left > this.view.width) return;
    const width = Math.max(right - left, 1.5);
    const [y, height] = [BAND.top, BAND.bottom - BAND.top];
    const name = stage ?? "stage unknown";
    const about = `${STAGES[stage] ?? "The lines do not say which stage this was."}\nsteps ${isOpen ? "up" : from} to ${to}`;
    const group = svg("g", {}, svg("title", {}, about));
    group.append(svg("rect", { class: `band ${stage ?? "unknown"}`, x: left, y, width, height }));
    group.append(svg("rect", { class: "weave", x: left, y, width, height, fill: `url(#weave-${stage ?? "unknown"})` }));
    group.append(svg("line", { class: "edge", x1: left, x2: left, y1: y, y2: BAND.bottom }));
    const [shownFrom, room] = [Math.max(left, 0), Math.min(right, this.view.width) - Math.max(left, 0)];
    const label = [name, name.slice(0, 4) + ".", name.slice(0, 2), name.slice(0, 1)].find((text) => text.length * 7.4 + 8 < room);
    if (label) {
      group.append(svg("rect", { class: "label-ground", x: shownFrom + 3, y: 5, width: label.length * 7.4 + 4, height: 15, rx: 2 }));
      group.append(svg("text", { class: "band-label", x: shownFrom + 5, y: 16.5, textLength: label.length * 7.4 }, label));
    }
    parts.push(group);
  }

  // Health as a band, and what happened to the run as a whole.
  #run(run) {
    const plot = byId("run-lane");
    const { view } = this;
    plot.setAttribute("viewBox", `0 0 ${view.width} ${RUN_HEIGHT}`);
    const parts = [];
    run.health.forEach((band, index) => {
      const [left, right] = [view.x(band.step), view.x(run.health[index + 1]?.step ?? run.last)];
      if (right < 0 || left > view.width) return;
      const about = HEALTH[band.status] ?? HEALTH.UNKNOWN;
      const [from, width] = [Math.max(left, -2), Math.max(Math.min(right, view.width + 2) - Math.max(left, -2), 3)];
      const title = svg("title", {}, `from step ${band.step}: ${about.word}. ${band.summary || about.text}`);
      const rect = { x: from, y: 2, width, height: 18 };
      const group = svg("g", {}, title, svg("rect", { class: `health ${band.status}`, ...rect }));
      group.append(svg("rect", { class: "weave", ...rect, fill: `url(#weave-${band.status})` }));
      if (width > 80) group.append(svg("text", { class: "health-label", x: Math.max(from, 0) + 6, y: 15 }, `${about.sign} ${about.word}`));
      parts.push(group);
    });
    parts.push(...drawMissing(this.missing, view, 20));
    parts.push(...drawMarks(run.marks, view, 33, 40, this.pick));
    plot.replaceChildren(...parts);
  }
}

function told(seed, step) {
  const alpha = seed.alpha.latest;
  const isOld = alpha !== null && step - alpha.step > 2 * seed.alpha.stride;
  const { tensors, parameters } = seed.registered.latest;
  const size = parameters ?? tensors;
  return [
    alpha ? `alpha ${short(alpha.value)}${isOld ? ` at step ${count(alpha.step)}` : ""}` : seed.alpha.count > 0 ? "alpha unknown" : "no alpha yet",
    Number.isFinite(size) ? `${short(size)} ${parameters === null ? "tensors" : "parameters"}` : "",
  ].filter(Boolean).join(" · ");
}
