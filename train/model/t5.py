"""T5 1.1 (Raffel et al. 2020, arXiv 1910.10683; Shazeer 2020, arXiv 2002.05202), the architecture of FLAN-T5, in Flax NNX.

Gated GELU, RMS norm without bias, relative position bias shared over a stack, untied output: train/model/layers.py. Modules hold
parameters; the layers of a stack are one block whose parameters have a leading `layers` axis, walked by `jax.lax.scan`, so
that compile time does not grow with depth (`scan_layers: false` writes them out). Every parameter carries `logical_axes`;
train/parallel/mesh.py maps them to the mesh. What a fine-tuning method adds hangs in `adapters` of the module that it changes
(train/model/adapters.py); the model knows no method.

Numerics: norms, softmax, residual sums of squares, logits and, unless `param_dtype` says otherwise, parameters are float32;
matrix products run in `compute_dtype`. T5 in bfloat16 throughout gives NaN.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from train.model.attention.mask import Front, Mask, segment_mask
from train.model.axes import constrain
from train.model.dense import NO_DROPOUT, PRODUCT, Dropout
from train.model.layers import MLP, Attention, RelativePositionBias, RMSNorm, T5Config, param
from train.model.presets import Remat
from train.model.soft_prompts import Fronts, Inputs, Prefix, Prompt, positions_in_segments

Params = dict[str, Any]  # nested dict of arrays, the pure form of the modules' state


Extend = Callable[["T5", nnx.Rngs], None]  # hangs what a fine-tuning method adds into a model


class EncoderBlock(nnx.Module):
    def __init__(self, config: T5Config, rngs: nnx.Rngs):
        layers = config.num_encoder_layers
        self.attention_norm, self.attention = RMSNorm(config, (layers,)), Attention(config, layers, rngs)
        self.mlp_norm, self.mlp = RMSNorm(config, (layers,)), MLP(config, layers, rngs)

    def __call__(
        self, x: jax.Array, mask: Mask, bias: jax.Array, dropout: Dropout, front: Front | None = None
    ) -> jax.Array:
        y = self.attention_norm(x)
        x += dropout(self.attention(y, y, mask, bias, dropout, front))
        return x + dropout(self.mlp(self.mlp_norm(x), dropout))


class DecoderBlock(nnx.Module):
    def __init__(self, config: T5Config, rngs: nnx.Rngs):
        layers = config.num_decoder_layers
        self.self_norm, self.self_attention = RMSNorm(config, (layers,)), Attention(config, layers, rngs)
        self.cross_norm, self.cross_attention = RMSNorm(config, (layers,)), Attention(config, layers, rngs)
        self.mlp_norm, self.mlp = RMSNorm(config, (layers,)), MLP(config, layers, rngs)

    def __call__(
        self,
        x: jax.Array,
        encoded: jax.Array,
        self_mask: Mask,
        cross_mask: Mask,
        bias: jax.Array,
        dropout: Dropout,
        front: Front | None = None,
        cross_front: Front | None = None,
    ) -> jax.Array:
        y = self.self_norm(x)
        x += dropout(self.self_attention(y, y, self_mask, bias, dropout, front))
        x += dropout(self.cross_attention(self.cross_norm(x), encoded, cross_mask, None, dropout, cross_front))
        return x + dropout(self.mlp(self.mlp_norm(x), dropout))


class CutStack(nnx.Module):
    """A block's layers in two blocks, so that the lower ones can be frozen: then they have no backward pass at all."""

    def __init__(self, lower: nnx.Module, upper: nnx.Module):
        self.lower, self.upper = lower, upper


def blocks(stack: nnx.Module) -> tuple[Any, ...]:
    """The blocks of stacked layers that make up an encoder or a decoder, one or two."""
    return (stack.lower, stack.upper) if isinstance(stack, CutStack) else (stack,)


