"""Attention on TPUs that keeps logits and weights in the chip's vector memory: a Pallas kernel for T5's shared bias.

Each block of queries sees all keys of its row at once (up to 4,096), so the softmax is the plain one: nothing is rescaled, and
the backward pass needs nothing kept but what the forward pass was given. The batch is the innermost axis of the grid: a block
of the bias `[1, heads, q_length, k_length]` is read once for all rows, and its gradient is summed over the rows where it lies.
No array of `[batch, heads, q_length, k_length]` is ever in the device's main memory.

Queries, keys and values stay as the projections make them, `[batch, length, heads x head_dim]`: two heads of 64 fill the 128
lanes of the chip's registers, where `[..., heads, 64]` would leave half of them, and of the memory, empty. A product for one
head is taken over all lanes of its group with the other heads' set to zero: the matrix unit takes 128 at a time or more.

Read beside it: FlashAttention (Dao et al. 2022, arXiv 2205.14135), whose tiling over keys these lengths do not need.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from train.model.attention.mask import MASKED, Mask
from train.model.axes import on_each_device

_BLOCK = 2**18  # logits of a block and head, at most: 1 MiB in float32; the backward pass holds several such


_VECTOR_MEMORY = 48 * 2**20  # bytes, which the compiler grants on v5e, v5p and v6e


_LANES = 128


_SUBLANES = 16  # rows of a tile of bfloat16


_Shapes = dict[str, jax.ShapeDtypeStruct]


def block_of_queries(q_length: int, k_length: int) -> int | None:
    """Queries of a block: as many as the vector memory allows. None: these lengths have no good one."""
    for parts in range(1, q_length + 1):
        block = q_length // parts
        if q_length % parts == 0 and block * k_length <= _BLOCK and (parts == 1 or block % _SUBLANES == 0):
            return block
    return None


def pallas_attention(
    q: jax.Array, k: jax.Array, v: jax.Array, mask: Mask, bias: jax.Array | None, *, interpret: bool = False
) -> jax.Array:
    """`train.model.attention.attention` on a TPU, on each device of the mesh that is set for its own rows and heads.

    Args:
      interpret: run it in plain JAX, for tests without a TPU.
    """
    head_dim = q.shape[-1]
    joined = [x.reshape(*x.shape[:2], -1) for x in (q, k, v)]
    inputs = (*joined, mask.q_segment_ids, mask.k_segment_ids, bias)
    heads, ids, bias_axes = ("batch", None, "heads"), ("batch", None), (None, "heads", None, None)
    run = on_each_device(
        functools.partial(_attend, _Static(head_dim, mask.causal, interpret)),
        arguments=(heads, heads, heads, ids, ids, None if bias is None else bias_axes),
        result=heads,
    )
    return run(*inputs).reshape(q.shape)


class _Static(NamedTuple):
    head_dim: int
    causal: bool
    interpret: bool


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(
    static: _Static, q: jax.Array, k: jax.Array, v: jax.Array, q_ids: jax.Array, k_ids: jax.Array, bias: Any
) -> jax.Array:
    """`[batch, length, heads x head_dim]` thrice, segments, bias `[1, heads, q_length, k_length]` or None -> like `q`."""
    call = _Call(static, q, k, v, q_ids, k_ids, bias)
    return call.run(_forward_kernel, {"out": jax.ShapeDtypeStruct(q.shape, v.dtype)}, batch_innermost=True)["out"]


def _forward(static: _Static, *inputs: Any) -> tuple[jax.Array, Any]:
    return _attend(static, *inputs), inputs


def _backward(static: _Static, saved: Any, gradient: jax.Array) -> tuple[Any, ...]:
    q, k, v, q_ids, k_ids, bias = saved
    call = _Call(static, q, k, v, q_ids, k_ids, bias, gradient)
    query_grads = {"q": jax.ShapeDtypeStruct(q.shape, q.dtype)}
    if bias is not None:
        query_grads["bias"] = jax.ShapeDtypeStruct(bias.shape, jnp.float32)
    if call.blocks == 1:  # then a row's gradients are known at once
        key_grads = {name: jax.ShapeDtypeStruct(k.shape, k.dtype) for name in ("k", "v")}
        grads = call.run(_backward_kernel, query_grads | key_grads, batch_innermost=True)
    else:  # what is summed over rows, and what is summed over blocks of queries: each in the order that it needs
        key_grads = {name: jax.ShapeDtypeStruct(k.shape, jnp.float32) for name in ("k", "v")}
        grads = call.run(_backward_kernel, query_grads, batch_innermost=True)
        grads |= call.run(_backward_kernel, key_grads, batch_innermost=False)
    d_bias = None if bias is None else grads["bias"].astype(bias.dtype)
    return grads["q"], grads["k"].astype(k.dtype), grads["v"].astype(v.dtype), None, None, d_bias


_attend.defvjp(_forward, _backward)


class _Call:
    """Runs a kernel over a grid of groups of heads, blocks of queries and rows."""

    def __init__(
        self,
        static: _Static,
        q: jax.Array,
        k: jax.Array,
        v: jax.Array,
        q_ids: jax.Array,
        k_ids: jax.Array,
        bias: jax.Array | None,
        gradient: jax.Array | None = None,
    ):
        self.static = static
        self.inputs = {"q": q, "k": k, "v": v, "q_ids": q_ids[:, :, None], "k_ids": k_ids[:, None, :]}
        if bias is not None:
            self.inputs["bias"] = bias
        if gradient is not None:
            self.inputs["gradient"] = gradient
        block = block_of_queries(q.shape[1], k.shape[1])
        if block is None:
            raise ValueError(f"no block of {q.shape[1]} queries against {k.shape[1]} keys fits the kernel")
        self.block, self.blocks = block, q.shape[1] // block
        heads = q.shape[2] // static.head_dim
        groups = (n for n in range(1, heads) if heads % n == 0 and n * static.head_dim % _LANES == 0)
        self.heads, self.group = heads, next(groups, heads)  # heads in all, and of a group, which fills whole registers

    def run(self, kernel: Any, outputs: _Shapes, *, batch_innermost: bool) -> dict[str, jax.Array]:
        """`kernel(of its block: inputs, outputs, first query, whether the grid's innermost axis is at its start)`.

        The outermost axis are groups of heads; then blocks of queries and rows, one of them innermost.
        """
        batch, k_length = self.inputs["q"].shape[0], self.inputs["k"].shape[1]
        groups, lanes = self.heads // self.group, self.group * self.static.head_dim
        grid = (groups, self.blocks, batch) if batch_innermost else (groups, batch, self.blocks)

        def place(shape: tuple[int, ...], index: Any) -> pl.BlockSpec:
            """`index(group, block of queries, row)` says which block."""
            return pl.BlockSpec(shape, index if batch_innermost else lambda g, b, i: index(g, i, b))

        query_block = place((1, self.block, lanes), lambda g, i, b: (b, i, g))
        key_block = place((1, k_length, lanes), lambda g, i, b: (b, 0, g))
        places = {
            "q": query_block, "out": query_block, "gradient": query_block, "k": key_block, "v": key_block,
            "q_ids": place((1, self.block, 1), lambda g, i, b: (b, i, 0)),
            "k_ids": place((1, 1, k_length), lambda g, i, b: (b, 0, 0)),
            "bias": place((1, self.group, self.block, k_length), lambda g, i, b: (0, g, i, 0)),
        }  # fmt: skip

        def body(*refs: Any) -> None:
            given = dict(zip(self.inputs, refs[: len(self.inputs)], strict=True))
            wanted = dict(zip(outputs, refs[len(self.inputs) :], strict=True))
            queries, inner = pl.program_id(1 if batch_innermost else 2), pl.program_id(2)
            kernel(self.static, given, wanted, queries * self.block, inner == 0)

        found = pl.pallas_call(
            body,
            grid=grid,
            in_specs=[places[name] for name in self.inputs],
            out_specs=[places[name] for name in outputs],
            out_shape=list(outputs.values()),
            compiler_params=pltpu.CompilerParams(
                dimension_semantics=("parallel", "parallel", "arbitrary"), vmem_limit_bytes=_VECTOR_MEMORY
            ),
            cost_estimate=self._cost(outputs),
            interpret=self.static.interpret,
            name="t5_attention",
        )(*self.inputs.values())
        return dict(zip(outputs, found, strict=True))

    def _cost(self, outputs: _Shapes) -> pl.CostEstimate:
        """For XLA's scheduler."""
        logits = math.prod(self.inputs["q"].shape[:2]) * self.inputs["k"].shape[1] * self.heads
        products = 2 if "out" in outputs else 2 + len(outputs) - ("bias" in outputs)
        moved = sum(math.prod(x.shape) * x.dtype.itemsize for x in (*self.inputs.values(), *outputs.values()))
        flops = 2 * products * logits * self.static.head_dim
        return pl.CostEstimate(flops=flops, bytes_accessed=moved, transcendentals=logits)


