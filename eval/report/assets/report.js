// The examples of a report. Data come from the JSON block #data and reach the page as text nodes only, never as markup.
  const PAGE = 10;
  const data = JSON.parse(document.getElementById("data").textContent);
  const box = document.getElementById("examples-list");
  const controls = {};
  for (const name of ["task", "before", "after", "score", "order", "only", "template", "search"]) {
    controls[name] = document.getElementById(`control-${name}`);
  }
  const status = document.getElementById("examples-status");
  const pagers = document.querySelectorAll(".pager");
  let page = 0;
  let shown = []; // indices into the rows of the task
  let target = null; // id of the row that the address names

  const task = () => data.tasks[Number(controls.task.value)];
  const text = (number) => data.texts[number];
  const answer = (row, side) => row[6][Number(controls[side].value)];
  const scoreOf = (row, side) => answer(row, side)[1][Number(controls.score.value)] ?? 0;
  // A gain is for the better: of a score of which less is better, what it fell by.
  const sign = () => (task().better[Number(controls.score.value)] === "lower" ? -1 : 1);
  const gain = (row) => sign() * (scoreOf(row, "after") - scoreOf(row, "before"));

  function element(tag, properties = {}, ...children) {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  }

  function options(select, labels, chosen) {
    select.replaceChildren(...labels.map((label, i) => element("option", { value: String(i), textContent: label })));
    select.value = String(Math.min(Math.max(chosen, 0), labels.length - 1));
    select.closest("label").hidden = labels.length < 2;
  }

  function openTask() {
    const { systems, scores, rows } = task();
    const names = systems.map((number) => data.systems[number]);
    options(controls.before, names, 0);
    options(controls.after, names, names.length - 1);
    options(controls.score, scores, 0);
    const templates = [...new Set(rows.map((row) => row[1]).filter((name) => name !== null))].sort();
    controls.template.replaceChildren(
      element("option", { value: "", textContent: "all" }),
      ...templates.map((name) => element("option", { value: name, textContent: name })),
    );
    controls.template.closest("label").hidden = templates.length < 2;
    apply();
  }

  const ORDERS = {
    data: null,
    change: (row) => -Math.abs(gain(row)),
    gain: (row) => -gain(row),
    loss: (row) => gain(row),
    low: (row) => sign() * scoreOf(row, "after"),
    "made-up": (row) => -answer(row, "after")[2].length,
    longest: (row) => -row[5],
  };
  const FILTERS = {
    all: () => true,
    gain: (row) => gain(row) > 0,
    loss: (row) => gain(row) < 0,
    "made-up": (row) => answer(row, "after")[2].length > 0,
    speaker: (row) => answer(row, "after")[4].length > 0,
    different: (row) => answer(row, "before")[0] !== answer(row, "after")[0],
  };

  function apply() {
    const { rows } = task();
    const wanted = controls.search.value.trim().toLowerCase();
    const template = controls.template.value;
    const keep = FILTERS[controls.only.value];
    const matches = (row) =>
      !wanted ||
      [row[0], ...row[2]].some((word) => word.toLowerCase().includes(wanted)) ||
      [row[3], ...row[4], ...row[6].map((a) => a[0])].some((n) => text(n).toLowerCase().includes(wanted));
    shown = rows.map((_, i) => i).filter((i) => {
      const row = rows[i];
      return keep(row) && (!template || row[1] === template) && matches(row);
    });
    const key = ORDERS[controls.order.value];
    if (key) {
      const keys = new Map(shown.map((i) => [i, key(rows[i])]));
      shown.sort((a, b) => keys.get(a) - keys.get(b) || a - b);
    }
    page = 0;
    draw();
  }

  function draw() {
    const { rows } = task();
    const pages = Math.max(1, Math.ceil(shown.length / PAGE));
    page = Math.min(page, pages - 1);
    const part = shown.slice(page * PAGE, (page + 1) * PAGE);
    box.replaceChildren(...part.map((i) => card(rows[i])));
    const count = (n) => n.toLocaleString("en");
    status.textContent = shown.length
      ? `${count(shown.length)} of ${count(rows.length)} rows; ${count(page * PAGE + 1)} to ${count(page * PAGE + part.length)} are shown`
      : `None of ${count(rows.length)} rows is like that.`;
    for (const pager of pagers) {
      pager.hidden = pages < 2;
      pager.querySelector(".previous").disabled = page === 0;
      pager.querySelector(".next").disabled = page === pages - 1;
      pager.querySelector(".place").textContent = `page ${count(page + 1)} of ${count(pages)}`;
    }
  }

  // Text with marks: spans [start, end, what], which do not overlap, in order. A mark is said in words, too.
  function marked(node, string, spans, kind, told) {
    let at = 0;
    for (const [start, end, what] of [...spans].sort((a, b) => a[0] - b[0])) {
      if (start < at) continue;
      node.append(string.slice(at, start));
      const mark = element("mark", { className: kind, title: what ? `${told}: ${what}` : told });
      mark.append(string.slice(start, end), element("span", { className: "said", textContent: ` (${told})` }));
      node.append(mark);
      at = end;
    }
    node.append(string.slice(at));
    return node;
  }

  function dialogue(string) {
    const node = element("div", { className: "dialogue", tabIndex: 0 });
    node.setAttribute("role", "region");
    node.setAttribute("aria-label", "what was asked about");
    for (const line of string.split("\n")) {
      const speaker = /^\s*[^:\n]{1,40}:(?!\/\/)/.exec(line);
      const paragraph = element("p");
      if (speaker) paragraph.append(element("b", { textContent: speaker[0] }), line.slice(speaker[0].length));
      else paragraph.append(line);
      node.append(paragraph);
    }
    return node;
  }

  function said(row, side, label) {
    const [number, scores, madeUp, , speakers] = answer(row, side);
    const name = data.systems[task().systems[Number(controls[side].value)]];
    const head = element("h4", {}, element("span", { className: "side", textContent: `${label}: ` }), name);
    const body = element("p", { className: "text" });
    if (text(number).trim()) marked(body, text(number), madeUp, "made-up", "not in the dialogue");
    else body.append(element("i", { textContent: "(nothing)" }));
    const facts = task().scores.map((score, i) => `${score} ${scores[i].toFixed(1)}`);
    const node = element("section", { className: `answer ${side}` }, head, body);
    if (speakers.length) {
      node.append(element("p", { className: "note missed-note", textContent: `Speakers missed: ${speakers.join(", ")}` }));
    }
    node.append(element("p", { className: "note", textContent: facts.join(" · ") }));
    return node;
  }

  function card(row) {
    const [id, template, groups, source, references] = row;
    const one = controls.before.value === controls.after.value;
    const heading = element("h3");
    const link = element("a", { href: address(id), textContent: id, title: "a link to this row" });
    heading.append(link);
    const chips = [controls.template.closest("label").hidden ? null : template, ...groups].filter(Boolean).map((chip) => element("span", { className: "chip", textContent: chip }));
    const alarms = answer(row, "after")[2].length;
    if (alarms) chips.push(element("span", { className: "chip alarm", textContent: `${alarms} made-up alarm${alarms > 1 ? "s" : ""}` }));
    const score = task().scores[Number(controls.score.value)];
    if (score && !one) {
      const change = gain(row);
      const mark = change > 0 ? "▲ " : change < 0 ? "▼ " : "";
      const moved = sign() * change;
      const told = `${mark}${moved > 0 ? "+" : moved < 0 ? "−" : "±"}${Math.abs(moved).toFixed(1)}`;
      const name = change > 0 ? "up" : change < 0 ? "down" : "";
      chips.push(element("span", { className: `chip ${name}`, textContent: `${score} ${told}` }));
    }
    const missed = answer(row, "after")[3];
    const list = element("ol", { className: "references" });
    references.forEach((number, i) => {
      list.append(marked(element("li"), text(number), missed[i] ?? [], "missed", "missed by the answer"));
    });
    const right = element("div", { className: "right" });
    right.append(element("section", {}, element("h4", { textContent: references.length > 1 ? "References" : "Reference" }), list));
    const answers = element("div", { className: "answers" });
    if (!one) answers.append(said(row, "before", "A"));
    answers.append(said(row, "after", one ? "Answer" : "B"));
    right.append(answers);
    const article = element("article", { className: "example", tabIndex: -1 });
    article.append(
      element("header", {}, heading, ...chips),
      element("div", { className: "columns" }, element("section", {}, element("h4", { textContent: "Input" }), dialogue(text(source))), right),
    );
    if (id === target) article.classList.add("target");
    return article;
  }

  const address = (id) => `#row/${[task().task, task().split, id].map(encodeURIComponent).join("/")}`;

  // #row/TASK/SPLIT/ID shows that row, whatever the filters are.
  function goTo() {
    if (!location.hash.startsWith("#row/")) return;
    let parts;
    try {
      parts = location.hash.slice(5).split("/").map(decodeURIComponent);
    } catch {
      return;
    }
    const [name, split, id] = parts;
    const number = data.tasks.findIndex((t) => t.task === name && t.split === split);
    const index = number < 0 ? -1 : data.tasks[number].rows.findIndex((row) => row[0] === id);
    if (index < 0) return;
    target = id;
    if (Number(controls.task.value) !== number) {
      controls.task.value = String(number);
      openTask();
    }
    if (!shown.includes(index)) {
      controls.only.value = "all";
      controls.template.value = "";
      controls.search.value = "";
      apply();
    }
    page = Math.floor(shown.indexOf(index) / PAGE);
    draw();
    const found = box.querySelector(".target");
    found.scrollIntoView({ block: "start" });
    found.focus({ preventScroll: true });
  }

  controls.task.addEventListener("change", openTask);
  for (const name of ["before", "after", "score", "order", "only", "template"]) controls[name].addEventListener("change", apply);
  let waiting;
  controls.search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(apply, 150);
  });
  for (const pager of pagers) {
    const turn = (by) => {
      page += by;
      draw();
      document.getElementById("examples").scrollIntoView();
      pagers[0].querySelector(by > 0 ? ".next" : ".previous").focus({ preventScroll: true });
    };
    pager.querySelector(".previous").addEventListener("click", () => turn(-1));
    pager.querySelector(".next").addEventListener("click", () => turn(1));
  }
  window.addEventListener("hashchange", goTo);
  window.addEventListener("beforeprint", () => {
    for (const closed of document.querySelectorAll("details")) closed.open = true;
  });

  options(controls.task, data.tasks.map((t) => `${t.task} (${t.split}, ${t.rows.length} rows)`), 0);
  controls.task.value = "0";
  openTask();
  goTo();
  document.documentElement.classList.add("ready");
