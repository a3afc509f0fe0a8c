"""What a run names on this machine: is it with the code that is sent, or would the run miss it where it goes?

Code goes as its commit (TPU VMs), or as this folder without what git ignores (an image, SkyPilot). There, what a run names is
relative to the code. The data of cards are looked at only where the run has them from nowhere else.
"""

import contextlib
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from t5x_tasks.card import Card
from t5x_tasks.catalog import card_files, load_catalog
from t5x_tasks.configuration import read_yaml_mapping
from t5x_tasks.errors import UserError
from t5x_tasks.functions import file_of_module
from t5x_tasks.sources import locate
from t5x_tasks.sources.models import PythonSource
from train.config import Config

CODE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Sent:
    """What the machines will have.

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
        needed: dict[Path, str] = {}
        for where, file in (*_configurations(path), *self._named(config)):
            if not file.resolve().is_relative_to(self.code):
                raise UserError(
                    f"{where}: {file} is not part of the code that is sent; put it into {self.code.name}/ and {_TODO}"
                )
            if not file.exists():
                raise UserError(f"{where}: {file} is not there (what is sent is {self.code}); put it there and {_TODO}")
            needed[file.resolve()] = where
        if missing := left_out(list(needed), self.code, committed=self.committed):
            where = next(where for file, where in needed.items() if (self.code / missing).is_relative_to(file))
            why = "the commit" if self.committed else "the code (git ignores it)"
            raise UserError(f"{where}: {missing} is not in {why} that is sent; {_TODO}")

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
        cards = [file for path in self._in_code("data.cards", data.cards) for file in card_files(path)]
        yield from (("data.cards", file) for file in cards)
        if cards and all(file.is_file() for file in cards):
            elsewhere = data.root is not None or self._is_mounted(data.cache or "")
            for card in load_catalog(cards).cards.values():
                if card.path in [file.resolve() for file in cards]:
                    yield from self._of_card(card, with_data=not elsewhere)

    def _of_card(self, card: Card, *, with_data: bool) -> Iterator[tuple[str, Path]]:
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
            with contextlib.suppress(UserError):  # nor is it here
                location = locate(card, split)
                found = [*location.files, *([location.folder] if location.folder else [])]
                yield from ((f"{where}: source", file) for file in found if not self._is_mounted(str(file)))

    def _in_code(self, where: str, names: Iterable[str]) -> Iterator[Path]:
        """Files and folders that must be with the code, without what the hub or the machines have."""
        for name in names:
            if name.startswith("hf://") or self._is_mounted(name):
                continue
            if name.startswith("~") or Path(name).is_absolute():
                raise UserError(
                    f"{where}: {name} is a path of this machine; put it into {self.code.name}/, name it from there and {_TODO}"
                )
            yield self.code / name

    def _modules(self, where: str, names: Iterable[str], folder: Path = CODE) -> Iterator[tuple[str, Path]]:
        """The files of modules, without those of installed packages."""
        for name in names:
            file = file_of_module(name.partition(":")[0], folder=folder)
            if file is not None and not {"site-packages", "dist-packages"} & set(file.parts):
                yield f"{where}: {name}", file

    def _is_mounted(self, name: str) -> bool:
        return any(Path(name).is_relative_to(folder) for folder in self.mounted)


_TODO = "commit it, or keep it in storage that the machines mount (/data of --bucket) and name it by its path there"


def left_out(files: Sequence[Path], code: Path, *, committed: bool) -> str | None:
    """The first file, at or below these, that does not go with the code; its path in there."""
    kind = [] if committed else ["--ignored", "--exclude-standard"]
    command = ["git", "ls-files", "--others", *kind, "-z", "--", *map(str, files)]
    try:
        listed = subprocess.run(command, cwd=code, capture_output=True, text=True).stdout
    except OSError:  # no git: nothing is ignored; who sends a commit has looked at it
        return None
    return listed.split("\0")[0] or None


def _configurations(path: Path) -> Iterator[tuple[str, Path]]:
    """The file of a run and those that it builds on."""
    path = path / "config.yaml" if path.is_dir() else path
    yield str(path), path
    bases = read_yaml_mapping(path).get("base") or []
    for base in [bases] if isinstance(bases, str) else bases:
        yield from _configurations(path.parent / base)
