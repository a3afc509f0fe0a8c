// The words in which two texts differ.

const MOST_CELLS = 4e6; // of the table; longer texts are compared as bags of words

const WORD = /[$€£#]?[\p{L}\p{N}]+(?:[.,:'’/-][\p{L}\p{N}]+)*%?|\S/gu; // $26, 7:30 and check-in are one word each

function tokens(string) {
  return [...string.matchAll(WORD)].map((m) => ({ word: m[0], start: m.index, end: m.index + m[0].length }));
}

// A longest common subsequence of words: pairs of places in two lists of tokens.
function common(a, b) {
  let from = 0;
  while (from < a.length && from < b.length && a[from].word === b[from].word) from++;
  let [endA, endB] = [a.length, b.length];
  while (endA > from && endB > from && a[endA - 1].word === b[endB - 1].word) { endA--; endB--; }
  const pairs = Array.from({ length: from }, (_, i) => [i, i]);
  const [n, m] = [endA - from, endB - from];
  if (n * m > MOST_CELLS) pairs.push(...inBoth(a.slice(from, endA), b.slice(from, endB)).map(([i, j]) => [i + from, j + from]));
  else {
    const table = Array.from({ length: n + 1 }, () => new Uint16Array(m + 1));
    for (let i = n - 1; i >= 0; i--) {
      for (let j = m - 1; j >= 0; j--) {
        table[i][j] = a[from + i].word === b[from + j].word ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
      }
    }
    for (let i = 0, j = 0; i < n && j < m; ) {
      if (a[from + i].word === b[from + j].word) pairs.push([from + i++, from + j++]);
      else if (table[i + 1][j] >= table[i][j + 1]) i++;
      else j++;
    }
  }
  for (let i = endA, j = endB; i < a.length; i++, j++) pairs.push([i, j]);
  return pairs;
}

// The same for texts too long for a table: words in an order that both have, found greedily.
function inBoth(a, b) {
  const pairs = [];
  let at = 0;
  a.forEach(({ word }, i) => {
    for (let j = at; j < Math.min(b.length, at + 50); j++) {
      if (b[j].word === word) { pairs.push([i, j]); at = j + 1; return; }
    }
  });
  return pairs;
}

// Spans [start, end] of neighbouring tokens that are not among the given places.
function spansBut(all, places) {
  const kept = new Set(places);
  const spans = [];
  all.forEach(({ start, end }, i) => {
    if (kept.has(i)) return;
    if (spans.length && i > 0 && !kept.has(i - 1)) spans[spans.length - 1][1] = end;
    else spans.push([start, end]);
  });
  return spans;
}

// Returns { onlyA, onlyB: spans of what the other lacks, shared: number of words in common, steps }. `steps`, in the order of b:
// { from, to } a part of b, `added` where a lacks it; { gone, last } text of a that b lacks, `last` after all of b.
function difference(stringA, stringB) {
  const [a, b] = [tokens(stringA), tokens(stringB)];
  const pairs = common(a, b);
  const onlyA = spansBut(a, pairs.map(([i]) => i));
  const onlyB = spansBut(b, pairs.map(([, j]) => j));
  const steps = [];
  let [at, lastA, lastB] = [0, 0, 0];
  const upTo = (i, j) => {
    if (i === lastA && j === lastB) return;
    const start = lastB < b.length ? b[lastB].start : stringB.length;
    steps.push({ from: at, to: start, added: false });
    at = start;
    if (i > lastA) steps.push({ gone: stringA.slice(a[lastA].start, a[i - 1].end), last: lastB >= b.length });
    if (j > lastB) {
      steps.push({ from: at, to: b[j - 1].end, added: true });
      at = b[j - 1].end;
    }
  };
  for (const [i, j] of pairs) {
    upTo(i, j);
    steps.push({ from: at, to: b[j].end, added: false });
    [at, lastA, lastB] = [b[j].end, i + 1, j + 1];
  }
  upTo(a.length, b.length);
  steps.push({ from: at, to: stringB.length, added: false });
  return { onlyA, onlyB, shared: pairs.length, steps: steps.filter((step) => step.gone !== undefined || step.to > step.from) };
}
