"""Metrics: functions of (predictions, references), found by name.

A metric takes `predictions: Sequence[str]` and `references: Sequence[Sequence[str]]` (every right answer of each row) and
returns scores of each row, `dict[str, np.ndarray]` with arrays of [rows]; scores of overlap are 0 to 100.
"""

import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from t5x_tasks.errors import UserError, suggest

if TYPE_CHECKING:
    import numpy as np

    Metric = Callable[[Sequence[str], Sequence[Sequence[str]]], dict[str, np.ndarray]]

# Names that cards may use. Paths rather than functions: rouge_score takes a second to import.
METRICS = {"rouge": "t5x_tasks.metrics.rouge:rouge"}


def check_metric_name(name: str) -> None:
    """Raises ValueError if `name` is neither in `METRICS` nor of the form `package.module:function`."""
    module, colon, function = name.partition(":")
    if name in METRICS or (colon and function.isidentifier() and all(p.isidentifier() for p in module.split("."))):
        return
    hint = suggest(name, METRICS) or f"; known are {', '.join(METRICS)}, or package.module:function"
    raise ValueError(f"metrics: unknown metric {name}{hint}")


def load_metric(name: str) -> "Metric":
    """Returns the function behind a metric's name.

    Raises:
      UserError: no metric of that name, or the module or function cannot be imported.
    """
    try:
        check_metric_name(name)
    except ValueError as error:
        raise UserError(str(error)) from None
    module, _, function = METRICS.get(name, name).partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise UserError(f"metrics: {name}: cannot be imported ({error}); is its package installed?") from error
