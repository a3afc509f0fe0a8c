"""ROUGE as the paper of DialogSum computes it, by the library `py-rouge`: an extra, for comparison with published tables.

Not a metric to read beside `rouge`: its ROUGE-L takes the root of precision and recall with the exponent of its weight factor,
and so lies about six points above that of `rouge_score`.

Reference: Chen et al., "DialogSum: A Real-Life Scenario Dialogue Summarization Dataset", 2021, table 4.
"""

import contextlib
import functools
import importlib
import importlib.metadata
import importlib.resources
import sys
import types
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from t5x_tasks.common.errors import UserError
from t5x_tasks.metrics.pooled import check_rows

REFERENCES = "counts pooled over"
PACKAGE = "py-rouge==1.1"
_NAMES = {"rouge-1": "py_rouge1", "rouge-2": "py_rouge2", "rouge-l": "py_rougeL"}
_EMPTY = "-"  # its own text for no word: the library cannot divide by none


def settings() -> str:
    """Says what produced the scores, for the reports that show them."""
    return (
        f"py-rouge {importlib.metadata.version('py-rouge')}, F1, Porter stemmer, first 100 words, alpha 0.5, weight factor 1.2 "
        "(not comparable with rouge_score)"
    )


def py_rouge(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
    """Scores predictions with the settings of the library's README, which come near the paper's table (docs/evaluating.md).

    Returns:
      `py_rouge1`, `py_rouge2`, `py_rougeL`: F1 times 100 of every row, [rows] float64; where a row has several references,
      their counts are added up before precision and recall are taken.

    Raises:
      UserError: the library is not installed.
      ValueError: predictions and references differ in number, or a row has no reference.
    """
    check_rows(predictions, references)
    scorer = _scorer()
    result = {name: np.zeros(len(predictions)) for name in _NAMES.values()}
    for row, (prediction, answers) in enumerate(zip(predictions, references, strict=True)):
        scores = scorer.get_scores([prediction.strip() or _EMPTY], [[answer.strip() or _EMPTY for answer in answers]])
        for theirs, name in _NAMES.items():
            result[name][row] = 100.0 * scores[theirs]["f"]
    return result


@functools.cache
def _scorer() -> Any:
    library = _import()

    class Rouge(library.Rouge):
        @staticmethod
        def tokenize_text(text: str, language: str = "english") -> list[str]:
            # The library has taken out all punctuation by now: there are no sentences to part, and so no need of nltk's
            # data for that, which would have to be downloaded.
            import nltk

            return nltk.word_tokenize(text, language, preserve_line=True)

    return Rouge(
        metrics=["rouge-n", "rouge-l"],
        max_n=2,
        limit_length=True,
        length_limit=100,
        length_limit_type="words",
        apply_avg=True,
        alpha=0.5,
        weight_factor=1.2,
        stemming=True,
    )


def _import() -> Any:
    try:
        importlib.metadata.version("py-rouge")
        with _pkg_resources():
            rouge: Any = importlib.import_module("rouge")
    except ImportError:
        raise UserError(f"metrics: py_rouge: needs its library: pip install {PACKAGE}") from None
    if not hasattr(rouge.Rouge, "AVAILABLE_LENGTH_LIMIT_TYPES"):  # two packages install a module of this name
        raise UserError(f"metrics: py_rouge: the package `rouge` hides it: pip uninstall rouge, pip install {PACKAGE}")
    return rouge


@contextlib.contextmanager
def _pkg_resources() -> Iterator[None]:
    """Stands in for `pkg_resources`, of which the library uses one function, and which setuptools has dropped."""
    if "pkg_resources" in sys.modules:
        yield
        return
    module: Any = types.ModuleType("pkg_resources")
    module.resource_filename = lambda package, name: str(importlib.resources.files(package.partition(".")[0]) / name)
    sys.modules["pkg_resources"] = module
    try:
        yield
    finally:
        del sys.modules["pkg_resources"]
