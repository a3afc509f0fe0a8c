"""Our T5 against transformers' PyTorch T5: one set of random weights of flan-t5-small's shape, real dialogues, float32."""

import gzip
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file

from bench.pytorch import sharpen
from t5x_tasks.common.vocabulary import Vocabulary
from train.export.hf import save_hf
from train.model.t5 import Params, T5Config, abstract_model
from train.params import load_weights

pytestmark = [pytest.mark.needs_torch, pytest.mark.needs_shared]

CONFIG = T5Config(
    vocab_size=32128, emb_dim=512, mlp_dim=1024, num_heads=6, head_dim=64, num_encoder_layers=8, num_decoder_layers=8
)
LENGTHS = {"encoder": 128, "decoder": 48}
Example = tuple[np.ndarray, np.ndarray]  # tokens of input and target, with end of sequence


@pytest.fixture(scope="module")
def hf_folder(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of flan-t5-small's shape with random weights, saved by transformers."""
    import torch  # pyright: ignore[reportMissingImports]
    from transformers import T5Config as HFConfig
    from transformers import T5ForConditionalGeneration

    config = HFConfig.from_json_file(shared_data / "t5_vocab" / "flan-t5-small.config.json")
    torch.manual_seed(0)
    model = T5ForConditionalGeneration(config)
    sharpen(model)
    assert sum(p.numel() for p in model.parameters()) == 76_961_152
    folder = tmp_path_factory.mktemp("hf")
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def params(hf_folder: Path) -> Params:
    return load_weights(hf_folder, abstract_model(CONFIG)[1], None, CONFIG)


@pytest.fixture(scope="module")
def examples(shared_data: Path) -> list[Example]:
    """The first eight dialogues of DialogSum's test split that are short enough, of many lengths."""
    vocabulary = Vocabulary.load(shared_data / "t5_vocab" / "spiece.model")
    with gzip.open(shared_data / "dialogsum" / "test.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file][:120]
    inputs = vocabulary.encode_batch([row["dialogue"] for row in rows], 1)
    targets = vocabulary.encode_batch([row["summaries"][0] for row in rows], 1)
    pairs = [(np.append(i, 1), np.append(t, 1)) for i, t in zip(inputs, targets, strict=True)]
    short = [(i, t) for i, t in pairs if len(i) <= LENGTHS["encoder"] and len(t) <= LENGTHS["decoder"]][:8]
    assert len(short) == 8
    assert len({len(i) for i, _ in short}) > 4
    return short


def make_batch(rows: list[list[Example]], lengths: dict[str, int] = LENGTHS) -> dict[str, np.ndarray]:
    """Lays examples into rows, several a row: the batch of train/data, made here the plain way."""
    fields = ("encoder_input_tokens", "encoder_segment_ids", "encoder_positions", "decoder_target_tokens",
              "decoder_input_tokens", "decoder_segment_ids", "decoder_positions")  # fmt: skip
    batch = {name: np.zeros((len(rows), lengths[name.split("_")[0]]), np.int32) for name in fields}
    for row, examples in enumerate(rows):
        start = {"encoder": 0, "decoder": 0}
        for segment, (inputs, targets) in enumerate(examples, start=1):
            shifted = np.concatenate([[0], targets[:-1]])
            for side, tokens in (
                ("encoder", {"encoder_input_tokens": inputs}),
                ("decoder", {"decoder_target_tokens": targets, "decoder_input_tokens": shifted}),
            ):
                length = len(next(iter(tokens.values())))
                here = slice(start[side], start[side] + length)
                tokens |= {f"{side}_segment_ids": np.full(length, segment), f"{side}_positions": np.arange(length)}
                for name, values in tokens.items():
                    batch[name][row, here] = values
                start[side] += length
    return batch


def our_logits(params: Params, batch: dict[str, np.ndarray]) -> np.ndarray:
    """Logits of the real target positions, in the order of the rows: `[tokens, vocab]`."""
    graphdef = abstract_model(CONFIG)[0]
    logits = jax.jit(lambda params, batch: nnx.merge(graphdef, params)(batch))(params, batch)
    return np.asarray(logits)[batch["decoder_segment_ids"] > 0]


def their_logits(folder: Path, batch: dict[str, np.ndarray]) -> np.ndarray:
    """The same of a padded batch, by transformers."""
    import torch  # pyright: ignore[reportMissingImports]
    from transformers import AutoModelForSeq2SeqLM

    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    tokens: dict[str, Any] = {name: torch.tensor(values) for name, values in batch.items()}
    with torch.inference_mode():
        logits = model(
            input_ids=tokens["encoder_input_tokens"],
            attention_mask=tokens["encoder_segment_ids"],
            decoder_input_ids=tokens["decoder_input_tokens"],
            decoder_attention_mask=tokens["decoder_segment_ids"],
        ).logits
    return logits.numpy()[batch["decoder_segment_ids"] > 0]


@pytest.fixture(scope="module")
def reference(hf_folder: Path, examples: list[Example]) -> np.ndarray:
    return their_logits(hf_folder, make_batch([[example] for example in examples]))


def assert_close(ours: np.ndarray, theirs: np.ndarray, what: str) -> None:
    error, scale = float(np.abs(ours - theirs).max()), float(np.abs(theirs).max())
    print(
        f"{what}: {theirs.size} logits up to {scale:.1f}, largest difference {error:.1e} (relative {error / scale:.1e})"
    )
    assert ours.shape == theirs.shape
    assert scale > 3
    assert error < 1e-4


def test_padded_batch_gives_transformers_logits(params, examples, reference):
    ours = our_logits(params, make_batch([[example] for example in examples]))
    assert_close(ours, reference, "padded")


def test_packed_rows_give_the_logits_of_each_example_alone(params, examples, reference):
    rows = [examples[:3], examples[3:4], examples[4:]]
    packed = our_logits(params, make_batch(rows, {"encoder": 512, "decoder": 160}))
    assert_close(packed, reference, "packed against transformers")
    alone = our_logits(params, make_batch([[example] for example in examples]))
    assert_close(packed, alone, "packed against our own unpacked")


def test_logits_depend_on_masks_and_positions(params, examples, reference):
    """The parity above can fail: without the segments, or at other distances, these weights give other logits."""
    batch = make_batch([[example] for example in examples])
    unmasked = batch | {"encoder_segment_ids": np.ones_like(batch["encoder_segment_ids"])}
    assert np.abs(our_logits(params, unmasked) - reference).max() > 0.1
    reversed_bias = params | {"encoder_bias": {"embedding": params["encoder_bias"]["embedding"][::-1]}}
    assert np.abs(our_logits(reversed_bias, batch) - reference).max() > 0.1


def test_import_and_export_give_the_tensors_back(hf_folder, params, examples, reference, shared_data, tmp_path):
    from transformers import AutoTokenizer

    vocabulary = Vocabulary.load(shared_data / "t5_vocab" / "spiece.model")
    save_hf(params, CONFIG, tmp_path / "out", vocabulary.path, {"max_new_tokens": 128})
    theirs, ours = (load_file(folder / "model.safetensors") for folder in (hf_folder, tmp_path / "out"))
    assert ours.keys() == theirs.keys()
    assert all(ours[name].dtype == theirs[name].dtype for name in theirs)
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in theirs)

    batch = make_batch([[example] for example in examples])
    np.testing.assert_array_equal(their_logits(tmp_path / "out", batch), reference)

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    texts = [vocabulary.decode(inputs) for inputs, _ in examples]
    assert tokenizer(texts).input_ids == [[*ids, 1] for ids in vocabulary.encode_batch(texts, 1)]
