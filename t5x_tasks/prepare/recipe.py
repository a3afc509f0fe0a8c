"""The recipe of a prepared split: hashes of card, template, vocabulary, code and data, for the names of its folders."""

import contextlib
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from t5x_tasks.cache import FORMAT, manifest_of
from t5x_tasks.card.card import Card, Variant
from t5x_tasks.common.errors import UserError
from t5x_tasks.common.vocabulary import Vocabulary
from t5x_tasks.sources import locate, source_digest

CODE = "code that prepares data"  # what messages say


def source_identity(card: Card, split: str, root: str | None) -> str | None:
    """Tells the data of this run from other data: a file's hash, a hub data set's name and revision; None if out of reach.

    Raises:
      UserError: `root` is given and is no folder.
    """
    if root is not None and not Path(root).expanduser().is_dir():
        locate(card, split, root)
    if (digest := source_digest(card, split, root)) is not None:
        return digest
    with contextlib.suppress(UserError):
        locate(card, split, root)
        return f"out of reach:{json.dumps(card.source.model_dump(mode='json', exclude={'obtain'}), sort_keys=True)}"
    return None


def is_at_hand(identity: str | None) -> bool:
    """Tells whether `source_identity` saw the data themselves, rather than only where they should be."""
    return identity is not None and not identity.startswith("out of reach:")


def recipe(card: Card, variant: Variant, vocabulary: Vocabulary, *, dedupe: bool, fit: int) -> str:
    """Returns the hash of all that decides the tokens, apart from the data themselves.

    Args:
      fit: tokens that inputs with exemplars may have.
    """
    return _hash(made_of(card, variant, vocabulary, dedupe=dedupe, fit=fit))


def made_of(card: Card, variant: Variant, vocabulary: Vocabulary, *, dedupe: bool, fit: int) -> dict[str, str]:
    """Returns the parts of a recipe, each a hash, by the words that tell a person which of them changed."""
    parts = {
        "card": {
            "name": card.name,
            # Else what was prepared of another card of this name would stand in for data that are not at hand.
            "source": card.source.model_dump(mode="json", exclude={"obtain"}),
            # Which rows a part holds: the fractions, and the fields whose texts are hashed.
            "split": [card.split.fractions, card.input_fields] if card.split else None,
            "fields": {field: spec.model_dump() for field, spec in card.fields.items()},
            "options": card.options.model_dump() if card.options and variant.style else None,
            "references": card.references.model_dump() if card.references else None,
            "group_by": card.group_by,
            "groups": card.groups,
            # Of all templates: a row that one of them cannot use is left out for all, so that they stay aligned.
            "used_fields": sorted(card.used_fields),
        },
        "template": variant.model_dump(exclude={"split"}),
        "settings (data.dedupe, data.lengths)": {"dedupe": dedupe, "fit": fit if variant.shots else None},
        "vocabulary": vocabulary.sha256,
        CODE: [FORMAT, _code_digest()],
    }
    return {name: _hash(part)[:16] for name, part in parts.items()}


def _hash(part: Any) -> str:
    return hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()


def prepared_before(folders: Path, split: str, recipe: str, text: bool) -> Path | None:
    """The newest folder that the same recipe made from whatever source there was then: a machine may have only the cache."""
    found = []
    for path in folders.glob(f"{split}-*/manifest.json"):
        manifest = manifest_of(path.parent)
        if manifest is not None and manifest.get("recipe") == recipe and manifest.get("text") == text:
            found.append((path.stat().st_mtime_ns, path.parent))
    return max(found)[1] if found else None


@functools.cache
def _code_digest() -> str:
    """Returns the hash of the code that makes tokens out of rows: nobody has to remember to raise a version."""
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in code_files())).hexdigest()


def code_files() -> list[Path]:
    """Returns the files of that code: all that rows and texts pass through. A test holds them complete."""
    here = Path(__file__).parents[1]
    names = (
        "card/split.py",
        "card/template.py",
        "card/fields.py",
        "card/transforms.py",
        "card/turns.py",
        "common/values.py",
        "common/functions.py",
        "common/hashing.py",
        "metrics/entities.py",
        "rendering/render.py",
        "card/codec.py",
        "rendering/fewshot.py",
        "rendering/training_rows.py",
        "common/vocabulary.py",
        "prepare/worker.py",
    )
    return [*(here / name for name in names), *sorted((here / "sources").glob("*.py"))]
