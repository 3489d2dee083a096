// The loss curves.

import { mean } from "./series.js";
import { byId, say, svg, ticks } from "./svg.js";
import { short } from "./words.js";

const HEIGHT = 240;
const TOP = 12;
const BOTTOM = 8;
// A line is smoothed over so many columns on each side.
const SMOOTH = 5;
// Curves of seeds; more could not be told apart.
const MOST_CURVES = 24;

export class LossPlot {
  constructor(view) {
    this.view = view;
    this.plot = byId("loss-plot");
    this.axis = byId("loss-axis");
    this.isLog = false;
  }

  // Returns the steps of which nothing is known, for the lanes.
  draw(run) {
    const { view } = this;
    this.plot.setAttribute("viewBox", `0 0 ${view.width} ${HEIGHT}`);
    const columns = Math.max(Math.floor(view.width / 2), 50);
    const curves = [{ name: "network", series: run.loss, number: 0 }];
    const all = [...run.seeds.values()].map((seed, index) => ({ name: seed.id, series: seed.loss, number: 1 + (index % 6), seed }));
    const seen = all.filter(({ series }) => series.count > 0).sort((a, b) => b.seed.last - a.seed.last || b.seed.seen - a.seed.seen);
    curves.push(...seen.slice(0, MOST_CURVES));
    for (const curve of curves) curve.points = curve.series.columns(view.from, view.to, columns);
    const gone = run.abandoned.map((series) => series.columns(view.from, view.to, columns));
    const scale = this.#scale([...curves.map((curve) => curve.points), ...gone].flat());
    const parts = [];
    if (!scale) {
      this.axis.replaceChildren();
      this.plot.replaceChildren(svg("text", { class: "empty", x: view.width / 2, y: HEIGHT / 2 }, run.packets > 0 ? "no loss in these steps" : "no data yet"));
      return [];
    }
    this.#ticks(scale, parts);
    const missing = gaps(curves[0].points);
    parts.push(...drawMissing(missing, view, HEIGHT));
    for (const points of gone) parts.push(svg("path", { class: "curve abandoned", d: line(points, view, scale.y) }));
    parts.push(svg("path", { class: "range", d: band(curves[0].points, view, scale.y) }));
    for (const curve of curves.toReversed()) {
      if (curve.points.length === 0) continue;
      parts.push(svg("path", { class: `curve c${curve.number}`, d: line(curve.points, view, scale.y) }, svg("title", {}, curve.name)));
      for (const point of lonely(curve.points)) {
        parts.push(svg("circle", { class: `dot c${curve.number}`, cx: view.x(middle(point)), cy: scale.y(mean(point)), r: 1.8 }));
      }
    }
    this.#labels(curves, scale, parts);
    this.#odd(curves, parts);
    this.plot.replaceChildren(...parts);
    const per = (view.to - view.from) / columns;
    const steps = Math.max(1, Math.round(per * (2 * SMOOTH + 1)));
    const lines = steps > 1 ? `The lines are means over about ${steps} steps` : "The lines join the losses of single steps";
    say(byId("smoothing"), `${lines}; the pale band reaches from the lowest to the highest loss of the network. The line of a seed is the loss of the pass in which it learns or is measured.${seen.length > MOST_CURVES ? ` Only the newest ${MOST_CURVES} seeds have one.` : ""}`);
    return missing;
  }

  toggle() {
    this.isLog = !this.isLog;
    return this.isLog;
  }

