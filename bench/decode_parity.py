"""Whether we decode what transformers' PyTorch T5 does, token for token: greedy, and beams of every width and length penalty.

    python -m bench.decode_parity --root ../shared/data --vocabulary ../shared/data/t5_vocab/spiece.model --tokens 32

Where a row differs, both answers are scored by the PyTorch model in float64: equal scores are a tie, which either may break in
its own way; otherwise it says which of the two found the better answer. `--weights` and `--vocabulary` of a run that
`python -m train.export RUN --to hf DIR` wrote show it for trained weights, whose answers end by themselves.
Needs PyTorch, and transformers of the `dev` extra.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.decode import add_arguments, decode_settings, open_ours, open_reference, read_inputs
from bench.pytorch import write_random
from t5x_tasks.common.errors import run_cli
from train.model.presets import PRESETS

TIE = 1e-5  # of a score, which is a mean log-probability for a length penalty of 1


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.decode_parity", description="Parity of decoding.")
    add_arguments(parser)
    parser.add_argument("--beams", type=int, nargs="*", default=[1, 2, 4, 8], help="1 is greedy (default: 1 2 4 8)")
    parser.add_argument("--penalties", type=float, nargs="*", default=[0.6, 1.0, 2.0], help="default: 0.6 1.0 2.0")
    chosen = parser.parse_args(arguments)
    inputs = read_inputs(chosen.root, chosen.vocabulary, chosen.rows, chosen.inputs)
    ties = worse = 0
    with tempfile.TemporaryDirectory() as folder:
        weights = chosen.weights or write_random(Path(folder), PRESETS[chosen.preset])
        reference, ours, score = open_reference(weights), open_ours(weights), open_scorer(weights)
        for beams in chosen.beams:
            for penalty in chosen.penalties if beams > 1 else [1.0]:
                said = ours(decode_settings(beams, chosen.tokens, penalty), chosen.batch_size)(inputs)
                settings = {"num_beams": beams, "max_new_tokens": chosen.tokens}
                if beams > 1:
                    settings["length_penalty"] = penalty
                expected = reference(inputs, chosen.batch_size, **settings)
                different = [i for i, pair in enumerate(zip(said, expected, strict=True)) if not np.array_equal(*pair)]
                gaps = [score(inputs[i], said[i], penalty) - score(inputs[i], expected[i], penalty) for i in different]
                ties += sum(abs(gap) <= TIE for gap in gaps)
                worse += sum(abs(gap) > TIE for gap in gaps)
                ended = sum(len(row) < chosen.tokens for row in said)
                print(
                    f"{'greedy' if beams == 1 else f'{beams} beams, length penalty {penalty}':<28}"
                    f"{len(inputs) - len(different)}/{len(inputs)} rows identical, {ended} ended before {chosen.tokens} tokens, "
                    f"{len({tuple(row) for row in said})} different answers",
                    *(f"; row {i}: ours {gap:+.1e}" for i, gap in zip(different, gaps, strict=True)),
                    flush=True,
                )
    print(f"{ties} tie(s), {worse} row(s) that differ without one")
    return int(worse > 0)


def open_scorer(weights: Path) -> Callable[[np.ndarray, np.ndarray, float], float]:
    """`score(inputs, answer, penalty)`: summed log-probability over length ** penalty, as beam search ranks, in float64."""
    import torch  # pyright: ignore[reportMissingImports]
    import transformers

    model: Any = transformers.T5ForConditionalGeneration.from_pretrained(weights).double().eval()

    def score(inputs: np.ndarray, answer: np.ndarray, penalty: float) -> float:
        labels = torch.from_numpy(answer.astype(np.int64))[None]
        with torch.no_grad():
            logits = model(input_ids=torch.from_numpy(inputs.astype(np.int64))[None], labels=labels).logits
        picked = logits.log_softmax(-1).gather(-1, labels[..., None])
        return float(picked.sum()) / len(answer) ** penalty

    return score


if __name__ == "__main__":
    run_cli(main)
