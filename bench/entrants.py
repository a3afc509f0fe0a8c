"""Two trainers that step in turns: ours and transformers' PyTorch T5, each in a process of its own, on a GPU if there is one.

One waits while the other computes, so both meet the same machine, and neither has the other's threads or memory. Both load
one Hugging Face directory, clip gradients to norm 1 and use AdamW at one rate (PyTorch's fused one). In bfloat16 ours keeps
float32 parameters and computes in bfloat16; PyTorch does the same by autocast.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from t5x_tasks.common.errors import UserError

LEARNING_RATE, CLIP_NORM = 1e-4, 1.0
DTYPES = ("float32", "bfloat16")
Batch = dict[str, np.ndarray]


class Taken(NamedTuple):
    """The cost of a step; `processor_s` of all threads, `peak_gb` of the process so far, in the GPU's memory if it uses one."""

    clock_s: float
    processor_s: float
    peak_gb: float
    loss: float


class Trainer(NamedTuple):
    step: Callable[[Batch], float]  # trains on a batch and returns its loss
    peak_gb: Callable[[], float]
    device: str  # cpu or gpu


class Entrant:
    """A process that takes a step when it is asked to."""

    def __init__(self, command: list[str]):
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"},  # two share a GPU's memory
        )  # fmt: skip
        self.device = self._answer()

    def turn(self, batch: str) -> Taken:
        """Steps twice on the batch; what the second one took, as a step in the midst of training does.

        A process that waited while the other one computed takes the memory that it had freed anew from the operating system, on a
        virtual machine perhaps from its host; and threads of the other one may go on spinning for a while.
        """
        self.step(batch)
        return self.step(batch)

    def step(self, batch: str) -> Taken:
        """Steps on the batch of that name, which the process makes itself."""
        assert self._process.stdin
        self._process.stdin.write(f"{batch}\n")
        self._process.stdin.flush()
        return Taken(*self._answer())

    def _answer(self) -> Any:
        assert self._process.stdout
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{' '.join(self._process.args)}: ended; see above")  # pyright: ignore[reportCallIssue, reportArgumentType]
        return json.loads(answer)

    def close(self) -> None:
        self._process.communicate()


def start_both(command: Callable[[str], list[str]]) -> dict[str, Entrant]:
    """Both entrants by their names, each by its command.

    Raises:
      UserError: one computes on a GPU, the other on the CPU.
    """
    entrants = {name: Entrant(command(name)) for name in ENTRANTS}
    if len({entrant.device for entrant in entrants.values()}) > 1:
        for entrant in entrants.values():
            entrant.close()
        places = ", ".join(f"{name} on {entrant.device}" for name, entrant in entrants.items())
        raise UserError(
            f"the two would not compute on the same device: {places}; install a jax and a torch that both have the GPU, or "
            "hide it (JAX_PLATFORMS=cpu CUDA_VISIBLE_DEVICES=)"
        )
    return entrants


def serve(trainer: Trainer, make_batch: Callable[[str], Batch]) -> None:
    """Says its device, then takes a step for each line of standard input, the name of a batch, and says what it took."""
    print(json.dumps(trainer.device), flush=True)
    for line in sys.stdin:
        batch = make_batch(line.strip())
        clock, processor = time.perf_counter(), time.process_time()
        loss = trainer.step(batch)
        taken = time.perf_counter() - clock, time.process_time() - processor
        print(json.dumps([*taken, trainer.peak_gb(), loss]), flush=True)


def _process_peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def ours(weights_folder: Path, dtype: str, dropout: float) -> Trainer:
    import dataclasses

    import jax
    import jax.numpy as jnp

    from train.config import AdamWConfig, MeshConfig, TrainConfig
    from train.model.attention.choose import choose_path
    from train.model_spec import ModelSpec
    from train.optimizer import make_optimizer, make_schedule
    from train.parallel.mesh import global_batch, make_mesh
    from train.params import infer_config, load_weights
    from train.state import first_state, state_shapes
    from train.step import make_train_step

    train = TrainConfig(steps=1000, z_loss=0.0, clip_norm=CLIP_NORM)
    settings = AdamWConfig(learning_rate=LEARNING_RATE)
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    jax.set_mesh(mesh)
    config = infer_config(weights_folder)
    path = choose_path("auto", dtype=dtype, num_heads=config.num_heads, head_dim=config.head_dim)
    config = dataclasses.replace(config, dropout=dropout, compute_dtype=jnp.dtype(dtype), attention=path)
    model = ModelSpec.on(mesh, config)
    schedule = make_schedule(settings, 1000)
    optimizer = make_optimizer(settings, schedule, model.axes)
    shapes = state_shapes(model, optimizer)
    state = first_state(load_weights(weights_folder, model.shapes, model.shardings, config), optimizer, 0, shapes)
    update = make_train_step(model.graphdef, optimizer, schedule, train, jax.tree.map(lambda s: s.sharding, shapes))

    def step(batch: Batch) -> float:
        nonlocal state
        state, metrics = update(state, {}, global_batch(mesh, batch, parts=1))
        return float(metrics["loss"])

    def device_peak_gb() -> float:
        return (mesh.devices.flat[0].memory_stats() or {}).get("peak_bytes_in_use", float("nan")) / 1e9

    device = jax.default_backend()
    return Trainer(step, _process_peak_gb if device == "cpu" else device_peak_gb, device)


def pytorch(weights_folder: Path, dtype: str, dropout: float) -> Trainer:
    import torch  # pyright: ignore[reportMissingImports]

    from bench.pytorch import open_model

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = open_model(weights_folder, dropout=dropout).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=0.0, fused=True)

    def step(batch: Batch) -> float:
        arrays: dict[str, Any] = {name: torch.tensor(x, dtype=torch.long, device=device) for name, x in batch.items()}
        labels = arrays["decoder_target_tokens"].masked_fill(arrays["decoder_segment_ids"] == 0, -100)
        with torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = model(
                input_ids=arrays["encoder_input_tokens"], attention_mask=arrays["encoder_segment_ids"], labels=labels
            ).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    if device == "cpu":
        return Trainer(step, _process_peak_gb, "cpu")
    return Trainer(step, lambda: torch.cuda.max_memory_allocated() / 1e9, "gpu")


ENTRANTS = {"ours": ours, "pytorch": pytorch}


def check_pytorch() -> None:
    """Raises UserError when PyTorch is not installed."""
    import importlib.util

    if importlib.util.find_spec("torch") is None:
        raise UserError("this compares with PyTorch, which is not installed here: .venv/bin/pip install torch")
