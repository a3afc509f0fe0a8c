// Controls, keys and addresses of the examples: each change of what is shown goes through `show`.

const controls = {};
for (const name of ["task", "a", "b", "score", "order", "only", "slice", "q", "diff"]) {
  controls[name] = document.getElementById(`control-${name}`);
}
const chips = document.getElementById("examples-filters");

function options(select, entries, chosen) {
  select.replaceChildren(...entries.map(([value, label]) => element("option", { value: String(value), textContent: label })));
  select.value = String(chosen);
  select.closest("label").hidden = entries.length < 2;
}

// Sets the controls to the state.
function setControls() {
  const { systems, scores, slicings } = task();
  const names = systems.map((number, i) => [i, data.systems[number]]);
  controls.task.value = String(state.task);
  options(controls.a, names, state.a);
  options(controls.b, names, state.b);
  options(controls.score, scores.map((score, i) => [i, score]), state.score);
  const usable = single() ? ["all", ...(task().summaries ? ["made-up", "missed"] : [])] : Object.keys(FILTERS).filter((key) => task().summaries || !["made-up", "missed"].includes(key));
  options(controls.only, usable.map((key) => [key, FILTERS[key][0]]), state.only);
  const orders = columns({ all: true }).flatMap(([key, label]) => key === "id" ? [["id:0", "as in the data"]] : [[`${key}:1`, `${label}: most first`], [`${key}:0`, `${label}: least first`]]);
  options(controls.order, [...(single() ? [] : [["size:1", "largest change"]]), ...orders], `${state.order}:${state.down ? 1 : 0}`);
  controls.diff.closest("label").hidden = false;
  options(controls.diff, Object.entries(DIFFS).filter(([key]) => key !== "systems" || !single()), state.diff);
  const groups = slicings.map(({ title, slices }) => {
    const group = element("optgroup", { label: title });
    group.append(...slices.map(([label, rows]) => element("option", { value: `${title}: ${label}`, textContent: `${label} (${count(rows.length)})` })));
    return group;
  });
  controls.slice.replaceChildren(element("option", { value: "", textContent: "all" }), ...groups);
  controls.slice.value = state.slice;
  controls.slice.closest("label").hidden = !slicings.length;
  if (controls.q.value !== state.q) controls.q.value = state.q;
}

// What narrows the rows, each with a way out.
function drawFilters() {
  const range = state.low !== null || state.high !== null;
  const between = state.low === state.high ? "equal scores" : `difference ${signed(state.low ?? 0)} to ${signed(state.high ?? 0)}`;
  const active = [
    state.only !== "all" && [FILTERS[state.only][0], { only: undefined }],
    state.slice && [state.slice, { slice: undefined }],
    range && [between, { low: undefined, high: undefined }],
    state.q && [`“${state.q}”`, { q: undefined }],
  ].filter(Boolean);
  const links = active.map(([label, change]) => {
    const link = element("a", { className: "chip filter", href: address({ ...change, row: undefined }) }, label, " ×");
    link.setAttribute("aria-label", `${label}: remove this filter`);
    return link;
  });
  chips.replaceChildren(...links);
  chips.hidden = !active.length;
}

// Draws what the state says. `row`: the row to open; else the first.
function show({ row = "", focus = false, scroll = false } = {}) {
  const found = matching();
  drawHistogram(document.getElementById("examples-histogram"), found);
  const { rows } = task();
  shown = ordered(found.filter((i) => single() || within(gain(rows[i]), state.low, state.high)));
  page = 0;
  const index = row ? shown.find((i) => rows[i][ID] === row) : undefined;
  setControls();
  drawFilters();
  openRow(index ?? shown[0] ?? null, { focus, scroll });
  if (index === undefined) state.row = "";
}

function remember() {
  history.replaceState(null, "", address());
}

function goTo() {
  if (!readAddress(location.hash)) return;
  const wanted = state.row;
  show({ row: wanted });
  if (wanted && state.row !== wanted && task().rows.some((row) => row[ID] === wanted)) {
    Object.assign(state, { only: "all", slice: "", low: null, high: null, q: "" }); // the row is there whatever the filters are
    show({ row: wanted });
  }
  const found = wanted ? list.querySelector("tr.open") : document.getElementById("examples");
  found?.scrollIntoView({ block: "start" });
  (wanted ? found?.querySelector("button") : null)?.focus({ preventScroll: true });
}

function changed(name) {
  if (name === "task") openTask(Number(controls.task.value));
  else if (["a", "b", "score"].includes(name)) Object.assign(state, { [name]: Number(controls[name].value), low: null, high: null });
  else if (name === "order") {
    const [order, down] = controls.order.value.split(":");
    Object.assign(state, { order, down: down === "1" });
  } else state[name] = controls[name].value;
  if (single() && !["all", "made-up", "missed"].includes(state.only)) state.only = "all";
  show({ row: name === "diff" ? state.row : "" });
  remember();
}

for (const name of ["task", "a", "b", "score", "order", "only", "slice", "diff"]) controls[name].addEventListener("change", () => changed(name));
let waiting;
controls.q.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => changed("q"), 150);
});
controls.q.closest("form").addEventListener("submit", (event) => event.preventDefault());

list.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.className === "sort") {
    const { key } = button.dataset;
    Object.assign(state, { order: key, down: state.order === key ? !state.down : key !== "id" });
    show();
    list.querySelector(`button.sort[data-key="${key}"]`).focus({ preventScroll: true });
  } else {
    const index = Number(button.dataset.index);
    openRow(index === open ? null : index, { scroll: false });
    list.querySelector(`button.opens[data-index="${index}"]`).focus({ preventScroll: true });
  }
  remember();
});

document.addEventListener("keydown", (event) => {
  const by = { j: 1, k: -1 }[event.key];
  if (!by || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
  const at = shown.indexOf(open);
  const next = shown[at < 0 ? 0 : at + by];
  if (next === undefined) return;
  event.preventDefault();
  openRow(next, { focus: true });
  remember();
});

for (const pager of pagers) {
  const turn = (by) => {
    openRow(shown[(page + by) * PAGE], { scroll: false });
    document.getElementById("examples-status").scrollIntoView();
    pagers[0].querySelector(by > 0 ? ".next" : ".previous").focus({ preventScroll: true });
    remember();
  };
  pager.querySelector(".previous").addEventListener("click", () => turn(-1));
  pager.querySelector(".next").addEventListener("click", () => turn(1));
}
document.getElementById("examples-download").addEventListener("click", () => download(shown));
window.addEventListener("hashchange", goTo);
narrow.addEventListener("change", drawList);
window.addEventListener("beforeprint", () => {
  for (const closed of document.querySelectorAll("details")) closed.open = true;
});

options(controls.task, data.tasks.map((t, i) => [i, `${t.task} (${t.split}, ${count(t.rows.length)} rows)`]), 0);
openTask(0);
show();
goTo();
document.documentElement.classList.add("ready");
