// How these numbers were made: what a reviewer asks.

function sourcesOf(section) {
  const { settings, tasks, variants } = section;
  const pairs = Object.entries(settings).map(([name, value]) => [name.replaceAll("_", " "), value === null ? "none" : Array.isArray(value) ? overridesOf(value) : typeof value === "object" ? spaceOf(value) : String(value)]);
  const sha = el("code", {}, section.backbone_sha.slice(0, 16));
  return [
    el("h3", {}, "Backbone"),
    facts([["Name", section.backbone], ["sha256 of the weights", sha], ["Pooling", section.pooling], ["Side of images, px", section.side || "not known"], ["Pixels normalized by", section.normalize], ["Metric", section.metric]]),
    el("h3", {}, `Protocol ${section.protocol}`),
    facts(pairs),
    el("h3", {}, "Data"),
    plainTable(
      ["Task", "Group", "Suite", "Pixels", "Fingerprint of the data"],
      tasks.map((task) => [task.name, task.group, task.suite.join(", "), task.pixels.join(", "), el("code", {}, task.data.map((data) => data.slice(0, 16)).join(", "))]),
    ),
    el("h3", {}, "Budgets"),
    plainTable(
      ["Method", "Trials a task", "Failed trials", "Search units", "All units", "Epochs", "Final runs", "Seconds a run"],
      variants.map((v) => [
        v.name,
        `${range(v.trials)}${v.unequal ? " \u2696" : ""}`,
        String(v.failed_trials),
        counted(v.search_units),
        counted(v.units),
        range(v.epochs),
        String(v.runs),
        duration(v.seconds),
      ]),
      1,
    ),
    el("p", {}, "A forward-image unit: an image that is scored counts 1, one that is trained on counts 2, forward and backward. \u2696: another number of trials than the others."),
  ];
}

/** What holds for some cells alone: `method: full, bias; optimizer: adamw`, a line each. */
function overridesOf(overrides) {
  const said = (value) => (Array.isArray(value) ? value.join(", ") : typeof value === "object" ? `(${spaceOf(value)})` : String(value));
  const lines = overrides.map((one) => Object.entries(one).map(([name, value]) => `${name.replaceAll("_", " ")}: ${said(value)}`).join("; "));
  return lines.join(" | ") || "none";
}

/** A search space as read: `base_lr 0.05 to 50 (log)`. */
function spaceOf(space) {
  const said = Object.entries(space).map(([name, value]) => {
    if (value?.choices) return `${name}: ${value.choices.join(", ")}`;
    if (value?.low !== undefined) return `${name}: ${value.low} to ${value.high}${value.log ? " (logarithmic)" : ""}`;
    return `${name}: ${JSON.stringify(value)}`;
  });
  return said.join("; ") || "nothing";
}

function plainTable(titles, rows, numbersFrom = titles.length) {
  const kind = (index) => (index === 0 ? "name" : index >= numbersFrom ? "n" : null);
  const head = el("tr", {}, ...titles.map((title, index) => el("th", { scope: "col", class: kind(index) }, title)));
  const body = rows.map((row) =>
    el("tr", {}, ...row.map((value, index) => el(index ? "td" : "th", { class: kind(index), scope: index ? null : "row" }, ...(typeof value === "string" ? breakable(value) : [value])))),
  );
  const table = el("table", { class: "plain" }, el("thead", {}, head), el("tbody", {}, ...body));
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": titles[0] }, table);
}

const DEFINITIONS = [
  ["Selection", "Hyper-parameters are those of the trial with the best score on val after its last epoch, ties to the smaller learning rate. The final runs train on train and val together, or on train alone where the protocol or the task's card says so (\"train on\"), and read the test set once, after the last epoch."],
  ["Score of a cell", "Mean over seeds, \u00b1 the standard deviation (n \u2212 1). Its 95 % interval is Student's t over seeds."],
  ["Mean of N tasks, mean of N groups", "Two conventions, always named. The first counts each task once; the second is the mean of the groups' means, so that a small group counts as much as a large one."],
  ["Interval of a mean", "Studentised bootstrap over tasks, at least as wide as Student's t: tasks are taken as a sample of the tasks one could have chosen. As a statement on just these tasks, it is too wide."],
  ["Rank", "Mean over tasks of a method's rank, 1 the best, ties sharing the average, among the methods that have every task."],
  ["Friedman, Nemenyi", "Whether any methods differ, and by how much mean ranks must differ for two to; at 0.05. J. Dem\u0161ar, JMLR 7 (2006)."],
  ["Wilcoxon, Holm", "Signed-rank test of two methods over tasks, two-sided and exact; p-values corrected over all the pairs of its table by Holm's step-down."],
  ["Effect", "Matched-pairs rank-biserial correlation: the share of the ranks that speak for a method less the share against it."],
  ["Within the best's interval", "Marked \u2248: a cell whose mean is inside the 95 % interval of the best cell of its column."],
  ["Gaps", "A failed or missing cell is shown as one. A mean that lacks a task says of how many it is, and is never ranked."],
  ["Params", "Trained values of the method, without the head that every method has."],
];

/** Once for the page. */
function definitions() {
  const { shared, cells } = runs();
  const counts = shared.versions.map(() => 0);
  const machines = shared.machines.map(() => 0);
  const names = Object.keys(shared);
  const [versionsAt, machinesAt] = [names.indexOf("versions"), names.indexOf("machines")];
  for (const made of cells.flat(2)) {
    for (const run of made) {
      counts[run[8][versionsAt]]++;
      machines[run[8][machinesAt]]++;
    }
  }
  const said = (value) => Object.entries(value).map(([name, text]) => `${name.replaceAll("_", " ")} ${typeof text === "object" ? JSON.stringify(text) : text}`).join(", ") || "not recorded";
  const rows = (values, of) => values.map((value, index) => [plural(of[index], "final run"), said(value)]);
  return [
    el("h2", {}, "Definitions"),
    facts(DEFINITIONS),
    el("h2", {}, "Machines and versions"),
    plainTable(["Runs", "Machine"], rows(shared.machines, machines)),
    plainTable(["Runs", "Versions"], rows(shared.versions, counts)),
  ];
}
