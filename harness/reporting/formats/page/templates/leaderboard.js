// The leaderboard of a section: a row a variant, its means, and its tasks in groups that fold.

const MANY_TASKS = 8; // more start folded
const OPTIONAL = {
  "Mean of groups": true,
  Rank: true,
  Params: true,
  Seconds: false,
  Memory: false,
  Trials: false,
  "Search units": false,
  "All units": false,
  "Spread (±)": true,
  Tint: true,
};

function leaderboard(section, at) {
  const columns = leaderboardColumns(section);
  const shown = sortableTable({
    label: `Leaderboard of ${section.title}`,
    columns,
    rows: section.variants.map((variant, place) => ({ variant, place })),
    name: `${at}`,
    sorted: section.variants.some((variant) => variant.mean !== null) ? "1.descending" : "",
    attributes: { class: "board", role: "grid" },
  });
  const foldable = section.groups.length > 1 || section.tasks.length > MANY_TASKS;
  const folds = foldable ? foldingRow(section, at, shown) : { apply() {}, all: [] };
  const turned = toggled(`${at}.columns`);
  const isOn = (name) => OPTIONAL[name] !== turned.has(name);

  function applyColumns() {
    shown.columns.forEach((column, index) => {
      if (column.option) shown.show(index, isOn(column.option));
    });
    shown.table.classList.toggle("no-spread", !isOn("Spread (±)"));
    shown.table.classList.toggle("tint", isOn("Tint"));
    folds.apply();
  }

  const choices = Object.keys(OPTIONAL).filter((name) => ["Spread (±)", "Tint"].includes(name) || shown.columns.some((c) => c.option === name));
  const columnMenu = menu(
    "Columns",
    ...choices.map((name) => {
      const title = shown.columns.find((column) => column.option === name)?.title ?? name;
      return checkbox(title, isOn(name), (on) => {
        turned.set(name, on !== OPTIONAL[name]);
        applyColumns();
      });
    }),
  );
  const tools = el("div", { class: "tools" }, ...filters(section, at, shown), columnMenu, ...folds.all);
  applyColumns();
  walkable(shown, section, at);
  return [tools, shown.box, legend(section), ...section.strips.map((strip) => stripOf(section, strip))];
}

/** Test images of a segmentation task: each as it is, its truth, and what every variant saw. */
function stripOf(section, { task, rows }) {
  const titles = ["Input", "Truth", ...section.variants.map((variant) => variant.name)];
  const { name } = section.tasks[task];
  const picture = (data, column, row) =>
    el("td", {}, data === null ? NOTHING : el("img", { src: `data:image/${data.startsWith("/9j/") ? "jpeg" : "png"};base64,${data}`, alt: `${name}, image ${row + 1}: ${titles[column]}` }));
  const body = rows.map((row, index) => el("tr", {}, ...row.map((data, column) => picture(data, column, index))));
  const head = el("tr", {}, ...titles.map((title) => el("th", { scope: "col" }, ...breakable(title))));
  const said = `${name}: test images chosen by a seed, the same for all. Black in the truth isn't scored. What a method sees is its first seed's.`;
  return el("div", { class: "strip" }, el("p", {}, said), el("div", { class: "scroll" }, el("table", { class: "plain" }, el("thead", {}, head), el("tbody", {}, ...body))));
}

/** What the marks mean, and what a reader must know. */
function legend(section) {
  const items = [section.caption, ...section.notes];
  if (section.variants.some((variant) => variant.reading !== null)) items.push("\u2020: our reading of the method, see the top of the page.");
  if (section.variants.some((variant) => variant.unequal)) items.push("\u2696: tuned with another number of trials than the others.");
  items.push("Click a cell, or press Enter on it: its seeds, hyper-parameters, curve, hardware, and the command that makes it again.");
  return el("ul", { class: "notes" }, ...items.map((item) => el("li", {}, item)));
}

