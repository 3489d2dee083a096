// What stands above and below the plots: state of the feed, key numbers, what is at a step, parameters, all numbers.

import { mean } from "./series.js";
import { byId, html, say, svg } from "./svg.js";
import { sample } from "./marks.js";
import { MOST_NAMES } from "./run.js";
import { GATES, HEALTH, MARKS, STAGES, bytes, count, short } from "./words.js";

// Seeds in the line of what is at a step.
const MOST_IN_LINE = 8;
// Rows of the table of all numbers.
const MOST_ROWS = 2000;

// Stages of seeds that are not in the network any more.
const GONE = ["CULLED", "EMBARGOED", "RESETTING", "TERMINATED"];

const FEED = {
  __proto__: null,
  "live": ["●", "live: showing what the run writes"],
  "quiet": ["◌", "nothing new for some seconds"],
  "reading": ["…", "reading what the run has written so far"],
  "waiting": ["◌", "waiting for a run"],
  "gone": ["✕", "the file is gone"],
  "no server": ["✕", "no connection"],
};

export function showFeed(state, run) {
  const [sign, text] = FEED[state.word];
  const share = state.word === "reading" ? `: ${Math.floor(100 * state.share)} %` : "";
  say(byId("feed"), `${sign} ${text}${share}`);
  byId("feed").dataset.state = state.word;
  const notes = [];
  if (state.detail) notes.push(state.detail);
  if (state.unfinished > 0) notes.push(`The last line is not finished (${bytes(state.unfinished)}); it is read once it is.`);
  const { lines, oversized, example } = run.bad;
  if (lines > 0) notes.push(`${count(lines)} ${lines === 1 ? "line is" : "lines are"} not telemetry and left out${example ? `; the last one begins: ${example}` : ""}`);
  if (oversized > 0) notes.push(`${count(oversized)} too long ${oversized === 1 ? "line is" : "lines are"} left out.`);
  if (run.undrawn.size > 0) notes.push(`${undrawn(run)} are not drawn and have no numbers here: the run has more than this page shows. Their events are in the list.`);
  say(byId("notes"), notes.join("\n"));
  byId("notes").hidden = notes.length === 0;
}

export function showTiles(run) {
  say(byId("tile-step"), run.last === null ? "no data" : count(run.last));
  const worker = run.workers === null ? "" : `; worker ${run.rank} (0 to ${run.workers - 1})`;
  say(byId("tile-step-note"), `batches learned from so far${worker}`);
  const loss = run.loss.latest;
  say(byId("tile-loss"), loss ? short(loss.value) : run.loss.count > 0 ? "unknown" : "no data");
  say(byId("tile-loss-note"), loss && loss.step < run.last ? `as of step ${count(loss.step)}` : "of the network on its last batch");
  const stages = run.present().map((seed) => seed.stage);
  const gone = stages.filter((stage) => GONE.includes(stage)).length;
  const fossils = stages.filter((stage) => stage === "FOSSILIZED").length;
  const isEmpty = run.packets === 0;
  say(byId("tile-seeds"), isEmpty ? "no data" : count(stages.length + run.undrawn.size));
  const notes = [`${fossils} accepted`, `${gone} taken out`, `${stages.length - fossils - gone} on their way`];
  if (run.undrawn.size > 0) notes.push(`${count(run.undrawn.size)} not drawn`);
  const undone = run.seeds.size - stages.length;
  if (undone > 0) notes.push(`not counted: ${count(undone)} undone`);
  say(byId("tile-seeds-note"), run.seeds.size === 0 ? "none yet" : notes.join(", "));
  const health = run.health.at(-1);
  const about = HEALTH[health?.status] ?? HEALTH.UNKNOWN;
  say(byId("tile-health"), `${about.sign} ${about.word}`);
  byId("tile-health").dataset.status = health?.status ?? "UNKNOWN";
  say(byId("tile-health-note"), health?.summary || about.text);
  say(byId("tile-alarms"), isEmpty ? "no data" : `${count(run.counts.critical)} / ${count(run.counts.warning)}`);
  say(byId("run-name"), run.id ?? "");
}

// How many seeds have no lane.
function undrawn(run) {
  const { size } = run.undrawn;
  return `${count(size)}${size >= MOST_NAMES ? " or more" : ""} of ${count(size + run.present().length)} seeds`;
}

// What is known of one step, in words.
export function showStep(run, step) {
  if (run.last === null) {
    say(byId("at-step"), "There is no data yet.");
    return;
  }
  const at = step ?? run.last;
  const number = (bucket) => (bucket === null ? "no data" : bucket.n === 0 ? "not a number" : bucket.n > 1 ? `about ${short(mean(bucket))}` : short(mean(bucket)));
  const there = run.present().filter((seed) => seed.seen <= at);
  const seeds = worthiest(there, at).map((seed) => {
    const stage = seed.stageAt(at) ?? "stage unknown";
    const alpha = seed.alpha.at(at);
    return `${seed.id}: ${stage.toLowerCase()}${alpha ? `, alpha ${number(alpha)}` : ""}`;
  });
  if (there.length > MOST_IN_LINE) seeds.push(`and ${count(there.length - MOST_IN_LINE)} more seeds`);
  const text = [`${step === null ? "Newest step" : "Step"} ${count(at)}`, `loss ${number(run.loss.at(at))}`, ...seeds].join("  ·  ");
  say(byId("at-step"), text);
}

