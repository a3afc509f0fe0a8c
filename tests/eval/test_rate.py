"""The page on which people rate, in a real browser: ratings survive closing it, come out as a file, and nothing leaks or runs."""

import json
import time

import pytest
from helpers import chromium, evaluated

from eval.commands import compare, rate
from eval.rating.files import read_ratings

pytestmark = pytest.mark.needs_chromium
ROWS = [
    {"id": f"r{i}", "dialogue": f"Ann: Is it 2{i}?\nBob: It is 2{i}.", "summary": f"Bob tells Ann that it is 2{i}."}
    for i in range(20)
]
KEYS = {
    "left": ("ArrowLeft", "l"),
    "right": ("ArrowRight", "r"),
    "both good": ("ArrowUp", "g"),
    "both bad": ("ArrowDown", "b"),
}
SHOWN = "document.getElementById('h-rate').textContent"
COUNT = "document.getElementById('count').textContent"


def right(example):
    return example.references[0]


def wrong(example):
    return f"Somebody meets Olga about {example.id}."


@pytest.fixture
def folders(make_card, tmp_path):
    card = make_card(test_rows=ROWS)
    return [
        str(evaluated.evaluate(tmp_path / name, {"tiny": answer}, cards=[card]))
        for name, answer in (("secret_wrong", wrong), ("secret_right", right))
    ]


@pytest.fixture
def sheet(folders, tmp_path):
    assert rate.main([*folders, "--rows", "20", "--out", str(tmp_path / "rate.html")]) == 0
    return tmp_path / "rate.html"


def rate_rows(page, verdicts, *, letters=False):
    for verdict in verdicts:
        page.press(KEYS[verdict][letters], "Enter")


def download(page, folder):
    """The ratings as the page saves them."""
    before = set(folder.glob("*.json"))
    page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    page.run("[...document.querySelectorAll('.download')].find((b) => b.checkVisibility()).click()")
    deadline = time.monotonic() + chromium.TIMEOUT_S
    while not (new := set(folder.glob("*.json")) - before):
        assert time.monotonic() < deadline, "nothing was downloaded"
        time.sleep(0.05)
    (path,) = new
    return path


def type_name(page, name, field):
    page.run(f"document.getElementById('{field}').focus()")
    page.press(*name)


def test_twenty_ratings_go_on_after_the_browser_was_closed_and_two_raters_files_are_compared(
    folders, sheet, tmp_path, capsys
):
    verdicts = ["left", "right", "both good", "both bad"] * 5
    with chromium.page(tmp_path / "profile") as page:
        page.open(sheet.as_uri())
        type_name(page, "Lb", "rater-first")  # letters that are keys elsewhere
        page.run("document.getElementById('start').click()")
        rate_rows(page, verdicts[:8])
        page.press("1", "6", "4", "4", *KEYS[verdicts[8]][:1])  # the 4 is taken back
        assert page.run(COUNT) == "9 of 20 rated" and page.run(SHOWN) == "Dialogue 9 of 20"
        page.close()
    with chromium.page(tmp_path / "profile") as page:
        page.open(sheet.as_uri())
        assert page.run(COUNT) == "9 of 20 rated" and page.run(SHOWN) == "Dialogue 10 of 20"
        rate_rows(page, verdicts[9:], letters=True)
        assert page.run("document.getElementById('h-end').textContent") == "Done. Thank you!"
        first = download(page, tmp_path)
        # The next rater in this browser starts with nothing, agrees on 12 rows, and then says the opposite of left and right.
        page.run("document.getElementById('clear').click()")
        assert page.run(COUNT) == "0 of 20 rated"
        page.run("document.getElementById('start').click()")
        opposite = {"left": "right", "right": "left"}
        rate_rows(page, [*verdicts[:12], *(opposite.get(verdict, verdict) for verdict in verdicts[12:19])])
        second = download(page, tmp_path)
        assert page.requests and all(address.startswith(("file://", "blob:")) for address in page.requests)
        assert not page.troubles

    one, other = read_ratings([first, second])
    assert first.name == f"ratings-Lb-{one.page}.json" and (one.rater, other.rater) == ("Lb", "")
    assert [row.verdict for row in one.rows] == verdicts and other.rows[19].verdict is None
    assert one.rows[8].marks.model_dump() == {"left": ["made_up"], "right": ["misses_agreed"]}
    assert sorted(row.id for row in one.rows) == sorted(row["id"] for row in ROWS)
    assert compare.main([*folders, "--ratings", str(first), str(second), "--bootstrap-samples", "20"]) == 0
    won = [row.preferred for row in one.rows[:12]].count("B")  # where they differ, a row is even
    assert f"secret_right against secret_wrong: people prefer it on {won} of the 6 rows" in (
        out := capsys.readouterr().out
    )
    assert "no verdict on 20 rows" in out and "on 19 rows with two ratings or more" in out
    report = (tmp_path / "secret_wrong" / "report.html").read_text()
    assert "What people prefer" in report and "Do the scores agree with people?" in report and "Lb" in report


