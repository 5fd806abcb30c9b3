"""Mosaic GPU (Hopper): integers widen in registers on their way into tensor cores; 8-bit floats go in as they are.

The product is computed transposed, out^T = w^T x^T, because the left operand of a tensor-core product (64 rows of it)
may lie in registers and the right one must lie in shared memory. So w is widened once for all rows of x in a block,
and a few rows of x (decoding) cost a narrow product, 64 columns of w by 8 rows of x at least, not 64 rows of x.

Two warpgroups compute and a third only keeps tiles of x, w and the scales of groups in flight by TMA. A tile is 64
terms (32 where groups ask for it, 128 of 8-bit floats) by 512 columns of int4 or 256 of int8 or 8-bit floats. Each
tile's product starts from 0 and is scaled and added to float32 totals, so a tile lies within one group. For 8-bit
floats this also limits to 128 terms what tensor cores add with fewer bits than float32 has. Few tiles of out share k
among more blocks of threads, whose sums of their part are added afterwards, in order.

Widening: XLA passes w, without a copy, as words of 16 bits: 4 int4 or 2 int8 of adjacent columns of one row. Two words
of adjacent rows fill a register in the order that the product takes; a load of the transposed tile and one exchange
with another lane bring them there. Then 3 instructions widen two integers (`_widened`), exactly, and plane p of the
words, columns planes * c + p, is one product of 64 columns c. The result leaves as planes too, and XLA interleaves
them.

What bounds it on an H200, by counting: decoding, the bytes of w: 8192 x 8192 int4 are 34 MB, 7.8 us at 4.3 TB/s. Their
widening is about 76 instructions of a warp per 32 weights of a lane, 5.4 us of all schedulers; the products of 16 rows
take about as long; partial sums of 8 blocks are 4 MB written and read, mostly in L2, and one more launch. Many rows are
bound by tensor cores and by instructions alike: for 64 x 64 weights and 48 rows a warp spends about 100 instructions,
two warps 200 on their scheduler, and the two products last 192 cycles. XLA's interleaving passes over out once more,
4 % of the time at k = 8192 and more for a shorter k. 8-bit floats must have k contiguous: w is transposed in memory
first, twice its bytes again, which decoding feels and many rows don't.

Dropped: widening by way of float32 (5 instructions for two, and twice the registers); w widened into shared memory for
the right operand (5 bytes through it per int4, 10 us of its bandwidth for the case above); tiles of 64 rows of x for
int4 and of 128 for the others, which spill. An n that is no multiple of 256 for int4 or 128 for int8, a
k of 64 (8 for w) and an m of 8 cost a padded copy; past these edges TMA reads zeros.

Lowered, compiled for sm_90a without spills, and run in JAX's GPU interpreter, where the products were jnp's, without
races; it has not been run on a GPU, and is taken where it is named alone: implementation="pallas_gpu".
"""

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from .._core import Kernel, compat
from .._core.hopper import smem
from .gpu_plan import GROUPS, ROWS, WORD, operands, plan_of, refuse, unit_of

# Registers of a thread. An SM has 65536, so that 3 * 128 threads start with 168 each and exchange them after that.
COMPUTING, FETCHING = 232, 40


def blocks(x, w, x_scale, w_scale, **_):
    """Rows, columns and terms of a tile, tiles in flight, and blocks of threads that share k."""
    plan = plan_of(x, w, x_scale, w_scale)
    n = plan.planes * plan.columns
    return {"m": plan.m, "n": n, "k": plan.k, "stages": plan.stages, "splits": plan.splits}


def run(x, w, x_scale, w_scale, *, out_dtype):
    plan = plan_of(x, w, x_scale, w_scale)
    lead = max(z.shape[0] for z in (x, w, x_scale, w_scale))
    m, n, given = x.shape[1], w.shape[2], operands(x, w, x_scale, w_scale, plan)
    dtype = jnp.dtype(jnp.float32 if plan.splits > 1 else out_dtype)
    names = (*given, "out", "tiles", "full", "read")

    def quantized_matmul(*refs):
        tile = lax.axis_index("band") * plan.band + lax.axis_index("rows")

        @pl.when(tile < plan.tiles_m)  # the last band may have fewer
        def _():
            _body(dict(zip(names, refs, strict=True)), plan, pl.ds(tile * plan.m, plan.m))

    shape = (plan.splits, lead, plan.planes, plan.tiles_m * plan.m, plan.tiles_n * plan.columns)
    out = plgpu.kernel(
        quantized_matmul,
        out_type=compat.output(given["x"], shape, dtype),
        grid=(lead, plan.splits, pl.cdiv(plan.tiles_m, plan.band), plan.tiles_n, plan.band),  # the last is the fastest
        grid_names=("example", "split", "band", "columns", "rows"),
        num_threads=GROUPS + 1,
        thread_name="group",
        scratch_types=_scratch(plan, given, dtype),
        compiler_params=compat.mosaic_gpu_params(),
    )(*given.values())
    out = jnp.sum(out, 0) if plan.splits > 1 else out[0]
    out = jnp.moveaxis(out, 1, 3).reshape(lead, shape[3], -1)  # [g, m, columns * planes]
    return [out[:, :m, :n].astype(out_dtype)]


