"""Files of ratings, as a page of `python -m eval rate` writes them: read whole, or refused in one line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eval.rating.sheet import Letter, Sheet
from t5x_tasks.common.errors import UserError

FORMAT = "flan-t5x ratings 1"
Verdict = Literal["left", "right", "both good", "both bad"]
Mark = Literal["made_up", "misses_who", "misses_agreed"]
MARKS: dict[Mark, str] = {
    "made_up": "makes something up",
    "misses_who": "misses who",
    "misses_agreed": "misses what was agreed",
}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Marks(_Part):
    left: list[Mark]
    right: list[Mark]


class RatedRow(_Part):
    """`verdict` is None of a row that was not rated."""

    id: str
    left: Letter
    verdict: Verdict | None
    marks: Marks

    def of(self, system: Letter) -> list[Mark]:
        """The marks of a system."""
        return self.marks.left if system == self.left else self.marks.right

    @property
    def preferred(self) -> Letter | None:
        """The system that the rater prefers; None of neither."""
        if self.verdict not in ("left", "right"):
            return None
        other: Letter = "B" if self.left == "A" else "A"
        return self.left if self.verdict == "left" else other


class Ratings(_Part):
    """One rater's file.

    Attributes:
      page, task, split, seed, systems, common, identical: of the page, see `Sheet`.
      rater: a name, if one was given.
      session: of the browser that rated: two files of one session are the same rater's.
    """

    format: Literal["flan-t5x ratings 1"]
    page: str
    task: str
    split: str
    seed: int
    systems: Annotated[list[str], Field(min_length=2, max_length=2)]
    common: int
    identical: int
    rater: str
    session: str
    rows: Annotated[list[RatedRow], Field(min_length=1)]

    @property
    def sheet(self) -> Sheet:
        first, second = self.systems
        rows: tuple[tuple[str, Letter], ...] = tuple((row.id, row.left) for row in self.rows)
        return Sheet(self.task, self.split, self.seed, (first, second), rows, self.common, self.identical)

    @property
    def rated(self) -> list[RatedRow]:
        return [row for row in self.rows if row.verdict is not None]


def read_ratings(paths: Sequence[Path]) -> list[Ratings]:
    """Reads the files of several raters of one page.

    Raises:
      UserError: a file is none of a page, was changed, holds no rating, or two are of different pages or of one rater.
    """
    read: list[tuple[Path, Ratings]] = []
    for path in paths:
        ratings = _read(path)
        for other_path, other in read:
            if other.page != ratings.page:
                raise UserError(
                    f"{path}: is of another page of ratings than {other_path} ({ratings.page}, {other.page}); compare files of "
                    "one page"
                )
            if other.session == ratings.session:
                raise UserError(f"{path}: is of the same rater as {other_path}; give the later one alone")
        read.append((path, ratings))
    return [ratings for _, ratings in read]


def _read(path: Path) -> Ratings:
    try:
        ratings = Ratings.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        what = f"{where}: {first['msg']}" if where else first["msg"]
        raise UserError(
            f"{path}: is no file of ratings ({what}); give what a page of `python -m eval rate` saved"
        ) from None
    if ratings.sheet.page != ratings.page:
        raise UserError(f"{path}: its rows or sides are not those of its page; give the file as the page saved it")
    if not ratings.rated:
        raise UserError(f"{path}: holds no rating yet; rate some rows, and download it again")
    return ratings
