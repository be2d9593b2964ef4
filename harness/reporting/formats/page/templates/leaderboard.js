// The leaderboard of a section: one row per variant, its means, and its tasks in groups that fold.

/** Columns beside the scores, [name, title, help]. Those that the page was made with are shown at first. */
const EXTRAS = [
  ["year", "Year", "of the method's paper"],
  ...about.costs,
  ["ppt", "PPT", "V-PETL Bench's score: of the mean, lower with more parameters"],
  ["trials", "Trials", "points tried per task before the final runs"],
  ["search_units", "Search units", "work of all its searches in forward-image units: an image that is scored counts 1, one that is trained on 2"],
];
const HIDDEN = new Set(EXTRAS.map(([name]) => name).filter((name) => !about.columns.includes(name)));

/** What else the menu of columns turns on and off. */
const LOOKS = [
  ["spread", "Spread (±)", "beside a score: standard deviation over its seeds"],
  ["tint", "Shading", "of scores: from the lowest of a column to its highest"],
];

/** The rows' order, that of `harness report --sort`: column and direction. */
const SORTS = { mean: ["mean", "descending"], rank: ["mean_rank", "ascending"], params: ["params", "ascending"] };

/** More variants than these, and each family opens folded to its best. */
const MANY = 20;

function leaderboard(section, at) {
  const without = toggled(`${at}.without`);
  const withoutTasks = toggled(`${at}.tasks`);
  const rowsNow = () => section.variants.flatMap(({ method }, place) => (without.has(method) ? [] : [place]));
  const tasksNow = () => section.tasks.flatMap(({ name }, t) => (withoutTasks.has(name) ? [] : [t]));
  const view = { section: null, shown: null };
  const foldAll = el("button", { type: "button", class: "tool unfold" });
  const place = el("div", {});
  const columns = columnChoice(section, at, view);
  const finder = filters(section, at, view, without, rebuild);
  const tasksMenu = menu("Tasks", ...taskBoxes(section, withoutTasks, rebuild));
  for (const choice of [tasksMenu, finder.methods]) choice.classList.add("choose");

  function all() {
    without.clear();
    withoutTasks.clear();
    for (const input of place.parentElement.querySelectorAll("details.choose input")) input.checked = true;
    rebuild();
    place.querySelector("td[tabindex='0']")?.focus();
  }

  function rebuild() {
    const tasks = tasksNow();
    view.section = chosenOf(section, rowsNow(), tasks);
    const notice = view.section.anew ? anewNotice(view.section, tasks, all) : null;
    if (!tasks.length || !view.section.rows.length) {
      view.shown = null;
      place.replaceChildren(notice, el("p", { class: "lead" }, `Choose a ${tasks.length ? "method" : "task"}.`));
      return finder.apply();
    }
    view.shown = boardOf(view.section, at, foldAll);
    columns.apply();
    finder.attach();
    finder.apply();
    walkable(view.shown, section, at);
    place.replaceChildren(...[notice, finder.warning, view.shown.box, finder.nothing].filter(Boolean));
  }

  const tools = el("div", { class: "tools" }, finder.find, finder.families, finder.methods, section.tasks.length > 1 ? tasksMenu : null, finder.status, compareMenu(section, at), columns.menu, foldAll, tableDownload(section, view));
  rebuild();
  return [tools, place, legend(section), ...section.strips.map((strip) => stripOf(section, strip))];
}

/** The table of a section, or of what was chosen in it. */
function boardOf(section, at, foldAll) {
  const columns = leaderboardColumns(section);
  const [key, direction] = SORTS[section.sort];
  const rows = section.rows.map((place) => ({ variant: section.variants[place], place }));
  const by = columns.find((column) => column.key === key && rows.some((row) => column.value(row) !== null));
  const shown = sortableTable({
    label: `Leaderboard of ${section.title}`,
    columns,
    rows,
    name: `${at}`,
    sorted: by ? `${by.key}.${direction}` : "",
    inOrder: !section.anew,
    attributes: { class: "board", role: "grid" },
  });
  const foldable = section.groups.length > 1 || section.folded;
  foldAll.hidden = !foldable;
  shown.folds = foldable ? foldingRow(section, at, shown, foldAll) : { apply() {} };
  return shown;
}

