// The list of rows, a page at a time; one of them is open.

const PAGE = 20;
const list = document.getElementById("examples-list");
const pagers = document.querySelectorAll(".pager");
let shown = []; // indices into the rows of the task
let page = 0;
let open = null; // the index of the row that is shown in full

function heading([key, label]) {
  const node = element("th", { scope: "col" });
  const side = key === "a" || key === "b" ? systemMark(task().systems[state[key]]) : "";
  const sorted = state.order === key;
  const button = element("button", { type: "button", className: "sort" }, side, label, sorted ? (state.down ? " ↓" : " ↑") : "");
  button.title = `sort by ${label}`;
  button.dataset.key = key;
  if (sorted) node.setAttribute("aria-sort", state.down ? "descending" : "ascending");
  node.append(button);
  return node;
}

function cellOf(row, [key, , value], i) {
  const node = element("td");
  if (key === "change") {
    const better = gain(row);
    node.append(element("span", { className: better > 0 ? "up" : better < 0 ? "down" : "", textContent: `${better > 0 ? "▲ " : better < 0 ? "▼ " : ""}${signed(value(row, i))}` }));
  } else if (key === "a" || key === "b") node.textContent = value(row, i).toFixed(1);
  else node.textContent = value(row, i) || (key === "words" ? "0" : "·");
  return node;
}

function drawList() {
  const { rows } = task();
  const pages = Math.max(1, Math.ceil(shown.length / PAGE));
  page = Math.min(page, pages - 1);
  const part = shown.slice(page * PAGE, (page + 1) * PAGE);
  const which = columns();
  const body = element("tbody");
  for (const i of part) {
    const row = rows[i];
    const button = element("button", { type: "button", className: "opens", textContent: row[ID] });
    button.setAttribute("aria-expanded", String(i === open));
    button.dataset.index = String(i);
    const line = element("tr", { className: i === open ? "line open" : "line" }, element("th", { scope: "row" }, button));
    line.append(...which.slice(1).map((column) => cellOf(row, column, i)));
    body.append(line);
    if (i === open) {
      const detail = element("td", { colSpan: which.length }, example(row));
      body.append(element("tr", { className: "detail" }, detail));
    }
  }
  const table = element("table", { className: "rows" });
  table.append(element("caption", { className: "said", textContent: "Rows" }), element("thead", {}, element("tr", {}, ...which.map(heading))), body);
  list.replaceChildren(...(part.length ? [table] : []));
  document.getElementById("examples-status").textContent = shown.length
    ? `${count(shown.length)} of ${count(rows.length)} rows; ${count(page * PAGE + 1)} to ${count(page * PAGE + part.length)} are shown`
    : `None of ${count(rows.length)} rows is like that.`;
  for (const pager of pagers) {
    pager.hidden = pages < 2;
    pager.querySelector(".previous").disabled = page === 0;
    pager.querySelector(".next").disabled = page === pages - 1;
    pager.querySelector(".place").textContent = `page ${count(page + 1)} of ${count(pages)}`;
  }
}

// Opens a row that is shown, and brings it into view.
function openRow(index, { focus = false, scroll = true } = {}) {
  open = index;
  state.row = index === null ? "" : task().rows[index][ID];
  if (index !== null) page = Math.floor(shown.indexOf(index) / PAGE);
  drawList();
  const line = list.querySelector("tr.open");
  if (!line) return;
  if (scroll) line.scrollIntoView({ block: "start" });
  if (focus) line.querySelector("button").focus({ preventScroll: true });
}
