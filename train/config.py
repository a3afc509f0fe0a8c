"""The configuration of a run: every key, its type, its default and what it means. Plain pydantic, imports no JAX."""

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PositiveInt,
    SerializeAsAny,
    WithJsonSchema,
    model_validator,
)

from t5x_tasks.common import config_files as configuration
from t5x_tasks.common.config_files import Folder, OneLine, Section
from t5x_tasks.common.errors import UserError
from t5x_tasks.metrics import check_metric_name
from t5x_tasks.prepare.data_config import DataConfig
from train.methods import METHODS, Full, Method, parse_method
from train.model.presets import PRESETS, PresetName, Remat
from train.regularizer import NoRegularizer, Regularizer, ReplayConfig

# Far above what anybody trains: more is a slip, and would ask for memory that no machine has.
Width = Annotated[int, Field(ge=1, le=2**20)]


Layers = Annotated[int, Field(ge=1, le=1000)]


Rows = Annotated[int, Field(ge=1, le=2**18)]  # of a batch


Axis = Annotated[int, Field(le=2**20)]


_REMAT_SCHEMA = {"enum": ["none", "selected", "layer", True, False]}


def _remat_name(value: Any) -> Any:
    return {True: "layer", False: "none"}[value] if isinstance(value, bool) else value


class ModelConfig(Section):
    """Shape, initial weights, vocabulary and numerics of the model. A size that is given wins over the preset's."""

    preset: PresetName = Field(default="flan-t5-base", description="published shape that the sizes below start from")
    weights: OneLine = Field(
        default="random",
        description="hf://ID or hf://ID@REVISION, a Hugging Face directory, a T5X checkpoint, one of our runs, or `random`",
    )
    vocabulary: OneLine = Field(
        default="hf://google/flan-t5-base",
        description="hf://ID or hf://ID@REVISION, or the path of a SentencePiece model",
    )
    vocab_size: PositiveInt | None = Field(
        default=None,
        le=2**22,
        description="rows of the embedding; null: 32,128 for flan-t5-*, else the vocabulary's size padded to 128",
    )
    emb_dim: Width | None = Field(default=None, description="size of the embedding; null: the preset's")
    mlp_dim: Width | None = Field(default=None, description="hidden units of each MLP; null: the preset's")
    num_heads: Width | None = Field(default=None, description="attention heads per layer; null: the preset's")
    head_dim: Width | None = Field(default=None, description="size of each attention head; null: the preset's")
    num_encoder_layers: Layers | None = Field(default=None, description="layers of the encoder; null: the preset's")
    num_decoder_layers: Layers | None = Field(default=None, description="layers of the decoder; null: the preset's")
    compute_dtype: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="of matrix products; auto: bfloat16 on GPU and TPU, float32 on CPU",
    )
    param_dtype: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="of kernels, embedding and head as they are kept. float32 are the master weights of what is computed in "
        "bfloat16; bfloat16: half their memory, with stochastic rounding (optimizer state stays float32)",
    )
    remat: Annotated[Remat, BeforeValidator(_remat_name), WithJsonSchema(_REMAT_SCHEMA)] = Field(
        default="none",
        description="what the backward pass computes anew, for less memory. layer: all of each layer, a third more FLOPs; "
        "selected: all but attention and products with weights, nearly no FLOPs; true: layer, false: none",
    )
    scan_layers: bool = Field(
        default=True,
        description="the layers of a stack are a loop in the program, which compiles as fast for 24 as for 2; false: they are "
        "written out, so that nothing is copied into and out of what a loop keeps for its backward pass",
    )
    attention: Literal["auto", "xla", "rows", "cudnn", "tokamax", "pallas"] = Field(
        default="auto",
        description="what computes attention; auto: the device's fused kernel (on GPUs in bfloat16 tokamax, if installed, or "
        "cudnn; on TPUs pallas) where it agrees with xla in value and gradients, rows (xla, one row of the batch at a time) on a "
        "single CPU, otherwise xla",
    )

    def sizes(self) -> dict[str, int]:
        names = ("emb_dim", "mlp_dim", "num_heads", "head_dim", "num_encoder_layers", "num_decoder_layers")
        preset = dict(zip(names, PRESETS[self.preset], strict=True))
        return {name: getattr(self, name) or preset[name] for name in names}


