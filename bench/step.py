"""The train step of flan-t5-small beside transformers' PyTorch: seconds per step, processor time, peak memory.

    python -m bench.step                          # 8 x 256/64, float32, and bfloat16 where PyTorch has instructions for it
    python -m bench.step --dtypes float32 --turns 7

Same random weights, same batch of random tokens without padding, dropout 0.1; see bench/entrants.py. Ratios are PyTorch's
time over ours, turn by turn. Other work on the machine blurs the clock more than processor time. The first losses without
dropout must be the same, so that both do the same work. Exits with 1 where float32 is below 1.2.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np

from bench.entrants import DTYPES, ENTRANTS, Batch, Entrant, Taken, check_pytorch, serve, start_both
from bench.pytorch import write_random
from t5x_tasks.common.errors import run_cli
from train.model.presets import PRESETS

ROWS, INPUTS, TARGETS, DROPOUT = 8, 256, 64, 0.1
LEAST = {"float32": 1.2}  # times as fast
SAME_WORK = {"float32": 1e-4, "bfloat16": 2e-2}  # relative difference of the first losses without dropout


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.step", description="The train step beside PyTorch's.")
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, help="default: those that this machine computes in")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--preset", choices=PRESETS, default="flan-t5-small", help="default: %(default)s")
    parser.add_argument("--entrant", nargs=4, help=argparse.SUPPRESS)  # name, weights, dtype, dropout
    chosen = parser.parse_args(arguments)
    if chosen.entrant:
        name, weights, dtype, dropout = chosen.entrant
        serve(ENTRANTS[name](Path(weights), dtype, float(dropout)), make_batch)
        return 0
    check_pytorch()
    dtypes = chosen.dtypes or computed_here()
    with tempfile.TemporaryDirectory() as folder:
        write_random(Path(folder), PRESETS[chosen.preset])
        print(
            f"{chosen.preset}, {ROWS} x {INPUTS}/{TARGETS}, dropout {DROPOUT}, AdamW, {chosen.turns} turns", flush=True
        )
        reached = [compare(folder, dtype, chosen.turns) for dtype in dtypes]
    return int(not all(reached))


def computed_here() -> list[str]:
    """The dtypes but bfloat16 where PyTorch has no instructions for it: on AVX2 it had not ended after 17 minutes."""
    import torch  # pyright: ignore[reportMissingImports]

    if torch.cuda.is_available() or torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return list(DTYPES)
    print("bfloat16 is left out: PyTorch has no instructions for it on this processor (--dtypes bfloat16 for all that)")
    return ["float32"]


def compare(weights: str, dtype: str, turns: int) -> bool:
    """Steps both in turns, prints what it took, and says whether ours is as fast as it must be."""
    firsts = []
    for entrant in start(weights, dtype, 0.0).values():
        firsts.append(entrant.step("0").loss)
        entrant.close()
    if abs(firsts[0] / firsts[1] - 1) > SAME_WORK[dtype]:
        raise RuntimeError(f"{dtype}: losses {firsts} without dropout differ: the two do not compute the same")
    entrants = start(weights, dtype, DROPOUT)
    for entrant in entrants.values():  # compile and warm up
        entrant.step("0")
        entrant.step("0")
    taken = [{name: entrant.turn("0") for name, entrant in entrants.items()} for _ in range(turns)]
    for entrant in entrants.values():
        entrant.close()
    print(f"\n{dtype:<12}{'clock, s':>12}{'processor, s':>14}{'peak, GB':>10}")
    for name in entrants:
        clock, processor = (statistics.median(getattr(t[name], key) for t in taken) for key in Taken._fields[:2])
        print(f"{name:<12}{clock:>12.2f}{processor:>14.2f}{taken[-1][name].peak_gb:>10.2f}")
    ratio = 0.0
    for key, title in (("processor_s", "processor time"), ("clock_s", "clock")):
        ratios = [getattr(t["pytorch"], key) / getattr(t["ours"], key) for t in taken]
        ratio = statistics.median(ratios)
        print(f"PyTorch / ours, {title}: {ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)
    return ratio >= LEAST.get(dtype, 0)


def start(weights: str, dtype: str, dropout: float) -> dict[str, Entrant]:
    return start_both(lambda name: ["bench.step", "--entrant", name, weights, dtype, str(dropout)])


def make_batch(_: str) -> Batch:
    rng = np.random.default_rng(0)
    targets = rng.integers(2, 32000, (ROWS, TARGETS)).astype(np.int32)
    return {
        "encoder_input_tokens": rng.integers(2, 32000, (ROWS, INPUTS)).astype(np.int32),
        "encoder_segment_ids": np.ones((ROWS, INPUTS), np.int32),
        "decoder_target_tokens": targets,
        "decoder_input_tokens": np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
        "decoder_segment_ids": np.ones((ROWS, TARGETS), np.int32),
    }


if __name__ == "__main__":
    run_cli(main)
