"""The kill test: runs of a very small model, killed at random moments until they are done, end as one that nobody disturbed.

    python -m bench.kill                                    # 100 runs
    python -m bench.kill --runs 10 --steps 8 --kills 1      # what the tests run

Each run has a folder and a cache of its own, so that it is killed while it prepares data, starts, steps, saves, removes old
checkpoints, or resumes. An attempt gets SIGKILL or SIGTERM at a moment drawn from the time that an undisturbed run takes; then
the run is started again, until it ends by itself. Parameters, optimizer state and the losses in metrics.jsonl must be those of
the undisturbed run, bit for bit. Exits with 1 if one is not, or if an attempt ended otherwise than by its signal.

Attempts are forks of this process, which has imported the program and touched no device: it dies as `python -m train` does and
starts in a fraction of the time.
"""

import argparse
import collections
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml

# Before JAX is imported: programs this small are not worth optimising, and all attempts share the compiled ones.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false")

import jax

from bench.notes import SIZES, write_notes
from t5x_tasks.common.vocabulary import Vocabulary
from train import config as configuration
from train import loop
from train.checkpoints.checkpointer import Checkpoints
from train.config import Config
from train.model_spec import open_model
from train.optimizer import make_optimizer, make_schedule
from train.parallel.mesh import make_mesh
from train.state import state_shapes

VOCABULARY = Path(__file__).parents[1] / "t5x_tasks" / "vocabularies" / "support_chats.model"
ENDS = {0: "done", 128 + signal.SIGTERM: "saved on SIGTERM", -signal.SIGTERM: "SIGTERM", -signal.SIGKILL: "SIGKILL"}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.kill", description="Kills runs until they are done.")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument(
        "--kills", type=int, default=8, help="most of a run; then it is left alone (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of moments and signals")
    options = parser.parse_args(arguments)
    draw = random.Random(options.seed)
    failed, ends = 0, collections.Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        workplace = Path(name)
        write_notes(workplace)
        # To JAX, which has read the environment already; and to train/parallel/runtime.py, which then chooses no folder.
        jax.config.update("jax_compilation_cache_dir", str(workplace / "xla"))
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(workplace / "xla")
        start = time.monotonic()
        code = attempt(configure(workplace, "undisturbed", options.steps))
        assert code == 0, f"the undisturbed run ended with {code}, see above"
        whole_s = 0.4 * (time.monotonic() - start)  # about, without compiling
        expected = outcome(workplace, "undisturbed", options.steps)
        print(f"undisturbed: about {whole_s:.1f} s, parameters and optimizer {expected[0][:16]}", flush=True)
        for number in range(options.runs):
            run, start = f"run{number}", time.monotonic()
            codes = until_done(configure(workplace, run, options.steps), whole_s, options.kills, draw)
            same = codes[-1] == 0 and outcome(workplace, run, options.steps) == expected
            failed += not same
            ended = [ENDS.get(code, f"exit code {code}") for code in codes]
            ends.update(ended)
            print(
                f"{run}: {'same' if same else 'FAILED'} after {len(codes) - 1} kills in {time.monotonic() - start:.0f} s: "
                + ", ".join(ended),
                flush=True,
            )
            shutil.rmtree(workplace / run)
    print(f"{options.runs - failed} of {options.runs} the same; attempts: {dict(ends)}")
    return int(failed > 0)


def configure(workplace: Path, run: str, steps: int) -> Config:
    (workplace / run).mkdir()
    values = {
        "run_dir": str(workplace / run / "run"),
        "model": {"preset": "t5-tiny", "vocabulary": str(VOCABULARY), **SIZES},
        "data": {
            "mixture": "notes",
            "cards": [str(workplace / "notes.yaml")],
            "lengths": {"inputs": 96, "targets": 32},
            "cache": str(workplace / run / "cache"),
        },
        "optimizer": {"type": "adafactor", "learning_rate": 0.05},
        "train": {"steps": steps, "batch_size": 4, "dropout": 0.1, "validation_examples": 4},
        "checkpoint": {"every_steps": 2, "keep_latest": 1, "keep_best": 1},
        "logging": {"every_steps": 1, "tensorboard": False},
    }
    path = workplace / run / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return configuration.load(path, [])


def until_done(config: Config, whole_s: float, kills: int, draw: random.Random) -> list[int]:
    """Exit codes of the attempts; minus the signal for one that died by it. The last one is that of an end not asked for."""
    codes: list[int] = []
    while True:
        number = draw.choice((signal.SIGKILL, signal.SIGTERM))
        after_s = draw.uniform(0, whole_s) if len(codes) < kills else None
        codes.append(attempt(config, number, after_s))
        if codes[-1] not in (-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM):
            return codes


def attempt(config: Config, number: signal.Signals = signal.SIGKILL, after_s: float | None = None) -> int:
    """Trains in a fork, which gets a signal after so many seconds; its exit code."""
    log = Path(config.run_dir).parent / "log.txt"
    child = _fork(lambda: loop.train(config), log)
    deadline = None if after_s is None else time.monotonic() + after_s
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            if code not in ENDS:
                sys.stderr.write(log.read_text()[-4000:])
            return code
        if deadline is not None and time.monotonic() >= deadline:
            os.kill(child, number)
            deadline = None
        time.sleep(0.005)


def outcome(workplace: Path, run: str, steps: int) -> tuple[str, list[tuple[float, ...]]]:
    """SHA-256 of everything that the last checkpoint holds, and what metrics.jsonl says was learned."""
    run_dir, answer = workplace / run / "run", workplace / run / "sha256"
    child = _fork(lambda: answer.write_text(_digest(run_dir, steps)) and 0, workplace / run / "log.txt")
    assert os.waitpid(child, 0)[1] == 0, (workplace / run / "log.txt").read_text()[-4000:]
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    names = ("step", "loss", "accuracy", "grad_norm", "learning_rate", "tokens", "examples")
    return answer.read_text(), [tuple(row[name] for name in names) for row in rows]


def _digest(run_dir: Path, steps: int) -> str:
    config = configuration.load(run_dir, [])
    mesh = make_mesh(config.mesh)
    size = Vocabulary.load(config.model.vocabulary).size
    model = open_model(config, size, mesh)
    optimizer = make_optimizer(config.optimizer, make_schedule(config.optimizer, steps), model.axes)
    digest = hashlib.sha256()
    with Checkpoints(run_dir / "checkpoints", read_only=True) as checkpoints:
        restored = checkpoints.restore(steps, state_shapes(model, optimizer))
    for leaf in jax.tree.leaves(restored.state):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


def _fork(function: Callable[[], int], log: Path) -> int:
    """Runs a function in a child, whose output goes to a file, and which ends with its exit code. Returns the child's id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with log.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        code = function()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