def _default_type(name: str) -> BeforeValidator:
    """Lets `eval.decode.beams=2` stand alone: a section without a `type` is of the default type."""
    return BeforeValidator(lambda value: {"type": name, **value} if isinstance(value, dict) else value)


class Schedule(Section):
    """Learning rate over the steps: linear warm-up to the peak, then the named course."""

    type: Literal["constant", "linear", "cosine", "rsqrt"] = Field(
        default="constant",
        description="after the warm-up: flat; linear or half a cosine down to `end_factor`; peak*sqrt(warmup/step)",
    )
    warmup_steps: int = Field(default=0, ge=0, description="steps in which the rate rises linearly from 0 to its peak")
    end_factor: float = Field(default=0.0, ge=0, le=1, description="share of the peak that is left at the last step")


class AdafactorConfig(Section):
    """Adafactor (Shazeer & Stern 2018, arXiv 1804.04235); what T5 and FLAN-T5 were trained with."""

    type: Literal["adafactor"] = "adafactor"
    learning_rate: float = Field(
        default=1e-3, gt=0, description="relative to the RMS of each parameter (its section 8)"
    )
    schedule: Schedule = Schedule()
    decay_rate: float = Field(default=0.8, gt=0, lt=1, description="beta2 at step t is 1 - t^-decay_rate")
    multiply_by_parameter_scale: bool | None = Field(
        default=None,
        description="whether learning_rate is relative; null: not for what a method adds, which may start at zero, where a "
        "relative rate hardly moves it",
    )


class AdamWConfig(Section):
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101); norms' scales are not decayed."""

    type: Literal["adamw"] = "adamw"
    learning_rate: float = Field(default=1e-4, gt=0, description="peak of the learning rate, absolute")
    schedule: Schedule = Schedule()
    b1: float = Field(default=0.9, ge=0, lt=1, description="decay of the first moment, per step")
    b2: float = Field(default=0.999, ge=0, lt=1, description="decay of the second moment, per step")
    eps: float = Field(default=1e-8, gt=0, description="added to the root of the second moment")
    weight_decay: float = Field(default=0.0, ge=0, description="decoupled decay, times the learning rate, per step")


class SkipConfig(Section):
    """Skips updates with a non-finite loss or gradient, or a loss spike; see train/skip_rule.py."""

    spike: float | None = Field(
        default=10.0,
        gt=0,
        description="standard deviations above the running mean (one counts at least a tenth of the mean, and 0.1); null: never",
    )
    max_in_a_row: PositiveInt = Field(default=5, description="so many in a row end the run")
    max_in_all: PositiveInt = Field(default=50, description="so many of a whole run end it")


class TrainConfig(Section):
    """How long, on how much at once, and with which loss."""

    steps: PositiveInt | None = Field(default=None, description="optimizer updates; or say `epochs`")
    epochs: PositiveInt | None = Field(
        default=None, le=1_000_000, description="passes over the mixture; the last batch is filled with padding"
    )
    batch_size: Rows = Field(default=64, description="packed rows per update, over all devices")
    grad_accumulation: PositiveInt = Field(
        default=1,
        description="parts that a batch is computed in; changes memory, and the update only through dropout's masks",
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="decides data order, dropout and what starts at random")
    dropout: float = Field(default=0.05, ge=0, lt=1, description="probability that an activation is dropped")
    z_loss: float = Field(default=1e-4, ge=0, description="weight of log(Z)^2 (Shazeer et al. 2018); 0 turns it off")
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="probability that the loss spreads evenly over the vocabulary"
    )
    clip_norm: float | None = Field(
        default=1.0, gt=0, description="global norm that gradients are clipped to; null: not clipped"
    )
    skip: SkipConfig = SkipConfig()
    stuck_after_s: float = Field(
        default=1800,
        gt=0,
        le=1_000_000_000,
        description="a run whose step takes longer writes its stacks and exits; above compiling and saving",
    )
    validation_examples: int = Field(
        default=512, ge=0, description="rows of the validation split whose loss is measured at each checkpoint; 0: none"
    )

    @model_validator(mode="after")
    def _one_length(self) -> "TrainConfig":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give exactly one of steps and epochs (set the other to null)")
        return self


