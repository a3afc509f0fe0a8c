"""Runs of one configuration that differ in `train.seed` alone are one system, which answers with all its seeds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from eval.comparison.systems import System, name_and_folder


def grouped(systems: Sequence[System], folders: Sequence[str]) -> list[System]:
    """Makes one system of the seeds of one configuration, in the place of the first.

    Runs that were given two names stay two systems.

    Args:
      folders: as the user gave them: `DIR` or `NAME=DIR`.
    """
    names = {folder.resolve(): name for name, folder in map(name_and_folder, folders)}
    found: dict[str, list[System]] = {}
    for number, system in enumerate(systems):
        key = _configuration(system, names) or str(number)
        seeds = [seed_of(other) for other in found.get(key, ())]
        found.setdefault(key if seed_of(system) not in seeds else str(number), []).append(system)
    return [_together(members) for members in found.values()]


def seed_of(system: System) -> int | None:
    """`train.seed` of the run that a system belongs to; None where that is not known."""
    train = system.run.config.get("train") if system.run else None
    seed = train.get("seed") if isinstance(train, Mapping) else None
    return seed if isinstance(seed, int) else None


def caution(systems: Sequence[System]) -> str:
    """Says of which systems it is not known how much a seed matters; empty where that is known of all."""
    alone = [system.name for system in systems if not system.is_base and not system.seeds]
    if not alone or len(systems) < 2:
        return ""
    named = f"{', '.join(alone[:-1])} and {alone[-1]}" if len(alone) > 1 else alone[0]
    each = "each is" if len(alone) > 1 else "it is"
    return (
        f"Not known: how much another training seed would change {named}; {each} one run, or one set of answers. To know it, "
        "train with two other values of train.seed or more, and give all the runs."
    )


def _configuration(system: System, names: Mapping[Path, str]) -> str:
    """The key that the seeds of one configuration share; empty of a system that is of no run with a seed."""
    run = system.run
    if run is None or seed_of(system) is None or system.step is None or not system.answers:
        return ""
    config = {name: part for name, part in run.config.items() if name not in ("run_dir", "environment")}
    config["train"] = {name: part for name, part in config["train"].items() if name != "seed"}
    if isinstance(config.get("eval"), Mapping):
        config["eval"] = {name: part for name, part in config["eval"].items() if name != "output"}
    evaluation = next(iter(system.answers.values())).path.resolve().parents[1]
    places = (evaluation, evaluation.parent, run.folder.resolve())
    given = next((names[place] for place in places if place in names), "")
    decode = [answers.head.get("decode") for answers in system.answers.values()]
    return json.dumps([config, system.step, decode[0], given], sort_keys=True, default=str)


def _together(members: Sequence[System]) -> System:
    first = members[0]
    if len(members) == 1:
        return first
    answers = {key: found for member in reversed(members) for key, found in member.answers.items()}
    places = frozenset[tuple[Path, int]]().union(*(member.places for member in members))
    return replace(
        first, name=f"{first.name}, {len(members)} seeds", answers=answers, seeds=tuple(members), places=places
    )
