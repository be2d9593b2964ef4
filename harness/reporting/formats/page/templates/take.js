// What a reader takes along: files of the numbers, pictures of charts, commands and references.

/** The files that `harness report` writes of the same rows: [name in the page's data, file's name, title, what it is]. */
const FILES = [
  ["csv", "results.csv", "CSV", "one row per final run"],
  ["json", "report.json", "JSON", "means, ranks, tests, gaps"],
  ["latex", "tables.tex", "LaTeX", "booktabs tables"],
  ["bibtex", "references.bib", "BibTeX", "of the methods here, and of this harness"],
];

function save(name, blob) {
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** One of `FILES`, which the page holds compressed. */
async function unpackedFile(name) {
  const bytes = Uint8Array.from(atob(runs().files[name]), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

function downloads() {
  const rows = FILES.map(([name, file, title, what]) => {
    const button = el("button", { type: "button", class: "tool" }, title);
    button.addEventListener("click", async () => save(file, new Blob([await unpackedFile(name)], { type: "text/plain;charset=utf-8" })));
    const copy = el("button", { type: "button", class: "tool", "aria-label": `Copy ${title}` }, "Copy");
    copy.addEventListener("click", async () => copied(copy, await unpackedFile(name)));
    return el("p", { class: "row" }, button, copy, el("small", {}, what));
  });
  return menu("Download and cite", ...rows, el("p", {}, el("small", {}, "All rows of this page, as `harness report` writes them.")));
}

/** A button that saves the table of a section as it stands: rows and columns that are shown, in this order. */
function tableDownload(section, view) {
  const button = el("button", { type: "button", class: "tool", title: "the rows and columns as shown, as CSV" }, "Table as CSV");
  button.addEventListener("click", () => view.shown && save("table.csv", new Blob([tableText(view.shown)], { type: "text/csv;charset=utf-8" })));
  return button;
}

function tableText({ columns, headings, body }) {
  const kept = columns.map((_, index) => index).filter((index) => !headings[index].hidden);
  const lines = [...body.rows].filter((tr) => !tr.hidden).map((tr) => kept.map((index) => (index ? tr.cells[index].firstElementChild?.textContent ?? tr.cells[index].textContent : nameIn(tr.cells[0]))));
  const titles = kept.map((index) => [columns[index].title, columns[index].in].filter(Boolean).join(" of "));
  return [titles, ...lines].map((line) => line.map(quoted).join(",") + "\r\n").join("");
}

function nameIn(cell) {
  return [...cell.querySelectorAll("b, .inside")].map((part) => part.textContent).join("");
}

/** A field of CSV. One that a spreadsheet would take for a formula gets a quote in front, as in its own text cells. */
function quoted(text) {
  const safe = /^[=+@\t\r]|^-(?!\d)/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** A command in a box, with a button that copies it. */
function command(text) {
  const button = el("button", { type: "button", class: "tool copy", "aria-label": `Copy ${text}` }, "Copy");
  button.addEventListener("click", () => copied(button, text));
  return el("div", { class: "command" }, el("pre", {}, el("code", {}, text)), button);
}

async function copied(button, text) {
  const said = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = copiedByHand(text) ? "Copied" : "Select it";
  }
  setTimeout(() => (button.textContent = said), 1500);
}

/** For browsers that keep the clipboard from pages in files. */
function copiedByHand(text) {
  const box = el("textarea", { class: "vh" });
  box.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(box);
  box.select();
  const done = document.execCommand("copy");
  box.remove();
  return done;
}

const LOOK = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "paint-order", "font-size", "font-weight", "font-family", "text-anchor", "opacity"];

/** A chart as a file of its own: with its colours and type, and nothing around it. */
function standalone(root) {
  const copy = root.cloneNode(true);
  const [originals, copies] = [root, copy].map((of) => [of, ...of.querySelectorAll("*")]);
  originals.forEach((element, index) => {
    const look = getComputedStyle(element);
    for (const name of LOOK) if (look[name]) copies[index].style.setProperty(name, look.getPropertyValue(name));
    for (const name of ["class", "tabindex", "data-tip"]) copies[index].removeAttribute(name);
  });
  const [, , width, height] = root.getAttribute("viewBox").split(" ");
  const paper = getComputedStyle(document.documentElement).getPropertyValue("--paper");
  copy.setAttribute("xmlns", SVG);
  copy.setAttribute("width", width);
  copy.setAttribute("height", height);
  copy.removeAttribute("style");
  copy.prepend(svg("rect", { width, height, fill: paper }));
  return copy;
}

/** A chart with buttons that save it as SVG and PNG. */
function takeable(root, name) {
  const button = (title, work) => {
    const made = el("button", { type: "button", class: "tool", "aria-label": `Save as ${title}: ${name}` }, title);
    made.addEventListener("click", work);
    return made;
  };
  const file = name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 60);
  const text = () => new XMLSerializer().serializeToString(standalone(root));
  const asSvg = button("SVG", () => save(`${file}.svg`, new Blob([text()], { type: "image/svg+xml" })));
  const asPng = button("PNG", async () => save(`${file}.png`, await rastered(text(), 3)));
  return el("p", { class: "take" }, asSvg, asPng);
}

async function rastered(text, times) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  const canvas = el("canvas", { width: image.width * times, height: image.height * times });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

/** A link to somewhere else; only to the web. */
function outside(address, text) {
  if (!/^https?:\/\//.test(address ?? "")) return null;
  return el("a", { href: address, rel: "noreferrer", target: "_blank" }, text);
}