  #scale(points) {
    const numbers = points.filter((point) => point.n > 0 && (!this.isLog || point.high > 0));
    if (numbers.length === 0) return null;
    let low = Math.min(...numbers.map((point) => point.low));
    let high = Math.max(...numbers.map((point) => point.high));
    if (this.isLog) {
      low = Math.min(...numbers.map((point) => (point.low > 0 ? point.low : point.high)));
      [low, high] = [Math.log10(low), Math.log10(high)];
    } else if (low > 0 && low < high / 2) {
      low = 0;
    }
    if (high - low < 1e-12) [low, high] = [low - 0.5, high + 0.5];
    const span = HEIGHT - TOP - BOTTOM;
    const y = (value) => {
      const at = this.isLog ? Math.log10(Math.max(value, 1e-300)) : value;
      return TOP + span * (1 - Math.max((at - low) / (high - low), 0));
    };
    return { low, high, y };
  }

  #ticks({ low, high, y }, parts) {
    const at = this.isLog ? ticks(low, high, 4).map((power) => 10 ** power) : ticks(low, high, 5);
    this.axis.replaceChildren(...at.map((value) => svg("text", { x: 56, y: y(value) + 4, "text-anchor": "end" }, short(Number(value.toPrecision(3))))));
    for (const value of at) parts.push(svg("line", { class: "grid", x1: 0, x2: this.view.width, y1: y(value), y2: y(value) }));
  }

  // A name at the end of each curve, as far as there is room for it.
  #labels(curves, scale, parts) {
    const taken = [];
    for (const curve of curves) {
      const last = curve.points.findLast((point) => point.n > 0);
      if (!last) continue;
      const x = this.view.x(middle(last));
      let y = scale.y(mean(last)) - 8;
      const covers = (other) => Math.abs(other.y - y) < 13.9 && Math.abs(other.x - x) < 90;
      for (let other = taken.find(covers); other; other = taken.find(covers)) y = other.y - 14;
      if (y < 12 && taken.length > 0) continue;
      y = Math.max(y, 12);
      taken.push({ x, y });
      const isRight = x > this.view.width - 90;
      const label = { class: `curve-label c${curve.number}`, x: isRight ? Math.min(x, this.view.width) - 4 : x + 4, y };
      parts.push(svg("text", { ...label, "text-anchor": isRight ? "end" : "start" }, curve.name));
    }
  }

  // A loss that is not a number.
  #odd(curves, parts) {
    for (const point of curves.flatMap((curve) => curve.points).filter((point) => point.odd > 0)) {
      const x = this.view.x(middle(point));
      const told = svg("title", {}, `steps ${point.first} to ${point.last}: ${point.odd} losses were not finite numbers`);
      parts.push(svg("g", {}, told, svg("path", { class: "odd", d: `M${x - 4} 4 l8 8 m0 -8 l-8 8` })));
    }
  }
}

// Steps of which nothing is known, between those of which something is.
function gaps(points) {
  return points.flatMap((point, index) => (point.gap && index > 0 ? [{ from: points[index - 1].last, to: point.first }] : []));
}

export function drawMissing(missing, view, height) {
  return missing.flatMap(({ from, to }) => {
    const [left, width] = [view.x(from), Math.max(view.x(to) - view.x(from), 1)];
    const group = svg("g", {}, svg("title", {}, `no data between step ${from} and step ${to}`));
    group.append(svg("rect", { class: "missing-ground", x: left, y: 0, width, height }), svg("rect", { class: "missing", x: left, y: 0, width, height }));
    if (width > 46 && height > 40) group.append(svg("text", { class: "missing-label", x: left + width / 2, y: height - 14 }, "no data"));
    return group;
  });
}

function middle(point) {
  return (point.first + point.last) / 2;
}

// Runs of points without a gap and without what is no number.
export function segments(points) {
  const found = [];
  for (const point of points) {
    if (point.gap || found.length === 0 || point.n === 0) found.push([]);
    if (point.n > 0) found.at(-1).push(point);
  }
  return found.filter((segment) => segment.length > 0);
}

function lonely(points) {
  return segments(points).filter((segment) => segment.length === 1).map(([point]) => point);
}

export function line(points, view, y, smooth = SMOOTH) {
  const path = (segment) => segment.map((point, index) => {
    const close = segment.slice(Math.max(index - smooth, 0), index + smooth + 1);
    const near = close.filter((other) => Math.abs(other.column - point.column) <= smooth);
    const [sum, n] = near.reduce(([sum, n], other) => [sum + other.sum, n + other.n], [0, 0]);
    return `${index === 0 ? "M" : "L"}${view.x(middle(point)).toFixed(1)} ${y(sum / n).toFixed(1)}`;
  });
  return segments(points).flatMap(path).join("");
}

function band(points, view, y) {
  const path = (segment) => {
    const at = (point, value) => `${view.x(middle(point)).toFixed(1)} ${y(value).toFixed(1)}`;
    const up = segment.map((point) => at(point, point.high));
    const down = segment.toReversed().map((point) => at(point, point.low));
    return `M${[...up, ...down].join("L")}Z`;
  };
  return segments(points).map(path).join("");
}
