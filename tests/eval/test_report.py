"""The report in a real browser: it renders, filters work, nothing is fetched, and no text from data runs."""

import json
from urllib.parse import quote

import pytest
from helpers import chromium, evaluated

from eval.commands import compare
from t5x_tasks.metrics.baselines import lead

pytestmark = pytest.mark.needs_chromium
LIMIT_BYTES = 5_000_000
FALSE = " They meet at the Hotel Bellevue in Lisbon."

HOSTILE = [
    "<script>window.hacked = 1</script>",
    "</script><script>window.hacked = 2</script>",
    "<img src=x onerror='window.hacked = 3'> <!-- <script> -->",
    "{{ 7 * 7 }} {% raw %} ]]> \u2028 \\u003c &lt;b&gt; 🙂 <b>bold</b>",
]


def status(page):
    return page.run("document.getElementById('examples-status').textContent")


def choose(page, control, value):
    page.run(
        f"(() => {{ const c = document.getElementById('control-{control}'); c.value = '{value}';"
        " c.dispatchEvent(new Event('change')); })()"
    )


@pytest.mark.needs_shared
def test_a_report_of_500_dialogues_renders_filters_and_fetches_nothing(shared_data, tmp_path):
    def after(example):
        return example.references[1] + FALSE * (int(example.id.rpartition("_")[2]) % 10 == 0)

    before = evaluated.evaluate(tmp_path / "before", {"dialogsum": lambda e: lead(e.dialogue or "")}, root=shared_data)
    later = evaluated.evaluate(tmp_path / "after", {"dialogsum": after}, root=shared_data)
    assert compare.main([str(before), str(later), "--bootstrap-samples", "200"]) == 0
    report = before / "report.html"
    assert report.stat().st_size < LIMIT_BYTES

    with chromium.page(tmp_path / "profile") as page:
        page.open(report.as_uri())
        assert page.run("document.documentElement.classList.contains('ready')")
        assert "500 of 500 rows" in status(page) and page.run("document.querySelectorAll('.rows .line').length") == 20
        assert page.run("document.querySelectorAll('.example .references li').length") == 3
        assert page.run("document.querySelectorAll('svg[role=img]').length") >= 2

        choose(page, "only", "made-up")
        assert (
            50 <= int(status(page).split()[0]) <= 65
        )  # every tenth row, and a few whose reference raises the alarm itself
        page.run("location.hash = '#examples&task=dialogsum&only=made-up&diff=off&row=test_10'")
        page.run("new Promise((done) => setTimeout(done, 100))")
        marks = page.run("[...document.querySelectorAll('.answer.b mark.made-up')].map((m) => m.firstChild.data)")
        assert {"Hotel Bellevue", "Lisbon"} <= set(marks)
        choose(page, "only", "all")

        choose(page, "order", "words:1")
        longest = page.run("document.querySelector('.dialogue').textContent.split(/\\s+/).length")
        assert longest > 500

        page.run("document.getElementById('control-q').value = 'Dawson'")
        page.run("document.getElementById('control-q').dispatchEvent(new Event('input'))")
        page.run("new Promise((done) => setTimeout(done, 400))")
        assert 1 <= int(status(page).split()[0]) < 10
        assert "dawson" in page.run("document.querySelector('.example').textContent").lower()

        page.run("location.hash = '#examples&task=dialogsum&split=test&row=test_321'")
        page.run("new Promise((done) => setTimeout(done, 100))")
        assert page.run("document.querySelector('.example h3').textContent") == "test_321"
        assert page.run("document.activeElement.textContent") == "test_321"

        page.call("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
        assert page.run("document.documentElement.scrollWidth") <= 390
        assert page.run("[...document.querySelectorAll('table')].every((t) => t.caption && t.tHead)")
        assert all(address.startswith("file://") for address in page.requests) and not page.troubles


def test_text_from_data_is_shown_and_never_run(make_card, tmp_path):
    rows = [
        {"id": f"r{i} {text}", "dialogue": f"Ann: {text}\nBob: ok", "summary": f"Ann says {text}"}
        for i, text in enumerate(HOSTILE)
    ]
    card = make_card(test_rows=rows)
    folders = [
        evaluated.evaluate(tmp_path / name, {"tiny": lambda e, name=name: f"{name} {e.references[0]}"}, cards=[card])
        for name in ("a", "b")
    ]
    named = [f"{HOSTILE[1]}={folders[0]}", str(folders[1])]
    output = tmp_path / "out" / "report.html"
    assert compare.main([*named, "--output", str(output), "--title", HOSTILE[0], "--bootstrap-samples", "20"]) == 0
    with chromium.page(tmp_path / "profile") as page:
        page.open(output.as_uri())
        assert page.run("window.hacked") is None
        assert page.run("document.title") == HOSTILE[0]
        shown = []
        for row in rows:
            page.run(f"location.hash = {json.dumps('#examples&task=tiny&row=' + quote(row['id'], safe=''))}")
            page.run("new Promise((done) => setTimeout(done, 50))")
            shown.append(
                page.run("[...document.querySelectorAll('.answer.b .text, .example h3')].map((n) => n.textContent)")
            )
        assert shown == [[row["id"], f"b {row['summary']}"] for row in rows]
        for filters in (f"q={quote(HOSTILE[2])}", f"slice={quote(HOSTILE[1])}", f"a={quote(HOSTILE[1], safe='')}"):
            page.run(f"location.hash = {json.dumps('#examples&task=tiny&' + filters)}")
            page.run("new Promise((done) => setTimeout(done, 50))")
        assert page.run("document.getElementById('control-a').selectedOptions[0].textContent") == HOSTILE[1]
        # an element that data brought would be one of these
        assert page.run("document.querySelectorAll('img, main script, main style, iframe, .example b b').length") == 0
        assert page.run("document.scripts.length") == 2
        # and if one came in, the page's own policy would not let it run or load
        page.run(
            "(() => { const s = document.createElement('script'); s.textContent = 'window.hacked = 4';"
            " document.body.append(s); const i = new Image(); i.src = 'https://example.org/x.png'; document.body.append(i); })()"
        )
        page.run("new Promise((done) => setTimeout(done, 100))")
        assert page.run("window.hacked") is None
        assert not any(address.startswith("http") for address in page.requests)
        assert len(page.troubles) == 2 and all("Content Security Policy" in trouble for trouble in page.troubles)
