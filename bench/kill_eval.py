"""Kills `python -m eval` at random moments, again and again, and holds what it ends with against an undisturbed evaluation.

    python -m bench.kill_eval --kills 20

A small model of random weights answers the test rows that ship with the project. Each process is killed by SIGKILL after a
random share of the time that an undisturbed one takes, and another goes on; after one to three kills the evaluation may end,
and the next begins anew. Exits with 1 if any file differs by a byte, or an answer that was finished before a kill is not in the
same place after it: then it was decoded twice.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from t5x_tasks.common.errors import run_cli

_OVERRIDES = (
    "eval.tasks=[support_chats]", "eval.steps=[0]", "eval.batch_size=2", "eval.probe.limit=16", "eval.bootstrap_samples=200",
    "eval.decode={type: greedy, max_tokens: 48}",
)  # fmt: skip


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.kill_eval", description="Kills evaluations.")
    parser.add_argument("--kills", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    moments = random.Random(chosen.seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, output = Path(folder, "whole"), Path(folder, "killed")
        if _start(whole).wait() != 0:  # prepares and compiles, too, so that the next tells how long one takes
            return 1
        expected = _files(whole)
        shutil.rmtree(whole)
        begin = time.monotonic()
        if _start(whole).wait() != 0 or _files(whole) != expected:
            print("two undisturbed evaluations differ")
            return 1
        usual_s = time.monotonic() - begin
        print(f"an undisturbed evaluation takes {usual_s:.1f} s and writes {len(expected)} files", flush=True)
        kills = rounds = wrong = again = 0
        kept: list[bytes] = []  # finished batches, before the last kill
        left = moments.randint(1, 3)  # kills of this evaluation
        ended = True
        while kills < chosen.kills or not ended:
            process = _start(output)
            try:
                process.wait(timeout=moments.uniform(0.1, 1.0) * usual_s if left and kills < chosen.kills else None)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills, left = kills + 1, left - 1
            done = _batches(output)
            again += done[: len(kept)] != kept
            kept = done
            print(
                f"kill {kills}: {len(done)} batches were finished" if process.returncode < 0 else "finished", flush=True
            )
            if ended := process.returncode >= 0:
                rounds += 1
                wrong += process.returncode != 0 or _files(output) != expected
                shutil.rmtree(output, ignore_errors=True)
                kept, left = [], moments.randint(1, 3)
    print(f"{kills} kills, {rounds} evaluations: {wrong} ended otherwise, finished batches lost {again} times")
    return int(bool(wrong or again))


def _start(output: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "eval", "configs/quickstart.yaml", f"run_dir={output.parent / 'none'}"]
    return subprocess.Popen([*command, f"eval.output={output}", *_OVERRIDES], stdout=subprocess.DEVNULL)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _batches(folder: Path) -> list[bytes]:
    """Whole lines of the answers after the fingerprint."""
    path = folder / "0" / "support_chats" / "answers.jsonl"
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [line for line in lines[1:] if line.endswith(b"\n")]


if __name__ == "__main__":
    run_cli(main)
