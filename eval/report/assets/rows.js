// Which rows are shown, and in which order.

const scoreOf = (row, side) => answer(row, side)[SCORES][state.score] ?? 0;
// A gain is for the better: of a score of which less is better, what it fell by.
const sign = () => (task().better[state.score] === "lower" ? -1 : 1);
const exact = (value) => Math.round(value * 1e4) / 1e4; // scores have four decimals
const gain = (row) => exact(sign() * (scoreOf(row, "b") - scoreOf(row, "a")));
const change = (row) => exact(scoreOf(row, "b") - scoreOf(row, "a"));
// Names and numbers of the reference that an answer lacks: of the reference of which it lacks fewest.
const missed = (row, side) => {
  const [, , , of, speakers] = answer(row, side);
  return Math.max(of.length ? Math.min(...of.map((spans) => spans.length)) : 0, speakers.length);
};
const alarms = (row, side) => answer(row, side)[MADE_UP].length;

const FILTERS = {
  all: ["all rows", () => true],
  gain: ["B does better", (row) => gain(row) > 0],
  loss: ["B does worse", (row) => gain(row) < 0],
  tie: ["equal scores", (row) => gain(row) === 0],
  different: ["answers differ", (row) => answer(row, "a")[SAID] !== answer(row, "b")[SAID]],
  "made-up": ["made up in B", (row) => alarms(row, "b") > 0],
  missed: ["missed in B", (row) => missed(row, "b") > 0],
};

// Columns of the list: [key, heading, value to sort by, only where there is room]. `size` and `data` are orders without one.
const COLUMNS = [
  ["id", "row", (row, i) => i, false],
  ["a", "A", (row) => scoreOf(row, "a"), false],
  ["b", "B", (row) => scoreOf(row, "b"), false],
  ["change", "change", change, false],
  ["made-up-a", "made up, A", (row) => alarms(row, "a"), true],
  ["made-up", "made up, B", (row) => alarms(row, "b"), false],
  ["missed-a", "missed, A", (row) => missed(row, "a"), true],
  ["missed", "missed, B", (row) => missed(row, "b"), true],
  ["words", "words of input", (row) => row[WORDS], true],
];
const OF_TWO = ["a", "change", "made-up-a", "missed-a"]; // columns that one system alone has not
const OF_SUMMARIES = ["made-up", "made-up-a", "missed", "missed-a"];

const narrow = matchMedia("screen and (max-width: 44rem)");

function columns({ all = false } = {}) {
  const hidden = [...(single() ? OF_TWO : []), ...(task().summaries ? [] : OF_SUMMARIES), ...(task().scores.length ? [] : ["a", "b", "change"])];
  return COLUMNS.filter(([key, , , wide]) => !hidden.includes(key) && (all || !wide || !narrow.matches));
}
const columnOf = (key) => columns({ all: true }).find((column) => column[0] === key);

// Tells whether a gain is in a bar of the histogram: bars hold their end away from zero, and zero has one of its own.
function within(value, low, high) {
  if (low === null && high === null) return true;
  const [from, to] = [low ?? -Infinity, high ?? Infinity];
  if (from === to) return value === from;
  return to > 0 ? value > from && value <= to : value >= from && value < to;
}

function sliceRows() {
  if (!state.slice) return null;
  for (const { title, slices } of task().slicings) {
    for (const [label, rows] of slices) if (`${title}: ${label}` === state.slice) return new Set(rows);
  }
  state.slice = ""; // of another task
  return null;
}

// Indices of the rows that pass all filters but the histogram's.
function matching() {
  const wanted = state.q.trim().toLowerCase();
  const inSlice = sliceRows();
  const [, keep] = FILTERS[state.only];
  const found = (row) =>
    [row[ID], ...row[GROUPS]].some((word) => word.toLowerCase().includes(wanted)) ||
    [row[SOURCE], ...row[REFERENCES], ...row[ANSWERS].map((a) => a[SAID])].some((n) => text(n).toLowerCase().includes(wanted));
  const indices = [];
  task().rows.forEach((row, i) => {
    if ((!inSlice || inSlice.has(i)) && keep(row) && (!wanted || found(row))) indices.push(i);
  });
  return indices;
}

function ordered(indices) {
  const { rows } = task();
  const column = columnOf(state.order);
  const key = column ? column[2] : (row) => Math.abs(gain(row));
  const keys = new Map(indices.map((i) => [i, key(rows[i], i)]));
  const way = state.down ? -1 : 1;
  return [...indices].sort((x, y) => way * (keys.get(x) - keys.get(y)) || x - y);
}
