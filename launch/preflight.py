"""Checks that files which a run names on this machine are sent with the code, so that the run finds them where it goes.

Code goes as its commit (TPU VMs), or as this folder without what git ignores (an image, SkyPilot). There, what a run names is
relative to the code. Of folders of cards those that the run trains on are looked at, and their data only where the run has them
from nowhere else.
"""

import contextlib
import importlib.metadata
import itertools
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from t5x_tasks.card.card import Card
from t5x_tasks.card.catalog import load_catalog
from t5x_tasks.card.source import PythonSource
from t5x_tasks.common.config_files import read_yaml_mapping
from t5x_tasks.common.errors import UserError
from t5x_tasks.common.functions import file_of_module
from t5x_tasks.sources import locate
from train.config import Config

CODE = Path(__file__).resolve().parent.parent


_HINT = (
    "commit it (`git add --force` where git ignores it), or keep it in storage that the machines mount (--bucket, --claim, "
    "--mounted) and name it by its path there"
)


@dataclass(frozen=True)
class Sent:
    """The files that the machines will have.

    Attributes:
      code: the folder whose files are sent.
      committed: as its commit alone.
      mounted: folders of the machines' own, in which anything may be.
    """

    code: Path = CODE
    committed: bool = False
    mounted: Sequence[str] = ()

    def check(self, path: Path, config: Config) -> None:
        """Looks at a configuration's file and at everything that it names.

        Raises:
          UserError: something would not be there; the line says what names it, and what to do.
        """
        is_left_out = _committed(self.code) if self.committed else _ignored(self.code)
        why = "the commit" if self.committed else "the code (git ignores it)"
        for where, file in itertools.chain(self._configurations(path), self._named(config)):
            place = file.parent.resolve() / file.name  # of a link, which must be there, too
            if not place.is_relative_to(self.code) or not file.resolve().is_relative_to(self.code):
                raise UserError(
                    f"{where}: {file} is not part of the code that is sent; put it into {self.code.name}/ and {_HINT}"
                )
            if not file.exists():
                raise UserError(f"{where}: {file} is not there (what is sent is {self.code}); put it there and {_HINT}")
            for needed in (place, *_files(file.resolve())):
                if (needed.is_symlink() or not needed.is_dir()) and is_left_out(needed):
                    raise UserError(f"{where}: {needed.relative_to(self.code)} is not in {why} that is sent; {_HINT}")

    def _configurations(self, path: Path, seen: set[Path] | None = None) -> Iterator[tuple[str, Path]]:
        """The file of a run and those that it builds on, each once."""
        path = path / "config.yaml" if path.is_dir() else path
        seen = set() if seen is None else seen
        if path.resolve() in seen:
            return
        seen.add(path.resolve())
        yield str(path), path
        bases = read_yaml_mapping(path).get("base") or []
        for base in [bases] if isinstance(bases, str) else bases:
            if Path(base).is_absolute():
                raise UserError(f"{path}: base: {base} is a path of this machine; name it as seen from this file")
            yield from self._configurations(path.parent / base, seen)

    def _named(self, config: Config) -> Iterator[tuple[str, Path]]:
        data, start = config.data, config.method.model_dump().get("init")  # of a prompt
        files = {
            "model.weights": [] if config.model.weights == "random" else [config.model.weights],
            "model.vocabulary": [config.model.vocabulary],
            "method.init.path": [start["path"]] if isinstance(start, dict) and "path" in start else [],
            "data.root": [data.root] if data.root else [],
            "data.modules": [name for name in data.modules if name.endswith(".py")],
        }
        for where, names in files.items():
            yield from ((where, file) for file in self._in_code(where, names))
        yield from self._modules("method.type", [name for name in [str(config.method.type)] if ":" in name])
        yield from self._modules("eval.metrics", [name for name in config.eval.metrics if ":" in name])
        yield from self._modules("data.modules", [name for name in data.modules if not name.endswith(".py")])
        yield from (("t5x_tasks", file) for file in (self.code / "t5x_tasks").glob("*/*.yaml"))
        cards = list(self._in_code("data.cards", data.cards))
        yield from (("data.cards", path) for path in cards if not path.is_dir())
        elsewhere = data.root is not None or self._is_mounted(data.cache or "")
        for card in _trained_on(config, cards):
            if card.path.parent.parent != CODE / "t5x_tasks":  # what ships goes along
                yield "data.cards", card.path
                yield from self._of_card(card, with_data=not elsewhere, all_splits=data.dedupe or card.dedupe)

    def _of_card(self, card: Card, *, with_data: bool, all_splits: bool) -> Iterator[tuple[str, Path]]:
        where, folder = str(card.path.relative_to(self.code)), card.path.parent
        named = read_yaml_mapping(card.path).get("templates")
        if isinstance(named, str):  # a file beside the card, or one of ours
            beside = [folder / named, folder / f"{named}.yaml"]
            yield from ((f"{where}: templates", file) for file in beside if file.is_file() and file != card.path)
        specs = [*card.fields.values(), *([card.references] if card.references else [])]
        functions = [*card.metrics, *card.inverted_metrics, *(n for s in specs for n in (s.transform, s.codec) if n)]
        yield from self._modules(where, [name for name in functions if ":" in name])
        if isinstance(card.source, PythonSource):
            yield from self._modules(f"{where}: source.function", [card.source.function], folder=folder)
        for split in card.splits if with_data else ():
            if split != "test" or all_splits:  # training does not read it otherwise
                with contextlib.suppress(UserError):  # nor is it here
                    location = locate(card, split)
                    found = [*location.files, *([location.folder] if location.folder else [])]
                    yield from ((f"{where}: source", file) for file in found if not self._is_mounted(str(file)))

    def _in_code(self, where: str, names: Iterable[str]) -> Iterator[Path]:
        """Files and folders that must be with the code, without what the hub or the machines have."""
        for name in names:
            path = Path(name)
            if name.startswith("hf://") or self._is_mounted(name):
                continue
            if path.is_absolute() and not self.committed and not path.exists():
                continue  # an image may have it
            if name.startswith("~") or path.is_absolute():
                raise UserError(
                    f"{where}: {name} is a path of this machine; put it into {self.code.name}/, name it from there and {_HINT}"
                )
            yield self.code / name

    def _modules(self, where: str, names: Iterable[str], folder: Path = CODE) -> Iterator[tuple[str, Path]]:
        """The files of modules, without those of installed packages.

        Raises:
          UserError: a module is nowhere, and what is sent is a commit; an image may have it.
        """
        for name in names:
            module = name.partition(":")[0]
            file = file_of_module(module, folder=folder)
            if file is None and self.committed and not _is_installed(module):
                raise UserError(
                    f"{where}: {name}: there is no module {module}; put it into {self.code.name}/ and {_HINT}"
                )
            if file is not None and (file.resolve().is_relative_to(self.code) or not _is_installed(module)):
                yield f"{where}: {name}", file

    def _is_mounted(self, name: str) -> bool:
        return any(Path(name).is_relative_to(folder) for folder in self.mounted)


