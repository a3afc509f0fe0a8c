"""Claims of the diagnostics: what is made up, who is missed, what is copied, and what the probe changes."""

import gzip
import json
import time

import numpy as np
import pytest

from eval.decoding.likelihood import Likelihoods
from eval.diagnostics.copying import Said, copying, copying_scores, fragments, words
from eval.diagnostics.corruptions import corrupt
from eval.diagnostics.particulars import particulars
from eval.diagnostics.probe import probe
from eval.diagnostics.show import bracketed
from eval.diagnostics.source import Source
from eval.diagnostics.speakers import named, speakers
from eval.examples import read_questions
from eval.report.summary import print_scores
from eval.scoring.score_task import bootstrap, score_task
from t5x_tasks.metrics.pooled import value

NO_COUNTS: dict[str, int | None] = {"truncated_inputs": 0, "truncated_references": 0, "unknown_tokens": 0}
TRIP = (
    "Nora: Did you book the hotel for the fair?\nOlek: Yes, two rooms, from the 14th to the 16th of May.\n"
    "Nora: How much is it?\nOlek: 80 euros a night. Wanda comes along, so meet us at half past six."
)
TRUE = "Olek booked two rooms for May 14-16 at €80 a night. He and Wanda will meet Nora at 6:30."
FALSE = "Olek booked two rooms at the Hotel Bellevue in Lisbon for 90 euros a night. Wanda comes, too."


def alarms(dialogue: str, summary: str) -> list[tuple[str, str]]:
    source = Source.of(dialogue, len(speakers(dialogue)))
    spans = [(found.kind, found.span) for found in particulars(summary, source)]
    return [(kind, summary[span[0] : span[1]]) for kind, span in spans if span]


def diagnosed(make_card, rows, predictions):
    questions = read_questions("tiny", "test", cards=[make_card(test_rows=rows)])
    return score_task(questions, predictions, counts=NO_COUNTS, bootstrap_samples=200)


def test_an_invented_hotel_and_city_raise_the_alarm_with_their_spans_and_the_reference_does_not(make_card, capsys):
    rows = [{"id": f"r{i}", "dialogue": TRIP, "summary": TRUE} for i in range(2)]
    scores = diagnosed(make_card, rows, [FALSE, TRUE])
    made_up = scores.rows[0]["diagnostics"]["made_up"]
    assert [(span["text"], span["kind"]) for span in made_up] == [
        ("Bellevue", "name"), ("Lisbon", "name"), ("90 euros", "amount")
    ]  # fmt: skip
    assert all(FALSE[span["start"] : span["end"]] == span["text"] for span in made_up)
    assert scores.rows[1]["diagnostics"]["made_up"] == []
    diagnostics = scores.summary["diagnostics"]
    assert diagnostics["made_up_rows"]["value"] == 50 and diagnostics["made_up_rows"]["references"]["value"] == 0
    assert diagnostics["made_up_rows"]["excess"]["value"] == 50
    assert diagnostics["made_up_rows"]["ci_low"] < 50 < diagnostics["made_up_rows"]["ci_high"]
    for name, measure in diagnostics.items():
        assert {"value", "ci_low", "ci_high", "settings"} <= measure.keys(), name
        assert "test split, n=2, 95% interval of 200 bootstrap resamples" in measure["settings"]
    assert not any("faithful" in name for name in diagnostics)
    assert json.loads(json.dumps(scores.rows)) == scores.rows

    print_scores("tiny", {"predictions": scores.summary}, split="test")
    shown = capsys.readouterr().out
    assert "made-up alarm, % of summaries" in shown and "speakers of the reference named" in shown
    assert bracketed(FALSE, made_up).startswith(
        "Olek booked two rooms at the Hotel [Bellevue] in [Lisbon] for [90 euros]"
    )


def test_a_missing_name_lowers_speaker_recall_and_one_too_many_precision(make_card):
    rows = [{"id": f"r{i}", "dialogue": TRIP, "summary": "Olek tells Nora about the hotel."} for i in range(2)]
    both, one = "Nora asks Olek about the hotel.", "Olek booked the hotel."
    measure = {
        name: diagnosed(make_card, rows, said).summary["diagnostics"]
        for name, said in (("all", [both, both]), ("missed", [both, one]))
    }
    assert measure["all"]["speaker_recall"]["value"] == 100
    assert measure["missed"]["speaker_recall"]["value"] == 75 and measure["missed"]["speaker_precision"]["value"] == 100
    assert measure["missed"]["speaker_f1"]["value"] == pytest.approx(100 * 6 / 7)
    row = diagnosed(make_card, rows, [both, one]).rows[1]["diagnostics"]["speakers"]
    assert row == {"named": ["Olek"], "missed": ["Nora"], "unexpected": []}
    shorter = [{**row, "summary": "Olek booked it."} for row in rows]
    assert diagnosed(make_card, shorter, [both, both]).summary["diagnostics"]["speaker_precision"]["value"] == 50


