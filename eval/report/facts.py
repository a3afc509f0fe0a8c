"""Cost beside quality: size and speed of each system, its decoding, and where it comes from, as far as files tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from eval.comparison.seeds import seed_of
from eval.comparison.systems import System
from eval.comparison.task import Comparison
from eval.report import view
from eval.scoring.made import read_made

_UNKNOWN = "–"
_MOST_SCORES = 3  # columns beside the cost


@dataclass(frozen=True)
class Facts:
    """One system; numbers are texts, a dash where no file tells.

    Attributes:
      scores: task and score -> value with its interval, of the first tasks.
      cost: heading -> value: parameters and speeds.
      origin: heading -> text: decoding, weights, training, evaluation; only what is known.
    """

    name: str
    scores: Mapping[str, view.Cell]
    cost: Mapping[str, str]
    origin: Mapping[str, str]


def facts(systems: Sequence[System], comparisons: Sequence[Comparison]) -> list[Facts]:
    """All systems, with the main scores of the first comparisons."""
    shown = [comparison for comparison in comparisons if comparison.main][:_MOST_SCORES]
    return [Facts(s.name, _scores(s, shown), _cost(s), _origin(s)) for s in systems]


def _scores(system: System, comparisons: Sequence[Comparison]) -> dict[str, view.Cell]:
    found = {}
    for comparison in comparisons:
        score = comparison.main or ""
        heading = f"{comparison.task}, {score}"
        names = [one.name for one in comparison.systems]
        if system.name in names:
            found[heading] = view.cell(comparison.intervals[names.index(system.name)].get(score), score)
        else:
            found[heading] = view.Cell(_UNKNOWN)
    return found


def _cost(system: System) -> dict[str, str]:
    made = _made(system)
    decoded = [found for one in made if isinstance(found := one.get("decoded"), dict)]
    rows, tokens, seconds = (sum(_number(one.get(key)) for one in decoded) for key in ("rows", "tokens", "seconds"))
    last = made[-1] if made else {}
    return {
        "parameters trained": _size(last.get("trained_parameters")) if system.step else _UNKNOWN,
        "parameters in all": _size(last.get("parameters")),
        "training, tokens/s": _rate(_training_speed(system)) if system.step else _UNKNOWN,
        "decoding, rows/s": _rate(rows / seconds) if seconds else _UNKNOWN,
        "decoding, tokens/s": _rate(tokens / seconds) if seconds else _UNKNOWN,
    }


def _origin(system: System) -> dict[str, str]:
    head = next(iter(system.answers.values())).head if system.answers else {}
    decode = head.get("decode")
    last = next(iter(_made(system)[::-1]), {})
    found = {
        "decoding": ", ".join(f"{k} {v}" for k, v in decode.items()) if isinstance(decode, dict) else "not known",
        "weights": system.weights,
        "trained": _training(system) if system.step else "",
        "evaluated" if system.step is not None else "scored": _evaluation(last),
        "command": str(last.get("command") or ""),
    }
    return {heading: text for heading, text in found.items() if text}


def _training(system: System) -> str:
    if system.run is None:
        return ""
    config = system.run.config
    environment = _section(config, "environment")
    parts = [
        f"method {_section(config, 'method').get('type', 'full')}",
        f"on {system.run.mixture}" if system.run.mixture else "",
        f"seed{'s' * bool(system.seeds)} {seeds}" if (seeds := _seeds(system)) else "",
        str(environment.get("devices") or ""),
        f"commit {commit}" if (commit := _commit(environment.get("git_revision"))) else "",
    ]
    return ", ".join(part for part in parts if part)


def _evaluation(made: Mapping[str, Any]) -> str:
    parts = [
        str(made.get("date") or "").replace("T", " ").replace("Z", " UTC"),
        str(made.get("device") or ""),
        f"commit {commit}" if (commit := _commit(made.get("commit"))) else "",
    ]
    return ", ".join(part for part in parts if part)


def _made(system: System) -> list[dict[str, Any]]:
    """The content of made.json for each of a system's tasks, the latest last."""
    members = system.seeds or (system,)
    found = [read_made(answers.path.parent) for member in members for answers in member.answers.values()]
    return sorted((one for one in found if one), key=lambda one: str(one.get("date")))


def _training_speed(system: System) -> float:
    """Middle of the logged tokens per second, which neither compiling nor a slow start moves."""
    runs = [member.run for member in system.seeds or (system,) if member.run]
    speeds = [_number(row.get("tokens_per_s")) for run in runs for row in run.log]
    return median(speeds) if any(speeds) else 0.0


def _seeds(system: System) -> str:
    return ", ".join(str(seed) for member in system.seeds or (system,) if (seed := seed_of(member)) is not None)


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = config.get(name)
    return found if isinstance(found, Mapping) else {}


def _commit(revision: Any) -> str:
    commit, plus, changes = str(revision or "").partition("+")
    return f"{commit[:12]}{plus}{changes}"


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e18 else 0.0


def _rate(per_s: float) -> str:
    return (f"{per_s:,.1f}" if per_s < 100 else f"{per_s:,.0f}") if per_s else _UNKNOWN


def _size(count: Any) -> str:
    number = _number(count)
    if not number:
        return _UNKNOWN
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.3g}\N{NO-BREAK SPACE}{name}"
    return f"{number:.0f}"
