// The report's data, from the JSON block #data, and how to read them. Texts reach the page as text nodes only, never as markup.
// All scripts are joined into one function (page.py: _SCRIPTS), in which each may use what the others define.

const data = JSON.parse(document.getElementById("data").textContent);

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function drawn(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

const text = (number) => data.texts[number];
const count = (n) => n.toLocaleString("en");
const rounded = (value) => Math.round(value * 10) / 10;
const signed = (value) => (value > 0 ? "+" : value < 0 ? "−" : "±") + Math.abs(value).toFixed(1);

// Places of what is in a row, see examples.py: embed.
const ID = 0, TEMPLATE = 1, GROUPS = 2, SOURCE = 3, REFERENCES = 4, WORDS = 5, ANSWERS = 6;
// Of an answer of a system.
const SAID = 0, SCORES = 1, MADE_UP = 2, MISSED = 3, SPEAKERS = 4;

// The mark of a system: as `shape` and `legend_mark` of charts.py.
const CORNERS = {
  1: [[-4.5, -4.5], [4.5, -4.5], [4.5, 4.5], [-4.5, 4.5]],
  2: [[0, -5.5], [5.5, 4.5], [-5.5, 4.5]],
  3: [[0, -6], [6, 0], [0, 6], [-6, 0]],
  4: [[-5.5, -4.5], [5.5, -4.5], [0, 5.5]],
  5: [[-4.5, -4.5], [0, -1], [4.5, -4.5], [4.5, 4.5], [0, 1], [-4.5, 4.5]],
};

function systemMark(number) {
  const kind = (number + Math.floor(number / 6)) % 6;
  const shape = kind
    ? drawn("path", { class: "mark", d: `M${CORNERS[kind].map(([x, y]) => `${7 + x} ${7 + y}`).join("L")}Z` })
    : drawn("circle", { class: "mark", cx: 7, cy: 7, r: 4.5 });
  return drawn("svg", { class: `key s${number % 6}`, viewBox: "0 0 14 14", width: 14, height: 14, "aria-hidden": "true" }, shape);
}

function systemName(number) {
  return element("span", { className: "system" }, systemMark(number), element("span", { textContent: data.systems[number] }));
}
