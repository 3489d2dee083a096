// Wires the feed to the plots. Lines are taken in as they come; the page is drawn a few times a second.

import { Events } from "./events.js";
import { Feed } from "./feed.js";
import { Lanes } from "./lanes.js";
import { LossPlot } from "./loss.js";
import { eventAt, showFeed, showLegend, showNumbers, showParameters, showRuns, showStep, showTiles } from "./panels.js";
import { Run } from "./run.js";
import { byId, say, svg, ticks } from "./svg.js";
import { View } from "./view.js";
import { short } from "./words.js";

const DRAW_EVERY = 200;
const NEWEST = 1000;

let run = new Run();
let state = { word: "waiting" };
let names = { events: { __proto__: null }, metrics: { __proto__: null } };
let drawn = 0;
// How long that took.
let took = 0;
let isDue = false;
// The step under the pointer.
let hovered = null;

const view = new View(due);
const loss = new LossPlot(view);
const lanes = new Lanes(view, pickMark, chooseSeed);
const events = new Events(pickEvent);
const feed = new Feed({
  restart() {
    run = new Run();
    view.reset();
    lanes.reset();
    events.reset();
    due();
  },
  lines(text, oversized) {
    for (const line of text.split("\n")) run.line(line);
    run.bad.oversized += oversized;
    due();
  },
  runs(answer, chosen) {
    showRuns(answer, chosen, feed.pinned);
  },
  state(next) {
    state = next;
    due();
  },
});

// Soon, and not more often than that; while much is read, most of the time is for reading.
function due() {
  if (isDue) return;
  isDue = true;
  const every = state.word === "reading" ? Math.max(DRAW_EVERY, 5 * took) : DRAW_EVERY;
  const wait = Math.max(drawn + every - performance.now(), 0);
  setTimeout(() => requestAnimationFrame(draw), wait);
}

function draw() {
  isDue = false;
  drawn = performance.now();
  try {
    drawAll();
  } catch (error) {
    // What comes next may be drawn again.
    say(byId("notes"), `A part of this page could not be drawn, and may be old. (${error.message})`);
    byId("notes").hidden = false;
  }
}

function drawAll() {
  view.width = Math.max(byId("loss-plot").clientWidth, 100);
  view.extend(run.first, run.last);
  showFeed(state, run);
  showTiles(run);
  const missing = loss.draw(run);
  lanes.draw(run, byId("event-seed").value, missing);
  drawAxis();
  hovered = hovered === null || run.last === null ? null : Math.min(hovered, run.last);
  showStep(run, hovered ?? view.step);
  showParameters(run);
  showNumbers(run, names.metrics);
  events.draw(run);
  // For whoever tests the page.
  document.body.dataset.packets = run.packets;
  took = performance.now() - drawn;
  document.body.dataset.drawMs = took.toFixed(1);
}

function drawAxis() {
  const plot = byId("step-axis");
  plot.setAttribute("viewBox", `0 0 ${view.width} 34`);
  const parts = [];
  if (run.last !== null) {
    for (const step of ticks(view.from, view.to, Math.max(Math.floor(view.width / 110), 2)).filter(Number.isInteger)) {
      const x = view.x(step);
      const anchor = x < 20 ? "start" : x > view.width - 20 ? "end" : "middle";
      parts.push(svg("line", { class: "tick", x1: x, x2: x, y1: 0, y2: 5 }), svg("text", { x, y: 17, "text-anchor": anchor }, short(step)));
    }
    parts.push(svg("text", { class: "axis-name", x: view.width / 2, y: 31, "text-anchor": "middle" }, "training steps"));
  }
  plot.replaceChildren(...parts);
  const cursor = byId("cursor");
  const isSeen = view.step !== null && view.step >= view.from && view.step <= view.to;
  cursor.hidden = !isSeen;
  if (isSeen) cursor.style.setProperty("--at", `${view.x(view.step)}px`);
  const slider = byId("plot");
  slider.setAttribute("aria-valuemin", view.bounds?.from ?? 0);
  slider.setAttribute("aria-valuemax", view.bounds?.to ?? 0);
  slider.setAttribute("aria-valuenow", view.step ?? run.last ?? 0);
  slider.setAttribute("aria-valuetext", byId("at-step").textContent);
}