/** What each option of the columns' menu is, and the menu. */
function columnChoice(section, at, view) {
  const turned = toggled(`${at}.columns`);
  const isUsual = (name) => !HIDDEN.has(name);
  const isOn = (name) => isUsual(name) !== turned.has(name);
  const options = [...leaderboardColumns({ ...section, rows: section.variants.keys() }).filter((column) => column.option).map(({ option, title, help }) => [option, title, help]), ...LOOKS];

  function apply() {
    if (!view.shown) return;
    view.shown.columns.forEach((column, index) => {
      if (column.option) view.shown.show(index, isOn(column.option));
    });
    view.shown.table.classList.toggle("no-spread", !isOn("spread"));
    view.shown.table.classList.toggle("tint", isOn("tint"));
    view.shown.folds.apply();
  }

  const boxes = options.map(([name, title, help]) =>
    checkbox(title, isOn(name), (on) => {
      turned.set(name, on !== isUsual(name));
      apply();
    }, help),
  );
  return { menu: menu("Columns", ...boxes), apply };
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
  return el("div", { class: "strip" }, el("p", {}, caption), scrolling(`${name}: test images`, el("table", { class: "plain" }, el("thead", {}, head), el("tbody", {}, ...body))));
}

/** What the marks mean, and what a reader must know. */
function legend(section) {
  const items = [section.caption, ...section.notes];
  if (section.variants.some((variant) => variant.reading !== null)) items.push("\u2020: see the note on the method at the top of the page.");
  if (section.variants.some((variant) => variant.unequal)) items.push("\u2696: tuned with a different number of trials than the others.");
  if (section.statistics.some(({ intervals }) => intervals.some(Boolean))) items.push("Small beside a rank: its 95 % interval, by a bootstrap over tasks and seeds.");
  items.push("Shading: from the lowest score of a column to its highest.");
  if (section.devices.length) items.push(`Times and memory: measured on ${section.devices.join("; ")}.`);
  items.push("Click a cell, or press Enter on it, for its seeds, hyper-parameters, search, curves, hardware, and the command that reproduces it.");
  return el("ul", { class: "notes" }, ...items.map((item) => el("li", { class: item.startsWith("Click") ? "screen" : null }, item)));
}

function leaderboardColumns(section) {
  const { groups, tasks, statistics } = section;
  const tints = tasks.map((_, t) => tintOf(section, t));
  const extra = ([key, title, help]) => ({
    title,
    key,
    help,
    option: key,
    high: false,
    kind: "n extra",
    value: ({ variant }) => variant[key][0],
    cell: ({ variant }) => el("td", { class: "n extra" }, variant[key][1]),
  });
  const columns = [
    { title: "Method", kind: "name", high: false, value: ({ variant }) => variant.name, cell: ({ variant }) => nameCell(variant) },
    ...statistics.map((statistic, index) => statisticColumn(statistic, index ? statistic.name : null)),
    ...EXTRAS.map(extra),
  ];
  groups.forEach((group, g) => {
    if (groups.length > 1 || section.folded) columns.push(groupColumn(group, g));
    for (const t of group.tasks) {
      columns.push({
        title: tasks[t].title,
        key: `task,${tasks[t].name}`,
        help: `${tasks[t].name}, ${group.name}`,
        high: true,
        kind: "n task",
        group: g,
        task: t,
        value: ({ place }) => section.cells[place][t]?.[0] ?? null,
        cell: ({ place }) => taskCell(section.cells[place][t], tasks[t], place, tints[t]),
      });
      columns.push(...section.scales.filter(({ task }) => task === t).map((scales) => scalesColumn(scales, g)));
    }
  });
  return columns;
}

/** A statistic of variants over tasks. If a task is missing, it covers the tasks there are, shows how many, and is never ranked. */
function statisticColumn({ name, title, help, high, cells, intervals }, option) {
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
      const ends = intervals[place]?.replace(" to ", "\u2013");
      const small = detail ? el("small", { class: "few" }, detail) : ends ? el("small", { title: `95 % interval: ${intervals[place]}` }, ends) : null;
      return el("td", { class: `n sum ${mark(rank)}` }, el("span", { class: detail ? "part" : null }, text), small && " ", small);
    },
  };
}

