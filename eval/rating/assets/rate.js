// A page of ratings. Data come from the JSON block #data and reach the page as text nodes only, never as markup.
"use strict";
(() => {
  const { page, rows, marks: MARKS } = JSON.parse(document.getElementById("data").textContent);
  const KEY = `flan-t5x ratings ${page.page}`; // of this page alone: pages opened from files share one storage
  const SIDES = ["left", "right"];
  const VERDICTS = ["left", "both good", "both bad", "right"];
  const KEYS = {
    ArrowLeft: "left", ArrowRight: "right", ArrowUp: "both good", ArrowDown: "both bad", l: "left", r: "right", g: "both good", b: "both bad",
  };
  const get = (id) => document.getElementById(id);
  const noun = get("h-rate").dataset.noun;
  const NONE = { verdict: null, left: [], right: [] };
  let state = read() ?? fresh();
  let at = 0; // the row shown
  let kept = true; // in this browser
  let downloaded = false; // as it stands

  // votes: one for each row, in the page's order.
  function fresh() {
    const random = crypto.getRandomValues(new Uint8Array(8));
    const session = [...random].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    return { session, rater: "", keys: true, votes: rows.map(() => NONE) };
  }

  // What this browser kept of this page; null if nothing, or nothing of this shape.
  function read() {
    try {
      const { session, rater, keys, votes } = JSON.parse(localStorage.getItem(KEY));
      if (typeof session !== "string" || typeof rater !== "string" || votes.length !== rows.length) return null;
      const only = (list) => MARKS.filter((mark) => list.includes(mark));
      const clean = ({ verdict, left, right }) => ({
        verdict: VERDICTS.includes(verdict) ? verdict : null, left: only(left), right: only(right),
      });
      return { session, rater, keys: keys !== false, votes: votes.map(clean) };
    } catch {
      return null;
    }
  }

  function keep() {
    const text = JSON.stringify(state);
    try {
      localStorage.setItem(KEY, text);
      kept = localStorage.getItem(KEY) === text;
    } catch {
      kept = false;
    }
    downloaded = false;
    get("not-kept").hidden = kept;
  }

  const rated = () => state.votes.filter((vote) => vote.verdict).length;
  const firstUnrated = () => state.votes.findIndex((vote) => !vote.verdict);
  function setVote(change) {
    state.votes[at] = { ...state.votes[at], ...change };
    keep();
    drawVote();
  }

  function element(tag, properties = {}, ...children) {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  }

  function show(name, focus = true) {
    for (const id of ["intro", "rate", "end"]) get(id).hidden = id !== name;
    document.body.classList.toggle("rating", name === "rate");
    if (!focus) return;
    get(`h-${name}`).focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }

  function drawProgress() {
    const done = rated();
    get("progress").value = done;
    get("count").textContent = `${done} of ${rows.length} rated`;
    for (const button of document.querySelectorAll(".download")) button.disabled = !done;
    get("clear").disabled = !downloaded;
    get("start").textContent = done ? "Continue" : "Start";
    get("keys").checked = state.keys;
    document.body.classList.toggle("no-keys", !state.keys);
    for (const input of document.querySelectorAll(".rater")) if (input !== document.activeElement) input.value = state.rater;
  }

  function drawVote() {
    const vote = state.votes[at];
    for (const button of document.querySelectorAll("[data-verdict]")) {
      button.setAttribute("aria-pressed", String(button.dataset.verdict === vote.verdict));
      const mark = button.querySelector(".mark");
      mark.dataset.arrow ??= mark.textContent;
      mark.textContent = button.dataset.verdict === vote.verdict ? "✓" : mark.dataset.arrow;
    }
    for (const box of document.querySelectorAll("[data-mark]")) box.checked = vote[box.dataset.side].includes(box.dataset.mark);
    drawProgress();
  }

  function drawRow() {
    const row = rows[at];
    get("h-rate").textContent = `${noun} ${at + 1} of ${rows.length}`;
    get("source").replaceChildren(...row.source.split("\n").map((line) => {
      const speaker = /^\s*[^:\n]{1,40}:(?!\/\/)/.exec(line);
      const paragraph = element("p", { dir: "auto" });
      if (speaker) paragraph.append(element("b", { textContent: speaker[0] }), line.slice(speaker[0].length));
      else paragraph.append(line);
      return paragraph;
    }));
    get("source").scrollTop = 0;
    SIDES.forEach((side, i) => {
      const empty = !row.texts[i].trim();
      get(`text-${side}`).textContent = empty ? "(nothing)" : row.texts[i];
      get(`text-${side}`).classList.toggle("empty", empty);
    });
    get("previous").disabled = at === 0;
    get("next").textContent = at === rows.length - 1 ? "Finish" : "Next";
    get("status").textContent = "";
    drawVote();
  }

  function go(number, focus = true) {
    at = number;
    drawRow();
    show("rate", focus);
  }

  // At the first row that is not rated, or where the rater was.
  function resume() {
    go(firstUnrated() < 0 ? at : firstUnrated());
  }

  function next() {
    if (at < rows.length - 1) go(at + 1);
    else finish();
  }

  function finish() {
    const left = rows.length - rated();
    get("h-end").textContent = left ? `${left} still to rate` : "Done. Thank you!";
    get("end-text").textContent = left
      ? "You can download what you have so far, or go back to those that are left."
      : "Download your ratings, and send the file to whoever sent you this page.";
    drawProgress();
    show("end");
  }

  function choose(verdict) {
    setVote({ verdict });
    const button = document.querySelector(`[data-verdict="${verdict}"]`);
    get("status").textContent = `${[...button.childNodes].slice(1).map(visible).join("").trim()}: noted.`;
    get("next").focus({ preventScroll: true }); // Enter goes on
  }

  const visible = (node) => (node.nodeType === Node.TEXT_NODE || getComputedStyle(node).display !== "none" ? node.textContent : "");

  function toggle(side, mark) {
    const before = state.votes[at][side];
    const had = before.includes(mark);
    setVote({ [side]: MARKS.filter((one) => (one === mark ? !had : before.includes(one))) });
    const box = document.querySelector(`[data-side="${side}"][data-mark="${mark}"]`);
    const [where, what] = [get(`h-${side}`), box.closest("label")];
    get("status").textContent = `${[...where.childNodes].map(visible).join("")}: ${what.childNodes[1].textContent.trim()}, ${had ? "taken back" : "marked"}.`;
  }

  function download() {
    const result = {
      ...page,
      rater: state.rater.trim(),
      session: state.session,
      rows: rows.map(({ id, left }, i) => {
        const vote = state.votes[i];
        return { id, left, verdict: vote.verdict, marks: { left: vote.left, right: vote.right } };
      }),
    };
    const address = URL.createObjectURL(new Blob([`${JSON.stringify(result, null, 1)}\n`], { type: "application/json" }));
    const who = state.rater.trim().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || state.session;
    element("a", { href: address, download: `ratings-${who}-${page.page}.json` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
    downloaded = true;
    drawProgress();
  }

  function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || get("rate").hidden) return;
    const target = event.target instanceof Element ? event.target : document.body;
    if (event.key === "Enter" && !target.closest("button, a, summary, input")) {
      event.preventDefault();
      next();
      return;
    }
    if (!state.keys || target.closest("input:not([type=checkbox])")) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    // In a dialogue that has the focus, up and down scroll.
    if ((key === "ArrowUp" || key === "ArrowDown") && target.closest("#source")) return;
    if (Object.hasOwn(KEYS, key)) choose(KEYS[key]);
    else if (key === "n") next();
    else if (key === "p" && at > 0) go(at - 1);
    else if (key >= "1" && key <= String(2 * MARKS.length)) {
      const number = Number(key) - 1;
      toggle(SIDES[Math.floor(number / MARKS.length)], MARKS[number % MARKS.length]);
    } else return;
    event.preventDefault();
  }

  for (const button of document.querySelectorAll("[data-verdict]")) button.addEventListener("click", () => choose(button.dataset.verdict));
  for (const box of document.querySelectorAll("[data-mark]")) box.addEventListener("change", () => toggle(box.dataset.side, box.dataset.mark));
  for (const button of document.querySelectorAll(".download")) button.addEventListener("click", download);
  for (const input of document.querySelectorAll(".rater")) {
    input.addEventListener("input", () => {
      state.rater = input.value;
      keep();
      drawProgress();
    });
  }
  get("start").addEventListener("click", resume);
  get("next").addEventListener("click", next);
  get("previous").addEventListener("click", () => go(at - 1));
  get("back").addEventListener("click", resume);
  get("clear").addEventListener("click", () => {
    state = fresh();
    keep();
    drawProgress();
    show("intro");
  });
  get("help").addEventListener("click", () => show("intro"));
  get("keys").addEventListener("change", () => {
    state.keys = get("keys").checked;
    keep();
    drawProgress();
  });
  document.addEventListener("keydown", press);
  window.addEventListener("storage", (event) => {
    if (event.key !== KEY && event.key !== null) return; // this page in another tab: go on with what it holds now
    state = read() ?? fresh();
    drawVote();
  });
  window.addEventListener("beforeunload", (event) => {
    if (!kept && !downloaded && rated()) event.preventDefault();
  });

  keep();
  const begun = rated();
  if (begun === rows.length) {
    drawRow();
    finish();
  } else if (begun) {
    go(firstUnrated(), false);
    get("status").textContent = `Welcome back: ${begun} of ${rows.length} are rated.`;
  } else {
    drawRow();
    show("intro", false);
  }
  document.documentElement.classList.add("ready");
})();
