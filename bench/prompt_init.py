"""The three initialisations of prompt tuning (Lester et al. 2021, section 3.2), on a pre-trained model, over several seeds.

    make quickstart                       # the pre-trained model: t5-tiny, trained to summarise support_chats
    python -m bench.prompt_init           # --base RUN_DIR for another one, --seeds, --steps

The base is frozen. A prompt of 20 tokens is all that learns a task it was never trained on: which of 16 fields a summary of
support_chats is about, whose names are the class labels. A seed decides the prompt's start and the order of the rows; all three
starts of a seed see the same batches. Runs are kept under --output: an interrupted bench resumes.
"""

import argparse
import json
import math
import statistics
from pathlib import Path
from typing import Any

import yaml

from t5x_tasks.common.errors import UserError, run_cli

DATA = Path(__file__).parents[1] / "t5x_tasks" / "library" / "data" / "support_chats"
LENGTH = 20
# 97.5% points of Student's t by degrees of freedom: intervals are of the mean over seeds.
T = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.prompt_init", description="Starts of prompt tuning, compared."
    )
    add_arguments(parser, output="runs/prompt_init", steps=600)
    chosen = parse(parser, arguments)
    card, labels = write_card(chosen.output)
    starts: dict[str, dict[str, Any]] = {
        "random uniform": {"type": "uniform"},
        "sampled vocabulary": {"type": "vocabulary"},
        "class labels": {"type": "labels", "labels": labels},
    }
    print(compare(starts, chosen, card, steps=chosen.steps))


def add_arguments(parser: argparse.ArgumentParser, *, output: str, steps: int) -> None:
    parser.add_argument("--base", type=Path, default=Path("runs/quickstart"), help="its run (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path(output), help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=5, choices=range(2, 11), metavar="2..10")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--learning-rate", type=float, default=0.3)


def parse(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """UserError: the base is no run."""
    chosen = parser.parse_args(arguments)
    if not (chosen.base / "config.yaml").is_file():
        raise UserError(f"{chosen.base}: is no run; `make quickstart` makes it, --base names another")
    return chosen


def compare(starts: dict[str, dict[str, Any]], chosen: argparse.Namespace, card: Path, *, steps: int) -> str:
    """Tunes a prompt from each start with each seed; the table."""
    losses: dict[str, list[list[float]]] = {name: [] for name in starts}
    for seed in range(chosen.seeds):
        for name, init in starts.items():
            run_dir = chosen.output / f"{init['type']}_{seed}"
            losses[name].append(tune(run_dir, chosen, card, init, seed=seed, steps=steps))
    return table(losses, steps)


def write_card(folder: Path) -> tuple[Path, list[str]]:
    """The card of the task, and its labels: the fields that summaries are about."""
    import gzip

    with gzip.open(DATA / "train.jsonl.gz", "rt", encoding="utf-8") as lines:
        labels = sorted({json.loads(line)["domain"] for line in lines})
    folder.mkdir(parents=True, exist_ok=True)
    source = {"type": "jsonl", **{split: str(DATA / f"{split}.jsonl.gz") for split in ("train", "validation", "test")}}
    card = {
        "name": "summary_field",
        "category": "classification",
        "source": source,
        "fields": {"summary": "summary", "field": "domain"},
        "templates": [{"id": "t00", "inputs": "{summary}", "targets": "{field}"}],
        "metrics": ["accuracy"],
    }
    path = folder / "summary_field.yaml"
    path.write_text(yaml.safe_dump(card), encoding="utf-8")
    return path, labels


def tune(
    run_dir: Path, chosen: argparse.Namespace, card: Path, init: dict[str, Any], *, seed: int, steps: int
) -> list[float]:
    """Tunes a prompt on a card's task; returns the loss of the first batch before it is learned from, then validation losses."""
    from train import config as configuration
    from train.loop import train

    model = configuration.load(chosen.base, []).model.model_dump(exclude_none=True) | {"weights": str(chosen.base)}
    config = configuration.Config.model_validate(
        {
            "run_dir": str(run_dir),
            "model": model,
            "data": {"mixture": card.stem, "cards": [str(card)], "lengths": {"inputs": 384, "targets": 64}},
            "method": {"type": "prompt_tuning", "length": LENGTH, "init": init},
            "optimizer": {"type": "adamw", "learning_rate": chosen.learning_rate},
            "train": {"steps": steps, "batch_size": 2, "seed": seed, "dropout": 0.0, "validation_examples": 256},
            "checkpoint": {"every_steps": max(1, steps // 3)},
            "logging": {"every_steps": 50, "tensorboard": False},
        }
    )
    if stopped := train(config):
        raise SystemExit(stopped)
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [rows[0]["loss"], *(row["validation_loss"] for row in rows if "validation_loss" in row)]


def table(losses: dict[str, list[list[float]]], steps: int) -> str:
    """Mean loss per token over the seeds with 95% intervals, and by how much it is above random uniform's on the same seed."""
    points = len(next(iter(losses.values()))[0])
    every = max(1, steps // 3)
    names = ["first batch, before", *(f"validation, step {min(every * n, steps)}" for n in range(1, points))]
    lines = ["| start | " + " | ".join(names) + " | last, less random uniform's |", "| --- |" + " --- |" * (points + 1)]
    baseline = [seed[-1] for seed in next(iter(losses.values()))]
    for start, seeds in losses.items():
        cells = [interval([seed[n] for seed in seeds]) for n in range(points)]
        apart = [seed[-1] - other for seed, other in zip(seeds, baseline, strict=True)]
        lines.append(f"| {start} | {' | '.join(cells)} | {interval(apart) if any(apart) else ''} |")
    return "\n".join(lines)


def interval(values: list[float]) -> str:
    mean = statistics.mean(values)
    half = T[len(values) - 1] * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:.3f} [{mean - half:.3f}, {mean + half:.3f}]"


if __name__ == "__main__":
    run_cli(main)
