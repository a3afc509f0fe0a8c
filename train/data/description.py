"""Describes everything that fixes a stream of examples; checkpoints hold it, for a position means nothing without it.

    {"batch_size": 8, "row_lengths": [512, 128], "seed": 0, "pack": true, "block": 16384, "sources": [
        {"dataset": "notes", "examples": 48, "prompt": null, "templates": [
            {"id": "t00", "tokens": "89abcdef01234567", "split": "notes.t00/train-0123456789abcdef",
             "made_of": {"source": ..., "card": ..., ...}}, ...]}, ...]}

Tokens decide, not what made them: a newer version of the code, or a file written anew, that gives the same tokens is the same
stream. What made them only tells a person what changed.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from t5x_tasks.cache import CachedSplit
from train.data.order import MAX_BLOCK, Source

Description = dict[str, Any]


def describe(
    sources: Sequence[Source], *, row_lengths: tuple[int, int], batch_size: int, seed: int, pack: bool
) -> Description:
    """Describes a stream as JSON. How many epochs it has is no part: a run may be made longer."""
    return {
        "batch_size": batch_size,
        "row_lengths": list(row_lengths),
        "seed": seed,
        "pack": pack,
        "block": MAX_BLOCK,
        "sources": [_describe_source(source) for source in sources],
    }


def _describe_source(source: Source) -> Description:
    # All fields of `Source`: each decides what is drawn, or what is in a row. What is None needs no mention.
    return {
        "dataset": source.dataset,
        "examples": len(source) if source.examples is None else source.examples,
        "prompt": _digest(source.prompt) if source.prompt else None,
        "weights": None if source.weights is None else [float(weight) for weight in source.weights],
        "templates": [_describe_template(*template) for template in source.templates],
    }


def _describe_template(template: str, split: CachedSplit) -> Description:
    return {
        "id": template,
        "tokens": split.tokens_digest(),
        "split": f"{split.folder.parent.name}/{split.folder.name}",
        "made_of": {"source": split.manifest.get("source_identity"), **split.manifest.get("made_of", {})},
    }


def differences(before: Description, now: Description) -> list[str]:
    """Says what is not the same, a line for each; nothing where the two give the same batches."""
    lines = _changed("", before, now, beside={"sources"})
    ours, theirs = ({source["dataset"]: source for source in d["sources"]} for d in (now, before))
    lines += [f"{dataset} is gone" for dataset in theirs if dataset not in ours]
    lines += [f"{dataset} is new" for dataset in ours if dataset not in theirs]
    if not lines and list(ours) != list(theirs):
        lines.append(f"data sets in the order {', '.join(ours)}, not {', '.join(theirs)}")
    tokens: dict[str, list[str]] = {}  # why they changed -> tasks
    for dataset in [dataset for dataset in ours if dataset in theirs]:
        one, other = theirs[dataset], ours[dataset]
        lines += _changed(f"{dataset}: ", one, other, beside={"templates"})
        ids = [[template["id"] for template in source["templates"]] for source in (other, one)]
        if ids[0] != ids[1]:
            lines.append(f"{dataset}: templates {', '.join(ids[0])}, not {', '.join(ids[1])}")
            continue
        for old, new in zip(one["templates"], other["templates"], strict=True):
            if old["tokens"] != new["tokens"]:
                tokens.setdefault(_cause(old["made_of"], new["made_of"]), []).append(_task(new))
    lines += [f"{some(tasks)}: other tokens ({cause})" for cause, tasks in tokens.items()]
    return lines


def templates_of(description: Description) -> dict[str, Description]:
    """Task -> its template's part of the description."""
    return {_task(template): template for source in description["sources"] for template in source["templates"]}


def _task(template: Description) -> str:
    return template["split"].partition("/")[0]


def _changed(where: str, before: Description, now: Description, *, beside: set[str]) -> list[str]:
    words = {"examples": "examples per epoch"}
    return [
        f"{where}{words.get(key, key)} {now.get(key)}, not {before.get(key)}"
        for key in [*now, *(before.keys() - now.keys())]
        if key not in beside and before.get(key) != now.get(key)
    ]


def _cause(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Which parts of what two splits were made of differ, or what else it must be."""
    parts = [part for part in [*now, *(before.keys() - now.keys())] if before.get(part) != now.get(part)]
    return f"changed: {', '.join(parts)}" if parts else "its source, or a function of the card, gives other rows now"


def some(names: Sequence[str], most: int = 3) -> str:
    """The first of several names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _digest(tokens: Sequence[int]) -> str:
    return hashlib.sha256(str(list(tokens)).encode()).hexdigest()[:8]
