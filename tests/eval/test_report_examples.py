"""The examples of a report in a real browser: filters by click and by address, word diff, sorting, keys, download, widths."""

import csv
import io
import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml
from helpers import chromium, evaluated, layout

from eval.commands import compare

pytestmark = pytest.mark.needs_chromium
TOPICS = ("refunds", "delays", "lost, found")
ROWS = [
    {
        "id": f"r{i:02}",
        "dialogue": f"Ann: My order {100 + i} is late by {i} days.\nBob: I am sorry, Ann. " + "Please wait. " * (i % 7),
        "summary": f"Ann tells Bob that order {100 + i} is late.",
        "topic": TOPICS[i % 3],
    }
    for i in range(45)
]
ROWS[3]["id"] = "=cmd|'/c calc'!A0"
CARD = {
    "name": "orders", "description": "Rows.", "licence": "CC0-1.0", "category": "summarization",
    "source": {"type": "jsonl", "train": "rows.jsonl", "test": "rows.jsonl"},
    "fields": {"dialogue": "dialogue", "summary": "summary"}, "groups": {"topic": "topic"},
    "templates": [{"id": "t00", "inputs": "Summarize. {dialogue}", "targets": "{summary}"}], "metrics": ["rouge"],
}  # fmt: skip


def number(example):
    return int(example.dialogue.split()[3]) - 100


def before(example):
    return "Ann is late." if number(example) % 3 else example.references[0]


def after(example):
    made_up = " She meets Olga in Lisbon." if number(example) % 5 == 0 else ""
    return example.references[0].replace("tells Bob", "writes to Bob") + made_up


def theirs(example):
    return '=HYPERLINK("http://x.example","open") said Ann, "late"'


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "card.yaml").write_text(yaml.safe_dump(CARD))
    folders = [
        evaluated.evaluate(folder / answer.__name__, {"orders": answer}, cards=[folder / "card.yaml"])
        for answer in (before, after, theirs)
    ]
    output = folder / "report.html"
    assert compare.main([*map(str, folders), "--output", str(output), "--bootstrap-samples", "100"]) == 0
    return output


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium.page(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser, report):
    """The report, opened anew on a desk."""
    browser.open("about:blank")
    layout.resize(browser, 1280, 800)
    browser.open(report.as_uri())
    yield browser
    assert not browser.troubles


def view(**filters) -> str:
    return "#examples&task=orders&split=test&" + "&".join(f"{k}={quote(str(v), safe='')}" for k, v in filters.items())


def go(page, address: str) -> None:
    page.run(f"location.hash = {json.dumps(address)}")
    settle(page)


def settle(page, ms: int = 50) -> None:
    page.run(f"new Promise((done) => setTimeout(done, {ms}))")


def ids(page) -> list[str]:
    return page.run("[...document.querySelectorAll('.rows .opens')].map((b) => b.textContent)")


def number_shown(page) -> int:
    return int(page.run("document.getElementById('examples-status').textContent").split()[0])


def click(page, selector: str) -> None:
    page.run(
        f"(() => {{ const node = document.querySelector({json.dumps(selector)}); const box = node.getBoundingClientRect();"
        " node.dispatchEvent(new MouseEvent('click', { bubbles: true, cancelable: true, view: window })); })()"
    )
    settle(page)


def choose(page, control: str, value: str) -> None:
    page.run(
        f"(() => {{ const c = document.getElementById('control-{control}'); c.value = {json.dumps(value)};"
        " c.dispatchEvent(new Event('change')); })()"
    )


def column(page, key: str) -> list[str]:
    place = page.run(f"document.querySelector('.sort[data-key=\"{key}\"]').closest('th').cellIndex")
    return page.run(f"[...document.querySelectorAll('.rows .line')].map((r) => r.cells[{place}].textContent)")


def test_a_click_on_a_bar_of_the_histogram_shows_its_rows_and_no_others(page):
    assert number_shown(page) == 45
    bars = page.run("[...document.querySelectorAll('.histogram a')].map((a) => a.getAttribute('aria-label'))")
    counts = [int(re.search(r": (\d+) row", bar)[1]) for bar in bars]  # type: ignore[index]
    assert sum(counts) == 45 and len(bars) > 3
    for place, wanted in enumerate(counts):
        click(page, f".histogram a:nth-of-type({place + 1})")
        assert number_shown(page) == wanted if wanted else "None of" in status(page)
        click(page, ".filters a")
    assert number_shown(page) == 45


def status(page) -> str:
    return page.run("document.getElementById('examples-status').textContent")


def test_a_click_on_a_slice_a_matrix_cell_and_a_verdict_filters_the_rows(page):
    click(page, "a[aria-label^='Examples of refunds']")
    assert number_shown(page) == 15 and all(
        "topic: refunds" in text
        for text in page.run("[...document.querySelectorAll('.example header')].map((h) => h.textContent)")
    )
    click(page, ".shares-text a")  # rows that the best system wins
    assert number_shown(page) == int(page.run("document.querySelector('.shares-text b').textContent"))
    click(page, ".wins tbody tr:nth-child(2) a")  # the second against the first in the ranking
    names = page.run("[...document.querySelectorAll('.wins tbody th')].map((h) => h.textContent.trim())")
    chosen = page.run("['a', 'b'].map((s) => document.getElementById(`control-${s}`).selectedOptions[0].textContent)")
    assert chosen == names[:2]
    assert page.run("document.getElementById('control-only').value") == "gain" and set(
        column(page, "change")[0][:1]
    ) <= {"▲"}


