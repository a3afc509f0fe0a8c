"""The whole report on a phone, at widths between, and on paper: nothing is wider than its container, nothing is cut."""

import pytest
from helpers import chromium, evaluated, layout

from eval.commands import compare

pytestmark = pytest.mark.needs_chromium
LONG = "a_name_of_a_system_that_somebody_made_very_long_without_a_single_space_in_it"
ROWS = [
    {
        "id": f"row-with-a-long-id-{i:06}",
        "dialogue": f"Ann: It is {20 + i}.\nBob: https://example.org/{'x' * 90}?n={i}",
        "summary": f"Ann tells Bob about {20 + i}, see https://example.org/{'x' * 90}.",
    }
    for i in range(32)
]
TEMPLATES = [{"id": f"t{i:02}", "inputs": f"{word}: {{dialogue}}", "targets": "{summary}"}
             for i, word in enumerate(("Sum up", "Shorten"))]  # fmt: skip


def right(example):
    return example.references[0]


def short(example):
    return "Somebody meets Olga."


@pytest.fixture
def report(make_card, tmp_path):
    """Every part that a report can have: cautions, ranking, forgetting, template, training, all columns of the examples."""
    cards = [make_card(test_rows=ROWS, name=name, templates=TEMPLATES) for name in ("first", "second_task_of_two")]
    tasks = ("first", "second_task_of_two", "first.t00", "first.t01")
    runs = [evaluated.make_run(tmp_path / name, mixture="first", cards=cards) for name in ("run_a", "run_b")]
    for run, step, answer in ((runs[0], 0, short), (runs[0], 20, right), (runs[0], 40, right), (runs[1], 40, short)):
        evaluated.evaluate(
            run / "eval" / str(step), dict.fromkeys(tasks, answer), cards=cards, step=step,
            weights=str(run / "checkpoints" / str(step)) if step else "google/flan-t5-base",
        )  # fmt: skip
    theirs = evaluated.evaluate(tmp_path / "theirs", dict.fromkeys(tasks, lambda e: "⁇"), cards=cards)
    output = tmp_path / "report.html"
    folders = [*map(str, runs), f"{LONG}={theirs}"]
    assert compare.main([*folders, "--output", str(output), "--bootstrap-samples", "60"]) == 0
    return output


def test_no_element_is_wider_than_its_container_on_a_phone_and_on_paper(report, tmp_path):
    with chromium.page(tmp_path / "profile") as page:
        page.open(report.as_uri())
        sections = page.run("[...document.querySelectorAll('main > section')].map((s) => s.id)")
        assert {"verdicts", "cautions", "ranking", "scores", "forgetting", "wording", "training", "examples"} < {
            *sections
        }
        for width in (390, 360):
            layout.resize(page, width, 800)
            page.run("new Promise((done) => setTimeout(done, 50))")
            assert layout.sticking_out(page) == []
            assert page.run("document.documentElement.scrollWidth") <= width
        assert page.run("document.querySelectorAll('.rows thead th').length") == 5  # those that a phone has room for
        page.call("Emulation.setEmulatedMedia", media="print")
        layout.resize(page, 680, 960)  # A4 within margins of 15 mm
        page.run("new Promise((done) => setTimeout(done, 50))")
        assert layout.sticking_out(page) == []
        hidden = (
            "['nav', '.controls', '#examples-download', '.pager'].map((s) => document.querySelector(s).offsetHeight)"
        )
        assert set(page.run(hidden)) == {0}
        assert page.run("document.querySelector('.headline').offsetHeight") > 0
        assert page.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)["data"]


def test_between_a_phone_and_a_desk_a_wide_table_scrolls_and_its_first_column_stays(report, tmp_path):
    with chromium.page(tmp_path / "profile") as page:
        page.open("about:blank")
        layout.resize(page, 800, 800)
        page.open(report.as_uri())
        assert page.run("document.documentElement.scrollWidth") <= 800
        box = "[...document.querySelectorAll('.scroll')].find((s) => s.scrollWidth > s.clientWidth + 100)"
        page.run(f"{box}.scrollLeft = 90")
        left = f"{box}.querySelector('tbody th').getBoundingClientRect().left - {box}.getBoundingClientRect().left"
        assert page.run(left) == 0