def test_the_page_tells_neither_the_systems_names_nor_their_folders(sheet):
    assert "secret" not in sheet.read_text()


def test_texts_from_data_are_shown_and_never_run(make_card, tmp_path):
    hostile = [
        "</script><script>window.hacked = 1</script>",
        "<img src=x onerror='window.hacked = 2'> <!-- <script> -->",
        "{{ 7 * 7 }} \u2028 \\u003c &lt;b&gt; 🙂 <b>bold</b>",
    ]
    ids = ["__proto__", "constructor", hostile[0]]
    rows = [
        {"id": id, "dialogue": f"Ann: {text}\nBob: ok", "summary": text} for id, text in zip(ids, hostile, strict=True)
    ]
    card = make_card(test_rows=rows)
    for name in ("a", "b"):
        evaluated.evaluate(tmp_path / name, {"tiny": lambda e, name=name: f"{name} {e.references[0]}"}, cards=[card])
    output = tmp_path / "rate.html"
    assert rate.main([str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(output)]) == 0
    with chromium.page(tmp_path / "profile") as page:
        page.open(output.as_uri())
        page.run("document.getElementById('start').click()")
        seen = set()
        for _ in rows:
            seen |= set(page.run("['left', 'right'].map((s) => document.getElementById(`text-${s}`).textContent)"))
            page.press("g", "Enter")
        (file,) = read_ratings([download(page, tmp_path)])
        assert seen == {f"{name} {text}" for name in "ab" for text in hostile}
        assert {row.id: row.verdict for row in file.rows} == dict.fromkeys(ids, "both good")
        assert (
            page.run("window.hacked") is None and page.run("document.querySelectorAll('img, main script').length") == 0
        )
        # and if an element came in, the page's own policy would not let it run or load
        page.run(
            "(() => { const s = document.createElement('script'); s.textContent = 'window.hacked = 4';"
            " document.body.append(s); const i = new Image(); i.src = 'https://example.org/x.png'; document.body.append(i); })()"
        )
        page.run("new Promise((done) => setTimeout(done, 100))")
        assert page.run("window.hacked") is None
        assert not any(address.startswith("http") for address in page.requests)
        assert len(page.troubles) == 2 and all("Content Security Policy" in trouble for trouble in page.troubles)


# Text of which the contrast with what is behind it is below 4.5 (WCAG 2.2, 1.4.3); disabled controls are exempt.
FAINT = """(() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => channels(color).slice(0, 3).map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const color = getComputedStyle(node).backgroundColor;
      if ((channels(color)[3] ?? 1) > 0) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  const faint = [];
  for (const node of document.querySelectorAll('body *:not(script, style, option)')) {
    const text = [...node.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data).join('').trim();
    if (!text || !node.checkVisibility() || node.closest(':disabled')) continue;
    const [a, b] = [getComputedStyle(node).color, behind(node)].map(light).sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) faint.push(text);
  }
  return faint;
})()"""
NAMELESS = """[...document.querySelectorAll('button, input, [role=region], progress')].filter((n) => n.checkVisibility() &&
  !(n.textContent.trim() || n.labels?.length || n.ariaLabel)).map((n) => n.outerHTML)"""


