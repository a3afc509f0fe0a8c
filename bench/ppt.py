"""A prompt that was pre-trained on plain text (PPT) against random starts, on the same few rows, over several seeds.

    make quickstart                       # the frozen base: t5-tiny, trained to summarise support_chats
    python -m bench.ppt                   # --base RUN_DIR for another one, --seeds, --pretrain-steps, --steps

The text are the chats of support_chats, a document each, without their summaries: `python -m t5x_tasks.commands.ppt` makes
`ppt_choice` of them, and a prompt of 20 tokens is tuned on it. The few rows, 32 of them, are a task of the same
format: which of six fields a summary is about. All starts of a seed see the same batches.
"""

import argparse
import gzip
import json
import random
from pathlib import Path
from typing import Any

import yaml

from bench.prompt_init import DATA, add_arguments, compare, parse, tune
from t5x_tasks.commands import ppt
from t5x_tasks.common.errors import run_cli

FEW = 32


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.ppt", description="Pre-trained prompts against random ones.")
    add_arguments(parser, output="runs/ppt", steps=60)
    parser.add_argument("--pretrain-steps", type=int, default=300)
    chosen = parse(parser, arguments)
    rows = {split: read(split) for split in ("train", "validation")}
    text, pretrained = chosen.output / "text", chosen.output / "pretrained"
    if not text.exists():
        documents = [ppt.sentences(row["dialogue"]) for row in rows["train"][:2000]]
        tasks = ppt.build(documents, [], seed=0, validation=0.05)
        ppt.write_task(text, "ppt_choice", tasks["ppt_choice"])
    init = {"type": "vocabulary"}
    losses = tune(pretrained, chosen, text / "ppt_choice.yaml", init, seed=0, steps=chosen.pretrain_steps)
    print(
        f"pre-training on ppt_choice: first batch {losses[0]:.3f}, validation {', '.join(f'{x:.3f}' for x in losses[1:])}"
    )
    prompt = chosen.output / "prompt"
    if not prompt.exists():
        from train.export.export import export

        export(str(pretrained), prompt, to="peft")
    starts: dict[str, dict[str, Any]] = {
        "random uniform": {"type": "uniform"},
        "sampled vocabulary": {"type": "vocabulary"},
        "pre-trained (PPT)": {"type": "file", "path": str(prompt)},
    }
    print(compare(starts, chosen, write_few(chosen.output / "few", rows), steps=chosen.steps))


def read(split: str) -> list[dict[str, str]]:
    with gzip.open(DATA / f"{split}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def write_few(folder: Path, rows: dict[str, list[dict[str, str]]]) -> Path:
    """The card of the few-shot task: `{summary}? A. banking ... F. hotel. Answer is <extra_id_0>.`"""
    rng = random.Random(0)
    fields = sorted({row["domain"] for row in rows["train"]})
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", FEW), ("validation", 256)):
        lines = []
        for row in rows[split][:count]:
            others = rng.sample([field for field in fields if field != row["domain"]], len(ppt.CHOICES) - 1)
            options = rng.sample([row["domain"], *others], len(ppt.CHOICES))
            letters = {
                letter.lower(): option.replace("_", " ") for letter, option in zip(ppt.CHOICES, options, strict=True)
            }
            answer = ppt.CHOICES[options.index(row["domain"])]
            lines.append(json.dumps({"id": row["id"], "query": row["summary"], **letters, "answer": answer}))
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    card = {
        "name": "few",
        "category": "classification",
        "source": {"type": "jsonl", "train": "train.jsonl", "validation": "validation.jsonl"},
        "fields": {name: name for name in ("query", *ppt.CHOICES.lower(), "answer")},
        "templates": [{"id": "t00", "inputs": ppt.TEMPLATES["ppt_choice"], "targets": ppt.TARGETS}],
        "metrics": ["accuracy"],
    }
    path = folder / "few.yaml"
    path.write_text(yaml.safe_dump(card), encoding="utf-8")
    return path


if __name__ == "__main__":
    run_cli(main)
