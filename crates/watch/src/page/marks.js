// Marks in lanes: each kind has a shape of its own.

import { svg } from "./svg.js";
import { GRAVITY, MARKS, plain, spaced } from "./words.js";

const SHAPES = {
  __proto__: null,
  passed: "M0 -6 L6 5 L-6 5 Z",
  refused: "M-6 -6 H6 V6 H-6 Z M-3 -3 L3 3 M3 -3 L-3 3",
  postponed: "M0 -6 L6 0 L0 6 L-6 0 Z",
  violation: "M-3 -7 H3 L7 -3 V3 L3 7 H-3 L-7 3 V-3 Z M0 -4 V1 M0 3 V4.5",
  fault: "M1 -7 L-5 1 H0 L-1 7 L5 -1 H0 Z",
  culled: "M-5 -5 L5 5 M5 -5 L-5 5",
  rollback: "M6 0 H-5 M-1 -5 L-6 0 L-1 5",
  restart: "M5 -3 A6 6 0 1 0 6 2 M5 -7 V-2 H0",
  breaker: "M-7 3 H-3 L3 -4 M3 3 H7",
  pause: "M-3 -5 V5 M3 -5 V5",
  resume: "M-4 -5 L5 0 L-4 5 Z",
};

export function shape(kind, x, y) {
  return svg("path", { class: `mark ${kind}`, d: SHAPES[kind], transform: `translate(${x} ${y})` });
}

// For a legend.
export function sample(kind) {
  return svg("svg", { width: 18, height: 18, viewBox: "-9 -9 18 18", "aria-hidden": true }, shape(kind, 0, 0));
}

export function said(mark) {
  const reason = mark.attributes.reason ? `: ${spaced(mark.attributes.reason)}` : "";
  const gate = mark.attributes.gate ? `${plain(mark.attributes.gate)} ` : "";
  const verdict = gate ? { passed: "passed", refused: "refused", postponed: "not yet" }[mark.kind] : undefined;
  const undone = mark.isGone ? " (undone: the run went back)" : "";
  return `step ${mark.step}: ${gate}${verdict ?? MARKS[mark.kind].split(":")[0]}${reason}${undone}`;
}

// Draws marks on a line. Those that would lie over each other become one with a count, in the shape of the gravest.
export function drawMarks(marks, view, y, apart, pick) {
  const groups = [];
  for (const mark of marks) {
    const x = view.x(mark.step);
    if (x < -8 || x > view.width + 8) continue;
    const open = groups.at(-1);
    if (open && open.marks[0].isGone === mark.isGone && x - open.x < apart && x >= open.x) open.marks.push(mark);
    else groups.push({ x, marks: [mark] });
  }
  return groups.map(({ x, marks: close }) => {
    const gravest = close.reduce((a, b) => (GRAVITY.indexOf(b.kind) > GRAVITY.indexOf(a.kind) ? b : a));
    const inside = Math.min(Math.max(x, 8), view.width - 8);
    const group = svg("g", { class: close[0].isGone ? "marks abandoned" : "marks", onclick: () => pick(gravest) });
    group.append(svg("title", {}, close.slice(0, 12).map(said).join("\n") + (close.length > 12 ? `\nand ${close.length - 12} more` : "")));
    group.append(svg("rect", { class: "touch", x: inside - 9, y: y - 10, width: 18, height: 20 }));
    group.append(shape(gravest.kind, inside, y));
    const gates = [...new Set(close.map((mark) => mark.label).filter(Boolean))];
    const isShort = gates.length === close.length && close.length < 3;
    const label = isShort ? gates.join(" ") : [gravest.label, close.length > 1 ? `+${close.length - 1}` : ""].join(" ").trim();
    const isLast = inside > view.width - 34;
    if (label) group.append(svg("text", { class: "mark-label", x: isLast ? inside - 9 : inside + 9, y: y + 4, "text-anchor": isLast ? "end" : "start" }, label));
    return group;
  });
}
