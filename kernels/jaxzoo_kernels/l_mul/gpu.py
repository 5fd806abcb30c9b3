"""Mosaic GPU (Hopper) for the bits form: a tile of sums in a warpgroup's registers, integer and float additions.

    out_ij = sum_k float(x_ik + y_kj)      x, y: bits of float32 numbers, one constant subtracted in advance

A warpgroup has 64 x 128 sums, a thread 4 x 16 of them, and goes over k in tiles of 32 terms, two of them on their way
into shared memory by TMA. For each k a thread reads 4 words of x and 16 of y, 16 bytes at a time, for 64 products.
Products are added in fours before they are added to the total, as in the lax form and in its order: the result is the
same, bit for bit, where XLA keeps that order, and long sums are more accurate. Which tiles can do without guards is
known before the kernel starts, see gpu_terms.py; it branches once per tile, and all ways round alike.

What bounds it: instructions. An SM issues 128 a cycle, counted per thread, 64 of which can be integer additions, so two
per term are the least: 64 terms a cycle, 33 ms for 8192^3 on an H200 at 1.98 GHz. Instructions per term, counted in the
machine code of ptxas 13.0 and 13.5 for sm_90a, and what they take if all are issued without a gap:

    plain 2.10 (35 ms)    zeros 2.79 (46 ms)    guarded 9.2, of which 7.0 for the integer units (230 ms)

The plain loop has 256 float additions, 256 integer ones, 20 loads and 5 others. Its tiles take 6 bytes per SM and cycle
from L2, less than a third of what that has. Three warpgroups of 168 registers fill an SM. They share a block of threads
and nothing else: that alone has the compiler keep to 168. Results of too few tiles for all SMs have one in each block,
and fewer than 64 rows cost as much as 64.

Tried: 128 x 128 sums per warpgroup need 255 registers, so that two fit into an SM, for 2.07 instructions per term; four
warpgroups of 128 registers spill; so do sums that are computed 128 columns at a time, and 32 at a time cost layout
inference several seconds; a constant left to the integer addition, which has a third operand, is moved out of it.

The kernel has not run on a GPU. Until it has, it is taken where it is named alone: implementation="pallas_gpu". It is
lowered, compiled for sm_90a (no spills) and run in JAX's GPU interpreter, without races. It writes the words of both
operands, 4 bytes each, and a mode per tile to memory first.
"""

import functools

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from .._core import Kernel, compat
from . import gpu_terms as terms
from .xla import accumulator, result_dtype

ROWS, COLUMNS, TERMS = 64, 128, 32  # of one warpgroup's tile
STAGES = 2  # tiles in flight
SMS = 132  # of an H100 or H200
GROUPS = 3  # warpgroups of a block of threads, where there are tiles enough for that many on every SM
SUMMED = 4  # terms added to each other before they are added to the total
CHUNK = 64  # columns computed at a time
# 2 x 2 warps of 8 x 4 threads of 4 x 4 sums; 128 columns are four of these.
LAYOUT = plgpu.Layout.TILED(
    plgpu.Tiling(((64, 32), (32, 16), (4, 4))), warp_dims=(-6, -5), lane_dims=(-4, -3), vector_dim=-1
)


def refuse(x, y, *, semantics, **_):
    """Why these operands can't run, or None."""
    if semantics == "literal":
        return "the literal form is two ordinary products, which XLA runs on tensor cores"
    if accumulator(x.dtype) != jnp.float32:
        return f"the kernel adds the bits of float32, not {x.dtype}"
    if max(x.shape[0], y.shape[0]) > 65535:
        return f"a grid has at most 65535 examples, got {max(x.shape[0], y.shape[0])}"
    return "an empty product" if 0 in x.shape + y.shape else None


def blocks(x, y, **_):
    """Rows, columns and terms of a tile, tiles in flight, and warpgroups of one block of threads."""
    tiles = max(x.shape[0], y.shape[0]) * pl.cdiv(x.shape[1], ROWS) * pl.cdiv(y.shape[2], COLUMNS)
    groups = GROUPS if tiles >= GROUPS * SMS else 1
    return {"m": ROWS, "n": COLUMNS, "k": TERMS, "stages": STAGES, "groups": groups}


