"""Claims of the made-up alarm as a detector: which inventions it sees, and what it leaves alone."""

import pytest

from bench.alarm import false_alarms, inventions, inventors, put, read_rows
from eval.diagnostics.particulars import particulars
from eval.diagnostics.source import Source
from eval.diagnostics.speakers import speakers
from eval.report.examples import missed_particulars

CHAT = "Ann: Will you come? I may be late.\nBob: Sure, I will. How was the food? I do not smoke."


def alarms(dialogue: str, summary: str) -> list[tuple[str, str]]:
    source = Source.of(dialogue, len(speakers(dialogue)))
    spans = [(found.kind, found.span) for found in particulars(summary, source)]
    return [(kind, summary[span[0] : span[1]]) for kind, span in spans if span]


@pytest.mark.parametrize(
    "name", ["Emily", "Kelly", "Sally", "Carly", "Beverly", "Fred", "Ted", "Ahmed", "Alfred", "Ming"]
)
@pytest.mark.parametrize(
    "rest", [" wants to eat.", " will be late.", " and Bob are late.", ", Ann and Bob eat.", "'s food is good."]
)
def test_a_name_that_looks_like_an_adverb_or_participle_is_seen_at_the_start_of_a_sentence(name, rest):
    assert alarms(CHAT, f"Ann waits. {name}{rest}") == [("name", name)]
    assert alarms(f"{CHAT}\n{name}: hi", f"Ann waits. {name}{rest}") == []


@pytest.mark.parametrize(
    "text", ["Sterling asks Ann.", "Sterling and Bob eat.", "Sterling will eat.", "Sterling thinks he is late."]
)
def test_a_name_in_ing_is_told_from_a_gerund_by_what_follows(text):
    assert alarms(CHAT, text) == [("name", "Sterling")]


@pytest.mark.parametrize("name", ["Will", "May"])
def test_will_and_may_are_names_unless_they_open_a_question(name):
    for text in (f"{name} is late.", f"Ann asks {name} to eat.", f"Bob and {name} eat.", f"{name}'s food is good."):
        assert alarms(CHAT, text) == [("name", name)], text
        assert alarms(f"{CHAT}\n{name}: hi", text) == []
        assert alarms(f"{CHAT}\nAnn: ask {name}", text) == []
    assert alarms(CHAT, f"{name} they eat? They will, or they may.") == []


@pytest.mark.parametrize(
    "text",
    [
        "Finally, Ann eats.", "Luckily Bob eats.", "Apparently people eat.", "Eventually Ann and Bob eat.", "Early birds eat.",
        "Smoking is bad.", "Talking to people helps.", "Buying tickets is hard.", "Asked by Bob, Ann eats.", "Tired, he left.",
        "Disappointed, Ann left.", "Spring is near.", "Nothing works.", "Ann has a T-shirt.",
    ],
)  # fmt: skip
def test_adverbs_gerunds_and_participles_that_open_a_sentence_are_no_names(text):
    assert alarms(CHAT, text) == []


@pytest.mark.parametrize(
    ("dialogue", "summary"),
    [
        ("i live in New York", "She lives in NYC."),
        ("i live in nyc", "She lives in New York City."),
        ("i am in L.A.", "She is in Los Angeles."),
        ("off to the U.S.", "She goes to the US."),
        ("off to the US", "She goes to the United States. The US-based firm waits."),
        ("it is 500,000 people", "There are half a million people."),
        ("half a million of them", "There are 500,000 of them."),
        ("two and a half thousand", "There are 2,500 of them."),
        ("in 1998", "It was in '98."),
        ("in the 1990s", "It was in the 90s."),
        ("see you at xmas", "They meet at Christmas."),
        ("see you at Christmas", "They meet at Xmas."),
        ("Lilly: hi", "Lily says hi."),
        ("post it on fb", "She posts it on Facebook."),
        ("it is 5 euros", "It costs €5."),
        ("it is 5 eur", "It costs 5 euros."),
        ("it is 5", "It costs 5 euros."),
        ("meet in May", "They meet in May."),
        ("at 5", "They meet on the 5th at 17:00."),
    ],
)
def test_other_names_of_the_same_place_number_and_year_raise_no_alarm(dialogue, summary):
    assert [found for found in alarms(dialogue, summary) if found != ("name", "City")] == []


@pytest.mark.parametrize(
    ("dialogue", "summary", "expected"),
    [
        ("it is 5 dollars", "It costs 5 euros.", ("amount", "5 euros")),
        ("it is $5", "It costs 5 euros.", ("amount", "5 euros")),
        ("it is 5 euros", "It costs 5 yuan.", ("amount", "5 yuan")),
        ("it is 5 zlotys", "It costs £5.", ("amount", "£5")),
        ("#Person1#: hi\n#Person2#: hi", "14 people say hi.", ("number", "14")),
        ("#Person1#: hi\n#Person2#: hi", "It costs $2.", ("amount", "$2")),
        ("for 2 people", "There are 14 people.", ("number", "14")),
        ("i may come", "They meet in May.", ("date", "May")),
        ("a dog", "It was in 2001.", ("date", "2001")),
        ("join us", "She flies to the US.", ("name", "US")),
        ("Ann: join us", "Ann has an American friend.", ("name", "American")),
    ],
)
def test_another_currency_year_or_number_is_an_alarm(dialogue, summary, expected):
    assert alarms(dialogue, summary) == [expected]


def test_a_reference_that_names_will_misses_nothing_where_the_prediction_names_him():
    row = {"prediction": "Will asks Ann. Ann will come.", "references": ["Will invites Ann."], "diagnostics": {}}
    assert [spans for _, spans in missed_particulars(row)] in ([], [[]])


def test_an_invention_takes_the_spaces_and_the_capital_letter_of_its_place():
    assert put("Ann eats.", 0, 3, "Emily").text == "Emily eats."
    assert put("Ann eats.", 0, 0, "in May").text == "In May Ann eats."
    assert put("Ann eats.", 3, 3, "5").text == "Ann 5 eats."
    assert put("Ann eats.", 8, 8, "5 euros").text == "Ann eats 5 euros."


@pytest.mark.needs_shared
@pytest.mark.parametrize("dataset", ["samsum", "dialogsum"])
def test_at_least_97_percent_of_inventions_are_found_at_no_more_than_2_5_percent_of_references_alarmed(
    shared_data, dataset
):
    rows = read_rows(shared_data / dataset / "test.jsonl.gz")
    references, alarming = false_alarms(rows)
    assert alarming <= 0.025 * references
    for kind, invent in inventors(["Lisbon", "Bellevue", "Emily", "Fred", "Kelly", "Marek"]).items():
        found = [invented.found(row.source) for row, invented in inventions(rows, invent, kind, 1000)]
        assert sum(found) >= 0.97 * 1000, kind
