// What the reader has chosen, kept in the URL after `#`: a reload or a link shows the same.

const state = new URLSearchParams(location.hash.slice(1));
let writing = 0;

function remember(name, value, usual) {
  if (value === usual) state.delete(name);
  else state.set(name, value);
  writing ||= setTimeout(writeState, 150); // not at every keystroke: browsers limit how often
}

function recall(name, usual) {
  return state.get(name) ?? usual;
}

/** A remembered set of names that a checkbox or a fold has turned from its usual value. */
function toggled(name) {
  const key = JSON.parse(recall(name, "[]"));
  const turned = new Set(Array.isArray(key) ? key : []);
  return {
    has: (item) => turned.has(item),
    set(item, on) {
      if (on) turned.add(item);
      else turned.delete(item);
      remember(name, JSON.stringify([...turned]), "[]");
    },
    clear() {
      turned.clear();
      remember(name, "[]", "[]");
    },
  };
}

function writeState() {
  clearTimeout(writing);
  writing = 0;
  history.replaceState(null, "", String(state) ? `#${state}` : location.pathname + location.search);
}

addEventListener("pagehide", () => writing && writeState());
