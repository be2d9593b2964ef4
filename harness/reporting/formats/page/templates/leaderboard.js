// The leaderboard of a section: one row per variant, its means, and its tasks in groups that fold.

/** Columns beside the scores, [name, title, help]. Those that the page was made with are shown at first. */
const EXTRAS = [
  ["year", "Year", "of the method's paper"],
  ...about.costs,
  ["ppt", "PPT", "V-PETL Bench's score: of the mean, lower with more trained values"],
  ["trials", "Trials", "trials per task"],
  ["search_units", "Search units", "forward-image units of all its searches"],
];
const HIDDEN = new Set(EXTRAS.filter(([name]) => !about.columns.includes(name)).map(([, title]) => title));

/** The rows' order, that of `harness report --sort`: column and direction. */
const SORTS = { mean: ["mean", "descending"], rank: ["mean_rank", "ascending"], params: ["params", "ascending"] };

/** More variants than these, and each family opens folded to its best. */
const MANY = 20;

function leaderboard(section, at) {
  const columns = leaderboardColumns(section);
  const [key, direction] = SORTS[section.sort];
  const sortedBy = columns.findIndex((column) => column.key === key);
  const shown = sortableTable({
    label: `Leaderboard of ${section.title}`,
    columns,
    rows: section.variants.map((variant, place) => ({ variant, place })),
    name: `${at}`,
    sorted: sortedBy > 0 && section.variants.some((variant, place) => columns[sortedBy].value({ variant, place }) !== null) ? `${sortedBy}.${direction}` : "",
    attributes: { class: "board", role: "grid" },
  });
  const foldable = section.groups.length > 1 || section.folded;
  const folds = foldable ? foldingRow(section, at, shown) : { apply() {}, all: [] };
  const turned = toggled(`${at}.columns`);
  const isUsual = (name) => !HIDDEN.has(name);
  const isOn = (name) => isUsual(name) !== turned.has(name);

  function applyColumns() {
    shown.columns.forEach((column, index) => {
      if (column.option) shown.show(index, isOn(column.option));
    });
    shown.table.classList.toggle("no-spread", !isOn("Spread (±)"));
    shown.table.classList.toggle("tint", isOn("Tint"));
    folds.apply();
  }

  const choices = [...shown.columns.map((column) => column.option).filter(Boolean), "Spread (±)", "Tint"];
  const columnMenu = menu(
    "Columns",
    ...choices.map((name) => {
      const title = shown.columns.find((column) => column.option === name)?.title ?? name;
      return checkbox(title, isOn(name), (on) => {
        turned.set(name, on !== isUsual(name));
        applyColumns();
      });
    }),
  );
  const { tools, warning } = filters(section, at, shown);
  applyColumns();
  walkable(shown, section, at);
  return [el("div", { class: "tools" }, ...tools, columnMenu, ...folds.all), warning, shown.box, legend(section), ...section.strips.map((strip) => stripOf(section, strip))];
}

/** Test images of a segmentation task: each with its truth, and what every variant saw. */
function stripOf(section, { task, rows }) {
  const titles = ["Input", "Truth", ...section.variants.map((variant) => variant.name)];
  const { name } = section.tasks[task];
  const picture = (data, column, row) =>
    el("td", {}, data === null ? NOTHING : el("img", { src: `data:image/${data.startsWith("/9j/") ? "jpeg" : "png"};base64,${data}`, alt: `${name}, image ${row + 1}: ${titles[column]}` }));
  const body = rows.map((row, index) => el("tr", {}, ...row.map((data, column) => picture(data, column, index))));
  const head = el("tr", {}, ...titles.map((title) => el("th", { scope: "col" }, ...breakable(title))));
  const caption = `${name}: test images chosen at random, the same for all. Black in the truth isn't scored. Each method's predictions are those of its first seed.`;
  return el("div", { class: "strip" }, el("p", {}, caption), el("div", { class: "scroll" }, el("table", { class: "plain" }, el("thead", {}, head), el("tbody", {}, ...body))));
}

/** What the marks mean, and what a reader must know. */
function legend(section) {
  const items = [section.caption, ...section.notes];
  if (section.variants.some((variant) => variant.reading !== null)) items.push("\u2020: our reading of the method, see the top of the page.");
  if (section.variants.some((variant) => variant.unequal)) items.push("\u2696: tuned with a different number of trials than the others.");
  if (section.devices.length) items.push(`Times and memory: measured on ${section.devices.join("; ")}.`);
  items.push("Click a cell, or press Enter on it, for its seeds, hyper-parameters, curves, hardware, and the command that reproduces it.");
  return el("ul", { class: "notes" }, ...items.map((item) => el("li", {}, item)));
}