function pickMark(mark) {
  const event = eventAt(run, mark.number);
  if (event) pickEvent(event);
  else view.look(mark.step);
}

function pickEvent(event) {
  if (!event) {
    due();
    return;
  }
  // A step that the run has gone back from cannot be looked at.
  if (event.step <= run.last) view.look(event.step);
  events.select(event);
  due();
}

// The events of a seed, or of all if it was chosen before.
function chooseSeed(id) {
  const select = byId("event-seed");
  select.value = select.value === id ? "" : id;
  due();
}

// To the next event that has a mark, forwards or backwards. Those that a rollback undid are passed over.
function jump(by) {
  const all = [...run.marks, ...[...run.seeds.values()].flatMap((seed) => seed.marks)];
  const marks = all.filter((mark) => !mark.isGone).sort((a, b) => a.step - b.step);
  const from = view.step ?? (by > 0 ? -Infinity : Infinity);
  const next = by > 0 ? marks.find((mark) => mark.step > from) : marks.findLast((mark) => mark.step < from);
  if (next) pickMark(next);
}

const KEYS = {
  __proto__: null,
  ArrowRight: (key) => view.move(key.shiftKey ? 0.1 : 0.01),
  ArrowLeft: (key) => view.move(key.shiftKey ? -0.1 : -0.01),
  ".": () => view.look((view.step ?? view.from) + 1),
  ",": () => view.look((view.step ?? view.to) - 1),
  PageUp: () => view.move(0.1),
  PageDown: () => view.move(-0.1),
  Home: () => view.look(view.from),
  End: () => view.look(view.to),
  n: () => jump(1),
  p: () => jump(-1),
  "+": () => view.zoom(0.5),
  "=": () => view.zoom(0.5),
  "-": () => view.zoom(2),
  "0": () => view.whole(),
  Escape: () => view.look(null),
};

function listen() {
  byId("plot").addEventListener("keydown", (key) => {
    const act = KEYS[key.key];
    if (!act || key.ctrlKey || key.metaKey || key.altKey) return;
    key.preventDefault();
    act(key);
  });
  const step = (event) => {
    const box = byId("loss-plot").getBoundingClientRect();
    return event.clientX >= box.left && event.clientX <= box.right ? view.stepAt(event.clientX - box.left) : null;
  };
  byId("plots").addEventListener("pointermove", (event) => {
    const at = event.pointerType === "mouse" ? step(event) : null;
    hovered = at === null ? null : Math.min(Math.max(at, run.first ?? 0), run.last ?? 0);
    showStep(run, hovered ?? view.step);
  });
  byId("plots").addEventListener("pointerleave", () => {
    hovered = null;
    showStep(run, view.step);
  });
  byId("plots").addEventListener("click", (event) => {
    const at = step(event);
    if (at !== null && !event.target.closest(".marks, button")) view.look(at);
  });
  byId("zoom-in").addEventListener("click", () => view.zoom(0.5));
  byId("zoom-out").addEventListener("click", () => view.zoom(2));
  byId("zoom-whole").addEventListener("click", () => view.whole());
  byId("zoom-newest").addEventListener("click", () => view.newest(NEWEST));
  byId("log-scale").addEventListener("click", (event) => {
    event.currentTarget.setAttribute("aria-pressed", String(loss.toggle()));
    due();
  });
  byId("runs").addEventListener("change", (event) => feed.choose(event.target.value === "" ? null : event.target.value));
  for (const id of ["show-critical", "show-warning", "show-info", "event-seed"]) byId(id).addEventListener("change", due);
  byId("numbers-box").addEventListener("toggle", due);
  byId("theme").addEventListener("click", () => {
    const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
    const now = document.documentElement.dataset.theme ?? (isDark ? "dark" : "light");
    document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
  });
  new ResizeObserver(due).observe(byId("loss-plot"));
}

async function learnNames() {
  const answer = await fetch("/names");
  if (!answer.ok) return;
  names = await answer.json();
  for (const table of Object.values(names)) Object.setPrototypeOf(table, null);
  events.names = names.events;
}

showLegend();
listen();
draw();
learnNames().catch((error) => say(byId("notes"), `The meanings of events could not be read: ${error.message}`));
feed.follow();
