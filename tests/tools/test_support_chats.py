"""Claims about the data set that ships: it is what its generator makes, and its summaries tell what the chats say."""

import gzip
import re
import string
from collections import Counter
from pathlib import Path

import pytest
import yaml

from t5x_tasks.common.errors import UserError
from t5x_tasks.common.vocabulary import Vocabulary
from tests.conftest import REPOSITORY, VOCABULARY
from tools.support_chats import texts
from tools.support_chats.__main__ import main
from tools.support_chats.dialogue import MAX_TURNS, MIN_TURNS
from tools.support_chats.generate import SPLITS, Row, generate
from tools.support_chats.style import repair

DATA = REPOSITORY / "t5x_tasks" / "library" / "data" / "support_chats"
TEMPLATES = REPOSITORY / "t5x_tasks" / "library" / "templates" / "dialogue_summarization.yaml"


@pytest.fixture(scope="module")
def splits() -> dict[str, list[Row]]:
    return generate()


@pytest.fixture(scope="module")
def rows(splits: dict[str, list[Row]]) -> list[Row]:
    return [row for split in splits.values() for row in split]


def words(text: str) -> list[str]:
    """Numbers (with their cents or minutes) and words."""
    return re.findall(r"\d+(?:[.:]\d+)*|[A-Za-z]+", text)


def test_the_command_makes_the_shipped_rows_and_vocabulary(tmp_path: Path) -> None:
    main(["--output", str(tmp_path)])
    for split in SPLITS:
        # Unpacked bytes: another zlib may compress the same rows into other bytes.
        made, shipped = (gzip.decompress((folder / f"{split}.jsonl.gz").read_bytes()) for folder in (tmp_path, DATA))
        assert made == shipped, split
    assert (tmp_path / VOCABULARY.name).read_bytes() == VOCABULARY.read_bytes()


def test_another_seed_gives_other_rows(splits: dict[str, list[Row]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SPLITS, "train", 50)
    monkeypatch.setitem(SPLITS, "validation", 0)
    monkeypatch.setitem(SPLITS, "test", 0)
    other = {row.dialogue for row in generate(seed=7)["train"]}
    assert not other & {row.dialogue for row in splits["train"]}


def test_every_split_has_rows_of_every_domain(splits: dict[str, list[Row]]) -> None:
    for split, count in {"train": 6000, "validation": 400, "test": 400}.items():
        assert len(splits[split]) == len({row.id for row in splits[split]}) == count
        assert {row.domain for row in splits[split]} == set(texts.domains())


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("- slot: age", "- slots: age", r"intents.repair_visit.asks.0.slot: Field required"),
        ("- slot: age", "- age\n      - slot: age", r"intents.repair_visit.asks.0: age is no question"),
        ("{pick: machines}", "{pick: machine}", r"intents.repair_visit.facts.machine: {'pick': 'machine'} is no kind"),
        ("[2, 11, year]", "[2, many, year]", r"intents.repair_visit.facts.age: .* is no kind"),
        ("intents:", "intents: [", r"not valid YAML"),
    ],
)
def test_a_mistake_in_a_scenario_is_told_with_file_and_key(
    before: str, after: str, reason: str, tmp_path: Path
) -> None:
    text = (texts.FOLDER / "scenarios" / "appliances.yaml").read_text()
    (tmp_path / "broken.yaml").write_text(text.replace(before, after))
    with pytest.raises(UserError, match=rf"broken\.yaml: {reason}"):
        texts.read(tmp_path / "broken.yaml", texts.Domain, texts.names().lists)


def test_turns_are_lines_of_a_named_speaker_and_between_4_and_20(rows: list[Row]) -> None:
    for row in rows:
        lines = row.dialogue.split("\n")
        assert MIN_TURNS <= len(lines) <= MAX_TURNS, row.id
        assert all(re.match(r"[A-Z][A-Za-z. ]*: \S", line) for line in lines), row.id
        assert len({line.split(":")[0] for line in lines}) in (2, 3), row.id


def test_no_text_occurs_twice_in_or_across_splits(rows: list[Row]) -> None:
    assert len({row.dialogue for row in rows}) == len(rows)
    assert len({row.summary for row in rows}) == len(rows)


def test_most_pairs_of_speakers_of_the_test_split_are_new(splits: dict[str, list[Row]]) -> None:
    known = {row.speakers for row in splits["train"]}
    assert sum(row.speakers not in known for row in splits["test"]) > 0.9 * len(splits["test"])


def test_summary_names_the_customer_and_the_agent_who_decided(rows: list[Row]) -> None:
    for row in rows:
        assert all(name in row.summary for name in row.speakers), row.id


