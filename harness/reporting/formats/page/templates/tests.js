// Ranks and tests: Friedman's and the critical-difference diagram, and pairs by Wilcoxon's test with Holm's correction.

function testsOf(section, at) {
  const { tests, variants } = section;
  const names = (places) => places.map((place) => variants[place].name);
  const content = [];
  if (tests.dropped.length) {
    const dropped = tests.dropped.map(([place, tasks]) => `${variants[place].name} (${tasks.join(", ")})`);
    content.push(el("p", { class: "notice" }, `Left out because they lack tasks: ${dropped.join("; ")}.`));
  }
  if (typeof tests.friedman === "string") content.push(el("p", { class: "lead" }, `No test of all methods: ${tests.friedman}`));
  else content.push(...friedmanOf(tests.friedman, names, at, section));
  content.push(...winsTable(section));
  content.push(el("h3", {}, "Pairs of methods"));
  if (tests.apart) content.push(el("p", { class: "notice" }, tests.apart));
  if (typeof tests.pairs === "string") content.push(el("p", { class: "lead" }, `No test of pairs: ${tests.pairs}`));
  else content.push(...pairsOf(tests, names, at, section.title));
  return content;
}

function friedmanOf(test, names, at, section) {
  const mean = section.statistics[0];
  const rows = test.variants.map((place, index) => ({ place, name: names([place])[0], rank: test.ranks[index], mean: mean.cells[place] }));
  const table = sortableTable({
    label: `Mean ranks, ${section.title}`,
    name: `${at}.ranks`,
    sorted: "1.ascending",
    attributes: { class: "plain" },
    rows,
    columns: [
      { title: "Method", kind: "name", value: (row) => row.name, cell: (row) => named(row.name) },
      { title: "Mean rank", kind: "n", value: (row) => row.rank[0], cell: text((row) => row.rank[1], "n") },
      { title: "95 % interval", kind: "n", help: "bootstrap over tasks and seeds", value: (row) => row.rank[0], cell: text((row) => row.rank[2] ?? NOTHING, "n") },
      { title: mean.title, kind: "n", high: true, value: (row) => row.mean[0], cell: text((row) => row.mean[1], "n") },
    ],
  });
  return [
    el("p", { class: "lead" }, test.lead),
    el("p", {}, test.variants.length > test.drawn ? `${test.claim} Drawn are the first ${test.drawn} of ${test.variants.length}; the ranks of all are below.` : test.claim),
    figureOf(criticalDifference(test, names), "Critical-difference diagram"),
    el("h3", {}, "Mean ranks"),
    table.box,
  ];
}

