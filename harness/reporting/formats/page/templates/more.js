// Ablations, published numbers and failures.

function ablationsOf(section) {
  if (!section.families.length) return [el("p", { class: "lead" }, "No method was run here with a toggle both on and off.")];
  return section.families.flatMap((family) => ablation(section, family));
}

function ablation(section, family) {
  const { groups, tasks, variants } = section;
  const reference = variants[family.reference].name;
  const several = groups.length > 1;
  const to = family.all_off ? "to all off" : "to the first";
  const ends = family.settings.flatMap(([, , apart]) => (apart ?? []).filter((value) => value !== null));
  const around = [Math.min(-0.5, ...ends), Math.max(0.5, ...ends)];
  const titles = [...family.toggles, ...(several ? groups.map((group) => group.name) : []), `mean of ${tasks.length}`, `difference ${to}`, "95 % interval", ""];
  const columns = [...(several ? groups.map((group) => group.cells) : []), section.statistics[0].cells];
  const rows = family.settings.map(([place, on, apart, [difference, interval]]) =>
    el(
      "tr",
      {},
      named(variants[place].name),
      ...on.map((value) => el("td", { class: "switch" }, value === null ? "default" : value ? "\u2713" : "\u00b7")),
      ...columns.map((cells) => el("td", { class: "n" }, cells[place][0] === null ? NOTHING : cells[place][1])),
      el("td", { class: "n" }, difference),
      el("td", { class: "n" }, interval),
      el("td", {}, apart ? whisker(apart, around) : null),
    ),
  );
  const kinds = [...family.toggles.map(() => "switch"), ...titles.slice(family.toggles.length).map(() => "n")];
  const head = el("tr", {}, el("th", { scope: "col", class: "name" }, "Variant"), ...titles.map((title, index) => el("th", { scope: "col", class: kinds[index] }, ...breakable(title))));
  const table = el("table", { class: "plain" }, el("thead", {}, head), el("tbody", {}, ...rows));
  const why = family.all_off
    ? `Differences to all toggles off, ${reference}`
    : `All toggles off wasn't run on its own: differences are to ${reference}, the fewest on`;
  return [
    el("h3", {}, family.name),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Ablation of ${family.name}, ${section.title}` }, table),
    el("p", {}, `${why}; in points, mean over ${plural(tasks.length, "task")}. Interval: Student's t over tasks taken as a sample, each task's difference averaged over paired seeds.`),
  ];
}

/** Published rows next to measured ones of the same method; no rank, mean or test combines the two. */
function publishedOf(section) {
  const { rows, reason, sources, phrases, faults, chosen } = section.published;
  if (!rows.length) return [el("p", { class: "lead" }, `No published numbers: ${reason}.`)];
  const measured = section.variants.map((variant, place) => {
    return { key: variant.method, from: "measured", name: variant.name, origin: "here", value: (column) => measuredValue(section, place, column) };
  });
  const printed = rows.map((row) => {
    const values = new Map(row.values.map(([column, value, source, text]) => [column, [value, text, sources[source]]]));
    return { key: row.key, from: "published", name: row.method, origin: row.identity, apart: row.apart.map((place) => phrases[place]), columns: [...values.keys()], value: (column) => values.get(column) };
  });
  const columns = publishedColumns(section, printed);
  const known = new Set(printed.map((row) => row.key));
  const order = [...measured, ...printed].sort((a, b) => known.has(b.key) - known.has(a.key) || compare(a.key, b.key, 1) || compare(a.from, b.from, 1));
  const body = order.map((row, index) => publishedRow(row, columns, order[index - 1]?.key !== row.key));
  const titles = ["Method", "From", ...columns.map(([, title]) => title)];
  const head = el("tr", {}, ...titles.map((title, i) => el("th", { scope: "col", class: ["name", "from"][i] ?? "n" }, ...breakable(title))));
  const table = el("table", { class: "plain published" }, el("thead", {}, head), el("tbody", {}, ...body));
  const list = (items) => el("ul", { class: "notes" }, ...items.map((item) => el("li", {}, item)));
  return [
    el("p", {}, "Published numbers are rounded as the measured ones, and only shown for reference: pixels, splits, tuning budgets and how hyper-parameters were selected differ between papers, and move scores by points. None is ranked, averaged or tested together with measured ones."),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Published next to measured, ${section.title}` }, table),
    chosen.length ? list(chosen) : null,
    faults.length ? list(faults) : null,
    el("details", { class: "fold" }, el("summary", {}, `Sources (${sources.length})`), list(sources)),
  ];
}

