"""Templates ranked by a model: a tiny one with random weights, real decoding and real likelihoods."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import yaml
from flax import nnx

from eval.commands import suggest
from eval.commands.judge import Judge
from eval.commands.suggest import first_rows, without_repeats
from eval.decoding.likelihood import target_log_likelihood
from eval.decoding.template_search import blank_input, joint_search, sentinel
from t5x_tasks.card.load import load_card
from t5x_tasks.commands.proposals import Proposal, normal
from t5x_tasks.common.errors import UserError
from t5x_tasks.common.vocabulary import Vocabulary
from train.export.hf import save_hf
from train.model.t5 import T5, T5Config, init_params

REPOSITORY = Path(__file__).parents[2]
SIZES: dict[str, Any] = {
    "emb_dim": 16,
    "mlp_dim": 16,
    "num_heads": 2,
    "head_dim": 8,
    "num_encoder_layers": 1,
    "num_decoder_layers": 1,
}
CONFIG = T5Config(vocab_size=2560, dropout=0.0, compute_dtype=jax.numpy.dtype("float32"), **SIZES)


def outspoken_params(seed: int = 4):
    """Random weights whose next word depends on what was read."""
    params = init_params(CONFIG, seed)
    params["head"] = jax.random.normal(jax.random.key(seed), params["head"].shape)
    return params


@pytest.fixture
def weights(tmp_path, vocabulary_path) -> Path:
    save_hf(outspoken_params(), CONFIG, tmp_path / "hf", vocabulary_path)
    return tmp_path / "hf"


def test_templates_are_ranked_beside_the_cards_own(make_card, weights, capsys):
    card = make_card()
    assert suggest.main([str(card), "--weights", str(weights), "-n", "4", "--lengths", "64/32"]) == 0
    out = capsys.readouterr().out
    table = out[: out.index("\n\nTo take one")].splitlines()[1:]
    assert [line.split()[0] for line in table] == [str(i) for i in range(1, len(table) + 1)]
    likelihoods = [float(line.split()[1]) for line in table]
    assert likelihoods == sorted(likelihoods, reverse=True) and len(set(likelihoods)) > 1
    assert sum("in the card" in line for line in table) == 3 and len(table) == 3 + 4
    assert "mean of the first 3 rows of train" in out  # it has no validation split, and test is never looked at
    templates = yaml.safe_load(out[out.index("  - id:") : out.index("\n\nlog-likelihood")])
    assert len(templates) == 4


def test_with_score_the_first_metric_ranks(make_card, weights, capsys):
    arguments = [str(make_card()), "--weights", str(weights), "-n", "2", "--lengths", "64/8", "--score", "--limit", "2"]
    assert suggest.main(arguments) == 0
    header, first, *_ = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["rank", "rougeL", "log-likelihood"]
    assert 0 <= float(first.split()[1]) <= 100


def test_generated_templates_hold_each_placeholder_once_on_one_line(make_card, weights):
    card = load_card(make_card())
    judge = Judge(str(weights), vocabulary=None, lengths=(64, 16))
    proposals = judge.generate(card, first_rows(card, None, 3)[0])
    assert proposals
    for proposal in proposals:
        assert proposal.inputs.count("{dialogue}") == 1 and "\n" not in proposal.inputs
        assert "extra_id" not in proposal.inputs and "⁇" not in proposal.inputs


def test_a_templates_score_is_the_sum_of_its_log_probabilities_over_the_examples(vocabulary_path):
    vocabulary = Vocabulary.load(vocabulary_path)
    graphdef, _ = nnx.split(nnx.eval_shape(lambda: T5(CONFIG, rngs=nnx.Rngs(0))))
    model = nnx.merge(graphdef, outspoken_params())
    pairs = map(vocabulary.encode_batch, (["a b", "c"], ["hello", "d"]))
    examples = [blank_input(vocabulary, fields, answer, 32) for fields, answer in pairs]
    inputs = np.zeros((3, 32), np.int32)  # the last row is padding
    for row, ids in zip(inputs, examples, strict=False):
        row[: len(ids)] = ids
    found, scores = joint_search(model, jax.numpy.asarray(inputs), size=vocabulary.size, beams=8, max_tokens=8)
    for tokens, score in zip(np.asarray(found), np.asarray(scores), strict=True):
        if 1 in tokens:
            tokens = np.where(tokens == 1, sentinel(vocabulary, 2), tokens)
            targets = jax.numpy.asarray(np.tile(tokens, (2, 1, 1)))
            by_hand = target_log_likelihood(model, jax.numpy.asarray(inputs[:2]), targets).sum()
            assert score == pytest.approx(float(by_hand), rel=1e-4)
    assert any(1 in tokens for tokens in np.asarray(found))


def test_what_the_card_has_and_what_lost_a_placeholder_is_left_out(make_card):
    card = load_card(make_card())
    templates = [
        "SUMMARIZE!\n\n{dialogue}\n\nsummary",
        "Condense: {dialogue}",
        "condense {dialogue}",
        "Condense it all.",
    ]
    kept = without_repeats([Proposal(text, "{summary}", "t00", "") for text in templates], card)
    assert [p.inputs for p in kept] == ["Condense: {dialogue}"]
    assert normal(templates[0]) == normal(card.templates[0].inputs)


def test_rows_are_those_of_validation_where_there_are_any(make_card, tmp_path, write_jsonl):
    path = make_card()
    rows = [{"dialogue": "x", "summary": str(i)} for i in range(9)]
    write_jsonl(path.parent / "validation.jsonl", rows)
    source = {"type": "jsonl", "train": "train.jsonl", "validation": "validation.jsonl", "test": "test.jsonl"}
    path = make_card(source=source)
    taken, split = first_rows(load_card(path), None, 4)
    assert split == "validation" and [row.fields["summary"] for row in taken] == ["0", "1", "2", "3"]


def test_t5x_tasks_hands_over_to_eval_and_says_so(make_card, weights):
    command = [sys.executable, "-m", "t5x_tasks", "suggest", str(make_card()), "--weights", str(weights), "-n", "2"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "with weights: python -m eval suggest" in done.stderr
    assert "log-likelihood" in done.stdout and "  - id: s01" in done.stdout


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (["--weights", "nowhere"], "neither a run directory .* nor a Hugging Face one"),
        ([], "--weights: is missing"),
    ],
)
def test_what_the_user_got_wrong_is_named(make_card, change, expected):
    with pytest.raises(UserError, match=expected):
        suggest.main([str(make_card()), *change])


def test_weights_without_a_vocabulary_ask_for_one(make_card, weights):
    (weights / "spiece.model").unlink()
    with pytest.raises(UserError, match="name the model's vocabulary with --vocabulary"):
        suggest.main([str(make_card()), "--weights", str(weights)])


def test_cards_that_cannot_be_given_templates_are_refused_in_one_line(tmp_path, write_jsonl):
    write_jsonl(tmp_path / "flan.jsonl", [{"inputs": "a", "targets": "b"}])
    card = {
        "name": "theirs",
        "source": {"type": "templated", "layout": "flan", "train": "flan.jsonl"},
        "fields": {"inputs": "inputs", "targets": "targets"},
        "templates": [{"id": "t00", "inputs": "{inputs}", "targets": "{targets}"}],
    }
    path = tmp_path / "theirs.yaml"
    path.write_text(yaml.safe_dump(card))
    for name, expected in ((str(path), "worded by others"), ("samsun", "neither a file nor a shipped data set")):
        with pytest.raises(UserError, match=expected):
            suggest.main([name, "--weights", "unused"])
