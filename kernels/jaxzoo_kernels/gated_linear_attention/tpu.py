"""Pallas TPU: the grid is (heads, chunks), the chunks in sequence, the state in VMEM from one to the next.

Forward reads q, k, v and the gate once and writes o once. Backward is two kernels: one writes the state before every
chunk, the other goes back over the chunks with the cotangent of the state in VMEM. Operands are laid out anew as
[heads, t, d], one pass over memory each, because a block of one head of [t, h, d] is no tile that a TPU can load.
"""

import functools

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from .._core import Kernel, compat
from . import dense
from .xla import split

DTYPES = ("float32", "bfloat16")
SMALLEST = 16  # rows of a tile of 16-bit numbers


def refuse(*operands, gate, **_):
    """Why these operands can't run, or None."""
    for x in operands:
        if jnp.dtype(x.dtype).name not in DTYPES:
            return f"TPU vector units compute in {' and '.join(DTYPES)}, not {x.dtype}"
    q, _, v, *_ = operands
    if 0 in q.shape or 0 in v.shape:
        return "an empty operand"
    if max(q.shape[-1], v.shape[-1]) > 256:
        return f"dk and dv of at most 256 fit in VMEM, got {q.shape[-1]} and {v.shape[-1]}"
    return None


def blocks(q, *_, chunk, **__):
    """Steps of a chunk."""
    return {"chunk": _size(q.shape[1], chunk)}


def _size(t, chunk):
    return max(SMALLEST, min(chunk, 128, 1 << max(t - 1, 0).bit_length()))


def _heads(x, size):
    """[b, t, h, ..] -> [b * h, t padded to chunks, d]."""
    x = x[..., None] if x.ndim == 3 else x
    b, t, h, d = x.shape
    x = jnp.moveaxis(x, 2, 1).reshape(b * h, t, d)
    return jnp.pad(x, [(0, 0), (0, -t % size), (0, 0)])


def _back(x, like):
    """The inverse of `_heads`."""
    b, t, h = like.shape[:3]
    x = jnp.moveaxis(x[:, :t].reshape(b, h, t, -1), 1, 2)
    return x.reshape(like.shape).astype(like.dtype)


def _products(dtype):
    """dot(x, y), x y^T and x^T y, in full precision for 32-bit operands, in bfloat16 for 16-bit ones."""
    precision = lax.Precision.HIGHEST if dtype == jnp.float32 else lax.Precision.DEFAULT

    def product(axes, x, y):
        numbers = ((axes[:1], axes[1:]), ((), ()))
        return lax.dot_general(x, y, numbers, precision=precision, preferred_element_type=jnp.float32)

    return tuple(functools.partial(product, axes) for axes in ((1, 0), (1, 1), (0, 0)))


def _roll(x, by):
    return pltpu.roll(x, by, 0)


def _loaded(refs, scale, gates):
    """q (scaled), k, v, the gate or None, in float32."""
    q, k, v, *gate = (ref[...].astype(jnp.float32) for ref in refs[: 3 + gates])
    return q * scale, k, v, jnp.maximum(gate[0], -1e4) if gate else None


def _call(body, operands, outputs, edges, size, reverse, interpret):
    """Runs `body` over (heads, chunks), backwards in time if `reverse`, with one state [dk, dv] as scratch.

    `operands` and `outputs` [n, t, d] are cut into chunks. `edges` is four lists: states [n, dk, dv] read whole, those
    written, then states [n, chunks, dk, dv] read one per chunk, and those written.
    """
    whole_in, whole_out, per_chunk_in, per_chunk_out = edges
    n, t, _ = operands[0].shape
    count = t // size

    def at(i):
        return count - 1 - i if reverse else i

    def cut(x):
        return pl.BlockSpec((None, size, x.shape[2]), lambda i, j: (i, at(j), 0))

    def whole(x):
        return pl.BlockSpec((None, *x.shape[1:]), lambda i, j: (i, 0, 0))

    def one(x):
        return pl.BlockSpec((None, None, *x.shape[2:]), lambda i, j: (i, at(j), 0, 0))

    results = [*outputs, *whole_out, *per_chunk_out]
    state = (whole_in or whole_out)[0].shape[1:]
    return pl.pallas_call(
        body,
        grid=(n, count),
        in_specs=[*map(cut, operands), *map(whole, whole_in), *map(one, per_chunk_in)],
        out_specs=[*map(cut, outputs), *map(whole, whole_out), *map(one, per_chunk_out)],
        out_shape=results,
        scratch_shapes=[pltpu.VMEM(state, jnp.float32)],
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "arbitrary")),
        interpret=interpret,
    )(*operands, *whole_in, *per_chunk_in)


