// The side panel: everything known about one cell, or a variant's tasks.

const panel = document.getElementById("details");
panel.addEventListener("click", (event) => {
  if (event.target === panel || event.target.closest("button.close")) panel.close(); // the backdrop is the dialog itself
});
panel.addEventListener("click", (event) => {
  const link = event.target.closest("button[data-task]");
  if (link) openCell(Number(link.dataset.section), Number(link.dataset.place), Number(link.dataset.task));
});

function openPanel(title, subtitle, ...content) {
  panel.classList.remove("wide");
  const close = el("button", { type: "button", class: "close", "aria-label": "Close" }, "\u00d7");
  const head = el("div", { class: "head" }, el("div", {}, el("h2", { id: "details-title" }, ...title), el("p", {}, subtitle)), close);
  panel.replaceChildren(el("div", { class: "sheet" }, head, ...content));
  if (!panel.open) panel.showModal();
  panel.scrollTop = 0;
  close.focus();
}

function openCell(at, place, t) {
  const section = about.sections[at];
  const variant = section.variants[place];
  const cell = section.cells[place][t];
  const { shared, cells } = runs();
  const made = cells[at][place][t].map((run) => unpacked(run, shared));
  const content = [];
  if (!cell) content.push(el("p", { class: "lead" }, "Not run: the store has nothing for this cell."));
  else if (cell[1]) content.push(el("p", { class: "lead" }, el("b", {}, cell[4][0]), ` ${section.metric} in %`), scoreFacts(cell, section.tasks[t].near.includes(place)));
  if (cell?.[5].length) content.push(gapList(cell[5]));
  const search = searchOf(section, at, place, t);
  content.push(...(made.length ? ofRuns(section, variant, made, search) : search));
  content.push(...againOf(variant, section.tasks[t], made));
  openPanel([variant.name, el("span", { class: "on" }, " on "), section.tasks[t].name], section.title, ...content);
}

function scoreFacts([, n, , , [, spread, interval, standing]], near) {
  return facts([
    ["Spread", spread === null ? "one seed, so none" : `± ${spread} (standard deviation over ${n} seeds)`],
    ["95 % interval", interval === NOTHING ? "needs 2 seeds" : `${interval} (Student's t over seeds)`],
    ["Place", `${standing} on this task${near ? ", within the best's interval" : ""}`],
  ]);
}

function gapList(gaps) {
  const items = gaps.map(([seed, reason]) => el("li", {}, el("b", {}, `seed ${seed} failed: `), reason));
  return el("ul", { class: "gaps" }, ...items);
}

function unpacked([id, seed, [score, time, memory, units, trained, head], places, values, logged], shared) {
  const [params, epochs, steps, versions, machine, inputs, created] = Object.keys(shared).map((name, index) => shared[name][places[index]]);
  return { id, seed, score, time, memory, units, trained, head, params, versions, machine, inputs, created, curve: epochs.map((e, i) => [e, values[i]]), logged: Object.entries(logged).map(([name, read]) => [name, steps.map((e, i) => [e, read[i]]).filter(([, value]) => value !== null)]) };
}

function ofRuns(section, variant, made, search) {
  const columns = [
    ["Seed", (run) => run.seed],
    ["Score", (run) => run.score],
    ["Time", (run) => run.time],
    ["Memory", (run) => run.memory],
    ["Units", (run) => run.units],
    ["Id", (run) => el("code", {}, run.id)],
  ];
  const body = made.map((run) => el("tr", {}, ...columns.map(([, value], index) => el("td", { class: index < 5 ? "n" : null }, value(run)))));
  const head = el("tr", {}, ...columns.map(([title], index) => el("th", { scope: "col", class: index < 5 ? "n" : null }, title)));
  const table = el("table", { class: "plain seeds" }, el("thead", {}, head), el("tbody", {}, ...body));
  return [
    titled("Seeds", scrolling("Seeds", table)),
    titled("Chosen hyper-parameters", ...chosen(made)),
    ...search,
    ...learning(made, section),
    ...steps(made, section),
    titled("Parameters", facts([["Method", made[0].trained], ["Head", made[0].head]])),
    titled("Made with", ...alike(made, (run) => ({ method: `version ${variant.versions.join(", ")}`, ...run.inputs, ...run.machine }))),
    titled("Versions", ...alike(made, (run) => run.versions)),
    titled("When", el("p", {}, whenOf(made.map((run) => run.created)))),
  ];
}

/** A moment, or the first and the last of several, to the minute. */
function whenOf(stamps) {
  const minutes = [...new Set(stamps.map((stamp) => stamp.slice(0, 16).replace("T", " ")))].sort();
  const ends = minutes.length > 1 ? `${minutes[0]} to ${minutes.at(-1)}` : minutes[0];
  return stamps.every((stamp) => stamp.endsWith("+00:00")) ? `${ends} UTC` : ends;
}

