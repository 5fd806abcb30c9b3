"""Mosaic GPU (Hopper): bits of w become 0 or a power of 2 in registers, on their way into tensor cores.

    out = sum_k sign(x_k) sign(w_k) = sum_k sign(x_k) - 2 sum_k sign(x_k) bit(w_k)

The ceilings of an H200 at 1.755 GHz: exclusive or and population count are bound by 16 counts per clock and SM, of 32
products each, 237 Top/s. Tensor cores do 989 in bfloat16 and twice that in 8 bits. Here it is bfloat16: 8-bit floats
need four terms in a register where the loads of a transposed tile put two. So the lax form, int8 by cuBLAS, has twice
this kernel's ceiling for many rows of x, once its signs are written; for few rows w's bits are read once, 1/8 of
int8's bytes, and nothing of w is written.

The product is computed transposed, out^T = w^T x^T, because the left operand of a tensor-core product (64 rows of it)
may lie in registers and the right one must lie in shared memory. One bit of 32 words is 32 terms of the sum, so the
words of a tile, loaded transposed, are the left operand for each of their 32 bits: bit b % 8 in the mantissa of 128,
less 128, is 0 or 2^(b % 8), two instructions for two terms. (Bit 7 doubles 128, which is the same.) XLA writes the
signs of x as bfloat16 before the kernel, in that order of terms and times 2^-(b % 8), 0 past k; every product is then 0
or a sign, and every sum exact in float32 below 2^24.

A block of threads has 128 rows of x and 256 columns of w. Two warpgroups have 128 columns each, and a third only keeps
words of w (32 rows, two tiles) and signs of x (one bit's 32, eight tiles) in flight by TMA. A bit's product is waited
for when the next bit's has been issued. For 64 columns and 64 terms a warp spends about 40 instructions, two warps 80
on their scheduler, and the two products last 512 cycles: tensor cores bound it. x costs 16 times its bits in memory,
written once and read from L2 by each block of columns, 16 bytes per clock and SM. Few tiles of out share k among more
blocks, whose integers are added. A k of up to 512 takes tiles of 16 words; a longer one is rounded up to 1024.

Dropped: totals beside the accumulators of each tile, which spill unless x has 64 rows.

Lowered, compiled for sm_90a without spills, and run in JAX's GPU interpreter, where the products were jnp's, without
races; it has not been run on a GPU, and is taken where it is named alone: implementation="pallas_gpu".
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from .._core import Kernel, compat
from .xla import WORD

GROUPS = 2  # warpgroups that compute
ROWS = 64  # the height of a tensor-core product
PARTS = 2  # products that one warpgroup has at a time, of 64 columns each
COLUMNS = GROUPS * PARTS * ROWS
MOST_ROWS = 128  # of x
WORDS = (16, 32)  # rows of w in a tile
STAGES_X, STAGES_W = 8, 2  # tiles in flight; the bits of a word are a multiple of the former
SMS = 132  # blocks of threads that run at a time; fewer make k be split among several
BAND = 16  # tiles of x that neighbours in time have, so that they read about as much of x as of w
# Registers of a thread. An SM has 65536, so that 3 * 128 threads start with 168 each and exchange them after that.
COMPUTING, FETCHING = 232, 40


class Plan(NamedTuple):
    """Rows of x and words of a tile, tiles of words, blocks that share them, tiles of out, and those of one band."""

    m: int
    words: int
    steps: int
    splits: int
    tiles_m: int
    tiles_n: int
    band: int


def refuse(x, w, *, k):
    """Why these operands can't run, or None."""
    if 0 in x.shape + w.shape:
        return "an empty product"
    if k >= 2**24:
        return f"sums of {k} signs are not exact in float32"
    lead = max(x.shape[0], w.shape[0])
    return f"a grid has at most 65535 examples, got {lead}" if lead > 65535 else None


def blocks(x, w, **_):
    """Rows, columns and words of a tile, and blocks of threads that share k."""
    plan = _plan(x, w)
    return {"m": plan.m, "n": COLUMNS, "words": plan.words, "splits": plan.splits}


