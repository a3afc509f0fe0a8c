"""A machine without network, or whose network leads nowhere: one line, no retries, and what is in the hub's caches is used."""

import http.server
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from helpers.hub import cache_dataset, cache_files, refusing_endpoint, silent_endpoint

from t5x_tasks.common import hub

REPOSITORY = Path(__file__).parents[2]
ROWS = [{"dialogue": f"Ann: {i}?", "summary": f"It is {i}."} for i in range(3)]

READ = """
import sys
from t5x_tasks.common import hub
hub._PATIENCE_S = 0.5
from t5x_tasks.prepare.data_config import DataConfig
from t5x_tasks.prepare.ensure import ensure_prepared
from t5x_tasks.common.vocabulary import Vocabulary
from train.params import resolve_weights
print(resolve_weights("hf://someone/t5").name)
vocabulary = Vocabulary.load("hf://someone/t5")
data = DataConfig(cards=(sys.argv[1],), cache=sys.argv[2])
for split in ("train", "test"):
    prepared = ensure_prepared("far", split, data=data, vocabulary=vocabulary, progress=False)
    print(split, [len(entry.open()) for entry in prepared])
"""


@pytest.mark.parametrize("endpoint", [refusing_endpoint, silent_endpoint])
def test_weights_vocabulary_and_data_come_from_the_cache_with_one_line(make_card, tmp_path, vocabulary_path, endpoint):
    home = tmp_path / "hf"
    cache_dataset(home, "someone/notes", ROWS)
    cache_files(home, "someone/t5", {"spiece.model": vocabulary_path.read_bytes(), "model.safetensors": b""})
    card = make_card(name="far", source={"type": "hub", "path": "someone/notes", "splits": ["train", "test"]})
    with endpoint() as address:
        settings = {"HF_HOME": str(home), "HF_ENDPOINT": address, "PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu"}
        environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")} | settings
        command = [sys.executable, "-c", READ, str(card), str(tmp_path / "cache")]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["a" * 40, "train [3, 3]", "test [3, 3]"]
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"{address} cannot be reached (") and line.endswith("only what is in its cache is used")


@pytest.fixture
def own_state(monkeypatch):
    """No offline mode, no proxy, nothing remembered."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name == "HF_HUB_OFFLINE":
            monkeypatch.delenv(name)
    monkeypatch.setattr(hub, "_PATIENCE_S", 0.5)
    hub._why_unreachable.cache_clear()
    yield
    hub._why_unreachable.cache_clear()


def test_a_port_that_never_answers_is_told_from_one_that_refuses(own_state):
    with silent_endpoint() as address:
        assert hub._why_unreachable(address) == "no answer within 0.5 s"
    with refusing_endpoint() as address:
        assert hub._why_unreachable(address) == "Connection refused"


@pytest.mark.parametrize("status", [200, 302, 401, 503])
def test_any_answer_keeps_the_hub_in_use(own_state, monkeypatch, capsys, status):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        hub.skip_retries_if_unreachable()
        server.shutdown()
    assert "HF_HUB_OFFLINE" not in os.environ and capsys.readouterr().err == ""


def test_libraries_that_are_imported_already_go_offline_too(own_state, monkeypatch, capsys):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    with refusing_endpoint() as address:
        os.environ["HF_ENDPOINT"] = address
        for _ in range(3):
            hub.skip_retries_if_unreachable()
    assert constants.HF_HUB_OFFLINE and os.environ["HF_HUB_OFFLINE"] == "1"
    assert capsys.readouterr().err.count("\n") == 1


def test_a_proxy_that_pythons_own_library_does_not_know_is_left_to_the_hubs(own_state, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    assert hub._why_unreachable("https://huggingface.co") is None


def test_what_is_no_address_is_left_to_the_hubs_library(own_state):
    assert hub._why_unreachable("not an address") is None


def test_offline_by_wish_is_silent(own_state, monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    hub.skip_retries_if_unreachable()
    assert capsys.readouterr().err == ""


def test_the_card_is_still_refused_in_one_line_where_the_cache_has_nothing(make_card, tmp_path, vocabulary_path):
    card = make_card(name="far", source={"type": "hub", "path": "someone/notes", "splits": ["train", "test"]})
    config = tmp_path / "config.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "data": {"mixture": "far", "cards": [str(card)], "cache": str(tmp_path / "cache")},
                "model": {"vocabulary": str(vocabulary_path)},
            }
        )
    )
    with refusing_endpoint() as address:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        environment |= {"HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": address}
        command = [sys.executable, "-m", "t5x_tasks", "prepare", str(config)]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 2, ended.stderr
    assert "put far/train.jsonl.gz into a folder and set data.root to it" in ended.stderr