def run(x, y, *, semantics, mantissa_bits, rounding, gradient):
    m, n, dtype, groups = x.shape[1], y.shape[2], result_dtype(x.dtype), blocks(x, y)["groups"]
    x = _padded(jnp.swapaxes(x, 1, 2).astype(jnp.float32), ROWS, 0)  # [g, k, m]
    y = _padded(y.astype(jnp.float32), COLUMNS, 1)
    words, magnitudes = terms.prepared(x, y, mantissa_bits, rounding)
    constant = terms.constant_of(mantissa_bits)
    shape = (max(x.shape[0], y.shape[0]), x.shape[2], y.shape[2])
    out = plgpu.kernel(
        functools.partial(_body, constant=constant),
        out_type=compat.output(x, shape, dtype),
        grid=(shape[0], pl.cdiv(shape[1] // ROWS * (shape[2] // COLUMNS), groups)),
        grid_names=("example", "tiles"),
        num_threads=groups,
        thread_name="group",
        scratch_types=[
            plgpu.SMEM((groups, STAGES, TERMS, ROWS), jnp.int32),
            plgpu.SMEM((groups, STAGES, TERMS, COLUMNS), jnp.int32),
            plgpu.Barrier(num_arrivals=2, num_barriers=groups * STAGES),
        ],
        compiler_params=compat.mosaic_gpu_params(),
    )(*words, terms.modes(*magnitudes, constant, (TERMS, ROWS, COLUMNS)))
    return [out[:, :m, :n]]


def _padded(z, width, fill):
    """z [g, k, n] with more k of `fill`, and more n like the last, which leave the ranges of tiles as they are."""
    z = jnp.pad(z, [(0, 0), (0, -z.shape[1] % TERMS), (0, 0)], constant_values=fill)
    return jnp.pad(z, [(0, 0), (0, 0), (0, -z.shape[2] % width)], mode="edge")


def _body(x, y, modes, out, rows, columns, full, *, constant):
    groups, across = rows.shape[0], y.shape[2] // COLUMNS
    group, tile = lax.axis_index("group"), lax.axis_index("tiles") * groups + lax.axis_index("group")

    @pl.when(tile < x.shape[2] // ROWS * across)
    def _():
        i, j = lax.div(tile, jnp.int32(across)), lax.rem(tile, jnp.int32(across))
        _compute(x, y, modes, out, rows.at[group], columns.at[group], full, group * STAGES, i, j, constant)


def _compute(x, y, modes, out, rows, columns, full, barrier, i, j, constant):
    """Tile (i, j) of the result, by one warpgroup."""
    example, steps = lax.axis_index("example"), x.shape[1] // TERMS
    of_x, of_y, of_mode = (example if z.shape[0] > 1 else 0 for z in (x, y, modes))
    row, column = pl.ds(i * ROWS, ROWS), pl.ds(j * COLUMNS, COLUMNS)

    def fetch(k, stage):
        at, arrived = pl.ds(k * TERMS, TERMS), full.at[barrier + stage]
        plgpu.copy_gmem_to_smem(x.at[of_x, at, row], rows.at[stage], arrived)
        plgpu.copy_gmem_to_smem(y.at[of_y, at, column], columns.at[stage], arrived)

    for stage in range(min(STAGES, steps)):
        fetch(stage, stage)
    one = modes[of_mode, i, j, steps].astype(jnp.uint32)
    ways = (terms.plain(), terms.zeros(constant, one), terms.guarded(constant))

    def step(k, state):
        mode, totals = state
        stage, following = lax.rem(k, jnp.int32(STAGES)), modes[of_mode, i, j, k + 1]  # read before it is needed
        plgpu.barrier_wait(full.at[barrier + stage])
        added = [functools.partial(_added, way, rows.at[stage], columns.at[stage]) for way in ways]
        totals = lax.switch(mode, added, totals)  # the last one too where the mode is SPECIAL
        marked = functools.partial(_added, terms.special(constant), rows.at[stage], columns.at[stage])
        totals = lax.cond(mode == terms.SPECIAL, marked, lambda totals: totals, totals)
        plgpu.commit_smem()  # every thread of the warpgroup has read this stage, and it may be written again

        @pl.when(k + STAGES < steps)
        def _():
            fetch(k + STAGES, stage)

        return following, totals

    state = (modes[of_mode, i, j, 0], (_filled(0.0),) * (COLUMNS // CHUNK))
    _, totals = lax.fori_loop(jnp.int32(0), jnp.int32(steps), step, state)
    for chunk, total in enumerate(totals):
        out[example, row, pl.ds(j * COLUMNS + chunk * CHUNK, CHUNK)] = total.astype(out.dtype)


def _added(term, rows, columns, totals):
    """The totals, by chunks of columns, with the products of one tile added."""

    def four(q, totals):
        def sum_of(chunk):
            def one(u, total):
                k = q * SUMMED + u
                x = term.row(compat.load(rows.at[k], LAYOUT.reduce(1)))  # for all chunks once, where it is unrolled
                y = term.column(compat.load(columns.at[k, pl.ds(chunk * CHUNK, CHUNK)], LAYOUT.reduce(0)))
                return total + term.product([_across(z, 0) for z in x], [_across(z, 1) for z in y])

            # -0 + z is z whatever z is, and no instruction where the loop is unrolled.
            return lax.fori_loop(0, SUMMED, one, _filled(-0.0), unroll=term.unrolled)

        return tuple(total + sum_of(chunk) for chunk, total in enumerate(totals))

    return lax.fori_loop(0, TERMS // SUMMED, four, totals)


def _filled(value):
    return plgpu.layout_cast(jnp.full((ROWS, CHUNK), value, jnp.float32), LAYOUT)


def _across(z, axis):
    # The layout is known without the cast too, but finding it takes several times longer.
    return plgpu.layout_cast(lax.broadcast_in_dim(z, (ROWS, CHUNK), [axis]), LAYOUT)


bits_matmul = Kernel(run, refuse, blocks, named_alone=True)
