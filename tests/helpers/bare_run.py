"""Runs of a very small model made without training: a base, and checkpoints whose trained parameters a test chooses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from t5x_tasks.common.vocabulary import Vocabulary
from train.checkpoints.checkpointer import Checkpoints
from train.config import Config, MeshConfig, dump
from train.export.hf import save_hf
from train.model.fingerprint import fingerprint
from train.model.t5 import Params, T5Config, init_params
from train.model_spec import ModelSpec, t5_config
from train.parallel.mesh import make_mesh
from train.params import load_params

# As many layers on both sides: peft and transformers size some of what they make by the encoder's.
SIZES: dict[str, Any] = {
    "emb_dim": 32, "mlp_dim": 48, "num_heads": 2, "head_dim": 8, "num_encoder_layers": 2, "num_decoder_layers": 2,
}  # fmt: skip


def save_base(folder: Path, vocabulary: Path, seed: int = 0) -> Path:
    """A Hugging Face directory of random float32 weights, sharp enough that an adapter shows."""
    config = T5Config(vocab_size=-(-Vocabulary(vocabulary).size // 128) * 128, **SIZES)
    params = jax.tree.map(lambda x: 1.5 * x if x.ndim > 2 else x, init_params(config, seed))
    save_hf(params, config, folder, vocabulary)
    return folder


def save_run(
    run_dir: Path,
    model: dict[str, Any],
    method: dict[str, Any],
    trained: Callable[[Params, Params], Params] = lambda trained, frozen: trained,
) -> tuple[Config, ModelSpec]:
    """A run directory with a checkpoint of step 5.

    Args:
      model: the section, without sizes.
      trained: from what is trained and what is frozen, before training, to what the checkpoint holds.
    """
    config = Config.model_validate(
        {"run_dir": str(run_dir), "model": {"preset": "t5-tiny", **SIZES, **model}, "method": method}
    )
    run_dir.mkdir(parents=True)
    (run_dir / "config.yaml").write_text(dump(config))
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    plain = t5_config(config, Vocabulary.load(config.model.vocabulary).size)
    built = ModelSpec.on(mesh, plain, config.method)
    start, frozen = built.split(load_params(config, built))
    with Checkpoints(run_dir / "checkpoints") as checkpoints:
        state = {"params": trained(start, frozen)}
        checkpoints.save(5, state, position={}, metadata={"frozen": fingerprint(frozen)})
    return config, built


def shifted(trained: Params, _: Params) -> Params:
    """The trained parameters, moved by random numbers: `trained` of `save_run`."""
    draw = np.random.default_rng(0)
    return jax.tree.map(lambda x: x + (0.3 * draw.standard_normal(x.shape)).astype(x.dtype), trained)


def some_tokens(vocab_size: int) -> dict[str, np.ndarray]:
    """A batch of three examples without packing."""
    draw = np.random.default_rng(1)
    tokens = {
        f"{side}_input_tokens": draw.integers(3, vocab_size, (3, n)) for side, n in (("encoder", 20), ("decoder", 9))
    }
    segments = {name.replace("input_tokens", "segment_ids"): np.ones_like(value) for name, value in tokens.items()}
    return {name: value.astype(np.int32) for name, value in (tokens | segments).items()}
