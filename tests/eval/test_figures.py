"""Names in figures are shown as they are, whatever they hold."""

import json

import matplotlib
import pytest

from eval.comparison.forgetting import Matrix, TaskRow, Totals
from eval.comparison.systems import System
from eval.report.matrix import figure
from eval.report.summary import draw_loss

NAMES = ("$a$", r"costs $5 and $6", r"$\frac$", r"\alpha_1 ^ {")


@pytest.mark.parametrize("name", NAMES)
def test_dollars_in_a_name_are_no_formula(tmp_path, monkeypatch, name):
    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")  # texts stay texts
    run_dir = tmp_path / name.replace("\\", "")
    run_dir.mkdir()
    (run_dir / "metrics.jsonl").write_text(json.dumps({"step": 1, "loss": 2.0}) + "\n")
    picture = draw_loss(run_dir)
    assert picture is not None and picture.read_bytes()[:4] == b"\x89PNG"

    systems = [System(f"{name} {number}", number, name, None) for number in (0, 1)]
    totals = [Totals(None, None, None, None)] * 2
    row = TaskRow(name, name, name, "higher", 1, [None, None], ever_trained=True)
    figure(Matrix(systems, [row], totals), tmp_path / "figure.svg")
    assert f">{name} 0</text>" in (tmp_path / "figure.svg").read_text()
