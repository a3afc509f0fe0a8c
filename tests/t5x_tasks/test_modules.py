"""Plain SeqIO tasks of the user's: prepared through SeqIO in another process, trained on and evaluated like any other."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from t5x_tasks.card.catalog import load_catalog
from t5x_tasks.common.errors import Failure, UserError
from t5x_tasks.prepare import user_tasks as modules
from t5x_tasks.prepare import user_worker as prepare_seqio
from t5x_tasks.prepare.data_config import DataConfig
from t5x_tasks.prepare.ensure import ensure_prepared
from t5x_tasks.prepare.user_tasks import MissingSplit
from train.data.batches import open_input
from train.data.open import sources

seqio = pytest.importorskip("seqio")
REPOSITORY = Path(__file__).parents[2]

MODULE = """
import os
import functools
import seqio
import tensorflow as tf

HERE = os.path.dirname(os.path.abspath(__file__))
vocabulary = seqio.SentencePieceVocabulary({vocabulary!r}, extra_ids={extra_ids})
features = {{name: seqio.Feature(vocabulary) for name in ("inputs", "targets")}}

def split_line(dataset):
    def parts(line):
        question, answer = tf.unstack(tf.strings.split(line, "\t", maxsplit=1), num=2)
        return {{"inputs": tf.strings.join(["Shout: ", question]), "targets": answer}}
    return dataset.map(parts)

def double(dataset):
    return dataset.map(lambda row: {{**row, "inputs": tf.concat([row["inputs"], row["inputs"]], 0)}})

tokens = [seqio.preprocessors.tokenize, seqio.preprocessors.append_eos_after_trim]
seqio.TaskRegistry.add(
    "shout",
    source=seqio.TextLineDataSource({{s: os.path.join(HERE, s + ".tsv") for s in ("train", "validation")}}),
    preprocessors=[split_line, *tokens],
    output_features=features,
    metric_fns=[],
)

def count(split, shuffle_files, seed=None):
    return tf.data.Dataset.range(3).map(
        lambda n: {{"id": tf.strings.format("n{{}}", n), "inputs": tf.strings.format("After {{}}?", n),
                   "targets": tf.strings.format("No {{}}.", n + 1)}})

def answers(output, example=None, is_target=False):
    return [output, "or so"] if is_target else output

seqio.TaskRegistry.add(
    "counting",
    source=seqio.FunctionDataSource(count, splits=["train", "test"]),
    preprocessors=tokens, output_features=features, postprocess_fn=answers,
)
seqio.MixtureRegistry.add("both", [("shout", 3.0), ("counting", 1.0)])
seqio.MixtureRegistry.add(
    "by_size", ["shout", "counting"], default_rate=functools.partial(seqio.mixing_rate_num_examples, maximum=5))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory, vocabulary_path) -> Path:
    """A user's folder with tasks of nine and three rows."""
    folder = tmp_path_factory.mktemp("project")
    lines = [f"word{i} here\tWORD{i} HERE" for i in range(9)]
    (folder / "train.tsv").write_text("\n".join(lines))
    (folder / "validation.tsv").write_text("\n".join(lines[:2]))
    (folder / "my_tasks.py").write_text(MODULE.format(vocabulary=str(vocabulary_path), extra_ids=100))
    return folder


@pytest.fixture(scope="module")
def data(project, tmp_path_factory) -> DataConfig:
    return DataConfig(modules=(str(project / "my_tasks.py"),), cache=str(tmp_path_factory.mktemp("cache")))


def prepare(names, split, data, vocabulary, **options):
    return ensure_prepared(names, split, data=data, vocabulary=vocabulary, **options)


def no_process(*_, **__):
    raise AssertionError("nothing is missing, so no process is to start")


@pytest.fixture
def in_this_process(monkeypatch):
    """Starting a process with TensorFlow takes ten seconds: once or twice shows that it works."""

    def run(job, *, progress):
        for module in [name for name in sys.modules if name.startswith("t5x_tasks_user_")]:
            del sys.modules[module]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(seqio.TaskRegistry, "_REGISTRY", {})
            patch.setattr(seqio.MixtureRegistry, "_REGISTRY", {})
            prepare_seqio.prepare(job, lambda line: print(line, file=sys.stderr))

    monkeypatch.setattr(modules, "_run", run)


