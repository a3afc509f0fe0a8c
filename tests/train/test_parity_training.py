"""Training beside PyTorch's at full widths and little depth; at full depth it is `python -m bench.parity`."""

import pytest

from bench.parity import SHAPES, TOLERANCE, compare

pytestmark = pytest.mark.needs_torch


@pytest.mark.parametrize("shape", ["flan-t5-small", "xl-heads"])
def test_logits_loss_gradients_and_weights_of_three_adamw_steps_are_pytorchs(shape, tmp_path):
    sizes = (*SHAPES[shape][:4], 2, 1)
    differences = list(compare(tmp_path, sizes, vocab_size=512))
    assert {found.what for found in differences} == {"logits", "loss", "gradients", "weights"}
    assert {found.step for found in differences} == {1, 2, 3}
    assert not [found for found in differences if not found.relative <= TOLERANCE]