@pytest.mark.parametrize(
    ("dialogue", "summary"),
    [
        ("two of them", "There are 2."),
        ("2 of them", "There are two."),
        ("on the 14th", "It is on the fourteenth."),
        ("the fourteenth of may", "They go on May 14th."),
        ("14/05", "They go on May 14th."),
        ("It costs $6.20.", "It costs 6.20 dollars."),
        ("six twenty, please", "It costs $6.20."),
        ("6 dollars and 20 cents", "It costs $6.20."),
        ("it's $6.20", "It costs 6 dollars and 20 cents."),
        ("at 3pm", "They meet at 3 p.m."),
        ("at 3pm", "They meet at 15:00."),
        ("at 15:00", "They meet at 3 pm."),
        ("at three o'clock", "They meet at 3pm."),
        ("see you at 1930", "They meet at 19:30."),
        ("half past six", "They meet at 6:30."),
        ("quarter to seven", "They meet at 6:45."),
        ("12 pm", "They meet at noon."),
        ("a hundred and twenty people", "There are 120 guests."),
        ("1k people", "There are 1,000 guests."),
        ("eighty thou", "It costs 80 thousand."),
        ("1.5 million", "It costs 1,500,000."),
        ("nineteen ninety-nine", "It was in 1999."),
        ("class of '98", "It was in 1998."),
        ("an hour and a half", "It takes 1.5 hours or 90 minutes."),
        ("a dozen eggs", "They need 12 eggs."),
        ("call 555-1234", "The number is 5551234."),
        ("five five five one two", "The number is 55512."),
        ("fifty percent", "It is 50% off."),
        ("see you on fri", "They meet on Friday."),
        ("on wensday", "They meet on Wednesday."),
        ("at the weekend", "They meet on Saturday."),
        ("Ann: hi\nBob: hi\nCy: hi", "The three say hi."),
        ("Alexander: hi", "Alex's friend says hi."),
        ("Alex: hi", "Alexander says hi."),
        ("Bob: hi", "Robert says hi."),
        ("Zoë: hi", "Zoe says hi."),
        ("Kristen: hi", "Kristin says hi."),
        ("i am in new york", "She is in New York's centre."),
        ("I am in New York", "She is in NY."),
        ("I love polish food", "The Polish food is good."),
        ("from Poland", "The Polish guest is here."),
        ("send a whats app", "She sends a WhatsApp message."),
        ("live in the US", "They live in America."),
        ("#Person1#: hi", "#Person1# says hi. Person1 waves."),
        ("Ann: hi", "However, Ann is there. Tomorrow she may go. They meet the guests. May I?"),
        ("Ann: I lost the parcel", "Parcels get lost. Losing them is bad."),
        ("Ann: ok", "I like TV. It's OK."),
    ],
)
def test_two_ways_of_saying_a_thing_raise_no_alarm(dialogue, summary):
    assert alarms(dialogue, summary) == []


@pytest.mark.parametrize(
    ("dialogue", "summary", "expected"),
    [
        ("two of them", "There are 20.", ("number", "20")),
        ("at 3am", "They meet at 3pm.", ("time", "3pm")),
        ("at 6:30", "They meet at 6:45 pm.", ("time", "6:45 pm")),
        ("it is $50", "It costs £50.", ("amount", "£50")),
        ("it is 6132 bucks", "It costs 6123 dollars.", ("amount", "6123 dollars")),
        ("on Monday", "They meet on Tuesday.", ("date", "Tuesday")),
        ("on the 14th of May", "They meet on June 14th.", ("date", "June")),
        ("on the 14th of May", "They meet on May 15th.", ("date", "15th")),
        ("in 2019", "It was in 2021.", ("date", "2021")),
        ("#Person1#: hi\n#Person2#: hi", "#Person3# says hi.", ("name", "#Person3#")),
        ("Ann: hi", "Martin waves.", ("name", "Martin")),
        ("Ann: hi", "Ann and Martin wave.", ("name", "Martin")),
        ("Ann: hi", "She works for Mr. Smith.", ("name", "Smith")),
        ("Ann: hi", "She visits the University of Lisbon.", ("name", "University of Lisbon")),
        ("Ann: hi", "She visits Martin's house.", ("name", "Martin")),
        ("Tim: at that inn", "Tom is late.", ("name", "Tom")),
    ],
)
def test_what_the_dialogue_lacks_raises_the_alarm(dialogue, summary, expected):
    assert alarms(dialogue, summary) == [expected]


