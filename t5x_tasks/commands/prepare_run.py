"""The command `prepare`: all the token caches that a run's configuration asks for."""

import contextlib
import sys
from collections.abc import Sequence

from pydantic import BaseModel

from t5x_tasks.card.catalog import Catalog, load_catalog
from t5x_tasks.common.config_files import load
from t5x_tasks.common.vocabulary import DEFAULT, Vocabulary
from t5x_tasks.prepare.data_config import DataConfig
from t5x_tasks.prepare.ensure import Prepared, ensure_prepared
from t5x_tasks.prepare.user_tasks import MissingSplit

_WITHOUT_PROMPT = (
    "full",
    "lora",
    "ia3",
    "bottleneck",
    "word_embeddings",
)  # ways to fine-tune that leave the inputs alone


class _Model(BaseModel):
    vocabulary: str = DEFAULT


class _Evaluation(BaseModel):
    tasks: tuple[str, ...] = ()
    split: str = "validation"


class _Method(BaseModel):
    type: str = "full"


class _Run(BaseModel):
    """The part of a run's configuration that preparing needs; `train` checks the rest."""

    data: DataConfig = DataConfig()
    method: _Method = _Method()
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
    if _fits_later(run, [entry.task for entry in prepared], catalog):
        print(
            "templates with exemplars: data.lengths=auto or the method decides how many tokens exemplars may take, so training "
            "and evaluation prepare these anew when they start; keep the data within their reach",
            file=sys.stderr,
        )
    print(
        f"{len(prepared)} splits of {len({p.task for p in prepared})} tasks are prepared in {run.data.cache_folder()}"
    )
    return prepared


def _fits_later(run: _Run, tasks: Sequence[str], catalog: Catalog) -> bool:
    """Whether a run may fit exemplars to fewer tokens than are known here: to lengths it chooses, less its method's prompt."""
    shown = any(variant.shots for task in tasks if catalog.knows(task) for _, variant in catalog.resolve(task))
    return shown and (run.data.lengths == "auto" or run.method.type not in _WITHOUT_PROMPT)
