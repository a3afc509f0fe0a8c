"""Cost beside quality: what an evaluation leaves of its speed, size, date and command, and what the report says of it."""

import json

import pytest
from helpers import evaluated

from eval.__main__ import main as eval_main
from eval.commands import compare
from eval.report.page import render
from eval.scoring.made import Decoded, read_made, write_made


def cost_of(folder):
    contents = compare.gather([str(folder)], samples=20)
    (facts,) = contents.facts
    return facts, render(contents)


def test_an_evaluation_leaves_its_speed_size_date_and_commit_and_keeps_the_speed_when_nothing_is_decoded(run_dir):
    folder = run_dir / "eval" / "0" / "tiny"
    assert eval_main([str(run_dir), "eval.steps=[0]"]) == 0
    made = read_made(folder)
    assert made["parameters"] == made["trained_parameters"] > 10_000 and made["device"].startswith("1 x ")
    assert made["decoded"]["rows"] == 6 and made["decoded"]["tokens"] >= 6 and made["decoded"]["seconds"] > 0
    assert made["date"].endswith("Z") and {"commit", "command"} <= made.keys()
    assert eval_main([str(run_dir), "eval.steps=[0]"]) == 0  # all is there already
    assert read_made(folder)["decoded"] == made["decoded"]
    facts, page = cost_of(run_dir)
    assert facts.cost["parameters in all"].endswith("k") and facts.cost["decoding, rows/s"] != "–"
    assert (
        "UTC" in facts.origin["evaluated"] and "max_tokens 4" in facts.origin["decoding"] and made["date"][:10] in page
    )


def test_a_run_says_what_it_trained_with_and_how_fast(make_card, tmp_path):
    card = make_card()
    run = evaluated.make_run(tmp_path / "run", mixture="tiny", cards=[card])
    config = (run / "config.yaml").read_text()
    environment = "environment: {git_revision: 0123456789abcdef+changes, devices: 8 x TPU v6}\n"
    (run / "config.yaml").write_text(f"{config}train: {{seed: 7}}\nmethod: {{type: lora}}\n{environment}")
    (run / "metrics.jsonl").write_text(
        "".join(
            json.dumps({"step": s, "loss": 1.0, "tokens_per_s": v}) + "\n"
            for s, v in ((1, 10.0), (2, 2500.0), (3, 2600.0))
        )
    )
    folder = evaluated.evaluate(
        run / "eval" / "3", {"tiny": lambda e: "x"}, cards=[card], step=3, weights=str(run / "checkpoints" / "3")
    )
    write_made(folder / "tiny", decoded=Decoded(3, 30, 0.5), device="1 x cpu", parameters=80_000_000, trained=300_000)
    facts, _ = cost_of(run)
    assert facts.cost == {
        "parameters trained": "300\N{NO-BREAK SPACE}k", "parameters in all": "80\N{NO-BREAK SPACE}M",
        "training, tokens/s": "2,500", "decoding, rows/s": "6.0", "decoding, tokens/s": "60.0",
    }  # fmt: skip
    assert facts.origin["trained"] == "method lora, on tiny, seed 7, 8 x TPU v6, commit 0123456789ab+changes"


@pytest.mark.parametrize(
    "made",
    ["", "[]", "{", '{"parameters": "many", "decoded": 3}', '{"parameters": 1e400, "decoded": {"rows": -1, "seconds": 0}}',
     '{"command": "<script>window.hacked = 1</script>", "decoded": {"rows": true, "tokens": null}}'],
)  # fmt: skip
def test_files_of_before_and_broken_ones_leave_dashes(make_card, tmp_path, made):
    folder = evaluated.evaluate(tmp_path / "one", {"tiny": lambda e: "x"}, cards=[make_card()])
    if made:
        (folder / "tiny" / "made.json").write_text(made)
    facts, page = cost_of(folder)
    assert set(facts.cost.values()) == {"–"} and "<script>window" not in page
