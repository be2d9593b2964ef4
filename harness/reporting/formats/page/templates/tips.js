// Values of charts, shown while the pointer or the focus is on a mark, or after a touch.

const tip = el("div", { class: "tip", role: "status", hidden: true });

function showTip(text, x, y) {
  (document.querySelector("dialog[open]") ?? document.body).append(tip); // above an open dialog, too
  tip.textContent = text;
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 12, innerWidth - width - 4))}px`;
  tip.style.top = `${y - height - 10 < 4 ? y + 16 : y - height - 10}px`;
}

const hideTip = () => (tip.hidden = true);
addEventListener("scroll", hideTip, { passive: true, capture: true });

/** Gives a chart's marks, elements with `data-tip`, their tips. The chart is one stop for Tab; arrows go from mark to mark. */
function tipped(root) {
  const marks = [...root.querySelectorAll("[data-tip]")];
  root.setAttribute("role", "group");
  for (const mark of marks) {
    mark.setAttribute("role", "img");
    mark.setAttribute("aria-label", mark.dataset.tip);
    mark.setAttribute("tabindex", mark === marks[0] ? "0" : "-1");
  }
  const show = (mark) => {
    const box = mark.getBoundingClientRect();
    showTip(mark.dataset.tip, box.left + box.width / 2, box.top);
  };
  const under = (event) => event.target.closest?.("[data-tip]");
  root.addEventListener("pointerover", (event) => under(event) && show(under(event)));
  root.addEventListener("pointerdown", (event) => under(event) && show(under(event)));
  root.addEventListener("pointerout", hideTip);
  root.addEventListener("focusin", (event) => under(event) && show(under(event)));
  root.addEventListener("focusout", hideTip);
  root.addEventListener("keydown", (event) => {
    const at = marks.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: marks.length - 1 }[event.key];
    if (event.key === "Escape" && !tip.hidden) {
      event.preventDefault();
      hideTip();
    }
    if (at < 0 || !marks[to]) return;
    event.preventDefault();
    marks[at].setAttribute("tabindex", "-1");
    marks[to].setAttribute("tabindex", "0");
    marks[to].focus();
  });
  return root;
}

/** A chart of lines: the values of all at the place under the pointer, or that arrows move to. `xs`: in the data; `textAt(x)`: what to say. */
function traced(root, xs, px, textAt) {
  const guide = svg("line", { class: "guide", y1: 10, y2: Number(root.getAttribute("viewBox").split(" ")[3]) - 38, visibility: "hidden" });
  root.append(guide);
  root.setAttribute("role", "group");
  root.setAttribute("tabindex", "0");
  let at = -1;
  const go = (to) => {
    at = Math.max(0, Math.min(to, xs.length - 1));
    const box = root.getBoundingClientRect();
    const across = px(xs[at]);
    guide.setAttribute("x1", across);
    guide.setAttribute("x2", across);
    guide.setAttribute("visibility", "visible");
    showTip(textAt(xs[at]), box.left + (across / root.viewBox.baseVal.width) * box.width, box.top + 12);
  };
  const leave = () => {
    guide.setAttribute("visibility", "hidden");
    hideTip();
  };
  const nearest = (event) => {
    const box = root.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * root.viewBox.baseVal.width;
    go(xs.reduce((best, value, index) => (Math.abs(px(value) - x) < Math.abs(px(xs[best]) - x) ? index : best), 0));
  };
  root.addEventListener("pointermove", nearest);
  root.addEventListener("pointerdown", nearest);
  root.addEventListener("pointerleave", leave);
  root.addEventListener("focus", () => at < 0 && go(xs.length - 1));
  root.addEventListener("blur", leave);
  root.addEventListener("keydown", (event) => {
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: xs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    go(to);
  });
  return root;
}
