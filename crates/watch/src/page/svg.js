// Elements with attributes and children. Text goes in as text: what a run writes is never read as markup.

const NAMESPACE = "http://www.w3.org/2000/svg";

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(NAMESPACE, tag), attributes, children);
}

export function html(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function byId(id) {
  return document.getElementById(id);
}

// Only touches the page if the text is another: screen readers and selections stay where they are.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Round numbers between two, about so many. Between numbers that lie too close or too far apart for that, the lower one.
export function ticks(from, to, most) {
  const span = to - from;
  if (!(span > 0 && span < Infinity)) return [from];
  const rough = span / Math.max(most, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((digit) => digit * power).find((candidate) => candidate >= rough) ?? 10 * power;
  if (!(step > 0)) return [from];
  const first = Math.ceil(from / step);
  const found = [];
  // Counted: next to a large number, a small step changes nothing.
  for (let index = 0; index < most + 2; index += 1) {
    const at = (first + index) * step;
    if (at > to + step * 1e-9) break;
    const tick = Number(at.toPrecision(12));
    if (tick !== found.at(-1)) found.push(tick);
  }
  return found;
}
