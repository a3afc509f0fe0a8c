"""Weights out: a folder that transformers' `AutoModelForSeq2SeqLM` and `AutoTokenizer` open, as they save it themselves."""

import os
import shutil
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from t5x_tasks.common.vocabulary import Vocabulary
from train.config import DecodeConfig
from train.export.folder import appearing, check_free, write_json
from train.model.t5 import Params, T5Config
from train.weights.hf import TABLE, hf_sizes
from train.weights.stream import foreign_tensors, layout

SHARD_BYTES = 5 * 10**9
EXTRA_IDS = 100  # sentinels after the pieces: t5x_tasks/common/vocabulary.py
_SAME = ("repetition_penalty", "length_penalty", "early_stopping", "temperature", "top_k", "top_p")
_GENERATION = {  # a key of eval.decode -> transformers' name
    "beams": "num_beams",
    "max_tokens": "max_new_tokens",
    "min_tokens": "min_new_tokens",
    "no_repeat_ngram": "no_repeat_ngram_size",
    **{key: key for key in _SAME},
}


def save_hf(
    params: Params,
    config: T5Config,
    folder: Path,
    vocabulary: Path,
    generation: dict[str, Any] | None = None,
    card: str | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes a Hugging Face directory; it appears at once and whole, or not at all.

    Args:
      params: arrays that this process can read whole; stored as they are, float32 or bfloat16. Readers widen to float32.
      config: the model's.
      folder: must not exist, or be empty.
      vocabulary: the SentencePiece model that the weights were trained with.
      generation: defaults of `generate`, as `{"max_new_tokens": 128}`. Without a length, transformers stops after 20 tokens.
      card: README.md, the model card; see train/export/card.py.
      shard_bytes: weights beyond it are cut into several files with an index.

    Raises:
      UserError: there is something at `folder`.
    """
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # "PyTorch was not found": it is not needed here
    from transformers import T5Tokenizer  # before there is a folder: Ctrl-C within an import clears nothing away

    check_free(folder)
    with appearing(folder) as partial:
        write_json(partial / "config.json", hf_config(config))
        _write_weights(params, partial, shard_bytes)
        ids = {"decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1}
        write_json(partial / "generation_config.json", ids | (generation or {}))
        _write_tokenizer(partial, vocabulary, T5Tokenizer)
        if card is not None:
            (partial / "README.md").write_text(card, encoding="utf-8")


def generation_config(decode: DecodeConfig, vocabulary: Vocabulary) -> dict[str, Any]:
    """A way of decoding, `eval.decode`, under transformers' names (GenerationConfig), without restrictions that are off.

    `samples` and `seed` are left out, too: how many answers, and which, is asked of `generate` itself.

    Raises:
      UserError: the vocabulary cannot spell what `forbidden` names.
    """
    settings = decode.in_words()
    generation = {"num_beams": 1, "do_sample": settings.pop("type") == "sample"}
    generation |= {_GENERATION[key]: value for key, value in settings.items() if key in _GENERATION}
    if decode.forbidden:
        generation["bad_words_ids"] = [list(ids) for ids in vocabulary.spell(decode.forbidden, "eval.decode.forbidden")]
    return generation


def _write_weights(params: Params, folder: Path, shard_bytes: int) -> None:
    """Writes tensors shard by shard; the host holds one shard besides the parameters."""
    tensors = foreign_tensors(params, layout(params, TABLE))
    sizes = {name: tensor.nbytes for name, tensor in tensors.items()}
    shards: list[list[str]] = [[]]
    for name in sorted(tensors):
        if shards[-1] and sum(sizes[n] for n in shards[-1]) + sizes[name] > shard_bytes:
            shards.append([])
        shards[-1].append(name)

    weight_map = {}
    for number, names in enumerate(shards, start=1):
        # The names that transformers gives and looks for.
        file = "model.safetensors" if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}.safetensors"
        save_file({name: tensors[name].read() for name in names}, folder / file, metadata={"format": "pt"})
        (folder / file).chmod((folder / "config.json").stat().st_mode)  # safetensors lets nobody else read it
        weight_map |= dict.fromkeys(names, file)
    if len(shards) > 1:
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map}
        write_json(folder / "model.safetensors.index.json", index)


def hf_config(config: T5Config) -> dict[str, Any]:
    """config.json."""
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "is_encoder_decoder": True,
        **hf_sizes(config),
        "is_gated_act": True,
        "dense_act_fn": "gelu_new",
        "dropout_rate": config.dropout,
        "initializer_factor": 1.0,
        # transformers 5 ties an output to the embedding only where the file has no lm_head; what it reads this key for
        # is whether to scale the decoder's output, as T5 1.0 does. transformers 4 reads it for what it says.
        "tie_word_embeddings": False,
        "decoder_start_token_id": 0,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "use_cache": True,
        "torch_dtype": "float32",
    }


def _write_tokenizer(folder: Path, vocabulary: Path, tokenizer: Any) -> None:
    """Writes spiece.model and, for the tokenizers library, tokenizer.json converted from it by transformers."""
    shutil.copyfile(vocabulary, folder / "spiece.model")
    settings = {
        "tokenizer_class": "T5Tokenizer",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "extra_ids": EXTRA_IDS,
        # The form of transformers 4, which cannot read that of 5; 5 reads both.
        "additional_special_tokens": [f"<extra_id_{i}>" for i in range(EXTRA_IDS)],
    }
    write_json(folder / "tokenizer_config.json", settings)
    tokenizer.from_pretrained(folder).backend_tokenizer.save(str(folder / "tokenizer.json"))