class MeshConfig(Section):
    """Devices along each axis of the mesh. One of them may be -1: what is left."""

    data: Axis = Field(default=-1, description="copies of the model, each with its part of the batch")
    fsdp: Axis = Field(
        default=1, description="parts that parameters and optimizer state are cut into; each with its part of the batch"
    )
    tensor: Axis = Field(default=1, description="parts that heads, MLP and vocabulary are cut into")
    slices: Annotated[int, Field(ge=1, le=2**20)] | Literal["auto"] = Field(
        default="auto",
        description="groups of devices with fast links inside and slow ones between (TPU slices, nodes); only `data` goes "
        "across. auto: as many as JAX sees",
    )

    @model_validator(mode="after")
    def _axes(self) -> "MeshConfig":
        axes = (self.data, self.fsdp, self.tensor)
        if any(axis == 0 or axis < -1 for axis in axes) or axes.count(-1) > 1:
            raise ValueError("each axis is a number of devices, 1 or more; at most one may be -1 (what is left)")
        return self


def _task_score(text: str) -> str:
    if not re.fullmatch(r"[^/]+/[^/]+", text):
        raise ValueError(f"must be TASK/SCORE, as support_chats/rougeL, not {text!r:.80}")
    return text


class CheckpointConfig(Section):
    """When checkpoints are written, and which are kept."""

    every_steps: PositiveInt = Field(default=500, description="steps between two checkpoints")
    keep_latest: PositiveInt = Field(default=2, description="newest checkpoints that are kept")
    keep_best: int = Field(default=1, ge=0, description="kept besides, by `best`")
    best: Annotated[str, AfterValidator(_task_score)] | None = Field(
        default=None,
        description="what ranks checkpoints: TASK/SCORE, as support_chats/rougeL, of `python -m eval RUN_DIR --follow`, which "
        "must run beside the training; null: the validation loss",
    )
    best_is: Literal["highest", "lowest"] = Field(default="highest", description="of the task's score")
    patience: PositiveInt | None = Field(
        default=None, description="end when so many checkpoints in a row are no better than the best before them"
    )


class _DecodeConfig(Section):
    """How long an output may be and what it may not say, with the meaning that Hugging Face gives to these settings."""

    max_tokens: PositiveInt = Field(default=128, le=16_384, description="new tokens, with the end-of-sequence token")
    min_tokens: int = Field(default=0, ge=0, description="new tokens before the end-of-sequence token may come")
    repetition_penalty: float = Field(
        default=1.0, gt=0, description="divides positive, multiplies negative scores of tokens that were said before"
    )
    no_repeat_ngram: int = Field(
        default=0, ge=0, le=1000, description="no n-gram of this length comes twice; 0: any may"
    )
    forbidden: tuple[str | int, ...] = Field(
        default=(), description="texts, as the vocabulary splits them at the start of a word, or ids of tokens"
    )

    @model_validator(mode="after")
    def _room_to_end(self) -> Self:
        if self.min_tokens >= self.max_tokens and self.min_tokens:
            raise ValueError(f"min_tokens={self.min_tokens} must be below max_tokens={self.max_tokens}")
        return self

    def restricts(self) -> bool:
        """Whether anything but the length is asked for that changes scores of tokens."""
        return bool(self.min_tokens or self.repetition_penalty != 1 or self.no_repeat_ngram or self.forbidden)

    def in_words(self) -> dict[str, Any]:
        """The settings as metrics.json says them, without restrictions that are off."""
        optional = _DecodeConfig.model_fields.keys() - {"max_tokens"}
        values = self.model_dump(mode="json")
        default = _DecodeConfig().model_dump(mode="json")
        kept = {key: value for key, value in values.items() if key not in optional or value != default[key]}
        return {"type": kept.pop("type"), **kept}


class GreedyConfig(_DecodeConfig):
    """The most likely token at each step."""

    type: Literal["greedy"] = "greedy"


