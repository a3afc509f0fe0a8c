"""A checkpoint of a tiny run, made without training, and its evaluation."""

from pathlib import Path

import jax

from eval.plan import load_config, make_plan
from eval.run import evaluate
from t5x_tasks.common.vocabulary import Vocabulary
from train.checkpoints.checkpointer import Checkpoints
from train.config import MeshConfig
from train.model.t5 import init_params
from train.model_spec import ModelSpec, t5_config
from train.parallel.mesh import make_mesh


def save_checkpoint(run_dir: Path, step: int, seed: int, total_steps: int | None = None) -> None:
    config, _ = load_config(str(run_dir), [])
    vocabulary_size = Vocabulary.load(config.model.vocabulary).size
    model = ModelSpec.on(
        make_mesh(MeshConfig(data=1, fsdp=1, tensor=1), jax.devices()[:1]), t5_config(config, vocabulary_size)
    )
    params = init_params(model.config, seed)
    params["head"] = jax.random.normal(jax.random.key(seed), params["head"].shape)  # says something, and something else
    params = jax.device_put(params, model.shardings)
    with Checkpoints(run_dir / "checkpoints", keep_latest=5) as checkpoints:
        checkpoints.save(
            step, {"params": params, "step": jax.numpy.int32(step)}, position={}, metadata={"total_steps": total_steps}
        )


def evaluate_run(run_dir: Path, *overrides: str) -> int:
    return evaluate(make_plan(*load_config(str(run_dir), list(overrides))))
