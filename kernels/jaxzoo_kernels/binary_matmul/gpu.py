"""Mosaic GPU (Hopper): bits of w become signs in 8-bit floats in registers, on their way into tensor cores.

The ceilings of an H200 at 1.755 GHz: exclusive or and population count are bound by 16 counts per clock and SM, of 32
products each, 237 Top/s. Tensor cores do 989 in bfloat16 and 1979 in 8-bit floats, in which 1 and -1 are exact. That is
also int8's, which the lax form uses with the signs of both x and w written first; here w's bits are read as they are.

The product is computed transposed, out^T = w^T x^T, because the left operand of a tensor-core product (64 rows of it)
may lie in registers and the right one must lie in shared memory. Bit b of the 4 bytes of 32 words is 128 terms of the
sum: shifted to each byte's place of a sign, over the bits of 1, a word is four of them and fills a register as the
product wants it (`_signs`), two instructions for four terms. XLA writes the signs of x before the kernel as 8-bit
floats in the same order of terms, 0 past k.

Tensor cores add 8-bit floats with fewer bits than float32 has, about 14 by what others measured; a tile's 1024 terms of
1 need 11. So each tile's sum starts from 0 and is added to float32 totals, which are exact below 2^24.

A block of threads has 48 rows of x and 256 columns of w. Two warpgroups have 128 columns each, and a third only keeps
words of w (32 rows, two tiles) and signs of x (one bit's 128, eight tiles) in flight by TMA. A bit's product is waited
for when the next bit's has been issued. For 64 columns and 128 terms a warp spends about 40 instructions, two warps 80
on their scheduler, and the two products last 192 cycles: tensor cores bound it. x costs 8 times its bits in memory,
written once and read from L2 by each block of columns, with w 27 bytes per clock and SM. Few tiles of out share k among
more blocks, whose integers are added. Words are rounded up to a multiple of 32, which a k far below 1024 feels.
Dropped: bfloat16, half the ceiling for twice the instructions; more rows of x, which spill.

Lowered, compiled for sm_90a without spills, and run in JAX's GPU interpreter, without races, `_signs` and products
being jnp's there; it has not been run on a GPU, and is taken where it is named alone: implementation="pallas_gpu".
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from .._core import Kernel, compat
from .._core.hopper import smem
from .xla import WORD

GROUPS = 2  # warpgroups that compute
ROWS = 64  # the height of a tensor-core product
PARTS = 2  # products that one warpgroup has at a time, of 64 columns each
COLUMNS = GROUPS * PARTS * ROWS
MOST_ROWS = 48  # of x
WORDS = 32  # rows of w in a tile
BYTES = WORD // 8  # signs of a word that one product has
TERMS = WORDS * BYTES
BITS = 8  # of a byte: tiles of x to one of w
STAGES_X, STAGES_W = 8, 2  # tiles in flight; the former divide BITS
SIGN = jnp.float8_e4m3fn
SMS = 132  # blocks of threads that run at a time; fewer make k be split among several
BAND = 16  # tiles of x that neighbours in time have, so that they read about as much of x as of w
# Registers of a thread. An SM has 65536, so that 3 * 128 threads start with 168 each and exchange them after that.
COMPUTING, FETCHING = 232, 40


class Plan(NamedTuple):
    """Rows of x in a tile, tiles of words, blocks that share them, tiles of out, and those of one band."""

    m: int
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
    return {"m": _plan(x, w).m, "n": COLUMNS, "words": WORDS, "splits": _plan(x, w).splits}


def _plan(x, w):
    (_, m, words), n, lead = x.shape, w.shape[2], max(x.shape[0], w.shape[0])
    rows = pl.cdiv(pl.cdiv(m, pl.cdiv(m, MOST_ROWS)), 8) * 8
    steps, tiles_m, tiles_n = pl.cdiv(words, WORDS), pl.cdiv(m, rows), pl.cdiv(n, COLUMNS)
    splits = max(1, min(SMS // (lead * tiles_m * tiles_n), steps))
    return Plan(rows, steps, splits, tiles_m, tiles_n, pl.cdiv(tiles_m, pl.cdiv(tiles_m, BAND)))


def run(x, w, *, k):
    plan, (m, n), lead = _plan(x, w), (x.shape[1], w.shape[2]), max(x.shape[0], w.shape[0])
    given, names = _operands(x, w, plan, k), ("x", "w", "out", "tiles", "full", "read")

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
    """The signs of x [g, m, steps * 8 * TERMS] and w as int32, both in whole swizzled tiles.

    Term 16 * t + 4 * q + byte of a tile is a bit of word 8 * (t // 2) + 2 * q + t % 2: see `_signs`.
    """
    x = jnp.pad(x, ((0, 0), (0, -x.shape[1] % 8), (0, plan.steps * WORDS - x.shape[2])))
    x = x.reshape(*x.shape[:2], plan.steps, 1, WORDS // 8, 4, 2)
    x = jnp.swapaxes(x, 5, 6)[..., None]  # [g, m, steps, bit, t // 2, t % 2, q, byte]
    shape = (plan.steps, BITS, *x.shape[4:7], BYTES)
    step, bit, high, low, quad, byte = (lax.broadcasted_iota(jnp.int32, shape, axis) for axis in range(6))
    place = (step * WORDS + 8 * high + 2 * quad + low) * WORD + 8 * byte + bit
    signs = 1 - 2 * (x >> (8 * byte + bit).astype(jnp.uint32)[None, None] & 1).astype(jnp.int32)
    signs = jnp.where(place < k, signs, 0).astype(SIGN)
    w = lax.bitcast_convert_type(jnp.pad(w, ((0, 0), (0, -w.shape[1] % 8), (0, -w.shape[2] % 32))), jnp.int32)
    return {"x": signs.reshape(*x.shape[:2], -1), "w": w}


def _scratch(plan):
    """Tiles in shared memory, barriers that tell they are full, and barriers that tell all have read them."""

    tiles = {
        "x": smem((STAGES_X, plan.m, TERMS), SIGN),
        "w": smem((STAGES_W, WORDS, COLUMNS), jnp.int32),
        "out": smem((GROUPS, plan.m, ROWS), jnp.int32),
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
    """Copies `count` tiles of w and 8 times as many of x, each when the tile before has been read there."""
    tiles, full, read = refs["tiles"], refs["full"], refs["read"]
    columns = pl.ds(lax.axis_index("columns") * COLUMNS, COLUMNS)

    def of_w(i):
        stage = lax.rem(i, jnp.int32(STAGES_W))

        @pl.when(i >= STAGES_W)
        def _():
            plgpu.barrier_wait(read["w"].at[stage])

        @pl.when(i < count)
        def _():
            source = _example(refs["w"]).at[pl.ds((first + i) * WORDS, WORDS), columns]
            plgpu.copy_gmem_to_smem(source, tiles["w"].at[stage], full["w"].at[stage])

    def step(i, _):
        stage = lax.rem(i, jnp.int32(STAGES_X))

        @pl.when(lax.rem(i, jnp.int32(BITS)) == 0)
        def _():
            of_w(lax.div(i, jnp.int32(BITS)))

        @pl.when((i >= STAGES_X) & (i < count * BITS + STAGES_X))
        def _():
            plgpu.barrier_wait(read["x"].at[stage])

        @pl.when(i < count * BITS)
        def _():
            source = _example(refs["x"]).at[rows, pl.ds((first * BITS + i) * TERMS, TERMS)]
            plgpu.copy_gmem_to_smem(source, tiles["x"].at[stage], full["x"].at[stage])

    # The last rounds copy nothing: who waits at a barrier at all has to wait for each of its completions.
    lax.fori_loop(0, (count + STAGES_W) * BITS, step, None)


def _totals(refs, plan, group, count):
    """The sums over `count` tiles of w of sign(x) sign(w), transposed, [64, m] for each part of one warpgroup."""
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
        for bit in range(BITS):
            slot = bit % STAGES_X
            plgpu.barrier_wait(full["x"].at[slot])
            yield (
                [_signs(_ones(word, bit)) for word in words],
                tiles["x"].at[slot].transpose((1, 0)),
                read["x"].at[slot],
            )

    def step(i, totals):
        sums = _accumulated(products(i), (ROWS, plan.m))
        return tuple(total + new for total, new in zip(totals, sums, strict=True))

    zero = plgpu.layout_cast(jnp.zeros((ROWS, plan.m), jnp.float32), plgpu.Layout.WGMMA)
    return lax.fori_loop(0, count, step, (zero,) * PARTS)


def _ones(words, bit):
    """Four bytes per word: the float8_e4m3fn of 1, or of -1 where that bit of the byte is set."""
    return words << (7 - bit) & jnp.int32(0x80808080 - 2**32) | jnp.int32(0x38383838)


@plgpu.inline_mgpu(
    arg_types=(plgpu.Layout.WGMMA,),
    return_type=plgpu.ShapeDtypeStruct((ROWS, TERMS), SIGN, layout=plgpu.Layout.WGMMA_8BIT),
)
def _signs(_, words):
    """The bytes of words [64, 32] as [64, 128], as they lie in registers, whatever term this makes them.

    A lane q of four holds words 8 * i + 2 * q and the next one of each row; of 8-bit numbers it would hold the four
    terms from 16 * t + 4 * q. So register t takes word 8 * (t // 2) + 2 * q + t % 2.
    """
    from jax.experimental.mosaic import gpu as mgpu
    from jax.experimental.mosaic.gpu import utils

    layout = plgpu.Layout.WGMMA_8BIT.to_mgpu()
    registers = np.empty(layout.registers_shape((ROWS, TERMS)), object)
    four = utils.ir.VectorType.get((BYTES,), utils.ir.Float8E4M3FNType.get())
    for place in np.ndindex(registers.shape):
        t = place[1]
        pair = words.registers[(place[0], t // 2, *place[2:])]
        registers[place] = utils.bitcast(utils.vector_slice(pair, slice(t % 2, t % 2 + 1)), four)
    return mgpu.FragmentedArray(_registers=registers, _layout=layout, _is_signed=None)


def _accumulated(products, shape):
    """The sums over all products of each of the left sides by the right one, in float32.

    A product is (left sides, right side, barrier). The right side lies in shared memory; at its barrier it is told when
    it is no longer in use. Then the next product has been issued, so that tensor cores don't wait for the bits of it.
    """

    def multiply(*sums):
        before = None
        for lefts, right, done in products:
            for total, left in zip(sums, lefts, strict=True):
                plgpu.wgmma(total, left, right)
            if before is not None:
                plgpu.wgmma_wait(PARTS)
                plgpu.barrier_arrive(before)
            before = done
        sums = [total[...] for total in sums]  # waits for all of them
        plgpu.barrier_arrive(before)
        return sums

    return pl.run_scoped(multiply, *[plgpu.ACC(shape, jnp.float32)] * PARTS)


def _finish(refs, group, rows, totals):
    """Writes the products of signs by way of shared memory."""
    split, out = lax.axis_index("split"), refs["tiles"]["out"].at[group]
    for part, total in enumerate(totals):
        plgpu.wait_smem_to_gmem(0, wait_read_only=True)  # the part before has left
        out.transpose((1, 0))[...] = plgpu.layout_cast(total.astype(jnp.int32), plgpu.Layout.WGMMA_TRANSPOSED)
        plgpu.commit_smem()
        columns = pl.ds(lax.axis_index("columns") * COLUMNS + (group * PARTS + part) * ROWS, ROWS)
        plgpu.copy_smem_to_gmem(out, refs["out"].at[split, lax.axis_index("example"), rows, columns])
    plgpu.wait_smem_to_gmem(0)


signs = Kernel(run, refuse, blocks, named_alone=True)
