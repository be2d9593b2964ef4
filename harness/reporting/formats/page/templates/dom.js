// Data and elements. Numbers come with their texts, made in Python as for every other format. Text from outside always becomes a text node: nothing here or below turns it into HTML.

const about = JSON.parse(document.getElementById("about").textContent);
const SVG = "http://www.w3.org/2000/svg";
const NOTHING = "\u2013";

let read;
/** The single runs, parsed when first needed: they are most of the file. */
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

/** A name that may break after `_`, `-`, `,` and a `(` that joins. */
function breakable(text) {
  return text.split(/(?<=[-_,]|\S\()/).flatMap((part, index) => (index ? [el("wbr"), part] : [part]));
}

/** The first cell of a row: a method's name, in a column no wider than it must be. */
function named(text) {
  return el("th", { scope: "row", class: "name" }, el("div", { class: "label" }, ...breakable(text)));
}

/** A box around a table that may be wider: it scrolls, by keyboard too. */
function scrolling(label, table) {
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, table);
}

/** A table of names and values. */
function facts(pairs) {
  const list = el("dl", { class: "pairs" });
  for (const [name, value] of pairs) list.append(el("div", {}, el("dt", {}, name), el("dd", {}, value)));
  return list;
}

function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}
