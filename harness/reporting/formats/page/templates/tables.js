// A table whose columns sort, hide and fold. Rows are made once; after that they only move, hide and show.

/**
 * columns: {title, key (its name, which the address keeps), cell(row) -> td or th, value(row) -> number, string or null (sorts; absent: doesn't), high (best first is highest), help, kind}
 * inOrder: whether the rows come sorted by `sorted`.
 * Returns {box, table, lines, columns, show(column, on), filter(keep), sortBy(index, direction), sortedBy()}.
 * The table sends an event `sorted` when its order changes.
 */
function sortableTable({ label, columns, rows, name, sorted = "", inOrder = true, attributes = {} }) {
  const keyOf = (column, index) => column.key ?? String(index);
  const headings = columns.map((column, index) => heading(column, index));
  const head = el("thead", {}, el("tr", {}, ...headings));
  const lines = rows.map((row, place) => ({ row, place, tr: el("tr", {}, ...columns.map((column) => column.cell(row))) }));
  const body = el("tbody", {}, ...lines.map((line) => line.tr));
  const table = el("table", attributes, el("caption", { class: "vh" }, label), head, body);
  const byRow = new Map(lines.map((line) => [line.tr, line]));

  function sortBy(index, direction) {
    const { value } = columns[index];
    const sign = direction === "ascending" ? 1 : -1;
    const keys = new Map(lines.map((line) => [line, value(line.row)]));
    const order = [...lines].sort((a, b) => compare(keys.get(a), keys.get(b), sign) || a.place - b.place);
    body.append(...order.map((line) => line.tr));
    headings.forEach((th, at) => (at === index ? th.setAttribute("aria-sort", direction) : th.removeAttribute("aria-sort")));
    remember(`${name}.sort`, `${keyOf(columns[index], index)}.${direction}`, sorted);
    table.dispatchEvent(new Event("sorted"));
  }

  const sortedBy = () => columns[headings.findIndex((th) => th.hasAttribute("aria-sort"))];

  function show(index, on) {
    headings[index].hidden = !on;
    for (const line of lines) line.tr.cells[index].hidden = !on;
  }

  function filter(keep) {
    let kept = 0;
    for (const line of lines) kept += !(line.tr.hidden = !keep(line.row));
    return kept;
  }

  head.addEventListener("click", (event) => {
    const th = event.target.closest("button.sort")?.closest("th");
    if (!th) return;
    const index = headings.indexOf(th);
    const first = columns[index].high ? "descending" : "ascending";
    const other = first === "descending" ? "ascending" : "descending";
    sortBy(index, th.getAttribute("aria-sort") === first ? other : first);
  });
  const [key, direction] = recall(`${name}.sort`, sorted).split(/\.(?=[^.]*$)/);
  const index = columns.findIndex((column, at) => keyOf(column, at) === key);
  if (inOrder && recall(`${name}.sort`, sorted) === sorted) headings[index]?.setAttribute("aria-sort", direction); // the rows are in this order
  else if (columns[index]?.value) sortBy(index, direction === "ascending" ? direction : "descending");
  const box = el("div", { class: "scroll", tabindex: attributes.role ? null : 0, role: "region", "aria-label": label }, table);
  return { box, table, head, body, headings, lines, columns, line: (tr) => byRow.get(tr), show, filter, sortBy, sortedBy };
}

function heading(column, index) {
  const th = el("th", { scope: "col", class: column.kind });
  const title = breakable(column.title);
  if (column.value) th.append(el("button", { type: "button", class: "sort", title: column.help, "data-column": index }, ...title));
  else th.append(...title);
  return th;
}

/** Missing values come last, in either direction. */
function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  return sign * (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
}

function text(value, kind) {
  return (row) => el("td", { class: kind }, value(row));
}

/** A button that opens a box of choices; Escape and a click elsewhere close it. */
function menu(title, ...content) {
  const box = el("details", { class: "menu" }, el("summary", {}, title), el("div", {}, ...content));
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !box.open) return;
    box.open = false;
    box.querySelector("summary").focus();
  });
  box.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !box.contains(event.relatedTarget)) box.open = false;
  });
  return box;
}

addEventListener("click", (event) => {
  for (const box of document.querySelectorAll("details.menu[open]")) if (!box.contains(event.target)) box.open = false;
});

function checkbox(label, on, change, help = null) {
  const input = el("input", { type: "checkbox" });
  input.checked = on;
  input.addEventListener("change", () => change(input.checked));
  return el("label", { class: "check", title: help }, input, el("span", {}, label));
}
