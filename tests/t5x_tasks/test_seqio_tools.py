"""SeqIO's own tools on our tasks: datasets of every family, mixing rates, its evaluator, its caching tool on Apache Beam."""

import gzip
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import t5x_tasks
from t5x_tasks.card.catalog import dataset_name, load_catalog
from t5x_tasks.common.vocabulary import Vocabulary
from t5x_tasks.prepare.data_config import DataConfig
from t5x_tasks.prepare.ensure import ensure_prepared
from t5x_tasks.rendering.render import is_blank
from t5x_tasks.sources import read_rows

seqio = pytest.importorskip("seqio")
REPOSITORY = Path(__file__).parents[2]

LOCAL = [
    "samsum", "dialogsum", "support_chats", "clothing_reviews", "wnut17", "codexglue_java_cs", "codexglue_cs_java", "gsm8k",
    "cot_aqua", "cot_creak", "cot_ecqa", "cot_gsm8k", "cot_qasc", "cot_sensemaking", "cot_strategyqa",
]  # fmt: skip
ROWS = 40


@pytest.fixture(scope="module")
def small_root(tmp_path_factory, shared_data) -> Path:
    """A mirror of the first rows of every split."""
    root = tmp_path_factory.mktemp("small")
    cards = load_catalog().cards
    for folder in {cards[name].folder for name in LOCAL}:
        files = [*(shared_data / folder).glob("*.jsonl.gz")] or [
            *(REPOSITORY / "t5x_tasks" / "library" / "data" / folder).glob("*.jsonl.gz")
        ]
        assert files, folder
        for file in files:
            (root / folder).mkdir(parents=True, exist_ok=True)
            with (
                gzip.open(file, "rt", encoding="utf-8") as lines,
                gzip.open(root / folder / file.name, "wt", encoding="utf-8") as out,
            ):
                out.writelines(itertools.islice(lines, ROWS))
    return root


def kinds(card):
    """One template for each way in which templates differ: direction, answers, options, exemplars, held out or not."""
    return list({(p.inverted, p.targets, p.style, p.shots, p.split): p for p in card.variants}.values())


@pytest.mark.needs_shared
@pytest.mark.parametrize("name", LOCAL)
def test_every_kind_of_variant_is_the_same_for_seqio_and_prepare(name, small_root, shared_data, tmp_path):
    vocabulary = Vocabulary.load(shared_data / "t5_vocab")
    t5x_tasks.install(root=small_root, vocabulary=shared_data / "t5_vocab")
    card = load_catalog().cards[name]
    data = DataConfig(root=str(small_root), cache=str(tmp_path))
    split, text = ("test", True) if "test" in card.splits else ("train", False)
    for variant in kinds(card):
        task = card.task_name(variant)
        if variant.split == "heldout" and not text:
            continue  # never training data
        (prepared,) = ensure_prepared(task, split, data=data, vocabulary=vocabulary, text=text, progress=False)
        ours = prepared.open()
        theirs = list(seqio.get_mixture_or_task(task).get_dataset(split=split, shuffle=False).as_numpy_iterator())
        assert len(theirs) == len(ours) > 0
        for index, seen in enumerate(theirs):
            inputs, targets = ours.tokens([index])[0]
            assert np.array_equal(seen["inputs"], inputs), (task, seen["id"])
            assert np.array_equal(seen["targets"], targets), (task, seen["id"])
            if text:
                stored = ours.example(index)
                assert [r.decode() for r in seen["references"] if r] == [r for r in stored["references"] if r]
                assert seen["inputs_pretokenized"].decode() == stored["inputs"]


@pytest.mark.needs_shared
def test_a_mixture_of_mixtures_has_the_catalogs_rates_and_gives_examples(small_root, shared_data):
    t5x_tasks.install(root=small_root, vocabulary=shared_data / "t5_vocab")
    catalog = load_catalog()

    def size(dataset):
        rows = read_rows(catalog.cards[dataset.partition(".")[0]], "train", small_root)
        return sum(not any(map(is_blank, row.fields.values())) for row in rows)

    expected = catalog.examples_per_epoch("multitask", size)
    mixture = seqio.get_mixture_or_task("multitask")
    tasks = {task.name: task for task in mixture.tasks}
    rates = dict.fromkeys(expected, 0.0)
    for card, variant in catalog.resolve("multitask"):
        rates[dataset_name(card, variant)] += mixture.get_rate(tasks[card.task_name(variant)])
    assert rates == pytest.approx(expected)
    assert len(set(expected.values())) > 1
    fewer = seqio.get_mixture_or_task("dialogue_writing")  # opening 121 tasks in TensorFlow takes half a minute
    dataset = fewer.get_dataset({"inputs": 64, "targets": 16}, split="train", seed=0)
    taken = list(itertools.islice(dataset.as_numpy_iterator(), 30))
    assert len({tuple(row["inputs"]) for row in taken}) > 20