def _plan(x, w):
    (_, m, words), n, lead = x.shape, w.shape[2], max(x.shape[0], w.shape[0])
    rows = pl.cdiv(pl.cdiv(m, pl.cdiv(m, MOST_ROWS)), 8) * 8
    tile = next((size for size in WORDS if words <= size), WORDS[-1])
    steps, tiles_m, tiles_n = pl.cdiv(words, tile), pl.cdiv(m, rows), pl.cdiv(n, COLUMNS)
    splits = max(1, min(SMS // (lead * tiles_m * tiles_n), steps))
    return Plan(rows, tile, steps, splits, tiles_m, tiles_n, pl.cdiv(tiles_m, pl.cdiv(tiles_m, BAND)))


def run(x, w, *, k):
    plan, (m, n), lead = _plan(x, w), (x.shape[1], w.shape[2]), max(x.shape[0], w.shape[0])
    given = _operands(x, w, plan, k)
    names = (*given, "out", "tiles", "full", "read")

    def binary_matmul(*refs):
        tile = lax.axis_index("band") * plan.band + lax.axis_index("rows")

        @pl.when(tile < plan.tiles_m)  # the last band may have fewer
        def _():
            _body(dict(zip(names, refs, strict=True)), plan, pl.ds(tile * plan.m, plan.m))

    shape = (plan.splits, lead, plan.tiles_m * plan.m, plan.tiles_n * COLUMNS)
    out = plgpu.kernel(
        binary_matmul,
        out_type=compat.output(given["x"], shape, jnp.int32),
        grid=(lead, plan.splits, pl.cdiv(plan.tiles_m, plan.band), plan.tiles_n, plan.band),  # the last is the fastest
        grid_names=("example", "split", "band", "columns", "rows"),
        num_threads=GROUPS + 1,
        thread_name="group",
        scratch_types=_scratch(plan),
        compiler_params=compat.mosaic_gpu_params(),
    )(*given.values())
    out = jnp.sum(out, 0) if plan.splits > 1 else out[0]
    return [out[:, :m, :n]]


def _operands(x, w, plan, k):
    """The signs of x [g, m, steps * 32 * words], w as int32, both in whole swizzled tiles, and sums of signs [g, m]."""
    x = jnp.pad(x, ((0, 0), (0, -x.shape[1] % 8), (0, plan.steps * plan.words - x.shape[2])))
    x = x.reshape(*x.shape[:2], plan.steps, 1, plan.words)
    step, bit, word = (lax.broadcasted_iota(jnp.int32, (plan.steps, WORD, plan.words), axis) for axis in range(3))
    place = (step * plan.words + word) * WORD + bit
    signs = 1 - 2 * (x >> bit.astype(jnp.uint32)[None, None] & 1).astype(jnp.int32)  # [g, m, steps, 32, words]
    signs = jnp.where(place < k, signs, 0)
    scaled = (signs * 2.0 ** -(bit % 8)[None, None]).astype(jnp.bfloat16)
    sums = jnp.sum(signs, (2, 3, 4)).astype(jnp.float32)
    w = lax.bitcast_convert_type(jnp.pad(w, ((0, 0), (0, -w.shape[1] % 8), (0, -w.shape[2] % 32))), jnp.int32)
    sums = jnp.pad(sums, ((0, 0), (0, plan.tiles_m * plan.m - x.shape[1])))
    return {"x": scaled.reshape(*x.shape[:2], -1), "w": w, "sums": sums}


def _scratch(plan):
    """Tiles in shared memory, barriers that tell they are full, and barriers that tell all have read them."""

    def tile(*shape, dtype):
        row = min(128, shape[-1] * jnp.dtype(dtype).itemsize)  # bytes
        tiling = plgpu.TilingTransform((8, row // jnp.dtype(dtype).itemsize))
        return plgpu.SMEM(shape, dtype, transforms=(tiling, plgpu.SwizzleTransform(row)))

    tiles = {
        "x": tile(STAGES_X, plan.m, plan.words, dtype=jnp.bfloat16),
        "w": tile(STAGES_W, plan.words, COLUMNS, dtype=jnp.int32),
        "out": tile(GROUPS, plan.m, ROWS, dtype=jnp.int32),
    }
    count = {"x": STAGES_X, "w": STAGES_W}
    full = {name: plgpu.Barrier(num_barriers=n) for name, n in count.items()}
    return [tiles, full, {name: plgpu.Barrier(num_arrivals=GROUPS, num_barriers=n) for name, n in count.items()}]


def _body(refs, plan, rows):
    group, split = lax.axis_index("group"), lax.axis_index("split")
    first, last = (lax.div((split + i) * plan.steps, jnp.int32(plan.splits)) for i in range(2))

    @pl.when(group < GROUPS)
    def _():
        plgpu.set_max_registers(COMPUTING, action="increase")
        _finish(refs, group, rows, _totals(refs, plan, group, last - first))

    @pl.when(group == GROUPS)
    def _():
        plgpu.set_max_registers(FETCHING, action="decrease")
        _fetch(refs, plan, rows, first, last - first)


def _example(ref):
    return ref.at[lax.axis_index("example") if ref.shape[0] > 1 else 0]


def _fetch(refs, plan, rows, first, count):
    """Copies `count` tiles of w and 32 times as many of x, each when the tile before has been read there."""
    tiles, full, read = refs["tiles"], refs["full"], refs["read"]
    columns = pl.ds(lax.axis_index("columns") * COLUMNS, COLUMNS)

    def of_w(i):
        stage = lax.rem(i, jnp.int32(STAGES_W))

        @pl.when(i >= STAGES_W)
        def _():
            plgpu.barrier_wait(read["w"].at[stage])

        @pl.when(i < count)
        def _():
            source = _example(refs["w"]).at[pl.ds((first + i) * plan.words, plan.words), columns]
            plgpu.copy_gmem_to_smem(source, tiles["w"].at[stage], full["w"].at[stage])

    def step(i, _):
        stage = lax.rem(i, jnp.int32(STAGES_X))

        @pl.when(lax.rem(i, jnp.int32(WORD)) == 0)
        def _():
            of_w(lax.div(i, jnp.int32(WORD)))

        @pl.when((i >= STAGES_X) & (i < count * WORD + STAGES_X))
        def _():
            plgpu.barrier_wait(read["x"].at[stage])

        @pl.when(i < count * WORD)
        def _():
            source = _example(refs["x"]).at[rows, pl.ds((first * WORD + i) * plan.words, plan.words)]
            plgpu.copy_gmem_to_smem(source, tiles["x"].at[stage], full["x"].at[stage])

    # The last rounds copy nothing: who waits at a barrier at all has to wait for each of its completions.
    lax.fori_loop(0, (count + STAGES_W) * WORD, step, None)


def _totals(refs, plan, group, count):
    """The sums over `count` tiles of w of sign(x) bit(w), transposed, [64, m] for each part of one warpgroup."""
    tiles, full, read = refs["tiles"], refs["full"], refs["read"]

    def products(i):
        stage = lax.rem(i, jnp.int32(STAGES_W))
        plgpu.barrier_wait(full["w"].at[stage])
        words = []
        for part in range(PARTS):
            ref = tiles["w"].at[stage, :, pl.ds((group * PARTS + part) * ROWS, ROWS)].transpose((1, 0))
            words.append(plgpu.layout_cast(compat.load(ref, plgpu.Layout.WGMMA_TRANSPOSED), plgpu.Layout.WGMMA))
        plgpu.commit_smem()  # what was loaded comes before TMA's writes, which are of another proxy
        plgpu.barrier_arrive(read["w"].at[stage])
        for bit in range(WORD):
            slot = bit % STAGES_X
            plgpu.barrier_wait(full["x"].at[slot])
            yield [_bit(word, bit) for word in words], tiles["x"].at[slot].transpose((1, 0)), read["x"].at[slot]

    return _accumulated(products, count, (ROWS, plan.m))


def _bit(words, bit):
    """0, or 2^(bit % 8) where the bit of the words is set, in bfloat16."""
    half = lax.shift_right_logical(words, jnp.int32(bit // 16 * 16)).astype(jnp.int16)
    byte = lax.shift_right_logical(half, jnp.int16(8)) if bit % 16 >= 8 else half
    number = byte & jnp.int16(1 << bit % 8) | jnp.int16(0x4300)
    return lax.bitcast_convert_type(number, jnp.bfloat16) - jnp.bfloat16(128)


def _accumulated(products, count, shape):
    """The sums, over i < count and all of products(i), of each of the left sides by the right one, in float32.

    A product is (left sides, right side, barrier). The right side lies in shared memory; at its barrier it is told when
    it is no longer in use. Then the next product has been issued, so that tensor cores don't wait for the bits of it.
    """

    def multiply(*sums):
        def step(i, _):
            before = None
            for lefts, right, done in products(i):
                for total, left in zip(sums, lefts, strict=True):
                    plgpu.wgmma(total, left, right)
                if before is not None:
                    plgpu.wgmma_wait(PARTS)
                    plgpu.barrier_arrive(before)
                before = done
            plgpu.wgmma_wait(0)
            plgpu.barrier_arrive(before)

        lax.fori_loop(0, count, step, None)
        return [total[...] for total in sums]

    return pl.run_scoped(multiply, *[plgpu.ACC(shape, jnp.float32)] * PARTS)


def _finish(refs, group, rows, totals):
    """Writes the products of signs by way of shared memory; the first of the blocks that share k adds x's sums."""
    split, out = lax.axis_index("split"), refs["tiles"]["out"].at[group]
    of_x = compat.load(_example(refs["sums"]).at[rows], plgpu.Layout.WGMMA.reduce(0))
    of_x = of_x * (split == 0).astype(jnp.float32)
    for part, total in enumerate(totals):
        value = lax.broadcast_in_dim(of_x, total.shape, [1]) - 2 * total
        plgpu.wait_smem_to_gmem(0, wait_read_only=True)  # the part before has left
        out.transpose((1, 0))[...] = plgpu.layout_cast(value.astype(jnp.int32), plgpu.Layout.WGMMA_TRANSPOSED)
        plgpu.commit_smem()
        columns = pl.ds(lax.axis_index("columns") * COLUMNS + (group * PARTS + part) * ROWS, ROWS)
        plgpu.copy_smem_to_gmem(out, refs["out"].at[split, lax.axis_index("example"), rows, columns])
    plgpu.wait_smem_to_gmem(0)


signs = Kernel(run, refuse, blocks, named_alone=True)
