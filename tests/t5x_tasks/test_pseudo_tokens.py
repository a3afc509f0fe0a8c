"""Pseudo tokens in templates."""

import pytest

from t5x_tasks.card.catalog import load_catalog
from t5x_tasks.card.template import count_pseudo_tokens, expand_pseudo_tokens, fill
from t5x_tasks.common.errors import UserError


@pytest.mark.parametrize(
    ("template", "numbers"),
    [
        ("[p0..p2] {dialogue} [p3] Summary:", [0, 1, 2, 3]),
        ("[p1][p0]{dialogue}[p7]\nSummary:[p2]", [1, 0, 7, 2]),
        ("No mark: [p], [p1..], p2.", []),
    ],
)
def test_each_mark_becomes_one_piece_wherever_it_stands(template, numbers, vocabulary):
    expanded = expand_pseudo_tokens(template)
    ids = vocabulary.encode_batch([fill(expanded, {"dialogue": "Ann: [p4] hello"})])[0]
    first = vocabulary.size - 1
    assert [first - i for i in ids if i > first - 100] == numbers
    assert count_pseudo_tokens(expanded) == max(numbers, default=-1) + 1


@pytest.mark.parametrize("mark", ["[p100]", "[p3..p2]"])
def test_a_mark_without_a_piece_is_refused_with_the_line_of_the_card(mark, make_card):
    card = make_card(templates=[{"id": "t", "inputs": f"{mark} {{dialogue}}", "targets": "{summary}"}])
    with pytest.raises(UserError, match=r"card\.yaml.*numbered upwards, from p0 to p99"):
        load_catalog([str(card)])
