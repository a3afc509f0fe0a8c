// One row in full: what was asked about, the references, what two systems answered, with marks.

const DIFFS = { systems: "A and B", reference: "each and the reference", off: "no words" };

// A part of a text with layers of marks: [{ tag, kind, told, spans: [[start, end, what], ...] }], the outermost first. A mark is
// said in words, too.
function marked(string, layers, from = 0, to = string.length) {
  if (!layers.length) return [string.slice(from, to)];
  const [{ tag, kind, told, spans }, ...inner] = layers;
  const nodes = [];
  let at = from;
  for (const [start, end, what] of [...spans].sort((x, y) => x[0] - y[0])) {
    const [first, last] = [Math.max(start, at), Math.min(end, to)];
    if (first >= last) continue;
    nodes.push(...marked(string, inner, at, first));
    const node = element(tag, { className: kind, title: what ? `${told}: ${what}` : told }, ...marked(string, inner, first, last));
    if (tag === "mark") node.append(element("span", { className: "said", textContent: ` (${told})` }));
    nodes.push(node);
    at = last;
  }
  return [...nodes, ...marked(string, inner, at, to)].filter((node) => node !== "");
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

// The text of an answer: made-up marks, and the words that differ.
function answerText(row, side) {
  const [number, , spans] = answer(row, side);
  const string = text(number);
  const madeUp = { tag: "mark", kind: "made-up", told: "not in the dialogue", spans };
  if (!string.trim()) return [element("i", { textContent: "(nothing)" })];
  if (state.diff === "reference" && row[REFERENCES].length) {
    const found = row[REFERENCES].map((reference) => difference(text(reference), string));
    const closest = found.reduce((best, one) => (one.shared > best.shared ? one : best));
    return closest.steps.flatMap((step) => {
      if (step.gone !== undefined) return [step.last ? " " : "", element("del", { title: "in the reference only", textContent: step.gone }), " "];
      const part = marked(string, [madeUp], step.from, step.to);
      return step.added ? [element("ins", { title: "not in the reference" }, ...part)] : part;
    });
  }
  if (state.diff !== "systems" || single()) return marked(string, [madeUp]);
  const other = text(answer(row, side === "a" ? "b" : "a")[SAID]);
  const { onlyB } = difference(other, string);
  return marked(string, [madeUp, { tag: "ins", kind: "differs", told: `${side === "a" ? "B" : "A"} lacks this`, spans: onlyB }]);
}

function said(row, side, label) {
  const [, scores, , , speakers] = answer(row, side);
  const head = element("h4", {}, element("span", { className: "side", textContent: `${label}: ` }), systemName(task().systems[state[side]]));
  const node = element("section", { className: `answer ${side}` }, head, element("p", { className: "text" }, ...answerText(row, side)));
  if (speakers.length) node.append(element("p", { className: "note missed-note", textContent: `Speakers missed: ${speakers.join(", ")}` }));
  const seeds = task().seeds[state[side]];
  if (seeds) node.append(element("p", { className: "note", textContent: `Text of the first seed; scores are means of ${seeds} seeds.` }));
  const facts = task().scores.map((score, i) => `${score} ${scores[i].toFixed(1)}`);
  node.append(element("p", { className: "note", textContent: facts.join(" · ") }));
  return node;
}

function example(row) {
  const heading = element("h3", {}, element("a", { href: address({ row: row[ID] }), textContent: row[ID], title: "a link to this row" }));
  const chips = [task().templates ? row[TEMPLATE] : null, ...row[GROUPS]].filter(Boolean).map((chip) => element("span", { className: "chip", textContent: chip }));
  const list = element("ol", { className: "references" });
  const missing = answer(row, "b")[MISSED];
  row[REFERENCES].forEach((number, i) => {
    const spans = missing[i] ?? [];
    list.append(element("li", {}, ...marked(text(number), [{ tag: "mark", kind: "missed", told: "missed by the answer", spans }])));
  });
  const right = element("div", { className: "right" });
  right.append(element("section", {}, element("h4", { textContent: row[REFERENCES].length > 1 ? "References" : "Reference" }), list));
  const answers = element("div", { className: "answers" });
  if (!single()) answers.append(said(row, "a", "A"));
  answers.append(said(row, "b", single() ? "Answer" : "B"));
  right.append(answers);
  const article = element("article", { className: "example", tabIndex: -1 }, element("header", {}, heading, ...chips));
  article.append(element("div", { className: "columns" }, element("section", {}, element("h4", { textContent: "Input" }), dialogue(text(row[SOURCE]))), right));
  return article;
}
