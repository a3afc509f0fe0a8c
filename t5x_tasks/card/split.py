"""A card's key `split`: cuts the source's `train` into splits by a hash of what each row asks.

    split: {validation: 0.1, test: 0.1}     # train is what remains

Hashed are the texts of the fields that the templates ask about, without white space around them. So

- rows that ask the same are in the same split, whatever their answers and ids: no input of test is trained on;
- a row stays in its split when rows are added, removed or reordered, when an answer is corrected, and when columns change that
  no template asks about. A template that asks about another field cuts anew;
- every machine and every version of Python cuts alike, and no state is kept;
- cards that ask about the same texts cut them alike, so that no task is trained on what another is tested on.

Parts are as large as their fractions of the different inputs, on average. One of a few rows may have none, which is an error
where it is read.
"""

import hashlib
import json
from collections.abc import Sequence

from pydantic import Field, model_validator

from t5x_tasks.common.config_files import Section


class Split(Section):
    """Fractions of the source's `train` that become its other splits, by a hash of what each row asks; `train` keeps the rest."""

    validation: float | None = Field(
        default=None, gt=0, lt=1, description="fraction of the rows that is the validation split"
    )
    test: float | None = Field(default=None, gt=0, lt=1, description="fraction of the rows that is the test split")

    @model_validator(mode="after")
    def _leaves_rows(self) -> "Split":
        if not self.fractions:
            raise ValueError("split: names no split; write {validation: 0.1, test: 0.1}")
        if (total := sum(self.fractions.values())) >= 1:
            raise ValueError(f"split: the fractions sum to {total:g}, which leaves no rows for train; lower them")
        return self

    @property
    def fractions(self) -> dict[str, float]:
        """Split that is cut from train -> its fraction."""
        named = {"validation": self.validation, "test": self.test}
        return {split: fraction for split, fraction in named.items() if fraction is not None}

    def words(self, split: str) -> str:
        """Says which part of the source's train a split is: `10% of the source's train, by hash`."""
        fraction = self.fractions.get(split, 1 - sum(self.fractions.values()))
        return f"{100 * fraction:.3g}% of the source's train, by hash"

    def part_of(self, question: Sequence[str]) -> str:
        """Returns the split of the rows that ask a question. One fraction can change without moving rows of the other."""
        digest = hashlib.blake2b(json.dumps(list(question)).encode(), digest_size=8).digest()
        place = int.from_bytes(digest, "big") / 2**64  # uniform in [0, 1]
        if place < (self.test or 0):
            return "test"
        return "validation" if place >= 1 - (self.validation or 0) else "train"