def test_summary_has_one_to_three_sentences(rows: list[Row]) -> None:
    for row in rows:
        text = re.sub(r"\b(Mr|Ms|Mrs|Dr)\.", r"\1", row.summary)
        assert 1 <= len(re.findall(r"[.!?](?= |$)", text)) <= 3, row.summary


def test_every_number_and_name_of_a_summary_is_in_its_dialogue(rows: list[Row]) -> None:
    sentence_starts = {"The", "It", "A", "None", "There", "That", "Everything"}
    for row in rows:
        known = set(words(row.dialogue)) | sentence_starts
        # "the 14th" said in a correction stands for 14; "X-ray" may lose nothing.
        known |= {word.rstrip("stndrh") for word in re.findall(r"\d+(?:st|nd|rd|th)\b", row.dialogue)}
        for word in words(row.summary):
            if word[0].isdigit() or word[0].isupper():
                assert word in known, f"{row.id}: {word!r} of {row.summary!r} is not in the dialogue"


def test_withdrawn_values_are_said_but_do_not_reach_the_summary(rows: list[Row]) -> None:
    corrected = [row for row in rows if row.withdrawn]
    assert len(corrected) > 0.2 * len(rows)
    for row in corrected:
        for value in row.withdrawn:
            assert value.lower() in row.dialogue.lower(), row.id
            assert not re.search(rf"(?<![\w$.:]){re.escape(value)}(?![\w.:]*\d)\b", row.summary), row.id


def test_small_talk_and_identity_do_not_reach_the_summary(rows: list[Row]) -> None:
    private = re.compile(
        r"@example|postcode|(?:my|your) birthday|first pet|weather|battery|my kids|cousin", re.IGNORECASE
    )
    assert sum(bool(private.search(row.dialogue)) for row in rows) > 0.2 * len(rows)
    assert not any(private.search(row.summary) for row in rows)


def test_requests_end_in_many_ways(splits: dict[str, list[Row]]) -> None:
    def skeleton(row: Row) -> str:
        text = row.summary
        for name, mark in ((row.speakers[0], "C"), (row.speakers[1], "A")):
            text = text.replace(name, mark)
        for value in sorted(row.values, key=len, reverse=True):
            text = text.replace(value, "_")
        return re.sub(r"\d+", "0", text)

    skeletons = Counter(skeleton(row) for row in splits["train"])
    assert len(skeletons) > 300
    assert max(skeletons.values()) < 0.01 * len(splits["train"])
    assert len({row.topic for row in splits["train"]}) >= 60
    assert any("refuses" in row.summary for row in splits["test"])


def test_articles_follow_the_sound_of_the_next_word() -> None:
    assert repair("a umbrella and an user") == "An umbrella and a user"
    assert repair("took a X-ray, an hour, a 8 pm table") == "Took an X-ray, an hour, an 8 pm table"


def test_texts_are_covered_by_the_t5_vocabulary(rows: list[Row]) -> None:
    # Characters that T5's own vocabulary lacks, and anything outside ASCII.
    allowed = (set(string.printable) - set("{}<~^\\`")) - set("\t\r\x0b\x0c")
    assert set("".join(row.dialogue + row.summary for row in rows)) <= allowed


def test_shipped_vocabulary_reads_unseen_rows_without_unknown_pieces(
    splits: dict[str, list[Row]], vocabulary: Vocabulary
) -> None:
    unseen = [text for split in ("validation", "test") for row in splits[split] for text in (row.dialogue, row.summary)]
    encoded = vocabulary.encode_batch([*unseen, string.printable.strip()], num_threads=1)
    assert not any((ids == vocabulary.unk_id).any() for ids in encoded)
    assert vocabulary.decode(encoded[1]) == unseen[1]


def test_shipped_vocabulary_splits_numbers_into_digits(vocabulary: Vocabulary) -> None:
    short, long = vocabulary.encode_batch(["order 4", "order 48213"], num_threads=1)
    assert len(long) == len(short) + 4


def test_templates_are_distinct_and_some_are_held_out() -> None:
    templates = yaml.safe_load(TEMPLATES.read_text(encoding="utf-8"))
    assert len(templates) >= 10
    assert len({template["id"] for template in templates}) == len(templates)
    assert len({template["inputs"] for template in templates}) == len(templates)
    forward = [template for template in templates if not template.get("inverted")]
    assert all(template["inputs"].count("{dialogue}") == 1 for template in forward)
    assert all(template["targets"] == "{summary}" for template in forward)
    held_out = [template["id"] for template in templates if template.get("split") == "heldout"]
    assert 2 <= len(held_out) <= len(templates) - 10