def test_speakers_are_what_stands_before_the_colons():
    dialogue = (
        "Ann: hi\nMr. Lee : see\nhttp://x.org is it\n10:30 then\nAnn: ok\n#Person1#: yes\nso we said: no\nBob:<file>"
    )
    assert speakers(dialogue) == ["Ann", "Mr. Lee", "#Person1#", "so we said", "Bob"]
    assert named("Alex's note: Ann-Marie left", ["Alexander", "Ann", "Bob"]) == {"Alexander", "Ann"}
    assert named("Lee pays", ["Mr. Lee", "Mrs. Poe"]) == {"Mr. Lee"}
    assert named("Ann Poe pays", ["Ann Lee", "Ann Poe"]) == {"Ann Poe"}
    assert named("Person2 pays #Person1#", ["#Person1#", "#Person2#", "#Person3#"]) == {"#Person1#", "#Person2#"}


def test_fragments_are_the_longest_shared_runs_and_their_measures_those_of_grusky():
    dialogue = Said("Ann: the red car is here. Bob: The red bus is late.")
    summary = words("the red bus is here today")
    assert fragments(summary, dialogue) == [4, 1]  # `the red bus is`, `here`
    scores = {name: value(found) for name, found in copying_scores([[copying(" ".join(summary), dialogue)]]).items()}
    assert scores["copied_share"] == pytest.approx(100 * 5 / 6)
    assert scores["copied_density"] == pytest.approx((16 + 1) / 6)
    assert scores["novel_1grams"] == pytest.approx(100 / 6)
    assert scores["novel_2grams"] == pytest.approx(100 * 1 / 5)  # only `here today`: `is here` is in another place
    assert scores["repeated_3grams"] == scores["empty"] == 0


def test_repetition_and_empty_predictions_are_counted(make_card):
    rows = [{"id": f"r{i}", "dialogue": "Ann: yes", "summary": "Ann agrees at once."} for i in range(2)]
    found = diagnosed(make_card, rows, ["", "so it is so it is"]).summary["diagnostics"]
    assert found["empty"]["value"] == 50
    assert found["repeated_3grams"]["value"] == pytest.approx(25)  # `so it is`, of four trigrams
    assert found["length_ratio"]["value"] == pytest.approx(6 / 8)
    assert found["speaker_recall"]["value"] == 0


def test_tasks_that_are_no_summarization_are_not_diagnosed(make_card):
    questions = read_questions("tiny", "test", cards=[make_card(category="qa")])
    scores = score_task(questions, ["x"] * 3, counts=NO_COUNTS, bootstrap_samples=10)
    assert "diagnostics" not in scores.summary and "diagnostics" not in scores.rows[0]


def test_corruptions_change_who_how_many_and_whether():
    text = "Nora and Olek are leaving. Nora wants 3 tickets from Olek."
    dialogue = "Nora: 3 tickets!\nOlek: ok"
    found = corrupt(text, dialogue, id="r0")
    assert found["speakers_swapped"] == "Nora and Olek are leaving. Olek wants 3 tickets from Nora."
    assert found["negation_added"] == "Nora and Olek are not leaving. Nora wants 3 tickets from Olek."
    changed = found["numbers_changed"]
    assert changed and changed != text and alarms(dialogue, changed)
    assert corrupt(text, dialogue, id="r0") == found
    assert len({corrupt(text, dialogue, id=f"r{i}")["numbers_changed"] for i in range(9)}) > 1


@pytest.mark.parametrize(
    ("text", "denied"),
    [
        ("Nora wants tea.", "Nora does not want tea."),
        ("Nora tries it.", "Nora does not try it."),
        ("He goes home.", "He does not go home."),
        ("Nora can come.", "Nora cannot come."),
        ("Nora can't come, and she will stay.", "Nora can't come, and she will not stay."),
        ("They'll come.", "They'll not come."),
        ("Nora has bought tea.", "Nora has not bought tea."),
        ("Nora has a cat.", "Nora does not have a cat."),
        ("They asked Will to stay.", None),
    ],
)
def test_a_verb_is_denied_as_english_does(text, denied):
    assert corrupt(text, "Nora: hi\nWill: hi", id="x")["negation_added"] == denied


