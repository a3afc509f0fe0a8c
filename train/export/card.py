"""The model card (README.md) of an exported model: what it learned from, how, and how it scored, out of the run's own files."""

import json
from pathlib import Path
from typing import Any

from t5x_tasks.card.catalog import load_catalog
from t5x_tasks.common.errors import UserError
from t5x_tasks.common.hub import SCHEME, parse_hub_id
from train.config import Config

USE = """## How to use

```python
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{folder}")
model = AutoModelForSeq2SeqLM.from_pretrained("{folder}")
inputs = tokenizer("{prompt}", return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs)[0], skip_special_tokens=True))
```

Lengths and beams of `generate` are those of generation_config.json.
"""
USE_ADAPTER = """## How to use

```python
from peft import AutoPeftModelForSeq2SeqLM

model = AutoPeftModelForSeq2SeqLM.from_pretrained("{folder}")
```

It is an adapter; its base, `{base}`, is loaded with it. The tokenizer is the base's.
"""
FOLDER = "path/to/this/folder"


def run_card(config: Config, run_dir: Path, step: int, *, adapter: bool = False) -> str:
    """Markdown for the model of a run at a step, or for its `adapter` alone.

    Scores are those of RUN_DIR/eval/<step>, beside those before training, if there.
    """
    data, prompt = _data(config)
    parts = [_head(config.model.weights), f"# {_text(Path(config.run_dir).name)}", _origin(config, step), data]
    use = (
        USE_ADAPTER.format(folder=FOLDER, base=config.model.weights)
        if adapter
        else USE.format(folder=FOLDER, prompt=prompt)
    )
    parts += [_method(config), _scores(run_dir, step), use]
    return "\n".join(part.strip() + "\n" for part in parts if part)


def converted_card(source: str) -> str:
    """Markdown for weights that were only brought into another format."""
    about = f"The weights of `{source}`, converted without change. Its licence and limits are those of the original."
    use = USE.format(folder=FOLDER, prompt="Translate to German: How are you?")
    return "\n".join(part.strip() + "\n" for part in (_head(source), "# T5", about, use))


def _head(weights: str) -> str:
    lines = ["---", "library_name: transformers", "tags: [t5]"]
    if weights.startswith(SCHEME):
        lines.append(f"base_model: {parse_hub_id(weights).repository}")
    return "\n".join([*lines, "---"])


def _origin(config: Config, step: int) -> str:
    sizes = ", ".join(f"{name} {size}" for name, size in config.model.sizes().items())
    begin = "random weights" if config.model.weights == "random" else f"`{config.model.weights}`"
    return f"A T5 1.1 ({config.model.preset}: {sizes}) trained from {begin} for {step:,} steps."


def _data(config: Config) -> tuple[str, str]:
    """The section on data, and the beginning of a prompt that the model knows."""
    lines = ["## Data", "", f"Mixture `{config.data.mixture}`.", ""]
    try:
        pairs = load_catalog(config.data.cards).resolve(config.data.mixture)
    except UserError as error:  # weights can be taken away after the cards were; a SeqIO task of the user's has none
        return "\n".join([*lines, f"Nothing more is known of it: {_text(str(error))}."]), "..."
    cards = list({card.name: card for card, _ in pairs}.values())
    counts = {card.name: sum(other.name == card.name for other, _ in pairs) for card in cards}
    lines += _table(
        ["data set", "what", "licence", "phrasings"],
        [[card.name, card.description, card.licence or "not stated", str(counts[card.name])] for card in cards],
    )
    lines += [
        "",
        "Check that the licences of the data allow the use you have in mind: some are for non-commercial use only.",
    ]
    return "\n".join(lines), json.dumps(pairs[0][1].inputs, ensure_ascii=False)[1:-1]


def _method(config: Config) -> str:
    optimizer, lengths = config.optimizer, config.data.lengths
    size = lengths if isinstance(lengths, str) else f"{lengths.inputs} / {lengths.targets} tokens"
    rows = [
        ["method", config.method.type],
        ["optimizer", f"{optimizer.type}, learning rate {optimizer.learning_rate:g}, {optimizer.schedule.type}, "
                      f"{optimizer.schedule.warmup_steps} steps of warm-up"],
        ["batch", f"{config.train.batch_size} {'packed ' if config.data.pack else ''}rows of {size}"],
        ["dropout", f"{config.train.dropout:g}"],
        ["seed", str(config.train.seed)],
        ["code", (config.environment or {}).get("git_revision") or "not known"],
    ]  # fmt: skip
    return "\n".join(["## Method", "", *_table(["", ""], rows)])


def _scores(run_dir: Path, step: int) -> str:
    results = {number: found for number in (0, step) if (found := _metrics(run_dir, number))}
    if step not in results:
        return ""
    after = results[step]
    # Scores of other rows, or decoded in another way, would be no before.
    first = results.get(0, {})
    before = first if all(first.get(key) == after.get(key) for key in ("split", "limit", "decode")) else {}
    rows, settings = [], {}
    for task, result in after["tasks"].items():
        for name, score in result["metrics"].items():
            old = before.get("tasks", {}).get(task, {}).get("metrics", {}).get(name)
            rows.append([task, name, _score(old), _score(score), str(result["n"])])
            settings[name] = score.get("settings")
    decode = ", ".join(f"{key} {value}" for key, value in (after.get("decode") or {}).items())
    lines = ["## Scores", "", f"Of the {after.get('split')} split, decoded with {decode or 'settings not stated'}; "
             "with 95% bootstrap intervals.", ""]  # fmt: skip
    lines += [*_table(["task", "metric", "before training", "this model", "rows"], rows), ""]
    lines += [f"- {name}: {_text(setting)}" for name, setting in settings.items() if setting]
    return "\n".join(lines)


def _metrics(run_dir: Path, step: int) -> dict[str, Any] | None:
    file = run_dir / "eval" / str(step) / "metrics.json"
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file}: not valid JSON ({error}); evaluate again, or remove it") from None
    return content if content.get("tasks") else None


def _score(score: dict[str, Any] | None) -> str:
    if score is None or score.get("value") is None:
        return "-"
    interval = f" [{score['ci_low']:.2f}, {score['ci_high']:.2f}]" if score.get("ci_low") is not None else ""
    return f"{score['value']:.2f}{interval}"


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(map(_text, row)) + " |" for row in (header, ["---"] * len(header), *rows)]


def _text(text: str) -> str:
    """One line that ends no cell."""
    return " ".join(text.split()).replace("|", "\\|")