/** [column, title] of those that a published row has a number in. */
function publishedColumns({ groups, tasks }, printed) {
  const columns = [["mean", `Mean of ${tasks.length}`]];
  if (groups.length > 1) {
    columns.push(["mean_of_groups", `Mean of ${groups.length} groups`], ...groups.map((group, g) => [`group,${g}`, `${group.name} (${group.tasks.length})`]));
  }
  columns.push(...tasks.map((task, t) => [`task,${t}`, task.name]));
  const others = new Set(printed.flatMap((row) => row.columns.filter((column) => column.startsWith("other,"))));
  columns.push(...[...others].map((column) => [column, column.slice("other,mean-".length)]));
  return columns.filter(([column]) => printed.some((row) => row.value(column)));
}

function publishedRow({ from, name, origin, apart = [], value }, columns, starts) {
  const differs = apart.length ? el("details", { class: "apart" }, el("summary", {}, "how it differs"), el("ul", {}, ...apart.map((phrase) => el("li", {}, phrase)))) : null;
  const tr = el("tr", { class: `${from}${starts ? " starts" : ""}` }, named(name));
  tr.append(el("td", { class: "from" }, el("span", { class: "tag" }, from), " ", ...breakable(origin), differs ?? ""));
  for (const [column] of columns) {
    const entry = value(column);
    tr.append(el("td", { class: "n", title: from === "published" ? entry?.[2] : null }, entry ? entry[from === "measured" && column.startsWith("task") ? 2 : 1] : ""));
  }
  return tr;
}

/** [value, text, that of a task with one digit] of a column: "mean", "mean_of_groups", "group,N" or "task,N"; undefined where there is none. */
function measuredValue(section, place, column) {
  const [kind, index] = column.split(",");
  const cell = {
    group: () => section.groups[index].cells[place],
    task: () => section.cells[place][index]?.[1] && [section.cells[place][index][0], section.cells[place][index][4][0], section.cells[place][index][2]],
    other: () => null,
  }[kind] ?? (() => section.statistics.find(({ name }) => name === kind)?.cells[place]);
  const entry = cell();
  return entry && entry[0] !== null ? entry : undefined;
}

/** Failed runs and cells without any, [{place, task, seed, reason}]. */
function gapsOf(section) {
  return section.cells.flatMap((row, place) =>
    row.flatMap((cell, task) => {
      if (!cell) return [{ place, task, seed: null, reason: "not run" }];
      return cell[5].map(([seed, reason, trace]) => ({ place, task, seed, reason, trace }));
    }),
  );
}

function traceOf({ trace }) {
  return trace ? el("details", {}, el("summary", {}, "Traceback"), el("pre", {}, trace.join("\n"))) : null;
}

function failuresOf(section, at) {
  const rows = gapsOf(section);
  const missing = section.missing.length ? el("p", {}, `No method was run on ${section.missing.join(", ")}.`) : null;
  if (!rows.length) return [el("p", { class: "lead" }, "No run failed, and no cell is empty."), missing];
  const table = sortableTable({
    label: `Failures, ${section.title}`,
    name: `${at}.failures`,
    attributes: { class: "plain" },
    rows: rows.map((row) => ({ ...row, variant: section.variants[row.place].name, on: section.tasks[row.task].name })),
    columns: [
      { title: "Method", kind: "name", value: (row) => row.variant, cell: (row) => named(row.variant) },
      { title: "Task", value: (row) => row.on, cell: (row) => el("td", {}, ...breakable(row.on)) },
      { title: "Seed", kind: "n", value: (row) => row.seed, cell: text((row) => (row.seed === null ? "all" : String(row.seed)), "n") },
      { title: "Reason", value: (row) => row.reason, cell: (row) => el("td", { class: "reason" }, row.reason, traceOf(row)) },
    ],
  });
  return [missing, el("p", {}, "A failed or empty cell is a gap: no mean includes it, and its method has no rank."), table.box];
}
