// The differences of the rows between A and B, as bars that lead to their rows.

const BARS = 10; // at most, on each side of zero
const TALL = 84; // a bar, in the drawing's units

// Bars [low, high, rows]: on either side of zero of equal widths, and one of zero.
function bars(gains) {
  const most = Math.max(...gains.map(Math.abs));
  if (!(most > 0)) return gains.length ? [[0, 0, gains.length]] : [];
  const raw = most / BARS;
  const size = 10 ** Math.floor(Math.log10(raw));
  const width = [1, 2, 5, 10].map((m) => m * size).find((step) => step >= raw - 1e-9);
  const each = Math.ceil(most / width - 1e-9);
  const edge = (i) => rounded(i * width * 10) / 10;
  const found = [];
  for (let i = -each; i < each; i++) {
    if (i === 0) found.push([0, 0]);
    found.push([edge(i), edge(i + 1)]);
  }
  return found.map(([low, high]) => [low, high, gains.filter((value) => value !== 0 || low === high).filter((value) => within(value, low, high)).length]);
}

function drawHistogram(box, indices) {
  const { rows, scores } = task();
  const found = single() || !scores.length ? [] : bars(indices.map((i) => gain(rows[i])));
  box.hidden = found.length < 2;
  if (box.hidden) return box.replaceChildren();
  const [wide, bottom] = [480 / found.length, TALL + 8];
  const tallest = Math.max(...found.map((bar) => bar[2]));
  const parts = found.map(([low, high, rows], i) => {
    const chosen = state.low === low && state.high === high;
    const tall = rows ? Math.max(3, (TALL * rows) / tallest) : 0;
    const range = low === high ? "equal scores" : `${signed(low)} to ${signed(high)}`;
    const told = `${range}: ${count(rows)} row${rows === 1 ? "" : "s"}${chosen ? ", shown; click to show all" : ""}`;
    const link = drawn("a", {
      href: address(chosen ? { low: undefined, high: undefined, row: undefined } : { low, high, row: undefined }),
      class: `bar-${high > 0 ? "gain" : low < 0 ? "loss" : "tie"}${chosen ? " chosen" : ""}`, "aria-label": told,
    });
    link.append(
      drawn("title", {}, told),
      drawn("rect", { class: "target", x: i * wide, y: 0, width: wide, height: bottom }),
      drawn("rect", { x: i * wide + 1, y: bottom - tall, width: Math.max(1, wide - 2), height: tall }),
    );
    return link;
  });
  const svg = drawn("svg", { viewBox: `0 0 480 ${bottom + 2}`, role: "group", "aria-label": "Differences of the rows" });
  svg.append(...parts, drawn("path", { class: "grid", d: `M0 ${bottom}H480` }));
  const ends = element("p", { className: "ends" }, ...[`${signed(found[0][0])} worse`, "0", `better ${signed(found.at(-1)[1])}`].map((label) => element("span", { textContent: label })));
  const told = `${scores[state.score]} of B against A, by rows. A bar leads to its rows.`;
  box.replaceChildren(element("figcaption", { textContent: "Differences of the rows" }), element("p", { className: "dim small", textContent: told }), svg, ends);
}