def scan_layers(
    stack: nnx.Module,
    body: Callable[..., Any],
    carry: Any,
    xs: Any = None,
    *,
    remat: Remat = "none",
    written_out: bool = False,
) -> Any:
    """Runs `carry, y = body(block of one layer, carry, x)` over the layers of a stack; returns (carry, stacked ys).

    Args:
      xs: with a leading axis of layers, like the parameters.
      remat: what of a layer is computed anew for the backward pass, see `train.config.ModelConfig`.
      written_out: the layers stand one behind the other in the program, not in a loop.
    """
    outputs, start = [], 0
    for block in blocks(stack):
        end = start + jax.tree.leaves(nnx.state(block))[0].shape[0]
        part = jax.tree.map(lambda x, here=slice(start, end): x[here], xs)
        carry, ys = _scan_block(block, body, carry, part, remat=remat, written_out=written_out)
        outputs.append(ys)
        start = end
    return carry, jax.tree.map(lambda *ys: jnp.concatenate(ys), *outputs)


def _scan_block(
    block: nnx.Module, body: Callable[..., Any], carry: Any, xs: Any, *, remat: Remat, written_out: bool
) -> Any:
    graphdef, stacked = nnx.split(block)

    def step(carry: Any, layer: Any) -> Any:
        params, x = layer
        return body(nnx.merge(graphdef, params), carry, x)

    if remat != "none":
        policies = jax.checkpoint_policies
        keep = policies.save_only_these_names(PRODUCT) if remat == "selected" else policies.nothing_saveable
        # From one loop to another XLA merges nothing that is computed twice; where there is none, it would.
        step = jax.checkpoint(step, policy=keep, prevent_cse=written_out)
    return jax.lax.scan(step, carry, (nnx.to_pure_dict(stacked), xs), unroll=written_out)


# Names on the paths of parameters that a method adds.
ADDED = {"adapters", "prompt", "encoder_prefix", "decoder_prefix", "cross_prefix"}