// Those on their way at that step, and then the newest.
function worthiest(seeds, at) {
  if (seeds.length <= MOST_IN_LINE) return seeds;
  const isActive = (seed) => !["FOSSILIZED", ...GONE].includes(seed.stageAt(at));
  const [active, others] = [seeds.filter(isActive), seeds.filter((seed) => !isActive(seed))];
  const byAge = (a, b) => b.seen - a.seen;
  return [...active.reverse().sort(byAge), ...others.reverse().sort(byAge)].slice(0, MOST_IN_LINE);
}

export function showParameters(run) {
  const row = (name, { registered: { latest } }, stage) => [name, latest.tensors, latest.parameters, stage];
  // A network that is attached again has the seeds of before in it.
  const grown = run.present().filter((seed) => seed.accepted !== null && seed.accepted > (run.registered.latest.number ?? -1));
  const sum = (of) => [run, ...grown].reduce((total, it) => total + (it.registered.latest[of] ?? NaN), 0);
  const others = run.undrawn.size > 0 ? `, without the ${count(run.undrawn.size)} that are not drawn` : "";
  const rows = [row("network when it was attached", run, "")];
  rows.push(["network with the seeds accepted since", sum("tensors"), sum("parameters"), `${grown.length} accepted${others}`]);
  for (const seed of run.present()) rows.push(row(seed.id, seed, (seed.stage ?? "stage unknown").toLowerCase()));
  const known = (value) => (Number.isFinite(value) ? count(value) : "not written");
  const cells = rows.map(([name, tensors, parameters, stage]) => [name, known(parameters), known(tensors), stage]);
  fillTable(byId("parameters"), cells);
}

export function showNumbers(run, names) {
  if (!byId("numbers-box").open) return;
  const found = run.numbers();
  // Too many: those that were written last.
  const shown = found.length > MOST_ROWS ? found.sort((a, b) => b.step - a.step).slice(0, MOST_ROWS) : found;
  const untold = [run, ...run.present()].filter((it) => it.values.untold > 0).map((it) => (it === run ? "the run" : it.id));
  const notes = [];
  if (found.length > MOST_ROWS) notes.push(`The ${count(MOST_ROWS)} of ${count(found.length)} that were written last.`);
  if (untold.length > 0) notes.push(`More metrics than are kept: ${untold.slice(0, 8).join(", ")}${untold.length > 8 ? ` and ${count(untold.length - 8)} more` : ""}.`);
  say(byId("numbers-note"), notes.join(" "));
  byId("numbers-note").hidden = notes.length === 0;
  const all = shown.sort((a, b) => a.name.localeCompare(b.name) || a.seed.localeCompare(b.seed) || a.told.localeCompare(b.told));
  const cells = all.map(({ name, seed, told, step, value, isGone }) => {
    const text = `${short(value)}${unit(names[name]?.unit)}`;
    const whose = [seed, told].filter(Boolean).join(" ");
    return [name, whose, isGone ? `unknown (was ${text})` : text, isGone ? `${count(step)}, undone` : count(step), names[name]?.meaning ?? ""];
  });
  fillTable(byId("numbers"), cells);
}

function unit(unit) {
  return !unit || unit === "1" ? "" : ` ${unit === "By" ? "bytes" : unit}`;
}

// Writes only the cells that are different.
function fillTable(body, rows) {
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((cells, index) => {
    const row = body.rows[index] ?? body.insertRow();
    cells.forEach((text, column) => say(row.cells[column] ?? row.insertCell(), text));
  });
}

export function showRuns(answer, chosen, pinned) {
  const select = byId("runs");
  const options = [["", "the one that is being written"], ...answer.runs.map((run) => [run.name, `${run.name} (${bytes(run.bytes)})`])];
  const value = pinned ? chosen : "";
  if (pinned && !answer.runs.some((run) => run.name === chosen)) options.push([chosen, `${chosen} (gone)`]);
  options.forEach(([name, text], index) => {
    const option = select.options[index] ?? select.appendChild(html("option"));
    if (option.value !== name || !option.hasAttribute("value")) option.setAttribute("value", name);
    say(option, text);
  });
  while (select.options.length > options.length) select.options[options.length].remove();
  if (select.value !== value) select.value = value;
  say(byId("directory"), `${chosen ?? ""}${chosen ? " in " : ""}${answer.directory}${answer.has_more ? " (there may be more files than are listed)" : ""}`);
}

// What stages, gates and marks look like and mean. It does not change.
export function showLegend() {
  for (const [stage, text] of Object.entries(STAGES)) {
    const size = { width: 34, height: 18 };
    const picture = svg("svg", { ...size, "aria-hidden": true }, svg("rect", { class: `band ${stage}`, ...size }), svg("rect", { class: "weave", ...size, fill: `url(#weave-${stage})` }));
    byId("legend-stages").append(html("li", {}, picture, html("span", {}, text)));
  }
  for (const [gate, text] of Object.entries(GATES)) byId("legend-gates").append(html("li", {}, html("b", {}, gate), html("span", {}, text)));
  for (const [kind, text] of Object.entries(MARKS)) byId("legend-marks").append(html("li", {}, sample(kind), html("span", {}, text)));
}

export function eventAt(run, number) {
  return run.told().find((event) => event.number === number) ?? null;
}
