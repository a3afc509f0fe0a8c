"""The report's first screen: a verdict card for each task, in words, before any table or path, on a desk and on a phone."""

import pytest
from helpers import chromium, evaluated

from eval.commands import compare
from eval.comparison.pairs import Outcome, outcome

ROWS = [
    {
        "id": f"r{i}",
        "dialogue": f"Ann: It is {20 + i} people on Monday.\nBob: I see, {20 + i} of them.",
        "summary": f"Ann tells Bob about {20 + i} people on Monday.",
    }
    for i in range(40)
]
SIZES = ((1280, 800), (390, 800))


def right(example):
    return example.references[0]


def half(example):
    """Makes somebody up in every second row, and is right in the others."""
    return "Olga and Igor meet." if int(example.id[1:]) % 2 else example.references[0]


def gather(*folders, samples=300):
    return compare.gather([str(folder) for folder in folders], samples=samples)


@pytest.fixture
def before_and_after(make_card, tmp_path):
    card = make_card(test_rows=ROWS)

    def made(before, after, **settings):
        return [
            evaluated.evaluate(tmp_path / name, {"tiny": answer}, cards=[card], **settings)
            for name, answer in (("before", before), ("after", after))
        ]

    return made


def test_a_card_says_who_is_better_by_how_much_and_on_how_many_rows(before_and_after):
    (card,) = gather(*before_and_after(half, right)).cards
    (contrast,) = card.contrasts
    assert (card.tone, card.headline) == ("better", "after is better")
    assert contrast.outcome == Outcome(won=20, tied=20, lost=0)
    assert "On 20 of 40 rows after does better than before, on 0 worse" in card.sentence
    assert contrast.change.startswith("+") and "better" in contrast.bar and "overlap of words" in card.meaning
    assert contrast.made_up is not None and float(contrast.made_up.before) > float(contrast.made_up.after) == 0


def test_a_card_never_calls_less_of_a_score_a_loss_where_less_is_better(before_and_after):
    comparison = gather(*before_and_after(half, right)).comparisons[0]
    assert outcome(comparison, 0, 1) == Outcome(20, 20, 0) and outcome(comparison, 1, 0) == Outcome(0, 20, 20)
    comparison.columns[0].summary["metrics"]["rougeL"]["better"] = "lower"
    assert outcome(comparison, 0, 1) == Outcome(0, 20, 20)


def test_a_card_of_equal_systems_and_one_of_few_rows_decide_nothing(before_and_after):
    (equal,) = gather(*before_and_after(right, right)).cards
    assert (equal.tone, equal.headline) == ("even", "No difference shown")
    (few,) = gather(*before_and_after(half, right, limit=29)).cards
    assert (few.tone, few.headline) == ("", "No verdict") and "29 rows are too few" in few.sentence


@pytest.mark.needs_chromium
def test_the_first_screen_holds_the_verdict_and_neither_table_nor_path_is_above_it(before_and_after, tmp_path):
    folders = before_and_after(half, right)
    output = tmp_path / "report.html"
    assert compare.main([*map(str, folders), "--output", str(output), "--bootstrap-samples", "100"]) == 0
    with chromium.page(tmp_path / "profile") as page:
        page.open("about:blank")
        for width, height in SIZES:
            page.call(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=height,
                deviceScaleFactor=1,
                mobile=width < 500,
            )
            page.open(output.as_uri())
            for part in (".headline", ".sentence", ".gain", ".shares", ".made-box"):
                box = f"document.querySelector('.card {part}').getBoundingClientRect()"
                assert page.run(f"{box}.height > 0 && {box}.bottom <= {height} && {box}.right <= {width}"), part
            top = "document.querySelector('.card').getBoundingClientRect().top"
            assert page.run(
                f"[...document.querySelectorAll('table')].every((t) => t.getBoundingClientRect().top > {top})"
            )
            shown = page.run(
                "document.querySelector('header').textContent + document.querySelector('.cards').textContent"
            )
            assert "/" not in shown
        assert page.run("document.querySelector('.shares-text').textContent").split() == [
            "20", "won", "20", "tied", "0", "lost"
        ]  # fmt: skip
        assert not page.troubles