def _scratch(plan, given, dtype):
    """Tiles in shared memory, barriers that tell they are full, and barriers that tell all have read them."""

    of_w = (plan.k, plan.columns) if plan.planes > 1 else (plan.columns, plan.k)
    tiles = {
        "x": smem((plan.stages, plan.m, plan.k), given["x"].dtype),
        "w": smem((plan.stages, *of_w), given["w"].dtype),
        "out": smem((GROUPS, plan.m, ROWS), dtype),
    }
    if given["x_scale"].shape[1] > 1:
        tiles["x_scale"] = plgpu.SMEM((plan.stages, plan.m), jnp.float32)
    if given["w_scale"].shape[1] > 1:
        tiles["w_scale"] = plgpu.SMEM((plan.stages, plan.planes, plan.columns), jnp.float32)
    full = plgpu.Barrier(num_arrivals=len(tiles) - 1, num_barriers=plan.stages)
    return [tiles, full, plgpu.Barrier(num_arrivals=GROUPS, num_barriers=plan.stages)]


def _body(refs, plan, rows):
    group, split = lax.axis_index("group"), lax.axis_index("split")
    first, last = (lax.div((split + i) * plan.steps, jnp.int32(plan.splits)) for i in range(2))

    @pl.when(group < GROUPS)
    def _():
        plgpu.set_max_registers(COMPUTING, action="increase")
        _finish(refs, plan, group, rows, _totals(refs, plan, group, first, last))

    @pl.when(group == GROUPS)
    def _():
        plgpu.set_max_registers(FETCHING, action="decrease")
        _fetch(refs, plan, rows, first, last)


def _example(ref):
    return ref.at[lax.axis_index("example") if ref.shape[0] > 1 else 0]


def _columns(plan, start=0, size=None):
    return pl.ds(lax.axis_index("columns") * plan.columns + start, size or plan.columns)


def _fetch(refs, plan, rows, first, last):
    """Copies tiles first .. last - 1 of k into shared memory, each when the tile before has been read there."""
    tiles, columns = refs["tiles"], _columns(plan)

    def step(i, _):
        stage = lax.rem(i - first, jnp.int32(plan.stages))

        @pl.when(i - first >= plan.stages)
        def _():
            plgpu.barrier_wait(refs["read"].at[stage])

        @pl.when(i < last)
        def _():
            terms, group = pl.ds(i * plan.k, plan.k), lax.div(i, jnp.int32(plan.per_group or 1))
            sources = {
                "x": (rows, terms),
                "w": (terms, columns) if plan.planes > 1 else (columns, terms),
                "x_scale": (group, rows),
                "w_scale": (group, pl.ds(0, plan.planes), columns),
            }
            for name, source in sources.items():
                if name in tiles:
                    part = _example(refs[name]).at[source]
                    plgpu.copy_gmem_to_smem(part, tiles[name].at[stage], refs["full"].at[stage])

    # The last rounds copy nothing: who waits at a barrier at all has to wait for each of its completions.
    lax.fori_loop(first, last + plan.stages, step, None)


