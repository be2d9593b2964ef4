// Charts as inline SVG. Colours are classes, so that light, dark and print each have theirs.

/** Round numbers between low and high, about `count` of them. */
function ticks(low, high, count) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((size) => size * power >= raw);
  const values = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) values.push(Number(at.toPrecision(12)));
  return values;
}

function scale(low, high, from, to) {
  return (value) => from + ((value - low) / (high - low || 1)) * (to - from);
}

/** The frame of a chart with its grid; {root, px(x), py(y)}. */
function frame({ width, height, xs, ys, xTicks, yTicks, x, y, label, bottom = 38 }) {
  const left = 26 + 6.6 * Math.max(1, ...yTicks.map(([, text]) => text.length)); // beside the axis' name
  const [right, top] = [14, 10];
  const px = scale(xs[0], xs[1], left, width - right);
  const py = scale(ys[0], ys[1], height - bottom, top);
  const root = svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (const [value, label] of yTicks) {
    root.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: py(value), y2: py(value) }));
    root.append(svg("text", { class: "tick", x: left - 6, y: py(value) + 4, "text-anchor": "end" }, label));
  }
  for (const [value, label] of xTicks) {
    root.append(svg("line", { class: "grid", x1: px(value), x2: px(value), y1: top, y2: height - bottom }));
    root.append(svg("text", { class: "tick", x: px(value), y: height - bottom + 15, "text-anchor": "middle" }, label));
  }
  root.append(svg("text", { class: "axis", x: (left + width - right) / 2, y: height - 5, "text-anchor": "middle" }, x));
  root.append(svg("text", { class: "axis", transform: `translate(11 ${(top + height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, y));
  return { root, px, py };
}

/** A chart in its box, which scrolls where it is narrower, with buttons to take it along. */
function figureOf(root, name) {
  const box = el("div", { class: "scroll figure", tabindex: 0, role: "region", "aria-label": name }, root);
  return el("div", {}, box, takeable(root, name));
}

/** Ticks with their texts, all with as many digits as the finest needs. */
function labelledTicks([low, high], count) {
  const values = ticks(low, high, count);
  const digits = Math.max(...values.map((value) => (String(value).split(".")[1] ?? "").length));
  return values.map((value) => [value, value.toFixed(Math.min(digits, 6))]);
}

/** highlight: the series with `strong` is drawn thick and the others faint, without a legend. */
function lineChart({ series, x, y, highlight = false }) {
  const all = series.flatMap((line) => line.points);
  const ends = (index) => [Math.min(...all.map((point) => point[index])), Math.max(...all.map((point) => point[index]))];
  const [xs, [low, high]] = [ends(0), ends(1)];
  const ys = [low - (high - low) * 0.05, high + (high - low) * 0.05 || high + 1];
  const label = `${y} by ${x}: ${series.map((line) => `${line.name} ends at ${line.points.at(-1)[1]}`).join(", ")}`;
  const { root, px, py } = frame({ width: 460, height: 220, xs, ys, xTicks: labelledTicks(xs, 6), yTicks: labelledTicks(ys, 4), x, y, label });
  const look = (line, index) => (!highlight ? `c${index % 6}` : line.strong ? "c0 strong" : "faint");
  const drawn = highlight ? [...series].sort((a, b) => Boolean(a.strong) - Boolean(b.strong)) : series;
  drawn.forEach((line, index) => {
    const path = line.points.map(([a, b], at) => `${at ? "L" : "M"}${px(a).toFixed(1)} ${py(b).toFixed(1)}`).join("");
    root.append(svg("path", { class: `line ${look(line, index)}`, d: path }));
  });
  const at = [...new Set(all.map(([place]) => place))].sort((a, b) => a - b);
  traced(root, at, px, (place) => tracedText(series, x, place));
  const legend = series.map((line, index) => el("span", {}, el("i", { class: `key c${index % 6}` }), line.name));
  return el("figure", {}, root, highlight ? null : el("figcaption", {}, ...legend), takeable(root, `${y} by ${x}`));
}

/** What lines have at a place; of many, the strong one and the range of the others. */
function tracedText(series, x, place) {
  const known = series.map((line) => [line, line.points.find(([at]) => at === place)?.[1]]).filter(([, value]) => value !== undefined);
  if (known.length <= 6) return [`${x} ${place}`, ...known.map(([line, value]) => `${line.name}: ${value}`)].join("\n");
  const strong = known.filter(([line]) => line.strong).map(([line, value]) => `${line.name}: ${value}`);
  const values = known.map(([, value]) => value);
  return [`${x} ${place}`, ...strong, `${known.length} lines: ${Math.min(...values)} to ${Math.max(...values)}`].join("\n");
}

/** A mean difference and its interval, on a scale that includes zero and is shared by several. */
function whisker([mean, low, high], [least, most]) {
  const [width, height] = [150, 16];
  const px = scale(least, most, 6, width - 6);
  const root = svg("svg", { class: "whisker", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  root.append(svg("line", { class: "zero", x1: px(0), x2: px(0), y1: 0, y2: height }));
  if (low !== null) root.append(svg("line", { class: "span", x1: px(low), x2: px(high), y1: height / 2, y2: height / 2 }));
  root.append(svg("circle", { class: "dot", cx: px(mean), cy: height / 2, r: 3.5 }));
  return root;
}