def test_a_mixture_is_prepared_apart_keeps_its_rates_and_is_found_again(data, vocabulary, capsys, monkeypatch):
    prepared = prepare("both", "train", data, vocabulary)
    said = capsys.readouterr().err
    assert "prepared shout train through SeqIO: 9 examples" in said
    assert f"delete {prepared[0].folder} then" in said or f"delete {prepared[1].folder} then" in said
    assert {p.task: (len(p.open()), p.rate) for p in prepared} == {"shout": (9, 3.0), "counting": (3, 1.0)}
    shout = next(p for p in prepared if p.task == "shout").open()
    texts = [tuple(vocabulary.decode(ids) for ids in pair) for pair in shout.tokens(range(9))]
    assert texts == [(f"Shout: word{i} here", f"WORD{i} HERE") for i in range(9)]
    assert [ids[-1] for ids in shout.tokens([0])[0]] == [1, 1]

    monkeypatch.setattr(subprocess, "Popen", no_process)
    assert prepare("both", "train", data, vocabulary) == prepared
    assert f"if its data have changed since, delete {prepared[0].folder}" in capsys.readouterr().err
    opened = sources(prepared, load_catalog(), "both")
    assert {s.dataset: s.examples for s in opened} == {"shout": 9, "counting": 3}  # 12 in all, three to one
    batches = list(open_input(opened, row_lengths=(32, 16), batch_size=4, seed=0, epochs=1, prefetch=0))
    assert sum(batch.stats["examples"] for batch in batches) == 12


@pytest.mark.usefixtures("in_this_process")
def test_rates_by_size_count_what_was_prepared(data, vocabulary):
    prepared = prepare("by_size", "train", data, vocabulary)
    assert {p.task: p.rate for p in prepared} == {"shout": 5.0, "counting": 3.0}
    assert {s.dataset: s.examples for s in sources(prepared, load_catalog(), "by_size")} == {"shout": 8, "counting": 4}
    assert sum(s.examples or 0 for s in sources(prepared, load_catalog(), "by_size", rate_cap=4)) == 7


@pytest.mark.usefixtures("in_this_process")
def test_tasks_without_the_split_are_left_out_of_a_mixture_only(data, vocabulary):
    assert [p.task for p in prepare("both", "validation", data, vocabulary, optional=True)] == ["shout"]
    with pytest.raises(MissingSplit, match="counting: has no split validation; it has train, test"):
        prepare("both", "validation", data, vocabulary)


@pytest.mark.usefixtures("in_this_process")
def test_other_code_is_another_task_and_deleted_folders_are_prepared_anew(project, data, vocabulary):
    (before,) = prepare("counting", "train", data, vocabulary)
    path = project / "edited.py"
    path.write_text((project / "my_tasks.py").read_text().replace("After", "What comes after"))
    edited = data.model_copy(update={"modules": (str(path),)})
    (after,) = prepare("counting", "train", edited, vocabulary)
    assert after.folder != before.folder
    assert vocabulary.decode(after.open().tokens([2])[0][0]) == "What comes after 2?"
    (after.folder / "manifest.json").unlink()
    assert len(prepare("counting", "train", edited, vocabulary)[0].open()) == 3


@pytest.mark.usefixtures("in_this_process")
def test_rows_or_modules_that_change_while_they_are_prepared_leave_nothing(
    project, vocabulary, tmp_path, in_this_process, monkeypatch
):
    (own := tmp_path / "own").mkdir()
    for name in ("train.tsv", "my_tasks.py"):
        (own / name).write_text((project / name).read_text())
    data = DataConfig(modules=(str(own / "my_tasks.py"),), cache=str(tmp_path / "cache"))
    read = prepare_seqio._rows
    for name in ("train.tsv", "my_tasks.py"):

        def rows(*arguments, name=name):
            for number, row in read(*arguments):
                if number == 4:
                    (own / name).write_text((own / name).read_text() + "\n")
                yield number, row

        with monkeypatch.context() as patch:
            patch.setattr(prepare_seqio, "_rows", rows)
            with pytest.raises(Failure, match=rf"{name}.*: changed while shout train was prepared"):
                prepare("shout", "train", data, vocabulary)
        assert not list((tmp_path / "cache").rglob("manifest.json"))
    assert len(prepare("shout", "train", data, vocabulary)[0].open()) == 9


