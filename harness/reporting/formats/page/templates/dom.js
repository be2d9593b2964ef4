// Data, elements and numbers. Text from outside becomes a text node, always: nothing here or below makes HTML of it.

const about = JSON.parse(document.getElementById("about").textContent);
const SVG = "http://www.w3.org/2000/svg";
const NOTHING = "\u2013";

let read;
/** The single runs, parsed when the first is asked for: they are most of the file. */
function runs() {
  return (read ??= JSON.parse(document.getElementById("runs").textContent));
}

function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A name that may break after `_`, `-`, `,` and `(`. */
function breakable(text) {
  return text.split(/(?<=[-_,(])/).flatMap((part, index) => (index ? [el("wbr"), part] : [part]));
}

/** The first cell of a row: a method's name, in a column no wider than it must be. */
function named(text) {
  return el("th", { scope: "row", class: "name" }, el("div", { class: "label" }, ...breakable(text)));
}

/** A table of names and values. */
function facts(pairs) {
  const list = el("dl", { class: "pairs" });
  for (const [name, value] of pairs) list.append(el("div", {}, el("dt", {}, name), el("dd", {}, value)));
  return list;
}

function fixed(value, digits) {
  return value === null || value === undefined ? NOTHING : value.toFixed(digits);
}

function signed(value, digits) {
  return value === null ? NOTHING : `${value < 0 ? "\u2212" : "+"}${Math.abs(value).toFixed(digits)}`;
}

/** Three digits are enough: 960, 9.6k, 46.1k, 1.25M. */
function counted(value) {
  if (value === null || value === undefined) return NOTHING;
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (value >= size * 0.9995) return `${value < size * 999.5 ? parseFloat((value / size).toPrecision(3)) : Math.round(value / size)}${unit}`;
  }
  return String(Math.round(value));
}

function duration(seconds) {
  if (seconds === null) return NOTHING;
  if (seconds < 90) return `${parseFloat(seconds.toPrecision(3))} s`;
  return seconds < 5400 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function bytes(value) {
  return value === null ? NOTHING : value >= 1e9 ? `${(value / 1e9).toFixed(2)} GB` : `${Math.round(value / 1e6)} MB`;
}

function probability(p) {
  return p === null ? NOTHING : p < 0.001 ? "< 0.001" : p.toPrecision(2);
}

function interval(low, high, digits, form = fixed) {
  return low === null || low === undefined ? NOTHING : `[${form(low, digits)}, ${form(high, digits)}]`;
}

function range(values) {
  return !values.length ? NOTHING : values.length === 1 ? String(values[0]) : `${values[0]}\u2013${values.at(-1)}`;
}

function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}
