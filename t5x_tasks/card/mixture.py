"""Mixtures: YAML files that say which data sets are learned together, and how much of each.

    name: multitask
    rate: examples            # | temperature | weights | equal
    cap: 30000                # no member counts for more than so many examples
    members: [dialogue_summarization, wnut17, {name: samsum.inverted, weight: 0.1}]

A member is a data set (`dialogsum`), its inverted templates (`dialogsum.inverted`), a single task (`dialogsum.t00`) or
another mixture, whose own rule divides what it gets.

References: Raffel et al. 2020 (arXiv 1910.10683), section 3.5.2, for examples-proportional mixing with a cap and for
temperatures; Longpre et al. 2023 (arXiv 2301.13688) for the weights of the Flan collection.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, model_validator

from t5x_tasks.card.card import Name
from t5x_tasks.common.config_files import Section
from t5x_tasks.common.located_yaml import Lines, validate

Rule = Literal["examples", "temperature", "weights", "equal"]


class Member(Section):
    """One part of a mixture."""

    name: str = Field(description="data set, mixture, or a template's task")
    weight: float = Field(
        default=1.0,
        gt=0,
        allow_inf_nan=False,
        description="with `rate: weights` its share; otherwise a factor on what the rule gives it",
    )


class Mixture(Section):
    """Data sets that are learned together."""

    name: Name = Field(description="name of the mixture")
    description: str = Field(default="", description="what the mixture is, for `list` and `show`")
    rate: Rule = Field(
        default="examples",
        description="`examples`: as many as each member has, up to `cap`; `temperature`: those numbers to the power "
        "1 / temperature; `weights`: the members' weights; `equal`: the same of each",
    )
    cap: int | None = Field(
        default=None, ge=1, description="examples that a member counts for, at most; null: no limit"
    )
    temperature: float = Field(
        default=2.0, ge=1, allow_inf_nan=False, description="1 is `examples`, infinity would be `equal`"
    )
    members: Annotated[tuple[Member, ...], Field(min_length=1)] = Field(
        description="names of data sets, mixtures or single templates, or `{name: NAME, weight: 3}`"
    )
    path: Path = Field(default=Path(), exclude=True)  # of its own file

    @model_validator(mode="before")
    @classmethod
    def _names_are_members(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("members"), list):
            return values | {"members": [{"name": m} if isinstance(m, str) else m for m in values["members"]]}
        return values

    @model_validator(mode="after")
    def _is_coherent(self) -> "Mixture":
        if self.rate == "weights":
            for number, member in enumerate(self.members):
                if "weight" not in member.model_fields_set:
                    raise ValueError(f"members.{number}: {member.name} needs a weight, for the rate is by weights")
        if self.rate != "temperature" and "temperature" in self.model_fields_set:
            raise ValueError(f"temperature: says nothing with rate: {self.rate}; remove it, or write rate: temperature")
        return self

    def divide(self, examples: Sequence[float]) -> list[float]:
        """Divides an epoch among the members.

        Args:
          examples: how many each member brings by itself, [members].

        Returns:
          How many of each an epoch holds, [members]. Together as many as the members bring within `cap`, whatever the
          rule: an epoch of a mixture is as long as reading (nearly) everything once.
        """
        capped = [min(n, self.cap) if self.cap else n for n in examples]
        if self.rate == "examples":
            return [n * member.weight for n, member in zip(capped, self.members, strict=True)]
        power = 1 / self.temperature if self.rate == "temperature" else 0
        masses = [member.weight * n**power if n else 0.0 for n, member in zip(capped, self.members, strict=True)]
        return [sum(capped) * mass / (sum(masses) or 1) for mass in masses]


def mixture_from(values: dict[str, Any], lines: Lines, path: Path) -> Mixture:
    """Makes a mixture of what `read_yaml` gave.

    Raises:
      UserError: with file and line.
    """
    adapter = TypeAdapter(Mixture)
    return validate(adapter, {**values, "path": path}, path, lines, known_keys=_known_keys)


def _known_keys(loc: tuple[Any, ...]) -> list[str]:
    fields = (Member if len(loc) > 1 else Mixture).model_fields
    return [name for name, field in fields.items() if not field.exclude]
