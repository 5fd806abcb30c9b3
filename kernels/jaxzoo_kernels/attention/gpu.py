"""Mosaic GPU (Hopper): both products on tensor cores, the softmax between them in registers.

A block of threads has 128 queries of one head and goes over the keys that they see in tiles of 128,

    x = log2(e) scale q k^T,  m' = max(m, max_j x_j),  p = 2^(x - m'),
    l' = l 2^(m - m') + sum_j p_j,  a' = a 2^(m - m') + p v,      o = a / l,  lse = m ln 2 + log l.

Three warpgroups share the work. Two have 64 queries each: their x, p, m, l and a never leave registers, p goes from
there into the second product, and while one takes exponentials the other has the tensor cores. The third only keeps two
tiles of k and of v in flight by TMA; it gives its registers to the others. k and v have barriers of their own, so that
the next k is on its way before v has been read. Tiles that the band hides are neither loaded nor computed, and those
that it cuts, or that the last key cuts, branch to a mask; all others pay nothing for it. The gate waits from the start
in the shared memory that o is written to later. Grouped heads read their key head, and operands keep their layout; a
t or s that is no multiple of 128 costs a padded copy.

What bounds it: a tile costs its 64 queries 16384 d multiplications, d / 128 * 1024 cycles of an SM's tensor cores, and
8192 exponentials, 512 cycles of its special function units. So d = 128 is bound by the tensor cores and d = 64 by both
alike. k and v come from L2 at 1 byte per 128 operations, 4.7 TB/s at 600 TFLOP/s: half the queries per block of threads
would need twice that. Few queries (decoding) leave most of the SMs idle. Without the exchange of registers, at 168 for
every thread, d = 128 spills 36 bytes. a' is formed outside of the second product's accumulator: that takes 64 more
registers, which there are to spare, and the product starts before a has been scaled. Overlap of one tile's softmax with
the next one's product within a warpgroup, and turns of the two warpgroups enforced by a barrier, were left out: whether
they help can't be told without a GPU.

The kernel has not run on one. Until it has, it is taken where it is named alone: implementation="pallas_gpu". It is
lowered, compiled for sm_90a (no spills, no product that waits for registers) and run in JAX 0.10's GPU interpreter,
without races; the products were jnp's there, as it knows none of registers or of a transposed operand. ptxas of CUDA
12.8.0 to 12.9.0 is known to miscompile the causal mask of JAX's own kernel of this kind. Its gradient is
gpu_backward.py's.
"""

import math

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from .._core import Kernel, compat
from .._core.hopper import smem
from . import gpu_tile as tile
from .gpu_tile import BLOCK, COMPUTING, DTYPES, FETCHING, GROUPS, LOG2E, ROWS, WIDTHS
from .options import Options, named
from .tile import finite, k_range

COLUMNS = 128  # keys of one tile
STAGES = 2  # tiles of keys and of values in flight


def refuse(*operands, options: Options):
    """Why these operands can't run, or None."""
    x = named(operands, options)
    q, v, gate = x["q"], x["v"], x["gate"]
    if others := [name for name in options.parts if name not in ("gate", "sink")]:
        return f"the kernel knows no {', '.join(others)}"
    if jnp.dtype(q.dtype).name not in DTYPES:
        return f"tensor cores multiply {' or '.join(DTYPES)} exactly, not {q.dtype}"
    if gate is not None and gate.dtype != q.dtype:
        return f"the gate has o's place in shared memory, so q's dtype {q.dtype}, not {gate.dtype}"
    if q.shape[3] not in WIDTHS or v.shape[3] not in WIDTHS:
        return f"d and d_v of 64 or 128 fill the tiles, got {q.shape[3]} and {v.shape[3]}"
    if max(q.shape[0], q.shape[2]) > 65535:
        return f"a grid has at most 65535 examples and heads, got {q.shape[0]} and {q.shape[2]}"
    return "an empty operand" if any(0 in a.shape for a in operands) else None


def blocks(*_, **__):
    """Queries of one block of threads, keys of a tile, tiles in flight."""
    return {"rows": BLOCK, "columns": COLUMNS, "stages": STAGES}


