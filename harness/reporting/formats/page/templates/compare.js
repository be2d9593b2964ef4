// Two variants of a section side by side: what may be claimed, each task, hyper-parameters and costs.

function compareMenu(section, at) {
  if (section.variants.length < 2) return null;
  const button = el("button", { type: "button", class: "tool" }, "Compare two");
  button.addEventListener("click", () => openPair(at, 0, 1));
  return button;
}

function openPair(at, one, other) {
  const section = about.sections[at];
  const pick = (title, chosen, change) => {
    const select = el("select", {}, ...section.variants.map(({ name }, place) => el("option", { value: place, selected: place === chosen }, name)));
    select.addEventListener("change", () => change(Number(select.value)));
    return el("label", { class: "choice" }, `${title} `, select);
  };
  const choices = el("div", { class: "tools pick" }, pick("First", one, (place) => openPair(at, place, other)), pick("Second", other, (place) => openPair(at, one, place)));
  const names = [one, other].map((place) => section.variants[place].name);
  const content = one === other ? [el("p", { class: "lead" }, "Choose two different ones.")] : pairParts(section, at, one, other, names);
  openPanel(["Compare two"], section.title, choices, ...content);
  panel.classList.add("wide");
}

function pairParts(section, at, one, other, names) {
  const said = section.compared[[Math.min(one, other), Math.max(one, other)].join()];
  const words = said ? el("ul", { class: "notes claims" }, ...said.map((line) => el("li", {}, line))) : el("p", {}, "What may be claimed of the two is said by:");
  return [
    titled("What may be claimed", words, command(`harness compare ${names.map(shellWord).join(" ")}${about.store}`)),
    titled("Task by task", ...pairTasks(section, one, other, names)),
    titled("Hyper-parameters", ...pairParams(section, at, one, other, names)),
    titled("Cost", pairTable("Cost", ["", ...names], about.costs.map(([key, title, help]) => [el("span", { title: help }, title), ...[one, other].map((place) => section.variants[place][key][1])]))),
  ];
}

function shellWord(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

function pairTasks(section, one, other, names) {
  const differences = section.tasks.map((_, t) => pairedDifference(section.scores[one][t], section.scores[other][t], about.t));
  const ends = differences.flatMap((found) => (found ?? []).filter((value) => value !== null));
  const around = [Math.min(-0.5, ...ends), Math.max(0.5, ...ends)];
  const known = differences.filter(Boolean);
  const rows = section.tasks.map(({ name }, t) => {
    const scores = [one, other].map((place) => section.cells[place][t]?.[2] ?? NOTHING);
    const found = differences[t];
    if (!found) return [name, ...scores, NOTHING, "no seed in common", null];
    return [name, ...scores, signed(found[0]), found[1] === null ? "one seed" : `[${signed(found[1])}, ${signed(found[2])}]`, whisker(found, around)];
  });
  const mean = known.length ? signed(average(known.map(([value]) => value))) : NOTHING;
  const counts = [1, 0, -1].map((sign) => known.filter(([value]) => Math.sign(Math.round(value * 1e5)) === sign).length);
  const over = `Over ${plural(known.length, "task")}: ${counts[0]} wins, ${counts[1]} ties and ${counts[2]} losses of ${names[0]}; mean difference ${mean} points. Intervals: Student's t over paired seeds, not corrected for the number of tasks.`;
  return [pairTable("Task by task", ["Task", ...names, "Difference", "95 % interval", ""], rows), el("p", { class: "small" }, over)];
}

function signed(value) {
  const size = fixed(Math.abs(value), 2);
  return `${value < 0 && Number(size) ? "\u2212" : "+"}${size}`;
}

/** What was chosen: by name the values of each, over tasks and seeds. */
function pairParams(section, at, one, other, names) {
  const { shared, cells } = runs();
  const values = [one, other].map((place) => {
    const found = new Map();
    cells[at][place].flat().forEach((run) => {
      for (const [name, value] of Object.entries(unpacked(run, shared).params)) found.set(name, [...(found.get(name) ?? []), value]);
    });
    return found;
  });
  const all = [...new Set(values.flatMap((found) => [...found.keys()]))];
  if (!all.length) return [el("p", {}, "None: there was nothing to choose.")];
  const shown = (list) => [...new Set(list ?? [])].sort((a, b) => compare(a, b, 1)).join(", ") || NOTHING;
  return [pairTable("Hyper-parameters", ["", ...names], all.map((name) => [el("code", {}, name), ...values.map((found) => shown(found.get(name)))])), el("p", { class: "small" }, "All values that were chosen on any task, by each search's own val scores. A cell of the table has those of one task.")];
}

function pairTable(label, titles, rows) {
  const head = el("tr", {}, ...titles.map((title, index) => (title || !index ? el(title ? "th" : "td", { scope: title ? "col" : null, class: index ? "n" : null }, ...breakable(title)) : el("td", {}))));
  const body = rows.map(([first, ...rest]) => el("tr", {}, el("th", { scope: "row" }, ...(typeof first === "string" ? breakable(first) : [first])), ...rest.map((value) => el("td", { class: "n wraps" }, value))));
  return scrolling(label, el("table", { class: "plain" }, el("thead", {}, head), el("tbody", {}, ...body)));
}
