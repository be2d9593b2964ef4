// Score against cost, with the front of those that no other beats in both.

function tradeoffOf(section, at) {
  const { scores, costs } = section.tradeoff;
  const titles = (list) => list.map(([, title]) => title);
  const score = choice("Score", titles(scores), `${at}.score`, draw);
  const cost = choice("Cost", titles(costs), `${at}.cost`, draw);
  const place = el("div", {});

  function draw() {
    const [column, yName, fronts] = scores[score.select.selectedIndex];
    const [name, xName, ticks] = costs[cost.select.selectedIndex];
    const points = section.variants.map((variant, index) => {
      const [x, xText] = variant[name];
      const [y, yText] = measuredValue(section, index, column) ?? [null];
      return { name: variant.name, x, xText, y, yText };
    });
    const front = fronts[name].map((index) => points[index]);
    const drawn = points.filter((point) => point.x !== null && point.y !== null);
    const missing = points.length - drawn.length;
    place.replaceChildren(
      drawn.length ? scatter(drawn, front, xName, yName, ticks) : el("p", { class: "lead" }, "No variant has all of its scores here."),
      el("p", {}, `On the front: no other variant has a higher score at the same cost or less.${missing ? ` ${plural(missing, "variant")} with a gap left out.` : ""}`),
      frontTable(front, xName, yName),
    );
  }
  draw();
  return [el("div", { class: "tools" }, score.label, cost.label), place];
}

function choice(title, options, name, change) {
  const select = el("select", {}, ...options.map((option) => el("option", {}, option)));
  const chosen = recall(name, options[0]);
  select.value = options.includes(chosen) ? chosen : options[0];
  select.addEventListener("change", () => {
    remember(name, select.value, options[0]);
    change();
  });
  return { select, label: el("label", { class: "choice" }, `${title} `, select) };
}

function scatter(points, front, xName, yName, ticksOfCost) {
  const positive = points.filter((point) => point.x > 0).map((point) => point.x);
  const [low, high] = positive.length ? [Math.log10(Math.min(...positive)), Math.log10(Math.max(...positive))] : [0, 1];
  const pad = Math.max((high - low) * 0.06, 0.08);
  const hasZero = points.some((point) => point.x <= 0);
  const zero = low - pad - (high - low || 1) * 0.1; // a logarithmic axis has no zero: it gets its own place on the left
  const at = (x) => (x > 0 ? Math.log10(x) : zero);
  const xs = [hasZero ? zero - pad : low - pad, high + pad];
  const heights = points.map((point) => point.y);
  const room = (Math.max(...heights) - Math.min(...heights)) * 0.08 || 1;
  const ys = [Math.min(...heights) - room, Math.max(...heights) + room];
  const xTicks = logTicks(low - pad, high + pad, ticksOfCost);
  if (hasZero) xTicks.unshift([zero, points.some((point) => point.x < 0) ? "\u2264 0" : "0"]);
  const yTicks = ticks(...ys, 6).map((value) => [value, String(value)]);
  const label = `${yName} against ${xName}; on the front: ${front.map((point) => point.name).join(", ")}`;
  const width = innerWidth < 640 ? 380 : 860; // a phone's, unscaled
  const { root, px, py } = frame({ width, height: 420, xs, ys, xTicks, yTicks, x: `${xName} (logarithmic)`, y: yName, label });
  const path = front.map((point, index) => `${index ? `H${px(at(point.x))}V` : `M${px(at(point.x))} `}${py(point.y)}`).join("");
  if (front.length > 1) root.append(svg("path", { class: "front", d: path }));
  const labels = [];
  const circles = points.map((point) => [px(at(point.x)), py(point.y)]);
  for (const point of [...points].sort((a, b) => front.includes(a) - front.includes(b))) {
    const [x, y] = [px(at(point.x)), py(point.y)];
    const on = front.includes(point);
    const tooltip = `${point.name}: ${point.yText}, ${point.xText} ${xName}`;
    root.append(svg("circle", { class: `point${on ? " on" : ""}`, cx: x, cy: y, r: on ? 5 : 4 }, svg("title", {}, tooltip)));
    if (on || points.length <= 12) labels.push({ x, y, name: point.name, on });
  }
  root.append(...placed(labels, circles, width));
  if (width < 860) root.classList.add("narrow");
  return el("div", { class: "scroll figure", tabindex: 0, role: "region", "aria-label": "Trade-off" }, root);
}

/** Labels next to their points, each at the first place where it covers nothing, or else no other label and no point that has one. */
function placed(labels, circles, width) {
  const around = ([x, y]) => [x - 5, y - 5, x + 5, y + 5];
  const points = circles.map(around);
  const taken = labels.map(({ x, y }) => around([x, y]));
  return labels.map(({ x, y, name, on }) => {
    const text = name.length > 30 ? `${name.slice(0, 29)}\u2026` : name;
    const long = text.length * 6.3;
    const spots = on ? [[x + 7, y + 17], [x - 7 - long, y - 7], [x - 9 - long, y + 4]] : [[x + 9, y + 4], [x - 9 - long, y + 4]];
    spots.push([x - long / 2, y + 18], [x - long / 2, y - 10], [x + 9, y - 10]);
    const box = ([left, base]) => [left, base - 10, left + long, base + 3];
    const clear = (spot, boxes) => {
      const [l, t, r, b] = box(spot);
      return l > 44 && r < width - 4 && boxes.every(([l2, t2, r2, b2]) => r < l2 || l > r2 || b < t2 || t > b2);
    };
    const free = spots.find((spot) => clear(spot, [...taken, ...points])) ?? spots.find((spot) => clear(spot, taken));
    if (!free) return svg("g", {});
    taken.push(box(free));
    return svg("text", { class: `halo ${on ? "name" : "tick"}`, x: free[0], y: free[1] }, text);
  });
}

/** The ticks of a cost in a range of powers; if it is wide, only the powers of ten. */
function logTicks(low, high, ticksOfCost) {
  const fine = high - low < 1.2;
  return ticksOfCost.map(([value, text, power]) => [Math.log10(value), text, power]).filter(([at, , power]) => at >= low && at <= high && (fine || power));
}

function frontTable(front, xName, yName) {
  const rows = front.map((point) => {
    return el("tr", {}, named(point.name), el("td", { class: "n" }, point.xText), el("td", { class: "n" }, point.yText));
  });
  const head = el("tr", {}, ...["On the front", xName, yName].map((title, index) => el("th", { scope: "col", class: index ? "n" : "name" }, title)));
  return el("div", { class: "scroll" }, el("table", { class: "plain" }, el("thead", {}, head), el("tbody", {}, ...rows)));
}
