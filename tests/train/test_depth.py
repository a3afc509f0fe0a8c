"""Layers are scanned: a deep model is the program of a shallow one, so compiling it takes no longer (bench/compile.py)."""

import jax

from launch.plan.memory import step_program
from train.config import Config
from train.parallel.mesh import make_mesh


def instructions(layers: int, scan_layers: bool = True) -> int:
    """Of the lowered train step, before XLA sees it."""
    sizes = {"emb_dim": 16, "mlp_dim": 32, "num_heads": 2, "head_dim": 8, "vocab_size": 128}
    depth = {"num_encoder_layers": layers, "num_decoder_layers": layers}
    config = Config.model_validate(
        {
            "run_dir": "unused",
            "model": {**sizes, **depth, "compute_dtype": "float32", "scan_layers": scan_layers},
            "data": {"lengths": {"inputs": 16, "targets": 8}},
            "optimizer": {"type": "adamw"},
            "train": {"steps": 1, "batch_size": 2, "dropout": 0.1},
        }
    )
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    with jax.set_mesh(mesh):
        program, arguments = step_program(config, mesh, vocabulary_size=0)
        lowered = program.update.lower(*arguments)
    return sum(" = " in line for line in lowered.as_text().splitlines())


def test_the_program_of_xxls_depth_is_hardly_longer_than_that_of_two_layers():
    shallow, deep = instructions(2), instructions(24)
    assert 500 < deep < 1.05 * shallow  # some constants are written out up to a size


def test_written_out_each_layer_stands_in_the_program():
    two, three, four = (instructions(layers, scan_layers=False) for layers in (2, 3, 4))
    assert two + 100 < three < four - 100
