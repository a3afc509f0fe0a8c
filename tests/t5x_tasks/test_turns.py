"""Turns: messages in the shapes in which chats are stored, and the lines that come of them."""

import json
import random

import pytest

from t5x_tasks.card.fields import FieldSpec, field_text
from t5x_tasks.card.turns import turns
from t5x_tasks.common.errors import UserError

EXPECTED = "Ann: Where is it?\nBob: On its way."


@pytest.mark.parametrize(
    "messages",
    [
        [{"speaker": "Ann", "text": "Where is it?"}, {"speaker": "Bob", "text": "On its way."}],
        [{"role": "Ann", "content": "Where is it?"}, {"role": "Bob", "content": "On its way."}],
        [{"from": "Ann", "value": "Where is it?"}, {"from": "Bob", "value": "On its way."}],
        [{"senderName": "Ann", "Message Body": "Where is it?"}, {"senderName": "Bob", "Message Body": "On its way."}],
        [{"author": {"id": 7, "name": "Ann"}, "body": "Where is it?"}, {"author": {"name": "Bob"}, "body": "On its way."}],
        {"speaker": ["Ann", "Bob"], "utterance": ["Where is it?", "On its way."]},
        {"utterances": ["Where is it?", "On its way."], "speakers": ["Ann", "Bob"], "labels": []},
        {"id": 5, "messages": [{"user": "Ann", "msg": "Where is it?"}, {"user": "Bob", "msg": "On its way."}], "tags": ["x"]},
        ["Ann: Where is it?", "Bob: On its way."],
    ],
)  # fmt: skip
def test_each_shape_gives_the_same_lines(messages):
    assert turns(messages) == EXPECTED
    assert turns(json.dumps(messages, indent=1)) == EXPECTED
    assert turns(repr(messages)) == EXPECTED  # as pandas writes it into a CSV


def test_two_columns_are_speakers_and_texts():
    spec = FieldSpec(columns=("log.who_said", "log.what"), transform="turns")
    row = {"log": [{"who_said": "Ann", "what": "Where is it?"}, {"who_said": "Bob", "what": "On its way."}]}
    assert field_text(spec, row, field="dialogue", place="f:1") == EXPECTED
    assert turns('["Ann", "Bob"]', '["Where is it?", "On its way."]') == EXPECTED
    row["log"].append({"what": "The chat has ended."})  # by nobody
    assert field_text(spec, row, field="dialogue", place="f:1") == f"{EXPECTED}\nThe chat has ended."
    assert field_text(spec, {"log": []}, field="dialogue", place="f:1") == ""
    with pytest.raises(UserError, match=r"f:1: no key 'log.who_said'"):
        field_text(spec, {"log": [{"text": "Hi"}]}, field="dialogue", place="f:1")
    with pytest.raises(ValueError, match="2 speakers but 1 texts; each message needs one of both"):
        turns(["Ann", "Bob"], ["Where is it?"])


def test_each_message_is_one_line_whatever_breaks_lines_in_it():
    said = "Two things:\r\n\n  - the bill\x85 - the\u2028date "
    assert turns([{"sender": "Ann\nLee:", "text": said}]) == "Ann Lee: Two things: - the bill - the date"


def test_messages_without_text_are_passed_over_and_those_without_speaker_stand_alone():
    messages = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": 1}]},
        {"role": "user", "content": " \n"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]},
        {"content": "The chat has ended."},
        None,
    ]
    assert turns(messages) == "user: Hello\nThe chat has ended."
    assert turns([{"text": "The chat has ended.", "sent_at": "2024-05-01"}]) == "The chat has ended."


@pytest.mark.parametrize("nothing", [None, "", " ", [], "[]", "null", float("nan"), {"messages": []}])
def test_no_messages_are_an_empty_text(nothing):
    assert turns(nothing) == ""