function leaderboardColumns(section) {
  const { places, groups, tasks, seeds } = section;
  const summary = (title, value, digits, option, place, help, high = true) => ({
    title,
    help,
    high,
    option,
    kind: "n sum",
    value: ({ variant }) => value(variant),
    cell: ({ variant, place: row }) => el("td", { class: `n sum ${mark(place?.[row])}` }, ...meanOf(variant, value(variant), digits, section, option)),
  });
  const plain = (title, option, value, form, help) => ({
    title,
    help,
    option,
    high: false,
    kind: "n extra",
    value: ({ variant }) => value(variant),
    cell: ({ variant }) => el("td", { class: "n extra" }, form(value(variant), variant)),
  });
  const columns = [
    { title: "Method", kind: "name", high: false, value: ({ variant }) => variant.name, cell: ({ variant }) => nameCell(variant) },
    summary(`Mean of ${tasks.length}`, (v) => v.mean, 2, null, places.mean, "mean over tasks"),
  ];
  if (groups.length > 1) {
    const help = "mean of the groups' means: a small group counts as much as a large one";
    columns.push(summary(`Mean of ${groups.length} groups`, (v) => v.mean_of_groups, 2, "Mean of groups", places.mean_of_groups, help));
  }
  if (section.variants.length > 1) {
    columns.push(summary("Rank", (v) => v.rank, 2, "Rank", places.rank, "mean rank over tasks, among those that have all of them", false));
  }
  columns.push(
    plain("Params", "Params", (v) => v.params, counted, "trained values, without the head"),
    plain("Seconds", "Seconds", (v) => v.seconds, (s) => duration(s), "of a final run, mean over tasks and seeds"),
    plain("Memory", "Memory", (v) => v.memory, bytes, "peak of a final run, mean over tasks and seeds"),
    plain("Trials", "Trials", (v) => v.trials.at(-1) ?? null, (_, v) => range(v.trials), "points tried a task"),
    plain("Search units", "Search units", (v) => v.search_units, counted, "forward-image units of all its searches"),
    plain("All units", "All units", (v) => v.units, counted, "forward-image units of all its searches and final runs"),
  );
  groups.forEach((group, g) => {
    if (groups.length > 1 || tasks.length > MANY_TASKS) columns.push(groupColumn(section, group, g));
    for (const t of group.tasks) {
      columns.push({
        title: section.metric === "mIoU" ? `${tasks[t].name} mIoU-SS` : tasks[t].name,
        help: `${tasks[t].name}, ${group.name}`,
        high: true,
        kind: "n task",
        group: g,
        task: t,
        value: ({ place }) => section.cells[place][t]?.[0] ?? null,
        cell: ({ place }) => taskCell(section.cells[place][t], places, t, place, seeds, tintOf(section, t)),
      });
      columns.push(...section.scales.filter(({ task }) => task === t).map((scales) => scalesColumn(scales, g, seeds)));
    }
  });
  return columns;
}

/** A segmentation task's mIoU on several scales: beside its own column, in no mean and no rank. */
function scalesColumn({ task, title, cells, places }, group, seeds) {
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
      const [mean, std, n] = cells[place];
      const small = n < seeds ? el("small", { class: "few" }, `n=${n}`) : std === null ? null : el("small", {}, `±${std.toFixed(1)}`);
      return el("td", { class: `n task ${mark(places[place])}` }, el("span", {}, mean.toFixed(1)), small && " ", small);
    },
  };
}

function groupColumn(section, group, g) {
  const whole = (variant) => variant.groups[g][1] === group.tasks.length;
  return {
    title: "mean",
    help: `mean over the ${plural(group.tasks.length, "task")} of ${group.name}`,
    high: true,
    kind: "n gmean",
    group: g,
    tasks: group.tasks,
    value: ({ variant }) => (whole(variant) ? variant.groups[g][0] : null),
    cell: ({ variant, place }) => {
      const [mean, count] = variant.groups[g];
      const part = whole(variant) || !count ? null : el("small", { class: "few" }, `${count}/${group.tasks.length}`);
      return el("td", { class: `n gmean ${mark(section.places.groups[g][place])}` }, el("span", {}, fixed(mean, 2)), part && " ", part);
    },
  };
}

