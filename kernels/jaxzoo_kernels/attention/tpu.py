"""Pallas TPU: one tile of logits per step of the grid, the sums of its row or column of tiles in VMEM.

Forward goes over (b, h, blocks of queries, blocks of keys), keys last and in sequence. Backward is two kernels, one
with the sums of a block of queries and one with those of a block of keys, so that each result is written once and in a
fixed order; where the bias wants its gradient a third writes that. Tiles that a band hides are neither loaded nor
computed.

Operands are laid out anew as [b, h, t, d], padded to whole tiles. Lowered, compiled for TPU generations and
interpreted; it has not been run on a TPU.
"""

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from .._core import Kernel, compat
from .options import Options, even, named
from .tile import absorb, cotangents, finish, k_range, logits, q_range, weights

DTYPES = ("float32", "bfloat16")
ROWS, COLUMNS = 512, 512  # of one tile at most
LANES, SUBLANES = 128, 32  # of a tile that any dtype can be loaded by


def refuse(*operands, options: Options, with_bias: bool = False):
    """Why these operands can't run, or None."""
    x = named(operands[: len(options.names())], options)
    for name in ("q", "k", "v", "bias", "gate", "sink"):
        if x[name] is not None and jnp.dtype(x[name].dtype).name not in DTYPES:
            return f"TPU vector units compute in {' and '.join(DTYPES)}, not {x[name].dtype}"
    if any(0 in a.shape for a in operands):
        return "an empty operand"
    if max(x["q"].shape[3], x["v"].shape[3]) > 256:
        return f"d of at most 256 fits in VMEM, got {x['q'].shape[3]} and {x['v'].shape[3]}"
    if with_bias and x["bias"].shape[2:] != (x["q"].shape[1], x["k"].shape[1]):
        return "the gradient of a bias that queries or keys share is not a sum of tiles"
    return None