def test_parts_of_a_text_are_joined():
    parts = [{"type": "text", "text": "See this"}, {"type": "image"}, {"type": "text", "text": {"value": "please"}}]
    assert turns([{"role": "user", "content": parts}]) == "user: See this please"
    assert turns([{"role": "user", "parts": ["See this", "please"]}]) == "user: See this please"
    assert turns({"role": "user", "content": parts}) == "user: See this please"  # one message


def test_a_name_goes_before_a_role_and_a_role_before_an_id():
    messages = [
        {"role": "agent", "name": "Ann", "user_id": 3, "text": "Hi"},
        {"role": "bot", "name": None, "user_id": 0, "text": "Please wait."},
        {"role": "", "name": "", "user_id": 17, "text": "Hello?"},
    ]
    assert turns(messages) == "Ann: Hi\nbot: Please wait.\n17: Hello?"
    assert turns([{"type": "human", "content": "Hi"}, {"type": "ai", "content": "Hello"}]) == "human: Hi\nai: Hello"


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([{"sender": "Ann", "user": "U1", "text": "Hi"}], "sender and user may each be the speaker; name both in the card"),
        ([{"sender": "Ann", "text": "Hi", "body": "Hi"}], "text and body may each be the text; name both in the card"),
        ([{"who_said": "Ann", "text": "Hi"}], "of the keys who_said, text none is known to be the speaker"),
        ([{"sender": "Ann", "what": "Hi"}], "of the keys sender, what none is known to be the text"),
        ([{"sender": "Ann", "text": "Hi"}, "Hello"], "message 2 must be an object with speaker and text, not str 'Hello'"),
        ([["Ann", "Hi"]], "message 1 must be an object with speaker and text, not list"),
        ([{"sender": ["Ann"], "text": "Hi"}], "message 1: a speaker must be a text, not list"),
        ([{"sender": {"team": 4}, "text": "Hi"}], "message 1: a speaker is an object of the keys team"),
        ([{"sender": "Ann", "text": {"en": "Hi"}}], "message 1: a text is an object of the keys en"),
        ({"speaker": ["Ann"], "text": ["Hi", "Hello"]}, "1 of speaker but 2 of text"),
        ({"title": "Chat"}, "an object of the keys title holds no list of messages"),
        ("Ann: Hi", "must be messages, not the text 'Ann: Hi'; a column of such texts needs no transform"),
        ('[{"sender": "Ann", "te', "is a text that is no whole JSON"),
        (17, "must be a list of messages, not int 17"),
    ],
)  # fmt: skip
def test_what_is_no_dialogue_is_refused_with_a_reason(messages, why):
    with pytest.raises(ValueError, match=why) as error:
        turns(messages)
    assert "\n" not in str(error.value)


def test_a_refusal_names_file_and_row():
    spec = FieldSpec(column="chat", transform="turns")
    with pytest.raises(UserError, match=r"^chats.csv:7: field dialogue: turns: is a text that is no whole JSON"):
        field_text(
            spec, {"chat": '[{"sender": "Ann", "text": "cut off by a spreadshee'}, field="dialogue", place="chats.csv:7"
        )


def test_any_messages_give_as_many_lines_as_have_text():
    draw = random.Random(0)
    for _ in range(300):
        texts = [
            "".join(draw.choices("ab:\n\r\t [{\"'\u2029🙂", k=draw.randrange(8))) for _ in range(draw.randrange(6))
        ]
        speakers = [draw.choice(["Ann", "Bob", "", None, 3]) for _ in texts]
        messages = [{"speaker": s, "text": t} for s, t in zip(speakers, texts, strict=True)]
        lines = turns(messages).splitlines()
        kept = [(s, t) for s, t in zip(speakers, texts, strict=True) if t.strip()]
        assert len(lines) == len(kept)
        for line, (speaker, text) in zip(lines, kept, strict=True):
            beginning = f"{speaker}: " if speaker else ""
            assert line.startswith(beginning)
            assert "".join(line.removeprefix(beginning).split()) == "".join(text.split())
        assert turns(json.dumps(messages)) == turns(messages) == turns(speakers, texts)
