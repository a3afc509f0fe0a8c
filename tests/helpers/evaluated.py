"""Evaluations for tests of comparisons: answers scored by the real scorer, written where `python -m eval` writes them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from eval.examples import Example, Questions, read_questions
from eval.scoring.results import write_metrics, write_predictions
from eval.scoring.score_task import score_task

NO_COUNTS: dict[str, int | None] = {"truncated_inputs": 0, "truncated_references": 0, "unknown_tokens": 0}


def evaluate(
    folder: Path,
    answers: Mapping[str, Callable[[Example], str]],
    *,
    cards: Sequence[Any] = (),
    root: Any = None,
    split: str = "test",
    step: int | None = None,
    weights: str = "",
    fingerprint: str = "",
    limit: int | None = None,
    samples: int = 50,
) -> Path:
    """Writes FOLDER/metrics.json and FOLDER/<task>/predictions.jsonl: each task answered by a function of its examples.

    Args:
      fingerprint: of the weights; empty: as metrics.json was before it had one.
    """
    tasks = {}
    for task, answer in answers.items():
        questions = first_rows(read_questions(task, split, cards=list(map(str, cards)), root=root), limit)
        scores = score_task(
            questions, [answer(example) for example in questions.examples], counts=NO_COUNTS, bootstrap_samples=samples
        )
        write_predictions(folder, task, scores.rows)
        tasks[task] = scores.summary
    head = {"step": step, "split": split, "limit": limit, "weights": weights or str(folder), "decode": None}
    write_metrics(folder, head | ({"weights_fingerprint": fingerprint} if fingerprint else {}), tasks)
    return folder


def first_rows(questions: Questions, limit: int | None) -> Questions:
    from dataclasses import replace

    return replace(questions, examples=questions.examples[:limit])


def make_run(folder: Path, *, mixture: str, cards: Sequence[Any], weights: str = "random") -> Path:
    """Writes what `python -m train` leaves of itself: config.yaml and metrics.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"data": {"mixture": mixture, "cards": list(map(str, cards))}, "model": {"weights": weights}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "metrics.jsonl").write_text(
        "".join(
            f'{{"step": {step}, "loss": {3 / (step + 1):.3f}, "validation_loss": null}}\n' for step in range(0, 40, 4)
        )
    )
    return folder
