"""The contrastive probe: does the model find the reference more probable than the same text made false?

For each row the first reference and its corruptions (eval/diagnostics/corruptions.py) are scored as targets of the row's own
input. The model prefers the reference where its log-likelihood a token is higher (a negation adds tokens, so the plain sum
favours the reference); the plain sum's share is beside it. A tie counts half. It needs no further model, and targets what
summarizers get wrong: who, how many, whether. Imports JAX.

Reference: the idea of ranking a summary against its corruption is that of Kryscinski et al. 2020, "Evaluating the Factual
Consistency of Abstractive Text Summarization" (section 3.2, transformations), put to the summarizer itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.decoding.kv_cache import EOS
from eval.decoding.likelihood import Likelihoods
from eval.diagnostics.corruptions import CORRUPTIONS, corrupt, preferred
from eval.diagnostics.diagnose import Interval
from eval.examples import Example
from t5x_tasks.common.vocabulary import Vocabulary

SEED = 0
Scorer = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], Likelihoods]


@dataclass(frozen=True)
class Probe:
    """The probe's result.

    Attributes:
      summary: `probe.<corruption>` -> value (% of rows in which the reference is preferred, by log-likelihood a token), ci_low,
        ci_high, n, not_applicable, plain (the same by the sum), settings. Of no row: value None, no interval.
      rows: for each row corruption -> {text, margin, plain_margin}, in nats (a token), positive where the reference is
        preferred; only those that apply.
    """

    summary: dict[str, dict[str, Any]]
    rows: list[dict[str, dict[str, Any]]]


def probe(
    score: Scorer,
    examples: Sequence[Example],
    inputs: Sequence[np.ndarray],
    vocabulary: Vocabulary,
    *,
    interval: Interval,
    settings: str,
) -> Probe:
    """Probes a model.

    Args:
      score: log-likelihoods of targets after inputs, see `eval.decoding.likelihood`.
      examples: of a summarization task.
      inputs: [rows], token ids as the model reads them.
      interval: gives scores their bootstrap intervals.
      settings: said with every number: split, interval.
    """
    corrupted = [corrupt(e.references[0], e.dialogue or "", id=e.id, seed=SEED) for e in examples]
    pairs = [(row, "", example.references[0]) for row, example in enumerate(examples)]
    pairs += [
        (row, name, text) for row, texts in enumerate(corrupted) for name, text in texts.items() if text is not None
    ]
    targets = [np.append(ids, EOS).astype(np.int32) for ids in vocabulary.encode_batch([text for _, _, text in pairs])]
    sums, lengths = score([inputs[row] for row, _, _ in pairs], targets)
    right, per_token = sums[: len(examples)], (sums / lengths)[: len(examples)]

    rows: list[dict[str, dict[str, Any]]] = [{} for _ in examples]
    for (row, name, text), total, length in list(zip(pairs, sums, lengths, strict=True))[len(examples) :]:
        margins = {"margin": per_token[row] - total / length, "plain_margin": right[row] - total}
        rows[row][name] = {"text": text, **{key: round(float(margin), 6) for key, margin in margins.items()}}

    behind = (
        f"own corruptions 1, seed {SEED}: % of rows whose first reference has a higher log-likelihood a token than the corrupted "
        f"text (plain: a higher sum), ties half; of the first {len(examples)} rows those where the corruption applies; {settings}"
    )
    summary: dict[str, dict[str, Any]] = {}
    for name in CORRUPTIONS:
        margins = [row[name] for row in rows if name in row]
        counts = {"n": len(margins), "not_applicable": len(rows) - len(margins), "settings": behind}
        if margins:
            by_kind = {key: np.array([preferred(m[key]) for m in margins]) for key in ("margin", "plain_margin")}
            found = interval(by_kind)
            summary[f"probe.{name}"] = {**found["margin"], **counts, "plain": found["plain_margin"]}
        else:
            summary[f"probe.{name}"] = {"value": None, "ci_low": None, "ci_high": None, **counts, "plain": None}
    return Probe(summary, rows)
