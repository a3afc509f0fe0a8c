import pytest
import yaml

from t5x_tasks.card.catalog import load_catalog
from t5x_tasks.card.load import load_card
from t5x_tasks.common.errors import UserError


def message(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def template(number, **changes):
    return {"id": f"t{number:02}", "inputs": "{dialogue}", "targets": "{summary}", **changes}


def test_shipped_cards_have_ten_variants_and_two_held_out():
    cards = load_catalog().cards
    assert {"samsum", "dialogsum", "support_chats"} <= cards.keys()
    for name in ("samsum", "dialogsum", "support_chats"):
        assert len(cards[name].templates) >= 10
        assert len(cards[name].pool("heldout")) >= 2
        assert len({t.inputs for t in cards[name].templates}) == len(cards[name].templates)


@pytest.mark.parametrize(
    ("changes", "line_of", "expected"),
    [
        ({"descripton": "x"}, "descripton", "unknown key, did you mean description?"),
        ({"source": {"type": "jsonl", "trian": "a.jsonl"}}, "  trian", "unknown key, did you mean train?"),
        ({"source": {"type": "parket"}}, "source", "source: "),
        ({"metrics": ["rogue"]}, "metrics", "unknown metric rogue, did you mean rouge?"),
        ({"max_examples": 0}, "max_examples", "max_examples: "),
        ({"shots": [-1]}, "- -1", "shots.0: "),
        ({"shots": [2, 2]}, "shots", "shots: a number is given twice"),
        ({"options": {"choices": ["a", "b"], "style": ["none"]}}, "  style", "unknown key, did you mean styles?"),
        ({"options": {"styles": ["none"]}}, "options", "give either choices"),
        (
            {"fields": {"dialogue": {"colum": "d"}, "summary": "summary"}},
            "    colum",
            "unknown key, did you mean column?",
        ),
        (
            {"fields": {"dialogue": {"column": "d", "codec": "cod"}, "summary": "summary"}},
            "    codec",
            "unknown codec cod, did you mean code?",
        ),
        ({"templates": [template(0, inputs="{dialogue} {options}")]}, "  inputs", "needs options: in the card"),
        ({"inverted": ["t77"]}, "inverted", "inverted: no template has the id t77"),
        ({"fields": {}}, "fields", "no fields"),
        ({"templates": []}, "templates", "no templates"),
        ({"templates": "dialog_summarization"}, "templates", "did you mean dialogue_summarization?"),
        ({"templates": [template(0), template(0)]}, "- id: t00", "t00 is given twice"),
        ({"templates": [template(0, id="heldout")]}, "- id", "names a mixture"),
        ({"templates": [template(0, inputs="{dialog}")]}, "  inputs", "unknown field {dialog}, did you mean dialogue?"),
        ({"templates": [template(0, inputs="{dialogue")]}, "  inputs", "double it"),
        ({"templates": [template(0, targets="same")]}, "  targets", "no placeholder"),
        ({"templates": [template(0, input="x")]}, "  input:", "did you mean inputs?"),
        ({"group_by": {"tset": "dialogue"}, "references": "r"}, "group_by", "unknown split tset"),
        ({"group_by": {"test": "dialogue"}}, "group_by", "needs references"),
    ],
)
def test_what_no_card_may_say_is_named_with_its_line(make_card, changes, line_of, expected):
    path = make_card(**changes)
    lines = path.read_text().splitlines()
    line = max(n for n, text in enumerate(lines, 1) if text.startswith(line_of))
    text = message(load_card, path)
    assert text.startswith(f"{path}:{line}: "), text
    assert expected in text


def test_a_card_that_is_no_yaml_is_named_with_its_line(tmp_path):
    path = tmp_path / "card.yaml"
    path.write_text("name: x\nfields: {a: b\ntemplates: []\n")
    assert message(load_card, path).startswith(f"{path}:3: not valid YAML")
    assert message(load_card, tmp_path / "none.yaml") == f"{tmp_path / 'none.yaml'}: no such file"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: x\n\tfields: y", ":2: not valid YAML (found character '\\t' that cannot start any token)"),
        ("name: 2024-13-45", ": not valid YAML (month must be in 1..12)"),
        ("name: \x00x", ": not valid YAML (unacceptable character #x0000: special characters are not allowed"),
        ("name: " + "[" * 200_000, ": not valid YAML (it is nested too deep)"),
    ],
)
def test_what_no_yaml_is_takes_one_line(tmp_path, text, expected):
    path = tmp_path / "card.yaml"
    path.write_text(text)
    said = message(load_card, path)
    assert said.startswith(f"{path}{expected}") and "\n" not in said


def test_errors_of_a_template_file_name_that_file(make_card):
    path = make_card(templates="mine")
    shared = path.parent / "mine.yaml"
    shared.write_text(yaml.safe_dump([template(0), template(1, inputs="{dialog}")], sort_keys=False))
    assert message(load_card, path).startswith(f"{shared}:5: template t01: inputs: unknown field {{dialog}}")
    shared.write_text(yaml.safe_dump([template(0), template(1)]))
    assert [t.id for t in load_card(path).templates] == ["t00", "t01"]


def test_a_card_that_names_itself_as_its_templates_is_refused(make_card):
    path = make_card(templates="card")
    assert path.name == "card.yaml"
    assert message(load_card, path).startswith(f"{path}:")
    assert "no template file card" in message(load_card, path)


def test_names_resolve_to_templates_and_mixtures(make_card):
    catalog = load_catalog([make_card()])

    def ids(*names):
        return [card.task_name(variant) for card, variant in catalog.resolve(names)]

    assert ids("tiny") == ["tiny.t00", "tiny.t01"]
    assert ids("tiny.heldout") == ["tiny.t02"]
    assert ids("tiny.t01", "tiny") == ["tiny.t01", "tiny.t00"]
    assert set(catalog.task_names()) > {"tiny", "tiny.heldout", "tiny.t00"}


def test_unknown_names_get_a_suggestion(make_card):
    resolve = load_catalog([make_card()]).resolve
    assert message(resolve, "samsun") == "samsun: unknown task or mixture, did you mean samsum?"
    assert "did you mean tiny.t02?" in message(resolve, "tiny.t22")
    assert "samsum, squad, support_chats, wnut17, tiny" in message(resolve, "zzz")


def test_a_held_out_data_set_is_in_no_training_mixture(make_card):
    catalog = load_catalog([make_card(heldout=True)])
    assert "tiny" not in catalog.task_names()
    assert "use tiny.heldout" in message(catalog.resolve, "tiny")
    assert len(catalog.resolve("tiny.heldout")) == 3


def test_inverted_templates_are_tasks_in_a_mixture_of_their_own(make_card):
    templates = [template(0), {"id": "back", "inputs": "{summary}", "targets": "{dialogue}"}]
    resolve = load_catalog([make_card(templates=templates, inverted=["back"])]).resolve
    assert [p.id for _, p in resolve("tiny")] == ["t00"]
    assert [p.id for _, p in resolve("tiny.inverted")] == [p.id for _, p in resolve("tiny.back")] == ["back"]


def test_folders_of_cards_are_read_and_names_are_unique(make_card, tmp_path):
    path = make_card()
    assert "tiny" in load_catalog([path.parent]).cards
    assert "tiny" in load_catalog([path, path.parent]).cards  # the same file twice is one card
    make_card(name="samsum")
    assert "samsum is taken by" in message(load_catalog, [tmp_path / "cards" / "samsum"])
    assert "no card (*.yaml)" in message(load_catalog, [tmp_path])