class BeamConfig(_DecodeConfig):
    """Beam search with the meaning that Hugging Face gives to its settings."""

    type: Literal["beam"] = "beam"
    beams: int = Field(default=4, ge=1, le=64, description="hypotheses that are kept per example")
    length_penalty: float = Field(default=1.0, description="scores are divided by length to this power")
    early_stopping: bool | Literal["never"] = Field(
        default=False,
        description="when an example ends; true: at `beams` finished hypotheses; false: when no running one beats them at its "
        "present length; never: nor at any length up to max_tokens",
    )


class SampleConfig(_DecodeConfig):
    """Draws each token; first the restrictions apply, then temperature, then top_k, then top_p, as in Hugging Face's."""

    type: Literal["sample"] = "sample"
    temperature: float = Field(default=1.0, gt=0, description="what the logits are divided by")
    top_k: int = Field(default=0, ge=0, description="draw among the k most likely tokens; 0: among all")
    top_p: float = Field(
        default=1.0, gt=0, le=1, description="draw among the most likely tokens that together have this probability"
    )
    samples: int = Field(default=1, ge=1, le=64, description="outputs of each example; the first one is scored")
    seed: int = Field(default=0, ge=0, lt=2**31, description="with an example's id it decides the example's outputs")


DecodeConfig = GreedyConfig | BeamConfig | SampleConfig


def _metric_name(name: str) -> str:
    check_metric_name(name)
    return name


class ProbeConfig(Section):
    """The contrastive probe of summarization tasks, see eval/diagnostics/probe.py."""

    limit: int = Field(default=100, ge=0, description="first rows that are probed; 0: none")


class EvalConfig(Section):
    """How a run is decoded and scored."""

    tasks: tuple[str, ...] = Field(
        default=(),
        description="tasks and mixtures to score; `dialogsum.*`: each variant on all rows; empty: the mixture trained on",
    )
    split: str = Field(default="validation", description="split that is decoded and scored")
    metrics: Annotated[tuple[Annotated[str, AfterValidator(_metric_name)], ...], Field(min_length=1)] = Field(
        default=("rouge",), description="of plain SeqIO tasks (data.modules); cards have their own"
    )
    limit: PositiveInt | None = Field(default=None, description="first rows of the split")
    steps: tuple[int | Literal["latest", "best"], ...] = Field(
        default=(0, "latest"), description="checkpoints to score; 0 is the model before training"
    )
    batch_size: Rows = Field(default=32, description="examples decoded at once, over all devices")
    decode: Annotated[DecodeConfig, Field(discriminator="type"), _default_type("beam")] = BeamConfig()
    output: Folder | None = Field(default=None, description="folder in place of RUN_DIR/eval")
    probe: ProbeConfig = ProbeConfig()
    bootstrap_samples: PositiveInt = Field(
        default=2000, le=1_000_000, description="resamples behind intervals and tests"
    )

    def settings(self) -> dict[str, Any]:
        """The settings that scores depend on besides model and data; only scores of the same settings compare."""
        return {"split": self.split, "limit": self.limit, "decode": self.decode.in_words()}

    def scores_file(self, folder: Path) -> Path:
        """Where an evaluation's folder keeps the scores of these settings; those in metrics.json are of the last evaluation."""
        digest = hashlib.sha256(json.dumps(self.settings(), sort_keys=True).encode()).hexdigest()
        return folder / f"scores-{digest[:8]}.json"


class LoggingConfig(Section):
    """Where metrics of the training go."""

    every_steps: PositiveInt = Field(default=20, description="steps between two rows of metrics.jsonl")
    tensorboard: bool = Field(default=True, description="write events for TensorBoard too")
    tracker: Literal["wandb", "trackio"] | None = Field(
        default=None, description="besides; its package must be installed"
    )
    project: str = Field(default="flan-t5x", description="the tracker's")


class ProfileConfig(Section):
    """Steps that JAX's profiler records; see train/rundir/profiler.py."""

    start: PositiveInt = Field(default=20, description="the first step; later than compiling")
    steps: PositiveInt = Field(default=5, description="steps that are recorded")


