"""The plan of an evaluation: configuration, checkpoints, folders; checked before anything costs time."""

from dataclasses import dataclass
from pathlib import Path

from eval.examples import task_names
from t5x_tasks.card.catalog import Catalog, load_catalog
from t5x_tasks.common.errors import UserError
from train import config as configuration
from train.config import Config, EvalConfig

DEFAULT_STEPS = EvalConfig.model_fields["steps"].default


@dataclass(frozen=True)
class Plan:
    """An evaluation.

    Attributes:
      config: model and data of the run, if there is one.
      run_dir: folder whose `checkpoints` are evaluated.
      steps: of the checkpoints; 0 is the model before training.
      tasks: names of tasks and mixtures; plain SeqIO mixtures (data.modules) stand for their tasks.
      output: OUTPUT/<step>/metrics.json is written.
      remark: what someone who asked for this may not expect; may be empty.
    """

    config: Config
    run_dir: Path
    steps: list[int]
    tasks: list[str]
    output: Path
    remark: str = ""

    def weights(self, step: int) -> str:
        """Where the weights of a step come from, as metrics.json says it."""
        if step:
            return str(self.run_dir / "checkpoints" / str(step))
        model, seed = self.config.model, self.config.train.seed
        return f"random (seed {seed})" if model.weights == "random" else model.weights

    def describe(self) -> str:
        settings = self.config.eval
        rows = f"first {settings.limit} rows" if settings.limit else "all rows"
        lines = [f"tasks    {', '.join(self.tasks)} ({rows} of {settings.split})"]
        lines += [f"step     {step}: {self.weights(step)} -> {self.output / str(step)}" for step in self.steps]
        decode = ", ".join(f"{key} {value}" for key, value in settings.decode.in_words().items())
        lines += [f"decode   {decode}", *([f"note     {self.remark}"] if self.remark else [])]
        return "\n".join(lines)


def load_config(path: str, overrides: list[str]) -> tuple[Config, Path]:
    """Loads a configuration file or that of a run directory; returns it with the run's directory.

    Where the run exists already, the model, its data and its training are those of the run's own config.yaml; the
    evaluation is that of the file. Overrides win over both.

    Raises:
      UserError: see `train.config.load`.
    """
    config = configuration.load(path, overrides)
    if Path(path).is_dir():
        return config, Path(path)
    run_dir = Path(config.run_dir)
    if (run_dir / "config.yaml").is_file():
        run = configuration.load(run_dir, overrides)
        parts = ("model", "data", "method", "train", "environment")
        config = config.model_copy(update={name: getattr(run, name) for name in parts})
    return config, run_dir


def make_plan(config: Config, run_dir: Path) -> Plan:
    """Finds the tasks and checkpoints that are meant.

    Raises:
      UserError: no such task, or no such checkpoint.
    """
    catalog = load_catalog(config.data.cards)
    tasks = task_names(config.eval.tasks or (config.data.mixture,), config.eval.split, catalog, config.data.modules)
    output = Path(config.eval.output) if config.eval.output else run_dir / "eval"
    steps = find_steps(config.eval.steps, run_dir)
    return Plan(config, run_dir, steps, tasks, output, _beside_training(config, tasks, catalog) if any(steps) else "")


def _beside_training(config: Config, tasks: list[str], catalog: Catalog) -> str:
    """Says so if nothing is scored that was trained on, as where a file's eval.tasks stayed while data.mixture was another."""
    mixture = config.data.mixture
    if not all(map(catalog.knows, (mixture, *tasks))):
        return ""
    replayed = (config.replay.mixture,) if config.replay.mixture and config.replay.rate else ()
    trained = [mixture, *filter(catalog.knows, replayed)]
    if {card.name for card, _ in catalog.resolve(trained)} & {card.name for card, _ in catalog.resolve(tasks)}:
        return ""
    named = ", ".join(tasks[:3]) + " ..." * (len(tasks) > 3)
    return (
        f"eval.tasks: {named}: this run trained on none of it; eval.tasks=[{mixture}] scores what it trained on, where that "
        f"has a split {config.eval.split}"
    )


def find_steps(wanted: tuple[int | str, ...], run_dir: Path) -> list[int]:
    """The checkpoints that are meant, ascending; 0 is the model before training. UserError: there is no such one."""
    if set(wanted) == {0}:
        return [0]
    from train.parallel import processes
    from train.selection import read_checkpoints

    processes.initialize()  # Orbax asks JAX for this process's number
    with read_checkpoints(run_dir) as checkpoints:
        saved = checkpoints.steps()
        if not saved and wanted == DEFAULT_STEPS:
            return [0]  # nobody asked for more than there is: bare weights, or a run before its first checkpoint
        if not saved:
            raise UserError(
                f"eval.steps: {run_dir / 'checkpoints'} holds no checkpoint; train first, or eval.steps=[0]"
            )
        named = {"latest": saved[-1], "best": checkpoints.best_step()}
    steps = []
    for name in wanted:
        step = named[name] if isinstance(name, str) else name
        if step is None:
            raise UserError(
                f"eval.steps: best: no checkpoint of {run_dir} has what ranks them (checkpoint.best); name a step"
            )
        if step and step not in saved:
            raise UserError(
                f"eval.steps: {step}: {run_dir / 'checkpoints'} has no such checkpoint; there are {', '.join(map(str, saved))}"
            )
        steps.append(step)
    return sorted(set(steps))