def _trained_on(config: Config, paths: Sequence[Path]) -> list[Card]:
    """The cards behind the tasks of a run. Of names that are no card's, such as plain SeqIO tasks, nothing is known."""
    catalog = load_catalog(paths)
    used: dict[str, Card] = {}
    for name in filter(None, (config.data.mixture, config.replay.mixture)):
        with contextlib.suppress(UserError):
            for task in catalog.members(name):
                used |= {card.name: card for card, _ in catalog.resolve(task)}
    return list(used.values())


def _is_installed(module: str) -> bool:
    package = module.partition(".")[0]
    return package in sys.stdlib_module_names or package in importlib.metadata.packages_distributions()


def _files(path: Path) -> Iterator[Path]:
    """The files below a folder that a run may read: not what tools hide there for themselves."""
    for file in path.iterdir() if path.is_dir() else ():
        if file.is_dir() and file.name != "__pycache__" and not file.name.startswith("."):
            yield from _files(file)
        elif file.is_file() and (not file.name.startswith(".") or file.name.startswith(".z")):  # .zarray
            yield file


def _committed(code: Path) -> Callable[[Path], bool]:
    """Whether a file is not in the commit."""
    listed = _git(code, "ls-tree", "-r", "-z", "--name-only", "HEAD")
    if listed is None:  # no checkout, which whoever sends the commit says
        return lambda _: False
    files = set(listed.split("\0"))
    return lambda file: file.relative_to(code).as_posix() not in files


def _ignored(code: Path) -> Callable[[Path], bool]:
    """Whether git ignores a file."""
    listed = _git(code, "ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z")
    files = {name.rstrip("/") for name in (listed or "").split("\0")}
    return lambda file: any(p.as_posix() in files for p in (file.relative_to(code), *file.relative_to(code).parents))


def _git(code: Path, *arguments: str) -> str | None:
    try:
        return subprocess.run(["git", *arguments], cwd=code, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
