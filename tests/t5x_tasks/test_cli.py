import subprocess
import sys

import pytest
import yaml
from helpers.command import command

from t5x_tasks.__main__ import main
from t5x_tasks.card.catalog import load_catalog
from t5x_tasks.common.errors import UserError


def run(capsys, *arguments):
    main([str(argument) for argument in arguments])
    return capsys.readouterr().out


def shell(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "t5x_tasks", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_help_imports_nothing_heavy():
    code = """
import sys
from t5x_tasks.__main__ import main
try:
    main(["--help"])
except SystemExit:
    pass
heavy = {"numpy", "pydantic", "tensorflow", "seqio", "jax", "datasets", "transformers", "rouge_score", "sentencepiece"}
print(sorted(heavy & set(sys.modules)), file=sys.stderr)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "COMMAND" in result.stdout
    assert result.stderr.strip() == "[]"


def test_list_shows_every_data_set(capsys, make_card):
    lines = run(capsys, "list", "--cards", make_card()).splitlines()
    rows = {line.split()[0]: line for line in lines[1:]}
    catalog = load_catalog()
    assert {*catalog.cards, *catalog.mixtures, "tiny"} == rows.keys()
    assert "3 / - / 3" in rows["tiny"]
    assert "3 (1 held out)" in rows["tiny"]
    assert "hf://knkarthick/samsum" in rows["samsum"]


def test_list_says_where_data_are_missing(capsys, make_card):
    card = make_card()
    (card.parent / "train.jsonl").unlink()
    assert f"missing ({card.parent / 'train.jsonl'}: no such file" in run(capsys, "list", "--cards", card)


def test_show_prints_templates_and_lengths(capsys, make_card, vocabulary_path):
    out = run(capsys, "show", "tiny", "--cards", make_card(), "--vocabulary", vocabulary_path, "--lengths", "12/200")
    assert "tiny.t02 (held out)" in out
    assert "dialogue <- dialogue" in out
    assert "train.jsonl, 3 rows" in out
    assert "100.00% longer than 12" in out
    assert "0.00% longer than 200" in out
    assert "tiny.t00" not in run(capsys, "show", "tiny.t01", "--cards", make_card())


@pytest.mark.parametrize("name", ["tiny", "mix"])
@pytest.mark.parametrize("with_tokens", [False, True])
def test_show_prints_what_it_can_and_ends_with_2_where_data_are_missing(
    make_card, vocabulary_path, name, with_tokens, tmp_path
):
    card = make_card()
    (card.parent / "train.jsonl").unlink()
    (tmp_path / "mix.yaml").write_text("name: mix\ndescription: Two.\nmembers: [tiny, support_chats]\n")
    cards = ("--cards", card, "--cards", tmp_path / "mix.yaml")
    result = command(
        "t5x_tasks", "show", name, *map(str, cards), *(["--vocabulary", str(vocabulary_path)] * with_tokens)
    )
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {name}: data are missing or cannot be read")
    assert f"{card.parent / 'train.jsonl'}: no such file" in result.stderr and result.stderr.count("\n") == 1
    rest = ["test.jsonl, 3 rows", "tiny.t02 (held out)"] if name == "tiny" else ["support_chats", "an epoch holds"]
    assert all(part in result.stdout for part in rest)


def test_check_of_a_folder_names_the_cards_in_it(make_card, tmp_path):
    (tmp_path / "none").mkdir()
    for folder, said in ((tmp_path / "none", r"no card \(\*.yaml\) in this folder"), (make_card().parent, "card.yaml")):
        with pytest.raises(UserError, match=f"{folder}: .*{said}"):
            main(["check", str(folder)])


def test_preview_prints_rows_in_one_variant_after_the_other(capsys, make_card, tiny_rows):
    out = run(capsys, "preview", "tiny", "-n", 2, "--cards", make_card())
    assert "=== tiny.t00, train, id a" in out
    assert "=== tiny.t01, train, id b" in out
    assert f"Summarize.\n\n{tiny_rows[0]['dialogue']}\n\nSummary:" in out
    assert "id c" not in out


def test_preview_with_a_vocabulary_shows_what_is_left_of_the_text(
    capsys, make_card, vocabulary, vocabulary_path, tiny_rows
):
    arguments = ("preview", "tiny.t01", "-n", 2, "--cards", make_card(), "--vocabulary", vocabulary_path)
    out = run(capsys, *arguments, "--lengths", "8/64")
    ids = vocabulary.encode_batch([tiny_rows[0]["dialogue"] + " In short:"])[0]
    assert f"{vocabulary.decode(ids[:7])} [... cut off here: {len(ids) + 1} tokens, 8 fit]" in out
    assert "Ann's parcel comes on Monday.\n" in out
    whole = run(capsys, *arguments)
    assert "cut off" not in whole
    assert "1 unknown)" in whole  # the emoji
    assert "Where is my parcel? Bob:" in whole  # the vocabulary folds the line break


def test_preview_shows_every_reference(capsys, make_card):
    rows = [{"id": "a", "dialogue": "x", "summaries": ["one", "two"]}]
    out = run(
        capsys, "preview", "tiny", "--split", "test", "--cards", make_card(test_rows=rows, references="summaries")
    )
    assert "--- target 1\none\n--- target 2\ntwo\n" in out


@pytest.mark.parametrize("empty", ["", None])
def test_check_reads_all_the_data(capsys, make_card, tiny_rows, empty):
    card = make_card(rows=[*tiny_rows, {"id": "d", "dialogue": empty, "summary": "x"}])
    out = run(capsys, "check", card)
    assert "train      4 rows" in out
    assert "1 with an empty field (left out of training): d" in out
    assert out.endswith("ok\n")
    card = make_card(metrics=["no_such_package:f"])
    with pytest.raises(UserError, match="cannot be imported"):
        main(["check", str(card)])


def test_check_names_the_characters_that_the_vocabulary_lacks(capsys, make_card, vocabulary_path):
    card = make_card(rows=[{"id": "a", "dialogue": "Ann 東西: Hi.", "summary": "Ann 東."}])
    lines = iter(run(capsys, "check", card, "--vocabulary", vocabulary_path).splitlines())
    assert any("inputs: " in line and line.endswith("unknown tokens (東 1, 西 1)") for line in lines)
    assert next(lines).endswith("1 unknown tokens (東 1)")
    assert "warning: a model never writes what the vocabulary lacks" in next(lines)


def test_check_finds_groups_that_no_row_has(make_card, tiny_rows):
    rows = [{**row, "topic": None, "product": "card"} for row in tiny_rows]
    check = ("check", str(make_card(rows, groups={"topic": "topic", "product": ["made", "product"]})))
    main(list(check))  # a column of test alone, or with nothing in it, is there
    path = make_card(rows, groups={"topic": "topik"})
    line = path.read_text().splitlines().index("  topic: topik") + 1
    with pytest.raises(UserError, match=rf"^{path}:{line}: groups.topic: no row has 'topik', did you mean topic\?$"):
        main(list(check))
    make_card(rows, groups={"topic": ["theme", "x"]})
    with pytest.raises(UserError, match="no row has 'theme' or 'x'; they have id, dialogue, summary, topic, product"):
        main(list(check))


def test_check_says_what_the_category_does_not_bring(capsys, make_card):
    assert "  category " not in run(capsys, "check", make_card())
    assert "'sumarization' is a word of your own" in run(capsys, "check", make_card(category="sumarization"))
    templates = [{"id": "t00", "inputs": "{article}", "targets": "{summary}"}]
    news = {"fields": {"article": "dialogue", "summary": "summary"}, "templates": templates}
    out = run(capsys, "check", make_card(**news))
    assert "  category   no field dialogue, so no LEAD-3" in out and out.endswith("ok\n")
    assert "  category " not in run(capsys, "check", make_card(**news, category="qa"))


def write_config(tmp_path, card, vocabulary_path, **data):
    config = {
        "run_dir": "runs/x",
        "model": {"preset": "t5-tiny", "vocabulary": str(vocabulary_path)},
        "data": {"mixture": "tiny", "cards": [str(card)], "cache": str(tmp_path / "cache"), **data},
        "train": {"steps": 5},
        "eval": {"split": "test", "tasks": ["tiny.heldout"]},
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_prepare_writes_all_that_a_run_reads(capsys, make_card, tmp_path, vocabulary_path):
    config = write_config(tmp_path, make_card(), vocabulary_path)
    assert "3 splits of 3 tasks are prepared" in run(capsys, "prepare", config)
    found = {path.parent.parent.name: path.parent.name for path in (tmp_path / "cache").rglob("manifest.json")}
    assert found.keys() == {"tiny.t00", "tiny.t01", "tiny.t02"}
    assert found["tiny.t02"].startswith("test-")
    assert found["tiny.t02"].endswith("-text")
    run(capsys, "prepare", config, "data.mixture=tiny.t01", f"data.cache={tmp_path / 'other'}")
    assert not (tmp_path / "other" / "tiny.t00").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["preview", "support_chat"], "support_chat: unknown task or mixture, did you mean support_chats?"),
        (["check", "none.yaml"], "none.yaml: no such file"),
        (["prepare", "none.yaml"], "none.yaml: no such file"),
        (["show", "support_chats", "--vocabulary", "none.model"], "none.model: no such vocabulary"),
        (["list", "--cards", "none.yaml"], "none.yaml: no such file"),
        (["preview", "support_chats", "--root", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_what_the_user_got_wrong_is_one_line_and_exit_code_2(arguments, expected):
    result = shell(*arguments)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert expected in result.stderr


def test_prepare_names_the_key_that_is_wrong(make_card, tmp_path, vocabulary_path):
    config = write_config(tmp_path, make_card(), vocabulary_path, mixtrue="x")
    result = shell("prepare", config)
    assert (result.returncode, result.stdout) == (2, "")
    assert "data.mixtrue: unknown key, did you mean data.mixture?" in result.stderr
    assert not (tmp_path / "cache").exists()


def test_prepare_needs_a_folder_and_no_bucket(make_card, tmp_path, vocabulary_path):
    config = write_config(tmp_path, make_card(), vocabulary_path, root="gs://bucket/mirror")
    result = shell("prepare", config)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert f"{config}: data.root: gs://bucket/mirror is a URL, and here a folder is needed" in result.stderr