/** Demšar's diagram: methods on an axis of mean ranks, the best at the left; bars join methods that differ by less than the critical difference. */
function criticalDifference(test, names) {
  const { drawn: count, bars } = test;
  const kept = test.variants.slice(0, count);
  const ranks = test.ranks.map(([rank]) => rank);
  const [difference, apart] = test.critical_difference;
  const [width, step, half] = [860, 18, Math.ceil(count / 2)];
  const room = (places) => Math.max(0, ...places.map((place) => Math.min(names([place])[0].length, 34))) * 6.6 + 60;
  const [start, end] = [room(kept.slice(0, half)), width - room(kept.slice(half))];
  const axis = 52;
  const first = axis + 16 + bars.length * 6;
  const height = first + half * step + 8;
  const last = Math.max(count, Math.ceil(ranks[count - 1]), 1 + difference);
  const px = scale(1, last, start, end);
  const at = new Map(kept.map((place, index) => [place, px(ranks[index])]));
  const label = `Critical-difference diagram: ${kept.map((place, index) => `${names([place])[0]} ${test.ranks[index][1]}`).join(", ")}`;
  const root = svg("svg", { class: "chart cd", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  root.append(svg("line", { class: "rule", x1: start, x2: end, y1: axis, y2: axis }));
  for (const rank of ticks(1, last, 8)) {
    root.append(svg("line", { class: "rule", x1: px(rank), x2: px(rank), y1: axis - 5, y2: axis }));
    root.append(svg("text", { class: "tick", x: px(rank), y: axis - 9, "text-anchor": "middle" }, String(rank)));
  }
  root.append(svg("line", { class: "bar", x1: px(1), x2: px(1 + difference), y1: 20, y2: 20 }));
  root.append(svg("text", { class: "tick", x: px(1), y: 13 }, `critical difference ${apart}`));
  kept.forEach((place, index) => {
    const left = index < half;
    const y = first + (left ? index : count - 1 - index) * step + step / 2;
    const to = left ? start - 8 : end + 8;
    const name = names([place])[0];
    root.append(svg("path", { class: "lead", d: `M${at.get(place)} ${axis}V${y}H${to}` }));
    const short = name.length > 34 ? `${name.slice(0, 33)}\u2026` : name;
    const rank = svg("tspan", { class: "tick" }, test.ranks[index][1]);
    const parts = left ? [`${short} `, rank] : [rank, ` ${short}`];
    root.append(svg("text", { class: "name", x: left ? to - 4 : to + 4, y: y + 4, "text-anchor": left ? "end" : "start" }, svg("title", {}, name), ...parts));
  });
  bars.forEach(([first, last], index) => {
    const [from, to] = [px(ranks[first]), px(ranks[last])];
    root.append(svg("line", { class: "bar", x1: from - 4, x2: to + 4, y1: axis + 8 + index * 6, y2: axis + 8 + index * 6 }));
  });
  return root;
}

/** On how many tasks the method of a row is above that of a column; ties count half. Of methods that have all tasks. */
function winsTable(section) {
  const kept = section.variants.map((_, place) => place).filter((place) => section.cells[place].every((cell) => cell?.[1])).slice(0, 30);
  if (kept.length < 3) return [];
  const won = winsOf(kept.map((place) => section.cells[place].map(([mean]) => mean)));
  const many = section.tasks.length;
  const label = (place) => section.variants[place].name;
  const head = el("tr", {}, el("td", {}), ...kept.map((place) => el("th", { scope: "col", class: "turned", title: label(place) }, el("span", {}, label(place)))));
  const body = kept.map((place, row) => {
    const cells = kept.map((other, column) => {
      if (row === column) return el("td", { class: "n" });
      const [wins, ties] = won[row][column];
      const td = el("td", { class: "n won", title: `${label(place)} is above ${label(other)} on ${wins} of ${plural(many, "task")}${ties ? `, ties ${ties}` : ""}` }, String(wins + ties / 2));
      td.style.setProperty("--heat", ((wins + ties / 2) / many).toFixed(2));
      return td;
    });
    return el("tr", {}, named(label(place)), ...cells);
  });
  const table = el("table", { class: "plain wins" }, el("thead", {}, head), el("tbody", {}, ...body));
  const box = el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Wins, ${section.title}` }, table);
  return [el("h3", {}, "Wins"), el("p", {}, `On how many of ${plural(many, "task")} the method of a row scores above that of a column; a tie counts half.`), box];
}

function pairsOf(tests, names, at, title) {
  const rows = tests.pairs.map((pair) => {
    const [a, b] = names([pair.one, pair.other]);
    return { ...pair, a, b };
  });
  const against = tests.against === null ? "all pairs" : `each against ${tests.against}`;
  const why = tests.chosen ? " That method was chosen after the fact because it has the best mean here: for a claim, choose a baseline beforehand." : "";
  const n = (title, value, form, high = true, help = "") => ({ title, help, kind: "n", high, value, cell: text(form, "n") });
  const table = sortableTable({
    label: `Pairs of methods, ${title}`,
    name: `${at}.pairs`,
    sorted: "",
    attributes: { class: "plain" },
    rows,
    columns: [
      { title: "Method", kind: "name", value: (row) => row.a, cell: (row) => named(row.a) },
      { title: "against", value: (row) => row.b, cell: (row) => el("td", {}, ...breakable(row.b)) },
      { title: "is", value: (row) => row.verdict, cell: (row) => el("td", { class: `verdict ${row.verdict.split(" ")[0]}` }, row.verdict) },
      n("Difference", (row) => row.mean[0], (row) => row.mean[1], true, "mean over tasks, in points"),
      n("95 % interval", (row) => row.interval[0], (row) => row.interval[1], true, "tasks as a sample, studentised bootstrap"),
      n("Wins", (row) => row.wins, (row) => String(row.wins)),
      n("Ties", (row) => row.ties, (row) => String(row.ties)),
      n("Losses", (row) => row.losses, (row) => String(row.losses), false),
      n("p", (row) => row.p[0], (row) => row.p[1], false, "Wilcoxon signed-rank, two-sided"),
      n("p by Holm", (row) => row.holm[0], (row) => row.holm[1], false, `corrected for ${rows.length} comparisons`),
      n("Effect", (row) => row.effect[0], (row) => row.effect[1], true, "matched-pairs rank-biserial correlation, -1 to 1"),
    ],
  });
  const caption = `Wilcoxon's signed-rank test over tasks, ${against}, ${plural(rows.length, "comparison")} by Holm's correction: different where p by Holm is below ${tests.level}.${why}`;
  return [el("p", {}, caption), table.box];
}