function leaderboardColumns(section) {
  const { groups, tasks, statistics } = section;
  const extra = ([key, title, help]) => ({
    title,
    key,
    help,
    option: title,
    high: false,
    kind: "n extra",
    value: ({ variant }) => variant[key][0],
    cell: ({ variant }) => el("td", { class: "n extra" }, variant[key][1]),
  });
  const columns = [
    { title: "Method", kind: "name", high: false, value: ({ variant }) => variant.name, cell: ({ variant }) => nameCell(variant) },
    ...statistics.map((statistic, index) => statisticColumn(statistic, index ? statistic.title : null)),
    ...EXTRAS.map(extra),
  ];
  groups.forEach((group, g) => {
    if (groups.length > 1 || section.folded) columns.push(groupColumn(group, g));
    for (const t of group.tasks) {
      columns.push({
        title: tasks[t].title,
        help: `${tasks[t].name}, ${group.name}`,
        high: true,
        kind: "n task",
        group: g,
        task: t,
        value: ({ place }) => section.cells[place][t]?.[0] ?? null,
        cell: ({ place }) => taskCell(section.cells[place][t], tasks[t], place, tintOf(section, t)),
      });
      columns.push(...section.scales.filter(({ task }) => task === t).map((scales) => scalesColumn(scales, g)));
    }
  });
  return columns;
}

/** A statistic of variants over tasks. If a task is missing, it covers the tasks there are, shows how many, and is never ranked. */
function statisticColumn({ name, title, help, high, cells }, option) {
  return {
    title,
    key: name,
    help,
    high,
    option,
    kind: "n sum",
    value: ({ place }) => cells[place][0],
    cell: ({ place }) => {
      const [, text, detail, rank] = cells[place];
      const small = detail && el("small", { class: "few" }, detail);
      return el("td", { class: `n sum ${mark(rank)}` }, el("span", { class: detail ? "part" : null }, text), small && " ", small);
    },
  };
}

/** A segmentation task's mIoU at several scales: in a second column, and in no mean or rank. */
function scalesColumn({ task, title, cells }, group) {
  return {
    title,
    help: `${title}: six scales and their mirror images`,
    high: true,
    kind: "n task",
    group,
    task,
    value: ({ place }) => cells[place]?.[0] ?? null,
    cell: ({ place }) => {
      if (!cells[place]) return el("td", { class: "n task gap" }, NOTHING);
      const [, text, small, rank] = cells[place];
      return el("td", { class: `n task ${mark(rank)}` }, el("span", {}, text), ...smallText(small));
    },
  };
}

/** Next to a score: its spread, or its number of seeds if they are few. */
function smallText(text) {
  return text ? [" ", el("small", { class: text.startsWith("n=") ? "few" : null }, text)] : [];
}

function groupColumn(group, g) {
  return {
    title: "mean",
    help: `mean over the ${plural(group.tasks.length, "task")} of ${group.name}`,
    high: true,
    kind: "n gmean",
    group: g,
    tasks: group.tasks,
    value: ({ place }) => group.cells[place][0],
    cell: ({ place }) => {
      const [, text, detail, rank] = group.cells[place];
      const part = detail && el("small", { class: "few" }, detail);
      return el("td", { class: `n gmean ${mark(rank)}` }, el("span", {}, text), part && " ", part);
    },
  };
}

function mark(place) {
  return place === 1 ? "first" : place === 2 ? "second" : "";
}

