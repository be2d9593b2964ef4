// The search of a cell: how its trials went, and what they were.

/** Charts and a table of a cell's trials; nothing if it had none. */
function searchOf(section, at, place, t) {
  const search = runs().searches[at][place][t];
  if (!search) return [];
  const { epochs } = runs().searched;
  const [names, rows, chosen] = search;
  const trials = rows.map(([number, state, value, params, curveAt, curve, lossAt, loss]) => ({
    number,
    state: ["complete", "pruned", "failed"][state],
    value,
    params,
    curve: (epochs[curveAt] ?? []).map((epoch, i) => [epoch, curve[i]]),
    loss: (epochs[lossAt] ?? []).map((epoch, i) => [epoch, loss[i]]).filter(([, read]) => read !== null),
  }));
  const best = trials.find((trial) => trial.number === chosen) ?? null;
  const score = `${section.metric} on val in %`;
  const lines = (of) => trials.filter((trial) => trial[of].length > 1).map((trial) => ({ name: `trial ${trial.number}`, points: trial[of], strong: trial === best }));
  const charts = [
    trials.length > 1 ? historyChart(trials, best, score) : null,
    lines("curve").length ? lineChart({ series: lines("curve"), x: section.step, y: score, highlight: true }) : null,
    lines("loss").length ? lineChart({ series: lines("loss"), x: section.step, y: "training loss", highlight: true }) : null,
    trials.length > 2 && names.length > 1 ? parallelChart(trials, names, best, score) : null,
  ].filter(Boolean);
  const counts = ["complete", "pruned", "failed"].map((state) => [trials.filter((trial) => trial.state === state).length, state]).filter(([count]) => count);
  const lead = `${plural(trials.length, "trial")}: ${counts.map(([count, state]) => `${count} ${state}`).join(", ")}.${best ? ` Best on val: trial ${best.number}, ${best.value.toFixed(2)}, drawn thick below.` : ""}`;
  return [titled("Search", el("p", {}, lead), ...charts, el("details", { class: "fold" }, el("summary", {}, "All trials"), trialTable(trials, names)))];
}

function trialTable(trials, names) {
  const head = el("tr", {}, ...["Trial", "Val", "State", ...names].map((title) => el("th", { scope: "col", class: "n" }, title)));
  const body = trials.map((trial) => el("tr", {}, ...[trial.number, trial.value ?? NOTHING, trial.state, ...trial.params.map((value) => value ?? NOTHING)].map((value) => el("td", { class: "n" }, String(value)))));
  return scrolling("All trials", el("table", { class: "plain" }, el("thead", {}, head), el("tbody", {}, ...body)));
}

/** Val scores trial by trial, and the best so far. A pruned one is hollow, at its last score. */
function historyChart(trials, best, y) {
  const shown = trials.map((trial) => ({ ...trial, at: trial.value ?? trial.curve.at(-1)?.[1] ?? null })).filter((trial) => trial.at !== null);
  if (!shown.length) return null;
  const heights = shown.map((trial) => trial.at);
  const room = (Math.max(...heights) - Math.min(...heights)) * 0.08 || 1;
  const ys = [Math.min(...heights) - room, Math.max(...heights) + room];
  const numbers = trials.map((trial) => trial.number);
  const xs = [Math.min(...numbers) - 0.5, Math.max(...numbers) + 0.5];
  const xTicks = ticks(...xs, 8).filter(Number.isInteger).map((value) => [value, String(value)]);
  const { root, px, py } = frame({ width: 460, height: 200, xs, ys, xTicks, yTicks: labelledTicks(ys, 4), x: "trial", y, label: `Search history: ${y} by trial` });
  let top = null;
  const steps = shown.filter((trial) => trial.value !== null).map((trial) => [trial.number, (top = Math.max(top ?? trial.value, trial.value))]);
  const path = steps.map(([number, value], index) => `${index ? `H${px(number)}V` : `M${px(number)} `}${py(value)}`).join("");
  if (steps.length > 1) root.append(svg("path", { class: "front", d: path }));
  for (const trial of shown) {
    const text = `trial ${trial.number}, ${trial.state}: ${trial.at}`;
    root.append(svg("circle", { class: `point${trial.value === null ? "" : " on"}`, cx: px(trial.number), cy: py(trial.at), r: trial === shown.find(({ number }) => number === best?.number) ? 6 : 4, "data-tip": text }));
  }
  return el("figure", {}, tipped(root), takeable(root, "search history"));
}

/** A line per trial across its hyper-parameters and its val score; those that vary. */
function parallelChart(trials, names, best, y) {
  const complete = trials.filter((trial) => trial.value !== null);
  const axes = [...names.map((name, index) => ({ name, of: (trial) => trial.params[index] })), { name: "val", of: (trial) => trial.value }].map((axis) => ({ ...axis, values: [...new Set(complete.map(axis.of))].filter((value) => value !== null && value !== undefined) })).filter(({ values }) => values.length > 1);
  if (complete.length < 2 || axes.length < 2) return null;
  const [width, height, side, topY, bottomY] = [460, 210, 50, 30, 180];
  const root = svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, "aria-label": `Hyper-parameters of each trial and its ${y}` });
  const px = scale(0, axes.length - 1, side, width - side);
  const heights = axes.map((axis) => axisScale(axis.values, bottomY, topY));
  axes.forEach(({ name, values }, index) => {
    root.append(svg("line", { class: "rule", x1: px(index), x2: px(index), y1: topY, y2: bottomY }));
    root.append(svg("text", { class: "name", x: px(index), y: topY - 12, "text-anchor": "middle" }, name));
  });
  for (const trial of [...complete].sort((a, b) => (a === best) - (b === best))) {
    const path = axes.map((axis, index) => `${index ? "L" : "M"}${px(index)} ${heights[index](axis.of(trial))}`).join("");
    const text = `trial ${trial.number}: ${axes.map((axis) => `${axis.name} ${axis.of(trial)}`).join(", ")}`;
    root.append(svg("path", { class: `line ${trial === best ? "c0 strong" : "faint"}`, d: path, "data-tip": text }));
  }
  axes.forEach(({ values }, index) => {
    const left = index === 0; // outside of the lines, where there is room
    const at = { class: "tick halo", x: px(index) + (left ? -5 : 5), "text-anchor": left ? "end" : "start" };
    for (const value of marksOnAxis(values)) root.append(svg("text", { ...at, y: heights[index](value) + 4 }, brief(value)));
  });
  return el("figure", {}, tipped(root), takeable(root, "hyper-parameters"));
}

/** Numbers over a decade or more are placed by their logarithms; words evenly, in order. */
function axisScale(values, from, to) {
  if (values.every((value) => typeof value === "number")) {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    if (low > 0 && high / low >= 10) return (value) => scale(Math.log(low), Math.log(high), from, to)(Math.log(value));
    return scale(low, high, from, to);
  }
  const order = values.map(String).sort();
  return (value) => scale(0, order.length - 1, from, to)(order.indexOf(String(value)));
}

/** Which values an axis names: all, if they are few, else its ends. */
function marksOnAxis(values) {
  if (values.length <= 5) return values;
  return values.every((value) => typeof value === "number") ? [Math.min(...values), Math.max(...values)] : values;
}

function brief(value) {
  return typeof value === "number" ? String(Number(value.toPrecision(3))) : String(value).slice(0, 14);
}
