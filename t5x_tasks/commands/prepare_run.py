"""The command `prepare`: all the token caches that a run's configuration asks for."""

import contextlib

from pydantic import BaseModel

from t5x_tasks.catalog import load_catalog
from t5x_tasks.configuration import DataConfig, load
from t5x_tasks.modules import MissingSplit
from t5x_tasks.prepare import Prepared, ensure_prepared
from t5x_tasks.vocabulary import DEFAULT, Vocabulary


class _Model(BaseModel):
    vocabulary: str = DEFAULT


class _Evaluation(BaseModel):
    tasks: tuple[str, ...] = ()
    split: str = "validation"


class _Run(BaseModel):
    """The part of a run's configuration that preparing needs; `train` checks the rest."""

    data: DataConfig = DataConfig()
    model: _Model = _Model()
    eval: _Evaluation = _Evaluation()


def prepare_run(config: str, overrides: list[str]) -> list[Prepared]:
    """Prepares all that a run reads: training and validation tokens of its mixture, and what it is evaluated on.

    Raises:
      UserError: the configuration is wrong; see also `ensure_prepared`.
    """
    run = load(config, overrides, _Run)
    vocabulary = Vocabulary.load(run.model.vocabulary)
    mixture, catalog = run.data.mixture, load_catalog(run.data.cards)
    prepared = ensure_prepared(mixture, "train", data=run.data, vocabulary=vocabulary, catalog=catalog)
    plain = bool(run.data.modules) and not catalog.knows(mixture)
    if plain or any("validation" in card.splits for card, _ in catalog.resolve(mixture)):
        with contextlib.suppress(MissingSplit):
            prepared += ensure_prepared(
                mixture, "validation", data=run.data, vocabulary=vocabulary, catalog=catalog, optional=True
            )
    names = run.eval.tasks or mixture
    prepared += ensure_prepared(
        names, run.eval.split, data=run.data, vocabulary=vocabulary, text=True, catalog=catalog, optional=True
    )
    print(
        f"{len(prepared)} splits of {len({p.task for p in prepared})} tasks are prepared in {run.data.cache_folder()}"
    )
    return prepared
