"""Wordings by rule: placeholders stay, nothing is proposed that the card has, and the same seed proposes the same."""

import json
import sys

import pytest
import yaml

from t5x_tasks.__main__ import main
from t5x_tasks.card.catalog import load_catalog
from t5x_tasks.card.load import load_card
from t5x_tasks.card.template import placeholders
from t5x_tasks.commands.paraphrase import (
    forward_templates,
    instruction_of,
    normal,
    paraphrases,
    training_templates,
    with_instruction,
)
from t5x_tasks.common.errors import UserError

CARDS = sorted(load_catalog().cards)


@pytest.mark.parametrize("name", CARDS)
def test_proposals_are_new_keep_every_placeholder_and_come_from_training_templates(name):
    card = load_catalog().cards[name]
    known = {normal(t.inputs) for t in card.templates}
    of_training = {t.id: t for t in training_templates(card)}
    proposals = paraphrases(card, 10)
    assert len(proposals) >= 5
    assert len({normal(p.inputs) for p in proposals} | known) == len(proposals) + len(known)
    for proposal in proposals:
        template = of_training[proposal.template]
        assert sorted(placeholders(proposal.inputs)) == sorted(placeholders(template.inputs))
        assert proposal.targets == template.targets and not template.inverted
        assert "  " not in proposal.inputs.replace("\n", "") and ":." not in proposal.inputs


def test_the_same_seed_gives_the_same_and_another_gives_others():
    card = load_catalog().cards["samsum"]
    first, again, other = (paraphrases(card, 10, seed=seed) for seed in (0, 0, 1))
    assert first == again and first != other


def with_template(make_card, inputs, **more):
    return load_card(make_card(templates=[{"id": "t00", "inputs": inputs, "targets": "{summary}"}], **more))


def proposed(card, seeds=6):
    return {p.inputs for seed in range(seeds) for p in paraphrases(card, 20, seed=seed)}


def test_an_instruction_that_moves_behind_the_data_points_back_at_them(make_card):
    wordings = proposed(with_template(make_card, "Summarize the following dialogue.\n\n{dialogue}"))
    behind = [w for w in wordings if w.index("{dialogue}") < 25]
    assert any("above" in w for w in behind) and not any("following" in w for w in behind)
    assert any(w.startswith(("Can you", "Could you", "Would you")) and "?" in w for w in wordings)
    assert any(w.startswith(("Sum up", "Condense", "Give a short account of")) for w in wordings)
    assert any(w.startswith("Please ") for w in wordings)
    assert any(w.endswith(("In short:", "The gist:", "In brief:")) for w in wordings)


def test_a_thing_has_one_name_in_a_wording(make_card):
    for wording in proposed(with_template(make_card, "Summarize this dialogue.\n\nDialogue: {dialogue}\n\nSummary:")):
        text = wording.replace("{dialogue}", "").lower()
        assert not ("dialogue" in text and "conversation" in text), wording


def test_braces_of_a_template_stay_doubled(make_card):
    wordings = proposed(with_template(make_card, "Summarize as {{json}}.\n\n{dialogue}"))
    assert wordings and all("{{json}}" in wording for wording in wordings)


def test_words_that_only_look_like_orders_stay(make_card):
    wordings = proposed(with_template(make_card, "What is the right answer to this question?\n\n{dialogue}\n\nAnswer:"))
    assert not any("right reply" in w or "right respond" in w for w in wordings)


def test_the_instruction_of_a_wording_is_taken_out_and_put_in(make_card):
    inputs = "Summarize this.\n\n{dialogue}\n\nSummary:"
    assert instruction_of(inputs) == "Summarize this."
    assert with_instruction(inputs, "In {x} words.") == "In {{x}} words.\n\n{dialogue}\n\nSummary:"
    assert instruction_of("{dialogue} In short:") == ""


def test_suggest_prints_lines_that_a_card_takes(make_card, capsys):
    path = make_card()
    before = path.read_text()
    main(["suggest", str(path), "-n", "6"])
    out = capsys.readouterr().out
    assert path.read_text() == before  # nothing is written into the card
    lines = out[out.index("  - id:") : out.index("\n\nRanked")]
    templates = yaml.safe_load(lines)
    assert [t["id"] for t in templates] == [f"s{i:02}" for i in range(len(templates))]
    values = yaml.safe_load(before)
    path.write_text(yaml.safe_dump(values | {"templates": [*values["templates"], *templates]}))
    assert len(forward_templates(load_card(path))) == 3 + len(templates)


def test_suggest_takes_the_name_of_a_shipped_data_set_and_imports_nothing_heavy():
    import subprocess

    code = """
import sys
from t5x_tasks.__main__ import main
main(["suggest", "samsum", "-n", "3"])
print(sorted({"jax", "tensorflow", "train", "eval", "datasets", "sentencepiece"} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "  - id: s02" in done.stdout


def test_what_cannot_be_paraphrased_is_refused_in_one_line(make_card, tmp_path, write_jsonl):
    write_jsonl(tmp_path / "flan.jsonl", [{"inputs": "a", "targets": "b"}])
    card = {
        "name": "theirs",
        "source": {"type": "templated", "layout": "flan", "train": "flan.jsonl"},
        "fields": {"inputs": "inputs", "targets": "targets"},
        "templates": [{"id": "t00", "inputs": "{inputs}", "targets": "{targets}"}],
    }
    path = tmp_path / "theirs.yaml"
    path.write_text(json.dumps(card))
    for arguments, expected in (
        ([str(path)], "worded by others"),
        (["samsun"], "neither a file nor a shipped data set"),
        ([str(make_card()), "--score"], "needs --weights"),
    ):
        with pytest.raises(UserError, match=expected):
            main(["suggest", *arguments])
