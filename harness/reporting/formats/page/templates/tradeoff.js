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
  const pad = (high - low) * 0.08 || 0.08;
  const hasZero = points.some((point) => point.x <= 0);
  const zero = low - pad - (high - low || 1) * 0.1; // a logarithmic axis has no zero: it gets its own place on the left
  const at = (x) => (x > 0 ? Math.log10(x) : zero);
  const xs = [hasZero ? zero - pad : low - pad, high + pad];
  const heights = points.map((point) => point.y);
  const room = (Math.max(...heights) - Math.min(...heights)) * 0.08 || 1;
  const ys = [Math.min(...heights) - room, Math.max(...heights) + room];
  const width = innerWidth < 640 ? 380 : 860; // a phone's, unscaled
  const xTicks = apartBy(52 / (width - 80), [low - pad, high + pad], logTicks(low - pad, high + pad, ticksOfCost));
  if (hasZero) xTicks.unshift([zero, points.some((point) => point.x < 0) ? "\u2264 0" : "0"]);
  const yTicks = labelledTicks(ys, 8);
  const label = `${yName} against ${xName}; on the front: ${front.map((point) => point.name).join(", ")}`;
  const { root, px, py } = frame({ width, height: 420, xs, ys, xTicks, yTicks, x: `${xName} (logarithmic)`, y: yName, label });
  const path = front.map((point, index) => `${index ? `H${px(at(point.x))}V` : `M${px(at(point.x))} `}${py(point.y)}`).join("");
  if (front.length > 1) root.append(svg("path", { class: "front", d: path }));
  const labels = [];
  const circles = points.map((point) => [px(at(point.x)), py(point.y)]);
  for (const point of [...points].sort((a, b) => front.includes(a) - front.includes(b))) {
    const [x, y] = [px(at(point.x)), py(point.y)];
    const on = front.includes(point);
    root.append(svg("circle", { class: `point${on ? " on" : ""}`, cx: x, cy: y, r: on ? 5 : 4, "data-tip": `${point.name}: ${yName} ${point.yText}, ${xName} ${point.xText}` }));
    if (on || points.length <= 12) labels.push({ x, y, name: point.name, on });
  }
  if (hasZero) root.append(svg("text", { class: "tick halo", x: (px(zero) + px(low - pad)) / 2, y: 420 - 34, "text-anchor": "middle" }, "//")); // the axis is broken there
  root.append(...placed(labels, circles, width, stepsOf(front.map((point) => [px(at(point.x)), py(point.y)]))));
  if (width < 860) root.classList.add("narrow");
  tipped(root);
  return figureOf(root, `${yName} against ${xName}`);
}

/** The boxes of a line in steps through these points. */
function stepsOf(points) {
  return points.slice(1).flatMap(([x, y], index) => {
    const [left, base] = points[index];
    return [[left, base - 1, x, base + 1], [x - 1, y, x + 1, base]];
  });
}

/** Labels next to their points, each at the first place where it covers nothing, or else no other label, no point that has one and no line; one without a place has its tip alone. */
function placed(labels, circles, width, lines) {
  const around = ([x, y]) => [x - 5, y - 5, x + 5, y + 5];
  const points = circles.map(around);
  const taken = [...labels.map(({ x, y }) => around([x, y])), ...lines];
  return labels.map(({ x, y, name, on }) => {
    const most = width < 860 ? 26 : 44;
    const text = name.length > most ? `${name.slice(0, most - 1)}\u2026` : name;
    const long = text.length * 6.3;
    const spots = on ? [[x + 7, y + 17], [x - 7 - long, y - 7], [x - 9 - long, y + 4]] : [[x + 9, y + 4], [x - 9 - long, y + 4]];
    spots.push([x - long / 2, y + 18], [x - long / 2, y - 10], [x + 9, y - 10], [x + 9, y + 17], [x - 9 - long, y + 17], [x - long / 2, y + 32], [x - long / 2, y - 24]);
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

/** The coarsest ticks of a cost of which at least three are in a range of powers; the finest there are, if none are. */
function logTicks(low, high, ticksOfCost) {
  const inside = ticksOfCost.map(([value, text, fineness]) => [Math.log10(value), text, fineness]).filter(([at]) => at >= low && at <= high);
  const choices = [0, 1, 2].map((most) => inside.filter(([, , fineness]) => fineness <= most));
  return choices.find((found) => found.length >= 3) ?? inside.filter(([, , fineness]) => fineness === 3);
}

/** The ticks that stand at least this share of an axis behind the one before. */
function apartBy(share, [low, high], ticks) {
  const kept = [];
  for (const tick of [...ticks].sort((a, b) => a[0] - b[0])) {
    if (!kept.length || tick[0] - kept.at(-1)[0] >= share * (high - low)) kept.push(tick);
  }
  return kept;
}

function frontTable(front, xName, yName) {
  const rows = front.map((point) => {
    return el("tr", {}, named(point.name), el("td", { class: "n" }, point.xText), el("td", { class: "n" }, point.yText));
  });
  const head = el("tr", {}, ...["On the front", xName, yName].map((title, index) => el("th", { scope: "col", class: index ? "n" : "name" }, title)));
  return scrolling(`On the front: ${yName} against ${xName}`, el("table", { class: "plain" }, el("thead", {}, head), el("tbody", {}, ...rows)));
}