class Config(Section):
    """A run, as the files of configs/ describe it."""

    run_dir: Folder = Field(description="folder of the run: its checkpoints, metrics and evaluations")
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    method: Annotated[SerializeAsAny[Method], BeforeValidator(parse_method)] = Full()
    regularizer: Annotated[Regularizer, Field(discriminator="type"), _default_type("none")] = NoRegularizer()
    replay: ReplayConfig = ReplayConfig()
    optimizer: Annotated[AdafactorConfig | AdamWConfig, Field(discriminator="type"), _default_type("adafactor")] = (
        AdafactorConfig()
    )
    train: TrainConfig = TrainConfig(steps=1000)
    mesh: MeshConfig = MeshConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    eval: EvalConfig = EvalConfig()
    logging: LoggingConfig = LoggingConfig()
    profile: ProfileConfig | None = Field(default=None, description="`{start: 20, steps: 5}`")
    environment: dict[str, Any] | None = Field(
        default=None, description="written by us: versions, git revision, devices"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "Config":
        if self.train.batch_size % self.train.grad_accumulation:
            raise ValueError(
                f"train.batch_size={self.train.batch_size} is no multiple of "
                f"train.grad_accumulation={self.train.grad_accumulation}"
            )
        self.replay.rows(self.train.batch_size)
        if self.regularizer.type == "ewc" and self.replay.mixture is None:
            raise ValueError("regularizer.type=ewc needs replay.mixture, the tasks to keep; replay.rate may stay 0")
        return self


def load(path: str | Path, overrides: list[str]) -> Config:
    """Loads a configuration file, or the configuration of a run when the path is a run directory."""
    path = Path(path)
    if path.is_dir():
        path = path / "config.yaml"
        if not path.is_file():
            raise UserError(f"{path.parent}: is no run directory: it has no config.yaml")
        if not configuration.read_yaml_mapping(path):  # all defaults would be another model
            raise UserError(f"{path}: is empty; a run's says how it was trained: copy it back, or train the run again")
        overrides = [*overrides, f"run_dir={path.parent}"]  # it may have been moved
    return configuration.load(path, overrides, Config)


def load_of_weights(run_dir: Path, *, own: str = "full", vocabulary: str | None = None) -> Config:
    """Loads the configuration of a run whose weights are taken, which may be anybody's: code that it names is not run.

    Args:
      own: `method.type` of the configuration that takes them: what the user names there is the user's.
      vocabulary: in place of the run's.

    Raises:
      UserError: the run's method is no part of flan-t5x, and not `own`; or see `load`.
    """
    section = configuration.read_tree(run_dir / "config.yaml").get("method")
    name = str(section.get("type", "full")) if isinstance(section, dict) else "full"
    if name not in METHODS and name != own:
        raise UserError(
            f"{run_dir}: was trained by {name}, which is no part of flan-t5x, and weights run no code; if it is yours, give what "
            f"`python -m train.export {run_dir} --to hf DIR` writes (that command runs it), or set method.type to it"
        )
    return load(run_dir, [f"model.vocabulary={vocabulary}"] if vocabulary else [])


def dump(config: Config) -> str:
    """The resolved configuration as YAML, every default written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)


# What may differ when a run resumes: where, how fast and how long it runs. A schedule that ends with the run follows its new
# length; other parts of a batch draw other dropout masks.
FREE_ON_RESUME = ("run_dir", "train.steps", "train.epochs", "eval", "logging", "profile", "mesh", "checkpoint", "environment",
                  "data.root", "data.cache", "model.remat", "model.scan_layers", "model.attention", "train.grad_accumulation",
                  "train.stuck_after_s",
                  "train.skip.max_in_a_row", "train.skip.max_in_all")  # fmt: skip


def differences(ours: Config, theirs: Config) -> list[str]:
    """Lists `key: theirs -> ours` for what differs and may not differ between a run and its continuation."""
    flat_ours, flat_theirs = _flatten(ours.model_dump(mode="json")), _flatten(theirs.model_dump(mode="json"))
    return [
        f"{key}: {flat_theirs.get(key)} -> {flat_ours.get(key)}"
        for key in sorted(flat_ours.keys() | flat_theirs.keys())
        if flat_ours.get(key) != flat_theirs.get(key)
        # Without validation from now on: the way on for a run whose validation data are gone.
        and not (key == "train.validation_examples" and ours.train.validation_examples == 0)
        and not any(key == free or key.startswith(f"{free}.") for free in FREE_ON_RESUME)
    ]


def _flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix: tree}
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(_flatten(value, f"{prefix}.{key}" if prefix else key))
    return flat
