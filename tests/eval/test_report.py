"""The report in a real browser: it renders, filters work, nothing is fetched, and no text from data runs."""

import re

import pytest
from helpers import chromium, evaluated

from eval import compare
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


def cards_shown(page):
    return page.run("document.querySelectorAll('.example').length")


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
        assert "500 of 500 rows" in status(page) and cards_shown(page) == 10
        assert page.run("document.querySelectorAll('.example:first-of-type .references li').length") == 3
        assert page.run("document.querySelectorAll('svg[role=img]').length") >= 2

        choose(page, "only", "made-up")
        assert (
            50 <= int(status(page).split()[0]) <= 65
        )  # every tenth row, and a few whose reference raises the alarm itself
        assert page.run(
            "[...document.querySelectorAll('.example')].every((e) => e.querySelector('.after mark.made-up'))"
        )
        marks = page.run("[...document.querySelectorAll('.answer.after mark.made-up')].map((m) => m.firstChild.data)")
        assert {"Hotel Bellevue", "Lisbon"} <= set(marks)
        choose(page, "only", "all")

        gains = "[...document.querySelectorAll('.chip.up, .chip.down')].map((c) => c.textContent)"
        choose(page, "order", "gain")
        found = [float(re.sub(r"[^\d.]", "", text.split()[-1])) for text in page.run(gains)]
        assert found == sorted(found, reverse=True) and len(found) == 10
        choose(page, "order", "longest")
        lengths = page.run("[...document.querySelectorAll('.dialogue')].map((d) => d.textContent.split(/\\s+/).length)")
        assert lengths[0] > 500 and lengths[0] > lengths[-1]

        page.run("document.getElementById('control-search').value = 'Dawson'")
        page.run("document.getElementById('control-search').dispatchEvent(new Event('input'))")
        page.run("new Promise((done) => setTimeout(done, 400))")
        assert 1 <= cards_shown(page) < 10
        assert page.run("[...document.querySelectorAll('.example')].every((e) => /dawson/i.test(e.textContent))")

        page.run("location.hash = '#row/dialogsum/test/test_321'")
        page.run("new Promise((done) => setTimeout(done, 100))")
        assert page.run("document.querySelector('.example.target h3').textContent") == "test_321"
        assert page.run("document.activeElement.classList.contains('target')")

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
        choose(page, "order", "data")
        shown = page.run("[...document.querySelectorAll('.answer.after .text')].map((t) => t.textContent)")
        assert shown == [f"b {row['summary']}" for row in rows]
        assert page.run("[...document.querySelectorAll('.example h3')].map((h) => h.textContent)") == [
            r["id"] for r in rows
        ]
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