def test_names_beside_cards(project, data, vocabulary):
    prepared = prepare(["support_chats.t00", "counting"], "test", data, vocabulary)
    assert {p.task for p in prepared} == {"support_chats.t00", "counting"}
    with pytest.raises(UserError, match=r"shoot: unknown task or mixture, did you mean shout\?"):
        prepare("shoot", "train", data, vocabulary)
    with pytest.raises(UserError, match=r"data\.modules\): add|data\.modules\) adds both, by_size, counting, shout"):
        prepare("qqqqqqq", "train", data, vocabulary)
    with pytest.raises(UserError, match=r"qqqqqqq: unknown task or mixture; known are .*data\.modules"):
        prepare("qqqqqqq", "train", DataConfig(cache=data.cache), vocabulary)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("extra_ids=100", "extra_ids=0", r"vocabulary of [0-9,]+, the run [0-9,]+: .*with extra_ids=100"),
        ('"inputs": tf.strings.join(["Shout: ", question])', '"other": question', "SeqIO cannot make its train split"),
        ('s + ".tsv"', 's + ".away"', "shout: SeqIO cannot make its train split"),
        ("import os\n", "import nothing_of_that_name\n", r"data\.modules: .*imported \(ModuleNot.*line 2 of wrong\.py"),
        (
            "from_here",
            "\nraise KeyError(1)",
            r"data\.modules: .*cannot be imported \(KeyError: 1, line 4[0-9] of wrong\.py",
        ),
        (
            "from_here",
            "\nseqio.MixtureRegistry.add('samsum', [('shout', 1.0)])",
            "samsum is the name of a card or mixture",
        ),
        ("[split_line, *tokens]", "[split_line, *tokens, *tokens[1:]]", None),
        (
            "[split_line, *tokens]",
            "[split_line, *tokens, double]",
            "example 0 .*inputs go on after their end of sequence",
        ),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(project, data, vocabulary, old, new, match):
    text = (project / "my_tasks.py").read_text() + "from_here"
    assert old in text
    path = project / "wrong.py"
    path.write_text(text.replace(old, new).replace("from_here", ""))
    wrong = data.model_copy(update={"modules": (str(path),)})
    if match is None:  # two ends are one
        assert len(prepare("shout", "train", wrong, vocabulary)[0].open()) == 9
        return
    with pytest.raises(UserError, match=match) as caught:
        prepare("shout", "train", wrong, vocabulary)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("postprocess", "references", "said"),
    [
        ("lambda output, example=None, is_target=False: output.lower()", ["No 2."], "changes predictions"),
        ("lambda output, **kwargs: len(output)", ["No 2."], "gives no text"),
        ("lambda output: output", ["No 2."], "fails on"),
        ("lambda output, example, is_target: output + '!' if is_target else output", ["No 2.!"], ""),
    ],
)
def test_references_are_the_postprocessors_only_where_predictions_need_none(
    project, data, vocabulary, capsys, postprocess, references, said
):
    path = project / "post.py"
    text = (project / "my_tasks.py").read_text().replace("postprocess_fn=answers", f"postprocess_fn={postprocess}")
    path.write_text(text)
    (entry,) = prepare("counting", "test", data.model_copy(update={"modules": (str(path),)}), vocabulary, text=True)
    assert entry.open().example(1)["references"] == references
    assert said in capsys.readouterr().err


def test_a_module_that_is_not_there(data, vocabulary):
    for module in ("nowhere.py", "nowhere.at_all"):
        with pytest.raises(UserError, match=rf"data\.modules: {module}: no such"):
            prepare("shout", "train", data.model_copy(update={"modules": (module,)}), vocabulary)


def test_a_run_trains_and_evaluates_without_tensorflow(project, tmp_path, vocabulary_path):
    """Both binaries, on the mixture, with the module named relative to the working directory."""
    config = {
        "run_dir": str(tmp_path / "run"),
        "model": {
            "preset": "t5-tiny", "vocabulary": str(vocabulary_path), "emb_dim": 16, "mlp_dim": 16,
            "num_heads": 2, "head_dim": 8, "num_encoder_layers": 1, "num_decoder_layers": 1,
        },
        "data": {
            "mixture": "both", "modules": ["my_tasks.py"], "lengths": {"inputs": 24, "targets": 16},
            "cache": str(tmp_path / "cache"),
        },
        "train": {"steps": 2, "batch_size": 2, "validation_examples": 0},
        "mesh": {"data": 1},
        "eval": {"split": "train", "metrics": ["rouge", "exact_match"], "decode": {"type": "greedy", "max_tokens": 4}},
    }  # fmt: skip
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    code = """
import sys
import importlib
binary = importlib.import_module(sys.argv[1])
assert not binary.main(sys.argv[2:])
assert "tensorflow" not in sys.modules and "seqio" not in sys.modules
"""
    for binary in ("train.__main__", "eval.__main__"):
        result = subprocess.run(
            [sys.executable, "-c", code, binary, str(path)],
            cwd=project, capture_output=True, text=True, env={**__import__("os").environ, "PYTHONPATH": str(REPOSITORY)},
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
    metrics = json.loads((tmp_path / "run" / "eval" / "2" / "metrics.json").read_text())["tasks"]
    assert {task: scored["n"] for task, scored in metrics.items()} == {"shout": 9, "counting": 3}
    assert {"rougeL", "exact_match"} <= set(metrics["shout"]["metrics"])
    rows = [
        json.loads(line)
        for line in (tmp_path / "run" / "eval" / "2" / "counting" / "predictions.jsonl").read_text().splitlines()
    ]
    assert [row["id"] for row in rows] == ["n0", "n1", "n2"]
    assert rows[1]["inputs"] == "After 1?" and rows[1]["references"] == ["No 2.", "or so"]
    assert np.isfinite(metrics["counting"]["metrics"]["rougeL"]["value"])