class T5(nnx.Module):
    """The encoder-decoder. `logits = model(batch)`; for decoding: `encode`, then eval/decoding/decoder.py."""

    # Set by methods that train soft prompts: embeddings, or keys and values in front of an attention's own.
    prompt: Prompt | None = None
    encoder_prefix: Prefix | None = None
    decoder_prefix: Prefix | None = None  # of self-attention
    cross_prefix: Prefix | None = None

    def __init__(self, config: T5Config, rngs: nnx.Rngs):
        self.config = config
        self.adapters = nnx.Dict()  # `embedding`: an EmbeddingAdapter
        vocab, emb = config.vocab_size, config.emb_dim
        self.embedding = param(rngs, (vocab, emb), ("vocab", "embed"), 1.0, config.param_dtype)
        self.encoder_bias = RelativePositionBias(config, bidirectional=True, rngs=rngs)
        self.encoder = EncoderBlock(config, rngs)
        self.encoder_norm = RMSNorm(config, ())
        self.decoder_bias = RelativePositionBias(config, bidirectional=False, rngs=rngs)
        self.decoder = DecoderBlock(config, rngs)
        self.decoder_norm = RMSNorm(config, ())
        # Starts as the embedding, transposed, and is trained apart from it: from scratch, copying a word of the source
        # then needs no learning word by word. Scaled to a fifth of the usual 1 / sqrt(emb_dim): small first logits, so that the
        # first loss is about ln(vocab_size).
        self.head = nnx.Param(0.2 * emb**-0.5 * self.embedding[...].T, logical_axes=("embed", "vocab"))

    def embed(self, tokens: jax.Array) -> jax.Array:
        """`[...]` -> `[..., embed]` in the compute type. A gather: one-hot products would cost a third of small's FLOPs.

        The table is gathered over fsdp first: a gather whose result were cut by `embed` would be copied to every device
        before it could be cut by `batch`.
        """
        # In float32, for the gradient's sake: it is a sum over all places where a token stands.
        table = constrain(self.embedding[...].astype(jnp.float32), ("vocab", None))
        embedded = jnp.take(table, tokens, axis=0).astype(self.config.compute_dtype)
        adapter = self.adapters.get("embedding")
        return embedded if adapter is None else adapter(tokens, embedded)

    def encode(self, tokens: jax.Array, segment_ids: jax.Array, dropout_key: jax.Array | None = None) -> jax.Array:
        """`[batch, length]`, `[batch, length]` (0 = padding) -> `[batch, length, embed]`."""
        positions = jnp.arange(tokens.shape[1])
        inputs = Inputs(tokens, segment_ids)
        bias, mask = self.encoder_bias(positions, positions), segment_mask(segment_ids, self.attended(inputs))
        dropout, keys = self._dropout(dropout_key, self.config.num_encoder_layers)
        fronts = self._encoder_fronts(inputs)

        def layer(block: EncoderBlock, x: jax.Array, of_layer: Any) -> tuple[jax.Array, None]:
            key, front = of_layer
            x = block(x, mask, bias, Dropout(self.config.dropout, key), fronts and fronts.of(front))
            return constrain(x, ("batch", "length", None)), None

        x = self.embed(jnp.maximum(tokens, 0))
        if self.prompt is not None:
            x = self.prompt(tokens, x)
        x = constrain(dropout(x), ("batch", "length", None))
        x, _ = self._through(self.encoder, layer, x, (keys, fronts and fronts[:2]))
        return dropout(self.encoder_norm(x))

    def decode(
        self,
        encoded: jax.Array,
        inputs: Inputs,
        tokens: jax.Array,
        segment_ids: jax.Array,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:
        """Hidden states of all target positions at once (teacher forcing): `[batch, target_length, embed]`.

        Args:
          encoded: of `inputs`, `[batch, length, embed]`.
          tokens: int `[batch, target_length]`, shifted.
          segment_ids: int `[batch, target_length]`.
        """
        positions = jnp.arange(tokens.shape[1])
        bias = self.decoder_bias(positions, positions)
        self_mask = segment_mask(segment_ids, segment_ids, causal=True)
        cross_mask = segment_mask(segment_ids, self.attended(inputs))
        dropout, keys = self._dropout(dropout_key, self.config.num_decoder_layers)
        fronts = self.decoder_fronts(inputs, segment_ids)
        cross = self.cross_fronts(inputs, segment_ids)

        def layer(block: DecoderBlock, x: jax.Array, of_layer: Any) -> tuple[jax.Array, None]:
            key, front, from_cross = of_layer
            in_front = fronts and fronts.of(front), cross and cross.of(from_cross)
            x = block(x, encoded, self_mask, cross_mask, bias, Dropout(self.config.dropout, key), *in_front)
            return constrain(x, ("batch", "length", None)), None

        x = constrain(dropout(self.embed(tokens)), ("batch", "length", None))
        of_layers = (keys, fronts and fronts[:2], cross and cross[:2])
        x, _ = self._through(self.decoder, layer, x, of_layers)
        return dropout(self.decoder_norm(x))

    def logits(self, hidden: jax.Array) -> jax.Array:
        """`[..., embed]` -> float32 `[..., vocab]`."""
        kernel = self.head[...].astype(hidden.dtype)
        return jnp.matmul(hidden, kernel, preferred_element_type=jnp.float32)

    def hidden(self, batch: dict[str, jax.Array], dropout_key: jax.Array | None = None) -> jax.Array:
        """Hidden states `[batch, target_length, embed]` of a packed batch (see train/data for its fields)."""
        encoder_key, decoder_key = (None, None) if dropout_key is None else jax.random.split(dropout_key)
        inputs = Inputs(batch["encoder_input_tokens"], batch["encoder_segment_ids"])
        return self.decode(
            self.encode(*inputs, encoder_key),
            inputs,
            batch["decoder_input_tokens"],
            batch["decoder_segment_ids"],
            decoder_key,
        )

    def __call__(self, batch: dict[str, jax.Array], dropout_key: jax.Array | None = None) -> jax.Array:
        """Float32 logits `[batch, target_length, vocab]`, all at once; a loss takes them in parts: train/model/loss.py."""
        return constrain(self.logits(self.hidden(batch, dropout_key)), ("batch", "length", "vocab"))

    def attended(self, inputs: Inputs) -> jax.Array:
        """Segments of the encoder's positions for what attends to them: int `[batch, length]`; a mark is in none."""
        prefixes = (self.encoder_prefix, self.decoder_prefix, self.cross_prefix)
        if all(prefix is None or prefix.prefixes == 1 for prefix in prefixes):
            return inputs.segment_ids
        return jnp.where(inputs.tokens < 0, -1, inputs.segment_ids)

    def _encoder_fronts(self, inputs: Inputs) -> Fronts | None:
        """Keys and values in front of the encoder's."""
        if (prefix := self.encoder_prefix) is None:
            return None
        positions = positions_in_segments(inputs.segment_ids) - (prefix.prefixes > 1)
        dtype, bias = self.config.compute_dtype, self.encoder_bias
        return prefix.fronts(inputs, inputs.segment_ids, dtype, relative_bias=bias, positions=positions)

    def decoder_fronts(self, inputs: Inputs, segment_ids: jax.Array) -> Fronts | None:
        """Keys and values in front of the decoder's own; `segment_ids` `[batch, target_length]` are the decoder's."""
        if (prefix := self.decoder_prefix) is None:
            return None
        positions, bias = positions_in_segments(segment_ids), self.decoder_bias
        return prefix.fronts(inputs, segment_ids, self.config.compute_dtype, relative_bias=bias, positions=positions)

    def cross_fronts(self, inputs: Inputs, segment_ids: jax.Array) -> Fronts | None:
        """Keys and values in front of those that the decoder has from the encoder."""
        prefix = self.cross_prefix
        return None if prefix is None else prefix.fronts(inputs, segment_ids, self.config.compute_dtype)

    def _through(self, stack: nnx.Module, layer: Callable[..., Any], x: jax.Array, of_layers: Any) -> Any:
        return scan_layers(stack, layer, x, of_layers, remat=self.config.remat, written_out=not self.config.scan_layers)

    def _dropout(self, key: jax.Array | None, layers: int) -> tuple[Dropout, jax.Array | None]:
        """Dropout outside the layers, and a key for each layer."""
        if key is None:
            return NO_DROPOUT, None
        own, rest = jax.random.split(key)
        return Dropout(self.config.dropout, own), jax.random.split(rest, layers)


def abstract_model(config: T5Config, extend: Extend | None = None) -> tuple[nnx.GraphDef, Params, Params]:
    """The model without its weights.

    Args:
      extend: what a fine-tuning method adds to it; see train/methods.

    Returns:
      graphdef: `nnx.merge(graphdef, params)` makes the model.
      shapes: the parameters as `jax.ShapeDtypeStruct`.
      axes: the logical axes of each parameter, a tuple of names.
    """

    def make() -> T5:
        model = T5(config, nnx.Rngs(params=0))
        if extend is not None:
            extend(model, nnx.Rngs(params=0))
        return model

    graphdef, state = nnx.split(nnx.eval_shape(make))
    shapes = nnx.to_pure_dict(state)
    axes: Params = {}
    for path, variable in nnx.to_flat_state(state):
        *parents, name = map(str, path)
        node = axes
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = variable.get_metadata("logical_axes")
    return graphdef, shapes, axes


def init_params(config: T5Config, seed: int) -> Params:
    """Random parameters; call it under jit with the shardings of the parameters as its output's."""
    return nnx.to_pure_dict(nnx.state(T5(config, nnx.Rngs(params=seed))))


def extend_params(graphdef: nnx.GraphDef, params: Params, extend: Extend, seed: int) -> Params:
    """Parameters of the plain model (and its graphdef) -> those of the extended one, what is added from `seed`. For jit."""
    model = nnx.merge(graphdef, params)
    extend(model, nnx.Rngs(params=seed))
    return nnx.to_pure_dict(nnx.state(model))


def merge_params(graphdef: nnx.GraphDef, params: Params, merge: Callable[[T5], None]) -> Params:
    """Parameters of an extended model (and its graphdef) -> those of the plain one. For jit."""
    model = nnx.merge(graphdef, params)
    merge(model)
    return nnx.to_pure_dict(nnx.state(model))