/** A segmentation task's mIoU at several scales: in a second column, and in no mean or rank. */
function scalesColumn({ task, title, cells }, group) {
  return {
    title,
    key: `scales,${title}`,
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
    key: `group,${group.name}`,
    in: group.name,
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
  if (variant.reading !== null) label.append(el("abbr", { title: "see the note on the method at the top of the page" }, "\u2020"));
  if (variant.unequal) label.append(el("abbr", { title: `tuned with ${variant.trials[1]} trials per task, unlike the others` }, "\u2696"));
  return el("th", { scope: "row", class: "name" }, label);
}

/** Lowest and highest mean of a task among the rows. */
function tintOf(section, t) {
  const means = [...section.rows].map((place) => section.cells[place][t]?.[0]).filter((mean) => mean !== null && mean !== undefined);
  return [Math.min(...means), Math.max(...means)];
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
function foldingRow(section, at, shown, all) {
  const usual = section.folded;
  const turned = toggled(`${at}.folds`);
  const isFolded = (group) => usual !== turned.has(group.name);
  const corner = el("td", { class: "name" });
  const rest = el("td", {});
  const buttons = section.groups.map((group) => {
    const count = el("small", {}, plural(group.tasks.length, "task"));
    return el("button", { type: "button", class: "fold", tabindex: -1, title: `fold or unfold the tasks of ${group.name}` }, el("span", {}, group.name), count);
  });
  const cells = buttons.map((button) => el("th", { scope: "colgroup", class: "group" }, button));
  shown.head.prepend(el("tr", { class: "groups" }, corner, rest, ...cells));

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
  all.onclick = () => {
    const fold = !section.groups.some(isFolded);
    for (const group of section.groups) turned.set(group.name, fold !== usual);
    apply();
  };
  return { apply };
}

/** Text, methods and families: which rows are shown. A family folds to its best variant, and does so at first where there are many variants. Text finds variants in folded families too. */
function filters(section, at, view, without, rebuild) {
  const find = el("input", { type: "search", placeholder: "Filter variants", "aria-label": "Filter variants" });
  find.value = recall(`${at}.find`, "");
  const status = el("span", { class: "count", role: "status" });
  const warning = el("p", { class: "folded" });
  const nothing = el("p", { class: "lead", hidden: true });
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
    const found = ({ variant }) => words.every((word) => variant.name.toLowerCase().includes(word));
    const kept = view.shown ? folded(view, words, found) : 0;
    status.textContent = kept === section.variants.length ? plural(kept, "variant") : `${kept} of ${plural(section.variants.length, "variant")}`;
    foldFamilies.firstChild.checked = families.length > 0 && families.every(isFolded);
    nothing.hidden = kept > 0;
    nothing.textContent = `No variant has \u201c${find.value.trim()}\u201d in its name.`;
  }

  /** Hides what isn't found or is folded; how many rows are left. */
  function folded({ shown, section: { statistics } }, words, found) {
    const by = statistics.find(({ name }) => name === shown.sortedBy()?.key) ?? statistics[0];
    const members = new Map(words.length ? [] : families.map((family) => [family, bestFirst(shown.lines.filter(({ row }) => found(row) && row.variant.family === family), by)]));
    const foldable = usual || families.some(isFolded);
    for (const { row, tr } of shown.lines) {
      const of = (foldable && members.get(row.variant.family)) || [];
      setFold(tr.cells[0], of.length > 1 && of[0].row === row ? foldTitle(of, by, isFolded(row.variant.family)) : null, isFolded(row.variant.family));
    }
    const largest = Math.max(0, ...[...members].filter(([family]) => isFolded(family)).map(([, of]) => of.length));
    warning.hidden = largest < 2;
    warning.textContent = `Of each folded family, only the best variant is shown, by \u201c${by.title}\u201d. It is chosen by test scores, which favours large families: the best of ${largest} is partly the luckiest of ${largest}. Marks and ranks count the hidden variants too.`;
    return shown.filter((row) => found(row) && (!members.has(row.variant.family) || !isFolded(row.variant.family) || members.get(row.variant.family)[0]?.row === row));
  }

  function attach() {
    view.shown.body.addEventListener("click", (event) => {
      if (!event.target.closest("button.family")) return;
      const { family } = view.shown.line(event.target.closest("tr")).row.variant;
      fold(family, !isFolded(family));
      apply();
    });
    view.shown.table.addEventListener("sorted", apply);
  }

  find.addEventListener("input", () => {
    remember(`${at}.find`, find.value, "");
    apply();
  });
  const boxes = methods.map((method) =>
    checkbox(method, !without.has(method), (on) => {
      without.set(method, !on);
      rebuild();
    }),
  );
  const every = allOrNone((on) => {
    boxes.forEach((box, index) => {
      box.firstChild.checked = on;
      without.set(methods[index], !on);
    });
    rebuild();
  });
  return { find, families: families.length ? foldFamilies : null, methods: menu("Methods", el("p", { class: "row" }, ...every), ...boxes), status, warning, nothing, apply, attach };
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
  const button = cell.querySelector("button.family") ?? el("button", { type: "button", class: "family", tabindex: -1 });
  button.textContent = title;
  button.title = folded ? "show all of this family" : "show only the best of this family";
  button.setAttribute("aria-expanded", String(!folded));
  if (!button.isConnected) cell.querySelector(".label").append(button);
}

/** Keyboard access to the table, which is one stop for Tab: arrows move between cells, the headings above and the buttons of folded families; Enter or a click opens a cell or presses a button. */
function walkable(shown, section, at) {
  const { table, head, body, columns } = shown;
  let current = null;
  for (const button of head.querySelectorAll("button")) button.tabIndex = -1;

  function enter(to) {
    if (current) current.tabIndex = -1;
    current = to;
    to.tabIndex = 0;
  }

  function open(td) {
    const column = columns[td.cellIndex];
    const { place } = shown.line(td.parentElement).row;
    if (column.task !== undefined) openCell(at, place, column.task);
    else openVariant(at, place, column.tasks);
  }

  /** A cell itself, or the button in it. */
  const stop = (cell) => {
    if (cell?.tagName === "TD" && cell.closest("tbody")) return cell;
    return cell?.querySelector("button:not([hidden])") ?? undefined;
  };

  const step = (cell, sideways, down) => {
    const { cellIndex: x } = cell;
    if (sideways) {
      let to = cell;
      do to = sideways > 0 ? to.nextElementSibling : to.previousElementSibling;
      while (to && (to.hidden || !stop(to)));
      return stop(to);
    }
    let tr = cell.parentElement;
    do tr = neighbour(tr, down);
    while (tr?.hidden);
    if (!tr) return undefined;
    const groups = tr.classList.contains("groups");
    if (groups) return stop(tr.cells[2 + (columns[x]?.group ?? 0)]);
    const from = cell.closest("tr.groups") ? shown.headings.findIndex((th, index) => !th.hidden && columns[index].group === cell.cellIndex - 2) : x;
    return stop(tr.cells[from]) ?? stop(tr.cells[1]);
  };
  const neighbour = (tr, down) => {
    const lines = [...head.rows, ...body.rows];
    return lines[lines.indexOf(tr) + down];
  };
  const row = (cell) => [...cell.parentElement.cells].filter((other) => !other.hidden && stop(other) && other.cellIndex);
  const ends = { Home: (cell) => stop(row(cell)[0]), End: (cell) => stop(row(cell).at(-1)) };
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  body.addEventListener("click", (event) => {
    const cell = event.target.closest("button") ? null : event.target.closest("td, th");
    if (cell && cell.cellIndex > 0) enter(cell);
    if (cell) open(cell);
  });
  table.addEventListener("keydown", (event) => {
    const cell = event.target.closest("td, th");
    if (!cell || event.ctrlKey || event.metaKey || event.altKey) return;
    const button = event.target.closest("button");
    if (!button && (event.key === "Enter" || event.key === " ")) open(cell);
    else {
      const to = arrows[event.key] ? step(cell, ...arrows[event.key]) : ends[event.key]?.(cell);
      if (!to) {
        if (arrows[event.key]) event.preventDefault();
        return;
      }
      enter(to);
      to.focus();
    }
    event.preventDefault();
  });
  // The stop that Tab enters must be visible: after a filter, a fold or a sort it may not be.
  new MutationObserver(settle).observe(body, { attributes: true, attributeFilter: ["hidden"], subtree: true, childList: true });

  function settle() {
    const cell = current?.closest("td, th");
    if (cell && !current.hidden && !cell.hidden && !cell.parentElement.hidden) return;
    const tr = [...body.rows].find((line) => !line.hidden);
    if (tr) enter(tr.cells[1]);
  }
  settle();
}