def _run_forward(*operands, gate, chunk, scale, interpret=False):
    q, k, v, gates, (state,) = split(operands, gate)
    size, (b, _, h, dk), dv = _size(q.shape[1], chunk), q.shape, v.shape[-1]
    products = _products(q.dtype)

    def body(*refs):
        *inputs, first, o, last, kept = refs

        @pl.when(pl.program_id(1) == 0)
        def _():
            kept[...] = first[...]

        result, kept[...] = dense.forward(*_loaded(inputs, scale, len(gates)), kept[...], *products, _roll)
        o[...] = result.astype(o.dtype)

        @pl.when(pl.program_id(1) == pl.num_programs(1) - 1)
        def _():
            last[...] = kept[...]

    operands = [_heads(x, size) for x in (q, k, v, *gates)]
    state = state.reshape(b * h, dk, dv).astype(jnp.float32)
    edges = [state], [compat.output(state)], [], []
    o, last = _call(body, operands, [compat.output(operands[2])], edges, size, False, interpret)
    return [_back(o, v), last.reshape(b, h, dk, dv)]


def _run_backward(*operands, gate, chunk, scale, interpret=False):
    q, k, v, gates, (state, ct_o, ct_last) = split(operands, gate)
    size, (b, _, h, dk), dv = _size(q.shape[1], chunk), q.shape, v.shape[-1]
    products = _products(q.dtype)
    inputs = [_heads(x, size) for x in (q, k, v, *gates)]
    state, ct_last = (x.reshape(b * h, dk, dv).astype(jnp.float32) for x in (state, ct_last))
    states = compat.output(state, (b * h, inputs[0].shape[1] // size, dk, dv))

    def save(*refs):
        *given, first, before, kept = refs

        @pl.when(pl.program_id(1) == 0)
        def _():
            kept[...] = first[...]

        before[...] = kept[...]
        _, kept[...] = dense.forward(*_loaded(given, scale, len(gates)), kept[...], *products, _roll)

    (states,) = _call(save, inputs, [], ([state], [], [], [states]), size, False, interpret)

    def body(*refs):
        *given, ct_o, ct_last, before = refs[: len(inputs) + 3]
        *cts, ct_first, kept = refs[len(inputs) + 3 :]

        @pl.when(pl.program_id(1) == 0)
        def _():
            kept[...] = ct_last[...]

        loaded = (*_loaded(given, scale, len(gates)), before[...], ct_o[...].astype(jnp.float32), kept[...])
        ct_q, *rest, kept[...] = dense.backward(*loaded, *products, _roll)
        for ref, ct in zip(cts, (ct_q * scale, *rest), strict=False):
            ref[...] = ct.astype(ref.dtype)

        @pl.when(pl.program_id(1) == pl.num_programs(1) - 1)
        def _():
            ct_first[...] = kept[...]

    edges = [ct_last], [compat.output(state)], [states], []
    *cts, ct_state = _call(
        body, [*inputs, _heads(ct_o, size)], [compat.output(x) for x in inputs], edges, size, True, interpret
    )
    cts = [_back(ct, x) for ct, x in zip(cts, (q, k, v, *gates), strict=True)]
    return [*cts, ct_state.reshape(b, h, dk, dv)]


forward = Kernel(_run_forward, refuse, blocks)
backward = Kernel(_run_backward, refuse, blocks)
