for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const value = (row, at) => {
    const cell = row.cells[at], text = cell.dataset.v ?? cell.textContent.trim();
    const number = parseFloat(text);
    return Number.isNaN(number) ? text.toLowerCase() : number;
  };
  heads.forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const first = head.classList.contains("n") && !head.classList.contains("low") ? "descending" : "ascending";
      const other = first === "descending" ? "ascending" : "descending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach(one => one.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const way = order === "descending" ? -1 : 1;
      const empty = one => one === "" || one === "\u2013";
      const rows = [...body.rows].map(row => [value(row, at), row]);
      rows.sort(([a], [b]) => empty(a) || empty(b) ? empty(a) - empty(b) : typeof a === typeof b ? (a < b ? -way : a > b ? way : 0) : typeof a === "number" ? -1 : 1);
      body.append(...rows.map(([, row]) => row));
    });
  });
  const input = table.closest("main").querySelector(`input[data-for="${table.id}"]`);
  if (!input) continue;
  const count = document.getElementById(`${table.id}-count`);
  input.closest("label").hidden = false;
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase().split(/\s+/);
    let shown = 0;
    for (const row of body.rows) {
      row.hidden = !wanted.every(word => row.textContent.toLowerCase().includes(word));
      shown += !row.hidden;
    }
    count.textContent = input.value ? `${shown} of ${body.rows.length} shown` : "";
  });
}
