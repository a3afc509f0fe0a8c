"""A model that writes templates, and ranks them by what it makes of a data set under them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from eval.decoding.decoder import Decoder
from eval.decoding.likelihood import LogLikelihood
from eval.decoding.template_search import blank_input, joint_search, texts_of
from t5x_tasks.card.card import Card, Variant
from t5x_tasks.card.template import OPTIONS, placeholders
from t5x_tasks.commands.proposals import Proposal, training_templates
from t5x_tasks.common.errors import UserError
from t5x_tasks.common.vocabulary import UNKNOWN, Vocabulary
from t5x_tasks.metrics import compute
from t5x_tasks.metrics.pooled import value
from t5x_tasks.rendering.render import as_answer, render
from t5x_tasks.sources import Row
from train import config as configuration
from train.checkpoints.checkpointer import Checkpoints
from train.config import Config, GreedyConfig, ModelConfig
from train.model.t5 import Params
from train.model_spec import ModelSpec, open_model, resolve_method
from train.parallel import runtime
from train.parallel.mesh import replicated
from train.params import checkpoint_params, infer_config, load_params
from train.weights.locate import resolve_weights

_BEAMS, _TEMPLATE_TOKENS = 100, 24  # LM-BFF: a beam of 100
_BATCH_SIZE = 16


_MAIN_SCORES = ("rougeL", "accuracy", "bleu", "f1", "exact_match")  # of a metric that gives several


@dataclass(frozen=True)
class Ranked:
    """A template with what the model makes of it.

    Attributes:
      likelihood: mean log-probability of a token of the first reference, in nats, averaged over rows.
      metric, score: of the model's answers; "" and 0 where they were not asked for.
    """

    proposal: Proposal
    likelihood: float
    metric: str
    score: float


class Judge:
    """Weights in their place, and what they are asked."""

    def __init__(self, source: str, *, vocabulary: str | None, lengths: tuple[int, int]):
        """Loads a run's last checkpoint, or bare weights.

        Args:
          source: run directory, Hugging Face directory or hf://owner/name.
          vocabulary: of the weights, where they do not tell.
          lengths: tokens that inputs and targets are cut to.

        Raises:
          UserError: no such weights, or no vocabulary is known for them.
        """
        config, run_dir = config_of(source, vocabulary)
        runtime.set_up(config.data.cache_folder())
        self.vocabulary = Vocabulary.load(config.model.vocabulary)
        self.lengths = lengths
        config = resolve_method(config, self.vocabulary)
        self._method = config.method
        self.model = open_model(config, self.vocabulary.size)
        self.params = _load(config, run_dir, self.model)

    def rank(self, card: Card, proposals: Sequence[Proposal], rows: Sequence[Row], *, score: bool) -> list[Ranked]:
        """Ranks templates, zero-shot: by the score if it is asked for, then by likelihood; the best first."""
        log_likelihood = LogLikelihood(self.model.graphdef, mesh=self.model.mesh, batch_size=_BATCH_SIZE)
        decoder = self._decoder(GreedyConfig(max_tokens=self.lengths[1])) if score else None
        prompt = self._method.prompt(card.name)
        ranked = []
        for proposal in proposals:
            variant = _variant(card, proposal)
            renderings = [render(card, variant, row) for row in rows]
            inputs = self._tokens([r.inputs for r in renderings], self.lengths[0], prompt)
            targets = self._tokens([r.targets for r in renderings], self.lengths[1])
            sums, num_tokens = log_likelihood(self.params, inputs, targets)
            likely = float(np.mean(sums / num_tokens))
            metric, result = "", 0.0
            if decoder is not None:
                said = [as_answer(card, variant, self.vocabulary.decode(ids)) for ids in decoder(self.params, inputs)]
                metric, result = _main_score(card.metrics[0], said, [r.references for r in renderings])
            ranked.append(Ranked(proposal, likely, metric, result))
        return sorted(ranked, key=lambda entry: (-entry.score, -entry.likelihood))

    def generate(self, card: Card, rows: Sequence[Row]) -> list[Proposal]:
        """Lets the model write templates around the fields of training rows, likeliest first; see template_search.py."""
        template = training_templates(card)[0]
        fields = " ".join(f"{{{name}}}" for name in placeholders(template.inputs))
        variant = _variant(card, Proposal(fields, template.targets, template.id, ""))
        renderings = [render(card, variant, row) for row in rows]
        asked = self.vocabulary.encode_batch([r.inputs for r in renderings])
        answers = self.vocabulary.encode_batch([r.targets for r in renderings])
        inputs = [
            blank_input(self.vocabulary, one, answer, self.lengths[0])
            for one, answer in zip(asked, answers, strict=True)
        ]
        shards = self.model.mesh.shape["data"] * self.model.mesh.shape["fsdp"]
        batch = np.zeros((-(-len(inputs) // shards) * shards, max(map(len, inputs))), np.int32)
        for number, ids in enumerate(inputs):
            batch[number, : len(ids)] = ids

        def search(params: Params, batch: jax.Array) -> tuple[jax.Array, jax.Array]:
            model = nnx.merge(self.model.graphdef, params)
            return joint_search(model, batch, size=self.vocabulary.size, beams=_BEAMS, max_tokens=_TEMPLATE_TOKENS)

        with jax.set_mesh(self.model.mesh):
            found = np.asarray(jax.jit(search, out_shardings=replicated(self.model.mesh))(self.params, batch)[0])
        proposals = []
        for text in (texts_of(self.vocabulary, tokens) for tokens in found):
            if text is not None and any(text) and UNKNOWN not in "".join(text):
                before, behind = (part.replace("{", "{{").replace("}", "}}") for part in text)
                inputs_text = " ".join(filter(None, (before, fields, behind)))
                proposals.append(Proposal(inputs_text, template.targets, template.id, "by the model"))
        return proposals

    def _decoder(self, settings: GreedyConfig) -> Decoder:
        return Decoder(self.model.graphdef, settings, mesh=self.model.mesh, batch_size=_BATCH_SIZE)

    def _tokens(self, texts: Sequence[str], length: int, prompt: Sequence[int] = ()) -> list[np.ndarray]:
        """Token ids behind those of a soft prompt, with end of sequence, cut to `length`."""
        first = np.asarray(prompt, np.int32)
        ids = [np.concatenate([first, one]) for one in self.vocabulary.encode_batch(texts)]
        return [np.append(one[: length - 1], self.vocabulary.eos_id).astype(np.int32) for one in ids]


def config_of(source: str, vocabulary: str | None) -> tuple[Config, Path | None]:
    """Returns the configuration of a model, and its run directory if it is that of a run.

    Raises:
      UserError: neither a run directory nor a Hugging Face directory, or no vocabulary is known for it.
    """
    folder = Path(source)
    if (folder / "config.yaml").is_file():
        return configuration.load_of_weights(folder, vocabulary=vocabulary), folder
    if not source.startswith("hf://") and not (folder / "config.json").is_file():
        raise UserError(
            f"--weights: {source}: neither a run directory (config.yaml) nor a Hugging Face one (config.json)"
        )
    folder = resolve_weights(source)
    if vocabulary is None:
        if not (folder / "spiece.model").is_file():
            raise UserError(f"--weights: {folder} has no spiece.model; name the model's vocabulary with --vocabulary")
        vocabulary = str(folder)
    theirs = infer_config(folder)
    sizes = {name: getattr(theirs, name) for name in (*ModelConfig().sizes(), "vocab_size")}
    return Config(run_dir="", model=ModelConfig(weights=str(folder), vocabulary=vocabulary, **sizes)), None


def _load(config: Config, run_dir: Path | None, model: ModelSpec) -> Params:
    if run_dir is None:
        return load_params(config, model)
    with Checkpoints(run_dir / "checkpoints", read_only=True) as checkpoints:
        step = checkpoints.latest_step()
        return checkpoint_params(config, model, checkpoints, step) if step else load_params(config, model)


def _variant(card: Card, proposal: Proposal) -> Variant:
    """A template as the model meets it: zero-shot, with the card's first rendering of options."""
    style = card.options.styles[0] if card.options and OPTIONS in placeholders(proposal.inputs) else ""
    return Variant(
        id="new",
        template="new",
        inputs=proposal.inputs,
        targets=proposal.targets,
        split="train",
        inverted=False,
        style=style,
        shots=0,
    )


def _main_score(metric: str, said: list[str], references: list[list[str]]) -> tuple[str, float]:
    """Returns name and value of the score that speaks for a metric."""
    scores = compute([metric], said, references)[metric]
    name = next((name for name in _MAIN_SCORES if name in scores), next(iter(scores)))
    return name, float(value(scores[name]))