def test_the_page_can_be_read_and_used_at_both_widths_light_and_dark(sheet, tmp_path):
    with chromium.page(tmp_path / "profile") as page:
        page.open(sheet.as_uri())
        for view in ("intro", "rate", "end"):
            for width, scheme in ((390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")):
                page.call(
                    "Emulation.setDeviceMetricsOverride",
                    width=width,
                    height=800,
                    deviceScaleFactor=1,
                    mobile=width < 400,
                )
                page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
                assert page.run("document.documentElement.scrollWidth") <= width
                assert page.run(FAINT) == [] and page.run(NAMELESS) == []
            if view == "intro":
                page.run("document.getElementById('start').click()")
                page.press("r", "1")
                # nothing of a row lies outside the window
                assert page.run("document.documentElement.scrollHeight") <= 800
                assert page.run("document.getElementById('next').getBoundingClientRect().bottom") <= 800
            elif view == "rate":
                page.run("for (let i = 0; i < 20; i++) document.getElementById('next').click()")
        assert page.run("document.getElementById('h-end').textContent") == "19 still to rate"
        assert page.run("document.activeElement.id") == "h-end" and not page.troubles


def test_keys_leave_a_focused_dialogue_and_a_name_alone_and_can_be_switched_off(sheet, tmp_path):
    with chromium.page(tmp_path / "profile") as page:
        page.open(sheet.as_uri())
        type_name(page, "grl", "rater-first")
        assert page.run("document.getElementById('rater-first').value") == "grl" and page.run(COUNT) == "0 of 20 rated"
        page.run("document.getElementById('start').click()")
        assert page.run("document.activeElement.id") == "h-rate"
        page.run("document.getElementById('source').focus()")
        page.press("ArrowDown", "ArrowUp")  # they scroll it
        assert page.run(COUNT) == "0 of 20 rated"
        page.press("ArrowRight")
        assert page.run(COUNT) == "1 of 20 rated" and page.run("document.activeElement.id") == "next"
        assert page.run("document.getElementById('status').textContent") == "Right is better: noted."
        assert page.run("document.querySelector('[data-verdict=right]').ariaPressed") == "true"
        page.press("Enter")
        assert page.run(SHOWN) == "Dialogue 2 of 20" and page.run("document.activeElement.id") == "h-rate"
        page.press("p", "l")  # back, and changed
        assert page.run(SHOWN) == "Dialogue 1 of 20" and page.run(COUNT) == "1 of 20 rated"
        page.run("document.getElementById('keys').click()")
        page.press("n", "g", "ArrowLeft")
        assert page.run(SHOWN) == "Dialogue 1 of 20"
        assert page.run("document.querySelector('[data-verdict=left]').ariaPressed") == "true"


def test_a_browser_that_keeps_nothing_is_said_and_the_file_still_comes(sheet, tmp_path):
    with chromium.page(tmp_path / "profile") as page:
        page.open("about:blank")
        page.call(
            "Page.addScriptToEvaluateOnNewDocument",
            source="Storage.prototype.setItem = () => { throw new DOMException('no', 'QuotaExceededError'); };",
        )
        page.open(sheet.as_uri())
        assert page.run("document.getElementById('not-kept').checkVisibility()")
        page.run("document.getElementById('start').click()")
        page.press("l")
        path = download(page, tmp_path)
        assert [row["verdict"] for row in json.loads(path.read_text())["rows"]] == ["left", *[None] * 19]