def _totals(refs, plan, group, first, last):
    """The sums over tiles first .. last - 1 of the transposed products, [64, m] for each part of one warpgroup."""
    tiles, bits = refs["tiles"], WORD // plan.planes
    at_once = max(1, 32 // plan.m)  # products of few rows don't wait for each other, for which they need registers

    def step(i, totals):
        stage = lax.rem(i - first, jnp.int32(plan.stages))
        plgpu.barrier_wait(refs["full"].at[stage])
        x, w = tiles["x"].at[stage], tiles["w"].at[stage]
        scales = {name: tiles[name].at[stage] for name in ("x_scale", "w_scale") if name in tiles}
        if plan.planes > 1:
            words = w.at[:, pl.ds(group * ROWS, ROWS)].transpose((1, 0))
            words = plgpu.layout_cast(compat.load(words, plgpu.Layout.WGMMA_TRANSPOSED), plgpu.Layout.WGMMA)
        totals = list(totals)
        for start in range(0, plan.parts, at_once):
            parts = range(start, min(start + at_once, plan.parts))
            if plan.planes > 1:
                left = (_widened(words, plane, bits, x.dtype) for plane in parts)
            else:
                left = (w.at[pl.ds(_place(plan, group, part)[1], ROWS)] for part in parts)
            for part, product in zip(parts, _products(left, x.transpose((1, 0)), len(parts)), strict=True):
                totals[part] += _scaled(product, *_place(plan, group, part), **scales)
        # Products that read this tile, or registers that came from it, have been waited for. What was loaded into
        # registers has to come before TMA's writes too, which are of another proxy.
        if plan.planes > 1 or scales:
            plgpu.commit_smem()
        plgpu.barrier_arrive(refs["read"].at[stage])
        return tuple(totals)

    zero = plgpu.layout_cast(jnp.zeros((ROWS, plan.m), jnp.float32), plgpu.Layout.WGMMA)
    return lax.fori_loop(first, last, step, (zero,) * plan.parts)


def _finish(refs, plan, group, rows, totals):
    """Applies the scales that all of k has in common and writes the totals by way of shared memory."""
    whole, out = {}, refs["tiles"]["out"].at[group]
    if "x_scale" not in refs["tiles"]:
        whole["x_scale"] = _example(refs["x_scale"]).at[0, rows]
    if "w_scale" not in refs["tiles"]:
        whole["w_scale"] = _example(refs["w_scale"]).at[0, :, _columns(plan)]
    target = refs["out"].at[lax.axis_index("split"), lax.axis_index("example")]
    for part, total in enumerate(totals):
        plane, start = _place(plan, group, part)
        value = _scaled(total, plane, start, **whole).astype(out.dtype)
        plgpu.wait_smem_to_gmem(0, wait_read_only=True)  # the part before has left
        out.transpose((1, 0))[...] = plgpu.layout_cast(value, plgpu.Layout.WGMMA_TRANSPOSED)
        plgpu.commit_smem()
        plgpu.copy_smem_to_gmem(out, target.at[plane, rows, _columns(plan, start, ROWS)])
    plgpu.wait_smem_to_gmem(0)


def _place(plan, group, part):
    """The plane of one part of a warpgroup, and its first column in the tile."""
    return (part, group * ROWS) if plan.planes > 1 else (0, (group * plan.parts + part) * ROWS)


def _scaled(product, plane, start, x_scale=None, w_scale=None):
    """product times the scales in references [m] and [planes, columns]."""
    if w_scale is not None:
        scale = compat.load(w_scale.at[plane, pl.ds(start, ROWS)], plgpu.Layout.WGMMA.reduce(1))
        product = product * lax.broadcast_in_dim(scale, product.shape, [0])
    if x_scale is not None:
        scale = compat.load(x_scale, plgpu.Layout.WGMMA.reduce(0))
        product = product * lax.broadcast_in_dim(scale, product.shape, [1])
    return product


def _products(lefts, right, count):
    """Each of `count` left sides by right, which lies in shared memory, in float32; nothing is in use on return."""

    def multiply(*sums):
        for total, left in zip(sums, lefts, strict=True):
            plgpu.wgmma(total, left, right)
        return [total[...] for total in sums]

    return pl.run_scoped(multiply, *[plgpu.ACC((ROWS, right.shape[1]), jnp.float32)] * count)


def _widened(words, plane, bits, dtype):
    """The signed integer of `bits` bits that begins at bit `plane * bits` of each word, times `unit_of(plane, bits)`.

    Below the exponent of a power of 2 whose mantissa counts in units, a mantissa is that power more than itself; so
    are those of the number's sign bit and of its other bits, and their difference is the number. bfloat16 has no place
    for bit 7 in its mantissa, but there the bit doubles 128, which is its own worth.
    """
    words = lax.shift_right_logical(words, jnp.int16(8)) if plane * bits >= 8 else words
    exponent, unit = {"bfloat16": 0x4300, "float16": 0x6400}[jnp.dtype(dtype).name], unit_of(plane, bits)
    sign = unit << (bits - 1)
    positive, negative = (words & jnp.int16(mask) | jnp.int16(exponent) for mask in (sign - unit, sign))
    return lax.bitcast_convert_type(positive, dtype) - lax.bitcast_convert_type(negative, dtype)


scaled = Kernel(run, refuse, blocks, named_alone=True)