def blocks(q, k, *_, **__):
    """Rows and columns of a tile."""
    (_, rows), (_, columns) = even(q.shape[1], ROWS), even(k.shape[1], COLUMNS)
    return {"rows": -(-rows // SUBLANES) * SUBLANES, "columns": -(-columns // LANES) * LANES}


class Call:
    """The operands of one op laid out and cut into blocks: arrays and a `BlockSpec` maker for each, by name."""

    def __init__(self, x: dict, options: Options):
        q, k = x["q"], x["k"]
        (self.b, self.t, self.h, _), (_, self.s, self.groups, _) = q.shape, k.shape
        self.options, self.shared = options, self.h // self.groups
        size = blocks(q, k)
        self.rows, self.columns = size["rows"], size["columns"]
        self.q_blocks, self.k_blocks = -(-self.t // self.rows), -(-self.s // self.columns)
        arrays = {name: self._laid_out(name, a) for name, a in x.items() if a is not None}
        self.arrays = arrays

    def _laid_out(self, name, a):
        if name in ("q", "k", "v", "gate", "ct_y"):
            a, axes = jnp.transpose(a, (0, 2, 1, 3)), (2, None)
        elif name in ("bias", "mask"):
            a, axes = a.astype(jnp.int8) if name == "mask" else a, (2, 3)
        elif name == "kv_segments":
            a, axes = a[:, None, None], (None, 3)
        elif name == "sink":
            return a[:, :, None, None].astype(jnp.float32)
        else:
            a, axes = (a[:, None] if name == "q_segments" else a)[..., None], (2, None)
        size = {2: self.columns if name in ("k", "v") else self.rows, 3: self.columns}
        one = name in ("bias", "mask")  # whose axes of size 1 stay so
        return jnp.pad(
            a, [(0, -n % size[i] if i in axes and not (one and n == 1) else 0) for i, n in enumerate(a.shape)]
        )

    def spec(self, name, at):
        """The block of `name` at `at(*grid) -> (b, h, block of queries, block of keys)`."""
        shape = self.arrays[name].shape
        of_keys = name in ("k", "v")
        size = {2: self.columns if of_keys else self.rows, 3: self.columns}
        tiled = (False, True) if name == "kv_segments" else (True, name in ("bias", "mask"))
        block = tuple(size[i] if tiled[i - 2] and shape[i] > 1 else shape[i] for i in (2, 3))

        def index(*grid):
            b, h, row, column = at(*grid)
            h = lax.div(h, self.shared) if of_keys else h
            along = (column if of_keys else row, column)
            return (
                b if shape[0] > 1 else 0,
                h if shape[1] > 1 else 0,
                *(along[i - 2] if block[i - 2] < shape[i] else 0 for i in (2, 3)),
            )

        return pl.BlockSpec((None, None, *block), index)

    def logits(self, refs, row, column):
        """The tile's logits, -inf beyond the last key, and their slope; `refs` by name."""
        rows = row * self.rows + lax.broadcasted_iota(jnp.int32, (self.rows, 1), 0)
        columns = column * self.columns + lax.broadcasted_iota(jnp.int32, (1, self.columns), 1)
        x = {name: refs[name][...] if name in refs else None for name in ("bias", "mask", "q_segments", "kv_segments")}
        if x["mask"] is not None:
            x["mask"] = x["mask"].astype(jnp.int32) != 0
        value, slope = logits(refs["q"][...], refs["k"][...], rows, columns, x, self.options)
        if self.s % self.columns:
            value = jnp.where(columns < self.s, value, -jnp.inf)
        return value, slope

    def cotangents(self, refs, row, column):
        value, slope = self.logits(refs, row, column)
        given = (refs[name][...] for name in ("lse", "q", "k", "v", "ct_y", "ct_r"))
        return cotangents(value, slope, *given)

    def run(self, body, grid, at, outputs, scratch, arbitrary, interpret):
        """`body(refs by name, outputs, scratch)` over the grid, its last `arbitrary` axes in sequence."""
        names = list(self.arrays)

        def kernel(*refs):
            given = dict(zip(names, refs, strict=False))
            rest = refs[len(names) :]
            body(given, rest[: len(outputs)], rest[len(outputs) :])

        return pl.pallas_call(
            kernel,
            grid=grid,
            in_specs=[self.spec(name, at) for name in names],
            out_specs=[spec for _, spec in outputs],
            out_shape=[shape for shape, _ in outputs],
            scratch_shapes=[pltpu.VMEM(shape, jnp.float32) for shape in scratch],
            compiler_params=pltpu.CompilerParams(
                dimension_semantics=("parallel",) * (len(grid) - arbitrary) + ("arbitrary",) * arbitrary
            ),
            interpret=interpret,
        )(*self.arrays.values())


def _block(shape, size, index):
    return pl.BlockSpec((None, None, *size), index)


def _heads_last(x, like):
    return jnp.transpose(x[:, :, : like.shape[1]], (0, 2, 1, 3))


def _nearest(j, first, last):
    """j, or the block in first .. last - 1 next to it: what is not needed is not loaded."""
    return jnp.clip(j, first, jnp.maximum(last - 1, first))


def run_forward(*operands, options: Options, interpret=False):
    x = named(operands, options)
    q, v = x["q"], x["v"]
    call = Call(x, options)
    rows, d_v = call.rows, v.shape[3]

    def k_blocks(row):
        return k_range(options, row * rows, rows, call.columns, call.k_blocks)

    def at(b, h, i, j):
        return b, h, i, jnp.minimum(_nearest(j, *k_blocks(i)), call.k_blocks - 1)

    def body(refs, outputs, state):
        i, j = pl.program_id(2), pl.program_id(3)
        first, last = k_blocks(i)

        @pl.when(j == 0)
        def _():
            top, total, acc = state
            start = refs["sink"][...] if "sink" in refs else jnp.full((1, 1), -jnp.inf)
            top[...] = jnp.broadcast_to(start, top.shape)
            total[...] = jnp.broadcast_to(weights(start, start), total.shape)
            acc[...] = jnp.zeros_like(acc)

        @pl.when((j >= first) & (j < last))
        def _():
            value, _ = call.logits(refs, i, j)
            new = absorb(tuple(ref[...] for ref in state), value, refs["v"][...])
            for ref, a in zip(state, new, strict=True):
                ref[...] = a

        @pl.when(j == call.k_blocks - 1)
        def _():
            gate = refs["gate"][...] if "gate" in refs else None
            for ref, a in zip(outputs, finish(tuple(ref[...] for ref in state), gate), strict=True):
                ref[...] = a.astype(ref.dtype)

    padded = call.q_blocks * rows
    index = lambda b, h, i, j: (b, h, i, 0)  # noqa: E731
    outputs = [
        (compat.output(q, (call.b, call.h, padded, d_v)), pl.BlockSpec((None, None, rows, d_v), index)),
        (compat.output(q, (call.b, call.h, padded, 1), jnp.float32), pl.BlockSpec((None, None, rows, 1), index)),
    ]
    grid = (call.b, call.h, call.q_blocks, call.k_blocks)
    o, lse = call.run(body, grid, at, outputs, [(rows, 1), (rows, 1), (rows, d_v)], 1, interpret)
    return [_heads_last(o, q), lse[:, :, : call.t, 0]]


def run_backward(*operands, with_bias: bool, options: Options, interpret=False):
    count = len(options.names())
    x = named(operands[:count], options)
    lse, ct_y, ct_r = operands[count:]
    # Rows that pad the last block are zeros, and so are their cotangents of y and r: they add nothing to any sum.
    call = Call(x | {"lse": lse, "ct_y": ct_y.astype(x["q"].dtype), "ct_r": ct_r}, options)
    cts = [_of_queries(call, x["q"], interpret), *_of_keys(call, x["k"], x["v"], interpret)]
    return [*cts, _of_bias(call, x["bias"], interpret)] if with_bias else cts


def _of_queries(call, q, interpret):
    """The cotangent of q."""
    rows, d = call.rows, q.shape[3]

    def k_blocks(row):
        return k_range(call.options, row * rows, rows, call.columns, call.k_blocks)

    def at(b, h, i, j):
        return b, h, i, jnp.minimum(_nearest(j, *k_blocks(i)), call.k_blocks - 1)

    def body(refs, outputs, scratch):
        i, j, (total,) = pl.program_id(2), pl.program_id(3), scratch
        first, last = k_blocks(i)

        @pl.when(j == 0)
        def _():
            total[...] = jnp.zeros_like(total)

        @pl.when((j >= first) & (j < last))
        def _():
            total[...] += call.cotangents(refs, i, j)[0]

        @pl.when(j == call.k_blocks - 1)
        def _():
            outputs[0][...] = total[...].astype(q.dtype)

    shape = compat.output(q, (call.b, call.h, call.q_blocks * rows, d))
    spec = pl.BlockSpec((None, None, rows, d), lambda b, h, i, j: (b, h, i, 0))
    grid = (call.b, call.h, call.q_blocks, call.k_blocks)
    return _heads_last(call.run(body, grid, at, [(shape, spec)], [(rows, d)], 1, interpret)[0], q)


def _of_keys(call, k, v, interpret):
    """The cotangents of k and v, summed over the heads that share them."""
    columns, sizes = call.columns, (k.shape[3], v.shape[3])

    def q_blocks(column):
        return q_range(call.options, column * columns, call.rows, columns, call.q_blocks)

    def at(b, g, j, n):
        i = jnp.minimum(_nearest(lax.rem(n, call.q_blocks), *q_blocks(j)), call.q_blocks - 1)
        return b, g * call.shared + lax.div(n, call.q_blocks), i, j

    def body(refs, outputs, totals):
        j, n = pl.program_id(2), pl.program_id(3)
        i = lax.rem(n, call.q_blocks)
        first, last = q_blocks(j)

        @pl.when(n == 0)
        def _():
            for total in totals:
                total[...] = jnp.zeros_like(total)

        @pl.when((i >= first) & (i < last))
        def _():
            _, *cts, _ = call.cotangents(refs, i, j)
            for total, ct in zip(totals, cts, strict=True):
                total[...] += ct

        @pl.when(n == call.shared * call.q_blocks - 1)
        def _():
            for out, total in zip(outputs, totals, strict=True):
                out[...] = total[...].astype(out.dtype)

    padded, index = call.k_blocks * columns, lambda b, g, j, n: (b, g, 0, j)
    outputs = [
        (compat.output(a, (call.b, call.groups, d, padded)), pl.BlockSpec((None, None, d, columns), index))
        for a, d in zip((k, v), sizes, strict=True)
    ]
    grid = (call.b, call.groups, call.k_blocks, call.shared * call.q_blocks)
    cts = call.run(body, grid, at, outputs, [(d, columns) for d in sizes], 1, interpret)
    return [jnp.transpose(ct[..., : call.s], (0, 3, 1, 2)) for ct in cts]


def _of_bias(call, bias, interpret):
    """The cotangent of a bias [b, h, t, s], summed over b and h where it has size 1 there."""
    many = [bias.shape[0] > 1, bias.shape[1] > 1]
    kept = (call.b if many[0] else 1, call.h if many[1] else 1)
    summed = call.b * call.h // (kept[0] * kept[1])

    def heads(b, h, n):
        over_h = 1 if many[1] else call.h
        return b if many[0] else lax.div(n, over_h), h if many[1] else lax.rem(n, call.h)

    def at(b, h, i, j, n):
        return *heads(b, h, n), i, j

    def body(refs, outputs, scratch):
        i, j, n = (pl.program_id(axis) for axis in (2, 3, 4))
        (total,) = scratch

        @pl.when(n == 0)
        def _():
            total[...] = jnp.zeros_like(total)

        total[...] += call.cotangents(refs, i, j)[3]

        @pl.when(n == summed - 1)
        def _():
            outputs[0][...] = total[...].astype(bias.dtype)

    tile = (call.rows, call.columns)
    shape = compat.output(bias, (*kept, call.q_blocks * call.rows, call.k_blocks * call.columns))
    spec = pl.BlockSpec((None, None, *tile), lambda b, h, i, j, n: (b, h, i, j))
    grid = (*kept, call.q_blocks, call.k_blocks, summed)
    return call.run(body, grid, at, [(shape, spec)], [tile], 1, interpret)[0][:, :, : call.t, : call.s]


forward = Kernel(run_forward, refuse, blocks)
backward = Kernel(run_backward, refuse, blocks)
