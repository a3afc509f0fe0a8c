// The rows that are shown as a CSV file.

// A cell that a spreadsheet takes for no formula, as eval/spreadsheets.py, quoted as RFC 4180 says.
function csvCell(value) {
  if (typeof value === "number") return String(value);
  const isFormula = /^'*[=+\-@\t\r\n＝＋－＠]/.test(value) && !/^[+-][\d.,]+%?$/.test(value);
  const string = isFormula ? `'${value}` : value;
  return `"${string.replaceAll('"', '""')}"`;
}

function csvText(indices) {
  const { systems, scores, rows, task: name, split } = task();
  const most = Math.max(1, ...indices.map((i) => rows[i][REFERENCES].length));
  const references = Array.from({ length: most }, (_, i) => (most > 1 ? `reference_${i + 1}` : "reference"));
  const names = systems.map((number) => data.systems[number]);
  const header = ["task", "split", "id", "template", "groups", "input", ...references];
  for (const system of names) header.push(system, ...scores.map((score) => `${system}: ${score}`), `${system}: made up`);
  const lines = indices.map((i) => {
    const row = rows[i];
    const line = [name, split, row[ID], row[TEMPLATE] ?? "", row[GROUPS].join("; "), text(row[SOURCE])];
    for (let at = 0; at < most; at++) line.push(at < row[REFERENCES].length ? text(row[REFERENCES][at]) : "");
    for (const [said, values, spans] of row[ANSWERS]) {
      line.push(text(said), ...values, spans.map(([start, end]) => text(said).slice(start, end)).join("; "));
    }
    return line;
  });
  return `\ufeff${[header, ...lines].map((line) => line.map(csvCell).join(",")).join("\r\n")}\r\n`;
}

function download(indices) {
  const address = URL.createObjectURL(new Blob([csvText(indices)], { type: "text/csv;charset=utf-8" }));
  const link = element("a", { href: address, download: `examples_${task().task.replace(/[^\w.-]+/g, "_")}.csv` });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