_ROWS_BY_ROWS = (((1,), (1,)), ((), ()))  # [q, d] and [k, d] -> [q, k]


_COLUMNS_BY_COLUMNS = (((0,), (0,)), ((), ()))  # [q, k] and [q, d] -> [k, d]


def _product(a: jax.Array, b: jax.Array, dimensions: Any = (((1,), (0,)), ((), ()))) -> jax.Array:
    return jax.lax.dot_general(a, b, dimensions, preferred_element_type=jnp.float32)


def _of_head(x: jax.Array, head: int, static: _Static) -> jax.Array:
    """`[length, lanes]` with the lanes of the group's other heads set to zero."""
    if x.shape[1] == static.head_dim:
        return x
    lane = jax.lax.broadcasted_iota(jnp.int32, x.shape, 1)
    return jnp.where(lane // static.head_dim == head, x, jnp.zeros_like(x))


def _allowed(given: dict[str, Any], static: _Static, first: jax.Array) -> jax.Array:
    """Bool `[queries, keys]` of a block."""
    allowed = given["q_ids"][0] == given["k_ids"][0]
    if static.causal:
        query = first + jax.lax.broadcasted_iota(jnp.int32, allowed.shape, 0)
        allowed &= jax.lax.broadcasted_iota(jnp.int32, allowed.shape, 1) <= query
    return allowed


def _weights(given: dict[str, Any], queries: jax.Array, head: int, allowed: jax.Array) -> jax.Array:
    """Softmax of a head's logits, float32 `[queries, keys]`; `queries` are zero outside the head's lanes."""
    logits = _product(queries, given["k"][0], _ROWS_BY_ROWS)
    if "bias" in given:
        logits += given["bias"][0, head]
    logits = jnp.where(allowed, logits, MASKED)
    weights = jnp.exp(logits - jnp.max(logits, axis=-1, keepdims=True))
    return weights / jnp.sum(weights, axis=-1, keepdims=True)


def _forward_kernel(static: _Static, given: Any, wanted: Any, first: jax.Array, at_start: jax.Array) -> None:
    del at_start
    queries, values, allowed = given["q"][0], given["v"][0], _allowed(given, static, first)
    out = jnp.zeros(queries.shape, jnp.float32)
    for head in range(queries.shape[1] // static.head_dim):
        weights = _weights(given, _of_head(queries, head, static), head, allowed).astype(values.dtype)
        out += _of_head(_product(weights, values), head, static)
    wanted["out"][0] = out.astype(values.dtype)


def _backward_kernel(static: _Static, given: Any, wanted: Any, first: jax.Array, at_start: jax.Array) -> None:
    """The gradients that are wanted. That of the bias is a sum over rows; those of keys and values over blocks of queries."""
    queries, keys, values, gradient = (given[name][0] for name in ("q", "k", "v", "gradient"))
    allowed = _allowed(given, static, first)
    sums = {name: jnp.zeros(given[name].shape[1:], jnp.float32) for name in ("q", "k", "v") if name in wanted}
    for head in range(queries.shape[1] // static.head_dim):
        q, d_out = _of_head(queries, head, static), _of_head(gradient, head, static)
        weights = _weights(given, q, head, allowed)
        d_weights = _product(d_out, values, _ROWS_BY_ROWS)
        inner = jnp.sum(weights * d_weights, axis=-1, keepdims=True)
        d_logits = jnp.where(allowed, weights * (d_weights - inner), 0.0)
        narrow = d_logits.astype(q.dtype)
        if "bias" in wanted:
            _add(wanted["bias"], (0, head), d_logits, start=at_start)
        if "q" in wanted:
            sums["q"] += _of_head(_product(narrow, keys), head, static)
        if "k" in wanted:
            sums["k"] += _product(narrow, q, _COLUMNS_BY_COLUMNS)
            sums["v"] += _product(weights.astype(values.dtype), d_out, _COLUMNS_BY_COLUMNS)
    several_blocks = "q" not in wanted
    for name, value in sums.items():
        if name == "q" or not several_blocks:
            wanted[name][0] = value.astype(wanted[name].dtype)
        else:
            _add(wanted[name], (0,), value, start=at_start)


def _add(to: Any, index: tuple[int, ...], value: jax.Array, *, start: jax.Array) -> None:
    """Adds to an output that stays in the vector memory while the grid's innermost axis is walked."""

    @pl.when(start)
    def _() -> None:
        to[index] = value

    @pl.when(jnp.logical_not(start))
    def _() -> None:
        to[index] += value