/** The command of each seed, and where method and data come from. */
function againOf(variant, task, made) {
  const again = made.length ? [titled("Run it again", ...made.map((run) => command(`harness reproduce ${run.id}${ownMethod(run)}${about.store}`)))] : [];
  const links = linksOf(variant);
  const data = outside(task.source.split(" ")[0], "its data") ?? task.source;
  if (task.source) links.push(["Data", el("span", {}, `${task.citation}. Licence: ${task.licence}. `, data)]);
  return links.length ? [...again, titled("Where from", facts(links))] : again;
}

/** Paper and code of a method, if they are known. */
function linksOf({ method }) {
  const paper = about.papers[method];
  if (!paper) return [];
  const code = outside(paper.code, "the authors' code");
  return [["Paper", el("span", {}, outside(paper.paper, paper.title) ?? paper.title, code ? ", " : null, code)]];
}

/** A method in a .py file only runs if the user names it. */
function ownMethod(run) {
  const named = run.inputs.method ?? "";
  return named.includes(".py:") ? ` --method '${named.replaceAll("'", "'\\''")}'` : "";
}

function titled(title, ...content) {
  return el("section", {}, el("h3", {}, title), ...content);
}

function chosen(made) {
  const nothing = made.every((run) => !Object.keys(run.params).length);
  return nothing ? [el("p", {}, "None: there was nothing to choose.")] : alike(made, (run) => run.params);
}

/** What all seeds share is listed once; else one list for each. */
function alike(made, of) {
  const groups = new Map();
  for (const run of made) {
    const key = JSON.stringify(of(run));
    groups.set(key, [...(groups.get(key) ?? []), run]);
  }
  return [...groups.values()].flatMap((same) => {
    const pairs = Object.entries(of(same[0])).map(([name, value]) => [el("code", {}, name), typeof value === "object" ? JSON.stringify(value) : String(value)]);
    const whose = groups.size > 1 ? [el("h4", {}, `seed${same.length > 1 ? "s" : ""} ${same.map((run) => run.seed).join(", ")}`)] : [];
    return [...whose, pairs.length ? facts(pairs) : el("p", {}, "Not recorded.")];
  });
}

function learning(made, section) {
  const drawn = made.filter((run) => run.curve.length > 1);
  if (!drawn.length) return []; // the test set is read once, after the last step
  return [titled("Scores", lineChart({ series: drawn.map((run) => ({ name: `seed ${run.seed}`, points: run.curve })), x: section.step, y: `${section.metric} in %` }))];
}

/** What was logged of the steps, a chart a name; of the learning rate one line, where all seeds have the same. */
function steps(made, section) {
  const names = [...new Set(made.flatMap((run) => run.logged.map(([name]) => name)))];
  if (!names.length) return [];
  const charts = names.map((name) => {
    const series = made.map((run) => ({ name: `seed ${run.seed}`, points: run.logged.find(([own]) => own === name)?.[1] ?? [] })).filter((line) => line.points.length);
    const same = series.every((line) => JSON.stringify(line.points) === JSON.stringify(series[0].points));
    if (!series.length || series[0].points.length < 2) return el("p", {}, `${name}: ${series[0]?.points[0]?.[1] ?? "no number"}`);
    return lineChart({ series: same ? [{ name: "all seeds", points: series[0].points }] : series, x: section.step, y: name });
  });
  return [titled("Training curves of the final runs", ...charts)];
}

function openVariant(at, place, tasks = about.sections[at].tasks.keys()) {
  const section = about.sections[at];
  const variant = section.variants[place];
  const rows = [...tasks].map((t) => {
    const cell = section.cells[place][t];
    const go = el("button", { type: "button", class: "link", "data-section": at, "data-place": place, "data-task": t }, section.tasks[t].name);
    const score = cell ? [cell[2], cell[4][1] && `± ${cell[4][1]}`].filter(Boolean).join(" ") : NOTHING;
    return el("tr", {}, el("th", { scope: "row" }, go), el("td", {}, section.tasks[t].group), el("td", { class: "n" }, score));
  });
  const head = el("tr", {}, ...["Task", "Group", section.metric].map((title, index) => el("th", { scope: "col", class: index > 1 ? "n" : null }, title)));
  const summary = [
    ...variant.summary,
    ...about.costs.filter(([key]) => key !== "units").map(([key, title]) => [title, variant[key][1]]),
    ["Trials per task", `${variant.trials[1]}${variant.unequal ? ", unlike the others" : ""}`],
    variant.length,
    ["Search units", variant.search_units[1]],
    ["All units", variant.units[1]],
  ];
  const against = about.sections[at].variants.length > 1 ? el("button", { type: "button", class: "tool" }, "Compare with another") : null;
  against?.addEventListener("click", () => openPair(at, place, place === 0 ? 1 : 0));
  const reading = variant.reading === null ? null : el("p", { class: "notice" }, section.readings[variant.reading]);
  openPanel([variant.name], section.title, reading, facts([...summary, ...linksOf(variant)]), against && el("p", {}, against), titled("Tasks", el("table", { class: "plain" }, el("thead", {}, head), el("tbody", {}, ...rows))));
}