def run(*operands, options: Options):
    x = named(operands, options)
    (b, t, h, d), s, d_v = x["q"].shape, x["k"].shape[1], x["v"].shape[3]
    given = {"q": tile.padded(x["q"], BLOCK), "k": tile.padded(x["k"], COLUMNS), "v": tile.padded(x["v"], COLUMNS)}
    if x["gate"] is not None:
        given["gate"] = tile.padded(x["gate"], BLOCK)
    if x["sink"] is not None:
        given["sink"] = jnp.broadcast_to(x["sink"].astype(jnp.float32) * LOG2E, (b, h))
    q, names = given["q"], (*given, "o", "lse", "tiles", "full", "read")

    def attention_forward(*refs):
        _body(dict(zip(names, refs, strict=True)), options, s)

    o, lse = plgpu.kernel(
        attention_forward,
        out_type=[compat.output(q, (*q.shape[:3], d_v)), compat.output(q, (b, h, q.shape[1]), jnp.float32)],
        grid=(b, h, q.shape[1] // BLOCK),  # the last axis is the fastest: neighbours share keys in L2
        grid_names=("batch", "head", "queries"),
        num_threads=GROUPS + 1,
        thread_name="group",
        scratch_types=_scratch(d, d_v, q.dtype),
        compiler_params=compat.mosaic_gpu_params(approx_math=True),
    )(*given.values())
    return [o[:, :t], lse[:, :, :t]]


def _scratch(d, d_v, dtype):
    """Tiles in shared memory, barriers that tell they are full, and barriers that tell all have read them."""
    tiles = {
        "q": smem((GROUPS, ROWS, d), dtype),
        "k": smem((STAGES, COLUMNS, d), dtype),
        "v": smem((STAGES, COLUMNS, d_v), dtype),
        "o": smem((GROUPS, ROWS, d_v), dtype),
        "lse": plgpu.SMEM((GROUPS, ROWS), jnp.float32),
    }
    count = {"q": GROUPS, "gate": GROUPS, "k": STAGES, "v": STAGES}
    full = {name: plgpu.Barrier(num_barriers=n) for name, n in count.items()}
    read = {name: plgpu.Barrier(num_arrivals=GROUPS, num_barriers=STAGES) for name in ("k", "v")}
    return [tiles, full, read]


def _body(refs, options, s):
    count, block = refs["q"].shape[1] // BLOCK, lax.axis_index("queries")
    if options.right is not None:
        block = count - 1 - block  # the longest rows first, so that no SM begins one when the others are done
    row, group = block * BLOCK, lax.axis_index("group")
    # Both warpgroups go over the same tiles, so that what is fetched and what is read can't differ.
    tiles = k_range(options, row, BLOCK, COLUMNS, refs["k"].shape[1] // COLUMNS)

    @pl.when(group < GROUPS)
    def _():
        plgpu.set_max_registers(COMPUTING, action="increase")
        _attend(refs, options, s, group, row + group * ROWS, *tiles)

    @pl.when(group == GROUPS)
    def _():
        plgpu.set_max_registers(FETCHING, action="decrease")
        _fetch(refs, *tiles)


def _fetch(refs, first, last):
    """Copies tiles first .. last - 1 of k and v into shared memory."""
    batch, shared = lax.axis_index("batch"), refs["q"].shape[2] // refs["k"].shape[2]
    head = lax.div(lax.axis_index("head"), jnp.int32(shared))

    def source(name):
        return lambda n: refs[name].at[batch, pl.ds((first + n) * COLUMNS, COLUMNS), head]

    tile.fetch({name: {name: source(name)} for name in ("k", "v")}, refs, last - first, STAGES)


def _attend(refs, options, s, group, row, first, last):
    """o and lse of queries row .. row + ROWS - 1, one warpgroup's."""
    batch, head = lax.axis_index("batch"), lax.axis_index("head")
    tiles, full, read = refs["tiles"], refs["full"], refs["read"]
    at = (batch, pl.ds(row, ROWS), head)
    plgpu.copy_gmem_to_smem(refs["q"].at[at], tiles["q"].at[group], full["q"].at[group])
    if "gate" in refs:
        plgpu.copy_gmem_to_smem(refs["gate"].at[at], tiles["o"].at[group], full["gate"].at[group])
    plgpu.barrier_wait(full["q"].at[group])

    def step(j, state):
        top, total, acc = state
        stage = lax.rem(j - first, jnp.int32(STAGES))
        plgpu.barrier_wait(full["k"].at[stage])
        (x,) = tile.products((tiles["q"].at[group], tiles["k"].at[stage].transpose((1, 0))))
        plgpu.barrier_arrive(read["k"].at[stage])
        x, factor = tile.logits(x, options)
        x = tile.masked(x, options, row, j * COLUMNS, s)
        new_top = jnp.maximum(top, x.max(1) * factor)
        level = finite(new_top)
        p, shrink = jnp.exp2(x * factor - tile.along(0, level, x)), jnp.exp2(top - level)
        total = total * shrink + p.sum(1)
        plgpu.barrier_wait(full["v"].at[stage])
        (product,) = tile.products((p.astype(tiles["v"].dtype), tiles["v"].at[stage]))
        plgpu.barrier_arrive(read["v"].at[stage])
        return new_top, total, acc * tile.along(0, shrink, acc) + product

    # A sink is a first key of weight 1; without one the sum before the first key is 2^-inf = 0.
    top = jnp.full((ROWS,), refs["sink"][batch, head] if "sink" in refs else -jnp.inf, jnp.float32)
    top = plgpu.layout_cast(top, plgpu.Layout.WGMMA.reduce(1))
    state = lax.fori_loop(first, last, step, (top, jnp.exp2(top - finite(top)), tile.zeros(ROWS, refs["v"].shape[3])))
    _finish(refs, group, at, *state)


def _finish(refs, group, at, top, total, acc):
    """Writes o and lse by way of shared memory."""
    batch, rows, head = at
    tiles, some = refs["tiles"], jnp.where(total == 0, 1.0, total)
    o = acc * tile.along(0, 1 / some, acc)
    if "gate" in refs:
        plgpu.barrier_wait(refs["full"]["gate"].at[group])
        o = o / (1 + jnp.exp2(tiles["o"][group].astype(jnp.float32) * -LOG2E))
    tiles["o"][group] = o.astype(tiles["o"].dtype)
    tiles["lse"][group] = top * math.log(2) + jnp.log(some)
    plgpu.commit_smem()
    plgpu.copy_smem_to_gmem(tiles["o"].at[group], refs["o"].at[at])
    plgpu.copy_smem_to_gmem(tiles["lse"].at[group], refs["lse"].at[batch, head, rows])
    plgpu.wait_smem_to_gmem(0)


forward = Kernel(run, refuse, blocks, named_alone=True)