@pytest.mark.needs_shared
@pytest.mark.parametrize(
    ("task", "score", "perfect"),
    [
        ("wnut17.t00", "f1", 100.0),
        ("codexglue_java_cs.t00", "bleu", 100.0),
        ("clothing_reviews.t00", "mean_absolute_error", 0.0),
        ("gsm8k.r00_2shot", "accuracy", 100.0),
        ("dialogsum.t00", "rougeL", 100.0),
    ],
)
def test_seqios_evaluator_finds_a_perfect_prediction_perfect(task, score, perfect, small_root, shared_data):
    t5x_tasks.install(root=small_root, vocabulary=shared_data / "t5_vocab")
    evaluator = seqio.Evaluator(
        task,
        feature_converter=seqio.EncDecFeatureConverter(pack=False),
        eval_split="test",
        sequence_length={"inputs": 1024, "targets": 512},
    )

    def answer(dataset, turn=0):
        rows = [row["decoder_target_tokens"] for _, row in dataset.as_numpy_iterator()]
        return list(enumerate(np.array(rows[turn:] + rows[:turn])))

    scores = []
    for predict in (answer, lambda dataset: answer(dataset, turn=1)):
        metrics, _ = evaluator.evaluate(compute_metrics=True, step=0, predict_fn=predict)
        found = metrics.result()[task]
        scores.append(next(value for name, value in found.items() if name.rpartition("/")[2] == score))
    assert scores[0] == pytest.approx(perfect)
    assert scores[1] != pytest.approx(perfect)  # of another row


def test_shards_are_rendered_apart_and_hold_all_rows(make_card, vocabulary_path, monkeypatch):
    monkeypatch.setattr("t5x_tasks.registry._SHARD_ROWS", 2)
    rows = [{"id": f"r{i}", "dialogue": f"Is it {i}?", "summary": f"It is {i}."} for i in range(7)]
    t5x_tasks.install(cards=[make_card(rows=rows, name="parted")], vocabulary=vocabulary_path)
    source = seqio.get_mixture_or_task("parted.t00").source
    shards = source.list_shards("train")
    assert shards == [f"parted/train-0000{i}-of-00004" for i in range(4)]
    ids = [
        [e["id"].decode() for e in source.get_dataset("train", False, shard_info=seqio.ShardInfo(i, 4)).as_numpy_iterator()]
        for i in range(4)
    ]  # fmt: skip
    assert ids == [["r0", "r4"], ["r1", "r5"], ["r2", "r6"], ["r3"]]
    empty = source.get_dataset("train", shard_info=seqio.ShardInfo(8, 9))
    assert list(empty) == [] and empty.element_spec == source.get_dataset("train").element_spec


def test_seqios_caching_tool_caches_our_tasks_on_beam(make_card, tmp_path, vocabulary_path):
    pytest.importorskip("apache_beam")
    rows = [{"id": f"r{i}", "dialogue": f"Is it {i}?\nYes, {i}.", "summary": f"It is {i}."} for i in range(9)]
    card = make_card(rows=rows, test_rows=rows[:3], name="cached", shots=[0, 2])
    (tmp_path / "my_install.py").write_text(
        "from t5x_tasks import registry\n"
        "registry._SHARD_ROWS = 4  # three shards of nine rows\n"
        "import t5x_tasks.seqio_tasks\n"
    )
    settings = {"FLAN_T5X_CARDS": str(card), "FLAN_T5X_VOCABULARY": str(vocabulary_path), "TF_CPP_MIN_LOG_LEVEL": "3"}
    result = subprocess.run(
        [
            sys.executable, "-m", "seqio.scripts.cache_tasks_main", r"--tasks=cached\.t00_2shot", "--module_import=my_install",
            f"--output_cache_dir={tmp_path / 'cache'}", "--min_shards=0",
        ],
        capture_output=True, text=True, env={**os.environ, **settings, "PYTHONPATH": f"{tmp_path}:{REPOSITORY}"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    info = json.loads((tmp_path / "cache" / "cached.t00_2shot" / "info.train.json").read_text())
    assert info["num_shards"] == 3
    assert len(list((tmp_path / "cache" / "cached.t00_2shot").glob("train.tfrecord-*"))) == 3

    t5x_tasks.install(cards=[card], vocabulary=vocabulary_path)
    before = seqio.get_global_cache_dirs()
    seqio.set_global_cache_dirs([str(tmp_path / "cache")])
    try:
        task = seqio.get_mixture_or_task("cached.t00_2shot")
        made, read = (
            {row["id"]: row for row in task.get_dataset({"inputs": 24, "targets": 16}, **options).as_numpy_iterator()}
            for options in ({}, {"use_cached": True})
        )
        assert len(made) == 9 and made.keys() == read.keys()
        for id, row in made.items():
            assert row.keys() == read[id].keys()
            assert all(np.array_equal(row[key], read[id][key]) for key in row), id
        assert task.get_cached_stats("train")["examples"] == 9
    finally:
        seqio.set_global_cache_dirs(before)
