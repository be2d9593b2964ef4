// How these numbers were made: what a reviewer would ask.

function sourcesOf(section) {
  const { settings, tasks, variants } = section;
  const pairs = Object.entries(settings).map(([name, value]) => [el("code", {}, name), value === null ? "none" : Array.isArray(value) ? overridesOf(value) : typeof value === "object" ? spaceOf(value) : String(value)]);
  const sha = el("code", {}, section.backbone_sha.slice(0, 16));
  return [
    el("h3", {}, "Backbone"),
    facts([["Name", section.backbone], ["sha256 of the weights", sha], ["Pooling", section.pooling], ["Image side, px", section.side || "unknown"], ["Pixels normalized by", section.normalize], ["Metric", section.metric]]),
    el("h3", {}, `Protocol ${section.protocol}`),
    facts(pairs),
    el("h3", {}, "Data"),
    plainTable(
      ["Task", "Group", "Suite", "Pixels", "Fingerprint of the data", "Source", "Licence", "Reference"],
      tasks.map((task) => [task.name, task.group, task.suite.join(", "), task.pixels.join(", "), el("code", {}, task.data.map((data) => data.slice(0, 16)).join(", ")), sourceOf(task), task.licence || NOTHING, task.citation || NOTHING]),
    ),
    el("h3", {}, "Papers"),
    papersOf(section),
    el("h3", {}, "Budgets"),
    plainTable(
      ["Method", "Trials per task", "Failed trials", "Search units", "All units", variants[0].length[0], "Final runs", "Seconds per run"],
      variants.map((v) => [
        v.name,
        `${v.trials[1]}${v.unequal ? " \u2696" : ""}`,
        String(v.failed_trials),
        v.search_units[1],
        v.units[1],
        v.length[1],
        String(v.runs),
        v.seconds[1],
      ]),
      1,
    ),
    el("p", {}, "Forward-image units: an image that is scored counts 1, one that is trained on counts 2, forward and backward. \u2696: a different number of trials than the others."),
  ];
}

function sourceOf({ source }) {
  const address = source.split(" ")[0];
  return outside(address, address.replace(/^https?:\/\//, "").slice(0, 40)) ?? (source || NOTHING);
}

/** Of the methods here, with the authors' code where it is public. */
function papersOf({ variants }) {
  const methods = [...new Set(variants.map(({ method }) => method))].sort();
  return plainTable(
    ["Method", "Paper", "The authors' code"],
    methods.map((method) => {
      const paper = about.papers[method] ?? {};
      return [method, outside(paper.paper, paper.title) ?? NOTHING, outside(paper.code, (paper.code ?? "").replace("https://github.com/", "")) ?? NOTHING];
    }),
  );
}

/** What holds for some cells only: `method: full, bias; optimizer: adamw`. */
function overridesOf(overrides) {
  const shown = (value) => (Array.isArray(value) ? value.join(", ") : typeof value === "object" ? `(${spaceOf(value)})` : String(value));
  const lines = overrides.map((one) => Object.entries(one).map(([name, value]) => `${name}: ${shown(value)}`).join("; "));
  return lines.join(" | ") || "none";
}

/** A search space as read: `base_lr 0.05 to 50 (log)`. */
function spaceOf(space) {
  const parts = Object.entries(space).map(([name, value]) => {
    if (value?.choices) return `${name}: ${value.choices.join(", ")}`;
    if (value?.low !== undefined) return `${name}: ${value.low} to ${value.high}${value.log ? " (logarithmic)" : ""}`;
    return `${name}: ${JSON.stringify(value)}`;
  });
  return parts.join("; ") || "nothing";
}

let tableNumber = 0;

function plainTable(titles, rows, numbersFrom = titles.length) {
  const kind = (index) => (index === 0 ? "name" : index >= numbersFrom ? "n" : null);
  const head = el("tr", {}, ...titles.map((title, index) => el("th", { scope: "col", class: kind(index) }, title)));
  const body = rows.map((row) =>
    el("tr", {}, ...row.map((value, index) => el(index ? "td" : "th", { class: kind(index), scope: index ? null : "row" }, ...(typeof value === "string" ? breakable(value) : [value])))),
  );
  const table = el("table", { class: "plain" }, el("thead", {}, head), el("tbody", {}, ...body));
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `${titles.slice(0, 3).join(", ")} ${(tableNumber += 1)}` }, table);
}

/** Once for the page. */
function definitions() {
  const described = (value) => Object.entries(value).map(([name, text]) => `${name} ${typeof text === "object" ? JSON.stringify(text) : text}`).join(", ") || "not recorded";
  const rows = (pairs) => pairs.map(([count, value]) => [plural(count, "final run"), described(value)]);
  return [
    el("h2", {}, "Definitions"),
    facts(about.definitions),
    el("h2", {}, "Machines and versions"),
    plainTable(["Runs", "Machine"], rows(about.machines)),
    plainTable(["Runs", "Versions"], rows(about.versions)),
  ];
}
