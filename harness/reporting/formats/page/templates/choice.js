// The methods and tasks that a reader has chosen, and a section ranked anew over them.

/** The section over some variants and tasks, by place, in the same shape: with all of them as Python made it, else with means, ranks and marks computed here. `rows`: the variants' places. */
function chosenOf(section, rows, tasks) {
  if (rows.length === section.variants.length && tasks.length === section.tasks.length) return { ...section, rows, anew: false };
  const groups = section.groups.map((group) => ({ ...group, tasks: group.tasks.filter((t) => tasks.includes(t)) })).filter((group) => group.tasks.length);
  const made = ranking(rows.map((v) => section.scores[v].map(Object.values)), groups.map((group) => group.tasks));
  const everywhere = (values, empty) => section.variants.map((_, v) => (rows.includes(v) ? values[rows.indexOf(v)] : empty));
  const cells = (values, over) => everywhere(meanCells(section, rows, values, over), [null, NOTHING, "", 0]);
  const kinds = {
    mean: { title: `Mean of ${tasks.length}`, cells: cells(made.mean, tasks) },
    mean_of_groups: { title: `Mean of ${groups.length} groups`, cells: cells(made.meanOfGroups, null) },
    mean_rank: { cells: everywhere(rankCells(made.rank), [null, NOTHING, "", 0]), intervals: everywhere(made.rankInterval.map((ends) => ends && `${fixed(ends[0], 1)} to ${fixed(ends[1], 1)}`), null) },
  };
  return {
    ...section,
    rows,
    anew: true,
    groups: groups.map((group, g) => ({ ...group, cells: cells(made.groups[g], group.tasks) })),
    statistics: section.statistics.filter(({ name }) => (name === "mean_of_groups" ? groups.length > 1 : name !== "mean_rank" || rows.length > 1)).map((statistic) => ({ ...statistic, ...kinds[statistic.name] })),
    tasks: section.tasks.map((task, t) => (tasks.includes(t) ? { ...task, ...marksOf(section, rows, t) } : task)),
    scales: section.scales.filter(({ task }) => tasks.includes(task)),
  };
}

/** [value; text; how many of the tasks, where some are missing; place] of means over these tasks (null: no partial ones). */
function meanCells(section, rows, values, tasks) {
  const places = placesOf(values, 2);
  return values.map((value, at) => {
    const present = (tasks ?? []).map((t) => section.cells[rows[at]][t]?.[0] ?? null).filter((mean) => mean !== null);
    if (value !== null) return [value, fixed(value, 2), "", places[at]];
    return present.length ? [null, fixed(average(present), 2), `${present.length}/${tasks.length}`, 0] : [null, NOTHING, "", 0];
  });
}

function rankCells(ranks) {
  const places = placesOf(ranks, 2, true);
  return ranks.map((rank, at) => (rank === null ? [null, NOTHING, "", 0] : [rank, fixed(rank, 2), "", places[at]]));
}

/** First, second, and those within the best's interval, of a task among these variants. */
function marksOf(section, rows, t) {
  const means = rows.map((v) => section.cells[v][t]?.[0] ?? null);
  const found = placesOf(means, 1);
  const places = section.variants.map((_, v) => (rows.includes(v) ? found[rows.indexOf(v)] : 0));
  const best = rows[means.indexOf(Math.max(...means.filter((mean) => mean !== null)))];
  const seeds = best === undefined ? [] : Object.values(section.scores[best][t]);
  if (seeds.length < 2) return { places, near: [] };
  const [, low] = pairedDifference(seeds, seeds.map(() => 0), about.t);
  return { places, near: rows.filter((v, at) => v !== best && means[at] !== null && means[at] >= low) };
}

/** As Python rounds: a tie goes to the even digit. */
function fixed(value, digits) {
  const whole = value.toFixed(60);
  const tail = whole.slice(whole.indexOf(".") + 1 + digits);
  const down = whole.slice(0, whole.length - tail.length);
  return /^50*$/.test(tail) && "02468".includes(down.at(-1)) ? down : value.toFixed(digits);
}

/** Boxes to choose tasks by, in groups, with buttons for all and none; `change` is called after each choice. */
function taskBoxes(section, without, change) {
  const boxes = [];
  const box = (t) => {
    const { name } = section.tasks[t];
    boxes[t] = checkbox(name, !without.has(name), (on) => {
      without.set(name, !on);
      change();
    });
    return boxes[t];
  };
  const turn = (places, on) => {
    for (const t of places) {
      boxes[t].firstChild.checked = on;
      without.set(section.tasks[t].name, !on);
    }
    change();
  };
  const groups = section.groups.map((group) => {
    const button = el("button", { type: "button", class: "link", title: `choose the tasks of ${group.name}, and no others` }, group.name);
    button.addEventListener("click", () => {
      turn(section.tasks.keys(), false);
      turn(group.tasks, true);
    });
    return el("fieldset", {}, el("legend", {}, button), ...group.tasks.map(box));
  });
  return [el("p", { class: "row" }, ...allOrNone((on) => turn(section.tasks.keys(), on))), ...groups];
}

function allOrNone(turn) {
  return [true, false].map((on) => {
    const button = el("button", { type: "button", class: "tool" }, on ? "All" : "None");
    button.addEventListener("click", () => turn(on));
    return button;
  });
}

/** What a reader must know of numbers that were computed for a choice. */
function anewNotice(section, tasks, back) {
  const button = el("button", { type: "button", class: "link" }, "Back to all");
  button.addEventListener("click", back);
  const what = `Ranked anew: ${section.rows.length} of ${plural(section.variants.length, "variant")} on ${tasks.length} of ${plural(section.tasks.length, "task")}.`;
  return el("p", { class: "notice" }, el("b", {}, what), " Means, ranks, their intervals and marks are of these alone, by the same formulas. A choice made after looking at scores can favour any method. The other tabs and the downloads are of all. ", button);
}
