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
function frame({ width, height, xs, ys, xTicks, yTicks, x, y, label, left = 44, bottom = 38 }) {
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

function lineChart({ series, x, y }) {
  const all = series.flatMap((line) => line.points);
  const ends = (index) => [Math.min(...all.map((point) => point[index])), Math.max(...all.map((point) => point[index]))];
  const [xs, [low, high]] = [ends(0), ends(1)];
  const ys = [low - (high - low) * 0.05, high + (high - low) * 0.05 || high + 1];
  const labelled = (values) => values.map((value) => [value, String(value)]);
  const label = `${y} by ${x}: ${series.map((line) => `${line.name} ends at ${line.points.at(-1)[1]}`).join(", ")}`;
  const { root, px, py } = frame({ width: 460, height: 220, xs, ys, xTicks: labelled(ticks(...xs, 6)), yTicks: labelled(ticks(...ys, 4)), x, y, label });
  series.forEach((line, index) => {
    const path = line.points.map(([a, b], at) => `${at ? "L" : "M"}${px(a).toFixed(1)} ${py(b).toFixed(1)}`).join("");
    root.append(svg("path", { class: `line c${index % 6}`, d: path }, svg("title", {}, line.name)));
  });
  const legend = series.map((line, index) => el("span", {}, el("i", { class: `key c${index % 6}` }), line.name));
  return el("figure", {}, root, el("figcaption", {}, ...legend));
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