function mark(place) {
  return place === 1 ? "first" : place === 2 ? "second" : "";
}

/** A mean; where a task is missing, that of the tasks there are, which says of how many and is never ranked. */
function meanOf(variant, value, digits, section, option) {
  if (value !== null || option !== null || !variant.tasks) return [el("span", {}, fixed(value, digits))];
  return [el("span", { class: "part" }, fixed(variant.mean_of_present, digits)), " ", el("small", { class: "few" }, `${variant.tasks}/${section.tasks.length}`)];
}

function nameCell(variant) {
  const [method, inside] = variant.name.split(/(?=\()/, 2);
  const label = el("div", { class: "label" }, el("b", {}, ...breakable(method)));
  if (inside) label.append(el("wbr"), el("span", { class: "inside" }, ...breakable(variant.name.slice(method.length))));
  if (variant.reading !== null) label.append(el("abbr", { title: "our reading of the method" }, "\u2020"));
  if (variant.unequal) label.append(el("abbr", { title: `tuned with ${range(variant.trials)} trials a task, unlike the others` }, "\u2696"));
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

function taskCell(cell, places, t, place, seeds, [low, high]) {
  const td = el("td", { class: "n task" });
  if (!cell || !cell[2]) {
    td.classList.add("gap");
    td.append(cell ? "failed" : NOTHING);
    td.title = cell ? cell[5].map(([seed, reason]) => `seed ${seed}: ${reason}`).join("\n") : "not run";
    return td;
  }
  const [mean, std, n, , , gaps] = cell;
  const placed = mark(places.tasks[t][place]);
  if (placed) td.classList.add(placed);
  if (placed !== "first" && places.near[t].includes(place)) td.classList.add("near");
  td.append(el("span", {}, mean.toFixed(1)));
  if (n < seeds) td.append(" ", el("small", { class: "few" }, `n=${n}`));
  else if (std !== null) td.append(" ", el("small", {}, `±${std.toFixed(1)}`));
  if (gaps.length) td.title = gaps.map(([seed, reason]) => `seed ${seed} failed: ${reason}`).join("\n");
  if (high > low) td.style.setProperty("--heat", ((mean - low) / (high - low)).toFixed(2));
  return td;
}

/** The head's upper row: a button a group, which folds its tasks to their mean. */
function foldingRow(section, at, shown) {
  const usual = section.tasks.length > MANY_TASKS;
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
    all.textContent = section.groups.some(isFolded) ? "Unfold all" : "Fold all";
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

/** Text and methods: which rows are shown. */
function filters(section, at, shown) {
  const find = el("input", { type: "search", placeholder: "Filter variants", "aria-label": "Filter variants" });
  find.value = recall(`${at}.find`, "");
  const said = el("span", { class: "count", role: "status" });
  const hidden = toggled(`${at}.without`);
  const methods = [...new Set(section.variants.map((variant) => variant.method))].sort();

  function apply() {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const kept = shown.filter(({ variant }) => !hidden.has(variant.method) && words.every((word) => variant.name.toLowerCase().includes(word)));
    said.textContent = kept === section.variants.length ? plural(kept, "variant") : `${kept} of ${plural(section.variants.length, "variant")}`;
  }

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
  return [find, menu("Methods", el("p", { class: "row" }, every(true), every(false)), ...boxes), said];
}

/** Cells by keyboard: Tab enters the grid, arrows walk in it, Enter or a click opens a cell. */
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
    const cell = event.target.closest("td, th");
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
  // The cell that Tab enters by must be one that is seen: after a filter, a fold or a sort it may not be.
  new MutationObserver(settle).observe(body, { attributes: true, attributeFilter: ["hidden"], subtree: true, childList: true });

  function settle() {
    if (current && !current.hidden && !current.parentElement.hidden) return;
    const tr = [...body.rows].find((row) => !row.hidden);
    if (tr) enter(tr.cells[1]);
  }
  settle();
}