def test_an_address_holds_all_filters_and_gives_the_same_rows_to_whoever_opens_it(page, report):
    choose(page, "only", "made-up")
    choose(page, "slice", "By topic: delays")
    choose(page, "order", "words:0")
    page.run("document.getElementById('control-q').value = 'olga'")
    page.run("document.getElementById('control-q').dispatchEvent(new Event('input'))")
    settle(page, 300)
    wanted, address = ids(page), page.run("location.hash")
    assert wanted == [ROWS[i]["id"] for i in (10, 25, 40)] or len(wanted) == 3
    page.open("about:blank")
    page.open(report.as_uri() + address)
    assert ids(page) == wanted and page.run("location.hash") == address
    assert page.run("document.querySelectorAll('.filters a').length") == 3
    for broken in (
        "#examples&task=%E0%A4%A",
        "#examples&task=nothing",
        "#examples&",
        view(only="__proto__", order="x"),
    ):
        go(page, broken)
    assert number_shown(page) == 45  # the last one's filters are unknown


def test_a_link_to_a_row_shows_it_whatever_the_filters_are(page):
    go(page, view(row="r44", only="made-up"))
    assert page.run("document.querySelector('tr.open .opens').textContent") == "r44"
    assert page.run("document.activeElement.textContent") == "r44"


def test_the_diff_marks_the_words_that_two_systems_and_the_reference_do_not_share(page):
    go(page, view(a="before", b="after", row="r10"))
    words = "(side) => [...document.querySelectorAll(`.answer.${side} ins`)].map((n) => n.textContent)"
    assert page.run(f"({words})('a')") == []  # "Ann is late." is all in the other, in this order
    assert page.run(f"({words})('b')")[0] == "writes to Bob that order 110"
    text = page.run("document.querySelector('.answer.b .text').textContent").replace(" (not in the dialogue)", "")
    assert text == "Ann writes to Bob that order 110 is late. She meets Olga in Lisbon."
    choose(page, "diff", "reference")
    removed = page.run("[...document.querySelectorAll('.answer.b del')].map((n) => n.textContent)")
    added = page.run(f"({words})('b')")
    assert removed == ["tells"] and added[0] == "writes to" and "Olga" in "".join(added)
    kept = "(() => { const copy = document.querySelector('.answer.b .text').cloneNode(true);"
    kept += " copy.querySelectorAll('ins, .said').forEach((n) => n.remove()); return copy.textContent; })()"
    assert page.run(kept).split() == ["Ann", "tells", "Bob", "that", "order", "110", "is", "late."]
    choose(page, "diff", "off")
    assert page.run("document.querySelectorAll('.answer ins, .answer del').length") == 0


def test_what_is_made_up_and_what_is_missed_are_marked_and_said(page):
    go(page, view(a="before", b="after", row="r10", diff="off"))
    assert page.run("[...document.querySelectorAll('.answer.b mark')].map((m) => m.textContent)") == [
        "Olga (not in the dialogue)", "Lisbon (not in the dialogue)",
    ]  # fmt: skip
    go(page, view(a="after", b="before", row="r10", diff="off"))
    marks = page.run("[...document.querySelectorAll('.references mark.missed')].map((m) => m.firstChild.data)")
    assert marks == ["Bob", "110"]


def test_rows_sort_by_every_column_in_both_ways(page):
    go(page, view(a="before", b="after"))
    keys = page.run("[...document.querySelectorAll('.sort')].map((b) => b.dataset.key)")
    assert keys == ["id", "a", "b", "change", "made-up-a", "made-up", "missed-a", "missed", "words"]
    for key in keys[1:]:
        for way in ("descending", "ascending"):
            click(page, f".sort[data-key='{key}']")
            assert page.run(f"document.querySelector('.sort[data-key=\"{key}\"]').closest('th').ariaSort") == way
            values = [float(re.sub("[^0-9.-]", "", v.replace("−", "-").replace("·", "0"))) for v in column(page, key)]
            assert values == sorted(values, reverse=way == "descending"), key
    click(page, ".sort[data-key='id']")
    assert ids(page)[:2] == ["r00", "r01"]


def test_j_and_k_walk_through_the_rows_over_pages_and_leave_the_search_alone(page):
    def press(key, times=1):
        event = f"new KeyboardEvent('keydown', {{ key: '{key}', bubbles: true }})"
        for _ in range(times):
            page.run(f"(document.activeElement ?? document.body).dispatchEvent({event})")

    go(page, view(order="id", down=0, row="r00"))
    opened = "document.querySelector('tr.open .opens').textContent"
    press("j", 2)
    assert page.run(opened) == "r02" and "row=r02" in page.run("location.hash")
    press("j", 20)
    assert page.run(opened) == "r22" and "page 2" in page.run("document.querySelector('.place').textContent")
    press("k", 3)
    assert page.run(opened) == "r19" and "page 1" in page.run("document.querySelector('.place').textContent")
    page.run("document.getElementById('control-q').focus()")
    press("j")
    assert page.run(opened) == "r19"


def test_filtered_rows_download_as_csv_in_which_no_text_is_a_formula(page, tmp_path):
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    go(page, view(a="before", b="theirs", slice="By topic: refunds"))
    page.run("document.getElementById('examples-download').click()")
    for _ in range(50):
        if found := list(tmp_path.glob("*.csv")):
            break
        settle(page, 100)
    lines = list(csv.DictReader(io.StringIO(found[0].read_text(encoding="utf-8-sig"))))
    assert {line["id"] for line in lines} == {"'" + ROWS[3]["id"], *(ROWS[i]["id"] for i in range(0, 45, 3) if i != 3)}
    assert {line["theirs"] for line in lines} == {"'" + theirs(None)}
    assert all(float(line["theirs: rougeL"]) < float(line["after: rougeL"]) for line in lines)
    assert lines[1]["input"] == ROWS[3]["dialogue"] or "order 10" in lines[0]["input"]