function nameCell(variant) {
  const [method, inside] = variant.name.split(/(?=\()/, 2);
  const label = el("div", { class: "label" }, el("b", {}, ...breakable(method)));
  if (inside) label.append(el("wbr"), el("span", { class: "inside" }, ...breakable(variant.name.slice(method.length))));
  if (variant.reading !== null) label.append(el("abbr", { title: "our reading of the method" }, "\u2020"));
  if (variant.unequal) label.append(el("abbr", { title: `tuned with ${variant.trials[1]} trials per task, unlike the others` }, "\u2696"));
  return el("th", { scope: "row", class: "name" }, label);
}

const tints = new Map();
/** Lowest and highest mean of a task. */
function tintOf(section, t) {
  const key = `${about.sections.indexOf(section)}.${t}`;
  if (!tints.has(key)) {
    const means = section.cells.map((row) => row[t]?.[0]).filter((mean) => mean !== null && mean !== undefined);
    tints.set(key, [Math.min(...means), Math.max(...means)]);
  }
  return tints.get(key);
}

function taskCell(cell, task, place, [low, high]) {
  const td = el("td", { class: "n task" });
  if (!cell || !cell[1]) {
    td.classList.add("gap");
    td.append(cell ? cell[2] : NOTHING);
    td.title = cell ? cell[5].map(([seed, reason]) => `seed ${seed}: ${reason}`).join("\n") : "not run";
    return td;
  }
  const [mean, , text, small, , gaps] = cell;
  const placed = mark(task.places[place]);
  if (placed) td.classList.add(placed);
  if (placed !== "first" && task.near.includes(place)) td.classList.add("near");
  td.append(el("span", {}, text), ...smallText(small));
  if (gaps.length) td.title = gaps.map(([seed, reason]) => `seed ${seed} failed: ${reason}`).join("\n");
  if (high > low) td.style.setProperty("--heat", ((mean - low) / (high - low)).toFixed(2));
  return td;
}

/** The head's upper row: one button per group, which folds its tasks into their mean. */
function foldingRow(section, at, shown) {
  const usual = section.folded;
  const turned = toggled(`${at}.folds`);
  const isFolded = (group) => usual !== turned.has(group.name);
  const corner = el("th", { class: "name" });
  const rest = el("td", {});
  const buttons = section.groups.map((group) => {
    const count = el("small", {}, plural(group.tasks.length, "task"));
    return el("button", { type: "button", class: "fold", title: `fold or unfold the tasks of ${group.name}` }, el("span", {}, group.name), count);
  });
  const cells = buttons.map((button) => el("th", { scope: "colgroup", class: "group" }, button));
  shown.head.prepend(el("tr", { class: "groups" }, corner, rest, ...cells));
  const all = el("button", { type: "button", class: "tool" });

  function apply() {
    section.groups.forEach((group, g) => {
      const folded = isFolded(group);
      let count = 0;
      shown.columns.forEach((column, index) => {
        if (column.group !== g) return;
        if (column.task !== undefined) shown.show(index, !folded);
        count += !shown.headings[index].hidden;
      });
      cells[g].colSpan = count;
      buttons[g].setAttribute("aria-expanded", String(!folded));
    });
    rest.colSpan = shown.columns.filter((column, index) => column.group === undefined && index && !shown.headings[index].hidden).length;
    all.textContent = section.groups.some(isFolded) ? "Unfold tasks" : "Fold tasks";
  }

  buttons.forEach((button, g) =>
    button.addEventListener("click", () => {
      turned.set(section.groups[g].name, isFolded(section.groups[g]) === usual);
      apply();
    }),
  );
  all.addEventListener("click", () => {
    const fold = !section.groups.some(isFolded);
    for (const group of section.groups) turned.set(group.name, fold !== usual);
    apply();
  });
  return { apply, all: [all] };
}

/** Text, methods and families: which rows are shown. A family folds to its best variant, and does so at first where there are many variants. Text finds variants in folded families too. */
function filters(section, at, shown) {
  const find = el("input", { type: "search", placeholder: "Filter variants", "aria-label": "Filter variants" });
  find.value = recall(`${at}.find`, "");
  const status = el("span", { class: "count", role: "status" });
  const warning = el("p", { class: "folded" });
  const hidden = toggled(`${at}.without`);
  const methods = [...new Set(section.variants.map((variant) => variant.method))].sort();
  const families = [...new Set(section.variants.map((variant) => variant.family))].filter((name) => name && section.variants.filter(({ family }) => family === name).length > 1);
  const turned = toggled(`${at}.families`);
  const usual = section.variants.length > MANY;
  const isFolded = (family) => families.includes(family) && usual !== turned.has(family);
  const fold = (family, on) => turned.set(family, on !== usual);
  const foldFamilies = checkbox("Best of each family", false, (on) => {
    for (const family of families) fold(family, on);
    apply();
  });

  function apply() {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = ({ variant }) => !hidden.has(variant.method) && words.every((word) => variant.name.toLowerCase().includes(word));
    const by = section.statistics.find(({ name }) => name === shown.sortedBy()?.key) ?? section.statistics[0];
    const members = new Map(words.length ? [] : families.map((family) => [family, bestFirst(shown.lines.filter(({ row }) => found(row) && row.variant.family === family), by)]));
    const foldable = usual || families.some(isFolded);
    for (const { row, tr } of shown.lines) {
      const of = (foldable && members.get(row.variant.family)) || [];
      setFold(tr.cells[0], of.length > 1 && of[0].row === row ? foldTitle(of, by, isFolded(row.variant.family)) : null, isFolded(row.variant.family));
    }
    const kept = shown.filter((row) => found(row) && (!members.has(row.variant.family) || !isFolded(row.variant.family) || members.get(row.variant.family)[0].row === row));
    status.textContent = kept === section.variants.length ? plural(kept, "variant") : `${kept} of ${plural(section.variants.length, "variant")}`;
    foldFamilies.firstChild.checked = families.length > 0 && families.every(isFolded);
    const largest = Math.max(0, ...[...members].filter(([family]) => isFolded(family)).map(([, of]) => of.length));
    warning.hidden = largest < 2;
    warning.textContent = `Of each folded family, only the best variant is shown, by \u201c${by.title}\u201d. It is chosen by test scores, which favours large families: the best of ${largest} is partly the luckiest of ${largest}. Marks and ranks count the hidden variants too.`;
  }

  shown.body.addEventListener("click", (event) => {
    if (!event.target.closest("button.family")) return;
    const { family } = shown.line(event.target.closest("tr")).row.variant;
    fold(family, !isFolded(family));
    apply();
  });
  shown.table.addEventListener("sorted", apply);
  find.addEventListener("input", () => {
    remember(`${at}.find`, find.value, "");
    apply();
  });
  const boxes = methods.map((method) =>
    checkbox(method, !hidden.has(method), (on) => {
      hidden.set(method, !on);
      apply();
    }),
  );
  const every = (on) => {
    const button = el("button", { type: "button", class: "tool" }, on ? "All" : "None");
    button.addEventListener("click", () => {
      boxes.forEach((box, index) => {
        box.firstChild.checked = on;
        hidden.set(methods[index], !on);
      });
      apply();
    });
    return button;
  };
  apply();
  return { tools: [find, ...(families.length ? [foldFamilies] : []), menu("Methods", el("p", { class: "row" }, every(true), every(false)), ...boxes), status], warning };
}

/** Lines by a statistic, the best first; those that lack a task last. */
function bestFirst(lines, { cells, high }) {
  return lines.sort((a, b) => compare(cells[a.row.place][0], cells[b.row.place][0], high ? -1 : 1) || a.row.place - b.row.place);
}

/** What the button of a family says, which is in the row of its best variant. */
function foldTitle(lines, { cells }, folded) {
  const { variant, place } = lines[0].row;
  const of = `${lines.length} ${variant.family}`;
  return !folded ? of : cells[place][0] === null ? `one of ${of}; none has all tasks` : `best of ${of}`;
}

function setFold(cell, title, folded) {
  cell.querySelector("button.family")?.toggleAttribute("hidden", title === null);
  if (title === null) return;
  const button = cell.querySelector("button.family") ?? el("button", { type: "button", class: "family" });
  button.textContent = title;
  button.title = folded ? "show all of this family" : "show only the best of this family";
  button.setAttribute("aria-expanded", String(!folded));
  if (!button.isConnected) cell.querySelector(".label").append(button);
}

/** Keyboard access to cells: Tab enters the grid, arrows move within it, Enter or a click opens a cell. */
function walkable(shown, section, at) {
  const { body, columns } = shown;
  let current = null;

  function enter(td) {
    if (current) current.tabIndex = -1;
    current = td;
    td.tabIndex = 0;
  }

  function open(td) {
    const column = columns[td.cellIndex];
    const { place } = shown.line(td.parentElement).row;
    if (column.task !== undefined) openCell(at, place, column.task);
    else openVariant(at, place, column.tasks);
  }

  const step = (cell, sideways, down) => {
    let { parentElement: tr, cellIndex: x } = cell;
    do x += sideways;
    while (tr.cells[x]?.hidden);
    if (down) {
      do tr = down > 0 ? tr.nextElementSibling : tr.previousElementSibling;
      while (tr?.hidden);
    }
    return x > 0 ? tr?.cells[x] : undefined;
  };
  const ends = { Home: (td) => td.parentElement.cells[1], End: (td) => [...td.parentElement.cells].findLast((cell) => !cell.hidden) };
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  body.addEventListener("click", (event) => {
    const cell = event.target.closest("button") ? null : event.target.closest("td, th");
    if (cell && cell.cellIndex > 0) enter(cell);
    if (cell) open(cell);
  });
  body.addEventListener("keydown", (event) => {
    const td = event.target.closest("td");
    if (!td || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" || event.key === " ") open(td);
    else {
      const to = arrows[event.key] ? step(td, ...arrows[event.key]) : ends[event.key]?.(td);
      if (!to) {
        if (arrows[event.key]) event.preventDefault();
        return;
      }
      enter(to);
      to.focus();
    }
    event.preventDefault();
  });
  // The cell that Tab enters must be visible: after a filter, a fold or a sort it may not be.
  new MutationObserver(settle).observe(body, { attributes: true, attributeFilter: ["hidden"], subtree: true, childList: true });

  function settle() {
    if (current && !current.hidden && !current.parentElement.hidden) return;
    const tr = [...body.rows].find((row) => !row.hidden);
    if (tr) enter(tr.cells[1]);
  }
  settle();
}
