"""transformers' PyTorch T5 as a reference: random weights of any shape that both load, and a model that trains on them."""

from pathlib import Path
from typing import Any

from train.model.presets import FLAN_VOCAB_SIZE

Sizes = tuple[int, int, int, int, int, int]  # as in train.model.presets.PRESETS


def write_random(folder: Path, sizes: Sizes, *, vocab_size: int = FLAN_VOCAB_SIZE) -> Path:
    """Writes a Hugging Face directory of random weights, as `sharpen` leaves them."""
    import torch  # pyright: ignore[reportMissingImports]
    import transformers

    emb_dim, mlp_dim, num_heads, head_dim, encoder_layers, decoder_layers = sizes
    torch.manual_seed(0)
    config: Any = transformers.T5Config  # its common arguments are in no signature
    model = transformers.T5ForConditionalGeneration(
        config(
            vocab_size=vocab_size, d_model=emb_dim, d_ff=mlp_dim, num_heads=num_heads, d_kv=head_dim,
            num_layers=encoder_layers, num_decoder_layers=decoder_layers, feed_forward_proj="gated-gelu",
            tie_word_embeddings=False, decoder_start_token_id=0, eos_token_id=1, pad_token_id=0,
        )
    )  # fmt: skip
    sharpen(model)
    model.save_pretrained(folder)
    return folder


def sharpen(model: Any) -> None:
    """Makes random weights that show what is wrong, with an output layer of their own as FLAN-T5 has.

    As initialised, norms are all ones, and attention is so even that a wrong bias or mask would hardly show. Twice sharper is
    enough: at four times, transformers itself is 5e-4 away from its own float64.

    transformers 5 ties the output layer of a new model to the embedding, whatever the configuration says. It saves that, too, and
    would read it as T5 1.0's way to scale the decoder's output; FLAN-T5 does neither. The layer's scale is that of T5X's
    initialisation. Transformers' standard deviation of 1 makes logits, and their rounding, 22 times as large: up to 120, where
    one product of 512 terms in float32 is off by 1e-4 already.
    """
    import torch  # pyright: ignore[reportMissingImports]

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "layer_norm" in name:
                parameter.uniform_(0.5, 1.5)
            elif "relative_attention_bias" in name:
                parameter.normal_()
            elif name.endswith("Attention.q.weight"):
                parameter.mul_(2)
    model.lm_head.weight = torch.nn.Parameter(torch.randn(model.lm_head.weight.shape) * model.config.d_model**-0.5)
    model.config.tie_word_embeddings = False


def open_model(folder: Path, *, dropout: float) -> Any:
    """The model, ready to train.

    Raises:
      RuntimeError: transformers tied or scaled its output, so it would do other work than FLAN-T5.
    """
    import transformers

    transformers.logging.set_verbosity_error()  # it warns that it does not tie what must not be tied
    transformers.logging.disable_progress_bar()
    model: Any = transformers.T5ForConditionalGeneration.from_pretrained(folder, dropout_rate=dropout).train()
    if model.config.scale_decoder_outputs or model.lm_head.weight is model.shared.weight:
        raise RuntimeError(f"{folder}: transformers ties its output layer to the embedding or scales what goes into it")
    return model
