// The list of events.

import { byId, html, say } from "./svg.js";
import { SIGNS, count, plain, sentence, spaced } from "./words.js";

const SHOWN = 200;
// In place of a seed, whose name has no space.
const RUN = " ";

export class Events {
  // `pick(event)` when one is chosen.
  constructor(pick) {
    this.pick = pick;
    this.list = byId("event-list");
    this.seeds = byId("event-seed");
    this.names = { __proto__: null };
    this.shown = "";
    this.most = SHOWN;
    this.chosen = null;
    this.list.addEventListener("keydown", (key) => this.#key(key));
    byId("more-events").addEventListener("click", () => {
      this.most += SHOWN;
      this.pick(null);
    });
  }

  reset() {
    this.shown = "";
    this.most = SHOWN;
    this.chosen = null;
    this.detail(null);
  }

  draw(run) {
    const all = run.told();
    this.#seeds(run, all);
    const wanted = new Set(["critical", "warning", "info"].filter((level) => byId(`show-${level}`).checked));
    for (const level of ["critical", "warning", "info"]) say(byId(`count-${level}`), count(run.counts[level]));
    const seed = this.seeds.value;
    const isWanted = (event) => wanted.has(event.severity) && (seed === "" || (seed === RUN ? event.seed === null : event.seed === seed));
    const found = all.filter(isWanted);
    const kept = all.length;
    const total = run.counts.info + run.counts.warning + run.counts.critical;
    const older = total > kept ? ` ${count(total - kept)} older ones are not kept on this page.` : "";
    say(byId("event-count"), `${count(found.length)} of ${count(total)} events.${older}`);
    byId("more-events").hidden = found.length <= this.most;
    const signature = `${found[0]?.number}/${found.length}/${this.most}/${seed}/${[...wanted]}/${run.returns}`;
    if (signature === this.shown) return;
    this.shown = signature;
    this.#fill(found.slice(0, this.most));
  }

  select(event) {
    this.chosen = event?.number ?? null;
    for (const button of this.list.querySelectorAll("button")) {
      const isIt = Number(button.dataset.number) === this.chosen;
      button.setAttribute("aria-pressed", String(isIt));
      if (isIt) this.#show(button);
    }
    this.detail(event);
  }

  detail(event) {
    const box = byId("event-detail");
    if (!event) {
      box.replaceChildren(html("p", { class: "hint" }, "Choose an event to see all that it says."));
      return;
    }
    const rows = Object.entries(event.attributes).flatMap(([name, value]) => [html("dt", {}, name), html("dd", {}, plain(value))]);
    const parts = [
      html("h3", {}, `${SIGNS[event.severity]} ${event.name}`),
      html("p", {}, this.names[event.name] ?? "This page does not know this event."),
      html("p", { class: "hint" }, `step ${count(event.step)}, ${event.seed ?? "the run"}, ${event.time ?? "no time"}`),
      event.isGone ? html("p", { class: "hint" }, "Since then the run went back to an earlier step.") : null,
      html("dl", {}, ...rows),
    ];
    if (event.attributes.reason && event.name !== "gate_event") {
      parts.push(html("p", { class: "hint" }, "What the reason means and what to do: ", html("code", {}, `kasmina explain ${event.attributes.reason}`)));
    }
    box.replaceChildren(...parts.filter(Boolean));
  }

  // Scrolls the list, and not the page.
  #show(button) {
    const [list, item] = [this.list.getBoundingClientRect(), button.getBoundingClientRect()];
    if (item.top < list.top) this.list.scrollTop -= list.top - item.top + 4;
    if (item.bottom > list.bottom) this.list.scrollTop += item.bottom - list.bottom + 4;
  }

  // Buttons that are there stay, so that the focus does.
  #fill(events) {
    const there = new Map([...this.list.children].map((item) => [Number(item.firstChild.dataset.number), item]));
    const wanted = events.map((event) => there.get(event.number) ?? this.#item(event));
    const stay = new Set(wanted);
    for (const item of there.values()) if (!stay.has(item)) item.remove();
    wanted.forEach((item, index) => {
      item.firstChild.classList.toggle("undone", events[index].isGone);
      say(item.querySelector(".what"), `${sentence(events[index])}${events[index].isGone ? " (before the run went back)" : ""}`);
      if (this.list.children[index] !== item) this.list.insertBefore(item, this.list.children[index] ?? null);
    });
  }

  #item(event) {
    const button = html("button", {
      type: "button",
      class: `event ${event.severity}`,
      "data-number": event.number,
      "aria-pressed": String(event.number === this.chosen),
      onclick: () => this.pick(event),
    });
    const who = event.seed ?? "run";
    button.append(
      html("span", { class: "sign", title: event.severity }, SIGNS[event.severity]),
      html("span", { class: "level" }, event.severity),
      html("span", { class: "at" }, `step ${count(event.step)}`),
      html("span", { class: "who" }, who),
      html("span", { class: "what" }),
    );
    button.title = this.names[event.name] ?? spaced(event.name);
    return html("li", {}, button);
  }

  // Seeds that have a lane, and those that only events tell of.
  #seeds(run, events) {
    const ids = new Set([...run.seeds.keys(), ...events.map((event) => event.seed).filter((id) => id !== null)]);
    const [, , ...options] = this.seeds.options;
    const known = new Set(options.map((option) => option.value));
    for (const option of options) if (!ids.has(option.value)) option.remove();
    for (const id of ids) if (!known.has(id)) this.seeds.append(html("option", { value: id }, id));
  }

  #key(key) {
    const by = { __proto__: null, ArrowDown: 1, ArrowUp: -1 }[key.key];
    if (!by) return;
    const buttons = [...this.list.querySelectorAll("button")];
    const next = buttons[buttons.indexOf(document.activeElement) + by];
    if (!next) return;
    key.preventDefault();
    next.focus();
  }
}
