// The page: its notices, its tabs, and how it follows a run.

const TABS = [
  ["leaderboard", "Leaderboard", leaderboard],
  ["tests", "Ranks and tests", testsOf],
  ["ablations", "Ablations", ablationsOf],
  ["tradeoff", "Trade-off", tradeoffOf],
  ["published", "Published", publishedOf],
  ["failures", "Failures", failuresOf],
  ["sources", "How these numbers were made", sourcesOf],
];

/** What to know of a method beside its scores, such as that it is our reading of its paper; of many methods folded, so that the board is seen. */
function readings() {
  const whose = new Map();
  for (const { variants, readings: notes } of about.sections) {
    for (const { reading, name, method } of variants) {
      if (reading === null) continue;
      const of = whose.get(notes[reading]) ?? { names: new Set(), methods: new Set() };
      of.names.add(name);
      of.methods.add(method);
      whose.set(notes[reading], of);
    }
  }
  const box = (title, open, ...inside) =>
    document.getElementById("readings").append(el("details", { class: "notice", open }, el("summary", {}, el("b", {}, `\u2020 ${title}`)), ...inside));
  if (whose.size > 2) {
    const items = [...whose].map(([note, { methods }]) => el("li", {}, el("b", {}, [...methods].join(", ")), `: ${note}`));
    const count = new Set([...whose.values()].flatMap(({ methods }) => [...methods])).size;
    box(`Notes on ${count} methods, whose rows have this mark`, false, el("ul", {}, ...items));
    return;
  }
  for (const [note, { names, methods }] of whose) {
    const list = [...names].sort((a, b) => compare(a, b, 1));
    const rows = list.length > 8 ? `the ${list.length} variants of ${[...methods].join(", ")}` : list.join(", ");
    const about = note.includes("our reading") ? "Our reading of" : "Note on";
    box(`${about} ${[...methods].join(", ")}`, innerWidth > 640, el("p", {}, `${note} Its rows, marked \u2020: ${rows}.`));
  }
}

function build(panel, make, id) {
  if (panel.childElementCount > 1) return;
  about.sections.forEach((section, at) => {
    const title = el("h2", {}, section.title);
    panel.append(el("section", { class: "part", id: `${id}-${at}` }, title, ...make(section, at).filter(Boolean)));
  });
  if (about.sections.length > 2) panel.firstChild.after(contents(id));
  if (id === "sources") panel.append(el("section", { class: "part" }, ...definitions()));
}

/** Where there are many sections, links to each: buttons, since the address holds what the reader chose. */
function contents(id) {
  const list = el("nav", { class: "contents", "aria-label": "Sections" });
  about.sections.forEach((section, at) => {
    const button = el("button", { type: "button", class: "link" }, section.title);
    button.addEventListener("click", () => document.getElementById(`${id}-${at}`).scrollIntoView());
    list.append(button);
  });
  return list;
}

function tabs() {
  const gaps = about.sections.reduce((sum, section) => sum + gapsOf(section).length, 0);
  const made = TABS.map(([id, title, make]) => {
    const count = id === "failures" && gaps ? el("span", { class: "badge" }, String(gaps)) : null;
    const tab = el("button", { type: "button", role: "tab", id: `tab-${id}`, "aria-controls": `panel-${id}` }, title, count);
    const box = el("div", { role: "tabpanel", id: `panel-${id}`, "aria-labelledby": `tab-${id}`, hidden: true }, el("h2", { class: "printed" }, title));
    document.getElementById("tabs").append(tab);
    document.getElementById("panels").append(box);
    return { id, tab, box, make };
  });

  function choose(chosen, focus = false) {
    build(chosen.box, chosen.make, chosen.id);
    for (const { tab, box } of made) {
      const on = tab === chosen.tab;
      tab.setAttribute("aria-selected", String(on));
      tab.tabIndex = on ? 0 : -1;
      box.hidden = !on;
    }
    if (focus) chosen.tab.focus();
    chosen.tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    remember("tab", chosen.id, TABS[0][0]);
  }

  const list = document.getElementById("tabs");
  list.addEventListener("click", (event) => {
    const clicked = made.find(({ tab }) => tab.contains(event.target));
    if (clicked) choose(clicked);
  });
  list.addEventListener("keydown", (event) => {
    const at = made.findIndex(({ tab }) => tab === document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: made.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(made[(to + made.length) % made.length], true);
  });
  choose(made.find(({ id }) => id === recall("tab")) ?? made[0]);
  addEventListener("beforeprint", () => {
    made.forEach(({ box, make, id }) => build(box, make, id));
    for (const folded of document.querySelectorAll("details.fold")) folded.open = true;
  });
}

/** Marks the boxes that have more to the right than they show, so that a shadow can say so. */
function scrollHints() {
  const look = (box) => box.classList.toggle("more", box.scrollLeft + box.clientWidth < box.scrollWidth - 4);
  const all = () => document.querySelectorAll(".scroll, #tabs").forEach(look);
  const later = () => requestAnimationFrame(all);
  document.addEventListener("scroll", (event) => event.target.matches?.(".scroll, #tabs") && look(event.target), { capture: true, passive: true });
  addEventListener("resize", later);
  document.addEventListener("click", later);
  new ResizeObserver(later).observe(document.getElementById("panels"));
  all();
}

/** Served by `harness report --serve`: checks every few seconds whether rows have arrived, and reloads the page. */
function follow() {
  if (!about.live || !location.protocol.startsWith("http")) return;
  const status = document.getElementById("live");
  status.hidden = false;
  let known = typeof about.live === "string" ? about.live : null;
  let waiting = false;

  async function check() {
    let answer = null;
    try {
      const response = await fetch(new URL("version", location.href), { cache: "no-store", signal: AbortSignal.timeout(4000) });
      if (response.ok) answer = await response.text();
    } catch {
      // the server is gone: shown below
    }
    status.textContent = answer === null ? "No longer live: the server doesn't respond." : "Live: follows the store.";
    if (answer === null) return;
    known ??= answer;
    waiting ||= answer !== known;
    if (waiting && panel.open) status.textContent = "New results: they will be shown when you close this panel.";
    else if (waiting) {
      writeState();
      location.reload();
    }
  }
  check();
  setInterval(check, 5000);
  panel.addEventListener("close", () => waiting && check());
}

readings();
document.querySelector(".about").open = innerWidth > 640; // a phone's first screen is for scores
document.getElementById("take").append(downloads());
document.querySelector("a.skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address holds what the reader chose
  const to = document.querySelector("[role=tabpanel]:not([hidden])");
  to.querySelector("[tabindex='0']")?.focus();
});
tabs();
scrollHints();
follow();
