// What is shown, and its address: `#examples&task=...&split=...&a=...&b=...&only=gain&row=...`. An address says all of it; what
// it does not name is as at the beginning. As links.py.

const START = { only: "all", low: null, high: null, slice: "", q: "", order: "size", down: true, diff: "systems", row: "" };
const state = { task: 0, a: 0, b: 0, score: 0, ...START };

const task = () => data.tasks[state.task];
const answer = (row, side) => row[ANSWERS][state[side]];
const single = () => state.a === state.b;

function openTask(number) {
  Object.assign(state, START, { task: number, a: 0, score: 0, b: data.tasks[number].best });
}

function fields() {
  const { task: name, split, systems, scores } = task();
  const found = { task: name, split };
  if (systems.length > 1) Object.assign(found, { a: data.systems[systems[state.a]], b: data.systems[systems[state.b]] });
  if (state.score) found.score = scores[state.score];
  for (const key of ["only", "low", "high", "slice", "q", "order", "diff", "row"]) {
    if (state[key] !== START[key]) found[key] = state[key];
  }
  if (!state.down) found.down = 0;
  return found;
}

// The address of what is shown, with some of it changed: { row: "r1" }; undefined takes a part out.
function address(changes = {}) {
  const found = Object.entries({ ...fields(), ...changes }).filter(([, value]) => value !== undefined && value !== null);
  return `#examples&${found.map(([key, value]) => `${key}=${encodeURIComponent(value)}`).join("&")}`;
}

// Reads an address into the state; false of one that is no view of examples.
function readAddress(hash) {
  if (!hash.startsWith("#examples&")) return false;
  const found = {};
  try {
    for (const part of hash.slice(10).split("&")) {
      const at = part.indexOf("=");
      if (at > 0) found[part.slice(0, at)] = decodeURIComponent(part.slice(at + 1));
    }
  } catch {
    return false; // a broken escape
  }
  const number = data.tasks.findIndex((t) => t.task === found.task && (found.split === undefined || t.split === found.split));
  if (number < 0) return false;
  openTask(number);
  const { systems, scores } = task();
  for (const side of ["a", "b"]) {
    const column = systems.findIndex((system) => data.systems[system] === found[side]);
    if (column >= 0) state[side] = column;
  }
  state.score = Math.max(0, scores.indexOf(found.score));
  for (const key of ["only", "slice", "q", "order", "diff", "row"]) if (found[key] !== undefined) state[key] = found[key];
  for (const key of ["low", "high"]) {
    const value = Number.parseFloat(found[key]);
    if (Number.isFinite(value)) state[key] = value;
  }
  state.down = found.down !== "0";
  if (!Object.hasOwn(FILTERS, state.only)) state.only = START.only;
  if (!Object.hasOwn(DIFFS, state.diff)) state.diff = START.diff;
  if (state.order !== "size" && !columnOf(state.order)) state.order = START.order;
  return true;
}