def test_a_corruption_that_changes_nothing_does_not_apply():
    found = corrupt("Nora and Olek talked.", "Nora: hi\nOlek: hi", id="x")
    assert found == dict.fromkeys(("speakers_swapped", "numbers_changed", "negation_added"))
    assert corrupt("Nora left.", "Nora: hi\nOlek: hi", id="x")["speakers_swapped"] == "Olek left."


def test_the_probe_counts_how_often_the_reference_is_more_likely(make_card, vocabulary):
    rows = [
        {"id": "a", "dialogue": "Ann: 3\nBob: ok", "summary": "Ann wants 3 cups from Bob."},
        {"id": "b", "dialogue": "Ann: hi\nBob: ok", "summary": "Ann and Bob talked."},
        {"id": "c", "dialogue": "Ann: hi\nBob: ok", "summary": "Bob will call Ann."},
    ]
    examples = read_questions("tiny", "test", cards=[make_card(test_rows=rows)]).examples
    inputs = [np.array([5, 1])] * 3

    def prefers_short(inputs, targets):  # and is indifferent to everything else
        lengths = np.array([len(ids) for ids in targets])
        return Likelihoods(-(lengths**2.0), lengths)

    found = probe(
        prefers_short, examples, inputs, vocabulary, interval=lambda s: bootstrap(s, samples=50), settings="test split"
    )
    negation, swapped = found.summary["probe.negation_added"], found.summary["probe.speakers_swapped"]
    assert (negation["value"], negation["plain"]["value"], negation["n"], negation["not_applicable"]) == (
        100,
        100,
        2,
        1,
    )
    assert swapped["value"] == 50 and swapped["n"] == 2  # as many tokens: a tie counts half
    assert found.summary["probe.numbers_changed"]["n"] == 1
    assert set(found.rows[0]) == {"speakers_swapped", "numbers_changed", "negation_added"} and found.rows[1] == {}
    assert found.rows[2]["negation_added"]["text"] == "Bob will not call Ann."
    assert found.rows[2]["negation_added"]["margin"] > 0 and "test split" in negation["settings"]
    none = probe(prefers_short, examples[1:2], inputs[:1], vocabulary, interval=lambda s: {}, settings="")
    assert none.summary["probe.negation_added"]["value"] is None and none.summary["probe.negation_added"]["n"] == 0


@pytest.mark.needs_shared
@pytest.mark.parametrize(("dataset", "rows_bound", "rate_bound"), [("samsum", 2.5, 1.0), ("dialogsum", 2.5, 1.0)])
def test_human_references_hardly_raise_the_alarm_and_summaries_of_other_dialogues_do(
    shared_data, dataset, rows_bound, rate_bound
):
    """1.8% of SAMSum's references and 1.0% of DialogSum's, when this was written (docs/reading_a_report.md).

    The other half keeps the bound honest: a rule that finds nothing false anywhere would hold it, too.
    """
    with gzip.open(shared_data / dataset / "test.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    texts = [row.get("summaries") or [row["summary"]] for row in rows]
    start = time.perf_counter()
    sources = [Source.of(row["dialogue"], len(speakers(row["dialogue"]))) for row in rows]
    own = [particulars(text, source) for source, group in zip(sources, texts, strict=True) for text in group]
    alarming = [[found for found in group if found.span] for group in own]
    in_rows = 100 * np.mean([bool(group) for group in alarming])
    of_all = 100 * sum(map(len, alarming)) / sum(map(len, own))
    print(f"{dataset}: {in_rows:.2f}% of references, {of_all:.2f}% of particulars, {time.perf_counter() - start:.1f} s")
    assert in_rows < rows_bound and of_all < rate_bound

    others = sources[37:] + sources[:37]
    foreign = [found for source, group in zip(others, texts, strict=True) for found in particulars(group[0], source)]
    names = [found for found in foreign if found.kind == "name"]
    if dataset == "samsum":  # DialogSum's speakers have the same labels everywhere
        assert np.mean([bool(found.span) for found in names]) > 0.97
    assert np.mean([bool(found.span) for found in foreign if found.kind in ("date", "time", "amount")]) > 0.85
